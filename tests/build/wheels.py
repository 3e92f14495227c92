"""A real tree of a thousand files of Windows programs: a wheel for win_amd64 from PyPI, pinned by version and hash."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.packages import cache_folder

NAME = "pandas-2.2.3-cp311-cp311-win_amd64.whl"
_SHA256 = "3fc6873a41186404dad67245896a6e440baacc92f5b716ccd1bc9ed2995ab2c5"


def pandas_wheel() -> Path:
    """The wheel in the cache, downloaded if it is not there; without network or cache the test is skipped."""
    path = cache_folder() / "packages" / NAME
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            requirement = Path(folder, "requirements.txt")
            requirement.write_text(f"pandas==2.2.3 --hash=sha256:{_SHA256}\n")
            command = [
                sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                "--only-binary=:all:", "--platform", "win_amd64", "--python-version", "3.11", "--require-hashes",
                "-r", str(requirement), "-d", folder,
            ]  # fmt: skip
            if subprocess.run(command, capture_output=True, check=False).returncode:
                pytest.skip(f"needs {NAME}")
            Path(folder, NAME).replace(path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == _SHA256, f"{path} is not the pinned wheel"
    return path
