"""`wclayer squash` of random images: what the layers mean stays, as tarfile and dissect read it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.builder import meaning
from tests.builder.chains import registry_of, shown
from tests.builder.random_images import (
    BASE,
    CONFIGS,
    MADE_BY_CONTAINERS,
    MADE_BY_OTHERS,
    SLOW,
    Wanted,
    check_view,
    layers,
    layers_of,
    put_image,
    random_store,
    tars_of,
)
from tests.support import run, text
from wclayer.images.opening import open_image
from wclayer.images.store import ImageStore
from wclayer.view.merged import MergedTree

VERSION = "10.0.20348.1"


def check_equal(store: ImageStore, one: str, other: str, *, links: bool, is_whole: bool) -> None:
    """Checks that two images mean the same, for other programs and in the view of the package.

    Args:
        store: the store.
        one, other: the images.
        links: whether containers have made all layers: then the view knows all names of a file.
        is_whole: whether the second one is a base layer, which has other hives in its files.
    """
    before, after = layers_of(store, one), layers_of(store, other)
    # A link can lose its target: the name under which it was made may mean another file now.
    keeps_links = links or meaning.targets_stay(before)
    assert meaning.described(meaning.files_of(before), links=keeps_links) == meaning.described(
        meaning.files_of(after), links=keeps_links
    )
    assert meaning.registry_of(before) == meaning.registry_of(after)
    with open_image(one, store) as image, open_image(other, store) as same:
        assert registry_of(image.path) == registry_of(same.path)
        without = CONFIGS if is_whole else frozenset()
        with MergedTree(image.layers) as first, MergedTree(same.layers) as second:
            expected, found = shown(first, without=without), shown(second, without=without)
        if not links:
            del expected["links"], found["links"]
        assert expected == found


@SLOW
@given(layers, st.integers(0, 1))
@example(MADE_BY_CONTAINERS, 0)
@example(MADE_BY_OTHERS, 0)
@example([*MADE_BY_CONTAINERS, *MADE_BY_OTHERS], 1)
def test_a_squashed_image_means_the_same(wanted: Wanted, of_base: int) -> None:
    with pytest.MonkeyPatch.context() as patch, random_store(patch) as store:
        base = put_image(store, "base:1", [BASE], wanted[:of_base], VERSION)
        count = len(put_image(store, "app:1", base, wanted[of_base:], VERSION)) - len(base)
        check_view(store, "app:1")
        links = all(kind == "container" for kind, _ in wanted)
        digest = text("squash", "-q", "app:1", "--base", "base:1", "--reproducible", "-t", "above:1")
        run("squash", "-q", "app:1", "-t", "whole:1")
        check_equal(store, "app:1", "above:1", links=links, is_whole=False)
        check_equal(store, "app:1", "whole:1", links=links, is_whole=True)
        (whole,) = layers_of(store, "whole:1")
        assert not whole.deleted
        below, own = layers_of(store, "above:1")[: len(base)], layers_of(store, "above:1")[len(base) :]
        assert len(own) == min(count, 1)
        assert tars_of(store, "above:1")[: len(base)] == base
        if count > 1:
            assert meaning.needless_whiteouts(below, own[0]) == []
            assert meaning.needless_tombstones(below, own[0]) == []
        assert text("squash", "-q", "app:1", "--base", "base:1", "--reproducible") == digest
