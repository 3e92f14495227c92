"""Times `wclayer inventory` on a large image: 100,000 files, 20,000 of them PE files, beside walks of the same tree.

The tree is what a scanner sees that knows nothing of layers: the files of the layer, unpacked. The walks look into
every PE file, with pefile or LIEF, and hash it, as scanners do to name what they found; the
last one reads and hashes every file. wclayer takes hashes from the layer, which has them since its import.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.formats.pe.real import WHEELS, real_files
from wclayer import sample
from wclayer.host.durability import unsynced
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.win32.attributes import FileBasicInfo

FILES = 100_000
PE_FILES = 20_000
_LARGEST_PE = 256 << 10
"""Larger ones are left out: the image takes about 2 GB."""
_DIRECTORIES = 1_000
_TIME = 133_000_000_000_000_000
_TOP = "Files/Program Files/Vendor"
_PIECE = 1 << 20


class Run(NamedTuple):
    """What a process took: seconds of the clock and of the CPU, and the MiB of its peak memory."""

    wall: float
    cpu: float
    memory: float


def make_image(layer: Path) -> None:
    """Makes a base layer with the files; each has contents of its own."""
    chance = random.Random(18)
    programs = [data for wheel in WHEELS for _, data in real_files(wheel) if len(data) <= _LARGEST_PE]
    with unsynced(), DirectoryLayerWriter(layer) as writer:
        sample.write_base(writer)
        _put_directory(writer, _TOP)
        for index in range(_DIRECTORIES):
            folder = f"{_TOP}/Product {index:04}"
            _put_directory(writer, folder)
            for number in range(FILES // _DIRECTORIES):
                # The programs come first in each directory.
                if number < PE_FILES // _DIRECTORIES:
                    data = programs[chance.randrange(len(programs))] + chance.randbytes(16)
                    _put_file(writer, f"{folder}/component{number:03}.dll", data)
                else:
                    _put_file(writer, f"{folder}/{number:03}.{chance.choice(_OTHERS)}", _text(chance))


_OTHERS = ("txt", "xml", "js", "py", "html", "json", "dat", "png")


def _text(chance: random.Random) -> bytes:
    """Contents that compress as text does, of 100 bytes to 16 KiB, most of them small."""
    return chance.randbytes(8).hex().encode() + b"lorem ipsum dolor sit amet " * int(2 ** chance.uniform(2, 9.2))


def _put_directory(writer: LayerWriter, name: str) -> None:
    writer.put(Entry(name, FileBasicInfo(0x10, _TIME, _TIME, _TIME, _TIME)))


def _put_file(writer: LayerWriter, name: str, data: bytes) -> None:
    info = FileBasicInfo(0x20, _TIME, _TIME, _TIME, _TIME)
    writer.put(Entry(name, info, len(data)), [DataStream("", len(data), (data,))])


# The walks, each in a process of its own.


def _walk(top: Path) -> Iterator[str]:
    for folder, _, files in os.walk(top):
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                yield path


def _hash(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_pe(path: str) -> bool:
    with open(path, "rb") as file:
        head = file.read(4096)
    place = int.from_bytes(head[60:64], "little")
    return head.startswith(b"MZ") and head[place : place + 4] == b"PE\0\0"


def walk_with(read: Callable[[Path], object]) -> Callable[[Path], int]:
    """Returns a walk that reads and hashes each PE file, and returns how many there are."""

    def walk(top: Path) -> int:
        found = {}
        for path in _walk(top):
            if _is_pe(path):
                found[path] = read(Path(path)), _hash(path)
        return len(found)

    return walk


def hash_all(top: Path) -> int:
    """Hashes all files; returns how many there are."""
    return len({path: _hash(path) for path in _walk(top)})


def run(command: list[str], output: Path) -> Run:
    """Runs a process whose output goes to a file."""
    start = time.perf_counter()
    with output.open("wb") as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return Run(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def compare(layer: Path, walks: Sequence[str], runs: int) -> None:
    """Prints a table of the medians of some runs, one after the other.

    Args:
        walks: the names of the walks for `--walk`.
    """
    ours = [sys.executable, "-m", "wclayer", "inventory"]
    commands = {
        "wclayer inventory": [*ours, "--json", str(layer)],
        "the same without files": [*ours, "--no-files", "--json", str(layer)],
        **{walk: [sys.executable, "-m", "benchmarks.inventory", "--walk", walk, "--folder", str(layer / "Files")]
           for walk in walks},
    }  # fmt: skip
    print(f"{'':<26} {'seconds':>9} {'CPU':>9} {'CPU/ours':>9} {'memory':>9}")
    own = 0.0
    for name, command in commands.items():
        measured = sorted((run(command, layer.parent / "output") for _ in range(runs)), key=lambda each: each.cpu)
        middle = measured[len(measured) // 2]
        own = own or middle.cpu
        print(
            f"{name:<26} {middle.wall:9.1f} {middle.cpu:9.1f} {middle.cpu / own:9.2f} {middle.memory:5.0f} MiB",
            flush=True,
        )
