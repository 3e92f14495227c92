"""A program that takes random steps in a mounted scratch and holds each against a model in memory; it is run as a
process of its own, because a call that hangs in a mount cannot be taken back: `python -m tests.view.mount_steps FOLDER
SEED STEPS`. It says on its output what it is about to do, so that whoever runs it sees which call does not return."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from wclayer.win32.names import name_key
from wclayer.win32.reparse import LinkTarget

NAMES = ("a", "A", "b", "B", "d", "D", ".fuse_hidden1")
DIRECTORIES = ("d", "D")
REPARSE = "system.ntfs_reparse_data"
NOREPLACE, EXCHANGE = 1, 2
LINKED, LINKED_DATA = ("a", "d/B"), b"two names"
FILES = {".fuse_hidden1": b"one name", "d/A": b"in a directory"}
"""What is there before the first step, in a parent of the scratch: a file with two names, others, and the directories
`d` and `d/d`."""
PATIENCE = 10.0
"""Seconds within which the kernel forgets a name that went by another spelling."""
if sys.platform != "win32":
    _LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass
class Thing:
    """What a name stands for: a file, a directory, or a link."""

    kind: int
    data: bytearray = field(default_factory=bytearray)
    entries: dict[str, tuple[str, Thing]] = field(default_factory=dict)
    streams: dict[str, bytes] = field(default_factory=dict)
    text: str = ""
    is_made_link: bool = False
    """Whether reparse data were put on a file: it has its data still."""


Path = tuple[str, ...]


class Model:
    """Directories, files and links, by names in any case."""

    def __init__(self) -> None:
        self.root = Thing(stat.S_IFDIR)
        for path in (("d",), ("d", "d")):
            self.add(path, Thing(stat.S_IFDIR))
        linked = Thing(stat.S_IFREG, bytearray(LINKED_DATA))
        for name in LINKED:
            self.add(tuple(name.split("/")), linked)
        for name, data in FILES.items():
            self.add(tuple(name.split("/")), Thing(stat.S_IFREG, bytearray(data)))

    def directory(self, path: Path) -> Thing:
        here = self.root
        for part in path[:-1]:
            if name_key(part) not in here.entries:
                raise OSError(errno.ENOENT, "")
            here = here.entries[name_key(part)][1]
            if here.kind != stat.S_IFDIR:
                # A link on the way leads nowhere here.
                raise OSError(errno.ENOENT if here.kind == stat.S_IFLNK else errno.ENOTDIR, "")
        return here

    def find(self, path: Path) -> Thing:
        entries = self.directory(path).entries
        if name_key(path[-1]) not in entries:
            raise OSError(errno.ENOENT, "")
        return entries[name_key(path[-1])][1]

    def add(self, path: Path, thing: Thing) -> None:
        entries = self.directory(path).entries
        if name_key(path[-1]) in entries:
            raise OSError(errno.EEXIST, "")
        entries[name_key(path[-1])] = path[-1], thing

    def remove(self, path: Path, *, is_directory: bool) -> None:
        thing = self.find(path)
        if is_directory and thing.kind != stat.S_IFDIR:
            raise OSError(errno.ENOTDIR, "")
        if not is_directory and thing.kind == stat.S_IFDIR:
            raise OSError(errno.EISDIR, "")
        if thing.entries:
            raise OSError(errno.ENOTEMPTY, "")
        del self.directory(path).entries[name_key(path[-1])]

    def rename(self, old: Path, new: Path, flags: int) -> None:
        thing = self.find(old)
        target = self.directory(new)
        if flags & EXCHANGE:
            self.find(new)
            raise OSError(errno.EINVAL, "")
        if tuple(map(name_key, new[: len(old)])) == tuple(map(name_key, old)) and len(new) > len(old):
            raise OSError(errno.EINVAL, "")
        there = target.entries.get(name_key(new[-1]))
        is_same_name = there is not None and tuple(map(name_key, old)) == tuple(map(name_key, new))
        if there is not None and flags & NOREPLACE and (not is_same_name or old[-1] == new[-1]):
            raise OSError(errno.EEXIST, "")
        if there is not None and not is_same_name:
            if there[1] is thing:
                return
            if (there[1].kind == stat.S_IFDIR) != (thing.kind == stat.S_IFDIR):
                raise OSError(errno.EISDIR if there[1].kind == stat.S_IFDIR else errno.ENOTDIR, "")
            if there[1].entries:
                raise OSError(errno.ENOTEMPTY, "")
        spelling = new[-1]
        if old == new:
            return
        del self.directory(old).entries[name_key(old[-1])]
        target.entries[name_key(new[-1])] = spelling, thing

    def links(self, thing: Thing) -> int:
        """How many names a thing has."""
        count = 0
        pending = [self.root]
        while pending:
            for _, found in pending.pop().entries.values():
                count += found is thing
                if found.kind == stat.S_IFDIR:
                    pending.append(found)
        return count

    def listing(self) -> dict[str, object]:
        """Every path as it is spelled, with what is there."""
        found: dict[str, object] = {}

        def walk(directory: Thing, at: str) -> None:
            for name, thing in directory.entries.values():
                path = os.path.join(at, name)
                if thing.kind == stat.S_IFDIR:
                    found[path] = "directory"
                    walk(thing, path)
                elif thing.kind == stat.S_IFLNK:
                    found[path] = ["link", thing.text]
                else:
                    found[path] = [thing.data.hex(), {key: value.hex() for key, value in thing.streams.items()}]

        walk(self.root, "")
        return found


class Steps:
    """Random steps in a folder, held against a model."""

    def __init__(self, place: str, seed: str) -> None:
        self.place = place
        self.chance = random.Random(seed)
        self.model = Model()
        self.open: list[tuple[int, Thing]] = []
        self.kinds: list[Callable[[], None]] = [
            self.create, self.create, self.mkdir, self.symlink, self.unlink, self.unlink, self.rmdir, self.rename,
            self.rename, self.rename, self.rename_onto_itself, self.link, self.look, self.look, self.look,
            self.set_reparse, self.remove_reparse, self.truncate, self.keep_open, self.write_open, self.read_open,
            self.truncate_open,
            self.close, self.list, self.stream, self.touch, self.write, self.append,
        ]  # fmt: skip

    def take(self, count: int) -> None:
        for number in range(count):
            self.number = number
            self.chance.choice(self.kinds)()
            if number % 8 == 0:
                self.compare()
        for fd, _ in self.open:
            os.close(fd)
        self.open.clear()
        self.compare()

    # What is done.

    def path(self) -> Path:
        chance = self.chance
        name = chance.choice(NAMES)
        return (chance.choice(DIRECTORIES), name) if chance.random() < 0.35 else (name,)

    def at(self, path: Path) -> str:
        return os.path.join(self.place, *path)

    def both(self, what: str, on_model: Callable[[], object], on_mount: Callable[[], object]) -> bool:
        """Does it to both; they agree on whether it can be. Whether it could."""
        print(self.number, what, flush=True)
        results: list[int] = []
        for act in (on_model, on_mount):
            try:
                act()
                results.append(0)
            except OSError as error:
                results.append(error.errno or -1)
        if bool(results[0]) != bool(results[1]):
            raise AssertionError(f"step {self.number}: {what}: model {results[0]}, mount {results[1]}")
        if errno.EIO in results or errno.ESTALE in results:
            raise AssertionError(f"step {self.number}: {what}: {errno.errorcode[results[1]]}")
        self.settle()
        return not results[0]

    def settle(self) -> None:
        """Returns when all names are there, or not, as in the model."""
        end = time.monotonic() + PATIENCE
        paths = [(name,) for name in NAMES] + [(folder, name) for folder in DIRECTORIES for name in NAMES]
        for path in paths:
            while True:
                try:
                    wanted: Thing | None = self.model.find(path)
                except OSError:
                    wanted = None
                try:
                    kind = stat.S_IFMT(os.lstat(self.at(path)).st_mode)
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                        raise AssertionError(f"step {self.number}: lstat {path}: {error}") from error
                    kind = 0
                if kind == (wanted.kind if wanted is not None else 0):
                    break
                if time.monotonic() > end:
                    raise AssertionError(f"step {self.number}: lstat {path}: {kind:o}, not as in the model")
                time.sleep(0.001)

    def create(self) -> None:
        path, data = self.path(), self.chance.randbytes(self.chance.randrange(30))

        def on_mount() -> None:
            fd = os.open(self.at(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            os.write(fd, data)
            os.close(fd)

        thing = Thing(stat.S_IFREG, bytearray(data))
        self.both(f"create {path}", lambda: self.model.add(path, thing), on_mount)

    def mkdir(self) -> None:
        path = self.path()
        thing = Thing(stat.S_IFDIR)
        self.both(f"mkdir {path}", lambda: self.model.add(path, thing), lambda: os.mkdir(self.at(path)))

    def symlink(self) -> None:
        path = self.path()
        thing = Thing(stat.S_IFLNK, text="nowhere")
        self.both(f"symlink {path}", lambda: self.model.add(path, thing), lambda: os.symlink("nowhere", self.at(path)))

    def unlink(self) -> None:
        path = self.path()
        self.both(
            f"unlink {path}", lambda: self.model.remove(path, is_directory=False), lambda: os.unlink(self.at(path))
        )

    def rmdir(self) -> None:
        path = self.path()
        self.both(f"rmdir {path}", lambda: self.model.remove(path, is_directory=True), lambda: os.rmdir(self.at(path)))

    def rename(self) -> None:
        self._rename(self.path(), self.path(), self.chance.choice((0, 0, 0, NOREPLACE, EXCHANGE)))

    def rename_onto_itself(self) -> None:
        path = self.path()
        other = (*path[:-1], self.chance.choice((path[-1], path[-1].swapcase())))
        self._rename(path, other, 0)

    def _rename(self, old: Path, new: Path, flags: int) -> None:
        def on_mount() -> None:
            done = _LIBC.renameat2(-100, os.fsencode(self.at(old)), -100, os.fsencode(self.at(new)), flags)
            if done:
                raise OSError(ctypes.get_errno(), "")

        if flags & NOREPLACE:
            # To the kernel, the other spelling is a name that is taken.
            spelled = tuple(map(name_key, old)) == tuple(map(name_key, new))
            if spelled and self._is_there(old):
                return
        if flags & EXCHANGE and tuple(map(name_key, old)) == tuple(map(name_key, new)):
            return
        if flags & EXCHANGE and self._is_there(old) and self._is_there(new) and self._one_file(old, new):
            return
        self.both(f"rename {old} {new} {flags}", lambda: self.model.rename(old, new, flags), on_mount)

    def _is_there(self, path: Path) -> bool:
        try:
            self.model.find(path)
        except OSError:
            return False
        return True

    def _one_file(self, one: Path, other: Path) -> bool:
        return self.model.find(one) is self.model.find(other)

    def link(self) -> None:
        old, new = self.path(), self.path()

        def on_model() -> None:
            thing = self.model.find(old)
            if thing.kind == stat.S_IFDIR or ":directory" in thing.streams:
                raise OSError(errno.EPERM, "")
            self.model.add(new, thing)

        self.both(
            f"link {old} {new}", on_model, lambda: os.link(self.at(old), self.at(new), follow_symlinks=False)
        )  # fmt: skip

    def look(self) -> None:
        path = self.path()
        self.both(f"lstat {path}", lambda: self.model.find(path), lambda: os.lstat(self.at(path)))

    def set_reparse(self) -> None:
        path = self.path()
        data = LinkTarget.from_path("nowhere", is_mount_point=False).encode()

        def on_model() -> None:
            thing = self.model.find(path)
            if thing.kind == stat.S_IFDIR and thing.entries:
                raise OSError(errno.ENOTEMPTY, "")
            thing.is_made_link = thing.kind != stat.S_IFLNK or thing.is_made_link
            if thing.kind == stat.S_IFDIR:
                thing.streams[":directory"] = b""
            thing.kind, thing.text = stat.S_IFLNK, "nowhere"

        self.both(
            f"set reparse {path}", on_model, lambda: os.setxattr(self.at(path), REPARSE, data, follow_symlinks=False)
        )

    def remove_reparse(self) -> None:
        path = self.path()

        def on_model() -> None:
            thing = self.model.find(path)
            if thing.kind != stat.S_IFLNK:
                raise OSError(errno.ENODATA, "")
            thing.kind = stat.S_IFDIR if thing.streams.pop(":directory", None) is not None else stat.S_IFREG
            thing.text, thing.is_made_link = "", False

        self.both(
            f"remove reparse {path}", on_model, lambda: os.removexattr(self.at(path), REPARSE, follow_symlinks=False)
        )

    def _file(self, path: Path) -> Thing:
        thing = self.model.find(path)
        if thing.kind != stat.S_IFREG:
            raise OSError(errno.EISDIR, "")
        return thing

    def truncate(self) -> None:
        path, size = self.path(), self.chance.randrange(40)

        def on_model() -> None:
            data = self._file(path).data
            data[:] = data[:size] + bytes(max(0, size - len(data)))

        self.both(f"truncate {path} {size}", on_model, lambda: os.truncate(self.at(path), size))

    def write(self) -> None:
        path, data, offset = self.path(), self.chance.randbytes(9), self.chance.randrange(30)

        def on_model() -> None:
            held = self._file(path).data
            held.extend(bytes(max(0, offset - len(held))))
            held[offset : offset + len(data)] = data

        def on_mount() -> None:
            fd = os.open(self.at(path), os.O_RDWR)
            os.pwrite(fd, data, offset)
            os.close(fd)

        self.both(f"write {path}", on_model, on_mount)

    def append(self) -> None:
        path, data = self.path(), self.chance.randbytes(5)

        def on_mount() -> None:
            fd = os.open(self.at(path), os.O_WRONLY | os.O_APPEND)
            os.write(fd, data)
            os.close(fd)

        self.both(f"append {path}", lambda: self._file(path).data.extend(data), on_mount)

    def stream(self) -> None:
        path, data = self.path(), self.chance.randbytes(7)

        def on_model() -> None:
            self._file(path).streams["s"] = data

        def on_mount() -> None:
            self._file(path)
            os.setxattr(self.at(path), "user.s", data, follow_symlinks=False)

        self.both(f"stream {path}", on_model, on_mount)

    def touch(self) -> None:
        path = self.path()
        self.both(
            f"utime {path}", lambda: self.model.find(path),
            lambda: os.utime(self.at(path), ns=(10**18, 10**18), follow_symlinks=False),
        )  # fmt: skip

    def keep_open(self) -> None:
        path, truncates = self.path(), self.chance.random() < 0.2
        if len(self.open) > 3:
            self.close()

        def on_model() -> None:
            thing = self._file(path)
            if truncates:
                thing.data.clear()

        def on_mount() -> None:
            flags = os.O_RDWR | (os.O_TRUNC if truncates else 0)
            self.open.append((os.open(self.at(path), flags), self._file(path)))

        self.both(f"open {path}, truncated: {truncates}", on_model, on_mount)

    def truncate_open(self) -> None:
        if self.open:
            fd, thing = self.chance.choice(self.open)
            size = self.chance.randrange(40)

            def on_model() -> None:
                thing.data[:] = thing.data[:size] + bytes(max(0, size - len(thing.data)))

            self.both(f"truncate {fd} to {size}", on_model, lambda: os.ftruncate(fd, size))

    def write_open(self) -> None:
        if self.open:
            fd, thing = self.chance.choice(self.open)
            data, offset = self.chance.randbytes(6), self.chance.randrange(30)

            def on_model() -> None:
                thing.data.extend(bytes(max(0, offset - len(thing.data))))
                thing.data[offset : offset + len(data)] = data

            self.both(f"write to {fd}", on_model, lambda: os.pwrite(fd, data, offset))

    def read_open(self) -> None:
        if self.open:
            fd, thing = self.chance.choice(self.open)
            print(self.number, f"read from {fd}", flush=True)
            assert os.pread(fd, 100, 0) == thing.data, (self.number, "open file")
            status = os.fstat(fd)
            assert status.st_size == len(thing.data), (self.number, "size of open file", status.st_size)
            if thing.kind == stat.S_IFREG:
                assert status.st_nlink == self.model.links(thing), (self.number, "links of open file", status.st_nlink)

    def close(self) -> None:
        if self.open:
            fd, _ = self.open.pop(self.chance.randrange(len(self.open)))
            print(self.number, f"close {fd}", flush=True)
            os.close(fd)

    def list(self) -> None:
        path = self.chance.choice(((), ("d",), ("D",)))
        print(self.number, f"list {path}", flush=True)
        try:
            directory = self.model.find(path) if path else self.model.root
            wanted = sorted(name for name, _ in directory.entries.values())
            if directory.kind != stat.S_IFDIR:
                return
        except OSError:
            return
        assert sorted(os.listdir(self.at(path))) == wanted, (self.number, path)

    # All of it.

    def compare(self) -> None:
        """All names, in all spellings, are what the model says."""
        print(self.number, "compare", flush=True)
        seen, wanted = tree(self.place), self.model.listing()
        different = {path: (seen.get(path), wanted.get(path)) for path in {*seen, *wanted}}
        different = {path: both for path, both in different.items() if both[0] != both[1]}
        assert not different, (self.number, different)
        inodes: dict[int, int] = {}
        for directory in [(), *[(name,) for name in DIRECTORIES]]:
            for name in NAMES:
                path = (*directory, name)
                try:
                    thing = self.model.find(path)
                except OSError:
                    continue
                status = os.lstat(self.at(path))
                assert inodes.setdefault(id(thing), status.st_ino) == status.st_ino, (self.number, path, "inode")
                if thing.kind == stat.S_IFREG:
                    assert status.st_size == len(thing.data), (self.number, path, status.st_size)
                    assert status.st_nlink == self.model.links(thing), (self.number, path, status.st_nlink)
                    with open(self.at(path), "rb") as file:
                        assert file.read() == thing.data, (self.number, path)
        assert len(set(inodes.values())) == len(inodes), self.number


def tree(place: str) -> dict[str, object]:
    """Every path of a folder, with what is there, as `Model.listing` gives it."""
    found: dict[str, object] = {}
    for folder, directories, files in os.walk(place):
        for name in directories + files:
            at = os.path.join(folder, name)
            path = os.path.relpath(at, place)
            mode = os.lstat(at).st_mode
            if stat.S_ISLNK(mode):
                found[path] = ["link", os.readlink(at)]
            elif stat.S_ISDIR(mode):
                found[path] = "directory"
            else:
                with open(at, "rb") as file:
                    data = file.read()
                streams = {key[5:]: os.getxattr(at, key).hex() for key in os.listxattr(at)}
                found[path] = [data.hex(), streams]
    return found


def main(place: str, seed: str, count: str) -> None:
    steps = Steps(place, seed)
    steps.take(int(count))
    print("done", json.dumps(steps.model.listing()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4])
