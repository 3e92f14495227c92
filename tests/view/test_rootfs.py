"""`export-rootfs`: a plain tar of the merged files. GNU tar unpacks it, and the folder is what `LayerView` shows."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import wclayer
from tests.formats.regf.support import dirty_pair, regipy_hive, simple_tree
from tests.hostile_layers import Canary, change
from tests.layers.hive_layers import base_layer, child_layer
from tests.memory import peak_memory
from tests.support import (
    TIME,
    info,
    nothing_left_in,
    parsed,
    put_directories,
    put_file,
    put_files,
    run,
    run_process,
    vector_bytes,
    witness,
)
from wclayer import sample
from wclayer.errors import LayerError
from wclayer.formats.regf.delta import delta_of
from wclayer.formats.regf.model import TreeKey, Value
from wclayer.formats.regf.values import ValueType
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.win32.filetime import UNIX_EPOCH, to_unix_ns
from wclayer.win32.reparse import LinkTarget, LxSymlink, ReparsePoint

Told = list[tuple[str, str]]
READ_ONLY = 0x1
SYSTEM32 = "Windows/System32"


def _export(layers: Path | list[Path], target: Path) -> Told:
    told: Told = []
    result = wclayer.export_rootfs(layers, target, left_out=lambda path, what: told.append((path, what)))
    assert result.size == target.stat().st_size
    assert result.left_out == len(told)
    return told


def _unpacked(layers: Path | list[Path], folder: Path) -> tuple[Path, Told]:
    """The folder into which GNU tar has unpacked the layers, and what was told."""
    told = _export(layers, folder / "rootfs.tar")
    root = folder / "root"
    root.mkdir()
    subprocess.run([witness("tar"), "-x", "-p", "-f", folder / "rootfs.tar", "-C", root], check=True)
    return root, told


def _layer(path: Path, build: Callable[[LayerWriter], None], *parents: Path) -> Path:
    with DirectoryLayerWriter(path, parents) as writer:
        build(writer)
    return path


def _assert_same(root: Path, view: wclayer.LayerView) -> int:
    """Compares a folder of this host with the C: of a view, name by name; returns the number of names."""
    count = 0
    seen: dict[int, int] = {}
    times: dict[int, set[int]] = {}
    for folder, directories, files in os.walk(root):
        inside = "C:\\" + os.path.relpath(folder, root).replace("/", "\\")
        here = {status.path.rpartition("/")[2]: status for status in view.scan(inside)}
        assert sorted([*directories, *files]) == sorted(here)
        for name, status in here.items():
            place = Path(folder, name)
            found = place.lstat()
            count += 1
            # Layers have a time for each name, and a file has one.
            times.setdefault(found.st_ino, {found.st_mtime_ns}).add(to_unix_ns(status.info.last_write_time))
            assert found.st_nlink > 1 or len(times[found.st_ino]) == 1, place
            if status.is_link:
                assert place.is_symlink()
                continue
            assert place.is_dir() == status.is_directory
            if status.is_directory:
                assert found.st_mode & 0o7777 == 0o755
                continue
            assert found.st_mode & 0o7777 == (0o444 if status.info.attributes & READ_ONLY else 0o644)
            assert found.st_nlink == status.links
            assert seen.setdefault(found.st_ino, status.file_id) == status.file_id
            if "config" not in inside:
                assert place.read_bytes() == view.read_bytes(status.path), place
    return count


def _sample(folder: Path) -> list[Path]:
    base = _layer(folder / "base", sample.write_base)
    return [_layer(folder / "child", sample.write_child, base), base]


def _vectors(folder: Path) -> list[Path]:
    for name, vector, parents in (("base", "base.tar.gz", ()), ("child", "child.tar", (folder / "base",))):
        wclayer.import_layer_from_tar(io.BytesIO(vector_bytes(vector)), folder / name, parents)
    return [folder / "child", folder / "base"]


@pytest.mark.parametrize("make", [_sample, _vectors])
def test_gnu_tar_unpacks_what_the_view_shows(make: Callable[[Path], list[Path]], tmp_path: Path) -> None:
    chain = make(tmp_path)
    root, _ = _unpacked(chain[0], tmp_path)
    with wclayer.LayerView(chain) as view:
        assert _assert_same(root, view) > 100


def test_a_scratch_is_exported_with_its_changes(tmp_path: Path) -> None:
    chain = _sample(tmp_path)
    wclayer.create_scratch_layer(tmp_path / "run", chain)
    with wclayer.LayerView(scratch=tmp_path / "run") as view:
        view.write_bytes("C:\\app\\new", b"new")
        view.link("C:\\app\\again", "C:\\app\\new")
        view.unlink("C:\\Windows\\win.ini")
    root, _ = _unpacked(tmp_path / "run", tmp_path)
    with wclayer.LayerView.for_layer(tmp_path / "run") as view:
        assert _assert_same(root, view) > 100
    assert not (root / "Windows/win.ini").exists()
    assert (root / "app/again").samefile(root / "app/new")


def test_the_same_layers_make_the_same_bytes(tmp_path: Path) -> None:
    chain = _sample(tmp_path)
    _export(chain, tmp_path / "one.tar")
    wclayer.export_layer(chain[0], tmp_path / "transport", chain[1:])
    wclayer.import_layer(tmp_path / "again", tmp_path / "transport", chain[1:])
    _export(tmp_path / "again", tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_other_readers_list_the_same_names(tmp_path: Path) -> None:
    place = tmp_path / "rootfs.tar"
    _export(_vectors(tmp_path), place)
    with tarfile.open(place) as tar:
        names = [f"{member.name}/" if member.isdir() else member.name for member in tar]
        assert {(member.uid, member.gid, member.uname) for member in tar} == {(0, 0, "")}
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    for program in ("tar", "bsdtar"):
        listed = subprocess.run([witness(program), "-t", "-f", place], check=True, capture_output=True, env=environment)
        lines = listed.stdout.decode().splitlines()
        assert len(lines) == len(names)
        # Other names are printed with escapes, of GNU tar's own kind even those that are not ASCII.
        for line, name in zip(lines, names, strict=True):
            assert line == name or not (name.isascii() if program == "tar" else name.isprintable())
    assert "Windows/" in names
    assert not any(name.startswith(("Files", "Hives", "UtilityVM", "/", ".")) for name in names)


# The registry.


def _with_value(text: str) -> TreeKey:
    tree = simple_tree()
    child = tree.subkey("child")
    assert isinstance(child, TreeKey)
    child.set(Value("new", ValueType.REG_SZ, (text + "\0").encode("utf-16-le")))
    return tree


def _delta(text: str) -> bytes:
    delta = delta_of(simple_tree(), _with_value(text))
    assert delta is not None
    return write_hive(delta)


def _hivex(place: Path) -> str:
    command = [witness("hivexget"), str(place), "child", "new"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_scanner_of_hives_reads_the_merged_registry(tmp_path: Path) -> None:
    """The base's own file has none of it: this is what tools see that know nothing of layers."""
    before = write_hive(simple_tree())
    base = base_layer(tmp_path, SOFTWARE=before, SYSTEM=before)
    child = child_layer(tmp_path, "child", base, Software=_delta("merged"))
    (tmp_path / "alone").mkdir()
    alone, _ = _unpacked(base, tmp_path / "alone")
    assert (alone / SYSTEM32 / "config/SOFTWARE").read_bytes() == before
    root, told = _unpacked(child, tmp_path)
    assert told == []
    assert _hivex(root / SYSTEM32 / "config/SOFTWARE") == "merged"
    regipy = regipy_hive(root / SYSTEM32 / "config/SOFTWARE")
    assert regipy.get_key("\\child").get_value("new") == "merged"
    assert (root / SYSTEM32 / "config/SYSTEM").read_bytes() == before
    assert not (root / "Hives").exists()


