"""Builds complete indexes: balanced B+ trees of sorted entries ("Index")."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import accumulate
from struct import Struct

from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.structs import INDEX_BLOCK_SIZE, AttributeType, Collation

_BLOCK_HEADER = structs.INDEX_BLOCK.size
_SEQUENCE_OFFSET = _BLOCK_HEADER + structs.INDEX_HEADER.size
_ENTRIES_OFFSET = 0x40
"""Bytes before the entries of an index block: its headers and the update sequence."""
_CAPACITY = INDEX_BLOCK_SIZE - _ENTRIES_OFFSET
_HEAD_SIZE = structs.INDEX_ENTRY.size
_CHILD_SIZE = 8
_END = structs.INDEX_ENTRY.pack(0, _HEAD_SIZE, 0, structs.ENTRY_IS_LAST, 0)
_END_WITH_CHILD = structs.INDEX_ENTRY.pack(
    0, _HEAD_SIZE + _CHILD_SIZE, 0, structs.ENTRY_IS_LAST | structs.ENTRY_HAS_BLOCK, 0
)
_BLOCK = Struct(structs.INDEX_BLOCK.format + structs.INDEX_HEADER.format[1:])
"""The two headers of a block, which follow each other."""
_WRITTEN_SIZE = 256 * INDEX_BLOCK_SIZE
"""Bytes of blocks that are collected before they are written: whole clusters of any size."""


def directory_entry(file: int, file_name: bytes) -> bytes:
    """Returns an entry of a directory: a file reference, and the FILE_NAME attribute's value."""
    length = (structs.INDEX_ENTRY.size + len(file_name) + 7) & ~7
    return (structs.INDEX_ENTRY.pack(file, length, len(file_name), 0, 0) + file_name).ljust(length, b"\0")


def view_entry(key: bytes, data: bytes, padding: bytes = b"") -> bytes:
    """Returns an entry of a view index: a key and its data."""
    offset = structs.VIEW_ENTRY.size + len(key)
    length = (offset + len(data) + len(padding) + 7) & ~7
    header = structs.VIEW_ENTRY.pack(offset, len(data), 0, length, len(key), 0, 0)
    return (header + key + data + padding).ljust(length, b"\0")


def build_index(
    batches: Iterable[list[bytes]],
    indexed: AttributeType | int,
    collation: Collation,
    cluster_size: int,
    room: int,
    put_blocks: Callable[[bytearray], None],
) -> bytes:
    """Builds the index of entries that are in order.

    Args:
        batches: the entries, without blocks below them.
        indexed: the type of the attribute that is indexed; 0 for a view.
        cluster_size: bytes of a cluster of the volume, which decides how blocks are counted.
        room: how many bytes the entries in the root may take.
        put_blocks: takes the blocks of the allocation attribute, several at a time, in order.

    Returns:
        The value of the root attribute.
    """
    blocks = _Blocks(cluster_size, put_blocks)
    head = structs.INDEX_ROOT.pack(indexed, collation, INDEX_BLOCK_SIZE, blocks.step, b"")
    leaves = _Leaves(blocks)
    for batch in batches:
        leaves.add(batch)
    if not blocks.count and leaves.size + _HEAD_SIZE <= room:
        return head + _root(leaves.entries, None)
    level = leaves.finish()
    children: list[int] | range = range(0, blocks.count * blocks.step, blocks.step)
    while sum(map(len, level)) + (len(level) + 1) * _CHILD_SIZE + _HEAD_SIZE > room:
        level, children = _build_level(level, children, blocks)
    blocks.flush()
    return head + _root(level, children)


class _Blocks:
    """Encodes index blocks."""

    def __init__(self, cluster_size: int, put: Callable[[bytearray], None]) -> None:
        self.step = INDEX_BLOCK_SIZE // (cluster_size if cluster_size <= INDEX_BLOCK_SIZE else structs.SECTOR_SIZE)
        """By how much the VCNs of two blocks differ."""
        self.count = 0
        self._put = put
        self._data = bytearray()

    def add(self, entries: bytes, flags: int) -> int:
        """Appends a block, and returns its VCN.

        Args:
            entries: all entries, with the one that ends them.
            flags: the flags of the index header.
        """
        vcn = self.count * self.step
        offset = _ENTRIES_OFFSET - _BLOCK_HEADER
        head = _BLOCK.pack(
            structs.INDEX_BLOCK_SIGNATURE, _SEQUENCE_OFFSET, INDEX_BLOCK_SIZE // structs.UPDATE_STRIDE + 1, 0, vcn,
            offset, offset + len(entries), INDEX_BLOCK_SIZE - _BLOCK_HEADER, flags, b"",
        )  # fmt: skip
        self._data += head.ljust(_ENTRIES_OFFSET, b"\0") + entries.ljust(_CAPACITY, b"\0")
        self.count += 1
        if len(self._data) == _WRITTEN_SIZE:
            self.flush()
        return vcn

    def flush(self) -> None:
        """Passes on what is collected."""
        if self._data:
            structs.protect_all(self._data, INDEX_BLOCK_SIZE, _SEQUENCE_OFFSET)
            self._put(self._data)
            self._data = bytearray()


