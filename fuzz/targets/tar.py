"""What is read of a tar: its compression, its blocks, its PAX records, and the entries that its members stand for."""

from __future__ import annotations

import io

from fuzz.target import Target
from wclayer.errors import LayerError
from wclayer.formats.compressed_file import CompressedFile, Waypoints
from wclayer.formats.compression import Compression, HashedInput, detect
from wclayer.formats.hashed_output import HashedOutput
from wclayer.formats.tar import structs
from wclayer.formats.tar.reader import TarFormatError, TarMember, TarStream, parse_number, parse_pax
from wclayer.formats.tar.writer import TarHeader, encode_header, encode_pax_record
from wclayer.layers.backup_api import BackupLayerReader
from wclayer.layers.tar import TarLayerReader
from wclayer.layers.tar.header_delta import decode_header_delta, encode_header_delta
from wclayer.layers.tar.members import decode_base64, decode_entry, encode_entry, global_records, whiteout_name
from wclayer.model import Limits

_MAGIC = 257
_MOST = 16 << 20
"""Bytes that data may expand to."""


def _sealed(data: bytes) -> bytes:
    """The data with the right checksum in whatever block looks like a header, so that the search gets past it."""
    out = bytearray(data)
    for start in range(0, len(out) - structs.BLOCK + 1, structs.BLOCK):
        if out[start + _MAGIC : start + _MAGIC + 5] == b"ustar":
            block = bytes(out[start : start + structs.BLOCK])
            out[start + 148 : start + 156] = b"%06o\0 " % structs.header_checksum(block)
    return bytes(out)


def _tar(data: bytes) -> None:
    """The headers, the data, the padding and the trailer of an archive are all of its bytes."""
    data = _sealed(data)
    stream: TarStream[TarMember] = TarStream(iter([data[:700], data[700:]]), max_header=4096, max_global=4096)
    whole = b""
    try:
        while isinstance(member := stream.next(), TarMember):
            assert whole == data[: member.offset], "a header is not where it is said to be"
            whole += member.header
            contents = b"".join(bytes(piece) for piece in stream.data())
            assert len(contents) == member.size
            whole += contents
            padding = data[len(whole) : len(whole) + structs.padding(member.size)]
            # Padding that is not zero is part of what comes next.
            if not any(padding):
                whole += padding
        trailer, _ = stream.trailer(4096)
    except TarFormatError:
        assert 0 <= stream.offset <= len(data)
        raise
    assert whole + trailer == data, "the parts are not the whole"


def _pax(data: bytes) -> None:
    """The records of a block are there again when they are written."""
    records = parse_pax(data, 0)
    again = b"".join(encode_pax_record(key, value) for key, value in records.items())
    assert parse_pax(again, 0) == records


def _number(data: bytes) -> None:
    parse_number(data.ljust(8, b"\0"), 0, "size")


def _member(data: bytes) -> None:
    """The entry of a member is the same after it was written and read again."""
    if b"\0" in data:
        # No member that is written has it in its names.
        return
    fields, _, pax = data.partition(b"\n\n")
    name, _, rest = fields.partition(b"\n")
    link_name, _, kind = rest.partition(b"\n")
    records = {key: value for key, _, value in (line.partition(b"=") for line in pax.split(b"\n")) if key}
    whiteout_name(name)
    if kind == b"g":
        global_records(records)
    size = 3 if kind == b"0" else 0
    entry = decode_entry(TarMember(name, (kind or b"0")[0], 0o644, size, 5, link_name, records, b"", 0))
    if any(part in ("", ".") for part in entry.name.split("/")):
        # A layer refuses it by its name.
        return
    stream: TarStream[TarMember] = TarStream(iter([encode_entry(entry) + bytes(structs.BLOCK)]), max_header=1 << 20)
    member = stream.next()
    assert isinstance(member, TarMember)
    again = decode_entry(member)
    assert again == entry, f"{again} is not {entry}"


_MEMBER_SEEDS = [
    b"Files/a\n\n0\n\nMSWINDOWS.fileattr=32\nLIBARCHIVE.creationtime=1667169497.6310847\natime=1.5\nmtime=2.25\nctime=-3",
    b"Files/d\n\n5\n\nMSWINDOWS.rawsd=AQAEgBQAAAAkAAAAAAAAADQAAAABAgAAAAAABSAAAAAgAgAAAQIAAAAAAAUgAAAAIAIAAAIAHAAB"
    b"AAAAABAUAAAAABABAQAAAAAAAQAAAAA=",
    b"Files/d\n\n5\n\nMSWINDOWS.sd=O:BAG:SYD:(A;;FA;;;WD)\nMSWINDOWS.xattr.A=Yg==",
    b"Files/l\nC:\\x\n2\n\nMSWINDOWS.mountpoint=1",
    b"Files/l\n../x\n2\n\nMSWINDOWS.fileattr=1040",
    b"Files/.wh.gone\n\n7\n\n",
    b"Files/h\nFiles/a\n1\n\n",
]


def _base64(data: bytes) -> None:
    decode_base64(data)


