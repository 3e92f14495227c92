r"""The effective registry of a layer over its parents, addressed by the paths of `reg.exe` (`HKLM\SOFTWARE\…`).

`HKEY_LOCAL_MACHINE` holds the hives SAM, SECURITY, SOFTWARE and SYSTEM, `HKEY_USERS` the hive `.DEFAULT`.
`CurrentControlSet` is the control set that the key `Select` names, as at boot. Links between keys are followed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from wclayer._types import StrPath
from wclayer._walk import Walk
from wclayer.errors import (
    FormatError,
    InvalidDataError,
    InvalidParameterError,
    PathNotFoundError,
    boundary,
    translated,
)
from wclayer.formats.regf.model import (
    Key,
    KeyMetadata,
    PathBudget,
    TreeKey,
    Value,
    check_depth,
    fold,
    index_by_name,
)
from wclayer.formats.regf.structs import MAX_DEPTH, MAX_NAME_UNITS, KeyFlags, LayerSemantics
from wclayer.formats.regf.values import ValueType, decode_string, integer
from wclayer.layers.directory import LayerDirectory, open_layer
from wclayer.layers.directory.hives import effective_root, open_hive
from wclayer.layers.hives import LAYER_HIVES, LayerHive
from wclayer.model import limits_in_use
from wclayer.view.diff import Change
from wclayer.win32.names import utf16_length

_ROOT_NAMES = {
    "HKLM": ("HKEY_LOCAL_MACHINE",),
    "HKEY_LOCAL_MACHINE": ("HKEY_LOCAL_MACHINE",),
    "HKU": ("HKEY_USERS",),
    "HKEY_USERS": ("HKEY_USERS",),
    "HKCR": ("HKEY_LOCAL_MACHINE", "SOFTWARE", "Classes"),
    "HKEY_CLASSES_ROOT": ("HKEY_LOCAL_MACHINE", "SOFTWARE", "Classes"),
    "HKCC": ("HKEY_LOCAL_MACHINE", "SYSTEM", "CurrentControlSet", "Hardware Profiles", "Current"),
    "HKEY_CURRENT_CONFIG": ("HKEY_LOCAL_MACHINE", "SYSTEM", "CurrentControlSet", "Hardware Profiles", "Current"),
}
_NO_USER = ("HKCU", "HKEY_CURRENT_USER")
_LINK_ROOTS = {"MACHINE": "HKEY_LOCAL_MACHINE", "USER": "HKEY_USERS"}
"""The names under `\\Registry` that the targets of links use."""
_MAX_LINKS = 64
_LOCAL_SYSTEM = "S-1-5-18"
"""The SID of the user to whom the hive `.DEFAULT` belongs."""


@dataclass(frozen=True, slots=True)
class RegistryPath:
    """A path in the registry as a tuple of components; the first one is the full name of the root."""

    parts: tuple[str, ...]

    def __str__(self) -> str:
        return "\\".join(self.parts)

    @property
    def hive(self) -> LayerHive | None:
        """The hive that holds the key, or None above the hives."""
        mount = tuple(map(fold, self.parts[:2]))
        return next((hive for hive in LAYER_HIVES if tuple(map(fold, hive.mount)) == mount), None)

    @property
    def below(self) -> tuple[str, ...]:
        """The components below the hive's root key."""
        return self.parts[2:]


def registry_path(text: str) -> RegistryPath:
    r"""Parses a path in the spelling of `reg.exe`: `HKLM\…` or `HKEY_LOCAL_MACHINE\…`, `HKU\…`, `HKCR\…`, `HKCC\…`.

    Raises:
        InvalidParameterError: the path does not start with one of these roots.
    """
    names = [part for part in text.split("\\") if part]
    first = names[0].upper() if names else ""
    if first in _NO_USER:
        raise InvalidParameterError(text, r"a layer has no current user; its default user is HKU\.DEFAULT")
    if first not in _ROOT_NAMES:
        raise InvalidParameterError(text, "a key starts with HKLM, HKU, HKCR or HKCC, or their full names")
    parts = [*_ROOT_NAMES[first], *names[1:]]
    if parts[0] == "HKEY_USERS" and len(parts) > 1 and parts[1].upper() == _LOCAL_SYSTEM:
        parts[1] = ".DEFAULT"
    return RegistryPath(tuple(parts))


def is_key_path(text: str) -> bool:
    r"""Returns whether a path is one of the registry: it begins with `HKLM`, `HKEY_USERS` or another root."""
    first = text.partition("\\")[0].upper()
    return first in _ROOT_NAMES or first in _NO_USER


def check_key_names(text: str, names: Sequence[str]) -> None:
    """Refuses a key that no hive can hold.

    Args:
        text: the path of the key as it was given.
        names: the names of the keys below the root of its hive.

    Raises:
        InvalidParameterError: a name is too long, or there are too many.
    """
    if any(utf16_length(name) > MAX_NAME_UNITS for name in names):
        raise InvalidParameterError(text, f"a key's name has at most {MAX_NAME_UNITS} characters")
    if len(names) >= MAX_DEPTH:
        raise InvalidParameterError(text, f"more than {MAX_DEPTH} levels of keys")


@boundary
class HiveTree(ABC):
    """The keys of several hives by the paths of `reg.exe`, wherever the hives are from. A subclass has `root`.

    Args:
        name: what holds the hives, for messages.
    """

    operation = "registry"

    def __init__(self, name: StrPath) -> None:
        self.name = name

    @abstractmethod
    def root(self, hive: LayerHive) -> Key | None:
        """Returns the root key of a hive, or None if there is no such hive.

        Raises:
            InvalidDataError: the hive is damaged.
        """

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Translates the errors of reading keys inside this context, because keys are read lazily.

        Errors of the host pass unchanged: they may come from the caller's own work.

        Raises:
            InvalidDataError: a hive is damaged.
            LimitExceededError: a hive exceeds a limit.
        """
        try:
            yield
        except FormatError as error:
            told = translated(self.name, error)
            assert told is not None
            raise told from error

    def find(self, text: str) -> Key | None:
        r"""Returns the key at a path (`HKLM\SYSTEM\CurrentControlSet\Services`), or None if it does not exist.

        Raises:
            InvalidParameterError: the path does not start with a known root.
            InvalidDataError: a hive is damaged.
        """
        with self.reading():
            return self._find(self.resolve(text))

    def key(self, text: str) -> Key:
        """Returns the key at a path, as `find` does.

        Raises:
            PathNotFoundError: the key does not exist.
            InvalidParameterError: the path does not start with a known root.
            InvalidDataError: a hive is damaged.
        """
        found = self.find(text)
        if found is None:
            raise PathNotFoundError(text, f"no such key in {self.name}", code=2)
        return found

    def resolve(self, text: str) -> RegistryPath:
        """Returns the path with its links and `CurrentControlSet` resolved, as far as the path exists.

        Raises:
            InvalidParameterError: the path does not start with a known root.
            InvalidDataError: a hive is damaged, or there are too many links on the way.
        """
        path = registry_path(text)
        with self.reading():
            for _ in range(_MAX_LINKS):
                followed = self._follow(path)
                if followed is None:
                    return path
                path = followed
        raise InvalidDataError(text, f"more than {_MAX_LINKS} links between keys on the way")

    def _follow(self, path: RegistryPath) -> RegistryPath | None:
        """Returns the path with its first link replaced by the link's target, or None if there is no link."""
        hive = path.hive
        key = None if hive is None else self.root(hive)
        for index, name in enumerate(path.below, 2):
            if key is None:
                break
            child = key.subkey(name)
            if child is None and index == 2 and hive is not None and hive.config_name == "SYSTEM":
                current = self._current_control_set(key, name)
                if current is not None:
                    return RegistryPath((*path.parts[:2], current, *path.parts[3:]))
            if child is not None and child.metadata.flags & KeyFlags.SYM_LINK:
                target = self._target(child)
                if target is not None:
                    return RegistryPath((*target, *path.parts[index + 1 :]))
            key = child
        return None

    @staticmethod
    def _current_control_set(system: Key, name: str) -> str | None:
        select = system.subkey("Select")
        if fold(name) != "CURRENTCONTROLSET" or select is None:
            return None
        number = next((integer(value) for value in select.values() if fold(value.name) == "CURRENT"), None)
        return None if number is None else f"ControlSet{number:03d}"

    @staticmethod
    def _target(link: Key) -> tuple[str, ...] | None:
        for value in link.values():
            if value.type == ValueType.REG_LINK and fold(value.name) == "SYMBOLICLINKVALUE":
                # The value is a string without a terminator.
                names = decode_string(value.data).strip("\\").split("\\")
                root = _LINK_ROOTS.get(names[1].upper()) if len(names) > 1 and names[0].upper() == "REGISTRY" else None
                return None if root is None else (root, *names[2:])
        return None

    def _find(self, path: RegistryPath) -> Key | None:
        hive = path.hive
        if hive is None:
            return self._above(path)
        key = self.root(hive)
        for name in path.below:
            if key is None:
                return None
            key = key.subkey(name)
        return key

    def _above(self, path: RegistryPath) -> Key | None:
        """Returns the key above the hives, whose subkeys are the hives that exist; None for a path below it."""
        if len(path.parts) > 1:
            return None
        top = TreeKey(path.parts[0])
        for hive in LAYER_HIVES:
            root = self.root(hive)
            if hive.mount[0] == path.parts[0] and root is not None:
                top.add(_Mounted(hive.mount[1], root))
        return top


