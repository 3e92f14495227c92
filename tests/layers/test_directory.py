"""Layer directories: what lies on the host, what Windows would find, what `check` sees."""

from __future__ import annotations

import errno
import io
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wclayer
from tests.support import archive, contents, info, layer_tar, member, nothing_left_in, put_directories, put_file
from wclayer import sample
from wclayer.host import system
from wclayer.host.root import HostRoot, remove_tree
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.opening import layers_stay_open
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.win32.attributes import FileBasicInfo


def _layer(path: Path, build: Callable[[LayerWriter], None], *parents: Path) -> Path:
    with DirectoryLayerWriter(path, parents) as writer:
        build(writer)
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return _layer(tmp_path / "base", sample.write_base)


@pytest.fixture
def child(tmp_path: Path, base: Path) -> Path:
    return _layer(tmp_path / "child", sample.write_child, base)


def test_contents_are_plain_files(base: Path) -> None:
    assert (base / "Files/Windows/win.ini").read_bytes().startswith(b"; for 16-bit")
    assert (base / "UtilityVM/Files/EFI/Microsoft/Boot/BCD").stat().st_size == 8192
    # A link is a file with no content: never a link of the host.
    junction = base / "Files/Documents and Settings"
    assert junction.is_dir()
    assert not any(path.is_symlink() for path in base.rglob("*"))


def test_hard_links_are_hard_links(base: Path) -> None:
    library = base / "Files/Windows/System32/component07.dll"
    (store,) = base.glob("Files/Windows/WinSxS/*component-07*/component07.dll")
    assert os.path.samefile(library, store)


def test_the_boot_store_is_saved(base: Path) -> None:
    assert (base / "bcd.bak").read_bytes() == (base / "UtilityVM/Files/EFI/Microsoft/Boot/BCD").read_bytes()
    assert not os.path.samefile(base / "bcd.bak", base / "UtilityVM/Files/EFI/Microsoft/Boot/BCD")


def test_parents_are_recorded_nearest_first(tmp_path: Path, base: Path, child: Path) -> None:
    grandchild = _layer(tmp_path / "grandchild", lambda w: put_directories(w, "Files"), child)
    assert json.loads((grandchild / "layerchain.json").read_bytes()) == ["../child", "../base"]
    assert not (base / "layerchain.json").exists()


def test_a_link_into_a_parent_has_the_parent_s_file(base: Path, child: Path) -> None:
    (library,) = base.glob("Files/Windows/WinSxS/*component-00*/component00.dll")
    assert os.path.samefile(library, child / "Files/app/component.dll")
    with open_layer(child) as layer:
        row = layer.lookup(r"FILES\APP\COMPONENT.DLL")
        assert row is not None
        assert row.sha256 is not None
        assert layer.entry(row).eas


