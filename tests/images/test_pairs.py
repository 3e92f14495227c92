"""Copies between every two of {registry, oci, oci-archive, docker-archive, store}, and what skopeo says of them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from tests.images import forms, samples
from tests.images.registry import DebianRegistry, FakeRegistry, faults, skopeo
from tests.images.samples import Image, Index
from tests.support import parsed, run, text
from wclayer.images.config import parse_config
from wclayer.images.copying import copy_between
from wclayer.images.location import Transport, open_source
from wclayer.images.manifest import Manifest, parse_manifest
from wclayer.images.plan import make_plan
from wclayer.images.store import ImageStore

KINDS = [kind.value for kind in Transport]


class Places:
    """A place of each kind, by its name."""

    def __init__(self, folder: Path, registry: DebianRegistry, repository: str) -> None:
        self.store = ImageStore(folder / "store")
        self._folder = folder
        self._registry = registry
        self._repository = repository

    def of(self, kind: str, name: str) -> str:
        if kind == "docker":
            return f"{self._registry.host}/{self._repository}/{name}:1"
        if kind == "store":
            return f"store:localhost:5000/{name}:1"
        return f"{kind}:{self._folder / name}:localhost:5000/{name}:1"


@pytest.fixture
def places(tmp_path: Path, debian_registry_with_urls: DebianRegistry, repository: str) -> Places:
    return Places(tmp_path, debian_registry_with_urls, repository)


def _read(location: str, store: ImageStore) -> tuple[bytes, bytes, list[str], dict[str, bytes]]:
    """Manifest, configuration, diff_ids and blobs of an image."""
    with open_source(location, store=store) as source:
        plan = make_plan(source)
        data = source.manifest(plan.root)
        manifest = parse_manifest(data)
        assert isinstance(manifest, Manifest)
        blobs = {}
        for blob in plan.blobs.values():
            with source.open_blob(blob.descriptor) as stream:
                blobs[blob.descriptor.digest] = stream.read()
        config = blobs[manifest.config.digest]
        return data, config, list(parse_config(config).diff_ids), blobs


@pytest.mark.parametrize(("first", "second"), [*itertools.product(KINDS, KINDS)])
@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_every_pair(places: Places, tmp_path: Path, first: str, second: str, kind: samples.Kind) -> None:
    image = samples.small_child(kind)
    layout = forms.write_layout(tmp_path / "original", {"x": image})
    start, end = places.of(first, "a"), places.of(second, "b")
    copy_between(f"oci:{layout}:x", start, places.store)
    result = copy_between(start, end, places.store)
    # Nothing forces a change: archives that we write keep the blobs as they are.
    assert result.descriptor.digest == image.digest
    assert _read(end, places.store) == (image.manifest, image.config, image.diff_ids, image.blobs)


@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("generation", ["classic", "engine25", "containerd"])
def test_what_docker_wrote(places: Places, tmp_path: Path, second: str, generation: forms.Generation) -> None:
    image = samples.classic()
    archive = forms.write_docker_archive(tmp_path / "docker.tar", {"app:1": image}, generation)
    end = places.of(second, "b")
    copy_between(f"docker-archive:{archive}", end, places.store)
    manifest, config, diff_ids, _ = _read(end, places.store)
    assert (config, diff_ids) == (image.config, image.diff_ids)
    assert (manifest == image.manifest) == (generation == "containerd")


@pytest.mark.parametrize(("first", "second"), [*itertools.product(["docker", "oci", "oci-archive", "store"], repeat=2)])
def test_all_platforms_between_every_pair(places: Places, tmp_path: Path, first: str, second: str) -> None:
    index = samples.several("oci")
    layout = forms.write_layout(tmp_path / "original", {"x": index})
    start, end = places.of(first, "a"), places.of(second, "b")
    copy_between(f"oci:{layout}", start, places.store, all_platforms=True)
    assert copy_between(start, end, places.store, all_platforms=True).descriptor.digest == index.digest
    with open_source(end, store=places.store) as source:
        plan = make_plan(source, all_platforms=True)
        assert {item.descriptor.digest: item.data for item in plan.manifests} == {
            digest: data for digest, (_, data) in index.documents.items()
        }


@pytest.mark.parametrize("second", ["docker", "oci", "oci-archive", "docker-archive"])
@pytest.mark.parametrize(
    "make", [samples.servercore, samples.buildkit, samples.repeated_layer, samples.zstd_compressed]
)
def test_what_skopeo_reads(places: Places, tmp_path: Path, second: str, make: type[Image]) -> None:
    image = make()  # type: ignore[call-arg]
    layout = forms.write_layout(tmp_path / "original", {"x": image})
    end = places.of(second, "b")
    copy_between(f"oci:{layout}", end, places.store)
    # Without its name: of the names in a layout, skopeo 1.9 knows only those of OCI's manifests.
    where = f"docker://{end}" if second == "docker" else end.removesuffix(":localhost:5000/b:1")
    raw = skopeo("inspect", "--raw", *(["--tls-verify=false"] if second == "docker" else []), where).stdout
    if second == "docker-archive":
        # skopeo makes a manifest of its own for such an archive.
        assert json.loads(raw)["config"]["digest"] == samples.sha256(image.config)
    else:
        assert raw.encode() == image.manifest
    # And all of it: skopeo compares digests and diff_ids when it copies.
    options = ["--src-tls-verify=false"] if second == "docker" else []
    skopeo("--override-os", "windows", "copy", *options, where, f"dir:{tmp_path / 'theirs'}")
    config = next(iter((tmp_path / "theirs").glob(samples.sha256(image.config).removeprefix("sha256:"))))
    assert config.read_bytes() == image.config


def test_referrers_and_cosign_s_tags_between_registries(
    places: Places, debian_registry_with_urls: DebianRegistry
) -> None:
    image = samples.small("oci")
    sbom = samples.referrer(image)
    signature = samples.small_child("oci")
    url, start = debian_registry_with_urls.base, places.of("docker", "a")
    repository = start.partition("/")[2].rpartition(":")[0]
    forms.put_into_registry(url, repository, "1", image)
    forms.put_into_registry(url, repository, samples.cosign_tag(image), signature)
    forms.put_into_registry(url, repository, "", sbom)
    # Debian's registry has no API of referrers: they are under a tag.
    listed = samples.dump(
        {
            "schemaVersion": 2,
            "mediaType": samples.INDEX["oci"],
            "manifests": [{**sbom.bare_descriptor, "artifactType": "text/spdx"}],
        }
    )
    forms.put_into_registry(url, repository, image.digest.replace(":", "-"), Index("oci", listed, ()))
    for kind in ("docker", "oci", "store"):
        end = places.of(kind, "b")
        result = copy_between(start, end, places.store, referrers=True)
        assert result.manifests == 3
        with open_source(end, store=places.store) as copied:
            assert [item.digest for item in copied.referrers(result.descriptor)] == [sbom.digest]
            assert {tag: item.digest for tag, item in copied.digest_tags(result.descriptor).items()} == {  # type: ignore[attr-defined]
                samples.cosign_tag(image): signature.digest
            }
        # And on from there.
        again = copy_between(end, places.of("docker", f"c-{kind}"), places.store, referrers=True)
        assert again.manifests == 3
    assert list(places.store.check()) == []


# The verbs.


def test_pull_look_and_push(places: Places, tmp_path: Path, debian_registry_with_urls: DebianRegistry) -> None:
    image = samples.servercore()
    start, end = places.of("docker", "x"), places.of("docker", "y")
    repository = start.partition("/")[2].rpartition(":")[0]
    forms.put_into_registry(debian_registry_with_urls.base, repository, "1", image)
    store = tmp_path / "own store"
    record = parsed("pull", "--store", store, start)
    assert isinstance(record, dict)
    assert (record["name"], record["digest"]) == (start, image.digest)
    assert [layer["chain_id"] for layer in record["images"][0]["layers"]] == image.chain_ids
    top = record["images"][0]["layers"][-1]["path"]
    assert "Windows" in text("ls", "-m", top, "C:\\")
    assert text("push", "-q", "--store", store, "x:1", end).strip() == image.digest
    assert (
        forms.get_manifest(
            debian_registry_with_urls.base, end.partition("/")[2].rpartition(":")[0], "1", image.media_type
        )
        == image.manifest
    )
    again = text("pull", "--store", store, start)
    assert "0 blobs, 0 B, 3 there already" in again
    assert f"digest {image.digest}" in again


def test_save_and_load(tmp_path: Path) -> None:
    image, other = samples.small_child(), samples.small(os_version="10.0.26100.1")
    archive = forms.write_docker_archive(tmp_path / "docker.tar", {"app:1": image, "localhost:5000/b:2": other})
    store, second = tmp_path / "store", tmp_path / "second"
    loaded = parsed("load", "-i", archive, "--store", store)
    assert isinstance(loaded, list)
    assert [item["name"] for item in loaded] == ["app:1", "localhost:5000/b:2"]
    assert [len(item["images"][0]["layers"]) for item in loaded] == [2, 1]
    for form in ("docker-archive", "oci-archive", "oci"):
        saved = tmp_path / f"saved-{form}"
        text("save", "--store", store, "-o", saved, "--format", form, "app:1", "b:2")
        again = parsed("load", "-i", saved, "--store", second)
        assert isinstance(again, list)
        assert [(item["name"], item["digest"]) for item in again] == [(item["name"], item["digest"]) for item in loaded]
    assert list(ImageStore(second).check()) == []


def test_load_from_standard_input(tmp_path: Path) -> None:
    archive = forms.write_docker_archive(tmp_path / "docker.tar", {"app:1": samples.small()}, "classic")
    done = run("load", "--store", tmp_path / "store", stdin=archive.read_bytes())
    assert done.stderr == b""
    assert b"loaded app:1: 2 blobs" in done.stdout


def test_a_layout_s_tag_is_no_name(tmp_path: Path) -> None:
    layout = forms.write_layout(tmp_path / "layout", {"1.0": samples.small("oci")})
    assert f"loaded {samples.small('oci').digest}" in text("load", "-i", layout, "--store", tmp_path / "store")
    assert "loaded app:1" in text("load", "-i", layout, "--store", tmp_path / "store", "-t", "app:1")
    two = forms.write_layout(tmp_path / "two", {"1.0": samples.small("oci"), "2.0": samples.small_child("oci")})
    err = run("load", "-i", two, "--store", tmp_path / "store", "-t", "app:1", status=5).stderr
    assert b"2 images" in err


def test_a_load_without_the_foreign_layers(tmp_path: Path) -> None:
    """What the message of a load says does what it says."""
    image = samples.with_foreign_layer("oci")
    layout = forms.write_layout(tmp_path / "layout", {"x": image}, with_foreign=False)
    load = ("load", "-i", layout, "-t", "app:1", "--store", tmp_path / "store")
    missing = run(*load, status=2).stderr
    assert image.layers[0].digest.encode() in missing
    assert b"load can leave the layer out (--foreign keep)" in missing
    assert b"--no-unpack" in run(*load, "--foreign", "keep", status=5).stderr
    loaded = parsed(*load, "--foreign", "keep", "--no-unpack")
    assert isinstance(loaded, list)
    assert [(item["digest"], item["images"]) for item in loaded] == [(image.digest, [])]
    whole = forms.write_layout(tmp_path / "whole", {"x": image})
    loaded = parsed("load", "-i", whole, "--foreign", "convert", "--store", tmp_path / "store")
    assert isinstance(loaded, list)
    assert loaded[0]["digest"] != image.digest
    assert [layer["chain_id"] for layer in loaded[0]["images"][0]["layers"]] == image.chain_ids


def test_messages_begin_with_what_the_user_wanted(tmp_path: Path, fake: FakeRegistry) -> None:
    image, store = samples.small("oci"), tmp_path / "store"
    layout = forms.write_layout(tmp_path / "layout", {"x": image})
    text("load", "-i", layout, "-t", "app:1", "--store", store)
    fake.faults.append(faults.error(403))
    to, archive = f"{fake.host}/app:1", tmp_path / "x.tar"
    for arguments, expected in (
        (("pull", to), f"pull image: {to}: "),
        (("push", "app:1", to), f"push image: {to}: "),
        (("copy", "store:app:1", to), f"copy image: {to}: "),
        (("copy", to, "store:app:2"), f"copy image: {to}: "),
        (("load", "-i", archive), f"load images: {archive}: "),
    ):
        assert run(*arguments, "--store", store, status=None).stderr.decode().startswith(f"wclayer: {expected}")
    blob = layout / "blobs/sha256" / image.layers[0].digest[7:]
    blob.write_bytes(bytes(blob.stat().st_size))
    err = run("load", "-i", layout, "--store", tmp_path / "new", status=6).stderr.decode()
    assert err.startswith(f"wclayer: load images: {layout}: layer 1 of 1")
    blob = store / "blobs/sha256" / image.layers[0].digest[7:]
    blob.chmod(0o600)
    blob.write_bytes(bytes(blob.stat().st_size))
    fake.faults.clear()
    err = run("push", "--store", store, "app:1", to, status=6).stderr.decode()
    assert err.startswith("wclayer: push image: app:1: layer 1 of 1")


def test_push_needs_a_place(tmp_path: Path) -> None:
    layout = forms.write_layout(tmp_path / "layout", {"1.0": samples.small("oci")})
    text("load", "-i", layout, "--store", tmp_path / "store")
    err = run("push", "--store", tmp_path / "store", samples.small("oci").digest, status=5).stderr
    assert b"push IMAGE REFERENCE" in err
    err = run("push", "--store", tmp_path / "store", "nothing:1", status=2).stderr
    assert b"nothing:1: no such image in the store" in err


def test_the_verbs_take_platforms(tmp_path: Path) -> None:
    index = samples.several("oci")
    layout = forms.write_layout(tmp_path / "layout", {"x": index})
    err = run("copy", f"oci:{layout}", f"oci:{tmp_path / 'b'}", status=5).stderr
    assert b"--platform" in err
    for spelling in ("windows/amd64:10.0.20348", "windows(10.0.20348)/amd64", "windows/amd64,osver=10.0.20348"):
        digest = text("copy", "-q", "--platform", spelling, f"oci:{layout}", f"oci:{tmp_path / 'b'}").strip()
        assert digest == index.images[1].digest


def test_a_file_is_not_written_over_itself(tmp_path: Path) -> None:
    archive = forms.write_layout_archive(tmp_path / "a.tar", {"x": samples.small("oci")})
    before = archive.read_bytes()
    err = run("copy", f"oci-archive:{archive}", f"docker-archive:{archive}", status=5).stderr
    assert b"is also what is read" in err
    assert archive.read_bytes() == before
