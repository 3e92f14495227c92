"""The server of a mount, and those who use the mount, are killed under load."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("views are mounted on Linux only", allow_module_level=True)

import wclayer
from tests.proof import killing
from tests.proof.operations import MOUNTING, Operation
from tests.proof.world import MEMORY, World, make_sources, pool_is_clean
from tests.support import witness
from wclayer.errors import AlreadyExistsError, LayerBusyError, NotReadyError
from wclayer.host.root import write_all
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.scratch import MOUNT
from wclayer.view.fuse import mount
from wclayer.view.fuse.operations import Operations
from wclayer.view.fuse.server import main as serve_mount
from wclayer.view.volume import Volume

pytestmark = pytest.mark.kills
_CLIENTS = 3
_PIECE = 30_000
_GONE = (errno.ENOTCONN, errno.ECONNABORTED)
"""What the calls of a client give when the server of its mount is no more."""


@pytest.fixture(scope="module")
def sources() -> Iterator[Path]:
    witness("fusermount3")
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        make_sources(Path(folder))
        yield Path(folder)


@pytest.fixture
def world(sources: Path) -> Iterator[World]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        world = World(sources, Path(folder) / "place")
        with killing.orphans_come_here():
            try:
                yield world
            finally:
                killing.end_all()
                if world.place.exists():
                    world.remove()


# A client: a random sequence of calls, each of which is told in a log before it is made and when it has returned.


class _Client:
    """A process that works in a folder of the mount, until a call fails."""

    def __init__(self, number: int, place: Path, log: Path, seed: str) -> None:
        self.name = f"client{number}"
        self.log = log
        self._chance = random.Random(f"{seed} {number}")
        # Not by the client, which would do it below the mount if that is taken away in that moment.
        (place / self.name).mkdir()
        self._folder = os.open(place / self.name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.process = killing.Process(self._work)
        finally:
            os.close(self._folder)

    def _work(self) -> None:
        told = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.fchdir(self._folder)
        os.close(self._folder)
        step = ""
        try:
            for number in range(1_000_000):
                step = self._step(number)
                os.write(told, f"begin {step}\n".encode())
                self._do(step)
                os.write(told, f"done {step}\n".encode())
        except OSError as error:
            assert error.errno in _GONE, (step, error)

    def _step(self, number: int) -> str:
        kind = self._chance.choice(("write", "write", "sync", "replace", "rename", "unlink", "read"))
        one, other = (f"f{self._chance.randrange(5)}" for _ in range(2))
        return f"{kind} {one} {other} {number} {self._chance.randrange(5)}"

    def _do(self, step: str) -> None:
        kind, one, other, number, count = step.split()
        data = _contents(int(number), int(count))
        if kind in ("write", "sync", "replace"):
            fd = os.open("new" if kind == "replace" else one, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            try:
                for start in range(0, len(data), _PIECE):
                    assert os.write(fd, data[start : start + _PIECE]) == len(data[start : start + _PIECE])
                if kind != "write":
                    os.fsync(fd)
            finally:
                os.close(fd)
            if kind == "replace":
                os.rename("new", one)
        elif one in os.listdir("."):
            if kind == "rename":
                os.rename(one, other)
            elif kind == "unlink":
                os.unlink(one)
            else:
                with open(one, "rb") as file:
                    file.read()


def _contents(number: int, count: int) -> bytes:
    return b"%08d" % number * (_PIECE // 8 * count + number % 100)


class _Expected:
    """What a client's folder holds by its log: of the last call, if it did not return, what was there before it, or
    what it makes."""

    def __init__(self, log: Path) -> None:
        self.files: dict[str, bytes] = {}
        self.unfinished: list[str] = []
        lines = log.read_text().splitlines() if log.exists() else []
        self.done = 0
        self.is_begun = bool(lines)
        for line in lines:
            state, _, step = line.partition(" ")
            if state == "done":
                self.done += 1
                self._apply(step)
        if lines and lines[-1].startswith("begin "):
            self.unfinished = lines[-1].split()[1:]

    def _apply(self, step: str) -> None:
        kind, one, other, number, count = step.split()
        if kind in ("write", "sync", "replace"):
            self.files[one] = _contents(int(number), int(count))
        elif kind == "rename" and one in self.files:
            self.files[other] = self.files.pop(one)
        elif kind == "unlink":
            self.files.pop(one, None)

    def check(self, found: dict[str, bytes]) -> None:
        """Checks that a folder's files are what they must be."""
        wanted = dict(self.files)
        if self.unfinished:
            kind, one, other, number, count = self.unfinished
            data = _contents(int(number), int(count))
            if kind in ("write", "sync"):
                _check_partly(found, wanted, one, data)
            elif kind == "replace":
                _check_partly(found, wanted, "new", data)
                if found.get(one) == data:
                    wanted[one] = data
                    assert "new" not in found
            elif kind == "rename" and one in wanted and one not in found:
                wanted[other] = wanted.pop(one)
            elif kind == "unlink" and one not in found:
                wanted.pop(one, None)
        assert found.keys() == wanted.keys()
        different = [name for name in wanted if wanted[name] != found[name]]
        assert not different, (self.unfinished, different)


