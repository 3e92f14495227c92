"""What kind of contents a file has, by its first bytes."""

from __future__ import annotations

from wclayer.search.contents import HEAD, encoding_of

_MAGIC = (
    (b"regf", "hive"), (b"PK\x03\x04", "zip"), (b"PK\x05\x06", "zip"), (b"MSCF", "cab"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "msi"), (b"\x89PNG\r\n\x1a\n", "image"), (b"\xff\xd8\xff", "image"),
    (b"GIF8", "image"), (b"BM", "image"), (b"\x00\x00\x01\x00", "image"), (b"%PDF-", "pdf"), (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"), (b"SQLite format 3\x00", "sqlite"), (b"ElfFile\x00", "event-log"),
    (b"\x7fELF", "elf"), (b"MSWIM\x00\x00\x00", "wim"), (b"vhdxfile", "vhdx"), (b"\xca\xfe\xba\xbe", "class"),
    (b"\x00\x01\x00\x00\x00", "font"), (b"OTTO", "font"), (b"ttcf", "font"), (b"\x30\x82", "der"),
)  # fmt: skip
KINDS = tuple(sorted({"pe", "dos", "text", "utf-16", "xml", "json", "pem", "empty", "binary", *(k for _, k in _MAGIC)}))
"""The words for kinds of contents."""


def content_type(head: bytes) -> str:
    """Returns a word for the kind of contents (one of `KINDS`).

    Args:
        head: the first bytes of the file, at most `HEAD` of `wclayer.search.contents`.
    """
    if not head:
        return "empty"
    if head.startswith(b"MZ"):
        offset = int.from_bytes(head[60:64], "little")
        return "pe" if head[offset : offset + 4] == b"PE\0\0" or offset + 4 > HEAD else "dos"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    # The rule of `grep`, so that what is searched by lines is also shown as lines.
    encoding = encoding_of(head)
    if not encoding:
        return "binary"
    if encoding.startswith("utf-16"):
        return "xml" if head.decode(encoding, "replace").removeprefix("\ufeff").startswith("<?xml") else "utf-16"
    return _text_type(head)


def _text_type(head: bytes) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<?xml"):
        return "xml"
    if start.startswith(b"-----BEGIN "):
        return "pem"
    if start.startswith((b"{", b"[")) and b'"' in start[:200]:
        return "json"
    return "text"
