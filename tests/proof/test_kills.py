"""An operation that is killed at any moment leaves the old or the new, whole; the next one goes on from there."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("processes are forked and killed by what Linux has", allow_module_level=True)

import wclayer
from tests.proof import killing
from tests.proof.operations import EVERY, Operation
from tests.proof.world import MEMORY, World, copy_scratch, make_sources, pool_is_clean
from tests.support import tree_listing
from wclayer.engines.portable import activation
from wclayer.engines.relinking import relink_layer
from wclayer.errors import CorruptLayerError, InvalidDataError, LayerBusyError, LayerError
from wclayer.layers.atomic import StagedFile
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.chain_file import read_chain
from wclayer.layers.directory.scratch import DISK, IN_USE, has_unsaved_changes, is_scratch
from wclayer.layers.volume.scratch import ScratchLayerReader
from wclayer.view.volume import Volume

pytestmark = pytest.mark.kills
_LEFT = (".wclayer-", ".layer.db-", "wclayer~update-", IN_USE)
"""What the names start with of what an interrupted operation may leave, until the next one."""
_ENDINGS = (".partial", ".gone")
_OF_SQLITE = ("layer.db-wal", "layer.db-shm")
_CHANGES = (
    "write_bytes", "set_times", "set_attributes", "set_security", "set_eas", "set_reparse", "mkdir", "makedirs",
    "unlink", "rmdir", "rmtree", "rename", "link", "create_link", "create_file", "remove_stream",
)  # fmt: skip
"""Methods of a view of which each happens as a whole."""
_ACTIVATING = ("activate", "deactivate", "activate, deactivate", "expand")
"""Operations on the disk of a scratch."""
_FUNCTIONS = ("activate_layer", "deactivate_layer", "export_layer_to_tar", "import_layer_from_tar")

_SAMPLE = 4
"""After every how many kills there is a second try: most leave what there was, and then it is as a first one."""
_INSIDE = ("process", "tag image", "untag image", "make base layer", "reg set of a layer", "copy tree out")
"""Operations that may leave something in a folder of their own, which the next one there removes."""
_TREES: dict[str, Callable[[World], object]] = {
    "copy tree out": lambda world: shutil.rmtree(world.out, ignore_errors=True),
    "copy tree in": lambda world: _remove(world, "C:\\tree"),
    "copy between": lambda world: _remove(world, "C:\\copy"),
}
"""Copies of trees, with what takes away what was copied."""


def _remove(world: World, path: str) -> None:
    with wclayer.LayerView(scratch=world.scratch) as view:
        if view.exists(path):
            view.rmtree(path)


@pytest.fixture(scope="module")
def sources() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        make_sources(Path(folder))
        hashed = tree_listing(Path(folder))
        yield Path(folder)
        assert tree_listing(Path(folder)) == hashed


@pytest.fixture
def world(sources: Path) -> Iterator[World]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield World(sources, Path(folder) / "place")


# What is there.


def _state(name: str, world: World) -> object:
    """All that an operation may change, as a value."""
    result = EVERY[name].result(world)
    if name in _ACTIVATING:
        return result, _on_disk(world.scratch)
    return result


def _on_disk(scratch: Path) -> object:
    """What the disk of a scratch says of its changes."""
    # A disk that grows has a backup of its partition table that is not there, or an old one, for a moment; and changes
    # that are in its log only are made by whoever opens it next.
    kept = ("backup table", "copies of the table", "its last writer was stopped")
    assert [
        problem for problem in wclayer.check_disk(scratch / DISK) if not any(text in problem.text for text in kept)
    ] == []
    with open_layer(scratch) as layer:
        parents = layer.parents()
    with ScratchLayerReader(scratch / DISK, parents) as reader:
        return sorted(
            (item.entry.name, [(stream.name, stream.read_all()) for stream in item.streams()])
            for item in reader
            if not item.entry.name.startswith("Hives")
        )


def _names(place: Path) -> set[str]:
    return {path.relative_to(place).as_posix() for path in place.rglob("*")}


def _is_left(name: str) -> bool:
    return name.startswith(_LEFT) or name.endswith(_ENDINGS)


def _left_in(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if _is_left(path.name))


def _of_sources(sources: Path) -> list[tuple[str, int, int, int]]:
    """Every file of the sources, as far as a change would show without reading it."""
    found = []
    for path in sources.rglob("*"):
        status = path.lstat()
        found.append((str(path), status.st_mode, status.st_size, status.st_mtime_ns))
    return sorted(found)


class _Steps:
    """What there was after each call that a view, or the library, makes as a whole."""

    def __init__(self, name: str, world: World, patch: pytest.MonkeyPatch) -> None:
        self.states: list[Any] = []
        self._depth = 0
        self._name, self._world = name, world
        for method in _CHANGES:
            patch.setattr(wclayer.LayerView, method, self._followed(getattr(wclayer.LayerView, method)))
        patch.setattr(Volume, "put_stream", self._followed(Volume.put_stream))
        patch.setattr(wclayer.LayerView, "replacing", self._followed_inside(wclayer.LayerView.replacing))
        for function in _FUNCTIONS:
            patch.setattr(wclayer, function, self._followed(getattr(wclayer, function)))
        if name == "process":
            # It makes several files, each of them whole.
            patch.setattr(StagedFile, "commit", self._followed(StagedFile.commit))

    @contextlib.contextmanager
    def _step(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if not self._depth:
            self.states.append(_state(self._name, self._world))

    def _followed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def follow(*arguments: Any, **options: Any) -> Any:
            with self._step():
                return call(*arguments, **options)

        return follow

    def _followed_inside(self, context: Callable[..., Any]) -> Callable[..., Any]:
        @contextlib.contextmanager
        def follow(*arguments: Any, **options: Any) -> Iterator[Any]:
            with self._step(), context(*arguments, **options) as inside:
                yield inside

        return follow


# What is done to it.


@dataclass
class _Known:
    """What is known of an operation that nobody kills."""

    old: Any
    new: Any
    between: list[Any]
    names: set[str]
    """Every name that stands there before, or after it."""
    ended: killing.Ended
    saved: object
    """What the disk of the scratch holds when its changes are saved."""


def _begin(world: World, operation: Operation) -> None:
    world.place.mkdir()
    operation.prepare(world)


def _learn(name: str, world: World) -> _Known:
    operation = EVERY[name]
    _begin(world, operation)
    old, names = _state(name, world), _names(world.place)
    with pytest.MonkeyPatch.context() as patch:
        steps = _Steps(name, world, patch)
        operation(world)
    new = _state(name, world)
    world.remove()
    _begin(world, operation)
    ended = killing.run(lambda: operation(world), counted=True)
    assert ended.status == 0, ended.said
    assert _state(name, world) == new
    names |= _names(world.place)
    saved = None
    if name in _ACTIVATING:
        with contextlib.suppress(LayerBusyError):
            wclayer.activate_layer(world.scratch)
        wclayer.deactivate_layer(world.scratch)
        saved = _on_disk(world.scratch)
    world.remove()
    return _Known(old, new, [state for state in steps.states if state not in (old, new)], names, ended, saved)


def _kill(operation: Operation, world: World, known: _Known, chance: random.Random) -> tuple[str, killing.Ended]:
    """Does an operation, and kills it: at any time, before any call, before or after one that changes names."""
    kind = chance.randrange(4)
    step = lambda: operation(world)  # noqa: E731
    if kind < 2:
        seconds = chance.uniform(0, 1.05) * known.ended.duration
        return f"after {seconds:.6f} s", killing.run_killed_after(seconds, step)
    call = chance.randrange(len(known.ended.calls) + 1)
    if kind == 3 and (naming := known.ended.naming_calls()):
        call = chance.choice(naming) + chance.randrange(2)
    name = (*known.ended.calls, "its end")[min(call, len(known.ended.calls))]
    return f"before call {call}, {name}", killing.run_killed_before(call, step)


def _what(name: str, state: Any, known: _Known) -> str:
    """Which of the known states there is."""
    if state == known.new:
        return "new"
    if state == known.old:
        return "old" if known.old is not None else "absent"
    if name == "copy tree out":
        # File by file, each of which is whole.
        assert {file for file in state if not _is_left(file[0])} <= set(known.new), state
    elif name in _ACTIVATING:
        # The disk is replaced, and then that is recorded; each of the two is the old or the new one.
        for part, *others in zip(_flat(state), *map(_flat, (known.old, known.new, *known.between)), strict=True):
            assert part in others, state
    else:
        assert state in known.between, state
    return "between"


def _flat(state: Any) -> tuple[object, ...]:
    (use, on_disk) = state
    return (*use, on_disk)


def _try_again(name: str, operation: Operation, world: World, known: _Known, what: str) -> None:
    """The second try succeeds; one that finds the result there already may say so."""
    if name in _TREES and what != "old":
        # A second copy would go into the first one.
        _TREES[name](world)
    try:
        operation(world)
    except LayerError as error:
        assert what in ("new", "between"), error
        assert not isinstance(error, (CorruptLayerError, InvalidDataError)), error
        assert not isinstance(error, LayerBusyError) or "active already" in error.detail, error
        assert _what(name, _state(name, world), known) == what
    else:
        assert _state(name, world) == known.new


def _start_anew(world: World) -> object:
    """After a start of the machine, nobody has a scratch active, and its disk is told from one that somebody else has
    changed; gives what is saved on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activation, "_this_boot", lambda: "another start")
        wclayer.activate_layer(world.scratch)
        wclayer.deactivate_layer(world.scratch)
    assert not has_unsaved_changes(world.scratch)
    return _on_disk(world.scratch)


