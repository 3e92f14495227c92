"""What is written is a hive to every other reader, and gives back the tree."""

from __future__ import annotations

import base64
import io
import struct
import subprocess
import tracemalloc
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from dissect.regf import regf
from hypothesis import given

from tests.formats.regf.craft import CraftedKey, craft
from tests.formats.regf.support import (
    SOUND_HIVES,
    cells,
    hive_bytes,
    metadata_of,
    regipy_hive,
    reread,
    simple_tree,
    trees,
)
from tests.support import witness
from wclayer.formats.regf import structs
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.hive import Hive, HiveKey
from wclayer.formats.regf.model import KeyMetadata, RegfError, RegfLimitError, TreeKey, Value, fold, walk
from wclayer.formats.regf.writer import write_hive

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")


@pytest.mark.parametrize("name", SOUND_HIVES)
def test_reading_writing_reading_is_identity(name: str) -> None:
    hive = Hive(hive_bytes(name))
    written = write_hive(hive.root(), minor_version=hive.base.minor_version, has_layered_keys=hive.has_layered_keys)
    again = Hive(written)
    assert metadata_of(again.root()) == metadata_of(hive.root())
    assert again.has_layered_keys == hive.has_layered_keys
    assert not again.is_dirty


@given(trees)
def test_any_tree_survives(tree: TreeKey) -> None:
    for minor in (3, 5):
        data = write_hive(tree, minor_version=minor)
        assert metadata_of(reread(data)) == metadata_of(tree)
        assert write_hive(tree, minor_version=minor) == data


def _tree_for_witnesses() -> TreeKey:
    root = empty_root(133_000_000_000_000_000)
    child = TreeKey("Child", KeyMetadata(132_000_000_000_000_000, root.metadata.security, "Klasse".encode("utf-16-le")))
    child.set(Value("", 1, "default\0".encode("utf-16-le")))
    child.set(Value("dword", 4, b"\x2a\0\0\0"))
    child.set(Value("large", 3, bytes(range(256)) * 300))
    child.set(Value("many", 7, "a\0b\0\0".encode("utf-16-le")))
    root.add(child)
    many = TreeKey("Many", KeyMetadata(131_000_000_000_000_000, root.metadata.security))
    for number in range(1200):
        many.add(TreeKey(f"key{number}", KeyMetadata(1, root.metadata.security)))
    root.add(many)
    root.add(TreeKey("\u043f\u0440\u0438", KeyMetadata(1, child.metadata.security)))
    return root


@pytest.mark.parametrize("minor", [3, 5])
def test_hivex_reads_what_is_written(minor: int, tmp_path: Path) -> None:
    tree = _tree_for_witnesses()
    path = tmp_path / "hive"
    path.write_bytes(write_hive(tree, minor_version=minor))
    xml = subprocess.run([witness("hivexml"), str(path)], capture_output=True, check=True).stdout
    theirs: dict[str, dict[str, tuple[str, str]]] = {}
    pending = [("", ElementTree.fromstring(xml).findall("node")[0])]
    while pending:
        at, node = pending.pop()
        theirs[at] = {
            value.get("key") or "": (value.get("type") or "", value.get("value") or value.text or "")
            for value in node.findall("value")
        }
        pending += [(f"{at}\\{n.get('name')}".lstrip("\\"), n) for n in node.findall("node")]
    assert theirs.keys() == {path for path, _ in walk(tree)}
    assert theirs["Child"]["dword"] == ("int32", "42")
    assert theirs["Child"][""] == ("string", "default")
    assert theirs["Many"] == {}


@pytest.mark.parametrize("minor", [3, 5, 6])
def test_dissect_reads_what_is_written(minor: int) -> None:
    tree = _tree_for_witnesses()
    data = write_hive(tree, minor_version=minor)
    root = regf.RegistryHive(io.BytesIO(data)).root()
    assert {child.name for child in root.subkeys()} == {"Child", "Many", "при"}
    child = root.subkey("child")
    assert child.class_name == "Klasse"
    assert child.cell.LastWriteTime == 132_000_000_000_000_000
    assert {value.name: value.data for value in child.values()} == {
        value.name or "(Default)": value.data for value in tree.below["CHILD"].values()
    }
    assert len(list(root.subkey("many").subkeys())) == 1200
    assert root.subkey("MANY").subkey("KEY777").name == "key777"


