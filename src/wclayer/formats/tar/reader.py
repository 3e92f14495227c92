"""Reads tar archives member by member from a stream, and keeps every byte of their headers.

The reader accepts ustar, PAX (local and global records), GNU long-name members and base-256 numbers. Structures are in
`structs`. `TarStream.next` returns a `TarMember`. Its data is then read with `data`; unread data is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from wclayer.errors import FormatError, FormatLimitError, limit_hint
from wclayer.formats.tar import structs
from wclayer.formats.tar.structs import BLOCK

_PAX_RECORD = re.compile(rb"([1-9][0-9]{0,8}) ([^=\n]+)=([^\n]*)\n")
# Possessive, so the expression reads each byte only once.
_PAX_RECORDS = re.compile(rb"(?:[1-9][0-9]{0,8} [^=\n]+=[^\n]*\n)*+")
_DATA_PIECE = 1 << 20
_OCTAL_DIGITS = re.compile(rb"[0-7]{11}\0")
"""The usual form of a size."""


class TarFormatError(FormatError):
    """The bytes are not a tar archive. `offset` is the position, `member` the member's name as far as it is known."""

    def __init__(self, offset: int, problem: str, member: str = "") -> None:
        self.offset = offset
        self.problem = problem
        self.member = member
        super().__init__(f"{f'member {member!r}, ' if member else ''}offset {offset}: {problem}")


class HeaderTooLargeError(TarFormatError, FormatLimitError):
    """A PAX block or GNU long name is larger than the limit."""


@dataclass(slots=True)
class TarMember:
    """The decoded header of a member.

    `name` and `link_name` are the stored bytes (PAX has precedence over GNU, GNU over ustar). `pax` holds the global
    records, which the member's own override. `header` holds every header byte of the member, from the end of the
    previous member's data, and `offset` is its position. `size` is the length of the data that follows.
    """

    name: bytes
    type: int
    mode: int
    size: int
    mtime: int
    link_name: bytes
    pax: dict[bytes, bytes]
    header: bytes
    offset: int


