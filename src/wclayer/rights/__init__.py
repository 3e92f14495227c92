"""What security descriptors say: in words, as effective rights, and as an audit of who can write what."""
