"""Windows' small types: backup streams, security descriptors and SDDL, reparse points, EAs, FILETIME, GUIDs, names."""
