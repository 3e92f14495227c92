"""COPY and ADD by Docker's rules: what is found in the context, where it goes, and what it looks like in the image."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wclayer
from tests.builder.reading import sddl, tree
from tests.support import info, put_directories, put_file, zstd
from wclayer.builder.dockerfile.ignore import parse_ignore
from wclayer.builder.files.context import BuildContext
from wclayer.builder.files.copying import Target, copy_from_context, image_path
from wclayer.builder.files.placing import Ownership
from wclayer.errors import (
    AlreadyExistsError,
    EntryIsDirectoryError,
    EntryNotDirectoryError,
    InvalidDataError,
    InvalidParameterError,
    LayerError,
    NotSupportedError,
    PathNotFoundError,
    UnresolvedLinkError,
)
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry
from wclayer.view.layer_view import LayerView
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.sddl import from_sddl
from wclayer.win32.sid import Sid

OWN = "O:BAG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;0x1200a9;;;BU)"
DEEP = {"new/deep": None, "new/deep/two": b"22"}
INHERITED_FILE = "O:BAG:SYD:AI(A;ID;FA;;;SY)(A;ID;0x1200a9;;;BU)"
INHERITED_DIRECTORY = "O:BAG:SYD:AI(A;OICIID;FA;;;SY)(A;OICIID;0x1200a9;;;BU)"


@pytest.fixture
def view(tmp_path: Path) -> Iterator[LayerView]:
    """A scratch over a layer with `C:\\app`, which has a descriptor of its own."""
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files", "Files/Windows")
        writer.put(Entry("Files/app", info(0x10), security=from_sddl(OWN).encode()))
        put_directories(writer, "Files/app/there")
        put_file(writer, "Files/app/old.txt", b"old", mark=b"an alternate stream")
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "base"])
    with LayerView.for_layer(tmp_path / "run") as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A context with two files, and a directory with a file in another one."""
    place = tmp_path / "context"
    (place / "src" / "deep").mkdir(parents=True)
    (place / "a.txt").write_bytes(b"a")
    (place / "b.txt").write_bytes(b"b")
    (place / "src" / "one").write_bytes(b"1")
    (place / "src" / "deep" / "two").write_bytes(b"22")
    os.utime(place / "a.txt", ns=(0, 1_600_000_000_123_456_700))
    return place


def copy(
    view: LayerView, folder: Path, *sources: str, to: str, workdir: str = "C:\\", ownership: Ownership | None = None,
    unpack: bool = False,
) -> int:  # fmt: skip
    with BuildContext(folder) as context:
        found = [item for source in sources for item in context.find(source)]
        return copy_from_context(view, context, found, Target.of(to, workdir), ownership, unpack=unpack)


@pytest.mark.parametrize(
    ("sources", "to", "expected"),
    [
        (["a.txt"], "C:\\new.txt", {"new.txt": b"a"}),
        (["a.txt"], "C:\\new\\", {"new": None, "new/a.txt": b"a"}),
        (["a.txt"], "C:\\new\\x\\y.txt", {"new": None, "new/x": None, "new/x/y.txt": b"a"}),
        (["a.txt"], "/new/", {"new": None, "new/a.txt": b"a"}),
        (["./a.txt", "b.txt"], "new/", {"new": None, "new/a.txt": b"a", "new/b.txt": b"b"}),
        (["*.txt"], "new/", {"new": None, "new/a.txt": b"a", "new/b.txt": b"b"}),
        (["[b-z]*"], "new/", {"new": None, "new/b.txt": b"b", "new/one": b"1"} | DEEP),
        (["?.txt", "src"], "new/", {"new": None, "new/a.txt": b"a", "new/b.txt": b"b", "new/one": b"1"} | DEEP),
        (["src"], "new", {"new": None, "new/one": b"1"} | DEEP),
        (["src\\deep\\"], "new", {"new": None, "new/two": b"22"}),
        (["src/*/two"], "new", {"new": b"22"}),
        (["SRC/ONE"], "new", {"new": b"1"}),
    ],
)  # fmt: skip
def test_sources_go_where_docker_puts_them(
    view: LayerView, folder: Path, sources: list[str], to: str, expected: dict[str, bytes | None]
) -> None:
    before = tree(view, "C:\\")
    copy(view, folder, *sources, to=to)
    assert tree(view, "C:\\") == before | expected


