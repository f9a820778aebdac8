"""Owns one kind of storage each; `storage` chooses among them by the scheme of a URI."""
