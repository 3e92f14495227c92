r"""The files of a plain tar in a layer: what is taken, left out and refused. The tars are made by tarfile."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wclayer
from tests.support import TIME, info, put_directories, put_file, vector_bytes
from wclayer.build.tar_files import extract_tar, read_contents
from wclayer.errors import (
    AlreadyExistsError,
    EntryIsDirectoryError,
    InvalidDataError,
    LayerError,
    LimitExceededError,
    NotSupportedError,
)
from wclayer.layers.directory import DirectoryLayerWriter
from wclayer.model import Entry, Limits, use_limits
from wclayer.view.layer_view import LayerView
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.inherit import inherited, volume_root
from wclayer.win32.sddl import from_sddl

PROGRAMS = from_sddl("O:BAG:SYD:PAI(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)").encode()
Member = tuple[str, bytes | str | None]
"""A name with contents; with a target of a link ("-> x", "=> x"); or, with None, that of a directory."""


@pytest.fixture
def view(tmp_path: Path) -> Iterator[LayerView]:
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files")
        writer.put(Entry("Files/Programs", info(0x10), security=PROGRAMS))
        put_file(writer, "Files/Programs/Old.txt", b"old")
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "base"])
    with LayerView(scratch=tmp_path / "run") as opened:
        yield opened


def add(archive: tarfile.TarFile, name: str, content: bytes | str | None, **fields: object) -> None:
    member = tarfile.TarInfo(name)
    data = content if isinstance(content, bytes) else b""
    member.size, member.mtime = len(data), 1_600_000_000
    if content is None:
        member.type = tarfile.DIRTYPE
    elif isinstance(content, str):
        member.type = tarfile.SYMTYPE if content.startswith("->") else tarfile.LNKTYPE
        member.linkname = content[3:]
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(data))


@pytest.fixture
def tar(tmp_path: Path) -> Callable[..., Path]:
    def make(*members: Member, mode: str = "w", **fields: object) -> Path:
        with tarfile.open(tmp_path / "x.tar", mode) as archive:  # type: ignore[call-overload]
            for name, content in members:
                add(archive, name, content, **fields)
        return tmp_path / "x.tar"

    return make


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_files_get_the_metadata_of_new_files_and_the_time_of_the_tar(
    view: LayerView, tar: Callable[..., Path], mode: str
) -> None:
    path = tar(
        ("./", None), ("./app/", None), ("./app/x.exe", b"program"), ("deep/down/y", b""), mode=mode, uid=1000, gid=7,
        uname="alice",
    )  # fmt: skip
    assert extract_tar(view, path) == 2
    assert view.read_bytes(r"C:\app\x.exe") == b"program"
    root = volume_root().encode()
    assert view.security("app") == inherited(root, True)
    assert view.security("app/x.exe") == inherited(inherited(root, True), False)
    time = from_unix_ns(1_600_000_000 * 10**9)
    status = view.stat("app/x.exe")
    assert (status.info.attributes, status.info.last_write_time) == (0x20, time)
    assert view.stat("app").info.last_write_time == time
    assert view.stat("deep/down").info.last_write_time > time
    assert view.stat("deep/down/y").size == 0


def test_a_time_with_a_fraction_is_exact(view: LayerView, tar: Callable[..., Path]) -> None:
    extract_tar(view, tar(("x", b""), pax_headers={"mtime": "1600000000.1234567"}))
    assert view.stat("x").info.last_write_time == from_unix_ns(1_600_000_000_123_456_700)


def test_what_exists_keeps_its_descriptor(view: LayerView, tar: Callable[..., Path]) -> None:
    extract_tar(view, tar(("programs", None), ("PROGRAMS/old.TXT", b"new")), "C:\\")
    assert view.listdir("C:\\") == ["Programs"]
    assert view.listdir("Programs") == ["Old.txt"]
    assert view.read_bytes("Programs/Old.txt") == b"new"
    assert view.security("Programs") == PROGRAMS
    # As with a directory that a program has changed: only the entries in it are other ones.
    assert view.stat("Programs").info.creation_time == TIME


def test_links_become_those_of_windows(view: LayerView, tar: Callable[..., Path]) -> None:
    path = tar(
        ("app/early", "-> lib/sub"),
        ("app/file", "-> lib/sub/a.dll"),
        ("app/lib/sub/a.dll", b"library"),
        ("app/absolute", "-> /app/lib"),
        ("app/hard", "=> app/lib/sub/a.dll"),
        ("app/nowhere", "-> ../gone"),
    )
    assert extract_tar(view, path, r"C:\Programs") == 6
    assert view.read_link("Programs/app/early").print_name == r"lib\sub"
    # A directory link, although its target came later.
    assert view.stat("Programs/app/early", follow=False).info.attributes & 0x410 == 0x410
    assert view.stat("Programs/app/file", follow=False).info.attributes & 0x410 == 0x400
    assert view.read_bytes("Programs/app/early/a.dll") == view.read_bytes("Programs/app/file") == b"library"
    assert view.read_link("Programs/app/absolute").print_name == r"C:\app\lib"
    assert view.stat("Programs/app/hard").file_id == view.stat("Programs/app/lib/sub/a.dll").file_id
    assert view.stat("Programs/app/hard").links == 2
    assert view.read_link("Programs/app/nowhere").print_name == r"..\gone"


def test_a_later_member_replaces_an_earlier_one(view: LayerView, tar: Callable[..., Path]) -> None:
    extract_tar(view, tar(("x", b"1"), ("x", b"2"), ("y", "-> x"), ("y", b"3"), ("z", b"4"), ("z", "=> x")))
    assert (view.read_bytes("x"), view.read_bytes("y"), view.read_bytes("z")) == (b"2", b"3", b"2")
    assert not view.stat("y", follow=False).is_link


@pytest.mark.parametrize(
    ("members", "error", "message"),
    [
        ([("../x", b"")], InvalidDataError, "leads out of the tar"),
        ([("a/../../x", b"")], InvalidDataError, "leads out of the tar"),
        ([("a:b", b"")], InvalidDataError, "a:b"),
        ([("a\\b", b"")], InvalidDataError, "character"),
        ([("nul.txt", b"")], InvalidDataError, "device"),
        ([("x.", b"")], InvalidDataError, "ends in"),
        ([("A.txt", b""), ("a.txt", b"")], AlreadyExistsError, "same name as 'A.txt'"),
        ([("Programs", b"")], EntryIsDirectoryError, "is a directory"),
        ([("Programs/Old.txt", None)], AlreadyExistsError, "is there already"),
        ([("Programs/Old.txt/x", b"")], LayerError, "not a directory"),
        ([("x", "=> gone")], LayerError, "gone"),
        ([("x", "-> ")], InvalidDataError, "leads nowhere"),
    ],
)
def test_what_windows_cannot_have_is_refused(
    view: LayerView, tar: Callable[..., Path], members: list[Member], error: type[LayerError], message: str
) -> None:
    with pytest.raises(error, match=message):
        extract_tar(view, tar(*members))


@pytest.mark.parametrize(
    ("kind", "word"), [(b"3", "character device"), (b"6", "FIFO"), (b"S", "sparse"), (b"V", "'V'")]
)
def test_other_kinds_are_refused(view: LayerView, tar: Callable[..., Path], kind: bytes, word: str) -> None:
    with pytest.raises(NotSupportedError, match=f"'x' is .*{word}"):
        extract_tar(view, tar(("x", b""), type=kind))


def test_a_sparse_member_in_pax_form_is_refused(view: LayerView, tar: Callable[..., Path]) -> None:
    with pytest.raises(NotSupportedError, match="sparse"):
        extract_tar(view, tar(("x", b""), pax_headers={"GNU.sparse.major": "1"}))


def test_a_damaged_tar_is_told_with_its_path(view: LayerView, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(InvalidDataError, match=r"x\.tar"):
        extract_tar(view, tmp_path / "x.tar")
    with pytest.raises(InvalidDataError, match=r"x\.tar"):
        read_contents(tmp_path / "x.tar")


def test_limits_hold(view: LayerView, tar: Callable[..., Path]) -> None:
    path = tar(("a", b"1"), ("b/", None), ("c", "-> a"))
    for limits, option in ((Limits(entries=2), "entries"), (Limits(names_size=4), "names-size")):
        use_limits(limits)
        try:
            with pytest.raises(LimitExceededError, match=f"--max-{option}"):
                extract_tar(view, path)
        finally:
            use_limits(Limits())


def test_the_kind_of_a_tar_is_known_by_its_names(tar: Callable[..., Path], tmp_path: Path) -> None:
    plain = read_contents(tar(("./", None), ("App/x", b""), ("app/y", b""), ("Files/z", b"")))
    assert not plain.is_layer
    assert plain.top_names == {"APP": "App", "FILES": "Files"}
    for vector in ("base.tar.gz", "child.tar"):
        (tmp_path / vector).write_bytes(vector_bytes(vector))
        found = read_contents(tmp_path / vector)
        assert found.is_layer
        assert "FILES" not in found.top_names
        assert found.top_names


def test_an_empty_tar_adds_nothing(tar: Callable[..., Path]) -> None:
    with pytest.raises(InvalidDataError, match="the tar is empty"):
        read_contents(tar(("./", None)))
