"""Tests of `wclayer.builder`."""
