"""What a ready question is: a name, a sentence, parameters, and the SQL that answers it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from wclayer.errors import InvalidParameterError


class ParameterKind(StrEnum):
    """What a parameter of a question takes."""

    TEXT = "text"
    KB = "kb"
    """The number of an update: `KB5031364`."""
    VERSION = "version"
    WINDOWS = "windows"
    """A version of Windows: `20348.2031`, `10.0.20348.2031`, or only the release, `20348`."""
    COUNT = "count"
    """A number from 1 to a million."""
    SHA256 = "sha256"
    DATE = "date"
    """A day: `2026-05-31`."""


_FORMS = {
    ParameterKind.TEXT: re.compile(r"[^\x00]{1,1000}", re.DOTALL),
    ParameterKind.KB: re.compile(r"(?:KB)?\d{5,8}", re.IGNORECASE | re.ASCII),
    ParameterKind.VERSION: re.compile(r"[vV]?\d{1,18}(?:\.\d{1,18})*[0-9A-Za-z._+-]{0,60}", re.ASCII),
    ParameterKind.WINDOWS: re.compile(r"(?:10\.0\.)?\d{4,6}(?:\.\d{1,6})?", re.ASCII),
    ParameterKind.COUNT: re.compile(r"[1-9]\d{0,5}|1000000", re.ASCII),
    ParameterKind.SHA256: re.compile(r"(?:sha256:)?[0-9a-f]{64}", re.IGNORECASE | re.ASCII),
    ParameterKind.DATE: re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])", re.ASCII),
}
_NAME = re.compile(r"[a-z_]+", re.ASCII)
"""What could be the name of a parameter."""
_EXAMPLES = {
    ParameterKind.TEXT: "a text", ParameterKind.KB: "KB5031364", ParameterKind.VERSION: "2.17.1",
    ParameterKind.WINDOWS: "20348.2031",
    ParameterKind.COUNT: "a number from 1 to 1000000", ParameterKind.SHA256: "64 hexadecimal digits",
    ParameterKind.DATE: "2026-05-31",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class QuestionParameter:
    """A parameter of a ready question.

    Attributes:
        name: its name.
        kind: what it takes.
        meaning: what it says.
        default: its value if none is given; None if there must be one. "" is the value "none".
    """

    name: str
    kind: ParameterKind
    meaning: str
    default: str | None = None

    def value(self, text: str) -> str | int | None:
        """Returns what SQL gets for a text.

        Raises:
            InvalidParameterError: the text is not of its kind.
        """
        if text == "" and self.default == "":
            return None
        if not _FORMS[self.kind].fullmatch(text):
            raise InvalidParameterError(self.name, f"{text[:80]!r} is not {_EXAMPLES[self.kind]}")
        if self.kind is ParameterKind.COUNT:
            return int(text)
        if self.kind is ParameterKind.KB:
            return f"KB{text.upper().removeprefix('KB')}"
        return text.lower().removeprefix("sha256:") if self.kind is ParameterKind.SHA256 else text


@dataclass(frozen=True, slots=True)
class FleetQuestion:
    """A ready question.

    Attributes:
        name: its name.
        sentence: what its answer is.
        parameters: its parameters, in the order in which a command names their values.
        sql: the query, with `$NAME` for each parameter.
    """

    name: str
    sentence: str
    parameters: tuple[QuestionParameter, ...]
    sql: str

    @property
    def usage(self) -> str:
        """Its name and its parameters as a command has them: those in brackets may be left out."""
        words = (word.name.upper() if word.default is None else f"[{word.name.upper()}]" for word in self.parameters)
        return " ".join((self.name, *words))

    def values(self, given: Mapping[str, str]) -> dict[str, str | int | None]:
        """Returns the values that SQL gets for texts by the names of parameters.

        Raises:
            InvalidParameterError: a parameter is missing, unknown, or has a value that is not of its kind.
        """
        for name in given:
            if name not in {parameter.name for parameter in self.parameters}:
                raise InvalidParameterError(self.name, f"has no parameter {name!r}: {self.usage}")
        found = {}
        for parameter in self.parameters:
            text = given.get(parameter.name, parameter.default)
            if text is None:
                raise InvalidParameterError(self.name, f"needs {parameter.name}, {parameter.meaning}: {self.usage}")
            found[parameter.name] = parameter.value(text)
        return found

    def named(self, words: Sequence[str]) -> dict[str, str]:
        """Returns texts by the names of parameters: words in the order of the parameters, or `NAME=VALUE`.

        Raises:
            InvalidParameterError: there are too many words, a parameter has two, or there is none of that name.
        """
        names = [parameter.name for parameter in self.parameters]
        found: dict[str, str] = {}
        for word in words:
            name, sign, text = word.partition("=")
            # The first word may be any text.
            if sign and found and name not in names and _NAME.fullmatch(name):
                raise InvalidParameterError(self.name, f"has no parameter {name[:80]!r}: {self.usage}")
            if not sign or name not in names:
                name, text = next((name for name in names if name not in found), ""), word
            if not name or name in found:
                raise InvalidParameterError(self.name, f"{word[:80]!r} is one value too many: {self.usage}")
            found[name] = text
        return found
