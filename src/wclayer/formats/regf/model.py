"""The content of a hive, independent of its encoding: keys and values, in memory or behind an interface."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from wclayer._walk import Walk
from wclayer.errors import FormatError, FormatLimitError, limit_hint
from wclayer.formats.regf.structs import MAX_DEPTH, KeyFlags, LayerSemantics
from wclayer.win32.upcase import upcase


class RegfError(FormatError):
    """The bytes are not a sound hive; `offset` is the cell offset (from the end of the base block), or None."""

    def __init__(self, problem: str, offset: int | None = None) -> None:
        self.problem = problem
        self.offset = offset
        super().__init__(problem if offset is None else f"cell {offset:#x}: {problem}")


class RegfLimitError(RegfError, FormatLimitError):
    """The content of a hive is larger than a limit."""


class Value(NamedTuple):
    """A value of a key: its name ("" for the default value), its type (`ValueType` or any other number), its data.

    A tombstone, in a delta hive, deletes the value of that name of the layers above.
    """

    name: str
    type: int
    data: bytes
    is_tombstone: bool = False


class KeyMetadata(NamedTuple):
    """The metadata of a key: everything besides its name, its values and its subkeys."""

    last_written: int = 0
    """FILETIME."""
    security: bytes | None = None
    """Self-relative security descriptor."""
    class_name: bytes = b""
    """UTF-16LE, as it is stored."""
    flags: int = 0
    """The `KeyFlags`, without those that describe how the node is stored."""
    control_flags: int = 0
    """The user flags, virtualization control flags and debug bits, as one 16-bit number."""
    access_bits: int = 0
    semantics: LayerSemantics = LayerSemantics.NORMAL
    inherits_class: bool = False
    """True if the key has the class name of the layers above (in a delta hive)."""


NO_METADATA = KeyMetadata()


class Key(Protocol):
    """A key of any origin: a hive, memory, or a merge."""

    @property
    def name(self) -> str: ...

    @property
    def metadata(self) -> KeyMetadata: ...

    def values(self) -> list[Value]:
        """Returns the values, in the order in which they are stored."""

    def subkeys(self) -> list[Key]:
        """Returns the subkeys, in the order in which they are stored."""

    def subkey(self, name: str) -> Key | None:
        """Returns the subkey of that name in any case, or None."""


@dataclass(slots=True)
class TreeKey:
    """A key in memory, which can be changed. Subkeys and values are found by `fold`ed name."""

    name: str
    metadata: KeyMetadata = NO_METADATA
    by_name: dict[str, Value] = field(default_factory=dict)
    below: dict[str, Key] = field(default_factory=dict)

    def values(self) -> list[Value]:
        """Returns the values, in the order in which they were set."""
        return list(self.by_name.values())

    def subkeys(self) -> list[Key]:
        """Returns the subkeys, in the order in which they were added."""
        return list(self.below.values())

    def subkey(self, name: str) -> Key | None:
        """Returns the subkey of that name in any case, or None."""
        return self.below.get(fold(name))

    def set(self, value: Value) -> None:
        """Sets a value; one of the same name keeps its place."""
        self.by_name[fold(value.name)] = value

    def add(self, key: Key) -> None:
        """Adds a subkey; one of the same name is replaced."""
        self.below[fold(key.name)] = key


def fold(name: str) -> str:
    """Returns the name as Windows compares it: two names with the same fold are the same key or value."""
    return upcase(name)


def sort_key(folded: str) -> bytes:
    """Returns the sort key for Windows' order of folded names: their UTF-16 units."""
    return folded.encode("utf-16-be", "surrogatepass")


def index_by_name(keys: list[Key]) -> dict[str, Key]:
    """Returns the keys by folded name.

    Raises:
        RegfError: two keys have the same name.
    """
    found = {fold(key.name): key for key in keys}
    if len(found) != len(keys):
        raise RegfError(f"two subkeys of one key have the same name, among {', '.join(sorted(found)[:5])}")
    return found


class PathBudget:
    """Counts the characters of the paths of a hive's keys.

    Each key's path repeats the names above it, so a hive of a few MiB can have paths of many GiB.

    Args:
        limit: how many characters are accepted in all (`Limits.key_paths`); None: any number.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._used = 0

    def join(self, above: str, name: str) -> str:
        """Returns the path of the key `name` below the path `above`.

        Raises:
            RegfLimitError: the paths have more characters than the limit.
        """
        self._used += len(above) + len(name) + 1
        if self._limit is not None and self._used > self._limit:
            raise RegfLimitError(
                f"the paths of the keys have more than {self._limit} characters {limit_hint('key_paths')}"
            )
        return f"{above}\\{name}" if above else name


def check_depth(depth: int, key: Key) -> None:
    """Checks that Windows allows a key at this depth below the root.

    Args:
        depth: levels below the root, which is at 0.

    Raises:
        RegfError: there are more levels than Windows allows.
    """
    if depth > MAX_DEPTH:
        raise RegfError(f"more than {MAX_DEPTH} levels of keys, at {key.name!r}")


def walk(key: Key, path: str = "", *, max_paths: int | None = None) -> Iterator[tuple[str, Key]]:
    """Yields a key and everything below it, parents before children, each with its path below `key`.

    Args:
        path: the path of `key` itself.
        max_paths: how many characters all the paths may have together (see `PathBudget`).

    Raises:
        RegfError: there are more levels of keys than Windows allows.
        RegfLimitError: the paths have more than `max_paths` characters.
    """
    budget = PathBudget(max_paths)
    yield path, key
    walk = Walk(key.subkeys(), path)
    for above, child in walk:
        check_depth(walk.depth, child)
        child_path = budget.join(above, child.name)
        yield child_path, child
        walk.enter(child.subkeys(), child_path)


def copy_key(key: Key) -> TreeKey:
    """Returns a copy in memory of a key and everything below it.

    Raises:
        RegfError: two subkeys of one key have the same name; there are more levels of keys than Windows allows.
    """
    top = TreeKey(key.name, key.metadata)
    pending: list[tuple[Key, TreeKey, int]] = [(key, top, 0)]
    while pending:
        source, target, depth = pending.pop()
        check_depth(depth, source)
        for value in source.values():
            target.set(value)
        for name, child in index_by_name(source.subkeys()).items():
            target.below[name] = copied = TreeKey(child.name, child.metadata)
            pending.append((child, copied, depth + 1))
    return top


def limit_times(root: TreeKey, latest: int) -> bool:
    """Gives each key in memory that was written later than a time (FILETIME) this time.

    Returns:
        True if there was such a key.
    """
    pending, found = [root], False
    while pending:
        key = pending.pop()
        if key.metadata.last_written > latest:
            key.metadata = key.metadata._replace(last_written=latest)
            found = True
        pending += (child for child in key.below.values() if isinstance(child, TreeKey))
    return found


__all__ = [
    "Key",
    "KeyFlags",
    "KeyMetadata",
    "LayerSemantics",
    "PathBudget",
    "RegfError",
    "RegfLimitError",
    "TreeKey",
    "Value",
    "check_depth",
    "copy_key",
    "fold",
    "index_by_name",
    "limit_times",
    "sort_key",
    "walk",
]