def test_the_hive_of_a_base_is_recovered_from_its_log(tmp_path: Path) -> None:
    before, after, log = dirty_pair()
    base = base_layer(tmp_path, SYSTEM=before, SYSTEM_LOG1=log)
    root, told = _unpacked(base, tmp_path)
    assert told == []
    command = [witness("hivexget"), str(root / SYSTEM32 / "config/SYSTEM"), "child", "new"]
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert len(regipy_hive(root / SYSTEM32 / "config/SYSTEM").get_key("\\child").get_value("new")) >= 30_000
    assert len(after) > len(before)


def test_a_damaged_hive_is_told_and_the_rest_is_exported(tmp_path: Path) -> None:
    before = write_hive(simple_tree())
    base = base_layer(tmp_path, SOFTWARE=before, SYSTEM=b"rubbish")
    child = child_layer(tmp_path, "child", base, Software=b"rubbish", Sam=write_hive(simple_tree()))
    root, told = _unpacked(child, tmp_path)
    assert [(path, what.partition(":")[0]) for path, what in told] == [
        (f"{SYSTEM32}/config/SOFTWARE", "changes of the registry are left out"),
        (f"{SYSTEM32}/config/SYSTEM", "changes of the registry are left out"),
        ("Hives/Sam_Delta", "these changes of the registry are left out"),
    ]
    assert (root / SYSTEM32 / "config/SOFTWARE").read_bytes() == before
    assert (root / SYSTEM32 / "config/SYSTEM").read_bytes() == b"rubbish"


