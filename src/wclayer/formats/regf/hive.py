"""Reads registry hives lazily: keys and values are read when a caller requests them, and checked before use.

Every cell is admitted before use: cells must tile its bin, and one of them must start at its offset. A key must name
the key that lists it as its parent, so a walk never visits a key twice. A large cell belongs to the first reference to
it. So the work that any hive can cause is bounded by its size.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from struct import Struct, unpack_from

from wclayer.formats.regf import structs
from wclayer.formats.regf.model import Key, KeyMetadata, RegfError, Value, fold, sort_key
from wclayer.formats.regf.structs import (
    BASE_BLOCK_SIZE,
    BIG_DATA_SEGMENT,
    NO_CELL,
    BaseBlock,
    KeyFlags,
    KeyNode,
    LayerSemantics,
)

Buffer = bytes | bytearray | memoryview | mmap.mmap

_BASE = BASE_BLOCK_SIZE
_KEY = structs.KEY_NODE
_KEY_SIZE = _KEY.size
_VALUE = structs.KEY_VALUE
_VALUE_SIZE = _VALUE.size
_cell_size = structs.CELL_SIZE.unpack_from
_COMP_NAME = int(KeyFlags.COMP_NAME)
_KEY_FLAGS = ~int(structs.FORM_FLAGS)
_SEMANTICS = tuple(LayerSemantics)
# Cells with more bytes than this belong to one key. The number of references bounds the cost of smaller ones.
_OWNED_SIZE = 256
_OWNED_VALUES = 4
_FEW = 64
"""Subkeys of a key that needs no index."""
_ASKED_OFTEN = 32
"""How many subkeys of one key are looked up in its list, each in a time that grows with the list, before the key gets
an index."""
_MAX_INDEXED = 1 << 17
"""Subkeys in all indexes."""


class HiveKey:
    """A key of a hive. Its metadata, values and subkeys are read on request."""

    __slots__ = ("_hive", "_node", "name", "offset")

    def __init__(self, hive: Hive, offset: int, name: str, node: KeyNode) -> None:
        self._hive = hive
        self.offset = offset
        """The cell offset of its key node."""
        self.name = name
        self._node = node

    def __repr__(self) -> str:
        return f"<HiveKey {self.name!r} at {self.offset:#x}>"

    @property
    def metadata(self) -> KeyMetadata:
        """The last-written time, security descriptor, class name and flags."""
        node, hive = self._node, self._hive
        layered = node.layered_bits
        return KeyMetadata(
            node.last_written,
            None if node.security == NO_CELL else hive.security(node.security),
            hive.class_name(node.class_name, node.class_name_length, self.offset)
            if node.class_name_length and node.class_name != NO_CELL
            else b"",
            node.flags & _KEY_FLAGS,
            node.control_flags,
            node.access_bits,
            _SEMANTICS[layered & structs.LAYER_SEMANTICS_MASK],
            bool(layered & structs.INHERIT_CLASS),
        )

    @property
    def last_written(self) -> int:
        """The last-written time, a FILETIME."""
        return self._node.last_written

    def values(self) -> list[Value]:
        """Returns the values, in the order in which they are stored."""
        node = self._node
        count = node.value_count
        # In a predefined handle, the field is the handle.
        if not count or node.flags & KeyFlags.PREDEF_HANDLE:
            return []
        return self._hive.values(self.offset, node.values_list, count)

    def value(self, name: str) -> Value | None:
        """Returns the value of that name in any case, or None."""
        wanted = fold(name)
        return next((value for value in self.values() if fold(value.name) == wanted), None)

    def subkeys(self) -> list[Key]:
        """Returns the subkeys, in the order in which they are stored."""
        hive, offset = self._hive, self.offset
        return [hive.key(child, offset) for child in self.subkey_offsets()]

    def subkey(self, name: str) -> HiveKey | None:
        """Returns the subkey of that name in any case, or None. The hashes of the list spare reading the others."""
        node = self._node
        if not node.subkey_count:
            return None
        wanted = fold(name)
        index = self._hive.index(self)
        if index is not None:
            known = index.get(wanted)
            return None if known is None else self._hive.key(known, self.offset)
        for offset in self._hive.candidates(node.subkeys_list, wanted, self.offset):
            key = self._hive.key(offset, self.offset)
            if fold(key.name) == wanted:
                return key
        return None

    @property
    def subkey_count(self) -> int:
        """How many subkeys the key states to have."""
        return self._node.subkey_count

    def subkey_offsets(self) -> Sequence[int]:
        """Returns the cell offsets of the subkeys, in the order in which they are stored."""
        node = self._node
        count = node.subkey_count
        if not count:
            return ()
        if count > structs.MAX_SUBKEYS:
            raise RegfError(f"the key has {count} subkeys; read are up to {structs.MAX_SUBKEYS}", self.offset)
        offsets = self._hive.list_elements(node.subkeys_list, self.offset)
        if len(offsets) != count:
            raise RegfError(f"the key has {count} subkeys, but {len(offsets)} in its list", self.offset)
        if len(set(offsets)) != count:
            raise RegfError("a subkey is listed twice", self.offset)
        return offsets


def _elements_with(elements: Sequence[int], listed: bytes, hint: bytes) -> Iterator[int]:
    """Yields the elements of a list, which `listed` holds as bytes, that have a given hint or hash."""
    width = structs.NAMED_ELEMENT.size
    position = listed.find(hint)
    while position >= 0:
        if position % width == 4:
            yield elements[position // width]
        position = listed.find(hint, position + 1)


class Hive:
    """A registry hive, versions 1.3 to 1.6.

    Args:
        data: the whole file. Of a memory map, only the requested parts are read.

    Raises:
        RegfError: the base block is not that of a hive of a known version.
    """

    def __init__(self, data: Buffer) -> None:
        self._data = data
        if len(data) < BASE_BLOCK_SIZE:
            raise RegfError(f"{len(data)} bytes; a hive starts with a base block of {BASE_BLOCK_SIZE}")
        self.base = BaseBlock._make(structs.BASE_HEAD.unpack_from(data))
        base = self.base
        if base.signature != structs.BASE_SIGNATURE:
            raise RegfError(f"signature {base.signature!r} instead of {structs.BASE_SIGNATURE!r}")
        if base.major_version != 1 or not 3 <= base.minor_version <= 6:
            raise RegfError(f"version {base.major_version}.{base.minor_version}; known are 1.3 to 1.6")
        if base.file_type != structs.FILE_TYPE_PRIMARY:
            raise RegfError(f"file type {base.file_type}: a transaction log, not a hive")
        head = bytes(data[: structs.BASE_CHECKSUM_OFFSET])
        (stored,) = structs.BASE_CHECKSUM.unpack_from(data, structs.BASE_CHECKSUM_OFFSET)
        self.is_dirty = base.primary_sequence != base.secondary_sequence or stored != structs.checksum(head)
        """True if a write to the file was not finished, so that its contents depend on the logs (see `recovery`)."""
        (flags,) = structs.BASE_FLAGS.unpack_from(data, structs.BASE_FLAGS_OFFSET)
        self.has_layered_keys = bool(flags & structs.SUPPORTS_LAYERED_KEYS)
        """True if the base block says that the hive may have layered keys, as a delta hive has."""
        # Not the base block's count, which is too small in some hives: each bin's own header counts.
        self.size = (len(data) - BASE_BLOCK_SIZE) & ~(structs.CELL_ALIGNMENT - 1)
        """Bytes after the base block."""
        # One byte for each offset where a cell can start: 1 if one does. Filled bin by bin.
        self._starts = bytearray(self.size // structs.CELL_ALIGNMENT)
        self._admitted_pages = bytearray(-(-self.size // structs.BIN_ALIGNMENT))
        self._security: dict[int, bytes] = {}
        self._owners: dict[int, int] = {}
        self._asked: dict[int, int] = {}
        self._indexes: dict[int, dict[str, int]] = {}

    @property
    def buffer(self) -> Buffer:
        """The object with the whole file that the caller passed, not a copy."""
        return self._data

    @property
    def data(self) -> bytes:
        """The whole file."""
        return bytes(self._data)

    @property
    def file_name(self) -> str:
        """The end of the path under which Windows last opened the file."""
        return self.base.file_name.decode("utf-16-le", "replace").partition("\0")[0]

    def root(self) -> HiveKey:
        """Returns the root key.

        Raises:
            RegfError: there is no sound root key.
        """
        return self.key(self.base.root_cell, None)

    def find(self, path: str) -> HiveKey | None:
        r"""Returns the key at a path below the root (`Select`, `ControlSet001\Services`), or None."""
        key: HiveKey | None = self.root()
        for name in path.split("\\"):
            if name and key is not None:
                key = key.subkey(name)
        return key

    # Cells.

    def cell(self, offset: int, what: str) -> tuple[int, int]:
        """Returns the file offsets at which the contents of an allocated cell start and end.

        Raises:
            RegfError: no allocated cell starts there.
        """
        if offset & 7 or offset >= self.size or not self._starts[offset >> 3]:
            self._admit(offset, what)
        start = _BASE + offset
        return start + 4, start - _cell_size(self._data, start)[0]

    def raw_cell(self, offset: int, size: int, what: str) -> bytes:
        """Returns the first `size` bytes of a cell."""
        start, end = self.cell(offset, what)
        if end - start < size:
            raise RegfError(f"{what} of {size} bytes in a cell that holds {end - start}", offset)
        return bytes(self._data[start : start + size])

    def _admit(self, offset: int, what: str) -> None:
        """Admits the cells of the bin around an offset, and checks that one starts there."""
        if offset & 7 or offset >= self.size:
            raise RegfError(f"{what}: no cell can be there; the hive has {self.size:#x} bytes of cells", offset)
        problem = ""
        if not self._admitted_pages[offset // structs.BIN_ALIGNMENT]:
            problem = self._admit_bin(offset)
        if not self._starts[offset >> 3]:
            raise RegfError(f"{what}: no allocated cell starts here{problem}", offset)

    def _admit_bin(self, offset: int) -> str:
        """Records where the cells of the bin around an offset start.

        Returns:
            The problem of the bin, as the end of a message; "" if the bin is sound.
        """
        data, base = self._data, _BASE
        page = offset // structs.BIN_ALIGNMENT
        while page >= 0 and not self._admitted_pages[page]:
            start = page * structs.BIN_ALIGNMENT
            if start + structs.BIN_HEADER.size <= self.size:
                signature, own_offset, size, *_ = structs.BIN_HEADER.unpack_from(data, base + start)
                if signature == structs.BIN_SIGNATURE and own_offset == start:
                    break
            page -= 1
        else:
            return "; it is in no bin"
        if size % structs.BIN_ALIGNMENT or size <= offset - start:
            return f"; the bin at {start:#x} has a size of {size:#x}"
        end = min(start + size, self.size)
        pages = range(page, -(-end // structs.BIN_ALIGNMENT))
        self._admitted_pages[pages.start : pages.stop] = bytes([1]) * len(pages)
        position = start + structs.BIN_HEADER.size
        starts = self._starts
        while position < end:
            (length,) = _cell_size(data, base + position)
            if length < 0:
                length = -length
                if not length & 7 and position + length <= end:
                    starts[position >> 3] = 1
            if length & 7 or not length or position + length > end:
                return f"; the bin at {start:#x} is damaged at {position:#x}: a cell of {length:#x} bytes"
            position += length
        return ""

    def _own(self, offset: int, owner: int, what: str) -> None:
        """Claims a large cell for its owner: a second owner would make the hive larger than its file."""
        if self._owners.setdefault(offset, owner) != owner:
            raise RegfError(f"{what} that belongs to {self._owners[offset]:#x} and to {owner:#x}", offset)

    # Keys.

    def key(self, offset: int, parent: int | None) -> HiveKey:
        """Returns the key whose node is at a cell offset, and which the key at `parent` lists (None: the root key)."""
        start, end = self.cell(offset, "key")
        if end - start < _KEY_SIZE:
            raise RegfError(f"a key node in a cell that holds {end - start} bytes", offset)
        node = KeyNode._make(_KEY.unpack_from(self._data, start))
        if node.signature != b"nk":
            raise RegfError(f"signature {node.signature!r} instead of {structs.KEY_SIGNATURE!r}", offset)
        if parent is not None and (node.parent != parent or offset == self.base.root_cell):
            raise RegfError(f"the key is listed by {parent:#x}, but its parent is {node.parent:#x}", offset)
        start += _KEY_SIZE
        length = node.name_length
        if start + length > end:
            raise RegfError(f"a key name of {length} bytes in a cell that has room for {end - start}", offset)
        if length > structs.MAX_NAME_UNITS * (1 if node.flags & _COMP_NAME else 2):
            raise RegfError(f"a key name of {length} bytes; Windows allows {structs.MAX_NAME_UNITS} characters", offset)
        return HiveKey(self, offset, self._name(start, length, node.flags & _COMP_NAME, offset), node)

    def _name(self, start: int, length: int, compressed: int, offset: int) -> str:
        if compressed:
            return str(self._data[start : start + length], "latin-1")
        if length & 1:
            raise RegfError(f"a UTF-16 name of {length} bytes", offset)
        return str(self._data[start : start + length], "utf-16-le", "surrogatepass")

    def list_elements(self, offset: int, owner: int, *, in_root: bool = False) -> Sequence[int]:
        """Returns the key nodes that a subkeys list names, through an index root if there is one."""
        signature, elements = self._list(offset)
        if signature != structs.INDEX_ROOT:
            return elements
        if in_root:
            raise RegfError("an index root in an index root", offset)
        if len(set(elements)) != len(elements):
            raise RegfError("an index root names a list twice", offset)
        found: list[int] = []
        for leaf in elements:
            self._own(leaf, owner, "a subkeys list")
            found += self.list_elements(leaf, owner, in_root=True)
        return found

    def _list(self, offset: int) -> tuple[bytes, Sequence[int]]:
        start, end = self.cell(offset, "subkeys list")
        if end - start < structs.LIST_HEADER.size:
            raise RegfError("a subkeys list in a cell without room for its header", offset)
        signature, count = structs.LIST_HEADER.unpack_from(self._data, start)
        width = {b"li": 1, b"ri": 1, b"lf": 2, b"lh": 2}.get(signature)
        if width is None:
            raise RegfError(f"signature {signature!r} instead of that of a subkeys list", offset)
        if start + structs.LIST_HEADER.size + 4 * width * count > end:
            raise RegfError(f"a subkeys list of {count} elements in a cell that holds {end - start} bytes", offset)
        numbers = unpack_from(f"<{count * width}I", self._data, start + structs.LIST_HEADER.size)
        return signature, numbers[::width]

    def candidates(self, offset: int, wanted: str, parent: int) -> Iterator[int]:
        """Yields the key nodes of a subkeys list of the key at `parent` that may have the folded name `wanted`."""
        signature, elements = self._list(offset)
        if signature == structs.INDEX_ROOT:
            for leaf in elements:
                if self._list(leaf)[0] == structs.INDEX_ROOT:
                    raise RegfError("an index root in an index root", leaf)
                yield from self.candidates(leaf, wanted, parent)
            return
        if signature == structs.INDEX_LEAF or (signature == structs.FAST_LEAF and not wanted[:4].isascii()):
            # There are no usable hashes, so the search relies on the order of the list.
            index = bisect_left(elements, sort_key(wanted), key=lambda e: sort_key(fold(self.key(e, parent).name)))
            yield from elements[index : index + 1]
            return
        width = structs.NAMED_ELEMENT.size
        start = _BASE + offset + 4 + structs.LIST_HEADER.size
        listed = bytes(self._data[start : start + width * len(elements)])
        if signature == structs.HASH_LEAF:
            yield from _elements_with(elements, listed, structs.name_hash(wanted).to_bytes(4, "little"))
            return
        # A hint has the case of the key's name; it starts with a null for names beyond Latin-1.
        yield from _elements_with(elements, listed.upper(), structs.name_hint(wanted))
        for index, first in enumerate(listed[4::width]):
            if not first:
                yield elements[index]

    def index(self, key: HiveKey) -> Mapping[str, int] | None:
        """Returns the subkeys of a key by their folded names; None as long as few of them were looked up, if they are
        too many, or if one of them is damaged."""
        known = self._indexes.get(key.offset)
        if known is not None:
            return known
        if not _FEW < key.subkey_count <= _MAX_INDEXED:
            return None
        asked = self._asked[key.offset] = self._asked.get(key.offset, 0) + 1
        if asked != _ASKED_OFTEN:
            return None
        try:
            made: dict[str, int] = {}
            for offset in key.subkey_offsets():
                made.setdefault(fold(self.key(offset, key.offset).name), offset)
        except RegfError:
            return None
        while sum(map(len, self._indexes.values())) + len(made) > _MAX_INDEXED:
            oldest = next(iter(self._indexes))
            del self._indexes[oldest], self._asked[oldest]
        self._indexes[key.offset] = made
        return made

    # Values.

    def values(self, owner: int, list_offset: int, count: int) -> list[Value]:
        """Returns the values of the key at `owner`, which its values list names."""
        start, end = self.cell(list_offset, "values list")
        if count * 4 > end - start:
            raise RegfError(f"a list of {count} values in a cell that holds {end - start} bytes", list_offset)
        if count > structs.MAX_VALUES:
            raise RegfError(f"{count} values of one key; read are up to {structs.MAX_VALUES}", list_offset)
        if count > _OWNED_VALUES:
            self._own(list_offset, owner, "a values list")
        offsets = unpack_from(f"<{count}I", self._data, start)
        if len(set(offsets)) != count:
            raise RegfError("a value is listed twice", list_offset)
        read, taken = self._value, set[int]()
        return [read(offset, owner, taken) for offset in offsets]

    def class_name(self, offset: int, size: int, owner: int) -> bytes:
        """Returns the class name of the key at `owner`, as it is stored."""
        if size > _OWNED_SIZE:
            self._own(offset, owner, "a class name")
        return self.raw_cell(offset, size, "class name")

    def _value(self, offset: int, owner: int, taken: set[int]) -> Value:
        """Returns the value whose cell is at `offset`.

        Args:
            owner: the offset of its key.
            taken: the offsets of the data of the key's earlier values. The offset of this value's data is added.
        """
        start, end = self.cell(offset, "value")
        if end - start < _VALUE_SIZE:
            raise RegfError(f"a value in a cell that holds {end - start} bytes", offset)
        signature, length, size, data_offset, kind, flags, _ = _VALUE.unpack_from(self._data, start)
        if signature != b"vk":
            raise RegfError(f"signature {signature!r} instead of {structs.VALUE_SIGNATURE!r}", offset)
        name_start = start + _VALUE_SIZE
        if name_start + length > end:
            raise RegfError(f"a value name of {length} bytes in a cell that has room for {end - name_start}", offset)
        if not length:
            name = ""
        elif flags & structs.VALUE_COMP_NAME:
            name = str(self._data[name_start : name_start + length], "latin-1")
        else:
            name = self._name(name_start, length, 0, offset)
        if size & structs.DATA_IS_RESIDENT:
            size &= ~structs.DATA_IS_RESIDENT
            if size > structs.MAX_RESIDENT:
                raise RegfError(f"{size} bytes of data in a field of {structs.MAX_RESIDENT}", offset)
            # The data is in the offset field, 8 bytes into the structure.
            data = bytes(self._data[start + 8 : start + 8 + size])
        elif size:
            data = self._value_data(data_offset, size, owner, taken)
        else:
            data = b""
        return Value(name, kind, data, bool(flags & structs.VALUE_TOMBSTONE))

    def _value_data(self, offset: int, size: int, owner: int, taken: set[int]) -> bytes:
        if size > _OWNED_SIZE:
            if size > self.size:
                raise RegfError(f"{size} bytes of data in a hive of {self.size}", owner)
            self._own(offset, owner, "data")
            if offset in taken:
                raise RegfError("data that belongs to two values", offset)
            taken.add(offset)
        start, end = self.cell(offset, "data")
        # Some writers put large data into one large cell also in later versions.
        if size > BIG_DATA_SEGMENT and end - start < size and self.base.minor_version >= structs.BIG_DATA_MINOR_VERSION:
            return self._big_data(offset, size, owner, taken)
        if end - start < size:
            raise RegfError(f"{size} bytes of data in a cell that holds {end - start}", offset)
        return bytes(self._data[start : start + size])

    def _big_data(self, offset: int, size: int, owner: int, taken: set[int]) -> bytes:
        signature, count, list_offset = structs.BIG_DATA.unpack(
            self.raw_cell(offset, structs.BIG_DATA.size, "big data")
        )
        if signature != structs.BIG_DATA_SIGNATURE:
            raise RegfError(f"signature {signature!r} instead of {structs.BIG_DATA_SIGNATURE!r}", offset)
        if count != -(-size // BIG_DATA_SEGMENT):
            raise RegfError(f"{count} segments for {size} bytes of data", offset)
        segments = Struct(f"<{count}I").unpack(self.raw_cell(list_offset, 4 * count, "list of segments"))
        if len(set(segments)) != count:
            raise RegfError("a segment is listed twice", list_offset)
        pieces = []
        for segment in segments:
            self._own(segment, owner, "a data segment")
            if segment in taken:
                raise RegfError("a data segment that belongs to two values", segment)
            taken.add(segment)
            pieces.append(self.raw_cell(segment, min(size, BIG_DATA_SEGMENT), "data segment"))
            size -= BIG_DATA_SEGMENT
        return b"".join(pieces)

    # Security.

    def security(self, offset: int) -> bytes:
        """Returns the security descriptor of a key security item."""
        known = self._security.get(offset)
        if known is not None:
            return known
        start, end = self.cell(offset, "key security")
        if end - start < structs.KEY_SECURITY.size:
            raise RegfError(f"a key security item in a cell that holds {end - start} bytes", offset)
        signature, _, _, _, _, size = structs.KEY_SECURITY.unpack_from(self._data, start)
        if signature != structs.SECURITY_SIGNATURE:
            raise RegfError(f"signature {signature!r} instead of {structs.SECURITY_SIGNATURE!r}", offset)
        start += structs.KEY_SECURITY.size
        if start + size > end:
            raise RegfError(f"a descriptor of {size} bytes in a cell that has room for {end - start}", offset)
        self._security[offset] = descriptor = bytes(self._data[start : start + size])
        return descriptor
