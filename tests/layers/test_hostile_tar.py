"""Hostile and damaged tars: each is refused with the member and its offset, and nothing is left behind."""

from __future__ import annotations

import base64
import io
import random
import subprocess
import sys
from pathlib import Path

import pytest

import wclayer
from tests.support import (
    TRAILER_BYTES,
    archive,
    global_header,
    layer_tar,
    member,
    nothing_left_in,
    read_tar,
    vector_bytes,
)
from wclayer import sample
from wclayer.formats.tar.reader import TarMember, TarStream
from wclayer.layers.tar.members import global_records
from wclayer.model import Limits

_FILES = member(b"Files", kind=b"5")
_A = member(b"Files/a", b"a")
_HUGE_PAX = member(b"Files/a", comment=b"x" * (2 << 20))


def _bad_checksum(block: bytes) -> bytes:
    return block[:148] + b"0012345\0" + block[156:]


_CASES = {
    "truncated header": (archive(_FILES, _A)[:700], "offset 512.*ends inside a header"),
    "truncated data": (archive(_FILES, member(b"Files/a", b"x" * 2000))[:2000], "member 'Files/a'.*short"),
    "lone zero block": (archive(_FILES + bytes(512) + _A), "offset 1024: a lone zero block"),
    "no end": (_FILES + _A, "without its end-of-archive"),
    "bad checksum": (archive(_FILES, _bad_checksum(_A)), r"member 'Files/a', offset 512: header checksum"),
    "oversized PAX": (archive(_FILES, _HUGE_PAX), "offset 512: extension header of 2097"),
    "dot dot": (archive(_FILES, member(b"Files/../etc", b"a")), r"entry 'Files/\.\./etc' \(offset 512\): name '\.\.'"),
    "dot": (archive(_FILES, member(b"Files/./a", b"a")), r"name '\.'"),
    "absolute": (archive(_FILES, member(b"/Files/a")), r"offset 512"),
    "absolute alone": (archive(_FILES, member(b"/etc/passwd")), r"offset 512.*outside"),
    "drive": (archive(_FILES, member(b"C:/Files/a")), r"offset 512.*outside|character ':'"),
    "drive inside": (archive(_FILES, member(b"Files/C:/a")), r"offset 512.*character ':'"),
    "device": (archive(_FILES, member(b"Files/\\\\.\\C:")), r"offset 512.*character"),
    "backslash": (archive(_FILES, member(b"Files\\a")), r"offset 512"),
    "backslash inside": (archive(_FILES, member(b"Files/b\\..\\c")), r"offset 512.*character"),
    "NUL in a PAX path": (archive(_FILES, member(b"x", path=b"Files/a\0b")), r"offset 512.*character"),
    "empty component": (archive(_FILES, member(b"Files//a")), r"offset 512"),
    "empty name": (archive(_FILES, member(b"")), r"without a name"),
    "file under a file": (archive(_FILES, _A, member(b"Files/a/b")), r"\(offset 1536\): its parent is a file"),
    "case clash": (archive(_FILES, _A, member(b"Files/A")), r"'Files/A' \(offset 1536\): duplicate"),
    "case clash beyond ASCII": (
        archive(_FILES, member("Files/é".encode()), member("Files/É".encode())), r"duplicate"
    ),
    "duplicate file": (archive(_FILES, _A, _A), r"offset 1536\): duplicate"),
    "duplicate directory": (archive(_FILES, _FILES), r"duplicate"),
    "file over a directory": (
        archive(_FILES, member(b"Files/d", kind=b"5"), member(b"Files/d", b"x")), "duplicate"
    ),
    "outside at the root": (archive(_FILES, member(b"Evil")), r"'Evil' \(offset 512\): lies outside Files"),
    "outside first": (archive(member(b"Evil/x")), r"outside Files"),
    "outside the utility VM": (
        archive(member(b"UtilityVM", kind=b"5"), member(b"UtilityVM/x")), "outside UtilityVM/Files"
    ),
    "root as a file": (archive(member(b"Files", b"x")), "must be a directory"),
    "tombstone in a base layer": (archive(_FILES, member(b"Files/.wh.a")), r"tombstone 'Files/a' \(offset 512\).*base"),
    "tombstone with data": (archive(_FILES, member(b"Files/.wh.a", b"x")), "whiteout with data"),
    "empty tombstone": (archive(_FILES, member(b"Files/.wh.")), "empty name|base layer"),
    "link to nothing": (archive(_FILES, member(b"Files/l", kind=b"1", link=b"Files/no")), "'Files/no', which is not"),
    "link to later": (
        archive(_FILES, member(b"Files/l", kind=b"1", link=b"Files/a"), _A), "'Files/a', which is not there"
    ),
    "link to a directory": (archive(_FILES, member(b"Files/l", kind=b"1", link=b"Files")), "hard link to 'Files'"),
    "link with the attribute of a directory": (
        archive(_FILES, _A, member(b"Files/l", kind=b"1", link=b"Files/a", MSWINDOWS_fileattr=b"16")),
        r"'Files/l' \(offset \d+\): hard link to 'Files/a' with the attribute of a directory",
    ),
    "link out": (archive(_FILES, member(b"Files/l", kind=b"1", link=b"../../etc/passwd")), "not a path of a layer"),
    "link out inside": (
        archive(_FILES, member(b"Files/l", kind=b"1", link=b"Files/../../x")), "not a path of a layer"
    ),
    "link to a hive": (
        archive(_FILES, member(b"Hives", kind=b"5"), member(b"Hives/h", b"x"),
                member(b"Files/l", kind=b"1", link=b"Hives/h")), "links are possible below",
    ),
    "no parent": (archive(_FILES, member(b"Files/d/a")), "parent directory was not there"),
    "below a symbolic link": (
        archive(_FILES, member(b"Files/s", kind=b"2", link=b"C:\\x", MSWINDOWS_fileattr=b"1040"), member(b"Files/s/a")),
        "parent is a symbolic link or mount point|parent is a file",
    ),
    "below a file symbolic link": (
        archive(_FILES, member(b"Files/s", kind=b"2", link=b"/etc"), member(b"Files/s/a")), "parent is a"
    ),
    "device member": (archive(_FILES, member(b"Files/d", kind=b"3")), "member of type '3'"),
    "fifo member": (archive(_FILES, member(b"Files/d", kind=b"6")), "member of type '6'"),
    "GNU sparse member": (archive(_FILES, member(b"Files/d", kind=b"S")), "member of type 'S'"),
    "PAX sparse member": (archive(_FILES, member(b"Files/d", b"x", GNU_sparse_major=b"1")), "sparse member"),
    "not UTF-8": (archive(_FILES, member(b"x", path=b"Files/\xff\xfe")), "member .* decode"),
    "stream of a link": (
        archive(_FILES, _A, member(b"Files/l", kind=b"1", link=b"Files/a"), member(b"Files/l:s", b"x")),
        "stream of a hard link",
    ),
    "stream of nothing": (archive(_FILES, member(b"Files/a:s", b"x")), "character ':'"),
    "stream not UTF-8": (archive(_FILES, _A, member(b"x", b"x", path=b"Files/a:\xff")), "decode"),
    "stream twice": (
        archive(_FILES, _A, member(b"Files/a:s", b"1"), member(b"Files/a:S", b"2")), "duplicate stream"
    ),
    "stream with a colon": (archive(_FILES, _A, member(b"Files/a:s:t", b"1")), "character ':' in a stream name"),
    "attributes": (archive(_FILES, member(b"Files/a", MSWINDOWS_fileattr=b"-1")), "not a 32-bit number"),
    "attributes too large": (archive(_FILES, member(b"Files/a", MSWINDOWS_fileattr=b"4294967296")), "not a 32-bit"),
    "directory with data": (archive(_FILES, member(b"Files/a", b"x", MSWINDOWS_fileattr=b"16")), "directory by its"),
    "time": (archive(_FILES, member(b"Files/a", LIBARCHIVE_creationtime=b"never")), "not decimal seconds"),
    "time out of range": (archive(_FILES, member(b"Files/a", atime=b"-99999999999")), "outside 1601"),
    "descriptor": (archive(_FILES, member(b"Files/a", MSWINDOWS_rawsd=b"!!!")), "not base64"),
    "SDDL": (archive(_FILES, member(b"Files/a", MSWINDOWS_sd=b"nonsense")), "SDDL"),
    "EA": (archive(_FILES, member(b"Files/a", MSWINDOWS_xattr_X=b"%%%")), "not base64"),
    "link target": (
        archive(_FILES, member(b"Files/a", kind=b"2", link=b"x" * 70_000)),
        r"member 'Files/a' \(offset 512\): link target of 70000 UTF-16 units is longer than Windows allows",
    ),
    "EA list": (archive(_FILES, member(b"Files/a", WCLAYER_ea=base64.b64encode(b"\xff" * 9))), "EA list"),
    "reparse": (archive(_FILES, member(b"Files/a", WCLAYER_reparse=base64.b64encode(b"\xff" * 9))), "reparse buffer"),
    "extra stream": (archive(_FILES, member(b"Files/a", WCLAYER_stream_0_99_0=b":")), "does not name a stream"),
    "extra stream numbers": (archive(_FILES, member(b"Files/a", WCLAYER_stream_0_7_9999999999=b":")), "does not name"),
    "PAX size": (archive(_FILES, member(b"Files/a", size=b"-5")), "PAX size .* is not a number"),
    "trailing junk": (archive(_FILES) + b"j" * (2 << 20), "follow the end of the archive"),
    "global EA": (archive(_FILES, global_header(MSWINDOWS_xattr_X=b"eA=="), _A), "it belongs to one member"),
    "global sparse": (archive(_FILES, global_header(GNU_sparse_major=b"1"), _A), "it belongs to one member"),
    "gzip damage": (b"\x1f\x8b\x08\0" + b"x" * 100, "gzip"),
    "zstd damage": (b"\x28\xb5\x2f\xfd" + b"x" * 100, "zstd"),
    "empty": (b"", "without its end-of-archive"),
}  # fmt: skip