def test_times_of_directories_are_right_at_the_end(tmp_path: Path) -> None:
    """Also after files, links and tombstones below them."""

    def build_parent(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d")
        put_file(writer, "Files/d/x")

    parent = _layer(tmp_path / "p", build_parent)

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d")
        put_file(writer, "Files/d/a", b"1")
        writer.put(Entry("Files/d/b", info(), link_target="Files/d/a"))
        writer.put(Entry("Files/d/x", None))

    layer = _layer(tmp_path / "c", build, parent)
    expected = (info().last_write_time - 116_444_736_000_000_000) * 100
    assert (layer / "Files").stat().st_mtime_ns == expected
    assert (layer / "Files/d").stat().st_mtime_ns == expected
    assert (layer / "Files/d/a").stat().st_mtime_ns == expected


def test_inconsistent_case_resolves_as_windows_does(tmp_path: Path) -> None:
    """`Windows/INF` and `Windows/inf` are one directory; each entry keeps its spelling, and the bytes come back."""
    data = archive(
        member(b"Files", kind=b"5"),
        member(b"Files/Windows", kind=b"5"),
        member(b"Files/Windows/INF", kind=b"5"),
        member(b"Files/Windows/inf/a.inf", b"a"),
        member(b"files/WINDOWS/Inf/b.inf", b"b"),
        member(b"Files/Windows/INF/sub", kind=b"5"),
        member(b"Files/Windows/inf/SUB/c", b"c"),
        member(b"Files/link", kind=b"1", link=b"Files/windows/iNf/A.INF"),
        member("Files/Größe".encode(), kind=b"5"),
        member("Files/GRÖßE/d".encode(), b"d"),
    )
    layer = tmp_path / "layer"
    wclayer.import_layer_from_tar(io.BytesIO(data), layer)
    assert sorted(os.listdir(layer / "Files")) == sorted(["Windows", "link", "Größe"])
    assert sorted(os.listdir(layer / "Files/Windows")) == ["INF"]
    assert sorted(os.listdir(layer / "Files/Windows/INF")) == ["a.inf", "b.inf", "sub"]
    assert (layer / "Files/Windows/INF/sub/c").read_bytes() == b"c"
    assert os.path.samefile(layer / "Files/link", layer / "Files/Windows/INF/a.inf")
    with wclayer.new_layer_reader(layer) as reader:
        names = [item.entry.name for item in reader]
    assert "files/WINDOWS/Inf/b.inf" in names
    assert "Files/Windows/inf/SUB/c" in names
    raw = io.BytesIO()
    assert wclayer.export_layer_to_tar(raw, layer).unchanged
    assert raw.getvalue() == data


def test_inconsistent_case_in_a_child_resolves_in_its_parents(tmp_path: Path, base: Path) -> None:
    data = archive(
        member(b"Files", kind=b"5"),
        member(b"Files/l", kind=b"1", link=b"FILES/windows/WIN.INI"),
        member(b"Files/Windows", kind=b"5"),
        member(b"files/windows/.wh.SYSTEM32"),
    )
    layer = tmp_path / "child"
    wclayer.import_layer_from_tar(io.BytesIO(data), layer, [base])
    assert os.path.samefile(layer / "Files/l", base / "Files/Windows/win.ini")
    with wclayer.MergedTree.of(layer, with_parents=True) as tree:
        assert tree.lookup("Files/Windows/System32") is None
        assert tree.lookup("Files/Windows/WinSxS") is not None


def test_names_that_the_host_cannot_hold(tmp_path: Path) -> None:
    long = "日" * 255

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", f"Files/{long}")
        put_file(writer, f"Files/{long}/{'本' * 200}", b"long")
        put_file(writer, "Files/wclayer~1", b"looks like a substitute")
        put_file(writer, "Files/\ud800", b"unpaired")

    layer = _layer(tmp_path / "layer", build)
    assert list(wclayer.check_layer(layer)) == []
    with open_layer(layer) as directory:
        row = directory.lookup(f"Files/{long}/{'本' * 200}")
        assert row is not None
        assert b"".join(directory.data_chunks(row)) == b"long"
        assert directory.host_path(row).startswith(b"Files/wclayer~")
    raw = io.BytesIO()
    wclayer.export_layer_to_tar(raw, layer)
    assert raw.getvalue() == layer_tar(build)


def test_the_utility_vm_is_cloned_from_the_parent(tmp_path: Path, base: Path) -> None:
    boot = "UtilityVM/Files/EFI/Microsoft/Boot"

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "UtilityVM", "UtilityVM/Files")
        writer.put(Entry(f"{boot}/bootmgfw.efi", None))
        put_file(writer, f"{boot}/new.efi", b"new")

    layer = _layer(tmp_path / "child", build, base)
    assert sorted(os.listdir(layer / boot)) == ["BCD", "new.efi"]
    assert not os.path.samefile(layer / boot / "BCD", base / boot / "BCD")
    assert (layer / boot / "BCD").read_bytes() == (base / boot / "BCD").read_bytes()
    assert (base / boot / "bootmgfw.efi").exists()
    assert list(wclayer.check_layer(layer)) == []
    # Only its own changes are exported.
    with wclayer.new_layer_reader(layer) as reader:
        names = [item.entry.name for item in reader]
    assert names == ["Files", "UtilityVM", "UtilityVM/Files", f"{boot}/bootmgfw.efi", f"{boot}/new.efi"]
    unchanged = _layer(tmp_path / "second", lambda w: put_directories(w, "Files"), base)
    assert not (unchanged / "UtilityVM").exists()


def test_cloned_files_that_do_not_change_are_hard_links(tmp_path: Path, base: Path) -> None:
    layer = _layer(tmp_path / "child", lambda w: put_directories(w, "Files", "UtilityVM", "UtilityVM/Files"), base)
    boot = "UtilityVM/Files/EFI/Microsoft/Boot"
    assert os.path.samefile(layer / boot / "bootmgfw.efi", base / boot / "bootmgfw.efi")


