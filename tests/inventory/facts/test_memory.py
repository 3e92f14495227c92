"""However large a layer is, its facts take bounded memory, and space on the disk only while they are made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import hashlib, io, sys
from tests.memory import peak_memory
from tests.support import TRAILER_BYTES, member, zstd
from wclayer.formats.tar.writer import TarHeader, encode_header
from wclayer.images.descriptor import OCI_LAYER, Descriptor
from wclayer.inventory.facts.reading import make_facts
from wclayer.model import Limits, use_limits

use_limits(Limits(unrated_size=4 << 30))

def pieces():
    yield member(b"Files", kind=b"5")
    {members}
    yield TRAILER_BYTES


def large(name, size):
    yield encode_header(TarHeader(name, size=size))
    yield b"MZ".ljust(1 << 20, b"\\0")
    for _ in range((size >> 20) - 1):
        yield bytes(1 << 20)


frame, path = zstd.ZstdCompressor(level=1), sys.argv[1] + "/blob"
with open(path, "wb") as file:
    for piece in pieces():
        file.write(frame.compress(piece))
    file.write(frame.flush())
with open(path, "rb") as file:
    digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    descriptor = Descriptor(OCI_LAYER, digest, file.tell())
# What the compression of the blob has taken does not count.
before = peak_memory() >> 20
made = make_facts(lambda: open(path, "rb"), descriptor, sys.argv[1] + "/facts")
print(made.entries, made.bytes >> 20, before, peak_memory() >> 20)
"""
_CASES = {
    "files": "for n in range(20_000): yield member(b'Files/%d.dll' % n, b'MZ%d' % n)",
    "large files": "for n in range(2): yield from large(b'Files/%d.exe' % n, 160 << 20)",
    "a large file and links": (
        "yield from large(b'Files/data', 160 << 20)\\n"
        "    for n in range(10_000): yield member(b'Files/%d.exe' % n, kind=b'1', link=b'Files/data')"
    ),
    "documents": "for n in range(300): yield member(b'Files/%d.nuspec' % n, b'%8d' % n * 100_000)",
    "hives": "\\n    ".join(
        f"yield from large(b'Hives/{stem}_Delta', 64 << 20)" for stem in ("Sam", "System", "Software", "Security")
    ),
}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells memory so")
@pytest.mark.parametrize("name", _CASES)
def test_memory_is_bounded(name: str, tmp_path: Path) -> None:
    program = _PROGRAM.replace("{members}", _CASES[name].replace("\\n", "\n"))
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *_, before, most = map(int, done.stdout.split())
    assert most < 150, done.stdout
    assert before < 150
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blob", "facts"]