@boundary
class LayerHives(HiveTree):
    """The hives of a chain of open layers, which the caller closes.

    Args:
        layers: the layers, nearest first.
    """

    def __init__(self, layers: Sequence[LayerDirectory]) -> None:
        super().__init__(layers[0].path)
        self.layers = layers
        self._roots: dict[str, Key | None] = {}

    def root(self, hive: LayerHive) -> Key | None:
        """Returns the root key of a hive, or None if no layer has the hive.

        Raises:
            InvalidDataError: the hive is damaged.
        """
        if hive.stem not in self._roots:
            self._roots[hive.stem] = effective_root(self.layers, hive)
        return self._roots[hive.stem]


@boundary
class Registry(LayerHives):
    """The registry of the layer at `path` over its parents, read-only.

    Args:
        alone: the layer's parents are left out.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: the layer or a parent cannot be opened.
    """

    def __init__(self, path: StrPath, *, alone: bool = False) -> None:
        with ExitStack() as stack:
            layer = stack.enter_context(open_layer(path))
            layers = [layer]
            if not alone:
                layers += [stack.enter_context(open_layer(parent)) for parent in layer.parents_in_place()]
            super().__init__(layers)
            self._stack = stack.pop_all()

    def close(self) -> None:
        self._roots.clear()
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class _Mounted:
    """The root key of a hive, under the name of the key at which the hive is mounted."""

    __slots__ = ("_root", "name")

    def __init__(self, name: str, root: Key) -> None:
        self.name = name
        self._root = root

    @property
    def metadata(self) -> KeyMetadata:
        return self._root.metadata

    def values(self) -> list[Value]:
        return self._root.values()

    def subkeys(self) -> list[Key]:
        return self._root.subkeys()

    def subkey(self, name: str) -> Key | None:
        return self._root.subkey(name)


@dataclass(frozen=True, slots=True)
class RegistryDifference:
    """A key that differs, or with `value` one value of it.

    `fields` maps the name of each differing field to its old and new content. For a value, the only field is `data`,
    whose contents are two `Value`s; None stands for a value that does not exist on that side.
    """

    change: Change
    key: str
    value: str | None
    fields: dict[str, tuple[object, object]]


def diff_registries(a: LayerHives, b: LayerHives, *, times: bool = True) -> Iterator[RegistryDifference]:
    """Yields the differences from registry `a` to registry `b`, key by key.

    For an added or removed key, everything below it is yielded, too. Where the two chains share layers, only keys are
    compared that the deltas above these name.

    Args:
        times: whether the last-written times are compared.

    Raises:
        InvalidDataError: a hive is damaged.
    """
    for hive in LAYER_HIVES:
        path = "\\".join(hive.mount)
        with a.reading(), b.reading():
            yield from _diff_keys(path, a.root(hive), b.root(hive), times, deltas_between(a, b, hive))


def deltas_between(a: LayerHives, b: LayerHives, hive: LayerHive) -> Deltas:
    """Returns the changes that two chains make to a hive above the layers that they share."""
    shared = 0
    for layer_a, layer_b in zip(reversed(a.layers), reversed(b.layers), strict=False):
        if layer_a.path != layer_b.path:
            break
        shared += 1
    if not shared:
        return None
    found: list[Key] = []
    for layer in [*a.layers[:-shared], *b.layers[:-shared]]:
        delta = open_hive(layer, hive.delta)
        if delta is not None:
            found.append(delta.root())
        elif open_hive(layer, hive.base) is not None:
            return None
    return _merging(found)


