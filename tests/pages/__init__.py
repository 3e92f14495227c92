"""Tests of `wclayer.pages`, and the browser that tests show pages in."""
