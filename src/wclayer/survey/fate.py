"""What becomes of one name of a directory, from the base layer to the nearest one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from wclayer.layers.directory.database import EntryRow, Origin, from_column
from wclayer.survey.model import HiddenReason
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.reparse import is_name_surrogate


class Step(Enum):
    """What a layer does to a name that the layers below it show, or do not show."""

    ADDED = "added"
    REPLACED = "replaced"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Hiding:
    """A file that a layer hides from those above it.

    Attributes:
        layer: the number of the layer that stores it.
        row: its entry there.
        by: the number of the layer that hides it.
        reason: how.
        other: the entry in its place, if it was replaced.
    """

    layer: int
    row: EntryRow
    by: int
    reason: HiddenReason
    other: EntryRow | None


class Fate:
    """What becomes of a name of a directory.

    Attributes:
        name: its spelling in the nearest layer that has an entry of it.
        layer: the number of the layer whose entry is visible in the end; 0 if none is.
        row: that entry.
        stored: the entries of the name that layers have of their own, with the numbers of the layers.
        parts: the ids of the entries of the name that are directories, by the numbers of their layers.
        hiders: the numbers of the layers that hide what the layers below have in these directories, lowest first.
        steps: what the layers do to the name.
        hidings: the files that they hide.
    """

    __slots__ = ("hiders", "hidings", "layer", "name", "parts", "row", "steps", "stored")

    def __init__(self) -> None:
        self.name = ""
        self.layer = 0
        self.row: EntryRow | None = None
        self.stored: list[tuple[int, EntryRow]] = []
        self.parts: dict[int, int] = {}
        self.hiders: list[int] = []
        self.steps: list[tuple[int, Step]] = []
        self.hidings: list[Hiding] = []

    def take(self, layer: int, row: EntryRow | None, *, is_wiped: bool) -> None:
        """Takes what the next layer says about the name.

        Args:
            layer: the number of the layer.
            row: its entry; None if it has none.
            is_wiped: True if it hides what the layers below have under the name, whether it has an entry or not.
        """
        if row is not None:
            self.name = from_column(row.name)
        if row is not None and row.origin in (Origin.CLONED, Origin.MADE) and not row.attributes & DIRECTORY:
            # It stands for a file of a parent, or was made from entries: nobody stored it.
            row = None
        is_directory = row is not None and bool(row.attributes & DIRECTORY)
        before = self.row
        if before is not None:
            joins = is_directory and before.attributes & DIRECTORY and row is not None and not _is_link(row)
            if is_wiped or (row is not None and not joins):
                self._hide(layer, before, row)
                before = None
        elif row is not None and row.origin != Origin.IMPLIED:
            self.steps.append((layer, Step.ADDED))
        if row is None:
            return
        if row.origin == Origin.OWN:
            self.stored.append((layer, row))
        if is_directory:
            self.parts[layer] = row.id
        if before is None or row.origin == Origin.OWN:
            self.layer, self.row = layer, row

    def _hide(self, layer: int, before: EntryRow, row: EntryRow | None) -> None:
        was_directory = bool(before.attributes & DIRECTORY)
        keeps_kind = row is not None and bool(row.attributes & DIRECTORY) == was_directory
        is_replaced = keeps_kind and not was_directory
        if is_replaced:
            self.steps.append((layer, Step.REPLACED))
        if not keeps_kind:
            self.steps.append((layer, Step.REMOVED))
            if row is not None:
                self.steps.append((layer, Step.ADDED))
        if was_directory:
            self.hiders.append(layer)
        else:
            reason = HiddenReason.REPLACED if is_replaced else HiddenReason.REMOVED
            self.hidings.append(Hiding(self.layer, before, layer, reason, row if is_replaced else None))
        self.layer, self.row = 0, None


def _is_link(row: EntryRow) -> bool:
    return row.reparse is not None and is_name_surrogate(row.reparse)
