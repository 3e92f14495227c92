"""`Rebase`: puts the own layers of an image onto another base, after it has looked at what that would hide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wclayer.builder.base_names import name_of
from wclayer.builder.rebasing.base_layers import BaseLookup, FoundBase, base_layers
from wclayer.builder.rebasing.conflicts import RebaseConflict, find_conflicts, lost_links, servicing_state
from wclayer.builder.rebasing.documents import ImageDocuments
from wclayer.builder.rebasing.rebased_documents import RebasedImage, rebase_documents
from wclayer.errors import InvalidStateError, NotSupportedError, PathNotFoundError, during
from wclayer.images.composed import ComposedSource
from wclayer.images.location import Location, Transport, open_source
from wclayer.images.opening import open_image
from wclayer.images.platform import Platform
from wclayer.images.pull import store_image
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore
from wclayer.images.transfer_progress import TransferCallback
from wclayer.images.transport import ImageSource
from wclayer.layers.directory.reader import DirectoryLayerReader
from wclayer.layers.tar import TarLayerReader

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class RebaseReport:
    """What a rebase does, and what it would hide.

    Attributes:
        digest: the digest of the manifest of the result.
        os_version: the version of Windows that the result states.
        own: how many layers are the image's own.
        old_base: the digest of the old base; "" if only the history tells of it.
        new_base: the digest of the new base.
        warnings: what the user should know.
        servicing: paths of files and keys of the own layers that belong to the servicing of Windows, the first ones.
        lost_links: paths of hard links of the own layers to files that the new base does not have, the first ones.
        conflicts: what the own layers would hide of the new base; None if nobody looked.
    """

    digest: str
    os_version: str
    own: int
    old_base: str
    new_base: str
    warnings: tuple[str, ...] = ()
    servicing: tuple[str, ...] = ()
    lost_links: tuple[str, ...] = ()
    conflicts: tuple[RebaseConflict, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON object."""
        conflicts = None if self.conflicts is None else [conflict.to_json() for conflict in self.conflicts]
        return {
            "digest": self.digest,
            "os.version": self.os_version,
            "own_layers": self.own,
            "old_base": self.old_base,
            "new_base": self.new_base,
            "warnings": list(self.warnings),
            "servicing": list(self.servicing),
            "lost_links": list(self.lost_links),
            "conflicts": conflicts,
        }

    def check(self, name: str, *, force: bool = False) -> None:
        """Refuses a rebase that would break servicing, hide what the new base has changed, or could not be unpacked.

        Args:
            name: what the user calls the image, for messages.
            force: accept the first two.

        Raises:
            NotSupportedError: own layers have servicing state, or link to files that the new base does not have.
            InvalidStateError: there are conflicts.
        """
        if self.lost_links:
            raise NotSupportedError(
                name,
                "its own layers have hard links to files that the new base does not have"
                f" ({', '.join(self.lost_links)}), so the result could not be unpacked; make them again on it",
            )
        if force:
            return
        if self.servicing:
            raise NotSupportedError(
                name,
                "its own layers hold updates or features of Windows that belong to the old base"
                f" ({', '.join(self.servicing)}); make them again on the new base, or take them over with --force",
            )
        if self.conflicts:
            first = ", ".join(_named(conflict) for conflict in self.conflicts[:_SHOWN])
            raise InvalidStateError(
                name,
                f"its own layers would hide {len(self.conflicts)} changes of the new base: {first}"
                f"{', …' if len(self.conflicts) > _SHOWN else ''}; --dry-run lists them, --force keeps what the image"
                " has",
            )


def _named(conflict: RebaseConflict) -> str:
    return conflict.path if conflict.value is None else f"{conflict.path}, value {conflict.value!r}"