@pytest.mark.parametrize("name", _CASES)
def test_each_is_refused_by_name_and_place(name: str, tmp_path: Path) -> None:
    data, problem = _CASES[name]
    with nothing_left_in(tmp_path), pytest.raises(wclayer.InvalidDataError, match=problem) as refused:
        wclayer.import_layer_from_tar(io.BytesIO(data), tmp_path / "layer", source="evil.tar")
    assert "evil.tar" in str(refused.value)
    assert refused.value.code in (13, 223)


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (Limits(entries=5), "more than 5 entries"),
        (Limits(total_size=100_000), "more than 100000 bytes"),
        (Limits(pax_size=50), "larger than 50"),
        (Limits(path_length=20), "path longer than 20 UTF-16 units"),
    ],
)
def test_limits_are_settable(limits: Limits, problem: str, tmp_path: Path) -> None:
    data = layer_tar(sample.write_base)
    with nothing_left_in(tmp_path), pytest.raises(wclayer.LimitExceededError, match=problem) as refused:
        wclayer.import_layer_from_tar(io.BytesIO(data), tmp_path / "layer", limits=limits)
    assert refused.value.code == 223


def test_expansion_is_limited(tmp_path: Path) -> None:
    import gzip

    data = gzip.compress(archive(_FILES, member(b"Files/zeros", bytes(90 << 20))))
    with nothing_left_in(tmp_path), pytest.raises(wclayer.LimitExceededError, match="more than 100 for one"):
        wclayer.import_layer_from_tar(io.BytesIO(data), tmp_path / "layer", limits=Limits(ratio=100))


