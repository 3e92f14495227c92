"""A chain of two layers in which everything happens that has a mark, and chains of random layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st

from tests.support import directory, info, put_directories, put_file
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry, LayerWriter


def base(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "Files/a", "Files/a/deep", "Files/b", "Files/Kept")
    put_file(writer, "Files/a/changed.txt", b"1" * 10)
    put_file(writer, "Files/a/deep/same.txt", b"2" * 20)
    put_file(writer, "Files/b/removed.txt", b"3" * 40)
    put_file(writer, "Files/becomes-directory", b"4" * 80)
    put_file(writer, "Files/Kept/x", b"5" * 160)
    writer.put(Entry("Files/Kept/y", info(), link_target="Files/Kept/x"))


def update(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "Files/a", "Files/new")
    put_file(writer, "Files/a/changed.txt", b"6" * 15)
    put_file(writer, "Files/new/added.txt", b"7" * 320)
    writer.put(Entry("Files/b", None))
    put_directories(writer, "Files/becomes-directory")
    put_file(writer, "Files/becomes-directory/inside", b"8" * 640)


RandomLayer = dict[tuple[str, ...], bytes | None]
"""The contents of files by their paths below `Files`; None for a tombstone."""
_NAMES = st.sampled_from(["a", "B", "c"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map(tuple)
LAYER: st.SearchStrategy[RandomLayer] = st.dictionaries(_PATHS, st.one_of(st.none(), st.binary(max_size=3)), max_size=6)


def _build(layer: RandomLayer, has_parents: bool, writer: LayerWriter) -> None:
    """Puts files, and tombstones for None, where the names of the layer allow it."""
    seen: dict[str, bool] = {"FILES": True}
    writer.put(directory("Files"))
    for parts, data in sorted(layer.items()):
        above = ["Files", *parts[:-1]]
        if any(not seen.get("/".join(above[:count]).upper(), True) for count in range(1, len(above) + 1)):
            continue
        path = "/".join(["Files", *parts])
        if path.upper() in seen or (data is None and not has_parents):
            continue
        for count in range(2, len(above) + 1):
            parent = "/".join(above[:count])
            if parent.upper() not in seen:
                seen[parent.upper()] = True
                writer.put(directory(parent))
        seen[path.upper()] = False
        if data is None:
            writer.put(Entry(path, None))
        else:
            put_file(writer, path, data)


def random_chain(folder: Path, below: Sequence[Path], layers: Sequence[RandomLayer]) -> list[Path]:
    """Layers over others, all nearest first; `layers` has the lowest first."""
    made = list(below)
    for number, layer in enumerate(layers):
        with DirectoryLayerWriter(folder / str(number), made[:1]) as writer:
            _build(layer, bool(made), writer)
        made.insert(0, folder / str(number))
    return made
