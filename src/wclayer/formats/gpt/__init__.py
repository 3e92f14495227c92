"""GUID partition tables: reading, writing, and growing with their disk."""
