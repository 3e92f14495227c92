"""Tar archives that hold images: their members are found at random, and written in an order of their own."""
