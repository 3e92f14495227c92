"""Answers of a fleet: its tables as views of DuckDB, ready questions, and what differs between two fleets."""
