"""Registry hives: reading, recovery from their logs, writing, merging as layers, and `.reg` text."""