class ByteSource:
    """Reads bytes from an iterator of chunks: exact numbers for headers, whole pieces without copying for data."""

    __slots__ = ("_base", "_chunk", "_chunks", "_pos")

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._pos = 0
        self._base = 0

    @property
    def offset(self) -> int:
        """The number of bytes taken so far."""
        return self._base + self._pos

    def take(self, size: int) -> bytes:
        """Returns `size` bytes, or fewer at the end of the stream."""
        pos = self._pos
        end = pos + size
        if end <= len(self._chunk):
            self._pos = end
            return self._chunk[pos:end]
        pieces = []
        while size and (piece := self.piece(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def piece(self, limit: int) -> bytes | memoryview:
        """Returns the available bytes, at least one and at most `limit`; empty at the end of the stream."""
        while self._pos >= len(self._chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._base += len(self._chunk)
            self._chunk = chunk
            self._pos = 0
        pos = self._pos
        self._pos = min(pos + limit, len(self._chunk))
        return memoryview(self._chunk)[pos : self._pos]


class _Sized(Protocol):
    size: int


T = TypeVar("T", bound=_Sized)
Recognise = Callable[[bytes, bytes, bytes, int], T | None]


class TarStream(Generic[T]):
    """Reads a tar archive from a stream.

    Args:
        chunks: the bytes of the archive.
        max_header: the largest PAX block or GNU long name, in bytes.
        max_global: the most bytes of keys and values of all global records together.
        recognise: is called with each ordinary member (a PAX header block, its records with their padding, the
            member's own block, the offset) before it is decoded. It may return an object of its own in place of a
            `TarMember`; it must then have checked all of the member, checksums included. The `size` of the object is
            the length of the data that follows.
        choose_global: is called with the records of each global header, and returns those of them that apply to later
            members. It raises `ValueError` to refuse a record. Records left out cost members nothing.
    """

    def __init__(
        self,
        chunks: Iterator[bytes],
        *,
        max_header: int = 1 << 20,
        max_global: int = 1 << 20,
        recognise: Recognise[T] | None = None,
        choose_global: Callable[[dict[bytes, bytes]], dict[bytes, bytes]] = dict,
    ) -> None:
        self._recognise = recognise
        self._source = ByteSource(chunks)
        self._max_header = max_header
        self._max_global = max_global
        self._choose_global = choose_global
        self._global: dict[bytes, bytes] = {}
        self._global_size = 0
        self._left = 0
        self._pad = 0
        self._padding = b""
        self._trailer_has_padding = False
        self._current = ""

    @property
    def offset(self) -> int:
        return self._source.offset

    def next(self) -> TarMember | T | None:
        """Returns the next member, or None at the end-of-archive blocks.

        Raises:
            TarFormatError: a bad or cut-off header, or the previous member's data is cut off.
        """
        self._finish_data()
        source = self._source
        offset = source.offset
        block = source.take(BLOCK)
        # Nearly every member has this form: one PAX header, its records, the member's own header.
        if len(block) == BLOCK and block[structs.TYPEFLAG] == structs.PAX:
            digits = block[structs.SIZE]
            size = int(digits[:-1], 8) if _OCTAL_DIGITS.match(digits) else -1
            if not 0 <= size <= self._max_header:
                size = self._extended_size(block, offset, checked=False)
            rest_size = size + structs.padding(size)
            rest = source.take(rest_size + BLOCK)
            if len(rest) != rest_size + BLOCK:
                raise TarFormatError(offset, "archive ends inside a PAX header")
            block2 = rest[rest_size:]
            if self._recognise is not None and not self._padding and not self._global:
                found = self._recognise(block, rest[:rest_size], block2, offset)
                if found is not None:
                    self._left = size = found.size
                    self._pad = -size % BLOCK
                    return found
            self._check_sum(block, offset)
            if block2[structs.TYPEFLAG] in _PLAIN_TYPES:
                pax = parse_pax(rest[:size], offset + BLOCK)
                return self._member(block2, pax, None, None, block + rest, offset)
            return self._unusual(block2, [block, rest[:rest_size], block2], parse_pax(rest[:size], offset), offset)
        return self._unusual(block, [block], None, offset)

    def _unusual(
        self, block: bytes, header: list[bytes], pax: dict[bytes, bytes] | None, offset: int
    ) -> TarMember | None:
        """Reads a member with any sequence of extension headers. `block` is the last block read, and is in `header`."""
        long_name = long_link = None
        at = offset
        total = sum(map(len, header))
        while True:
            if len(block) != BLOCK:
                if not block and len(header) == 1:
                    raise TarFormatError(at, "archive ends without its end-of-archive blocks")
                raise TarFormatError(at, "archive ends inside a header")
            kind = block[structs.TYPEFLAG]
            if kind not in _EXTENSIONS:
                break
            size = self._extended_size(block, at)
            padded = self._source.take(size + structs.padding(size))
            if len(padded) != size + structs.padding(size):
                raise TarFormatError(at, "archive ends inside an extension header")
            data = padded[:size]
            if kind == structs.PAX:
                pax = (pax or {}) | parse_pax(data, at + BLOCK)
            elif kind == structs.PAX_GLOBAL:
                self._take_global(parse_pax(data, at + BLOCK), at)
            elif kind == structs.GNU_LONG_NAME:
                long_name = data.rstrip(b"\0")
            else:
                long_link = data.rstrip(b"\0")
            at = self._source.offset
            block = self._source.take(BLOCK)
            header += (padded, block)
            total += len(padded) + len(block)
            if total > 4 * self._max_header:
                raise HeaderTooLargeError(offset, f"too many extension headers in a row {limit_hint('pax_size')}")
        raw = b"".join(header)
        if not any(block):
            if pax or long_name or long_link:
                raise TarFormatError(offset, "extension header without a member")
            # POSIX requires two zero blocks. Go's reader accepts one at the very end, and so do we.
            second = self._source.take(BLOCK)
            if any(second):
                raise TarFormatError(at + BLOCK, "a lone zero block in the middle of the archive")
            # Global records before the end, and the end blocks themselves, belong to the trailer.
            self._trailer_has_padding = self._padding != b""
            self._padding += raw + second
            return None
        return self._member(block, pax or {}, long_name, long_link, raw, offset)

    def _member(
        self,
        block: bytes,
        pax: dict[bytes, bytes],
        long_name: bytes | None,
        long_link: bytes | None,
        header: bytes,
        offset: int,
    ) -> TarMember:
        if self._global:
            pax = self._global | pax
        self._check_sum(block, offset)
        # An empty value means that a record does not apply (POSIX, "pax Extended Header").
        name = pax.get(b"path") or long_name
        if name is None:
            name = _text(block[structs.NAME])
            if block[structs.PREFIX.start] and block[structs.MAGIC] == structs.USTAR_MAGIC:
                name = _text(block[structs.PREFIX]) + b"/" + name
        link_name = pax.get(b"linkpath") or long_link
        if link_name is None:
            link_name = _text(block[structs.LINKNAME]) if block[structs.LINKNAME.start] else b""
        kind = block[structs.TYPEFLAG]
        if size_text := pax.get(b"size"):
            if not size_text.isdigit() or len(size_text) > 18:
                raise TarFormatError(offset, f"PAX size {size_text[:20]!r} is not a number", _show(name))
            size = int(size_text)
        else:
            size = parse_number(block[structs.SIZE], offset, "size")
        if kind in _NO_DATA_TYPES:
            size = 0
        if self._padding:
            header = self._padding + header
            offset -= len(self._padding)
            self._padding = b""
        self._left = size
        self._pad = structs.padding(size)
        self._current = ""
        member = TarMember(
            name,
            structs.REGULAR if kind in _REGULAR_TYPES else kind,
            parse_number(block[structs.MODE], offset, "mode"),
            size,
            parse_number(block[structs.MTIME], offset, "mtime"),
            link_name,
            pax,
            header,
            offset,
        )
        if not name:
            raise TarFormatError(offset, "member without a name")
        if size:
            self._current = _show(name)
        return member

    def data(self) -> Iterator[bytes | memoryview]:
        """Yields the current member's data, in pieces of up to 1 MiB. A piece is valid until the next one is requested.

        Raises:
            TarFormatError: the archive ends inside the data.
        """
        source = self._source
        while self._left:
            piece = source.piece(min(self._left, _DATA_PIECE))
            if not piece:
                raise TarFormatError(
                    source.offset, f"archive ends inside the data, {self._left} bytes short", self._current
                )
            self._left -= len(piece)
            yield piece

    def read_all(self) -> bytes:
        """Returns the rest of the current member's data as one object."""
        data = self._source.take(self._left)
        if len(data) != self._left:
            raise TarFormatError(
                self._source.offset,
                f"archive ends inside the data, {self._left - len(data)} bytes short",
                self._current,
            )
        self._left = 0
        return data

    def trailer(self, limit: int) -> tuple[bytes, bool]:
        """Reads the archive's trailer, after `next` returned None.

        Returns:
            Every byte from the last member's data to the end of the stream, and whether they start with the padding of
            that data, because it was not zero.

        Raises:
            HeaderTooLargeError: there are more than `limit` bytes up to the last that is not zero, or more than sixteen
                times as many zeros after it.
        """
        trailer = bytearray(self._padding)
        zeros = 0
        while piece := self._source.piece(_DATA_PIECE):
            if any(piece):
                trailer += bytes(zeros)
                trailer += piece
                zeros = 0
            else:
                zeros += len(piece)
            if len(trailer) > limit or zeros > _ZEROS_FOR_EACH * limit:
                raise HeaderTooLargeError(
                    self.offset, f"more than {limit} bytes follow the end of the archive {limit_hint('trailer_size')}"
                )
        trailer += bytes(zeros)
        return bytes(trailer), self._trailer_has_padding

    def _finish_data(self) -> None:
        if self._left:
            for _ in self.data():
                pass
        if self._pad:
            pad = self._source.take(self._pad)
            if len(pad) != self._pad:
                raise TarFormatError(self._source.offset, "archive ends inside the padding", self._current)
            # Every writer pads with zeros. Other bytes become part of the next member's header bytes.
            if pad != structs.ZERO_BLOCK[: self._pad]:
                self._padding = pad
            self._pad = 0

    def _take_global(self, records: dict[bytes, bytes], offset: int) -> None:
        try:
            chosen = self._choose_global(records)
        except ValueError as error:
            raise TarFormatError(offset, str(error)) from None
        for key, value in chosen.items():
            if (old := self._global.get(key)) is not None:
                self._global_size -= len(key) + len(old)
            self._global[key] = value
            self._global_size += len(key) + len(value)
        if self._global_size > self._max_global:
            raise HeaderTooLargeError(
                offset, f"more than {self._max_global} bytes of global PAX records {limit_hint('global_pax_size')}"
            )

    def _extended_size(self, block: bytes, offset: int, *, checked: bool = True) -> int:
        if checked:
            self._check_sum(block, offset)
        size = parse_number(block[structs.SIZE], offset, "size of an extension header")
        if size > self._max_header:
            raise HeaderTooLargeError(
                offset, f"extension header of {size} bytes is larger than {self._max_header} {limit_hint('pax_size')}"
            )
        return size

    @staticmethod
    def _check_sum(block: bytes, offset: int) -> None:
        stored = block[structs.CHECKSUM]
        if _octal(stored) != structs.header_checksum(block):
            raise TarFormatError(
                offset,
                f"header checksum is {structs.header_checksum(block):o}, the header says {stored.rstrip(bytes(1))!r}",
                _show(_text(block[structs.NAME])),
            )


_REGULAR_TYPES = frozenset({structs.REGULAR, structs.REGULAR_OLD, structs.CONTIGUOUS})
_NO_DATA_TYPES = frozenset({structs.LINK, structs.SYMLINK, structs.DIRECTORY, ord("3"), ord("4"), ord("6")})
_EXTENSIONS = frozenset({structs.PAX, structs.PAX_GLOBAL, structs.GNU_LONG_NAME, structs.GNU_LONG_LINK})
_ZEROS_FOR_EACH = 16
"""Some writers pad archives with many zeros."""
_PLAIN_TYPES = _REGULAR_TYPES - {structs.REGULAR_OLD} | _NO_DATA_TYPES


def parse_pax(data: bytes, offset: int) -> dict[bytes, bytes]:
    """Returns the records of a PAX block ("LENGTH KEY=VALUE\\n"). A later record of the same key wins.

    The running time is linear in the length of `data`.

    Args:
        data: the block without its padding.
        offset: the position of the block in the archive, for messages.

    Raises:
        TarFormatError: a record's length does not fit its text.
    """
    records: dict[bytes, bytes] = {}
    at = 0
    # One call finds the records without newlines, which nearly all records are. Each length is then checked against
    # the text. `findall` gets only a sequence of records, so it never searches further than the next one.
    whole = _PAX_RECORDS.match(data)
    for length, key, value in _PAX_RECORD.findall(data, 0, whole.end() if whole else 0):
        size = len(length) + len(key) + len(value) + 3
        if int(length) != size:
            break
        records[key] = value
        at += size
    while at < len(data):
        space = data.find(b" ", at, at + 10)
        digits = data[at:space]
        if space < 0 or not digits.isdigit():
            raise TarFormatError(offset + at, "PAX record does not start with its length")
        end = at + int(digits)
        equals = data.find(b"=", space, end)
        if end > len(data) or equals < 0 or data[end - 1] != 0x0A or equals == space + 1:
            raise TarFormatError(offset + at, f"PAX record of length {digits.decode()} is malformed")
        records[data[space + 1 : equals]] = data[equals + 1 : end - 1]
        at = end
    return records


def parse_number(field: bytes, offset: int, what: str) -> int:
    """Returns the number in a header field: octal digits, or GNU's base-256 if the top bit is set.

    Raises:
        TarFormatError: the field has neither form, or the number is negative, or beyond 2^63.
    """
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] & 0x40 or value >= 1 << 63:
            if what == "mtime":
                return value - (1 << (8 * len(field) - 1))
            raise TarFormatError(offset, f"{what} does not fit in 63 bits")
        return value
    number = _octal(field)
    if number is None:
        raise TarFormatError(offset, f"{what} {field!r} is not an octal number")
    return number


def _octal(field: bytes) -> int | None:
    """Returns the number in octal digits between spaces and NULs; 0 for an empty field, None for other text."""
    text = field.strip(b" \0")
    if not text:
        return 0
    return int(text, 8) if text.isdigit() and b"8" not in text and b"9" not in text else None


def _text(field: bytes) -> bytes:
    end = field.find(0)
    return field if end < 0 else field[:end]


def _show(name: bytes) -> str:
    return name[:300].decode("utf-8", "replace")
