"""Worker processes start whatever the descriptors of their caller are, and interrupts do not reach them."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import wclayer
from tests.support import directory, info, put_file
from wclayer.host import worker_process
from wclayer.host.worker_process import start_worker
from wclayer.layers.directory import file_worker, host_files
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.volume import content_copier, copy_worker
from wclayer.model import Entry

_MAKE_AND_CONVERT = """
import os, sys
for number in map(int, sys.argv[1]):
    os.close(number)
import wclayer
from tests.support import directory, put_file
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.volume import content_copier

content_copier._START_AFTER = 0
with DirectoryLayerWriter("layer") as writer:
    writer.put(directory("Files"))
    for number in range(1000):
        put_file(writer, f"Files/{number}", b"%d" % number * 400)
wclayer.convert_layer("layer", "disk", to="ntfs", size=64 << 20, reproducible=True)
"""


def _run(folder: Path, closed: str) -> str:
    folder.mkdir()
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{root / 'src'}:{root}"}
    subprocess.run([sys.executable, "-c", _MAKE_AND_CONVERT, closed], cwd=folder, env=environment, check=True)
    return hashlib.sha256((folder / "disk").read_bytes()).hexdigest()


def test_a_caller_without_standard_streams_makes_the_same(tmp_path: Path) -> None:
    expected = _run(tmp_path / "all", "")
    for closed in ("0", "1", "01", "012"):
        assert _run(tmp_path / closed, closed) == expected, closed


@pytest.mark.parametrize("program", [copy_worker, file_worker])
def test_interrupts_do_not_reach_a_worker_while_it_starts(program: ModuleType, tmp_path: Path) -> None:
    with (tmp_path / "f").open("w+b") as file:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        process = start_worker(program, [file.fileno()] * 2, ["1"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        # It has not been waited for, so this can be read even if the program has ended.
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.kill()
        process.wait()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    blocked = re.search(r"^SigBlk:\s*(\w+)$", status, re.MULTILINE)
    assert blocked is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        assert int(blocked[1], 16) >> (number - 1) & 1


def _not_python(folder: Path, name: str) -> str:
    """A `sys.executable` that is no Python: of an embedding program, or of a host that forbids to start it."""
    if name in ("", "/bin/true", "/bin/cat", "/nothing/there"):
        return name
    script = {
        "no permission": "",
        "hangs": "exec sleep 60",
        "talks": "echo Usage: something else; echo and more; echo what >&2; exec sleep 60",
        "starts as Python without its library": f"PYTHONHOME=/nothing exec {sys.executable} -c pass",
    }[name]
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o644 if name == "no permission" else 0o755)
    return str(path)


@pytest.mark.parametrize(
    "name",
    [
        "", "/bin/true", "/bin/cat", "/nothing/there", "no permission", "hangs", "talks",
        "starts as Python without its library",
    ],
)  # fmt: skip
def test_without_a_python_that_starts_the_work_is_done_without_workers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _make_and_convert(tmp_path / "with")
    monkeypatch.setattr(sys, "executable", _not_python(tmp_path, name))
    monkeypatch.setattr(worker_process, "_PATIENCE", 0.3)
    open_files = len(os.listdir("/proc/self/fd"))
    _make_and_convert(tmp_path / "without")
    assert (tmp_path / "without/disk").read_bytes() == (tmp_path / "with/disk").read_bytes()
    assert len(os.listdir("/proc/self/fd")) == open_files
    assert capfd.readouterr() == ("", "")


def test_a_bundle_starts_no_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `sys.executable` is the bundle itself, which would run once more."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a process was started")

    _make_and_convert(tmp_path / "with")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    _make_and_convert(tmp_path / "without")
    assert (tmp_path / "without/disk").read_bytes() == (tmp_path / "with/disk").read_bytes()


def _make_and_convert(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content_copier, "_START_AFTER", 0)
        patch.setattr(host_files, "_POOL_AFTER", 0)
        folder.mkdir()
        with DirectoryLayerWriter(folder / "layer") as writer:
            writer.put(directory("Files"))
            for number in range(30):
                put_file(writer, f"Files/{number}", b"%d" % number * 400)
            writer.put(Entry("Files/link", info(), link_target="Files/7"))
        assert list(wclayer.check_layer(folder / "layer")) == []
        wclayer.convert_layer(folder / "layer", folder / "disk", to="ntfs", size=64 << 20, reproducible=True)


def test_a_program_in_a_zip_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import os, sys\nif __name__ == '__main__':\n    os.write(int(sys.argv[1]), sys.argv[2].encode())\n"
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as file:
        file.writestr("program_in_a_zip.py", source)
    monkeypatch.syspath_prepend(str(tmp_path / "package.zip"))
    program = importlib.import_module("program_in_a_zip")
    with (tmp_path / "out").open("w+b") as out:
        process = start_worker(program, [out.fileno()], ["word"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        assert process.wait() == 0
    assert (tmp_path / "out").read_bytes() == b"word"
