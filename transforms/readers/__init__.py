"""The libraries that decode audio, one a module; see `base.Reader`."""
