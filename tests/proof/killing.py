"""Kills a process at a chosen moment: after some time, or before its Nth call that changes the host.

The calls are counted by the kernel's own means (seccomp's notifications): those of every thread, of SQLite and of
worker processes are among them, and whoever makes one waits until it is answered. Source: seccomp_unotify(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import gc
import os
import platform
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from wclayer.errors import LayerError

assert sys.platform == "linux"

SEED = os.environ.get("WCLAYER_KILL_SEED", "14")
"""Of the moments that are chosen."""
REFUSED, CRASHED = 3, 4
"""The exit statuses of a step that ended with a `LayerError`, and with any other exception."""
PATIENCE = 60.0
"""Seconds after which a process hangs."""
_NUMBERS = {
    # Name: on x86-64, on ARM64, where the older calls are not there.
    "write": (1, 64), "pwrite64": (18, 68), "writev": (20, 66), "pwritev": (296, 70), "ftruncate": (77, 46),
    "fallocate": (285, 47), "copy_file_range": (326, 285), "sendfile": (40, 71), "rename": (82, None),
    "renameat": (264, 38), "renameat2": (316, 276), "link": (86, None), "linkat": (265, 37), "unlink": (87, None),
    "unlinkat": (263, 35), "rmdir": (84, None), "mkdir": (83, None), "mkdirat": (258, 34), "symlink": (88, None),
    "symlinkat": (266, 36), "fsync": (74, 82), "fdatasync": (75, 83), "syncfs": (306, 267), "fchmod": (91, 52),
    "fchown": (93, 55), "utimensat": (280, 88), "setxattr": (188, 5), "fsetxattr": (190, 7), "flock": (73, 32),
}  # fmt: skip
_NAMING = ("rename", "link", "unlink", "rmdir", "mkdir", "symlink")
"""What the names of calls start with that change names: what stands there afterwards hangs on these few."""
_OPENAT = (257, 56)
_SECCOMP = (317, 277)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_AT_NUMBER, _AT_ARCHITECTURE, _AT_FLAGS = 0, 4, 32
_SET_MODE_FILTER, _NEW_LISTENER = 1, 1 << 3
_PR_SET_NO_NEW_PRIVS, _PR_SET_CHILD_SUBREAPER = 38, 36
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_REQUEST, _ANSWER = struct.Struct("=QIIi60x"), struct.Struct("=QqiI")
_GO_ON = 1


@dataclass
class Ended:
    """How a process ended."""

    status: int
    """Its exit status, or the negative number of the signal that killed it."""
    said: str
    """What it wrote to its standard streams."""
    duration: float = 0.0
    """Seconds from its beginning."""
    calls: list[str] = field(default_factory=list)
    """The names of its calls that change the host, if they were counted."""

    @property
    def was_killed(self) -> bool:
        return self.status == -signal.SIGKILL

    def naming_calls(self) -> list[int]:
        """The numbers of the calls that change names."""
        return [number for number, name in enumerate(self.calls) if name.startswith(_NAMING)]


_living: set[Process] = set()


class Process:
    """A child process that does a step, and leads a process group of its own.

    Args:
        step: what it does; it is made by forking, so that no interpreter starts.
        counted: its calls that change the host wait for `answer`.
    """

    def __init__(self, step: Callable[[], object], *, counted: bool = False) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `wait`)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.id = _fork()
            if self.id == 0:
                _be_child(step, self._said.fileno(), theirs, counted)
            theirs.close()
            # A process that cannot count says so by its end.
            self.listeners = socket.recv_fds(ours, 1, 1)[1]
        self._start = time.monotonic()
        self._descriptor = os.pidfd_open(self.id)
        self.calls: list[str] = []
        _living.add(self)

    def has_ended(self, seconds: float) -> bool:
        """Whether it ends within some seconds."""
        return bool(select.select([self._descriptor], [], [], seconds)[0])

    def answer(self, kill_before: int | None = None, *, of_children: bool = False) -> None:
        """Lets its calls happen until it has ended; with `kill_before`, it is killed before the call of that number.

        Args:
            of_children: only the calls of processes that it has started count, and only that one is killed.
        """
        listener = self.listeners[0]
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        names = _names()
        request = bytearray(_REQUEST.size)
        while True:
            events = poll.poll(PATIENCE * 1000)
            if not events:
                self.kill()
                raise AssertionError(f"it hangs after {self.calls[-5:]}")
            if events[0][1] & select.POLLHUP:
                # Nobody is left whose calls are counted.
                return
            request[:] = bytes(len(request))
            try:
                fcntl.ioctl(listener, _RECEIVE, request)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR):
                    # The process was killed meanwhile.
                    continue
                raise
            number, caller, _, call = _REQUEST.unpack(request)
            is_counted = not of_children or caller in self.children()
            if is_counted and len(self.calls) == kill_before:
                if not of_children:
                    self.kill()
                    continue
                os.kill(caller, signal.SIGKILL)
            if is_counted:
                self.calls.append(names.get(call, "openat"))
            with contextlib.suppress(FileNotFoundError):
                fcntl.ioctl(listener, _SEND, _ANSWER.pack(number, 0, 0, _GO_ON))

    def kill(self) -> None:
        """Kills it with its whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.id, signal.SIGKILL)

    def kill_alone(self) -> None:
        """Kills it, and nobody else of its group."""
        os.kill(self.id, signal.SIGKILL)

    def children(self) -> list[int]:
        """The processes that it has started, and that live."""
        try:
            with open(f"/proc/{self.id}/task/{self.id}/children", encoding="ascii") as file:
                return [int(number) for number in file.read().split()]
        except OSError:
            return []

    def wait(self) -> Ended:
        """How it ended.

        Raises:
            AssertionError: it hangs, or a process of its group lives on.
        """
        try:
            if not self.has_ended(PATIENCE):
                raise AssertionError("it hangs")
            duration = time.monotonic() - self._start
            status = os.waitstatus_to_exitcode(os.waitpid(self.id, 0)[1])
            _wait_for_group(self.id)
        finally:
            self.kill()
            _living.discard(self)
            os.close(self._descriptor)
            for listener in self.listeners:
                os.close(listener)
            self._said.seek(0)
            said = self._said.read().decode("utf-8", "replace")
            self._said.close()
        return Ended(status, said, duration, self.calls)


def end_all() -> None:
    """Ends the processes that a test which failed has left."""
    for process in list(_living):
        process.kill()
        process.wait()


@contextlib.contextmanager
def orphans_come_here() -> Iterator[None]:
    """In it, processes whose parent ends become children of this one, which can so see that none of them lives on.

    Source: prctl(2), PR_SET_CHILD_SUBREAPER.
    """
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        library.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _wait_for_group(number: int) -> None:
    """Returns when no process of a group lives. Those that lose their parent are children of this process: see
    `orphans_come_here`."""
    end = time.monotonic() + PATIENCE
    with contextlib.suppress(ChildProcessError):
        while True:
            while os.waitpid(-number, os.WNOHANG)[0] == 0:
                assert time.monotonic() < end, "a process of its group lives on"
                time.sleep(0.001)


def run(step: Callable[[], object], *, counted: bool = False) -> Ended:
    """Runs a step in a process of its own to its end."""
    with orphans_come_here():
        process = Process(step, counted=counted)
        if counted and process.listeners:
            process.answer()
        return process.wait()


def run_killed_after(seconds: float, step: Callable[[], object]) -> Ended:
    """Runs a step in a process of its own, which is killed with its group after some seconds if it has not ended."""
    with orphans_come_here():
        process = Process(step)
        if not process.has_ended(seconds):
            process.kill()
        return process.wait()


def run_killed_before(call: int, step: Callable[[], object]) -> Ended:
    """Runs a step in a process of its own, which is killed with its group before its call of that number, from 0 on."""
    with orphans_come_here():
        process = Process(step, counted=True)
        process.answer(call)
        return process.wait()


def run_with_child_killed(step: Callable[[], object], call: int | None = None) -> Ended:
    """Runs a step in a process of its own, of whose children one is killed: the one that makes the call of that number,
    from 0 on, of all their calls. Without a number, these are only counted."""
    with orphans_come_here():
        process = Process(step, counted=True)
        process.answer(call, of_children=True)
        return process.wait()


def run_killed_alone(seconds: float, step: Callable[[], object]) -> Ended:
    """Runs a step in a process of its own, which is killed after some seconds; the processes that it has started live
    on, and end by themselves."""
    with orphans_come_here():
        process = Process(step)
        if not process.has_ended(seconds):
            process.kill_alone()
        return process.wait()


def run_command_killed(seconds: float, arguments: Sequence[str], number: int = signal.SIGKILL) -> int:
    """Runs the command as a user does, and kills it with its group after some seconds, or sends another signal; gives
    its status, as that of a process of its own."""
    with orphans_come_here():
        command = subprocess.Popen(
            [sys.executable, "-m", "wclayer", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0,
        )  # fmt: skip
        try:
            command.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(command.pid, number)
        status = command.wait(PATIENCE)
        _wait_for_group(command.pid)
        return status


def check_counting() -> None:
    """Skips the test where a process' calls cannot be counted."""
    if platform.machine() not in _ARCHITECTURES:
        pytest.skip(f"the numbers of the system calls of {platform.machine()} are not known")
    ended = run(lambda: None, counted=True)
    if ended.status == CRASHED:
        pytest.skip(f"calls cannot be counted here: {ended.said.splitlines()[-1]}")


def _fork() -> int:
    with warnings.catch_warnings():
        # Of threads that the child does not have: it needs none of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _be_child(step: Callable[[], object], said: int, parent: socket.socket, counted: bool) -> None:
    status = CRASHED
    # What the parent has not collected yet may wait for threads when it is, and those are the parent's.
    gc.freeze()
    try:
        os.setpgid(0, 0)
        for number in (1, 2):
            os.dup2(said, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        if counted:
            listener = _listen()
            socket.send_fds(parent, [b"."], [listener])
            os.close(listener)
        else:
            parent.send(b".")
        parent.close()
        step()
        status = 0
    except LayerError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        status = REFUSED
    except BaseException:  # noqa: BLE001 (told by the status)
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _names() -> dict[int, str]:
    column, _ = _ARCHITECTURES[platform.machine()]
    return {number: name for name, numbers in _NUMBERS.items() if (number := numbers[column]) is not None}


def _listen() -> int:
    """Has the calls of this process, and of those that it starts, wait for an answer; gives the descriptor for that."""
    column, architecture = _ARCHITECTURES[platform.machine()]
    numbers = list(_names())
    program = [
        (_LOAD, 0, 0, _AT_ARCHITECTURE), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _AT_NUMBER),
        # The last step of the program is so many steps further.
        *((_EQUAL, len(numbers) + 4 - index, 0, number) for index, number in enumerate(numbers)),
        (_EQUAL, 1, 0, _OPENAT[column]), (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _AT_FLAGS), (_ANY_BIT, 1, 0, os.O_CREAT), (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _NOTIFY),
    ]  # fmt: skip
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    kept = ctypes.create_string_buffer(code, len(code))
    described = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(kept)))
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    listener = library.syscall(_SECCOMP[column], _SET_MODE_FILTER, _NEW_LISTENER, described)
    if listener < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "seccomp")
    return int(listener)
