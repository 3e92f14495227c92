"""The registry of a subject: its keys by path, the layer that brought each, and the hives of its users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from wclayer.errors import FormatError
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.model import Key, Value, fold
from wclayer.formats.regf.recovery import recover
from wclayer.formats.regf.structs import KeyFlags, LayerSemantics
from wclayer.inventory.item import Origin, SubjectLayer
from wclayer.inventory.subject.files import SubjectFile, SubjectFiles
from wclayer.inventory.subject.readings import KnownFiles
from wclayer.layers.directory import LayerDirectory
from wclayer.layers.directory.hives import open_hive
from wclayer.layers.hives import LOG_SUFFIXES, LayerHive
from wclayer.model import limits_in_use
from wclayer.view.registry import HiveTree

_ABBREVIATIONS = {"HKEY_LOCAL_MACHINE": "HKLM", "HKEY_USERS": "HKU"}
_PROFILES = ("Users/*", "Windows/ServiceProfiles/*")
_USER_HIVE, _CLASSES_HIVE = "NTUSER.DAT", "AppData/Local/Microsoft/Windows/UsrClass.dat"
READS = tuple(
    KnownFiles(f"{profile}/{hive}{suffix}")
    for profile in _PROFILES
    for hive in (_USER_HIVE, _CLASSES_HIVE)
    for suffix in ("", *LOG_SUFFIXES)
)
"""The files of users' hives."""


class KeySource(Protocol):
    """Keys by their paths: the registry of a subject, or the keys of one user."""

    def find(self, path: str) -> Key | None:
        """Returns the key at a path; None if it does not exist."""

    def subkeys(self, path: str) -> Iterator[tuple[str, Key]]:
        """Yields the subkeys of a key, each with its path; nothing if it does not exist."""

    def origin(self, path: str, value: str | None = None) -> Origin:
        """Returns the place of a key or a value, and the layer that brought it."""


def subkeys_of(key: Key | None, path: str) -> Iterator[tuple[str, Key]]:
    """Yields the subkeys of the key at a path, each with its path; nothing for None."""
    for subkey in () if key is None else key.subkeys():
        yield f"{path}\\{subkey.name}", subkey


@dataclass(frozen=True, slots=True)
class UserHive:
    """The hive of a user, as a `KeySource` whose paths begin with that of the file.

    Attributes:
        user: the name of the folder of the profile.
        file: the file of the hive.
        root: its root key: what the user sees as HKEY_CURRENT_USER, or for UsrClass.dat, as `Software\\Classes` in it.
    """

    user: str
    file: SubjectFile
    root: Key

    def find(self, path: str) -> Key | None:
        """See `KeySource`."""
        key: Key | None = self.root
        for name in path.removeprefix(f"{self.file.windows_path}\\").split("\\"):
            if key is None:
                return None
            key = key.subkey(name)
        return key

    def subkeys(self, path: str) -> Iterator[tuple[str, Key]]:
        """See `KeySource`."""
        return subkeys_of(self.find(path), path)

    def origin(self, path: str, value: str | None = None) -> Origin:
        """See `KeySource`."""
        return Origin(path, self.file.layer)


