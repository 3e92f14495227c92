"""What the contents of two chains have in common, and what each of them has alone, in bytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wclayer.explore.model.chain_files import ChainFiles
from wclayer.explore.model.details import Fact, heading
from wclayer.explore.model.explored import ShownLayer
from wclayer.explore.model.files import windows_path
from wclayer.explore.model.layer_facts import layer_facts
from wclayer.explore.model.marks import Mark
from wclayer.explore.model.outline import OutlineItem, warning_item
from wclayer.explore.model.reading import TreeReading
from wclayer.layers.directory.database import from_column, to_column
from wclayer.layers.progress import Progress, report
from wclayer.win32.shown import count_text, size_text

if TYPE_CHECKING:
    from wclayer.layers.progress import ProgressCallback

_BATCH = 1_000
_MOST_NAMED = 1_000
"""How many single files of a kind are named, the largest ones."""
_BOTH, _A, _B = 0, 1, 2


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that one of the two has.

    Attributes:
        path: its path.
        size: its bytes.
        other: the path of a file of the other one that has the same contents; "" if there is none.
    """

    path: str
    size: int
    other: str = ""


@dataclass(slots=True)
class Side:
    """What one of the two has under names under which the other one does not have the same contents.

    Attributes:
        files, bytes: how much of it the other one does not have at all.
        elsewhere_files, elsewhere_bytes: how much of it the other one has under another name.
        alone: the largest files of the first kind, the largest first.
        elsewhere: those of the second kind.
    """

    files: int = 0
    bytes: int = 0
    elsewhere_files: int = 0
    elsewhere_bytes: int = 0
    alone: Sequence[NamedFile] = ()
    elsewhere: Sequence[NamedFile] = ()


@dataclass(slots=True)
class Sharing:
    """What the contents of two chains have in common. A file with several names counts once.

    Attributes:
        files, bytes: the files that both have under the same name with the same contents.
        a, b: what the first and the second one have otherwise.
        remark: what could not be read, and is missing in the other numbers; "" if all could be.
    """

    files: int = 0
    bytes: int = 0
    a: Side = field(default_factory=Side)
    b: Side = field(default_factory=Side)
    remark: str = ""


