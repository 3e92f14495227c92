"""The files of a chain of layers, with marks for what differs from another chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from wclayer.errors import FormatError, errors_at
from wclayer.explore.model.details import Fact, heading
from wclayer.explore.model.files import FileItem, FileTree, windows_path
from wclayer.explore.model.marks import Mark
from wclayer.explore.model.metadata import ea_facts, info_facts, link_target, reparse_facts, size_fact
from wclayer.explore.model.security import Accounts, rights_facts, security_facts
from wclayer.explore.model.sides import both_sides
from wclayer.layers.directory import LayerDirectory
from wclayer.layers.directory.database import Origin
from wclayer.rights.kinds import ObjectKind
from wclayer.view.diff import compare_nodes, pairs_below
from wclayer.view.layer_view import FileStatus
from wclayer.view.merged import MergedTree, Node
from wclayer.view.resolve import is_link
from wclayer.win32.names import names_equal, sorted_keys
from wclayer.win32.shown import size_text

_MOST_NAMES = 20
"""Other names of a file that are listed."""


class ChainItem(FileItem):
    """An item of a `ChainFiles`: with the nodes that it stands for, of which one may be missing."""

    __slots__ = ("after", "before")

    def __init__(self, before: Node | None, after: Node | None, mark: Mark, may_differ: bool, layer: int) -> None:
        node = after or before
        assert node is not None
        row = node.row
        super().__init__(
            node.name, node.path, node.key, node.is_directory, row.size, row.link is None, mark, may_differ, layer
        )
        self.before = before
        self.after = after

    @property
    def has_two_sides(self) -> bool:
        """Whether it stands for two entries, which may differ."""
        return self.before is not None and self.after is not None and self.before is not self.after

    @property
    def size_before(self) -> int:
        row = None if self.before is None else self.before.row
        return 0 if row is None or self.is_directory or row.link is not None else row.size

    @property
    def is_link(self) -> bool:
        node = self.after or self.before
        return node is not None and is_link(node.row.reparse)

    @property
    def target(self) -> str:
        node = self.after or self.before
        return "" if node is None or node.row.reparse is None else link_target(node.row.reparse)


class ChainFiles(FileTree):
    """The files of a chain, with marks for what differs from a chain before it.

    Args:
        after: the layers of the chain that is shown, nearest first.
        before: the layers of the chain that it is compared with; empty for none: all that is shown was added.
        times: whether an entry with other times counts as changed.
        directory_times: whether a directory does, too. One that leads to a change has new times in every layer.
        accounts: the names of accounts; None for those alone that every Windows has.
        accounts_before: those of the chain before; None if they are the same ones.
    """

    def __init__(
        self,
        after: list[LayerDirectory],
        before: list[LayerDirectory],
        *,
        times: bool,
        directory_times: bool = False,
        accounts: Accounts | None = None,
        accounts_before: Accounts | None = None,
    ) -> None:
        self._after = MergedTree(list(after))
        self._before = MergedTree(list(before)) if before else None
        self._times = times
        self._directory_times = times and directory_times
        self._accounts = accounts
        self._accounts_before = accounts_before or accounts
        self._names = {id(layer): str(layer.path) for layer in (*after, *before)}

    def roots(self) -> list[FileItem]:
        before = None if self._before is None else self._before.root()
        return self._pairs(before, self._after.root())

    def children(self, item: FileItem) -> list[FileItem]:
        entry = _chain_item(item)
        if not entry.is_directory:
            return []
        if entry.mark is Mark.REMOVED:
            assert entry.before is not None
            assert self._before is not None
            tree = self._before
            return [self._item(node, None, Mark.REMOVED, False) for node in tree.children(entry.before)]
        assert entry.after is not None
        if entry.mark is Mark.ADDED:
            return [self._item(None, node, Mark.ADDED, False) for node in self._after.children(entry.after)]
        if not entry.may_differ:
            return [self._item(node, node, Mark.SAME, False) for node in self._after.children(entry.after)]
        return self._pairs(entry.before, entry.after)

    def _pairs(self, before: Node | None, after: Node) -> list[FileItem]:
        """Returns the items of what two directories of the same name hold."""
        if before is None or self._before is None:
            return [self._item(None, node, Mark.ADDED, False) for node in self._after.children(after)]
        changed: dict[str, list[FileItem]] = {}
        compared: set[str] = set()
        for old, new in pairs_below(self._before, before, self._after, after):
            key = _last_key(new or old)
            compared.add(key)
            items = self._compared(old, new)
            if items:
                changed[key] = items
        found = dict(changed)
        for node in self._after.children(after):
            key = _last_key(node)
            if key not in compared:
                # Files that were made from entries are not compared, and may differ in what they take.
                old = self._before.child(before, node.name) if node.row.origin == Origin.MADE else node
                found[key] = [self._item(old, node, Mark.SAME, False)]
        return [item for key in sorted_keys(found) for item in found[key]]

    def _compared(self, old: Node | None, new: Node | None) -> list[FileItem]:
        """Returns the items of two entries of the same name: two if one is a directory and the other is not."""
        before, after = self._before, self._after
        assert before is not None
        if old is None or new is None or old.is_directory != new.is_directory:
            return [
                self._item(node if mark is Mark.REMOVED else None, node if mark is Mark.ADDED else None, mark, False)
                for node, mark in ((old, Mark.REMOVED), (new, Mark.ADDED))
                if node is not None
            ]
        times = self._directory_times if new.is_directory else self._times
        fields = compare_nodes(before, old, after, new, times=times)
        mark = Mark.CHANGED if fields else Mark.SAME
        may_differ = new.is_directory and self._parts(before, old) != self._parts(after, new)
        return [self._item(old, new, mark, may_differ)]

    def _item(self, old: Node | None, new: Node | None, mark: Mark, may_differ: bool) -> ChainItem:
        tree, node = (self._before, old) if new is None else (self._after, new)
        assert tree is not None
        assert node is not None
        return ChainItem(old, new, mark, may_differ, tree.depth(node.layer))

    def _parts(self, tree: MergedTree, node: Node) -> tuple[tuple[str, int | None], ...]:
        """Returns from what a directory is merged: two directories with the same parts show the same."""
        return tuple((self._names[id(tree.layers[layer])], entry) for layer, entry in tree.parts(node))

    def same_below(self, item: FileItem) -> object | None:
        entry = _chain_item(item)
        if entry.may_differ:
            return None
        tree, node = (self._before, entry.before) if entry.after is None else (self._after, entry.after)
        assert tree is not None
        assert node is not None
        return self._parts(tree, node)

    # What is known of one item.

    def _of(self, item: FileItem) -> tuple[MergedTree, Node]:
        entry = _chain_item(item)
        if entry.after is not None:
            return self._after, entry.after
        assert self._before is not None
        assert entry.before is not None
        return self._before, entry.before

    def facts(self, item: FileItem) -> Iterator[Fact]:
        entry = _chain_item(item)
        if not entry.has_two_sides:
            yield from _facts_of(*self._of(item), self._accounts_of(entry), digests=False)
            return
        assert self._before is not None
        assert entry.before is not None
        assert entry.after is not None
        fields = compare_nodes(self._before, entry.before, self._after, entry.after, times=True)
        if fields:
            yield Fact(", ".join(name.replace("_", " ") for name in fields), "changes")
        yield from both_sides(
            _facts_of(self._before, entry.before, self._accounts_before, digests=True),
            _facts_of(self._after, entry.after, self._accounts, digests=True),
        )

    def rights(self, item: FileItem) -> Iterator[Fact]:
        entry = _chain_item(item)
        tree, node = self._of(item)
        told = rights_facts(tree.entry(node).security, _kind(node), self._accounts_of(entry))
        if not entry.has_two_sides:
            return told
        assert self._before is not None
        assert entry.before is not None
        before = self._before.entry(entry.before).security
        return iter(both_sides(rights_facts(before, _kind(node), self._accounts_before), told))

    def _accounts_of(self, entry: ChainItem) -> Accounts | None:
        return self._accounts_before if entry.after is None else self._accounts

    def before(self, item: FileItem) -> FileItem | None:
        entry = _chain_item(item)
        if not entry.has_two_sides or entry.is_directory:
            return None
        return self._item(entry.before, None, Mark.REMOVED, False)

    def digests(self, item: FileItem) -> tuple[bytes | None, bytes | None]:
        """Returns the SHA-256 of the main data stream of an item as it was before, and as it is; None where there is no
        such stream, or where it is not known."""
        entry = _chain_item(item)
        new = None if entry.after is None else self._after.digest(entry.after)
        if entry.before is None or entry.before is entry.after:
            return (None if entry.before is None else new), new
        assert self._before is not None
        return self._before.digest(entry.before), new

    def open(self, item: FileItem) -> BinaryIO:
        tree, node = self._of(item)
        layer = tree.layers[node.layer]
        if node.row.sha256 is None:
            raise FormatError("has no contents")
        with errors_at(layer.path):
            return layer.open_contents(node.row)

    def streams(self, item: FileItem) -> list[tuple[str, int]]:
        tree, node = self._of(item)
        return [(name, size) for name, size, _ in tree.stream_digests(node)]

    def status(self, item: FileItem) -> FileStatus:
        tree, node = self._of(item)
        row, place = node.row, tree.layers[node.layer].path
        return FileStatus(node.path, row.size, row.info, tree.link_count(node), row.link or row.id, row.reparse, place)

    def has_data(self, item: FileItem) -> bool:
        return self._of(item)[1].row.sha256 is not None

    def stored_size(self, item: FileItem) -> int:
        return self._of(item)[1].row.size

    def read_stream(self, item: FileItem, stream: str, most: int) -> bytes:
        tree, node = self._of(item)
        for data in tree.streams(node):
            if data.name and names_equal(data.name, stream):
                head = bytearray()
                for chunk in data.chunks:
                    head += chunk
                    if len(head) >= most:
                        break
                return bytes(head[:most])
        raise FormatError(f"has no stream {stream!r}")


def _facts_of(tree: MergedTree, node: Node, accounts: Accounts | None, *, digests: bool) -> Iterator[Fact]:
    """Yields what is known of one entry.

    Args:
        tree: the tree that has it.
        node: the entry.
        accounts: the names of accounts.
        digests: whether streams are told with their digests, so that those with other contents differ.
    """
    entry = tree.entry(node)
    assert entry.info is not None
    if not node.is_directory:
        yield size_fact(node.row.size)
        digest = node.row.sha256
        if digest:
            yield Fact(digest.hex(), "SHA-256")
    if node.row.reparse is not None:
        yield from reparse_facts(node.row.reparse)
    yield heading("Metadata")
    yield from info_facts(entry.info)
    yield Fact(str(tree.depth(node.layer)), "layer")
    yield Fact(str(tree.layers[node.layer].path), "stored in")
    streams = tree.stream_digests(node)
    if streams or entry.extra:
        yield heading("Streams")
    for name, size, sha256 in streams:
        yield Fact(size_text(size) + (f"  sha256:{sha256.hex()}" if digests else ""), f":{name}")
    for extra in entry.extra:
        yield Fact(f"{len(extra.data):,} bytes", f"stream {extra.id}")
    names = tree.other_names(node)
    if names:
        yield heading("Hard links")
        yield Fact(f"{len(names) + 1:,}", "names")
        for other in names[:_MOST_NAMES]:
            yield Fact(windows_path(other.path), "also")
        if len(names) > _MOST_NAMES:
            yield Fact(f"and {len(names) - _MOST_NAMES:,} more")
    yield from security_facts(entry.security, _kind(node), accounts)
    yield from ea_facts(entry.eas)


def _kind(node: Node) -> ObjectKind:
    return ObjectKind.DIRECTORY if node.is_directory else ObjectKind.FILE


def _last_key(node: Node | None) -> str:
    assert node is not None
    return node.key.rpartition("/")[2]


def _chain_item(item: FileItem) -> ChainItem:
    assert isinstance(item, ChainItem)
    return item