# Links.


def _symbolic(target: str) -> bytes:
    return LinkTarget.from_path(target, is_mount_point=False).encode()


def _junction(target: str) -> bytes:
    return LinkTarget.from_path(target, is_mount_point=True).encode()


def _with_link(folder: Path, reparse: bytes, *, is_directory: bool = False) -> Path:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/Dir", "Files/Dir/Sub", "Files/Dir/Sub/Long directory name")
        put_file(writer, "Files/Dir/File.txt", b"the target")
        put_file(writer, "Files/Dir/Sub/Long directory name/File.txt", b"deep")
        writer.put(Entry("Files/Dir/Sub/hop", info(0x410), reparse=_junction("C:\\dir")))
        writer.put(Entry("Files/Dir/Sub/link", info(0x410 if is_directory else 0x420), reparse=reparse))

    return _layer(folder / "layer", build)


@pytest.mark.parametrize(
    ("reparse", "target", "content"),
    [
        (_symbolic("..\\File.txt"), "../File.txt", b"the target"),
        (_symbolic("..\\FILE.TXT"), "../File.txt", b"the target"),
        (_symbolic("..\\..\\..\\..\\dir\\file.txt"), "../File.txt", b"the target"),
        (_symbolic("C:\\DIR\\file.txt"), "../File.txt", b"the target"),
        (_symbolic("\\dir\\file.txt"), "../File.txt", b"the target"),
        (_symbolic("\\\\?\\C:\\dir\\.\\sub\\..\\file.txt"), "../File.txt", b"the target"),
        (_symbolic("C:\\dir\\sub\\longdi~1\\file.txt"), "Long directory name/File.txt", b"deep"),
        (_symbolic("hop\\file.txt"), "hop/File.txt", b"the target"),
        (_symbolic("hop\\sub\\long directory name\\file.txt"), "hop/Sub/Long directory name/File.txt", b"deep"),
        (LxSymlink(2, b"../File.txt").encode(), "../File.txt", b"the target"),
        (LxSymlink(2, b"/Dir/File.txt").encode(), "../File.txt", b"the target"),
    ],
)  # fmt: skip
def test_links_lead_where_windows_leads(reparse: bytes, target: str, content: bytes, tmp_path: Path) -> None:
    layer = _with_link(tmp_path, reparse)
    root, told = _unpacked(layer, tmp_path)
    assert told == []
    assert os.readlink(root / "Dir/Sub/link") == target
    assert (root / "Dir/Sub/link").read_bytes() == content
    with wclayer.LayerView(layer) as view:
        assert view.read_bytes("C:\\Dir\\Sub\\link") == content


