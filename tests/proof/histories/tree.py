"""One scratch that several processes change: by the library, by commands, through a mount."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import wclayer
from tests.proof.histories.checker import Event
from tests.proof.histories.stress import Recorder
from tests.support import info, put_directories, put_file
from wclayer.layers.directory.scratch import IN_USE
from wclayer.model import Entry
from wclayer.view.fuse import mount
from wclayer.view.transfer import copy_into, copy_out
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.inherit import volume_root
from wclayer.win32.security import Ace, AceType, Acl
from wclayer.win32.sid import Sid

_HIDDEN = 2
_ANY = "any"
"""The time of a file that was written to through a handle: when it is recorded is not said."""
_NAMES = ("a", "b", "p", "d", "e", "d/a", "d/l", "e/a")
_STREAM = "s"
_TIMES = tuple(from_unix_ns((1_000_000_000 + number * 86_400) * 10**9) for number in range(3))


def _descriptor(number: int) -> bytes:
    ace = Ace(int(AceType.ACCESS_ALLOWED), 0, 0x1F01FF, Sid(5, (80, number)))
    return volume_root().with_dacl(Acl.of((ace,))).encode()


_DESCRIPTORS = tuple(_descriptor(number) for number in range(3))


class Node(NamedTuple):
    """A file or directory of the model."""

    data: bytes | None
    """The contents of a file; None for a directory."""
    hidden: bool = False
    time: int | str | None = None
    """When it was last written, if `set_times` said so; else None, or `_ANY` where nobody can tell."""
    security: int | None = None
    """Which of `_DESCRIPTORS` it was given."""
    streams: tuple[tuple[str, bytes], ...] = ()


class State(NamedTuple):
    """All names and files, and the handles of processes."""

    names: tuple[tuple[str, int], ...]
    nodes: tuple[tuple[int, Node], ...]
    handles: tuple[tuple[str, int, bool], ...] = ()
    """Name of a handle, its file, and whether it was written to."""
    lost: tuple[tuple[str, int], ...] = ()
    """In a mount: the names that files lost, for files that still have another one."""


class _Refused(Exception):  # noqa: N818 (it is what a step of the model gives, and no failure)
    """The model refuses a step with that class of error."""


class Model:
    """A state that is changed."""

    def __init__(self, state: State) -> None:
        self.names = dict(state.names)
        self.nodes = dict(state.nodes)
        self.handles = {name: (node, is_dirty) for name, node, is_dirty in state.handles}

    def state(self) -> State:
        used = {*self.names.values(), *(node for node, _ in self.handles.values())}
        return State(
            tuple(sorted(self.names.items())),
            tuple(sorted((number, node) for number, node in self.nodes.items() if number in used)),
            tuple(sorted((name, *what) for name, what in self.handles.items())),
        )

    def find(self, path: str) -> int | None:
        """The number of what has a path; None if its directory has no such name."""
        *above, _ = path.split("/")
        for count in range(1, len(above) + 1):
            number = self.names.get("/".join(above[:count]))
            if number is None:
                raise _Refused("PathNotFoundError")
            if self.nodes[number].data is not None:
                raise _Refused("EntryNotDirectoryError")
        return self.names.get(path)

    def existing(self, path: str) -> int:
        number = self.find(path)
        if number is None:
            raise _Refused("PathNotFoundError")
        return number

    def file(self, path: str) -> int:
        number = self.existing(path)
        if self.nodes[number].data is None:
            raise _Refused("EntryIsDirectoryError")
        return number

    def set(self, number: int, **what: object) -> None:
        self.nodes[number] = self.nodes[number]._replace(**what)  # type: ignore[arg-type]

    def touch(self, path: str) -> None:
        """A name in a directory has changed."""
        parent = self.names.get(path.rpartition("/")[0])
        if parent is not None:
            self.set(parent, time=None)

    def create(self, path: str, number: int, node: Node) -> None:
        self.names[path] = number
        self.nodes[number] = node
        self.touch(path)

    def is_empty(self, path: str) -> bool:
        return not any(name.startswith(path + "/") for name in self.names)

    def is_dirty(self, number: int) -> bool:
        return any(node == number and is_dirty for node, is_dirty in self.handles.values())

    def is_removed(self, handle: Hashable) -> bool:
        """Whether the file of a handle has no name any more."""
        assert isinstance(handle, str)
        return self.handles[handle][0] not in self.names.values()

    # The steps. Each changes the model and gives its result, or raises `_Refused`.

    def write(self, number: int, path: str, data: bytes) -> Hashable:
        found = self.find(path)
        if found is None:
            self.create(path, number, Node(data))
        else:
            self.set(self.file(path), data=data, time=_ANY if self.is_dirty(found) else None)
        return "ok"

    def read(self, number: int, path: str) -> Hashable:
        return self.nodes[self.file(path)].data

    def truncate(self, number: int, path: str, size: int) -> Hashable:
        found = self.file(path)
        data = self.nodes[found].data
        assert data is not None
        self.set(found, data=data[:size].ljust(size, b"\0"), time=_ANY)
        return "ok"

    def listing(self, number: int, path: str) -> Hashable:
        if path and self.nodes[self.existing(path)].data is not None:
            raise _Refused("EntryNotDirectoryError")
        before = path + "/" if path else ""
        return tuple(
            sorted(n.removeprefix(before) for n in self.names if n.startswith(before) and "/" not in n[len(before) :])
        )

    def walk(self, number: int) -> Hashable:
        return tuple(sorted((name, self.nodes[node].data) for name, node in self.names.items()))

    def kinds(self, number: int) -> Hashable:
        return tuple(sorted((name, self.nodes[node].data is None) for name, node in self.names.items()))

    def stat(self, number: int, path: str) -> Hashable:
        found = self.existing(path)
        node = self.nodes[found]
        links = sum(other == found for other in self.names.values())
        size = -1 if node.data is None else len(node.data)
        return size, node.hidden, links, node.time

    def mkdir(self, number: int, path: str) -> Hashable:
        if self.find(path) is not None:
            raise _Refused("AlreadyExistsError")
        self.create(path, number, Node(None))
        return "ok"

    def unlink(self, number: int, path: str) -> Hashable:
        self.file(path)
        del self.names[path]
        self.touch(path)
        return "ok"

    def rmdir(self, number: int, path: str) -> Hashable:
        if self.nodes[self.existing(path)].data is not None:
            raise _Refused("EntryNotDirectoryError")
        if not self.is_empty(path):
            raise _Refused("DirectoryNotEmptyError")
        del self.names[path]
        self.touch(path)
        return "ok"

    def rename(self, number: int, source: str, target: str) -> Hashable:
        moved = self.existing(source)
        there = self.find(target)
        is_directory = self.nodes[moved].data is None
        if is_directory and target.startswith(source + "/"):
            raise _Refused("InvalidParameterError")
        if there is not None and source != target:
            if self.nodes[there].data is None and not is_directory:
                raise _Refused("EntryIsDirectoryError")
            if self.nodes[there].data is not None and is_directory:
                raise _Refused("EntryNotDirectoryError")
            if there == moved:
                return "ok"
            if is_directory and not self.is_empty(target):
                raise _Refused("DirectoryNotEmptyError")
            del self.names[target]
        for name in list(self.names):
            if name == source or name.startswith(source + "/"):
                self.names[target + name[len(source) :]] = self.names.pop(name)
        self.touch(source)
        self.touch(target)
        return "ok"

    def link(self, number: int, path: str, target: str) -> Hashable:
        found = self.existing(target)
        if self.find(path) is not None:
            raise _Refused("AlreadyExistsError")
        if self.nodes[found].data is None:
            raise _Refused("EntryIsDirectoryError")
        self.names[path] = found
        self.touch(path)
        return "ok"

    def hide(self, number: int, path: str, is_hidden: bool) -> Hashable:
        self.set(self.existing(path), hidden=is_hidden)
        return "ok"

    def set_time(self, number: int, path: str, time: int) -> Hashable:
        found = self.existing(path)
        self.set(found, time=_ANY if self.is_dirty(found) else time)
        return "ok"

    def secure(self, number: int, path: str, which: int) -> Hashable:
        self.set(self.existing(path), security=which)
        return "ok"

    def security(self, number: int, path: str) -> Hashable:
        return self.nodes[self.existing(path)].security

    def put_stream(self, number: int, path: str, data: bytes) -> Hashable:
        found = self.find(path)
        if found is None:
            found = number
            self.create(path, number, Node(b""))
        self.set(found, streams=((_STREAM, data),))
        return "ok"

    def set_stream(self, number: int, path: str, data: bytes) -> Hashable:
        self.set(self.existing(path), streams=((_STREAM, data),))
        return "ok"

    def get_stream(self, number: int, path: str) -> Hashable:
        streams = dict(self.nodes[self.existing(path)].streams)
        if _STREAM not in streams:
            raise _Refused("PathNotFoundError")
        return streams[_STREAM]

    def remove_stream(self, number: int, path: str) -> Hashable:
        self.get_stream(number, path)
        self.set(self.existing(path), streams=())
        return "ok"

    def open(self, number: int, path: str, handle: str, create: bool) -> Hashable:
        found = self.find(path)
        if found is None and create:
            self.create(path, number, Node(b""))
            self.handles[handle] = (number, True)
            return "ok"
        self.handles[handle] = (self.file(path), False)
        return "ok"

    def append(self, number: int, handle: str, data: bytes) -> Hashable:
        found, _ = self.handles[handle]
        kept = self.nodes[found].data
        assert kept is not None
        return self._written(handle, kept + data)

    def put(self, number: int, handle: str, offset: int, data: bytes) -> Hashable:
        found, _ = self.handles[handle]
        kept = self.nodes[found].data
        assert kept is not None
        return self._written(handle, kept[:offset].ljust(offset, b"\0") + data + kept[offset + len(data) :])

    def _written(self, handle: str, data: bytes) -> Hashable:
        found, _ = self.handles[handle]
        self.handles[handle] = (found, True)
        self.set(found, data=data, time=_ANY)
        return "ok"

    def get(self, number: int, handle: str) -> Hashable:
        return self.nodes[self.handles[handle][0]].data

    def close(self, number: int, handle: str) -> Hashable:
        found, is_dirty = self.handles.pop(handle)
        if is_dirty:
            self.set(found, time=_ANY)
        return "ok"


_NO_STEPS = {"state", "find", "existing", "file", "set", "touch", "create", "is_empty", "is_dirty", "is_removed"}
_STEPS: dict[str, Callable[..., Hashable]] = {
    name: method for name, method in vars(Model).items() if not name.startswith("_") and name not in _NO_STEPS
}
_CONTENTS = {"write", "copy in", "unlink", "rename", "truncate", "append", "put", "close", "open"}
"""Steps that change or remove contents."""


def step(state: Hashable, event: Event) -> Iterator[Hashable]:
    """The model of a scratch: the states after an event with its result."""
    assert isinstance(state, State)
    if event.kind == "check":
        if event.result == ():
            yield state
        return
    if event.kind in ("walk", "kinds") and event.failed == "LayerBusyError":
        # Contents of that moment are gone, because others have changed them since.
        if event.during & _CONTENTS:
            yield state
        return
    if event.kind == "copy in":
        yield from _copied_in(state, event)
        return
    model = Model(state)
    if event.kind == "get" and model.is_removed(event.arguments[0]):
        # Who has a removed file open keeps the contents that it saw last: what others put there since, it cannot see.
        if event.failed is None:
            yield state
        return
    wanted: Hashable
    try:
        wanted = _STEPS[event.kind](model, event.number, *event.arguments)
    except _Refused as refused:
        wanted = f"!{refused}"
        if event.result == wanted:
            yield state
        return
    if event.kind == "set_time" and "copy in" in event.during:
        # A copy sets the time of its file in a step of its own, perhaps after this one.
        model.set(model.existing(str(event.arguments[0])), time=_ANY)
    if _fits(event, wanted):
        yield model.state()


def _fits(event: Event, wanted: Hashable) -> bool:
    if event.kind == "stat" and isinstance(event.result, tuple):
        assert isinstance(wanted, tuple)
        return event.result[:3] == wanted[:3] and (wanted[3] == _ANY or event.result[3] == wanted[3])
    return event.result == wanted


def _copied_in(state: State, event: Event) -> Iterator[Hashable]:
    """A copy of a file `a` looks whether it goes into a directory, writes the contents, then sets the time: in between,
    the file can be removed or replaced."""
    path, data = event.arguments
    assert isinstance(path, str)
    assert isinstance(data, bytes)
    for target in (path, f"{path}/a"):
        model = Model(state)
        try:
            model.write(event.number, target, data)
        except _Refused as refused:
            if event.result == f"!{refused}":
                yield state
            continue
        model.set(model.names[target], time=_ANY)
        if event.result in ("ok", "!PathNotFoundError"):
            yield model.state()


def make_base(place: Path) -> None:
    """The layer below the scratch."""
    with wclayer.new_layer_writer(place) as writer:
        put_directories(writer, "Files", "Files/d", "Files/e")
        for name in ("a", "p", "d/a"):
            put_file(writer, f"Files/{name}", name.encode() * 20)
        writer.put(Entry("Files/d/l", info(), link_target="Files/p"))


def _start() -> State:
    nodes = {1: Node(None), 2: Node(None), 3: Node(b"a" * 20), 4: Node(b"p" * 20), 5: Node(b"d/a" * 20)}
    names = {"d": 1, "e": 2, "a": 3, "p": 4, "d/a": 5, "d/l": 4}
    # What is in the base layer has numbers that no event has.
    return State(
        tuple(sorted((name, -number) for name, number in names.items())),
        tuple(sorted((-number, node) for number, node in nodes.items())),
    )


class ScratchScene:
    """Processes that each have a view of one scratch."""

    name = "scratch"
    processes = 3
    length = 11

    @staticmethod
    def step(state: Hashable, event: Event) -> Iterator[Hashable]:
        """See `step` of the module."""
        return step(state, event)

    def prepare(self, place: Path, rng: random.Random) -> None:
        self.place = place
        self.scratch = place / "scratch"
        self.base = place.parent / "base"
        if not self.base.exists():
            make_base(self.base)
        wclayer.create_scratch_layer(self.scratch, [self.base])
        # What is written in its place may be read while it changes; what is replaced stays whole.
        self.has_handles = rng.random() < 0.5
        self.paths = rng.sample(_NAMES, 5)

    def start(self) -> Hashable:
        return _start()

    def part(self, event: Event) -> Hashable:
        return None

    def act(self, process: int, rng: random.Random, recorder: Recorder) -> None:
        with wclayer.unsynced(), wclayer.LayerView(scratch=self.scratch) as view:
            actor = _Actor(self, view, process, rng, recorder)
            for _ in range(self.length):
                actor.go()
            actor.close_all()

    def finish(self, recorder: Recorder) -> list[str]:
        with wclayer.LayerView(scratch=self.scratch) as view:
            recorder.take("walk", (), _walk, view)
            for path in _NAMES:
                recorder.take("stat", (path,), _stat, view, path)
                recorder.take("security", (path,), _security, view, path)
                recorder.take("get_stream", (path,), view.read_bytes, f"/{path}:{_STREAM}")
        return left(self.scratch) + hidden(self.place)


def hidden(place: Path) -> list[str]:
    """What was left in a folder."""
    return [f"left: {path}" for path in place.rglob("*") if path.name.endswith((".partial", ".gone"))]


def left(scratch: Path) -> list[str]:
    """What is wrong with a scratch that nobody has open."""
    found = [f"check: {problem.path}: {problem.text}" for problem in wclayer.check_layer(scratch)]
    return found + [f"left: {name}" for name in os.listdir(scratch) if name.startswith(IN_USE)]


def _walk(view: wclayer.LayerView) -> Hashable:
    """Every path with its contents; a view of one moment, if nobody changes the layers."""
    found = []
    for node in view.volume.tree.walk(view.volume.find("C:\\")):
        path = node.path.removeprefix("Files/")
        found.append((path, None if node.is_directory else view.read_bytes(path)))
    return tuple(sorted(found))


def _stat(view: wclayer.LayerView, path: str) -> Hashable:
    status = view.stat(path)
    time = status.info.last_write_time
    size = -1 if status.is_directory else status.size
    return size, bool(status.info.attributes & _HIDDEN), status.links, time if time in _TIMES else None


def _security(view: wclayer.LayerView, path: str) -> Hashable:
    found = view.security(path)
    return _DESCRIPTORS.index(found) if found in _DESCRIPTORS else None


_KINDS = (
    "write", "write", "read", "read", "truncate", "listing", "stat", "mkdir", "unlink", "rmdir", "rename", "rename",
    "link", "hide", "set_time", "secure", "security", "put_stream", "get_stream", "remove_stream", "copy in",
    "copy out", "snapshot", "check",
)  # fmt: skip
_MOUNT_KINDS = (
    "read", "listing", "stat", "unlink", "rename", "rename", "link", "truncate", "set_time", "set_stream", "get_stream",
    "open", "use", "use", "use", "use", "mkdir", "rmdir", "kinds", "remove_stream",
)  # fmt: skip


class _Actor:
    """Takes random steps in a view."""

    def __init__(
        self, scene: ScratchScene, view: wclayer.LayerView, process: int, rng: random.Random, recorder: Recorder
    ) -> None:
        self._scene = scene
        self._view = view
        self._process = process
        self._rng = rng
        self._recorder = recorder
        self._count = 0
        self._open: dict[str, tuple[IO[Any], str]] = {}

    def _data(self) -> bytes:
        self._count += 1
        return f"<{self._process}.{self._count}>".encode() * self._rng.choice((1, 1, 3, 200))

    def go(self) -> None:
        rng, view, take, do = self._rng, self._view, self._recorder.take, self._recorder.do
        path, other = rng.choice(self._scene.paths), rng.choice(self._scene.paths)
        stream = f"/{path}:{_STREAM}"
        if self._scene.has_handles and rng.random() < 0.45:
            self._use_handle(path)
            return
        kind = rng.choice(_KINDS)
        if kind == "write":
            data = self._data()
            do(kind, (path, data), view.write_bytes, path, data)
        elif kind == "read":
            take(kind, (path,), view.read_bytes, path)
        elif kind == "truncate":
            # It changes contents in their place.
            if self._scene.has_handles:
                size = rng.choice((0, 3, 50))
                do(kind, (path, size), view.truncate, path, size)
        elif kind == "listing":
            folder = rng.choice(("", "d", "e", path))
            take(kind, (folder,), lambda: tuple(sorted(view.listdir(folder or "C:\\"))))
        elif kind == "stat":
            take(kind, (path,), _stat, view, path)
        elif kind in ("mkdir", "unlink", "rmdir"):
            do(kind, (path,), getattr(view, kind), path)
        elif kind in ("rename", "link"):
            do(kind, (path, other), getattr(view, kind), path, other)
        elif kind == "hide":
            is_hidden = rng.random() < 0.6
            do(kind, (path, is_hidden), view.set_attributes, path, 0x20 | _HIDDEN * is_hidden)
        elif kind == "set_time":
            time = rng.choice(_TIMES)
            do(kind, (path, time), lambda: view.set_times(path, write=time))
        elif kind == "secure":
            which = rng.randrange(len(_DESCRIPTORS))
            do(kind, (path, which), view.set_security, path, _DESCRIPTORS[which])
        elif kind == "security":
            take(kind, (path,), _security, view, path)
        elif kind == "put_stream":
            data = self._data()
            do(kind, (path, data), view.write_bytes, stream, data)
        elif kind == "get_stream":
            take(kind, (path,), view.read_bytes, stream)
        elif kind == "remove_stream":
            do(kind, (path,), view.remove_stream, path, _STREAM)
        elif kind == "copy in":
            data = self._data()
            source = self._scene.place / f"in-{self._process}" / "a"
            source.parent.mkdir(exist_ok=True)
            source.write_bytes(data)
            do(kind, (path, data), copy_into, view, source, path)
        elif kind == "copy out":
            target = self._scene.place / f"out-{self._process}"

            def out() -> Hashable:
                copy_out(view, path, target)
                return target.read_bytes()

            take("read", (path,), out)
        elif kind == "snapshot":
            self._snapshot()
        else:
            take("check", (), lambda: tuple((p.path, p.text) for p in wclayer.check_layer(self._scene.scratch)))

    def _snapshot(self) -> None:
        """Reads the whole as it stood at one moment, as an export does."""

        def look() -> Hashable:
            with wclayer.LayerView([self._scene.scratch, self._scene.base]) as view:
                nodes = list(view.volume.tree.walk(view.volume.find("C:\\")))
                if self._scene.has_handles:
                    return tuple(sorted((node.path.removeprefix("Files/"), node.is_directory) for node in nodes))
                return _walk(view)

        self._recorder.take("kinds" if self._scene.has_handles else "walk", (), look)

    def _use_handle(self, path: str) -> None:
        rng, do = self._rng, self._recorder.do
        if not self._open or (len(self._open) < 2 and rng.random() < 0.3):
            self._count += 1
            handle = f"{self._process}-{self._count}"
            mode = rng.choice(("ab", "r+b", "a+b"))

            def opened() -> None:
                self._open[handle] = self._view.open(path, mode, buffering=0), mode

            do("open", (path, handle, mode != "r+b"), opened)
            return
        handle = rng.choice(list(self._open))
        file, mode = self._open[handle]
        what = rng.choice(("write", "write", "get", "close"))
        data, offset = self._data(), rng.choice((0, 2, 30))
        if what == "close":
            del self._open[handle]
            do("close", (handle,), file.close)
        elif what == "get" and "+" in mode:

            def got() -> Hashable:
                file.seek(0)
                return bytes(file.read(1 << 20))

            self._recorder.take("get", (handle,), got)
        elif mode != "r+b":
            do("append", (handle, data), file.write, data)
        else:
            do("put", (handle, offset, data), lambda: (file.seek(offset), file.write(data)))

    def close_all(self) -> None:
        for handle, (file, _) in self._open.items():
            self._recorder.do("close", (handle,), file.close)


def _without_zeros(state: State) -> State:
    """A state in which no file ends with zeros."""
    nodes = (
        (number, node if node.data is None else node._replace(data=node.data.rstrip(b"\0")))
        for number, node in state.nodes
    )
    return state._replace(nodes=tuple(nodes))


def _link_posix(source: str, target: str) -> None:
    """Makes a hard link in a mount.

    When a name of a file is removed, the kernel counts one name less itself. If another request tells it the new count
    at the same moment, it counts twice, and refuses a link to a file that it takes for removed, until it is told the
    count again. Other FUSE file systems are treated so, too.
    """
    try:
        os.link(source, target)
    except FileNotFoundError:
        os.stat(source)
        os.link(source, target)


_BY_NAME = {"stat", "read", "truncate", "set_time", "set_stream", "get_stream", "remove_stream", "open"}
"""Steps that find a file by its name, and then do something with it."""


def _by_lost_name(state: State, event: Event) -> Iterator[Hashable]:
    """The states after a step that found a file by a name which the file has lost since; it has other names."""
    path = str(event.arguments[0])
    names, nodes = dict(state.names), dict(state.nodes)
    for lost, number in state.lost:
        if lost != path or names.get(path) == number:
            continue
        if event.kind == "stat":
            node = nodes[number]
            assert node.data is not None
            links = sum(other == number for other in names.values())
            if _fits(event, (len(node.data), node.hidden, links, node.time)):
                yield state
            continue
        found = state._replace(names=tuple(sorted((names | {path: number}).items())))
        for after in step(found, event):
            assert isinstance(after, State)
            # What is under the name by now is not seen by the step.
            yield after._replace(names=state.names, nodes=tuple(sorted((nodes | dict(after.nodes)).items())))


def _lost_names(before: State, after: State) -> tuple[tuple[str, int], ...]:
    """What is `lost` after a step."""
    names, nodes = dict(after.names), dict(before.nodes)
    lost = {(name, number) for name, number in before.names if names.get(name) != number}
    has_names = set(names.values())
    return tuple(
        sorted(
            (name, number)
            for name, number in lost.union(before.lost)
            if number in has_names and nodes[number].data is not None
        )
    )


_NAMING = {"unlink", "rename", "link", "mkdir", "rmdir", "open"}
"""Steps that change names."""


class MountScene(ScratchScene):
    """Processes that use one mount of a scratch, and others that read it by the library meanwhile.

    The kernel finds each component of a path by itself, so that directories keep their names here.
    """

    name = "mount"
    length = 30

    @staticmethod
    def step(state: Hashable, event: Event) -> Iterator[Hashable]:
        """`step`, but for what the kernel does in more than one step itself, whatever file system it is asked."""
        assert isinstance(state, State)
        ways = [MountScene._step(state, event)]
        if event.kind in _BY_NAME and event.failed is None and event.during & {"unlink", "rename"}:
            ways.append(_by_lost_name(state, event))
        for after in chain.from_iterable(ways):
            assert isinstance(after, State)
            yield after._replace(lost=_lost_names(state, after))

    @staticmethod
    def _step(state: State, event: Event) -> Iterator[Hashable]:
        if event.kind == "link" and event.failed and event.during & _NAMING:
            # Its two paths are looked up one after the other.
            yield state
        elif event.kind == "link" and event.result == "ok" and event.during & {"unlink", "rename"}:
            # So the file may have lost the name by which it was found.
            path = str(event.arguments[0])
            for number, node in state.nodes:
                model = Model(state)
                if node.data is not None and path not in model.names and number in model.names.values():
                    model.names[path] = number
                    model.touch(path)
                    yield model.state()
        elif event.kind == "stat" and isinstance(event.result, tuple) and event.result[2] == 0:
            # The file lost its last name after it was found by it.
            if event.during & {"unlink", "rename"}:
                yield state
        elif event.kind in ("read", "get") and isinstance(event.result, bytes) and "truncate" in event.during:
            # What is cut off while it is read is zeros.
            whole = replace(event, result=event.result.rstrip(b"\0"))
            if any(True for _ in step(_without_zeros(state), whole)):
                yield state
        else:
            yield from step(state, event)

    def prepare(self, place: Path, rng: random.Random) -> None:
        super().prepare(place, rng)
        self.at = place / "m"
        self.at.mkdir()
        mount.start(self.at, scratch=self.scratch)
        self.names = rng.sample(("a", "b", "p", "d/a", "d/b", "d/l"), 4)

    def act(self, process: int, rng: random.Random, recorder: Recorder) -> None:
        recorder.in_mount = True
        opened: dict[str, tuple[int, bool]] = {}
        take, do = recorder.take, recorder.do
        for number in range(self.length):
            path, other = rng.choice(self.names), rng.choice(self.names)
            at, to = str(self.at / path), str(self.at / other)
            data = f"<{process}.{number}>".encode() * rng.choice((1, 1, 3, 300))
            kind = rng.choice(_MOUNT_KINDS)
            if kind == "read":
                take(kind, (path,), _read_whole, at)
            elif kind == "listing":
                folder = rng.choice(("", "d", path))
                take(kind, (folder,), _list_posix, self.at / folder)
            elif kind == "stat":
                take(kind, (path,), _stat_posix, at)
            elif kind in ("unlink", "mkdir", "rmdir"):
                do(kind, (path,), getattr(os, kind), at)
            elif kind == "rename":
                do(kind, (path, other), os.rename, at, to)
            elif kind == "link":
                do(kind, (path, other), _link_posix, to, at)
            elif kind == "truncate":
                size = rng.choice((0, 3, 50))
                do(kind, (path, size), os.truncate, at, size)
            elif kind == "set_time":
                time = rng.choice(_TIMES)
                seconds = time // 10**7 - 11_644_473_600
                do(kind, (path, time), os.utime, at, (seconds, seconds))
            elif kind == "set_stream":
                do(kind, (path, data), os.setxattr, at, f"user.{_STREAM}", data)
            elif kind == "get_stream":
                take(kind, (path,), os.getxattr, at, f"user.{_STREAM}")
            elif kind == "remove_stream":
                do(kind, (path,), os.removexattr, at, f"user.{_STREAM}")
            elif kind == "kinds":
                take("kinds", (), self._look)
            elif kind == "open":
                handle, appends = f"{process}-{number}", rng.random() < 0.6
                flags = os.O_RDWR | (os.O_APPEND | os.O_CREAT if appends else 0)
                do("open", (path, handle, appends), _open_posix, opened, handle, at, flags)
            elif opened:
                self._use(rng, recorder, opened, data)
        for handle, (fd, _) in opened.items():
            do("close", (handle,), os.close, fd)

    def _use(self, rng: random.Random, recorder: Recorder, opened: dict[str, tuple[int, bool]], data: bytes) -> None:
        handle = rng.choice(list(opened))
        fd, appends = opened[handle]
        what = rng.choice(("write", "write", "get", "get", "close"))
        if what == "close":
            del opened[handle]
            recorder.do("close", (handle,), os.close, fd)
        elif what == "get":
            recorder.take("get", (handle,), os.pread, fd, 1 << 16, 0)
        elif appends:
            recorder.do("append", (handle, data), os.write, fd, data)
        else:
            offset = rng.choice((0, 2, 30))
            recorder.do("put", (handle, offset, data), os.pwrite, fd, data, offset)

    def _look(self) -> Hashable:
        """Reads the scratch by the library while it is mounted."""
        with wclayer.LayerView([self.scratch, self.base]) as view:
            nodes = list(view.volume.tree.walk(view.volume.find("C:\\")))
            return tuple(sorted((node.path.removeprefix("Files/"), node.is_directory) for node in nodes))

    def finish(self, recorder: Recorder) -> list[str]:
        recorder.in_mount = True
        recorder.take("walk", (), self._walk_posix)
        mount.unmount(self.at)
        mount.wait_until_free(self.scratch)
        found = super().finish(recorder)
        return found + (["left: a mount"] if os.path.ismount(self.at) else [])

    def _walk_posix(self) -> Hashable:
        found: dict[str, bytes | None] = {}
        for folder, folders, files in os.walk(self.at):
            inner = Path(folder).relative_to(self.at)
            found |= {str(inner / name): None for name in folders}
            found |= {str(inner / name): (Path(folder) / name).read_bytes() for name in files}
        return tuple(sorted(found.items()))


def _read_whole(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 1 << 16)
    finally:
        os.close(fd)


def _stat_posix(path: str) -> Hashable:
    status = os.stat(path)
    time = from_unix_ns(status.st_mtime_ns)
    is_directory = stat.S_ISDIR(status.st_mode)
    size, links = (-1, 1) if is_directory else (status.st_size, status.st_nlink)
    return size, False, links, time if time in _TIMES else None


def _list_posix(path: Path) -> Hashable:
    return tuple(sorted(os.listdir(path)))


def _open_posix(opened: dict[str, tuple[int, bool]], handle: str, path: str, flags: int) -> None:
    opened[handle] = os.open(path, flags, 0o666), bool(flags & os.O_APPEND)
