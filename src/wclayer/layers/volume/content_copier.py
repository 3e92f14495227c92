"""Copies the contents of files into the file of a disk in a process of its own, beside the one that makes the volume.

The files are opened here and handed over through a socket, so whatever is wrong with their names is told at once. What
the worker finds wrong, such as other bytes than a layer has recorded, is raised by a later call.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from wclayer.host import system, worker_process
from wclayer.host.waiting import retry
from wclayer.layers.base import StoredFile
from wclayer.layers.volume import copy_worker

assert sys.platform == "linux"

_START_AFTER = 500
"""The worker starts after this many files,"""
_START_AFTER_BYTES = 16 << 20
"""or after this many bytes of files."""
_BATCH_BYTES = 1 << 20
"""A batch with so many bytes of contents goes to the worker."""
_PATIENCE = 10
"""Seconds for which the host may take no more open files."""
_FILES_AHEAD = 1024
"""The number of files that may wait for the worker, so that it has work while entries without contents come. They are
open in the worker: at most half of the files that the host lets it open."""
_LEAST_OPEN = 512
"""No worker starts where a process may have fewer open files: a batch would leave too few of them for the layers."""


class _TooManyError(OSError):
    """The user, in all processes together, has so many open files on their way that the host takes no more for now."""


class ContentCopier:
    """A worker process that copies files. It starts when there is enough for it to do; before that, and where no
    process starts (`start_worker`) or the host lets it open only few files, no file is taken.

    Leaving the context ends the process at once.

    Args:
        target: the descriptor of the disk's file, open for writing. The worker writes at offsets, and inherits a lock.
        reserve: takes an offset of the volume and a length, and returns where these bytes are in the file.
    """

    def __init__(self, target: int, reserve: Callable[[int, int], list[tuple[int, int]]]) -> None:
        self._target = target
        self._reserve = reserve
        self._files = 0
        self._size = 0
        self._may_start = True
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._commands: list[bytes] = []
        self._batch: list[StoredFile] = []
        self._fds: list[int] = []
        """The open files of the batch, and at its end one that has no place yet."""
        self._content = 0
        """Bytes of contents in the batch."""
        self._sent: deque[list[StoredFile]] = deque()
        self._ahead = 0
        """Files in the batches that were sent."""
        self._most_ahead = 0
        self._poll = select.poll()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._close_files()
        if self._connection is not None:
            self._connection.close()
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def take(self, file: StoredFile) -> bool:
        """Opens a file that is to be copied; `place` says where.

        Returns:
            False if the caller has to read it.

        Raises:
            LayerError: it cannot be opened.
        """
        if self._connection is None:
            self._files += 1
            self._size += file.size
            if not self._may_start or (self._files < _START_AFTER and self._size < _START_AFTER_BYTES):
                return False
            self._may_start = False
            with suppress(OSError, worker_process.CannotStartError):
                self._start()
            if self._connection is None:
                return False
        fd = file.open()
        if fd is None:
            return False
        self._fds.append(fd)
        self._batch.append(file)
        return True

    def place(self, offset: int) -> None:
        """Has the file that was taken last copied to an offset of the volume.

        Raises:
            LayerError: an earlier file cannot be read, or is not what its layer has recorded.
            OSError: the disk's file cannot be written, or the worker has died.
        """
        file = self._batch[-1]
        places = self._reserve(offset, file.size)
        self._commands.append(copy_worker.FILE.pack(file.size, file.sha256, len(places)))
        self._commands += [copy_worker.PLACE.pack(*place) for place in places]
        self._content += file.size
        if self._content >= _BATCH_BYTES or len(self._batch) >= copy_worker.MOST_FILES:
            self._send()

    def finish(self) -> None:
        """Waits until all files are copied. Raises what `place` raises."""
        self._send()
        while self._sent:
            self._wait()

    def _start(self) -> None:
        limit, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit < _LEAST_OPEN:
            return
        ours, theirs = socket.socketpair()
        try:
            self._process = worker_process.start_worker(
                copy_worker, (theirs.fileno(), self._target), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
            theirs.close()
            worker_process.await_ready(ours.fileno(), copy_worker.READY)
            with suppress(OSError):
                resource.prlimit(self._process.pid, resource.RLIMIT_NOFILE, (highest, highest))
                limit = highest
            self._most_ahead = max(copy_worker.MOST_FILES, min(_FILES_AHEAD, limit // 2))
            self._poll.register(ours, select.POLLIN)
            self._connection = ours
        finally:
            theirs.close()
            if self._connection is None:
                ours.close()
                self._end()

    def _send(self) -> None:
        """Sends the batch, if there is one."""
        if not self._batch:
            return
        assert self._connection is not None
        while self._ahead > self._most_ahead - len(self._batch) or (self._sent and self._poll.poll(0)):
            self._wait()
        commands = b"".join(self._commands)
        message = copy_worker.BATCH.pack(len(commands), len(self._batch)) + commands
        self._sent.append(self._batch)
        self._ahead += len(self._batch)
        try:
            sent = retry(lambda: self._hand_over(message), patience=_PATIENCE, busy=_TooManyError)
            self._connection.sendall(message[sent:])
        except ConnectionError:
            # It has ended after an error, which it has told before.
            while self._sent:
                self._wait()
            raise
        self._batch, self._commands, self._content = [], [], 0
        self._close_files()

    def _hand_over(self, message: bytes) -> int:
        """Sends the files of the batch with its message, of which the number of bytes that were sent is returned."""
        assert self._connection is not None
        try:
            return socket.send_fds(self._connection, [message], self._fds)
        except OSError as error:
            if error.errno == errno.ETOOMANYREFS:
                raise _TooManyError(error.errno, os.strerror(error.errno)) from None
            raise

    def _close_files(self) -> None:
        while self._fds:
            system.close_read(self._fds.pop())

    def _wait(self) -> None:
        """Waits for the next answer, and raises the error that it tells of."""
        assert self._connection is not None
        answer = b""
        with suppress(ConnectionError):
            answer = copy_worker.receive(self._connection, copy_worker.ANSWER.size)
        if len(answer) < copy_worker.ANSWER.size:
            raise OSError(0, "the process that copies contents has died")
        kind, index, number, size = copy_worker.ANSWER.unpack(answer)
        batch = self._sent.popleft()
        self._ahead -= len(batch)
        if kind == copy_worker.DONE:
            return
        # What was sent after it has no answer.
        self._sent.clear()
        if kind == copy_worker.CANNOT_WRITE:
            raise OSError(number, os.strerror(number))
        if kind == copy_worker.CANNOT_READ:
            raise batch[index].cannot_read(OSError(number, os.strerror(number)))
        if kind == copy_worker.WRONG_SIZE:
            raise batch[index].wrong_size(size)
        raise batch[index].wrong_contents()