@pytest.mark.parametrize("name", ["deactivate", "expand"])
def test_a_disk_that_was_just_changed_is_not_taken_for_one_of_somebody_else(name: str, world: World) -> None:
    """Between the change of a scratch's disk and the record of it are few calls, which random moments seldom meet."""
    killing.check_counting()
    operation = EVERY[name]

    def begin() -> None:
        # Its disk was written once, and it was changed since.
        world.place.mkdir()
        copy_scratch(world)
        wclayer.activate_layer(world.scratch)
        wclayer.deactivate_layer(world.scratch)
        with wclayer.LayerView(scratch=world.scratch) as view:
            view.write_bytes("C:\\app\\more", b"changed since")
        if name == "deactivate":
            wclayer.activate_layer(world.scratch)

    begin()
    calls = killing.run(lambda: operation(world), counted=True).calls
    saved = _start_anew(world)
    world.remove()
    # A new disk gets its name by the last rename; one that grows is changed in its place.
    last = max((number for number, call in enumerate(calls) if call.startswith("rename")), default=len(calls) // 2)
    for call in (last + 1, last + 3, (last + len(calls)) // 2):
        begin()
        assert killing.run_killed_before(call, lambda: operation(world)).was_killed
        assert _start_anew(world) == saved
        _clean(world)
        world.remove()


def test_a_new_disk_that_is_not_whole_is_removed_when_the_scratch_is_opened(world: World) -> None:
    killing.check_counting()
    operation = EVERY["activate, deactivate"]
    _begin(world, operation)
    calls = killing.run(lambda: operation(world), counted=True).calls
    world.remove()
    found = 0
    # A staged file is made, and locked.
    for lock in [number for number, call in enumerate(calls) if call == "flock"]:
        for call in range(lock, lock + 3):
            _begin(world, operation)
            killing.run_killed_before(call, lambda: operation(world))
            found += any(name.endswith(".partial") for name in os.listdir(world.scratch))
            _clean(world)
            world.remove()
    assert found


def _clean(world: World) -> None:
    """The next calls in the folders remove what is left, and nothing stays."""
    wclayer.create_layer(world.place / "next", world.base)
    wclayer.destroy_layer(world.place / "next")
    with wclayer.LayoutTarget(world.place / "layout") as target:
        target.has(wclayer.Descriptor("", f"sha256:{'0' * 64}", 0))
    for layer in (world.scratch, world.layer):
        if not layer.is_dir() or not is_scratch(layer):
            if read_chain(layer):
                relink_layer(layer)
            continue
        with wclayer.LayerView(scratch=layer):
            pass
        pool_is_clean(layer)
    wclayer.ImageStore(world.place / "store").prune(keep_hours=0)
    assert _left_in(world.place) == []


@pytest.mark.parametrize("name", EVERY)
def test_a_killed_operation_leaves_the_old_or_the_new(name: str, sources: Path, world: World, runs: range) -> None:
    killing.check_counting()
    operation = EVERY[name]
    known = _learn(name, world)
    listed = _of_sources(sources)
    found: Counter[str] = Counter()
    killed = 0
    for number in runs:
        chance = random.Random(f"{killing.SEED} {name} {number}")
        _begin(world, operation)
        moment = "before it began"
        try:
            moment, ended = _kill(operation, world, known, chance)
            assert ended.status in (0, -9), ended.said
            others = {name for name in _names(world.place) - known.names if not _may_be_left(name)}
            assert others == set()
            what = _what(name, _state(name, world), known)
            assert ended.was_killed or what == "new"
            found[what] += 1
            killed += ended.was_killed
            if name in _ACTIVATING and number % _SAMPLE == 1:
                assert _start_anew(world) == known.saved
            elif number % _SAMPLE == 0 or name in _INSIDE:
                _try_again(name, operation, world, known, what)
            _clean(world)
            assert number % 5 or _of_sources(sources) == listed
        except BaseException as error:
            error.add_note(
                f"{name}, killed {moment}; again: WCLAYER_KILL_SEED={killing.SEED} WCLAYER_KILL_RUN={number}"
            )
            raise
        world.remove()
    # On a machine that is busy, some end before they are killed, but not all.
    assert killed or len(runs) == 1
    print(f"{name}: {sum(found.values())} kills: {dict(found)}")


@contextlib.contextmanager
def _told(number: int) -> Iterator[None]:
    """Says of a failure how it is seen again."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"again: WCLAYER_KILL_SEED={killing.SEED} WCLAYER_KILL_RUN={number}")
        raise


_MOST_WORKERS = 4


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("import many", "the process that makes files has died"),
        ("convert many", "the process that copies contents has died"),
    ],
)
def test_a_worker_that_is_killed_fails_the_operation(name: str, said: str, world: World, runs: range) -> None:
    killing.check_counting()
    operation, found = EVERY[name], Counter[str]()
    known = _learn(name, world)
    _begin(world, operation)
    calls = len(killing.run_with_child_killed(lambda: operation(world)).calls)
    assert calls > 100
    world.remove()
    for number in runs:
        _begin(world, operation)
        with _told(number):
            # Now and then the last calls, with which a worker answers.
            chance = random.Random(f"{killing.SEED} worker {number}")
            call = chance.choice((chance.randrange(calls), calls - 1 - chance.randrange(8)))
            ended = killing.run_with_child_killed(lambda: operation(world), call)
            found["refused" if ended.status else "new"] += 1
            if ended.status:
                assert ended.status == killing.REFUSED, ended.said
                assert said in ended.said
                # Its parent lived, and has removed everything.
                assert os.listdir(world.place) == []
                if number % 5 == 0:
                    operation(world)
            else:
                # It had done its work, or had not said yet that it begins: all is done without it then.
                assert call >= calls - 8 or call < _MOST_WORKERS
            assert bool(ended.status and number % 5) or _state(name, world) == known.new
        world.remove()
    print(f"workers: {sum(found.values())} kills: {dict(found)}")


@pytest.mark.parametrize("name", ["import many", "convert many"])
def test_workers_whose_parent_is_killed_end_and_what_they_made_is_removed(name: str, world: World, runs: range) -> None:
    operation, found = EVERY[name], Counter[str]()
    known = _learn(name, world)
    for number in runs:
        _begin(world, operation)
        with _told(number):
            chance = random.Random(f"{killing.SEED} parent {number}")
            ended = killing.run_killed_alone(chance.uniform(0, 1.05) * known.ended.duration, lambda: operation(world))
            assert ended.status in (0, -9), ended.said
            found[_what(name, _state(name, world), known)] += 1
            _clean(world)
        world.remove()
    print(f"parents of workers: {sum(found.values())} kills: {dict(found)}")


def _command_duration(operation: Operation, world: World) -> float:
    """The seconds that the command of an operation takes when nothing ends it."""
    _begin(world, operation)
    start = time.monotonic()
    assert killing.run_command_killed(killing.PATIENCE, operation.arguments(world)) == 0
    duration = time.monotonic() - start
    world.remove()
    return duration


@pytest.mark.parametrize("name", ["import many", "export gzip", "remove", "copy tree in", "reg set of a layer"])
def test_a_command_that_is_killed_leaves_the_old_or_the_new(name: str, world: World, runs: range) -> None:
    operation, found = EVERY[name], Counter[str]()
    known = _learn(name, world)
    duration = _command_duration(operation, world)
    for number in runs[: max(1, len(runs) // 10)]:
        _begin(world, operation)
        with _told(number):
            # Not in the interpreter's own beginning.
            seconds = random.Random(f"{killing.SEED} command {name} {number}").uniform(0.4, 1.05) * duration
            assert killing.run_command_killed(seconds, operation.arguments(world)) in (0, -9)
            what = _what(name, _state(name, world), known)
            found[what] += 1
            _try_again(name, operation, world, known, what)
            _clean(world)
        world.remove()
    print(f"command, {name}: {sum(found.values())} kills: {dict(found)}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "name",
    [
        "import many", "convert many", "export gzip", "import over scratch", "commit scratch", "build image",
        "append image", "rebase image", "squash image", "reg set of a layer",
    ],
)  # fmt: skip
def test_a_command_that_is_asked_to_end_leaves_nothing(
    name: str, number: signal.Signals, world: World, runs: range
) -> None:
    operation, found = EVERY[name], Counter[str]()
    known = _learn(name, world)
    duration = _command_duration(operation, world)
    for run in runs[: max(2, len(runs) // 5)]:
        _begin(world, operation)
        with _told(run):
            seconds = random.Random(f"{killing.SEED} end {name} {run}").uniform(0.4, 1.05) * duration
            status = killing.run_command_killed(seconds, operation.arguments(world), number)
            # The interpreter's own beginning, and its end, are not ours.
            assert status in (0, 128 + number, -number)
            what = _what(name, _state(name, world), known)
            found[what] += 1
            assert status == -number or not _left_in(world.place)
            _try_again(name, operation, world, known, what)
        world.remove()
    print(f"command, {name}: {sum(found.values())} requests to end: {dict(found)}")


def test_an_operation_that_has_ended_leaves_no_thread_and_nothing_open(sources: Path, world: World) -> None:
    def step() -> None:
        # What is left must not hang on the collector, which comes when it likes.
        gc.disable()
        for name, operation in EVERY.items():
            _begin(world, operation)
            # What is loaded once, and kept.
            operation(world)
            world.remove()
            before = os.listdir("/proc/self/fd")
            _begin(world, operation)
            operation(world)
            assert os.listdir("/proc/self/fd") == before, name
            # A thread that was joined takes a moment to be gone.
            end = time.monotonic() + killing.PATIENCE
            while len(os.listdir("/proc/self/task")) > 1:
                assert time.monotonic() < end, f"{name}: {os.listdir('/proc/self/task')}"
            with pytest.raises(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
            world.remove()

    ended = killing.run(step)
    assert ended.status == 0, ended.said


def _may_be_left(name: str) -> bool:
    """Whether an interrupted operation may leave a file or folder of that name, or one in it."""
    parts = name.split("/")
    if parts[0] == "store":
        # What has no name in the store stays there, until `prune` removes it.
        return True
    return any(_is_left(part) for part in parts) or parts[-1] in _OF_SQLITE or "Data" in parts
