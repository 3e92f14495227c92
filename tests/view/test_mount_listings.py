"""Listings of a mounted scratch that others change meanwhile.

POSIX leaves open whether a listing has a name that is made or removed after it began. A name that is there all the time
is in it once. Here, it shows what there was when it began.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wclayer
from tests.support import put_directories, put_file, witness
from wclayer.view.fuse import mount

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fusermount3")

MANY = [f"f{number:05}" for number in range(1500)]
_ROOM = 4096
_GETDENTS64 = {"x86_64": 217, "aarch64": 61}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer with a small directory `small` and a large one, `many`."""
    place = tmp_path_factory.mktemp("layers") / "base"
    with wclayer.unsynced(), wclayer.new_layer_writer(place) as writer:
        put_directories(writer, "Files", "Files/many", "Files/small")
        for name in MANY:
            put_file(writer, f"Files/many/{name}", b"")
        for name in "al":
            put_file(writer, f"Files/small/{name}", b"")
    return place


@pytest.fixture
def mounted(base: Path, tmp_path: Path) -> Iterator[Path]:
    witness("fusermount3")
    wclayer.create_scratch_layer(tmp_path / "run", [base])
    (tmp_path / "m").mkdir()
    mount.start(tmp_path / "m", scratch=tmp_path / "run")
    try:
        yield tmp_path / "m"
    finally:
        mount.unmount(tmp_path / "m")
        mount.wait_until_free(tmp_path / "run")
        assert list(wclayer.check_layer(tmp_path / "run")) == []


