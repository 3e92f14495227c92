"""Registry hives: read, recovered from their logs, written, merged as layers, and as `.reg` text."""
