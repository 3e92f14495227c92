"""Makes the image that `benchmarks.explore` opens: four layers over one another, with 100,000 files.

The directories are as large as those of Windows: 12,000 in WinSxS, 6,000 files in System32. Deterministic.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks.layers import directory, file
from wclayer import sample
from wclayer.cli.sample_image import SampleLayer, sha256_of, write_sample_image
from wclayer.formats.compression import Compression
from wclayer.images.loading import load_images
from wclayer.images.opening import open_image
from wclayer.images.store import ImageStore
from wclayer.layers.tar import TarLayerWriter
from wclayer.model import DataStream, Entry, LayerWriter

NAME = "explored:latest"
FILES = 100_000
_WINSXS, _SYSTEM32, _DRIVERS, _PRODUCTS = 12_000, 6_000, 200, 300
_STEPS = (
    "Apply image 10.0.20348.1",
    "Install update 10.0.20348.5499",
    "powershell -Command Install-WindowsFeature Web-Server",
    "COPY app C:\\app # buildkit",
)


def make_image(folder: Path) -> Path:
    """Makes the store with the image in a folder, unless it is there, and returns the store's folder."""
    store = folder / "store"
    if (folder / "made").exists():
        return store
    folder.mkdir(parents=True, exist_ok=True)
    layers = []
    for number, step in enumerate(_STEPS):
        tar = folder / f"{number}.tar"
        with tar.open("wb") as raw, TarLayerWriter(raw, tar, compression=Compression.NONE) as writer:
            _write(writer, number)
        digest = sha256_of(tar)
        layers.append(SampleLayer(tar, digest, digest, step))
    archive = folder / "image.tar"
    write_sample_image(archive, NAME, layers)
    load_images(archive, ImageStore(store))
    with open_image(NAME, ImageStore(store)):
        pass
    for path in (archive, *(layer.tar for layer in layers)):
        path.unlink()
    (folder / "made").touch()
    return store


def _write(writer: LayerWriter, number: int) -> None:
    if number == 0:
        sample.write_base(writer)
        entries = _base()
    else:
        if number == 1:
            sample.write_child(writer)
        else:
            writer.put(directory("Files", number))
            writer.put(directory("Files/Windows", number))
        entries = _update(number)
    for entry, data in entries:
        writer.put(entry, [DataStream("", len(data), (data,))] if entry.has_data else ())


def _contents(number: int) -> bytes:
    return random.Random(number).randbytes(16 + number % 400)


def _base() -> Iterator[tuple[Entry, bytes]]:
    count = 0
    for number in range(_WINSXS):
        folder = f"Files/Windows/WinSxS/amd64_bench-{number:05}_31bf3856ad364e35_10.0.20348.1_none"
        yield directory(folder, number), b""
        for name in ("a.dll", "b.dll", "c.mui", "d.manifest"):
            count += 1
            data = _contents(count)
            yield file(f"{folder}/{name}", count, len(data)), data
    for number in range(_SYSTEM32):
        count += 1
        data = _contents(count)
        yield file(f"Files/Windows/System32/bench{number:05}.dll", count, len(data)), data
    for number in range(_DRIVERS):
        folder = f"Files/Windows/System32/DriverStore{number:03}"
        yield directory(folder, number), b""
        for index in range(50):
            count += 1
            data = _contents(count)
            yield file(f"{folder}/driver{index:02}.sys", count, len(data)), data
    for number in range(_PRODUCTS):
        folder = f"Files/Program Files/Product {number:03}"
        yield directory(folder, number), b""
        for index in range((FILES - count) // (_PRODUCTS - number)):
            count += 1
            data = _contents(count)
            yield file(f"{folder}/component{index:03}.dll", count, len(data)), data


def _update(number: int) -> Iterator[tuple[Entry, bytes]]:
    yield directory("Files/Windows/System32", number), b""
    for index in range(number * 100, number * 100 + 300):
        data = _contents(index + number)
        yield file(f"Files/Windows/System32/bench{index:05}.dll", index + 1, len(data)), data
    yield directory("Files/Program Files", number), b""
    yield directory(f"Files/Program Files/Added by {number}", number), b""
    for index in range(200):
        data = _contents(index + number)
        yield file(f"Files/Program Files/Added by {number}/file{index:03}.txt", index, len(data)), data
    for index in range(5):
        yield Entry(f"Files/Program Files/Product {number * 10 + index:03}", None), b""
