"""Writes a hive from a tree of keys. The same tree results in the same bytes.

Layout: key nodes are in depth-first order, each followed by its class name, values and data. A list of subkeys follows
the keys that it lists. Cells never cross a bin; a cell that does not fit goes into a gap, or into a new bin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from struct import pack
from typing import TypedDict, Unpack

from wclayer.errors import limit_hint
from wclayer.formats.regf import structs
from wclayer.formats.regf.model import (
    Key,
    KeyMetadata,
    RegfError,
    RegfLimitError,
    Value,
    check_depth,
    fold,
    sort_key,
)
from wclayer.formats.regf.structs import BASE_BLOCK_SIZE, BIG_DATA_SEGMENT, BIN_ALIGNMENT, NO_CELL, KeyFlags
from wclayer.win32.names import utf16_length

# The elements that fit into one 4 KiB bin beside its header and the cell's size: Windows splits longer lists.
_LIST_ELEMENTS = (BIN_ALIGNMENT - structs.BIN_HEADER.size - 4 - structs.LIST_HEADER.size) // structs.NAMED_ELEMENT.size
_OPEN_GAPS = 16
_MAX_NAME_BYTES = 0xFFFF
_KEY_SIZE = structs.KEY_NODE.size
_pack_size = structs.CELL_SIZE.pack_into
_pack_value = structs.KEY_VALUE.pack


class HiveOptions(TypedDict, total=False):
    """The options for writing a hive file."""

    minor_version: int
    """3 to 6 (default: 5); from 4 on there is big data, from 5 on subkeys lists have hashes."""
    has_layered_keys: bool
    """True to mark the hive as a delta in its base block. Its version is then 1.6, as Windows writes it."""
    file_name: str
    """The file's path for the base block, which keeps its last 31 UTF-16 units."""
    sequence: int
    """Both sequence numbers (default: 1)."""
    max_size: int
    """The most bytes of the file (default: as many as the format allows)."""


def write_hive(root: Key, **options: Unpack[HiveOptions]) -> bytes:
    """Returns the hive file with `root` and everything below it.

    Raises:
        RegfError: no hive can hold the tree: two subkeys or values have one name, a name is too long, or there are too
            many levels.
        RegfLimitError: the file would be larger than `max_size`.
    """
    return bytes(hive_buffer(root, **options))


def hive_buffer(root: Key, **options: Unpack[HiveOptions]) -> bytearray:
    """Returns the hive file as `write_hive`, but in a `bytearray`, which saves a copy of a large hive."""
    has_layered_keys, sequence = options.get("has_layered_keys", False), options.get("sequence", 1)
    minor_version = 6 if has_layered_keys else options.get("minor_version", 5)
    writer = _HiveWriter(minor_version, options.get("max_size", structs.MAX_HIVE_SIZE))
    root_cell = writer.write_tree(root)
    last_written = root.metadata.last_written
    hive = writer.finish(last_written)
    name = _name_field(options.get("file_name", ""))
    structs.BASE_HEAD.pack_into(
        hive,
        0,
        *structs.BaseBlock(
            structs.BASE_SIGNATURE,
            sequence,
            sequence,
            last_written,
            1,
            writer.minor_version,
            structs.FILE_TYPE_PRIMARY,
            structs.FILE_FORMAT_MEMORY,
            root_cell,
            len(hive) - BASE_BLOCK_SIZE,
            1,
            name,
        ),
    )
    if has_layered_keys:
        structs.BASE_FLAGS.pack_into(hive, structs.BASE_FLAGS_OFFSET, structs.SUPPORTS_LAYERED_KEYS)
    _set_checksum(hive)
    return hive


def set_file_name(hive: bytearray, file_name: str) -> None:
    """Changes the file's path in the base block of a hive file; see `HiveOptions`."""
    base = structs.BaseBlock._make(structs.BASE_HEAD.unpack_from(hive))
    structs.BASE_HEAD.pack_into(hive, 0, *base._replace(file_name=_name_field(file_name)))
    _set_checksum(hive)