def test_regipy_reads_what_is_written(tmp_path: Path) -> None:
    tree = _tree_for_witnesses()
    (tmp_path / "hive").write_bytes(write_hive(tree))
    hive = regipy_hive(tmp_path / "hive")
    assert hive.get_key("\\Child").get_value("dword") == 42
    assert hive.get_key("\\Child").get_value("many") == ["a", "b"]
    paths = {entry.path.strip("\\") for entry in hive.recurse_subkeys(fetch_values=False)}
    assert paths == {path for path, _ in walk(tree)}


def test_file_knows_the_format(tmp_path: Path) -> None:
    (tmp_path / "hive").write_bytes(write_hive(simple_tree()))
    output = subprocess.run([witness("file"), str(tmp_path / "hive")], capture_output=True, text=True, check=True)
    assert "MS Windows registry file" in output.stdout


def test_hivex_writes_into_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "hive"
    path.write_bytes(write_hive(_tree_for_witnesses()))
    commands = f"load {path}\ncd Child\nadd New\ncd New\nsetval 1\nname\nstring:value\ncommit\n"
    subprocess.run([witness("hivexsh"), "-w"], input=commands, text=True, check=True, capture_output=True)
    found = Hive(path.read_bytes()).find(r"Child\New")
    assert found is not None
    assert found.values() == [Value("name", 1, "value\0".encode("utf-16-le"))]


def test_layout() -> None:
    tree = _tree_for_witnesses()
    data = write_hive(tree, file_name=r"\SystemRoot\System32\Config\A_LONG_NAME_OF_A_HIVE", sequence=7)
    hive = Hive(data)
    assert hive.base[:3] == (b"regf", 7, 7)
    assert hive.base.last_written == tree.metadata.last_written
    assert hive.base.bins_size == len(data) - 4096
    assert hive.file_name == r"32\Config\A_LONG_NAME_OF_A_HIVE"
    assert len(data) % 4096 == 0
    contents = dict(cells(data))
    # Descriptors are stored once, counted, and linked to a ring.
    items = {offset: struct.unpack_from("<2sHIIII", c) for offset, c in contents.items() if c[:2] == b"sk"}
    keys = [structs.KEY_NODE.unpack_from(c) for c in contents.values() if c[:2] == b"nk"]
    assert len(items) == len({key.metadata.security for _, key in walk(tree)})
    for offset, (_, _, flink, blink, count, _) in items.items():
        assert count == sum(key[13] == offset for key in keys)
        assert items[flink][3] == offset
        assert items[blink][2] == offset
    # Leaves of at most 507 elements, sorted by folded name, under one index root.
    leaves = [c for c in contents.values() if c[:2] == b"lh"]
    assert sorted(struct.unpack_from("<H", leaf, 2)[0] for leaf in leaves) == [3, 186, 507, 507]
    names = [fold(key.name) for key in hive.root().subkeys()]
    assert names == sorted(names)
    root = next(key for key in keys if key[1] & 4)
    assert root[15] == 2 * len("Child")
    assert root[17] == len("Klasse") * 2
    child = next(key for key in keys if key[22])
    assert child[18] == 2 * len("dword")
    assert child[19] == 256 * 300


def test_a_minimal_hive() -> None:
    hive = Hive(write_hive(empty_root()))
    assert hive.root().name == "ROOT"
    assert hive.root().metadata == empty_root().metadata
    assert len(hive.data) == 8192


def test_hashes_are_those_of_a_real_hive() -> None:
    data = hive_bytes("SYSTEM")
    checked = 0
    contents = dict(cells(data))
    for content in contents.values():
        if content[:2] == b"lh":
            (count,) = struct.unpack_from("<H", content, 2)
            for offset, hashed in struct.iter_unpack("<II", content[4 : 4 + 8 * count]):
                if contents.get(offset, b"")[:2] == b"nk":
                    checked += 1
                    parent = structs.KEY_NODE.unpack_from(contents[offset])[6]
                    assert structs.name_hash(fold(Hive(data).key(offset, parent).name)) == hashed
                    if checked > 500:
                        return
    raise AssertionError("no hash leaf")


