"""NTFS volumes."""
