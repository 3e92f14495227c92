"""The merged tree: what Windows would show of a chain, and what differs between two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import wclayer
from tests.support import info, put_directories, put_file, put_files
from wclayer.layers.directory import LayerDirectory
from wclayer.layers.directory.database import EntryRow
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.view.spelling import layer_path
from wclayer.win32.inherit import volume_root
from wclayer.win32.names import name_key
from wclayer.win32.reparse import LinkTarget, ReparsePoint

Build = Callable[[LayerWriter], None]


@pytest.fixture
def chain(tmp_path: Path) -> Callable[..., list[Path]]:
    def make(*builds: Build) -> list[Path]:
        """Layers from the base up; given back nearest first."""
        layers: list[Path] = []
        for number, build in enumerate(builds):
            with DirectoryLayerWriter(tmp_path / f"layer{number}", layers[:1]) as writer:
                build(writer)
            layers.insert(0, tmp_path / f"layer{number}")
        return layers

    return make


def _names(tree: wclayer.MergedTree, path: str) -> list[str]:
    node = tree.lookup(path)
    assert node is not None
    return [child.path.rpartition("/")[2] for child in tree.children(node)]


def _content(tree: wclayer.MergedTree, path: str) -> bytes:
    node = tree.lookup(path)
    assert node is not None
    return next(iter(tree.streams(node))).read_all()


def _base(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "Files/d", "Files/d/sub", "Files/gone")
    put_file(writer, "Files/d/file", b"base")
    put_file(writer, "Files/d/other", b"other")
    put_files(writer, "Files/d/sub/x", "Files/gone/y", "Files/becomes directory")


def test_names_of_a_new_directory_are_found_when_memory_has_no_room_for_all(
    chain: Callable[..., list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wclayer.view.merged._REMEMBERED", 4)
    wclayer.create_scratch_layer(tmp_path / "run", chain(_base))
    with wclayer.LayerView(scratch=tmp_path / "run") as view:
        view.mkdir("new")
        for number in range(12):
            assert not view.exists("new/missing")
            view.write_bytes(f"new/{number}", b"%d" % number)
            assert [view.exists(f"new/{known}") for known in range(12)] == [known <= number for known in range(12)]
        view.unlink("new/5")
        assert not view.exists("new/5")
        view.rename("d/file", "new/5")
        assert view.read_bytes("NEW/5") == b"base"
        assert sorted(view.listdir("new")) == sorted(map(str, range(12)))


def test_the_nearest_layer_wins(chain: Callable[..., list[Path]]) -> None:
    def child(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/D")
        put_file(writer, "Files/D/FILE", b"child")
        put_file(writer, "Files/D/new", b"new")

    with wclayer.MergedTree(chain(_base, child)) as tree:
        assert _names(tree, "files") == ["becomes directory", "D", "gone"]
        assert _names(tree, "FILES/d") == ["FILE", "new", "other", "sub"]
        assert _content(tree, "Files/d/file") == b"child"
        assert _content(tree, "Files/d/OTHER") == b"other"
        assert tree.lookup("Files/d/no") is None
        assert tree.lookup("Files/d/file/x") is None


def test_tombstones_hide_and_what_comes_after_shows(chain: Callable[..., list[Path]]) -> None:
    def delete(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        for name in ("Files/gone", "Files/d/file", "Files/becomes directory"):
            writer.put(Entry(name, None))

    def again(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/gone", "Files/becomes directory")
        put_files(writer, "Files/gone/fresh", "Files/becomes directory/z")

    layers = chain(_base, delete, again)
    with wclayer.MergedTree(layers[1:]) as tree:
        assert _names(tree, "Files") == ["d"]
        assert _names(tree, "Files/d") == ["other", "sub"]
    with wclayer.MergedTree(layers) as tree:
        assert _names(tree, "Files") == ["becomes directory", "d", "gone"]
        assert _names(tree, "Files/gone") == ["fresh"]
        assert _names(tree, "Files/becomes directory") == ["z"]


def test_a_deleted_and_replaced_directory_is_opaque(chain: Callable[..., list[Path]]) -> None:
    def child(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        writer.put(Entry("Files/d", None))
        put_directories(writer, "Files/d")
        put_files(writer, "Files/d/only")

    with wclayer.MergedTree(chain(_base, child)) as tree:
        assert _names(tree, "Files/d") == ["only"]


def test_a_file_or_link_over_a_directory_hides_it(chain: Callable[..., list[Path]]) -> None:
    def child(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        put_file(writer, "Files/gone", b"a file now")
        junction = LinkTarget.from_path("C:\\x", is_mount_point=True).encode()
        writer.put(Entry("Files/d", info(0x410), reparse=junction))

    with wclayer.MergedTree(chain(_base, child)) as tree:
        assert _content(tree, "Files/gone") == b"a file now"
        assert _names(tree, "Files/d") == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""), ("/", ""), ("\\", ""), ("C:\\", "Files"), ("c:", "Files"), ("C:\\Windows", "Files/Windows"),
        ("\\Windows\\", "Files/Windows"), ("Windows", "Files/Windows"), ("Files/x", "Files/x"), ("files\\x", "files/x"),
        ("Hives/Sam_Delta", "Hives/Sam_Delta"), ("UtilityVM", "UtilityVM"), ("/C:/x", "Files/C:/x"),
    ],
)  # fmt: skip
def test_path_spellings(text: str, path: str) -> None:
    assert layer_path(text) == path


def test_differences(chain: Callable[..., list[Path]]) -> None:
    def child(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d")
        put_file(writer, "Files/d/file", b"changed", 0x21, s=b"stream")
        entry = Entry("Files/d/other", info(), 5, volume_root().encode())
        writer.put(entry, [DataStream("", 5, (b"other",))])
        writer.put(Entry("Files/gone", None))
        put_files(writer, "Files/new")

    layers = chain(_base, child)
    with wclayer.MergedTree(layers[1:]) as a, wclayer.MergedTree(layers) as b:
        found = {(d.change.value, d.path): set(d.fields) for d in wclayer.diff_trees(a, b)}
    assert found == {
        ("changed", "Files/d/file"): {"size", "content", "attributes", "streams"},
        ("changed", "Files/d/other"): {"security"},
        ("removed", "Files/gone"): set(),
        ("removed", "Files/gone/y"): set(),
        ("added", "Files/new"): set(),
    }


def test_access_times_alone_are_no_difference(chain: Callable[..., list[Path]]) -> None:
    def child(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d")
        basic = info()
        basic.last_access_time += 5
        writer.put(Entry("Files/d/file", basic, 4), [DataStream("", 4, (b"base",))])

    layers = chain(_base, child)
    with wclayer.MergedTree(layers[1:]) as a, wclayer.MergedTree(layers) as b:
        assert list(wclayer.diff_trees(a, b)) == []


def test_a_directory_with_a_tag_that_is_no_surrogate_is_merged(chain: Callable[..., list[Path]]) -> None:
    cloud = ReparsePoint(0x9000701A, b"\1\0\0\0").encode()

    def base(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        writer.put(Entry("Files/cloud", info(0x410), reparse=cloud))
        put_file(writer, "Files/cloud/kept", b"base")

    def child(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        writer.put(Entry("Files/cloud", info(0x412), reparse=cloud))
        put_file(writer, "Files/cloud/new", b"child")

    layers = chain(base, child)
    with wclayer.MergedTree(layers) as tree:
        assert _names(tree, "Files/cloud") == ["kept", "new"]
        assert _content(tree, "Files/cloud/kept") == b"base"
    scratch = layers[0].parent / "scratch"
    wclayer.create_scratch_layer(scratch, layers)
    with wclayer.LayerView(scratch=scratch) as view:
        view.set_attributes("/cloud", 0x410)
        assert view.read_bytes("/cloud/kept") == b"base"
        with pytest.raises(wclayer.EntryIsDirectoryError):
            view.unlink("/cloud")
        assert view.read_bytes("/cloud/new") == b"child"


def test_names_are_listed_by_code_unit(chain: Callable[..., list[Path]]) -> None:
    def base(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        streams = [DataStream("", 0, ()), *(DataStream(name, 0, ()) for name in ("\uff5a", "\U0001f600", "b"))]
        writer.put(Entry("Files/\uff5a", info(), 0), streams)
        put_files(writer, "Files/\U0001f600", "Files/b")

    with wclayer.MergedTree(chain(base)) as tree:
        assert _names(tree, "Files") == ["b", "\U0001f600", "\uff5a"]
        node = tree.lookup("Files/\uff5a")
        assert node is not None
        assert [name for name, _, _ in tree.stream_digests(node)] == ["b", "\U0001f600", "\uff5a"]


def test_names_of_one_file_are_counted_once(chain: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    """For each of them anew, a directory of 2,000 names of a file took ten minutes."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        put_file(writer, "Files/a", b"x")
        for number in range(50):
            writer.put(Entry(f"Files/{number}", info(), link_target="Files/a"))

    asked: list[EntryRow] = []
    names = LayerDirectory.names

    def counted(layer: LayerDirectory, row: EntryRow) -> list[EntryRow]:
        asked.append(row)
        return names(layer, row)

    monkeypatch.setattr(LayerDirectory, "names", counted)
    with wclayer.LayerView(chain(build)) as view:
        assert {status.links for status in view.scan("C:\\")} == {51}
    assert len(asked) == 1


