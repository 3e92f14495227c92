"""The rows of a layer's entries say what the tar says, as Python's `tarfile` reads it, and pefile of the programs."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pefile
import pytest

from tests.fleet.windows_layers import make_layers
from tests.support import VECTORS, info, layer_tar, put_directories, put_file, vector_bytes
from wclayer import sample
from wclayer.errors import CorruptLayerError
from wclayer.fleet.tables.file_rows import file_rows
from wclayer.fleet.tables.rows import layer_row
from wclayer.fleet.tables.schema import FileKind, FileRow
from wclayer.images.descriptor import OCI_LAYER, Descriptor
from wclayer.inventory.facts.archive import unpack_facts
from wclayer.inventory.facts.contents import CONTENTS_FILE
from wclayer.inventory.facts.reading import make_facts
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.win32.filetime import MAX_FILETIME, TICKS_PER_SECOND, UNIX_EPOCH
from wclayer.win32.sddl import security_text


def _applications() -> bytes:
    return make_layers().applications[0].tar


def _runtime() -> bytes:
    return next(iter(make_layers().runtimes.values())).tar


TARS: dict[str, Callable[[], bytes]] = {
    **{name: lambda name=name: vector_bytes(name) for name in VECTORS},  # type: ignore[misc]
    "sample base": lambda: layer_tar(sample.write_base),
    "sample child": lambda: layer_tar(sample.write_child),
    "application": _applications,
    "runtime": _runtime,
}


def rows_of(blob: bytes, folder: Path) -> list[FileRow]:
    """The rows of a layer, whose counts are those of its summary."""
    folder.mkdir(exist_ok=True)
    descriptor = Descriptor.of(blob, OCI_LAYER)
    made = make_facts(lambda: io.BytesIO(blob), descriptor, folder / "facts")
    unpack_facts(folder / "facts", folder / "unpacked")
    rows = list(file_rows(folder / "unpacked", made.digest))
    assert {row.layer for row in rows} == {made.digest}
    told = layer_row(made, is_base=True)
    assert (told.layer, told.stored_size) == (descriptor.digest, descriptor.size)
    assert told.entries == len(rows)
    files = [row for row in rows if row.kind in (FileKind.FILE, FileKind.LINK) and not (row.attributes or 0) & 0x10]
    assert told.files == len(files)
    assert told.bytes == sum(row.size or 0 for row in files)
    return rows


def _ticks(seconds: str) -> int:
    return UNIX_EPOCH + int(Decimal(seconds) * TICKS_PER_SECOND)


@pytest.mark.parametrize("name", TARS)
def test_the_rows_say_what_the_tar_says(name: str, tmp_path: Path) -> None:
    blob = TARS[name]()
    # The name of a directory has one spelling in the rows: that of its own entry.
    found = {row.path.casefold(): row for row in rows_of(blob, tmp_path)}
    streams: dict[str, int] = {}
    seen = set()
    with tarfile.open(fileobj=io.BytesIO(blob)) as tar:
        for member in tar:
            folder, _, last = member.name.rpartition("/")
            if last.startswith(".wh."):
                row = found[f"{folder}/{last.removeprefix('.wh.')}".casefold()]
                assert row.kind == FileKind.TOMBSTONE
                assert {row.size, row.attributes, row.created, row.security} == {None}
            elif ":" in last:
                file = f"{folder}/{last.partition(':')[0]}".casefold()
                streams[file] = streams.get(file, 0) + 1
                continue
            else:
                row = found[member.name.casefold()]
                _check_entry(row, member, tar)
            seen.add(row.path.casefold())
    assert seen == found.keys()
    for path, row in found.items():
        if row.kind in (FileKind.FILE, FileKind.DIRECTORY):
            assert row.streams == streams.get(path, 0)


def _check_entry(row: FileRow, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    if member.islnk():
        assert (row.kind, row.link_target) == (FileKind.HARD_LINK, member.linkname)
        return
    headers = member.pax_headers
    assert row.attributes == int(headers["MSWINDOWS.fileattr"])
    assert row.written == _ticks(headers.get("mtime", str(member.mtime)))
    assert row.accessed == _ticks(headers["atime"])
    assert row.changed == _ticks(headers["ctime"])
    assert row.created == _ticks(headers["LIBARCHIVE.creationtime"])
    if "MSWINDOWS.rawsd" in headers:
        assert row.security == security_text(base64.b64decode(headers["MSWINDOWS.rawsd"]))
    if member.issym() or "MSWINDOWS.mountpoint" in headers:
        assert row.kind == FileKind.LINK
        assert row.link_target
        assert member.linkname.replace("/", "\\") == row.link_target
    elif member.isdir():
        assert (row.kind, row.size, row.sha256) == (FileKind.DIRECTORY, None, None)
    else:
        opened = tar.extractfile(member)
        assert opened is not None
        data = opened.read()
        assert row.kind == FileKind.FILE
        assert (row.size, row.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        _check_pe(row, data)


def _check_pe(row: FileRow, data: bytes) -> None:
    try:
        image = pefile.PE(data=data)
    except pefile.PEFormatError:
        assert {row.pe_machine, row.pe_version, row.pe_signed} == {None}
        return
    machines = {0x8664: "amd64", 0x14C: "x86", 0xAA64: "arm64"}
    assert row.pe_machine == machines[image.FILE_HEADER.Machine]
    assert row.pe_signed == bool(image.OPTIONAL_HEADER.DATA_DIRECTORY[4].Size)
    if hasattr(image, "VS_FIXEDFILEINFO"):
        fixed = image.VS_FIXEDFILEINFO[0]
        words = (
            fixed.FileVersionMS >> 16, fixed.FileVersionMS & 0xFFFF,
            fixed.FileVersionLS >> 16, fixed.FileVersionLS & 0xFFFF,
        )  # fmt: skip
        if any(words):
            assert row.pe_version == ".".join(map(str, words))
        texts = {
            key.decode(): value.decode()
            for block in image.FileInfo[0]
            if hasattr(block, "StringTable")
            for key, value in block.StringTable[0].entries.items()
        }
        assert row.pe_product == (texts.get("ProductName") or None)
        assert row.pe_company == (texts.get("CompanyName") or None)


def test_there_are_programs_among_the_tars() -> None:
    for tar in (_applications(), _runtime()):
        with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
            assert any(name.endswith((".exe", ".dll")) for name in opened.getnames())


# Names and values that are rare.


def _rare(writer: LayerWriter) -> None:
    put_directories(writer, "Files/d")
    put_file(writer, "Files/d/lone \ud800 surrogate", b"")
    put_file(writer, "Files/d/straße", b"a")
    put_file(writer, "Files/d/\U0001f600", b"b")
    put_file(writer, "Files/d/a b", b"c")
    put_file(writer, "Files/d/a", b"d")


def test_rare_names_have_a_key(tmp_path: Path) -> None:
    rows = {row.path: row.key for row in rows_of(layer_tar(_rare), tmp_path)}
    assert rows == {
        "Files/d": None, "Files/d/a": None, "Files/d/a b": None,
        "Files/d/lone \ud800 surrogate": "FILES/D/LONE \ud800 SURROGATE",
        "Files/d/straße": "FILES/D/STRAßE", "Files/d/\U0001f600": "FILES/D/\U0001f600",
    }  # fmt: skip


def test_extreme_times_are_kept(tmp_path: Path) -> None:
    def extreme(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        times = {"creation_time": 0, "last_access_time": 1, "last_write_time": MAX_FILETIME, "change_time": UNIX_EPOCH}
        writer.put(Entry("Files/f", replace(info(), **times), 1), [DataStream("", 1, (b"x",))])

    row = next(row for row in rows_of(layer_tar(extreme), tmp_path) if row.path == "Files/f")
    assert (row.created, row.accessed, row.written, row.changed) == (0, 1, MAX_FILETIME, UNIX_EPOCH)


def test_damaged_facts_are_told(tmp_path: Path) -> None:
    rows_of(layer_tar(_rare), tmp_path)
    for name in ("layer.db", CONTENTS_FILE):
        place = tmp_path / "unpacked" / name
        data = place.read_bytes()
        place.write_bytes(data[: len(data) // 2])
        with pytest.raises(CorruptLayerError):
            list(file_rows(tmp_path / "unpacked", "sha256:0"))
        place.write_bytes(data)