def test_the_whole_context_is_a_source(view: LayerView, folder: Path) -> None:
    copy(view, folder, ".", to=".", workdir="C:\\app")
    assert tree(view, "C:\\app") == {
        "app/old.txt": b"old", "app/there": None, "app/a.txt": b"a", "app/b.txt": b"b", "app/src": None,
        "app/src/one": b"1", "app/src/deep": None, "app/src/deep/two": b"22",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (".", "C:/app"), ("..", "C:"), ("x", "C:/app/x"), ("x\\y/", "C:/app/x/y"), ("\\x", "C:/x"), ("/", "C:"),
        ("c:/x", "C:/x"), ("a.", "C:/app/a"), ("..\\..\\..", "C:"), ("Hives", "C:/app/Hives"),
    ],
)  # fmt: skip
def test_a_target_is_relative_to_the_working_directory(text: str, path: str) -> None:
    assert image_path(text, "C:\\app").upper() == path.upper()


@pytest.mark.parametrize("text", ["D:\\x", "\\\\server\\share", "//x/y", "x:y", "con", "a*b"])
def test_a_target_that_an_image_cannot_have_is_refused(text: str) -> None:
    with pytest.raises((InvalidParameterError, NotSupportedError)):
        Target.of(text, "C:\\")


def test_new_entries_inherit_and_directories_on_the_way_stay(view: LayerView, folder: Path) -> None:
    before = view.stat("C:\\app")
    copy(view, folder, "src", to="C:\\app\\new\\")
    copy(view, folder, "a.txt", to="C:\\app\\")
    assert sddl(view, "C:\\app") == OWN
    assert view.stat("C:\\app").info.creation_time == before.info.creation_time
    assert sddl(view, "C:\\app\\new") == sddl(view, "C:\\app\\new\\deep") == INHERITED_DIRECTORY
    assert sddl(view, "C:\\app\\new\\deep\\two") == sddl(view, "C:\\app\\a.txt") == INHERITED_FILE
    assert view.stat("C:\\app\\a.txt").info.last_write_time == 116_444_736_000_000_000 + 16_000_000_001_234_567


def test_directories_keep_their_time(view: LayerView, folder: Path) -> None:
    os.utime(folder / "src" / "deep", ns=(0, 1_500_000_000_000_000_000))
    copy(view, folder, "src", to="C:\\new")
    assert view.stat("C:\\new\\deep").info.last_write_time == 116_444_736_000_000_000 + 15_000_000_000_000_000


def test_a_file_that_is_replaced_leaves_nothing(view: LayerView, folder: Path) -> None:
    copy(view, folder, "a.txt", to="C:\\app\\old.txt")
    assert view.read_bytes("C:\\app\\old.txt") == b"a"
    assert view.streams("C:\\app\\old.txt") == []
    assert sddl(view, "C:\\app\\old.txt") == INHERITED_FILE


