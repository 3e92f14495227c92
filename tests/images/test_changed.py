"""Images made from others without their layers: edits and indexes, copied like any image."""

from __future__ import annotations

import json

import pytest

from tests.images import samples
from tests.images.memory import MemorySource, MemoryTarget
from wclayer.errors import InvalidDataError, InvalidParameterError, NotSupportedError, PathNotFoundError
from wclayer.images.changed import compose_index, edit_image
from wclayer.images.config import parse_config
from wclayer.images.descriptor import DOCKER_INDEX, OCI_INDEX, Descriptor
from wclayer.images.edit import DOCKER_ANNOTATIONS_WARNING, ConfigChanges
from wclayer.images.history import ImageBase
from wclayer.images.inspection import inspect_image
from wclayer.images.manifest import Index, Manifest, parse_manifest
from wclayer.images.platform import parse_platform
from wclayer.images.transfer import copy_image
from wclayer.images.transport import ImageSource


def artifact() -> samples.Image:
    """A manifest whose configuration is that of something else."""
    image = samples.small("oci")
    return samples.Image("oci", image.manifest.replace(samples.CONFIG["oci"].encode(), b"x/y"), image.config, ())


def copied(source: ImageSource) -> MemoryTarget:
    target = MemoryTarget()
    copy_image(source, target, all_platforms=True)
    return target


def index_in(target: MemoryTarget) -> Index:
    assert target.root is not None
    index = parse_manifest(target.documents[target.root.digest])
    assert isinstance(index, Index)
    return index


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_an_image_is_inspected(kind: samples.Kind) -> None:
    image = samples.classic(kind)
    found = inspect_image(MemorySource(image, "x:1"))
    assert (found.name, found.descriptor.digest, found.index) == ("x:1", image.digest, None)
    assert found.manifest is not None
    assert found.manifest.data == image.manifest
    assert found.config is not None
    assert found.config.data == image.config
    assert [step.layer for step in found.steps] == [*range(7)]
    assert found.base == ImageBase("", "", "10.0.20348.5499", 2)


def test_an_index_is_inspected_alone_if_several_images_may_be_meant() -> None:
    sample = samples.several()
    found = inspect_image(MemorySource(sample))
    assert found.index is not None
    assert found.index.data == sample.manifest
    assert (found.manifest, found.config, found.steps, found.base) == (None, None, (), None)
    chosen = inspect_image(MemorySource(sample), parse_platform("windows/amd64:10.0.20348"))
    assert chosen.config is not None
    assert chosen.config.platform.os_version == "10.0.20348.5499"
    with pytest.raises(InvalidParameterError, match="several images fit"):
        inspect_image(MemorySource(sample), parse_platform("windows/amd64"))
    with pytest.raises(PathNotFoundError, match="no image for linux"):
        inspect_image(MemorySource(sample), parse_platform("linux/amd64"))


def test_documents_that_do_not_fit_together_are_refused() -> None:
    source = MemorySource(samples.servercore())
    digest = json.loads(source.documents[source.root][1])["config"]["digest"]
    source.blobs[digest] = source.blobs[digest].replace(b"windows", b"WINDOWS")
    with pytest.raises(InvalidDataError, match="the contents have the digest"):
        inspect_image(source)


def test_an_artifact_has_no_configuration_of_an_image() -> None:
    found = inspect_image(MemorySource(artifact()))
    assert found.manifest is not None
    assert found.config is None
    with pytest.raises(NotSupportedError, match="artifact of the type 'x/y'"):
        edit_image(MemorySource(artifact()), ConfigChanges(user="x"))
    with pytest.raises(NotSupportedError, match="artifact"):
        compose_index([MemorySource(artifact())])


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_an_edited_image_has_the_layers_of_the_old_one(kind: samples.Kind) -> None:
    image = samples.servercore(kind)
    source = MemorySource(image)
    edited, warnings = edit_image(source, ConfigChanges(env={"A": "1"}), annotations={"k": "v"})
    assert warnings == ([DOCKER_ANNOTATIONS_WARNING] if kind == "docker" else [])
    target = copied(edited)
    assert target.root is not None
    manifest = parse_manifest(target.documents[target.root.digest], target.root.media_type)
    assert isinstance(manifest, Manifest)
    assert [layer.digest for layer in manifest.layers] == [layer.digest for layer in image.layers]
    assert manifest.view.mapping("annotations") == {"k": "v"}
    config = target.blobs[manifest.config.digest]
    assert config == image.config.replace(b'"Env":null', b'"Env":["A=1"]')
    for layer in image.layers:
        assert target.blobs[layer.digest] == layer.data


