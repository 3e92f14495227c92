"""A scratch mounted: programs that know nothing of us work on it, and what they did is what is exported."""

from __future__ import annotations

import errno
import mmap
import os
import platform
import random
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import wclayer
from tests.support import TIME, directory, info, put_directories, put_file, tree_listing, witness
from wclayer.errors import AlreadyExistsError, NotReadyError
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry
from wclayer.view.fuse import mount
from wclayer.view.layer_view import LayerView
from wclayer.win32.inherit import inherited, volume_root
from wclayer.win32.reparse import LinkTarget, ReparsePoint
from wclayer.win32.sddl import from_sddl

FILE_SECURITY = from_sddl("O:BAG:SYD:(A;;FA;;;BA)").encode()


def _is_old_kernel() -> bool:
    """Returns whether the kernel does not write directly to files that are mapped: Linux before 6.6."""
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return sys.platform == "linux" and (found is None or tuple(map(int, found.groups())) < (6, 6))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    witness("fusermount3")
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32")
        writer.put(Entry("Files/Windows/secured", info(0x23), security=FILE_SECURITY))
        put_file(writer, "Files/Windows/System32/a.dll", b"library", streams=b"data")
        writer.put(Entry("Files/Windows/link.dll", info(), link_target="Files/Windows/System32/a.dll"))
        writer.put(directory("Files/Ünïcode \U0001f600"))
        writer.put(Entry("Files/execution alias", info(0x420), reparse=ReparsePoint(0x8000001B, b"x").encode()))
        for name, target, is_mount_point in (
            ("junction", r"C:\Windows\System32", True),
            ("soft", r"Windows\link.dll", False),
        ):
            data = LinkTarget.from_path(target, is_mount_point=is_mount_point).encode()
            writer.put(Entry(f"Files/{name}", info(0x410 if is_mount_point else 0x400), reparse=data))
    return tmp_path / "base"


@pytest.fixture
def scratch(base: Path) -> Path:
    wclayer.create_scratch_layer(base.parent / "run", [base])
    return base.parent / "run"


@pytest.fixture
def mounted(scratch: Path) -> Iterator[Path]:
    wclayer.activate_layer(scratch)
    wclayer.prepare_layer(scratch)
    place = Path(wclayer.get_layer_mount_path(scratch))
    yield place
    if os.path.ismount(place):
        wclayer.unprepare_layer(scratch)
    assert list(wclayer.check_layer(scratch)) == []


