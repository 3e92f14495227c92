"""A mount's connection to the kernel: it is opened through `fusermount3`, and served until the mount is removed.

This module uses the kernel's own interface (`abi`), not libfuse: libfuse identifies a file by its path as a caller
spelled it, and with names that differ only in case this leads to deadlocks.
"""

from __future__ import annotations

import errno
import os
import queue
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from wclayer.errors import AccessDeniedError, FormatError, LayerError, NotSupportedError, translated
from wclayer.host import system
from wclayer.view.fuse import abi
from wclayer.view.fuse.abi import InitFlag, Notice, Opcode
from wclayer.view.fuse.operations import Answer, Operations
from wclayer.view.fuse.splice_pipe import SplicePipe
from wclayer.view.open_files import FileRange

Message = tuple[bytes | memoryview, ...]
"""The pieces of a message to the kernel."""
_OPERATION = "mount"
_DEVICE = "/dev/fuse"
_MOUNTER = "fusermount3"
_MAX_DATA = 1 << 20
"""The maximal number of bytes in one READ or WRITE."""
_BUFFER = _MAX_DATA + (1 << 16)
_PAGES = 256
_TIME_STEP = 100
"""The resolution of times in nanoseconds."""
_BACKGROUND, _CONGESTED = 12, 9
_WANTED = (
    InitFlag.ASYNC_READ | InitFlag.ATOMIC_O_TRUNC | InitFlag.BIG_WRITES | InitFlag.DO_READDIRPLUS | InitFlag.ASYNC_DIO
    | InitFlag.PARALLEL_DIROPS | InitFlag.MAX_PAGES | InitFlag.EXPLICIT_INVAL_DATA | InitFlag.HANDLE_KILLPRIV_V2
    | InitFlag.INIT_EXT | InitFlag.DIRECT_IO_ALLOW_MMAP
)  # fmt: skip
_NO_HANDLES = InitFlag.NO_OPEN_SUPPORT | InitFlag.NO_OPENDIR_SUPPORT
"""A kernel that offers these stops to send OPEN and OPENDIR after it was answered ENOSYS."""
_MAX_ERRNO = 511
"""The largest error number that the kernel accepts in an answer."""
_MAX_TRACEBACKS = 10
"""The maximal number of tracebacks for defects of this program; the error stream may be a file."""
_SPLICED = 1 << 16
"""From this size on, an answer with data of a file is spliced: for less, copying it takes no longer than the calls."""
_NO_LENGTH = bytes(4)
_PATIENCE = 10.0
"""The maximal time in seconds that the end of a mount waits for messages that are not sent yet."""
_IDLE = 10
"""For how many milliseconds the kernel has had no request when the writes to closed files are recorded."""
_MOMENT = 20
"""The poll timeout in milliseconds while the end of a mount waits."""


def check_fuse() -> str:
    """Checks that this system can mount views, and returns the path of `fusermount3`.

    Raises:
        NotSupportedError: FUSE is not available; the message states what to install.
    """
    if not sys.platform.startswith("linux"):
        raise _no_fuse()
    if not os.path.exists(_DEVICE):
        raise NotSupportedError(_DEVICE, "the system has no FUSE device; a container must be given it")
    mounter = shutil.which(_MOUNTER)
    # PATH may contain the current folder; programs there are not run.
    if mounter is None or not os.path.isabs(mounter):
        raise NotSupportedError(_MOUNTER, "is not there; install the package fuse3")
    return mounter


def _no_fuse() -> NotSupportedError:
    return NotSupportedError("FUSE", "a view is mounted through Linux' FUSE, which is not there")


