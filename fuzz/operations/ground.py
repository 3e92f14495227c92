"""What the targets of whole operations share: a folder in memory, layers to start from, and the rules that every
operation keeps."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from fuzz import place as place_of_process
from wclayer.errors import CorruptLayerError, InvalidDataError, LayerError
from wclayer.host.durability import unsynced
from wclayer.layers.directory.check import check_layer
from wclayer.layers.directory.problem import Problem
from wclayer.layers.directory.reader import DirectoryLayerReader
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.tar import TarLayerWriter
from wclayer.model import DataStream, Entry, LayerReader, LayerWriter, Limits
from wclayer.win32.attributes import FileBasicInfo

LIMITS = Limits(
    entries=10_000, total_size=16 << 20, ratio=1000, unrated_size=4 << 20, names_size=1 << 20, json_size=64 << 10,
    key_paths=1 << 22, hive_size=16 << 20, all_security_size=4 << 20, record_size=4 << 20,
)  # fmt: skip
"""What an input of a few KiB may ask for, so that one run is short."""
TIME = 133_500_000_000_000_000


@contextmanager
def fresh() -> Iterator[Path]:
    """An empty folder, gone afterwards; nothing waits for the disk meanwhile."""
    place = place_of_process.own() / "run"
    if place.exists():
        shutil.rmtree(place)
    place.mkdir()
    try:
        with unsynced():
            yield place
    finally:
        shutil.rmtree(place)


@contextmanager
def refusing_cleanly(folder: Path, *, documented: Sequence[type[LayerError]] = (InvalidDataError,)) -> Iterator[None]:
    """An operation on input: it succeeds, or raises one of the documented errors and leaves the folder as it was.

    Raises:
        RefusedError: the operation was refused as it should be.
    """
    before = sorted(os.listdir(folder))
    try:
        yield
    except LayerError as error:
        if not isinstance(error, tuple(documented)):
            raise AssertionError(f"an error that is not documented: {type(error).__name__}: {error}") from error
        if (left := sorted(os.listdir(folder))) != before:
            raise AssertionError(f"a refusal left {sorted(set(left) ^ set(before))}: {error}") from error
        raise RefusedError from error


class RefusedError(ValueError):
    """The input was refused as it should be: the end of a run."""


def expect(is_right: bool, problem: str, *shown: object) -> None:
    """Ends the run with a failure where something is not as it must be."""
    if not is_right:
        raise AssertionError(f"{problem} {' | '.join(map(_short, shown))}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 1500 else f"{text[:1500]}…"


def expect_equal(one: Sequence[object], other: Sequence[object], problem: str) -> None:
    """Two lists are equal; the failure names what only one of them has."""
    if list(one) != list(other):
        only = [[item for item in a if item not in b] for a, b in ((one, other), (other, one))]
        raise AssertionError(f"{problem}: {_short(only[0])} against {_short(only[1])}, of {len(one)} and {len(other)}")


def problems_of(layer: Path) -> list[Problem]:
    """What `check` says of a layer, but not of its descriptors: Windows takes any bytes for one, and so do we."""
    return [problem for problem in check_layer(layer) if not problem.path.startswith("security ")]


def expect_sound(layer: Path) -> None:
    """What was imported is clean."""
    found = problems_of(layer)
    # A damaged hive in a layer is told, and no reason to refuse the layer.
    found = [problem for problem in found if not problem.path.startswith(("Files/Windows/System32/config", "Hives/"))]
    expect(not found, "check does not like what was made:", found)


Content = tuple[object, ...]


def contents(reader: LayerReader, *, times: bool = True) -> list[Content]:
    """A layer as plain values: what must be equal when two layers are.

    Args:
        times: whether the four times count; else only that of the last write.
    """
    found: list[Content] = []
    with reader:
        for item in reader:
            entry = item.entry
            if entry.info is None:
                found.append((entry.name, None))
                continue
            info = entry.info.pack() if times else (entry.info.attributes, entry.info.last_write_time)
            if entry.link_target is not None:
                # All else is that of the file.
                found.append((entry.name, info, entry.link_target))
                continue
            streams = [(stream.name, _digest(stream)) for stream in item.streams()]
            extras = [(extra.id, extra.name, extra.data) for extra in entry.extra]
            found.append((entry.name, info, entry.security, entry.eas, entry.reparse, extras, streams))
    return found


def _digest(stream: DataStream) -> str:
    digest = hashlib.sha256()
    for chunk in stream.chunks:
        digest.update(chunk)
    return digest.hexdigest()


def layer_contents(layer: Path, *, times: bool = True) -> list[Content]:
    """The contents of a layer directory."""
    return contents(DirectoryLayerReader(layer), times=times)


# Layers to start from. A fork reads those that its parent has made.


def made_once(name: str) -> Path:
    """The place of a layer that is made once, and that nothing changes."""
    return place_of_process.own() / name


def info(attributes: int = 0x20) -> FileBasicInfo:
    """Basic info with four different times."""
    return FileBasicInfo(attributes, TIME, TIME + 1, TIME + 2, TIME + 3)


def put_file(writer: LayerWriter, name: str, data: bytes = b"", **streams: bytes) -> None:
    """Puts a file with that content, and alternate streams."""
    writer.put(
        Entry(name, info(), len(data)),
        [DataStream("", len(data), (data,)), *(DataStream(n, len(d), (d,)) for n, d in streams.items())],
    )


def put_directories(writer: LayerWriter, names: Iterable[str]) -> None:
    """Puts directories."""
    for name in names:
        writer.put(Entry(name, info(0x10)))


def tar_of(build: Callable[[LayerWriter], None]) -> bytes:
    """The tar that a function puts together."""
    raw = io.BytesIO()
    with TarLayerWriter(raw) as writer:
        build(writer)
    return raw.getvalue()


def build_base(writer: LayerWriter) -> None:
    """A layer with a little of everything that others need from a parent."""
    put_directories(writer, ("Files", "Files/d", "Files/d/e"))
    put_file(writer, "Files/a", b"contents of a", s=b"of a stream")
    put_file(writer, "Files/d/b", b"b")
    put_file(writer, "Files/d/e/c", b"c")
    writer.put(Entry("Files/l", info(), link_target="Files/a"))


@lru_cache(maxsize=1)
def base_layer() -> Path:
    """A finished base layer, made once; nothing changes it."""
    place = made_once("base")
    with unsynced(), DirectoryLayerWriter(place) as writer:
        build_base(writer)
    return place


CORRUPT = (CorruptLayerError, InvalidDataError)
"""How damage is told, in a layer and in what a caller gives."""
