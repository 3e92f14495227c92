"""COPY --from: what another image has arrives with all that Windows stores of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import wclayer
from tests.builder.reading import sddl, tree
from tests.support import TIME, info, put_directories, put_file
from wclayer.builder.files.copying import Target
from wclayer.builder.files.placing import Ownership
from wclayer.builder.files.view_sources import copy_from_view, digest_of_sources, find_in_view
from wclayer.errors import (
    EntryIsDirectoryError,
    EntryNotDirectoryError,
    InvalidParameterError,
    LayerError,
    PathNotFoundError,
)
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry
from wclayer.view.layer_view import LayerView
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.reparse import LinkTarget
from wclayer.win32.sddl import from_sddl
from wclayer.win32.sid import Sid

OWN = "O:S-1-5-93-2-2G:SYD:PAI(A;OICI;FA;;;BA)"
EAS = encode_eas([ExtendedAttribute(b"MARK", b"1")])


def make_source(path: Path, text: bytes = b"tool", time: int = TIME) -> None:
    with DirectoryLayerWriter(path) as writer:
        put_directories(writer, "Files", "Files/Windows")
        writer.put(Entry("Files/out", info(0x12), security=from_sddl(OWN).encode()))
        writer.put(Entry("Files/out/bin", info(0x10), security=from_sddl(OWN).encode()))
        put_file(writer, "Files/out/bin/Tool.exe", text, 0x21, **{"Zone.Identifier": b"[ZoneTransfer]"})
        writer.put(Entry("Files/out/bin/again.exe", info(0x21), link_target="Files/out/bin/Tool.exe"))
        writer.put(Entry("Files/out/e", info(time=time), eas=EAS))
        for name, target, is_mount_point in (("link", "bin\\Tool.exe", False), ("junction", "C:\\out\\bin", True)):
            data = LinkTarget.from_path(target, is_mount_point=is_mount_point).encode()
            attributes = 0x410 if is_mount_point else 0x400
            writer.put(Entry(f"Files/out/{name}", info(attributes), reparse=data, security=from_sddl(OWN).encode()))


@pytest.fixture
def other(tmp_path: Path) -> Iterator[LayerView]:
    make_source(tmp_path / "other")
    with LayerView([tmp_path / "other"]) as view:
        yield view


@pytest.fixture
def view(tmp_path: Path) -> Iterator[LayerView]:
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files", "Files/app", "Files/there", "Files/there/bin")
        put_file(writer, "Files/there/e", b"old", mark=b"an alternate stream")
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "base"])
    with LayerView.for_layer(tmp_path / "run") as made:
        yield made


def copy(view: LayerView, other: LayerView, *sources: str, to: str, ownership: Ownership | None = None) -> None:
    found = [item for source in sources for item in find_in_view(other, source)]
    copy_from_view(view, other, found, Target.of(to, "C:\\"), ownership)


def test_everything_that_windows_stores_is_kept(view: LayerView, other: LayerView) -> None:
    copy(view, other, "C:\\out", to="C:\\app\\new")
    for name in ("", "\\bin", "\\bin\\Tool.exe", "\\bin\\again.exe", "\\e", "\\link", "\\junction"):
        was, now = (each.stat(f"C:\\{path}{name}", follow=False) for each, path in ((other, "out"), (view, "app\\new")))
        assert (now.info, now.size, now.links, now.reparse) == (was.info, was.size, was.links, was.reparse), name
        descriptor = other.security(f"C:\\out{name}", follow=False)
        assert descriptor in (None, view.security(f"C:\\app\\new{name}", follow=False)), name
    assert sddl(view, "C:\\app\\new") == sddl(view, "C:\\app\\new\\junction") == OWN
    assert view.stat("C:\\app\\new\\bin\\TOOL.EXE").file_id == view.stat("C:\\app\\new\\bin\\again.exe").file_id
    assert view.read_bytes("C:\\app\\new\\bin\\again.exe:Zone.Identifier") == b"[ZoneTransfer]"
    assert view.eas("C:\\app\\new\\e") == EAS


@pytest.mark.parametrize(
    ("sources", "to", "made"),
    [
        (["out/bin/tool.exe"], "C:\\app\\x.exe", {"x.exe"}),
        (["out/bin/tool.exe"], "C:\\app", {"tool.exe"}),
        (["\\OUT\\*\\T*.EXE"], "C:\\app\\", {"Tool.exe"}),
        (["c:/out/bin", "out/e"], "C:\\app\\", {"Tool.exe", "again.exe", "e"}),
        (["out/link"], "C:\\app\\", {"link"}),
        (["out/junction"], "C:\\app", {"Tool.exe", "again.exe"}),
        (["out/bin/../bin/again.exe"], "C:\\app\\one", {"one"}),
    ],
)  # fmt: skip
def test_sources_go_where_docker_puts_them(
    view: LayerView, other: LayerView, sources: list[str], to: str, made: set[str]
) -> None:
    copy(view, other, *sources, to=to)
    assert {*view.listdir("C:\\app")} == made
    assert not any(view.stat(f"C:\\app\\{name}", follow=False).is_link for name in made)


def test_a_directory_that_exists_stays_and_a_file_is_replaced(view: LayerView, other: LayerView) -> None:
    before = view.security("C:\\there\\bin")
    copy(view, other, "out", to="C:\\there")
    assert view.security("C:\\there\\bin") == before
    assert {*tree(view, "C:\\there")} == {
        "there/bin", "there/bin/Tool.exe", "there/bin/again.exe", "there/e", "there/link", "there/junction",
    }  # fmt: skip
    assert view.streams("C:\\there\\e") == []


def test_the_owner_that_is_asked_for_takes_the_place_of_the_old_one(view: LayerView, other: LayerView) -> None:
    copy(view, other, "out", to="C:\\app\\new", ownership=Ownership(owner=Sid.parse("BA")))
    assert sddl(view, "C:\\app\\new\\bin") == OWN.replace("S-1-5-93-2-2", "BA")


@pytest.mark.parametrize(
    ("sources", "to", "error"),
    [
        (["nothing"], "x", PathNotFoundError),
        (["out/*.dll"], "x", PathNotFoundError),
        (["D:\\x"], "x", InvalidParameterError),
        (["out/["], "x", InvalidParameterError),
        (["out/e/"], "x", EntryNotDirectoryError),
        (["out/e", "out/link"], "x", InvalidParameterError),
        (["out"], "there/e", EntryNotDirectoryError),
        (["out/bin/tool.exe"], "there/e/x", EntryNotDirectoryError),
    ],
)
def test_what_cannot_be_copied_is_refused(
    view: LayerView, other: LayerView, sources: list[str], to: str, error: type[LayerError]
) -> None:
    with pytest.raises(error):
        copy(view, other, *sources, to=to)


def test_a_file_does_not_replace_a_directory(view: LayerView, other: LayerView) -> None:
    view.mkdir("C:\\app\\e")
    with pytest.raises(EntryIsDirectoryError):
        copy(view, other, "out/e", to="C:\\app")


def test_a_digest_of_sources_tells_what_matters(tmp_path: Path) -> None:
    def digest(latest: int | None = None, source: str = "out", **more: object) -> bytes:
        path = tmp_path / f"source-{len(list(tmp_path.iterdir()))}"
        make_source(path, **more)  # type: ignore[arg-type]
        with LayerView([path]) as view:
            return digest_of_sources(view, find_in_view(view, source), latest=latest)

    assert digest() == digest() == digest(time=TIME + 5)
    assert digest(text=b"other") != digest() != digest(source="out/e")
    assert digest(TIME + 9) == digest(TIME + 9) != digest(TIME + 9, time=TIME + 5)
    assert digest(TIME) == digest(TIME, time=TIME + 5)
