"""`RegistryEditor`: changes the registry of a layer by writing its delta hives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import time_ns
from types import TracebackType
from typing import Protocol, Self

from wclayer._types import StrPath
from wclayer.errors import InvalidParameterError, PathNotFoundError, boundary
from wclayer.formats.regf.delta import SUPERSEDE_LOCAL, SUPERSEDE_TREE, TOMBSTONE, merge
from wclayer.formats.regf.empty import empty_root, root_security
from wclayer.formats.regf.model import Key, KeyMetadata, RegfError, TreeKey, Value, copy_key, fold, limit_times
from wclayer.formats.regf.structs import MAX_VALUE_NAME_UNITS
from wclayer.formats.regf.text import RegEdit
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.directory.database import Origin
from wclayer.layers.directory.hives import effective_root, open_hive
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.scratch_update import open_update
from wclayer.layers.directory.update import FileChange
from wclayer.layers.hives import HIVES_ROOT, LayerHive
from wclayer.model import limits_in_use
from wclayer.view.registry import Registry, RegistryPath, check_key_names
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.inherit import inherit, volume_root
from wclayer.win32.names import utf16_length
from wclayer.win32.security import SecurityDescriptor


@boundary
class RegistryEditor:
    """Changes the registry of the layer at `path`, all at once: by `commit`, or when its context ends without an error.

    In a child layer, the changes are written to the delta hives in `Hives`, in the form that Windows uses: deleted keys
    and values become tombstones; a key that is made again after its deletion hides the keys of the layers below. In a
    base layer, the changes are written to the hives in `Files/Windows/System32/config`. The `_Base` hives are updated.

    Args:
        path: the layer directory.
        time: the latest time (FILETIME) that a key or a file gets which is written; by default the present.

    Raises:
        LayerBusyError: another process is changing the layer.
        PathNotFoundError, NotALayerError, CorruptLayerError: the layer or a parent cannot be opened.
    """

    operation = Registry.operation

    def __init__(self, path: StrPath, *, time: int | None = None) -> None:
        self._update = open_update(path)
        try:
            self._registry = Registry(path)
        except BaseException:
            self._update.close()
            raise
        self._hives: dict[str, _EditedHive] = {}
        now = from_unix_ns(time_ns())
        self._now = now if time is None else min(now, time)
        self._latest = time

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.close()

    def close(self) -> None:
        """Ends the editing. Changes that were not committed are lost."""
        # The keys of a hive keep its file open.
        self._hives.clear()
        self._registry.close()
        self._update.close()

    def find(self, key: str) -> Key | None:
        """Returns a key of a hive as the changes so far leave it, or None if it does not exist.

        Raises:
            InvalidParameterError: `key` is not a path of the registry, or is above the hives.
            InvalidDataError: a hive is damaged.
        """
        hive, path = self._hive(key)
        with self._registry.reading():
            return hive.find(path.below)

    def create_key(self, key: str) -> None:
        """Makes a key, with the keys above it. An existing key is left as it is.

        Raises:
            InvalidParameterError: `key` is not a path of the registry, or a name is too long.
            PathNotFoundError: the layer has no such hive.
        """
        self._edit(key)

    def set_value(self, key: str, name: str, kind: int, data: bytes) -> None:
        """Sets a value of a key. A missing key is made.

        Args:
            name: the value's name; "" for the default value.
            kind: its type, a `ValueType` or another number.
            data: the data in its stored form (see `encode_string` and `from_text`).

        Raises:
            InvalidParameterError, PathNotFoundError: see `create_key`.
        """
        if utf16_length(name) > MAX_VALUE_NAME_UNITS:
            raise InvalidParameterError(key, f"a value's name has at most {MAX_VALUE_NAME_UNITS} characters")
        hive, below = self._edit(key)
        hive.set_value(below, Value(name, kind, data))

    def delete_value(self, key: str, name: str) -> None:
        """Deletes a value.

        Raises:
            PathNotFoundError: the value does not exist.
        """
        hive, below = self._existing(key)
        if not hive.delete_value(below, name):
            raise PathNotFoundError(key, f"the key has no value {name!r}", code=2)

    def delete_key(self, key: str) -> None:
        """Deletes a key and everything below it.

        Raises:
            PathNotFoundError: the key does not exist.
            InvalidParameterError: the key is the root of a hive.
        """
        hive, below = self._existing(key)
        if not below:
            raise InvalidParameterError(key, "the root key of a hive cannot be deleted")
        hive.delete_key(below)

    def apply(self, edits: Iterable[RegEdit]) -> int:
        """Carries out the steps of a `.reg` file, as regedit does: deleting a missing key or value is not an error.

        Returns:
            The number of steps.

        Raises:
            InvalidParameterError, PathNotFoundError: see `set_value`.
        """
        count = 0
        for edit in edits:
            count += 1
            apply_edit(self, edit)
        return count

    def commit(self) -> None:
        """Writes the changed hives. All changes become visible in one step.

        Raises:
            InvalidDataError: the hive would break a rule of hives (too many levels, …).
            LayerError: the host failed; the layer has either none or all of the changes.
        """
        for edited in self._hives.values():
            if edited.is_changed:
                with self._registry.reading():
                    for change in edited.files():
                        self._update.put(
                            change.path, change.data, origin=change.origin, security=change.security,
                            directory_security=change.directory_security,
                        )  # fmt: skip
        # Windows would not replace open files.
        self._registry.close()
        self._update.commit(self._now)

    def _edit(self, text: str) -> tuple[_EditedHive, tuple[str, ...]]:
        """Makes a key, and returns its hive and its path in the hive."""
        hive, path = self._hive(text)
        check_key_names(text, path.below)
        with self._registry.reading():
            hive.create_key(path.below)
        return hive, path.below

    def _existing(self, text: str) -> tuple[_EditedHive, tuple[str, ...]]:
        hive, path = self._hive(text)
        with self._registry.reading():
            if hive.find(path.below) is None:
                raise PathNotFoundError(text, f"no such key in {self._registry.layers[0].path}", code=2)
        return hive, path.below

    def _hive(self, text: str) -> tuple[_EditedHive, RegistryPath]:
        path = self._registry.resolve(text)
        hive = path.hive
        if hive is None:
            raise InvalidParameterError(
                text, r"names no hive of a layer: HKLM\SAM, HKLM\SECURITY, HKLM\SOFTWARE, "
                r"HKLM\SYSTEM or HKU\.DEFAULT",
            )  # fmt: skip
        edited = self._hives.get(hive.stem)
        if edited is None:
            with self._registry.reading():
                edited = self._hives[hive.stem] = _EditedHive(self._registry, hive, self._now, self._latest)
        return edited, path


class EditableKeys(Protocol):
    """The keys of a registry that is being changed."""

    def create_key(self, key: str) -> None: ...
    def set_value(self, key: str, name: str, kind: int, data: bytes) -> None: ...
    def delete_value(self, key: str, name: str) -> None: ...
    def delete_key(self, key: str) -> None: ...


def apply_edit(registry: EditableKeys, edit: RegEdit) -> None:
    """Carries out one step of a `.reg` file, as regedit does: deleting a missing key or value is not an error.

    Raises:
        InvalidParameterError, PathNotFoundError: see `RegistryEditor.set_value`.
    """
    if not edit.is_deletion:
        if edit.value is None:
            registry.create_key(edit.key)
        else:
            registry.set_value(edit.key, edit.value.name, edit.value.type, edit.value.data)
        return
    with suppress(PathNotFoundError):
        if edit.value is None:
            registry.delete_key(edit.key)
        else:
            registry.delete_value(edit.key, edit.value.name)


class _EditedHive:
    """A hive that is being changed: the hive that it is based on, and a delta in memory."""

    def __init__(self, registry: Registry, hive: LayerHive, now: int, latest: int | None) -> None:
        self._hive = hive
        self._now = now
        self._latest = latest
        self._layers = registry.layers
        layer = registry.layers[0]
        self._is_base = len(registry.layers) == 1
        self.is_changed = False
        if self._is_base:
            row = layer.lookup(hive.config)
            if row is None:
                raise PathNotFoundError(layer.path, f"the layer has no hive {hive.config}", code=2)
            self._above: Key | None = effective_root(registry.layers, hive) or empty_root(now)
            delta = None
        else:
            self._above = effective_root(registry.layers[1:], hive)
            delta = open_hive(layer, hive.delta)
        if delta is not None:
            self._delta = copy_key(delta.root())
        elif self._above is not None:
            self._delta = TreeKey(self._above.name, _promoted(self._above))
        else:
            self._delta = empty_root(now)

    def find(self, names: tuple[str, ...]) -> Key | None:
        """Returns the key in its current state; None if it does not exist."""
        key = merge(self._above, self._delta)
        for name in names:
            key = None if key is None else key.subkey(name)
        return key

    def create_key(self, names: tuple[str, ...]) -> None:
        """Makes a key and the keys above it, if they do not exist."""
        if self.find(names) is None:
            self._own(names)

    def set_value(self, names: tuple[str, ...], value: Value) -> None:
        own, _ = self._own(names)
        own.set(value)
        self._touch(own)

    def delete_value(self, names: tuple[str, ...], name: str) -> bool:
        """Deletes a value of an existing key. Returns False if the value does not exist."""
        seen = self.find(names)
        if seen is None or not any(fold(value.name) == fold(name) for value in seen.values()):
            return False
        own, above = self._own(names)
        own.by_name.pop(fold(name), None)
        inherits = above is not None and own.metadata.semantics not in (SUPERSEDE_LOCAL, SUPERSEDE_TREE)
        if inherits and above is not None:
            for value in above.values():
                if fold(value.name) == fold(name):
                    own.set(Value(value.name, 0, b"", is_tombstone=True))
        self._touch(own)
        return True

    def delete_key(self, names: tuple[str, ...]) -> None:
        """Deletes an existing key."""
        parent, above = self._own(names[:-1])
        name = names[-1]
        hidden = None if above is None else above.subkey(name)
        if hidden is None:
            parent.below.pop(fold(name), None)
        else:
            metadata = KeyMetadata(self._now, parent.metadata.security, semantics=TOMBSTONE)
            parent.add(TreeKey(hidden.name, metadata))
        self._touch(parent)

    def _touch(self, key: TreeKey) -> None:
        key.metadata = key.metadata._replace(last_written=self._now)
        self.is_changed = True

    def _own(self, names: tuple[str, ...]) -> tuple[TreeKey, Key | None]:
        """Returns the delta's own key at a path, which is made if necessary, and the key that it is merged with."""
        own, above = self._delta, self._above
        for name in names:
            superseded = own.metadata.semantics is SUPERSEDE_TREE
            hidden = None if above is None or superseded else above.subkey(name)
            child = own.below.get(fold(name))
            if not isinstance(child, TreeKey):
                child = self._add(own, name, hidden, superseded)
            elif child.metadata.semantics is TOMBSTONE:
                child = self._add(own, name, None, superseded=True)
            own, above = child, None if child.metadata.semantics is SUPERSEDE_TREE else hidden
        return own, above

    def _add(self, parent: TreeKey, name: str, hidden: Key | None, superseded: bool) -> TreeKey:
        if hidden is not None:
            child = TreeKey(hidden.name, _promoted(hidden))
        else:
            metadata = KeyMetadata(self._now, inherited_security(parent.metadata.security))
            if superseded:
                metadata = metadata._replace(semantics=SUPERSEDE_TREE)
            child = TreeKey(name, metadata)
            self._touch(parent)
        parent.add(child)
        return child

    def files(self) -> list[FileChange]:
        """Returns the changed files of the layer, which hold the hive."""
        if self._latest is not None:
            limit_times(self._delta, self._latest)
        effective = merge(self._above, self._delta)
        if effective is None:
            raise RegfError("the root key is deleted")
        max_size = limits_in_use().hive_size
        base = write_hive(effective, file_name=self._hive.base, max_size=max_size)
        made = FileChange(self._hive.base, base, Origin.MADE)
        if self._is_base:
            return [FileChange(self._hive.config, base, Origin.OWN), made]
        delta = write_hive(self._delta, has_layered_keys=True, file_name=self._hive.delta, max_size=max_size)
        above = _security_of(self._layers, HIVES_ROOT) or volume_root().encode()
        # Hives that Windows writes have no descriptor, and a transport folder cannot hold one.
        own = _security_of(self._layers, self._hive.delta)
        return [FileChange(self._hive.delta, delta, Origin.OWN, own, above), made]


def _security_of(layers: Sequence[LayerDirectory], path: str) -> bytes | None:
    """Returns the descriptor of an entry in the nearest of `layers` that has one."""
    for layer in layers:
        row = layer.lookup(path)
        descriptor = None if row is None else layer.security(row)
        if descriptor is not None:
            return descriptor
    return None


def _promoted(key: Key) -> KeyMetadata:
    """Returns the metadata of a delta's key that only leads to other keys, and changes nothing of the lower key."""
    return key.metadata._replace(class_name=b"", inherits_class=True)


def inherited_security(parent: bytes | None) -> bytes:
    """Returns the security of a new key: what it inherits from the key above, or else the descriptor of that key."""
    if parent is None:
        return root_security()
    above = SecurityDescriptor.decode(parent)
    made = inherit(above, is_directory=True)
    nothing = made.dacl is None or not any(ace.flags for ace in made.dacl.aces)
    return parent if nothing else made.encode()
