"""Makes files on every core: worker processes write their contents and hash them.

The contents go to a worker through an arena, memory that both processes have mapped, and the commands through a pipe.
A worker whose caller dies makes the files that it was told and ends. It holds the layer's lock until then, so that no
other process removes the directory.
"""

from __future__ import annotations

import mmap
import os
import select
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import ExitStack, suppress
from typing import BinaryIO, cast

from wclayer.host import worker_process
from wclayer.host.root import write_all
from wclayer.layers.directory import file_worker

assert sys.platform == "linux"

_MOST_WORKERS = 4
_ARENA_BYTES = 8 << 20
"""The arena of one worker. It holds what the worker has not written yet."""
_MOST_AT_ONCE = _ARENA_BYTES // 4
_BATCH_BYTES = 512 << 10
"""A batch with so many bytes of contents goes to its worker."""
_BATCH_COMMANDS = 16 << 10
"""And so does one with so many bytes of commands."""
_BATCH_FILES = 96
_BATCHES_AHEAD = 12
"""The number of batches that a worker may have. Their answers fit into a pipe, so a worker never waits for a reader."""


class NoPoolError(Exception):
    """The host has no memory that processes can share, or starts no worker. The files are made without one."""


def _arena_file() -> BinaryIO:
    """Returns a file in memory with room for an arena."""
    file: BinaryIO
    try:
        try:
            file = os.fdopen(os.memfd_create("wclayer-arena"), "w+b", 0)
        except (AttributeError, OSError):
            # Pythons that are made for old C libraries do not have it, and sandboxes may refuse it.
            file = cast("BinaryIO", tempfile.TemporaryFile(dir="/dev/shm", buffering=0))  # noqa: SIM115 (the caller closes it)
        try:
            # Memory that is missing only when it is written to would end the process.
            os.posix_fallocate(file.fileno(), 0, _ARENA_BYTES)
        except BaseException:
            file.close()
            raise
    except OSError as error:
        raise NoPoolError(str(error)) from error
    return file


class PooledFile:
    """A file that a worker makes."""

    __slots__ = ("_batch", "_index")

    def __init__(self, batch: _Batch, index: int) -> None:
        self._batch = batch
        self._index = index

    def digest(self) -> bytes:
        """Returns the SHA-256 of the contents, when the file is made.

        Raises:
            OSError: the worker has failed with this error.
        """
        digests = self._batch.answer or self._batch.digests()
        at = self._index * file_worker.DIGEST_SIZE
        return digests[at : at + file_worker.DIGEST_SIZE]


class FilePool:
    """Worker processes below the directory `root_fd`; `lock_fd` is the layer's lock, or -1.

    A failure is raised by a later call, at the latest by `finish`.

    Raises:
        NoPoolError: the host has no memory for it, or the processes do not start.
    """

    def __init__(self, root_fd: int, lock_fd: int) -> None:
        self._workers: list[_Worker] = []
        try:
            for _ in range(min(len(os.sched_getaffinity(0)), _MOST_WORKERS)):
                self._workers.append(_Worker(root_fd, lock_fd))
            for worker in self._workers:
                worker.await_ready()
        except worker_process.CannotStartError as error:
            self.abort()
            raise NoPoolError(str(error)) from error
        except BaseException:
            self.abort()
            raise
        self._current = self._workers[0]

    def make(self, directory: bytes, name: bytes, data: bytes, access_time: int, write_time: int) -> PooledFile:
        """Makes a small file.

        Args:
            directory: an existing directory, relative to the root.
            name: the name of the file, which must not exist.
            data: the contents of the file: at most 2 MiB.
            access_time, write_time: FILETIMEs, from 0 to 2^63 - 1.

        Raises:
            OSError: a worker has failed with this error.
        """
        return self._chosen().make(directory, name, data, access_time, write_time)

    def begin(self, directory: bytes, name: bytes, *, sparse: bool) -> None:
        """Begins a file of any size, which `append` and `end` go on with; see `make`."""
        self._chosen().begin(directory, name, sparse=sparse)

    def append(self, data: bytes | memoryview) -> None:
        """Appends to the file that was begun.

        Raises:
            OSError: a worker has failed with this error.
        """
        for at in range(0, len(data), _MOST_AT_ONCE):
            self._current.append(memoryview(data)[at : at + _MOST_AT_ONCE])

    def end(self, access_time: int, write_time: int) -> PooledFile:
        """Ends the file that was begun; see `make`."""
        return self._current.end(access_time, write_time)

    def link(self, directory: bytes, name: bytes, source_directory: bytes, source: bytes) -> None:
        """Makes a hard link, or a copy where the host cannot link the two.

        Args:
            directory, name: see `make`.
            source_directory: the directory of the source, relative to the root.
            source: the name of a file there, which is made already: its digest is known.

        Raises:
            OSError: a worker has failed with this error.
        """
        self._chosen().link(directory, name, source_directory, source)

    def finish(self) -> None:
        """Waits until all files are made.

        Raises:
            OSError: a worker has failed with this error.
        """
        for worker in self._workers:
            worker.send()
        for worker in self._workers:
            worker.finish()

    def abort(self) -> None:
        """Ends the workers at once."""
        for worker in self._workers:
            worker.kill()

    def _chosen(self) -> _Worker:
        """Returns the worker for the next file: the one that has a batch, otherwise the one with the least to do."""
        if not self._current.has_batch:
            for worker in self._workers:
                worker.collect()
            self._current = min(self._workers, key=lambda worker: worker.load)
        return self._current