def test_a_link_in_the_image_is_replaced_as_a_file_and_followed_as_a_directory(view: LayerView, folder: Path) -> None:
    view.symlink("C:\\link.txt", "C:\\app\\old.txt")
    view.mount_point("C:\\junction", "C:\\app\\there")
    copy(view, folder, "a.txt", to="C:\\link.txt")
    copy(view, folder, "src", to="C:\\junction")
    assert not view.stat("C:\\link.txt", follow=False).is_link
    assert view.read_bytes("C:\\app\\old.txt") == b"old"
    assert tree(view, "C:\\app\\there") == {
        "app/there/one": b"1", "app/there/deep": None, "app/there/deep/two": b"22",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sources", "to", "error"),
    [
        (["missing"], "x", PathNotFoundError),
        (["*.none"], "x/", PathNotFoundError),
        (["a.txt", "b.txt"], "x", InvalidParameterError),
        (["*.txt"], "x", InvalidParameterError),
        (["../x"], "x", InvalidParameterError),
        (["C:\\x"], "x", InvalidParameterError),
        (["[a"], "x", InvalidParameterError),
        (["a.txt/"], "x", EntryNotDirectoryError),
        (["src"], "app\\old.txt", EntryNotDirectoryError),
        (["a.txt"], "app\\old.txt\\", EntryNotDirectoryError),
        (["a.txt", "b.txt"], "app\\old.txt\\x\\", EntryNotDirectoryError),
    ],
)
def test_what_cannot_be_copied_is_refused(
    view: LayerView, folder: Path, sources: list[str], to: str, error: type[LayerError]
) -> None:
    with pytest.raises(error):
        copy(view, folder, *sources, to=to)


def test_a_file_does_not_replace_a_directory(view: LayerView, folder: Path) -> None:
    (folder / "there").write_bytes(b"")
    with pytest.raises(EntryIsDirectoryError):
        copy(view, folder, "there", to="C:\\app\\")


def test_links_of_the_context_stay_links_and_lead_where_they_led(view: LayerView, folder: Path) -> None:
    (folder / "src" / "up").symlink_to("../src/deep")
    (folder / "src" / "file").symlink_to("deep/two")
    (folder / "src" / "nowhere").symlink_to("/opt/x")
    (folder / "named").symlink_to("src/one")
    copy(view, folder, "src", to="C:\\app\\src")
    copy(view, folder, "named", to="C:\\app\\")
    assert view.read_link("C:\\app\\src\\up").print_name == "..\\src\\deep"
    assert view.stat("C:\\app\\src\\up", follow=False).is_directory
    assert view.read_bytes("C:\\app\\src\\up\\two") == view.read_bytes("C:\\app\\src\\file") == b"22"
    assert not view.stat("C:\\app\\src\\file", follow=False).is_directory
    assert view.read_link("C:\\app\\src\\nowhere").print_name == "\\opt\\x"
    assert not view.stat("C:\\app\\named", follow=False).is_link
    assert view.read_bytes("C:\\app\\named") == b"1"


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "src/../../outside", "loop"])
def test_a_source_that_leads_out_of_the_context_is_refused(view: LayerView, folder: Path, target: str) -> None:
    (folder.parent / "outside").write_bytes(b"secret")
    (folder / "loop").symlink_to(target)
    for source in ("loop", "lo*", "loop/x"):
        with pytest.raises(UnresolvedLinkError):
            copy(view, folder, source, to="x")


@pytest.mark.parametrize("name", ["aux.c", "a:b", "what?", "end.", "end ", "\\", ".wh.one"])
def test_a_name_that_an_image_cannot_have_is_refused_and_named(view: LayerView, folder: Path, name: str) -> None:
    (folder / "src" / "deep" / name).write_bytes(b"")
    with pytest.raises(InvalidParameterError) as caught:
        copy(view, folder, ".", to="C:\\new")
    assert caught.value.path == str(folder / "src" / "deep" / name)


def test_names_that_are_one_on_windows_are_refused(view: LayerView, folder: Path) -> None:
    (folder / "src" / "ONE").write_bytes(b"")
    with pytest.raises(AlreadyExistsError, match="'ONE' beside it"):
        copy(view, folder, "src", to="C:\\new")
    with pytest.raises(AlreadyExistsError):
        copy(view, folder, "src/One", to="C:\\new")
    copy(view, folder, "src/one", to="C:\\new.txt")


def test_a_pipe_is_refused(view: LayerView, folder: Path) -> None:
    os.mkfifo(folder / "src" / "pipe")
    with pytest.raises(NotSupportedError, match="FIFO"):
        copy(view, folder, "src", to="C:\\new")


def test_a_file_that_changes_during_the_build_is_refused(view: LayerView, folder: Path) -> None:
    with BuildContext(folder) as context:
        found = context.find("a.txt")
        context.digest(found[0].items[0])
        (folder / "a.txt").write_bytes(b"A")
        with pytest.raises(InvalidDataError, match="changed"):
            copy_from_context(view, context, found, Target.of("x", "C:\\"))