def _check_partly(found: dict[str, bytes], wanted: dict[str, bytes], name: str, data: bytes) -> None:
    """A file that was being written has its old contents, or the first pieces of the new ones."""
    if found.get(name) == wanted.get(name):
        return
    assert data.startswith(found[name])
    # The kernel divides a write at its pages.
    assert len(found[name]) % _PIECE == 0 or len(found[name]) % mmap.PAGESIZE == 0 or found[name] == data
    wanted[name] = found[name]


# The server: a process of this one, without an interpreter's start.


class _Server:
    def __init__(self, world: World) -> None:
        self.place = world.place / "m"
        with contextlib.suppress(FileExistsError):
            # It may be a mount whose server has died, which does not answer.
            os.mkdir(self.place)
        ready, told = os.pipe()
        self._asked, self._answer = os.pipe()

        def serve() -> None:
            kept: list[Operations] = []

            def keep(volume: Volume, place: str) -> Operations:
                kept.append(Operations(volume, place))
                return kept[0]

            mount.Operations = keep  # type: ignore[attr-defined, assignment]

            def tell(*_: object) -> None:
                os.write(self._answer, bytes([len(kept[0]._handles) + len(kept[0]._listings)]))

            signal.signal(signal.SIGUSR1, tell)
            mount.serve(self.place, scratch=world.scratch, ready=lambda: write_all(told, b"."))

        self.process = killing.Process(serve)
        os.close(told)
        assert os.read(ready, 1) == b".", "it could not mount"
        os.close(ready)

    def contents(self) -> list[str]:
        """The contents of files that it has open; directories, of which it keeps some, are not among them."""
        opened = []
        for name in os.listdir(f"/proc/{self.process.id}/fd"):
            place = f"/proc/{self.process.id}/fd/{name}"
            with contextlib.suppress(FileNotFoundError):
                # It may be closed just now.
                if "/Data/" in os.readlink(place) and not os.path.isdir(place):
                    opened.append(name)
        return opened

    def handles(self) -> int:
        """How many files and directories it thinks that others have open."""
        os.kill(self.process.id, signal.SIGUSR1)
        return os.read(self._asked, 1)[0]

    def close(self) -> None:
        os.close(self._asked)
        os.close(self._answer)


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + killing.PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


def _mounts(world: World) -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        return [line.split()[4] for line in lines if str(world.place) in line]


def _check_scratch(world: World, logs: list[Path]) -> int:
    """Checks the scratch after its server has died, and what all clients were told; gives the number of calls."""
    assert [str(problem) for problem in wclayer.check_layer(world.scratch)] == []
    done = 0
    with wclayer.LayerView(scratch=world.scratch) as view:
        assert view.read_bytes("C:\\app\\data") == b"x" * 300_000
        for log in logs:
            expected = _Expected(log)
            folder = f"C:\\{log.stem}"
            if not expected.is_begun and not view.exists(folder):
                continue
            names = view.listdir(folder)
            expected.check({name: view.read_bytes(f"{folder}\\{name}") for name in names})
            done += expected.done
    assert [str(problem) for problem in wclayer.check_layer(world.scratch)] == []
    pool_is_clean(world.scratch)
    return done


