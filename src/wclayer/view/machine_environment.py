r"""The environment variables of a machine, which Windows keeps in the registry of the image.

They are the values of `HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment`. Every process of a container
gets them, unless the configuration of the image sets a variable of the same name: that one hides the machine's.

Sources: "Environment Variables" (Win32), "User Environment Variables", the reference of `setx`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from wclayer.errors import InvalidParameterError
from wclayer.formats.regf.model import Key, fold
from wclayer.formats.regf.values import ValueType, decode_string, encode_string
from wclayer.win32.names import utf16_length

MACHINE_KEY = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
PATH = "Path"
MAX_UNITS = 32_766
"""UTF-16 units: the longest value of a variable that a process can have."""

FIXED = {
    "SystemDrive": "C:",
    "SystemRoot": r"C:\Windows",
    "ProgramData": r"C:\ProgramData",
    "ALLUSERSPROFILE": r"C:\ProgramData",
    "ProgramFiles": r"C:\Program Files",
    "ProgramW6432": r"C:\Program Files",
    "ProgramFiles(x86)": r"C:\Program Files (x86)",
    "CommonProgramFiles": r"C:\Program Files\Common Files",
    "CommonProgramW6432": r"C:\Program Files\Common Files",
    "CommonProgramFiles(x86)": r"C:\Program Files (x86)\Common Files",
    "PUBLIC": r"C:\Users\Public",
}
"""The variables that Windows makes when it starts a session; in a container, their values are always these."""

_MAX_EXPANDED = 4 << 20
"""Characters of all values that had references: one value may be in each of the others."""
_REFERENCE = re.compile("%([^%]+)%")
_TEXT_TYPES = (ValueType.REG_SZ, ValueType.REG_EXPAND_SZ)
_ENTRY = re.compile(r'(?:"[^"]*"?|[^;"])+')


class RegistryValues(Protocol):
    """What can look up and change values of the registry: a `RegistryEditor`."""

    def find(self, key: str) -> Key | None: ...

    def set_value(self, key: str, name: str, kind: int, data: bytes) -> None: ...

    def delete_value(self, key: str, name: str) -> None: ...


class Variable(NamedTuple):
    """A variable as the registry stores it: `value` still has its references (`%SystemRoot%`) in it."""

    name: str
    value: str
    kind: int
    """`ValueType.REG_SZ`, or REG_EXPAND_SZ: Windows replaces the references when a process starts."""


def machine_variables(find: Callable[[str], Key | None], key: str = MACHINE_KEY) -> list[Variable]:
    """Returns the variables that the registry holds, in the order in which they are stored.

    Args:
        find: returns the key at a path, or None: the method of a `Registry` (all layers merged) or a `RegistryEditor`
            (with the changes so far).
        key: the key that holds them; another one for those of a user.

    Raises:
        InvalidDataError: a hive is damaged.
    """
    found = find(control_set_of(find, key))
    values = [] if found is None else found.values()
    return [Variable(v.name, decode_string(v.data), v.type) for v in values if v.name and v.type in _TEXT_TYPES]


def machine_environment(find: Callable[[str], Key | None]) -> dict[str, str]:
    """Returns the environment that a new process gets from the machine: names as they are stored, values expanded.

    The variables that Windows makes itself (`FIXED`) are among them. As in Windows, REG_SZ values are taken first, so
    that every REG_EXPAND_SZ can refer to them.

    Args:
        find: see `machine_variables`.

    Raises:
        InvalidDataError: a hive is damaged.
    """
    return dict(expanded(machine_variables(find), FIXED).values())


def expanded(
    variables: Iterable[Variable], known: Mapping[str, str], *, strict: bool = True
) -> dict[str, tuple[str, str]]:
    """Returns `known` with the variables added, and the references in REG_EXPAND_SZ values replaced.

    Args:
        variables: the variables.
        known: the values of others by their names.
        strict: whether a value that its references make too long is refused; otherwise, it stays as it is.

    Returns:
        The name and the value of each variable by its `fold`ed name.

    Raises:
        InvalidParameterError: a value is too long.
    """
    found = {fold(name): (name, value) for name, value in known.items()}
    values = {name: value for name, (_, value) in found.items()}
    added = 0
    for variable in sorted(variables, key=lambda one: one.kind == ValueType.REG_EXPAND_SZ):
        name, value = fold(variable.name), variable.value
        if variable.kind == ValueType.REG_EXPAND_SZ:
            try:
                value = replace_references(value, values)
                added += len(value)
                if added > _MAX_EXPANDED:
                    raise InvalidParameterError(variable.name, f"all values have more than {_MAX_EXPANDED} characters")
            except InvalidParameterError:
                if strict:
                    raise
                value = variable.value
        found.pop(name, None)
        found[name], values[name] = (variable.name, value), value
    return found


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Returns the text with `%NAME%` replaced, in one pass, names in any case; an unknown name stays as it is.

    Raises:
        InvalidParameterError: the result is longer than the value of a variable can be.
    """
    return replace_references(text, {fold(name): value for name, value in variables.items()})


