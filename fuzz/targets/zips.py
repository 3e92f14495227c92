"""Target: zip archives, compared with Python's zipfile."""

from __future__ import annotations

import io
import zipfile
import zlib

from fuzz.target import Target
from wclayer.formats.zip import ZipError, ZipReader


def _zip(data: bytes) -> None:
    """What is read of an archive is bounded by what it states, and the same that Python reads, if it reads it."""
    reader = ZipReader(io.BytesIO(data))
    found: list[bytes | None] = []
    for member in reader.members():
        assert len(member.name) <= len(data)
        assert member.filetime > 0
        try:
            pieces = list(reader.data(member))
        except ZipError:
            found.append(None)
            continue
        assert sum(map(len, pieces)) == member.size
        found.append(b"".join(pieces))
    try:
        other = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, OverflowError):
        return
    for contents, info in zip(found, other.infolist(), strict=True):
        if contents is not None:
            assert (info.file_size, info.CRC) == (len(contents), zlib.crc32(contents))


def _seeds() -> list[bytes]:
    made = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            archive.comment = b"comment"
            for name, data in (("a", b"hello " * 20), ("d/", b""), ("d/e\u00fc.txt", b"x"), ("w\\b", b"")):
                archive.writestr(zipfile.ZipInfo(name), data, method)
        made.append(file.getvalue())
    return made


TARGETS = {
    "zip": Target(
        _zip, _seeds, (ZipError,),
        words=(b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"\xff\xff\xff\xff", b"\1\0\x1c\0"),
        max_size=2048,
    ),
}  # fmt: skip
