"""The public functions that make images. Each makes one of what it is given, and copies it to its names; the verbs of
the command call them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from wclayer._types import StrPath
from wclayer.builder.appending.additions import Additions
from wclayer.builder.appending.append import Appended, append_to
from wclayer.builder.building import BuildOptions, open_build, open_context, read_dockerfile
from wclayer.builder.clock import Clock
from wclayer.builder.commit import commit_scratch
from wclayer.builder.delivery import BY_DIGEST, all_names, deliver, places_of
from wclayer.builder.for_bases import Release, base_for, check_release, make_for_releases, parse_releases
from wclayer.builder.image import BuiltImage
from wclayer.builder.progress import BuildProgress
from wclayer.builder.rebasing.documents import ImageDocuments
from wclayer.builder.rebasing.rebase import Rebase, RebaseReport
from wclayer.builder.results import AppendedImage, AppendResult, BuildResult, CommitResult, RebaseResult, SquashResult
from wclayer.builder.scratch_base import SCRATCH, scratch_base
from wclayer.builder.squash import squash_layers
from wclayer.errors import InvalidParameterError, NotSupportedError, during
from wclayer.formats.compression import Compression
from wclayer.images.composed import ComposedSource
from wclayer.images.edit import ConfigChanges
from wclayer.images.location import Location, Transport, image_location, open_source
from wclayer.images.opening import find_place, open_image, source_location
from wclayer.images.platform import WINDOWS, Platform
from wclayer.images.reference import parse_reference
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore
from wclayer.images.transfer_progress import TransferCallback
from wclayer.images.transport import ImageSource
from wclayer.layers.progress import ProgressCallback

_FROM_SCRATCH = Platform(WINDOWS, "amd64")
"""What an image on the base from scratch is for, if nothing else is asked for."""


@during("build image", takes_over=True)
def build_image(
    context: StrPath,
    names: str | Sequence[str] = (),
    store: ImageStore | None = None,
    *,
    dockerfile: StrPath = "",
    target: str = "",
    arguments: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    platforms: Sequence[Platform] = (),
    releases: Sequence[str] = (),
    reproducible: bool = False,
    use_cache: bool = True,
    pull: bool = False,
    registry: RegistryOptions | None = None,
    progress: BuildProgress | None = None,
    transfer: TransferCallback | None = None,
) -> BuildResult:
    """Builds the image that a Dockerfile describes, without Windows.

    Everything is expanded and checked before anything is made: missing files of the context, unknown stages, commands
    of RUN whose effect is not known. A step that was made before is taken from the cache in the store.

    Args:
        context: the folder from which COPY and ADD take files.
        names: what the image is called: a name in the store, or a place such as `docker://REF` and `oci:DIR[:TAG]`; or
            several. Without one, the store keeps it by its digest.
        store: the store; by default the user's.
        dockerfile: the path of the Dockerfile; by default `Dockerfile` in the context; "-" for the standard input.
        target: the name or number of the stage to build; by default the last one.
        arguments: the values of ARG names.
        labels: labels that the image gets, too.
        annotations: annotations of the manifest that the image gets, too.
        platforms: what is built; by default the platform of the base image. Several make an index.
        releases: releases of Windows ("ltsc2022"), for each of which an image is built on the base of the release.
        reproducible: no time in the image is later than SOURCE_DATE_EPOCH (of `arguments`, or of the environment), or
            1970: the same inputs give the same digest. With SOURCE_DATE_EPOCH, none is later anyway.
        use_cache: take steps that were made before from the cache.
        pull: fetch the base images anew, even if the store has them.
        registry: how registries are reached.
        progress: receives the steps of the build as they begin and end.
        transfer: called while images are fetched and copied, from several threads.

    Raises:
        InvalidDataError: the Dockerfile is wrong; the message names the line, the word, and what is possible.
        NotSupportedError: it has what cannot be built without Windows; likewise.
        PathNotFoundError: a file of the context, or a base image, is not there.
        InvalidParameterError: a name, a release or a platform is not possible.
        LayerError: a step fails; the steps before it are in the cache.
    """
    called, used_store = all_names(names), store or ImageStore()
    targets = places_of(called)
    given = arguments or {}
    options = BuildOptions(
        arguments=given, target=target, labels=labels, annotations=annotations, use_cache=use_cache, pull=pull,
        clock=Clock.of(reproducible=reproducible, environment={**os.environ, **given}),
    )  # fmt: skip
    with (
        open_context(context, dockerfile) as opened,
        open_build(
            read_dockerfile(context, dockerfile), opened, used_store, platforms=platforms,
            releases=parse_releases(releases), options=options, registry=registry, progress=progress, transfer=transfer,
        ) as built,
    ):  # fmt: skip
        root = deliver(built.source, built.places, targets, used_store, registry, transfer)
        return BuildResult(root, called, built.warnings, tuple(image.manifest for image in built.images))


@during("append to image", takes_over=True)
def append_image(
    image: str,
    additions: Additions,
    names: str | Sequence[str] = (),
    store: ImageStore | None = None,
    *,
    platform: Platform | None = None,
    releases: Sequence[str] = (),
    config: ConfigChanges | None = None,
    annotations: Mapping[str, str] | None = None,
    assume_new: bool = False,
    can_fetch: bool = True,
    reproducible: bool = False,
    registry: RegistryOptions | None = None,
    transfer: TransferCallback | None = None,
) -> AppendResult:
    r"""Puts a layer on top of an image, without a Dockerfile.

    The layers of the image are fetched only if the new one needs something of them: not for what is new directly below
    `C:\`, nor for a tar of a Windows layer. Into the registry of the image, its layers are mounted.

    Args:
        image: a name in the store; a place such as `docker://REF` and `oci:DIR[:TAG]`, or the path of a layout or an
            archive; "scratch" for the base of HostProcess containers, which has nothing but empty registry hives.
        additions: what is added.
        names: see `build_image`.
        store: the store; by default the user's.
        platform: which image of an index is meant.
        releases: releases of Windows ("ltsc2022"), for each of which an image is made on the base of the release, and
            an index over them. `{release}` in the name of the image, or the release in its tag, is replaced.
        config: changes of the configuration.
        annotations: annotations of the manifest.
        assume_new: what is made directly below `C:\` is in no layer of the image.
        can_fetch: False refuses what needs layers of the image that would have to be fetched.
        reproducible: the same additions give the same bytes, on any day.
        registry: how registries are reached.
        transfer: called while layers are fetched, unpacked and copied, from several threads.

    Raises:
        InvalidParameterError: nothing is to be added; a path, a descriptor, a variable or a name is not possible.
        PathNotFoundError: there is no such image, file, or entry for a descriptor.
        InvalidDataError: a tar or a `.reg` file is damaged.
        NotSupportedError: layers would have to be fetched, and `can_fetch` is False; the image is not for Windows.
        RegistryError, AccessDeniedError, …: see `copy_image`.
    """
    called, used_store = all_names(names), store or ImageStore()
    targets = places_of(called)
    stated = _FROM_SCRATCH if image == SCRATCH and platform is None else platform
    parts: list[Location] = []
    made: list[tuple[str, Appended]] = []
    with ExitStack() as held:
        held.enter_context(used_store.in_use())

        def make(release: Release | None) -> ImageSource:
            wanted = stated if release is None else release.platform(stated)
            if image == SCRATCH:
                assert wanted is not None
                base = scratch_base(used_store, wanted)
                source: ImageSource = held.enter_context(base.as_source(used_store))
                origin = Location(Transport.STORE, "", SCRATCH)
            else:
                origin = source_location(image if release is None else base_for(image, release))
                source = held.enter_context(open_source(origin, store=used_store, registry=registry))
            parts.append(origin)
            appended = append_to(
                source, additions, used_store, platform=wanted, config=config, annotations=annotations,
                assume_new=assume_new, can_fetch=can_fetch, keeps_index=release is not None,
                reproducible=reproducible, progress=transfer,
            )  # fmt: skip
            if release is not None:
                check_release(appended.image.parsed.platform, release, source.name)
            if not can_fetch:
                _refuse_fetching(appended.image, origin, targets, used_store)
            made.append(("" if release is None else release.name, appended))
            return held.enter_context(appended.as_source(used_store))

        result = make_for_releases(parse_releases(releases), make) if releases else make(None)
        root = deliver(result, parts, targets, used_store, registry, transfer)
    images = [
        AppendedImage(
            each.image.manifest, each.image.parsed.platform, release, each.way.needs_base, each.way.reason
        )
        for release, each in made
    ]  # fmt: skip
    warnings = dict.fromkeys(warning for _, each in made for warning in each.warnings)
    return AppendResult(root, called, tuple(warnings), tuple(images))


def _refuse_fetching(image: BuiltImage, origin: Location, targets: Sequence[Location], store: ImageStore) -> None:
    """Refuses a copy for which layers of a registry would be fetched: only in that registry, they are there already."""
    if origin.transport is not Transport.REGISTRY or all(map(store.has_blob, image.layers)):
        return
    own = parse_reference(origin.name).registry
    for target in targets:
        if target.transport is not Transport.REGISTRY or parse_reference(target.name).registry != own:
            raise NotSupportedError(
                target.name or target.path,
                f"the layers of {origin.name} would have to be fetched for the copy; name a result in {own} (--push),"
                " or leave --no-fetch out",
            )


@during("commit scratch", takes_over=True)
def commit_image(
    scratch: StrPath,
    names: str | Sequence[str] = (),
    store: ImageStore | None = None,
    *,
    base: str = "",
    platform: Platform | None = None,
    config: ConfigChanges | None = None,
    annotations: Mapping[str, str] | None = None,
    message: str = "",
    compression: Compression | str = Compression.GZIP,
    reproducible: bool = False,
    registry: RegistryOptions | None = None,
    progress: ProgressCallback | None = None,
    transfer: TransferCallback | None = None,
) -> CommitResult:
    """Makes an image of a scratch: the image that it was made of, and its changes as one more layer.

    The scratch stays as it is, and may go on. It must not be mounted.

    Args:
        scratch: the layer directory of a scratch whose parents are the layers of an image in the store.
        names: see `build_image`.
        store: the store; by default the user's.
        base: the image in the store that the scratch was made of; by default the one that the scratch records, or the
            only one that has its layers.
        platform: which image of an index `base` is meant.
        config: changes of the configuration. The author is also that of the step in the history.
        annotations: annotations of the manifest.
        message: the comment in the history.
        compression: that of the new layer.
        reproducible: no time is later than that of the base image: the same changes give the same bytes. With
            SOURCE_DATE_EPOCH in the environment, none is later than that anyway.
        registry: how registries are reached.
        progress: called while the layer is made.
        transfer: called while blobs are copied, from several threads.

    Raises:
        InvalidParameterError: it is no scratch; its parents are not the layers of `base`, or of one image of the store.
        InvalidStateError: Windows has changed the disk of the scratch, and that was not read yet.
        LayerBusyError: the scratch is mounted, or open elsewhere.
        PathNotFoundError: there is no such scratch or image.
        NotSupportedError: the compression does not fit to Docker's manifest.
        RegistryError, AccessDeniedError, …: see `copy_image`.
    """
    called, used_store = all_names(names), store or ImageStore()
    targets = places_of(called)
    with used_store.in_use():
        committed = commit_scratch(
            scratch, used_store, base=base, platform=platform, changes=config, annotations=annotations, message=message,
            reproducible=reproducible, compression=Compression(compression), progress=progress,
        )  # fmt: skip
        with committed.image.as_source(used_store) as made:
            root = deliver(made, [BY_DIGEST], targets, used_store, registry, transfer)
    return CommitResult(root, called, committed.warnings, committed.layer)


@during("squash image", takes_over=True)
def squash_image(
    image: str,
    names: str | Sequence[str] = (),
    store: ImageStore | None = None,
    *,
    above_base: bool = False,
    base: str = "",
    platform: Platform | None = None,
    compression: Compression | str = Compression.GZIP,
    reproducible: bool = False,
    registry: RegistryOptions | None = None,
    progress: ProgressCallback | None = None,
    transfer: TransferCallback | None = None,
) -> SquashResult:
    """Makes one layer of the layers of an image, which shows the same files and the same registry.

    The delta hives of the layers become one, and whiteouts that hide nothing are left out. An image with one layer to
    squash stays as it is.

    Args:
        image: the image: see `open_image`.
        names: see `build_image`.
        store: the store; by default the user's.
        above_base: keep the layers of the base image, and squash those above it. Otherwise all layers become a base
            layer, which has whole hives and no deltas.
        base: the base image, for an image whose annotations and history do not tell it; implies `above_base`.
        platform: which image of an index is meant.
        compression: that of the new layer.
        reproducible: the history states no time that is later than that of the image: the same image gives the same
            bytes. With SOURCE_DATE_EPOCH in the environment, none is later than that anyway.
        registry: how registries are reached.
        progress: called while the layer is made.
        transfer: called while layers are unpacked and blobs are copied, from several threads.

    Raises:
        PathNotFoundError, InvalidDataError, NotALayerError: see `open_image`.
        InvalidParameterError: it is a layer directory, not an image; or nothing states where the base image ends.
        NotSupportedError: the layers have hives in a form that cannot be put together, or the compression does not fit
            to Docker's manifest.
        RegistryError, AccessDeniedError, …: see `copy_image`.
    """
    called, used_store = all_names(names), store or ImageStore()
    targets = places_of(called)
    with ExitStack() as held:
        held.enter_context(used_store.in_use())
        origin = find_place(image, used_store)
        if not isinstance(origin, Location):
            raise InvalidParameterError(image, "is a layer directory; squash takes an image")
        opened = held.enter_context(open_image(image, used_store, platform=platform, progress=transfer))
        stated = None
        if base:
            with open_source(image_location(base), store=used_store, registry=registry) as source:
                stated = ImageDocuments.of(source)
        squashed = squash_layers(
            opened, used_store, above_base=above_base or bool(base), base=stated, reproducible=reproducible,
            compression=Compression(compression), progress=progress,
        )  # fmt: skip
        source = held.enter_context(open_source(origin, store=used_store, registry=registry))
        made = squashed.documents
        new = [] if squashed.layer is None else [squashed.layer.descriptor.digest]
        stored = held.enter_context(used_store.source(made.manifest.descriptor.digest))
        result = ComposedSource(made.manifest, [source], [made.config.data], dict.fromkeys(new, stored))
        root = deliver(result, [origin], targets, used_store, registry, transfer)
    return SquashResult(root, called, (), squashed.layer, squashed.count)


@during("rebase image", takes_over=True)
def rebase_image(
    image: str,
    onto: str,
    names: str | Sequence[str] = (),
    store: ImageStore | None = None,
    *,
    old_base: str = "",
    platform: Platform | None = None,
    releases: Sequence[str] = (),
    compare: bool = True,
    force: bool = False,
    dry_run: bool = False,
    registry: RegistryOptions | None = None,
    on_result: Callable[[RebaseResult], None] | None = None,
    transfer: TransferCallback | None = None,
) -> RebaseResult:
    """Puts the own layers of an image onto another base, with the version of Windows of that base. No layer changes.

    A rebase that would hide a file, a key or a value that the new base has changed is refused, and so are layers with
    updates or features of Windows.

    Args:
        image: a name in the store; a place such as `docker://REF` and `oci:DIR[:TAG]`, or the path of a layout or an
            archive.
        onto: the new base image, likewise.
        names: see `build_image`.
        store: the store; by default the user's.
        old_base: the base of the image, if the image does not tell it.
        platform: which image of an index is meant.
        releases: releases of Windows ("ltsc2022"), for each of which an image is made on the base of the release, and
            an index over them. `{release}` in `onto`, or the release in its tag, is replaced.
        compare: look for conflicts. Otherwise no layer of a base image is fetched.
        force: make the image in spite of conflicts and servicing state.
        dry_run: make nothing. The result states what would be made.
        registry: how registries are reached.
        on_result: called with the result before anything is refused or copied.
        transfer: called while layers are fetched, unpacked and copied, from several threads.

    Raises:
        InvalidStateError: the own layers would hide what the new base has changed.
        NotSupportedError: the own layers hold updates or features of Windows, or hard links to files that the new base
            does not have, also with `force`; or the history does not tell which of its steps are those of the base.
        PathNotFoundError: there is no such image, or none for the platform.
        InvalidParameterError: nothing states which base the image has, or the new one is for another processor.
        InvalidDataError: documents or layers are damaged.
        RegistryError, AccessDeniedError, …: see `copy_image`.
    """
    called, used_store = all_names(names), store or ImageStore()
    targets = places_of(called)
    source, old = source_location(image), source_location(old_base) if old_base else None
    reports: list[RebaseReport] = []
    with ExitStack() as held:

        def make(text: str, base_platform: Platform | None = None) -> ImageSource:
            target = source_location(text)
            rebase = Rebase(
                source, target, used_store, old_base=old, platform=platform, base_platform=base_platform,
                registry=registry, compare=compare, progress=transfer,
            )  # fmt: skip
            made, report = held.enter_context(rebase).run()
            reports.append(report)
            return made

        if releases:
            made = make_for_releases(
                parse_releases(releases), lambda release: make(base_for(onto, release), release.platform(None))
            )
        else:
            made = make(onto)
        warnings = dict.fromkeys(warning for report in reports for warning in report.warnings)
        result = RebaseResult(made.resolve(), called, tuple(warnings), tuple(reports))
        if on_result is not None:
            on_result(result)
        if not dry_run:
            for report in reports:
                report.check(image, force=force)
            deliver(made, [source], targets, used_store, registry, transfer)
        return result
