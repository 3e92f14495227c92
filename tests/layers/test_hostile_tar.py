"""Hostile and damaged tars: each is refused with the member and its offset, and nothing is left behind."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from pathlib import Path

import pytest

import wclayer
from tests.hostile.tars import CASES, FILE_A, FILES
from tests.support import (
    TRAILER_BYTES,
    archive,
    global_header,
    layer_tar,
    member,
    nothing_left_in,
    put_directories,
    put_file,
    read_tar,
    vector_bytes,
)
from wclayer import sample
from wclayer.formats.tar.reader import TarMember, TarStream
from wclayer.layers.tar.members import global_records
from wclayer.model import Limits


@pytest.mark.parametrize("name", CASES)
def test_each_is_refused_by_name_and_place(name: str, tmp_path: Path) -> None:
    data, problem = CASES[name]
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

    data = gzip.compress(archive(FILES, member(b"Files/zeros", bytes(90 << 20))))
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
    data = archive(FILES, member(b"Files/a", comment=b"1" * 1_000_000))
    assert [entry.name for entry, _ in read_tar(data)] == ["Files", "Files/a"]


def test_global_records_cost_members_nothing_that_do_not_concern_them() -> None:
    headers = [global_header(**{f"comment{number}": b"x" * 1000, "mtime": b"7"}) for number in range(100)]
    members: list[TarMember] = []
    stream: TarStream[TarMember] = TarStream(iter([archive(*headers, FILES, FILE_A)]), choose_global=global_records)
    while (found := stream.next()) is not None:
        members.append(found)
    assert [member.pax for member in members] == [{b"mtime": b"7"}] * 2


def test_global_records_are_bounded(tmp_path: Path) -> None:
    data = archive(*(global_header(path=b"x" * 700), global_header(linkpath=b"x" * 700)), FILES)
    with nothing_left_in(tmp_path), pytest.raises(wclayer.LimitExceededError, match="limit global_pax_size"):
        wclayer.import_layer_from_tar(io.BytesIO(data), tmp_path / "layer", limits=Limits(global_pax_size=1000))
    # The same records again take no more room.
    assert (
        len(
            read_tar(
                archive(FILES, *[global_header(mtime=b"7") for _ in range(500)], FILE_A),
                limits=Limits(global_pax_size=20),
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
    data = archive(FILES, member(b"Files/.wh.a"), member(b"Files/l", kind=b"1", link=b"Files/in a parent"))
    assert [entry.name for entry, _ in read_tar(data)] == ["Files", "Files/a", "Files/l"]


def test_common_spellings_are_read() -> None:
    """`./` in front, a slash behind a directory: what common writers add."""
    data = archive(member(b"./Files/", kind=b"5"), member(b"./Files/a", b"x"))
    assert [entry.name for entry, _ in read_tar(data)] == ["Files", "Files/a"]
    assert data[-1024:] == TRAILER_BYTES


def test_defaults_of_missing_records() -> None:
    ((root, _), (file, _)) = read_tar(archive(FILES, FILE_A))
    assert root.info is not None
    assert file.info is not None
    assert (root.info.attributes, file.info.attributes) == (0x10, 0)
    written = 116_444_736_000_000_000 + 1_600_000_000 * 10_000_000
    assert file.info.creation_time == file.info.last_access_time == file.info.change_time == written


@pytest.mark.parametrize("has_stream", [False, True])
def test_a_file_with_the_name_of_a_whiteout_is_not_written_as_one(has_stream: bool) -> None:
    def build(writer: wclayer.LayerWriter) -> None:
        put_directories(writer, "Files")
        streams = {"s": b"x"} if has_stream else {}
        put_file(writer, "Files/.wh.Windows", b"", 0x20, **streams)

    with pytest.raises(wclayer.InvalidDataError, match="is that of a whiteout"):
        layer_tar(build)
    with pytest.raises(wclayer.InvalidDataError, match="is that of a whiteout"):
        layer_tar(lambda writer: put_directories(writer, "Files", "Files/.wh.Windows"))


def test_old_tars_have_sddl() -> None:
    ((_, _), (file, _)) = read_tar(archive(FILES, member(b"Files/a", MSWINDOWS_sd=b"O:BAG:SYD:(A;;FA;;;WD)")))
    assert file.security is not None
    assert file.security[:4] == b"\x01\x00\x04\x80"


def test_a_header_that_could_not_be_written_again_is_refused(tmp_path: Path) -> None:
    """However far the limits are raised."""
    limits = Limits(pax_size=1 << 30, trailer_size=1 << 30)
    large = member(b"Files/a", comment=b"x" * (33 << 20))
    for data, problem in (
        (archive(FILES, large), "member 'Files/a'.*no more than 33554432 can be kept"),
        (archive(FILES) + bytes(33 << 20), "no more than 33554432 can be kept"),
    ):
        with nothing_left_in(tmp_path), pytest.raises(wclayer.InvalidDataError, match=problem):
            wclayer.import_layer_from_tar(io.BytesIO(data), tmp_path / "layer", limits=limits)
