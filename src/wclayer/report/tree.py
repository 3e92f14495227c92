"""The directories that a report shows as a map: the largest ones of an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wclayer.pages.bars import stacked_bar
from wclayer.pages.page import json_text
from wclayer.pages.parts import cut_text, percent, table_html, text_html
from wclayer.survey.model import Survey
from wclayer.win32.names import path_key
from wclayer.win32.shown import size_text

_MOST = 4_000
"""How many directories a page has."""
_LISTED = 40
"""How many directories the table has that is read without JavaScript."""
_VOLUME = "Files"
"""The directory of a layer that becomes C:."""


@dataclass(frozen=True, slots=True)
class MapNode:
    """A directory of the map.

    Attributes:
        name: its name.
        parent: the place of the directory that it lies in; None for the root.
        own, base: the bytes of the visible files in it and below it, from own layers and from those of the base.
        hidden: the bytes that layers store there and that no name shows.
        files: the visible files.
    """

    name: str
    parent: int | None
    own: int
    base: int
    hidden: int
    files: int

    @property
    def bytes(self) -> int:
        """All bytes that layers store there."""
        return self.own + self.base + self.hidden


class DirectoryMap:
    """The largest directories of an image, each with the one that it lies in.

    Args:
        survey: what the layers take.
        most: how many directories at most.
    """

    def __init__(self, survey: Survey, most: int = _MOST) -> None:
        keys = [key for key, usage in survey.directories.items() if usage.bytes or not key]
        # A directory is at least as large as those in it, and stands before them: none is taken without what it is in.
        ranked = sorted(range(len(keys)), key=lambda place: (-survey.directories[keys[place]].bytes, place))
        chosen = [keys[place] for place in sorted(ranked[:most])]
        places = {key: place for place, key in enumerate(chosen)}
        base = {layer.number for layer in survey.layers if layer.is_base}
        self.nodes = [_node(survey, key, places, base) for key in chosen]
        """The directories, each before those in it; the root is the first one."""
        self.start = places.get(path_key(_VOLUME), 0)
        """The place of the directory that is shown first: that of C:."""
        self._left_out = len(keys) - len(chosen) + survey.left_out

    def html(self) -> Iterator[str]:
        """Yields the table, which the script replaces by the map and a table of one directory."""
        whole = self.nodes[self.start].bytes
        below = [node for node in self.nodes if node.parent == self.start]
        below.sort(key=lambda node: -node.bytes)
        yield '<div id="map">'
        yield table_html(
            "The largest directories of C:" if self.start else "The largest directories",
            ("directory", "size", "share", "own", "base", "not visible", "files"),
            [_row(node, whole) for node in below[:_LISTED]],
            numbers=range(1, 7),
        )
        if len(below) > _LISTED:
            yield f'<p class="note">{len(below) - _LISTED:,} smaller ones are not in this table.</p>'
        yield "</div>"
        if self._left_out:
            yield (
                f'<p class="note">{self._left_out:,} smaller directories are not shown by themselves; they count in'
                " those that they lie in.</p>"
            )

    def data(self) -> str:
        """Returns JSON for the script: a list for each attribute of the nodes."""
        nodes = self.nodes
        return json_text({
            "names": [cut_text(node.name) for node in nodes], "parents": [node.parent for node in nodes],
            "own": [node.own for node in nodes], "base": [node.base for node in nodes],
            "hidden": [node.hidden for node in nodes], "files": [node.files for node in nodes],
            "start": self.start,
        })  # fmt: skip


def _node(survey: Survey, key: str, places: dict[str, int], base: set[int]) -> MapNode:
    usage = survey.directories[key]
    visible = {layer.layer: layer.bytes - layer.hidden_bytes for layer in usage.layers}
    return MapNode(
        name=usage.path.rpartition("/")[2],
        parent=places[key.rpartition("/")[0]] if key else None,
        own=sum(size for layer, size in visible.items() if layer not in base),
        base=sum(size for layer, size in visible.items() if layer in base),
        hidden=usage.hidden_bytes,
        files=usage.files,
    )


def _row(node: MapNode, whole: int) -> tuple[str, ...]:
    bar = stacked_bar({"own": node.own, "base": node.base, "hidden": node.hidden}, whole, "")
    return (
        f"{text_html(node.name)}{bar}", size_text(node.bytes), percent(node.bytes, whole), size_text(node.own),
        size_text(node.base), size_text(node.hidden), f"{node.files:,}",
    )  # fmt: skip
