"""The explorer in a browser of this machine."""