def run_session(
    operations: Operations, mount_point: str, *, read_only: bool, allow_other: bool, ready: Callable[[], None]
) -> None:
    """Mounts a file system, and serves it until it is unmounted or the process receives SIGINT or SIGTERM.

    Args:
        ready: called when the kernel has accepted the mount.

    Raises:
        NotSupportedError: FUSE is not available, or too old.
        AccessDeniedError: the user may not mount there.
        LayerError: the file system cannot be mounted; the message is that of `fusermount3`.
    """
    mounter = check_fuse()
    options = ["ro" if read_only else "rw", "nosuid", "nodev", "default_permissions", "fsname=wclayer",
               "subtype=wclayer", f"max_read={_MAX_DATA}"]  # fmt: skip
    if allow_other:
        options.append("allow_other")
    device = _mount(mounter, mount_point, options)
    connection = Connection(device, operations, mount_point)
    is_served = False
    try:
        connection.run(ready)
        is_served = connection.is_unmounted
    finally:
        if not is_served:
            subprocess.run([mounter, "-u", "-q", "-z", "--", mount_point], check=False, capture_output=True)
        connection.stop()
        os.close(device)


def _mount(mounter: str, mount_point: str, options: list[str]) -> int:
    """Mounts the file system, and returns the descriptor of the connection, which `fusermount3` sends on a socket."""
    if sys.platform == "win32":
        raise _no_fuse()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        done = subprocess.run(
            [mounter, "-o", ",".join(options), "--", mount_point],
            env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())}, pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
        theirs.close()
        descriptors = socket.recv_fds(ours, 1, 1)[1]
    if done.returncode or not descriptors:
        why = " ".join(done.stderr.decode("utf-8", "replace").split()) or f"exit status {done.returncode}"
        kind = AccessDeniedError if "ermission" in why or "not permitted" in why else LayerError
        raise kind(mount_point, f"fusermount3 could not mount: {why}")
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


class _Stop(BaseException):
    """Is raised by a signal that ends the mount, while no request is being answered."""


