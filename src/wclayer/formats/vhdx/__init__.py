"""Virtual hard disks in the VHDX format: fixed, dynamic and differencing, read and written in place."""
