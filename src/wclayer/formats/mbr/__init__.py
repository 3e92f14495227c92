"""Reads master boot records, the older form of partition tables."""
