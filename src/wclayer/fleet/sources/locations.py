"""`listed_at`: the item of a list for a location that a user wrote."""

from __future__ import annotations

import os

from wclayer.errors import InvalidParameterError
from wclayer.fleet.model import Listed
from wclayer.images.layout.named import is_whole_name, reference_of
from wclayer.images.location import Location, Transport, parse_location
from wclayer.images.reference import Reference, parse_reference


def listed_at(text: str) -> Listed:
    """Returns the item for a location. Paths are made absolute: workers are in other folders.

    Raises:
        InvalidParameterError: the text is no location, or no reference.
    """
    place = parse_location(text)
    if place.transport is Transport.REGISTRY:
        return listed_reference(parse_reference(place.name))
    return listed_place(place)


def listed_reference(reference: Reference) -> Listed:
    """Returns the item for a reference to a registry."""
    text = str(reference)
    # Of a repository called "store" or "oci", the reference alone would mean another place.
    is_clear = parse_location(text).transport is Transport.REGISTRY
    return Listed(text if is_clear else f"docker://{text}", text, reference.repository, reference.tag)


def listed_place(place: Location) -> Listed:
    """Returns the item for an image in a layout, an archive or the store.

    Raises:
        InvalidParameterError: its absolute path has a colon, at which a location would end.
    """
    path = os.path.abspath(place.path) if place.path else ""
    whole = Location(place.transport, path, place.name)
    text = str(whole)
    if ":" in os.path.splitdrive(path)[1] or parse_location(text) != whole:
        raise InvalidParameterError(
            path, "has a colon, which ends the path of a location; give the folder another name"
        )
    known = reference_of(place.name) if is_whole_name(place.name) else None
    if known is not None and not place.name.startswith("sha256:"):
        return Listed(text, text, known.repository, known.tag)
    is_digest = place.name.startswith(("sha256:", "@"))
    return Listed(text, text, "", "" if is_digest else place.name)