@pytest.mark.parametrize("beginning", ["", "w", "Windows", "\ud800", "zz", "\U0010ffff", "é", "É", "nothing"])
def test_the_names_that_begin_so_are_those_of_the_whole_listing(
    beginning: str, chain: Callable[..., list[Path]]
) -> None:
    names = ["Windows", "W", "\ud800", "windows2", "\ud800x", "é", "Éa", "日本", "\U0010ffff", "\U0010ffffz", "zz"]

    def base(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d", *(f"Files/d/{name}" for name in names[:3]))
        put_files(writer, *(f"Files/d/{name}" for name in names[3:]), "Files/d/Windows/below")

    def middle(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d", "Files/d/WINDOWS")
        put_files(writer, "Files/d/W", "Files/d/windows3")
        writer.put(Entry("Files/d/zz", None))

    def top(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d", "Files/d/windows2", "Files/d/zz")
        writer.put(Entry("Files/d/Éa", None))

    layers = chain(base, middle, top)
    for some in (layers, layers[1:], layers[2:], layers[:1]):
        with wclayer.MergedTree(some) as tree:
            directory = tree.lookup("Files/d")
            assert directory is not None
            key = name_key(beginning)
            expected = {n.key: n for n in tree.children(directory) if name_key(n.name).startswith(key)}
            found = list(tree.beginning(directory, beginning))
            assert {node.key: node for node in found} == expected
            assert len(found) == len(expected)
