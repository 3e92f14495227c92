"""The program of a worker process: makes the small files that it reads from a pipe. It imports nothing of the package.

`file_pool` runs it with the descriptor of the layer's root directory as its argument. It reads records from standard
input, with little-endian integers. A directory to work in is `D`, length (uint32), path relative to the root. A file is
`F`, length of its name (uint32), length of its data (uint32), access and modification time (FILETIME: int64), name,
data. At the end of the input the program answers with a zero byte. After an error it answers with the byte one and the
error's number (int32), and ends.
"""

import os
import signal
import struct
import sys
from contextlib import suppress

assert sys.platform == "linux"

FILE = struct.Struct("<cIIqq")
DIRECTORY = struct.Struct("<cI")
ERROR = struct.Struct("<Bi")
_UNIX_EPOCH = 116_444_736_000_000_000  # 1970-01-01 as a FILETIME
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def enter(root: int, path: bytes) -> int:
    """Returns a descriptor of a directory below the root, opened component by component."""
    fd = os.dup(root)
    for part in path.split(b"/"):
        below = os.open(part, _DIRECTORY_FLAGS, dir_fd=fd)
        os.close(fd)
        fd = below
    return fd


def make(directory: int, name: bytes, data: bytes, access: int, modify: int) -> None:
    """Makes one file; the times are FILETIMEs."""
    fd = os.open(name, _CREATE_FLAGS, 0o644, dir_fd=directory)
    try:
        written = os.write(fd, data) if data else 0
        while written < len(data):
            written += os.write(fd, data[written:])
        # If the host cannot store the time, layer.db has it.
        with suppress(OSError, OverflowError):
            os.utime(fd, ns=((access - _UNIX_EPOCH) * 100, (modify - _UNIX_EPOCH) * 100))
    finally:
        os.close(fd)


def main() -> None:
    """Works until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    read = sys.stdin.buffer.read
    root = int(sys.argv[1])
    directory = -1
    try:
        while kind := read(1):
            if kind == b"F":
                _, name_length, size, access, modify = FILE.unpack(kind + read(FILE.size - 1))
                name = read(name_length)
                data = read(size)
                if len(data) != size:
                    return
                make(directory, name, data, access, modify)
            else:
                _, length = DIRECTORY.unpack(kind + read(DIRECTORY.size - 1))
                if directory >= 0:
                    os.close(directory)
                directory = enter(root, read(length))
    except OSError as error:
        answer = ERROR.pack(1, error.errno or 0)
    else:
        answer = b"\0"
    # The pipe has no reader any more if the parent process has died.
    with suppress(OSError):
        os.write(1, answer)


if __name__ == "__main__":
    main()