def test_a_child_replaces_cloned_files_and_directories(tmp_path: Path, base: Path) -> None:
    boot = "UtilityVM/Files/EFI/Microsoft/Boot"

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "UtilityVM", "UtilityVM/Files")
        put_file(writer, f"{boot}/BOOTMGFW.EFI", b"replaced")
        put_directories(writer, "UtilityVM/Files/EFI")
        writer.put(Entry(f"{boot}/BCD", info(0x10)))

    layer = _layer(tmp_path / "child", build, base)
    assert (layer / boot / "BOOTMGFW.EFI").read_bytes() == b"replaced"
    assert (layer / boot / "BCD").is_dir()
    assert (base / boot / "bootmgfw.efi").stat().st_size == 65_536
    assert list(wclayer.check_layer(layer)) == []


def test_a_tombstone_of_nothing_in_the_utility_vm_is_refused(tmp_path: Path, base: Path) -> None:
    with pytest.raises(wclayer.InvalidDataError, match="no such name"):
        _layer(tmp_path / "child", lambda w: w.put(Entry("UtilityVM/Files/no", None)), base)


def _utility_vm(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "UtilityVM", "UtilityVM/Files")


def test_a_cloned_directory_keeps_its_name_on_the_host(tmp_path: Path) -> None:
    """That of one whose own name the host cannot hold is a substitute."""
    long = f"UtilityVM/Files/{'ü' * 200}"

    def build_parent(writer: LayerWriter) -> None:
        _utility_vm(writer)
        put_directories(writer, long)
        put_file(writer, f"{long}/kept", b"kept")
        put_file(writer, f"{long}/deleted", b"deleted")

    def build(writer: LayerWriter) -> None:
        _utility_vm(writer)
        put_directories(writer, long)
        writer.put(Entry(f"{long}/deleted", None))
        put_file(writer, f"{long}/new", b"new")

    parent = _layer(tmp_path / "parent", build_parent)
    layer = _layer(tmp_path / "child", build, parent)
    assert list(wclayer.check_layer(layer)) == []
    with open_layer(layer) as directory:
        for name in ("kept", "new"):
            row = directory.lookup(f"{long}/{name}")
            assert row is not None
            assert b"".join(directory.data_chunks(row)) == name.encode()
        assert directory.lookup(f"{long}/deleted") is None


@pytest.mark.parametrize("change", ["delete", "replace", "delete directory", "name directory"])
def test_streams_of_cloned_entries_go_with_them(change: str, tmp_path: Path) -> None:
    def build_parent(writer: LayerWriter) -> None:
        _utility_vm(writer)
        writer.put(Entry("UtilityVM/Files/d", info(0x10)), [DataStream("of a directory", 1, (b"d",))])
        put_file(writer, "UtilityVM/Files/d/a", b"1", stream=b"2")

    def build(writer: LayerWriter) -> None:
        _utility_vm(writer)
        if change == "delete":
            writer.put(Entry("UtilityVM/Files/d/a", None))
        elif change == "replace":
            put_file(writer, "UtilityVM/Files/d/a", b"new")
        elif change == "delete directory":
            writer.put(Entry("UtilityVM/Files/d", None))
        else:
            put_directories(writer, "UtilityVM/Files/d")

    layer = _layer(tmp_path / "child", build, _layer(tmp_path / "parent", build_parent))
    assert list(wclayer.check_layer(layer)) == []


def test_names_of_a_cloned_file_stay_links_whichever_is_deleted(tmp_path: Path) -> None:
    """The walk that clones comes to "a" first; the first name in the parent, which has the stream, is "z"."""

    def build_parent(writer: LayerWriter) -> None:
        _utility_vm(writer)
        put_file(writer, "UtilityVM/Files/z", b"data", stream=b"of all names")
        for name in ("a", "m"):
            writer.put(Entry(f"UtilityVM/Files/{name}", info(), link_target="UtilityVM/Files/z"))

    def build(writer: LayerWriter) -> None:
        _utility_vm(writer)
        writer.put(Entry("UtilityVM/Files/own", info(), link_target="UtilityVM/Files/m"))
        writer.put(Entry("UtilityVM/Files/a", None))
        writer.put(Entry("UtilityVM/Files/m", None))

    layer = _layer(tmp_path / "child", build, _layer(tmp_path / "parent", build_parent))
    assert list(wclayer.check_layer(layer)) == []
    assert os.path.samefile(layer / "UtilityVM/Files/z", layer / "UtilityVM/Files/own")
    with open_layer(layer) as directory:
        for name in ("z", "own"):
            row = directory.lookup(f"UtilityVM/Files/{name}")
            assert row is not None
            file = directory.first_name(row)
            (_, stream) = directory.streams(file, has_data=True)
            assert stream.read_all() == b"of all names"
            assert directory.link_count(row) == 2


