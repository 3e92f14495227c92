"""Tries an operation with one fault at a time, and says what is not as promised: `python -m tests.proof.faults.trial`.

It is run in the environment that `shim.build` gives, by `conftest.py`, or by hand to see one fault again.
"""

from __future__ import annotations

import errno
import faulthandler
import gc
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import wclayer
from tests.proof.faults.shim import END, SHORT, Shim
from tests.proof.faults.sqlite_steps import CODES, Steps
from tests.proof.operations import EVERY, MOUNTING, Operation
from tests.proof.world import World
from tests.support import run, tree_listing
from wclayer.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    CorruptLayerError,
    DiskFullError,
    InvalidStateError,
    LayerBusyError,
    LayerError,
    NotSupportedError,
    OutOfMemoryError,
    PathNotFoundError,
    visible_path,
)
from wclayer.layers.directory.scratch import IN_USE

_WRITES = (errno.ENOSPC, errno.EIO, errno.EINTR)
_NAMES = (errno.EACCES, errno.EIO)
_NEW_NAMES = (errno.ENOSPC, errno.EACCES, errno.EIO)
FAULTS: dict[str, tuple[int, ...]] = {
    "open": (errno.EACCES, errno.EMFILE, errno.EIO, errno.EINTR),
    "opendir": (errno.EMFILE, errno.EACCES, errno.EIO),
    "create": (errno.ENOSPC, errno.EMFILE, errno.EACCES, errno.EINTR),
    "read": (errno.EIO, SHORT, END, errno.EINTR),
    "write": (errno.ENOSPC, SHORT, errno.EIO, errno.EINTR),
    "copy": (errno.ENOSPC, SHORT, errno.EIO, END),
    "sync": (errno.EIO, errno.ENOSPC, errno.EINTR),
    "truncate": _WRITES,
    "rename": _NEW_NAMES,
    "link": _NEW_NAMES,
    "symlink": _NEW_NAMES,
    "mkdir": _NEW_NAMES,
    "unlink": _NAMES,
    "stat": _NAMES,
    "fstat": (errno.EIO,),
    "access": _NAMES,
    "readlink": _NAMES,
    "readdir": (errno.EIO,),
    "chmod": _NAMES,
    "chown": _NAMES,
    "utime": _NAMES,
    "setxattr": _NEW_NAMES,
    "getxattr": _NAMES,
    "lock": (errno.ENOLCK, errno.EINTR),
    "mmap": (errno.ENOMEM,),
    "dup": (errno.EMFILE,),
    "pipe": (errno.EMFILE,),
    "fork": (errno.EAGAIN, errno.ENOMEM),
    "thread": (errno.EAGAIN,),
    "ioctl": (errno.EIO,),
    "close": (errno.EIO, errno.ENOSPC, errno.EINTR),
}
"""How each kind of call can fail."""
_KINDS: dict[int, type[LayerError]] = {
    errno.ENOSPC: DiskFullError,
    errno.EACCES: AccessDeniedError,
    errno.ENOMEM: OutOfMemoryError,
    errno.ENOLCK: NotSupportedError,
    # Of a thread; of a process it is EAGAIN itself.
    errno.EAGAIN: OutOfMemoryError,
}
"""What an error of the host becomes; any other is a `LayerError` without a class of its own."""
_MEMORY_SAMPLES = 1000
"""Of the allocations of an operation, in the long mode."""
_PATIENCE = 120
"""Seconds after which a trial hangs: SQLite waits for 60."""
_SQLITE_KINDS: dict[str, type[LayerError]] = {
    "SQLITE_FULL": DiskFullError,
    "SQLITE_IOERR": LayerError,
    "SQLITE_NOMEM": OutOfMemoryError,
    "SQLITE_BUSY": LayerBusyError,
    "SQLITE_CORRUPT": CorruptLayerError,
    "SQLITE_READONLY": AccessDeniedError,
}
_OF_DATABASES = (LayerError, AccessDeniedError, CorruptLayerError)
_DATABASE = re.compile(r"(?:layer|store|contents)\.db(-wal|-shm|-journal)?\Z")
_OF_PYTHON = (
    "MemoryError|path should be string|digital envelope routines|returned NULL without setting an exception"
    "|can't allocate|expected str, bytes|error return without exception set"
)
"""Python itself, and OpenSSL, make something else of some lacks of memory."""
_IMAGE = re.compile(r"[a-z]+:[0-9]|sha256:[0-9a-f]{64}")
"""What images of the store are called."""
_OF_DOCKERFILE = re.compile("Dockerfile:[0-9]+")
_UNDER_CONSTRUCTION = r"\.partial|\.gone|~update-"
_LEFT = re.compile(r"\.partial\Z|\.gone\Z|~update-|\Ascratch\.open|-link\Z")
_NOT_REPEATABLE = (
    "copy tree out", "copy tree in", "copy between", "change scratch", "activate, deactivate", "unmount", "mkdir",
)  # fmt: skip
"""Operations of several steps, of which a second try finds what the first one has made, and does something else."""
_ALREADY = (PathNotFoundError, AlreadyExistsError, InvalidStateError)
"""How a second try may end if the first one was done, and said only that something failed after that."""


