"""Reads fixed and dynamic virtual hard disks in the VHD format, the predecessor of VHDX."""
