"""Tests of `wclayer.comparison`."""
