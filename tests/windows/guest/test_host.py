"""The portable engine's host on Windows: names, links, locks, open files, times, consoles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import wclayer
from tests.support import directory, layer_tar, put_directories, put_file
from wclayer import sample
from wclayer.errors import LayerBusyError
from wclayer.host import system, winapi
from wclayer.host.root import HostRoot, remove_tree
from wclayer.layers.directory import open_layer
from wclayer.model import Entry

_ILLEGAL = "WinError 123"
AWKWARD = ["CON", "nul.txt", "COM1", "trailing.", "trailing ", "aux", "LPT¹"]


@pytest.fixture
def root(tmp_path: Path) -> HostRoot:
    (tmp_path / "root").mkdir()
    return HostRoot(tmp_path / "root")


@pytest.fixture(autouse=True)
def portable_engine() -> None:
    wclayer.use_engine("portable")


@pytest.mark.parametrize("name", ["", ".", "..", "a\\b", "a/..", "a:b", "x\0"])
def test_a_name_never_leads_elsewhere(root: HostRoot, name: str) -> None:
    directory = root.directory(b"")
    encoded = name.encode()
    for call in (
        lambda: system.open_directory_at(directory, encoded),
        lambda: system.create_file_at(directory, encoded),
        lambda: system.open_file_at(directory, encoded),
        lambda: system.make_directory_at(directory, encoded),
        lambda: system.remove_file_at(directory, encoded or b"."),
    ):
        with pytest.raises(OSError, match=_ILLEGAL):
            call()
    root.write_bytes(b"file", b"")
    with pytest.raises(OSError, match=_ILLEGAL):
        system.link_at(directory, b"file", directory, encoded)
    with pytest.raises(OSError, match=_ILLEGAL):
        system.replace_at(directory, b"file", directory, encoded)
    assert root.names(b"") == ["file"]


@pytest.mark.parametrize("name", AWKWARD)
def test_names_that_programs_cannot_open(root: HostRoot, name: str) -> None:
    encoded = name.encode()
    assert system.is_awkward(encoded)
    assert system.impossible_reason(encoded) is None
    # Below an open directory they are names like any other.
    root.write_bytes(encoded, b"there")
    assert root.names(b"") == [name]
    assert root.read_bytes(encoded) == b"there"
    root.remove(encoded)
    assert root.names(b"") == []


def test_a_layer_has_substitutes_for_them(tmp_path: Path) -> None:
    tar = tmp_path / "layer.tar"
    tar.write_bytes(
        layer_tar(
            lambda out: (put_directories(out, "Files"), [put_file(out, f"Files/{n}", n.encode()) for n in AWKWARD])
        )
    )
    with tar.open("rb") as stream:
        wclayer.import_layer_from_tar(stream, tmp_path / "layer")
    assert all(name.startswith("wclayer~") for name in os.listdir(tmp_path / "layer" / "Files"))
    with wclayer.new_layer_reader(tmp_path / "layer") as back:
        found = {item.entry.name: b"".join(stream.read_all() for stream in item.streams()) for item in back}
    assert found == {"Files": b""} | {f"Files/{name}": name.encode() for name in AWKWARD}
    wclayer.export_layer_to_file(tmp_path / "layer", tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == tar.read_bytes()


def test_names_differ_by_more_than_case(root: HostRoot) -> None:
    root.write_bytes("Ünïcödé".encode(), b"1")
    assert not root.takes_every_name
    with pytest.raises(FileExistsError):
        root.create("üNÏCÖDÉ".encode())
    assert root.read_bytes("ÜNÏCÖDÉ".encode()) == b"1"


def test_paths_longer_than_windows_programs_have_them(root: HostRoot, tmp_path: Path) -> None:
    path = b""
    for _ in range(20):
        path += (b"/" if path else b"") + b"d" * 100
        root.make_directory(path)
    root.write_bytes(path + b"/" + b"f" * 255, b"deep")
    assert root.read_bytes(path + b"/" + b"f" * 255) == b"deep"
    assert system.impossible_reason(b"f" * 256) is not None
    with pytest.raises(OSError, match="WinError"):
        root.write_bytes(b"f" * 256, b"")
    root.close()
    remove_tree(tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_long_layer_path(tmp_path: Path) -> None:
    place = winapi.absolute(tmp_path)
    for _ in range(4):
        place += "\\" + "p" * 70
        os.mkdir(place)
    place += "\\layer"
    assert len(place) > 260
    with wclayer.new_layer_writer(place) as out:
        sample.write_base(out)
    assert list(wclayer.check_layer(place)) == []
    wclayer.destroy_layer(place)
    assert not os.path.exists(place)


def test_open_files_can_go(root: HostRoot) -> None:
    root.write_bytes(b"file", b"content")
    fd = root.open(b"file")
    root.remove(b"file")
    assert os.read(fd, 100) == b"content"
    os.close(fd)
    # Wine keeps the name until the last handle is closed; NTFS does not.
    assert root.names(b"") == []
    root.write_bytes(b"file", b"another")


def test_files_are_replaced(root: HostRoot) -> None:
    root.write_bytes(b"old", b"old")
    root.write_bytes(b"new", b"new")
    top = root.directory(b"")
    system.replace_at(top, b"new", top, b"old")
    assert root.names(b"") == ["old"]
    assert root.read_bytes(b"old") == b"new"


def test_files_may_have_holes(root: HostRoot) -> None:
    fd = root.create(b"f")
    system.make_sparse(fd)
    os.ftruncate(fd, 1 << 30)
    assert system.write_at(fd, b"end", (1 << 30) - 3) == 3
    assert system.read_at(fd, 5, (1 << 30) - 5) == b"\0\0end"
    os.close(fd)


def test_what_is_no_file_or_directory_is_said(root: HostRoot) -> None:
    root.make_directory(b"d")
    root.write_bytes(b"f", b"")
    with pytest.raises(FileNotFoundError):
        root.open(b"d")
    with pytest.raises(NotADirectoryError):
        root.directory(b"f")
    with pytest.raises(FileNotFoundError):
        root.open(b"none/x")
    with pytest.raises(IsADirectoryError):
        system.remove_file_at(root.directory(b""), b"d")
    with pytest.raises(NotADirectoryError):
        system.remove_directory_at(root.directory(b""), b"f")
    root.write_bytes(b"d/x", b"")
    with pytest.raises(OSError, match="empty"):
        system.remove_directory_at(root.directory(b""), b"d")


def test_directories_are_renamed_onto_empty_ones(tmp_path: Path) -> None:
    for name in ("new", "empty", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "new" / "x").write_bytes(b"")
    (tmp_path / "full" / "y").write_bytes(b"")
    with pytest.raises(OSError, match="empty"):
        system.rename_directory(tmp_path / "new", tmp_path / "full")
    system.rename_directory(tmp_path / "new", tmp_path / "empty")
    assert os.listdir(tmp_path / "empty") == ["x"]


def test_reads_and_writes_at_an_offset(root: HostRoot) -> None:
    fd = root.create(b"f")
    assert system.write_at(fd, b"abc", 5_000_000_000) == 3
    assert system.write_at(fd, memoryview(b"xyz"), 2) == 3
    assert system.read_at(fd, 10, 5_000_000_001) == b"bc"
    assert system.read_at(fd, 10, 6_000_000_000) == b""
    buffer = bytearray(6)
    assert system.read_into_at(fd, memoryview(buffer), 1) == 6
    assert buffer == b"\0xyz\0\0"
    system.sync_file(fd)
    os.close(fd)


def test_times_are_kept_to_100_ns(root: HostRoot) -> None:
    root.write_bytes(b"f", b"")
    root.set_times(b"f", 1_600_000_000_000_000_100, 1_600_000_000_123_456_700)
    assert root.stat(b"f").st_mtime_ns == 1_600_000_000_123_456_700
    fd = root.open(b"f", writable=True)
    system.set_file_times(fd, 1_500_000_000_000_000_000, 1_500_000_000_000_000_200)
    times = system.all_times(fd, os.fstat(fd))
    assert times is not None
    assert times[2] - 116_444_736_000_000_000 == 15_000_000_000_000_002
    os.close(fd)


# Locks.


def test_locks_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    one, other = system.Lock(tmp_path / "d"), system.Lock(tmp_path / "d")
    one.take()
    for shared in (False, True):
        with pytest.raises(BlockingIOError):
            other.take(shared=shared)
    # Who reads or lists is not in the way, and neither is the lock.
    assert os.listdir(tmp_path / "d") == []
    (tmp_path / "d" / "x").write_bytes(b"")
    one.take(shared=True)
    other.take(shared=True)
    with pytest.raises(BlockingIOError):
        one.take()
    one.close()
    other.take()
    os.rename(tmp_path / "d", tmp_path / "e")
    assert other.status().st_ino == os.stat(tmp_path / "e").st_ino
    other.close()
    other.close()


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    program = (
        "import sys, time; from wclayer.host import system; lock = system.Lock(sys.argv[1]); lock.take();"
        "print(1, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(1)
    lock = system.Lock(tmp_path)
    with pytest.raises(BlockingIOError):
        lock.take()
    process.kill()
    process.wait()
    process.stdout.close()
    lock.take()
    lock.close()


def test_a_file_under_construction_cannot_be_locked(tmp_path: Path) -> None:
    fd = system.create_locked_file(tmp_path / "f")
    lock = system.Lock(tmp_path / "f")
    with pytest.raises(BlockingIOError):
        lock.take()
    os.close(fd)
    lock.take()
    lock.close()


def test_an_open_layer_is_busy(tmp_path: Path) -> None:
    with wclayer.new_layer_writer(tmp_path / "layer") as out:
        sample.write_base(out)
    with open_layer(tmp_path / "layer"):
        lock = system.Lock(tmp_path / "layer")
        lock.take()
        with pytest.raises(LayerBusyError):
            wclayer.destroy_layer(tmp_path / "layer")
        lock.close()
    wclayer.destroy_layer(tmp_path / "layer")
    assert os.listdir(tmp_path) == []


def test_a_layer_that_is_read_is_not_updated(tmp_path: Path) -> None:
    with wclayer.new_layer_writer(tmp_path / "layer") as out:
        sample.write_base(out)
    with open_layer(tmp_path / "layer"):
        with pytest.raises(LayerBusyError), wclayer.RegistryEditor(tmp_path / "layer") as editor:
            editor.create_key("HKLM\\SOFTWARE\\New")
        with (tmp_path / "out.tar").open("wb"), pytest.raises(LayerBusyError):
            wclayer.export_layer_to_file(tmp_path / "layer", tmp_path / "out.tar")
    assert list(wclayer.check_layer(tmp_path / "layer")) == []
    with wclayer.RegistryEditor(tmp_path / "layer") as editor:
        editor.create_key("HKLM\\SOFTWARE\\New")
    assert list(wclayer.check_layer(tmp_path / "layer")) == []
    assert sorted(os.listdir(tmp_path)) == ["layer", "out.tar"]


@pytest.fixture
def nothing_is_open_below(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Before a folder is renamed, nothing below it may be open: NTFS would refuse. Wine would not, but it knows."""
    renamed = []

    def checked(source: Path, target: Path) -> None:
        for place in Path(source).rglob("*"):
            # Nothing is shared: whoever has it open to read, write or delete is found.
            winapi.close_handle(winapi.create_file(winapi.absolute(place), winapi.GENERIC_READ, 0))
        renamed.append(Path(source))
        rename_directory(source, target)

    rename_directory = system.rename_directory
    monkeypatch.setattr(system, "rename_directory", checked)
    return renamed


