"""The examples of a document: commands and what they print, as a reader would run them one after the other."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_CODE = "    "
_PROMPT = f"{_CODE}$ "


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


def examples(document: Path, *, commands: str = "wclayer") -> Iterator[Example]:
    """The examples of a document in their order: lines with a prompt, and those that begin with a program."""
    example: Example | None = None
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith(_PROMPT):
            if example is not None:
                yield example
            example = Example(number, line.removeprefix(_PROMPT))
        elif line.startswith(f"{_CODE}{commands} "):
            if example is not None:
                yield example
            yield Example(number, line.removeprefix(_CODE), None)
            example = None
        elif example is not None and line.startswith(_CODE):
            assert example.output is not None
            example.output.append(line.removeprefix(_CODE).rstrip())
        elif example is not None and line.strip():
            yield example
            example = None
        elif example is not None and example.output and not line.strip():
            # A blank line inside a block of code, or its end: the next line tells.
            example.output.append("")
    if example is not None:
        yield example


def without_blank_end(example: Example) -> Example:
    """The example without the blank lines behind its output."""
    while example.output and not example.output[-1]:
        example.output.pop()
    return example


def run(command: str, folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Runs a command in a folder, as a shell does; gives its status and all that it prints."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env={**os.environ, **environment}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout
