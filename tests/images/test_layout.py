"""OCI layouts, as directories and as tars: what is written is read again, and others' entries stay."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.images import samples
from tests.images.forms import write_layout, write_layout_archive
from tests.images.memory import MemorySource
from tests.images.reading import contents, expected, put
from tests.images.samples import Image, Index
from wclayer.errors import (
    AlreadyExistsError,
    InvalidDataError,
    InvalidParameterError,
    LimitExceededError,
    NotALayerError,
    PathNotFoundError,
)
from wclayer.images.descriptor import Descriptor
from wclayer.images.layout import LayoutArchiveTarget, LayoutSource, LayoutTarget
from wclayer.images.transfer import copy_image
from wclayer.model import Limits, limits_in_use, use_limits

IMAGES: dict[str, Image | Index] = {
    "servercore": samples.servercore(),
    "nanoserver": samples.nanoserver("oci"),
    "several": samples.several(),
    "classic": samples.classic(),
    "zstd": samples.zstd_compressed(),
    "repeated": samples.repeated_layer(),
    "attested": samples.with_attestation()[0],
    "foreign": samples.with_foreign_layer("oci"),
}
SMALL = samples.small()
CHILD = samples.small_child()


def read_index(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "index.json").read_bytes())
    return record


def write_index(folder: Path, record: dict[str, Any]) -> None:
    (folder / "index.json").write_text(json.dumps(record))


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
    put(item, LayoutTarget(tmp_path / "new" / "layout", "tag"))
    put(item, LayoutArchiveTarget(tmp_path / "layout.tar", "tag"))
    for path in (tmp_path / "new" / "layout", tmp_path / "layout.tar"):
        with LayoutSource(path) as source:
            assert source.resolve().digest == item.digest
            assert contents(source) == expected(item)
            assert [image.names for image in source.images()] == [("tag",)]


def test_a_blob_is_read_from_any_offset(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", {"tag": SMALL})
    write_layout_archive(tmp_path / "layout.tar", {"tag": SMALL})
    digest, data = max(SMALL.blobs.items(), key=lambda blob: len(blob[1]))
    for path in (tmp_path / "layout", tmp_path / "layout.tar"):
        with LayoutSource(path) as source:
            for offset in (0, 1, len(data) - 1, len(data), len(data) + 7):
                with source.open_blob(Descriptor("", digest, len(data)), offset) as stream:
                    assert stream.read() == data[offset:]


def test_several_threads_read_one_archive(tmp_path: Path) -> None:
    item = IMAGES["classic"]
    with LayoutSource(write_layout_archive(tmp_path / "layout.tar", {"tag": item})) as source:
        blobs = list(item.blobs.items()) * 20

        def read(blob: tuple[str, bytes]) -> bool:
            with source.open_blob(Descriptor("", blob[0], len(blob[1]))) as stream:
                return stream.read() == blob[1]

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, blobs))


def test_of_several_images_one_must_be_named(tmp_path: Path) -> None:
    write_layout(tmp_path, {"one": SMALL, "two": CHILD, "-": IMAGES["zstd"]})
    with LayoutSource(tmp_path) as source, pytest.raises(InvalidParameterError, match=r"3 images \(one, two, sha256:"):
        source.resolve()
    with (
        LayoutSource(tmp_path, "none") as source,
        pytest.raises(PathNotFoundError, match=r"no image 'none'.* one, two"),
    ):
        source.resolve()
    for named, item in ((CHILD.digest, CHILD), ("two", CHILD), ("@1", CHILD), (f"@{SMALL.digest}", SMALL)):
        with LayoutSource(tmp_path, named) as source:
            assert source.resolve().digest == item.digest


@pytest.mark.parametrize(
    "wanted",
    ["docker.io/library/app:1", "app:1", "library/app:1", "1", "docker.io/app:1", "index.docker.io/library/app:1"],
)
def test_a_name_may_be_written_in_every_way_that_means_the_same(wanted: str, tmp_path: Path) -> None:
    write_layout(tmp_path, {"x": SMALL, "other": CHILD})
    record = read_index(tmp_path)
    record["manifests"][0]["annotations"] = {
        "io.containerd.image.name": "docker.io/library/app:1",
        "org.opencontainers.image.ref.name": "1",
    }
    write_index(tmp_path, record)
    with LayoutSource(tmp_path, wanted) as source:
        assert source.resolve().digest == SMALL.digest


def test_one_tag_of_two_images_is_ambiguous_and_their_whole_names_are_not(tmp_path: Path) -> None:
    write_layout(tmp_path, {"x": SMALL, "y": CHILD})
    record = read_index(tmp_path)
    for entry, name in zip(record["manifests"], ("docker.io/library/a:1", "docker.io/library/b:1"), strict=True):
        entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": "1"}
    write_index(tmp_path, record)
    with LayoutSource(tmp_path, "1") as source, pytest.raises(InvalidParameterError, match="several images"):
        source.resolve()
    with LayoutSource(tmp_path, "b:1") as source:
        assert source.resolve().digest == CHILD.digest


def nested(folder: Path, item: Image | Index, name: str, depth: int) -> None:
    """Puts the entry of an image into an index, and this into another one, `depth` times."""
    record = read_index(folder)
    entry: dict[str, Any] = record["manifests"][0] | {"annotations": {"org.opencontainers.image.ref.name": name}}
    for _ in range(depth):
        data = samples.dump({"schemaVersion": 2, "mediaType": samples.INDEX["oci"], "manifests": [entry]})
        digest = samples.sha256(data)
        (folder / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(data)
        entry = {"mediaType": samples.INDEX["oci"], "digest": digest, "size": len(data)}
    write_index(folder, record | {"manifests": [entry]})


def test_names_in_nested_indexes_are_found(tmp_path: Path) -> None:
    write_layout(tmp_path, {"x": SMALL})
    nested(tmp_path, SMALL, "deep", 3)
    for wanted in ("deep", SMALL.digest):
        with LayoutSource(tmp_path, wanted) as source:
            assert source.resolve().digest == SMALL.digest
    with LayoutSource(tmp_path) as source:
        assert source.resolve().is_index


def test_indexes_that_are_nested_without_end_are_refused(tmp_path: Path) -> None:
    write_layout(tmp_path, {"x": SMALL})
    nested(tmp_path, SMALL, "deep", 12)
    with LayoutSource(tmp_path, "deep") as source, pytest.raises(InvalidDataError, match="nested more than 8 deep"):
        source.resolve()


def test_blobs_may_lie_in_a_shared_directory(tmp_path: Path) -> None:
    write_layout(tmp_path / "theirs", {"tag": SMALL}, shared=tmp_path / "shared")
    with LayoutSource(tmp_path / "theirs", shared_blobs=tmp_path / "shared") as source:
        assert contents(source) == expected(SMALL)
        put_into = LayoutTarget(tmp_path / "ours", "tag", shared_blobs=tmp_path / "more")
        with put_into:
            copy_image(source, put_into)
    assert list((tmp_path / "ours/blobs/sha256").iterdir()) == []
    with LayoutSource(tmp_path / "ours", shared_blobs=tmp_path / "more") as source:
        assert contents(source) == expected(SMALL)
    with (
        LayoutSource(tmp_path / "ours") as source,
        pytest.raises(PathNotFoundError, match="does not have the manifest"),
    ):
        contents(source)


def test_other_entries_and_unknown_keys_stay(tmp_path: Path) -> None:
    write_layout(tmp_path, {"one": SMALL, "two": CHILD})
    record = {"com.example": [1.50, None], **read_index(tmp_path), "annotations": {"z": "1", "a": "Größe"}}
    record["manifests"][0]["data"] = "e30="
    record["manifests"][0]["com.example.x"] = {"b": 1, "a": 2}
    (tmp_path / "index.json").write_text(json.dumps(record, indent=3).replace("1.5,", "1.50,"))
    before = (tmp_path / "index.json").read_text()
    put(IMAGES["zstd"], LayoutTarget(tmp_path, "two"))
    put(IMAGES["nanoserver"], LayoutTarget(tmp_path, "three"))
    after = read_index(tmp_path)
    assert list(after) == list(record)
    assert after["com.example"] == record["com.example"]
    assert after["annotations"] == record["annotations"]
    assert after["manifests"][0] == record["manifests"][0]
    assert [entry["digest"] for entry in after["manifests"]] == [
        SMALL.digest, IMAGES["zstd"].digest, IMAGES["nanoserver"].digest,
    ]  # fmt: skip
    first = before[: before.index(CHILD.media_type, before.index('"com.example.x"'))]
    assert (tmp_path / "index.json").read_text().startswith(first)
    assert "1.50," in first
    for tag, item in (("one", SMALL), ("two", IMAGES["zstd"]), ("three", IMAGES["nanoserver"])):
        with LayoutSource(tmp_path, tag) as source:
            assert contents(source) == expected(item)


def test_an_image_may_have_several_tags_or_none(tmp_path: Path) -> None:
    for tag in (None, "one", "two", "one", None):
        put(SMALL, LayoutTarget(tmp_path, tag))
    with LayoutSource(tmp_path) as source:
        assert [(image.descriptor.digest, image.names) for image in source.images()] == [(SMALL.digest, ("one", "two"))]
        assert source.resolve().digest == SMALL.digest


@pytest.mark.parametrize("tag", ["a b", "-x", "a\n", "..", "x" * 600])
def test_an_impossible_tag_is_refused(tag: str, tmp_path: Path) -> None:
    for make in (LayoutTarget, LayoutArchiveTarget):
        with pytest.raises(InvalidParameterError, match="cannot be the name of an image"):
            make(tmp_path / "x", tag)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_does_not_become_a_layout(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(AlreadyExistsError, match=r"'holiday\.jpg'"):
        put(SMALL, LayoutTarget(tmp_path, "tag"))
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_what_a_killed_process_left_is_no_other_file(tmp_path: Path) -> None:
    (tmp_path / ".wclayer-index.json-0123456789abcdef.partial").write_bytes(b"{")
    (tmp_path / "blobs").mkdir()
    put(SMALL, LayoutTarget(tmp_path, "tag"))
    assert sorted(os.listdir(tmp_path)) == ["blobs", "index.json", "oci-layout"]


def test_a_failed_copy_leaves_no_image_and_no_wrong_blob(tmp_path: Path) -> None:
    source = MemorySource(CHILD)
    digest = CHILD.layers[-1].digest
    source.blobs[digest] = bytes(len(source.blobs[digest]))
    with LayoutTarget(tmp_path / "layout", "tag") as target, pytest.raises(InvalidDataError, match="have the digest"):
        copy_image(source, target, jobs=1)
    # The layer that was there before the failure stays, for the next copy.
    assert CHILD.layers[0].digest.removeprefix("sha256:") in os.listdir(tmp_path / "layout/blobs/sha256")
    assert read_index(tmp_path / "layout")["manifests"] == []
    assert digest.removeprefix("sha256:") not in os.listdir(tmp_path / "layout/blobs/sha256")
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if name.endswith(".partial")]
    with LayoutArchiveTarget(tmp_path / "x.tar", "tag") as archive, pytest.raises(InvalidDataError):
        copy_image(source, archive)
    assert sorted(os.listdir(tmp_path)) == ["layout"]


@pytest.mark.parametrize("exists", [False, True], ids=["new", "empty folder"])
def test_a_copy_that_fails_before_its_first_layer_leaves_nothing(exists: bool, tmp_path: Path) -> None:
    source = MemorySource(SMALL)
    digest = SMALL.layers[0].digest
    source.blobs[digest] = bytes(len(source.blobs[digest]))
    folder = tmp_path / "new/layouts/layout"
    if exists:
        folder.mkdir(parents=True)
    with LayoutTarget(folder, "tag") as target, pytest.raises(InvalidDataError):
        copy_image(source, target)
    assert list(tmp_path.rglob("*")) == ([folder.parents[1], folder.parent, folder] if exists else [])


def test_a_layout_that_another_copy_uses_is_not_removed(tmp_path: Path) -> None:
    source = MemorySource(SMALL)
    digest = SMALL.layers[0].digest
    source.blobs[digest] = bytes(len(source.blobs[digest]))
    folder = tmp_path / "layout"
    with LayoutTarget(folder, "first") as failing, LayoutTarget(folder, "second") as other:
        config = Descriptor.of(SMALL.config, "application/vnd.oci.image.config.v1+json")
        failing.put_blob(config, source)
        # It has found the configuration, and will not put it again.
        assert other.has(config)
        with pytest.raises(InvalidDataError):
            copy_image(source, failing)
        failing.close()
        with MemorySource(SMALL) as sound:
            copy_image(sound, other)
    with LayoutSource(folder, "second") as copied:
        assert contents(copied) == expected(SMALL)


def test_a_layout_that_was_there_stays_as_it_was(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", {"old": samples.nanoserver("oci")})
    before = sorted(tmp_path.rglob("*"))
    source = MemorySource(SMALL)
    source.blobs[SMALL.layers[0].digest] = b""
    with LayoutTarget(tmp_path / "layout", "tag") as target, pytest.raises(InvalidDataError):
        copy_image(source, target)
    assert set(before) <= set(tmp_path.rglob("*"))


def test_a_blob_that_is_there_is_not_fetched_again_unless_it_is_damaged(tmp_path: Path) -> None:
    put(SMALL, LayoutTarget(tmp_path, "tag"))
    source = MemorySource(CHILD)
    with LayoutTarget(tmp_path, "child") as target:
        copy_image(source, target)
    assert CHILD.layers[0].digest not in source.opened
    assert CHILD.layers[-1].digest in source.opened
    damaged = tmp_path / "blobs/sha256" / CHILD.layers[0].digest.removeprefix("sha256:")
    damaged.write_bytes(bytes(damaged.stat().st_size))
    with LayoutTarget(tmp_path, "child") as target:
        copy_image(source, target)
    assert CHILD.layers[0].digest in source.opened
    with LayoutSource(tmp_path, "child") as written:
        assert contents(written) == expected(CHILD)


def test_what_refers_to_an_image_is_found(tmp_path: Path) -> None:
    sbom = samples.referrer(SMALL)
    source = MemorySource(SMALL)
    source.attach(SMALL.digest, sbom, "text/spdx")
    with LayoutTarget(tmp_path / "layout", "tag") as folder, LayoutArchiveTarget(tmp_path / "x.tar", "tag") as archive:
        copy_image(source, folder, referrers=True)
        copy_image(source, archive, referrers=True)
    for path in (tmp_path / "layout", tmp_path / "x.tar"):
        with LayoutSource(path) as written:
            root = written.resolve()
            assert root.digest == SMALL.digest
            assert [(item.digest, item.artifact_type) for item in written.referrers(root)] == [
                (sbom.digest, "text/spdx")
            ]
            assert written.referrers(Descriptor("", sbom.digest, 1)) == []


def test_referrers_by_their_tag_are_found(tmp_path: Path) -> None:
    sbom = samples.referrer(SMALL)
    listed = samples.index("oci", [sbom])
    write_layout(tmp_path, {"tag": SMALL, SMALL.digest.replace(":", "-"): listed})
    with LayoutSource(tmp_path) as source:
        root = source.resolve()
        assert root.digest == SMALL.digest
        assert [item.digest for item in source.referrers(root)] == [sbom.digest]


def test_a_signature_is_found_by_the_tag_of_cosign_and_is_no_image(tmp_path: Path) -> None:
    signature = samples.referrer(SMALL, b"a signature")
    tag = samples.cosign_tag(SMALL)
    write_layout(tmp_path, {"tag": SMALL, tag: signature})
    with LayoutSource(tmp_path) as source:
        assert [image.descriptor.digest for image in source.images()] == [SMALL.digest]
        assert source.resolve().digest == SMALL.digest
    with LayoutSource(tmp_path, tag) as source:
        assert source.resolve().digest == signature.digest


def test_the_same_image_gives_the_same_archive_whatever_the_order(tmp_path: Path) -> None:
    item = samples.several()
    made = set()
    for number in range(6):
        source = MemorySource(item)
        delays = {digest: random.Random(f"{number} {digest}").random() / 100 for digest in source.blobs}
        source.before = lambda digest, delays=delays: time.sleep(delays[digest])  # type: ignore[misc]
        with LayoutArchiveTarget(tmp_path / "x.tar", "tag") as target:
            copy_image(source, target, all_platforms=True, jobs=1 + number)
        made.add((tmp_path / "x.tar").read_bytes())
    assert len(made) == 1
    assert os.listdir(tmp_path) == ["x.tar"]


def test_a_blob_that_failed_first_leaves_no_trace(tmp_path: Path) -> None:
    put(CHILD, LayoutArchiveTarget(tmp_path / "good.tar", "tag"))
    bad, good = MemorySource(CHILD), MemorySource(CHILD)
    first, second = (Descriptor("", layer.digest, len(layer.data)) for layer in CHILD.layers)
    bad.blobs[first.digest] = bytes(first.size)
    with LayoutArchiveTarget(tmp_path / "again.tar", "tag") as target:
        with pytest.raises(InvalidDataError):
            target.put_blob(first, bad)
        assert not target.has(first)
        target.put_blob(second, good)
        with pytest.raises(InvalidDataError):
            target.put_blob(first, bad)
        copy_image(good, target)
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "good.tar").read_bytes()


def test_an_archive_is_written_into_a_pipe(tmp_path: Path) -> None:
    put(CHILD, LayoutArchiveTarget(tmp_path / "x.tar", "tag"))
    reader, writer = os.pipe()
    with ThreadPoolExecutor(1) as pool, os.fdopen(reader, "rb") as stream:
        received = pool.submit(stream.read)
        put(CHILD, LayoutArchiveTarget(f"/dev/fd/{writer}", "tag"))
        os.close(writer)
        assert received.result() == (tmp_path / "x.tar").read_bytes()


def test_an_archive_is_not_written_over_what_is_read(tmp_path: Path) -> None:
    path = write_layout_archive(tmp_path / "x.tar", {"tag": SMALL})
    with pytest.raises(InvalidParameterError, match="also what is read"):
        LayoutArchiveTarget(path, "tag", sources=[path])


def damaged(folder: Path, change: dict[str, Any]) -> None:
    record = read_index(folder)
    record["manifests"][0] |= change
    write_index(folder, record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"digest": "sha256:../../../../etc/passwd"}, "is not a digest"),
        ({"digest": "md5:" + "0" * 32}, "is not a digest"),
        ({"digest": "sha512:" + "0" * 128}, "only sha256"),
        ({"size": -1}, "size -1"),
        ({"size": 1 << 70}, "is not possible"),
        ({"size": 5}, "where 5 were expected"),
        ({"digest": "sha256:" + "0" * 64}, "does not have the manifest"),
        ({"annotations": {"a": 1}}, "annotations"),
    ],
)
def test_a_damaged_entry_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_layout(tmp_path, {"tag": SMALL})
    damaged(tmp_path, change)
    with pytest.raises((InvalidDataError, PathNotFoundError), match=message), LayoutSource(tmp_path) as source:
        source.manifest(source.resolve())


@pytest.mark.parametrize("text", ['{"imageLayoutVersion":"2.0.0"}', "{}", "[]", "x", '{"imageLayoutVersion":1}'])
def test_a_layout_of_another_version_is_refused(text: str, tmp_path: Path) -> None:
    write_layout(tmp_path, {"tag": SMALL})
    (tmp_path / "oci-layout").write_text(text)
    with pytest.raises(InvalidDataError, match="oci-layout"):
        LayoutSource(tmp_path)
    with LayoutTarget(tmp_path, "tag") as target, pytest.raises(NotALayerError, match="oci-layout") as caught:
        copy_image(MemorySource(SMALL), target)
    assert caught.value.path == str(tmp_path)


def test_what_is_no_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotALayerError, match="not an OCI image layout"):
        LayoutSource(tmp_path)
    with pytest.raises(PathNotFoundError):
        LayoutSource(tmp_path / "missing")
    (tmp_path / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
    with pytest.raises(InvalidDataError, match=r"index\.json"):
        LayoutSource(tmp_path)


def test_an_index_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    write_layout(tmp_path, {"tag": SMALL})
    before = limits_in_use()
    use_limits(Limits(manifest_size=200))
    try:
        with pytest.raises(LimitExceededError, match="--max-manifest-size"):
            LayoutSource(tmp_path)
    finally:
        use_limits(before)


def test_a_manifest_with_other_bytes_is_refused(tmp_path: Path) -> None:
    write_layout(tmp_path, {"tag": SMALL})
    (tmp_path / "blobs/sha256" / SMALL.digest.removeprefix("sha256:")).write_bytes(SMALL.manifest.replace(b"1", b"2"))
    with LayoutSource(tmp_path) as source, pytest.raises(InvalidDataError, match="have the digest"):
        source.manifest(source.resolve())


def test_no_link_in_a_layout_is_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    layout = write_layout(tmp_path / "layout", {"tag": SMALL})
    digest, data = next(iter(SMALL.blobs.items()))
    blob = layout / "blobs/sha256" / digest.removeprefix("sha256:")
    blob.unlink()
    blob.symlink_to(secret)
    with LayoutSource(layout) as source, pytest.raises(InvalidDataError, match="is a link"):
        source.open_blob(Descriptor("", digest, len(data)))
    with LayoutTarget(layout, "x") as target, pytest.raises(NotALayerError, match="is a link"):
        target.has(Descriptor("", digest, 6))
    shutil.rmtree(layout / "blobs")
    outside = tmp_path / "outside/sha256"
    outside.mkdir(parents=True)
    (layout / "blobs").symlink_to(outside.parent)
    with LayoutTarget(layout, "x") as target, pytest.raises(NotALayerError, match="not a directory but a link"):
        copy_image(MemorySource(SMALL), target)
    assert list(outside.iterdir()) == []
    assert secret.read_bytes() == b"secret"
    (layout / "index.json").unlink()
    (layout / "index.json").symlink_to(secret)
    with pytest.raises(InvalidDataError, match=r"'index\.json' in the layout is a link"):
        LayoutSource(layout)


_PUT = """
import sys
from tests.images import samples
from tests.images.reading import put
from wclayer.images.layout import LayoutTarget
images = [samples.small(os_version=f"10.0.20348.{number}") for number in range(int(sys.argv[2]), int(sys.argv[3]))]
print("ready", flush=True)
for image in images:
    put(image, LayoutTarget(sys.argv[1], image.record["os.version"]))