@dataclass(frozen=True)
class Fault:
    """The fault of a trial: the `at`th call, which was `call`, has it."""

    at: int
    call: str
    number: int
    path: str = ""

    def __str__(self) -> str:
        name = {SHORT: "SHORT", END: "END"}.get(self.number) or errno.errorcode[self.number]
        return f"call {self.at}, {self.call} {self.path}, {name}"


class _CommandError(Exception):
    """The command failed."""

    def __init__(self, status: int, printed: str) -> None:
        super().__init__(f"exit status {status}: {printed}")
        self.status = status
        self.printed = printed


@dataclass
class _Tried:
    """What became of a trial."""

    before: object
    """What was in the folder of results, where a failure leaves it so."""
    error: BaseException | None = None
    trace: str = ""
    hit: int | None = None
    """The number of the call that failed."""
    problems: list[str] = field(default_factory=list)


class Trials:
    """Trials of one operation.

    Args:
        root: a folder with `sources`, which `make_sources` has filled; the trials take place in `root/w`.
    """

    def __init__(self, shim: Shim, root: Path, name: str, *, by_command: bool = False) -> None:
        self._shim = shim
        self._world = World(root / "sources", root / "w")
        self._operation: Operation = (EVERY | MOUNTING)[name]
        self._call: Callable[[World], object] = self._run_command if by_command else self._operation.call
        self._is_mount = name in MOUNTING
        self._is_repeatable = name not in _NOT_REPEATABLE
        shim.watch(root)
        with self._prepared():
            self._old = self._operation.result(self._world)
            # What is imported and cached at the first time is not part of the operation.
            self._call(self._world)
            self._new = self._operation.result(self._world)

    @cached_property
    def calls(self) -> list[tuple[str, str]]:
        """What the operation asks of the host, call by call."""
        with self._prepared():
            self._shim.record()
            self._call(self._world)
            self._shim.stop()
            return self._shim.calls()

    def _run_command(self, world: World) -> None:
        done = run(*self._operation.arguments(world), status=None)
        if done.returncode:
            raise _CommandError(done.returncode, done.stderr.decode(errors="replace"))

    @contextmanager
    def _prepared(self) -> Iterator[None]:
        self._world.place.mkdir()
        try:
            self._operation.prepare(self._world)
            yield
        finally:
            self._world.remove()

    def trial(self, fault: Fault) -> tuple[str, list[str]]:
        """Does the operation with a call of the host that fails. Returns which did, and what is wrong afterwards."""
        with self._prepared():
            tried = self._try(lambda: self._shim.fail(fault.at, fault.call, fault.number), self._shim.stop)
            if tried.hit is not None:
                fault = Fault(tried.hit, fault.call, fault.number, self._shim.call(tried.hit)[1])
            elif tried.error is None:
                return str(fault), tried.problems
            problems = [*tried.problems, *self._problems_of(fault, tried.error)]
            return str(fault), [*problems, *self._problems_left(fault, tried)]

    def sqlite_steps(self) -> list[str]:
        """What the operation has SQLite do, step by step."""
        with self._prepared():
            steps = Steps()
            with steps.watched():
                self._call(self._world)
        return steps.said

    def sqlite_trial(self, at: int, code: str) -> tuple[str, list[str]]:
        """Does the operation with a step of SQLite that fails."""
        with self._prepared():
            steps = Steps(at, code)
            with steps.watched():
                tried = self._try(lambda: None, lambda: None)
            if len(steps.said) <= at:
                return "", []
            fault = f"step {at}, {' '.join(steps.said[at].split())[:60]}, {code}"
            problems = list(tried.problems)
            if not isinstance(tried.error, (LayerError, type(None))):
                problems.append(f"no error of the family: {tried.trace}")
            elif tried.error is not None and type(tried.error) is not _SQLITE_KINDS[code]:
                problems.append(f"not the class for it: {type(tried.error).__name__}: {tried.error}")
            return fault, [*problems, *self._problems_left(Fault(at, "sqlite", 0), tried)]

    def allocations(self) -> int:
        """How often the operation asks for memory."""
        with self._prepared():
            self._shim.count_memory()
            self._call(self._world)
            self._shim.stop()
        return self._shim.allocations

    def memory_trial(self, at: int) -> tuple[str, list[str]]:
        """Does the operation with an allocation that fails."""
        with self._prepared():
            tried = self._try(lambda: self._shim.exhaust_memory(at, 1), self._shim.stop)
            # Between the opening of a file and its being known to who closes it, Python itself asks for memory.
            problems = [problem for problem in tried.problems if not problem.startswith(("open files", "said on the"))]
            if not isinstance(tried.error, (MemoryError, type(None))) and not re.search(_OF_PYTHON, tried.trace):
                problems.append(f"no lack of memory: {tried.trace}")
            fault = f"allocation {at}"
            return fault, [*problems, *self._problems_left(Fault(at, "memory", 0), tried)]

    def _try(self, start: Callable[[], None], stop: Callable[[], int | None]) -> _Tried:
        """Does the operation; `start` begins the fault, `stop` ends it, and says which call had it."""
        tried = _Tried(tree_listing(self._world.place) if self._operation.is_whole else None)
        with _nothing_kept(tried.problems):
            start()
            try:
                self._call(self._world)
            except BaseException as caught:  # noqa: BLE001 (whatever it is, is looked at)
                tried.error = caught
            finally:
                tried.hit = stop()
            if tried.error is not None:
                tried.trace = "".join(traceback.format_exception(tried.error))
                _forget_frames(tried.error)
                gc.collect()
        return tried

    def _problems_of(self, fault: Fault, error: BaseException | None) -> Iterator[str]:
        """What is wrong with the error itself."""
        if error is None:
            return
        if isinstance(error, _CommandError):
            yield from _problems_of_command(fault, error)
            return
        if not isinstance(error, LayerError):
            yield f"no error of the family: {type(error).__name__}: {error}"
            return
        text = f"{type(error).__name__}: {error}"
        for said in (str(error), error.path):
            if re.search(_UNDER_CONSTRUCTION, said):
                yield f"names what is under construction: {text}"
                break
        if not self._is_right_path(fault, _named_by(error)):
            yield f"names another path: {text}"
        if fault.number in (SHORT, END) or (fault.path.endswith("/boot_id") and fault.number == errno.EACCES):
            # A container may hide what tells one start of the machine from another.
            return
        is_database = _DATABASE.search(visible_path(fault.path)) is not None
        if fault.number == errno.EINTR and (fault.call == "close" or is_database):
            # The descriptor is gone; whether all was written, nobody can say. SQLite does not try to sync again.
            return
        if fault.number == errno.EINTR:
            yield f"an interrupted call is not tried again: {text}"
        kind = _kind(fault)
        if "unable to open database file" in str(error) and fault.call in ("stat", "readlink"):
            # SQLite looks at each folder on the way itself.
            return
        # SQLite does not tell why a file cannot be opened, and takes what cannot be read for damaged.
        if type(error) is not kind and not (is_database and type(error) in _OF_DATABASES):
            yield f"not the class for it, {kind.__name__}: {text}"

    def _is_right_path(self, fault: Fault, named: str) -> bool:
        """Whether an error names the file that failed, a folder that it is in, or what is being made."""
        world = self._world
        failed = visible_path(fault.path)
        # An image is called by its place: "oci:FOLDER", "docker-archive:FILE".
        named = named[named.find(":/") + 1 :]
        targets = [
            str(path) for path in (world.layer, world.scratch, world.out, world.place / "store", world.place / "layout")
        ]
        if not named.startswith("/"):
            return named == "<stdin>" or all(_IMAGE.fullmatch(part) for part in named.split(", "))
        return (
            named in targets
            or any(named.startswith(f"{target}/") for target in targets)
            or f"{failed}/".startswith(f"{named}/")
            or named.startswith(f"{failed}/")
            or (not failed.startswith("/") and named.startswith(str(world.sources)))
        )

    def _problems_left(self, fault: Fault, tried: _Tried) -> Iterator[str]:
        """What is wrong with what is there afterwards."""
        world, operation, error, before = self._world, self._operation, tried.error, tried.before
        if fault.call == "memory" and error is not None:
            # Between the making of a staged file and its being known, Python itself asks for memory. What is left then
            # is what a kill leaves: when this process has ended, the next call in that folder removes it.
            for unfinished in world.place.glob(".*.partial"):
                shutil.rmtree(unfinished) if unfinished.is_dir() else unfinished.unlink()
        left = [
            str(path.relative_to(world.place))
            # A mount may be one whose server has died.
            for path in (world.place.rglob("*") if not self._is_mount else ())
            # What the host does not remove is there.
            if _LEFT.search(path.name)
            and fault.call != "unlink"
            # The mark of a scratch, by which the next process knows that it is to look for what is left.
            and not (path.name.startswith(IN_USE) and (self._is_mount or error is not None))
        ]
        if left:
            yield f"left behind: {left[:5]}"
        if isinstance(error, _CommandError):
            # It looks at what it has made, which may fail, too.
            if operation.result(world) not in (self._old, self._new) and operation.is_one_step:
                yield "neither as before nor as after"
            return
        # Memory may run out when all is done.
        is_done = operation.is_whole and fault.call == "memory" and tree_listing(world.place) != before
        if error is not None and operation.is_whole and not is_done and (after := tree_listing(world.place)) != before:
            yield f"something is there after a failure: {after[:5]}"
            return
        if fault.call == "unlink" and "/Data/" in fault.path:
            # Old contents that the host does not remove: the next process that opens the scratch does.
            with suppress(LayerError):
                wclayer.LayerView(scratch=world.scratch).close()
        try:
            found = operation.result(world)
        except BaseException as wrong:  # noqa: BLE001
            yield f"what is there is not sound: {type(wrong).__name__}: {wrong}"
            return
        if error is None:
            if found != self._new:
                yield "no error, and another result"
            return
        if (operation.is_one_step or is_done) and found not in (self._old, self._new):
            yield "neither as before nor as after"
        if not self._is_repeatable:
            return
        try:
            operation.call(world)
        except BaseException as again:  # noqa: BLE001
            if not ((isinstance(again, _ALREADY) or "already" in str(again)) and found == self._new):
                yield f"the second try fails: {type(again).__name__}: {again}"
            _forget_frames(again)
            return
        try:
            if operation.result(world) != self._new:
                yield "the second try has another result"
        except BaseException as wrong:  # noqa: BLE001
            yield f"the result of the second try is not sound: {type(wrong).__name__}: {wrong}"
        if not self._is_mount and (
            kept := [name for name in world.place.rglob(f"{IN_USE}*") if fault.call != "unlink"]
        ):
            yield f"marks are left by the second try: {kept}"


