"""How an image that was made gets to its names: into the store, registries, layouts and archives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wclayer.images.descriptor import Descriptor
from wclayer.images.foreign import Foreign
from wclayer.images.location import Location, Transport, image_location, open_target
from wclayer.images.reference import parse_reference
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore
from wclayer.images.transfer import copy_image
from wclayer.images.transfer_progress import TransferCallback
from wclayer.images.transport import ImageSource

BY_DIGEST = Location(Transport.STORE, "", "")
"""The store, which keeps an image without a name by its digest."""


def all_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Returns the names that a caller gives: one, or several."""
    return (names,) if isinstance(names, str) else tuple(names)


def places_of(names: Iterable[str]) -> list[Location]:
    """Returns the places that an image that is made gets, those in the store first. They are checked before the work.

    Args:
        names: names in the store, or places such as docker://REF and oci:DIR[:TAG]; none keeps the image in the store
            by its digest.

    Raises:
        InvalidParameterError: one is neither the name of an image nor a place.
    """
    places = list(dict.fromkeys(map(image_location, names)))
    for place in places:
        if place.name and place.transport in (Transport.STORE, Transport.REGISTRY):
            parse_reference(place.name)
    return sorted(places, key=lambda place: place.transport is not Transport.STORE) or [BY_DIGEST]


def deliver(
    image: ImageSource,
    parts: Sequence[Location],
    targets: Iterable[Location],
    store: ImageStore,
    registry: RegistryOptions | None,
    transfer: TransferCallback | None = None,
) -> Descriptor:
    """Copies what was made to all its places.

    Args:
        image: what was made.
        parts: where its parts are.
        targets: where it goes.
        store, registry: see `open_target`.
        transfer: called for each blob that is copied.

    Returns:
        The descriptor of the manifest, or of the index.
    """
    paths = [place.path for place in parts if place.is_on_disk]
    for target_place in targets:
        # In one store, nothing of the layers is copied; those that were left in their registry stay there.
        stays = all(place.transport is Transport.STORE for place in (target_place, *parts))
        foreign = Foreign.KEEP if stays else Foreign.PUSH
        with open_target(target_place, store=store, registry=registry, sources=paths) as target:
            copy_image(image, target, all_platforms=True, foreign=foreign, progress=transfer)
    return image.resolve()
