"""Times a pull of 2 GB: download and unpacking alone, together, and beside skopeo with `wclayer import` and umoci.

The registry is Debian's docker-registry on loopback. The image has two layers of files that are mostly zeros; with
`--random 0.5` they compress as little as real layers. A Linux image of the same files is for umoci, which unpacks no
other. Each row has the peak memory of the largest process. `--runs N` gives medians.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

from benchmarks import layers
from benchmarks.measuring import WCLAYER, measure
from tests.images.registry.debian import DebianRegistry
from wclayer.formats.compression import Compression
from wclayer.formats.hashed_output import HashedOutput
from wclayer.images.copying import copy_between
from wclayer.images.descriptor import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from wclayer.model import Entry

_SKOPEO = ["skopeo", "--insecure-policy", "--override-os", "windows"]
_LAYERS = (0.7, 0.3)
"""The parts of the image that its layers are."""
_POOL = 32 << 20
_PAUSE = 6
"""Seconds before each row: ext4 avoids, slowly, what was removed in the last five seconds."""
_PLATFORM = {"architecture": "amd64", "os": "windows", "os.version": "10.0.20348.5499"}

Row = Callable[[], list[list[str]]]
"""Prepares a row, and returns its commands."""


@dataclass(frozen=True)
class _Layer:
    file: Path
    diff_id: str
    digest: str


def _files(size: int, number: int, share: float) -> Iterator[tuple[Entry, bytes]]:
    """Files of 4 KiB to 4 MiB. A share of each are bytes that do not compress, and the others are zeros."""
    chance = random.Random(number)
    pool = chance.randbytes(_POOL)
    yield layers.directory("Files", 0), b""
    folder = ""
    count = done = 0
    while done < size:
        if count % 100 == 0:
            folder = f"Files/layer{number}-{count // 100:04d}"
            yield layers.directory(folder, count), b""
        length = min(4096 << chance.randrange(11), max(4096, size - done))
        part = int(length * share)
        start = chance.randrange(_POOL - part)
        data = pool[start : start + part] + bytes(length - part)
        yield layers.file(f"{folder}/file{count:05d}.dll", count, len(data)), data
        count += 1
        done += len(data)


def plain_tar(file: Path, entries: Iterator[tuple[Entry, bytes]]) -> _Layer:
    """A layer of Linux: the same files without the metadata of Windows."""
    with file.open("wb") as raw, HashedOutput(raw, Compression.GZIP, 1) as output:
        for entry, data in entries:
            member = tarfile.TarInfo(entry.name)
            member.size, member.mode = len(data), 0o644
            if not entry.has_data:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            out = BytesIO()
            with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
                archive.addfile(member, BytesIO(data))
            output.write(out.getvalue()[: 512 + (len(data) + 511) // 512 * 512])
        output.write(bytes(1024))
        output.finish()
        return _Layer(file, output.diff_id, output.digest)


def windows_tar(file: Path, entries: Iterator[tuple[Entry, bytes]]) -> _Layer:
    layers.write(file, entries)
    digest = hashlib.sha256()
    with file.open("rb") as raw:
        while piece := raw.read(1 << 20):
            digest.update(piece)
    uncompressed = subprocess.run(f"gzip -dc '{file}' | sha256sum", shell=True, check=True, capture_output=True)
    return _Layer(file, f"sha256:{uncompressed.stdout.split()[0].decode()}", f"sha256:{digest.hexdigest()}")


def write_image(folder: Path, made: list[_Layer], *, is_windows: bool) -> None:
    """An OCI layout of an image."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for layer in made:
        layer.file.rename(blobs / layer.digest.removeprefix("sha256:"))

    def put(data: bytes) -> dict[str, object]:
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"digest": f"sha256:{name}", "size": len(data)}

    platform = _PLATFORM if is_windows else {"architecture": "amd64", "os": "linux"}
    rootfs = {"type": "layers", "diff_ids": [layer.diff_id for layer in made]}
    # buildah builds on no image whose history lacks a layer.
    history = [{"created_by": "benchmarks"} for _ in made]
    config = json.dumps({**platform, "config": {}, "rootfs": rootfs, "history": history}).encode()
    layer_type, config_type, manifest_type = (
        (f"{DOCKER_LAYER}.gzip", DOCKER_CONFIG, DOCKER_MANIFEST)
        if is_windows
        else (f"{OCI_LAYER}+gzip", OCI_CONFIG, OCI_MANIFEST)
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": {"mediaType": config_type, **put(config)},
        "layers": [
            {
                "mediaType": layer_type,
                "digest": layer.digest,
                "size": (blobs / layer.digest.removeprefix("sha256:")).stat().st_size,
            }
            for layer in made
        ],
    }
    root = {"mediaType": manifest_type, **put(json.dumps(manifest).encode())}
    root["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [root]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def make_images(folder: Path, size: int, share: float) -> tuple[Path, Path]:
    """The layouts of the image for Windows and of that for Linux, made once."""
    found = folder / f"images-{size}-{share:.2f}"
    if not (found / "done").exists():
        shutil.rmtree(found, ignore_errors=True)
        (found / "parts").mkdir(parents=True)
        for kind, make in (("windows", windows_tar), ("linux", plain_tar)):
            parts = [
                make(found / "parts" / f"{kind}{number}.tar.gz", _files(int(size * part), number, share))
                for number, part in enumerate(_LAYERS)
            ]
            write_image(found / kind, parts, is_windows=kind == "windows")
        (found / "done").touch()
    return found / "windows", found / "linux"


class Rows:
    """The rows of the table.

    Args:
        work: a folder for what is made.
        windows: the layout of the image for Windows.
        host: the registry, which has both images.
    """

    def __init__(self, work: Path, windows: Path, host: str) -> None:
        self._work = work
        self._made: list[Path] = []
        self._image, self._linux = f"{host}/windows:1", f"{host}/linux:1"
        manifest = json.loads(next(iter(_manifests(windows))).read_text())
        names = [layer["digest"].removeprefix("sha256:") for layer in manifest["layers"]]
        self._blobs = [windows / "blobs" / "sha256" / name for name in names]

    def _fresh(self, name: str) -> Path:
        self._made.append(self._work / name)
        return self._made[-1]

    def clear(self) -> None:
        """Removes what the last row made, and waits until the disk has forgotten it."""
        for path in self._made:
            shutil.rmtree(path, ignore_errors=True)
        self._made.clear()
        os.sync()
        time.sleep(_PAUSE)

    def download(self) -> list[list[str]]:
        """The download alone."""
        return [[*WCLAYER, "pull", "-q", "--no-unpack", "--store", str(self._fresh("store")), self._image]]

    def unpack(self) -> list[list[str]]:
        """The import of both layers alone."""
        return self._imports(self._blobs)

    def _imports(self, blobs: list[Path]) -> list[list[str]]:
        folder = self._fresh("layers")
        folder.mkdir()
        commands: list[list[str]] = []
        for number, blob in enumerate(blobs):
            parent = ["-l", str(folder / str(number - 1))] if number else []
            commands.append([*WCLAYER, "import", "-i", str(blob), *parent, str(folder / str(number))])
        return commands

    def pull(self) -> list[list[str]]:
        """Both together."""
        return [[*WCLAYER, "pull", "-q", "--store", str(self._fresh("store")), self._image]]

    def skopeo_and_import(self) -> list[list[str]]:
        """skopeo, then `wclayer import` of its layers."""
        layout = self._fresh("skopeo")
        blobs = [layout / "blobs" / "sha256" / blob.name for blob in self._blobs]
        return [
            [*_SKOPEO, "copy", "-q", "--src-tls-verify=false", f"docker://{self._image}", f"oci:{layout}:1"],
            *self._imports(blobs),
        ]

    def skopeo_and_umoci(self) -> list[list[str]]:
        """skopeo, then umoci, of the Linux image."""
        layout, bundle = self._fresh("skopeo"), self._fresh("bundle")
        source = f"docker://{self._linux}"
        return [
            ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", source, f"oci:{layout}:1"],
            ["umoci", "unpack", "--rootless", "--image", f"{layout}:1", str(bundle)],
        ]


def _manifests(layout: Path) -> Iterator[Path]:
    for entry in json.loads((layout / "index.json").read_text())["manifests"]:
        yield layout / "blobs" / "sha256" / entry["digest"].removeprefix("sha256:")


def _timed(rows: Rows, row: Row) -> tuple[float, int]:
    """Seconds of all commands of a row, and the most memory of one in KiB."""
    rows.clear()
    measured = [measure(command) for command in row()]
    return sum(seconds for seconds, _ in measured), max(kib for _, kib in measured)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.images", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "wclayer-benchmarks")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--size", type=int, default=2_000_000_000, help="bytes of the image's files")
    parser.add_argument("--random", type=float, default=0.1, help="the share of them that does not compress")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    # In a process of its own: the peak memory of a command counts from the size of the process that starts it.
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as work,
        DebianRegistry(Path(work) / "registry") as registry,
        ProcessPoolExecutor(1, get_context("spawn")) as other,
    ):
        windows, linux = other.submit(make_images, options.folder, options.size, options.random).result()
        for name, layout in (("windows", windows), ("linux", linux)):
            other.submit(copy_between, f"oci:{layout}:1", f"{registry.host}/{name}:1").result()
        rows = Rows(Path(work), windows, registry.host)
        named: dict[str, Row] = {
            "download alone": rows.download,
            "import alone": rows.unpack,
            "pull: both together": rows.pull,
            "skopeo copy + wclayer import": rows.skopeo_and_import,
            "skopeo copy + umoci unpack (Linux)": rows.skopeo_and_umoci,
        }
        # In turn, so that what else the machine does meets all of them.
        runs = [{name: _timed(rows, row) for name, row in named.items()} for _ in range(options.runs)]
    print(f"{'':36} {'seconds':>8} {'of pull':>8} {'memory':>10}")
    pulls = [run["pull: both together"][0] for run in runs]
    for name in named:
        seconds = [run[name][0] for run in runs]
        ratio = statistics.median(one / pull for one, pull in zip(seconds, pulls, strict=True))
        memory = max(run[name][1] for run in runs)
        print(f"{name:<36} {statistics.median(seconds):8.2f} {ratio:8.2f} {memory / 1024:6.0f} MiB")
    longer = [max(run["download alone"][0], run["import alone"][0]) for run in runs]
    ratios = [pull / one for pull, one in zip(pulls, longer, strict=True)]
    print(
        f"pull / the longer of download and import: {statistics.median(ratios):.2f}"
        f" ({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
