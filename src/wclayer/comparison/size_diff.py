"""Compares what the directories of two images take."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from wclayer.survey.model import Survey

_LEVELS = 4
"""How many names the path of a compared directory has at most (`Files/Windows/System32/drivers`)."""


@dataclass(frozen=True, slots=True)
class SizeChange:
    """A directory whose visible files take more or less.

    Attributes:
        path: its path from the layer's root, as it is stored; "" for all of the image.
        old, new: the bytes of the visible files in it, and below it, in the first and the second image.
    """

    path: str
    old: int
    new: int

    @property
    def growth(self) -> int:
        """How many bytes more the second image has; negative if it has less."""
        return self.new - self.old


def size_changes(a: Survey, b: Survey, most: int) -> list[SizeChange]:
    """Returns the directories near the top that differ most in size, those that differ most first.

    A directory that a survey has left out because it is small counts as missing there.

    Args:
        a, b: the surveys of the two images.
        most: how many directories at most.
    """
    keys = {key for survey in (a, b) for key in survey.directories if key.count("/") < _LEVELS}
    return heapq.nsmallest(
        most,
        (change for key in keys if (change := _change(a, b, key)).growth),
        key=lambda change: (-abs(change.growth), change.path),
    )


def _change(a: Survey, b: Survey, key: str) -> SizeChange:
    old, new = a.directories.get(key), b.directories.get(key)
    named = new or old
    assert named is not None
    return SizeChange(named.path, old.visible_bytes if old else 0, new.visible_bytes if new else 0)
