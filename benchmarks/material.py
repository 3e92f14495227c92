"""What the files of the servercore-sized image are made of: pieces of public Windows programs and of small texts.

The programs come from `win_amd64` wheels (pip), the texts from packages of npm, all pinned by version and SHA-256.
Their files lie one behind another in one pool. A long file gives several pieces, since a base image has many programs
of middle size and few large ones. Later uses of a piece have other bytes, with the same repetitions, so that they
compress as well as the first and are equal to no other.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WHEELS = (
    ("libclang", "18.1.1", "4dd2d3b82fab35e2bf9ca717d7b63ac990a3519c7e312f19fa8e86dcc712f7fb"),
    ("llvmlite", "0.50.0", "ffe46ef508df226e54b5fe1f7bf11122e5297bcdbb3902cc5b670a429d56ff47"),
    ("numpy", "2.4.6", "1e254a00cdf42b1e4d5b3d68d33af63268d41340d8885df2ab6470f2e1500147"),
    ("opencv-python", "5.0.0.93", "f90ba04b8f73bc5c3814037699739f0156f597338a98f05956c684e7c3ca10d2"),
    ("pandas", "3.1.1", "48066660db2f0d652b0f4df5743ca975e9b568043084c86e575b0eda648f7c64"),
    ("pyarrow", "26.0.1", "5f681458e4fb81aefef50d3a8a432fe92f8480a87693616f9d95e95ceac8844c"),
    ("PySide6-Addons", "6.12.0", "98d8d62010da6605344cee83e5c96fb846170a1f2d924523f10f5d92078b02b0"),
    ("PySide6-Essentials", "6.12.0", "c9a95102aa23c1f86516a30d5a9be37552d324eee7e567eb7508973f1218cb42"),
    ("scipy", "1.17.1", "d30e57c72013c2a4fe441c2fcb8e77b14e152ad48b5464858e07e2ad9fbfceff"),
    ("vtk", "9.7.2", "eb9362c228bc6347c302301b486ff185a5fba5947f6e23fc76f776136f361885"),
)
"""Project, version and SHA-256 of the wheel for Windows and Python 3.11."""
NPM = (
    ("core-js@3.51.0", "2a7abc3121a44b75acdf02b9bdd7408e22633f70f422fc0bd5b9e00abb17bb31"),
    ("date-fns@4.4.0", "eb106d1e9276213d6144b221c103e4abb7d92186734f7505f5a3860427b41a06"),
    ("echarts@6.1.0", "681aff88cc1038c3fa941a3a53d1b177a52250b05335efc607d6105ae13be481"),
    ("lodash@4.18.1", "696942c2a488c9d7428e9ca5f12ccf03b52de01dcdbfe4d4751d392f0491ae16"),
    ("monaco-editor@0.57.0", "3ea1712fbacd3290cf4751007e3a5b57cc279767607812d4c3e57925fb0b05c2"),
    ("@mui/icons-material@9.5.0", "a6b1886d687c9ac1de05e22d3d67d2b23c16aaa551d52960ce9e641c0471d134"),
    ("rxjs@7.8.2", "2312f8ffd9726ffd7bd53ea12c5f13663d09a3dc3326f448c70b88f5ef6fac82"),
    ("three@0.187.0", "ff540832ded0cfe919764d24a3d88f3e2a05f23303f876423e4f893841e90728"),
)
"""Package with its version, and the SHA-256 of its tarball."""
LARGE = 128 << 10
"""Bytes from which a piece counts as large."""
_SHORTEST, _LONGEST = 4 << 10, 1 << 20
"""The bounds of the pieces of a long file."""
_WHOLE_EVERY, _WHOLE = 40, 16 << 20
"""Every so-manieth piece of a long file is as long as the largest programs of Windows."""
_TINY_KEPT = 8
"""Of files of less than a KiB, each so-manieth is kept: packages of icons have too many."""
_PROGRAMS = (".dll", ".exe", ".pyd", ".sys")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the pool: where it begins, its bytes, and the name of the file that it comes from, with its ending."""

    offset: int
    size: int
    name: str

    @property
    def is_program(self) -> bool:
        return self.name.endswith(_PROGRAMS)


class Material:
    """The pool and its pieces.

    Args:
        pool: the file.
        pieces: the parts of it.
    """

    def __init__(self, pool: Path, pieces: list[Piece]) -> None:
        self.pieces = pieces
        with pool.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._tables = [bytes(range(256))]

    def data(self, piece: Piece, use: int) -> bytes:
        """The bytes of a piece. `use` counts how often it has been used before; each use has bytes of its own."""
        while len(self._tables) <= use:
            chance = random.Random(len(self._tables))
            others = list(range(1, 256))
            for last in range(254, 0, -1):
                other = int(chance.random() * (last + 1))
                others[last], others[other] = others[other], others[last]
            self._tables.append(bytes([0, *others]))
        data = self._map[piece.offset : piece.offset + piece.size]
        return data.translate(self._tables[use]) if use else data


