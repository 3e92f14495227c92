"""Hives and trees that the tests of registry hives share."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from regipy.registry import RegistryHive

from tests.formats.regf.craft import SOUND, CraftedKey, CraftedValue, changed_pages, craft, crafted_log, dirty
from tests.packages import system_hive
from wclayer.formats.regf import structs
from wclayer.formats.regf.hive import Buffer, Hive
from wclayer.formats.regf.model import Key, KeyMetadata, TreeKey, Value, fold, walk
from wclayer.formats.regf.recovery import marvin32
from wclayer.formats.regf.structs import LayerSemantics
from wclayer.formats.regf.writer import write_hive

SOUND_HIVES = ("SYSTEM", *SOUND)


def hive_bytes(name: str) -> bytes:
    """A sound hive: `SYSTEM`, the real one, or a crafted one by its name."""
    return system_hive() if name == "SYSTEM" else SOUND[name].data


@functools.cache
def two_states() -> tuple[bytes, bytes]:
    """A hive, and what it became: one more value in a page of its own, and one value changed in another."""

    def hive(text: str) -> bytes:
        filler = CraftedValue("filler", 3, bytes(9000))
        below = [CraftedKey("first", [CraftedValue("v", 1, text.encode("utf-16-le")), filler])]
        below.append(CraftedKey("second", [CraftedValue("v", 1, text[::-1].encode("utf-16-le")), filler]))
        return craft(CraftedKey("ROOT", below=below)).data

    return hive("before"), hive("later!")


@functools.cache
def two_step_logs() -> list[bytes]:
    """Two logs in the new format, an entry each, that make the second of `two_states` of the first.

    The second log's entry has all pages of both, as the latest log of Windows may.
    """
    before, after = two_states()
    pages = changed_pages(before, after)
    assert len(pages) > 1
    return [
        new_log(before, 1, pages[:1], len(after) - 4096),
        new_log(before, 2, pages, len(after) - 4096),
    ]


def metadata_of(key: Key) -> dict[str, tuple[KeyMetadata, dict[str, Value]]]:
    """Everything at and below a key as plain values; the order of values and subkeys does not count."""
    return {path: (current.metadata, {value.name: value for value in current.values()}) for path, current in walk(key)}


def regipy_hive(path: Path) -> Any:
    """The hive in a file, opened by regipy."""
    opened: Any = RegistryHive
    return opened(str(path))


def simple_tree() -> TreeKey:
    """A tree with one of everything."""
    root = TreeKey("ROOT", KeyMetadata(133_000_000_000_000_000, b"\x01\x00\x04\x80" + bytes(16), flags=8))
    child = TreeKey("Child", KeyMetadata(5, root.metadata.security, "Klasse".encode("utf-16-le"), control_flags=1))
    child.set(Value("", 1, "default\0".encode("utf-16-le")))
    child.set(Value("dword", 4, b"\x01\x00\x00\x00"))
    child.set(Value("short", 3, b"\x07"))
    child.set(Value("empty", 3, b""))
    child.set(Value("gross\u00e9", 3, bytes(range(256)) * 300))
    child.set(Value("\u043f\u0440", 0x1234, b"12345"))
    root.add(child)
    root.add(TreeKey("\u00e4hnlich", KeyMetadata(7, b"\x01\x00\x04\x80" + bytes(20))))
    root.add(TreeKey("\u20acuro", KeyMetadata(8)))
    return root


def cells(hive: bytes) -> Iterator[tuple[int, bytes]]:
    """Every allocated cell of a hive, by walking its bins: cell offset and contents."""
    position = 0
    bins = hive[structs.BASE_BLOCK_SIZE :]
    while position < len(bins):
        signature, offset, size = struct.unpack_from("<4sII", bins, position)
        assert (signature, offset, size % 4096) == (b"hbin", position, 0)
        cell, end = position + 32, position + size
        while cell < end:
            (length,) = struct.unpack_from("<i", bins, cell)
            assert abs(length) >= 8
            assert abs(length) % 8 == 0
            if length < 0:
                yield cell, bins[cell + 4 : cell - length]
            cell += abs(length)
        assert cell == end
        position = end


def reread(data: Buffer) -> Key:
    return Hive(data).root()


names = st.text(st.characters(codec="utf-16", exclude_characters="\\\0"), min_size=1, max_size=12)
_securities = st.sampled_from([None, b"a" * 20, b"b" * 28, b"c" * 100])
_metadata = st.builds(
    KeyMetadata,
    st.integers(0, 2**63),
    _securities,
    st.sampled_from([b"", b"K\0l\0"]),
    st.sampled_from([0, 8, 0x10, 0x1000]),
    st.sampled_from([0, 1, 0x321]),
    st.just(0),
    st.just(LayerSemantics.NORMAL),
    st.just(False),
)
_data = st.one_of(st.binary(max_size=12), st.integers(16_340, 16_350).map(bytes), st.just(bytes(range(250)) * 200))
values = st.builds(Value, st.one_of(st.just(""), names), st.integers(0, 2**32 - 1), _data, st.just(False))


def _grow(children: st.SearchStrategy[TreeKey]) -> st.SearchStrategy[TreeKey]:
    return st.builds(_tree, names, _metadata, st.lists(values, max_size=4), st.lists(children, max_size=4))


def _tree(name: str, metadata: KeyMetadata, of_key: list[Value], below: list[TreeKey]) -> TreeKey:
    key = TreeKey(name, metadata)
    for value in of_key:
        key.set(value)
    for child in below:
        key.add(child)
    return key


trees = st.recursive(
    st.builds(_tree, names, _metadata, st.lists(values, max_size=4), st.just([])), _grow, max_leaves=12
)


@st.composite
def changed_pairs(draw: st.DrawFn) -> tuple[TreeKey, TreeKey]:
    """A tree and what it became: parts taken away, added, changed."""
    base = draw(trees)
    changed = draw(_changed(base))
    return base, changed


@st.composite
def _changed(draw: st.DrawFn, key: TreeKey) -> TreeKey:
    metadata = draw(_metadata) if draw(st.integers(0, 3)) == 0 else key.metadata
    result = TreeKey(key.name, metadata)
    for value in key.values():
        what = draw(st.integers(0, 3))
        if what:
            result.set(value if what > 1 else value._replace(data=b"changed"))
    if draw(st.booleans()):
        result.set(draw(values))
    for child in key.subkeys():
        assert isinstance(child, TreeKey)
        if draw(st.integers(0, 3)):
            result.add(draw(_changed(child)))
    if draw(st.integers(0, 2)) == 0:
        added = draw(trees)
        if fold(added.name) not in result.below:
            result.add(added)
    return result


def crafted_hive(
    keys: Sequence[tuple[int, str]], *, values: Mapping[int, Sequence[int]] = {}, data: bytes = b""
) -> bytes:
    """A hive that `write_hive` would refuse to write, cell by cell.

    Args:
        keys: the index of each key's parent (the first key is the root) and its name.
        values: for the index of a key, the indexes of its values' data: one number is one vk cell, whoever lists it.
        data: what every value's data is; there is one cell of it.
    """
    body = bytearray(32)

    def put(content: bytes) -> int:
        offset = len(body)
        size = (len(content) + 4 + 7) & ~7
        body.extend(struct.pack("<i", -size) + content.ljust(size - 4, b"\0"))
        return offset

    data_cell = put(data)
    value_cells = {
        number: put(
            structs.KEY_VALUE.pack(b"vk", len(name := f"v{number}".encode()), len(data), data_cell, 3, 1, 0) + name
        )
        for number in sorted({number for listed in values.values() for number in listed})
    }
    below: dict[int, list[int]] = {}
    for index, (parent, _) in enumerate(keys[1:], 1):
        below.setdefault(parent, []).append(index)
    offsets: list[int] = []
    for index, (parent, key_name) in enumerate(keys):
        listed = values.get(index, ())
        list_cell = put(struct.pack(f"<{len(listed)}I", *(value_cells[n] for n in listed))) if listed else 0xFFFFFFFF
        node = structs.KEY_NODE.pack(
            b"nk",
            0x20 | (4 if not index else 0),
            0,
            0,
            0,
            0,
            offsets[parent] if index else 0,
            len(below.get(index, ())),
            0,
            0xFFFFFFFF,
            0xFFFFFFFF,
            len(listed),
            list_cell,
            0xFFFFFFFF,
            0xFFFFFFFF,
            0,
            0,
            0,
            0,
            0,
            0,
            len(key_name),
            0,
        )
        offsets.append(put(node + key_name.encode("latin-1")))
    for index, children in below.items():
        elements = [n for child in children for n in (offsets[child], structs.name_hash(fold(keys[child][1])))]
        cell = put(struct.pack(f"<2sH{len(elements)}I", b"lh", len(children), *elements))
        struct.pack_into("<I", body, offsets[index] + 4 + 28, cell)
    size = -(-(len(body) + 8) // 4096) * 4096
    body.extend(struct.pack("<i", size - len(body)).ljust(size - len(body), b"\0"))
    structs.BIN_HEADER.pack_into(body, 0, b"hbin", 0, size, 0, 0, 0)
    head = bytearray(4096)
    structs.BASE_HEAD.pack_into(head, 0, b"regf", 1, 1, 0, 1, 5, 0, 1, offsets[0], size, 1, b"")
    structs.BASE_CHECKSUM.pack_into(head, 508, structs.checksum(bytes(head[:508])))
    return bytes(head + body)


def new_log(base: bytes, sequence: int, pages: Sequence[tuple[int, bytes]], bins_size: int) -> bytes:
    """A log file in the new format with one entry."""
    return crafted_log(base, sequence, pages, bins_size, marvin32)


def dirty_pair() -> tuple[bytes, bytes, bytes]:
    """A hive, what it became, and the log between them."""
    before = write_hive(simple_tree())
    tree = simple_tree()
    child = tree.subkey("child")
    assert isinstance(child, TreeKey)
    child.set(Value("new", 3, bytes(30_000)))
    after = write_hive(tree)
    return dirty(before), after, new_log(before, 1, changed_pages(before, after), len(after) - 4096)
