"""Reading hives: real ones as other readers see them, crafted ones without harm."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
from pathlib import Path

import pytest
from dissect.regf import regf
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.regf.craft import UNSOUND, counted
from tests.formats.regf.support import (
    SOUND_HIVES,
    cells,
    crafted_hive,
    hive_bytes,
    metadata_of,
    regipy_hive,
    reread,
    simple_tree,
)
from wclayer.errors import FormatError
from wclayer.formats.regf import structs
from wclayer.formats.regf.delta import delta_of, merge
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.model import Key, KeyMetadata, RegfError, RegfLimitError, TreeKey, Value, copy_key, fold, walk
from wclayer.formats.regf.structs import LayerSemantics
from wclayer.formats.regf.text import format_reg
from wclayer.formats.regf.writer import write_hive
from wclayer.win32.security import SecurityDescriptor


@pytest.mark.parametrize("name", SOUND_HIVES)
def test_a_hive_as_dissect_reads_it(name: str) -> None:
    data = hive_bytes(name)
    theirs = regf.RegistryHive(io.BytesIO(data)).root()
    ours: Key = Hive(data).root()
    pending: list[tuple[regf.KeyNode, Key]] = [(theirs, ours)]
    keys = values = 0
    while pending:
        their_key, our_key = pending.pop()
        keys += 1
        assert their_key.name == our_key.name
        assert their_key.cell.LastWriteTime == our_key.metadata.last_written
        assert (their_key.class_name or "") == our_key.metadata.class_name.decode("utf-16-le")
        their_values = list(their_key.values())
        our_values = our_key.values()
        assert len(their_values) == len(our_values)
        for their_value, our_value in zip(their_values, our_values, strict=True):
            values += 1
            assert their_value.name == (our_value.name or "(Default)")
            assert int(their_value.type) == our_value.type
            if not our_value.is_tombstone:
                assert their_value.data == our_value.data
        their_children = {child.name: child for child in their_key.subkeys()}
        our_children = our_key.subkeys()
        assert their_children.keys() == {child.name for child in our_children}
        pending += [(their_children[child.name], child) for child in our_children]
    assert (keys, values) > (30_000, 70_000) if name == "SYSTEM" else keys


def test_keys_and_values_as_regipy_reads_them(tmp_path: Path) -> None:
    """A small hive: regipy takes a minute for a large one."""
    data = hive_bytes("strings")
    (tmp_path / "hive").write_bytes(data)
    theirs = {
        entry.path.strip("\\"): sorted(value.name for value in entry.values)
        for entry in regipy_hive(tmp_path / "hive").recurse_subkeys(fetch_values=True)
    }
    ours = {path: sorted(value.name or "(default)" for value in key.values()) for path, key in walk(reread(data))}
    assert theirs == ours


def test_real_descriptors_parse() -> None:
    hive = Hive(hive_bytes("SYSTEM"))
    descriptors = {key.metadata.security for _, key in walk(hive.root())}
    assert len(descriptors) > 50
    for descriptor in descriptors:
        assert descriptor is not None
        SecurityDescriptor.decode(descriptor)


def test_a_delta_hive_has_layered_keys() -> None:
    hive = Hive(hive_bytes("a delta"))
    assert hive.has_layered_keys
    assert not Hive(hive_bytes("strings")).has_layered_keys
    services = r"ControlSet001\Services"

    def metadata(path: str) -> KeyMetadata:
        key = hive.find(path)
        assert key is not None
        return key.metadata

    service = metadata(rf"{services}\replaced")
    assert (service.semantics, service.inherits_class) == (LayerSemantics.SUPERSEDE_TREE, True)
    subkey = metadata(rf"{services}\replaced\below")
    assert (subkey.semantics, subkey.inherits_class) == (LayerSemantics.SUPERSEDE_TREE, False)
    assert metadata(rf"{services}\replaced alone").semantics is LayerSemantics.SUPERSEDE_LOCAL
    assert metadata(rf"{services}\GONE").semantics is LayerSemantics.TOMBSTONE
    key = hive.find(rf"{services}\merged")
    assert key is not None
    assert key.metadata.semantics is LayerSemantics.NORMAL
    gone, start = key.value("removed"), key.value("start")
    assert gone == Value("removed", 0, b"", is_tombstone=True)
    assert start is not None
    assert not start.is_tombstone


@pytest.mark.parametrize("name", SOUND_HIVES)
def test_odd_hives_are_read_whole(name: str) -> None:
    hive = Hive(hive_bytes(name))
    assert sum(1 + len(key.values()) for _, key in walk(hive.root()) if key.metadata is not None) > 0


@pytest.mark.parametrize("name", UNSOUND)
def test_bad_hives_are_errors_that_name_the_cell(name: str) -> None:
    data, problem = UNSOUND[name]
    with pytest.raises(RegfError, match=problem) as caught:
        metadata_of(reread(data))
    if name != "half a base block":
        assert caught.value.offset is not None
        assert str(caught.value).startswith(f"cell {caught.value.offset:#x}: ")


def test_what_the_crafted_hives_hold() -> None:
    def data(name: str, key: str, value: str) -> bytes:
        found = Hive(hive_bytes(name)).find(key)
        assert found is not None
        one = found.value(value)
        assert one is not None
        return one.data

    root = Hive(hive_bytes("big data")).root()
    for size in (16_344, 16_345, 16_348, 40_000):
        large = root.value(str(size))
        assert large is not None
        assert large.data == counted(size)
    assert {key.name for key in Hive(hive_bytes("odd names")).root().subkeys()} == {
        "testnew\r\nne",
        "testnu\0l",
    }
    assert data("strings", "key", "") == "test тест\0".encode("utf-16-le")
    assert data("strings", "KEY", "2") == "привет\0как дела?\0\0".encode("utf-16-le")
    subkey = Hive(hive_bytes("control flags")).find(r"1\2")
    assert subkey is not None
    # The 32-bit flag, in the place where Windows Vista and later have it.
    assert subkey.metadata.control_flags == 1
    many = Hive(hive_bytes("many subkeys")).find("key_with_many_subkeys")
    assert many is not None
    assert len(many.subkeys()) == 5000
    found = many.subkey("4500")
    assert found is not None
    assert found.name == "4500"


def test_every_key_is_found_by_its_path_in_any_case() -> None:
    for name in ("Unicode", "upcase", "extended ASCII", "many subkeys", "index leaves", "fast leaves"):
        hive = Hive(hive_bytes(name))
        for path, key in walk(hive.root()):
            for spelling in (path, path.upper(), path.lower()):
                if fold(spelling) == fold(path):
                    found = hive.find(spelling)
                    assert found is not None, (name, spelling)
                    assert found.name == key.name
        assert hive.find("no such key") is None


def test_opening_reads_nothing_but_the_base_block() -> None:
    data = hive_bytes("SYSTEM")
    hive = Hive(data)
    assert sum(hive._admitted_pages) == 0
    assert hive.find(r"ControlSet001\Services\Tcpip\Parameters") is not None
    assert 0 < sum(hive._admitted_pages) < 60


@pytest.mark.parametrize("minor", [3, 4, 5, 6])
def test_all_versions(minor: int) -> None:
    tree = simple_tree()
    data = write_hive(tree, minor_version=minor)
    assert Hive(data).base.minor_version == minor
    assert metadata_of(reread(data)) == metadata_of(tree)


@pytest.mark.parametrize(("major", "minor"), [(1, 2), (1, 7), (2, 5), (0, 3)])
def test_unknown_versions_are_refused(major: int, minor: int) -> None:
    data = bytearray(write_hive(simple_tree()))
    struct.pack_into("<II", data, 20, major, minor)
    with pytest.raises(RegfError, match="version"):
        Hive(bytes(data))


def _patched(data: bytes, offset: int, at: int, form: str, *numbers: int) -> bytes:
    """A hive with numbers written `at` bytes into the contents of the cell at `offset`."""
    patched = bytearray(data)
    struct.pack_into(form, patched, structs.BASE_BLOCK_SIZE + offset + 4 + at, *numbers)
    return bytes(patched)


def _cell(data: bytes, signature: bytes, number: int = 0) -> int:
    return [offset for offset, content in cells(data) if content[:2] == signature][number]


def _deep() -> bytes:
    root = TreeKey("ROOT")
    child = TreeKey("child")
    child.add(TreeKey("grandchild"))
    root.add(child)
    return write_hive(root)


def test_a_cycle_of_keys_is_an_error() -> None:
    data = _deep()
    root, child = _cell(data, b"nk"), _cell(data, b"nk", 1)
    lists = [offset for offset, content in cells(data) if content[:2] == b"lh"]
    # The inner list leads back to the child itself, or to the root.
    for target in (root, child):
        for parent in (child, root):
            cyclic = _patched(_patched(data, lists[0], 4, "<I", target), target, 16, "<I", parent)
            with pytest.raises(RegfError, match="parent"):
                metadata_of(reread(cyclic))


def test_a_key_listed_twice_is_an_error() -> None:
    root = TreeKey("ROOT")
    root.add(TreeKey("a"))
    root.add(TreeKey("b"))
    data = write_hive(root)
    listed = _cell(data, b"lh")
    twice = _patched(data, listed, 12, "<I", _cell(data, b"nk", 1))
    with pytest.raises(RegfError, match="listed twice"):
        metadata_of(reread(twice))


def test_index_roots_do_not_nest_and_do_not_repeat() -> None:
    root = TreeKey("ROOT")
    for number in range(1100):
        root.add(TreeKey(f"key{number}"))
    data = write_hive(root)
    index_root = _cell(data, b"ri")
    with pytest.raises(RegfError, match="index root in an index root"):
        metadata_of(reread(_patched(data, index_root, 4, "<I", index_root)))
    with pytest.raises(RegfError, match="names a list twice"):
        metadata_of(reread(_patched(data, index_root, 4, "<II", *[_cell(data, b"lh")] * 2)))
    hive = Hive(_patched(data, index_root, 4, "<I", index_root))
    with pytest.raises(RegfError, match="index root"):
        hive.root().subkey("key5")


@pytest.mark.parametrize("count", [0x7FFFFFFF, 0xFFFFFFFF, 70_000])
def test_absurd_counts_are_errors(count: int) -> None:
    data = write_hive(simple_tree())
    child = _cell(data, b"nk", 1)
    for at, message in ((20, "subkeys"), (36, "values")):
        with pytest.raises(RegfError, match=message):
            metadata_of(reread(_patched(data, child if at == 36 else _cell(data, b"nk"), at, "<I", count)))
    value = _cell(data, b"vk")
    with pytest.raises(RegfError, match="bytes of data"):
        metadata_of(reread(_patched(data, value, 4, "<I", count & 0x7FFFFFFF | 0x10000000)))


def test_one_large_value_does_not_stand_for_many() -> None:
    """Values that share their data, or lists that share their values, would make a small hive a huge one."""
    root = TreeKey("ROOT")
    for name in ("a", "b"):
        root.set(Value(name, 3, bytes(20_000)))
    data = write_hive(root)
    first, second = _cell(data, b"vk"), _cell(data, b"vk", 1)
    (shared_data,) = struct.unpack_from("<I", data, 4096 + first + 4 + 8)
    with pytest.raises(RegfError, match="belongs to"):
        metadata_of(reread(_patched(data, second, 8, "<I", shared_data)))
    tree = TreeKey("ROOT")
    for name in ("a", "b"):
        child = TreeKey(name)
        for number in range(70):
            child.set(Value(f"v{number}", 4, bytes(4)))
        tree.add(child)
    data = write_hive(tree)
    (listed,) = struct.unpack_from("<I", data, 4096 + _cell(data, b"nk", 1) + 4 + 40)
    with pytest.raises(RegfError, match="belongs to"):
        metadata_of(reread(_patched(data, _cell(data, b"nk", 2), 40, "<I", listed)))


def test_overlapping_cells_are_errors() -> None:
    data = write_hive(simple_tree())
    child = _cell(data, b"nk", 1)
    # A cell that reaches into the next one hides it.
    hidden = bytearray(data)
    (size,) = struct.unpack_from("<i", hidden, 4096 + 32)
    struct.pack_into("<i", hidden, 4096 + 32, size - 8)
    with pytest.raises(RegfError, match="no allocated cell starts here"):
        metadata_of(reread(bytes(hidden)))
    with pytest.raises(RegfError, match="no allocated cell starts here"):
        Hive(data).key(child + 8, None)
    for offset in (3, len(data), 0xFFFFFFF8):
        with pytest.raises(RegfError, match="no cell can be there"):
            Hive(data).key(offset, None)


@given(st.binary(max_size=6000))
def test_arbitrary_bytes_are_no_hive(data: bytes) -> None:
    with pytest.raises(RegfError):
        metadata_of(reread(data))


@given(st.lists(st.tuples(st.integers(0, 8191), st.integers(0, 255)), min_size=1, max_size=12))
def test_a_damaged_hive_is_read_or_refused(damage: list[tuple[int, int]]) -> None:
    data = bytearray(_SMALL)
    for position, byte in damage:
        data[position % len(data)] = byte
    try:
        metadata_of(reread(bytes(data)))
    except RegfError as error:
        assert str(error)


def _small() -> bytes:
    tree = simple_tree()
    child = tree.subkey("Child")
    assert isinstance(child, TreeKey)
    child.by_name.pop("GROSS\u00c9")
    return write_hive(tree)


_SMALL = _small()


def test_a_walk_of_a_hive_keeps_little_in_memory() -> None:
    data = hive_bytes("SYSTEM")
    tracemalloc.start()
    hive = Hive(data)
    for _, key in walk(hive.root()):
        key.values()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_more_levels_than_windows_allows_are_an_error() -> None:
    deep = crafted_hive([(max(0, index - 1), "k") for index in range(514)])
    with pytest.raises(RegfError, match="more than 512 levels"):
        list(walk(Hive(deep).root()))
    with pytest.raises(RegfError, match="more than 512 levels"):
        copy_key(Hive(deep).root())
    with pytest.raises(RegfError, match="more than 512 levels"):
        list(format_reg([("HKLM", Hive(deep).root())]))
    assert len(list(walk(Hive(crafted_hive([(max(0, index - 1), "k") for index in range(513)])).root()))) == 513


def test_a_key_s_name_is_no_longer_than_windows_allows() -> None:
    assert [key.name for key in Hive(crafted_hive([(0, "r"), (0, "a" * 255)])).root().subkeys()] == ["a" * 255]
    with pytest.raises(RegfError, match="Windows allows 255"):
        Hive(crafted_hive([(0, "r"), (0, "a" * 256)])).root().subkeys()


def test_paths_that_repeat_long_names_are_limited() -> None:
    # 100 levels of long names, and then many keys below: each path repeats all of it.
    chain = [(max(0, index - 1), "n" * 250) for index in range(101)]
    hive = Hive(crafted_hive([*chain, *((100, f"k{number}") for number in range(3000))]))
    tracemalloc.start()
    with pytest.raises(RegfLimitError, match="key_paths"):
        for _ in walk(hive.root(), max_paths=10_000_000):
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
    with pytest.raises(RegfLimitError, match="key_paths"):
        for _ in format_reg([("HKLM", hive.root())], max_paths=10_000_000):
            pass


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({0: [1, 1]}, "listed twice"),
        ({0: [1, 2]}, "two values"),
        ({0: [1], 1: [1]}, "belongs to"),
        ({0: [1], 1: [2]}, "belongs to"),
    ],
)
def test_data_that_stands_for_more_than_one_value_is_an_error(values: dict[int, list[int]], message: str) -> None:
    hive = Hive(crafted_hive([(0, "r"), (0, "a")], values=values, data=bytes(1000)))
    with pytest.raises(RegfError, match=message):
        metadata_of(hive.root())


def test_mutated_hives_are_read_and_written_or_refused() -> None:
    source = random.Random(13)
    for _ in range(600):
        data = bytearray(_SMALL)
        for _ in range(source.randrange(1, 6)):
            # Mostly where the structures are: the base block's fields, and the cells.
            at = source.choice((source.randrange(48), source.randrange(4096, len(data))))
            data[at] = source.choice((0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)))
        try:
            root = Hive(bytes(data)).root()
            merged = merge(reread(_SMALL), root)
            for key in (root, merged):
                if key is not None:
                    list(format_reg([("HKLM", key)], max_paths=1 << 20))
                    assert len(write_hive(key, max_size=1 << 20)) <= 1 << 20
            delta_of(reread(_SMALL), root)
        except FormatError as error:
            assert str(error)
