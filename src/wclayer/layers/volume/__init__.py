"""Layers as disks: files that hold a disk, the partitions and the NTFS volume in it."""
