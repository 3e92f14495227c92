"""The sample images are what they are meant to be: other programs and the package's words read them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import wclayer
from tests.images import forms, samples
from tests.images.samples import Image, Index, Kind
from tests.support import witness
from wclayer.images.config import parse_config
from wclayer.images.manifest import Index as IndexView
from wclayer.images.manifest import Manifest, parse_manifest

ONE_IMAGE = [
    samples.servercore, samples.nanoserver, samples.small, samples.small_child, samples.with_foreign_layer,
    samples.classic, samples.buildkit, samples.repeated_layer,
]  # fmt: skip


@pytest.mark.parametrize("kind", ["docker", "oci"])
@pytest.mark.parametrize("build", ONE_IMAGE)
def test_a_sample_is_read(build: Callable[[Kind], Image], kind: Kind) -> None:
    made = build(kind)
    manifest = parse_manifest(made.manifest, made.media_type)
    assert isinstance(manifest, Manifest)
    assert manifest.is_image
    assert [layer.digest for layer in manifest.layers] == [layer.digest for layer in made.layers]
    assert [layer.is_foreign_layer for layer in manifest.layers] == [layer.is_foreign for layer in made.layers]
    config = parse_config(made.config)
    assert list(config.diff_ids) == made.diff_ids
    assert list(config.chain_ids) == made.chain_ids
    assert sum(not entry.is_empty_layer for entry in config.history) == len(made.layers)
    assert config.platform.to_json() == made.platform


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_an_index_names_each_platform(kind: Kind) -> None:
    made = samples.several(kind)
    index = parse_manifest(made.manifest, made.media_type)
    assert isinstance(index, IndexView)
    platforms = [entry.platform for entry in index.manifests if entry.platform is not None]
    assert [(platform.os_version, platform.architecture) for platform in platforms] == [
        ("10.0.26100.33296", "amd64"), ("10.0.20348.5499", "amd64"), ("10.0.26100.33296", "arm64"),
    ]  # fmt: skip
    assert len({entry.digest for entry in index.manifests}) == 3


@pytest.mark.parametrize("build", [*ONE_IMAGE, lambda _: samples.zstd_compressed()])
def test_the_layers_of_a_sample_are_layers(tmp_path: Path, build: Callable[[Kind], Image]) -> None:
    chain: list[Path] = []
    for number, layer in enumerate(build("docker").layers):
        blob = tmp_path / f"{number}.tar"
        blob.write_bytes(layer.data)
        with blob.open("rb") as stream:
            wclayer.import_layer_from_tar(stream, tmp_path / f"{number}", chain[::-1])
        chain.append(tmp_path / f"{number}")
    assert not list(wclayer.check_layer(chain[-1]))


@pytest.mark.parametrize("item", [samples.servercore("oci"), samples.several("oci"), samples.with_attestation()[0]])
def test_skopeo_reads_the_layout(tmp_path: Path, item: Image | Index) -> None:
    """skopeo sees only what has OCI's media types in the index.json of a layout."""
    layout = forms.write_layout(tmp_path / "layout", {"1": item})
    skopeo = [witness("skopeo"), "--override-os=windows", "--override-arch=amd64"]
    raw = subprocess.run([*skopeo, "inspect", "--raw", f"oci:{layout}:1"], check=True, capture_output=True).stdout
    assert raw == item.manifest
    config = subprocess.run(
        [*skopeo, "inspect", "--config", "--raw", f"oci:{layout}:1"], check=True, capture_output=True
    ).stdout
    assert config == item.images[0].config
    archive = forms.write_layout_archive(tmp_path / "layout.tar", {"1": item})
    command = [*skopeo, "inspect", "--raw", f"oci-archive:{archive}:1"]
    assert subprocess.run(command, check=True, capture_output=True).stdout == item.manifest


@pytest.mark.parametrize("generation", ["classic", "engine25", "containerd"])
@pytest.mark.parametrize("build", [samples.servercore, samples.repeated_layer])
def test_skopeo_reads_the_docker_archive(
    tmp_path: Path, build: Callable[[], Image], generation: forms.Generation
) -> None:
    made = build()
    archive = forms.write_docker_archive(tmp_path / "image.tar", {"app:1": made}, generation)
    skopeo = [witness("skopeo"), "--override-os=windows"]
    source = f"docker-archive:{archive}:app:1"
    config = subprocess.run([*skopeo, "inspect", "--config", "--raw", source], check=True, capture_output=True).stdout
    assert config == made.config
    manifest = json.loads(subprocess.run([*skopeo, "inspect", "--raw", source], check=True, capture_output=True).stdout)
    assert [layer["digest"] for layer in manifest["layers"]] == made.diff_ids
