"""The image of Windows that the tests of rights read."""

from tests.inventory.conftest import machine

__all__ = ["machine"]
