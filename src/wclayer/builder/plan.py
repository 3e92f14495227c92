"""What a build will do: stages and steps, which are expanded and checked before anything is made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wclayer.builder.bases import Base, BaseFinder, ReleaseFinder
from wclayer.builder.dockerfile.instructions import Arg
from wclayer.builder.dockerfile.parser import Dockerfile, Stage
from wclayer.builder.dockerfile.words import Expander
from wclayer.builder.files.context import BuildContext
from wclayer.builder.image import BuiltImage
from wclayer.builder.scratch_base import SCRATCH
from wclayer.builder.workspace import Workspace
from wclayer.errors import FormatError, InvalidParameterError, LayerError, PathNotFoundError
from wclayer.images.edit import ConfigChanges
from wclayer.images.platform import WINDOWS, Platform, parse_platform
from wclayer.win32.names import name_key

_PREDEFINED = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY", "SOURCE_DATE_EPOCH")
"""Arguments that a build may set without an ARG; those of the proxies have no effect, as nothing is fetched."""


class Work(Protocol):
    """What a step does in a workspace."""

    def inputs(self, made: MadeStages) -> list[object]:
        """Returns what the result depends on besides the layers below: JSON values, for the cache."""
        ...

    def carry_out(self, workspace: Workspace, made: MadeStages, output: Output) -> None:
        """Does it."""
        ...


class Output(Protocol):
    """Takes what a step tells while it runs."""

    def line(self, text: str) -> None:
        """Takes a line that a command has printed."""
        ...

    def entries(self, number: int) -> None:
        """Takes the number of entries that are made so far."""
        ...


class MadeStages(Protocol):
    """The stages that are made already, for COPY --from."""

    def chain_of(self, origin: StagePlan | Base) -> tuple[str, ...]:
        """Returns the chainIDs of a stage or an image, base layer first."""
        ...


@dataclass(slots=True)
class PlannedStep:
    """A step of a stage.

    Attributes:
        where: the file and line of its instruction ("Dockerfile:12").
        text: the instruction, for the progress.
        created_by: what the history says of it.
        changes: the changes of the configuration.
        work: what it does to files and the registry; None if it changes the configuration alone.
    """

    where: str
    text: str
    created_by: str
    changes: ConfigChanges | None = None
    work: Work | None = None


@dataclass(slots=True)
class StagePlan:
    """A stage that is built.

    Attributes:
        number: its number in the Dockerfile, from 0.
        name: its name, or its number.
        where: the file and line of its FROM.
        origin: what it begins with: an image or an earlier stage.
        platform: the platform of a stage that begins with `scratch`.
        steps: its steps.
    """

    number: int
    name: str
    where: str
    origin: Base | StagePlan
    platform: Platform
    steps: list[PlannedStep] = field(default_factory=list)

    @property
    def base(self) -> Base:
        """The image at the bottom."""
        origin = self.origin
        while isinstance(origin, StagePlan):
            origin = origin.origin
        return origin


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What a build will do, for one platform.

    Attributes:
        stages: the stages that the target needs, in the order of the Dockerfile; the last one is the target.
        warnings: what the user should know.
    """

    stages: tuple[StagePlan, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What a user wants to build.

    Attributes:
        dockerfile: the Dockerfile.
        context: the folder that COPY and ADD take files from.
        arguments: the values of ARG names (`--build-arg`); a value of None takes nothing.
        target: the name or number of the stage to build; "" for the last one.
        labels: labels that are added.
        annotations: annotations of the manifest that are added.
        latest: the FILETIME that replaces every later time; None keeps the times.
    """

    dockerfile: Dockerfile
    context: BuildContext
    arguments: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    latest: int | None = None


def target_stage(dockerfile: Dockerfile, target: str) -> Stage:
    """Returns the stage that is to be built.

    Raises:
        PathNotFoundError: there is none of that name or number.
    """
    if not target:
        return dockerfile.stages[-1]
    found = dockerfile.find_stage(target)
    if found is None:
        names = ", ".join(stage.start.alias or str(stage.number) for stage in dockerfile.stages)
        raise PathNotFoundError(dockerfile.name, f"has no stage {target!r}; its stages are {names}")
    return found


class Arguments:
    """The values that ARG gives to names: those of the build, of ARG before FROM, and of the platform.

    Args:
        dockerfile: the Dockerfile.
        given: the values of the build (`--build-arg`).
        platform: the platform that is built for; None if FROM determines it.
        target: the name of the stage that is built.
    """

    def __init__(
        self, dockerfile: Dockerfile, given: Mapping[str, str], platform: Platform | None, target: str
    ) -> None:
        self._dockerfile = dockerfile
        self._given = {name_key(name): value for name, value in given.items()}
        wanted = platform or Platform(WINDOWS, "amd64")
        described = {
            "PLATFORM": f"{wanted.os or WINDOWS}/{wanted.architecture or 'amd64'}",
            "OS": wanted.os or WINDOWS,
            "ARCH": wanted.architecture or "amd64",
            "VARIANT": wanted.variant,
            "OSVERSION": wanted.os_version,
        }
        # No process is run while building, and the result does not depend on the machine: BUILD… are as TARGET….
        self.automatic = {f"{side}{name}": value for side in ("TARGET", "BUILD") for name, value in described.items()}
        self.automatic["TARGETSTAGE"] = target or "default"
        self._global: dict[str, str] = {}
        self.used: set[str] = set()
        known = dict(self.automatic)
        for instruction in dockerfile.arguments:
            values = self.values_of(instruction, known, is_global=True)
            known |= values
            self._global |= values

    @property
    def of_from(self) -> dict[str, str]:
        """The values that hold in every FROM."""
        return self.automatic | self._global

    def values_of(self, instruction: Arg, known: Mapping[str, str], *, is_global: bool = False) -> dict[str, str]:
        """Returns the values that an ARG sets.

        Args:
            instruction: the ARG.
            known: the values from before it.
            is_global: whether it is before the first FROM.

        Raises:
            DockerfileError: a default cannot be expanded.
        """
        found: dict[str, str] = {}
        inherited = {} if is_global else {name_key(name): value for name, value in self.of_from.items()}
        for name, default in ((each.name, each.value) for each in instruction.arguments):
            key = name_key(name)
            if key in self._given:
                self.used.add(key)
                found[name] = self._given[key]
            elif default is not None:
                expander = Expander({**known, **found}, self._dockerfile.escape)
                try:
                    found[name] = expander.word(default)
                except FormatError as error:
                    raise self._dockerfile.error(instruction.line, str(error)) from None
            elif key in inherited:
                found[name] = inherited[key]
        return found

    def unused(self) -> list[str]:
        """Returns the names that the build sets and no ARG takes."""
        return sorted(self._given.keys() - self.used - {*_PREDEFINED})


@dataclass(slots=True)
class _Pending:
    stage: Stage
    platform: Platform | None


class StageOrder:
    """Finds the stages that a target needs, each with what it begins with.

    Args:
        dockerfile: the Dockerfile.
        arguments: the values of FROM.
        finder: finds the images of FROM and COPY --from.
        platform: the platform that is built for; None if FROM determines it.
    """

    def __init__(
        self,
        dockerfile: Dockerfile,
        arguments: Arguments,
        finder: BaseFinder | ReleaseFinder,
        platform: Platform | None,
    ) -> None:
        self._dockerfile = dockerfile
        self._arguments = arguments
        self._finder = finder
        self._platform = platform
        self.plans: dict[int, StagePlan] = {}

    def plan(self, stage: Stage) -> StagePlan:
        """Returns the plan of a stage, without its steps, and makes those of the stages that its FROM needs.

        Raises:
            DockerfileError, LayerError: the image of FROM cannot be had; the message names the line.
        """
        if stage.number in self.plans:
            return self.plans[stage.number]
        dockerfile = self._dockerfile
        where = f"{dockerfile.name}:{stage.start.line}"
        expander = Expander(self._arguments.of_from, dockerfile.escape)
        try:
            start = stage.start.expanded(expander)
        except FormatError as error:
            raise dockerfile.error(stage.start.line, str(error)) from None
        if not start.image:
            raise dockerfile.error(stage.start.line, f"FROM {stage.start.image} names no image: {_unset(expander)}")
        platform = self._platform
        if start.platform:
            with located(where):
                platform = parse_platform(start.platform)
        origin: Base | StagePlan
        earlier = dockerfile.find_stage(start.image, before=stage.number)
        made = platform or Platform(WINDOWS, "amd64")
        if not made.architecture:
            made = Platform(made.os, "amd64", made.os_version, made.variant)
        if name_key(start.image) == name_key(SCRATCH):
            with located(where):
                origin = self._finder.scratch(made)
        elif earlier is not None and earlier.start.alias:
            origin = self.plan(earlier)
        else:
            with located(where):
                origin = self._finder.find(start.image, platform)
        plan = StagePlan(stage.number, start.alias or str(stage.number), where, origin, made)
        self.plans[stage.number] = plan
        return plan

    def other(self, text: str, asking: Stage, where: str) -> Base | StagePlan:
        """Returns the stage or image that COPY --from names.

        Raises:
            LayerError: there is none; the message names the line.
        """
        earlier = self._dockerfile.find_stage(text, before=asking.number)
        if earlier is not None:
            return self.plan(earlier)
        if text.isdecimal() or self._dockerfile.find_stage(text) is not None:
            names = [stage.start.alias or str(stage.number) for stage in self._dockerfile.stages[: asking.number]]
            possible = f"the earlier stages are {', '.join(names)}" if names else "there is no earlier stage"
            raise PathNotFoundError(where, f"COPY --from={text} is no earlier stage: {possible}")
        with located(where):
            return self._finder.find(text, self._platform)


def _unset(expander: Expander) -> str:
    names = ", ".join(sorted(expander.unset))
    return f"{names} has no value; declare it with ARG before the first FROM, or set it with --build-arg"


class located:  # noqa: N801 (used like a function, as those of contextlib are)
    """A context in which an error of the family gets a line of the Dockerfile as its path.

    Args:
        where: the file and line.
    """

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, FormatError):
            raise InvalidParameterError(self._where, str(error)) from error
        # An error of another line, such as one of a stage that is planned meanwhile, names that one.
        file = re.split(r"(?<=:)\d+", self._where, maxsplit=1)[0]
        if isinstance(error, LayerError) and not error.path.startswith(file):
            path = f"{error.path}: " if error.path else ""
            raise type(error)(self._where, f"{path}{error.detail}", code=error.code) from error


def variables_of(image: BuiltImage) -> list[tuple[str, str]]:
    """Returns the variables of the environment in the configuration of an image."""
    entries = image.parsed.view.view("config").texts("Env")
    return [(entry[:1] + name, value) for entry in entries for name, _, value in [entry[1:].partition("=")]]


def words_text(words: Sequence[str]) -> str:
    """Returns words as the history shows them: a JSON list."""
    return "[" + ", ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words) + "]"
