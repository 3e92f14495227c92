"""`copy_image` between places in memory: what is copied, in which order, and what is refused before anything is."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from tests.images import samples
from tests.images.memory import MemorySource, MemoryTarget
from tests.images.samples import Image, Index
from wclayer.errors import (
    InvalidDataError,
    InvalidParameterError,
    LimitExceededError,
    NotSupportedError,
    OperationCancelledError,
    PathNotFoundError,
)
from wclayer.images.platform import Platform
from wclayer.images.transfer import copy_image
from wclayer.images.transfer_progress import TransferProgress, TransferStep
from wclayer.model import Limits, use_limits


def _images() -> list[Image]:
    with_attestation, _ = samples.with_attestation()
    return [
        samples.small(), samples.small("oci"), samples.small_child(), samples.with_foreign_layer(),
        samples.repeated_layer(), samples.zstd_compressed(), *with_attestation.images,
    ]  # fmt: skip


@pytest.mark.parametrize("image", _images(), ids=lambda image: image.digest[7:15])
def test_a_copy_has_the_same_bytes(image: Image) -> None:
    target = MemoryTarget()
    result = copy_image(MemorySource(image), target)
    assert target.documents == {image.digest: image.manifest}
    assert target.blobs == image.blobs
    assert target.root is not None
    assert (result.descriptor.digest, result.blobs, result.present) == (image.digest, len(image.blobs), 0)
    assert result.size == sum(map(len, image.blobs.values()))


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_all_platforms(kind: samples.Kind) -> None:
    index, target = samples.several(kind), MemoryTarget()
    result = copy_image(MemorySource(index), target, all_platforms=True)
    assert target.documents == {digest: data for digest, (_, data) in index.documents.items()}
    assert (target.blobs, result.descriptor.digest, result.manifests) == (index.blobs, index.digest, 4)


def test_one_platform_of_several() -> None:
    index, target = samples.several(), MemoryTarget()
    copy_image(MemorySource(index), target, platform=Platform("windows", "amd64", "10.0.20348"))
    assert target.documents == {index.images[1].digest: index.images[1].manifest}
    with pytest.raises(InvalidParameterError, match=r"several.*10\.0\.20348\.5499"):
        copy_image(MemorySource(index), MemoryTarget())
    with pytest.raises(PathNotFoundError, match="linux"):
        copy_image(MemorySource(index), MemoryTarget(), platform=Platform("linux", "amd64"))


def test_the_platform_of_an_image_without_an_index() -> None:
    image, target = samples.small(), MemoryTarget()
    copy_image(MemorySource(image), target, platform=Platform("windows", "amd64", "10.0.20348"))
    assert image.digest in target.documents
    for other in (Platform("linux", "amd64"), Platform("windows", "arm64"), Platform("windows", "amd64", "10.0.17763")):
        _refused(image, PathNotFoundError, r"it has: windows/amd64:10\.0\.20348\.5499", platform=other)


def test_an_attestation_goes_with_its_index() -> None:
    index, attestation = samples.with_attestation()
    # As BuildKit writes it: the configuration lists the statement as if it were a layer of files.
    target = MemoryTarget()
    copy_image(MemorySource(index), target, all_platforms=True)
    assert attestation.digest in target.documents


def test_what_the_target_has_is_not_read() -> None:
    image = samples.small_child()
    source, target = MemorySource(image), MemoryTarget()
    target.blobs[image.layers[0].digest] = image.layers[0].data
    seen: list[TransferProgress] = []
    result = copy_image(source, target, progress=seen.append)
    assert image.layers[0].digest not in source.opened
    assert (result.blobs, result.present) == (2, 1)
    assert [item.step for item in seen if item.descriptor.digest == image.layers[0].digest] == [TransferStep.PRESENT]
    assert all(item.is_done for item in {item.what: item for item in seen}.values())


def test_a_layer_that_occurs_twice_is_copied_once() -> None:
    image = samples.repeated_layer()
    source, target = MemorySource(image), MemoryTarget()
    copy_image(source, target)
    assert source.opened.count(image.layers[1].digest) == 1
    assert sorted(target.put) == sorted(image.blobs)


def test_several_at_once_and_no_more() -> None:
    image = samples.image(
        "oci", [samples.layer(samples.small_tar({"Files/a": b""}, n), "oci") for n in range(6)], [], {}
    )
    source, target = MemorySource(image), MemoryTarget()
    both = threading.Barrier(3)
    source.before = lambda digest: both.wait(10) if digest in {item.digest for item in image.layers} else None  # type: ignore[assignment]
    copy_image(source, target, jobs=3)
    assert target.most_at_once == 3


@pytest.mark.parametrize("jobs", [0, -1, 65, 10**9])
def test_the_number_of_threads_is_bounded(jobs: int) -> None:
    with pytest.raises(InvalidParameterError, match="1 to 64"):
        copy_image(MemorySource(samples.small()), MemoryTarget(), jobs=jobs)


def test_the_first_error_stops_the_others() -> None:
    image = samples.image(
        "oci", [samples.layer(samples.small_tar({"Files/a": b""}, n), "oci") for n in range(9)], [], {}
    )
    source, target = MemorySource(image), MemoryTarget()
    source.blobs[image.layers[1].digest] = b"wrong"
    with pytest.raises(InvalidDataError, match=r"layer 2 of 9.*" + image.layers[1].digest):
        copy_image(source, target, jobs=1)
    assert len(target.put) < 3
    assert target.root is None
    assert not target.documents


def test_a_caller_can_stop_it() -> None:
    def stop(progress: TransferProgress) -> None:
        raise OperationCancelledError("x", "enough")

    target = MemoryTarget()
    with pytest.raises(OperationCancelledError, match="enough"):
        copy_image(MemorySource(samples.small()), target, progress=stop)
    assert target.root is None


# Foreign layers.


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_foreign_layers(kind: samples.Kind) -> None:
    image = samples.with_foreign_layer(kind)
    pushed, kept, made = MemoryTarget(), MemoryTarget(sparse=True), MemoryTarget()
    copy_image(MemorySource(image), pushed)
    assert (pushed.documents, pushed.blobs) == ({image.digest: image.manifest}, image.blobs)
    copy_image(MemorySource(image), kept, foreign="keep")
    assert kept.documents == {image.digest: image.manifest}
    assert image.blobs.keys() - kept.blobs.keys() == image.foreign
    result = copy_image(MemorySource(image), made, foreign="convert")
    assert made.blobs == image.blobs
    record = json.loads(image.manifest)
    record["layers"][0]["mediaType"] = samples.LAYER[kind]
    del record["layers"][0]["urls"]
    assert json.loads(made.documents[result.descriptor.digest]) == record
    assert [*json.loads(made.documents[result.descriptor.digest])] == [*json.loads(image.manifest)]


def test_a_conversion_of_nothing_changes_nothing() -> None:
    index, target = samples.several(), MemoryTarget()
    assert (
        copy_image(MemorySource(index), target, all_platforms=True, foreign="convert").descriptor.digest == index.digest
    )


def test_a_conversion_in_an_index() -> None:
    foreign, plain = samples.with_foreign_layer(), samples.small()
    index, target = samples.index("docker", [foreign, plain]), MemoryTarget()
    result = copy_image(MemorySource(index), target, all_platforms=True, foreign="convert")
    record = json.loads(target.documents[result.descriptor.digest])
    assert [item["platform"] for item in record["manifests"]] == [foreign.platform, plain.platform]
    assert record["manifests"][1] == plain.descriptor
    assert record["manifests"][0]["digest"] in target.documents
    assert target.root is not None
    assert target.root.digest == result.descriptor.digest != index.digest


def test_no_such_choice() -> None:
    with pytest.raises(InvalidParameterError, match="keep, push, convert"):
        copy_image(MemorySource(samples.small()), MemoryTarget(), foreign="drop")


# Referrers.


def test_referrers_go_along() -> None:
    image = samples.small("oci")
    sbom = samples.referrer(image)
    signature = samples.referrer(sbom, b"a signature of the SBOM")
    source = MemorySource(image)
    source.attach(image.digest, sbom, "text/spdx")
    source.attach(sbom.digest, signature)
    # A circle is no reason to go on for ever.
    source.attach(signature.digest, sbom)
    target = MemoryTarget()
    result = copy_image(source, target, referrers=True)
    assert target.documents.keys() == {image.digest, sbom.digest, signature.digest}
    assert (result.manifests, result.descriptor.digest) == (3, image.digest)
    without = MemoryTarget()
    copy_image(source, without)
    assert without.documents.keys() == {image.digest}


def test_referrers_of_what_is_changed() -> None:
    image = samples.with_foreign_layer()
    source = MemorySource(image)
    source.attach(image.digest, samples.referrer(image))
    with pytest.raises(InvalidParameterError, match=r"refer to nothing"):
        copy_image(source, MemoryTarget(), referrers=True, foreign="convert")


# What is refused before anything is copied.


def _refused(item: Image | Index, error: type[Exception], match: str, **options: Any) -> None:
    target = MemoryTarget()
    with pytest.raises(error, match=match):
        copy_image(MemorySource(item), target, **options)
    assert not target.put
    assert not target.documents


def _config_changed(change: Mapping[str, Any]) -> Image:
    image = samples.small_child()
    config = samples.dump({**image.record, **change})
    record = json.loads(image.manifest)
    record["config"] |= {"size": len(config), "digest": samples.sha256(config)}
    return Image(image.kind, samples.dump(record), config, image.layers)


def test_numbers_of_layers_that_differ() -> None:
    diff_ids = samples.small().diff_ids
    wrong = _config_changed({"rootfs": {"type": "layers", "diff_ids": diff_ids}})
    _refused(wrong, InvalidDataError, "copy image: memory: .*2 layers.*1 diff_ids")
    none = _config_changed({"rootfs": {"type": "layers", "diff_ids": ["sha256:1"]}})
    _refused(none, InvalidDataError, "not a digest")


def test_two_sizes_of_one_blob() -> None:
    image = samples.repeated_layer()
    record = json.loads(image.manifest)
    record["layers"][2]["size"] += 1
    _refused(samples.with_manifest_changed(image, record), InvalidDataError, "layer 2 of 3.*layer 3 of 3")


def test_a_size_that_no_image_has() -> None:
    image = samples.small()
    record = json.loads(image.manifest)
    record["layers"][0]["size"] = 1 << 60
    _refused(samples.with_manifest_changed(image, record), LimitExceededError, "total_size")


def test_a_configuration_too_large() -> None:
    image = samples.small()
    record = json.loads(image.manifest)
    record["config"]["size"] = 1 << 40
    _refused(samples.with_manifest_changed(image, record), LimitExceededError, "the configuration.*manifest_size")


def test_a_configuration_with_another_digest() -> None:
    image = samples.small()
    source = MemorySource(image)
    source.blobs[samples.sha256(image.config)] = image.config.replace(b"windows", b"Windows")
    with pytest.raises(InvalidDataError, match=r"the configuration: sha256.*the contents have the digest"):
        copy_image(source, MemoryTarget())


@pytest.mark.parametrize("all_platforms", [True, False])
def test_indexes_in_indexes_are_not_read_for_ever(all_platforms: bool) -> None:
    index = samples.several("oci")
    source = MemorySource(index)
    for _ in range(10):
        record = {"schemaVersion": 2, "mediaType": index.media_type, "manifests": [index.bare_descriptor]}
        index = Index("oci", samples.dump(record), index.images)
        source.documents[index.digest] = (index.media_type, index.manifest)
    source.root = index.digest
    with pytest.raises(InvalidDataError, match="more than 8 times"):
        copy_image(source, MemoryTarget(), all_platforms=all_platforms)


def test_many_manifests_are_bounded() -> None:
    images = [samples.small(os_version=f"10.0.20348.{n}") for n in range(5)]
    index = samples.index("docker", images)
    size = max(len(index.manifest), *(len(item.manifest) for item in images))
    use_limits(Limits(manifest_size=2 * size))
    try:
        copy_image(MemorySource(index), MemoryTarget(), all_platforms=True)
        use_limits(Limits(manifest_size=len(index.manifest) // 2))
        _refused(index, LimitExceededError, "manifest_size", all_platforms=True)
    finally:
        use_limits(Limits())


def test_many_configurations_are_bounded() -> None:
    """Each is as large as it may be: together they are not for memory."""
    images = []
    for number in range(5):
        small = samples.small(os_version=f"10.0.20348.{number}")
        config = samples.dump({**small.record, "padding": "x" * 40_000})
        record = json.loads(small.manifest)
        record["config"] |= {"size": len(config), "digest": samples.sha256(config)}
        images.append(Image(small.kind, samples.dump(record), config, small.layers))
    use_limits(Limits(manifest_size=45_000))
    try:
        _refused(samples.index("docker", images), LimitExceededError, "manifest_size", all_platforms=True)
        copy_image(MemorySource(samples.index("docker", images[:4])), MemoryTarget(), all_platforms=True)
    finally:
        use_limits(Limits())


def test_a_missing_manifest_of_an_index() -> None:
    index = samples.several()
    source, target = MemorySource(index), MemoryTarget()
    del source.documents[index.images[2].digest]
    with pytest.raises(PathNotFoundError, match=index.images[2].digest):
        copy_image(source, target, all_platforms=True)
    assert not target.put


def test_a_manifest_of_another_kind() -> None:
    _refused(samples.with_manifest_changed(samples.small(), {"schemaVersion": 1}), NotSupportedError, "schema 1")


def test_an_artifact_is_copied() -> None:
    artifact, target = samples.referrer(samples.small()), MemoryTarget()
    source = MemorySource(artifact)
    # Its subject is there already.
    target.documents[samples.small().digest] = samples.small().manifest
    copy_image(source, target)
    assert target.documents[artifact.digest] == artifact.manifest
