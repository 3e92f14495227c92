"""Tests of `wclayer.build`."""
