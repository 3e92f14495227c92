r"""`UserHive`: the registry of the user of a container (`HKEY_CURRENT_USER`), the file `NTUSER.DAT` of a profile.

Windows makes the profile of a user at its first logon, as a copy of `C:\Users\Default`. An image whose layers have no
profile of the user yet gets the changes in that template: the user's profile starts with them.
"""

from __future__ import annotations

from time import time_ns

from wclayer.engines.portable.registry import inherited_security
from wclayer.errors import NotSupportedError, PathNotFoundError, errors_at
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.model import Key, KeyMetadata, TreeKey, Value, copy_key, fold
from wclayer.formats.regf.recovery import recover
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.hives import LOG_SUFFIXES
from wclayer.model import limits_in_use
from wclayer.view.layer_view import LayerView
from wclayer.win32.filetime import from_unix_ns

_FILE = "NTUSER.DAT"
_TEMPLATE = "Default"


def hive_places(user: str) -> tuple[str, str]:
    """Returns where the registry of a user is: the file of its profile, and that of the template of profiles."""
    first, second = (rf"C:\Users\{owner}\{_FILE}" for owner in (_name_of(user), _TEMPLATE))
    return first, second


def no_profile(user: str) -> str:
    """Returns what is told of an image that has neither."""
    return (
        f"the image has no profile of the user {_name_of(user)}, and no template of profiles ({hive_places(user)[1]});"
        " use HKLM, or setx /M"
    )


def _name_of(user: str) -> str:
    """Returns the name of a user without that of a machine before it."""
    return user.rpartition("\\")[2]


class UserHive:
    """The registry of a user, in memory until it is written by `save`.

    Args:
        view: the files of the build.
        user: the user's name, with or without the name of a machine before it.
        time: the latest time (FILETIME) that a changed key gets; by default the present.

    Raises:
        NotSupportedError: the image has neither a profile of the user nor the template of profiles.
        InvalidDataError: the hive is damaged.
        LimitExceededError: the hive is larger than `Limits.hive_size`.
    """

    def __init__(self, view: LayerView, user: str, time: int | None = None) -> None:
        found = next((place for place in hive_places(user) if view.exists(place)), None)
        if found is None:
            raise NotSupportedError("HKEY_CURRENT_USER", no_profile(user))
        self.path = found
        """The file that holds the hive."""
        now = from_unix_ns(time_ns())
        self._now = now if time is None else min(now, time)
        self._is_changed = False
        with errors_at(found):
            self._root = _read(view, found)

    def find(self, names: tuple[str, ...]) -> Key | None:
        """Returns the key at a path below the root, or None."""
        key: Key | None = self._root
        for name in names:
            key = None if key is None else key.subkey(name)
        return key

    def create_key(self, names: tuple[str, ...]) -> TreeKey:
        """Returns the key at a path; it and those above it are made if they do not exist."""
        key = self._root
        for name in names:
            child = key.below.get(fold(name))
            if not isinstance(child, TreeKey):
                child = TreeKey(name, KeyMetadata(self._now, inherited_security(key.metadata.security)))
                key.add(child)
                self._touch(key)
            key = child
        return key

    def set_value(self, names: tuple[str, ...], value: Value) -> None:
        """Sets a value of a key, which is made if it does not exist."""
        key = self.create_key(names)
        key.set(value)
        self._touch(key)

    def delete_value(self, names: tuple[str, ...], name: str) -> None:
        """Deletes a value.

        Raises:
            PathNotFoundError: the key or the value does not exist.
        """
        key = self.find(names)
        if not isinstance(key, TreeKey) or key.by_name.pop(fold(name), None) is None:
            raise PathNotFoundError("\\".join(names), f"the key has no value {name!r}", code=2)
        self._touch(key)

    def delete_key(self, names: tuple[str, ...]) -> None:
        """Deletes a key below the root, and everything below it.

        Raises:
            PathNotFoundError: the key does not exist.
        """
        above = self.find(names[:-1])
        if not isinstance(above, TreeKey) or above.below.pop(fold(names[-1]), None) is None:
            raise PathNotFoundError("\\".join(names), "no such key", code=2)
        self._touch(above)

    def save(self, view: LayerView) -> None:
        """Writes the hive if it was changed; the file keeps its metadata."""
        if self._is_changed:
            with errors_at(self.path):
                data = write_hive(self._root, file_name=_FILE, max_size=limits_in_use().hive_size)
            with view.replacing(self.path) as file:
                file.write(data)

    def _touch(self, key: TreeKey) -> None:
        key.metadata = key.metadata._replace(last_written=self._now)
        self._is_changed = True


def _read(view: LayerView, path: str) -> TreeKey:
    data = _bounded(view, path)
    hive = Hive(data)
    if hive.is_dirty:
        logs = [_bounded(view, path + suffix) for suffix in LOG_SUFFIXES if view.exists(path + suffix)]
        hive = Hive(recover(data, [log for log in logs if log], max_size=limits_in_use().hive_size))
    return copy_key(hive.root())


def _bounded(view: LayerView, path: str) -> bytes:
    most = limits_in_use().hive_size
    if most is not None and view.stat(path).size > most:
        raise NotSupportedError(path, f"is larger than {most} bytes (limit hive_size; --max-hive-size raises it)")
    return view.read_bytes(path)