def _name_field(file_name: str) -> bytes:
    return file_name.encode("utf-16-le", "surrogatepass")[-62:]


def _set_checksum(hive: bytearray) -> None:
    structs.BASE_CHECKSUM.pack_into(
        hive, structs.BASE_CHECKSUM_OFFSET, structs.checksum(hive[: structs.BASE_CHECKSUM_OFFSET])
    )


@dataclass(slots=True)
class _Open:
    """A key whose subkeys are being written."""

    offset: int
    pending: list[tuple[bytes, Key]]
    """The subkeys that are not written yet, the last one first, each with its sort key."""
    elements: list[int] = field(default_factory=list)
    """The elements of its subkeys list: offset, hash or hint, offset, …"""
    largest_name: int = 0
    largest_class: int = 0


class _HiveWriter:
    def __init__(self, minor_version: int, max_size: int) -> None:
        self.minor_version = minor_version
        self._max_size = min(max_size, structs.MAX_HIVE_SIZE)
        # The whole file with its base block, so that no second copy is needed. Cell offsets count from the end of the
        # base block.
        self._file = bytearray(BASE_BLOCK_SIZE)
        self._position = self._end = 0
        # The gaps in bins other than the current one: start and end.
        self._gaps: list[tuple[int, int]] = []
        # Security descriptor: its cell and how many keys have it.
        self._security: dict[bytes, list[int]] = {}

    def write_tree(self, root: Key) -> int:
        """Writes a key and everything below it, and returns the offset of its node."""
        top = self._write_key(root, NO_CELL, KeyFlags.HIVE_ENTRY)
        path = [top]
        while path:
            current = path[-1]
            if not current.pending:
                self._close(current)
                path.pop()
                continue
            _, key = current.pending.pop()
            check_depth(len(path), key)
            child = self._write_key(key, current.offset, 0)
            self._list(current, key, child.offset)
            path.append(child)
        return top.offset

    def _list(self, current: _Open, key: Key, offset: int) -> None:
        name = key.name
        if self.minor_version >= structs.HASH_LEAF_MINOR_VERSION:
            hint = structs.name_hash(fold(name))
        else:
            hint = int.from_bytes(structs.name_hint(name), "little")
        current.elements += (offset, hint)
        current.largest_name = max(current.largest_name, 2 * utf16_length(name))
        current.largest_class = max(current.largest_class, len(key.metadata.class_name))

    def _write_key(self, key: Key, parent: int, extra_flags: int) -> _Open:
        metadata = key.metadata
        name, compressed = _encode_name(key.name)
        offset = self._allocate(_KEY_SIZE + len(name))
        pending = _in_order(key)
        values_list, count, largest_name, largest_data = self._write_values(key.values(), key.name)
        class_cell = NO_CELL if not metadata.class_name else self._put(metadata.class_name)
        node = structs.KEY_NODE.pack(
            structs.KEY_SIGNATURE,
            metadata.flags | extra_flags | (KeyFlags.COMP_NAME if compressed else 0),
            metadata.last_written,
            metadata.access_bits,
            metadata.semantics | (structs.INHERIT_CLASS if metadata.inherits_class else 0),
            0,
            parent,
            len(pending),
            0,
            NO_CELL,
            NO_CELL,
            count,
            values_list,
            self._security_cell(metadata),
            class_cell,
            0,
            metadata.control_flags,
            0,
            largest_name,
            largest_data,
            0,
            len(name),
            len(metadata.class_name),
        )
        start = _contents(offset)
        self._file[start : start + _KEY_SIZE + len(name)] = node + name
        return _Open(offset, pending)

    def _close(self, current: _Open) -> None:
        """Writes the list of a key's subkeys, and the fields of the key's node that describe them."""
        elements = current.elements
        if not elements:
            return
        signature = structs.HASH_LEAF if self.minor_version >= structs.HASH_LEAF_MINOR_VERSION else structs.FAST_LEAF
        leaves = []
        for first in range(0, len(elements), 2 * _LIST_ELEMENTS):
            part = elements[first : first + 2 * _LIST_ELEMENTS]
            leaves.append(
                self._put(structs.LIST_HEADER.pack(signature, len(part) // 2) + pack(f"<{len(part)}I", *part))
            )
        if len(leaves) > 0xFFFF:
            raise RegfError(f"{len(elements) // 2} subkeys of one key")
        subkeys = leaves[0]
        if len(leaves) > 1:
            subkeys = self._put(
                structs.LIST_HEADER.pack(structs.INDEX_ROOT, len(leaves)) + pack(f"<{len(leaves)}I", *leaves)
            )
        node = structs.KeyNode._make(structs.KEY_NODE.unpack_from(self._file, _contents(current.offset)))
        node = node._replace(
            subkeys_list=subkeys,
            largest_subkey_name=current.largest_name,
            largest_subkey_class=current.largest_class,
        )
        structs.KEY_NODE.pack_into(self._file, _contents(current.offset), *node)

    # Values.

    def _write_values(self, values: list[Value], key_name: str) -> tuple[int, int, int, int]:
        """Writes the values of a key.

        Returns:
            The offset of their list, their number, and the sizes of the largest name and the largest data in bytes.
        """
        if not values:
            return NO_CELL, 0, 0, 0
        if len({fold(value.name) for value in values}) != len(values):
            raise RegfError(f"two values of key {key_name!r} have the same name")
        largest_name = largest_data = 0
        offsets = []
        for value in values:
            offsets.append(self._write_value(value))
            largest_name = max(largest_name, 2 * utf16_length(value.name))
            largest_data = max(largest_data, len(value.data))
        return self._put(pack(f"<{len(offsets)}I", *offsets)), len(values), largest_name, largest_data

    def _write_value(self, value: Value) -> int:
        if value.name:
            name, compressed = _encode_name(value.name)
        else:
            name, compressed = b"", True
        size = len(value.data)
        if value.is_tombstone:
            size, data, flags = 0, NO_CELL, structs.VALUE_TOMBSTONE
        elif size <= structs.MAX_RESIDENT:
            data = int.from_bytes(value.data, "little") if size else NO_CELL
            size, flags = size | structs.DATA_IS_RESIDENT, 0
        else:
            data, flags = self._write_data(value.data), 0
        kind = 0 if value.is_tombstone else value.type
        flags |= structs.VALUE_COMP_NAME if compressed else 0
        cell = _pack_value(structs.VALUE_SIGNATURE, len(name), size, data, kind, flags, 0)
        return self._put(cell + name)

    def _write_data(self, data: bytes) -> int:
        if len(data) <= BIG_DATA_SEGMENT or self.minor_version < structs.BIG_DATA_MINOR_VERSION:
            return self._put(data)
        if -(-len(data) // BIG_DATA_SEGMENT) > 0xFFFF:
            raise RegfError(f"a value of {len(data)} bytes")
        # In Windows, the cell of the last segment is as large as the others. Some readers lose the end of a smaller
        # one.
        segments = [
            self._put(data[at : at + BIG_DATA_SEGMENT].ljust(BIG_DATA_SEGMENT, b"\0"))
            for at in range(0, len(data), BIG_DATA_SEGMENT)
        ]
        listed = self._put(pack(f"<{len(segments)}I", *segments))
        return self._put(structs.BIG_DATA.pack(structs.BIG_DATA_SIGNATURE, len(segments), listed))

    # Security.

    def _security_cell(self, metadata: KeyMetadata) -> int:
        descriptor = metadata.security
        if descriptor is None:
            return NO_CELL
        known = self._security.get(descriptor)
        if known is None:
            self._security[descriptor] = known = [self._allocate(structs.KEY_SECURITY.size + len(descriptor)), 0]
        known[1] += 1
        return known[0]

    def _write_security(self) -> None:
        """Writes each descriptor once. They form a ring in the order of their first use."""
        ring = [offset for offset, _ in self._security.values()]
        for index, (descriptor, (offset, count)) in enumerate(self._security.items()):
            item = structs.KEY_SECURITY.pack(
                structs.SECURITY_SIGNATURE, 0, ring[(index + 1) % len(ring)], ring[index - 1], count, len(descriptor)
            )
            start = _contents(offset)
            self._file[start : start + len(item) + len(descriptor)] = item + descriptor

    # Cells and bins.

    def _put(self, data: bytes) -> int:
        """Allocates a cell with this content, and returns its offset."""
        offset = self._allocate(len(data))
        start = _contents(offset)
        self._file[start : start + len(data)] = data
        return offset

    def _allocate(self, content: int) -> int:
        """Allocates a cell for `content` bytes, all zero, and returns its offset."""
        size = (content + 4 + 7) & ~7
        offset = self._position
        if offset + size <= self._end:
            self._position += size
        else:
            offset = self._find_room(size)
        _pack_size(self._file, BASE_BLOCK_SIZE + offset, -size)
        return offset

    def _find_room(self, size: int) -> int:
        for index, (start, end) in enumerate(self._gaps):
            if end - start >= size:
                self._gaps[index] = (start + size, end)
                return start
        bin_start = len(self._file) - BASE_BLOCK_SIZE
        bin_size = -(-(structs.BIN_HEADER.size + size) // BIN_ALIGNMENT) * BIN_ALIGNMENT
        if len(self._file) + bin_size > self._max_size:
            raise RegfLimitError(f"the hive would be larger than {self._max_size} bytes {limit_hint('hive_size')}")
        header = structs.BIN_HEADER.pack(structs.BIN_SIGNATURE, bin_start, bin_size, 0, 0, 0)
        self._file += header
        self._file += bytes(bin_size - len(header))
        offset = bin_start + structs.BIN_HEADER.size
        rest = (offset + size, bin_start + bin_size)
        # Continue in the larger gap, and remember the other one.
        if rest[1] - rest[0] > self._end - self._position:
            (self._position, self._end), rest = rest, (self._position, self._end)
        self._remember_gap(rest)
        return offset

    def _remember_gap(self, gap: tuple[int, int]) -> None:
        self._gaps.append(gap)
        if len(self._gaps) > _OPEN_GAPS:
            smallest = min(self._gaps, key=lambda gap: gap[1] - gap[0])
            self._gaps.remove(smallest)
            self._free(smallest)

    def _free(self, gap: tuple[int, int]) -> None:
        if gap[1] > gap[0]:
            _pack_size(self._file, BASE_BLOCK_SIZE + gap[0], gap[1] - gap[0])

    def finish(self, last_written: int) -> bytearray:
        """Returns the file, complete except for its base block."""
        self._write_security()
        for gap in (*self._gaps, (self._position, self._end)):
            self._free(gap)
        signature, offset, size, reserved, _, spare = structs.BIN_HEADER.unpack_from(self._file, BASE_BLOCK_SIZE)
        fields = signature, offset, size, reserved, last_written, spare
        structs.BIN_HEADER.pack_into(self._file, BASE_BLOCK_SIZE, *fields)
        return self._file


def _contents(offset: int) -> int:
    """Returns the file offset at which the contents of the cell at a cell offset start."""
    return BASE_BLOCK_SIZE + offset + structs.CELL_SIZE.size


def _in_order(key: Key) -> list[tuple[bytes, Key]]:
    """Returns a key's subkeys with their sort keys, in reverse order. Windows sorts by the units of the folded name."""
    keyed = [(sort_key(fold(child.name)), child) for child in key.subkeys()]
    keyed.sort(key=lambda pair: pair[0], reverse=True)
    for (name, child), (next_name, _) in pairwise(keyed):
        if name == next_name:
            raise RegfError(f"two subkeys of key {key.name!r} have the name {child.name!r}")
    return keyed


def _encode_name(name: str) -> tuple[bytes, bool]:
    """Returns a name in its stored form, and whether this is the compressed form."""
    try:
        data, compressed = name.encode("latin-1"), True
    except UnicodeEncodeError:
        data, compressed = name.encode("utf-16-le", "surrogatepass"), False
    if len(data) > _MAX_NAME_BYTES:
        raise RegfError(f"a name of {len(name)} characters: {name[:40]!r}…")
    return data, compressed