class SubjectRegistry:
    r"""The registry of a subject. Paths are those of `reg.exe`, such as `HKLM\SOFTWARE\Microsoft`.

    Args:
        keys: its keys by their paths.
        files: its files, among them the hives of users.
        layers: its layers, base layer first.
        directories: the layer directories of the chain, base layer first; empty for a disk.
    """

    def __init__(
        self,
        keys: HiveTree,
        files: SubjectFiles,
        layers: Sequence[SubjectLayer],
        directories: Sequence[LayerDirectory] = (),
    ) -> None:
        self.keys = keys
        self._files = files
        self._layers = layers
        self._directories = directories
        self._deltas: dict[str, list[Key | None]] = {}
        self._last: tuple[str, _KeyOrigin] | None = None
        self._above: tuple[str, _At | None] | None = None

    def find(self, path: str) -> Key | None:
        """Returns the key at a path, links and `CurrentControlSet` followed; None if it does not exist.

        Raises:
            InvalidDataError: the hive is damaged.
        """
        return self.keys.find(path)

    def subkeys(self, path: str) -> Iterator[tuple[str, Key]]:
        """Yields the subkeys of a key, each with its path; nothing if it does not exist."""
        return subkeys_of(self.find(path), path)

    def origin(self, path: str, value: str | None = None) -> Origin:
        """Returns the place of a key or a value, and the layer that brought it.

        A value is brought by the nearest layer that changed its type or data. A key is brought by the nearest layer in
        which it was made: a layer that only changes something in it does not count.

        Args:
            path: the path of the key.
            value: the name of a value; if the key does not have it, the key itself is meant.
        """
        # The values of one key are asked for one after the other; each time, the key would be looked up and read anew.
        if self._last is None or self._last[0] != path:
            self._last = path, self._key_origin(path)
        key = self._last[1]
        return Origin(key.place, self._layers[key.brought_by(value)])

    def _key_origin(self, path: str) -> _KeyOrigin:
        # Keys beside each other are asked for one after the other; each time, the keys above would be looked up anew.
        above, _, name = path.rpartition("\\")
        if self._above is None or self._above[0] != above:
            self._above = above, self._at(above) if above else None
        known = self._above[1]
        key = None if known is None or known.key is None or not name else known.key.subkey(name)
        if known is None or key is None or key.metadata.flags & KeyFlags.SYM_LINK:
            found = self._at(path)
            return _KeyOrigin("\\".join(found.parts), [each.here for each in found.layers])
        return _KeyOrigin("\\".join((*known.parts, name)), [each.below(name).here for each in known.layers])

    def _at(self, path: str) -> _At:
        """Returns where a path leads."""
        resolved = self.keys.resolve(path)
        parts = list(resolved.parts)
        parts[0] = _ABBREVIATIONS.get(parts[0], parts[0])
        roots = self._hives(resolved.hive) if self._directories and resolved.hive is not None else []
        layers = [_Position.of_root(root) for root in roots]
        for name in resolved.below:
            layers = [each.below(name) for each in layers]
        return _At(tuple(parts), None if resolved.hive is None else self.keys.find(path), layers)

    def _hives(self, hive: LayerHive) -> list[Key | None]:
        """Returns the root key of a hive in the base layer, and of its delta in each layer above."""
        known = self._deltas.get(hive.stem)
        if known is None:
            known = []
            for number, directory in enumerate(self._directories):
                found = open_hive(directory, hive.delta)
                if not number:
                    found = open_hive(directory, hive.base) or open_hive(directory, hive.config) or found
                known.append(None if found is None else found.root())
            self._deltas[hive.stem] = known
        return known

    def profiles(self) -> Iterator[SubjectFile]:
        """Yields the folders of the users' profiles, and of those of services."""
        for pattern in _PROFILES:
            yield from (found for found in self._files.matching(pattern) if found.is_directory and not found.is_link)

    def user_hive_files(self, *, classes: bool) -> Iterator[tuple[SubjectFile, SubjectFile]]:
        r"""Yields the files of users' hives, each after the folder of its profile.

        Args:
            classes: whether the hives with the users' `Software\Classes` are meant, not those with everything else.
        """
        for profile in self.profiles():
            found = self._files.find(f"{profile.path}/{_CLASSES_HIVE if classes else _USER_HIVE}")
            if found is not None and not found.is_directory and found.size:
                yield profile, found

    def open_user_hive(self, profile: SubjectFile, file: SubjectFile) -> UserHive:
        """Returns the hive of a user, recovered from its logs.

        Raises:
            FormatError: it is damaged, or larger than the limit `hive_size`.
        """
        hive = read_hive(self._files, file.path)
        if hive is None:
            raise FormatError("has no contents")
        return UserHive(profile.name, file, hive.root())


class DiskHives(HiveTree):
    """The hives in the files of a disk.

    Args:
        files: the files of the disk.
        name: the disk file, for messages.
    """

    def __init__(self, files: SubjectFiles, name: str) -> None:
        super().__init__(name)
        self._files = files
        self._roots: dict[str, Key | None] = {}

    def root(self, hive: LayerHive) -> Key | None:
        """Returns the root key of a hive; None if its file is not there.

        Raises:
            FormatError: the hive is damaged.
        """
        if hive.stem not in self._roots:
            found = read_hive(self._files, hive.config.partition("/")[2])
            self._roots[hive.stem] = None if found is None else found.root()
        return self._roots[hive.stem]


