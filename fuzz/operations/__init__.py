"""Targets of whole operations: each runs what users run on an input, and compares what comes of it with what must.

`ground` has the rules that all of them keep.
"""
