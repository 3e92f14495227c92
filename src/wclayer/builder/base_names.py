"""The name of a base image, as the annotations of the images on it state it: with its registry and its tag."""

from __future__ import annotations

from wclayer.errors import InvalidParameterError, PathNotFoundError
from wclayer.images.reference import parse_reference
from wclayer.images.registry import RegistrySource
from wclayer.images.store import ImageStore, StoreSource
from wclayer.images.transport import ImageSource


def name_of(source: ImageSource, store: ImageStore) -> str:
    """Returns the whole reference of an image in a registry or a store; "" for one that has none.

    Args:
        source: where the image is.
        store: the store that a source of a store reads.
    """
    if isinstance(source, RegistrySource):
        return whole_name(str(source.reference))
    if not isinstance(source, StoreSource):
        return ""
    try:
        name = store.full_name(source.name)
    except (PathNotFoundError, InvalidParameterError):
        # A digest names it, or several names mean it.
        return ""
    return "" if name.startswith("sha256:") else whole_name(name)


def whole_name(name: str) -> str:
    """Returns a reference with its registry, as annotations state it (OCI image-spec, annotations.md)."""
    reference = parse_reference(name)
    tag = f":{reference.tag}" if reference.tag else ""
    return f"{reference.registry}/{reference.repository}{tag}" + (f"@{reference.digest}" if reference.digest else "")
