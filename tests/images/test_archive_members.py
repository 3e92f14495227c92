"""The members of an archive of images: found without their data, and refused by name where programs would disagree."""

from __future__ import annotations

import errno
import gzip
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import (
    DiskFullError,
    EntryIsDirectoryError,
    FormatError,
    InvalidDataError,
    LimitExceededError,
    NotSupportedError,
    PathNotFoundError,
)
from wclayer.formats.compression import Compression
from wclayer.formats.hashed_output import HashedOutput
from wclayer.images.archive import opened
from wclayer.images.archive.members import Members, find_members
from wclayer.images.archive.opened import ImageArchive
from wclayer.model import Limits, limits_in_use, use_limits


def members_of(data: bytes) -> Members:
    return find_members(lambda size, offset: data[offset : offset + size], len(data))


def tar_of(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT, **options: object) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form, **options) as archive:  # type: ignore[call-overload]
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def file(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in fields.items():
        setattr(member, key, value)
    return member, data


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return file(name, type=kind, linkname=target)


_PART = st.text(st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
_NAME = st.lists(_PART.filter(lambda part: part not in (".", "..")), min_size=1, max_size=4).map("/".join)


@given(st.dictionaries(_NAME, st.binary(max_size=2000)), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_members_are_found_where_python_finds_them(files: dict[str, bytes], form: int) -> None:
    if len({name.casefold() for name in files}) < len(files):
        return
    data = tar_of(*(file(name, contents) for name, contents in files.items()), form=form, encoding="utf-8")
    found = members_of(data)
    assert {member.name: data[member.offset : member.offset + member.size] for member in found} == files


@given(st.binary(max_size=4000))
def test_arbitrary_bytes_raise_only_an_error_of_the_format(data: bytes) -> None:
    with pytest.raises(FormatError):
        members_of(data)


@given(st.data())
def test_a_damaged_archive_raises_only_an_error_of_the_format(draw: st.DataObject) -> None:
    data = bytearray(tar_of(file("a" * 120, b"x" * 700), link("b/c", "../" + "a" * 120), file("d/"), file("é", b"y")))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        for member in members_of(bytes(data)):
            assert 0 <= member.offset <= member.offset + member.size <= len(data)
            assert ".." not in member.name.split("/")
    except FormatError:
        pass


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([file("/etc/passwd", b"x")], "is absolute"),
        ([file("../x", b"x")], "not a plain path"),
        ([file("a/../../x", b"x")], "not a plain path"),
        ([file("a/./b", b"x")], "not a plain path"),
        ([file("a//b", b"x")], "not a plain path"),
        ([file("a", b"x"), file("a", b"x")], "two members have the name 'a'"),
        ([file("a", b"x"), file("./a", b"y")], "two members have the name 'a'"),
        ([file("a", b"x"), link("a", "b")], "two members have the name 'a'"),
        ([file("index.json", b"x"), file("INDEX.JSON", b"y")], "differ only in case"),
        ([file("straße", b"x"), file("STRASSE", b"y")], "differ only in case"),
        ([file(".", b"x")], "archive's root"),
        ([file("a", type=tarfile.CHRTYPE)], "'a' is a character device"),
        ([file("a", type=tarfile.BLKTYPE)], "'a' is a block device"),
        ([file("a", type=tarfile.FIFOTYPE)], "'a' is a FIFO"),
        ([file("a", type=b"S")], "'a' is a sparse file"),
        ([file("a", type=b"Q")], "unknown type 'Q'"),
        ([file("a", b"x", pax_headers={"GNU.sparse.major": "1"})], "sparse file"),
        ([file("a", b"x", pax_headers={"GNU.sparse.map": "0,5"})], "sparse file"),
        ([file("a", b"x", pax_headers={"hdrcharset": "BINARY"})], "character set"),
        ([link("a", "/etc/passwd")], "out of the archive"),
        ([link("a/b", "../../etc/passwd")], "out of the archive"),
        ([link("a", "..")], "out of the archive"),
        ([link("a", "../x", tarfile.LNKTYPE)], "not a plain path"),
        ([link("a", "/x", tarfile.LNKTYPE)], "is absolute"),
        ([link("a", "./", tarfile.LNKTYPE)], "leads to the archive's root"),
    ],
)
def test_what_programs_read_in_several_ways_is_refused_by_name(
    members: list[tuple[tarfile.TarInfo, bytes]], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        members_of(tar_of(*members))


def test_global_records_that_would_change_members_are_refused() -> None:
    with pytest.raises(FormatError, match="global PAX record 'path'"):
        members_of(tar_of(file("a", b"x"), pax_headers={"path": "b"}))
    found = members_of(tar_of(file("a", b"x"), pax_headers={"comment": "made by git archive"}))
    assert [member.name for member in found] == ["a"]


def test_a_name_that_is_not_utf_8_is_refused() -> None:
    data = tar_of(file("a\udcff", b"x"), form=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(FormatError, match="is not UTF-8"):
        members_of(data)


@pytest.mark.parametrize(
    ("cut", "message"), [(-1024, "without its end"), (700, "inside the data"), (300, "inside a header")]
)
def test_an_archive_that_is_cut_off_is_refused(cut: int, message: str) -> None:
    data = tar_of(file("a", b"x" * 512))[: 512 + 512 + 1024]
    with pytest.raises(FormatError, match=message):
        members_of(data[:cut])


def test_a_size_beyond_the_end_is_refused() -> None:
    member = tarfile.TarInfo("a")
    member.size = 1 << 58
    data = member.tobuf(tarfile.PAX_FORMAT) + bytes(4096)
    with pytest.raises(FormatError, match=r"member 'a', .*inside the data"):
        members_of(data)


def test_directories_and_dots_in_front_are_no_obstacle() -> None:
    folder = file("./blobs/", type=tarfile.DIRTYPE)
    found = members_of(tar_of(file("./", type=tarfile.DIRTYPE), folder, folder, file("./blobs/x", b"y")))
    assert {member.name for member in found} == {"blobs", "blobs/x"}
    with pytest.raises(FormatError, match="is a directory, not a file"):
        found.file("blobs")


def test_a_link_leads_to_a_file_of_the_archive_and_nowhere_else() -> None:
    found = members_of(tar_of(
        file("1/layer.tar", b"x"), link("2/layer.tar", "../1/layer.tar"), link("3", "2/layer.tar", tarfile.LNKTYPE),
        link("gone", "nothing"), link("a", "b"), link("b", "a"), file("d", type=tarfile.DIRTYPE), link("e", "d"),
    ))  # fmt: skip
    first = found.linked_file("1/layer.tar")
    assert first is not None
    assert found.linked_file("2/layer.tar") == found.linked_file("3") == first
    assert found.linked_file("none") is None
    for name, message in (("gone", "not a member"), ("a", "in a circle"), ("e", "which is a directory")):
        with pytest.raises(FormatError, match=message):
            found.linked_file(name)
    with pytest.raises(FormatError, match="is a link, not a file"):
        found.file("2/layer.tar")


@pytest.fixture
def limited() -> Callable[..., None]:
    return lambda **limits: use_limits(Limits(**limits))


@pytest.fixture(autouse=True)
def _restored() -> object:
    before = limits_in_use()
    yield None
    use_limits(before)


def test_the_number_of_members_and_the_size_of_names_are_bounded(limited: Callable[..., None]) -> None:
    data = tar_of(*(file(f"{number:0200}") for number in range(11)))
    assert len(members_of(data)) == 11
    limited(archive_members=10)
    with pytest.raises(FormatError, match="--max-archive-members"):
        members_of(data)
    limited(names_size=1000)
    with pytest.raises(FormatError, match="--max-names-size"):
        members_of(data)
    limited(pax_size=100)
    with pytest.raises(FormatError, match="--max-pax-size"):
        members_of(data)


def compressed(data: bytes, kind: Compression) -> bytes:
    raw = io.BytesIO()
    with HashedOutput(raw, kind) as output:
        output.write(data)
        output.finish()
    return raw.getvalue()


@pytest.mark.parametrize("kind", Compression)
def test_an_archive_may_be_compressed_or_come_from_a_pipe(kind: Compression, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(compressed(tar_of(file("a", b"contents" * 1000)), kind))
    os.mkfifo(tmp_path / "fifo")
    with subprocess.Popen(["cp", path, tmp_path / "fifo"]):
        for source in (path, tmp_path / "fifo"):
            with ImageArchive(source) as archive:
                member = archive.members.file("a")
                assert member is not None
                assert archive.read(member) == b"contents" * 1000
                with archive.open(member, 8) as stream:
                    archive.close()
                    assert stream.read() == b"contents" * 999
    code = "from wclayer.images.archive.opened import ImageArchive; print(len(ImageArchive('-').members))"
    with path.open("rb") as stream:
        ended = subprocess.run([sys.executable, "-c", code], stdin=stream, capture_output=True, check=True)
    assert ended.stdout == b"1\n"


def test_what_comes_out_of_a_compressed_archive_is_bounded(tmp_path: Path, limited: Callable[..., None]) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar_of(file("a", bytes(1 << 22)))))
    limited(total_size=1 << 20)
    with pytest.raises(LimitExceededError, match="--max-total-size"):
        ImageArchive(path)
    limited(ratio=10, unrated_size=1000)
    with pytest.raises(LimitExceededError, match="--max-ratio"):
        ImageArchive(path)


@pytest.mark.parametrize(("head", "name"), [(b"\xfd7zXZ\0", "xz"), (b"BZh91A", "bzip2")])
def test_other_compressions_are_refused_by_name(head: bytes, name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(head + bytes(600))
    with pytest.raises(NotSupportedError, match=f"compressed with {name}.*decompress it first"):
        ImageArchive(path)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "cut.gz").write_bytes(gzip.compress(bytes(1024))[:-4])
    for name in ("empty", "cut.gz"):
        with pytest.raises(InvalidDataError):
            ImageArchive(tmp_path / name)
    with pytest.raises(EntryIsDirectoryError):
        ImageArchive(tmp_path)
    with pytest.raises(PathNotFoundError):
        ImageArchive(tmp_path / "missing")


def test_a_temporary_folder_that_is_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(tar_of(file("a", b"x" * 5000))))

    def full(self: object, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(opened, "new_spool", lambda: type("Spool", (io.BytesIO,), {"write": full})())
    with pytest.raises(DiskFullError, match="set TMPDIR to a folder on a larger disk") as caught:
        ImageArchive(tmp_path / "x.tar.gz")
    assert caught.value.path == str(tmp_path / "x.tar.gz")
