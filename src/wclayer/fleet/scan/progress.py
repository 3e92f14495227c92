"""`ScanProgress`: how far a scan is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class ScanProgress:
    """How far a scan is. One object is changed while the scan goes on.

    Attributes:
        dashboard: the address of Dask's dashboard; "" if there is none.
        listed: the number of references.
        resolved: how many of them are resolved.
        layers: the number of layers that have to be read; 0 before that is known.
        layers_done: how many of them have been read, with those that cannot be.
        bytes: the bytes of their blobs.
        bytes_done: how many of these belong to layers that have been read.
        images: the number of images of which rows have to be made.
        images_done: how many of them have rows.
        errors: how many references and layers could not be read so far.
    """

    dashboard: str = ""
    listed: int = 0
    resolved: int = 0
    layers: int = 0
    layers_done: int = 0
    bytes: int = 0
    bytes_done: int = 0
    images: int = 0
    images_done: int = 0
    errors: int = 0


ScanCallback = Callable[[ScanProgress], None]
"""A callback for the progress of a scan, which is called in the thread of the caller."""