@pytest.mark.parametrize(
    ("reparse", "target"),
    [
        (_junction("C:\\"), "../.."), (_junction("C:\\dir"), ".."), (_symbolic("."), "."), (_symbolic(""), "."),
        (_symbolic("..\\..\\..\\.."), "../.."), (_symbolic("C:\\Nothing\\here"), "../../Nothing/here"),
        (_symbolic("gone\\x"), "gone/x"), (_symbolic("link"), "link"),
    ],
)  # fmt: skip
def test_links_to_directories_and_to_nothing(reparse: bytes, target: str, tmp_path: Path) -> None:
    root, told = _unpacked(_with_link(tmp_path, reparse, is_directory=True), tmp_path)
    assert (os.readlink(root / "Dir/Sub/link"), told) == (target, [])


@pytest.mark.parametrize(
    ("reparse", "target"),
    [
        (_symbolic("D:\\data"), "D:\\data"), (_symbolic("\\\\server\\share\\x"), "\\\\server\\share\\x"),
        (_junction("\\??\\Volume{4c1b02c1-d990-11dc-99ae-806e6f6e6963}\\"), None),
        (LinkTarget("\\??\\D:\\x", "/etc/passwd", 0, is_mount_point=False).encode(), "\\etc\\passwd"),
        (LinkTarget("\\??\\D:\\x", "../../../../etc/passwd", 0, is_mount_point=False).encode(), None),
    ],
)  # fmt: skip
def test_a_link_out_of_c_is_told_and_leads_nowhere(reparse: bytes, target: str | None, tmp_path: Path) -> None:
    root, told = _unpacked(_with_link(tmp_path, reparse), tmp_path)
    assert [path for path, _ in told] == ["Dir/Sub/link"]
    assert "leads out of C:" in told[0][1]
    found = os.readlink(root / "Dir/Sub/link")
    assert found == target or target is None
    assert "/" not in found
    assert not (root / "Dir/Sub/link").exists()


@pytest.mark.parametrize(
    "reparse",
    [
        ReparsePoint(0x8000001B, b"an app").encode(), LxSymlink(2, b"a\0b").encode(), LxSymlink(2, b"").encode()[:12],
        LxSymlink(2, b"x" * 5000).encode(), LinkTarget("\\??\\", "", 0, is_mount_point=True).encode(),
    ],
)  # fmt: skip
def test_a_reparse_point_that_is_no_link_elsewhere_is_told(reparse: bytes, tmp_path: Path) -> None:
    root, told = _unpacked(_with_link(tmp_path, reparse), tmp_path)
    if not (root / "Dir/Sub/link").is_symlink():
        assert (root / "Dir/Sub/link").read_bytes() == b""
        assert [(path, what.split(" ")[:3]) for path, what in told] == [("Dir/Sub/link", ["the", "reparse", "point"])]


# What is told.