@pytest.mark.parametrize(
    "block",
    [
        b"1" * (1 << 20), b"1 " * (1 << 19), b"1 a=" * (1 << 18), b"9 a=b\n" * 170_000, b"1 " + b"a" * (1 << 20),
        b"6 a=b\n" * 170_000, b"7 a=\n\n\n" * 150_000, b"99999999 " * 100_000,
    ],
    ids=range(8),
)  # fmt: skip
def test_the_time_of_pax_records_is_linear_in_their_bytes(block: bytes) -> None:
    """The first of these took more than an hour, and Ctrl-C did not end it."""
    program = "import sys; from wclayer.formats.tar.reader import *\ntry: parse_pax(sys.stdin.buffer.read(), 0)\n"
    program += "except TarFormatError: pass"
    subprocess.run([sys.executable, "-c", program], input=block, check=True, timeout=60)


def test_one_large_record_is_read(tmp_path: Path) -> None:
    data = archive(_FILES, member(b"Files/a", comment=b"1" * 1_000_000))
    assert [entry.name for entry, _ in read_tar(data)] == ["Files", "Files/a"]


def test_global_records_cost_members_nothing_that_do_not_concern_them() -> None:
    headers = [global_header(**{f"comment{number}": b"x" * 1000, "mtime": b"7"}) for number in range(100)]
    members: list[TarMember] = []
    stream: TarStream[TarMember] = TarStream(iter([archive(*headers, _FILES, _A)]), choose_global=global_records)
    while (found := stream.next()) is not None:
        members.append(found)
    assert [member.pax for member in members] == [{b"mtime": b"7"}] * 2


