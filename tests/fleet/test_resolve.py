"""What references mean that are no plain image: indexes of every kind, artifacts, other systems, damage, bombs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.images import samples
from tests.images.forms import write_layout
from tests.images.samples import INDEX, Image, Index, dump, sha256
from wclayer.fleet.access import ImageAccess
from wclayer.fleet.model import ImageStatus, ResolvedImage
from wclayer.fleet.resolve import resolve_images
from wclayer.fleet.sources import list_images
from wclayer.model import Limits, use_limits

_WINDOWS = {"os": "windows", "architecture": "amd64", "os.version": "10.0.20348.1"}
_LINUX = {"os": "linux", "architecture": "amd64"}


@pytest.fixture
def one() -> Image:
    return samples.small("oci")


def _index(entries: Sequence[Mapping[str, Any]], images: Sequence[Image] = ()) -> Index:
    record = {"schemaVersion": 2, "mediaType": INDEX["oci"], "manifests": list(entries)}
    return Index("oci", dump(record), tuple(images))


def _resolved(folder: Path, item: Image | Index, *others: Image | Index) -> list[ResolvedImage]:
    """Resolves the first of some images in a layout."""
    layout = write_layout(
        folder / "layout", {"1": item, **{f"-{number}": other for number, other in enumerate(others)}}
    )
    with ImageAccess() as access:
        listed = [found for found in list_images(f"oci:{layout}", access) if found.tag == "1"]
        return resolve_images(listed, access)


def _told(found: Sequence[ResolvedImage]) -> list[tuple[str, str]]:
    return [(image.status.value, image.error) for image in found]


def test_an_index_gives_its_images_for_windows_alone(one: Image, tmp_path: Path) -> None:
    two = samples.small("oci", os_version="10.0.17763.1")
    unknown = {"os": "unknown", "architecture": "unknown"}
    missing = {"mediaType": one.media_type, "size": 3, "digest": f"sha256:{'1' * 64}"}
    item = _index(
        [
            {**missing, "platform": _LINUX},
            one.descriptor,
            {**missing, "platform": unknown},
            {**one.descriptor, "platform": {**_WINDOWS, "os": "Windows", "variant": "v1"}},
            two.bare_descriptor,
        ],
        [one, two],
    )
    found = _resolved(tmp_path, item)
    assert _told(found) == [("ok", ""), ("ok", "")]
    assert [image.digest for image in found] == [one.digest, two.digest]
    assert {image.root for image in found} == {item.digest}
    assert [image.config for image in found] == [one.config, two.config]


def test_an_index_in_an_index_is_opened(one: Image, tmp_path: Path) -> None:
    inner = _index([one.descriptor], [one])
    outer = _index([inner.bare_descriptor, inner.bare_descriptor], [])
    (found,) = _resolved(tmp_path, outer, inner)
    assert (found.status, found.digest, found.root) == (ImageStatus.OK, one.digest, outer.digest)


def test_other_systems_and_artifacts_are_told_once(one: Image, tmp_path: Path) -> None:
    entry = {"mediaType": one.media_type, "size": 3, "digest": f"sha256:{'1' * 64}"}
    linux = [{**entry, "platform": {**_LINUX, "architecture": f"cpu{number}"}} for number in range(30)]
    (found,) = _resolved(tmp_path / "linux", _index(linux))
    assert _told([found]) == [
        ("other-platform", f"an index of: {', '.join(f'linux/cpu{number}' for number in range(10))} and 20 more")
    ]
    (found,) = _resolved(tmp_path / "nothing", _index([{**entry, "platform": {"os": "unknown", "architecture": "x"}}]))
    assert _told([found]) == [("artifact", "an index without images")]
    signature = samples.referrer(one)
    (found,) = _resolved(tmp_path / "signature", _index([signature.bare_descriptor], [signature]))
    assert found.status is ImageStatus.ARTIFACT
    assert found.error.startswith("an index of: an artifact of the type")
    for os, expected in (("", "no system is stated"), ("linux", "an image for linux/amd64"), ("Windows", "")):
        image = samples.image("oci", one.layers, [], {}, os=os, os_version="")
        (found,) = _resolved(tmp_path / f"os-{os}", image)
        assert _told([found]) == [("other-platform" if expected else "ok", expected)]


def _config_without_a_layer(one: Image) -> Image:
    other = samples.image("oci", [], [], {})
    manifest = json.loads(one.manifest)
    manifest["config"] |= {"digest": sha256(other.config), "size": len(other.config)}
    return replace(one, manifest=dump(manifest), config=other.config)


def test_documents_that_do_not_fit_are_errors_of_their_image(one: Image, tmp_path: Path) -> None:
    wrong = _config_without_a_layer(one)
    found = _resolved(tmp_path / "a", _index([wrong.descriptor, one.descriptor], [wrong, one]))
    assert [image.status for image in found] == [ImageStatus.ERROR, ImageStatus.OK]
    assert "has 1 layers, and its configuration" in found[0].error
    assert (found[0].digest, found[0].manifest) == (wrong.digest, b"")
    inner = _index([one.descriptor], [one])
    disguised = {**inner.bare_descriptor, "mediaType": one.media_type, "platform": _WINDOWS}
    (found_inner,) = _resolved(tmp_path / "b", _index([disguised]), inner)
    assert "is announced as" in found_inner.error
    undescribed = {**inner.bare_descriptor, "mediaType": "", "platform": _WINDOWS}
    (found_inner,) = _resolved(tmp_path / "c", _index([undescribed]), inner)
    assert "is an index, and its entry does not say so" in found_inner.error
    old = replace(one, manifest=dump({"schemaVersion": 1, "name": "app"}))
    (found_old,) = _resolved(tmp_path / "d", old)
    assert "Docker's schema 1" in found_old.error


@pytest.fixture
def small_limits() -> Any:
    use_limits(Limits(manifest_size=1 << 14))
    yield
    use_limits(Limits())


def test_bombs_are_refused_before_they_are_read(one: Image, tmp_path: Path, small_limits: None) -> None:
    entry = {"mediaType": one.media_type, "size": 3, "digest": f"sha256:{'1' * 64}", "platform": _WINDOWS}
    # Each entry is small, and all together ask for many requests, or much memory.
    use_limits(Limits())
    many = [{**entry, "digest": f"sha256:{number:064x}"} for number in range(300)]
    found = _resolved(tmp_path / "many", _index(many))
    assert _told(found) == [("error", "an index of more than 256 images; name them by their digests")]
    use_limits(Limits(manifest_size=1 << 14))
    large = [{**entry, "digest": f"sha256:{number:064x}", "size": 12 << 10} for number in range(40)]
    found = _resolved(tmp_path / "large", _index(large))
    assert sum("documents have more than 65536 bytes (limit manifest_size" in image.error for image in found) >= 35
    assert {image.status for image in found} == {ImageStatus.ERROR}
    nested: list[Index] = [_index([one.descriptor], [one])]
    for _ in range(9):
        nested.append(_index([nested[-1].bare_descriptor]))
    found = _resolved(tmp_path / "nested", nested[-1], *nested[:-1])
    assert _told(found) == [("error", "an index in an index, more than 8 times")]


def test_a_name_that_is_gone_is_an_error(one: Image, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {"1": one})
    with ImageAccess() as access:
        (item,) = list_images(f"oci:{layout}:2", access)
        (found,) = resolve_images([item], access)
    assert found.status is ImageStatus.ERROR
    assert "no image '2'; there is 1" in found.error


def test_an_image_without_layers_is_an_error(tmp_path: Path) -> None:
    ((status, error),) = _told(_resolved(tmp_path, samples.image("oci", [], [], {})))
    assert (status, error) == ("error", "an image for Windows without layers: nothing can be read of it")


def test_layers_of_more_bytes_than_a_column_can_say_are_an_error(one: Image, tmp_path: Path) -> None:
    record = json.loads(one.manifest)
    record["layers"] = [layer | {"size": 1 << 62} for layer in record["layers"][:1] * 2]
    config = dump(one.record | {"rootfs": {"type": "layers", "diff_ids": one.diff_ids[:1] * 2}})
    record["config"] |= {"digest": sha256(config), "size": len(config)}
    item = replace(one, manifest=dump(record), config=config)
    assert _told(_resolved(tmp_path, item)) == [
        ("error", f"layers of {1 << 63} bytes together; no registry has so many")
    ]
