"""Runs commands of wclayer, each in a process that is forked off, under limits of memory, time and disk."""

from __future__ import annotations

import gc
import os
import resource
import select
import shutil
import signal
import stat
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile.forms import Form, World
from tests.proof.hostile.canaries import Canaries
from tests.support import copy_data, load_the_package
from wclayer.cli import verbs
from wclayer.host.root import remove_tree
from wclayer.layers.budget import stored_size

NOBODY = 65534
_MEMORY = 256 << 20
_FILE = 256 << 20
_DISK = 80 << 20
"""What may lie in the place of a result: `unrated_size` of it come out of nothing."""
_DEEP = 1000
"""Characters of a path."""
_CPU = 20
_WALL = 60
_IN_VAIN = (2, 4, 12, 13, 64)
"""The statuses of something that is not there, or is of another kind."""
_DEFECT = 70
"""How a process ends whose command let an exception through."""
_MANY = 200
"""So many names of an input are looked at, to see whether it was changed."""


@dataclass
class Step:
    """A command over a form, and how it may end."""

    name: str
    command: Sequence[str]
    allowed: frozenset[int]
    leaves: frozenset[int] = frozenset({0})
    """The statuses after which there may be a result."""
    then: Sequence[Step] = ()
    """What follows on success, with the result still there."""
    tells: bool = False
    """Whether it says in lines before the last what it leaves out."""
    names: tuple[str, ...] = ()
    """What its message may name instead of the form."""
    prepare: Callable[[], object] = lambda: None
    """What is done before it, such as a copy to change."""


@dataclass
class Outcome:
    """How a command ended."""

    form: Form
    step: str
    user: str
    status: int
    said: str
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """Of the processor."""

    def __str__(self) -> str:
        text = (
            f"{self.form.kind}/{self.form.name} [{self.form.finding}] {self.step} as {self.user}: status {self.status}"
        )
        return "\n    ".join((text, *self.problems, self.said.strip()[-1500:]))


