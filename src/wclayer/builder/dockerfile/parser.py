"""Reads a Dockerfile: its stages, the arguments before them, and all its errors at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wclayer.builder.dockerfile.errors import DockerfileError, Problem
from wclayer.builder.dockerfile.instructions import Arg, From, Instruction
from wclayer.builder.dockerfile.lines import Advice, read_lines
from wclayer.builder.dockerfile.reading import is_instruction, read_instruction
from wclayer.errors import FormatError

MAX_INSTRUCTIONS = 2_000
"""The most instructions of a Dockerfile."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: FROM, and the instructions up to the next one.

    Attributes:
        number: its number in the file, from 0.
        start: its FROM.
        instructions: the instructions after FROM.
    """

    number: int
    start: From
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A Dockerfile.

    Attributes:
        name: its name, for messages.
        escape: the escape character: a backslash, or a backtick.
        syntax: the value of the directive `syntax`, which has no effect; "" without one.
        arguments: the ARG instructions before the first FROM. Their values hold in every FROM.
        stages: the stages, at least one.
        advice: what is taken as Docker takes it, but probably not meant so.
    """

    name: str
    escape: str
    syntax: str
    arguments: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    advice: tuple[Advice, ...]

    @property
    def instructions(self) -> Iterator[Instruction]:
        """All instructions, in the order of the file."""
        yield from self.arguments
        for stage in self.stages:
            yield stage.start
            yield from stage.instructions

    def find_stage(self, text: str, before: int | None = None) -> Stage | None:
        """Returns the stage that a name or a number means: the last one of this name; None if there is none.

        Args:
            text: the name, in any case, or the number, from 0.
            before: the number of the stage that asks: only earlier ones can be meant. None means all.
        """
        stages = self.stages[:before]
        for stage in reversed(stages):
            if stage.start.alias and stage.start.alias == text.lower():
                return stage
        return stages[int(text)] if _is_number(text) and int(text) < len(stages) else None

    def error(self, line: int, detail: str) -> DockerfileError:
        """Returns the error that refuses a line of this file."""
        return DockerfileError.at(self.name, line, detail)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def parse_dockerfile(text: str, name: str) -> Dockerfile:
    """Returns the stages and instructions of a Dockerfile.

    Args:
        text: the file.
        name: its name, for errors.

    Raises:
        DockerfileError: lines of it are wrong. The error tells all of them.
    """
    lines = read_lines(text, name, is_instruction)
    if len(lines.lines) > MAX_INSTRUCTIONS:
        excess = lines.lines[MAX_INSTRUCTIONS].number
        raise DockerfileError.at(name, excess, f"the file has more than {MAX_INSTRUCTIONS} instructions")
    advice = lines.advice
    problems: list[Problem] = []
    instructions: list[Instruction] = []
    for line in lines.lines:
        try:
            instruction, advised = read_instruction(line, lines.escape)
        except FormatError as error:
            problems.append(Problem(line.number, str(error)))
        else:
            instructions.append(instruction)
            advice += [Advice(line.number, detail) for detail in advised]
    if not lines.lines:
        raise DockerfileError(name, "has no instructions: a Dockerfile begins with FROM IMAGE")
    arguments, stages = _staged(instructions, problems)
    advice += _repeated(stages)
    if problems:
        raise DockerfileError.of(name, sorted(problems, key=lambda each: each.line))
    return Dockerfile(
        name, lines.escape, lines.syntax, arguments, stages, tuple(sorted(advice, key=lambda each: each.line))
    )


def _staged(instructions: list[Instruction], problems: list[Problem]) -> tuple[tuple[Arg, ...], tuple[Stage, ...]]:
    """Returns the arguments before the first stage, and the stages. What is before it wrongly is a problem."""
    arguments: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for instruction in instructions:
        if isinstance(instruction, From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            arguments.append(instruction)
        elif not any(each.line < instruction.line for each in problems):
            # Only the first one is told, and none behind a wrong line, which may have been meant as FROM.
            problems.append(
                Problem(instruction.line, f"{instruction.name} is before the first FROM, where only ARG is possible")
            )
    if not stages and not problems:
        problems.append(Problem(instructions[-1].line, "the file has no FROM: a stage begins with FROM IMAGE"))
    return tuple(arguments), tuple(Stage(number, start, tuple(rest)) for number, (start, rest) in enumerate(stages))


def _repeated(stages: tuple[Stage, ...]) -> Iterator[Advice]:
    seen: set[str] = set()
    for stage in stages:
        alias = stage.start.alias
        if alias and alias in seen:
            yield Advice(
                stage.start.line, f"a stage before is named {alias!r}, too; from here on, the name means this one"
            )
        seen.add(alias)


def parse_trigger(text: str, name: str, escape: str = "\\") -> Instruction:
    """Returns the instruction that an ONBUILD of a base image stored.

    Args:
        text: the instruction.
        name: the base image, for errors.
        escape: the escape character of the Dockerfile that is built.

    Raises:
        DockerfileError: it is not one instruction that ONBUILD can have.
    """
    lines = read_lines(f"# escape={escape}\n{text}", name, is_instruction)
    try:
        if len(lines.lines) != 1:
            raise FormatError(f"its ONBUILD {text[:60]!r} is not one instruction")
        instruction = read_instruction(lines.lines[0], escape)[0]
        if instruction.name in ("FROM", "ONBUILD", "MAINTAINER"):
            raise FormatError(f"its ONBUILD {instruction.name} is not possible")
    except FormatError as error:
        raise DockerfileError(name, str(error)) from None
    return instruction