def _named_by(error: LayerError) -> str:
    """The path that an error names; of a step of a Dockerfile, that which follows its line."""
    return error.detail.partition(": ")[0] if _OF_DOCKERFILE.fullmatch(error.path) else error.path


def _problems_of_command(fault: Fault, error: _CommandError) -> Iterator[str]:
    """What is wrong with what the command says, and its exit status."""
    if not re.fullmatch(r"(wclayer: [^\n]+\n)+", error.printed):
        yield f"not lines of ours: {error}"
    if re.search(_UNDER_CONSTRUCTION, error.printed):
        yield f"names what is under construction: {error}"
    if fault.number in (SHORT, END, errno.EINTR):
        return
    wanted = {_kind(fault).exit_status}
    if _DATABASE.search(visible_path(fault.path)) or "unable to open database file" in error.printed:
        wanted |= {kind.exit_status for kind in _OF_DATABASES}
    if error.status not in wanted:
        yield f"not the status for it, {wanted}: {error}"


def _kind(fault: Fault) -> type[LayerError]:
    if (fault.call, fault.number) == ("fork", errno.EAGAIN):
        return LayerError
    return _KINDS.get(fault.number, LayerError)


def groups(calls: list[tuple[str, str]]) -> dict[tuple[str, str], list[int]]:
    """The numbers of calls that are alike: the same call, on paths that differ in random names and numbers only."""
    found: dict[tuple[str, str], list[int]] = {}
    for number, (call, path) in enumerate(calls):
        found.setdefault((call, re.sub(r"[0-9a-f]{16}|[0-9]+|Data/[0-9a-f]", "*", path)), []).append(number)
    return found


