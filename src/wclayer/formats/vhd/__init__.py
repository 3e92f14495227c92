"""Virtual hard disks in the VHD format, the one before VHDX: fixed and dynamic ones, read."""
