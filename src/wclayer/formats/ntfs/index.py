"""Builds complete indexes: balanced B+ trees of sorted entries ("Index")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.structs import INDEX_BLOCK_SIZE, AttributeType, Collation

_BLOCK_HEADER = structs.INDEX_BLOCK.size
_ENTRIES_OFFSET = 0x40
"""Bytes for entries in an index block, after its headers and the update sequence."""
_CAPACITY = INDEX_BLOCK_SIZE - _ENTRIES_OFFSET
_END_SIZE = structs.INDEX_ENTRY.size
_CHILD_SIZE = 8


@dataclass(frozen=True, slots=True)
class BuiltIndex:
    """The value of the root attribute, and the blocks of the allocation attribute (b"" if there are no blocks)."""

    root: bytes
    blocks: list[bytes]


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
    entries: Sequence[bytes], indexed: AttributeType | int, collation: Collation, cluster_size: int, room: int
) -> BuiltIndex:
    """Builds the index of entries that are in order.

    Args:
        entries: the entries, without blocks below them.
        indexed: the type of the attribute that is indexed; 0 for a view.
        cluster_size: bytes of a cluster of the volume, which decides how blocks are counted.
        room: how many bytes the entries in the root may take.
    """
    unit = cluster_size if cluster_size <= INDEX_BLOCK_SIZE else structs.SECTOR_SIZE
    step = INDEX_BLOCK_SIZE // unit
    head = structs.INDEX_ROOT.pack(indexed, collation, INDEX_BLOCK_SIZE, step, b"")
    if sum(map(len, entries)) + _END_SIZE <= room:
        return BuiltIndex(head + _node(list(entries), None, None), [])
    blocks: list[bytes] = []
    level: list[bytes] = list(entries)
    children: list[int] | None = None
    while True:
        level, children = _build_level(level, children, blocks, step)
        if sum(len(entry) + _CHILD_SIZE for entry in level) + _END_SIZE + _CHILD_SIZE <= room:
            return BuiltIndex(head + _node(level, children, None), blocks)


def _build_level(
    entries: list[bytes], children: list[int] | None, blocks: list[bytes], step: int
) -> tuple[list[bytes], list[int]]:
    """Puts entries into blocks, except the separators between two blocks, which belong to the level above.

    Returns:
        The separators, and the VCNs of the blocks.
    """
    child = 0 if children is None else _CHILD_SIZE
    capacity = _CAPACITY - _END_SIZE - child
    separators: list[bytes] = []
    made: list[int] = []
    start = 0
    while True:
        used, end = 0, start
        while end < len(entries) and used + len(entries[end]) + child <= capacity:
            used += len(entries[end]) + child
            end += 1
        # One entry moves to the level above, and another one must follow it.
        if end == len(entries) - 1:
            end -= 1
        vcn = len(blocks) * step
        made.append(vcn)
        part = None if children is None else children[start : end + 1]
        blocks.append(_block(entries[start:end], part, vcn))
        if end == len(entries):
            return separators, made
        separators.append(entries[end])
        start = end + 1


def _node(entries: list[bytes], children: list[int] | None, allocated: int | None) -> bytes:
    """Returns an index header, the entries, each with the block before it, and the end entry with the last block."""
    body = bytearray()
    for index, entry in enumerate(entries):
        body += entry if children is None else _with_child(entry, children[index])
    end = structs.INDEX_ENTRY.pack(0, _END_SIZE, 0, structs.ENTRY_IS_LAST, 0)
    body += end if children is None else _with_child(end, children[-1])
    offset = structs.INDEX_HEADER.size if allocated is None else _ENTRIES_OFFSET - _BLOCK_HEADER
    used = offset + len(body)
    flags = 0 if children is None else structs.INDEX_HAS_BLOCKS
    header = structs.INDEX_HEADER.pack(offset, used, used if allocated is None else allocated, flags, b"")
    return header.ljust(offset, b"\0") + bytes(body)


def _with_child(entry: bytes, vcn: int) -> bytes:
    file, length, key, flags, padding = structs.INDEX_ENTRY.unpack_from(entry)
    header = structs.INDEX_ENTRY.pack(file, length + _CHILD_SIZE, key, flags | structs.ENTRY_HAS_BLOCK, padding)
    return header + entry[structs.INDEX_ENTRY.size :] + vcn.to_bytes(8, "little")


def _block(entries: list[bytes], children: list[int] | None, vcn: int) -> bytes:
    sequence_offset = _BLOCK_HEADER + structs.INDEX_HEADER.size
    header = structs.INDEX_BLOCK.pack(
        structs.INDEX_BLOCK_SIGNATURE, sequence_offset, INDEX_BLOCK_SIZE // structs.UPDATE_STRIDE + 1, 0, vcn
    )
    node = _node(entries, children, INDEX_BLOCK_SIZE - _BLOCK_HEADER)
    block = bytearray((header + node).ljust(INDEX_BLOCK_SIZE, b"\0"))
    structs.protect(block, 1)
    return bytes(block)
