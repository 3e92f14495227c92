"""Makes the layers that the benchmarks measure: a large one out of Windows wheels, and one of very many small files.

The wheels come from PyPI through pip. Everything is deterministic, so two runs measure the same bytes.
"""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from wclayer.formats.compression import Compression
from wclayer.layers.names import NameChecker
from wclayer.layers.tar import TarLayerWriter
from wclayer.model import DataStream, Entry, Limits
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.inherit import inherit, volume_root

WHEELS = (
    "numpy==2.1.0",
    "scipy==1.14.1",
    "pandas==2.2.3",
    "pyarrow==18.0.0",
    "matplotlib==3.9.2",
    "scikit-learn==1.5.2",
)
WHEEL_LAYER_BYTES = 300_000_000
WHEEL_LAYER_ENTRIES = 5_000
LIMITS = Limits(entries=10_000_000)
"""Five million entries are the default, and directories count."""
_TIME = 133_000_000_000_000_000
_DIRECTORY_SECURITY = inherit(volume_root(), is_directory=True).encode()
_FILE_SECURITY = inherit(volume_root(), is_directory=False).encode()


def directory(name: str, number: int) -> Entry:
    """A directory entry whose times depend on `number`."""
    return Entry(name, _info(0x10, number), security=_DIRECTORY_SECURITY)


def file(name: str, number: int, size: int) -> Entry:
    """A file entry whose times depend on `number`."""
    return Entry(name, _info(0x20, number), size, security=_FILE_SECURITY)


def _info(attributes: int, number: int) -> FileBasicInfo:
    time = _TIME + number * 12_345_677
    return FileBasicInfo(attributes, time, time + 1_111_111, time + 2_222_222, time + 3_333_333)


def write(path: Path, entries: Iterator[tuple[Entry, bytes]], compression: Compression = Compression.GZIP) -> None:
    """A layer tar at `path`, unless it is there already."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    names = NameChecker(str(path), is_base=False, limits=LIMITS)
    with partial.open("wb") as raw, TarLayerWriter(raw, path, compression=compression, names=names) as writer:
        for entry, data in entries:
            writer.put(entry, [DataStream("", len(data), (data,))] if entry.has_data else ())
    partial.rename(path)


def small_files(count: int) -> Iterator[tuple[Entry, bytes]]:
    """`count` files of about 1 KiB in directories of a hundred."""
    source = random.Random(1).randbytes(1 << 16)
    yield directory("Files", 0), b""
    for number in range(count):
        if number % 100 == 0:
            yield directory(f"Files/directory{number // 100:05d}", number), b""
        start = number * 37 % (len(source) - 2048)
        data = source[start : start + 512 + number % 1024]
        yield file(f"Files/directory{number // 100:05d}/some_file_{number:07d}.dll", number, len(data)), data


def empty_files(count: int) -> Iterator[tuple[Entry, bytes]]:
    """`count` empty files in directories of a thousand, for what depends on the number of entries alone."""
    yield directory("Files", 0), b""
    for number in range(count):
        if number % 1000 == 0:
            yield directory(f"Files/directory{number // 1000:05d}", number), b""
        yield file(f"Files/directory{number // 1000:05d}/file_{number:07d}", number, 0), b""


def wheel_files(cache: Path) -> Iterator[tuple[Entry, bytes]]:
    """The contents of Windows wheels: 300 MB in 5,000 entries."""
    wheels = cache / "wheels"
    if not wheels.exists():
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "-d",
            str(wheels.with_suffix(".partial")),
        ]
        command += ["--platform", "win_amd64", "--python-version", "3.11", "--only-binary=:all:", *WHEELS]
        subprocess.run(command, check=True)
        wheels.with_suffix(".partial").rename(wheels)
    members = []
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            members += [(info.file_size, wheel, info.filename) for info in archive.infolist() if not info.is_dir()]
    # By a hash of the name: a fair mix of large and small, the same in every run.
    members.sort(key=lambda member: hashlib.sha256(member[2].encode()).digest())
    total = 0
    seen = {"Files"}
    count = 1
    yield directory("Files", 0), b""
    archives = {wheel: zipfile.ZipFile(wheel) for wheel in sorted({wheel for _, wheel, _ in members})}
    for size, wheel, filename in members:
        if total + size > WHEEL_LAYER_BYTES or count >= WHEEL_LAYER_ENTRIES:
            continue
        path = f"Files/{wheel.name.split('-')[0]}/{filename}"
        parts = path.split("/")
        for depth in range(2, len(parts)):
            parent = "/".join(parts[:depth])
            if parent not in seen:
                seen.add(parent)
                count += 1
                yield directory(parent, count), b""
        count += 1
        total += size
        yield file(path, count, size), archives[wheel].read(filename)
