"""What a static method of .NET is that scripts may call: its name, what it supports, and its action."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wclayer.builder.commands.command import Action, refused
from wclayer.builder.commands.powershell.scope import Edition
from wclayer.builder.commands.powershell.values import Value
from wclayer.errors import NotSupportedError


@dataclass(frozen=True)
class CalledMethod:
    """A call of a method: its arguments, all of which are known.

    Attributes:
        name: the method as it is written, with its type.
        where: the file and the line of the instruction.
        edition: the PowerShell that calls it.
        values: the arguments.
        words: how they are written.
    """

    name: str
    where: str
    edition: Edition
    values: tuple[Value, ...]
    words: tuple[str, ...]

    def refuse(self, word: str, detail: str) -> NotSupportedError:
        """Returns the error for a word of the call that is not supported.

        Args:
            word: the word as it is written.
            detail: what is wrong with it, and what can be done.
        """
        return refused(self.where, word, f"{self.name}: {detail}")

    def text(self, number: int) -> str | None:
        """Returns an argument that is a text or `$null`."""
        value = self.values[number]
        if value is not None and not isinstance(value, str):
            raise self.refuse(self.words[number], "a text is expected here; write it in quotes")
        return value


@dataclass(frozen=True)
class Method:
    """A row of the table of methods.

    Attributes:
        kind: the type, without `System.`.
        name: the method.
        usage: the supported forms.
        summary: what it does exactly, and what it does not do.
        parse: makes the action of a call.
    """

    kind: str
    name: str
    usage: str
    summary: str
    parse: Callable[[CalledMethod], Action]