def _begin(world: World) -> None:
    world.place.mkdir()
    MOUNTING["mount"].prepare(world)


def _clients(world: World, server: _Server, seed: str) -> list[_Client]:
    return [_Client(n, server.place, world.place / f"client{n}.log", seed) for n in range(_CLIENTS)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_that_ends_under_load_loses_nothing(number: int, world: World, runs: range) -> None:
    found: Counter[str] = Counter()
    for run in runs if number == signal.SIGKILL else runs[: max(1, len(runs) // 5)]:
        seed = f"{killing.SEED} mount {run}"
        _begin(world)
        server = _Server(world)
        try:
            clients = _clients(world, server, seed)
            time.sleep(random.Random(seed).uniform(0, 0.2))
            # Nothing has failed until now.
            assert not any(client.process.has_ended(0) for client in clients)
            os.kill(server.process.id, number)
            ended = server.process.wait()
            assert ended.status == (-9 if number == signal.SIGKILL else 0), ended.said
            for client in clients:
                # It gets an error, and does not hang.
                end = client.process.wait()
                assert end.status == 0, end.said
            if number == signal.SIGKILL:
                assert mount.is_stale(server.place)
                with pytest.raises(NotReadyError, match="died"):
                    wclayer.get_layer_mount_path(world.scratch)
                if run % 2:
                    mount.unmount(server.place)
            else:
                assert not os.path.ismount(server.place)
                with open_layer(world.scratch) as layer:
                    assert layer.record(MOUNT) is None
            found["calls"] += _check_scratch(world, [client.log for client in clients])
            found["runs"] += 1
            server.close()
            # It is mounted again, at the same place, and shows the same.
            server = _Server(world)
            for client in clients:
                folder = server.place / client.name
                if folder.exists():
                    _Expected(client.log).check({name: (folder / name).read_bytes() for name in os.listdir(folder)})
            mount.unmount(server.place)
            assert server.process.wait().status == 0
            server.close()
            assert _mounts(world) == []
        except BaseException as error:
            error.add_note(f"again: WCLAYER_KILL_SEED={killing.SEED} WCLAYER_KILL_RUN={run}")
            raise
        world.remove()
    print(f"server, signal {number}: {dict(found)}")


@pytest.mark.parametrize("with_files_open", [False, True])
def test_clients_that_are_killed_leave_nothing_open(with_files_open: bool, world: World, runs: range) -> None:
    calls = 0
    for run in runs[: max(1, len(runs) // 4)]:
        seed = f"{killing.SEED} clients {run}"
        chance = random.Random(seed)
        _begin(world)
        server = _Server(world)
        try:
            clients: list[_Client | _Holder] = [*_clients(world, server, seed)]
            if with_files_open:
                clients += [_Holder(world, server)]
            _until(lambda: (server.place / clients[-1].name).exists())  # noqa: B023 (called here)
            time.sleep(chance.uniform(0, 0.1))
            if with_files_open:
                _until(lambda: server.handles() >= 30)  # noqa: B023
                assert len(server.contents()) >= 20
            with pytest.raises(LayerBusyError):
                # They work in its folders.
                mount.unmount(server.place)
            chance.shuffle(clients)
            for client in clients:
                client.process.kill()
                assert client.process.wait().was_killed
                # The server goes on.
                (server.place / f"after {client.name}").write_bytes(b"x")
            _until(lambda: server.handles() == 0)  # noqa: B023
            _until(lambda: server.contents() == [])  # noqa: B023
            assert mount.mounted_layer(server.place) == world.scratch
            mount.unmount(server.place)
            assert server.process.wait().status == 0
            server.close()
            calls += _check_scratch(world, [client.log for client in clients if isinstance(client, _Client)])
            with wclayer.LayerView([world.scratch]) as view:
                assert all(view.read_bytes(f"C:\\after {client.name}") == b"x" for client in clients)
            assert _mounts(world) == []
        except BaseException as error:
            error.add_note(f"again: WCLAYER_KILL_SEED={killing.SEED} WCLAYER_KILL_RUN={run}")
            raise
        world.remove()
    print(f"clients, with files open: {with_files_open}: {calls} calls")


class _Holder:
    """A process that has many files and directories of the mount open, one of them removed, and waits."""

    name = "app"

    def __init__(self, world: World, server: _Server) -> None:
        place = server.place

        def hold() -> None:
            kept = [os.open(place / "app" / f"held{number}", os.O_RDWR | os.O_CREAT) for number in range(20)]
            kept += [os.open(place / "docs", os.O_RDONLY) for _ in range(10)]
            for fd in kept[:20]:
                os.write(fd, b"held")
            os.unlink(place / "app" / "held0")
            signal.pause()

        self.process = killing.Process(hold)


# Those who mount and unmount.


_others: set[int] = set()
"""The children that this process had before a test: servers of other tests."""


def _children() -> set[int]:
    path = f"/proc/self/task/{os.getpid()}/children"
    with os.fdopen(os.open(path, os.O_RDONLY)) as children:
        return {int(number) for number in children.read().split()}


@pytest.fixture(autouse=True)
def _know_others() -> None:
    _others.clear()
    _others.update(_children())


def _settle(world: World) -> bool:
    """Waits until the server that somebody was starting, or stopping, serves or is gone; gives whether it serves."""
    end = time.monotonic() + killing.PATIENCE
    while True:
        assert time.monotonic() < end, "a server neither serves nor ends"
        servers = _children() - _others
        for server in servers:
            os.waitpid(server, os.WNOHANG)
        try:
            place = wclayer.get_layer_mount_path(world.scratch)
            assert (Path(place) / "app" / "data").read_bytes() == b"x" * 300_000
            return True
        except (NotReadyError, LayerBusyError):
            if not servers:
                return False
        time.sleep(0.002)


_run = subprocess.run


def _without_interpreter(command: Sequence[str], **options: Any) -> object:
    """`subprocess.run`, but that a mount's server goes on from this process instead of from an interpreter's start,
    which takes more time than all the rest."""
    if command[1:4] != ["-P", "-m", "wclayer.view.fuse.server"]:
        return _run(command, **options)
    (kept,) = options["pass_fds"]
    child = os.fork()
    if child == 0:
        try:
            assert options["start_new_session"]
            os.setsid()
            # It has no descriptor of this process but the one that it is given.
            os.closerange(3, kept)
            os.closerange(kept + 1, 1024)
            serve_mount(*command[4:])
        finally:
            os._exit(1)
    return os.waitpid(child, 0)


def _does(operation: Operation, world: World) -> Callable[[], object]:
    def step() -> object:
        subprocess.run = _without_interpreter  # type: ignore[assignment]
        return operation(world)

    return step


@pytest.mark.parametrize("name", MOUNTING)
def test_killed_while_it_mounts_or_unmounts(name: str, world: World, runs: range) -> None:
    operation = MOUNTING[name]
    found: Counter[str] = Counter()
    world.place.mkdir()
    operation.prepare(world)
    duration = killing.run(_does(operation, world)).duration
    if _settle(world):
        wclayer.unprepare_layer(world.scratch)
    world.remove()
    for run in runs:
        chance = random.Random(f"{killing.SEED} {name} {run}")
        world.place.mkdir()
        operation.prepare(world)
        try:
            # At its beginning it unmounts, and at its end it has mounted.
            moment = chance.uniform(*chance.choice(((0, 1), (0, 0.1), (0.8, 1.1))))
            ended = killing.run_killed_after(moment * duration, _does(operation, world))
            assert ended.status in (0, -9), ended.said
            serves = _settle(world)
            found["mounted" if serves else "not mounted"] += 1
            if not serves:
                with contextlib.suppress(LayerBusyError):
                    # If it was deactivated already.
                    wclayer.activate_layer(world.scratch)
                wclayer.prepare_layer(world.scratch)
                assert _settle(world)
            else:
                with pytest.raises(AlreadyExistsError):
                    wclayer.prepare_layer(world.scratch)
            wclayer.unprepare_layer(world.scratch)
            assert not _settle(world)
            assert _mounts(world) == []
            assert [str(problem) for problem in wclayer.check_layer(world.scratch)] == []
        except BaseException as error:
            error.add_note(f"again: WCLAYER_KILL_SEED={killing.SEED} WCLAYER_KILL_RUN={run}")
            raise
        world.remove()
    print(f"{name}: {dict(found)}")
