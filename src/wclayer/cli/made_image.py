"""What the verbs that make images share: how their sources are opened, and how the result gets to its place."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from wclayer.cli.output import echo, print_json, results_beside
from wclayer.cli.transfer_bars import transfer_bars
from wclayer.images.foreign import Foreign
from wclayer.images.location import Location, Transport, image_location, open_source, open_target
from wclayer.images.reference import parse_reference
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore
from wclayer.images.transfer import CopyResult, copy_image
from wclayer.images.transport import ImageSource


def opened_image(opened: ExitStack, place: Location, store: ImageStore, registry: RegistryOptions) -> ImageSource:
    """Opens an image that is closed with a context."""
    return opened.enter_context(open_source(place, store=store, registry=registry))


def make_image(
    image: ImageSource,
    places: Sequence[Location],
    new: str,
    store: ImageStore,
    registry: RegistryOptions,
    *,
    as_json: bool,
) -> None:
    """Copies what was composed to the place that the user names, and tells what was made."""
    target_place = image_location(new)
    with results_beside(target_place.archive_file, "an archive"):
        root = copy_made(image, places, target_place, store, registry).descriptor
        if as_json:
            print_json({"name": new, "digest": root.digest, "media_type": root.media_type})
        else:
            echo(f"made {new}: {root.digest}")


def copy_made(
    image: ImageSource,
    places: Sequence[Location],
    target_place: Location,
    store: ImageStore,
    registry: RegistryOptions,
    *,
    quiet: bool = False,
) -> CopyResult:
    """Copies what was made to a place.

    Args:
        image: what was made.
        places: where its parts are.
        target_place: where it goes.
        store, registry: see `open_target`.
        quiet: show no progress.
    """
    # In one store, nothing of the layers is copied; those that were left in their registry stay there.
    stays = all(place.transport is Transport.STORE for place in (target_place, *places))
    foreign = Foreign.KEEP if stays else Foreign.PUSH
    paths = [place.path for place in places if place.is_on_disk]
    with (
        open_target(target_place, store=store, registry=registry, sources=paths) as target,
        transfer_bars(quiet=quiet) as progress,
    ):
        return copy_image(image, target, all_platforms=True, foreign=foreign, progress=progress)


def places_of(names: Sequence[str], *, push: bool) -> list[Location]:
    """Returns the places that an image that is made gets, those in the store first. They are checked before the work.

    Args:
        names: names in the store, or places such as docker://REF and oci:DIR[:TAG]; none keeps the image in the store
            by its digest.
        push: what is named in the store is also copied to the registry of its name.

    Raises:
        InvalidParameterError: one is neither the name of an image nor a place.
    """
    places = [image_location(name) for name in names] or [Location(Transport.STORE, "", "")]
    stored = [place for place in places if place.transport is Transport.STORE]
    others = [place for place in places if place.transport is not Transport.STORE]
    for place in (*stored, *others):
        if place.name and place.transport in (Transport.STORE, Transport.REGISTRY):
            parse_reference(place.name)
    pushed = [Location(Transport.REGISTRY, "", place.name) for place in stored if push and place.name]
    return [*stored, *others, *(place for place in pushed if place not in others)]