class _Leaves:
    """Puts entries into blocks, except the separators between two blocks, which belong to the level above."""

    def __init__(self, blocks: _Blocks) -> None:
        self._blocks = blocks
        self._separators: list[bytes] = []
        self.entries: list[bytes] = []
        """The entries that are in no block yet, and are no separators."""
        self.size = 0
        """Bytes of these entries."""

    def add(self, entries: list[bytes]) -> None:
        """Adds the entries that follow."""
        self.entries += entries
        self.size += sum(map(len, entries))
        if self.size > _WRITTEN_SIZE:
            self._cut(2 * INDEX_BLOCK_SIZE)

    def finish(self) -> list[bytes]:
        """Puts the last entries into blocks, and returns the separators."""
        self._cut(0)
        return self._separators

    def _cut(self, left: int) -> None:
        """Puts entries into blocks while more than `left` bytes remain."""
        entries = self.entries
        # The end of each entry, counted from the first one.
        ends = list(accumulate(map(len, entries)))
        capacity = _CAPACITY - _HEAD_SIZE
        start = taken = 0
        while len(entries) > start and self.size - taken > left:
            end = bisect_right(ends, taken + capacity, start)
            # One entry moves to the level above, and another one must follow it.
            if end == len(entries) - 1:
                end -= 1
            self._blocks.add(b"".join(entries[start:end]) + _END, 0)
            if end == len(entries):
                start = end
                break
            self._separators.append(entries[end])
            start, taken = end + 1, ends[end]
        self.entries = entries[start:]
        self.size -= taken if self.entries else self.size


def _build_level(entries: list[bytes], children: list[int] | range, blocks: _Blocks) -> tuple[list[bytes], list[int]]:
    """Puts the separators of a level into blocks, each entry with the block before it.

    Returns:
        The separators between these blocks, and the VCNs of the blocks.
    """
    capacity = _CAPACITY - _HEAD_SIZE - _CHILD_SIZE
    separators: list[bytes] = []
    made: list[int] = []
    start = 0
    while True:
        used, end = 0, start
        while end < len(entries) and used + len(entries[end]) + _CHILD_SIZE <= capacity:
            used += len(entries[end]) + _CHILD_SIZE
            end += 1
        # As in `_Leaves`.
        if end == len(entries) - 1:
            end -= 1
        body = _with_children(entries[start:end], children[start : end + 1])
        made.append(blocks.add(body, structs.INDEX_HAS_BLOCKS))
        if end == len(entries):
            return separators, made
        separators.append(entries[end])
        start = end + 1


def _root(entries: list[bytes], children: list[int] | range | None) -> bytes:
    """Returns the index header of the root and its entries."""
    body = b"".join(entries) + _END if children is None else _with_children(entries, children)
    used = structs.INDEX_HEADER.size + len(body)
    flags = 0 if children is None else structs.INDEX_HAS_BLOCKS
    return structs.INDEX_HEADER.pack(structs.INDEX_HEADER.size, used, used, flags, b"") + body


def _with_children(entries: list[bytes], children: list[int] | range) -> bytes:
    """Returns entries, each with the block before it, and the one that ends them with the last block."""
    body = bytearray()
    for entry, vcn in zip(entries, children[:-1], strict=True):
        file, length, key, flags, padding = structs.INDEX_ENTRY.unpack_from(entry)
        body += structs.INDEX_ENTRY.pack(file, length + _CHILD_SIZE, key, flags | structs.ENTRY_HAS_BLOCK, padding)
        body += entry[_HEAD_SIZE:]
        body += vcn.to_bytes(8, "little")
    return bytes(body + _END_WITH_CHILD + children[-1].to_bytes(8, "little"))
