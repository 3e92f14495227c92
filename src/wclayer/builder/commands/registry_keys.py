r"""The registry as commands see it: the machine's hives, and the hive of the user as `HKEY_CURRENT_USER`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from wclayer.builder.commands.command import refused
from wclayer.builder.commands.known_files import FileKind
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.machine.user_hive import UserHive, hive_places, no_profile
from wclayer.errors import InvalidParameterError
from wclayer.formats.regf.model import Key, Value, fold
from wclayer.formats.regf.values import ValueType, decode_string
from wclayer.view.machine_environment import MACHINE_KEY, control_set_of
from wclayer.view.registry import RegistryPath, check_key_names, registry_path

if TYPE_CHECKING:
    from wclayer.engines.portable.registry import RegistryEditor

_USER = "HKEY_CURRENT_USER"
_MACHINE = "HKEY_LOCAL_MACHINE"
_ENVIRONMENTS = tuple(
    fold(str(registry_path(MACHINE_KEY.replace("CurrentControlSet", name))))
    for name in ("CurrentControlSet", "ControlSet001")
)
_WINDOWS = r"MICROSOFT\WINDOWS\CURRENTVERSION"
_NT = r"MICROSOFT\WINDOWS NT\CURRENTVERSION"
_SHARED = (
    "CLIENTS", "POLICIES", "REGISTEREDAPPLICATIONS", r"MICROSOFT\COM3", r"MICROSOFT\EVENTSYSTEM",
    r"MICROSOFT\NOTEPAD\DEFAULTFONTS", r"MICROSOFT\OLE", r"MICROSOFT\RPC", r"MICROSOFT\SHARED TOOLS\MSINFO",
    r"MICROSOFT\SYSTEMCERTIFICATES", r"MICROSOFT\TERMSERVLICENSING", r"MICROSOFT\TRANSACTION SERVER",
    rf"{_WINDOWS}\CONTROL PANEL\CURSORS\SCHEMES", rf"{_WINDOWS}\EXPLORER\AUTOPLAYHANDLERS",
    rf"{_WINDOWS}\EXPLORER\DRIVEICONS", rf"{_WINDOWS}\EXPLORER\KINDMAP", rf"{_WINDOWS}\GROUP POLICY",
    rf"{_WINDOWS}\PREVIEWHANDLERS", rf"{_WINDOWS}\SETUP", rf"{_WINDOWS}\TELEPHONY\LOCATIONS", rf"{_NT}\FONTDPI",
    rf"{_NT}\FONTLINK", rf"{_NT}\FONTMAPPER", rf"{_NT}\FONTS", rf"{_NT}\FONTSUBSTITUTES", rf"{_NT}\GRE_INITIALIZE",
    rf"{_NT}\IMAGE FILE EXECUTION OPTIONS", rf"{_NT}\LANGUAGEPACK", rf"{_NT}\NETWORKCARDS", rf"{_NT}\PERFLIB",
    rf"{_NT}\PORTS", rf"{_NT}\PRINT", rf"{_NT}\PROFILELIST", rf"{_NT}\TIME ZONES",
)  # fmt: skip
"""The keys below `HKLM\\SOFTWARE` that 32-bit and 64-bit programs share ("Registry Keys Affected by WOW64")."""


def registry_key(text: str, *, is_32: bool = False) -> str:
    r"""Returns the full path of a key: `HKEY_LOCAL_MACHINE\SOFTWARE\…` or `HKEY_CURRENT_USER\…`.

    Args:
        text: the path in the spelling of reg.exe.
        is_32: the key is that of 32-bit programs, which Windows keeps below `WOW6432Node`.

    Raises:
        InvalidParameterError: the path is not in a hive of an image, or no hive can hold the key.
    """
    parts = [part for part in text.split("\\") if part]
    if text.startswith("\\\\"):
        raise InvalidParameterError(text, "is a key of another machine")
    if parts and parts[0].upper() in ("HKCU", _USER):
        check_key_names(text, parts[1:])
        return "\\".join([_USER, *parts[1:]])
    path = registry_path(text)
    if path.hive is None:
        raise InvalidParameterError(
            text, r"is in no hive of an image: HKLM\SAM, HKLM\SECURITY, HKLM\SOFTWARE, HKLM\SYSTEM, HKU\.DEFAULT, HKCU"
        )
    if is_32:
        path = _for_32_bit(text, path)
    check_key_names(text, path.below)
    return str(path)


def _for_32_bit(text: str, path: RegistryPath) -> RegistryPath:
    names = [fold(name) for name in path.parts]
    if names[:2] != [_MACHINE, "SOFTWARE"] or names[2:3] == ["WOW6432NODE"]:
        return path
    below = "\\".join(names[2:])
    if names[2:3] == ["CLASSES"]:
        raise InvalidParameterError(
            text, r"which keys of HKLM\SOFTWARE\Classes 32-bit programs share depends on the key; "
            r"write HKLM\SOFTWARE\Classes\WOW6432Node\… without /reg:32",
        )  # fmt: skip
    if any(below == shared or below.startswith(shared + "\\") for shared in _SHARED):
        return path
    return RegistryPath((*path.parts[:2], "WOW6432Node", *path.parts[2:]))


def is_machine_environment(key: str) -> bool:
    """Returns whether a full path is that of the machine's environment."""
    return fold(key) in _ENVIRONMENTS


