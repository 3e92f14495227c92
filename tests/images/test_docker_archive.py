"""Archives of `docker save`: those of all generations are read, and what is written keeps every digest."""

from __future__ import annotations

import dataclasses
import gzip
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.images import samples
from tests.images.forms import Generation, write_docker_archive, write_layout_archive, write_tar
from tests.images.memory import MemorySource
from tests.images.reading import contents, expected, put
from tests.images.samples import Image, Index
from wclayer.errors import (
    InvalidDataError,
    InvalidParameterError,
    LimitExceededError,
    NotSupportedError,
    PathNotFoundError,
)
from wclayer.images.archive.opened import ImageArchive
from wclayer.images.config import parse_config
from wclayer.images.descriptor import DOCKER_LAYER
from wclayer.images.docker_archive import DockerArchiveSource, DockerArchiveTarget
from wclayer.images.layout import LayoutSource, LayoutTarget
from wclayer.images.manifest import Manifest, parse_manifest
from wclayer.images.transfer import copy_image
from wclayer.model import Limits, limits_in_use, use_limits

GENERATIONS: tuple[Generation, ...] = get_args(Generation)
IMAGES = {
    "servercore": samples.servercore(),
    "nanoserver": samples.nanoserver("oci"),
    "classic": samples.classic(),
    "buildkit": samples.buildkit(),
    "repeated": samples.repeated_layer(),
    "zstd": samples.zstd_compressed(),
}
SMALL = samples.small()
CHILD = samples.small_child()
FOREIGN = samples.with_foreign_layer()


def members(path: Path) -> dict[str, bytes]:
    """The files of a tar, and the targets of its links."""
    with tarfile.open(path) as archive:
        return {
            member.name: file.read() if (file := archive.extractfile(member)) else b""
            for member in archive
            if member.isfile()
        }


def manifest_of(source: DockerArchiveSource) -> Manifest:
    item = parse_manifest(source.manifest(source.resolve()))
    assert isinstance(item, Manifest)
    return item


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("name", IMAGES)
def test_every_generation_is_read(name: str, generation: Generation, tmp_path: Path) -> None:
    image = IMAGES[name]
    path = write_docker_archive(tmp_path / "x.tar", {"app:1": image}, generation)
    with DockerArchiveSource(path, "app:1") as source:
        found = contents(source)
        manifest = manifest_of(source)
        assert found[manifest.config.digest] == image.config
        layers = [found[layer.digest] for layer in manifest.layers]
        plain = [layer.tar for layer in image.layers]
        assert layers == ([layer.data for layer in image.layers] if generation == "containerd" else plain)
        assert (source.resolve().digest == image.digest) == (generation == "containerd")
        with LayoutTarget(tmp_path / "layout", "x") as target:
            copy_image(source, target)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_one_of_several_images_is_read(generation: Generation, tmp_path: Path) -> None:
    images = {"app:1": SMALL, "app:2": CHILD, "other:1": IMAGES["nanoserver"]}
    path = write_docker_archive(tmp_path / "x.tar", images, generation)
    with ImageArchive(path) as archive:
        listed = DockerArchiveSource(archive).images()
        assert [image.names for image in listed] == [("app:1",), ("app:2",), ("other:1",)]
        for number, (name, image) in enumerate(images.items()):
            wanted = [name, f"docker.io/library/{name}", f"@{number}", listed[number].descriptor.digest]
            for text in wanted:
                with DockerArchiveSource(archive, text) as source:
                    assert contents(source)[manifest_of(source).config.digest] == image.config
        with pytest.raises(InvalidParameterError, match=r"3 images \(app:1, app:2, other:1\)"):
            DockerArchiveSource(archive).resolve()
        with pytest.raises(InvalidParameterError, match=r"several images .* \(app:1, other:1\)"):
            DockerArchiveSource(archive, "1").resolve()
        with pytest.raises(PathNotFoundError, match=r"no image 'app:3'; there is app:1, app:2"):
            DockerArchiveSource(archive, "app:3").resolve()


def test_names_of_one_image_are_listed_together(tmp_path: Path) -> None:
    for generation in GENERATIONS:
        path = write_docker_archive(tmp_path / "x.tar", {"app:1": SMALL, "app:latest": SMALL}, generation)
        with DockerArchiveSource(path) as source:
            assert [image.names for image in source.images()] == [("app:1", "app:latest")]