def test_a_directory_with_own_entries_is_not_deleted_from_the_clone(tmp_path: Path) -> None:
    def build_parent(writer: LayerWriter) -> None:
        _utility_vm(writer)
        put_directories(writer, "UtilityVM/Files/d")

    def build(writer: LayerWriter) -> None:
        _utility_vm(writer)
        put_file(writer, "UtilityVM/Files/d/own", b"1")
        writer.put(Entry("UtilityVM/Files/d", None))

    parent = _layer(tmp_path / "parent", build_parent)
    with nothing_left_in(tmp_path), pytest.raises(wclayer.InvalidDataError, match=r"Files/d': the layer itself has"):
        _layer(tmp_path / "child", build, parent)


def test_links_to_cloned_files_outlive_them_while_files_are_on_their_way(tmp_path: Path) -> None:
    def build_parent(writer: LayerWriter) -> None:
        _utility_vm(writer)
        put_file(writer, "UtilityVM/Files/a", b"data")

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        for number in range(_ENOUGH_FOR_A_POOL):
            put_file(writer, f"Files/{number}", b"x")
        put_directories(writer, "UtilityVM", "UtilityVM/Files")
        writer.put(Entry("UtilityVM/Files/own", info(), link_target="UtilityVM/Files/a"))
        writer.put(Entry("UtilityVM/Files/a", None))

    layer = _layer(tmp_path / "child", build, _layer(tmp_path / "parent", build_parent))
    assert (layer / "UtilityVM/Files/own").read_bytes() == b"data"
    assert list(wclayer.check_layer(layer)) == []


_ENOUGH_FOR_A_POOL = 520
_TIMES = [0, 1, 116_444_735_999_999_999, 210_866_803_540_000_000, 2**63 - 1]
"""1601, before 1970, after the nanoseconds of 64 bits end (2262), the last that a FILETIME can hold."""


