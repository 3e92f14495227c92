"""The program of a worker process: makes the files of which it reads from a pipe. It imports nothing of the package.

`file_pool` runs it with the descriptor of the layer's root directory, the descriptor of the arena, which is memory that
both processes have mapped, its size, and the descriptor of an error stream. It says first that it is ready. It reads
batches from standard input: the length of the batch (uint32), then commands, with little-endian integers.

- `D`, length (uint32), path: the directory, relative to the root, in which the next files are made.
- `F`, length of the name (uint32), size (uint32), position in the arena (uint64), access and modification time
  (FILETIME: int64), name: makes a file with these bytes of the arena.
- `B`, length of the name (uint32), whether it is sparse (uint8), name: begins a file.
- `C`, size (uint32), position in the arena (uint64): appends these bytes. In a sparse file, zeros become a hole.
- `E`, access and modification time: ends the file.
- `L`, length of the name, of the source's directory and of its name (uint32), then the three: makes a hard link, or a
  copy where the host cannot link the two.

It answers each batch with a zero byte and the SHA-256 of every file that it has ended in it, and zeros for every link.
From then on it does not read what the batch says of the arena. After an error it answers with the byte one, the error's
number (int32), and the number of files and links that it has ended in the batch (uint32), and ends.
"""

import errno
import hashlib
import mmap
import os
import struct
import sys
from contextlib import suppress

assert sys.platform == "linux"

READY = b"wclayer makes files\n"
BATCH = struct.Struct("<I")
DIRECTORY = struct.Struct("<cI")
FILE = struct.Struct("<cIIQqq")
BEGIN = struct.Struct("<cIB")
CHUNK = struct.Struct("<cIQ")
END = struct.Struct("<cqq")
LINK = struct.Struct("<cIII")
DONE = b"\0"
DIGEST_SIZE = 32
ERROR = struct.Struct("<BiI")
_UNIX_EPOCH = 116_444_736_000_000_000  # 1970-01-01 as a FILETIME
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)
"""Errors of a host that cannot make a link here: those of `host.posix`, from which this program can import nothing."""
_COPIED_AT_ONCE = 1 << 20
_OPEN_DIRECTORIES = 32


class Directories:
    """The directories below the root that were used last stay open."""

    def __init__(self, root: int) -> None:
        self._open = {b"": root}

    def enter(self, path: bytes) -> int:
        """Returns a descriptor of a directory, opened component by component."""
        fd = self._open.get(path)
        if fd is not None:
            return fd
        missing = []
        while path not in self._open:
            path, _, name = path.rpartition(b"/")
            missing.append(name)
        fd = self._open[path]
        for name in reversed(missing):
            fd = os.open(name, _DIRECTORY_FLAGS, dir_fd=fd)
            path = path + b"/" + name if path else name
            self._open[path] = fd
            if len(self._open) > _OPEN_DIRECTORIES:
                # The root, which is the first one, stays. What was just opened is the newest.
                oldest = next(known for known in self._open if known)
                os.close(self._open.pop(oldest))
        return fd


