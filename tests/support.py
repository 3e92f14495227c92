"""What tests share: vectors, witnesses, and small ways to build and compare layers."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib
import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, BinaryIO

import pytest

import wclayer
from tests.source import modules
from wclayer.cli.main import main
from wclayer.engines import selection
from wclayer.formats.tar.structs import TRAILER, header_checksum
from wclayer.formats.tar.writer import TarHeader, encode_header, encode_pax_block
from wclayer.layers.backup_api import BackupLayerReader
from wclayer.layers.directory.chain_file import CHAIN_FILE, read_chain
from wclayer.layers.tar import TarLayerReader, TarLayerWriter
from wclayer.layers.volume.raw import RawDisk
from wclayer.layers.volume.writer import VolumeLayerWriter
from wclayer.model import DataStream, Entry, LayerReader, LayerWriter, Limits, use_limits
from wclayer.win32.attributes import FileBasicInfo

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

DATA = Path(__file__).parent / "data"
VECTORS = ("base.tar.gz", "child.tar", "child-no-junction.tar")
TRAILER_BYTES = TRAILER
TIME = 133_500_000_000_000_000


def copy_layer(layer: Path, place: Path, **options: Any) -> Path:
    """A copy of a layer with the same parents, by their absolute paths, as older layers have them.

    `options` are those of `shutil.copytree`.
    """
    shutil.copytree(layer, place, symlinks=True, **options)
    parents = read_chain(layer) if (layer / CHAIN_FILE).is_file() else []
    if parents:
        # The file may be a hard link to the one of the original.
        (place / CHAIN_FILE).unlink()
        (place / CHAIN_FILE).write_text(json.dumps([str(parent) for parent in parents]))
    return place


def load_the_package() -> None:
    """Imports every module of wclayer that this host can have: a process that becomes another user may not be able to
    read the folders that wclayer and Python lie in."""
    for module in modules():
        if not module.startswith(_NOT_HERE):
            importlib.import_module(module)
    for encoding in ("utf_8_sig", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be", "idna"):
        importlib.import_module(f"encodings.{encoding}")


_NOT_HERE = ("wclayer.__main__", "wclayer.engines.hcs", "wclayer.host.winapi", "wclayer.host.windows")
"""Modules that only Windows has, and the one that runs the command."""


def witness(program: str) -> str:
    """The path of a program that we did not write; without it the test is skipped, and CI fails."""
    # Programs for disks are where the PATH of an ordinary user does not lead.
    found = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"needs {program}")
    return found


def vector_bytes(name: str) -> bytes:
    """A vector's tar, uncompressed."""
    data = (DATA / name).read_bytes()
    return gzip.decompress(data) if name.endswith(".gz") else data


def info(attributes: int = 0x20, time: int = TIME) -> FileBasicInfo:
    """Basic info with four different times."""
    return FileBasicInfo(attributes, time, time + 1, time + 2, time + 3)


def directory(name: str, **more: object) -> Entry:
    return Entry(name, info(0x10), **more)  # type: ignore[arg-type]


def put_file(writer: LayerWriter, name: str, data: bytes = b"", attributes: int = 0x20, **streams: bytes) -> None:
    """Puts a file with that content, and alternate streams."""
    writer.put(
        Entry(name, info(attributes), len(data)),
        [DataStream("", len(data), (data,)), *(DataStream(n, len(d), (d,)) for n, d in streams.items())],
    )


def put_files(writer: LayerWriter, *names: str) -> None:
    for name in names:
        put_file(writer, name)


def put_directories(writer: LayerWriter, *names: str) -> None:
    for name in names:
        writer.put(directory(name))


def layer_tar(build: Callable[[LayerWriter], None]) -> bytes:
    """The tar that a function puts together."""
    raw = io.BytesIO()
    with TarLayerWriter(raw) as writer:
        build(writer)
    return raw.getvalue()


def member(name: bytes, data: bytes = b"", *, kind: bytes = b"0", link: bytes = b"", **pax: bytes) -> bytes:
    """One tar member with those PAX records (`_` stands for `.` in their keys)."""
    records = {key.replace("_", ".").encode(): value for key, value in pax.items()}
    header = TarHeader(name, kind[0], 0o644, len(data), 1_600_000_000, link, records)
    return encode_header(header) + data + bytes(-len(data) % 512)


