"""A model of what a POSIX file system may keep of the calls that changed it, when the power goes.

What is assumed is what POSIX promises and no more, but for what every file system of today keeps:

- Data and size of a file are safe when `fsync` or `fdatasync` of it, `syncfs` or `sync` returns. That says nothing of
  its name. Without, each write may be there, or not, or some sectors (512 bytes) of it; or the file has its new
  size, and zeros where the data were to be. A truncation and the writes after it come after those before it.
- Mode, times and extended attributes of a file are safe when it is synced.
- Names are safe when their directory is synced, or its file system. Without, each name of a directory may be there
  or not, whatever happened to others after or before it: a file may have its name, and none of its contents. The
  changes of one name come in their order.
- A rename, and an exchange of two names, is one step: both names change, or neither. It is safe when the
  directory of the new name is synced.
- A file that was synced before it is renamed is whole under its new name.

SQLite's `-shm` is memory that processes share: whoever opens the database first makes it anew. It is left out.
"""

from __future__ import annotations

import os
import random
import re
import stat
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
_ZEROS = bytes(1 << 16)
"""What is not written of a file, which has a hole there."""
_LEFTOVER = re.compile(r"\.wclayer-.*-[0-9a-f]{16}\.(partial|gone)\Z|\.layer\.db-[0-9a-f]{16}\.partial\Z", re.DOTALL)
"""What is under construction or removal: nobody looks into it."""


@dataclass(eq=False)
class Node:
    """A file, directory or link, whatever its names are: an inode."""

    number: int
    mode: int
    data: bytes = b""
    """Of a file: what it held at first; of a link: its target."""
    names: dict[str, Node] = field(default_factory=dict)
    """Of a directory: what was in it at first."""
    times: tuple[int, int] | None = None
    """Access and modification (ns since 1970), where somebody has set them."""
    xattrs: dict[str, bytes] = field(default_factory=dict)
    outside: Path | None = None
    """Of a file that lies elsewhere, of which a hard link was made: where."""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


@dataclass(frozen=True)
class Write:
    """Bytes of a file."""

    node: Node
    offset: int
    data: bytes


@dataclass(frozen=True)
class Truncate:
    """The size of a file."""

    node: Node
    size: int


@dataclass(frozen=True)
class Facts:
    """Mode, times or extended attributes of a file or directory."""

    node: Node
    mode: int | None = None
    times: tuple[int, int] | None = None
    xattr: tuple[str, bytes | None] | None = None


@dataclass(frozen=True)
class Names:
    """Names that change in one step: directory, name, and what has it from then on."""

    changes: tuple[tuple[Node, str, Node | None], ...]


@dataclass(frozen=True)
class Sync:
    """What was done before its beginning is safe: to a file, to the names in a directory, or with None, to all."""

    node: Node | None
    begun: int
    """How many steps were done when it began."""
    with_facts: bool = True


Step = Write | Truncate | Facts | Names | Sync
Whole, Zeros = None, "zeros"
Part = frozenset[int] | str | None
"""What is there of a write: all; only the size; or these sectors, counted from its beginning."""


@dataclass(frozen=True)
class State:
    """What is on the disk: the steps of which it has the effect, and what there is of writes that are torn."""

    kept: frozenset[int]
    parts: tuple[tuple[int, Part], ...] = ()


