"""What is done to clips: plain functions over audio (nouns), and the Beam transforms that wire them (verbs)."""