def global_header(**pax: bytes) -> bytes:
    """A header of global PAX records (`_` stands for `.` in their keys)."""
    block = encode_pax_block(b"x", {key.replace("_", ".").encode(): value for key, value in pax.items()})
    own = block[:156] + b"g" + block[157:512]
    return own[:148] + b"%06o\0 " % header_checksum(own) + own[156:] + block[512:]


def archive(*members: bytes) -> bytes:
    return b"".join(members) + TRAILER


def read_tar(data: bytes, *, is_base: bool = False, limits: Limits | None = None) -> list[tuple[Entry, bytes]]:
    """Every entry of a tar with its backup stream."""
    with TarLayerReader(io.BytesIO(data), "test.tar", is_base=is_base, limits=limits) as reader:
        backup = BackupLayerReader(reader)
        found = [(item.entry, backup.read()) for item in backup]
        reader.finish()
    return found


def contents(reader: LayerReader) -> list[tuple[object, ...]]:
    """A layer as plain values: what must be equal when two layers are."""
    found: list[tuple[object, ...]] = []
    with reader:
        for item in reader:
            entry = item.entry
            if entry.info is None:
                found.append((entry.name, None))
                continue
            streams = [(stream.name, hashlib.sha256(stream.read_all()).hexdigest()) for stream in item.streams()]
            if entry.link_target is not None:
                streams = []
            found.append(
                (
                    entry.name, entry.info.pack(), entry.link_target, entry.security, entry.eas, entry.reparse,
                    entry.extra, streams,
                )
            )  # fmt: skip
    return found


def tree_listing(path: Path) -> list[tuple[str, str]]:
    """Every path below a folder with the SHA-256 of files."""
    found = []
    for folder, directories, files in os.walk(path):
        found += [(Path(folder, name).relative_to(path).as_posix(), "directory") for name in directories]
        for name in files:
            place = Path(folder, name)
            found.append((place.relative_to(path).as_posix(), hashlib.sha256(place.read_bytes()).hexdigest()))
    return sorted(found)


def write_volume(
    path: Path, build: Callable[[LayerWriter], object], size: int = 64 << 20, *, whole: bool = True, cluster: int = 4096
) -> Path:
    """Makes an NTFS volume of the layer that a function puts together, in a file of that size."""
    with path.open("w+b") as file:
        file.truncate(size)
        disk = RawDisk(file)
        with VolumeLayerWriter(
            disk, str(path), whole=whole, cluster_size=cluster, label="Test", serial=7, time=TIME
        ) as writer:
            build(writer)
    return path


