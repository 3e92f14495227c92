"""The targets, their seeds, and the errors that bad bytes may give."""

from __future__ import annotations

import contextlib
import io
import tempfile
from functools import lru_cache
from pathlib import Path
from uuid import UUID

from fuzz.target import Target
from wclayer import sample
from wclayer.engines.portable import export_layer_to_tar, import_layer_from_tar
from wclayer.errors import InvalidDataError
from wclayer.formats.bcd import read_store
from wclayer.formats.compression import Compression, HashedInput, HashedOutput
from wclayer.formats.gpt.structs import MBR_PARTITION
from wclayer.formats.gpt.table import data_disk_table, read_table, write_table
from wclayer.formats.mbr.table import read_mbr
from wclayer.formats.ntfs.lznt1 import decompress
from wclayer.formats.ntfs.runs import Run, decode_runs, encode_runs
from wclayer.formats.ntfs.structs import NtfsError
from wclayer.formats.ntfs.volume import NtfsVolume
from wclayer.formats.regf import structs
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.layered import merge
from wclayer.formats.regf.minimal import empty_root
from wclayer.formats.regf.model import TreeKey, Value, walk
from wclayer.formats.regf.recovery import recover
from wclayer.formats.regf.text import encode_reg, format_reg, parse_reg
from wclayer.formats.regf.writer import write_hive
from wclayer.formats.tar.reader import parse_pax
from wclayer.formats.vhd import structs as vhd_structs
from wclayer.formats.vhd.image import DynamicVhd, read_facts
from wclayer.formats.vhd.structs import Footer as VhdFooter
from wclayer.formats.vhd.structs import Header as VhdHeader
from wclayer.formats.vhdx.check import check_vhdx
from wclayer.formats.vhdx.create import create_vhdx
from wclayer.formats.vhdx.image import Vhdx
from wclayer.layers.directory.check import check_layer
from wclayer.layers.tar import TarLayerReader, TarLayerWriter
from wclayer.layers.transport import TransportLayerReader
from wclayer.layers.volume.raw import RawDisk
from wclayer.layers.volume.writer import VolumeLayerWriter
from wclayer.model import DataStream, Entry, Limits
from wclayer.view.layer_view import split_stream
from wclayer.view.merged import layer_path
from wclayer.view.resolve import link_path
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.backup import BackupStreamParser, StreamHeader
from wclayer.win32.ea import ExtendedAttribute, decode_eas, encode_eas
from wclayer.win32.inherit import volume_root
from wclayer.win32.reparse import LinkTarget, decode_link, decode_reparse
from wclayer.win32.sddl import from_sddl, to_sddl
from wclayer.win32.security import SecurityDescriptor
from wclayer.win32.shortnames import short_names


def _child_tar() -> bytes:
    raw = io.BytesIO()
    with TarLayerWriter(raw) as writer:
        sample.write_child(writer)
    return raw.getvalue()


def _tar_layer(data: bytes) -> None:
    with TarLayerReader(io.BytesIO(data), limits=Limits(total_size=64 << 20)) as reader:
        for _ in reader:
            reader.read()
        reader.finish()


def _import(data: bytes) -> None:
    """What is accepted is whole, and comes back as it was."""
    with tempfile.TemporaryDirectory() as folder:
        layer = Path(folder) / "layer"
        import_layer_from_tar(io.BytesIO(data), layer, limits=Limits(total_size=64 << 20))
        problems = list(check_layer(layer))
        raw = io.BytesIO()
        if not export_layer_to_tar(raw, layer).unchanged:
            raise AssertionError("the export is not what was imported")
        # A descriptor may be any bytes: Windows takes it as it is, and check says what it thinks of it.
        if any("security" not in problem.path for problem in problems):
            raise AssertionError(f"an import that check does not like: {problems}")


def _compression(data: bytes) -> None:
    source = HashedInput(io.BytesIO(data), max_size=16 << 20)
    try:
        for _ in source:
            pass
    finally:
        source.close()