class Connection:
    """The connection to the kernel: receives requests, and sends answers and notices.

    Args:
        device: the descriptor of the connection.
    """

    def __init__(self, device: int, operations: Operations, mount_point: str) -> None:
        self._device = device
        self._operations = operations
        self._mount_point = mount_point
        self.is_unmounted = False
        """Whether the kernel has removed the mount."""
        self._is_idle = self._is_told_to_stop = False
        self._told_mistakes = 0
        self._buffer = bytearray(_BUFFER)
        self._message = memoryview(self._buffer)
        self._answers = _Sender(device)
        self._notices = _Sender(device)
        self._kinds = _Sender(device)
        self._senders = (self._answers, self._notices, self._kinds)
        self._pipe = SplicePipe.for_device(device)
        if self._pipe is not None:
            operations.range_size = _SPLICED

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Answers requests until the mount is removed, or the process receives a signal.

        Raises:
            NotSupportedError: the kernel is too old.
        """
        if sys.platform == "win32":
            raise _no_fuse()
        with self._signals(), suppress(_Stop):
            unrecorded = self._operations.unrecorded
            waiting = select.poll()
            waiting.register(self._device, select.POLLIN)
            while True:
                if unrecorded.is_waiting and not waiting.poll(_IDLE):
                    self._record()
                if (size := self._take()) is None:
                    return
                if size:
                    self._answer(self._message[:size], ready)

    def _take(self) -> int | None:
        """Reads a request, and returns its size, 0 if the kernel has withdrawn it, or None at the end of the mount."""
        if sys.platform == "win32":
            raise _no_fuse()
        buffer = self._buffer
        # If a signal interrupts the read, this length shows whether a request was already read.
        buffer[:4] = _NO_LENGTH
        try:
            self._is_idle = True
            if self._is_told_to_stop:
                return None
            size = os.readv(self._device, (buffer,))
            self._is_idle = False
        except _Stop:
            return int.from_bytes(buffer[:4], sys.byteorder) or None
        except OSError as error:
            self._is_idle = False
            if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                # The kernel has withdrawn the request.
                return 0
            if error.errno != errno.ENODEV:
                raise
            size = 0
        if not size:
            self.is_unmounted = True
            return None
        return size

    def stop(self) -> None:
        """Waits until all answers and notices are sent, and answers further requests, for which they may be waiting."""
        if sys.platform == "win32":
            raise _no_fuse()
        poll = select.poll()
        poll.register(self._device, select.POLLIN)
        end = time.monotonic() + _PATIENCE
        self._is_told_to_stop = False
        while any(sender.is_busy for sender in self._senders) and time.monotonic() < end:
            if poll.poll(_MOMENT):
                size = self._take()
                if size is None:
                    break
                if size:
                    self._answer(self._message[:size], lambda: None)
        for sender in self._senders:
            sender.stop()
        if self._pipe is not None:
            self._pipe.close()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def end(number: int, frame: object) -> None:
            is_first, self._is_told_to_stop = not self._is_told_to_stop, True
            if is_first and self._is_idle:
                raise _Stop

        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _record(self) -> None:
        """Records the writes to files that programs have closed.

        A failure is none of a request. The records are tried again with the next file that is closed, at the end of the
        mount, and by `fsync` of their file, which reports it.
        """
        try:
            self._operations.unrecorded.record()
        except Exception as failure:  # noqa: BLE001 (the mount continues)
            self._error_number(failure)

    def _answer(self, message: memoryview, ready: Callable[[], None]) -> None:
        size, opcode, unique, node, _, _, _, extensions, _ = abi.IN_HEADER.unpack_from(message)
        body = message[abi.IN_HEADER.size : size - extensions * abi.EXTENSION_UNIT]
        operations = self._operations
        answer = operations.answers.get(opcode)
        if answer is None:
            if opcode == Opcode.INIT:
                self._send(unique, self._init(body))
                ready()
            else:
                self._send(unique, b"", errno.ENOSYS)
            return
        error = 0
        given: Answer = b""
        try:
            if not abi.is_whole(opcode, body):
                raise OSError(errno.EINVAL, "a message that is cut off")
            given = answer(node, body)
        except Exception as failure:  # noqa: BLE001 (the mount continues after any failure of one request)
            error = self._error_number(failure)
        if opcode in abi.UNANSWERED:
            return
        if isinstance(given, FileRange):
            self._send_range(unique, given)
        elif operations.stale_numbers or operations.stale_names:
            self._send_with_notices(_answered(unique, given, error))
        else:
            _write(self._device, _answered(unique, given, error))

    def _send_range(self, unique: int, data: FileRange) -> None:
        """Sends an answer with bytes of a file."""
        header = abi.OUT_HEADER.pack(abi.OUT_HEADER.size + data.size, 0, unique)
        if self._pipe is not None and self._pipe.send(header, data):
            return
        try:
            given, error = system.read_at(data.fd, data.size, data.offset), 0
        except OSError as failure:
            given, error = b"", self._error_number(failure)
        self._send(unique, given, error)

    def _send_with_notices(self, told: Message) -> None:
        """Sends an answer, and tells the kernel what it must drop."""
        operations = self._operations
        entries = [_inode_notice(number) for number in operations.stale_numbers]
        names = [_name_notice(*stale) for stale in operations.stale_names]
        operations.stale_numbers.clear()
        operations.stale_names.clear()
        # Each queue has its own thread: the kernel blocks a notice while it holds the lock of the name's directory, or
        # of a page that it waits for us to fill. No message waits for a later message of its own queue.
        if operations.is_other_kind:
            operations.is_other_kind = False
            self._kinds.send([*entries, *names, told])
            return
        if entries:
            self._answers.send([*entries, told])
        else:
            _write(self._device, told)
        if names:
            self._notices.send(names)

    def _error_number(self, failure: Exception) -> int:
        """Returns the POSIX error number for an exception that was raised by a request."""
        if isinstance(failure, OSError):
            # Most are of this kind: a name that is not there, an attribute that a file does not have.
            return failure.errno if failure.errno and 0 < failure.errno <= _MAX_ERRNO else errno.EIO
        if isinstance(failure, UnicodeError):
            return errno.EILSEQ
        if isinstance(failure, (FormatError, sqlite3.Error, MemoryError)):
            told = translated(self._mount_point, failure)
            return self._error_number(told) if isinstance(told, OSError) else errno.EIO
        # A defect of this program: the caller gets an error, and the traceback goes to the error stream.
        self._told_mistakes += 1
        if self._told_mistakes <= _MAX_TRACEBACKS:
            traceback.print_exception(failure)
        return errno.EIO

    def _init(self, body: memoryview) -> bytes:
        major, minor, readahead, low, high = abi.INIT_IN.unpack_from(body)
        if major != abi.KERNEL_VERSION or minor < abi.MIN_MINOR:
            raise NotSupportedError(
                self._mount_point,
                f"the kernel's FUSE has version {major}.{minor}; needed is {abi.KERNEL_VERSION}.{abi.MIN_MINOR}",
            )  # fmt: skip
        offered = low | (high << 32 if low & InitFlag.INIT_EXT else 0)
        if not self._operations.volume.is_writable and offered & _NO_HANDLES == _NO_HANDLES:
            self._operations.do_without_handles()
        if offered & InitFlag.DIRECT_IO_ALLOW_MMAP:
            self._operations.write_directly()
        flags = int(_WANTED) & offered
        return abi.INIT_OUT.pack(
            abi.KERNEL_VERSION, min(minor, abi.MAX_MINOR), readahead, flags & 0xFFFF_FFFF, _BACKGROUND, _CONGESTED,
            _MAX_DATA, _TIME_STEP, _PAGES, 0, flags >> 32,
        )  # fmt: skip

    def _send(self, unique: int, body: bytes | memoryview, error: int = 0) -> None:
        _write(self._device, _answered(unique, body, error))


def _answered(unique: int, body: bytes | memoryview, error: int) -> Message:
    if error:
        return (abi.OUT_HEADER.pack(abi.OUT_HEADER.size, -error, unique),)
    header = abi.OUT_HEADER.pack(abi.OUT_HEADER.size + len(body), 0, unique)
    return (header, body) if len(body) else (header,)


def _inode_notice(number: int) -> Message:
    body = abi.INVAL_INODE_OUT.pack(number, 0, 0)
    return (abi.OUT_HEADER.pack(abi.OUT_HEADER.size + len(body), Notice.INVAL_INODE, 0), body)


def _name_notice(directory: int, name: bytes) -> Message:
    body = abi.INVAL_ENTRY_OUT.pack(directory, len(name), 0) + name + b"\0"
    return (abi.OUT_HEADER.pack(abi.OUT_HEADER.size + len(body), Notice.INVAL_ENTRY, 0), body)


def _write(device: int, message: Message) -> None:
    if sys.platform == "win32":
        raise _no_fuse()
    try:  # noqa: SIM105 (a context manager takes as long as the call)
        os.writev(device, message)
    except OSError:
        # The request was withdrawn, the kernel does not know the entry of a notice, or the mount is gone, which the
        # next read detects.
        pass


class _Sender:
    """Sends messages in order from a separate thread, because the kernel may block the sender of a notice."""

    def __init__(self, device: int) -> None:
        self._device = device
        # Each counter is changed by one thread only.
        self._taken = self._sent = 0
        self._is_given_up = False
        self._waiting: queue.SimpleQueue[list[Message] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def send(self, messages: list[Message]) -> None:
        if sys.platform == "win32":
            raise _no_fuse()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            # Signals must go to the thread that waits for requests.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
            try:
                self._thread.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._taken += 1
        self._waiting.put(messages)

    @property
    def is_busy(self) -> bool:
        """Whether there are messages that are not sent yet."""
        return self._taken != self._sent

    def _run(self) -> None:
        while (messages := self._waiting.get()) is not None:
            for message in messages:
                if self._is_given_up:
                    return
                _write(self._device, message)
            self._sent += 1

    def stop(self) -> None:
        """Waits until all messages are sent, but no longer than the kernel is given to take them.

        The caller closes the device then, and another file may get its number.
        """
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(_PATIENCE)
            self._is_given_up = True
