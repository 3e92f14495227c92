"""Times inventories of facts: of a base of many files with the hives of a machine, and of images that share hives.

    python -m benchmarks.facts [--folder FOLDER] [--files N] [--images N]

The base's SYSTEM is that of a real machine; its SOFTWARE has 3,000 packages of Windows and 60,000 classes. Three layers
change it. Each image has one more layer with packages of Python, Node.js and Java. The time of the CPU is measured. The
first image reads the hives.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

from tests.formats.pe.craft import Pe
from tests.images import samples
from tests.inventory.jars import jar, pom
from tests.inventory.subjects import Keys, hive, tree
from tests.inventory.trees import METADATA
from tests.packages import system_hive
from tests.support import layer_tar, put_directories, put_file
from wclayer.cli.output import size_text
from wclayer.formats.regf.delta import delta_of
from wclayer.formats.regf.writer import write_hive
from wclayer.images.config import parse_config
from wclayer.images.descriptor import OCI_LAYER, Descriptor
from wclayer.images.manifest import Manifest, parse_manifest
from wclayer.inventory.facts.archive import unpack_facts
from wclayer.inventory.facts.reading import make_facts
from wclayer.inventory.facts.subject import inventory_of_facts
from wclayer.layers.hives import CONFIG
from wclayer.model import LayerWriter

_HIVE_LAYERS = 3
_IN_DIRECTORY = 10
_CBS = r"Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages"
_TASK = b"<Task><Actions><Exec><Command>a.exe</Command></Exec></Actions></Task>"


def software(state: int) -> Keys:
    """The keys of the hive SOFTWARE after so many changes."""
    token, installed = "31bf3856ad364e35~amd64~", {"CurrentState": 0x70}
    keys: dict[str, Mapping[str, str | int]] = {
        r"Microsoft\Windows NT\CurrentVersion": {
            "ProductName": "Windows Server 2022", "CurrentBuildNumber": "20348", "UBR": state,
        },
    }  # fmt: skip
    keys |= {rf"{_CBS}\Microsoft-Windows-Part{each}~{token}~10.0.20348.1": installed for each in range(2700)}
    keys |= {rf"{_CBS}\Package_{each}_for_KB5030216~{token}~1.{each}": installed for each in range(300)}
    keys |= {rf"Classes\CLSID\{each:08x}": {"": f"Class {each}"} for each in range(60_000)}
    return keys


def base(files: int) -> bytes:
    """The base layer: six of ten files are libraries, two have resources, two texts."""
    library, suffixes = Pe().encode(), ("dll",) * 6 + ("mui",) * 2 + ("txt",) * 2

    def build(writer: LayerWriter) -> None:
        tasks, users = "Files/Windows/System32/Tasks", ("Default", "ContainerAdministrator")
        put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32", CONFIG, tasks, "Files/Users")
        put_file(writer, f"{CONFIG}/SOFTWARE", hive(software(0)))
        put_file(writer, f"{CONFIG}/SYSTEM", system_hive())
        for user in users:
            put_directories(writer, f"Files/Users/{user}")
            put_file(
                writer, f"Files/Users/{user}/NTUSER.DAT", hive({rf"Software\{key}": {"a": key} for key in range(3000)})
            )
        for number in range(120):
            put_file(writer, f"{tasks}/Task{number}", _TASK)
        put_directories(writer, "Files/Windows/WinSxS")
        for number in range(files):
            folder = f"Files/Windows/WinSxS/component{number // _IN_DIRECTORY}"
            if not number % _IN_DIRECTORY:
                put_directories(writer, folder)
            put_file(writer, f"{folder}/{number}.{suffixes[number % 10]}", library + number.to_bytes(4, "little"))

    return layer_tar(build)


def hive_layer(state: int) -> bytes:
    """A layer that changes the hive SOFTWARE."""
    delta = delta_of(tree(software(state - 1)), tree(software(state)))
    assert delta is not None

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Hives")
        put_file(writer, "Hives/Software_Delta", write_hive(delta, has_layered_keys=True))

    return layer_tar(build)


def package_layer(number: int, packages: int) -> bytes:
    """A layer with packages: of three, one is of Python, one of Node.js, one of Java."""
    files: dict[str, bytes] = {f"app{number}/readme.txt": str(number).encode()}
    for index in range(0, packages, 3):
        site, name = f"Python/Lib/site-packages/p{index}-1.dist-info", f"n{number}-{index}"
        files |= {
            f"{site}/METADATA": METADATA, f"{site}/INSTALLER": b"pip\n",
            f"app{number}/node_modules/{name}/package.json": json.dumps({"name": name, "version": "1"}).encode(),
            f"app{number}/lib/{name}-1.0.jar": jar(pom("group", name, "1.0")),
        }  # fmt: skip
    return samples.small_tar({f"Files/{path}": data for path, data in files.items()}, step=number)


class Facts:
    """Unpacked facts of layers in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.folders: dict[str, Path] = {}

    def make(self, tar: bytes, what: str = "") -> samples.Layer:
        """Makes the facts of a layer, and prints what that took if it is told what the layer is."""
        layer = samples.Layer(tar, tar, OCI_LAYER)
        descriptor = Descriptor.of(tar, OCI_LAYER)
        packed = self._folder / descriptor.digest[7:19]
        start = time.process_time()
        make_facts(lambda: io.BytesIO(tar), descriptor, packed)
        if what:
            print(
                f"facts of {what}, a tar of {size_text(len(tar))}: {time.process_time() - start:.1f} s of the CPU,"
                f" {size_text(packed.stat().st_size)}"
            )
        self.folders[descriptor.digest] = packed.with_suffix(".unpacked")
        unpack_facts(packed, self.folders[descriptor.digest])
        return layer

    def take(self, layers: list[samples.Layer]) -> tuple[float, int]:
        """Takes the inventory of an image; returns milliseconds of the CPU and the number of items."""
        image = samples.image("oci", layers, [samples.step(f"step {number}") for number in range(len(layers))], {})
        manifest = parse_manifest(image.manifest, image.media_type)
        assert isinstance(manifest, Manifest)
        folders = [self.folders[layer.digest] for layer in reversed(layers)]
        start = time.process_time()
        inventory = inventory_of_facts(folders, "image", manifest, parse_config(image.config))
        return 1000 * (time.process_time() - start), len(inventory.items)


def main() -> None:
    """Parses the arguments and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("benchmark-facts"))
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=20)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    facts = Facts(options.folder)
    shared = [facts.make(base(options.files), f"a base of {options.files:,} files")]
    shared += [facts.make(hive_layer(state)) for state in range(1, _HIVE_LAYERS + 1)]
    for packages in (0, 150, 1500):
        images = [[*shared, facts.make(package_layer(packages + number, packages))] for number in range(options.images)]
        first, *others = [facts.take(layers) for layers in images]
        print(
            f"images with {packages} packages in a layer of their own: the first {first[0]:.0f} ms, the others"
            f" {statistics.median(each for each, _ in others):.0f} ms of the CPU, {first[1]} items"
        )


if __name__ == "__main__":
    main()
