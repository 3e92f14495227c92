"""Collectors: what looks for one kind of thing in a subject, and what several of them need."""
