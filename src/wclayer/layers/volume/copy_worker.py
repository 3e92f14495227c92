"""The program of a worker process: copies contents of files into the file of a disk. It imports nothing of the package.

`content_copier` runs it with the descriptors of a socket, of the disk's file and of an error stream. It says first that
it is ready. Through the socket come batches, with little-endian integers: the length of what follows (uint32) and the
number of files (uint32), with the descriptors of the files beside them, which are open for reading. Of each file follow
its size (uint64), its SHA-256, the number of its places (uint32), and the places: their offset in the disk's file and
their length (uint64).

Batches are received while earlier ones are copied, so that many files can wait here. A batch is answered when all of
its files are copied and have their SHA-256. An answer is what failed (uint8), the number of the file in the batch
(uint32), the error's number (int32) and the size of the file (uint64). After an error, the process ends. It ends, too,
when the other end of the socket is closed, even in the middle of a file.

Zeros are not written: the places read as zeros already.
"""

import errno
import hashlib
import os
import select
import socket
import struct
import sys
from collections import deque
from contextlib import suppress

assert sys.platform == "linux"

MOST_FILES = 16
"""The files of a batch. The host bounds the descriptors that a message may have."""
READY = b"wclayer copies\n"
BATCH = struct.Struct("<II")
FILE = struct.Struct("<Q32sI")
PLACE = struct.Struct("<QQ")
ANSWER = struct.Struct("<BIiQ")
DONE, CANNOT_READ, CANNOT_WRITE, WRONG_SIZE, WRONG_CONTENTS = range(5)
_PIECE = 1 << 20
_ZEROS = bytes(_PIECE)


class CopyError(Exception):
    """What failed: the kind, the number of the error, and the size of the file."""

    def __init__(self, kind: int, number: int = 0, size: int = 0) -> None:
        super().__init__(kind, number, size)
        self.kind = kind
        self.number = number
        self.size = size


class CallerGoneError(Exception):
    """Nobody waits for the copies any more."""


class Copier:
    """Copies files into the file `target`, as long as the other end of the socket is open."""

    def __init__(self, connection: socket.socket, target: int) -> None:
        self._connection = connection
        self._target = target
        self._buffer = memoryview(bytearray(_PIECE))
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._waiting: deque[tuple[bytes, list[int], int]] = deque()
        """Batches that were received: what they say of their files, the files, and how many these should be."""

    def work(self) -> None:
        """Copies what comes through the socket, until an error.

        Raises:
            CallerGoneError, ConnectionError: the other end is closed.
        """
        answer = ANSWER.pack(DONE, 0, 0, 0)
        while answer[0] == DONE:
            if not self._waiting:
                self._receive()
            batch, fds, count = self._waiting.popleft()
            try:
                answer = self.carry_out(batch, fds, count)
            finally:
                for fd in fds:
                    # Nothing was written to it, so a failure means nothing.
                    with suppress(OSError):
                        os.close(fd)
            self._connection.sendall(answer)

    def _receive(self) -> None:
        """Receives a batch."""
        header, fds, _, _ = socket.recv_fds(self._connection, BATCH.size, MOST_FILES)
        header += receive(self._connection, BATCH.size - len(header))
        if len(header) < BATCH.size:
            raise CallerGoneError
        length, count = BATCH.unpack(header)
        batch = receive(self._connection, length)
        if len(batch) < length:
            raise CallerGoneError
        self._waiting.append((batch, fds, count))

    def _receive_all(self) -> None:
        """Receives the batches that are there already."""
        while self._poll.poll(0):
            self._receive()

    def copy(self, fd: int, size: int, digest: bytes, places: list[tuple[int, int]]) -> None:
        """Copies a file.

        Args:
            fd: the file, open for reading, at its beginning.
            size: the size that it should have.
            digest: the SHA-256 that it should have.
            places: offsets and lengths in the target.
        """
        found = self._size_of(fd)
        if found != size:
            raise CopyError(WRONG_SIZE, size=found)
        contents = hashlib.sha256()
        for place, length in places:
            offset, left = place, length
            while left:
                piece = self._buffer[: min(left, _PIECE)]
                try:
                    count = os.readv(fd, [piece])
                except OSError as error:
                    raise CopyError(CANNOT_READ, error.errno or errno.EIO) from None
                if not count:
                    raise CopyError(WRONG_SIZE, size=self._size_of(fd))
                piece = piece[:count]
                contents.update(piece)
                self._write(piece, offset)
                offset += count
                left -= count
                self._receive_all()
        if contents.digest() != digest:
            raise CopyError(WRONG_CONTENTS)

    @staticmethod
    def _size_of(fd: int) -> int:
        try:
            return os.fstat(fd).st_size
        except OSError as error:
            raise CopyError(CANNOT_READ, error.errno or errno.EIO) from None

    def _write(self, data: memoryview, offset: int) -> None:
        # Most contents begin with another byte, and are not compared.
        if not data[0] and data == _ZEROS[: len(data)]:
            return
        try:
            while data:
                count = os.pwrite(self._target, data, offset)
                data = data[count:]
                offset += count
        except OSError as error:
            raise CopyError(CANNOT_WRITE, error.errno or errno.EIO) from None

    def carry_out(self, batch: bytes, fds: list[int], count: int) -> bytes:
        """Copies the files of a batch, and returns the answer."""
        done = at = 0
        try:
            if len(fds) != count:
                # The host gives a process no more descriptors than it may have.
                raise CopyError(CANNOT_READ, errno.EMFILE)
            for fd in fds:
                size, digest, pieces = FILE.unpack_from(batch, at)
                at += FILE.size
                end = at + pieces * PLACE.size
                self.copy(fd, size, digest, list(PLACE.iter_unpack(batch[at:end])))
                at = end
                done += 1
        except CopyError as problem:
            return ANSWER.pack(problem.kind, done, problem.number, problem.size)
        return ANSWER.pack(DONE, 0, 0, 0)


def receive(connection: socket.socket, size: int) -> bytes:
    """Returns the next `size` bytes; fewer where the connection ends."""
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def main() -> None:
    """Works until the connection ends."""
    number, target, errors = map(int, sys.argv[1:])
    os.dup2(errors, 2)
    connection = socket.socket(fileno=number)
    with suppress(ConnectionError, CallerGoneError):
        connection.sendall(READY)
        Copier(connection, target).work()


if __name__ == "__main__":
    main()
