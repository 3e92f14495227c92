"""Makes the registry that `benchmarks.fleet` scans: layers on the disk, and images that share them.

A layer has hives, packages of Python, Node.js and Java, PE files, and other files, of which half of the bytes compress.
An image has a base and three layers on it. No two images have the same layers: no result of one image serves another.
"""

from __future__ import annotations

import gzip
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from tests.fleet import windows_layers as windows
from tests.fleet.registry_fleet import FleetRegistry
from tests.images import samples
from tests.inventory.subjects import Keys

_PACKAGES, _PROGRAMS = 20, 50
"""Of a layer: packages of Python and of Node.js, and PE files."""
_BASE_KEYS, _KEYS = 5000, 200
"""Keys that a base layer and other layers add to SOFTWARE."""
_REPOSITORY = "fleet"
_FILES_OF_FOLDER = 100


@dataclass(frozen=True)
class Layer:
    """A layer on the disk: the tar, compressed."""

    file: Path
    digest: str
    diff_id: str
    size: int


def _keys(number: int, count: int) -> Keys:
    """Programs that a layer has registered, and keys of them."""
    keys: dict[str, dict[str, str | int]] = {}
    for at in range(count):
        path = rf"Vendor{number:03}\Product{at // 50:03}\Part{at % 50:02}"
        keys[path] = {"Path": rf"C:\Program Files\Vendor{number}\{at}", "Version": f"1.{at}.0", "Size": at}
    uninstall = r"Microsoft\Windows\CurrentVersion\Uninstall"
    keys[rf"{uninstall}\Product{number}"] = {"DisplayName": f"Product {number}", "DisplayVersion": f"1.{number}"}
    return keys


def _contents(number: int, entries: int, size: int, *, is_base: bool) -> windows.Contents:
    """What a layer holds: about `entries` entries of `size` bytes together."""
    chance = random.Random(number)
    if is_base:
        version = windows.VERSIONS[number % len(windows.VERSIONS)]
        found = windows.base(version, version.revisions[-1], more=_keys(number, _BASE_KEYS))
    else:
        found = windows.Contents({"Hives/Software_Delta": windows.delta(_keys(number, _KEYS))})
    top = f"Files/Program Files/Vendor{number:03}"
    for at in range(_PACKAGES):
        packages = (
            windows.python_package(f"package{at}", f"{number}.{at}"),
            windows.node_package(f"module{at}", f"{number}.{at}.0"),
        )
        for folder, files in zip(("site-packages", "node_modules"), packages, strict=True):
            found.files |= {f"{top}/{folder}/{name}": data for name, data in files.items()}
    found.files[f"{top}/lib/log4j-core-2.{number}.0.jar"] = windows.log4j(f"2.{number}.0")
    for at in range(_PROGRAMS):
        program = windows.program(f"part{at:02}.dll", (1, 0, number, at), "Vendor")
        found.files[f"{top}/bin/part{at:02}.dll"] = program + chance.randbytes(16)
    left = entries - len(found.files) - len(found.links)
    each = max(16, (size - sum(map(len, found.files.values()))) // max(1, left))
    for at in range(left):
        # A half of the bytes compresses.
        data = chance.randbytes(each // 2) + bytes(each - each // 2)
        found.files[f"{top}/data/{at // _FILES_OF_FOLDER:03}/{at:05}.dat"] = data
    return found


def _make_layer(folder: Path, number: int, entries: int, size: int, is_base: bool) -> Layer:
    """Makes a layer, unless it is there."""
    file = folder / f"layer{number:03}.tar.gz"
    if not file.exists():
        tar = _contents(number, entries, size, is_base=is_base).tar(number)
        partial = file.with_suffix(".partial")
        partial.write_bytes(gzip.compress(tar, 6, mtime=0))
        partial.rename(file)
    data = file.read_bytes()
    return Layer(file, samples.sha256(data), samples.sha256(gzip.decompress(data)), len(data))


def make_layers(folder: Path, count: int, entries: int, size: int) -> list[Layer]:
    """Makes the layers, of which every fifth is a base; those that a folder has are taken from there."""
    place = folder / f"fleet-{entries}-{size}"
    place.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(2, get_context("spawn")) as others:
        made = [others.submit(_make_layer, place, number, entries, size, _is_base(number)) for number in range(count)]
        return [each.result() for each in made]


def _is_base(number: int) -> bool:
    return number % 5 == 0


def choose_layers(layers: Sequence[Layer], count: int) -> Iterator[list[Layer]]:
    """Yields the layers of each image: all layers are used, and no two images have the same ones.

    Raises:
        SystemExit: there are too few layers for so many images.
    """
    bases = [layer for number, layer in enumerate(layers) if _is_base(number)]
    others = [layer for number, layer in enumerate(layers) if not _is_base(number)]
    most = len(bases) * math.comb(len(others), 3)
    if count > most:
        raise SystemExit(f"{len(layers)} layers make at most {most} different images, not {count}")
    chance = random.Random(count)
    seen: set[tuple[str, ...]] = set()
    next_ones = itertools.cycle(others)
    number = 0
    while len(seen) < count:
        first = next(next_ones)
        chosen = [bases[number % len(bases)], *sorted([first, *chance.sample(others, 2)], key=others.index)]
        names = tuple(layer.digest for layer in chosen)
        if len(set(names)) == len(names) and names not in seen:
            seen.add(names)
            number += 1
            yield chosen


def _put_image(registry: FleetRegistry, tag: str, layers: Sequence[Layer]) -> None:
    steps = ["Apply image 10.0.20348.2322", *(f"RUN install {layer.digest[7:19]}" for layer in layers[1:])]
    config = samples.dump(
        {
            "architecture": "amd64", "os": "windows", "os.version": "10.0.20348.2322",
            "created": "2024-02-13T12:00:00Z",
            "config": {"User": "ContainerUser", "Labels": {"tag": tag}},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [samples.step(step) for step in steps],
        }
    )  # fmt: skip
    described = [{"mediaType": samples.LAYER["oci"], "digest": layer.digest, "size": layer.size} for layer in layers]
    manifest = samples.dump(
        {
            "schemaVersion": 2, "mediaType": samples.MANIFEST["oci"], "layers": described,
            "config": {"mediaType": samples.CONFIG["oci"], "digest": samples.sha256(config), "size": len(config)},
        }
    )  # fmt: skip
    registry.storage.put_layer(_REPOSITORY, samples.sha256(config), config)
    for layer in layers:
        registry.storage.put_layer(_REPOSITORY, layer.digest, layer.file)
    registry.storage.put_manifest(_REPOSITORY, samples.sha256(manifest), manifest, tag)


def put_images(registry: FleetRegistry, images: int, layers: Sequence[Layer]) -> list[str]:
    """Puts images into a registry, and returns their references."""
    names = []
    for number, chosen in enumerate(choose_layers(layers, images)):
        tag = f"{len(layers)}-{images}-{number:03}"
        _put_image(registry, tag, chosen)
        names.append(f"{registry.host}/{_REPOSITORY}:{tag}")
    return names
