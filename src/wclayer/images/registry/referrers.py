"""What refers to a manifest in a registry: by the API of referrers, by the tag of referrers, by the tags of cosign.

A registry without the API has an index of them under a tag made of the digest, which the clients keep (distribution
spec, "Referrers Tag Schema").
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from wclayer.errors import (
    InvalidDataError,
    LimitExceededError,
    PathNotFoundError,
    RegistryError,
    errors_at,
    limit_hint,
)
from wclayer.images.descriptor import OCI_INDEX, Descriptor
from wclayer.images.edit import append_manifests, new_index
from wclayer.images.manifest import Index, parse_manifest
from wclayer.images.registry.client import RegistryClient
from wclayer.images.registry.documents import get_manifest, pages, put_manifest
from wclayer.model import limits_in_use

_DIGEST_SUFFIXES = ("sig", "att", "sbom")
_TRIES = 20
"""How often an entry that another client took out is added again."""
_PART_OF_BACKOFF = 0.1
_PATIENCE = 3.0
"""So many times as long as an addition took here, another client may take for its own."""
_GROWTH = 1.25
_LONGEST_PAUSE = 5.0


def get_referrers(client: RegistryClient, descriptor: Descriptor) -> list[Descriptor]:
    """Returns the manifests that refer to a manifest: those that the API of referrers lists, or, without it, those of
    the tag of referrers.

    Raises:
        InvalidDataError: the list is not an index.
        LimitExceededError: a page of it is larger than the limit `manifest_size`, or the list is longer than
            `archive_members`.
    """
    what = f"manifests that refer to {descriptor.digest}"
    path = f"referrers/{descriptor.digest}"
    found: list[Descriptor] = []
    for answer, view in pages(client, path, what, (200, 404, 405, 501)):
        if answer.status != 200 or "manifests" not in view:
            index = _tagged_index(client, descriptor.digest)
            return [] if index is None else list(index.manifests)
        with errors_at(client.name):
            found += [Descriptor.from_json(item) for item in view.views("manifests")]
        if len(found) > (most := limits_in_use().archive_members):
            raise LimitExceededError(client.name, f"more than {most} {what} {limit_hint('archive_members')}")
    return found


def get_digest_tags(client: RegistryClient, descriptor: Descriptor) -> dict[str, Descriptor]:
    """Returns the tags that cosign makes for a manifest (`sha256-HEX.sig`, `.att`, `.sbom`), with their manifests."""
    found: dict[str, Descriptor] = {}
    for suffix in _DIGEST_SUFFIXES:
        tag = f"{_tag_of(descriptor.digest)}.{suffix}"
        try:
            found[tag] = get_manifest(client, tag)[0]
        except PathNotFoundError:
            continue
    return found


def _tag_of(digest: str) -> str:
    """Returns the tag of the index of what refers to a manifest."""
    return digest.replace(":", "-")


def _tagged_index(client: RegistryClient, digest: str) -> Index | None:
    """Returns the index of the tag of referrers of a manifest; None if there is none.

    Raises:
        InvalidDataError: the tag is not one of an index.
    """
    tag = _tag_of(digest)
    try:
        found, data = get_manifest(client, tag)
    except PathNotFoundError:
        return None
    with errors_at(client.name):
        index = parse_manifest(data, found.media_type)
    if not isinstance(index, Index):
        raise InvalidDataError(client.name, f"the tag {tag!r} of referrers is not an index")
    return index


@dataclass(slots=True)
class _Listing:
    """What was added to the tag of referrers of one manifest, and when another client has surely ended what it began
    before."""

    entries: dict[str, Descriptor] = field(default_factory=dict)
    settled: float = 0.0


class ReferrersTags:
    """The tags of referrers to which one copy adds manifests, in a registry without the API of referrers.

    A registry has no way to change a tag only if nobody else did: of two clients that read an index at the same time,
    and add to it, the second takes out what the first has added. So what was added is looked for afterwards, when
    others that began before have ended, and is added again if it is gone.

    Args:
        client: the registry.
    """

    def __init__(self, client: RegistryClient) -> None:
        self._client = client
        self._changed: dict[str, _Listing] = {}

    def add(self, subject: Descriptor, entry: Descriptor) -> None:
        """Adds a manifest to the index of what refers to its subject, unless it is in it.

        Raises:
            InvalidDataError: the tag is not one of an index.
            LimitExceededError: the index is larger than the limit `manifest_size`.
        """
        listing = self._changed.setdefault(subject.digest, _Listing())
        listing.entries[entry.digest] = entry
        self._add_missing(subject.digest, listing, 1.0)

    def confirm(self) -> None:
        """Waits until other clients have ended, and adds again what they took out.

        Raises:
            RegistryError: others took it out again and again.
        """
        for digest, listing in self._changed.items():
            patience = 1.0
            for _ in range(_TRIES):
                time.sleep(max(0.0, min(listing.settled - time.monotonic(), _LONGEST_PAUSE)))
                if not self._add_missing(digest, listing, patience):
                    break
                patience *= _GROWTH
            else:
                raise RegistryError(
                    self._client.name,
                    f"other clients change the tag {_tag_of(digest)} at the same time, and took"
                    f" {', '.join(listing.entries)} out of it {_TRIES} times; try again later",
                )
        self._changed.clear()

    def _add_missing(self, digest: str, listing: _Listing, patience: float) -> bool:
        """Adds what is missing in the index of a manifest, and returns whether something was."""
        began = time.monotonic()
        index = _tagged_index(self._client, digest)
        known = set() if index is None else {item.digest for item in index.manifests}
        missing = [entry for entry in listing.entries.values() if entry.digest not in known]
        if not missing:
            return False
        with errors_at(self._client.name):
            made = append_manifests(new_index([], OCI_INDEX) if index is None else index, missing)
        put_manifest(self._client, _tag_of(digest), made.descriptor, made.data, has_urls=False)
        now = time.monotonic()
        pause = max(_PATIENCE * (now - began), self._client.options.backoff * _PART_OF_BACKOFF)
        # Clients that collided do not come back together.
        listing.settled = now + pause * patience * random.uniform(1.0, 2.0)
        return True
