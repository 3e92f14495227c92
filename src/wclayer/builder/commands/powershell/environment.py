"""`[Environment]::SetEnvironmentVariable` and `GetEnvironmentVariable`: variables of a process, the machine, a user.

Source: `Environment` of .NET ("Environment.SetEnvironmentVariable", Microsoft Learn; the sources of .NET): a variable
of the machine or of the user becomes a REG_SZ, whatever its type was; one that is read is expanded.
"""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.command import Action
from wclayer.builder.commands.environment import USER_KEY
from wclayer.builder.commands.powershell.cmdlet import Question
from wclayer.builder.commands.powershell.method import CalledMethod, Method
from wclayer.builder.commands.powershell.scope import Edition
from wclayer.builder.commands.powershell.values import Unknown, Value
from wclayer.builder.commands.registry_keys import edited_registry, registry_key
from wclayer.builder.commands.state import Environment, PlannedState, Shell
from wclayer.errors import InvalidParameterError
from wclayer.formats.regf.model import fold
from wclayer.formats.regf.values import ValueType, decode_string, encode_string
from wclayer.view.machine_environment import MACHINE_KEY, PATH, check_variable
from wclayer.win32.names import utf16_length

_TARGETS = ("process", "user", "machine")
_MOST_OF_NAME = 255


def _key(target: str) -> str:
    return registry_key(MACHINE_KEY) if target == "machine" else USER_KEY


@dataclass(frozen=True)
class SetEnvironmentVariable:
    """Sets a variable, or removes it if the value is empty."""

    name: str
    value: str
    target: str

    def check(self, state: PlannedState) -> None:
        if self.target == "process":
            _set(state.environment, self.name, self.value)
        elif self.target == "machine":
            _set(state.machine, self.name, self.value)
        elif not self.value:
            state.machine.set_unknown(self.name, "a variable of the user was removed, which may uncover the machine's")
        elif fold(self.name) == fold(PATH):
            # Windows puts the Path of the user behind that of the machine.
            before = state.machine.get(PATH)
            value = ";".join(part for part in (before, self.value) if part)
            state.machine.set(self.name, value, expands=state.machine.expands(PATH))
        else:
            state.machine.set(self.name, self.value)

    def run(self, shell: Shell) -> int:
        if self.target == "process":
            _set(shell.environment, self.name, self.value)
            return 0
        key = _key(self.target)
        with edited_registry(shell, [key]) as registry:
            existing = registry.value(key, self.name)
            name = self.name if existing is None else existing.name
            if self.value:
                registry.set_value(key, name, ValueType.REG_SZ, encode_string(self.value))
            elif existing is not None:
                registry.delete_value(key, name)
        return 0


def _set(environment: Environment, name: str, value: str) -> None:
    if value:
        environment.set(name, value)
    else:
        environment.delete(name)


@dataclass(frozen=True)
class GetEnvironmentVariable(Question):
    """The value of a variable, or `$null`; what the registry has is expanded with the variables of the process."""

    name: str
    target: str

    def plan(self, state: PlannedState) -> Value:
        if self.target == "user":
            return Unknown("the registry of the user is read when it runs")
        where = state.environment if self.target == "process" else state.machine
        reason = where.unknown_reason(self.name)
        if reason:
            return Unknown(reason)
        value = where.get(self.name)
        expands = self.target == "machine" and where.expands(self.name)
        return state.environment.expand(value) if value is not None and expands else value

    def answer(self, shell: Shell) -> Value:
        if self.target == "process":
            return shell.environment.get(self.name)
        key = _key(self.target)
        with edited_registry(shell, [key]) as registry:
            found = registry.value(key, self.name)
        if found is None or found.type not in (ValueType.REG_SZ, ValueType.REG_EXPAND_SZ):
            return None
        text = decode_string(found.data)
        return shell.environment.expand(text) if found.type == ValueType.REG_EXPAND_SZ else text


def _target(call: CalledMethod, number: int) -> str:
    if len(call.values) <= number:
        return "process"
    target = (call.text(number) or "").lower()
    if target not in _TARGETS:
        raise call.refuse(call.words[number], "possible are 'Machine', 'User' and 'Process'")
    return target


def _name(call: CalledMethod) -> str:
    name = call.text(0)
    if not name or "=" in name or "\0" in name:
        raise call.refuse(call.words[0], "the name of a variable is not empty, and has no = in it")
    return name


def _parse_set(call: CalledMethod) -> Action:
    if len(call.values) not in (2, 3):
        raise call.refuse(call.name, "takes a name, a value, and 'Machine', 'User' or 'Process'")
    name, value, target = _name(call), call.text(1) or "", _target(call, 2)
    if not value and call.edition is Edition.CORE:
        raise call.refuse(
            call.words[1], "whether an empty value removes the variable depends on the version of pwsh; use reg delete"
        )
    if target == "user" and utf16_length(name) >= _MOST_OF_NAME:
        raise call.refuse(call.words[0], f"the name of a user's variable has less than {_MOST_OF_NAME} characters")
    try:
        check_variable(name, value)
    except InvalidParameterError as error:
        raise call.refuse(call.words[1], error.detail) from None
    return SetEnvironmentVariable(name, value, target)


def _parse_get(call: CalledMethod) -> Action:
    if len(call.values) not in (1, 2):
        raise call.refuse(call.name, "takes a name, and 'Machine', 'User' or 'Process'")
    return GetEnvironmentVariable(_name(call), _target(call, 1))


METHODS = (
    Method(
        "Environment",
        "SetEnvironmentVariable",
        "[Environment]::SetEnvironmentVariable(NAME, VALUE[, TARGET])",
        "Sets a variable of the process, or in the registry that of the machine or of the user: TARGET is `'Machine'`, "
        "`'User'`, `'Process'`, or `[EnvironmentVariableTarget]::Machine`. In the registry it becomes a REG_SZ, as "
        ".NET writes it, so references such as `%SystemRoot%` in it are no longer replaced. An empty value removes it.",
        _parse_set,
    ),
    Method(
        "Environment",
        "GetEnvironmentVariable",
        "[Environment]::GetEnvironmentVariable(NAME[, TARGET])",
        "The value of a variable, with references in the registry replaced. That of the user is known when it runs, so "
        "it can be used in conditions alone.",
        _parse_get,
    ),
)
"""The rows of the table."""
