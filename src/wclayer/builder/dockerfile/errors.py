"""The error that refuses a Dockerfile: it names the file, the line, the word, and what is possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from wclayer.errors import InvalidDataError

_MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in a line of a Dockerfile.

    Attributes:
        line: the number of the line, from 1.
        detail: the word that is refused, and what is possible.
    """

    line: int
    detail: str


class DockerfileError(InvalidDataError):
    """A Dockerfile cannot be built. The path of the error is FILE:LINE of its first problem."""

    @classmethod
    def at(cls, name: str, line: int, detail: str) -> Self:
        """Returns the error for one line.

        Args:
            name: the Dockerfile, as the user named it.
            line: the number of the line, from 1.
            detail: the word that is refused, and what is possible.
        """
        return cls(f"{name}:{line}", detail)

    @classmethod
    def of(cls, name: str, problems: Sequence[Problem]) -> Self:
        """Returns the error for all problems of a Dockerfile, each on a line of its own (20 at most).

        Args:
            name: the Dockerfile, as the user named it.
            problems: at least one, in the order of the lines.
        """
        first, *others = problems
        lines = [first.detail, *(f"{name}:{each.line}: {each.detail}" for each in others[: _MOST_TOLD - 1])]
        if len(problems) > _MOST_TOLD:
            lines.append(f"and {len(problems) - _MOST_TOLD} more problems")
        return cls.at(name, first.line, "\n".join(lines))
