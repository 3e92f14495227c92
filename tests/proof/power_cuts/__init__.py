"""What a power cut may leave of an operation: recorded, replayed and looked at; and snapshots of real file systems."""