def test_nothing_is_open_in_a_folder_that_is_renamed(tmp_path: Path, nothing_is_open_below: list[Path]) -> None:
    base, child, scratch = tmp_path / "base", tmp_path / "child", tmp_path / "scratch"
    with wclayer.new_layer_writer(base) as out:
        sample.write_base(out)
    with wclayer.new_layer_writer(child, [base]) as out:
        sample.write_child(out)
    wclayer.export_layer(child, tmp_path / "transport")
    wclayer.create_scratch_layer(scratch, [child, base])
    wclayer.import_layer(tmp_path / "again", tmp_path / "transport", [base])
    with wclayer.LayerView(scratch=scratch) as view:
        view.write_bytes("new", b"new")
    for layer in (scratch, tmp_path / "again", child, base):
        wclayer.destroy_layer(layer)
    assert len(nothing_is_open_below) == 9
    assert os.listdir(tmp_path) == ["transport"]


# The command.


def run(*arguments: str, encoding: str, status: int = 0) -> bytes:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "WCLAYER_ENGINE": "portable"}
    done = subprocess.run(
        [sys.executable, "-m", "wclayer", *arguments], capture_output=True, check=False, env=environment
    )
    assert done.returncode == status, done.stderr
    assert b"Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("encoding", ["cp437", "cp1252", "utf-8"])
def test_any_console_shows_any_name(tmp_path: Path, encoding: str) -> None:
    with wclayer.new_layer_writer(tmp_path / "layer") as out:
        put_directories(out, "Files")
        put_file(out, "Files/ü日本😀\ud800", b"")
        out.put(directory("Files/d"))
        out.put(Entry("Files/d/é", directory("x").info, 0))
    shown = run("tree", str(tmp_path / "layer"), encoding=encoding)
    assert "ü".encode(encoding) in shown
    assert (b"<U+65E5>" in shown) == (encoding != "utf-8")
    assert b"<U+D800>" in shown
    # Of an error, too.
    shown = run("cat", str(tmp_path / "layer"), "日本", encoding=encoding, status=2)
    assert shown.startswith(b"wclayer: ")


def test_a_missing_engine_is_one_line(tmp_path: Path) -> None:
    shown = run("--engine", "hcs", "mount", str(tmp_path), encoding="utf-8", status=64)
    assert b"TARGET is required" in shown
    shown = run("mount", str(tmp_path), str(tmp_path), encoding="utf-8", status=10)
    assert b"Linux' FUSE, which is not there" in shown
