"""`prune` keeps exactly what the names reach, whatever the images have in common."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.images import samples
from tests.images.stores import fill, unpack
from wclayer.host.durability import unsynced
from wclayer.images.descriptor import Descriptor
from wclayer.images.store import ImageStore

_BASES = [samples.small(), samples.small("oci"), samples.small(os_version="10.0.26100.33296")]
_IMAGES = [*_BASES, *(samples.small_child(base.kind, base) for base in _BASES)]
_ITEMS: list[samples.Image | samples.Index] = [*_IMAGES, samples.several(), samples.several("oci")]
_NAMES = ("one", "two", "localhost:5000/one:1")


def _reached(items: Iterable[samples.Image | samples.Index]) -> set[str]:
    """What names keep, without the code of the store: manifests, configurations and layers, by their digits."""
    digests = {digest for item in items for digest in (*item.documents, *item.blobs)}
    return {digest.removeprefix("sha256:") for digest in digests}


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("fill"), st.sampled_from(_NAMES), st.sampled_from(range(len(_ITEMS)))),
            st.tuples(st.just("untag"), st.sampled_from(_NAMES), st.just(0)),
            st.tuples(st.just("prune"), st.just(""), st.just(0)),
        ),
        max_size=8,
    ),
    unpacked=st.sets(st.sampled_from(range(len(_IMAGES))), max_size=2),
    strays=st.sets(st.binary(max_size=20), max_size=3),
)
def test_prune_keeps_what_names_reach_and_nothing_else(
    steps: list[tuple[str, str, int]], unpacked: set[int], strays: set[bytes]
) -> None:
    with tempfile.TemporaryDirectory() as folder, unsynced():
        store = ImageStore(Path(folder) / "store")
        named: dict[str, samples.Image | samples.Index] = {}
        for number in unpacked:
            unpack(store, _IMAGES[number])
        for data in strays:
            with store.ingest(Descriptor.of(data, "application/octet-stream")) as ingest:
                if not ingest.is_whole:
                    ingest.write(data)
                    ingest.commit()
        for what, name, number in steps:
            if what == "fill":
                fill(store, name, _ITEMS[number])
                named[name] = _ITEMS[number]
            elif what == "untag" and named.pop(name, None) is not None:
                store.untag(name)
            elif what == "prune":
                store.prune()
        store.prune()
        blobs = store.path / "blobs" / "sha256"
        assert set(os.listdir(blobs) if blobs.exists() else ()) == _reached(named.values())
        chains = {chain_id for item in named.values() for image in item.images for chain_id in image.chain_ids}
        before = {chain_id for number in unpacked for chain_id in _IMAGES[number].chain_ids}
        # What an earlier prune removed is not unpacked again.
        found = {f"sha256:{name}" for name in os.listdir(store.path / "layers")} if store.path.exists() else set()
        assert found <= chains & before
        if not any(what == "prune" for what, _, _ in steps):
            assert found == chains & before
        assert [(problem.path, problem.text) for problem in store.check()] == [] if store.path.exists() else True