def test_global_records_are_bounded(tmp_path: Path) -> None:
    data = archive(*(global_header(path=b"x" * 700), global_header(linkpath=b"x" * 700)), _FILES)
    with nothing_left_in(tmp_path), pytest.raises(wclayer.LimitExceededError, match="limit global_pax_size"):
        wclayer.import_layer_from_tar(io.BytesIO(data), tmp_path / "layer", limits=Limits(global_pax_size=1000))
    # The same records again take no more room.
    assert (
        len(
            read_tar(
                archive(_FILES, *[global_header(mtime=b"7") for _ in range(500)], _A), limits=Limits(global_pax_size=20)
            )
        )
        == 2
    )


def test_a_generated_corpus(tmp_path: Path) -> None:
    """Random damage to a real layer: a layer comes out whole, or an error and nothing."""
    source = random.Random(7)
    whole = vector_bytes("child-no-junction.tar")
    outcomes = {"whole": 0, "refused": 0}
    for number in range(300):
        data = bytearray(whole)
        for _ in range(source.choice((1, 1, 2, 8))):
            kind = source.randrange(4)
            at = source.randrange(len(data))
            if kind == 0:
                data[at] = source.randrange(256)
            elif kind == 1:
                del data[at : at + source.choice((1, 512, 1024))]
            elif kind == 2:
                data[at:at] = data[at - at % 512 : at - at % 512 + 512]
            else:
                block = at - at % 512
                data[block : block + 512] = source.randbytes(512)
        layer = tmp_path / f"layer{number}"
        try:
            wclayer.import_layer_from_tar(io.BytesIO(bytes(data)), layer)
        except wclayer.LayerError:
            outcomes["refused"] += 1
            assert not layer.exists()
        else:
            outcomes["whole"] += 1
            assert list(wclayer.check_layer(layer)) == []
            raw = io.BytesIO()
            wclayer.export_layer_to_tar(raw, layer)
            assert raw.getvalue() == bytes(data)
    assert outcomes["refused"] > 50
    assert outcomes["whole"] > 5
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_child_may_do_what_a_base_may_not() -> None:
    data = archive(_FILES, member(b"Files/.wh.a"), member(b"Files/l", kind=b"1", link=b"Files/in a parent"))
    assert [entry.name for entry, _ in read_tar(data)] == ["Files", "Files/a", "Files/l"]


def test_common_spellings_are_read() -> None:
    """`./` in front, a slash behind a directory: what common writers add."""
    data = archive(member(b"./Files/", kind=b"5"), member(b"./Files/a", b"x"))
    assert [entry.name for entry, _ in read_tar(data)] == ["Files", "Files/a"]
    assert data[-1024:] == TRAILER_BYTES


def test_defaults_of_missing_records() -> None:
    ((root, _), (file, _)) = read_tar(archive(_FILES, _A))
    assert root.info is not None
    assert file.info is not None
    assert (root.info.attributes, file.info.attributes) == (0x10, 0)
    written = 116_444_736_000_000_000 + 1_600_000_000 * 10_000_000
    assert file.info.creation_time == file.info.last_access_time == file.info.change_time == written


def test_old_tars_have_sddl() -> None:
    ((_, _), (file, _)) = read_tar(archive(_FILES, member(b"Files/a", MSWINDOWS_sd=b"O:BAG:SYD:(A;;FA;;;WD)")))
    assert file.security is not None
    assert file.security[:4] == b"\x01\x00\x04\x80"


def test_a_header_that_could_not_be_written_again_is_refused(tmp_path: Path) -> None:
    """However far the limits are raised."""
    limits = Limits(pax_size=1 << 30, trailer_size=1 << 30)
    large = member(b"Files/a", comment=b"x" * (33 << 20))
    for data, problem in (
        (archive(_FILES, large), "member 'Files/a'.*no more than 33554432 can be kept"),
        (archive(_FILES) + bytes(33 << 20), "no more than 33554432 can be kept"),
    ):
        with nothing_left_in(tmp_path), pytest.raises(wclayer.InvalidDataError, match=problem):
            wclayer.import_layer_from_tar(io.BytesIO(data), tmp_path / "layer", limits=limits)