def read_hive(files: SubjectFiles, path: str) -> Hive | None:
    """Returns the hive in a file, recovered from the logs beside it; None if it is missing or empty.

    Raises:
        FormatError: it is damaged, or larger than the limit `hive_size`.
    """
    limit = limits_in_use().hive_size
    file = files.find(path)
    if file is None or file.is_directory or not file.size:
        return None
    data = files.read(file, limit)
    hive = Hive(data)
    if not hive.is_dirty:
        return hive
    found = (files.find(path + suffix) for suffix in LOG_SUFFIXES)
    logs = [files.read(log, limit) for log in found if log is not None and log.size and not log.is_directory]
    return Hive(recover(data, logs, max_size=limit))


class _Gone:
    """A layer deletes a key."""


@dataclass(frozen=True, slots=True)
class _InLayer:
    """What a layer has of a key: its values by their folded names, and whether they replace those of layers below."""

    values: Mapping[str, Value]
    replaces: bool

    def data_of(self, value: str, below: tuple[int, bytes] | None) -> tuple[int, bytes] | None:
        """Returns the type and data of a value, of which the layers below have those; None if it is not there."""
        found = self.values.get(value)
        if found is None:
            return None if self.replaces else below
        return None if found.is_tombstone else (found.type, found.data)


@dataclass(frozen=True, slots=True)
class _KeyOrigin:
    """Where a key is from.

    Attributes:
        place: its path.
        found: what each layer has of it, the base layer first; None for a layer that says nothing of it. Empty if only
            one layer can have it.
    """

    place: str
    found: Sequence[_InLayer | _Gone | None]

    def brought_by(self, value: str | None) -> int:
        """Returns the index of the layer that brought the key, or a value of it."""
        wanted = None if value is None else fold(value)
        key_from = value_from = 0
        exists, data = False, None
        for index, found in enumerate(self.found):
            if found is None:
                continue
            if isinstance(found, _Gone):
                exists, data = False, None
                continue
            if not exists:
                exists, key_from = True, index
            new_data = data if wanted is None else found.data_of(wanted, data)
            if new_data != data:
                value_from, data = index, new_data
        return key_from if data is None else value_from


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a path leads in a delta or a whole hive.

    Attributes:
        key: the key there; None if there is none.
        is_new: whether nothing of layers below is seen there.
    """

    key: Key | None
    is_new: bool

    @classmethod
    def of_root(cls, root: Key | None) -> _Position:
        """Returns the position of the root key; None is that of a layer without the hive."""
        return cls(root, root is not None and root.metadata.semantics is LayerSemantics.SUPERSEDE_TREE)

    def below(self, name: str) -> _Position:
        """Returns the position of a key below."""
        key = None if self.key is None else self.key.subkey(name)
        if key is None:
            return _Position(None, self.is_new)
        semantics = key.metadata.semantics
        if semantics is LayerSemantics.TOMBSTONE:
            return _Position(None, True)
        return _Position(key, self.is_new or semantics is LayerSemantics.SUPERSEDE_TREE)

    @property
    def here(self) -> _InLayer | _Gone | None:
        """What the layer has of the key; None if it says nothing of it."""
        if self.key is None:
            return _Gone() if self.is_new else None
        replaces = self.is_new or self.key.metadata.semantics is LayerSemantics.SUPERSEDE_LOCAL
        return _InLayer({fold(value.name): value for value in self.key.values()}, replaces)


@dataclass(frozen=True, slots=True)
class _At:
    """Where a path leads.

    Attributes:
        parts: its components, links followed.
        key: the key there, of all layers together; None if it does not exist, or lies above the hives.
        layers: where it leads in each layer, base layer first. Empty if only one layer can have it.
    """

    parts: tuple[str, ...]
    key: Key | None
    layers: Sequence[_Position]