def _can_be(path: str, number: int) -> bool:
    """Whether a call on that path can have a fault: a pipe is never full for good."""
    return not (path.startswith("pipe:") and number == errno.ENOSPC)


def faults_of(calls: list[tuple[str, str]], seed: int, count: int | None) -> list[Fault]:
    """The faults to try: `count` of them, of as many kinds of calls as there can be, or all."""
    if count is None:
        return [
            Fault(at, call, number)
            for at, (call, path) in enumerate(calls)
            for number in FAULTS[call]
            if _can_be(path, number)
        ]
    source = random.Random(seed)
    alike = groups(calls)
    # Each kind of call with one of its faults, then with the next one.
    rounds: list[list[Fault]] = []
    for (call, path), numbers in alike.items():
        faults = [number for number in FAULTS[call] if _can_be(path, number)]
        source.shuffle(faults)
        for turn, number in enumerate(faults):
            rounds.extend([] for _ in range(turn + 1 - len(rounds)))
            rounds[turn].append(Fault(source.choice(numbers), call, number))
    for faults_of_round in rounds:
        source.shuffle(faults_of_round)
    return [fault for faults_of_round in rounds for fault in faults_of_round][:count]


@contextmanager
def _nothing_kept(problems: list[str]) -> Iterator[None]:
    """Looks whether open files, threads, and children are kept, and what is said of objects that are thrown away."""
    files, threads, children = _open_files(), set(threading.enumerate()), _children()
    said: list[str] = []
    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook = lambda what: said.append(f"{type(what.exc_value).__name__}: {what.exc_value} in {what.object}")
    threading.excepthook = lambda what: said.append(f"{what.exc_type.__name__}: {what.exc_value} in {what.thread}")
    try:
        yield
        if _open_files() != files:
            # An error, its frames and a generator in them may refer to each other.
            gc.collect()
        if kept := [path for path in _open_files() if path not in files]:
            problems.append(f"open files are kept: {kept}")
        if kept_threads := {thread for thread in set(threading.enumerate()) - threads if thread.is_alive()}:
            problems.append(f"threads are kept: {kept_threads}")
        if kept_children := _children() - children:
            problems.append(f"children are kept: {kept_children}")
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                problems.append("a child that has ended is kept")
        except ChildProcessError:
            pass
    finally:
        sys.unraisablehook, threading.excepthook = hooks
        problems += [f"said on the side: {text}" for text in said]


