"""Codecs that know nothing of layers."""