def compare_contents(tree: ChainFiles, progress: ProgressCallback) -> Sharing:
    """Returns what the contents of the two chains of a tree have in common. Digests are those on record. What cannot be
    read is left out, and told.

    Args:
        tree: the tree of the second chain, compared with the first one.
        progress: called for each file.

    Raises:
        CorruptLayerError: nothing of a layer can be read, or a file of it.
    """
    found = Sharing()
    reading = TreeReading(tree)
    state = Progress()
    # A database without a name is a temporary file, which SQLite removes; it is in memory while it is small.
    with closing(sqlite3.connect("", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA cache_size = -8192")
        database.execute("CREATE TABLE contents (side INTEGER, digest BLOB, size INTEGER, path)")
        batch: list[tuple[int, bytes | None, int, str | bytes]] = []
        for item in reading.walk():
            state.entries += 1
            report(state, progress)
            size_a, size_b = item.size_before, item.size_now
            if not (size_a or size_b):
                continue
            digest_a, digest_b = tree.digests(item)
            path = to_column(item.path)
            is_known = digest_a is not None or item.mark is Mark.SAME
            if size_a == size_b and digest_a == digest_b and is_known:
                found.files += 1
                found.bytes += size_b
                batch.append((_BOTH, digest_b, size_b, path))
            else:
                batch += [(_A, digest_a, size_a, path)] if size_a else []
                batch += [(_B, digest_b, size_b, path)] if size_b else []
            if len(batch) >= _BATCH:
                _write(database, batch)
        _write(database, batch)
        database.execute("CREATE INDEX by_digest ON contents (digest, size, side)")
        found.a = _side(database, _A)
        found.b = _side(database, _B)
        found.remark = reading.remark
    return found


def _write(database: sqlite3.Connection, batch: list[tuple[int, bytes | None, int, str | bytes]]) -> None:
    database.executemany("INSERT INTO contents VALUES (?, ?, ?, ?)", batch)
    batch.clear()


def _other(side: int) -> str:
    """Returns the SQL for the path of any file of the other side with the same contents; NULL if there is none."""
    # Any one will do: a search for the first one would look at all of them, once for each file with these contents.
    return (
        "(SELECT o.path FROM contents o WHERE o.digest = c.digest AND o.size = c.size"
        f" AND o.side IN ({_BOTH}, {_A if side == _B else _B}) LIMIT 1)"
    )


def _side(database: sqlite3.Connection, side: int) -> Side:
    found = Side()
    counted = database.execute(
        f"SELECT {_other(side)} IS NULL AS alone, COUNT(1), SUM(c.size) FROM contents c WHERE c.side = ?"
        " GROUP BY alone",
        (side,),
    )
    for is_alone, files, size in counted:
        if is_alone:
            found.files, found.bytes = files, size
        else:
            found.elsewhere_files, found.elsewhere_bytes = files, size
    found.alone = list(_named(database, side, "IS NULL"))
    found.elsewhere = list(_named(database, side, "IS NOT NULL"))
    return found


def _named(database: sqlite3.Connection, side: int, condition: str) -> Iterator[NamedFile]:
    rows = database.execute(
        f"SELECT c.path, c.size, {_other(side)} AS other FROM contents c WHERE c.side = ? AND other {condition}"
        " ORDER BY c.size DESC, c.rowid LIMIT ?",
        (side, _MOST_NAMED),
    )
    for path, size, other in rows:
        yield NamedFile(from_column(path), size, "" if other is None else from_column(other))


def sharing_outline(sharing: Sharing, layers: Sequence[ShownLayer], names: tuple[str, str]) -> Sequence[OutlineItem]:
    """Returns what two chains share as an outline.

    Args:
        sharing: what their contents have in common.
        layers: the layers of both, with marks.
        names: what the two are called.
    """
    a, b = names
    found = [
        _layers("Layers in both", [layer for layer in layers if layer.mark in (Mark.SAME, Mark.CHANGED)], Mark.SAME),
        _layers(f"Layers of {a} alone", [layer for layer in layers if layer.mark is Mark.REMOVED], Mark.REMOVED),
        _layers(f"Layers of {b} alone", [layer for layer in layers if layer.mark is Mark.ADDED], Mark.ADDED),
        OutlineItem(
            f"The same contents under the same name ({count_text(sharing.files, 'file')})",
            size_text(sharing.bytes),
            lambda: [Fact(f"{sharing.bytes:,} bytes", "shared"), *_sums(sharing, names)],
            weight=sharing.bytes,
        ),
    ]
    for name, other, side, mark in ((a, b, sharing.a, Mark.REMOVED), (b, a, sharing.b, Mark.ADDED)):
        found += [
            _files(f"Contents of {name} alone", side.files, side.bytes, side.alone, mark),
            _files(
                f"Contents of {name} that {other} has under another name",
                side.elsewhere_files,
                side.elsewhere_bytes,
                side.elsewhere,
                Mark.CHANGED,
            ),
        ]
    outline = [item for item in found if item.weight or item.children]
    return [warning_item(sharing.remark), *outline] if sharing.remark else outline


def _sums(sharing: Sharing, names: tuple[str, str]) -> Iterator[Fact]:
    for name, side in zip(names, (sharing.a, sharing.b), strict=True):
        yield heading(name)
        yield Fact(f"{sharing.bytes + side.bytes + side.elsewhere_bytes:,} bytes", "all files")
        yield Fact(f"{side.bytes:,} bytes", "alone")
        yield Fact(f"{side.elsewhere_bytes:,} bytes", "elsewhere")


def _layers(title: str, layers: Sequence[ShownLayer], mark: Mark) -> OutlineItem:
    sizes = [layer.stored if layer.stored is not None else layer.size or 0 for layer in layers]
    children = [_layer(layer, size) for layer, size in zip(layers, sizes, strict=True)]
    return OutlineItem(title, size_text(sum(sizes)), children=children, weight=sum(sizes), mark=mark)


def _layer(layer: ShownLayer, size: int) -> OutlineItem:
    return OutlineItem(
        f"layer {layer.number}  {layer.created_by}".rstrip(),
        size_text(size),
        lambda: list(layer_facts(layer)),
        weight=size,
        path=layer.path,
        mark=layer.mark,
    )


def _files(title: str, count: int, size: int, files: Sequence[NamedFile], mark: Mark) -> OutlineItem:
    children = [_file(file, mark) for file in files]
    return OutlineItem(
        f"{title} ({count_text(count, 'file')})", size_text(size), children=children, weight=size, mark=mark
    )


def _file(file: NamedFile, mark: Mark) -> OutlineItem:
    path = windows_path(file.path)

    def tell() -> Sequence[Fact]:
        facts = [Fact(path, "path"), Fact(f"{file.size:,} bytes", "size")]
        return [*facts, Fact(windows_path(file.other), "other has")] if file.other else facts

    return OutlineItem(path, size_text(file.size), tell, weight=file.size, path=path, mark=mark)