def test_an_edit_that_changes_nothing_is_the_same_image() -> None:
    image = samples.servercore()
    assert edit_image(MemorySource(image), ConfigChanges())[0].resolve().digest == image.digest


def test_one_image_of_an_index_is_edited() -> None:
    wanted = parse_platform("windows/arm64")
    edited, _ = edit_image(MemorySource(samples.several()), ConfigChanges(author="me"), platform=wanted)
    target = copied(edited)
    assert target.root is not None
    manifest = parse_manifest(target.documents[target.root.digest])
    assert isinstance(manifest, Manifest)
    config = parse_config(target.blobs[manifest.config.digest])
    assert (config.platform.architecture, config.view.text("author")) == ("arm64", "me")


def test_an_index_states_the_platforms_of_its_images() -> None:
    images = [samples.small(os_version=f"10.0.{build}.1") for build in (17763, 20348, 26100)]
    target = copied(compose_index([MemorySource(image) for image in images]))
    index = index_in(target)
    assert index.media_type == DOCKER_INDEX
    assert json.loads(index.data) == json.loads(samples.index("docker", images).manifest)
    for image in images:
        assert target.documents[image.digest] == image.manifest
        assert all(digest in target.blobs for digest in image.blobs)


def test_an_index_of_both_kinds_is_ocis() -> None:
    images = [MemorySource(samples.small("oci")), MemorySource(samples.small(os_version="10.0.26100.1"))]
    assert index_in(copied(compose_index(images))).media_type == OCI_INDEX
    assert index_in(copied(compose_index(images[1:], media_type=OCI_INDEX))).media_type == OCI_INDEX


def test_images_are_appended_and_what_was_there_keeps_its_bytes() -> None:
    base = samples.several()
    new = samples.small(os_version="10.0.17763.1")
    target = copied(compose_index([MemorySource(new)], base=MemorySource(base)))
    old = base.manifest.decode()
    written = index_in(target).data.decode()
    assert written.startswith(old[: old.rindex("}", 0, old.rindex("]")) + 1])
    assert [item.digest for item in index_in(target).manifests] == [image.digest for image in (*base.images, new)]
    assert json.loads(written) == json.loads(samples.index("docker", [*base.images, new]).manifest)


def test_the_images_of_an_index_are_taken_as_they_are_listed() -> None:
    base = samples.several()
    assert (
        index_in(copied(compose_index([MemorySource(base)]))).manifests
        == index_in(copied(MemorySource(base))).manifests
    )
    again = compose_index([MemorySource(base), MemorySource(base.images[0])], base=MemorySource(base))
    assert again.resolve().digest == base.digest


def test_two_images_for_one_platform_are_refused_or_replaced() -> None:
    old = samples.small()
    new = samples.small_child()
    with pytest.raises(InvalidParameterError, match="--replace") as caught:
        compose_index([MemorySource(old, "old"), MemorySource(new, "new")])
    assert caught.value.path == "new"
    assert old.digest in caught.value.detail
    base = samples.several()
    update = samples.small(os_version="10.0.20348.6000")
    both = index_in(copied(compose_index([MemorySource(update)], base=MemorySource(base))))
    assert len(both.manifests) == 4
    one = index_in(copied(compose_index([MemorySource(update)], base=MemorySource(base), replaces=True)))
    assert [item.digest for item in one.manifests] == [
        base.images[0].digest, base.images[2].digest, update.digest
    ]  # fmt: skip


def test_only_an_index_is_appended_to() -> None:
    with pytest.raises(NotSupportedError, match="not an index"):
        compose_index([], base=MemorySource(samples.small(), "one"))


def test_a_manifest_that_no_source_has_is_missed_by_name() -> None:
    composed = compose_index([MemorySource(samples.several(), "several")])
    with pytest.raises(PathNotFoundError, match="sha256:00"):
        composed.manifest(Descriptor(OCI_INDEX, f"sha256:{'0' * 64}", 1))


def test_referrers_are_those_of_the_sources() -> None:
    base = MemorySource(samples.several())
    subject = samples.several().images[0].digest
    base.attach(subject, artifact())
    composed = compose_index([base])
    copied(composed)
    index = parse_manifest(composed.manifest(composed.resolve()))
    assert isinstance(index, Index)
    assert [item.digest for item in composed.referrers(index.manifests[0])] == [artifact().digest]
    assert composed.referrers(composed.resolve()) == []
