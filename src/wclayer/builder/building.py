"""`open_build`: an image is built of a Dockerfile and a folder, without Windows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from wclayer._types import StrPath
from wclayer.builder.bases import BaseFinder, ReleaseFinder
from wclayer.builder.clock import Clock
from wclayer.builder.dockerfile.ignore import parse_ignore
from wclayer.builder.dockerfile.lines import decode_dockerfile
from wclayer.builder.dockerfile.parser import Dockerfile, Stage, parse_dockerfile
from wclayer.builder.executor import Executor
from wclayer.builder.files.context import BuildContext
from wclayer.builder.for_bases import Release
from wclayer.builder.image import BuiltImage
from wclayer.builder.plan import Arguments, BuildPlan, BuildRequest, StageOrder, StagePlan, target_stage
from wclayer.builder.plan_steps import StepPlanner
from wclayer.builder.progress import BuildProgress, Silent
from wclayer.errors import during, errors_at
from wclayer.images.changed import compose_index
from wclayer.images.location import Location
from wclayer.images.platform import Platform
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore
from wclayer.images.transfer_progress import TransferCallback
from wclayer.images.transport import ImageSource
from wclayer.layers.inputs import is_standard_input, open_any_place, open_stream

"""What stands for the standard input in the place of the Dockerfile's path."""
_MAX_IGNORE = 1 << 20
_MAX_DOCKERFILE = (1 << 20) + 1


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How an image is built.

    Attributes:
        arguments: the values of ARG names.
        target: the name or number of the stage to build; "" for the last one.
        labels: labels that the image gets, too.
        annotations: annotations of the manifest that the image gets, too.
        clock: the time that the image states.
        use_cache: take steps that were made before from the cache.
        pull: fetch the base images anew, even if the store has them.
    """

    arguments: Mapping[str, str] | None = None
    target: str = ""
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    clock: Clock = field(default_factory=Clock)
    use_cache: bool = True
    pull: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """What a build has made.

    Attributes:
        source: the image, or the index of the images of several platforms, to be copied to any place.
        images: the images, in the order of the platforms.
        places: where their parts are, besides the store.
        warnings: what the user should know; the progress was told, too.
    """

    source: ImageSource
    images: tuple[BuiltImage, ...]
    places: tuple[Location, ...]
    warnings: tuple[str, ...]


def read_dockerfile(context: StrPath, name: StrPath = "") -> Dockerfile:
    """Returns the Dockerfile of a context.

    Args:
        context: the folder.
        name: its path; by default `Dockerfile` in the context; "-" for the standard input.

    Raises:
        PathNotFoundError: there is no such file.
        EntryIsDirectoryError, InvalidParameterError: it is no file. A FIFO or device is read only if it is named.
        DockerfileError: it is not a Dockerfile.
    """
    if is_standard_input(name):
        shown = "<standard input>"
        with errors_at(shown), open_stream(name) as stream:
            data = stream.read(_MAX_DOCKERFILE)
    else:
        path = Path(name) if os.fspath(name) else Path(context) / "Dockerfile"
        shown = os.fspath(name) or path.name
        # Nobody asked for a FIFO that lies in a context, and it may have no writer.
        opened = open_stream if os.fspath(name) else open_any_place
        with errors_at(path), opened(path) as stream:
            data = stream.read(_MAX_DOCKERFILE)
    return parse_dockerfile(decode_dockerfile(data, shown), shown)


def open_context(path: StrPath, dockerfile: StrPath = "") -> BuildContext:
    """Opens the folder that COPY and ADD take files from, without what its `.dockerignore` leaves out.

    Args:
        path: the folder.
        dockerfile: the path of the Dockerfile: `NAME.dockerignore` beside it has precedence.

    Raises:
        PathNotFoundError, NotALayerError, AccessDeniedError: the folder cannot be opened.
        DockerfileError: `.dockerignore` is wrong.
        EntryIsDirectoryError, InvalidParameterError: `.dockerignore` is no file.
    """
    named = "" if is_standard_input(dockerfile) else os.fspath(dockerfile)
    own = Path(f"{named or Path(path) / 'Dockerfile'}.dockerignore")
    for place in (own, Path(path) / ".dockerignore"):
        # A link that leads nowhere, or a device, must not mean that nothing is left out.
        if os.path.lexists(place):
            with errors_at(place), open_any_place(place) as stream:
                data = stream.read(_MAX_IGNORE + 1)
            return BuildContext(path, parse_ignore(decode_dockerfile(data, os.fspath(place)), os.fspath(place)))
    return BuildContext(path)


def plan_build(request: BuildRequest, finder: BaseFinder | ReleaseFinder, platform: Platform | None) -> BuildPlan:
    """Returns what a build will do for one platform, expanded and checked. The base images are fetched for it.

    Raises:
        LayerError: something cannot be built; the message names the line, the word, and what can be done.
    """
    dockerfile = request.dockerfile
    target = target_stage(dockerfile, request.target)
    arguments = Arguments(dockerfile, request.arguments, platform, request.target)
    order = StageOrder(dockerfile, arguments, finder, platform)
    planner = StepPlanner(request, finder.store, order, arguments)
    _plan_stage(order, planner, target)
    stages = tuple(order.plans[number] for number in sorted(order.plans))
    warnings = [f"{dockerfile.name}:{each.line}: {each.detail}" for each in dockerfile.advice]
    warnings += request.context.warnings
    warnings += [f"--build-arg {name}: no ARG takes it" for name in arguments.unused()]
    # The target stands at the end, whatever its number: stages after it are not needed.
    return BuildPlan(stages, tuple(dict.fromkeys([*warnings, *planner.warnings])))


def _plan_stage(order: StageOrder, planner: StepPlanner, stage: Stage) -> StagePlan:
    return planner.plan(stage, order.plan(stage).base.image)


@contextmanager
def open_build(
    dockerfile: Dockerfile,
    context: BuildContext,
    store: ImageStore | None = None,
    *,
    platforms: Sequence[Platform] = (),
    releases: Sequence[Release] = (),
    options: BuildOptions | None = None,
    registry: RegistryOptions | None = None,
    progress: BuildProgress | None = None,
    transfer: TransferCallback | None = None,
) -> Iterator[Built]:
    """Builds the image that a Dockerfile describes, or one for each of several platforms and an index over them.

    Everything is expanded and checked before anything is made: missing files of the context, unknown stages, commands
    of RUN whose effect is not known. Stages that the target does not need are not built. A step that was made before is
    taken from the cache in the store.

    Args:
        dockerfile: the Dockerfile (`read_dockerfile`).
        context: the folder of COPY and ADD (`open_context`).
        store: the store, which has the layers; by default the user's.
        platforms: what is built; by default the platform of the base image.
        releases: the releases of Windows for each of which an image is built, on bases of the release (`base_for`).
        options: how it is built.
        registry: how registries are reached.
        progress: is told what happens.
        transfer: called while a base image is fetched.

    Returns:
        A context manager of what was built. Nothing has a name yet: the caller copies `source` inside the context.

    Raises:
        LayerError: something cannot be built; the message names the line, the word, and what can be done.
    """
    chosen = options or BuildOptions()
    place = store or ImageStore()
    told = progress or Silent()
    request = BuildRequest(
        dockerfile,
        context,
        chosen.arguments or {},
        chosen.target,
        chosen.labels or {},
        chosen.annotations or {},
        chosen.clock.latest,
    )
    with ExitStack() as held:
        with during("build image", context.path):
            # Until a name keeps the layers.
            held.enter_context(place.in_use())
            finder = held.enter_context(BaseFinder(place, registry, pull=chosen.pull, progress=transfer))
            wanted: Sequence[Platform | None] = platforms or [None]
            if releases:
                plans = [
                    plan_build(request, finder.for_release(release), release.platform(platform))
                    for release in releases
                    for platform in wanted
                ]
            else:
                plans = [plan_build(request, finder, platform) for platform in wanted]
            warnings = list(dict.fromkeys(warning for plan in plans for warning in plan.warnings))
            for warning in warnings:
                told.warn(warning)
            executor = Executor(place, clock=chosen.clock, use_cache=chosen.use_cache, progress=told)
            images = [executor.carry_out(plan, request.labels, request.annotations) for plan in plans]
            bases = [plan.stages[-1].base for plan in plans]
            sources: list[ImageSource] = [
                held.enter_context(image.as_source(place, base.source))
                for image, base in zip(images, bases, strict=True)
            ]
            made = sources[0] if len(sources) == 1 else compose_index(sources)
            places = tuple(dict.fromkeys(base.location for base in bases))
        yield Built(made, tuple(images), places, (*warnings, *executor.warnings))