class Maker:
    """Makes files, one after the other."""

    def __init__(self, root: int, arena: memoryview) -> None:
        self._directories = Directories(root)
        self._arena = arena
        self._path = b""
        self._directory = -1
        self._fd = -1
        self._is_sparse = False
        self._hash = hashlib.sha256()
        self.digests: list[bytes] = []

    def carry_out(self, batch: bytes) -> None:
        """Carries out the commands of a batch."""
        at = 0
        arena = self._arena
        while at < len(batch):
            kind = batch[at]
            if kind == 0x46:  # F
                _, length, size, place, access, modify = FILE.unpack_from(batch, at)
                at += FILE.size + length
                data = arena[place : place + size]
                fd = os.open(batch[at - length : at], _CREATE_FLAGS, 0o644, dir_fd=self._directory)
                try:
                    if size:
                        write(fd, data)
                    set_times(fd, access, modify)
                finally:
                    os.close(fd)
                self.digests.append(hashlib.sha256(data).digest())
            elif kind == 0x44:  # D
                _, length = DIRECTORY.unpack_from(batch, at)
                at += DIRECTORY.size + length
                self._path = batch[at - length : at]
                self._directory = self._directories.enter(self._path)
            elif kind == 0x4C:  # L
                _, length, above, last = LINK.unpack_from(batch, at)
                source = at + LINK.size + length
                at = source + above + last
                self._link(batch[source : source + above], batch[source + above : at], batch[source - length : source])
                self.digests.append(bytes(DIGEST_SIZE))
            elif kind == 0x43:  # C
                _, size, place = CHUNK.unpack_from(batch, at)
                at += CHUNK.size
                self._append(arena[place : place + size])
            elif kind == 0x42:  # B
                _, length, is_sparse = BEGIN.unpack_from(batch, at)
                at += BEGIN.size + length
                self._fd = os.open(batch[at - length : at], _CREATE_FLAGS, 0o644, dir_fd=self._directory)
                self._is_sparse = bool(is_sparse)
                self._hash = hashlib.sha256()
            else:
                _, access, modify = END.unpack_from(batch, at)
                at += END.size
                set_times(self._fd, access, modify)
                fd, self._fd = self._fd, -1
                os.close(fd)
                self.digests.append(self._hash.digest())

    def _link(self, directory: bytes, source: bytes, name: bytes) -> None:
        # Entering a directory may close others.
        fd = os.dup(self._directories.enter(directory))
        try:
            self._directory = self._directories.enter(self._path)
            try:
                os.link(source, name, src_dir_fd=fd, dst_dir_fd=self._directory, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _CANNOT_LINK:
                    raise
                copy(fd, source, self._directory, name)
        finally:
            os.close(fd)

    def _append(self, data: memoryview) -> None:
        self._hash.update(data)
        if self._is_sparse and not any(data):
            os.ftruncate(self._fd, os.lseek(self._fd, len(data), os.SEEK_CUR))
        else:
            write(self._fd, data)


def write(fd: int, data: memoryview) -> None:
    """Writes all of the data."""
    while data:
        data = data[os.write(fd, data) :]


def copy(source_directory: int, source: bytes, directory: int, name: bytes) -> None:
    """Copies a file."""
    with (
        open(os.open(source, _READ_FLAGS, dir_fd=source_directory), "rb", 0) as reader,
        open(os.open(name, _CREATE_FLAGS, 0o644, dir_fd=directory), "wb", 0) as writer,
    ):
        while data := reader.read(_COPIED_AT_ONCE):
            write(writer.fileno(), memoryview(data))


def set_times(fd: int, access: int, modify: int) -> None:
    """Sets the times of a file, which are FILETIMEs."""
    # If the host cannot store the time, layer.db has it.
    with suppress(OSError, OverflowError):
        os.utime(fd, ns=((access - _UNIX_EPOCH) * 100, (modify - _UNIX_EPOCH) * 100))


def main() -> None:
    """Works until the input ends."""
    root, arena, size, errors = map(int, sys.argv[1:])
    os.dup2(errors, 2)
    maker = Maker(root, memoryview(mmap.mmap(arena, size, access=mmap.ACCESS_READ)))
    read = sys.stdin.buffer.read
    # The answer has no reader any more if the parent process has died.
    with suppress(BrokenPipeError):
        os.write(1, READY)
        while len(header := read(BATCH.size)) == BATCH.size:
            (length,) = BATCH.unpack(header)
            batch = read(length)
            if len(batch) != length:
                return
            maker.digests = []
            try:
                maker.carry_out(batch)
            except OSError as error:
                os.write(1, ERROR.pack(1, error.errno or 0, len(maker.digests)))
                return
            os.write(1, DONE + b"".join(maker.digests))


if __name__ == "__main__":
    main()