@pytest.mark.parametrize("generation", ["classic", "engine25"])
def test_a_foreign_layer_that_is_in_the_archive_is_read_from_it(generation: Generation, tmp_path: Path) -> None:
    with DockerArchiveSource(write_docker_archive(tmp_path / "x.tar", {"app:1": FOREIGN}, generation)) as source:
        manifest = manifest_of(source)
        assert [layer.digest for layer in manifest.layers] == FOREIGN.diff_ids
        assert [layer.media_type for layer in manifest.layers] == [DOCKER_LAYER] * 2
        assert [contents(source)[digest] for digest in FOREIGN.diff_ids] == [layer.tar for layer in FOREIGN.layers]


def changed(path: Path, change: Mapping[str, Any] = {}, without: str = "", **files: bytes) -> Path:
    """An archive with another item in its manifest.json, without a file, or with other ones."""
    found: dict[str, bytes | str] = {name: data for name, data in members(path).items() if name != without}
    found |= {name.replace("_json", ".json"): data for name, data in files.items()}
    if change:
        listed = json.loads(members(path)["manifest.json"])
        found["manifest.json"] = samples.dump([listed[0] | change, *listed[1:]])
    return write_tar(path, found)


@pytest.mark.parametrize("generation", ["engine25", "containerd"])
def test_a_foreign_layer_elsewhere_reaches_the_caller_with_its_addresses(
    generation: Generation, tmp_path: Path
) -> None:
    path = write_docker_archive(tmp_path / "x.tar", {"app:1": FOREIGN}, generation)
    if generation == "engine25":
        changed(path, without=f"blobs/sha256/{FOREIGN.diff_ids[0].removeprefix('sha256:')}")
    with DockerArchiveSource(path) as source:
        layers = manifest_of(source).layers
        assert layers[0].is_foreign_layer
        assert (layers[0].digest, list(layers[0].urls)) == (FOREIGN.layers[0].digest, list(FOREIGN.layers[0].urls))
        with pytest.raises(PathNotFoundError, match=r"does not hold the foreign layer .* \(http://127\.0\.0\.1:9"):
            source.open_blob(layers[0])
        with source.open_blob(layers[1]) as stream:
            assert stream.read() in (FOREIGN.layers[1].tar, FOREIGN.layers[1].data)
        with LayoutTarget(tmp_path / "layout") as target:
            copy_image(source, target, foreign="keep")


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_layer_that_is_absent_is_named(generation: Generation, tmp_path: Path) -> None:
    path = write_docker_archive(tmp_path / "x.tar", {"app:1": CHILD}, generation)
    name = json.loads(members(path)["manifest.json"])[0]["Layers"][1]
    changed(path, {"LayerSources": None}, without=name) if generation == "engine25" else changed(path, without=name)
    with DockerArchiveSource(path) as source, pytest.raises(PathNotFoundError) as caught:
        source.resolve()
    assert f"layer 2 of 2 ({name!r}) is not in the archive" in caught.value.detail


def test_a_damaged_image_does_not_hide_the_others_of_an_archive(tmp_path: Path) -> None:
    path = write_docker_archive(tmp_path / "x.tar", {"app:1": CHILD, "app:2": SMALL}, "containerd")
    changed(path, without=f"blobs/sha256/{CHILD.layers[1].digest[7:]}")
    with DockerArchiveSource(path, "app:2") as source:
        assert contents(source) == expected(SMALL)
    for wanted in ("app:1", "docker.io/library/app:1", None):
        with DockerArchiveSource(path, wanted) as source, pytest.raises(PathNotFoundError, match="layer 2 of 2"):
            source.resolve()
    with DockerArchiveSource(path) as source, pytest.raises(PathNotFoundError, match="layer 2 of 2"):
        source.images()
    with DockerArchiveSource(path, "app:3") as source, pytest.raises(PathNotFoundError, match=r"no image 'app:3'"):
        source.resolve()


def test_the_index_that_an_image_is_in_is_used_if_all_of_it_is_there(tmp_path: Path) -> None:
    item = samples.several()
    put(item, DockerArchiveTarget(tmp_path / "x.tar", "app:1"))
    with DockerArchiveSource(tmp_path / "x.tar", "app:1") as source:
        assert source.resolve().digest == item.digest
        assert contents(source) == expected(item)
        assert len(source.images()) == 1
    absent = samples.sha256(item.images[2].config).removeprefix("sha256:")
    changed(tmp_path / "x.tar", without=f"blobs/sha256/{absent}")
    listed = json.loads(members(tmp_path / "x.tar")["manifest.json"])
    changed(tmp_path / "x.tar", manifest_json=samples.dump(listed[:1]))
    with DockerArchiveSource(tmp_path / "x.tar") as source:
        assert source.resolve().digest == item.images[0].digest


