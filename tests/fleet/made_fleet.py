"""A fleet as a scan would write it, made without any scan: images over shared layers, packages, updates, errors.

`python -m tests.fleet.made_fleet FOLDER` writes one.

Everything follows from the numbers of images, so a test can count without SQL what SQL should find:

- image N has the base N modulo the number of bases, and a runtime N modulo the number of runtimes;
- of twelve images, one has a damaged layer, and one of forty is an error; one of fifty is of Linux;
- every seventh image has a second reference, `…:latest`.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from wclayer.fleet.model import ImageStatus
from wclayer.fleet.tables.dataset import BucketRows, Dataset
from wclayer.fleet.tables.schema import (
    FileKind,
    FileRow,
    FindingRow,
    ImageRow,
    LayerRow,
    PackageRow,
    RegistryRow,
    UpdateRow,
    unknown,
)
from wclayer.images.descriptor import digest_of
from wclayer.win32.filetime import TICKS_PER_SECOND, UNIX_EPOCH

SOURCE = "registry.example"
_LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_FIRST_DAY = datetime(2025, 1, 14, 8, tzinfo=UTC)
_MONTH = timedelta(days=28)


class Base(NamedTuple):
    """A base image: a release of Windows with the update of one month."""

    build: int
    revision: int
    product: str
    kb: str
    month: int

    @property
    def version(self) -> str:
        return f"10.0.{self.build}.{self.revision}"

    @property
    def layers(self) -> tuple[str, str]:
        """The digests of its layers, base layer first: the release, and the month's update."""
        return _layer("release", self.build), _layer("update", self.build, self.month)


class Runtime(NamedTuple):
    """What a layer over the base brings."""

    name: str
    package: tuple[str, str, str, str]
    path: str

    @property
    def layer(self) -> str:
        return _layer("runtime", self.name)


BASES = tuple(
    Base(build, first + 37 * month, product, f"KB50{number}0{month:02}", month)
    for number, (build, first, product) in enumerate(
        [
            (17763, 6700, "Windows Server 2019 Datacenter"),
            (20348, 3000, "Windows Server 2022 Datacenter"),
            (26100, 2600, "Windows Server 2025 Datacenter"),
        ],
        start=1,
    )
    for month in range(6)
)
RUNTIMES = (
    Runtime("dotnet8", ("dotnet", "Microsoft.NETCore.App", "8.0.14", ""), "Files/Program Files/dotnet/dotnet.exe"),
    Runtime(
        "java-old",
        ("java-package", "org.apache.logging.log4j:log4j-core", "2.14.1",
         "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"),
        "Files/app/lib/log4j-core-2.14.1.jar",
    ),
    Runtime(
        "java-new",
        ("java-package", "org.apache.logging.log4j:log4j-core", "2.24.3",
         "pkg:maven/org.apache.logging.log4j/log4j-core@2.24.3"),
        "Files/app/lib/log4j-core-2.24.3.jar",
    ),
    Runtime("node", ("node-package", "express", "4.21.2", "pkg:npm/express@4.21.2"),
            "Files/app/node_modules/express/package.json"),
    Runtime("python", ("python-package", "requests", "2.32.3", "pkg:pypi/requests@2.32.3"),
            "Files/Python312/Lib/site-packages/requests/__init__.py"),
)  # fmt: skip


@dataclass
class MadeFleet:
    """The rows of a fleet, as they were made."""

    rows: BucketRows = field(default_factory=BucketRows)
    layers: dict[str, LayerRow] = field(default_factory=dict)
    files: dict[str, list[FileRow]] = field(default_factory=dict)


def made_fleet(images: int = 60) -> MadeFleet:
    """Returns the rows of a fleet with some images, of which some have two references."""
    fleet = MadeFleet()
    for number in range(images):
        add_image(fleet.rows, number)
        for row in layer_rows(number):
            fleet.layers[row.layer] = row
            if row.error is None:
                fleet.files.setdefault(row.layer, list(file_rows(row.layer, number)))
    return fleet


def write_fleet(url: str, fleet: MadeFleet) -> Dataset:
    """Writes a fleet as a scan does, and returns its place."""
    dataset = Dataset(url)
    with dataset.locked():
        dataset.create(len(fleet.rows.images))
        for layer, files in fleet.files.items():
            row = fleet.layers[layer]
            dataset.write_files(layer, files, {"digest": layer, "diff_id": row.diff_id, "entries": row.entries})
        for bucket, rows in by_bucket(dataset, fleet.rows).items():
            dataset.replace_bucket(bucket, rows)
        dataset.write_layers(fleet.layers.values())
    return dataset


def by_bucket(dataset: Dataset, rows: BucketRows) -> dict[int, BucketRows]:
    """Returns rows by their buckets."""
    found: defaultdict[int, BucketRows] = defaultdict(BucketRows)
    for image in rows.images:
        found[dataset.bucket_of(image.image or image.reference)].images.append(image)
    for name in ("packages", "updates", "registry", "findings"):
        for row in getattr(rows, name):
            getattr(found[dataset.bucket_of(row.image)], name).append(row)
    return dict(found)


