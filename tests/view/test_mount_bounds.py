"""What leads out of a mount, and what made one hang: nothing does any more."""

from __future__ import annotations

import errno
import os
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wclayer
from tests.support import directory, info, put_directories, put_file, witness
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry
from wclayer.view.fuse import mount
from wclayer.view.fuse.posix_link import link_text
from wclayer.view.layer_view import LayerView
from wclayer.win32.reparse import LinkTarget, LxSymlink

UP = "..\\" * 40
OUTSIDE = {
    "up": LinkTarget(UP + "{canary}", "", 1),
    "drive relative": LinkTarget("C:{canary}", ""),
    "other drive": LinkTarget("\\??\\D:\\{canary}", ""),
    "share": LinkTarget("\\??\\UNC\\server\\share", ""),
    "share as relative": LinkTarget("\\\\server\\share", "", 1),
    "volume": LinkTarget("\\??\\Volume{01234567-89ab-cdef-0123-456789abcdef}\\", "", 0, True),
    "nul": LinkTarget("..\0\\..\\..\\{canary}", "", 1),
    "one up": LinkTarget("..", "", 1),
    "down and up": LinkTarget("d\\..\\..\\x", "", 1),
}
DANGLING = "unsupported reparse tag: 0xa000000"


def _refused() -> pytest.RaisesExc[OSError]:
    """There is nothing at the end of the link, and nothing can be made there."""
    numbers = (errno.ENOENT, errno.EINVAL, errno.ENOTDIR, errno.EISDIR)
    return pytest.raises(OSError, check=lambda error: error.errno in numbers)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "canary").write_bytes(b"secret")
    return tmp_path / "host" / "canary"


@pytest.fixture
def mounted(tmp_path: Path, canary: Path) -> Iterator[Path]:
    witness("fusermount3")
    windows = str(canary).strip("/").replace("/", "\\")
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files", "Files/d", "Files/d/e")
        put_file(writer, "Files/d/file", b"inside")
        for name, link in OUTSIDE.items():
            target = LinkTarget(
                link.substitute_name.replace("{canary}", windows), "", link.flags, link.is_mount_point
            ).encode()
            writer.put(Entry(f"Files/{name}", info(0x410 if link.is_mount_point else 0x400), reparse=target))
        for name, data in (
            # To the root's directory, and from there on upwards: what a link leads to may be another link's beginning.
            ("to d", LinkTarget("d", "", 1).encode()),
            ("chain", LinkTarget("to d\\..\\..\\" + UP + windows, "", 1).encode()),
            ("back", LinkTarget("to d\\..\\d\\file", "", 1).encode()),
            ("wsl", LxSymlink(2, b"../" * 40 + os.fsencode(canary)[1:]).encode()),
            ("wsl absolute", LxSymlink(2, os.fsencode(canary)).encode()),
            ("rooted", LinkTarget.from_path("C:" + str(canary).replace("/", "\\"), is_mount_point=False).encode()),
            ("d/e/deep", LinkTarget("..\\..\\d\\file", "", 1).encode()),
        ):
            writer.put(Entry(f"Files/{name}", info(0x400), reparse=data))
        writer.put(directory("Files/z"))
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "base"])
    (tmp_path / "m").mkdir()
    server = mount.start(tmp_path / "m", scratch=tmp_path / "run")
    try:
        yield tmp_path / "m"
    finally:
        os.kill(server, 15)
        mount.wait_until_free(tmp_path / "run")
        assert list(wclayer.check_layer(tmp_path / "run")) == []


def test_no_link_leads_out_of_a_mount(mounted: Path, canary: Path) -> None:
    links = [*OUTSIDE, "chain", "wsl", "wsl absolute", "rooted"]
    for name in links:
        with _refused():
            (mounted / name).read_bytes()
        with _refused():
            (mounted / name).write_bytes(b"written")
        with _refused():
            os.listdir(mounted / name)
    for name in OUTSIDE:
        assert os.readlink(mounted / name).startswith(DANGLING), name
    # `..` takes back the component before it, whatever that is, and at the root there is no more.
    assert os.readlink(mounted / "back") == "d/file"
    assert (mounted / "back").read_bytes() == b"inside"
    assert canary.read_bytes() == b"secret"
    assert sorted(os.listdir(canary.parent)) == ["canary"]
    assert sorted(os.listdir(mounted)) == sorted([*links, "to d", "back", "d", "z"])


def test_a_link_that_is_moved_up_does_not_lead_out(mounted: Path, canary: Path) -> None:
    assert (mounted / "d" / "e" / "deep").read_bytes() == b"inside"
    (mounted / "d" / "e").rename(mounted / "e")
    assert os.readlink(mounted / "e" / "deep").startswith(DANGLING)
    (mounted / "e").rename(mounted / "d" / "e")
    assert (mounted / "d" / "e" / "deep").read_bytes() == b"inside"
    # Made in the mount, it is kept for Windows as it was given.
    os.symlink("../" * 40 + str(canary)[1:], mounted / "made")
    with _refused():
        (mounted / "made").read_bytes()


def test_a_link_s_text_goes_up_to_the_root_at_most(tmp_path: Path) -> None:
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files", "Files/a", "Files/a/b")
        for number, target in enumerate(
            ("..\\..", "..\\..\\..", "x\\..\\..\\..\\y", "..\\x\\..\\..\\..", ".", "a\\.\\b")
        ):
            writer.put(Entry(f"Files/a/b/{number}", info(0x400), reparse=LinkTarget(target, "", 1).encode()))
    with LayerView([tmp_path / "base"]) as view:
        texts = [link_text(view.volume.find(f"a/b/{number}", follow=False)).decode() for number in range(6)]
    assert texts == ["../../", DANGLING + "c", "../../y", DANGLING + "c", ".", "a/b"]


