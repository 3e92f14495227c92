"""Counts what the layers of a chain store, by directory and by layer, in one walk over all names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wclayer.layers.directory.database import EntryRow, Origin, from_column, is_elsewhere
from wclayer.survey.fate import Fate, Hiding, Step
from wclayer.survey.model import HiddenFile, StoredFile
from wclayer.survey.names import NameWalk, Top, WalkedDirectory
from wclayer.survey.notes import Notes
from wclayer.survey.tally import DirectorySums, Largest
from wclayer.view.merged import MergedTree, Node
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.backup import StreamId
from wclayer.win32.names import path_key

_SHA256 = 32
"""The length of a recorded digest. That of a file of a scratch is missing until it is hashed."""


@dataclass(frozen=True, slots=True)
class CountedDirectory:
    """A directory with the sums of all that lies below it.

    Attributes:
        directory: the directory.
        sums: its sums, which the caller may not change.
    """

    directory: WalkedDirectory
    sums: DirectorySums


class ChainWalk:
    """One walk over all that the layers of a chain store.

    Args:
        tree: the merged tree of the chain.
        notes: where single files are noted.
        largest: how many of the largest files are kept.
        contents: the contents of visible files are noted, too, to find those that several files have.

    Attributes:
        names: the walk over the names.
        largest: the largest visible files.
        hidden: the largest files that no name shows.
        hidden_files: the number of all files that no name shows.
    """

    def __init__(self, tree: MergedTree, notes: Notes, largest: int, *, contents: bool = True) -> None:
        self.names = NameWalk(tree)
        self.largest: Largest[StoredFile] = Largest(largest)
        self.hidden: Largest[HiddenFile] = Largest(largest)
        self.hidden_files = 0
        self._tree = tree
        self._notes = notes
        self._with_contents = contents

    def run(self, top: Top, tell: Callable[[str, int], None]) -> Iterator[CountedDirectory]:
        """Walks, and yields each directory after all directories in it, the top last.

        Args:
            top: the directory that is walked. If it is a file, it is yielded alone, with its own sums.
            tell: called with the path of each name, and the bytes that layers store under it.

        Raises:
            LimitExceededError: a layer has too many entries, or a path has too many names.
        """
        self._note_links()
        if top.fate is not None and not top.parts:
            sums = DirectorySums()
            tell(top.path, self._count(sums, top.path, top.fate))
            yield CountedDirectory(WalkedDirectory(1, 1, top.key, top.path), sums)
            return
        above: list[DirectorySums] = []
        for directory, _, path, fate in self.names.below(top):
            if len(above) < directory.depth:
                above.append(DirectorySums())
            if fate is not None and path is not None:
                tell(path, self._count(above[-1], path, fate))
                continue
            sums = above.pop()
            if above:
                above[-1].add(sums)
            yield CountedDirectory(directory, sums)

    # Counting.

    def _count(self, sums: DirectorySums, path: str, fate: Fate) -> int:
        """Adds a name to the sums of its directory, and returns the bytes that layers store under it."""
        stored = 0
        for layer, row in fate.stored:
            size = self._size(layer, row)
            sums[layer].entries += 1
            sums[layer].bytes += size
            stored += size
        for layer, step in fate.steps:
            if step is Step.ADDED:
                sums[layer].added += 1
            elif step is Step.REPLACED:
                sums[layer].replaced += 1
            else:
                sums[layer].removed += 1
        for hiding in fate.hidings:
            self._count_hidden(sums, path, hiding)
        shown = fate.row
        if shown is not None and shown.origin == Origin.OWN:
            sums[fate.layer].shown += 1
            if not shown.attributes & DIRECTORY:
                sums[fate.layer].shown_files += 1
                self._note_visible(fate.layer, shown, path)
        return stored

    def _size(self, layer: int, row: EntryRow) -> int:
        """Returns the bytes that a layer stores at an entry: none at a further name of a file, or a directory."""
        if row.attributes & DIRECTORY or row.link is not None or is_elsewhere(row):
            return 0
        streams = self.names.layers[layer].stream_rows(row)
        return row.size + sum(stream.size for stream in streams if stream.stream_id == StreamId.ALTERNATE_DATA)

    def _count_hidden(self, sums: DirectorySums, path: str, hiding: Hiding) -> None:
        row = hiding.row
        if row.link is not None or is_elsewhere(row):
            return
        if (name := self._other_name(hiding.layer, row, path)) is not None:
            self._note_visible(hiding.layer, row, name)
            return
        size = self._size(hiding.layer, row)
        self.hidden_files += 1
        sums[hiding.layer].hidden_bytes += size
        sums[hiding.by].hides_bytes += size
        if self.hidden.takes(size):
            is_same = hiding.other is not None and _digest(row) is not None and _digest(row) == _digest(hiding.other)
            self.hidden.add(size, HiddenFile(path, size, hiding.layer, hiding.by, hiding.reason, is_same))

    def _other_name(self, layer: int, row: EntryRow, path: str) -> str | None:
        """Returns the path of a visible name of a file whose first name is hidden; None if there is none."""
        if self._notes.is_linked(layer, row.id):
            return path
        index = len(self._tree.layers) - layer
        others = self._tree.other_names(Node(path, path_key(path), row, index))
        return others[0].path if others else None

    def _note_visible(self, layer: int, row: EntryRow, path: str) -> None:
        size = self._size(layer, row)
        if not size:
            return
        if self.largest.takes(size):
            self.largest.add(size, StoredFile(path, size, layer))
        digest = _digest(row) if self._with_contents else None
        if digest is not None and row.size:
            self._notes.note_contents(digest, row.size, path)

    def _note_links(self) -> None:
        """Notes the files that are visible by names in nearer layers, whatever becomes of their own names."""
        for index, layer in enumerate(self._tree.layers):
            for row in layer.links_to_parents():
                path = layer.path_of(row)
                node = self._tree.lookup(path)
                is_visible = node is not None and node.layer == index and node.row.id == row.id
                if is_visible or self._other_name(self._tree.depth(index), row, path) is not None:
                    self._note_target(index, from_column(row.link_target or ""))

    def _note_target(self, index: int, target: str) -> None:
        # As in an import: the nearest layer that has an entry of that name.
        for below in range(index + 1, len(self._tree.layers)):
            layer = self._tree.layers[below]
            if (found := layer.lookup(target)) is not None:
                self._notes.note_linked(self._tree.depth(below), layer.first_name(found).id)
                return


def _digest(row: EntryRow) -> bytes | None:
    return row.sha256 if row.sha256 is not None and len(row.sha256) == _SHA256 else None