@pytest.mark.parametrize("files", [1, _ENOUGH_FOR_A_POOL])
def test_every_time_of_windows_is_kept(files: int, tmp_path: Path) -> None:
    """Whether or not the host can hold it, and whoever makes the file."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        for number in range(files):
            put_file(writer, f"Files/{number}", b"x")
        for time in _TIMES:
            times = FileBasicInfo(0x20, time, time, time, time)
            writer.put(Entry(f"Files/f{time}", times))
            writer.put(Entry(f"Files/d{time}", FileBasicInfo(0x10, time, time, time, time)))
            writer.put(Entry(f"Files/d{time}/large", times, 200_000), [DataStream("", 200_000, (bytes(200_000),))])

    layer = tmp_path / "layer"
    data = layer_tar(build)
    wclayer.import_layer_from_tar(io.BytesIO(data), layer)
    assert list(wclayer.check_layer(layer)) == []
    raw = io.BytesIO()
    wclayer.export_layer_to_tar(raw, layer)
    assert raw.getvalue() == data
    wclayer.export_layer(layer, tmp_path / "folder")
    wclayer.import_layer(tmp_path / "again", tmp_path / "folder")
    again = {entry[0]: entry for entry in contents(wclayer.new_layer_reader(tmp_path / "again"))}
    assert [again[entry[0]] for entry in contents(wclayer.new_layer_reader(layer))] == contents(
        wclayer.new_layer_reader(layer)
    )
    with wclayer.FilterLayerWriter(tmp_path / "filter") as writer, wclayer.FilterLayerReader(layer) as reader:
        while (entry := reader.next()) is not None:
            assert entry[2] is not None
            writer.add(entry[0], entry[2])
            writer.write(reader.read())
    assert contents(wclayer.new_layer_reader(tmp_path / "filter")) == contents(wclayer.new_layer_reader(layer))


@pytest.mark.parametrize("time", [-1, 2**63])
def test_times_that_no_filetime_can_hold_are_refused(time: int, tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        writer.put(Entry("Files/a", FileBasicInfo(0x20, 0, time, 0, 0)))

    with nothing_left_in(tmp_path), pytest.raises(wclayer.InvalidDataError, match=r"'Files/a': a time outside"):
        _layer(tmp_path / "layer", build)


def test_a_link_with_an_impossible_name_waits_for_its_target(tmp_path: Path) -> None:
    """A small file is on its way through a worker when its second name comes, which the host cannot hold."""
    long = f"Files/{'ü' * 200}"

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        for number in range(_ENOUGH_FOR_A_POOL):
            put_file(writer, f"Files/{number}", b"x")
        put_file(writer, "Files/target", b"data")
        writer.put(Entry(long, info(), link_target="Files/target"))

    data = layer_tar(build)
    layer = tmp_path / "layer"
    wclayer.import_layer_from_tar(io.BytesIO(data), layer)
    assert list(wclayer.check_layer(layer)) == []
    with open_layer(layer) as directory:
        row = directory.lookup(long)
        assert row is not None
        assert b"".join(directory.data_chunks(row)) == b"data"
        assert os.path.samefile(layer / os.fsdecode(directory.host_path(row)), layer / "Files/target")


def test_descriptors_are_stored_once(base: Path) -> None:
    connection = sqlite3.connect(base / "layer.db")
    assert connection.execute("SELECT COUNT(*) FROM security").fetchone()[0] == 4
    connection.close()


def test_sparse_files_take_no_space(tmp_path: Path) -> None:
    data = archive(
        member(b"Files", kind=b"5"),
        member(b"Files/s", b"x" + bytes(32 << 20) + b"y", MSWINDOWS_fileattr=b"544"),
    )
    wclayer.import_layer_from_tar(io.BytesIO(data), tmp_path / "layer")
    stat = (tmp_path / "layer/Files/s").stat()
    assert stat.st_size == (32 << 20) + 2
    assert stat.st_blocks * 512 < 4 << 20
    raw = io.BytesIO()
    assert wclayer.export_layer_to_tar(raw, tmp_path / "layer").unchanged


def test_many_small_files_go_through_workers(tmp_path: Path) -> None:
    """Enough files that worker processes make them; links and streams among them."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", *(f"Files/{n}" for n in range(10)))
        for number in range(3000):
            put_file(writer, f"Files/{number % 10}/f{number}", b"%d" % number * (number % 50))
        put_file(writer, "Files/3/with streams", b"x", one=b"1", two=b"22")
        put_file(writer, "Files/3/only streams", b"", one=b"1")
        put_file(writer, f"Files/3/{'日' * 100}", b"long name")
        put_file(writer, "Files/4/large", b"x" * 500_000)
        for number in range(0, 3000, 7):
            writer.put(Entry(f"Files/5/l{number}", info(), link_target=f"Files/{number % 10}/f{number}"))

    layer = _layer(tmp_path / "layer", build)
    assert list(wclayer.check_layer(layer)) == []
    assert os.path.samefile(layer / "Files/5/l7", layer / "Files/7/f7")
    raw = io.BytesIO()
    wclayer.export_layer_to_tar(raw, layer)
    assert raw.getvalue() == layer_tar(build)


def test_links_to_files_that_were_made_long_before(tmp_path: Path) -> None:
    """So many entries lie between them that the rows of the first files are in the database: workers make the links."""
    long = "日" * 100
    reparse = b"\x0c\0\0\x80\0\0\0\0"

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", *(f"Files/{n}" for n in range(40)))
        for number in range(_ENOUGH_FOR_A_POOL):
            put_file(writer, f"Files/0/{number}", b"%d" % number)
        put_file(writer, f"Files/1/{long}", b"long name")
        put_file(writer, "Files/1/streams", b"x", one=b"1")
        writer.put(Entry("Files/1/no data", info(0x400), reparse=reparse))
        for number in range(4000):
            put_file(writer, f"Files/2/{number}", b"")
        for number in range(_ENOUGH_FOR_A_POOL):
            writer.put(Entry(f"Files/{number % 37 + 3}/{number}", info(), link_target=f"Files/0/{number}"))
        for target in (long, "streams", "no data"):
            writer.put(Entry(f"Files/2/{target}", info(), link_target=f"Files/1/{target}"))
        writer.put(Entry(f"Files/2/other {long}", info(), link_target="Files/1/streams"))
        writer.put(Entry("Files/2/link of a link", info(), link_target="Files/3/0"))

    layer = _layer(tmp_path / "layer", build)
    assert list(wclayer.check_layer(layer)) == []
    for number in range(_ENOUGH_FOR_A_POOL):
        assert os.path.samefile(layer / f"Files/0/{number}", layer / f"Files/{number % 37 + 3}/{number}")
    assert (layer / "Files/2/link of a link").stat().st_nlink == 3
    assert (layer / "Files/1/streams").stat().st_nlink == 3
    assert (layer / "Files/1/no data").stat().st_nlink == 2
    raw = io.BytesIO()
    wclayer.export_layer_to_tar(raw, layer)
    assert raw.getvalue() == layer_tar(build)


