"""Programs of others read the layouts and archives that we write, and we read theirs: skopeo, umoci, containerd."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.images import samples
from tests.images.forms import write_layout
from tests.images.memory import MemorySource
from tests.images.reading import contents, expected, put
from tests.images.registry import Containerd, skopeo, umoci
from tests.images.samples import Image, Index
from wclayer.images.config import parse_config
from wclayer.images.docker_archive import DockerArchiveSource, DockerArchiveTarget
from wclayer.images.layout import LayoutArchiveTarget, LayoutSource, LayoutTarget
from wclayer.images.manifest import Manifest, parse_manifest
from wclayer.images.transfer import copy_image
from wclayer.images.transport import ImageSource

OCI = {
    "nanoserver": samples.nanoserver("oci"),
    "buildkit": samples.buildkit("oci"),
    "zstd": samples.zstd_compressed(),
}
DOCKER = {
    "servercore": samples.servercore(),
    "classic": samples.classic(),
    "repeated": samples.repeated_layer(),
}
IMAGES = OCI | DOCKER
_WINDOWS = ("--override-os", "windows", "--override-arch", "amd64")


def config_of(source: ImageSource) -> bytes:
    item = parse_manifest(source.manifest(source.resolve()))
    assert isinstance(item, Manifest)
    with source.open_blob(item.config) as stream:
        return stream.read()


def check_skopeo(place: str, image: Image, folder: Path, *, same_manifest: bool) -> None:
    """Lets skopeo read an image that we wrote, all of it, and compares what it sees with what was written."""
    raw = skopeo(*_WINDOWS, "inspect", "--raw", place).stdout.encode()
    assert (raw == image.manifest) == same_manifest
    assert skopeo(*_WINDOWS, "inspect", "--config", "--raw", place).stdout.encode() == image.config
    skopeo(*_WINDOWS, "copy", place, f"dir:{folder}")
    copied = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert copied[samples.sha256(image.config)[7:]] == image.config
    assert {layer.data for layer in image.layers} | {layer.tar for layer in image.layers} >= {
        data for name, data in copied.items() if len(name) == 64 and data != image.config
    }


@pytest.mark.parametrize("name", IMAGES)
def test_skopeo_reads_our_layouts(name: str, tmp_path: Path) -> None:
    image = IMAGES[name]
    put(image, LayoutTarget(tmp_path / "layout", "tag"))
    put(image, LayoutArchiveTarget(tmp_path / "x.tar", "tag"))
    # By a tag, skopeo 1.9 finds only manifests of OCI.
    tag = ":tag" if name in OCI else ""
    for kind, path in (("oci", tmp_path / "layout"), ("oci-archive", tmp_path / "x.tar")):
        check_skopeo(f"{kind}:{path}{tag}", image, tmp_path / kind, same_manifest=True)


@pytest.mark.parametrize("name", IMAGES)
def test_skopeo_reads_our_docker_archives(name: str, tmp_path: Path) -> None:
    put(IMAGES[name], DockerArchiveTarget(tmp_path / "x.tar", "app:1"))
    place = f"docker-archive:{tmp_path / 'x.tar'}:app:1"
    # skopeo makes a manifest of its own: it reads manifest.json only.
    check_skopeo(place, IMAGES[name], tmp_path / "copy", same_manifest=False)


def test_skopeo_reads_our_layout_with_shared_blobs(tmp_path: Path) -> None:
    put(OCI["buildkit"], LayoutTarget(tmp_path / "layout", "tag", shared_blobs=tmp_path / "shared"))
    skopeo(
        *_WINDOWS, "copy", "--src-shared-blob-dir", tmp_path / "shared", "--dest-shared-blob-dir", tmp_path / "theirs",
        f"oci:{tmp_path / 'layout'}:tag", f"oci:{tmp_path / 'again'}:tag",
    )  # fmt: skip
    with LayoutSource(tmp_path / "again", "tag", shared_blobs=tmp_path / "theirs") as source:
        assert contents(source) == expected(OCI["buildkit"])


def test_skopeo_copies_our_index_with_all_images(tmp_path: Path) -> None:
    item = samples.several("oci")
    put(item, LayoutArchiveTarget(tmp_path / "x.tar", "tag"))
    skopeo("copy", "--all", f"oci-archive:{tmp_path / 'x.tar'}:tag", f"oci-archive:{tmp_path / 'y.tar'}:again")
    with LayoutSource(tmp_path / "y.tar", "again") as source:
        assert source.resolve().digest == item.digest
        assert contents(source) == expected(item)


@pytest.mark.parametrize("name", IMAGES)
def test_what_skopeo_writes_is_read(name: str, tmp_path: Path) -> None:
    image = IMAGES[name]
    write_layout(tmp_path / "layout", {"tag": image})
    opened: dict[str, Callable[[Path], ImageSource]] = {}
    if name in OCI:
        # skopeo writes the configuration of another image anew, and loses what OCI does not know.
        opened |= dict.fromkeys(("oci", "oci-archive"), lambda path: LayoutSource(path, "tag"))
    if name != "zstd":
        opened["docker-archive"] = lambda path: DockerArchiveSource(path, "app:1")
    for kind, opens in opened.items():
        named = "app:1" if kind == "docker-archive" else "tag"
        tag = ":tag" if name in OCI else ""
        skopeo(*_WINDOWS, "copy", f"oci:{tmp_path / 'layout'}{tag}", f"{kind}:{tmp_path / kind}:{named}")
        with opens(tmp_path / kind) as source, LayoutTarget(tmp_path / "ours", kind) as target:
            assert config_of(source) == image.config
            copy_image(source, target)
        with LayoutSource(tmp_path / "ours", kind) as source:
            assert list(parse_config(config_of(source)).diff_ids) == image.diff_ids


def test_skopeo_adds_to_our_layout_and_we_to_its(tmp_path: Path) -> None:
    put(OCI["zstd"], LayoutTarget(tmp_path / "layout", "ours"))
    write_layout(tmp_path / "other", {"tag": OCI["buildkit"]})
    skopeo(*_WINDOWS, "copy", f"oci:{tmp_path / 'other'}:tag", f"oci:{tmp_path / 'layout'}:theirs")
    put(OCI["nanoserver"], LayoutTarget(tmp_path / "layout", "again"))
    for tag, image in (("ours", OCI["zstd"]), ("theirs", OCI["buildkit"]), ("again", OCI["nanoserver"])):
        with LayoutSource(tmp_path / "layout", tag) as source:
            assert config_of(source) == image.config


def test_umoci_reads_our_layout_and_keeps_it_whole(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    for name, image in OCI.items():
        put(image, LayoutTarget(layout, name))
    assert sorted(umoci("ls", "--layout", layout).stdout.split()) == sorted(OCI)
    for name, image in OCI.items():
        history = json.loads(umoci("stat", "--image", f"{layout}:{name}", "--json").stdout)["history"]
        assert [step["diff_id"] for step in history if step.get("diff_id")] == image.diff_ids
    umoci("tag", "--image", f"{layout}:zstd", "more")
    umoci("gc", "--layout", layout)
    for name, image in {**OCI, "more": OCI["zstd"]}.items():
        with LayoutSource(layout, name) as source:
            assert contents(source) == expected(image)


def test_we_add_to_a_layout_of_umoci(tmp_path: Path) -> None:
    umoci("init", "--layout", tmp_path / "layout")
    umoci("new", "--image", f"{tmp_path / 'layout'}:empty")
    put(OCI["buildkit"], LayoutTarget(tmp_path / "layout", "ours"))
    assert umoci("ls", "--layout", tmp_path / "layout").stdout.split() == ["empty", "ours"]
    with LayoutSource(tmp_path / "layout", "empty") as source:
        assert parse_config(config_of(source)).diff_ids == ()


@pytest.mark.parametrize("name", [*IMAGES, "several", "foreign"])
def test_containerd_imports_our_archives_and_we_read_what_it_exports(
    name: str, tmp_path: Path, containerd: Containerd
) -> None:
    more: dict[str, Image | Index] = {"several": samples.several(), "foreign": samples.with_foreign_layer()}
    item = more[name] if name in more else IMAGES[name]
    put(item, LayoutArchiveTarget(tmp_path / "oci.tar", "tag"))
    put(item, DockerArchiveTarget(tmp_path / "docker.tar", f"archives/{name}:1"))
    base, whole = f"archives-{name}", f"docker.io/archives/{name}:1"
    containerd.ctr(
        "images", "import", "--no-unpack", "--all-platforms", "--base-name", base, "--index-name", base,
        tmp_path / "oci.tar",
    )  # fmt: skip
    containerd.ctr("images", "import", "--no-unpack", "--all-platforms", tmp_path / "docker.tar")
    listed = containerd.ctr("images", "ls").stdout
    for known in (f"{base}:tag", whole):
        [line] = [line for line in listed.splitlines() if line.split()[0] == known]
        assert item.digest in line
    held = containerd.ctr("content", "ls", "-q").stdout.split()
    assert set(expected(item)) <= set(held)
    exported = tmp_path / "exported.tar"
    containerd.ctr("images", "export", "--platform", "windows/amd64", exported, whole)
    with DockerArchiveSource(exported, whole) as source:
        if name == "several":
            # containerd lists one of them in manifest.json, and exports only those of the platform.
            assert config_of(source) in [image.config for image in item.images]
        else:
            assert source.resolve().digest == item.digest
            assert contents(source) == expected(item)


def test_containerd_imports_an_archive_without_its_foreign_layer(tmp_path: Path, containerd: Containerd) -> None:
    image = samples.with_foreign_layer(urls=["http://127.0.0.1:9/other.tar.gz"])
    with DockerArchiveTarget(tmp_path / "x.tar", "archives/keep:1") as target:
        copy_image(MemorySource(image), target, foreign="keep")
    containerd.ctr("images", "import", "--no-unpack", "--all-platforms", tmp_path / "x.tar")
    held = containerd.ctr("content", "ls", "-q").stdout.split()
    assert {image.digest, image.layers[1].digest} <= set(held)
