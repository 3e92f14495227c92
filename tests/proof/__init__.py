"""Faults at every call, power cuts, kills, histories, hostile input and other hosts."""
