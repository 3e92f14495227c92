"""Tests of `wclayer.report`."""