def replace_references(text: str, by_name: Mapping[str, str]) -> str:
    """Returns the text with `%NAME%` replaced, as `expand` does, by values whose names are `fold`ed already.

    Raises:
        InvalidParameterError: the result is longer than the value of a variable can be.
    """
    parts: list[str] = []
    units = at = 0
    while (match := _REFERENCE.search(text, at)) is not None:
        value = by_name.get(fold(match[1]))
        # The closing % of an unknown name may open the next reference.
        after = match.end() if value is not None else match.end() - 1
        piece = text[at : match.start()] + (text[match.start() : after] if value is None else value)
        units += len(piece)
        if units > MAX_UNITS:
            raise InvalidParameterError(
                text[:80], f"with its references replaced, it has more than {MAX_UNITS} characters"
            )
        parts.append(piece)
        at = after
    return "".join(parts) + text[at:]


def has_reference(value: str) -> bool:
    """Returns whether a value has `%NAME%` in it."""
    return _REFERENCE.search(value) is not None


def set_variable(editor: RegistryValues, name: str, value: str, key: str = MACHINE_KEY) -> None:
    """Sets a variable of the machine.

    An existing value keeps its type, but REG_SZ becomes REG_EXPAND_SZ if the new value has a reference. A new value is
    REG_SZ; REG_EXPAND_SZ if it has a reference, or if it is `Path`, which has this type in every image of Windows.

    Args:
        key: the key that holds the variables; another one for those of a user.

    Raises:
        InvalidParameterError: the name or the value cannot be that of a variable.
        PathNotFoundError: the layer is a base layer without a hive SYSTEM.
    """
    check_variable(name, value)
    key = control_set_of(editor.find, key)
    existing = _existing(editor, name, key)
    kind = ValueType.REG_SZ
    if has_reference(value) or (fold(name) == fold(PATH) if existing is None else _expands(existing)):
        kind = ValueType.REG_EXPAND_SZ
    editor.set_value(key, name if existing is None else existing.name, kind, encode_string(value))


def delete_variable(editor: RegistryValues, name: str, key: str = MACHINE_KEY) -> bool:
    """Deletes a variable of the machine. Returns False if there is none of this name."""
    key = control_set_of(editor.find, key)
    existing = _existing(editor, name, key)
    if existing is None:
        return False
    editor.delete_value(key, existing.name)
    return True


def add_to_path(editor: RegistryValues, directories: Iterable[str], *, first: bool = False) -> bool:
    r"""Adds directories to the machine's `Path`, at its end, in the order given.

    A directory that is there already stays where it is: in any case, with or without a trailing backslash or quotes,
    and with or without references (`%SystemRoot%\system32` is `C:\Windows\System32`).

    Args:
        first: the directories are added at the beginning.

    Returns:
        False if all of them were there.

    Raises:
        InvalidParameterError: a directory cannot be in `Path`.
        PathNotFoundError: the layer is a base layer without a hive SYSTEM.
    """
    key = control_set_of(editor.find, MACHINE_KEY)
    existing = _existing(editor, PATH, key)
    entries = [] if existing is None else path_entries(existing.value)
    environment = machine_environment(editor.find)
    there = {_path_entry_key(entry, environment) for entry in entries}
    new: list[str] = []
    for directory in directories:
        entry = directory.strip()
        if not entry.strip('"') or '"' in entry.strip('"'):
            raise InvalidParameterError(directory, r"expected a directory for Path, such as C:\app")
        if ";" in entry and not entry.startswith('"'):
            entry = f'"{entry}"'
        known = _path_entry_key(entry, environment)
        if known not in there:
            there.add(known)
            new.append(entry)
    if not new:
        return False
    set_variable(editor, PATH, ";".join([*new, *entries] if first else [*entries, *new]))
    return True


def path_entries(value: str) -> list[str]:
    """Returns the directories of a `Path`, without empty ones. A semicolon in quotes is part of a directory's name."""
    return [entry.strip() for entry in _ENTRY.findall(value) if entry.strip()]


def _path_entry_key(entry: str, environment: Mapping[str, str]) -> str:
    """Returns what two spellings of one directory of `Path` have in common."""
    plain = expand(entry.replace('"', ""), environment).strip().replace("/", "\\")
    return fold(plain.rstrip("\\"))


def check_variable(name: str, value: str) -> None:
    """Checks that Windows accepts a variable.

    Raises:
        InvalidParameterError: the name is empty or has = or a NUL in it; the value is too long or has a NUL in it.
    """
    if not name or "=" in name or "\0" in name:
        raise InvalidParameterError(name, "the name of a variable is not empty, and has no = in it")
    if "\0" in value or utf16_length(value) > MAX_UNITS:
        raise InvalidParameterError(name, f"the value of a variable has at most {MAX_UNITS} characters, and no NUL")


def control_set_of(find: Callable[[str], Key | None], key: str) -> str:
    r"""Returns the path of a key in which `CurrentControlSet` is `ControlSet001` if the hive SYSTEM does not name it.

    Windows sets the key `Select` at its first start; a hive that was made otherwise may not have it. Written literally,
    a key `CurrentControlSet` would be seen by nobody.
    """
    parts = key.split("\\")
    names = [fold(part) for part in parts[:3]]
    if names[1:] == ["SYSTEM", "CURRENTCONTROLSET"] and find("\\".join([*parts[:2], "Select"])) is None:
        return "\\".join([*parts[:2], "ControlSet001", *parts[3:]])
    return key


def _existing(editor: RegistryValues, name: str, key: str) -> Variable | None:
    return next((one for one in machine_variables(editor.find, key) if fold(one.name) == fold(name)), None)


def _expands(variable: Variable) -> bool:
    return variable.kind == ValueType.REG_EXPAND_SZ
