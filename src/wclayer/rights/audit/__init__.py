"""Who can write what they should not: files, directories and keys that others trust."""