def test_streams_are_told(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        put_file(writer, "Files/two", b"data", one=b"1", other=b"22")
        streams = [DataStream("of a folder", 3, (b"333",))]
        writer.put(Entry("Files/folder", info(0x10)), streams)
        link = _symbolic("two")
        writer.put(Entry("Files/link", info(0x420), 4, reparse=link), [DataStream("", 4, (b"data",))])

    root, told = _unpacked(_layer(tmp_path / "layer", build), tmp_path)
    assert told == [
        ("folder", "the alternate stream 'of a folder' (3 bytes) is left out"),
        ("link", "the data of the link (4 bytes) is left out"),
        ("two", "the alternate stream 'one' (1 bytes) is left out"),
        ("two", "the alternate stream 'other' (2 bytes) is left out"),
    ]
    assert sorted(os.listdir(root)) == ["folder", "link", "two"]
    assert (root / "link").read_bytes() == b"data"


def test_a_name_with_a_lone_surrogate_is_told_and_readable(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        put_file(writer, "Files/a\ud800b", b"one")
        put_file(writer, "Files/a\ud801b", b"two")
        put_file(writer, "Files/ab", b"three")

    place = tmp_path / "rootfs.tar"
    root, told = _unpacked(_layer(tmp_path / "layer", build), tmp_path)
    assert [(path, what.partition(";")[0]) for path, what in told] == [
        ("a\ud800b", "the name is not Unicode"),
        ("a\ud801b", "the name is not Unicode"),
    ]
    names = {b"a\xed\xa0\x80b": b"one", b"a\xed\xa0\x81b": b"two", b"ab": b"three"}
    assert {name: Path(os.fsdecode(os.path.join(os.fsencode(root), name))).read_bytes() for name in names} == names
    with tarfile.open(place) as tar:
        assert {os.fsencode(member.name) for member in tar} == set(names)


@pytest.mark.parametrize(
    ("time", "nanoseconds"),
    [
        (TIME + 1, to_unix_ns(TIME + 1)), (UNIX_EPOCH, 0), (UNIX_EPOCH - 1, -100), (0, 0),
        (UNIX_EPOCH + 9_999_999_999 * 10_000_000, 9_999_999_999 * 10**9),
    ],
)  # fmt: skip
def test_times_are_exact(time: int, nanoseconds: int, tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        writer.put(Entry("Files/file", wclayer.FileBasicInfo(0x20, TIME, TIME, time, TIME)))

    root, _ = _unpacked(_layer(tmp_path / "layer", build), tmp_path)
    assert (root / "file").stat().st_mtime_ns == nanoseconds


# Hostile layers.


@pytest.mark.parametrize("name", ["..", ".", "a/b", "C:", "a\\b", "/etc", ""])
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        put_files(writer, "Files/victim")

    layer = _layer(tmp_path / "layer", build)
    change(layer, ("UPDATE entries SET name = ?, key = ? WHERE key = 'VICTIM'", (name, name.upper())))
    with nothing_left_in(tmp_path), pytest.raises(LayerError, match="name"):
        wclayer.export_rootfs(layer, tmp_path / "out.tar")


def test_a_hostile_link_does_not_take_the_next_entry_out(tmp_path: Path) -> None:
    """Unpacking follows no link of the tar out of the folder, even though names go on behind it."""
    canary = Canary(tmp_path / "outside")
    layer = _with_link(tmp_path, _symbolic("..\\..\\..\\..\\..\\outside\\secret.txt"))
    root, _ = _unpacked(layer, tmp_path)
    assert os.path.realpath(root / "Dir/Sub/link").startswith(str(root))
    change(layer, ("UPDATE entries SET parent = (SELECT id FROM entries WHERE name = 'hop') WHERE name = ?", ("link",)))
    with pytest.raises(LayerError):
        wclayer.export_rootfs(layer, tmp_path / "out.tar")
    canary.assert_untouched()


# The verb.


def test_the_verb_tells_what_is_left_out_on_the_error_stream(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        for number in range(30):
            put_file(writer, f"Files/{number:02}", b"x", stream=b"1")

    layer = _layer(tmp_path / "layer", build)
    done = run("export-rootfs", "--json", layer, "-o", tmp_path / "out.tar")
    lines = done.stderr.decode().splitlines()
    assert lines[0] == "wclayer: warning: 00: the alternate stream 'stream' (1 bytes) is left out"
    assert lines[20:] == ["wclayer: warning: and 10 more (--all tells them)"]
    size = (tmp_path / "out.tar").stat().st_size
    assert parsed("export-rootfs", "--json", layer, "-o", tmp_path / "out.tar") == {
        "file": str(tmp_path / "out.tar"), "entries": 30, "size": size, "left_out": 30,
    }  # fmt: skip
    assert len(run("export-rootfs", "--all", layer, "-o", tmp_path / "out.tar").stderr.splitlines()) == 30
    piped = run_process("export-rootfs", str(layer))
    assert piped.stdout == (tmp_path / "out.tar").read_bytes()


def test_memory_does_not_grow_with_the_size_of_files(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        size = 96 << 20
        writer.put(Entry("Files/large", info(), size), [DataStream("", size, (bytes(1 << 20) for _ in range(96)))])

    layer = _layer(tmp_path / "layer", build)
    before = peak_memory()
    _export(layer, tmp_path / "out.tar")
    assert peak_memory() - before < 48 << 20