class Room:
    """The folders in which commands run: the place of their input and of their results, the current, the home and the
    temporary folder, and one outside of them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.input, self.out, self.tmp = folder / "input", folder / "out", folder / "tmp"
        self.cwd, self.home, self.outside = folder / "cwd", folder / "home", folder / "outside"
        for place in (self.input, self.out, self.tmp):
            place.mkdir()
            place.chmod(0o777)
        self.canaries = Canaries(self.outside, self.cwd, self.home)
        self.world = World(folder / "world", self.outside)

    def clear(self, *places: Path) -> None:
        """Empties folders."""
        for place in places:
            for name in os.listdir(place):
                found = place / name
                if stat.S_ISDIR(found.lstat().st_mode):
                    remove_tree(found)
                else:
                    found.unlink()

    def left(self) -> list[str]:
        """What lies where nothing may be left: in the temporary folder, and beside the input."""
        return [f"left: tmp/{name}" for name in os.listdir(self.tmp)]

    def used(self) -> int:
        """Bytes on the disk in the place of results, but for what lies very deep."""
        return sum(status.st_blocks * 512 for _, status in _walk(self.out))


def prepare() -> None:
    """Loads all that commands need, so that forks have it."""
    load_the_package()
    gc.collect()
    gc.freeze()


class Runner:
    """Runs steps in a room, as root or as another user."""

    def __init__(self, room: Room, user: str) -> None:
        self.room = room
        self.user = user
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the runner)

    def run(self, form: Form, place: Path, steps: Iterable[Step], *, every: int = 1) -> Iterator[Outcome]:
        """Runs the steps over a form that was put at a place; the place of results is emptied after each. Of what
        follows on a step, one of `every` is run."""
        for number, step in enumerate(steps):
            step.then = [then for index, then in enumerate(step.then, len(form.name) + number) if index % every == 0]
            yield from self._run(form, place, step, step.name)
            self.room.clear(self.room.out, self.room.tmp)

    def _run(self, form: Form, place: Path, step: Step, name: str) -> Iterator[Outcome]:
        room = self.room
        step.prepare()
        before = set(os.listdir(room.out))
        beside = sorted(os.listdir(room.input))
        unchanged = None if (form.kind, form.name) in _OPENED_AS_SCRATCHES else _names(place)
        before_it = os.times()
        status, said = self._fork(step)
        spent = os.times()
        seconds = spent.children_user + spent.children_system - before_it.children_user - before_it.children_system
        outcome = Outcome(form, name, self.user, status, said, seconds=seconds)
        problems = outcome.problems
        if status not in step.allowed:
            problems.append(f"allowed are {sorted(step.allowed)}")
        if "Traceback" in said:
            problems.append("a traceback")
        lines = said.splitlines()
        if status > 1 and ((len(lines) != 1 and not step.tells) or not said.startswith("wclayer: ")):
            problems.append(f"{len(lines)} lines instead of one")
        # What a user asked for in vain is named instead: a path in the layer.
        named = (form.file_name, str(room.out), *step.names)
        if status > 1 and status not in _IN_VAIN and not any(name in said for name in named):
            problems.append("the file is not named")
        if status not in step.leaves and (left := set(os.listdir(room.out)) - before):
            problems.append(f"left: {sorted(left)}")
        if [name for name in os.listdir(room.out) if name.endswith((".partial", ".gone"))]:
            problems.append("left under construction")
        if sorted(os.listdir(room.input)) != beside:
            problems.append(f"beside the input: {sorted(os.listdir(room.input))}")
        if unchanged is not None and _names(place) != unchanged:
            problems.append(f"the input was changed: {_names(place)} instead of {unchanged}")
        problems += room.left()
        problems += room.canaries.touched()
        if (used := room.used()) > _DISK:
            problems.append(f"{used} bytes on the disk")
        yield outcome
        if status == 0:
            for follower in step.then:
                yield from self._run(form, place, follower, f"{name}, {follower.name}")

    def _fork(self, step: Step) -> tuple[int, str]:
        """Runs a step in a process of its own; gives its status and what it said on the error stream. A process that
        a signal ended has a status above 1000, one that did not end 2000."""
        self._said.seek(0)
        self._said.truncate()
        child = os.fork()
        if child == 0:
            self._be_child(step)
        pidfd = os.pidfd_open(child)
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            ended = bool(poll.poll(_WALL * 1000))
            if not ended:
                os.kill(child, signal.SIGKILL)
        finally:
            os.close(pidfd)
        _, waited = os.waitpid(child, 0)
        self._said.seek(0)
        said = self._said.read().decode("utf-8", "replace")
        if not ended:
            return 2000, said
        return (1000 + os.WTERMSIG(waited)) if os.WIFSIGNALED(waited) else os.WEXITSTATUS(waited), said

    def _be_child(self, step: Step) -> None:
        status = _DEFECT
        try:
            os.setpgid(0, 0)
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 0)
            os.dup2(nothing, 1)
            os.dup2(self._said.fileno(), 2)
            os.chdir(self.room.cwd)
            os.environ.update(HOME=str(self.room.home), TMPDIR=str(self.room.tmp), WCLAYER_NO_SYNC="1")
            tempfile.tempdir = None
            for what, bound in (
                (resource.RLIMIT_CPU, _CPU), (resource.RLIMIT_FSIZE, _FILE), (resource.RLIMIT_CORE, 0),
                (resource.RLIMIT_AS, _mapped() + _MEMORY),
            ):  # fmt: skip
                resource.setrlimit(what, (bound, bound))
            if self.user != "root":
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            status = verbs.run(list(step.command))
        except BaseException:  # noqa: BLE001 (told by the parent)
            traceback.print_exc()
        finally:
            os._exit(status)


_OPENED_AS_SCRATCHES = {("layer", "header a write-ahead log that is not there")}
"""Forms that say that they are scratches: SQLite puts the files of its log beside the database while it is open."""


def _mapped() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _names(place: Path) -> object:
    """What a form is made of, to see whether it was changed; None of a scratch, which commands may change."""
    if (place / "sandbox.vhdx").exists() or (place / "base" / "sandbox.vhdx").exists():
        return None
    found = {}
    for path, status in _walk(place):
        found[path] = status.st_size, status.st_mtime_ns, status.st_mode
        if len(found) > _MANY:
            return None
    status = place.lstat()
    return found, status.st_size, status.st_mtime_ns, status.st_mode


def _walk(place: Path) -> Iterator[tuple[str, os.stat_result]]:
    """What lies in a folder, not too deep, by its path."""
    pending = [str(place)] if stat.S_ISDIR(place.lstat().st_mode) else []
    while pending:
        for found in os.scandir(pending.pop()):
            yield found.path, found.stat(follow_symlinks=False)
            if found.is_dir(follow_symlinks=False) and len(found.path) < _DEEP:
                pending.append(found.path)


def own(place: Path) -> None:
    """Gives a folder and everything in it to the other user."""
    for folder, _, files, directory in os.fwalk(place):
        os.chown(folder, NOBODY, NOBODY)
        for name in files:
            os.chown(name, NOBODY, NOBODY, dir_fd=directory, follow_symlinks=False)


def copy(source: Path, target: Path) -> None:
    """A copy of a form, its special files too."""
    if stat.S_ISDIR(source.lstat().st_mode):
        shutil.copytree(source, target, symlinks=True, copy_function=_copy_file)
    else:
        _copy_file(str(source), str(target))


def _copy_file(source: str, target: str) -> None:
    status = os.lstat(source)
    if stat.S_ISREG(status.st_mode) and stored_size(status) < status.st_size:
        with open(source, "rb") as reader, open(target, "wb") as writer:
            copy_data(reader, writer)
            writer.truncate(status.st_size)
    elif stat.S_ISREG(status.st_mode):
        shutil.copy2(source, target)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
    else:
        os.mknod(target, status.st_mode, status.st_rdev)