class Recording:
    """What a folder held, and the steps by which it was changed."""

    def __init__(self, root: Node, steps: list[Step]) -> None:
        self.root = root
        self.steps = steps
        self._safe: list[tuple[int, frozenset[int]]] = [(-1, frozenset())]
        """After each sync: its number, and what is safe from then on."""
        pending: list[int] = []
        for done, step in enumerate(steps):
            if not isinstance(step, Sync):
                pending.append(done)
                continue
            covered = {number for number in pending if number < step.begun and _covers(step, steps[number])}
            pending = [number for number in pending if number not in covered]
            self._safe.append((done, self._safe[-1][1] | covered))

    def without(self, syncs: Container[int]) -> Recording:
        """The same, in which some syncs did not happen."""
        nothing = Facts(self.root)
        return Recording(self.root, [nothing if number in syncs else step for number, step in enumerate(self.steps)])

    @property
    def syncs(self) -> list[int]:
        """The numbers of the steps that are syncs."""
        return [number for number, step in enumerate(self.steps) if isinstance(step, Sync)]

    def path(self, node: Node | None) -> str:
        """A name that a node has had; of what all is meant by, nothing."""
        if node is None:
            return "everything"
        names = [
            (directory, name) for step in self.steps if isinstance(step, Names)
            for directory, name, named in step.changes if named is node
        ]  # fmt: skip
        tree = Tree(self, State(frozenset()))
        found = [path for path, known in tree.walk() if known is node]
        return found[0] if found else f"{self.path(names[-1][0])}/{names[-1][1]}"

    def safe(self, done: int) -> frozenset[int]:
        """Which of the first `done` steps no power cut can undo."""
        return self._safe[bisect_left(self._safe, done, key=lambda known: known[0]) - 1][1]

    def killed(self) -> Iterator[State]:
        """What a process leaves that is killed after each step: those that look the same come once."""
        seen: set[object] = set()
        tree = Tree(self, State(frozenset()))
        for number in range(len(self.steps)):
            tree.apply(number)
            if (key := tree.key()) not in seen:
                seen.add(key)
                yield State(frozenset(tree.kept))

    def prefixes(self, begin: int = 0) -> Iterator[tuple[int, State]]:
        """For each number of steps done, from some number on: all of them are on the disk; only those that are safe;
        all names, and of the contents only those that are safe. States that look the same come once, but those at the
        end come in any case."""
        seen: set[object] = set()
        every, named = Tree(self, State(frozenset())), Tree(self, State(frozenset()))
        safe: frozenset[int] = frozenset()
        for done in range(len(self.steps) + 1):
            if done:
                every.apply(done - 1)
                if self.safe(done) != safe:
                    safe = self.safe(done)
                    names = {number for number in range(done) if isinstance(self.steps[number], Names)}
                    named = Tree(self, State(safe | names))
                elif isinstance(self.steps[done - 1], Names):
                    named.apply(done - 1)
            if done < begin:
                continue
            for tree in (every, Tree(self, State(safe)), named):
                key = tree.key()
                if key not in seen or done == len(self.steps):
                    seen.add(key)
                    yield done, State(frozenset(tree.kept))

    def lone(self, done: int) -> Iterator[State]:
        """The states in which only one step is lost of the first `done`, or only one is kept, of those that may be."""
        safe = self.safe(done)
        pending = [number for number in range(done) if number not in safe and not isinstance(self.steps[number], Sync)]
        for number in pending:
            yield self._possible(safe, [other for other in pending if other != number])
            yield self._possible(safe, [number])

    def _possible(self, safe: frozenset[int], pending: list[int]) -> State:
        """The state with those steps of which it can have the effect: what changes the same name, or cuts the same
        file, comes in its order."""
        wanted = safe | set(pending)
        lost: set[object] = set()
        kept = set(safe)
        for number in range(max(wanted, default=-1) + 1):
            step = self.steps[number]
            if isinstance(step, Names):
                order: set[object] = {(directory.number, name) for directory, name, _ in step.changes}
            elif isinstance(step, (Write, Truncate)):
                order = {step.node.number}
            else:
                order = set()
            if number in safe or (number in wanted and not order & lost):
                kept.add(number)
            elif not isinstance(step, Write):
                lost |= order
        return State(frozenset(kept))

    def sampled(self, done: int, source: random.Random) -> State:
        """One of the states in which the disk may be when the first `done` steps were done."""
        safe = self.safe(done)
        pending = [number for number in range(done) if number not in safe]
        kept = set(safe)
        kept.update(self._some_names(pending, source))
        parts: dict[int, Part] = {}
        contents: dict[int, list[int]] = {}
        for number in pending:
            step = self.steps[number]
            if isinstance(step, (Write, Truncate)):
                contents.setdefault(step.node.number, []).append(number)
            elif isinstance(step, Facts) and source.random() < 0.5:
                kept.add(number)
        for numbers in contents.values():
            for number, part in self._some_contents(numbers, source):
                kept.add(number)
                if part is not Whole:
                    parts[number] = part
        return State(frozenset(kept), tuple(sorted(parts.items(), key=lambda item: item[0])))

    def _some_names(self, pending: list[int], source: random.Random) -> list[int]:
        changes = [number for number in pending if isinstance(self.steps[number], Names)]
        way = source.choice(("journal", "directories", "names"))
        # A journal keeps the changes up to some moment; others keep those of each directory, or each alone.
        end = source.choice([*changes, len(self.steps)])
        ends: dict[int, int] = {}
        lost: set[tuple[int, str]] = set()
        kept = []
        for number in changes:
            step = self.steps[number]
            assert isinstance(step, Names)
            if way == "directories":
                own = [
                    ends.setdefault(at.number, source.choice([*changes, len(self.steps)])) for at, *_ in step.changes
                ]
                is_kept = number < min(own)
            else:
                is_kept = number < end if way == "journal" else source.random() < 0.5
            names = {(directory.number, name) for directory, name, _ in step.changes}
            if is_kept and not names & lost:
                kept.append(number)
            else:
                lost |= names
        return kept

    def _some_contents(self, numbers: list[int], source: random.Random) -> Iterator[tuple[int, Part]]:
        """Which of the writes and truncations of a file are kept, and what of them."""
        way = source.choice(("all", "none", "some", "first", "size"))
        if way == "none":
            return
        end = source.choice(numbers) if way == "first" else len(self.steps)
        for number in numbers:
            step = self.steps[number]
            if number > end:
                return
            if isinstance(step, Truncate):
                if way == "some" and source.random() < 0.5:
                    return
                yield number, Whole
            elif way == "size":
                yield number, Zeros
            elif way == "all" or (way == "first" and number < end):
                yield number, Whole
            elif source.random() < 0.5:
                yield number, self._torn(step, source) if source.random() < 0.5 else Whole

    @staticmethod
    def _torn(step: Step, source: random.Random) -> Part:
        assert isinstance(step, Write)
        return frozenset(n for n in range(-(-len(step.data) // SECTOR)) if source.random() < 0.5)

    def key(self, state: State) -> object:
        """Equal for states in which a user finds the same."""
        return Tree(self, state).key()

    def put(self, state: State, place: Path) -> None:
        """Makes a folder of what is on the disk."""
        Tree(self, state).put(place)


def _covers(sync: Sync, step: Step) -> bool:
    if sync.node is None:
        return True
    if isinstance(step, Names):
        return sync.node is step.changes[-1][0]
    assert not isinstance(step, Sync)
    return sync.node is step.node and (sync.with_facts or not isinstance(step, Facts))


class Tree:
    """The directories and files of a state."""

    def __init__(self, recording: Recording, state: State) -> None:
        self._steps = recording.steps
        self._root = recording.root
        self._parts = dict(state.parts)
        self.applied: dict[int, list[int]] = {}
        """Of each node, the steps that changed it."""
        self._names: dict[int, dict[str, Node]] = {}
        self.kept: list[int] = []
        for number in sorted(state.kept):
            self.apply(number)

    def apply(self, number: int) -> None:
        """Adds a step, which comes after those that are there."""
        self.kept.append(number)
        step = self._steps[number]
        if isinstance(step, Names):
            for directory, name, node in step.changes:
                names = self._names_in(directory)
                names.pop(name, None)
                if node is not None:
                    names[name] = node
        elif not isinstance(step, Sync):
            self.applied.setdefault(step.node.number, []).append(number)

    def key(self) -> object:
        """Equal for trees in which a user finds the same."""
        found = []
        for path, node in self.walk(into_leftovers=False):
            applied = [(n, self._parts.get(n)) for n in self.applied.get(node.number, ())]
            if _LEFTOVER.match(path.rpartition("/")[2]):
                applied.clear()
            found.append((path, node.number, tuple(applied)))
        return tuple(found)

    def _names_in(self, directory: Node) -> dict[str, Node]:
        return self._names.setdefault(directory.number, directory.names.copy())

    def walk(self, *, into_leftovers: bool = True) -> Iterator[tuple[str, Node]]:
        """Every path with what is there; a directory before what is in it."""
        pending = [("", self._root)]
        while pending:
            path, node = pending.pop()
            yield path, node
            if node.is_directory and (into_leftovers or not _LEFTOVER.match(path.rpartition("/")[2])):
                for name, below in sorted(self._names_in(node).items()):
                    if not name.endswith("-shm"):
                        pending.append((f"{path}/{name}", below))

    def data(self, node: Node) -> bytes | bytearray:
        """The contents of a file."""
        steps = [n for n in self.applied.get(node.number, ()) if isinstance(self._steps[n], (Write, Truncate))]
        if not steps:
            return node.data
        data = bytearray(node.data)
        for number in steps:
            step = self._steps[number]
            if isinstance(step, Truncate):
                del data[step.size :]
                data.extend(bytes(step.size - len(data)))
                continue
            assert isinstance(step, Write)
            end = step.offset + len(step.data)
            part = self._parts.get(number)
            if isinstance(part, frozenset):
                # The size follows the last sector that was written.
                end = step.offset + min(len(step.data), SECTOR * (max(part, default=-1) + 1))
            data.extend(bytes(max(0, end - len(data))))
            if part is Whole:
                data[step.offset : end] = step.data
            elif isinstance(part, frozenset):
                for sector in part:
                    piece = step.data[sector * SECTOR : (sector + 1) * SECTOR]
                    data[step.offset + sector * SECTOR : step.offset + sector * SECTOR + len(piece)] = piece
        return data

    def facts(self, node: Node) -> tuple[int, tuple[int, int] | None, dict[str, bytes]]:
        """Mode, times and extended attributes."""
        mode, times, xattrs = node.mode, node.times, node.xattrs.copy()
        for number in self.applied.get(node.number, ()):
            step = self._steps[number]
            if isinstance(step, (Write, Truncate)):
                times = None
            elif isinstance(step, Facts):
                mode = mode if step.mode is None else stat.S_IFMT(mode) | step.mode
                times = times if step.times is None else step.times
                if step.xattr is not None:
                    name, value = step.xattr
                    xattrs.pop(name, None)
                    if value is not None:
                        xattrs[name] = value
        return mode, times, xattrs

    def put(self, place: Path) -> None:
        """Makes the folder `place` of it."""
        made: dict[int, str] = {}
        times: list[tuple[str, tuple[int, int]]] = []
        for path, node in self.walk():
            at = os.fspath(place) + path
            if node.outside is not None:
                os.link(node.outside, at)
            elif node.number in made:
                os.link(made[node.number], at)
            else:
                made[node.number] = at
                mode, set_times, xattrs = self.facts(node)
                self._make(node, at, mode)
                for name, value in xattrs.items():
                    os.setxattr(at, name, value)
                if set_times is not None:
                    times.append((at, set_times))
        for at, (access, modification) in reversed(times):
            os.utime(at, ns=(access, modification), follow_symlinks=False)

    def _make(self, node: Node, at: str, mode: int) -> None:
        if node.is_directory:
            os.mkdir(at, stat.S_IMODE(mode))
        elif stat.S_ISLNK(mode):
            os.symlink(node.data, at)
        else:
            fd = os.open(at, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IMODE(mode))
            try:
                data = self.data(node)
                for start in range(0, len(data), len(_ZEROS)):
                    piece = data[start : start + len(_ZEROS)]
                    if not _ZEROS.startswith(piece):
                        os.pwrite(fd, piece, start)
                os.ftruncate(fd, len(data))
            finally:
                os.close(fd)


def differences(recording: Recording, place: Path) -> Iterable[str]:
    """What is not as in the folder `place` when all steps are done: the recording has missed something."""
    tree = Tree(recording, State(frozenset(range(len(recording.steps)))))
    found = {os.fspath(place)}
    for folder, directories, files in os.walk(place):
        found |= {os.path.join(folder, name) for name in (*directories, *files) if not name.endswith("-shm")}
    for path, node in tree.walk():
        at = os.fspath(place) + path
        if at not in found:
            yield f"{path} is not there"
            continue
        found.remove(at)
        mode, times, xattrs = tree.facts(node)
        status = os.lstat(at)
        if node.outside is not None:
            if not os.path.samefile(node.outside, at):
                yield f"{path} is no link to {node.outside}"
        elif mode != status.st_mode:
            yield f"{path} has mode {status.st_mode:o}, not {mode:o}"
        elif stat.S_ISREG(mode) and tree.data(node) != Path(at).read_bytes():
            yield f"{path} has other contents"
        elif times is not None and stat.S_ISREG(mode) and times[1] != status.st_mtime_ns:
            yield f"{path} has other times"
        elif xattrs != xattrs_of(at):
            yield f"{path} has other extended attributes"
    yield from (f"{path} was not recorded" for path in found)


def xattrs_of(path: str) -> dict[str, bytes]:
    """The extended attributes of a file that its user may set."""
    names = [name for name in os.listxattr(path, follow_symlinks=False) if name.startswith("user.")]
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def read_tree(place: Path) -> Node:
    """A folder, as it is when a recording begins: all of it is safe."""
    known: dict[int, Node] = {}

    def read(path: str) -> Node:
        status = os.lstat(path)
        node = known.get(status.st_ino)
        if node is None:
            node = Node(len(known), status.st_mode)
            known[status.st_ino] = node
            if node.is_directory:
                node.names = {name: read(os.path.join(path, name)) for name in os.listdir(path)}
            elif stat.S_ISLNK(status.st_mode):
                node.data = os.fsencode(os.readlink(path))
            elif stat.S_ISREG(status.st_mode):
                node.data = Path(path).read_bytes()
            if not stat.S_ISLNK(status.st_mode):
                node.xattrs = xattrs_of(path)
                node.times = (status.st_atime_ns, status.st_mtime_ns)
        return node

    return read(os.fspath(place))
