"""Copies a file, or a directory with all that is in it, out of a view: as `wclayer cp` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wclayer.errors import InvalidDataError
from wclayer.explore.model.explored import Session, View
from wclayer.explore.model.files import FileItem
from wclayer.layers.progress import Cancelled, ProgressCallback

_MOST_LEFT_OUT = 200


@dataclass(frozen=True, slots=True)
class Exported:
    """What was copied.

    Attributes:
        files: how many files.
        left_out: what was not copied, with the reason; the first ones of many.
        count_left_out: how much was not copied.
    """

    files: int
    left_out: Sequence[tuple[str, str]]
    count_left_out: int


def export(
    session: Session, view: View, item: FileItem, target: Path, progress: ProgressCallback, cancelled: Cancelled
) -> Exported:
    """Copies an item to the host.

    Args:
        session: what is read.
        view: the view that has the item.
        item: the file or directory. One that was removed is copied as it was before.
        target: where to; in a folder that exists, the copy gets the name of the item.
        progress: called after each file.
        cancelled: tells whether to stop.

    Raises:
        InvalidDataError: the item cannot be read.
        LayerError: see `copy_out`.
    """
    # Loaded when it is asked for, so that the first screen does not wait for it.
    from wclayer.view.transfer import copy_from

    if item.damage:
        raise InvalidDataError(item.shown_path, item.damage)
    left_out: list[tuple[str, str]] = []
    count = 0

    def tell(path: str, what: str) -> None:
        nonlocal count
        count += 1
        if len(left_out) < _MOST_LEFT_OUT:
            left_out.append((path, what))

    with session.source(view, item, tell) as source:
        files = copy_from(
            source, f"/{item.path}", target, recursive=True, progress=progress, cancelled=cancelled, left_out=tell
        )
    return Exported(files, left_out, count)
