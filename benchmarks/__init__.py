"""Measurements, printed as ratios against the peer in the same run."""
