"""Probes: what collectors asked of the files of a chain, and whether another layer would have changed an answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from wclayer.inventory.facts.files import FactsFiles
from wclayer.inventory.item import Item, SubjectLayer
from wclayer.inventory.subject.files import DRIVE, SubjectFile
from wclayer.inventory.subject.layer_files import node_of
from wclayer.layers.directory import LayerDirectory
from wclayer.layers.directory.database import EntryRow, from_column
from wclayer.view.merged import MergedTree
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.names import name_key, path_key

_ROOT = "Files"
MOST_PROBES = 100_000
"""Names that may be asked for. Those of real images are some thousands."""


@dataclass(slots=True)
class Probe:
    """What was asked of a name.

    Attributes:
        exists: whether something has the name.
        spelling: the name as it is stored, if it is that of a directory, of which only the names in it matter: a layer
            that has the same directory changes nothing. None for everything else.
        is_listed: whether all names in the directory were asked for, also those that it does not have.
        below: what was asked of names in the directory, by name keys.
    """

    exists: bool = False
    spelling: str | None = None
    is_listed: bool = False
    below: dict[str, Probe] = field(default_factory=dict)

    @classmethod
    def of(cls, file: SubjectFile | None) -> Probe:
        """Returns the probe of a name, with what was found under it."""
        if file is None:
            return cls()
        is_plain = file.is_directory and node_of(file).row.reparse is None
        return cls(True, file.name if is_plain else None)

    def at(self, names: Iterable[str]) -> Probe | None:
        """Returns the probe of a path, stated by its name keys; None if it was not asked for."""
        found: Probe | None = self
        for name in names:
            if found is None:
                return None
            found = found.below.get(name)
        return found


class TooManyProbesError(Exception):
    """More was asked of files than is kept in memory."""


class ProbedFiles(FactsFiles):
    """The files of a chain of facts. `probes` has what was asked of them, from C: on, and `count` how much it was.

    What asks of them may get a `TooManyProbesError`.
    """

    def __init__(self, tree: MergedTree, layers: Sequence[SubjectLayer]) -> None:
        super().__init__(tree, layers)
        self.probes = Probe(True, _ROOT)
        self._known = {path_key(_ROOT): self.probes}

    @property
    def count(self) -> int:
        """The number of names that were asked for."""
        return len(self._known)

    def child(self, directory: SubjectFile, name: str) -> SubjectFile | None:
        found = super().child(directory, name)
        self._note(directory, name_key(name), found)
        return found

    def children(self, directory: SubjectFile) -> Iterator[SubjectFile]:
        self._known[node_of(directory).key].is_listed = True
        for child in super().children(directory):
            self._note(directory, node_of(child).key.rpartition("/")[2], child)
            yield child

    def _note(self, directory: SubjectFile, key: str, found: SubjectFile | None) -> None:
        if self.count > MOST_PROBES:
            raise TooManyProbesError
        above = node_of(directory).key
        probe = self._known[above].below.setdefault(key, Probe.of(found))
        self._known[f"{above}/{key}"] = probe


def mark_origins(probes: Probe, items: Iterable[Item]) -> None:
    """Marks the directories that are the places of items: the layer that has them matters, too."""
    for item in items:
        place = item.origin.place
        if place.startswith(DRIVE):
            found = probes.at(path_key(place[len(DRIVE) :]).split("\\"))
            if found is not None:
                found.spelling = None


def changes_an_answer(layer: LayerDirectory, probes: Probe) -> bool:
    """Returns whether a layer, somewhere in a chain, may change the answer to a question that was asked of the chain
    without it."""
    return _deletes(layer, probes) or _adds(layer, probes)


def _deletes(layer: LayerDirectory, probes: Probe) -> bool:
    root = path_key(_ROOT)
    for tombstone in layer.tombstones():
        first, *names = tombstone.key.split("/")
        found = probes.at(names) if first == root else None
        if found is not None and found.exists:
            return True
    return False


def _adds(layer: LayerDirectory, probes: Probe) -> bool:
    root = layer.lookup(_ROOT)
    if root is None:
        return False
    waiting = [(root, probes)]
    while waiting:
        row, probe = waiting.pop()
        if not _is_same_directory(row, probe):
            return True
        for child in layer.children(row.id):
            below = probe.below.get(from_column(child.key))
            if below is not None:
                waiting.append((child, below))
            elif probe.is_listed:
                return True
    return False


def _is_same_directory(row: EntryRow, probe: Probe) -> bool:
    is_plain = row.attributes & DIRECTORY and row.reparse is None
    return bool(is_plain) and probe.exists and from_column(row.name) == probe.spelling