def public_material(folder: Path) -> Material:
    """Returns the material of the wheels and packages, which are downloaded into the folder if they are not there."""
    return _pooled(folder, "public", lambda: _public_files(folder / "downloads"))


def made_material(folder: Path, size: int = 8 << 20) -> Material:
    """Returns material that needs no network: random words, in files of sizes as the public ones have them."""
    return _pooled(folder, f"made-{size}", lambda: _made_files(size))


def forget_pools(folder: Path) -> None:
    """Removes the pools from a folder. They are made again of what is downloaded."""
    for path in folder.glob("material-*"):
        path.unlink()


def _pooled(folder: Path, kind: str, files: object) -> Material:
    identity = hashlib.sha256(repr((kind, WHEELS, NPM, _SHORTEST, _LONGEST, _WHOLE_EVERY, _TINY_KEPT)).encode())
    stem = folder / f"material-{identity.hexdigest()[:12]}"
    pool, index = stem.with_suffix(".pool"), stem.with_suffix(".json")
    if not index.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pieces: list[tuple[int, int, str]] = []
        with pool.open("wb") as out:
            for name, data in files():  # type: ignore[operator]
                start = out.tell()
                out.write(data)
                pieces += [(start + offset, size, name) for offset, size in _cut(name, len(data))]
        # By a hash: a fair mix of all sources, the same in every run.
        pieces.sort(key=lambda piece: hashlib.sha256(repr(piece).encode()).digest())
        partial = index.with_suffix(".partial")
        partial.write_text(json.dumps(pieces))
        partial.rename(index)
    return Material(pool, [Piece(*piece) for piece in json.loads(index.read_text())])


def _cut(name: str, size: int) -> Iterator[tuple[int, int]]:
    """The offsets and sizes of the pieces of one file."""
    if size <= LARGE:
        yield 0, size
        return
    chance = random.Random(f"{name} {size}")
    at = count = 0
    while at < size:
        count += 1
        length = int(_SHORTEST * (_LONGEST / _SHORTEST) ** chance.random())
        if count % _WHOLE_EVERY == 0:
            length = int(_WHOLE * chance.random())
        yield at, min(length, size - at)
        at += length


def _public_files(downloads: Path) -> Iterator[tuple[str, bytes]]:
    """The files of all wheels and packages."""
    for project, version, sha256 in WHEELS:
        with zipfile.ZipFile(_downloaded(downloads, f"{project}-{version}.whl", sha256)) as archive:
            for info in sorted(archive.infolist(), key=lambda info: info.filename):
                if _is_kept(info.filename, info.file_size):
                    yield _file_name(info.filename), archive.read(info)
    for package, sha256 in NPM:
        with tarfile.open(_downloaded(downloads, f"{package.replace('/', '-')}.tgz", sha256)) as tar:
            for member in tar:
                if member.isfile() and _is_kept(member.name, member.size):
                    file = tar.extractfile(member)
                    assert file is not None
                    yield _file_name(member.name), file.read()


def _is_kept(name: str, size: int) -> bool:
    return size >= 1024 or (size > 0 and hashlib.sha256(name.encode()).digest()[0] % _TINY_KEPT == 0)


def _file_name(path: str) -> str:
    """The last part of a path, as a name that Windows accepts."""
    stem, dot, ending = path.rpartition("/")[2].lower().rpartition(".")
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in stem)[:40]
    return f"{kept or 'file'}{dot}{'dll' if ending == 'pyd' else ending[:12]}"


def _made_files(size: int) -> Iterator[tuple[str, bytes]]:
    chance = random.Random(5)
    words = [chance.randbytes(2 + int(8 * chance.random())) for _ in range(2000)]
    done = number = 0
    while done < size:
        number += 1
        length = int(200 * 1000 ** chance.random())
        text = b"".join(words[int(2000 * chance.random() ** 2)] for _ in range(length // 6 + 1))[:length]
        done += length
        yield f"made{number:05d}.{'dll' if number % 3 else 'mui'}", text


def _downloaded(folder: Path, name: str, sha256: str) -> Path:
    """A wheel (`PROJECT-VERSION.whl`) or a package of npm (`NAME@VERSION.tgz`) in the folder, its digest checked."""
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            if name.endswith(".whl"):
                project, _, version = name.removesuffix(".whl").rpartition("-")
                command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", work]
                command += ["--platform", "win_amd64", "--python-version", "3.11", "--only-binary=:all:"]
                command.append(f"{project}=={version}")
            else:
                scope, at, rest = name.removesuffix(".tgz").rpartition("@")
                package = scope.replace("-", "/", 1) if scope.startswith("@") else scope
                command = ["npm", "pack", "--silent", "--pack-destination", work, f"{package}{at}{rest}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            (found,) = Path(work).iterdir()
            shutil.move(os.fspath(found), path)
    with path.open("rb") as file:
        found_digest = hashlib.file_digest(file, "sha256").hexdigest()
    if found_digest != sha256:
        raise SystemExit(
            f"{path}: the SHA-256 is {found_digest}, not the pinned {sha256}; remove the file and try again"
        )
    return path