def test_what_is_ignored_is_not_there(view: LayerView, folder: Path) -> None:
    with BuildContext(folder, parse_ignore("**/src", ".dockerignore")) as context:
        for source in ("src", "src/one"):
            with pytest.raises(PathNotFoundError, match="dockerignore"):
                context.find(source)
        copy_from_context(view, context, context.find("."), Target.of("new", "C:\\"))
    assert tree(view, "C:\\new") == {"new/a.txt": b"a", "new/b.txt": b"b"}


def test_an_exception_brings_its_directories_along(view: LayerView, folder: Path) -> None:
    with BuildContext(folder, parse_ignore("**/src\n!src/deep/two", ".dockerignore")) as context:
        copy_from_context(view, context, context.find("."), Target.of("new", "C:\\"))
    assert tree(view, "C:\\new") == {
        "new/a.txt": b"a", "new/b.txt": b"b", "new/src": None, "new/src/deep": None, "new/src/deep/two": b"22",
    }  # fmt: skip


def test_exceptions_are_looked_for_in_deep_trees(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 600)
    deep.mkdir(parents=True)
    (deep / "x").write_bytes(b"")
    with BuildContext(tmp_path, parse_ignore("*\n!**/x", ".dockerignore")) as context:
        assert len(context.find(".")[0].items) == 602
    with BuildContext(tmp_path, parse_ignore("*\n!**/y", ".dockerignore")) as context:
        assert len(context.find(".")[0].items) == 1


def test_only_directories_with_exceptions_are_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    names = BuildContext._names

    def noting(context: BuildContext, path: str) -> list[str]:
        listed.append(path)
        return names(context, path)

    monkeypatch.setattr(BuildContext, "_names", noting)
    with BuildContext(folder, parse_ignore("src\n!a.txt", ".dockerignore")) as context:
        context.find(".")
    assert listed == [""]


def test_the_owner_and_the_acl_are_those_that_were_asked_for(view: LayerView, folder: Path) -> None:
    user = Sid.parse("S-1-5-93-2-2")
    copy(view, folder, "src", to="C:\\app\\owned", ownership=Ownership(owner=user))
    for path, inherited in (("owned", INHERITED_DIRECTORY), ("owned\\one", INHERITED_FILE)):
        assert sddl(view, f"C:\\app\\{path}") == inherited.replace("O:BA", "O:S-1-5-93-2-2")
    acl = from_sddl("D:P(A;OICI;FA;;;BA)(A;OICIIO;GR;;;CO)(A;;FR;;;WD)")
    copy(view, folder, "src", to="C:\\app\\closed", ownership=Ownership(owner=user, descriptor=acl))
    expected = "O:S-1-5-93-2-2G:SYD:P(A;OICI;FA;;;BA)(A;OICIIO;GR;;;CO)(A;;FR;;;WD)"
    assert sddl(view, "C:\\app\\closed\\deep") == expected
    assert sddl(view, "C:\\app\\closed\\deep\\two") == "O:S-1-5-93-2-2G:SYD:P(A;;FA;;;BA)(A;;FR;;;WD)"