def test_sizes_of_a_real_hive_are_kept() -> None:
    """What a node says of the largest names and data below it is what Windows wrote."""
    data = hive_bytes("SYSTEM")
    written = write_hive(Hive(data).root(), minor_version=5)

    def largest(hive: Hive) -> dict[str, tuple[int, ...]]:
        """Of each key: its largest subkey name, class name, value name and value data."""
        found = {}
        for path, key in walk(hive.root()):
            assert isinstance(key, HiveKey)
            start, _ = hive.cell(key.offset, "key")
            node = structs.KEY_NODE.unpack_from(hive.data, start)
            found[path] = (node[15], *node[17:20])
        return found

    ours, theirs = largest(Hive(written)), largest(Hive(data))
    different = [path for path in theirs if any(a > b for a, b in zip(ours[path], theirs[path], strict=True))]
    # Windows never lowers them, so they may be larger there.
    assert different == []


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda root: root.below.update(A=TreeKey("a"), B=TreeKey("A")), "two subkeys"),
        (lambda root: root.by_name.update(A=Value("a", 1, b""), B=Value("A", 1, b"")), "two values"),
        (lambda root: root.add(TreeKey("n" * 70_000)), "a name of 70000 characters"),
        (lambda root: _deepen(root, 514), "more than 512 levels"),
    ],
)
def test_what_is_no_hive_is_refused(build: object, message: str) -> None:
    root = TreeKey("ROOT")
    build(root)  # type: ignore[operator]
    with pytest.raises(RegfError, match=message):
        write_hive(root)


def _deepen(root: TreeKey, levels: int) -> None:
    for _ in range(levels):
        child = TreeKey("down")
        root.add(child)
        root = child


def test_duplicate_names_of_a_crafted_hive_are_not_lost_silently() -> None:
    twice = craft(CraftedKey("ROOT", below=[CraftedKey("a"), CraftedKey("4500"), CraftedKey("4500")]))
    with pytest.raises(RegfError, match="4500"):
        write_hive(Hive(twice.data).root())


_LARGE = (16_345, 16_348, 16_349, 32_688, 32_689, 50_000)


def _large_values() -> TreeKey:
    root = empty_root(1)
    for size in _LARGE:
        root.set(Value(f"v{size}", 3, bytes(index % 251 for index in range(size))))
    return root


def test_every_segment_of_big_data_has_a_cell_of_windows_size() -> None:
    data = write_hive(_large_values())
    held = {offset: len(content) + 4 for offset, content in cells(data)}
    seen = 0
    for _, content in cells(data):
        if content[:2] == b"db":
            _, count, listed = structs.BIG_DATA.unpack_from(content)
            offsets = struct.unpack_from(f"<{count}I", data, 4096 + listed + 4)
            assert [held[offset] for offset in offsets] == [16_352] * count
            seen += 1
    assert seen == len(_LARGE)


def test_other_readers_read_the_end_of_big_data(tmp_path: Path) -> None:
    tree = _large_values()
    data = write_hive(tree)
    expected = {value.name: value.data for value in tree.values()}
    assert {value.name: value.data for value in Hive(data).root().values()} == expected
    theirs = regf.RegistryHive(io.BytesIO(data)).root()
    assert {value.name: value.data for value in theirs.values()} == expected
    (tmp_path / "hive").write_bytes(data)
    xml = subprocess.run([witness("hivexml"), str(tmp_path / "hive")], capture_output=True, check=True).stdout
    node = ElementTree.fromstring(xml).findall("node")[0]
    hivex = {v.get("key"): base64.b64decode(v.get("value") or v.text or "") for v in node.findall("value")}
    assert hivex == expected


def test_the_largest_names_are_counted_in_utf_16_units() -> None:
    root = empty_root(1)
    child = TreeKey("\U0001f600\U0001f600\U0001f600", KeyMetadata(1))
    child.set(Value("\U0001f600\u00e9", 4, bytes(4)))
    root.add(child)
    hive = Hive(write_hive(root))
    nodes = [structs.KEY_NODE.unpack_from(content) for _, content in cells(hive.data) if content[:2] == b"nk"]
    assert [(node[15], node[18]) for node in nodes] == [(12, 0), (0, 6)]


def test_a_hive_larger_than_the_limit_is_refused_before_it_is_made() -> None:
    tracemalloc.start()
    with pytest.raises(RegfLimitError, match="hive_size"):
        write_hive(_large_values(), max_size=100_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
