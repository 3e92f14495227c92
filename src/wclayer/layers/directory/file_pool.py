"""Makes small files on every core: most of the time is spent in the host's file system, which works in parallel.

Files of one directory go to one worker process, in order. `finish` waits for all of them. A worker whose caller dies
finishes the files it has received and ends. It holds the layer's lock until then, so that no other process removes the
directory.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from contextlib import suppress
from zlib import crc32

from wclayer.host.root import write_all
from wclayer.layers.directory import file_worker

assert sys.platform == "linux"

_BATCH_BYTES = 256 << 10
_PIPE_BYTES = 1 << 20
_LINUX_SET_PIPE_SIZE = 1031


class FilePool:
    """Worker processes below the directory `root_fd`; `lock_fd` is the layer's lock."""

    def __init__(self, root_fd: int, lock_fd: int) -> None:
        self._workers: list[_Worker] = []
        try:
            for _ in range(min(os.cpu_count() or 1, 4)):
                self._workers.append(_Worker(root_fd, lock_fd))
        except BaseException:
            self.abort()
            raise

    def make(self, directory: bytes, name: bytes, data: bytes, access_time: int, write_time: int) -> None:
        """Sends a file to a worker. A failure is raised by a later call, at the latest by `finish`.

        Args:
            directory: an existing directory, relative to the root.
            name: the name of the file, which must not exist.
            data: the contents of the file.
            access_time, write_time: FILETIMEs, from 0 to 2^63 - 1.

        Raises:
            OSError: a worker has failed with this error.
        """
        self._workers[crc32(directory) % len(self._workers)].make(directory, name, data, access_time, write_time)

    def finish(self) -> None:
        """Waits until all files are made.

        Raises:
            OSError: a worker has failed with this error.
        """
        for worker in self._workers:
            worker.end()
        for worker in self._workers:
            worker.wait()

    def abort(self) -> None:
        """Ends the workers at once."""
        for worker in self._workers:
            worker.kill()


class _Worker:
    def __init__(self, root_fd: int, lock_fd: int) -> None:
        # Isolated and without site: it starts in a few milliseconds, and the caller's environment does not affect it.
        command = [sys.executable, "-I", "-S", file_worker.__file__, str(root_fd)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(root_fd, lock_fd), bufsize=0
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin.fileno()
        with suppress(OSError):
            fcntl.fcntl(self._pipe, _LINUX_SET_PIPE_SIZE, _PIPE_BYTES)
        self._directory: bytes | None = None
        self._batch: list[bytes] = []
        self._size = 0

    def make(self, directory: bytes, name: bytes, data: bytes, access_time: int, write_time: int) -> None:
        batch = self._batch
        if directory != self._directory:
            self._directory = directory
            batch += (file_worker.DIRECTORY.pack(b"D", len(directory)), directory)
        batch += (file_worker.FILE.pack(b"F", len(name), len(data), access_time, write_time), name, data)
        self._size += 64 + len(data)
        if self._size > _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._batch)
        self._batch.clear()
        self._size = 0
        try:
            write_all(self._pipe, data)
        except BrokenPipeError:
            self.wait()

    def end(self) -> None:
        self._flush()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait(self) -> None:
        assert self._process.stdout is not None
        answer = self._process.stdout.read(file_worker.ERROR.size)
        self.kill()
        if answer != b"\0":
            number = file_worker.ERROR.unpack(answer)[1] if len(answer) == file_worker.ERROR.size else 0
            raise OSError(number, os.strerror(number) if number else "the process that makes files has died")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