def holds_machine_environment(key: str) -> bool:
    """Returns whether a full path is that of the machine's environment, or of a key above it."""
    return any(f"{place}\\".startswith(fold(key) + "\\") for place in _ENVIRONMENTS)


def plan_value(state: PlannedState, key: str, value: Value) -> None:
    """Records in the planned state that a value is set, if it is a variable of the machine."""
    if is_machine_environment(key) and value.type in (ValueType.REG_SZ, ValueType.REG_EXPAND_SZ):
        state.machine.set(value.name, decode_string(value.data), expands=value.type == ValueType.REG_EXPAND_SZ)


def check_keys(state: PlannedState, keys: Iterable[str]) -> None:
    """Checks that the image has the hives of keys, as far as that is known before anything is built.

    Raises:
        NotSupportedError: a key is in the registry of a user who has none.
    """
    files = state.files
    if (
        files is not None
        and any(_user_names(key) is not None for key in keys)
        and all(files.kind(place) is FileKind.ABSENT for place in hive_places(state.user))
    ):
        raise refused(state.where, _USER, no_profile(state.user))


class EditedRegistry:
    """The registry of a build that is being changed. Keys are full paths, as `registry_key` returns them."""

    def __init__(self, machine: RegistryEditor | None, user: UserHive | None) -> None:
        self._machine = machine
        self._user = user

    def find(self, key: str) -> Key | None:
        """Returns a key as the changes so far leave it, or None."""
        names = _user_names(key)
        if names is not None:
            return self._users().find(names)
        machine = self._machines()
        return machine.find(control_set_of(machine.find, key))

    def create_key(self, key: str) -> None:
        """Makes a key and those above it, if they do not exist."""
        names = _user_names(key)
        if names is not None:
            self._users().create_key(names)
        else:
            self._machines().create_key(self._in_control_set(key))

    def set_value(self, key: str, name: str, kind: int, data: bytes) -> None:
        """Sets a value of a key, which is made if it does not exist."""
        names = _user_names(key)
        if names is not None:
            self._users().set_value(names, Value(name, kind, data))
        else:
            self._machines().set_value(self._in_control_set(key), name, kind, data)

    def delete_value(self, key: str, name: str) -> None:
        """Deletes a value.

        Raises:
            PathNotFoundError: the key or the value does not exist.
        """
        names = _user_names(key)
        if names is not None:
            self._users().delete_value(names, name)
        else:
            self._machines().delete_value(self._in_control_set(key), name)

    def delete_key(self, key: str) -> None:
        """Deletes a key and everything below it.

        Raises:
            PathNotFoundError: the key does not exist.
        """
        names = _user_names(key)
        if names is not None:
            self._users().delete_key(names)
        else:
            self._machines().delete_key(self._in_control_set(key))

    def value(self, key: str, name: str) -> Value | None:
        """Returns a value of a key, or None."""
        found = self.find(key)
        values = [] if found is None else found.values()
        return next((value for value in values if fold(value.name) == fold(name)), None)

    def _in_control_set(self, key: str) -> str:
        return control_set_of(self._machines().find, key)

    def _users(self) -> UserHive:
        assert self._user is not None
        return self._user

    def _machines(self) -> RegistryEditor:
        assert self._machine is not None
        return self._machine


@contextmanager
def edited_registry(shell: Shell, keys: Iterable[str]) -> Iterator[EditedRegistry]:
    """Opens the registry for changes, which are made at the end of the context, unless there is an error.

    Args:
        shell: the shell; inside the context, its files cannot be used.
        keys: full paths of the keys that will be used: the hives of their roots are opened.

    Raises:
        NotSupportedError: a key is in the registry of a user who has none.
        InvalidDataError: a hive is damaged.
    """
    are_users = {_user_names(key) is not None for key in keys}
    user = UserHive(shell.view, shell.user, shell.workspace.time) if True in are_users else None
    with ExitStack() as stack:
        machine = stack.enter_context(shell.workspace.registry()) if False in are_users else None
        yield EditedRegistry(machine, user)
    if user is not None:
        user.save(shell.view)


def _user_names(key: str) -> tuple[str, ...] | None:
    """Returns the path below the root of the user's hive, or None for a key of the machine."""
    first, *names = key.split("\\")
    return tuple(names) if first == _USER else None