@pytest.mark.parametrize("name", [*IMAGES, "several", "foreign", "attested"])
def test_what_is_written_is_read_again_with_its_digest(name: str, tmp_path: Path) -> None:
    more: dict[str, Image | Index] = {
        "several": samples.several("oci"),
        "foreign": FOREIGN,
        "attested": samples.with_attestation()[0],
    }
    item = more[name] if name in more else IMAGES[name]
    put(item, DockerArchiveTarget(tmp_path / "x.tar", "registry.example:5000/a/app:1"))
    with DockerArchiveSource(tmp_path / "x.tar") as source:
        assert source.resolve().digest == item.digest
        assert contents(source) == expected(item)
        assert source.images()[0].names == ("registry.example:5000/a/app:1",)
    with LayoutSource(tmp_path / "x.tar", "registry.example:5000/a/app:1") as layout:
        assert contents(layout) == expected(item)
    listed = json.loads(members(tmp_path / "x.tar")["manifest.json"])
    files = members(tmp_path / "x.tar")
    images = [image for image in item.images if image.record["os"] == "windows"]
    assert [files[entry["Config"]] for entry in listed] == [image.config for image in images]
    for entry, image in zip(listed, images, strict=True):
        assert [files[layer] for layer in entry["Layers"]] == [layer.data for layer in image.layers]
    assert [entry["RepoTags"] for entry in listed] == [["registry.example:5000/a/app:1"], *([] for _ in images[1:])]


def test_the_name_is_that_of_docker_and_that_of_containerd(tmp_path: Path) -> None:
    put(SMALL, DockerArchiveTarget(tmp_path / "x.tar", "docker.io/library/app"))
    files = members(tmp_path / "x.tar")
    assert json.loads(files["manifest.json"])[0]["RepoTags"] == ["app:latest"]
    assert json.loads(files["index.json"])["manifests"][0]["annotations"] == {
        "io.containerd.image.name": "docker.io/library/app:latest",
        "org.opencontainers.image.ref.name": "latest",
    }
    with pytest.raises(InvalidParameterError, match="not the name of an image"):
        DockerArchiveTarget(tmp_path / "y.tar", "A B")
    put(SMALL, DockerArchiveTarget(tmp_path / "unnamed.tar"))
    with DockerArchiveSource(tmp_path / "unnamed.tar") as source:
        assert [image.names for image in source.images()] == [()]
        assert source.resolve().digest == SMALL.digest


def test_the_source_of_a_foreign_layer_that_is_left_out_is_told(tmp_path: Path) -> None:
    with DockerArchiveTarget(tmp_path / "x.tar", "app:1") as target:
        copy_image(MemorySource(FOREIGN), target, foreign="keep")
    [listed] = json.loads(members(tmp_path / "x.tar")["manifest.json"])
    assert listed["LayerSources"] == {FOREIGN.diff_ids[0]: FOREIGN.layers[0].descriptor}
    with DockerArchiveSource(tmp_path / "x.tar") as source:
        assert source.resolve().digest == FOREIGN.digest
        with pytest.raises(PathNotFoundError, match="foreign layer"):
            source.open_blob(manifest_of(source).layers[0])


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for number in range(2):
        put(IMAGES["classic"], DockerArchiveTarget(tmp_path / f"{number}.tar", "app:1"), jobs=4)
        made.append((tmp_path / f"{number}.tar").read_bytes())
    assert made[0] == made[1]


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    artifact = samples.referrer(SMALL)
    bare = samples.with_manifest_changed(artifact, {"subject": None})
    with pytest.raises(NotSupportedError, match="is no image"):
        put(bare, DockerArchiveTarget(tmp_path / "x.tar", "app:1"))
    assert list(tmp_path.iterdir()) == []


def test_an_archive_without_manifest_json_is_read_as_a_layout(tmp_path: Path) -> None:
    path = write_layout_archive(tmp_path / "x.tar", {"tag": SMALL})
    with DockerArchiveSource(path, "tag") as source:
        assert contents(source) == expected(SMALL)
        assert [image.names for image in source.images()] == [("tag",)]
        assert source.referrers(source.resolve()) == []


def test_layers_that_another_tool_compressed_are_read(tmp_path: Path) -> None:
    """The tarballs of crane, jib and kaniko have compressed layers, and no layout."""
    files: dict[str, bytes | str] = {f"sha256:{CHILD.digest[7:]}": CHILD.config}
    files |= {f"{layer.digest[7:]}.tar.gz": layer.data for layer in CHILD.layers}
    item = {"Config": f"sha256:{CHILD.digest[7:]}", "RepoTags": ["app:1"], "Layers": list(files)[1:]}
    files["manifest.json"] = samples.dump([item])
    with DockerArchiveSource(write_tar(tmp_path / "x.tar", files)) as source:
        assert [layer.digest for layer in manifest_of(source).layers] == [layer.digest for layer in CHILD.layers]
        found = contents(source)
        assert all(found[layer.digest] == layer.data for layer in CHILD.layers)