def _compressed_seeds() -> list[bytes]:
    seeds = []
    for compression in Compression:
        raw = io.BytesIO()
        with HashedOutput(raw, compression) as output:
            output.write(b"some data " * 100)
            output.finish()
        seeds.append(raw.getvalue())
    return seeds


def _backup_stream(data: bytes) -> None:
    parser = BackupStreamParser()
    for start in range(0, len(data), 7):
        for _ in parser.feed(data[start : start + 7]):
            pass
    parser.finish()


def _transport(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tombstones.txt").write_bytes(b"\xef\xbb\xbfVersion 1.0\r\n" + data[:40])
        (folder / "Files").mkdir()
        (folder / "Files" / "a").write_bytes(data)
        with TransportLayerReader(folder) as reader:
            for _ in reader:
                reader.read()


def _security(data: bytes) -> None:
    descriptor = SecurityDescriptor.decode(data)
    if SecurityDescriptor.decode(descriptor.encode()) != descriptor:
        raise AssertionError("a descriptor does not survive its encoding")
    to_sddl(descriptor)


def _sddl(data: bytes) -> None:
    descriptor = from_sddl(data.decode("latin-1"))
    if to_sddl(from_sddl(to_sddl(descriptor))) != to_sddl(descriptor):
        raise AssertionError("SDDL does not survive")


def _reparse(data: bytes) -> None:
    decode_link(decode_reparse(data))


def _link(data: bytes) -> None:
    """Where a reparse point leads, if anywhere: components of a path."""
    link = link_path(data)
    if link is not None and any(not part or "/" in part for part in link.parts if not link.is_relative):
        raise AssertionError(f"components {link.parts}")


def _path(data: bytes) -> None:
    """However a path is spelled, it stays inside the layer."""
    file, _ = split_stream(data.decode("utf-16-le", "surrogatepass"))
    parts = layer_path(file).split("/")
    if ".." in parts or "." in parts or layer_path(layer_path(file)) != layer_path(file):
        raise AssertionError(f"path {layer_path(file)!r}")
    short = short_names(dict.fromkeys(parts))
    if len(short) != len(set(short.values())):
        raise AssertionError(f"short names {short}")


def _eas(data: bytes) -> None:
    if decode_eas(encode_eas(decode_eas(data))) != decode_eas(data):
        raise AssertionError("EAs do not survive")


def _pax(data: bytes) -> None:
    parse_pax(data, 0)


def _hive(data: bytes) -> None:
    hive = Hive(data)
    for path, key in walk(hive.root()):
        key.values()
        if path.count("\\") < 3:
            hive.find(path)
    if len(data) < 1 << 16:
        again = Hive(write_hive(hive.root())).root()
        if sum(1 for _ in walk(again)) != sum(1 for _ in walk(hive.root())):
            raise AssertionError("a hive does not survive")


def _hive_log(data: bytes) -> None:
    """The data is a dirty hive and its log."""
    recover(data[:HIVE_SIZE], [data[HIVE_SIZE:]])


def _delta(data: bytes) -> None:
    merged = merge(Hive(_hive_seed()).root(), Hive(data).root())
    if merged is not None:
        for _, key in walk(merged):
            key.values()


def _reg_text(data: bytes) -> None:
    for _ in parse_reg(data):
        pass


def _bcd(data: bytes) -> None:
    list(read_store(Hive(data).root()))


def _vhdx(data: bytes) -> None:
    file = io.BytesIO(data)
    disk = Vhdx(file)
    disk.read(0, min(disk.size, 4 << 20))
    for _ in check_vhdx(file, disk):
        pass


def _vhdx_seed() -> bytes:
    file = io.BytesIO()
    disk = create_vhdx(file, 2 << 20)
    disk.write(0, b"data")
    disk.flush()
    return file.getvalue()


def _vhd(data: bytes) -> None:
    file = io.BytesIO(data)
    facts = read_facts(file)
    if facts is None or facts.kind == "fixed":
        return
    disk = DynamicVhd(file, facts)
    for _ in disk.problems():
        pass
    disk.read(0, min(disk.size, 1 << 16))


def _vhd_seed() -> bytes:
    """A dynamic disk of one block of 64 KiB, with the first of its sectors."""
    footer = VhdFooter(
        b"conectix", 2, 0x10000, 512, 0, b"fuzz", 0, b"Wi2k", 1 << 16, 1 << 16, 0, 0, 0, 3, 0, bytes(16), 0
    )
    header = VhdHeader(b"cxsparse", (1 << 64) - 1, 1536, 0x10000, 1, 1 << 16, 0, bytes(16), 0, 0, b"", b"")
    first = vhd_structs.FOOTER.pack(*footer)
    second = vhd_structs.HEADER.pack(*header)
    first = vhd_structs.FOOTER.pack(*footer._replace(checksum=vhd_structs.checksum(first, 64)))
    second = vhd_structs.HEADER.pack(*header._replace(checksum=vhd_structs.checksum(second, 36)))
    return first + second + bytes((0, 0, 0, 4)).ljust(512, b"\xff") + b"\x80".ljust(512 + (1 << 16), b"\0") + first


def _mbr(data: bytes) -> None:
    read_mbr(RawDisk(io.BytesIO(data)))


def _mbr_seed() -> bytes:
    """A boot record with a primary and an extended partition, and the record of the latter."""
    entry = MBR_PARTITION.pack(0x80, b"", 7, b"", 8, 8)
    extended = MBR_PARTITION.pack(0, b"", 5, b"", 1, 99)
    return (
        bytes(446)
        + (entry + extended).ljust(64, b"\0")
        + b"\x55\xaa"
        + bytes(446)
        + entry.ljust(64, b"\0")
        + b"\x55\xaa"
    )


def _gpt(data: bytes) -> None:
    read_table(RawDisk(io.BytesIO(data)))


def _gpt_seed() -> bytes:
    disk = RawDisk(io.BytesIO(), size=18 << 20)
    write_table(disk, data_disk_table(18 << 20, 512, UUID(int=1), (UUID(int=2), UUID(int=3))))
    return disk.read(0, 18 << 20)[: 64 << 10]


def _ntfs(data: bytes) -> None:
    """The data is the MFT of a small volume."""
    volume_data = _volume_seed()
    start = volume_data.index(b"FILE0")
    volume = NtfsVolume(RawDisk(io.BytesIO(volume_data[:start] + data + volume_data[start + len(data) :])))
    for number in range(60):
        with contextlib.suppress(NtfsError):
            record = volume.record(number)
            for attribute in record.attributes:
                if attribute.size < 1 << 20:
                    volume.value(attribute)
            if record.is_directory:
                list(volume.entries(record))
            volume.object_id(record)


@lru_cache(maxsize=1)
def _volume_seed() -> bytes:
    disk = RawDisk(io.BytesIO(), size=8 << 20)
    info = FileBasicInfo(0x20, 1, 2, 3, 4)
    with VolumeLayerWriter(disk, "memory", serial=1, time=1) as writer:
        for number in range(20):
            data = b"x" * number * 100
            writer.put(
                Entry(f"Files/a long name of a file {number}", info, len(data)), [DataStream("", len(data), (data,))]
            )
    return disk.read(0, 8 << 20)


def _mft_seed() -> bytes:
    data = _volume_seed()
    start = data.index(b"FILE0")
    return data[start : start + (60 << 10)]


def _runs(data: bytes) -> None:
    found = list(decode_runs(data))
    if list(decode_runs(encode_runs(found))) != found:
        raise AssertionError("runs do not survive")


def _lznt1(data: bytes) -> None:
    decompress(data, 16_384)


def _hive_seed() -> bytes:
    root = empty_root(1)
    for name in ("Objects", "b\u20ac"):
        child = TreeKey(name, root.facts._replace(class_name=b"c\0"))
        child.set(Value("", 1, b"x\0\0\0"))
        child.set(Value("large", 3, bytes(20_000)))
        child.add(TreeKey("Elements", child.facts))
        root.add(child)
    return write_hive(root)


def _dirty_seed() -> bytes:
    """A hive whose write was not finished, followed by a log of the old format with all of its pages."""
    hive = _hive_seed()
    bitmap = b"\xff" * ((len(hive) - structs.BASE_BLOCK_SIZE) // structs.DIRTY_PAGE // 8)
    vector = (structs.DIRTY_VECTOR_SIGNATURE + bitmap).ljust(structs.LOG_SECTOR, b"\0")
    log = _with_header(hive, 28, structs.FILE_TYPE_OLD_LOGS[0])[: structs.LOG_SECTOR] + vector
    return _with_header(hive, 4, 7) + log + hive[structs.BASE_BLOCK_SIZE :]


def _with_header(hive: bytes, offset: int, number: int) -> bytes:
    """The hive with another number in its base block."""
    head = bytearray(hive[: structs.LOG_SECTOR])
    structs.OFFSET_ELEMENT.pack_into(head, offset, number)
    structs.BASE_CHECKSUM.pack_into(
        head, structs.BASE_CHECKSUM_OFFSET, structs.checksum(head[: structs.BASE_CHECKSUM_OFFSET])
    )
    return bytes(head) + hive[structs.LOG_SECTOR :]


HIVE_SIZE = len(_hive_seed())

TARGETS = {
    "backup_stream": Target(_backup_stream, lambda: [StreamHeader(4, 3, 0, ":s:$DATA").encode() + b"abc"]),
    "bcd": Target(_bcd, lambda: [_hive_seed()]),
    "compression": Target(_compression, _compressed_seeds),
    "delta": Target(_delta, lambda: [_hive_seed()]),
    "eas": Target(_eas, lambda: [encode_eas([ExtendedAttribute(b"A", b"b"), ExtendedAttribute(b"C", b"d")])]),
    "gpt": Target(_gpt, lambda: [_gpt_seed()]),
    "hive": Target(_hive, lambda: [_hive_seed()]),
    "hive_log": Target(_hive_log, lambda: [_dirty_seed()]),
    "import": Target(_import, lambda: [_child_tar()], (InvalidDataError,)),
    "link": Target(_link, lambda: [LinkTarget.from_path("C:\\x", is_mount_point=True).encode()]),
    "lznt1": Target(_lznt1, lambda: [b"\x03\x30abcd\0\0", b"\x06\xb0\x04ab\x00\x10\xff\x40\0"]),
    "mbr": Target(_mbr, lambda: [_mbr_seed()]),
    "ntfs": Target(_ntfs, lambda: [_mft_seed()]),
    "ntfs_runs": Target(_runs, lambda: [encode_runs([Run(5, 3), Run(None, 9), Run(2, 1)])]),
    "path": Target(_path, lambda: ["C:\\a\\..\\b:c".encode("utf-16-le"), "Files/A long one/..".encode("utf-16-le")]),
    "pax": Target(_pax, lambda: [b"12 atime=1.5\n26 MSWINDOWS.fileattr=32\n"]),
    "reg_text": Target(_reg_text, lambda: [b"".join(encode_reg(format_reg([("HKLM\\A", Hive(_hive_seed()).root())])))]),
    "reparse": Target(_reparse, lambda: [LinkTarget.from_path("C:\\x", is_mount_point=True).encode()]),
    "sddl": Target(_sddl, lambda: [to_sddl(volume_root()).encode(), b"O:BAD:P(OA;CI;RP;;;WD)S:(ML;;NW;;;LW)"]),
    "security": Target(_security, lambda: [volume_root().encode()]),
    "tar_layer": Target(_tar_layer, lambda: [_child_tar()], (InvalidDataError,)),
    "vhd": Target(_vhd, lambda: [_vhd_seed()]),
    "vhdx": Target(_vhdx, lambda: [_vhdx_seed()]),
    "transport": Target(_transport, lambda: [bytes(4) + StreamHeader(1, 3).encode() + b"abc"], (InvalidDataError,)),
}
