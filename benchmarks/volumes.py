"""Times making an NTFS volume of a layer beside wimlib and ntfs-3g, and beside copying the bytes.

    python -m benchmarks.volumes [--folder DIR] [--runs N] [--million]

Each row starts from the same content. Ours goes from the tar to a VHDX disk in one pass; wimlib applies a WIM of it to
a fresh volume of `mkntfs`; `cp -a` copies the files into one that ntfs-3g has mounted (as root, where there is FUSE);
the last is the limit: writing the bytes to a file. With --million, a million files.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import layers
from benchmarks.measuring import measure
from wclayer import TarLayerReader, VolumeLayerWriter, copy_layer
from wclayer.formats.vhdx.create import create_vhdx
from wclayer.layers.names import NameChecker
from wclayer.layers.volume.disk_file import PartitionWindow
from wclayer.layers.volume.raw import RawDisk

_SIZE = 8 << 30
_TIME = 133_500_000_000_000_000


def to_disk(tar: Path, disk: Path, size: int) -> None:
    """Makes a VHDX file with an NTFS volume of a layer tar."""
    with tar.open("rb") as stream, disk.open("w+b") as file, create_vhdx(file, size) as vhdx:
        names = NameChecker(str(tar), is_base=True)
        volume = PartitionWindow(vhdx, 16 << 20, size - (17 << 20))
        with (
            TarLayerReader(stream, tar, names=names) as reader,
            VolumeLayerWriter(volume, str(disk), whole=True, serial=1, time=_TIME, names=names) as writer,
        ):
            copy_layer(reader, writer)


def _ours(tar: Path, disk: Path, size: int = _SIZE) -> list[str]:
    disk.unlink(missing_ok=True)
    return [sys.executable, "-m", "benchmarks.volumes", "--work", str(tar), "--disk", str(disk), "--size", str(size)]


def _wimlib(wim: Path, volume: Path) -> list[str]:
    volume.unlink(missing_ok=True)
    with volume.open("wb") as file:
        file.truncate(_SIZE)
    subprocess.run(["mkntfs", "-F", "-q", "-Q", str(volume)], check=True, capture_output=True)
    return ["wimlib-imagex", "apply", str(wim), "1", str(volume)]


def _copied(tar: Path, work: Path) -> float | None:
    """Seconds of `cp -a` of the tar's files into a volume that ntfs-3g has mounted; None where it cannot be."""
    source, volume, mount = work / "files", work / "mounted.img", work / "mount"
    if not source.is_dir():
        source.mkdir()
        subprocess.run(["tar", "--warning=no-unknown-keyword", "-xzf", str(tar), "-C", str(source)], check=True)
    _wimlib(Path(), volume)
    mount.mkdir(exist_ok=True)
    if subprocess.run(["ntfs-3g", str(volume), str(mount)], check=False, capture_output=True).returncode:
        return None
    start = time.perf_counter()
    try:
        subprocess.run(["cp", "-a", f"{source}/.", str(mount)], check=False, capture_output=True)
    finally:
        subprocess.run(["umount", str(mount)], check=True)
    return time.perf_counter() - start


def _prepare(tar: Path, work: Path) -> tuple[Path, Path]:
    """A WIM with the layer's content, and all of its bytes in one file."""
    volume, wim, everything = work / "volume.img", work / "content.wim", work / "bytes"
    with tar.open("rb") as stream, volume.open("w+b") as file:
        file.truncate(_SIZE)
        with (
            TarLayerReader(stream, tar, is_base=True) as reader,
            VolumeLayerWriter(RawDisk(file), str(volume), whole=True, serial=1, time=_TIME) as writer,
        ):
            copy_layer(reader, writer)
    wim.unlink(missing_ok=True)
    capture = ["wimlib-imagex", "capture", str(volume), str(wim), "--compress=none"]
    subprocess.run(capture, check=True, capture_output=True)
    with (
        tar.open("rb") as stream,
        everything.open("wb") as out,
        TarLayerReader(stream, tar, is_base=True) as reader,
    ):
        for item in reader:
            for data in item.streams():
                out.writelines(data.chunks)
    volume.unlink()
    return wim, everything


def compare(tar: Path, what: str, work: Path, runs: int) -> None:
    """One row: ours, wimlib, and the copy."""
    wim, everything = _prepare(tar, work)
    rows: list[tuple[float, float, float]] = []
    memory = 0
    for _ in range(runs):
        theirs, _ = measure(_wimlib(wim, work / "theirs.img"))
        own, kib = measure(_ours(tar, work / "ours.vhdx"))
        copied, _ = measure(["cp", str(everything), str(work / "copy")])
        memory = max(memory, kib)
        rows.append((own, theirs, copied))
    mounted = _copied(tar, work)
    shutil.rmtree(work / "files", ignore_errors=True)
    own, theirs, copied = (statistics.median(row[index] for row in rows) for index in range(3))
    ratio = statistics.median(row[0] / row[1] for row in rows)
    slow = "-" if mounted is None else f"{mounted:.2f}"
    print(
        f"{what:<16} {own:8.2f} s {theirs:8.2f} s {ratio:6.2f} {slow:>8} s {copied:8.2f} s {memory / 1024:7.0f} MiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.volumes", description=sys.modules[__name__].__doc__)
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "wclayer-benchmarks")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--disk", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        to_disk(options.work, options.disk, options.size)
        return
    work = options.folder / "volumes"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    wheels, small = options.folder / "wheels.tar.gz", options.folder / "small.tar.gz"
    layers.write(wheels, layers.wheel_files(options.folder))
    layers.write(small, layers.small_files(100_000))
    print(f"{'':16} {'ours':>10} {'wimlib':>10} {'ratio':>6} {'ntfs-3g':>10} {'cp':>10} {'our memory':>11}")
    compare(wheels, "300 MB", work, options.runs)
    compare(small, "100,000 files", work, options.runs)
    if options.million:
        tar = options.folder / "million.tar.gz"
        layers.write(tar, layers.empty_files(1_000_000))
        seconds, kib = measure(_ours(tar, work / "million.vhdx", 64 << 30))
        print(f"{'1,000,000 files':<16} {seconds:8.2f} s {kib / 1024:45.0f} MiB")


if __name__ == "__main__":
    main()