def _damage(layer: Path, sql: str) -> None:
    connection = sqlite3.connect(layer / "layer.db")
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute(sql)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("damage", "path", "problem"),
    [
        (lambda p: (p / "Files/Windows/win.ini").write_bytes(b"short"), "Files/Windows/win.ini", "5 bytes long"),
        (
            lambda p: (p / "Files/Windows/win.ini").write_bytes(b"?" * (p / "Files/Windows/win.ini").stat().st_size),
            "Files/Windows/win.ini",
            "SHA-256",
        ),
        (lambda p: (p / "Files/Windows/win.ini").unlink(), "Files/Windows/win.ini", "not on the host"),
        (lambda p: (p / "Files/stranger").write_bytes(b""), "Files/stranger", "not in layer.db"),
        (
            lambda p: ((p / "Files/Windows/win.ini").unlink(), (p / "Files/Windows/win.ini").symlink_to("/etc/passwd")),
            "Files/Windows/win.ini",
            "a file, but not on the host",
        ),
        (lambda p: _damage(p, "DELETE FROM security WHERE id = 1"), "entry", "security refers to nothing"),
        (lambda p: _damage(p, "UPDATE entries SET parent = 99999 WHERE id = 9"), "entry 9", "parent refers to nothing"),
        (
            lambda p: _damage(p, "UPDATE entries SET link = 99999 WHERE link NOT NULL"),
            "entry",
            "link refers to nothing",
        ),
        (lambda p: _damage(p, "UPDATE stream_data SET data = x'00'"), "Files/License.txt:Zone.Identifier", "SHA-256"),
        (lambda p: _damage(p, "UPDATE security SET descriptor = x'00' WHERE id = 1"), "security 1", "shorter than"),
        (lambda p: _damage(p, "UPDATE entries SET eas = x'0102' WHERE eas NOT NULL"), "Files", "EAs"),
        (lambda p: _damage(p, "UPDATE entries SET reparse = x'00' WHERE reparse NOT NULL"), "Files", "reparse data"),
        (lambda p: _damage(p, "UPDATE entries SET parent = id WHERE id = 9"), "entry 9", "below itself"),
    ],
)
def test_check_finds(base: Path, damage: object, path: str, problem: str) -> None:
    assert list(wclayer.check_layer(base)) == []
    damage(base)  # type: ignore[operator]
    found = list(wclayer.check_layer(base))
    assert any(p.path.startswith(path) and problem in p.text for p in found), found


def test_check_tells_of_a_hard_link_whose_first_name_is_missing(tmp_path: Path) -> None:
    with DirectoryLayerWriter(tmp_path / "layer") as writer:
        put_directories(writer, "Files")
        put_file(writer, "Files/first", b"data")
        writer.put(Entry("Files/second", info(), link_target="Files/first"))
    (tmp_path / "layer/Files/first").unlink()
    (problem,) = wclayer.check_layer(tmp_path / "layer")
    assert problem.path == "Files/first"
    assert problem.text.startswith("not on the host: ")


