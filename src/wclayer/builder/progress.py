"""`BuildProgress`: what a build reports of its steps, and the lines in which it is printed, as those of BuildKit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

_SECONDS_AT = 60


class BuildProgress(Protocol):
    """Receives what happens in a build. Each step begins and ends once."""

    def begins(self, number: int, total: int, stage: str, text: str) -> None:
        """Takes a step that begins.

        Args:
            number: its number in the stage, from 1, which is FROM. What only changes the configuration is no step.
            total: how many there are in the stage.
            stage: the name of the stage; "" if it is the only one.
            text: the instruction.
        """
        ...

    def entries(self, number: int) -> None:
        """Takes the number of files and directories that the step has made so far."""
        ...

    def line(self, text: str) -> None:
        """Takes a line that a command of the step has printed."""
        ...

    def warn(self, text: str) -> None:
        """Takes a warning."""
        ...

    def ends(self, *, is_cached: bool) -> None:
        """Takes the end of the step.

        Args:
            is_cached: whether nothing had to be made.
        """
        ...


class Silent:
    """Tells nothing but warnings.

    Args:
        warn: takes a warning; None drops it.
    """

    def __init__(self, warn: Callable[[str], None] | None = None) -> None:
        self._warn = warn

    def begins(self, number: int, total: int, stage: str, text: str) -> None:
        """See `BuildProgress`."""

    def entries(self, number: int) -> None:
        """See `BuildProgress`."""

    def line(self, text: str) -> None:
        """See `BuildProgress`."""

    def warn(self, text: str) -> None:
        """See `BuildProgress`."""
        if self._warn is not None:
            self._warn(text)

    def ends(self, *, is_cached: bool) -> None:
        """See `BuildProgress`."""


class RunningStep:
    """A step that has begun.

    Args:
        number, total, stage, text: see `BuildProgress.begins`.
    """

    def __init__(self, number: int, total: int, stage: str, text: str) -> None:
        name = f"{stage} " if stage else ""
        self._text = f"[{name}{number}/{total}] {one_line(text)}"
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self._start

    def line(self, word: str) -> str:
        """Returns the line that shows the step.

        Args:
            word: what has become of it; "" if nothing has to be said.
        """
        return f" => {word} {self._text}" if word else f" => {self._text}"


class PlainLines:
    """Prints a build in lines: one for each step, at its end, as BuildKit shows finished steps.

    Args:
        tell: takes a line.
        warn: takes a warning.
    """

    def __init__(self, tell: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self._tell = tell
        self._warn = warn
        self._step: RunningStep | None = None

    def begins(self, number: int, total: int, stage: str, text: str) -> None:
        """See `BuildProgress`."""
        self._step = RunningStep(number, total, stage, text)

    def entries(self, number: int) -> None:
        """See `BuildProgress`."""

    def line(self, text: str) -> None:
        """See `BuildProgress`."""
        self._tell(f" => => {one_line(text)}")

    def warn(self, text: str) -> None:
        """See `BuildProgress`."""
        self._warn(text)

    def ends(self, *, is_cached: bool) -> None:
        """See `BuildProgress`."""
        self.stops("CACHED" if is_cached else "")

    def stops(self, word: str) -> None:
        """Prints the end of the step that runs, if one does.

        Args:
            word: what has become of it.
        """
        step, self._step = self._step, None
        if step is not None:
            self._tell(step.line(word).ljust(_SECONDS_AT) + f"  {step.seconds:.1f}s")


class StepOutput:
    """Passes on what a step reports while it runs.

    Args:
        progress: the progress of the build.
    """

    _EACH = 100

    def __init__(self, progress: BuildProgress) -> None:
        self._progress = progress

    def line(self, text: str) -> None:
        """Takes a line that a command has printed."""
        self._progress.line(text)

    def entries(self, number: int) -> None:
        """Takes the number of entries that are made so far, and passes on only some."""
        if number % self._EACH == 0:
            self._progress.entries(number)


def one_line(text: str) -> str:
    """Returns a text without characters that would end its line or change the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