def _children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def _open_files() -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            # That of the folder itself.
            continue
    return sorted(found)


def _forget_frames(error: BaseException | None) -> None:
    """An error's frames keep what was open in them."""
    while error is not None:
        error.__traceback__ = None
        _forget_frames(error.__context__ if error.__context__ is not error.__cause__ else None)
        error = error.__cause__ if error.__cause__ is not error else None


def _trials_of(trials: Trials, wanted: dict[str, Any]) -> Iterator[Callable[[], tuple[str, list[str]]]]:
    """The trials that a request asks for: of which kind, how many, sampled by which seed."""
    source, count = random.Random(wanted["seed"]), wanted["count"]
    if wanted["what"] == "sqlite":
        steps = [(at, code) for at in range(len(trials.sqlite_steps())) for code in CODES]
        for at, code in steps if count is None else source.sample(steps, min(count, len(steps))):
            yield partial(trials.sqlite_trial, at, code)
    elif wanted["what"] == "memory":
        allocations = trials.allocations()
        for at in sorted(source.randrange(allocations) for _ in range(count or _MEMORY_SAMPLES)):
            yield partial(trials.memory_trial, at)
    else:
        faults = faults_of(trials.calls, wanted["seed"], count)
        if wanted["what"] == "command":
            # Of what is no file, the standard streams are part.
            faults = [fault for fault in faults if trials.calls[fault.at][1].startswith("/")]
        for fault in faults:
            yield partial(trials.trial, fault)


def main() -> None:
    """Answers requests, one JSON object a line: which operation, what is to fail, and how often. So is each answer."""
    # A process that was begun by vfork shares its memory with this one, and the shim in it.
    subprocess._USE_VFORK = False  # type: ignore[misc]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    shim, root = Shim(), Path(sys.argv[1])
    for line in sys.stdin:
        wanted = json.loads(line)
        # What hangs says where.
        faulthandler.dump_traceback_later(_PATIENCE, exit=True)
        trials = Trials(shim, root, wanted["name"], by_command=wanted["what"] == "command")
        # Each trial has the collector look for what is kept: not in all that was imported.
        gc.collect()
        gc.freeze()
        found: list[str] = []
        done = 0
        for trial in _trials_of(trials, wanted):
            faulthandler.dump_traceback_later(_PATIENCE, exit=True)
            fault, problems = trial()
            done += 1
            found += [f"{fault}: {problem}".replace(str(root), "") for problem in problems]
        faulthandler.cancel_dump_traceback_later()
        calls = len(trials.calls) if wanted["what"] == "host" else None
        print(json.dumps({"calls": calls, "trials": done, "found": found}), file=answers, flush=True)


if __name__ == "__main__":
    main()
