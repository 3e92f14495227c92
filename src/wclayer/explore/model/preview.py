"""The beginning of a file as lines: text, hexadecimal, or what a PE file says of itself. Reads are bounded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from enum import Enum
from itertools import islice
from typing import BinaryIO

from wclayer.errors import FormatError, LayerError
from wclayer.explore.model.content_type import content_type
from wclayer.explore.model.details import Fact, heading, line, warning
from wclayer.explore.model.files import FileItem, FileTree
from wclayer.search.contents import HEAD, encoding_of
from wclayer.win32.shown import size_text

MOST_BYTES = 64 << 10
"""Bytes of a file that are shown."""
HEX_WIDTH = 16
"""Bytes in a line."""
MOST_LINES = 2_000
MOST_COLUMNS = 1_000
"""Characters of a line that are shown."""
MOST_STREAM = 4 << 10
"""Bytes of an alternate stream that are shown."""
TEXT_KINDS = frozenset(("text", "utf-16", "xml", "json", "pem"))
"""The kinds of contents that are shown as text."""


class PreviewKind(Enum):
    """How contents are shown."""

    AUTO = "automatic"
    TEXT = "text"
    HEX = "hex"


def preview(tree: FileTree, item: FileItem, kind: PreviewKind) -> Iterator[Fact]:
    """Yields the beginning of a file, and of its alternate streams, as lines. What is damaged is told in a line."""
    if item.is_directory:
        return
    try:
        with closing(tree.open(item)) as opened:
            head = opened.read(MOST_BYTES)
            yield from _contents(opened, head, item.size, kind)
    except FormatError as error:
        yield line(str(error))
    except LayerError as error:
        yield warning(str(error))
    for name, size in tree.streams(item):
        yield heading(f"Stream :{name} ({size_text(size)})")
        try:
            yield from bytes_as_lines(tree.read_stream(item, name, MOST_STREAM), kind, is_cut=size > MOST_STREAM)
        except (FormatError, LayerError) as error:
            yield warning(str(error))


def _contents(opened: BinaryIO, head: bytes, size: int, kind: PreviewKind) -> Iterator[Fact]:
    found = content_type(head[:HEAD])
    yield Fact(found, "contents")
    if found == "pe":
        yield from pe_facts(opened)
    yield heading("Contents" if size <= len(head) else f"Contents (the first {size_text(len(head))})")
    yield from bytes_as_lines(head, kind, is_cut=size > len(head))


def bytes_as_lines(data: bytes, kind: PreviewKind, *, is_cut: bool) -> Iterator[Fact]:
    """Yields bytes as lines of text or in hexadecimal.

    Args:
        data: the bytes.
        kind: how they are shown.
        is_cut: whether they are only the beginning.
    """
    if not data:
        yield line("empty")
    elif kind is PreviewKind.TEXT or (kind is PreviewKind.AUTO and content_type(data[:HEAD]) in TEXT_KINDS):
        yield from _text_lines(decoded(data, is_cut=is_cut))
    else:
        yield from _hex_lines(data)


def _text_lines(text: str) -> Iterator[Fact]:
    for each in islice(text.splitlines(), MOST_LINES):
        yield line(each.expandtabs(4)[:MOST_COLUMNS])


def decoded(data: bytes, *, is_cut: bool) -> str:
    """Returns bytes as the text that they probably are: in UTF-16, UTF-8 or Windows-1252.

    Args:
        data: the bytes.
        is_cut: whether they are only the beginning, whose end may be within a character.
    """
    encoding = encoding_of(data[:HEAD])
    if encoding.startswith("utf-16"):
        return data.decode(encoding, "replace").removeprefix("\ufeff")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if is_cut and error.start >= len(data) - 3:
            return data.decode("utf-8-sig", "replace")
        return data.decode("cp1252", "replace")


def _hex_lines(data: bytes) -> Iterator[Fact]:
    for offset in range(0, min(len(data), HEX_WIDTH * MOST_LINES), HEX_WIDTH):
        yield line(hex_line(offset, data[offset : offset + HEX_WIDTH]))


def hex_line(offset: int, piece: bytes) -> str:
    """Returns bytes, at most `HEX_WIDTH`, as a line: offset, hexadecimal, text."""
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
    return f"{offset:06x}  {piece[:8].hex(' '):23}  {piece[8:].hex(' '):23}  {text}"


def pe_facts(opened: BinaryIO) -> Iterator[Fact]:
    """Yields what a PE file says of itself."""
    # Loaded when it is asked for, so that the first screen does not wait for it.
    from wclayer.formats.pe.errors import NotPeError, PeError
    from wclayer.formats.pe.facts import read_facts
    from wclayer.formats.pe.image import PeImage
    from wclayer.formats.pe.source import FileSource

    try:
        facts = read_facts(PeImage(FileSource(opened)))
    except NotPeError as error:
        yield line(str(error))
        return
    except PeError as error:
        yield warning(f"a damaged PE file: {error}")
        return
    what = "driver" if facts.is_kernel_mode else "library" if facts.is_dll else "program"
    yield heading("PE file")
    yield Fact(f"{what} for {facts.processor}", "kind")
    info = facts.version
    if info is not None:
        if info.fixed is not None:
            yield Fact(".".join(map(str, info.fixed.file_version)), "file version")
            yield Fact(".".join(map(str, info.fixed.product_version)), "product version")
        for name in _VERSION_TEXTS:
            text = info.get(name)
            if text:
                yield Fact(text[:MOST_COLUMNS], name)
    yield Fact("embedded, not verified" if facts.is_signed else "none in the file", "signature")
    if facts.clr is not None:
        yield Fact(facts.clr.metadata_version[:MOST_COLUMNS], ".NET")
    for problem in facts.problems:
        yield warning(problem)


_VERSION_TEXTS = (
    "CompanyName", "FileDescription", "FileVersion", "ProductName", "ProductVersion", "OriginalFilename",
    "LegalCopyright",
)  # fmt: skip
