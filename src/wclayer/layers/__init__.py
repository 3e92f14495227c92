"""Readers and writers of layers: one module or folder a format."""
