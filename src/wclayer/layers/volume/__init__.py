"""Layers as disks: disk files, their partitions, and the NTFS volumes in them."""
