"""Layers seen together: the merged tree of a parent chain, and what differs between two of them."""
