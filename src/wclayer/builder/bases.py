"""The images that a build begins with, or copies from: of the store, of a place that is named, or of a registry."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from wclayer.builder.base_names import name_of
from wclayer.builder.for_bases import Release, base_for, check_release
from wclayer.builder.image import BuiltImage
from wclayer.builder.scratch_base import SCRATCH, scratch_base
from wclayer.errors import PathNotFoundError
from wclayer.images.location import Location, Transport, open_source, parse_location
from wclayer.images.opening import open_image
from wclayer.images.platform import Platform
from wclayer.images.pull import store_image
from wclayer.images.reference import parse_reference
from wclayer.images.registry import RegistryOptions, RegistrySource
from wclayer.images.store import ImageStore
from wclayer.images.transfer_progress import TransferCallback
from wclayer.images.transport import ImageSource

_PLACE = re.compile(
    "(?:{}):".format("|".join(kind.value for kind in Transport if kind is not Transport.REGISTRY)), re.ASCII
)


@dataclass(frozen=True, slots=True)
class Base:
    """An image that a build uses, whose layers are unpacked in the store.

    Attributes:
        name: what the Dockerfile calls it.
        image: the image as the beginning of a new one.
        source: where its documents and its blobs are; open as long as the finder.
        location: the same, for a target that must not be the same file.
    """

    name: str
    image: BuiltImage
    source: ImageSource
    location: Location


class BaseFinder:
    """Finds images for builds, and holds them until it is closed: a context manager.

    A name is looked up in the store first. What is not there is fetched from its registry, as `wclayer pull` does it.

    Args:
        store: the store.
        registry: how registries are reached.
        pull: fetch every image anew from its registry, even if the store has it.
        progress: called while something is fetched or unpacked.
    """

    def __init__(
        self,
        store: ImageStore,
        registry: RegistryOptions | None = None,
        *,
        pull: bool = False,
        progress: TransferCallback | None = None,
    ) -> None:
        self.store = store
        self._registry = registry
        self._pull = pull
        self._progress = progress
        self._found: dict[tuple[str, str], Base] = {}
        self._held = ExitStack()

    def find(self, text: str, platform: Platform | None, *, keeps_index: bool = False) -> Base:
        """Returns an image, unpacked in the store.

        Args:
            text: a reference, or a place such as `oci:DIR[:TAG]`.
            platform: which image of an index is meant.
            keeps_index: an image that is fetched is kept under the name of its index, with others of it.

        Raises:
            PathNotFoundError: there is no such image, or none for the platform.
            InvalidParameterError: several images may be meant.
            RegistryError: the registry cannot be reached, or refuses it.
            NotSupportedError: the image is not for Windows.
        """
        key = text, str(platform)
        if key not in self._found:
            self._found[key] = self._place(text, platform, keeps_index=keeps_index)
        return self._found[key]

    def scratch(self, platform: Platform) -> Base:
        """Returns the base of an image that begins with nothing (`FROM scratch`), unpacked in the store.

        Raises:
            InvalidParameterError: there is none for the platform.
        """
        key = SCRATCH, str(platform)
        if key not in self._found:
            with ExitStack() as opened:
                opened.enter_context(self.store.in_use())
                image = scratch_base(self.store, platform)
                opened.enter_context(self.store.hold_layers(image.chain_ids))
                source = opened.enter_context(image.as_source(self.store))
                self._held.enter_context(opened.pop_all())
            self._found[key] = Base(SCRATCH, image, source, Location(Transport.STORE, "", SCRATCH))
        return self._found[key]

    def _place(self, text: str, platform: Platform | None, *, keeps_index: bool) -> Base:
        if _PLACE.match(text):
            return self._opened(text, parse_location(text), platform)
        reference = parse_reference(text)
        name = str(reference)
        place = Location(Transport.STORE, "", name)
        if not self._pull:
            try:
                return self._opened(text, place, platform)
            except PathNotFoundError:
                # It is not in the store, or not for this platform.
                pass
        with RegistrySource(reference, self._registry) as source:
            store_image(
                source, self.store, name, platform=platform, keeps_index=keeps_index, progress=self._progress
            )  # fmt: skip
        return self._opened(text, place, platform)

    def _opened(self, text: str, place: Location, platform: Platform | None) -> Base:
        with ExitStack() as opened:
            opened.enter_context(open_image(str(place), self.store, platform=platform, progress=self._progress))
            source = opened.enter_context(open_source(place, store=self.store, registry=self._registry))
            image = BuiltImage.on(source, platform, name=name_of(source, self.store))
            self._held.enter_context(opened.pop_all())
        return Base(text, image, source, place)

    def for_release(self, release: Release) -> ReleaseFinder:
        """Returns the finder of the images that a release of Windows has in the place of those that are named."""
        return ReleaseFinder(self, release)

    def close(self) -> None:
        """Ends the use of the images."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class ReleaseFinder:
    """Finds the images of one release of Windows (`base_for`).

    Args:
        finder: finds and holds images.
        release: the release.
    """

    def __init__(self, finder: BaseFinder, release: Release) -> None:
        self._finder = finder
        self._release = release

    @property
    def store(self) -> ImageStore:
        """The store."""
        return self._finder.store

    def find(self, text: str, platform: Platform | None) -> Base:
        """Returns the image of the release.

        Raises:
            PathNotFoundError: it is of another release.
            InvalidParameterError, …: see `base_for` and `BaseFinder.find`.
        """
        name = base_for(text, self._release)
        # The images of several releases may have one name.
        found = self._finder.find(name, self._release.platform(platform), keeps_index=True)
        check_release(found.image.parsed.platform, self._release, name)
        return found

    def scratch(self, platform: Platform) -> Base:
        """Returns the base of an image that begins with nothing, which states the version of the release.

        Raises:
            InvalidParameterError: see `BaseFinder.scratch`.
        """
        return self._finder.scratch(self._release.platform(platform))
