"""`Environment`: the variables of a Windows process, and those that a new process of a container gets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from wclayer.win32.names import name_key

_REFERENCE = re.compile(r"%([^%]+)%")


class Environment:
    r"""Environment variables by name, in any case, as Windows keeps them: `Path` and `PATH` are one variable.

    The value of a variable may be unknown while a build is planned: a command that runs later determines it.

        >>> environment = Environment({"Path": r"C:\Windows", "Tool": r"C:\tool"})
        >>> environment.get("PATH")
        'C:\\Windows'
        >>> environment.expand("%TOOL%;%path%;%other%")
        'C:\\tool;C:\\Windows;%other%'

    Args:
        variables: names and values; later ones replace earlier ones.
    """

    def __init__(self, variables: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        # By name key: the name as it was first spelled, the value, and whether `%NAME%` in it is expanded.
        self._values: dict[str, tuple[str, str, bool]] = {}
        self._unknown: dict[str, str] = {}
        for name, value in variables.items() if isinstance(variables, Mapping) else variables:
            self.set(name, value)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _, _ in self._values.values())

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: str) -> bool:
        return name_key(name) in self._values

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Environment):
            return NotImplemented
        return self._values == other._values and self._unknown == other._unknown

    __hash__ = None  # type: ignore[assignment]

    def items(self) -> Iterator[tuple[str, str]]:
        """Yields the names and values, in the order in which the names were first set."""
        return ((name, value) for name, value, _ in self._values.values())

    def get(self, name: str) -> str | None:
        """Returns the value of a variable, or None if it is not set or unknown."""
        found = self._values.get(name_key(name))
        return None if found is None else found[1]

    def expands(self, name: str) -> bool:
        """Returns whether the registry has the variable as REG_EXPAND_SZ: `%NAME%` in its value is expanded."""
        found = self._values.get(name_key(name))
        return found is not None and found[2]

    def set(self, name: str, value: str, *, expands: bool = False) -> None:
        """Sets a variable. An existing one keeps the spelling of its name, as on Windows."""
        key = name_key(name)
        self._unknown.pop(key, None)
        self._values[key] = (self._values.get(key, (name,))[0], value, expands)

    def delete(self, name: str) -> None:
        """Removes a variable; one that is not set stays so."""
        key = name_key(name)
        self._unknown.pop(key, None)
        self._values.pop(key, None)

    def set_unknown(self, name: str, reason: str) -> None:
        """States that a variable has a value that is not known yet, and why."""
        key = name_key(name)
        self._values.pop(key, None)
        self._unknown[key] = reason

    def unknown_reason(self, name: str) -> str | None:
        """Returns why the value of a variable is not known, or None if it is known or not set."""
        return self._unknown.get(name_key(name))

    def copy(self) -> Environment:
        """Returns a copy, which changes on its own."""
        made = Environment()
        made._values, made._unknown = dict(self._values), dict(self._unknown)
        return made

    def merged(self, other: Environment, reason: str) -> Environment:
        """Returns what is known if either this environment or another one holds: different values are unknown."""
        made = self.copy()
        for key in self._values.keys() | other._values.keys():
            mine, theirs = self._values.get(key), other._values.get(key)
            if mine is None or theirs is None or mine[1:] != theirs[1:]:
                made._values.pop(key, None)
                made._unknown[key] = reason
        for key, why in other._unknown.items():
            made._values.pop(key, None)
            made._unknown.setdefault(key, why)
        return made

    def expand(self, text: str) -> str:
        """Returns a text with each `%NAME%` replaced as ExpandEnvironmentStrings does: unset names stay as they are."""

        def replaced(found: re.Match[str]) -> str:
            value = self.get(found[1])
            return found[0] if value is None else value

        return _REFERENCE.sub(replaced, text)

    def update(self, other: Environment) -> None:
        """Sets what another environment sets, the unknown variables included."""
        for name, value, expands in other._values.values():
            self.set(name, value, expands=expands)
        for key, reason in other._unknown.items():
            self.set_unknown(key, reason)


ADMINISTRATOR = "ContainerAdministrator"
"""The user of a container of Windows Server; that of Nano Server is `ContainerUser`."""

_PER_CONTAINER = ("COMPUTERNAME", "NUMBER_OF_PROCESSORS", "PROCESSOR_IDENTIFIER", "PROCESSOR_LEVEL",
                  "PROCESSOR_REVISION", "USERDOMAIN")  # fmt: skip


def process_environment(
    machine: Environment, variables: Mapping[str, str] | Iterable[tuple[str, str]] = (), *, user: str = ADMINISTRATOR
) -> Environment:
    r"""Returns the environment of a new process in a container.

    The order is that of Windows (`CreateEnvironmentBlock`): what the system and the user's profile determine, then the
    machine's variables from the registry, first the plain ones, then those whose values refer to others. The `Path` of
    the user is not added: the profile of a container's user does not exist in a layer. The variables of the image's
    configuration and of the build come last and replace all others.

    Args:
        machine: the variables in `HKLM\SYSTEM\…\Session Manager\Environment`, unexpanded.
        variables: those of the configuration (`ENV`) and of the build (`ARG`).
        user: the user who runs the process (`USER`).
    """
    made = Environment(_always_set(user))
    for name in _PER_CONTAINER:
        made.set_unknown(name, "each container and machine has its own")
    for is_second in (False, True):
        for name, value in machine.items():
            if machine.expands(name) == is_second and name_key(name) not in ("TEMP", "TMP", "USERNAME"):
                made.set(name, made.expand(value) if is_second else value)
    for key, reason in machine._unknown.items():
        made.set_unknown(key, reason)
    for name, value in variables.items() if isinstance(variables, Mapping) else variables:
        made.set(name, value)
    if "PROMPT" not in made:
        made.set("PROMPT", "$P$G")
    return made


def _always_set(user: str) -> dict[str, str]:
    """Returns the variables that Windows sets without the registry, and those of a new user profile."""
    name = user.rpartition("\\")[2] or ADMINISTRATOR
    profile = rf"C:\Users\{name}"
    local = rf"{profile}\AppData\Local"
    return {
        "ALLUSERSPROFILE": r"C:\ProgramData",
        "APPDATA": rf"{profile}\AppData\Roaming",
        "CommonProgramFiles": r"C:\Program Files\Common Files",
        "CommonProgramFiles(x86)": r"C:\Program Files (x86)\Common Files",
        "CommonProgramW6432": r"C:\Program Files\Common Files",
        "ComSpec": r"C:\Windows\system32\cmd.exe",
        "LOCALAPPDATA": local,
        "ProgramData": r"C:\ProgramData",
        "ProgramFiles": r"C:\Program Files",
        "ProgramFiles(x86)": r"C:\Program Files (x86)",
        "ProgramW6432": r"C:\Program Files",
        "PUBLIC": r"C:\Users\Public",
        "SystemDrive": "C:",
        "SystemRoot": r"C:\Windows",
        "TEMP": rf"{local}\Temp",
        "TMP": rf"{local}\Temp",
        "USERNAME": name,
        "USERPROFILE": profile,
        "windir": r"C:\Windows",
    }