def archive(**members: bytes | None) -> bytes:
    """A tar with these files (`_` stands for `/`), and directories with None."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name.replace("_", "/"))
            entry.mtime = 1_600_000_000
            if data is None:
                entry.type = tarfile.DIRTYPE
            entry.size = len(data or b"")
            tar.addfile(entry, io.BytesIO(data or b""))
    return raw.getvalue()


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_add_unpacks_an_archive_of_each_compression(view: LayerView, folder: Path, compress: object) -> None:
    assert callable(compress)
    big = os.urandom(3 << 20)
    (folder / "x.bin").write_bytes(compress(archive(d=None, d_e_f=b"f", big=big)))
    copy(view, folder, "x.bin", to="C:\\new", unpack=True)
    assert tree(view, "C:\\new") == {"new/d": None, "new/d/e": None, "new/d/e/f": b"f", "new/big": big}
    assert view.stat("C:\\new\\big").info.last_write_time == 116_444_736_000_000_000 + 16_000_000_000_000_000
    copy(view, folder, "x.bin", to="C:\\plain.bin")
    assert view.read_bytes("C:\\plain.bin") == (folder / "x.bin").read_bytes()


@pytest.mark.parametrize(
    "data", [b"", b"\x1f\x8b\x08rubbish", gzip.compress(b"text", mtime=0), b"BZh9x", b"\xfd7zXZ\0x", bytes(1024)]
)
def test_add_copies_what_is_no_archive(view: LayerView, folder: Path, data: bytes) -> None:
    (folder / "x.tar").write_bytes(data)
    copy(view, folder, "x.tar", to="C:\\new\\", unpack=True)
    assert view.read_bytes("C:\\new\\x.tar") == data


def linked(*links: tuple[str, bytes, str]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, kind, target in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            if kind == tarfile.REGTYPE:
                entry.size, entry.linkname = len(target), ""
            tar.addfile(entry, io.BytesIO(target.encode()))
    return raw.getvalue()


def test_links_of_an_archive_are_links(view: LayerView, folder: Path) -> None:
    (folder / "x.tar").write_bytes(
        linked(
            ("d/f", tarfile.REGTYPE, "data"), ("d/same", tarfile.LNKTYPE, "d/f"), ("up", tarfile.SYMTYPE, "d/f"),
            ("directory", tarfile.SYMTYPE, "./d"), ("away", tarfile.SYMTYPE, "/Windows"),
        )
    )  # fmt: skip
    copy(view, folder, "x.tar", to="C:\\new", unpack=True)
    assert view.stat("C:\\new\\d\\same").links == 2
    assert view.read_bytes("C:\\new\\up") == view.read_bytes("C:\\new\\directory\\same") == b"data"
    assert view.read_link("C:\\new\\away").print_name == "\\Windows"


@pytest.mark.parametrize(
    "members",
    [
        [("../x", tarfile.REGTYPE, "")],
        [("a/../../x", tarfile.REGTYPE, "")],
        [("l", tarfile.SYMTYPE, "../../Windows")],
        [("a/l", tarfile.SYMTYPE, "../..")],
        [("l", tarfile.SYMTYPE, "/Windows"), ("l/x", tarfile.REGTYPE, "")],
        [("l", tarfile.SYMTYPE, "C:\\Windows"), ("l/x/y", tarfile.DIRTYPE, "")],
        [
            ("d", tarfile.DIRTYPE, ""),
            ("l", tarfile.SYMTYPE, "d"),
            ("l/x", tarfile.REGTYPE, ""),
            ("l", tarfile.SYMTYPE, "C:\\Windows"),
            ("l/y", tarfile.REGTYPE, ""),
        ],
        [
            ("d/e", tarfile.DIRTYPE, ""),
            ("l", tarfile.SYMTYPE, "d"),
            ("l/e/x", tarfile.REGTYPE, ""),
            ("l", tarfile.SYMTYPE, "/Windows"),
            ("l/e/y", tarfile.REGTYPE, ""),
        ],
        [("l", tarfile.SYMTYPE, "")],
        [("h", tarfile.LNKTYPE, "h")],
        [("l", tarfile.SYMTYPE, "/app"), ("h", tarfile.LNKTYPE, "l/old.txt")],
        [("h", tarfile.LNKTYPE, "../app/old.txt")],
        [("pipe", tarfile.FIFOTYPE, "")],
        [("aux", tarfile.REGTYPE, "")],
        [(".wh.x", tarfile.REGTYPE, "")],
        [("d/.wh..wh..opq", tarfile.REGTYPE, "")],
        [("x", tarfile.REGTYPE, ""), ("X", tarfile.REGTYPE, "")],
        [("d/x", tarfile.REGTYPE, ""), ("d", tarfile.SYMTYPE, "y")],
    ],
)
def test_an_archive_that_leaves_its_target_is_refused(
    view: LayerView, folder: Path, members: list[tuple[str, bytes, str]]
) -> None:
    (folder / "x.tar").write_bytes(linked(*members))
    before = tree(view, "C:\\Windows"), tree(view, "C:\\app")
    with pytest.raises(LayerError, match="member") as caught:
        copy(view, folder, "x.tar", to="C:\\new", unpack=True)
    assert caught.value.path == str(folder / "x.tar")
    assert (tree(view, "C:\\Windows"), tree(view, "C:\\app")) == before


def test_a_damaged_archive_is_refused(view: LayerView, folder: Path) -> None:
    whole = gzip.compress(archive(a=os.urandom(100_000)))
    (folder / "x.tar").write_bytes(whole[:-5_000])
    with pytest.raises(InvalidDataError, match="cut off"):
        copy(view, folder, "x.tar", to="C:\\new", unpack=True)


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_an_archive_with_a_wrong_checksum_is_refused_and_not_copied_as_a_file(
    view: LayerView, folder: Path, compress: Callable[[bytes], bytes]
) -> None:
    damaged = bytearray(compress(archive(a=b"short")))
    damaged[-8] ^= 1
    (folder / "x.tar").write_bytes(damaged)
    with pytest.raises(InvalidDataError, match=r"gzip|xz"):
        copy(view, folder, "x.tar", to="C:\\new", unpack=True)


def test_many_files_are_copied_with_few_questions_to_the_database(view: LayerView, folder: Path) -> None:
    for number in range(1_000):
        (folder / "src" / f"{number}.txt").write_bytes(b"%d" % number)
    assert view.volume.scratch is not None
    asked: list[str] = []
    view.volume.scratch._database.set_trace_callback(asked.append)
    assert copy(view, folder, "src", to="C:\\new") == 1_003
    view.volume.scratch._database.set_trace_callback(None)
    # For each file: is the name taken, what does its directory pass on, which id is free, and the new row.
    assert len(asked) < 5 * 1_000
    assert view.read_bytes("C:\\new\\999.txt") == b"999"


def test_a_copy_has_the_times_of_its_source_and_of_one_moment(view: LayerView, folder: Path) -> None:
    copy(view, folder, "a.txt", "b.txt", to="C:\\new\\")
    first, second, above = (view.stat(f"C:\\new{name}").info for name in ("\\a.txt", "\\b.txt", ""))
    assert first.last_write_time == from_unix_ns(1_600_000_000_123_456_700)
    assert first.creation_time == first.last_access_time == first.change_time == second.creation_time
    assert above.last_write_time == above.change_time == first.creation_time


def test_a_link_of_an_archive_to_a_directory_that_comes_later_is_one_to_a_directory(
    view: LayerView, folder: Path
) -> None:
    (folder / "x.tar").write_bytes(
        linked(
            ("first", tarfile.SYMTYPE, "second"), ("second", tarfile.SYMTYPE, "d"), ("in/up", tarfile.SYMTYPE, "../d"),
            ("file", tarfile.SYMTYPE, "d/f"), ("none", tarfile.SYMTYPE, "e"), ("again", tarfile.LNKTYPE, "second"),
            ("taken", tarfile.SYMTYPE, "d"), ("taken", tarfile.REGTYPE, "data"), ("d/f", tarfile.REGTYPE, "data"),
        )
    )  # fmt: skip
    copy(view, folder, "x.tar", to="C:\\new\\", unpack=True)
    found = {
        name: view.stat(f"C:\\new\\{name}", follow=False)
        for name in ("first", "second", "in\\up", "again", "file", "none")
    }
    assert {name for name, status in found.items() if status.is_directory} == {"first", "second", "in\\up", "again"}
    assert all(status.is_link for status in found.values())
    assert len({status.info.last_write_time for status in found.values()}) == 1
    assert view.read_bytes("C:\\new\\first\\f") == b"data"
    assert not view.stat("C:\\new\\taken", follow=False).is_link