def test_an_archive_may_be_compressed_as_a_whole(tmp_path: Path) -> None:
    path = write_docker_archive(tmp_path / "x.tar", {"app:1": CHILD}, "classic")
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
    with DockerArchiveSource(path) as plain, DockerArchiveSource(tmp_path / "x.tar.gz") as packed:
        assert contents(packed) == contents(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Config": "missing.json"}, "'missing.json' is not in the archive"),
        ({"Config": "../../etc/passwd"}, "not the name of a member"),
        ({"Config": "/etc/passwd"}, "not the name of a member"),
        ({"Config": "manifest.json"}, "not a JSON object"),
        ({"Config": ""}, "not the name of a member"),
        ({"Layers": []}, "names 0 layers, and the configuration .* has 2 diff_ids"),
        ({"Layers": ["a"] * 300}, "--max-chain-length"),
        ({"Layers": ["../x", "y"]}, "not the name of a member"),
        ({"Layers": "x"}, "Layers"),
        ({"Layers": [1, 2]}, "not a list of strings"),
        ({"RepoTags": {"a": 1}}, "RepoTags"),
        ({"LayerSources": {"x": {}}}, "is not a digest"),
        ({"LayerSources": {"sha256:" + "0" * 64: {"digest": "x", "size": 1}}}, "is not a digest"),
        ({"LayerSources": {"sha256:" + "0" * 64: 5}}, "LayerSources"),
    ],
)
def test_a_damaged_manifest_json_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = changed(write_docker_archive(tmp_path / "x.tar", {"app:1": CHILD}, "classic"), change)
    with pytest.raises(InvalidDataError, match=message), DockerArchiveSource(path) as source:
        source.resolve()


@pytest.mark.parametrize("text", [b"{}", b"[5]", b"x", b"[" * 100_000, b'[{"a":1,"a":2}]', b"[NaN]"])
def test_a_manifest_json_that_is_none_is_refused(text: bytes, tmp_path: Path) -> None:
    path = changed(write_docker_archive(tmp_path / "x.tar", {"app:1": CHILD}), manifest_json=text)
    with pytest.raises(InvalidDataError, match=r"manifest\.json"):
        DockerArchiveSource(path)


def test_an_archive_with_no_image_is_refused(tmp_path: Path) -> None:
    source = DockerArchiveSource(write_tar(tmp_path / "x.tar", {"manifest.json": b"[]"}))
    with source, pytest.raises(PathNotFoundError, match="holds no image"):
        source.resolve()
    with pytest.raises(InvalidDataError, match=r"neither manifest\.json nor index\.json"):
        DockerArchiveSource(write_tar(tmp_path / "x.tar", {"Files/a": b"x"}))
    with pytest.raises(NotSupportedError, match=r"before 1\.10"):
        DockerArchiveSource(write_tar(tmp_path / "x.tar", {"repositories": b"{}"}))


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_layer_with_other_bytes_is_not_passed_on(generation: Generation, tmp_path: Path) -> None:
    path = write_docker_archive(tmp_path / "x.tar", {"app:1": CHILD}, generation)
    found: dict[str, bytes | str] = dict(members(path))
    name = json.loads(members(path)["manifest.json"])[0]["Layers"][1]
    found[name] = samples.small_tar({"Files/evil.exe": b"MZ"}, 9).ljust(len(members(path)[name]), b"\0")
    source, target = DockerArchiveSource(write_tar(path, found)), LayoutTarget(tmp_path / "layout")
    with source, target, pytest.raises(InvalidDataError, match="layer 2 of 2"):
        copy_image(source, target, jobs=1)
    assert json.loads((tmp_path / "layout/index.json").read_bytes())["manifests"] == []


def test_a_configuration_with_other_bytes_than_its_name_says_is_refused(tmp_path: Path) -> None:
    for generation in GENERATIONS:
        path = write_docker_archive(tmp_path / "x.tar", {"app:1": CHILD}, generation)
        found: dict[str, bytes | str] = dict(members(path))
        name = json.loads(members(path)["manifest.json"])[0]["Config"]
        found[name] = members(path)[name].replace(b"amd64", b"arm64")
        with (
            DockerArchiveSource(write_tar(path, found)) as source,
            pytest.raises(InvalidDataError, match="has the digest"),
        ):
            source.resolve()


