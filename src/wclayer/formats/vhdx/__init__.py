"""Reads fixed, dynamic and differencing virtual hard disks in the VHDX format, and writes them in place."""
