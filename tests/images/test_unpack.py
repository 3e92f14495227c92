"""`unpack_image` and `store_image`: layers arrive and become layer directories, each verified before it is named."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

import wclayer
from tests.images import samples
from tests.images.memory import MemorySource
from tests.images.samples import Image, Layer
from tests.images.stores import fill
from wclayer.errors import (
    InvalidDataError,
    InvalidParameterError,
    LayerError,
    NotSupportedError,
    OperationCancelledError,
    PathNotFoundError,
)
from wclayer.images.changed import edit_image
from wclayer.images.descriptor import Descriptor
from wclayer.images.edit import ConfigChanges
from wclayer.images.inspection import inspect_image
from wclayer.images.opening import open_image
from wclayer.images.platform import Platform, parse_platform
from wclayer.images.pull import store_image
from wclayer.images.store import ImageStore
from wclayer.images.transfer_progress import TransferProgress, TransferStep
from wclayer.images.unpack import unpack_image

NAME = "localhost:5000/app:1"


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


def _layers(store: ImageStore) -> list[str]:
    folder = store.path / "layers"
    return sorted(f"sha256:{name}" for name in os.listdir(folder)) if folder.exists() else []


def _tar_of(layer: Path) -> bytes:
    out = io.BytesIO()
    wclayer.export_layer_to_tar(out, layer)
    return out.getvalue()


@pytest.mark.parametrize("make", [
    samples.servercore, samples.nanoserver, samples.classic, samples.buildkit, samples.zstd_compressed,
    samples.repeated_layer, samples.with_foreign_layer,
])  # fmt: skip
def test_an_image_arrives_and_is_unpacked(store: ImageStore, make: Callable[[], Image]) -> None:
    image = make()
    result = store_image(MemorySource(image), store, NAME)
    (unpacked,) = result.images
    assert [f"sha256:{path.name}" for path in unpacked.layers] == image.chain_ids
    assert (store.find(NAME).digest, result.copied.descriptor.digest) == (image.digest, image.digest)
    for path, layer in zip(unpacked.layers, image.layers, strict=True):
        assert _tar_of(path) == layer.tar
    assert list(store.check()) == []
    assert unpacked.unpacked == len(set(image.chain_ids))


def test_what_is_there_is_not_done_again(store: ImageStore) -> None:
    image = samples.small_child()
    store_image(MemorySource(samples.small()), store, "base")
    source = MemorySource(image)
    result = store_image(source, store, NAME)
    assert image.layers[0].digest not in source.opened
    assert result.images[0].unpacked == 1
    again = MemorySource(image)
    assert store_image(again, store, "other").images[0].unpacked == 0
    assert set(again.opened) <= {samples.sha256(image.config)}


def test_unpacked_later(store: ImageStore) -> None:
    image = samples.small_child()
    result = store_image(MemorySource(image), store, NAME, unpack=False)
    assert result.images == ()
    assert _layers(store) == []
    assert len(unpack_image(store, store.find(NAME)).layers) == 2
    assert _layers(store) == sorted(image.chain_ids)


def test_all_platforms_are_unpacked(store: ImageStore) -> None:
    index = samples.several()
    result = store_image(MemorySource(index), store, NAME, all_platforms=True)
    assert len(result.images) == 3
    assert unpack_image(store, store.find(NAME), platform=Platform("windows", "arm64")).unpacked == 0
    with pytest.raises(InvalidParameterError, match="several"):
        unpack_image(store, store.find(NAME))


# What is unpacked while it arrives.


def test_the_layer_is_unpacked_while_it_arrives(store: ImageStore) -> None:
    """The source waits in the middle of the base layer until its first entries are unpacked."""
    image = samples.servercore()
    source = _Waiting(image)
    seen = threading.Event()

    def watch(progress: TransferProgress) -> None:
        if progress.step is TransferStep.UNPACK and progress.done:
            seen.set()

    source.wait = lambda: seen.wait(20)
    store_image(source, store, NAME, progress=watch)
    assert source.waited == [True]


class _Waiting(MemorySource):
    """A source that waits in the middle of the first layer."""

    def __init__(self, image: Image) -> None:
        super().__init__(image)
        self.wait: Callable[[], bool] = lambda: True
        self.waited: list[bool] = []
        self._first = image.layers[0].digest

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        stream = super().open_blob(descriptor, offset)
        return _HalfStream(stream, descriptor.size // 2, self) if descriptor.digest == self._first else stream


class _HalfStream(io.BytesIO):
    def __init__(self, stream: BinaryIO, half: int, source: _Waiting) -> None:
        super().__init__(stream.read())
        self._half = half
        self._source = source

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() < self._half:
            return super().read(self._half - self.tell())
        if not self._source.waited:
            self._source.waited.append(self._source.wait())
        return super().read(size)


# What is refused.


def _with_layer(image: Image, number: int, layer: Layer) -> Image:
    """The image whose manifest names another blob; the configuration stays."""
    layers = [*image.layers]
    layers[number] = layer
    record = json.loads(image.manifest)
    record["layers"][number] = layer.descriptor
    return Image(image.kind, samples.dump(record), image.config, tuple(layers))


@pytest.mark.parametrize("number", [0, 1])
def test_a_layer_with_another_diff_id(store: ImageStore, number: int) -> None:
    image = samples.small_child()
    other = samples.layer(samples.small_tar({"Files/evil.txt": b""}))
    wrong = _with_layer(image, number, other)
    expected = rf"layer {number + 1} of 2.*{other.digest}.*diffID {other.diff_id}.*{image.layers[number].diff_id}"
    with pytest.raises(InvalidDataError, match=expected):
        store_image(MemorySource(wrong), store, NAME)
    assert _layers(store) == image.chain_ids[:number]
    with pytest.raises(PathNotFoundError):
        store.find(NAME)


def test_a_layer_with_another_digest(store: ImageStore) -> None:
    image = samples.small_child()
    source = MemorySource(image)
    data = bytearray(image.layers[1].data)
    # A byte of the gzip header that no decompressor looks at: the diffID stays.
    data[4] ^= 1
    assert gzip.decompress(bytes(data)) == image.layers[1].tar
    source.blobs[image.layers[1].digest] = bytes(data)
    with pytest.raises(InvalidDataError, match=rf"layer 2 of 2.*{image.layers[1].digest}"):
        store_image(source, store, NAME)
    assert image.chain_ids[1] not in _layers(store)
    assert list(store.check()) == []


@pytest.mark.parametrize("change", [
    lambda data: data[:-9], lambda data: data + b"x", lambda data: b"", lambda data: bytes(len(data)),
])  # fmt: skip
def test_a_layer_that_is_damaged(store: ImageStore, change: Callable[[bytes], bytes]) -> None:
    image = samples.small()
    source = MemorySource(image)
    source.blobs[image.layers[0].digest] = change(image.layers[0].data)
    with pytest.raises(InvalidDataError, match=r"store image: .*layer 1 of 1"):
        store_image(source, store, NAME)
    assert _layers(store) == []


def test_a_layer_that_is_none(store: ImageStore) -> None:
    text = b"this is no tar" * 100
    layer = samples.plain_layer(text)
    image = samples.image("oci", [layer], [], {})
    with pytest.raises(InvalidDataError, match="layer 1 of 1"):
        store_image(MemorySource(image), store, NAME)
    assert _layers(store) == []


def test_a_tombstone_in_a_base_layer_has_its_words(store: ImageStore) -> None:
    layer = samples.layer(samples.small_tar({"Files/.wh.a": b""}))
    with pytest.raises(InvalidDataError, match=r"layer 1 of 1 \(sha256:.*tombstone in a base layer"):
        store_image(MemorySource(samples.image("oci", [layer], [], {})), store, NAME)


def test_an_image_of_linux_is_copied_and_not_unpacked(store: ImageStore) -> None:
    image = samples.image(
        "oci", [samples.layer(samples.small_tar({"Files/a": b""}))], [], {}, os="linux", os_version=""
    )
    with pytest.raises(NotSupportedError, match=r"memory: the image is for linux.*--no-unpack"):
        store_image(MemorySource(image), store, NAME)
    assert not (store.path / "blobs").exists() or not any((store.path / "blobs/sha256").iterdir())
    store_image(MemorySource(image), store, NAME, unpack=False)
    with pytest.raises(NotSupportedError, match="linux"):
        unpack_image(store, store.find(NAME), name=NAME)
    assert _layers(store) == []


def test_an_artifact_is_copied_and_not_unpacked(store: ImageStore) -> None:
    artifact = samples.referrer(samples.small())
    with pytest.raises(NotSupportedError, match="artifact"):
        store_image(MemorySource(artifact), store, NAME)
    store_image(MemorySource(artifact), store, NAME, unpack=False)
    with pytest.raises(NotSupportedError, match="artifact"):
        unpack_image(store, store.find(NAME))


def test_foreign_layers_that_are_left_out(store: ImageStore) -> None:
    image = samples.with_foreign_layer()
    with pytest.raises(InvalidParameterError, match="--no-unpack"):
        store_image(MemorySource(image), store, NAME, foreign="keep")
    store_image(MemorySource(image), store, NAME, foreign="keep", unpack=False)
    with pytest.raises(PathNotFoundError, match=f"layer 1 of 2.*{image.layers[0].digest}"):
        unpack_image(store, store.find(NAME))


def test_an_error_of_the_unpacking_stops_the_download(store: ImageStore) -> None:
    image = samples.servercore()
    source = MemorySource(_with_layer(image, 0, samples.plain_layer(b"no tar" * 400_000)))
    with pytest.raises(LayerError, match="layer 1 of 2"):
        store_image(source, store, NAME)


def test_a_caller_can_stop_it(store: ImageStore) -> None:
    def stop(progress: TransferProgress) -> None:
        if progress.step is TransferStep.UNPACK:
            raise OperationCancelledError("x", "enough")

    with pytest.raises(OperationCancelledError, match="enough"):
        store_image(MemorySource(samples.small_child()), store, NAME, progress=stop)
    assert _layers(store) == []


def test_a_begun_download_that_is_damaged_is_no_harm(store: ImageStore) -> None:
    image = samples.small_child()
    layer = image.layers[0]
    with store.ingest(Descriptor(layer.media_type, layer.digest, len(layer.data))) as ingest:
        ingest.write(b"damaged")
    store_image(MemorySource(image), store, NAME)
    assert _layers(store) == sorted(image.chain_ids)


def test_a_begun_download_is_continued(store: ImageStore) -> None:
    image = samples.small_child()
    layer = image.layers[0]
    with store.ingest(Descriptor(layer.media_type, layer.digest, len(layer.data))) as ingest:
        ingest.write(layer.data[:100])
    seen: list[TransferProgress] = []
    store_image(MemorySource(image), store, NAME, progress=seen.append)
    assert _layers(store) == sorted(image.chain_ids)


# Several at once.


def test_threads_unpack_a_layer_once(store: ImageStore) -> None:
    image = samples.servercore()
    store_image(MemorySource(image), store, NAME, unpack=False)
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(unpack_image(store, store.find(NAME)).unpacked)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 2
    assert list(store.check()) == []


_PULL = """
import sys
from tests.images import samples
from tests.images.memory import MemorySource
from wclayer.images.pull import store_image
from wclayer.images.store import ImageStore
result = store_image(MemorySource(samples.servercore()), ImageStore(sys.argv[1]), sys.argv[2])
print(result.copied.blobs, result.images[0].unpacked)
"""


def test_processes_do_nothing_twice(store: ImageStore) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", _PULL, store.path, f"app:{number}"], stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    done = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(int(unpacked) for _, unpacked in done) == 2
    assert list(store.check()) == []


@pytest.mark.parametrize("platform", ["linux/amd64", "windows/arm64", "windows/amd64:10.0.17763"])
def test_an_image_without_an_index_is_not_taken_for_another_platform(tmp_path: Path, platform: str) -> None:
    store = ImageStore(tmp_path / "store")
    fill(store, "app", samples.small())
    wanted = parse_platform(platform)
    told = f"app: no image for {re.escape(str(wanted))}; it has: windows/amd64:10.0.20348.5499"
    with pytest.raises(PathNotFoundError, match=told):
        open_image("app", store, platform=wanted)
    with store.source("app") as source:
        with pytest.raises(PathNotFoundError, match=told):
            inspect_image(source, wanted)
        with pytest.raises(PathNotFoundError, match=told):
            edit_image(source, ConfigChanges(user="a"), platform=wanted)
    assert os.listdir(store.path / "layers") == []
    with open_image("app", store, platform=parse_platform("windows/amd64:10.0.20348")) as image:
        assert len(image.layers) == 1
