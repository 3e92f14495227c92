"""Writes tar headers the way Go's `archive/tar` writes them in its PAX format.

That writer made the existing Windows layers. An export reproduces the imported tar because it matches that writer byte
for byte. The rules: PAX records are sorted by key; the record block is named `<dir>/PaxHeaders.0/<base>`; strings in
headers lose every non-ASCII character and are cut to the field; numbers that do not fit are written as zero, with a PAX
record.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wclayer.formats.tar import structs
from wclayer.formats.tar.structs import BLOCK

_NAME_SIZE = 100
_PREFIX_SIZE = 155
_TAIL = structs.USTAR_MAGIC + bytes(64)
_PAX_NUMBERS = b"0000000\0" * 3
_DEVICES = b"0000000\0" * 2


@dataclass(slots=True)
class TarHeader:
    """The content of a member's header. `pax` holds the records that do not follow from the other fields."""

    name: bytes
    type: int = structs.REGULAR
    mode: int = 0
    size: int = 0
    mtime: int = 0
    link_name: bytes = b""
    pax: dict[bytes, bytes] = field(default_factory=dict)


def encode_header(header: TarHeader) -> bytes:
    """Returns all header blocks of a member: the PAX block, if the member needs one, then its own block."""
    name, link_name, size, mtime = header.name, header.link_name, header.size, header.mtime
    pax = header.pax
    if len(link_name) > _NAME_SIZE or not link_name.isascii():
        pax = {**pax, b"linkpath": link_name}
    if size > structs.MAX_OCTAL_11:
        pax = {**pax, b"size": b"%d" % size}
    split: tuple[bytes, bytes] | None = None
    if len(name) > _NAME_SIZE or not name.isascii():
        # Go uses ustar if the name can be split and nothing else needs PAX.
        split = None if pax else _split_ustar(name)
        if split is None:
            pax = {**pax, b"path": name}
    own = _block(
        split[1] if split else name, header.mode, size, mtime, header.type, link_name, split[0] if split else b""
    )
    if not pax:
        return own
    return encode_pax_block(name, pax) + own


def encode_pax_block(name: bytes, records: dict[bytes, bytes]) -> bytes:
    """Returns the PAX header and its padded records for the member `name`."""
    data = b"".join([encode_pax_record(key, records[key]) for key in sorted(records)])
    directory, slash, base = name.rpartition(b"/")
    # path.Join drops the empty last element of a name that ends with a slash.
    block_name = directory + slash + b"PaxHeaders.0" + (b"/" + base if base else b"")
    block_name = _ascii(block_name)[:_NAME_SIZE].rstrip(b"/")
    return _pax_header(block_name, len(data)) + data + bytes(-len(data) % BLOCK)


def encode_pax_record(key: bytes, value: bytes) -> bytes:
    """Returns a record, "LENGTH KEY=VALUE\\n", whose length includes its own digits."""
    size = len(key) + len(value) + 3
    total = size + len(str(size))
    if len(str(total)) != len(str(size)):
        total = size + len(str(total))
    return b"%d %b=%b\n" % (total, key, value)


def _pax_header(name: bytes, size: int) -> bytes:
    head = b"%b%b%011o\0" % (name.ljust(_NAME_SIZE, b"\0"), _PAX_NUMBERS, size)
    return _sealed(head + b"00000000000\0", b"x" + bytes(100) + structs.USTAR_MAGIC)


def _block(name: bytes, mode: int, size: int, mtime: int, kind: int, link_name: bytes, prefix: bytes) -> bytes:
    head = b"%b%07o\x000000000\x000000000\0%011o\0%011o\0" % (
        _field(name, _NAME_SIZE),
        mode,
        size if size <= structs.MAX_OCTAL_11 else 0,
        mtime if 0 <= mtime <= structs.MAX_OCTAL_11 else 0,
    )
    tail = b"%c%b%b%b%b" % (kind, _field(link_name, _NAME_SIZE), _TAIL, _DEVICES, prefix)
    return _sealed(head, tail)


def _sealed(head: bytes, tail: bytes) -> bytes:
    """Returns the block with its checksum, for which the checksum field counts as spaces."""
    checksum = structs.byte_sum(head + b"        " + tail)
    return (b"%b%06o\0 %b" % (head, checksum, tail)).ljust(BLOCK, b"\0")


def _field(text: bytes, size: int) -> bytes:
    text = _ascii(text)
    if len(text) > size:
        # If a cut name ended in a slash, old readers would take a file for a directory.
        text = text[:size].rstrip(b"/") if text[size - 1] == 0x2F else text[:size]
    return text.ljust(size, b"\0")


def _ascii(text: bytes) -> bytes:
    return text if text.isascii() else bytes(c for c in text if c < 0x80)


def _split_ustar(name: bytes) -> tuple[bytes, bytes] | None:
    """Splits `name` into ustar prefix and name at the last slash with which both fit; None if no slash does."""
    if not name.isascii():
        return None
    length = min(len(name), _PREFIX_SIZE + 1)
    if len(name) <= _PREFIX_SIZE + 1 and name.endswith(b"/"):
        length -= 1
    cut = name.rfind(b"/", 0, length)
    suffix = len(name) - cut - 1
    if cut <= 0 or suffix > _NAME_SIZE or suffix == 0 or cut > _PREFIX_SIZE:
        return None
    return name[:cut], name[cut + 1 :]
