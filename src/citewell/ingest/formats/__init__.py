"""One file per format: bytes into a draft."""