class _Batch:
    """Commands for a worker, and later its answer."""

    __slots__ = ("_worker", "answer", "arena_end", "commands", "files", "names", "size")

    def __init__(self, worker: _Worker) -> None:
        self._worker = worker
        self.commands: list[bytes] = []
        self.size = 0
        """Bytes of the commands."""
        self.names: list[bytes] = []
        """The files and links that end in this batch."""
        self.files = 0
        self.arena_end = 0
        """The position of the arena up to which the batch uses it."""
        self.answer: bytes | None = None

    def digests(self) -> bytes:
        """Returns the digests of the files, when they are made. Raises the error of the worker."""
        while self.answer is None:
            self._worker.send()
            self._worker.wait()
        return self.answer


class _Worker:
    def __init__(self, root_fd: int, lock_fd: int) -> None:
        with ExitStack() as undo:
            with _arena_file() as file:
                arena_fd = file.fileno()
                self._arena = mmap.mmap(arena_fd, _ARENA_BYTES)
                undo.callback(self._arena.close)
                self._process = worker_process.start_worker(
                    file_worker, (root_fd, arena_fd), (str(_ARENA_BYTES),), held=[] if lock_fd < 0 else [lock_fd],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                )  # fmt: skip
                undo.callback(self.kill)
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._pipe = self._process.stdin.fileno()
            self._answers = self._process.stdout.fileno()
            os.set_blocking(self._answers, False)
            self._poll = select.poll()
            self._poll.register(self._answers, select.POLLIN)
            undo.pop_all()
        self._directory: bytes | None = None
        self._path = b""
        self._batch = _Batch(self)
        self._content = 0
        """Bytes of contents in the batch."""
        self._sent: deque[_Batch] = deque()
        self._answer = b""
        # Positions in the arena, which are counted on from round to round.
        self._head = 0
        self._tail = 0

    def await_ready(self) -> None:
        """Waits until the worker works; see `worker_process.await_ready`."""
        worker_process.await_ready(self._answers, file_worker.READY)

    @property
    def load(self) -> int:
        """Bytes of contents that the worker has not written yet."""
        return self._head - self._tail

    @property
    def has_batch(self) -> bool:
        return bool(self._batch.commands)

    def make(self, directory: bytes, name: bytes, data: bytes, access_time: int, write_time: int) -> PooledFile:
        # There are very many: this is written out.
        size = len(data)
        start = self._head % _ARENA_BYTES
        if start + size > _ARENA_BYTES or self._head + size - self._tail > _ARENA_BYTES:
            start = self._room(size)
        self._arena[start : start + size] = data
        self._head += size
        self._content += size
        if directory != self._directory:
            self._enter(directory)
        batch = self._batch
        batch.commands += (file_worker.FILE.pack(b"F", len(name), size, start, access_time, write_time), name)
        batch.size += file_worker.FILE.size + len(name)
        return self._ended(name)

    def begin(self, directory: bytes, name: bytes, *, sparse: bool) -> None:
        if directory != self._directory:
            self._enter(directory)
        self._command(file_worker.BEGIN.pack(b"B", len(name), sparse), name)
        self._path = name

    def append(self, data: memoryview) -> None:
        place = self._put(data)
        self._command(file_worker.CHUNK.pack(b"C", len(data), place))
        if self._content >= _BATCH_BYTES:
            self.send()

    def end(self, access_time: int, write_time: int) -> PooledFile:
        self._command(file_worker.END.pack(b"E", access_time, write_time))
        return self._ended(self._path)

    def link(self, directory: bytes, name: bytes, source_directory: bytes, source: bytes) -> None:
        if directory != self._directory:
            self._enter(directory)
        self._command(
            file_worker.LINK.pack(b"L", len(name), len(source_directory), len(source)), name, source_directory, source
        )
        self._ended(name)

    def _enter(self, directory: bytes) -> None:
        self._directory = directory
        self._command(file_worker.DIRECTORY.pack(b"D", len(directory)), directory)

    def _command(self, *parts: bytes) -> None:
        batch = self._batch
        for part in parts:
            batch.commands.append(part)
            batch.size += len(part)

    def _ended(self, name: bytes) -> PooledFile:
        batch = self._batch
        batch.names.append(name)
        file = PooledFile(batch, len(batch.names) - 1)
        if self._content >= _BATCH_BYTES or batch.size >= _BATCH_COMMANDS or len(batch.names) >= _BATCH_FILES:
            self.send()
        return file

    def _put(self, data: memoryview) -> int:
        """Copies contents into the arena, when there is room, and returns their position."""
        size = len(data)
        start = self._room(size)
        self._arena[start : start + size] = data
        self._head += size
        self._content += size
        return start

    def _room(self, size: int) -> int:
        """Returns a position in the arena where `size` bytes have room, perhaps after a wait."""
        start = self._head % _ARENA_BYTES
        # Contents are in one piece: the rest of the arena is left out if it is too short.
        skipped = _ARENA_BYTES - start if start + size > _ARENA_BYTES else 0
        while self._head + skipped + size - self._tail > _ARENA_BYTES:
            self.send()
            self.wait()
        self._head += skipped
        return self._head % _ARENA_BYTES

    def send(self) -> None:
        """Sends the batch, if there is one."""
        batch = self._batch
        if not batch.commands:
            return
        while len(self._sent) >= _BATCHES_AHEAD:
            self.wait()
        batch.arena_end = self._head
        batch.files = len(batch.names)
        self._batch = _Batch(self)
        self._content = 0
        self._sent.append(batch)
        data = file_worker.BATCH.pack(batch.size) + b"".join(batch.commands)
        batch.commands.clear()
        try:
            write_all(self._pipe, data)
        except BrokenPipeError:
            while self._sent:
                self.wait()
            raise

    def wait(self) -> None:
        """Waits for the next answer.

        Raises:
            OSError: the worker has failed with this error, or has died.
        """
        count = len(self._sent)
        while count and len(self._sent) == count:
            self._poll.poll()
            self.collect()

    def collect(self) -> None:
        """Takes the answers that are there; see `wait`."""
        while self._sent:
            batch = self._sent[0]
            wanted = len(file_worker.DONE) + batch.files * file_worker.DIGEST_SIZE
            if len(self._answer) < wanted and not self._answer.startswith(b"\1"):
                try:
                    more = os.read(self._answers, 1 << 16)
                except BlockingIOError:
                    return
                if not more:
                    raise OSError(0, "the process that makes files has died")
                self._answer += more
                continue
            if self._answer.startswith(b"\1"):
                self._fail(batch)
            batch.answer, self._answer = self._answer[len(file_worker.DONE) : wanted], self._answer[wanted:]
            self._tail = batch.arena_end
            self._sent.popleft()

    def _fail(self, batch: _Batch) -> None:
        """Raises the error that the worker has told of."""
        while len(self._answer) < file_worker.ERROR.size:
            self._poll.poll()
            more = os.read(self._answers, file_worker.ERROR.size)
            if not more:
                raise OSError(0, "the process that makes files has died")
            self._answer += more
        _, number, files = file_worker.ERROR.unpack_from(self._answer)
        name = batch.names[files] if files < len(batch.names) else self._path
        raise OSError(number, os.strerror(number), name)

    def finish(self) -> None:
        """Waits for all answers, and ends the worker."""
        while self._sent:
            self.wait()
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        # Whoever still has a piece of it releases it soon.
        with suppress(BufferError):
            self._arena.close()
