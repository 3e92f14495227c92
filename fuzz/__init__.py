"""Fuzz targets: each takes bytes, and may raise nothing but what bad bytes are documented to raise.

    python -m fuzz --list
    python -m fuzz tar_layer --seconds 60
    python -m fuzz tar_layer FILE…          runs the target on those files

With `atheris` installed the search is guided by coverage; without it, seeds are mutated at random.
"""
