"""Inventories of many images: the layers are read once, on the workers of a cluster, and the answers are tables."""
