"""Finds entries by their metadata, and files by their contents."""
