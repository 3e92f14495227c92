"""Benchmarks: whole commands beside their peers, in the same run, as ratios.

python -m benchmarks [--folder FOLDER] [--scale N] [--runs N] [--jobs NAME,…]
"""
