"""Whatever a tar holds, an import stays below 256 MiB: small hostile inputs, each in a process of its own.

Each program gives the members of a tar, one after the other; the process puts them together, imports the tar and tells
how it ended and how much memory it had at most.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_LIMIT = 256
_FRAME = """
import base64, io, os, resource, struct, sys
import wclayer
from tests.memory import peak_memory
from tests.support import TRAILER_BYTES, global_header, member, zstd

# What is mapped is more than what is used: libraries, the stacks of threads.
resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))


def members():
    yield member(b"Files", kind=b"5")
    {members}
    yield TRAILER_BYTES


class Stream(io.RawIOBase):
    def __init__(self, pieces):
        self.pieces, self.rest = pieces, b""

    def read(self, size=-1):
        while len(self.rest) < size and (piece := next(self.pieces, None)) is not None:
            self.rest += piece
        data, self.rest = self.rest[:size], self.rest[size:]
        return data


def packed():
    {pack}


try:
    wclayer.import_layer_from_tar(Stream(packed()), sys.argv[1])
    print("whole")
except wclayer.LayerError as error:
    print(type(error).__name__, error)
print(peak_memory() >> 20)
"""
_PLAIN = "yield from members()"
_ZSTD = """
    frame = zstd.ZstdCompressor(
        options={zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.compression_level: 1}
    )
    for piece in members():
        yield frame.compress(piece)
    yield frame.flush()
"""
_CASES = {
    "descriptors that are none": (
        "for n in range(300): yield member(b'Files/%d' % n, MSWINDOWS_rawsd=base64.b64encode(b'%8d' % n * 90_000))",
        _PLAIN, "limit security_size",
    ),
    "large descriptors": (
        "for n in range(2000): yield member(b'Files/%d' % n, MSWINDOWS_rawsd=base64.b64encode(b'%8d' % n * 16_000))",
        _PLAIN, "limit all_security_size",
    ),
    "descriptors as SDDL": (
        "for n in range(60): yield member(b'Files/%d' % n, MSWINDOWS_sd=b'O:SYG:SYD:' + b'(A;;%d;;;WD)' % n * 3000)",
        _PLAIN, "whole",
    ),
    "global records": (
        "for n in range(100):\n"
        "        yield global_header(**{'comment%d' % n: b'x' * 500_000})\n"
        "        yield member(b'Files/%d' % n)",
        _PLAIN, "whole",
    ),
    "large EAs": (
        "for n in range(300): yield member(b'Files/%d' % n, WCLAYER_ea=base64.b64encode("
        "struct.pack('<IBBH', 0, 0, 1, 60000) + b'N' + bytes(60001)))",
        _PLAIN, "whole",
    ),
    "large headers": (
        "for n in range(80): yield member(b'Files/%d' % n, comment=b'%8d' % n * 125_000)",
        _PLAIN, "whole",
    ),
    "many streams": (
        "yield member(b'Files/a', b'1')\n    for n in range(9000): yield member(b'Files/a:%d' % n, b'1')",
        _PLAIN, "limit streams",
    ),
    "a zstd window of 128 MiB": (
        "for n in range(200): yield member(b'Files/%d' % n, bytes(4 << 20))",
        _ZSTD, "limit ratio",
    ),
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells and limits memory so")
@pytest.mark.parametrize("name", _CASES)
def test_no_tar_takes_more_memory(name: str, tmp_path: Path) -> None:
    members, pack, ending = _CASES[name]
    program = _FRAME.replace("{members}", members).replace("{pack}", pack)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "layer")],
        capture_output=True, text=True, timeout=300, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    told, memory = done.stdout.splitlines()
    assert ending in told
    assert int(memory) < _LIMIT