def sh(command: str, cwd: Path) -> str:
    done = subprocess.run(["bash", "-euc", command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(number: int) -> pytest.RaisesExc[OSError]:
    return pytest.raises(OSError, check=lambda error: error.errno == number)


def test_what_the_layers_have_is_there(mounted: Path) -> None:
    assert sorted(os.listdir(mounted)) == ["Windows", "execution alias", "junction", "soft", "Ünïcode \U0001f600"]
    assert (mounted / "WINDOWS" / "system32" / "A.DLL").read_bytes() == b"library"
    assert os.readlink(mounted / "junction") == "Windows/System32"
    assert os.readlink(mounted / "execution alias") == "unsupported reparse tag: 0x8000001b"
    assert (mounted / "junction" / "a.dll").read_bytes() == b"library"
    assert (mounted / "soft").read_bytes() == b"library"
    status = (mounted / "Windows" / "link.dll").stat()
    assert status.st_nlink == 2
    assert status.st_ino == (mounted / "Windows" / "System32" / "a.dll").stat().st_ino
    assert status.st_mtime_ns == (TIME + 2 - 116_444_736_000_000_000) * 100
    assert (mounted / "Windows" / "secured").stat().st_mode & 0o777 == 0o555
    space = os.statvfs(mounted)
    assert space.f_frsize * space.f_blocks > 18 << 30


def test_windows_metadata_are_extended_attributes(mounted: Path) -> None:
    file, secured = mounted / "Windows" / "System32" / "a.dll", mounted / "Windows" / "secured"
    assert os.getxattr(secured, "system.ntfs_acl") == FILE_SECURITY
    assert os.getxattr(secured, "system.ntfs_attrib") == struct.pack("=I", 0x23)
    assert os.getxattr(secured, "system.ntfs_attrib_be") == struct.pack(">I", 0x23)
    assert os.getxattr(secured, "system.ntfs_times") == struct.pack("=4Q", TIME, TIME + 2, TIME + 1, TIME + 3)
    assert os.getxattr(secured, "system.ntfs_crtime") == struct.pack("=Q", TIME)
    assert os.getxattr(secured, "system.ntfs_dos_name") == b"secured"
    reparse = os.getxattr(mounted / "junction", "system.ntfs_reparse_data", follow_symlinks=False)
    assert reparse == LinkTarget.from_path(r"C:\Windows\System32", is_mount_point=True).encode()
    assert os.listxattr(file) == ["user.streams"]
    assert os.getxattr(file, "user.STREAMS") == b"data"

    os.setxattr(file, "user.new", b"x" * 60_000)
    os.setxattr(file, "system.ntfs_acl", FILE_SECURITY)
    os.setxattr(file, "system.ntfs_attrib", struct.pack("=I", 0x22))
    os.setxattr(file, "system.ntfs_times", struct.pack("=2Q", 5, 6))
    os.removexattr(file, "user.streams")
    assert os.getxattr(mounted / "Windows" / "link.dll", "user.new") == b"x" * 60_000
    assert os.getxattr(file, "system.ntfs_acl") == FILE_SECURITY
    assert os.getxattr(file, "system.ntfs_times")[:16] == struct.pack("=2Q", 5, 6)
    attempts: list[tuple[int, Callable[[], object]]] = [
        (errno.ENODATA, lambda: os.getxattr(file, "user.no")),
        (errno.ENODATA, lambda: os.getxattr(file, "system.ntfs_ea")),
        (errno.EINVAL, lambda: os.setxattr(file, "system.ntfs_acl", b"x")),
        (errno.EINVAL, lambda: os.setxattr(file, "system.ntfs_attrib", b"x")),
        (errno.EOPNOTSUPP, lambda: os.setxattr(file, "system.ntfs_other", b"x")),
        (errno.EEXIST, lambda: os.setxattr(file, "user.new", b"", os.XATTR_CREATE)),
        (errno.ENODATA, lambda: os.setxattr(file, "user.other", b"", os.XATTR_REPLACE)),
    ]
    for number, attempt in attempts:
        with fails(number):
            attempt()


def test_what_windows_does_not_take_is_refused(mounted: Path) -> None:
    for name in ("a:b", "a\\b", "aux", "x?", "trailing.", "trailing "):
        with fails(errno.EINVAL):
            (mounted / name).write_bytes(b"")
    with fails(errno.ENAMETOOLONG):
        (mounted / ("x" * 256)).mkdir()
    with fails(errno.EPERM):
        os.mkfifo(mounted / "fifo")
    with fails(errno.EILSEQ):
        os.mkdir(os.fsencode(mounted) + b"/\xff")
    (mounted / "d" / "e").mkdir(parents=True)
    (mounted / "f").write_bytes(b"")
    attempts: list[tuple[int, Callable[[], object]]] = [
        (errno.ENOTEMPTY, lambda: os.rmdir(mounted / "d")),
        (errno.EINVAL, lambda: os.rename(mounted / "d", mounted / "d" / "e" / "x")),
        (errno.EEXIST, lambda: os.mkdir(mounted / "D")),
        (errno.ENOTDIR, lambda: os.rename(mounted / "d", mounted / "f")),
        (errno.EISDIR, lambda: os.rename(mounted / "f", mounted / "d")),
        (errno.EEXIST, lambda: os.link(mounted / "f", mounted / "F")),
        (errno.EINVAL, lambda: os.symlink("a\\b", mounted / "s")),
    ]
    for number, attempt in attempts:
        with fails(number):
            attempt()


def test_links_are_made_for_windows(mounted: Path, scratch: Path) -> None:
    os.symlink("../Windows/link.dll", mounted / "Windows" / "relative")
    os.symlink("/Windows/System32", mounted / "rooted")
    os.symlink(mounted / "Windows", mounted / "inside")
    os.symlink("nowhere", mounted / "dangling")
    assert os.readlink(mounted / "Windows" / "relative") == "../Windows/link.dll"
    assert os.readlink(mounted / "rooted") == "Windows/System32"
    assert (mounted / "rooted" / "a.dll").read_bytes() == b"library"
    assert (mounted / "inside" / "link.dll").read_bytes() == b"library"
    wclayer.unprepare_layer(scratch)
    with LayerView(scratch=scratch) as view:
        assert view.read_link("Windows/relative").substitute_name == r"..\Windows\link.dll"
        assert view.read_link("rooted").substitute_name == r"\??\C:\Windows\System32"
        assert view.stat("rooted", follow=False).is_directory
        assert view.stat("inside/link.dll").size == 7
        assert not view.stat("dangling", follow=False).is_directory


def test_all_names_of_a_file_change_together(mounted: Path) -> None:
    one, other = mounted / "Windows" / "System32" / "a.dll", mounted / "Windows" / "link.dll"
    assert other.read_bytes() == b"library"
    with one.open("r+b") as file:
        file.write(b"LIBRARIES")
    _until(lambda: other.read_bytes() == b"LIBRARIES" and other.stat().st_size == 9)
    os.link(other, mounted / "third")
    _until(lambda: one.stat().st_nlink == 3)
    one.unlink()
    _until(lambda: other.stat().st_nlink == 2)
    assert (mounted / "third").read_bytes() == b"LIBRARIES"
    assert (mounted / "third").stat().st_ino == other.stat().st_ino


def test_all_spellings_of_a_name_are_one_file(mounted: Path) -> None:
    lower, upper = mounted / "new file", mounted / "NEW FILE"
    assert not upper.exists()
    lower.write_bytes(b"one")
    assert upper.read_bytes() == b"one"
    lower.write_bytes(b"longer")
    _until(lambda: upper.stat().st_size == 6 and upper.read_bytes() == b"longer")
    upper.write_bytes(b"by the other")
    _until(lambda: lower.stat().st_size == 12 and lower.read_bytes() == b"by the other")
    upper.unlink()
    _until(lambda: not lower.exists())
    with lower.open("xb") as file:
        file.write(b"again")
    _until(lambda: upper.exists() and upper.read_bytes() == b"again")
    (mounted / "Windows").rename(mounted / "Renamed")
    assert (mounted / "RENAMED" / "SYSTEM32" / "a.dll").read_bytes() == b"library"
    (mounted / "Renamed").rename(mounted / "Windows")
    _until(lambda: not (mounted / "RENAMED").exists())
    assert (mounted / "WINDOWS" / "System32" / "A.DLL").read_bytes() == b"library"
    # From one spelling to another.
    upper.rename(mounted / "New File")
    assert "New File" in os.listdir(mounted)


def _until(true: Callable[[], bool]) -> None:
    """The kernel forgets the other names of a file when it gets to it."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.skipif(_is_old_kernel(), reason="the kernel appends where it thinks that the end is")
def test_who_appends_by_one_spelling_sees_what_another_one_did(mounted: Path) -> None:
    (mounted / "log").write_bytes(b"first ")
    appender = os.open(mounted / "log", os.O_WRONLY | os.O_APPEND)
    with (mounted / "LOG").open("ab") as other:
        other.write(b"second ")
    os.write(appender, b"third ")
    assert (mounted / "log").read_bytes() == (mounted / "Log").read_bytes() == b"first second third "
    os.truncate(mounted / "LOG", 0)
    os.write(appender, b"fourth")
    assert (mounted / "log").read_bytes() == (mounted / "Log").read_bytes() == b"fourth"
    os.close(appender)


def test_times_tell_what_happened(mounted: Path) -> None:
    path = mounted / "Windows" / "System32" / "a.dll"
    before = path.stat()
    with path.open("r+b", buffering=0) as file:
        file.write(b"L")
        while_open = os.fstat(file.fileno())
    after = path.stat()
    assert before.st_mtime_ns < while_open.st_mtime_ns == after.st_mtime_ns
    assert before.st_ctime_ns < while_open.st_ctime_ns <= after.st_ctime_ns
    folder = path.parent.stat()
    (path.parent / "new").write_bytes(b"")
    assert path.parent.stat().st_mtime_ns > folder.st_mtime_ns
    os.utime(path, ns=(10**18, 10**18 + 700))
    assert (path.stat().st_atime_ns, path.stat().st_mtime_ns) == (10**18, 10**18 + 700)
    with path.open("r+b", buffering=0) as file:
        file.write(b"l")
        os.utime(file.fileno(), ns=(5000, 6000))
    assert path.stat().st_mtime_ns == 6000
    assert struct.unpack("=4Q", os.getxattr(path, "system.ntfs_times"))[1] == 116_444_736_000_000_000 + 60


def test_an_open_file_outlives_its_name(mounted: Path) -> None:
    path = mounted / "Windows" / "System32" / "a.dll"
    (mounted / "d").mkdir()
    (mounted / "d" / "f").write_bytes(b"file")
    with path.open("r+b", buffering=0) as file, (mounted / "d" / "f").open("r+b", buffering=0) as other:
        path.unlink()
        (mounted / "d" / "f").unlink()
        assert os.listdir(mounted / "d") == []
        assert (os.fstat(other.fileno()).st_nlink, os.fstat(other.fileno()).st_size) == (0, 4)
        os.rmdir(mounted / "d")
        # The first one has another name still.
        assert os.fstat(file.fileno()).st_size == 7
        file.write(b"LIB")
        other.write(b"FILES")
        os.ftruncate(other.fileno(), 3)
        other.seek(0)
        assert other.read() == b"FIL"
    _until(lambda: (mounted / "Windows" / "link.dll").read_bytes() == b"LIBrary")
    # Also when the name goes by which the others know it.
    (mounted / "first").write_bytes(b"1")
    os.link(mounted / "first", mounted / "second")
    with (mounted / "first").open("r+b", buffering=0) as file:
        file.write(b"2")
        (mounted / "first").unlink()
        file.write(b"3")
    _until(lambda: (mounted / "second").read_bytes() == b"23")
    with (mounted / "target").open("wb", buffering=0) as replaced:
        replaced.write(b"old")
        (mounted / "source").write_bytes(b"new")
        os.rename(mounted / "source", mounted / "target")
        assert os.fstat(replaced.fileno()).st_size == 3
    assert (mounted / "target").read_bytes() == b"new"


def test_programs_work_on_it(mounted: Path, is_long: bool) -> None:
    # All of the package is ten times as many files, and no other kinds of them.
    source = Path(wclayer.__file__).parent / ("" if is_long else "layers")
    quoted = f"'{source}'"
    sh(f"cp -a {quoted} copied; diff -r {quoted} copied", mounted)
    sh("tar -cf t.tar copied; mkdir x; tar -xf t.tar -C x; diff -r copied x/copied; rm -r x t.tar", mounted)
    if shutil.which("rsync"):
        sh("rsync -a copied/ synced; rsync -a --delete copied/ synced; diff -r copied synced; rm -r synced", mounted)
    assert len(sh("find copied -name '*.py'", mounted).splitlines()) == len(list(source.rglob("*.py")))
    sh(
        "git init -q r && cd r && git config user.email a@b && git config user.name n && cp -r ../copied . "
        "&& git add . && git commit -qm one && git mv copied moved && git commit -qm two && git gc -q && git fsck "
        "&& git checkout -q HEAD~ && git clone -q . ../cloned && test -z \"$(git status --porcelain)\"",
        mounted,
    )  # fmt: skip
    sh("dd if=/dev/urandom of=big bs=1M count=8 status=none; dd if=big of=copy bs=64k conv=fsync status=none; "
       "cmp big copy", mounted)  # fmt: skip
    with closing(sqlite3.connect(mounted / "db.sqlite")) as db, db:
        db.execute("CREATE TABLE t (x)")
        for number in range(200):
            db.execute("INSERT INTO t VALUES (?)", (number,))
            if number % 50 == 0:
                db.commit()
    db.close()
    with closing(sqlite3.connect(mounted / "db.sqlite")) as db, db:
        assert db.execute("SELECT COUNT(*), SUM(x) FROM t").fetchone() == (200, 19900)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    subprocess.run([sys.executable, "-m", "compileall", "-q", "copied"], cwd=mounted, check=True)


@pytest.mark.parametrize("seed", range(3))
def test_random_reads_and_writes(mounted: Path, seed: int) -> None:
    """In the manner of fsx: one file, and beside it in memory what it must be."""
    chance = random.Random(seed)
    path = mounted / "fsx"
    expected = bytearray()
    path.write_bytes(b"")
    fd = os.open(path, os.O_RDWR)
    for step in range(600):
        offset, length = chance.randrange(0, 200_000), chance.randrange(1, 70_000)
        kind = chance.choice(
            ["write", "write", "append", "read", "read", "mmap", "truncate", "reopen", "fsync", "mmap write"]
        )
        if kind in ("write", "append"):
            at = offset if kind == "write" else len(expected)
            data = chance.randbytes(length)
            assert os.pwrite(fd, data, at) == length
            expected.extend(bytes(max(0, at - len(expected))))
            expected[at : at + length] = data
        elif kind == "read":
            assert os.pread(fd, length, offset) == expected[offset : offset + length], step
        elif kind == "mmap" and expected:
            with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as memory:
                assert memory[offset : offset + length] == expected[offset : offset + length], step
        elif kind == "mmap write" and len(expected) > offset:
            with mmap.mmap(fd, 0) as memory:
                count = min(length, len(expected) - offset)
                memory[offset : offset + count] = expected[offset : offset + count] = chance.randbytes(count)
                memory.flush()
        elif kind == "truncate":
            os.ftruncate(fd, offset)
            expected[:] = expected[:offset] + bytes(max(0, offset - len(expected)))
        elif kind == "reopen":
            os.close(fd)
            fd = os.open(path, os.O_RDWR)
        elif kind == "fsync":
            os.fsync(fd)
        assert os.fstat(fd).st_size == len(expected), (step, kind)
    os.close(fd)
    assert path.read_bytes() == expected


def test_what_one_program_only_writes_others_read(mounted: Path, tmp_path: Path) -> None:
    (mounted / "log").write_bytes(b"-" * 10_000)
    with (mounted / "log").open("rb") as reader, mmap.mmap(reader.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert reader.read() == mapped[:] == b"-" * 10_000
        writer = os.open(mounted / "log", os.O_WRONLY)
        appender = os.open(mounted / "log", os.O_WRONLY | os.O_APPEND)
        expected = bytearray(b"-" * 10_000)
        generator = random.Random(11)
        for number in range(60):
            piece = bytes([65 + number % 26]) * generator.randrange(1, 9_000)
            at = generator.randrange(len(expected))
            if number % 3 == 2:
                at = len(expected)
                os.write(appender, piece)
            else:
                os.pwrite(writer, piece, at)
            expected[at : at + len(piece)] = piece
            reader.seek(0)
            assert reader.read() == expected
            assert mapped[:] == expected[:10_000]
            assert os.fstat(writer).st_size == (mounted / "log").stat().st_size == len(expected)
        os.ftruncate(writer, 5_000)
        assert (mounted / "log").read_bytes() == expected[:5_000]
        os.close(writer)
        os.close(appender)
    assert (mounted / "log").read_bytes() == expected[:5_000]
    # What the kernel itself writes for a program.
    (tmp_path / "source").write_bytes(bytes(expected) * 20)
    with (tmp_path / "source").open("rb") as source, (mounted / "sent").open("wb") as target:
        while os.sendfile(target.fileno(), source.fileno(), None, 1 << 20):
            pass
    sh(
        "cat < sent > piped; cp sent copied; dd if=sent of=direct bs=4k oflag=direct status=none; cat sent >> piped",
        mounted,
    )
    assert (mounted / "sent").read_bytes() == (mounted / "copied").read_bytes() == bytes(expected) * 20
    assert (mounted / "piped").read_bytes() == bytes(expected) * 40
    assert (mounted / "direct").read_bytes() == bytes(expected) * 20


def test_large_reads_give_what_the_file_has(base: Path, tmp_path: Path) -> None:
    data = random.Random(5).randbytes(3_300_001)
    with DirectoryLayerWriter(tmp_path / "large") as writer:
        put_directories(writer, "Files")
        for name in ("whole", "shorter", "unwanted"):
            put_file(writer, f"Files/{name}", data)
    place = tmp_path / "mount"
    place.mkdir()
    mount.start(place, [tmp_path / "large"])
    try:
        # A layer that was damaged behind the mount's back.
        os.truncate(tmp_path / "large" / "Files" / "shorter", 200_000)
        assert (place / "shorter").read_bytes() == data[:200_000]
        for flags in (os.O_RDONLY, os.O_RDONLY | os.O_DIRECT):
            fd = os.open(place / "whole", flags)
            for offset, size in (
                (0, 1 << 20),
                (4097, 1 << 20),
                (65_537, 65_536),
                (3_000_000, 1 << 19),
                (3_300_001, 70_000),
            ):
                assert os.pread(fd, size, offset) == data[offset : offset + size]
            os.close(fd)
        assert (place / "whole").read_bytes() == data
        # Programs that end before their read is answered.
        for _ in range(5):
            sh("timeout 0.01 cat unwanted whole unwanted > /dev/null || true", place)
        assert (place / "unwanted").read_bytes() == data
    finally:
        mount.unmount(place)


def test_who_reads_while_another_program_writes_ends_with_the_new_data(mounted: Path) -> None:
    size, piece = 1 << 20, 1 << 16
    (mounted / "file").write_bytes(bytes(size))
    read = "while cmp -s /dev/zero file; do :; done; while [ ! -e stop ]; do cat file > /dev/null; done; cat file"
    readers = [
        subprocess.Popen(["bash", "-c", read], cwd=mounted, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    with (mounted / "file").open("rb") as kept:
        kept.read()
        for number in range(1, 6):
            writer = os.open(mounted / "file", os.O_WRONLY)
            for at in range(0, size, piece):
                os.pwrite(writer, bytes([number]) * piece, at)
            os.close(writer)
        (mounted / "stop").touch()
        for reader in readers:
            assert reader.communicate()[0] == b"\5" * size
        kept.seek(0)
        assert kept.read() == b"\5" * size


def test_writing_past_the_size_gives_enospc(base: Path, tmp_path: Path) -> None:
    wclayer.create_scratch_layer(tmp_path / "small", [base])
    with LayerView(scratch=tmp_path / "small") as view:
        capacity = view.capacity
        assert capacity is not None
        with view.open("filler", "wb", buffering=0) as file:
            file.truncate(capacity - (1 << 20))
    (tmp_path / "m").mkdir()
    mount.start(tmp_path / "m", scratch=tmp_path / "small")
    try:
        with fails(errno.ENOSPC), (tmp_path / "m" / "x").open("wb", buffering=0) as raw:
            for _ in range(3):
                raw.write(bytes(1 << 19))
        (tmp_path / "m" / "filler").unlink()
        (tmp_path / "m" / "x").write_bytes(bytes(3 << 20))
    finally:
        mount.unmount(tmp_path / "m")
        mount.wait_until_free(tmp_path / "small")


def test_layers_are_mounted_read_only(base: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    mount.start(tmp_path / "m", [base])
    try:
        assert (tmp_path / "m" / "soft").read_bytes() == b"library"
        assert (tmp_path / "m/WINDOWS/SYSTEM32/A.dll").read_bytes() == b"library"
        for _ in range(2):
            # What was looked up in vain does not hide what is there.
            assert not (tmp_path / "m/Windows/missing").exists()
            assert sorted(os.listdir(tmp_path / "m/Windows")) == ["System32", "link.dll", "secured"]
            assert (tmp_path / "m/windows/Link.dll").read_bytes() == b"library"
        with (
            (tmp_path / "m/Windows/link.dll").open("rb") as file,
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data,
        ):
            assert data[:] == b"library"
        with fails(errno.EROFS):
            (tmp_path / "m" / "x").write_bytes(b"")
        with fails(errno.EROFS):
            (tmp_path / "m/Windows/link.dll").open("r+b")
        with pytest.raises(AlreadyExistsError):
            mount.start(tmp_path / "m", [base])
    finally:
        mount.unmount(tmp_path / "m")
    with pytest.raises(NotReadyError):
        mount.unmount(tmp_path / "m")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_unmounts(scratch: Path, tmp_path: Path, number: int) -> None:
    (tmp_path / "m").mkdir()
    server = mount.start(tmp_path / "m", scratch=scratch)
    (tmp_path / "m" / "written").write_bytes(b"x")
    os.kill(server, number)
    mount.wait_until_free(scratch)
    assert not os.path.ismount(tmp_path / "m")
    with LayerView(scratch=scratch) as view:
        assert view.read_bytes("written") == b"x"


def test_a_killed_server_loses_nothing_and_is_recognised(scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    wclayer.activate_layer(scratch)
    wclayer.prepare_layer(scratch, target=tmp_path / "m")
    place = tmp_path / "m"
    fd = os.open(place / "synced", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"synced")
    os.fsync(fd)
    (place / "closed").write_bytes(b"closed")
    os.rename(place / "Windows", place / "Renamed")
    os.write(fd, b" and more")
    subprocess.run(["pkill", "-KILL", "-f", f"wclayer.view.fuse.server.*{tmp_path}"], check=True)
    _until(lambda: mount.is_stale(place))
    with fails(errno.ENOTCONN):
        os.listdir(place)
    with fails(errno.ENOTCONN):
        os.close(fd)
    with pytest.raises(NotReadyError, match="died"):
        wclayer.get_layer_mount_path(scratch)
    wclayer.prepare_layer(scratch, target=place)
    assert (place / "synced").read_bytes() == b"synced and more"
    assert (place / "closed").read_bytes() == b"closed"
    assert sorted(os.listdir(place / "Renamed")) == ["System32", "link.dll", "secured"]
    wclayer.unprepare_layer(scratch)
    assert list(wclayer.check_layer(scratch)) == []


def test_ten_processes_lose_nothing(mounted: Path, scratch: Path) -> None:
    program = (
        "import os, sys\n"
        "name = sys.argv[1]\n"
        "for step in range(40):\n"
        "    path = f'p{name}-{step}'\n"
        "    with open(path, 'wb') as file: file.write(path.encode() * 50)\n"
        "    os.rename(path, f'Windows/{path}')\n"
        "    fd = os.open('log', os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
        "    os.write(fd, f'{path}\\n'.encode())\n"
        "    os.close(fd)\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", program, str(n)], cwd=mounted) for n in range(10)]
    assert [worker.wait() for worker in workers] == [0] * 10
    wanted = sorted(f"p{name}-{step}" for name in range(10) for step in range(40))
    assert sorted((mounted / "log").read_text().splitlines()) == wanted
    wclayer.unprepare_layer(scratch)
    with LayerView(scratch=scratch) as view:
        assert sorted(name for name in view.listdir("Windows") if name.startswith("p")) == wanted
        assert all(view.read_bytes(f"Windows/{name}") == name.encode() * 50 for name in wanted)


def test_what_was_changed_is_what_is_exported(mounted: Path, scratch: Path, base: Path, tmp_path: Path) -> None:
    sh("mkdir -p a/b; echo one > a/b/c; mv Windows/System32 moved; rm Windows/secured; touch -d 2020-01-01 a/b/c; "
       "rm junction 'execution alias'; mkdir junction; ln -s a soft2", mounted)  # fmt: skip
    os.setxattr(mounted / "a" / "b" / "c", "user.s", b"stream")
    before = tree_listing(mounted)
    # Also while it is mounted.
    exported = wclayer.export_layer_to_file(scratch, tmp_path / "live.tar")
    wclayer.unprepare_layer(scratch)
    wclayer.deactivate_layer(scratch)
    again = wclayer.export_layer_to_file(scratch, tmp_path / "changes.tar")
    assert exported.diff_id == again.diff_id
    with (tmp_path / "changes.tar").open("rb") as stream:
        wclayer.import_layer_from_tar(stream, tmp_path / "copy", [base])
    (tmp_path / "m").mkdir()
    mount.start(tmp_path / "m", [tmp_path / "copy"])
    try:
        assert tree_listing(tmp_path / "m") == before
        assert os.getxattr(tmp_path / "m" / "a" / "b" / "c", "user.s") == b"stream"
    finally:
        mount.unmount(tmp_path / "m")
    with wclayer.MergedTree([scratch, base]) as a, wclayer.MergedTree([tmp_path / "copy", base]) as b:
        assert list(wclayer.diff_trees(a, b)) == []
    with LayerView([tmp_path / "copy"]) as view:
        assert view.security("a") == inherited(volume_root().encode(), True)


def test_the_same_steps_on_ntfs_3g_give_the_same_tree(mounted: Path, tmp_path: Path) -> None:
    image, other = tmp_path / "ntfs.img", tmp_path / "ntfs"
    other.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run([witness("mkntfs"), "-q", "-F", str(image)], check=True, capture_output=True)
    options = "streams_interface=xattr,windows_names"
    subprocess.run([witness("ntfs-3g"), "-o", options, str(image), str(other)], check=True, capture_output=True)
    try:
        ours = mounted / "place"
        ours.mkdir()
        listings = [_random_steps(place) for place in (ours, other)]
    finally:
        subprocess.run(["umount", str(other)], check=True)
    assert listings[0] == listings[1]


def _random_steps(root: Path) -> list[object]:
    """The same random steps each time: what came of each, and of all together."""
    chance = random.Random(42)
    names = ["a", "b", "Long file name", "ä", "x.txt"]
    results: list[object] = []

    def path() -> Path:
        return root.joinpath(*chance.choices(names, k=chance.randrange(1, 4)))

    steps: list[Callable[[], object]] = [
        lambda: os.mkdir(path()), lambda: path().write_bytes(chance.randbytes(chance.randrange(9000))),
        lambda: os.rename(path(), path()), lambda: os.unlink(path()), lambda: os.rmdir(path()),
        lambda: os.truncate(path(), chance.randrange(9000)), lambda: os.symlink("a/b", path()),
        lambda: os.setxattr(path(), "user.s", chance.randbytes(20)), lambda: os.mkdir(path()),
        lambda: os.utime(path(), ns=(10**18, chance.randrange(10**18) // 100 * 100)),
    ]  # fmt: skip
    for _ in range(700):
        state = chance.getstate()
        try:
            chance.choice(steps)()
            results.append(None)
        except OSError as error:
            results.append(error.errno)
        # However much of its chances a step has taken.
        chance.setstate(state)
        chance = random.Random(chance.random())
    for folder, directories, files in os.walk(root):
        for name in sorted(directories + files):
            at = Path(folder, name)
            status = at.lstat()
            what: object = os.readlink(at) if at.is_symlink() else at.read_bytes() if at.is_file() else "directory"
            streams = {} if at.is_symlink() else {key: os.getxattr(at, key) for key in os.listxattr(at)}
            time_ns = status.st_mtime_ns if status.st_mtime_ns < 10**18 else None
            results.append((str(at.relative_to(root)), what, streams, time_ns))
        directories.sort()
    return sorted(results, key=str)
