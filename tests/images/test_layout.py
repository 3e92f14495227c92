"""OCI layouts, as directories and as tars: what is written is read again, by us and by others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.images import samples
from tests.images.forms import write_layout, write_layout_archive
from tests.images.memory import MemorySource
from tests.images.samples import Image, Index
from wclayer.errors import InvalidParameterError, PathNotFoundError
from wclayer.images.descriptor import Descriptor
from wclayer.images.json_view import JsonView
from wclayer.images.layout import LayoutArchiveTarget, LayoutSource, LayoutTarget
from wclayer.images.transfer import copy_image
from wclayer.images.transport import ImageSource, ImageTarget

IMAGES: dict[str, Image | Index] = {
    "servercore": samples.servercore(),
    "nanoserver": samples.nanoserver("oci"),
    "several": samples.several(),
    "classic": samples.classic(),
    "zstd": samples.zstd_compressed(),
}


def contents(source: ImageSource) -> dict[str, bytes]:
    """Everything of an image by its digests, read through the protocol."""
    root = source.resolve()
    found: dict[str, bytes] = {}
    pending = [root]
    while pending:
        descriptor = pending.pop()
        if descriptor.is_index or descriptor.is_manifest:
            data = source.manifest(descriptor)
            record = json.loads(data)
            below = record.get("manifests") or [record["config"], *record["layers"]]
            pending += [Descriptor.from_json(JsonView(item, "x")) for item in below]
        else:
            with source.open_blob(descriptor) as stream:
                data = stream.read()
        found[descriptor.digest] = data
    return found


def expected(item: Image | Index) -> dict[str, bytes]:
    return {digest: data for digest, (_, data) in item.documents.items()} | dict(item.blobs)


def copy(item: Image | Index, target: ImageTarget) -> None:
    with target:
        copy_image(MemorySource(item), target, all_platforms=True)


@pytest.mark.parametrize("name", IMAGES)
def test_a_layout_that_others_wrote_is_read(name: str, tmp_path: Path) -> None:
    item = IMAGES[name]
    for path in (
        write_layout(tmp_path / "layout", {"tag": item}),
        write_layout_archive(tmp_path / "layout.tar", {"tag": item}),
    ):
        with LayoutSource(path, "tag") as source:
            assert source.resolve().digest == item.digest
            assert contents(source) == expected(item)


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_written_is_read_again(name: str, tmp_path: Path) -> None:
    item = IMAGES[name]
    copy(item, LayoutTarget(tmp_path / "layout", "tag"))
    copy(item, LayoutArchiveTarget(tmp_path / "layout.tar", "tag"))
    for path in (tmp_path / "layout", tmp_path / "layout.tar"):
        with LayoutSource(path) as source:
            assert source.resolve().digest == item.digest
            assert contents(source) == expected(item)


def test_of_several_images_one_must_be_named(tmp_path: Path) -> None:
    write_layout(tmp_path, {"one": IMAGES["servercore"], "two": IMAGES["classic"]})
    with LayoutSource(tmp_path) as source, pytest.raises(InvalidParameterError, match=r"2 images \(one, two\)"):
        source.resolve()
    with (
        LayoutSource(tmp_path, "three") as source,
        pytest.raises(PathNotFoundError, match=r"no image 'three'.*one, two"),
    ):
        source.resolve()