def test_check_finds_a_strange_file_where_the_file_system_has_no_locks(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(lock: system.Lock, *, shared: bool = False) -> None:
        raise OSError(errno.ENOTSUP, "its file system cannot lock it")

    (base / "Files/stranger").write_bytes(b"")
    monkeypatch.setattr(system.Lock, "take", refuse)
    assert [problem.path for problem in wclayer.check_layer(base)] == ["Files/stranger"]


def test_check_finds_a_missing_parent(base: Path, child: Path) -> None:
    wclayer.destroy_layer(base)
    assert any("does not exist" in problem.text for problem in wclayer.check_layer(child))


def test_a_link_planted_in_a_layer_is_not_followed(tmp_path: Path, base: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "win.ini").write_bytes(b"secret")
    os.rename(base / "Files/Windows", tmp_path / "moved")
    (base / "Files/Windows").symlink_to(secret)
    with pytest.raises(wclayer.CorruptLayerError, match="cannot be opened"):
        wclayer.export_layer_to_tar(io.BytesIO(), base)


def test_a_damaged_database_is_an_error(base: Path) -> None:
    (base / "layer.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(wclayer.CorruptLayerError, match="not a database") as refused:
        wclayer.new_layer_reader(base)
    assert refused.value.code == 1392


def test_a_database_of_a_later_version_is_refused_and_the_error_says_what_reads_it(base: Path) -> None:
    _damage(base, "PRAGMA user_version = 99")
    with pytest.raises(wclayer.NotSupportedError, match=r"version 99 .* use the wclayer that made the layer"):
        wclayer.new_layer_reader(base)


def test_a_database_of_no_version_is_an_error(base: Path) -> None:
    _damage(base, "PRAGMA user_version = 0")
    with pytest.raises(wclayer.CorruptLayerError, match=r"version 0 .* no wclayer has made"):
        wclayer.new_layer_reader(base)


def test_a_link_between_directories_that_are_far_apart(tmp_path: Path) -> None:
    """So many are opened on the way to one that the other would have to be closed."""
    with HostRoot(tmp_path) as root:
        root.make_directory(b"source")
        root.write_bytes(b"source/file", b"content")
        deep = b"d"
        root.make_directory(deep)
        for number in range(100):
            deep += b"/%d" % number
            root.make_directory(deep)
    with HostRoot(tmp_path) as root:
        root.directory(b"source")
        root.link(b"source/file", deep + b"/link")
        assert root.read_bytes(deep + b"/link", 100) == b"content"


@pytest.fixture
def deep_folder() -> Iterator[Path]:
    """A folder that may become too deep for pytest to remove."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    remove_tree(folder)


def test_deep_trees(deep_folder: Path) -> None:
    """Deeper than any recursion: import, check, diff, export, transport folder, removal."""
    tmp_path = deep_folder
    depth = 1500

    def build(writer: LayerWriter) -> None:
        path = "Files"
        put_directories(writer, path)
        for number in range(depth):
            path += f"/{number % 10}"
            put_directories(writer, path)
        put_file(writer, path + "/deep", b"down here")

    layer = _layer(tmp_path / "layer", build)
    assert list(wclayer.check_layer(layer)) == []
    with wclayer.MergedTree([layer]) as tree, wclayer.MergedTree([layer]) as same:
        assert sum(1 for _ in tree.walk(tree.root())) == depth + 3
        assert list(wclayer.diff_trees(tree, same)) == []
    raw = io.BytesIO()
    wclayer.export_layer_to_tar(raw, layer)
    assert raw.getvalue() == layer_tar(build)
    wclayer.export_layer(layer, tmp_path / "transport")
    wclayer.import_layer(tmp_path / "again", tmp_path / "transport")
    (tmp_path / "folder").mkdir()
    os.rename(tmp_path / "again" / "Files", tmp_path / "folder" / "Files")
    wclayer.make_base_layer(tmp_path / "folder")
    for path in ("layer", "folder"):
        wclayer.destroy_layer(tmp_path / path)
        assert not (tmp_path / path).exists()


def test_layers_stay_open_while_a_thread_asks_for_it(tmp_path: Path, base: Path) -> None:
    wclayer.create_scratch_layer(tmp_path / "run", [base])
    with layers_stay_open():
        with open_layer(base) as first:
            kept = first._database
        with open_layer(base) as second, open_layer(tmp_path / "run") as scratch:
            assert second._database is kept
            assert second.lookup("Files") is not None
            changing = scratch._database
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            changing.execute("SELECT 1")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        kept.execute("SELECT 1")


def test_a_layer_that_is_replaced_while_it_stays_open_is_opened_anew(tmp_path: Path, base: Path) -> None:
    with layers_stay_open(), open_layer(base) as before:
        os.rename(base, tmp_path / "aside")
        _layer(base, lambda writer: put_directories(writer, "Files", "Files/another"))
        with open_layer(base) as after:
            assert after.lookup("Files/another") is not None
        # Who has the former one open goes on reading it.
        assert before.lookup("Files/another") is None
        assert before.lookup("Files/Windows") is not None
