"""`system_base_images`: this engine has no central image store of its own."""

from __future__ import annotations

from wclayer.engines.base_image import BaseImage


def system_base_images() -> list[BaseImage] | None:
    """Returns None: base images are in the store of wclayer (`images/store`), whichever engine made their layers."""
    return None