@dataclass(slots=True)
class Rebase:
    """A rebase of an image: a context manager, in which its result can be copied.

    Args:
        image: where the image is.
        onto: where the new base is.
        store: the store, into which layers are unpacked.
        old_base: where the old base is; None if the image tells it.
        platform: which image of an index is meant.
        base_platform: which image of an index is the new base; by default that for the release of Windows of the image,
            or the only one for its processor.
        registry: how registries are reached.
        compare: compare the layers. Otherwise only the own layers are read, and no layer of a base is fetched.
        progress: called while layers are fetched and unpacked.

    Raises:
        PathNotFoundError, InvalidParameterError, InvalidDataError: an image is not there, or is none; see also
            `base_layers` and `rebase_documents`.
    """

    image: Location
    onto: Location
    store: ImageStore
    old_base: Location | None = None
    platform: Platform | None = None
    base_platform: Platform | None = None
    registry: RegistryOptions | None = None
    compare: bool = True
    progress: TransferCallback | None = None
    _held: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Rebase:
        self._held.enter_context(self.store.in_use())
        return self

    def __exit__(self, *error: object) -> None:
        self._held.close()

    def run(self) -> tuple[ImageSource, RebaseReport]:
        """Returns the rebased image as a source, which is open until the context ends, and the report.

        Nothing is refused because of the report: `RebaseReport.check` does that.
        """
        name = self.image.name or self.image.path
        with during("rebase image", name):
            source, base_source = self._open(self.image), self._open(self.onto)
            image = ImageDocuments.of(source, self.platform)
            if self.base_platform is not None:
                architecture = self.base_platform.architecture or image.config.platform.architecture
                new = ImageDocuments.of(base_source, replace(self.base_platform, architecture=architecture))
            else:
                new = self._documents_of_base(base_source, image.config.platform)
            stated = None
            if self.old_base is not None:
                stated = self._documents_of_base(self._open(self.old_base), image.config.platform)
            old = base_layers(name, image, BaseLookup(self.store, source, self.registry), stated)
            rebased = rebase_documents(name, image, old, new, new_name=name_of(base_source, self.store))
            report = self._report(name, image, old, new, rebased, source)
            made = rebased.documents
            owners = {layer.digest: base_source for layer in made.manifest.layers[: len(new.manifest.layers)]}
            owners |= dict.fromkeys((layer.digest for layer in image.manifest.layers), source)
            return ComposedSource(made.manifest, [source, base_source], [made.config.data], owners), report

    def _open(self, place: Location) -> ImageSource:
        return self._held.enter_context(open_source(place, store=self.store, registry=self.registry))

    def _documents_of_base(self, source: ImageSource, image: Platform) -> ImageDocuments:
        """Returns the documents of a base: of an index, that for the same release of Windows, if it has one."""
        version = image.windows_version
        wanted = Platform(image.os, image.architecture, variant=image.variant)
        if version is not None:
            try:
                return ImageDocuments.of(source, replace(wanted, os_version=str(version.release)))
            except PathNotFoundError:
                pass
        return ImageDocuments.of(source, wanted)

    def _report(
        self,
        name: str,
        image: ImageDocuments,
        old: FoundBase,
        new: ImageDocuments,
        rebased: RebasedImage,
        source: ImageSource,
    ) -> RebaseReport:
        made = rebased.documents
        report = RebaseReport(
            made.manifest.descriptor.digest,
            made.config.platform.os_version,
            rebased.own,
            "" if old.documents is None else old.documents.manifest.descriptor.digest,
            new.manifest.descriptor.digest,
            rebased.warnings,
        )
        if made is image:
            return replace(report, conflicts=())
        if not self.compare:
            return replace(report, servicing=self._servicing_of_blobs(image, old.count, source))
        layers = self._unpacked(self.image, image.config.platform)
        with ExitStack() as opened:
            readers = [opened.enter_context(DirectoryLayerReader(path)) for path in layers[: rebased.own]]
            servicing = _first(servicing_state(readers))
        below = self._unpacked(self.onto, new.config.platform)
        lost = _first(lost_links(layers, rebased.own, below))
        conflicts = find_conflicts(layers, rebased.own, below)
        return replace(report, servicing=servicing, lost_links=lost, conflicts=tuple(conflicts))

    def _servicing_of_blobs(self, image: ImageDocuments, count: int, source: ImageSource) -> tuple[str, ...]:
        found: list[str] = []
        for layer in image.manifest.layers[count:]:
            with source.open_blob(layer) as stream, TarLayerReader(stream, layer.digest, is_base=False) as reader:
                found += servicing_state([reader])
        return _first(iter(found))

    def _unpacked(self, place: Location, platform: Platform) -> Sequence[Path]:
        """Returns the layers of an image, unpacked, nearest first."""
        if place.transport is Transport.REGISTRY:
            with open_source(place, store=self.store, registry=self.registry) as source:
                (image,) = store_image(source, self.store, "", platform=platform, progress=self.progress).images
                return image.layers[::-1]
        opened = open_image(str(place), self.store, platform=platform, progress=self.progress)
        self._held.enter_context(opened)
        return opened.layers


def _first(paths: Iterator[str]) -> tuple[str, ...]:
    return tuple(path for _, path in zip(range(_SHOWN), paths, strict=False))
