"""Hives and trees that the tests of registry hives share."""

from __future__ import annotations

import lzma
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from regipy.registry import RegistryHive

from tests.support import shared
from wclayer.formats.regf import structs
from wclayer.formats.regf.hive import Buffer, Hive
from wclayer.formats.regf.model import Key, KeyFacts, TreeKey, Value, fold, walk
from wclayer.formats.regf.structs import LayerSemantics

SOUND_HIVES = (
    "BCD", "BigDataHive", "BogusKeyNamesHive", "CompHive", "DupNameHive", "EffectiveSizeHive", "EmptyHive",
    "ExtendedASCIIHive", "GarbageHive", "HealedHive", "ManySubkeysHive", "MultiSzHive", "NTUSER.DAT", "NewFlagsHive",
    "StringValuesHive", "SYSTEM", "System_Delta", "UnicodeHive", "UpcaseHive", "ValuesOrderHive", "WrongOrderHive",
    "NewDirtyHive1.NewDirtyHive", "NewDirtyHive1.RecoveredHive_Windows10", "NewDirtyHive2.NewDirtyHive",
    "OldDirtyHive.OldDirtyHive", "OldDirtyHive.RecoveredHive_Windows7", "transactions_NTUSER.DAT",
)  # fmt: skip


def hive_bytes(name: str) -> bytes:
    """A hive of the shared vectors."""
    return lzma.decompress(shared(f"hives/{name}.xz").read_bytes())


def facts_of(key: Key) -> dict[str, tuple[KeyFacts, dict[str, Value]]]:
    """Everything at and below a key as plain values; the order of values and subkeys does not count."""
    return {path: (current.facts, {value.name: value for value in current.values()}) for path, current in walk(key)}


def regipy_hive(path: Path) -> Any:
    """The hive in a file, opened by regipy."""
    opened: Any = RegistryHive
    return opened(str(path))


def simple_tree() -> TreeKey:
    """A tree with one of everything."""
    root = TreeKey("ROOT", KeyFacts(133_000_000_000_000_000, b"\x01\x00\x04\x80" + bytes(16), flags=8))
    child = TreeKey("Child", KeyFacts(5, root.facts.security, "Klasse".encode("utf-16-le"), control_flags=1))
    child.set(Value("", 1, "default\0".encode("utf-16-le")))
    child.set(Value("dword", 4, b"\x01\x00\x00\x00"))
    child.set(Value("short", 3, b"\x07"))
    child.set(Value("empty", 3, b""))
    child.set(Value("gross\u00e9", 3, bytes(range(256)) * 300))
    child.set(Value("\u043f\u0440", 0x1234, b"12345"))
    root.add(child)
    root.add(TreeKey("\u00e4hnlich", KeyFacts(7, b"\x01\x00\x04\x80" + bytes(20))))
    root.add(TreeKey("\u20acuro", KeyFacts(8)))
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
_facts = st.builds(
    KeyFacts,
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
    return st.builds(_tree, names, _facts, st.lists(values, max_size=4), st.lists(children, max_size=4))


def _tree(name: str, facts: KeyFacts, of_key: list[Value], below: list[TreeKey]) -> TreeKey:
    key = TreeKey(name, facts)
    for value in of_key:
        key.set(value)
    for child in below:
        key.add(child)
    return key


trees = st.recursive(st.builds(_tree, names, _facts, st.lists(values, max_size=4), st.just([])), _grow, max_leaves=12)


@st.composite
def changed_pairs(draw: st.DrawFn) -> tuple[TreeKey, TreeKey]:
    """A tree and what it became: parts taken away, added, changed."""
    base = draw(trees)
    changed = draw(_changed(base))
    return base, changed


@st.composite
def _changed(draw: st.DrawFn, key: TreeKey) -> TreeKey:
    facts = draw(_facts) if draw(st.integers(0, 3)) == 0 else key.facts
    result = TreeKey(key.name, facts)
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