def base_of(number: int) -> Base:
    return BASES[number % len(BASES)]


def runtime_of(number: int) -> Runtime:
    return RUNTIMES[number % len(RUNTIMES)]


def is_error(number: int) -> bool:
    return number % 40 == 39


def is_linux(number: int) -> bool:
    return number % 50 == 49


def is_damaged(number: int) -> bool:
    return number % 12 == 11 and not is_error(number) and not is_linux(number)


def image_digest(number: int) -> str:
    return digest_of(f"image {number}".encode())


def own_layer(number: int) -> str:
    return _layer("own", number)


def layers_of(number: int) -> tuple[str, ...]:
    """Returns the digests of an image's layers, base layer first."""
    if is_linux(number):
        return (_layer("linux", number),)
    return (*base_of(number).layers, runtime_of(number).layer, own_layer(number))


def add_image(rows: BucketRows, number: int) -> None:
    """Adds the rows of an image."""
    repository, tag = f"{SOURCE}/team{number % 8}/app{number // 3}", f"1.{number % 3}"
    scanned = datetime(2026, 1, 1, tzinfo=UTC)
    nothing = unknown(ImageRow) | {
        "reference": f"{repository}:{tag}", "source": SOURCE, "repository": repository, "tag": tag,
        "layers": (), "diff_ids": (), "layer_count": 0, "scanned": scanned,
    }  # fmt: skip
    if is_error(number):
        error = f"read image: {repository}:{tag}: HTTP 404: manifest unknown"
        rows.images.append(_image(nothing, status=ImageStatus.ERROR, error=error))
        return
    base, layers, image = base_of(number), layers_of(number), image_digest(number)
    known = nothing | {
        "image": image, "layers": layers, "diff_ids": tuple(map(_diff_id, layers)), "layer_count": len(layers),
        "architecture": "amd64", "created": _FIRST_DAY + base.month * _MONTH + timedelta(hours=number % 600),
        "size": sum(map(_stored_size, layers)), "labels": json.dumps({"team": f"team{number % 8}"}),
    }  # fmt: skip
    if is_linux(number):
        rows.images.append(
            _image(known, os_name="linux", status=ImageStatus.OTHER_PLATFORM, error="is an image of linux")
        )
        return
    row = _image(
        known, os_name="windows", os_version=base.version, product_name=base.product, build=base.build,
        revision=base.revision, base_name="mcr.microsoft.com/windows/servercore", base_os_version=base.version,
        base_layers=2, own_size=sum(map(_stored_size, layers[2:])), user="ContainerUser",
        entrypoint=json.dumps(["C:\\app\\run.exe"]), status=ImageStatus.OK,
    )  # fmt: skip
    if is_damaged(number):
        row = row._replace(
            status=ImageStatus.INCOMPLETE, error=f"the layer {layers[-1]} is damaged", error_layer=layers[-1]
        )
    rows.images.append(row)
    if number % 7 == 0:
        rows.images.append(row._replace(reference=f"{repository}:latest", tag="latest"))
    rows.packages += _packages(number, image)
    rows.updates += _updates(base, image)
    rows.registry += _registry(base, image)
    if number % 9 == 0:
        rows.findings.append(
            FindingRow(image, "mismatch", "config: os.version",
                       f"says 10.0.{base.build}.1, but the registry of the image says {base.version}")
        )  # fmt: skip


def layer_rows(number: int) -> Iterator[LayerRow]:
    """Yields the rows of an image's layers."""
    if is_error(number):
        return
    for position, layer in enumerate(layers_of(number)):
        is_own = layer == own_layer(number)
        row = LayerRow(
            layer, _diff_id(layer), _LAYER_TYPE, _stored_size(layer), 3 * _stored_size(layer), None, None, None,
            is_base=not is_linux(number) and position < 2, created_by=f"cmd /S /C step {position}", facts_version=1,
            error=None,
        )  # fmt: skip
        if is_linux(number):
            yield row._replace(error="is a layer of linux: not read")
        elif is_own and is_damaged(number):
            yield row._replace(error=f"{layer}: its contents have another digest", facts_version=None)
        else:
            files = list(file_rows(layer, number))
            yield row._replace(
                entries=len(files), files=sum(file.kind == FileKind.FILE for file in files),
                bytes=sum(file.size or 0 for file in files),
            )  # fmt: skip


