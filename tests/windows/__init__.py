"""The package on Windows: the official CPython under Wine, with stand-ins for what Wine does not have."""
