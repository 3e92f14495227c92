"""Gives the arguments of a call to the parameters of a cmdlet, by PowerShell's rules.

Names count without case and may be abbreviated while only one parameter fits; what follows no name is given to the
parameters with a position. Source: "about_Parameters", "about_Command_Syntax", "about_CommonParameters".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wclayer.builder.commands.command import refused
from wclayer.builder.commands.powershell.cmdlet import Bound, Cmdlet, Kind, Parameter, switch, unsupported
from wclayer.builder.commands.powershell.scope import ErrorAction, Scope, parse_error_action
from wclayer.builder.commands.powershell.values import Value, is_true, parts_of, plain
from wclayer.errors import NotSupportedError

_CMD_SWITCH = re.compile("/[A-Za-z]")
_KEEPS = "keeps something in a variable, which is not supported; leave it out"
_COMMON = (
    Parameter("ErrorAction", Kind.VALUE, aliases=("ea",)),
    Parameter("WarningAction", Kind.VALUE, aliases=("wa",)),
    Parameter("InformationAction", Kind.VALUE, aliases=("infa", "ia")),
    switch("Verbose", "vb"),
    switch("Debug", "db"),
    Parameter("ErrorVariable", aliases=("ev",), refused=_KEEPS),
    Parameter("WarningVariable", aliases=("wv",), refused=_KEEPS),
    Parameter("InformationVariable", aliases=("iv",), refused=_KEEPS),
    Parameter("OutVariable", aliases=("ov",), refused=_KEEPS),
    Parameter("PipelineVariable", aliases=("pv",), refused=_KEEPS),
    *unsupported("OutBuffer"),
)
_CONFIRMATION = (
    Parameter("WhatIf", Kind.SWITCH, aliases=("wi",), refused="would only tell what the command does; leave it out"),
    switch("Confirm", "cf"),
)
_NO_EFFECT = ("ErrorAction", "WarningAction", "InformationAction", "Verbose", "Debug", "Confirm")


@dataclass(frozen=True)
class Argument:
    """A word of a call whose value is known.

    Attributes:
        word: the word as it is written.
        parameter: the name after the dash, if it is that of a parameter.
        has_value: a value is part of the word: `-Name:value`, or it is no name.
        value: the value.
    """

    word: str
    parameter: str = ""
    has_value: bool = True
    value: Value = None


def bind(cmdlet: Cmdlet, name: str, arguments: Sequence[Argument], scope: Scope) -> Bound:
    """Returns the call of a cmdlet.

    Args:
        cmdlet: the cmdlet.
        name: its name as it is called.
        arguments: the words after it.
        scope: where it is called.

    Raises:
        NotSupportedError: a parameter does not exist, is not supported, or has a value that it does not take.
    """
    binder = _Binder(cmdlet, name, scope)
    rest = list(arguments)
    positional: list[Argument] = []
    while rest:
        argument = rest.pop(0)
        if not argument.parameter:
            positional.append(argument)
            continue
        parameter = binder.find(argument)
        if parameter.kind is Kind.SWITCH:
            binder.give(parameter, argument.word, argument.value if argument.has_value else True)
        elif argument.has_value:
            binder.give(parameter, argument.word, argument.value)
        elif not rest or rest[0].parameter:
            raise binder.refuse(argument.word, "needs a value after it")
        else:
            value = rest.pop(0)
            binder.give(parameter, value.word, value.value)
    binder.give_positional(positional)
    return binder.bound(scope)


class _Binder:
    def __init__(self, cmdlet: Cmdlet, name: str, scope: Scope) -> None:
        self._name = name
        self._where = scope.where
        self._own = cmdlet.parameters
        self._all: tuple[Parameter, ...] = (
            *cmdlet.parameters,
            *_COMMON,
            *(_CONFIRMATION if cmdlet.has_confirmation else ()),
        )
        self._values: dict[str, Value] = {}
        self._words: dict[str, str] = {}

    def refuse(self, word: str, detail: str) -> NotSupportedError:
        return refused(self._where, word, f"{self._name}: {detail}")

    def find(self, argument: Argument) -> Parameter:
        """Returns the parameter that a name means: the one with this name, or the only one that begins with it."""
        name = argument.parameter.lower()
        found = [each for each in self._all if name in _names(each)]
        if not found:
            found = [each for each in self._all if any(one.startswith(name) for one in _names(each))]
        if len(found) > 1 and len(own := [each for each in found if each in self._own]) == 1:
            # Those of the cmdlet are preferred to those that every cmdlet has.
            found = own
        word = f"-{argument.parameter}"
        if len(found) > 1:
            raise self.refuse(word, f"may mean {', '.join(f'-{each.name}' for each in found)}; write the whole name")
        if not found:
            possible = ", ".join(f"-{each.name}" for each in self._own if not each.refused) or "none"
            raise self.refuse(word, f"there is no such parameter; possible are {possible}")
        if found[0].refused:
            raise self.refuse(word, found[0].refused)
        return found[0]

    def give(self, parameter: Parameter, word: str, value: Value) -> None:
        """Gives a value to a parameter."""
        if parameter.name in self._values:
            raise self.refuse(word, f"-{parameter.name} is given twice")
        if parameter.kind is Kind.TEXT and isinstance(value, tuple):
            raise self.refuse(word, f"-{parameter.name} takes {parameter.kind.value}")
        if parameter.kind is Kind.SWITCH and not isinstance(value, bool):
            raise self.refuse(word, f"-{parameter.name} takes no value but :$true and :$false")
        self._values[parameter.name] = value
        self._words[parameter.name] = word

    def give_positional(self, arguments: Sequence[Argument]) -> None:
        """Gives the values without a name to the parameters with a position that have no value yet."""
        free = sorted(
            (each for each in self._own if each.position is not None and each.name not in self._values),
            key=lambda each: each.position or 0,
        )
        rest = list(arguments)
        for parameter in free:
            if not rest:
                return
            if parameter.refused:
                raise self.refuse(rest[0].word, f"is the value of -{parameter.name}: {parameter.refused}")
            if parameter.kind is Kind.REST:
                self.give(parameter, rest[0].word, tuple(part for each in rest for part in parts_of(each.value)))
                return
            argument = rest.pop(0)
            self.give(parameter, argument.word, argument.value)
        if rest:
            detail = "no parameter takes this value; write -PARAMETER before it"
            if any(_CMD_SWITCH.fullmatch(argument.word) for argument in arguments):
                detail = f"has no switches with / in PowerShell; write cmd /c {self._name} …"
            raise self.refuse(rest[0].word, detail)

    def bound(self, scope: Scope) -> Bound:
        """Returns the call, after the parameters that every cmdlet has."""
        action = scope.error_action
        if "ErrorAction" in self._values:
            action = parse_error_action(plain(self._values["ErrorAction"]))
            if action is None:
                possible = ", ".join(each.value for each in ErrorAction)
                raise self.refuse(self._words["ErrorAction"], f"-ErrorAction: possible are {possible}")
        if is_true(self._values.get("Confirm", False)):
            raise self.refuse("-Confirm", "asks a question, and nobody can answer in a build; leave it out")
        values = {name: value for name, value in self._values.items() if name not in _NO_EFFECT}
        return Bound(self._name, self._where, scope.edition, action, values, self._words)


def _names(parameter: Parameter) -> list[str]:
    return [name.lower() for name in (parameter.name, *parameter.aliases)]