def verify_volume(path: Path) -> None:
    """Every checker of NTFS volumes that there is on Linux finds the volume sound."""
    fixed = subprocess.run([witness("ntfsfix"), "-n", str(path)], capture_output=True, text=True, check=True)
    assert "was processed successfully" in fixed.stdout
    resize = [witness("ntfsresize"), "--info", "-f", "-P", str(path)]
    checked = subprocess.run(resize, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "Checking filesystem consistency" in checked.stdout
    clusters = subprocess.run([witness("ntfscluster"), "-i", str(path)], capture_output=True, text=True, check=True)
    assert "bytes per volume" in clusters.stdout
    seen = subprocess.run([witness("fsntfsinfo"), str(path)], capture_output=True, text=True, check=True)
    assert "Version" in seen.stdout
    information = subprocess.run([witness("ntfsinfo"), "-m", str(path)], capture_output=True, text=True, check=True)
    assert "Volume State: Clean" in information.stdout or "Volume Flags: 0x0000" in information.stdout
    assert not information.stderr.replace("\n", "").strip()


def volume_of(disk: Path, folder: Path) -> Path:
    """The data partition of a disk file, alone, for a witness to look at."""
    # Without one, it is not worth the copy: where files have no holes, it has 20 GiB.
    witness("ntfsfix")
    raw = folder / "raw"
    wclayer.convert_disk(disk, raw, to="raw")
    part = wclayer.disk_info(raw).partitions[-1]
    with raw.open("rb") as source, (folder / "volume").open("wb") as target:
        copy_data(source, target, part.offset)
        target.truncate(part.size)
    return folder / "volume"


def verify_large_volume(volume: Path) -> None:
    """The checkers of NTFS volumes that are quick also where a volume is large find it sound."""
    subprocess.run([witness("ntfsfix"), "-n", str(volume)], check=True, capture_output=True)
    checked = subprocess.run(
        [witness("ntfsresize"), "--info", "-f", "-P", str(volume)], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout


def boot_record(*entries: tuple[int, int, int], flag: int = 0) -> bytes:
    """A boot record with entries of a type, a first sector and a number of sectors."""
    table = b"".join(struct.pack("<B3sB3sII", flag, b"", kind, b"", first, count) for kind, first, count in entries)
    return bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa"


def chunks_of(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """The data in portions of those sizes, the rest at the end."""
    at = 0
    for size in sizes:
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size
    yield data[at:]


def copy_data(source: BinaryIO, target: BinaryIO, start: int = 0) -> None:
    """Copies a file from `start` on, its holes as holes: 20 GiB of them take no time."""
    end = os.fstat(source.fileno()).st_size
    position = start
    while position < end:
        try:
            position = os.lseek(source.fileno(), position, os.SEEK_DATA) if hasattr(os, "SEEK_DATA") else position
        except OSError:
            # Nothing but a hole is left.
            return
        hole = os.lseek(source.fileno(), position, os.SEEK_HOLE) if hasattr(os, "SEEK_HOLE") else end
        source.seek(position)
        target.seek(position - start)
        while position < hole and (piece := source.read(min(hole - position, 1 << 20))):
            position += target.write(piece)


@contextlib.contextmanager
def nothing_left_in(folder: Path) -> Iterator[None]:
    """Checks that a folder holds afterwards what it held before."""
    before = sorted(os.listdir(folder))
    yield
    assert sorted(os.listdir(folder)) == before


def run_process(
    *arguments: str | Path,
    status: int = 0,
    stdin: bytes | None = None,
    locale: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[bytes]:
    """Runs the command as a process of its own, as a user does; `locale` are variables of its environment."""
    done = subprocess.run(
        [sys.executable, "-m", "wclayer", *map(str, arguments)],
        capture_output=True, check=False, input=stdin, env={**os.environ, "PYTHONUTF8": "1", **locale},
    )  # fmt: skip
    assert done.returncode == status, done.stderr.decode(errors="replace")
    assert b"Traceback" not in done.stderr
    return done


def run(
    *arguments: str | Path, status: int | None = 0, stdin: bytes | None = None, stdout: IO[bytes] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Runs the command in this process, which is as good as in its own where that is not what a test is about, and
    ten times as fast; what is printed, by child processes as well, is returned, or goes to `stdout`. It must exit with
    `status`, if that is not None."""
    with contextlib.ExitStack() as stack:
        files: list[IO[bytes]] = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        files[0].write(stdin or b"")
        files[0].seek(0)
        streams = [files[0], stdout or files[1], files[2]]
        handler, engine = signal.getsignal(signal.SIGINT), selection._chosen
        with _standard_streams(streams), pytest.raises(SystemExit) as ended:
            try:
                main([str(argument) for argument in arguments])
            finally:
                signal.signal(signal.SIGINT, handler)
                selection._chosen = engine
                use_limits(Limits())
        printed = []
        for file in files[1:]:
            file.seek(0)
            printed.append(file.read())
    done = subprocess.CompletedProcess(list(map(str, arguments)), int(ended.value.code or 0), *printed)
    assert status in (None, done.returncode), done.stderr.decode()
    return done


@contextlib.contextmanager
def _standard_streams(files: Sequence[IO[bytes]]) -> Iterator[None]:
    """Has these files as the standard streams: the descriptors, which child processes get, and Python's objects."""
    known = [os.dup(number) for number in range(3)]
    streams = sys.stdin, sys.stdout, sys.stderr
    for stream in streams[1:]:
        stream.flush()
    try:
        for number, file in enumerate(files):
            os.dup2(file.fileno(), number)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (closed below)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        try:
            yield
        finally:
            for stream in (sys.stdin, sys.stdout, sys.stderr):
                stream.close()
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        for number, descriptor in enumerate(known):
            os.dup2(descriptor, number)
            os.close(descriptor)


def text(*arguments: str | Path, status: int = 0) -> str:
    """What the command prints."""
    return run(*arguments, status=status).stdout.decode().replace(os.linesep, "\n")


def parsed(*arguments: str | Path, status: int = 0) -> object:
    """What the command prints for programs."""
    return json.loads(text(*arguments, "--json", status=status))
