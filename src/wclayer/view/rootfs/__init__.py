"""A plain tar of the merged file system, for programs that know nothing of layers."""