def _run(program: str, cwd: Path) -> str:
    """A program's output; one that hangs is an error (and is ended with the mount)."""
    done = subprocess.run(
        [sys.executable, "-c", "import errno, os\n" + program], cwd=cwd, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_rename_onto_itself_returns_when_the_kind_has_changed(mounted: Path) -> None:
    """`attack.md` F32: the kernel knew `a` as a file, the server as a link by the other spelling."""
    _run(
        "open('a', 'w'); os.stat('A'); os.unlink('A'); os.symlink('x', 'A')\n"
        "try: os.rename('a', 'a')\nexcept FileNotFoundError: pass",
        mounted,
    )
    link = LinkTarget.from_path("x", is_mount_point=False).encode()
    _run(
        f"open('b', 'w'); os.setxattr('b', 'system.ntfs_reparse_data', {link!r}); os.rename('b', 'b')\n"
        "assert os.readlink('b') == 'x'; os.rename('b', 'c'); assert os.readlink('C') == 'x'", mounted,
    )  # fmt: skip
    _run("os.removexattr('c', 'system.ntfs_reparse_data', follow_symlinks=False); open('c').close()", mounted)


def test_a_name_that_became_another_kind_is_seen_as_that(mounted: Path) -> None:
    """`attack.md` F33."""
    text = "open('a', 'w'); os.stat('A'); os.unlink('A'); os.mkdir('A')\nprint(oct(os.stat('a').st_mode))"
    assert _run(text, mounted) == oct(stat.S_IFDIR | 0o777)


def test_names_that_libfuse_kept_for_itself_are_names(mounted: Path) -> None:
    (mounted / "x").write_bytes(b"kept")
    (mounted / "x").rename(mounted / ".fuse_hidden1")
    assert (mounted / ".fuse_hidden1").read_bytes() == b"kept"
    (mounted / ".fuse_hidden1").rename(mounted / "x")
    assert (mounted / "x").read_bytes() == b"kept"


def test_times_and_eas_that_windows_does_not_take_are_refused(mounted: Path) -> None:
    file = mounted / "d" / "file"
    values = {"system.ntfs_times": struct.pack("=Q", 2**64 - 1), "system.ntfs_ea": bytes(9)}
    for name, value in values.items():
        with pytest.raises(OSError, check=lambda error: error.errno == errno.EINVAL):
            os.setxattr(file, name, value)


def test_what_replaces_a_removed_open_file_has_another_inode(mounted: Path) -> None:
    with (mounted / "one").open("wb") as file:
        (mounted / "one").unlink()
        (mounted / "two").write_bytes(b"x")
        assert os.fstat(file.fileno()).st_ino != (mounted / "two").stat().st_ino
        assert os.fstat(file.fileno()).st_nlink == 0


def test_a_directory_keeps_its_inode_when_it_is_taken_over(mounted: Path) -> None:
    before = (mounted / "d").stat().st_ino
    (mounted / "d" / "new").write_bytes(b"")
    (mounted / "d").rename(mounted / "other")
    assert (mounted / "other").stat().st_ino == before


def test_a_directory_that_replaces_itself_by_another_spelling_is_not_removed(mounted: Path) -> None:
    (mounted / "dir").mkdir()
    (mounted / "dir" / "first").write_bytes(b"1")
    with open(mounted / "dir" / "first", "rb"):
        # To the kernel, `dir` is another directory, which makes way, and which the open file keeps in its memory.
        for old, new in (("DIR", "dir"), ("dir", "Dir"), ("DIR", "Dir"), ("Dir", "dir"), ("Dir", "dir")):
            os.rename(mounted / old, mounted / new)
            _until(lambda new=new: os.listdir(mounted / new) == ["first"])  # type: ignore[misc]
            (mounted / new / "second").write_bytes(b"2")
            assert sorted(os.listdir(mounted / "DIR")) == ["first", "second"]
            (mounted / new / "second").unlink()


def test_a_stream_is_read_while_the_file_is_written_to(mounted: Path) -> None:
    os.setxattr(mounted / "d" / "file", "user.s", b"stream")
    with open(mounted / "d" / "file", "r+b", buffering=0) as file:
        file.truncate(5)
        assert os.getxattr(mounted / "d" / "file", "user.s") == b"stream"
        file.truncate(1)
        assert os.getxattr(mounted / "d" / "file", "user.s") == b"stream"


def test_an_open_file_that_was_a_link_meanwhile_shows_what_is_written(mounted: Path) -> None:
    path, data = mounted / "d" / "file", LinkTarget.from_path("nowhere", is_mount_point=False).encode()
    with open(path, "r+b", buffering=0) as file:
        os.setxattr(path, "system.ntfs_reparse_data", data, follow_symlinks=False)
        os.removexattr(path, "system.ntfs_reparse_data", follow_symlinks=False)
        _until(path.is_file)
        assert path.read_bytes() == b"inside"
        assert os.fstat(file.fileno()).st_nlink == 1
        file.write(b"IN")
        assert path.read_bytes() == b"INside"
        file.truncate(3)
        assert path.read_bytes() == b"INs"
        path.write_bytes(b"out")
        assert os.pread(file.fileno(), 10, 0) == b"out"


def _until(check: Callable[[], bool]) -> None:
    """Waits for what the kernel does a moment after a call."""
    end = time.monotonic() + 30
    while not check():
        assert time.monotonic() < end
        time.sleep(0.001)
