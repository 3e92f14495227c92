"""Tests of `wclayer.images`."""