class Opened:
    """A directory that is open, and is listed piece by piece."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.offsets: list[int] = []
        """The offset behind each name that was listed."""

    def some(self, room: int = _ROOM) -> list[str] | None:
        """The next names, as many as have room; None at the end."""
        buffer = ctypes.create_string_buffer(room)
        size = self._libc.syscall(_GETDENTS64[os.uname().machine], self.fd, buffer, room)
        assert size >= 0, os.strerror(ctypes.get_errno())
        names, at = [], 0
        while at < size:
            _, offset, length, _ = struct.unpack_from("=QqHB", buffer.raw, at)
            name = buffer.raw[at + 19 : at + length].split(b"\0")[0].decode()
            if name not in (".", ".."):
                names.append(name)
                self.offsets.append(offset)
            at += length
        return names if size else None

    def rest(self) -> list[str]:
        """All that is left."""
        names: list[str] = []
        while (more := self.some()) is not None:
            names += more
        return names

    def forget(self) -> None:
        """The kernel drops its cache of the directory, as it does without being asked if memory is short."""
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        os.close(self.fd)


@pytest.fixture
def opened() -> Iterator[Callable[[Path], Opened]]:
    """Opens a directory until the end of the test."""
    kept: list[Opened] = []

    def open_it(path: Path) -> Opened:
        kept.append(Opened(path))
        return kept[-1]

    yield open_it
    for one in kept:
        one.close()


Opener = Callable[[Path], Opened]


def _unlink_first(folder: Path) -> None:
    (folder / MANY[0]).unlink()


def _make_first(folder: Path) -> None:
    (folder / "0").touch()


def test_a_name_is_listed_once_when_another_is_made_and_listed_by_others(mounted: Path, opened: Opener) -> None:
    listing = opened(mounted / "small")
    assert listing.some() == ["a", "l"]
    (mounted / "small" / "b").touch()
    # This fills the kernel's cache, in which `l` is behind the offset at which the other listing goes on.
    assert os.listdir(mounted / "small") == ["a", "b", "l"]
    assert listing.rest() == []


@pytest.mark.parametrize("is_cached", [False, True], ids=["first listing", "cached listing"])
@pytest.mark.parametrize("change", [_unlink_first, _make_first])
@pytest.mark.parametrize("relists", [False, True], ids=["alone", "others list"])
def test_a_listing_is_of_the_moment_in_which_it_began(
    mounted: Path, opened: Opener, change: Callable[[Path], None], *, is_cached: bool, relists: bool
) -> None:
    folder = mounted / "many"
    if is_cached:
        assert os.listdir(folder) == MANY
    listing = opened(folder)
    found = listing.some()
    assert found is not None
    assert 0 < len(found) < len(MANY)
    change(folder)
    if relists:
        assert sorted(os.listdir(folder)) == sorted(os.listdir(folder)) != MANY
    assert found + listing.rest() == MANY


@pytest.mark.parametrize("change", [None, _unlink_first, _make_first])
def test_a_listing_goes_on_when_the_kernel_drops_its_cache(
    mounted: Path, opened: Opener, change: Callable[[Path], None] | None
) -> None:
    folder = mounted / "many"
    assert os.listdir(folder) == MANY
    listing = opened(folder)
    found = listing.some()
    assert found is not None
    if change is not None:
        change(folder)
    listing.forget()
    assert found + listing.rest() == MANY


def test_a_cached_listing_goes_on_after_the_server_has_forgotten_the_names(mounted: Path, opened: Opener) -> None:
    folder = mounted / "many"
    assert os.listdir(folder) == MANY
    # When a directory moves, the server forgets all names; when a file is copied up, those of its directory.
    (mounted / "small").rename(mounted / "moved")
    listing = opened(folder)
    found = listing.some()
    assert found is not None
    _unlink_first(folder)
    listing.forget()
    assert found + listing.rest() == MANY
    assert os.listdir(folder) == MANY[1:]


@pytest.mark.parametrize("is_made_again", [False, True], ids=["removed", "made again"])
@pytest.mark.parametrize("is_new", [False, True], ids=["of a layer", "of the scratch"])
def test_what_was_removed_during_a_listing_is_gone(
    mounted: Path, opened: Opener, *, is_new: bool, is_made_again: bool
) -> None:
    folder, names = mounted / "many", MANY
    if is_new:
        folder, names = mounted / "new", MANY[:500]
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    listing = opened(folder)
    found = listing.some()
    assert found is not None
    removed = names[-1]
    (folder / removed).unlink()
    if is_made_again:
        (folder / removed).write_bytes(b"new")
    assert found + listing.rest() == names
    assert (folder / removed).exists() == is_made_again
    assert os.path.lexists(folder / removed) == (removed in os.listdir(folder))
    if is_made_again:
        assert (folder / removed).read_bytes() == b"new"
    else:
        (folder / removed).touch(exist_ok=False)


def test_a_place_in_a_listing_is_that_of_the_same_name_again(mounted: Path, opened: Opener) -> None:
    folder = mounted / "many"
    # A listing that stays unfinished, so that the kernel's cache begins with what was there then.
    unfinished = Opened(folder)
    assert unfinished.some()
    unfinished.close()
    _unlink_first(folder)
    listing = opened(folder)
    assert listing.rest() == MANY[1:]
    for index in (0, 50, 200, 1400):
        os.lseek(listing.fd, listing.offsets[index], os.SEEK_SET)
        assert listing.rest() == MANY[index + 2 :]


def test_a_listing_that_begins_anew_shows_what_is_there_now(mounted: Path, opened: Opener) -> None:
    folder = mounted / "many"
    listing = opened(folder)
    assert listing.some()
    _unlink_first(folder)
    os.lseek(listing.fd, 0, os.SEEK_SET)
    listing.offsets.clear()
    assert listing.rest() == MANY[1:]
    os.lseek(listing.fd, listing.offsets[99], os.SEEK_SET)
    assert listing.rest() == MANY[101:]
    assert os.listdir(folder) == MANY[1:]


def test_a_change_through_another_spelling_is_in_the_next_listing(mounted: Path, opened: Opener) -> None:
    folder, alias = mounted / "many", mounted / "MANY"
    assert os.listdir(folder) == MANY
    listing = opened(folder)
    found = listing.some()
    assert found is not None
    (alias / MANY[0]).unlink()
    assert os.listdir(folder) == os.listdir(alias) == MANY[1:]
    assert found + listing.rest() == MANY
    assert os.listdir(folder) == MANY[1:]


def _remove(folder: Path) -> None:
    folder.rmdir()


def _replace(folder: Path) -> None:
    folder.with_name("other").mkdir()
    folder.with_name("other").rename(folder)


@pytest.mark.parametrize("remove", [_remove, _replace])
@pytest.mark.parametrize("has_looked", [False, True])
def test_an_open_directory_that_was_removed_is_an_empty_one_without_names(
    mounted: Path, opened: Opener, remove: Callable[[Path], None], *, has_looked: bool
) -> None:
    folder = mounted / "folder"
    folder.mkdir()
    listing = opened(folder)
    before = os.fstat(listing.fd)
    if has_looked:
        assert listing.rest() == []
    remove(folder)
    after = os.fstat(listing.fd)
    assert (after.st_ino, after.st_mode, after.st_nlink) == (before.st_ino, before.st_mode, 0)
    assert os.listdir(listing.fd) == []
    assert folder.exists() == (remove is _replace)
    if folder.exists():
        assert folder.stat().st_nlink == 1