def _merging(deltas: list[Key]) -> Deltas:
    """Returns keys of deltas, or None if one of them replaces what is below it."""
    replacing = (LayerSemantics.TOMBSTONE, LayerSemantics.SUPERSEDE_TREE)
    return None if any(delta.metadata.semantics in replacing for delta in deltas) else deltas


def differs_below(a: Key, b: Key) -> bool:
    """Returns whether two keys, or what lies below them, differ in more than times."""
    return next(_diff_keys("", a, b, False, None), None) is not None


Deltas = list[Key] | None
"""The keys at a path of the deltas that make two registries of the same one: below the path, only keys that they name
can differ. None if any key can."""


def _diff_keys(path: str, a: Key | None, b: Key | None, times: bool, deltas: Deltas) -> Iterator[RegistryDifference]:
    budget = PathBudget(limits_in_use().key_paths)
    yield from diff_pair(path, a, b, times)
    walk = Walk(key_pairs(a, b, deltas), path)
    for above, (key_a, key_b, deltas_below) in walk:
        spelled = key_b or key_a
        assert spelled is not None
        check_depth(walk.depth, spelled)
        path = budget.join(above, spelled.name)
        yield from diff_pair(path, key_a, key_b, times)
        walk.enter(key_pairs(key_a, key_b, deltas_below), path)


def key_pairs(a: Key | None, b: Key | None, deltas: Deltas) -> list[tuple[Key | None, Key | None, Deltas]]:
    """Returns the subkeys of two keys as pairs of the same name, sorted, each with the keys of the deltas that have the
    name; None stands for a missing subkey. Pairs that no delta names are left out."""
    if deltas is None:
        in_a = {} if a is None else index_by_name(a.subkeys())
        in_b = {} if b is None else index_by_name(b.subkeys())
        return [(in_a.get(name), in_b.get(name), None) for name in sorted(in_a.keys() | in_b.keys())]
    named: dict[str, list[Key]] = {}
    for delta in deltas:
        for key in delta.subkeys():
            named.setdefault(fold(key.name), []).append(key)
    found = []
    for name in sorted(named):
        key_a, key_b = (None if key is None else key.subkey(name) for key in (a, b))
        if key_a is not None or key_b is not None:
            found.append((key_a, key_b, _merging(named[name])))
    return found


def diff_pair(path: str, a: Key | None, b: Key | None, times: bool) -> Iterator[RegistryDifference]:
    """Yields the differences of a key itself and of its values, without those of its subkeys."""
    if a is None or b is None:
        if a is not b:
            yield RegistryDifference(Change.ADDED if a is None else Change.REMOVED, path, None, {})
    else:
        fields = _diff_metadata(a.metadata, b.metadata, times)
        if fields:
            yield RegistryDifference(Change.CHANGED, path, None, fields)
    yield from _diff_values(path, a, b)


def _diff_metadata(a: KeyMetadata, b: KeyMetadata, times: bool) -> dict[str, tuple[object, object]]:
    fields: dict[str, tuple[object, object]] = {}
    for name in ("last_written", "security", "class_name", "flags"):
        old, new = getattr(a, name), getattr(b, name)
        if old != new and (times or name != "last_written"):
            fields[name] = (old, new)
    return fields


def _diff_values(path: str, a: Key | None, b: Key | None) -> Iterator[RegistryDifference]:
    in_a = {} if a is None else {fold(value.name): value for value in a.values()}
    in_b = {} if b is None else {fold(value.name): value for value in b.values()}
    for name in sorted(in_a.keys() | in_b.keys()):
        old, new = in_a.get(name), in_b.get(name)
        if old is None or new is None:
            given = old or new
            assert given is not None
            change, pair = (Change.ADDED, (None, new)) if old is None else (Change.REMOVED, (old, None))
            yield RegistryDifference(change, path, given.name, {"data": pair})
        elif old != new:
            yield RegistryDifference(Change.CHANGED, path, new.name, {"data": (old, new)})
