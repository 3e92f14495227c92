"""The examples of a document: commands and what they print, as a reader would run them one after the other."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_CODE = "    "
_PROMPT = f"{_CODE}$ "
_CONTINUED = f"{_CODE}> "


@dataclass
class Example:
    """A command of a document, and what it prints there. Without a prompt, what it prints is not told."""

    line: int
    command: str
    output: list[str] | None = field(default_factory=list)

    def differs(self, printed: str) -> str:
        """Why what was printed is not what the document tells; "" if it is. `…` stands for any characters."""
        if self.output is None:
            return ""
        lines = [line.rstrip() for line in printed.rstrip("\n").split("\n")] if printed.strip() else []
        for number, told in enumerate(self.output):
            pattern = ".*".join(re.escape(part) for part in told.split("…"))
            if number >= len(lines) or not re.fullmatch(pattern, lines[number]):
                shown = lines[number] if number < len(lines) else "(nothing)"
                return f"line {self.line + 1 + number}: {told!r} is told, and {shown!r} is printed"
        return f"this is printed, too: {lines[len(self.output) :]}" if len(lines) > len(self.output) else ""


def examples(document: Path, program: str = "wclayer") -> Iterator[Example]:
    """The examples of a document in their order: lines with a prompt, and those that begin with a program.

    As in a shell, a line after `> ` goes on with the command above it, and a backslash at the end continues a line.
    """
    lines = document.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        below = lines[number:]
        if line.startswith(_PROMPT):
            more = list(itertools.takewhile(lambda each: each.startswith(_CONTINUED), below))
            command = [line.removeprefix(_PROMPT), *(each.removeprefix(_CONTINUED) for each in more)]
            yield Example(number, "\n".join(command), list(_output(below[len(more) :])))
        elif line.startswith(_CODE) and f" {program} " in line and _starts_block(lines, number - 1):
            more = list(itertools.takewhile(lambda each: each.endswith("\\"), [line, *below]))
            command = [each.removeprefix(_CODE) for each in lines[number - 1 : number + len(more)]]
            yield Example(number, "\n".join(command), None)


def _output(lines: list[str]) -> Iterator[str]:
    """What follows a command: up to the next one, or to the end of the block of code."""
    for line in itertools.takewhile(lambda line: line.startswith(_CODE) or not line, _until_prose(lines)):
        if line.startswith(_PROMPT):
            return
        yield line.removeprefix(_CODE).rstrip()


def _until_prose(lines: list[str]) -> list[str]:
    """The lines of a block of code: a blank line belongs to it if more code follows."""
    ends = next((number for number, line in enumerate(lines) if line and not line.startswith(_CODE)), len(lines))
    while ends and not lines[ends - 1]:
        ends -= 1
    return lines[:ends]


def _starts_block(lines: list[str], at: int) -> bool:
    """Whether a line is in a block of code without prompts."""
    while at and lines[at - 1].startswith(_CODE):
        at -= 1
    return not lines[at].startswith(_PROMPT)


def run(command: str, folder: Path, environment: Mapping[str, str], timeout: float = 120) -> tuple[int, str]:
    """Runs a command in a folder, as a shell does; gives its status and all that it prints."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env={**os.environ, **environment}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, encoding="utf-8", timeout=timeout, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout
