"""Processes that take steps at once over one thing, each step recorded with its result and its times."""

from __future__ import annotations

import errno
import gc
import inspect
import os
import pickle
import random
import signal
import time
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.proof.histories.checker import Event, explain, numbered, parts
from wclayer.errors import LayerError
from wclayer.host import system
from wclayer.layers.directory.layer import LayerDirectory

PATIENCE = 90.0
"""Seconds after which a round hangs."""
POSIX = {
    errno.ENOENT: "PathNotFoundError",
    errno.ENODATA: "PathNotFoundError",
    errno.EEXIST: "AlreadyExistsError",
    errno.EISDIR: "EntryIsDirectoryError",
    errno.EPERM: "EntryIsDirectoryError",
    errno.ENOTDIR: "EntryNotDirectoryError",
    errno.ENOTEMPTY: "DirectoryNotEmptyError",
    errno.EINVAL: "InvalidParameterError",
}
"""The classes of the family that the kernel's errors stand for, in a mount."""


class Scene(Protocol):
    """Something that processes share, the steps that they take, and the model that their results must fit."""

    name: str
    processes: int

    @staticmethod
    def step(state: Hashable, event: Event) -> Iterable[Hashable]:
        """The model: the states after an event with its result."""

    def prepare(self, place: Path, rng: random.Random) -> None:
        """Makes what is shared, in an empty folder."""

    def act(self, process: int, rng: random.Random, recorder: Recorder) -> None:
        """The steps of one process."""

    def start(self) -> Hashable:
        """The state of the model before the first step."""

    def part(self, event: Event) -> Hashable:
        """What of several independent things an event concerns: those of one are put into an order by themselves."""

    def finish(self, recorder: Recorder) -> list[str]:
        """Looks at what is left when all processes have ended: records it, and gives what should not be."""


class Recorder:
    """Records the steps of a process.

    Args:
        process: its number.
        path: a file that takes the records as they come.
    """

    def __init__(self, process: int, path: Path) -> None:
        self._process = process
        self.in_mount = False
        """Whether the kernel's errors stand for those of the family."""
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def take(
        self, kind: str, arguments: tuple[Hashable, ...], call: Callable[..., Hashable], *given: object
    ) -> Hashable:
        """Takes a step, `call(*given)`, and gives its result: a value, or the name of an error's class after `!`."""
        return self.take_parts(lambda result: [(kind, arguments, result)], lambda: call(*given), kind, arguments)

    def do(self, kind: str, arguments: tuple[Hashable, ...], call: Callable[..., object], *given: object) -> Hashable:
        """`take` of a step that gives nothing but "ok"."""

        def done() -> Hashable:
            call(*given)
            return "ok"

        return self.take(kind, arguments, done)

    def take_parts(
        self,
        split: Callable[[Hashable], list[tuple[str, tuple[Hashable, ...], Hashable]]],
        do: Callable[[], Hashable],
        kind: str,
        arguments: tuple[Hashable, ...] = (),
    ) -> Hashable:
        """`take` of a step whose result says several things, each of which holds at some moment meanwhile.

        Args:
            split: gives kind, arguments and result of each event that the result stands for.
        """
        called = time.monotonic_ns()
        self._put(("call", kind, arguments, called))
        note = ""
        result: Hashable
        try:
            result = do()
        except LayerError as error:
            result, note = f"!{type(error).__name__}", str(error)
        except OSError as error:
            name = POSIX.get(error.errno or 0) if self.in_mount else None
            result = f"!{name or type(error).__name__}"
            note = str(error) if name else traceback.format_exc()
        except Exception as error:  # noqa: BLE001 (a defect is a result that no model explains)
            result, note = f"!{type(error).__name__}", traceback.format_exc()
        returned = time.monotonic_ns()
        events = [Event(self._process, *part, called, returned, note=note) for part in split(result)]
        self._put(("return", events))
        return result

    def _put(self, record: object) -> None:
        data = pickle.dumps(record)
        os.write(self._fd, len(data).to_bytes(4, "little") + data)

    def close(self) -> None:
        os.close(self._fd)


