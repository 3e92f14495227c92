"""Random chains of layers, and what they show and waste by a plain computation: whole states, one after the other.

A layer is stated by its tombstones and its entries. The model keeps a dictionary of all names; the walk that is tested
looks at each directory once, and knows no state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

from tests.support import info, put_directories, put_file
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry


@dataclass
class LayerPlan:
    """What a layer has.

    Args:
        files: the contents of its files by their paths below C:.
        links: further names of files: the path, and the path of the file, in this layer or in one below.
        directories: its directories, without those that the files need.
        tombstones: the names that it deletes.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    tombstones: set[str] = field(default_factory=set)

    def all_directories(self) -> set[str]:
        """Its directories, with those that its names need."""
        names = {*self.files, *self.links, *self.directories}
        return self.directories | {above for name in names for above in _above(name)}


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


_PATHS = st.lists(st.sampled_from(["a", "B", "c", "dd"]), min_size=1, max_size=3).map("/".join)
_CONTENTS = st.sampled_from([b"", b"1", b"same", b"other contents", b"x" * 50])


@st.composite
def plans(draw: st.DrawFn) -> list[LayerPlan]:
    """Up to five layers, base layer first, each of which an import accepts."""
    layers: list[LayerPlan] = []
    for number in range(draw(st.integers(1, 5))):
        plan = LayerPlan()
        for path, contents in draw(st.dictionaries(_PATHS, _CONTENTS, max_size=6)).items():
            if _is_free(plan, path):
                plan.files[path] = contents
        for path in draw(st.lists(_PATHS, max_size=3)):
            if path not in plan.files and not any(above in plan.files for above in _above(path)):
                plan.directories.add(path)
        there = sorted({*plan.files, *(name for below in layers for name in _nearest_files(layers) if below)})
        if there:
            for path, target in draw(st.dictionaries(_PATHS, st.sampled_from(there), max_size=3)).items():
                # A name of this layer is what a link leads to; if it is a directory, the import refuses the link.
                if _is_free(plan, path) and target not in plan.all_directories():
                    plan.links[path] = target
        plan.links = {path: target for path, target in plan.links.items() if target not in plan.all_directories()}
        if number:
            plan.tombstones = set(draw(st.lists(_PATHS, max_size=4)))
        layers.append(plan)
    return layers


def _is_free(plan: LayerPlan, path: str) -> bool:
    taken = {*plan.files, *plan.links}
    return path not in taken | plan.all_directories() and not any(above in taken for above in _above(path))


def _nearest_files(layers: Sequence[LayerPlan]) -> set[str]:
    """The names which the nearest layer that has an entry of them has as files."""
    kinds: dict[str, bool] = {}
    for plan in layers:
        kinds |= dict.fromkeys([*plan.files, *plan.links], True) | dict.fromkeys(plan.all_directories(), False)
    return {path for path, is_file in kinds.items() if is_file}


def make_chain(folder: Path, layers: Sequence[LayerPlan]) -> list[Path]:
    """Makes the layers, and returns their paths, nearest first."""
    made: list[Path] = []
    for number, plan in enumerate(layers, 1):
        with DirectoryLayerWriter(folder / str(number), parents=made) as writer:
            for path in sorted(plan.tombstones):
                writer.put(Entry(f"Files/{path}", None), ())
            put_directories(writer, "Files", *(f"Files/{path}" for path in sorted(plan.all_directories())))
            for path, contents in plan.files.items():
                put_file(writer, f"Files/{path}", contents)
            for path, target in plan.links.items():
                writer.put(Entry(f"Files/{path}", info(), link_target=f"Files/{target}"), ())
        made.insert(0, folder / str(number))
    return made


class File(NamedTuple):
    """A file that a layer stores: the layer, and its first name."""

    layer: int
    path: str


class Name(NamedTuple):
    """A name of the model: the layer whose entry it is, and the file; None for a directory."""

    layer: int
    file: File | None


State = dict[str, Name]


@dataclass
class Known:
    """What the plain computation finds.

    Attributes:
        state: the visible names.
        steps: what each layer did, by its number, the directory in which, and the field of `LayerUsage`.
        sizes: the bytes of all files.
        hidden: the files that no name shows, with the layer that hides the first name.
    """

    state: State
    steps: Counter[tuple[int, str, str]]
    sizes: dict[File, int]
    hidden: dict[File, int]


def computed(layers: Sequence[LayerPlan]) -> Known:
    """What the layers show and waste, by paths in upper case below C:."""
    state: State = {}
    steps: Counter[tuple[int, str, str]] = Counter()
    sizes: dict[File, int] = {}
    hiders: dict[File, int] = {}
    entries: list[dict[str, Name]] = []
    for number, plan in enumerate(layers, 1):
        own: dict[str, Name] = {path.upper(): Name(number, None) for path in plan.all_directories()}
        for path, contents in plan.files.items():
            file = File(number, path.upper())
            own[path.upper()] = Name(number, file)
            sizes[file] = len(contents)
        for path, target in plan.links.items():
            known = next(found[target.upper()] for found in (own, *reversed(entries)) if target.upper() in found)
            own[path.upper()] = Name(number, known.file)
        entries.append(own)
        after = {path: name for path, name in state.items() if not _is_wiped(path, plan.tombstones)}
        for path, name in own.items():
            there = after.get(path)
            if there is not None and (name.file is not None or there.file is not None):
                after = {old: kept for old, kept in after.items() if not _is_at_or_below(old, path)}
        after |= own
        _note_steps(steps, hiders, number, state, after, own)
        state = after
    shown = {name.file for name in state.values() if name.file is not None}
    hidden = {file: hiders[file] for file in sizes if file not in shown}
    return Known(state, steps, sizes, hidden)


def _note_steps(
    steps: Counter[tuple[int, str, str]],
    hiders: dict[File, int],
    number: int,
    before: State,
    after: State,
    own: dict[str, Name],
) -> None:
    for path in own:
        steps[number, _parent(path), "entries"] += 1
    for path in before.keys() | after.keys():
        old, new = before.get(path), after.get(path)
        changes_kind = old is not None and new is not None and (old.file is None) != (new.file is None)
        if new is not None and (old is None or changes_kind):
            steps[number, _parent(path), "added"] += 1
        if old is not None and (new is None or changes_kind):
            steps[number, _parent(path), "removed"] += 1
        if old and new and old.file is not None and new.file is not None and new.layer == number:
            steps[number, _parent(path), "replaced"] += 1
        if old is not None and old.file == File(old.layer, path) and (new is None or new.layer == number):
            hiders[old.file] = number


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _is_wiped(path: str, tombstones: set[str]) -> bool:
    return any(_is_at_or_below(path, tombstone.upper()) for tombstone in tombstones)


def _is_at_or_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory + "/")
