"""GUID partition tables: read, written, and grown with their disk."""