def _form(data: bytes) -> None:
    """A form gives back the bytes that it was made of."""
    canonical, form = data[:16], data[16:]
    raw, own_padding = decode_header_delta(form, canonical)
    again = encode_header_delta(raw, canonical, own_padding=own_padding)
    if again is not None:
        assert decode_header_delta(again, canonical) == (raw, own_padding)


def _form_seeds() -> list[bytes]:
    canonical = b"0123456789abcdef"
    forms = (
        encode_header_delta(b"0123x56789abcdef", canonical),
        encode_header_delta(canonical * 20, canonical, own_padding=True),
        encode_header_delta(b"", canonical),
    )
    return [canonical + form for form in forms if form is not None]


def _compression(data: bytes) -> None:
    """Data that is decompressed comes back when it was compressed again."""
    kind = detect(data[:4])
    source = HashedInput(io.BytesIO(data), max_size=_MOST)
    try:
        plain = b"".join(bytes(piece) for piece in source)
    finally:
        source.close()
    if kind is Compression.NONE:
        assert plain == data
        return
    raw = io.BytesIO()
    with HashedOutput(raw, kind) as output:
        output.write(plain)
        output.finish()
    again = HashedInput(io.BytesIO(raw.getvalue()))
    try:
        assert b"".join(bytes(piece) for piece in again) == plain
        assert again.diff_id == source.diff_id
    finally:
        again.close()


def _compressed_file(data: bytes) -> None:
    """What is read at any offset is what is read from beginning to end, where both can be read."""
    file = CompressedFile(io.BytesIO(data), Waypoints())
    source = HashedInput(io.BytesIO(data), max_size=_MOST)
    try:
        plain = b"".join(bytes(piece) for piece in source)
    finally:
        source.close()
    for start in (0, len(plain) // 2, max(0, len(plain) - 1), min(1, len(plain)), len(plain)):
        assert file.read_at(start, 100) == plain[start : start + 100]
        assert file.stored <= len(data)


def _compressed_seeds() -> list[bytes]:
    seeds = []
    for compression in Compression:
        raw = io.BytesIO()
        with HashedOutput(raw, compression) as output:
            output.write(b"some data " * 100)
            output.finish()
        seeds += [raw.getvalue(), raw.getvalue() * 2]
    return [*seeds, b"\x50\x2a\x4d\x18\x02\0\0\0ab" + seeds[-1]]


def _tar_layer(data: bytes) -> None:
    data = _sealed(data)
    with TarLayerReader(io.BytesIO(data), limits=Limits(total_size=_MOST)) as reader:
        backup = BackupLayerReader(reader)
        while backup.next() is not None:
            while backup.read(1 << 16):
                pass
        reader.finish()


def _archive() -> bytes:
    """An archive with a file, a directory with a long name, and a link whose name is not ASCII."""
    records = {b"mtime": b"5.5", b"MSWINDOWS.fileattr": b"32"}
    members = (
        TarHeader(b"Files/a", size=3, mtime=5, pax=records),
        TarHeader(b"d" * 120 + b"/" + b"e" * 90, structs.DIRECTORY),
        TarHeader("\u00e9".encode() * 60, structs.SYMLINK, link_name=b"../x"),
    )
    return b"".join(encode_header(each) + b"abc".ljust(512, b"\0") * bool(each.size) for each in members) + bytes(1024)


TARGETS = {
    "base64": Target(_base64, lambda: [b"YWJj\nZA==", b"YQ=="], max_size=256),
    "compression": Target(_compression, _compressed_seeds, max_size=2048),
    "compressed_file": Target(_compressed_file, _compressed_seeds, max_size=2048),
    "pax": Target(
        _pax, lambda: [b"13 atime=1.5\n25 MSWINDOWS.fileattr=32\n"],
        words=(b"=", b"\n", b" ", b"13 mtime=1.5\n"), max_size=512,
    ),
    "tar": Target(_tar, lambda: [_archive()], words=(b"ustar\x0000", b"ustar  \0", b"././@LongLink"), max_size=8192),
    "tar_form": Target(_form, _form_seeds, max_size=512),
    "tar_layer": Target(
        _tar_layer, lambda: [_archive()], (LayerError,), words=(b".wh.", b":s", b"Files/"), max_size=16 << 10
    ),
    "tar_member": Target(
        _member,
        lambda: _MEMBER_SEEDS,
        words=(
            b"MSWINDOWS.fileattr=", b"MSWINDOWS.rawsd=", b"MSWINDOWS.sd=", b"MSWINDOWS.xattr.",
            b"MSWINDOWS.mountpoint=1",
            b"LIBARCHIVE.creationtime=", b"atime=", b"mtime=", b"ctime=", b"\n\n", b"..", b"Files/", b".wh.", b"C:\\",
        ),
        max_size=1024,
    ),
    "tar_number": Target(_number, lambda: [b"0000644\0", b"\x80\0\0\0\0\0\0\1", b"\xff" * 8, b" 12 "], max_size=16),
}  # fmt: skip
