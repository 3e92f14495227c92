r"""When a layer is made without the layers of the base: only what is new directly below `C:\` needs nothing of them."""

from __future__ import annotations

import json

import pytest

from tests.images import samples
from wclayer.builder.appending.append_way import Way, choose_way
from wclayer.images.config import ImageConfig, parse_config
from wclayer.win32.names import name_key

WINDOWS = parse_config(samples.servercore().config)
APP = parse_config(samples.small_child().config)


def way(
    *made: str,
    config: ImageConfig = WINDOWS,
    stated: tuple[str, ...] = (),
    brought: tuple[str, ...] | None = None,
    changes_registry: bool = False,
    assume_new: bool = False,
) -> Way:
    def keys(names: tuple[str, ...]) -> dict[str, str]:
        return {name_key(name): name for name in names}

    return choose_way(
        config, changes_registry=changes_registry, made=keys(made), stated=keys(stated),
        brought=[] if brought is None else [keys(brought)], assume_new=assume_new,
    )  # fmt: skip


def test_what_is_new_below_the_drive_needs_nothing_of_the_base() -> None:
    assert way("app") == Way(False, r"all layers of the image are Windows' own, which do not have C:\app")
    assert not way("app", "tools", stated=("APP",)).needs_base
    assert way("a", "b", "c", "d").reason.endswith(r"C:\a, C:\b and 2 more")
    assert way("a", "b").reason.endswith(r"C:\a and C:\b")


def from_scratch(layers: int) -> ImageConfig:
    """The configuration of an image that begins with nothing."""
    record = json.loads(samples.small().config)
    record["history"] = [{"created_by": "FROM scratch"}, *([{"created_by": "COPY . ."}] * (layers - 1))]
    record["rootfs"]["diff_ids"] *= layers
    return parse_config(json.dumps(record).encode())


def test_an_image_from_scratch_has_no_layers_of_windows() -> None:
    assert way("app", config=from_scratch(1)) == Way(
        True, "the new layer has an entry for C:\\, which stays as it is in the base from scratch"
    )
    above = way("app", config=from_scratch(2))
    assert above.needs_base
    assert above.reason.startswith(r"a layer above the base from scratch may have C:\app; --assume-new states")
    assert not way("app", config=from_scratch(1), assume_new=True).needs_base


@pytest.mark.parametrize("name", ["Windows", "PROGRAM FILES", "programdata", "Users", "License.txt", "inetpub", "$x"])
def test_what_windows_has_needs_the_base(name: str) -> None:
    found = way("app", name)
    assert found.needs_base
    assert rf"C:\{name} is in the base" in found.reason
    # Nobody can state that it is not there.
    assert way(name, assume_new=True).needs_base


def test_a_short_name_may_mean_something_in_the_base() -> None:
    assert way("PROGRA~1", assume_new=True) == Way(True, r"C:\PROGRA~1 may be the short name of something in the base")


def test_layers_above_those_of_windows_may_have_the_name() -> None:
    assert way("app", config=APP).needs_base
    assert way("app", config=APP, assume_new=True) == Way(
        False, r"--assume-new states that the image does not have C:\app"
    )


def test_a_layer_tar_alone_needs_nothing() -> None:
    assert not way(config=APP, brought=("Windows", "app")).needs_base
    assert not way("other", brought=("app",)).needs_base
    assert "in a layer tar, too" in way("App", brought=("app",)).reason


def test_a_descriptor_of_what_is_not_made_needs_the_base() -> None:
    assert way("app", stated=("tools",)) == Way(True, r"C:\tools is not made here, and keeps its other metadata")
    assert way("app", stated=("",), assume_new=True).needs_base


def test_the_registry_is_in_the_base() -> None:
    assert way(changes_registry=True, assume_new=True) == Way(
        True, "a change of the registry is merged into the hives of the base"
    )