@pytest.mark.parametrize("target", ["../../../etc/passwd", "/etc/passwd", "../missing/layer.tar", "layer.tar", ".."])
def test_a_layer_that_is_a_link_elsewhere_is_refused(target: str, tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"c.json": CHILD.config, "1/layer.tar": CHILD.layers[0].tar, "2/layer.tar": target}
    files["manifest.json"] = samples.dump([{"Config": "c.json", "Layers": ["1/layer.tar", "2/layer.tar"]}])
    with (
        pytest.raises(InvalidDataError, match="link"),
        DockerArchiveSource(write_tar(tmp_path / "x.tar", files)) as source,
    ):
        source.resolve()


def test_names_with_backslashes_are_read(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"c.json": SMALL.config, "1/layer.tar": SMALL.layers[0].tar}
    files["manifest.json"] = samples.dump([{"Config": "c.json", "RepoTags": None, "Layers": ["1\\layer.tar"]}])
    with DockerArchiveSource(write_tar(tmp_path / "x.tar", files)) as source:
        assert contents(source)[SMALL.diff_ids[0]] == SMALL.layers[0].tar


def test_manifests_that_list_each_other_many_times_take_no_time(tmp_path: Path) -> None:
    """Each index lists the next one a hundred times: a walk of every way through them would not end."""
    files: dict[str, bytes | str] = {}
    entry: dict[str, Any] = SMALL.descriptor
    for _ in range(7):
        data = samples.dump({"schemaVersion": 2, "mediaType": samples.INDEX["oci"], "manifests": [entry] * 100})
        entry = {"mediaType": samples.INDEX["oci"], "digest": samples.sha256(data), "size": len(data)}
        files[f"blobs/sha256/{samples.sha256(data)[7:]}"] = data
    files |= {f"blobs/sha256/{digest[7:]}": data for digest, data in expected(SMALL).items()}
    files |= {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    files["index.json"] = samples.dump({"schemaVersion": 2, "manifests": [entry] * 100})
    config = f"blobs/sha256/{samples.sha256(SMALL.config)[7:]}"
    layers = [f"blobs/sha256/{layer.digest[7:]}" for layer in SMALL.layers]
    files["manifest.json"] = samples.dump([{"Config": config, "RepoTags": ["a:1"], "Layers": layers}])
    with DockerArchiveSource(write_tar(tmp_path / "x.tar", files)) as source:
        assert source.resolve().is_index


def test_a_configuration_that_is_named_many_times_is_not_read_without_end(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"c.json": SMALL.config, "l.tar": SMALL.layers[0].tar}
    files["manifest.json"] = samples.dump([{"Config": "c.json", "Layers": ["l.tar"]}] * 200)
    path = write_tar(tmp_path / "x.tar", files)
    before = limits_in_use()
    use_limits(Limits(manifest_size=len(files["manifest.json"])))
    try:
        with DockerArchiveSource(path) as source:
            assert len(source.images()) == 1
        files["c.json"] = SMALL.config + b" " * 4000
        assert 64 * len(files["manifest.json"]) < 200 * len(files["c.json"])
        source = DockerArchiveSource(write_tar(path, files))
        with source, pytest.raises(LimitExceededError, match="--max-manifest-size"):
            source.images()
    finally:
        use_limits(before)


def test_the_layers_of_all_images_together_are_bounded(tmp_path: Path) -> None:
    items = [{"Config": "c.json", "Layers": ["x"] * 250}] * 500
    with pytest.raises(LimitExceededError, match="--max-archive-members"):
        DockerArchiveSource(write_tar(tmp_path / "x.tar", {"manifest.json": samples.dump(items)}))


def test_an_index_whose_images_are_configured_alike_keeps_them_apart(tmp_path: Path) -> None:
    """Two manifests of one configuration: the one with the name of the image is the image's."""
    other = dataclasses.replace(SMALL, kind="oci", manifest=samples.small("oci").manifest)
    path = write_docker_archive(tmp_path / "x.tar", {"app:1": SMALL, "app:2": other}, "containerd")
    for name, image in (("app:1", SMALL), ("app:2", other)):
        with DockerArchiveSource(path, name) as source:
            assert source.resolve().digest == image.digest


def test_the_configuration_that_is_read_is_the_image_s(tmp_path: Path) -> None:
    image: Image = IMAGES["buildkit"]
    with DockerArchiveSource(write_docker_archive(tmp_path / "x.tar", {"app:1": image}, "classic")) as source:
        data = contents(source)[manifest_of(source).config.digest]
    assert parse_config(data).diff_ids == tuple(image.diff_ids)