def _records(path: Path) -> Iterator[Any]:
    data = path.read_bytes()
    while data:
        size = int.from_bytes(data[:4], "little")
        yield pickle.loads(data[4 : 4 + size])
        data = data[4 + size :]


@dataclass
class Round:
    """What one round of a scene gave."""

    scene: str
    seed: int
    events: list[Event] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    states: int = 0
    """How many states the search for an order looked at."""
    unexplained: list[Event] = field(default_factory=list)
    """The part of the history that has no order."""
    furthest: list[Event] = field(default_factory=list)
    stuck: list[tuple[Hashable, list[Event]]] = field(default_factory=list)


def run_round(scene: Scene, seed: int, place: Path) -> Round:
    """Runs one round of a scene in an empty folder, and checks its history."""
    done = Round(scene.name, seed)
    rng = random.Random(seed)
    scene.prepare(place, rng)
    seeds = [rng.randrange(1 << 30) for _ in range(scene.processes)]
    files = [place / f"record-{process}" for process in range(scene.processes + 1)]
    begin_reader, begin_writer = os.pipe()
    children: dict[int, int] = {}
    gc.collect()
    for process, its_seed in enumerate(seeds):
        child = os.fork()
        if child == 0:
            os.close(begin_writer)
            _be_process(scene, process, its_seed, files[process], begin_reader)
        children[child] = process
    os.close(begin_reader)
    # All begin when this pipe is closed.
    os.close(begin_writer)
    done.problems += _wait(children)
    for process in range(scene.processes):
        last = None
        if files[process].exists():
            for record in _records(files[process]):
                last = record
                if record[0] == "return":
                    done.events += record[1]
        if last is not None and last[0] == "call":
            done.problems.append(f"process {process} did not come back from {last[1]} {last[2]!r}")
    if not done.problems:
        recorder = Recorder(-1, files[-1])
        done.problems += scene.finish(recorder)
        recorder.close()
        for record in _records(files[-1]):
            if record[0] == "return":
                done.events += record[1]
    done.events = numbered(done.events)
    for some in parts(done.events, scene.part).values():
        verdict = explain(some, scene.start(), scene.step)
        done.states += verdict.states
        if verdict.order is None:
            done.problems.append("no order of the operations explains all results")
            done.unexplained = numbered(some)
            done.furthest, done.stuck = verdict.furthest, verdict.stuck
            break
    return done


def _be_process(scene: Scene, process: int, seed: int, record: Path, begin: int) -> None:
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        recorder = Recorder(process, record)
        rng = random.Random(seed)
        with jitter(random.Random(seed + 1)):
            os.read(begin, 1)
            scene.act(process, rng, recorder)
        status = 0
    except BaseException:  # noqa: BLE001 (the parent tells of it)
        traceback.print_exc()
    finally:
        os._exit(status)


def _wait(children: dict[int, int]) -> list[str]:
    """Waits for processes; gives what went wrong with them."""
    problems = []
    end = time.monotonic() + PATIENCE
    while children:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child in children:
            process = children.pop(child)
            if status:
                problems.append(f"process {process} ended with {os.waitstatus_to_exitcode(status)}")
        elif child == 0:
            if time.monotonic() > end:
                for pid, process in children.items():
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    problems.append(f"process {process} hangs")
                return problems
            time.sleep(0.002)
    return problems


@contextmanager
def jitter(rng: random.Random) -> Iterator[None]:
    """While it lasts, calls of the host and queries of databases wait now and then, so that others get in between."""
    kept: list[tuple[Any, str, Any]] = []

    def slow(owner: Any, name: str) -> None:
        call = getattr(owner, name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            chance = rng.random()
            if chance < 0.04:
                time.sleep(rng.random() * 0.004)
            elif chance < 0.2:
                os.sched_yield()
            return call(*arguments, **options)

        kept.append((owner, name, call))
        setattr(owner, name, wrapped)

    for name, call in list(vars(system).items()):
        if inspect.isfunction(call) and call.__module__ == system.__name__:
            slow(system, name)
    slow(LayerDirectory, "query")
    for name in ("take", "close"):
        slow(system.Lock, name)
    try:
        yield
    finally:
        for owner, name, call in kept:
            setattr(owner, name, call)