def file_rows(layer: str, number: int) -> Iterator[FileRow]:
    """Yields the entries of one of an image's layers: of the own layer, some hide those of the runtime."""
    base, runtime = base_of(number), runtime_of(number)
    if layer in base.layers:
        version = f"10.0.{base.build}.{base.revision if layer == base.layers[1] else 1}"
        yield _file(layer, "Files/Windows", kind=FileKind.DIRECTORY)
        yield _file(layer, "Files/Windows/System32", kind=FileKind.DIRECTORY)
        for name in ("kernel32.dll", "ntdll.dll", "notepad.exe"):
            yield _file(
                layer, f"Files/Windows/System32/{name}", size=700_000, pe_version=version, pe_machine="amd64",
                pe_company="Microsoft Corporation", pe_product="Microsoft® Windows® Operating System", pe_signed=True,
            )  # fmt: skip
    elif layer == runtime.layer:
        yield _file(layer, runtime.path, size=50_000)
        yield _file(layer, "Files/app/readme.txt", size=10)
    else:
        yield _file(layer, "Files/app", kind=FileKind.DIRECTORY)
        if number % 5 == 1:
            yield _file(layer, "Files/APP/Readme.txt", kind=FileKind.TOMBSTONE)
        yield _file(layer, "Files/app/run.exe", size=1000 + number, pe_version="1.0.0.0", pe_signed=False)
        if number % 4 == 0:
            yield _file(layer, "Files/app/Überblick.txt", size=5)._replace(key="FILES/APP/ÜBERBLICK.TXT")
            yield _file(layer, "Files/app/second.exe", kind=FileKind.HARD_LINK, size=1000 + number)._replace(
                link_target="Files/app/run.exe"
            )


def _packages(number: int, image: str) -> Iterator[PackageRow]:
    runtime = runtime_of(number)
    kind, name, version, purl = runtime.package
    place = "C:\\" + runtime.path.removeprefix("Files/").replace("/", "\\")
    yield PackageRow(image, kind, name, version, None, purl or None, place, runtime.layer, False, "{}")
    yield PackageRow(
        image, "program", f"App {number // 3}", f"1.{number % 3}.0", "Example Ltd", None,
        f"HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Uninstall\\App{number // 3}",
        None if is_damaged(number) else own_layer(number), False, "{}",
    )  # fmt: skip


def _updates(base: Base, image: str) -> Iterator[UpdateRow]:
    """The update of the month, and that of the month before, which it superseded."""
    for other in BASES:
        if other.build == base.build and base.month - 1 <= other.month <= base.month:
            is_newest = other == base
            identity = f"Package_for_RollupFix~31bf3856ad364e35~amd64~~{other.build}.{other.revision}.1.1"
            yield UpdateRow(
                image, other.kb, identity, f"{other.build}.{other.revision}.1.1",
                "installed" if is_newest else "superseded",
                rf"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages\{identity}",
                base.layers[1], True, json.dumps({"is_superseded": not is_newest}),
            )  # fmt: skip


def _registry(base: Base, image: str) -> Iterator[RegistryRow]:
    yield RegistryRow(
        image, "operating-system", base.product, base.version, "Microsoft Corporation",
        r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion", base.layers[1], True, "{}",
    )  # fmt: skip
    for name in ("Dnscache", "EventLog", "LanmanServer"):
        yield RegistryRow(
            image, "service", name, None, None, rf"HKLM\SYSTEM\CurrentControlSet\Services\{name}", base.layers[0], True,
            json.dumps({"start": "auto"}),
        )  # fmt: skip


def _image(known: dict[str, Any], **more: Any) -> ImageRow:
    return ImageRow(**{**known, **more})


def _file(layer: str, path: str, *, kind: FileKind = FileKind.FILE, size: int | None = None, **more: Any) -> FileRow:
    row = FileRow(**unknown(FileRow) | {"layer": layer, "path": path, "kind": kind} | more)
    if kind is FileKind.TOMBSTONE:
        return row
    time = UNIX_EPOCH + 1_700_000_000 * TICKS_PER_SECOND
    row = row._replace(
        attributes=0x10 if kind is FileKind.DIRECTORY else 0x20, security="O:BAG:SYD:(A;;FA;;;SY)", created=time,
        accessed=time, written=time, changed=time, streams=0,
    )  # fmt: skip
    if kind is FileKind.DIRECTORY:
        return row
    return row._replace(size=size, sha256=digest_of(f"{layer} {path}".encode()).removeprefix("sha256:"))


@cache
def _layer(*words: object) -> str:
    return digest_of(f"layer {words}".encode())


@cache
def _diff_id(layer: str) -> str:
    return digest_of(f"diff {layer}".encode())


def _stored_size(layer: str) -> int:
    return 1_000_000 + int(layer[-5:], 16)


def main() -> None:
    parser = argparse.ArgumentParser(prog="made_fleet", description="Writes a fleet that no scan has made.")
    parser.add_argument("folder")
    parser.add_argument("--images", type=int, default=60)
    options = parser.parse_args()
    write_fleet(options.folder, made_fleet(options.images))


if __name__ == "__main__":
    main()