"""


def start(folder: Path, first: int, last: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _PUT, str(folder), str(first), str(last)]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root)
    assert process.stdout is not None
    assert process.stdout.readline().rstrip() == b"ready"
    process.stdout.close()
    return process


def test_several_processes_add_images_to_one_layout(tmp_path: Path) -> None:
    processes = [start(tmp_path / "layout", 20 * number, 20 * number + 20) for number in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    with LayoutSource(tmp_path / "layout") as source:
        assert {name for image in source.images() for name in image.names} == {f"10.0.20348.{n}" for n in range(60)}
    assert sorted(os.listdir(tmp_path / "layout")) == ["blobs", "index.json", "oci-layout"]


def test_a_killed_write_leaves_a_layout(tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    chance = random.Random(5)
    for run in range(4):
        process = start(folder, 1000 * run, 1000 * run + 1000)
        time.sleep(chance.random() / 5)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if not (folder / "oci-layout").exists():
            continue
        with LayoutSource(folder) as source:
            images = source.images()
        for image in images[-5:]:
            with LayoutSource(folder, image.names[0]) as source:
                assert len(contents(source)) == 3
    put(SMALL, LayoutTarget(folder, "last"))
    assert sorted(os.listdir(folder)) == ["blobs", "index.json", "oci-layout"]
    assert all(len(name) == 64 for name in os.listdir(folder / "blobs/sha256"))
