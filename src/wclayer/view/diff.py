"""Compares two trees: contents, attributes, times, security and the other metadata of each entry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache

from wclayer._types import StrPath
from wclayer._walk import Walk
from wclayer.errors import during
from wclayer.layers.directory.database import Origin
from wclayer.view.merged import MergedTree, Node
from wclayer.win32.names import path_key


class Change(Enum):
    """What happened to a name from the first tree to the second."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One name that differs.

    `fields` maps the name of each differing field to its old and new value; it is empty for added and removed names.
    """

    change: Change
    path: str
    is_directory: bool
    size: int
    fields: dict[str, tuple[object, object]] = field(default_factory=dict)


_TIMES = ("creation_time", "last_write_time", "change_time", "last_access_time")


@during("compare layers")
def diff_trees(a: MergedTree | StrPath, b: MergedTree | StrPath, *, times: bool = True) -> Iterator[Difference]:
    """Yields the differences from `a` to `b`, sorted by name in each directory.

    For an added or removed directory, everything below it is yielded, too.

    Args:
        a, b: two trees, or the paths of two layers, each of which is taken over its parents.
        times: whether the four times are compared. A difference in access times alone is never reported.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: a layer or a parent cannot be opened. The error is raised
            when the first difference is requested.
    """
    with ExitStack() as stack:
        trees = [
            tree if isinstance(tree, MergedTree) else stack.enter_context(MergedTree.of(tree, with_parents=True))
            for tree in (a, b)
        ]
        yield from differences_below(trees[0], trees[0].root(), trees[1], trees[1].root(), times=times)


def differences_below(a: MergedTree, node_a: Node, b: MergedTree, node_b: Node, *, times: bool) -> Iterator[Difference]:
    """Yields the differences of what lies below two directories, as `diff_trees` does."""
    walk = Walk(pairs_below(a, node_a, b, node_b), None)
    for _, (child_a, child_b) in walk:
        if child_b is None:
            assert child_a is not None
            yield from _whole(a, child_a, Change.REMOVED)
        elif child_a is None:
            yield from _whole(b, child_b, Change.ADDED)
        elif child_a.is_directory != child_b.is_directory:
            yield from _whole(a, child_a, Change.REMOVED)
            yield from _whole(b, child_b, Change.ADDED)
        else:
            fields = compare_nodes(a, child_a, b, child_b, times=times)
            if fields:
                yield Difference(Change.CHANGED, child_b.path, child_b.is_directory, child_b.row.size, fields)
            if child_a.is_directory:
                walk.enter(pairs_below(a, child_a, b, child_b), None)


def pairs_below(a: MergedTree, node_a: Node, b: MergedTree, node_b: Node) -> Iterator[tuple[Node | None, Node | None]]:
    """Yields the entries of the two directories as pairs of the same name; None stands for a missing one.

    Layers that both have as the lowest parts of the directory show the same, but for the names about which the layers
    above them say anything: only these are looked up.
    """
    parts_a, parts_b = a.parts(node_a), b.parts(node_b)
    shared = _count_shared(a, parts_a, b, parts_b)
    if shared:
        keys = {key for layer, _ in parts_a[:-shared] for key in a.names_of(node_a, layer)}
        keys |= {key for layer, _ in parts_b[:-shared] for key in b.names_of(node_b, layer)}
        for key in sorted(keys):
            pair = _entry(a.child(node_a, key)), _entry(b.child(node_b, key))
            if pair != (None, None):
                yield pair
        return
    in_a = {_key(child): child for child in a.children(node_a) if _entry(child)}
    in_b = {_key(child): child for child in b.children(node_b) if _entry(child)}
    for key in sorted(in_a.keys() | in_b.keys()):
        yield in_a.get(key), in_b.get(key)


def _entry(node: Node | None) -> Node | None:
    """Returns a node that stands for an entry of a layer; None for a file that was made from entries."""
    return None if node is None or node.row.origin == Origin.MADE else node


def _key(node: Node) -> str:
    return path_key(node.name)


def _count_shared(
    a: MergedTree, parts_a: list[tuple[int, int | None]], b: MergedTree, parts_b: list[tuple[int, int | None]]
) -> int:
    """Returns how many of the lowest parts of two directories are the same ones of the same layers."""
    count = 0
    for (layer_a, id_a), (layer_b, id_b) in zip(reversed(parts_a), reversed(parts_b), strict=False):
        if id_a != id_b or a.layers[layer_a].path != b.layers[layer_b].path:
            break
        count += 1
    return count


def _whole(tree: MergedTree, node: Node, change: Change) -> Iterator[Difference]:
    yield Difference(change, node.path, node.is_directory, node.row.size)
    if node.is_directory:
        for child in tree.walk(node):
            yield Difference(change, child.path, child.is_directory, child.row.size)


def compare_nodes(
    a: MergedTree, node_a: Node, b: MergedTree, node_b: Node, *, times: bool
) -> dict[str, tuple[object, object]]:
    """Returns the fields in which two entries differ, each with both values; what lies below them does not count."""
    row_a, row_b = node_a.row, node_b.row
    if row_a.id == row_b.id and a.layers[node_a.layer].path == b.layers[node_b.layer].path:
        return {}
    if Origin.IMPLIED in (row_a.origin, row_b.origin):
        # A root directory that has no entry of its own has no metadata to compare.
        return {}
    fields: dict[str, tuple[object, object]] = {}

    def note(name: str, value_a: object, value_b: object) -> None:
        if value_a != value_b:
            fields[name] = (value_a, value_b)

    note("size", row_a.size, row_b.size)
    note("content", _hex(a.digest(node_a)), _hex(b.digest(node_b)))
    note("attributes", row_a.attributes, row_b.attributes)
    if times:
        for name in _TIMES:
            note(name, getattr(row_a, name), getattr(row_b, name))
    note("security", _hex(a.security(node_a)), _hex(b.security(node_b)))
    note("reparse", _hex(row_a.reparse), _hex(row_b.reparse))
    note("eas", _hex(row_a.eas), _hex(row_b.eas))
    streams_a = {path_key(name): (size, _hex(sha256)) for name, size, sha256 in a.stream_digests(node_a)}
    streams_b = {path_key(name): (size, _hex(sha256)) for name, size, sha256 in b.stream_digests(node_b)}
    note("streams", streams_a, streams_b)
    if fields.keys() == {"last_access_time"}:
        return {}
    return fields


# Many entries share one security descriptor; so their differences share its text.
@lru_cache(maxsize=256)
def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
