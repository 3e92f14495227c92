"""The history: which step made which layer, and where the base image ends."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.images import samples
from wclayer.images.config import ImageConfig, parse_config
from wclayer.images.edit import edit_annotations
from wclayer.images.history import BASE_DIGEST, BASE_NAME, ImageBase, find_base, history_steps
from wclayer.images.manifest import Manifest, parse_manifest


def config_of(empty: list[bool], layers: int, commands: list[str] | None = None) -> ImageConfig:
    history = [
        {"created_by": (commands or ["x"] * len(empty))[number], **({"empty_layer": True} if is_empty else {})}
        for number, is_empty in enumerate(empty)
    ]
    diff_ids = [f"sha256:{number:064x}" for number in range(layers)]
    return parse_config(json.dumps({"rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history}).encode())


def layers_of(config: ImageConfig) -> list[int | None]:
    return [step.layer for step in history_steps(config)]


def test_each_step_of_the_classic_builder_made_a_layer() -> None:
    assert layers_of(parse_config(samples.classic().config)) == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("empty", "layers", "expected"),
    [
        ([False, True, True, False], 2, [0, None, None, 1]),
        ([False, False], 2, [0, 1]),
        ([False, True, True], 3, [0, 1, 2]),  # marked, and yet as many layers
        ([False, False, False], 2, [None, None, None]),
        ([], 2, []),
        ([True], 0, [None]),
    ],
)
def test_layers_are_those_of_the_steps_without_the_mark(
    empty: list[bool], layers: int, expected: list[int | None]
) -> None:
    assert layers_of(config_of(empty, layers)) == expected


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 12))
def test_each_layer_has_one_step_or_none_is_known(empty: list[bool], layers: int) -> None:
    known = [layer for layer in layers_of(config_of(empty, layers)) if layer is not None]
    assert known == [*range(layers)] or known == []
    if len(empty) - sum(empty) == layers:
        assert known == [*range(layers)]


@pytest.mark.parametrize(
    ("image", "version", "layers"),
    [
        (samples.servercore(), "10.0.20348.5499", 2),
        (samples.nanoserver(), "10.0.26100.33438", 1),
        (samples.classic(), "10.0.20348.5499", 2),
        (samples.with_foreign_layer(), "1809-RTM-amd64", 1),
    ],
)
def test_the_base_image_is_found_by_its_steps(image: samples.Image, version: str, layers: int) -> None:
    manifest = parse_manifest(image.manifest)
    assert isinstance(manifest, Manifest)
    assert find_base(parse_config(image.config), manifest) == ImageBase("", "", version, layers)


def test_an_update_after_other_steps_is_not_the_base() -> None:
    config = config_of([False] * 3, 3, ["Apply image 10.0.1.1", "cmd /C x", "Install update 10.0.1.2"])
    assert find_base(config) == ImageBase("", "", "10.0.1.1", 1)
    assert find_base(config_of([False], 1, ["cmd /C Apply image 1"])) is None


def test_the_layers_of_the_base_are_unknown_if_the_history_does_not_tell() -> None:
    assert find_base(config_of([False] * 3, 2, ["Apply image 10.0.1.1", "x", "y"])) == ImageBase(
        "", "", "10.0.1.1", None
    )


def test_annotations_name_the_base() -> None:
    digest = f"sha256:{'a' * 64}"
    manifest = parse_manifest(samples.small("oci").manifest)
    assert isinstance(manifest, Manifest)
    manifest = edit_annotations(manifest, {BASE_NAME: "r.io/base:1", BASE_DIGEST: digest})
    assert find_base(config_of([], 0), manifest) == ImageBase("r.io/base:1", digest, "", None)
    assert find_base(config_of([], 0)) is None
