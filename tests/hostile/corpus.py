"""Every module that registers forms."""

from tests.hostile import layers, tars

__all__ = ["layers", "tars"]
