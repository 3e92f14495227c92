"""Disks in the explorer: what the volume holds, what is known of it, searches, exports, damage."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import wclayer
from tests.explore.made import Driven, drive
from tests.explore.subjects import base_disk, base_layer, contents, items, nothing_else_in, search
from tests.support import put_directories, put_file, tree_listing, witness, write_volume
from wclayer import sample
from wclayer.errors import LayerError, NotSupportedError, PathNotFoundError
from wclayer.explore.model.details import Fact
from wclayer.explore.model.disk_tree import DiskTree
from wclayer.explore.model.explored import ChainSession, View
from wclayer.explore.model.explored_disk import DiskSession, ExploredDisk
from wclayer.explore.model.export import export
from wclayer.explore.model.files import FileItem
from wclayer.explore.model.marks import Mark
from wclayer.explore.model.reading import TreeReading
from wclayer.explore.model.totals import Totals, TotalsMemory, count_totals
from wclayer.formats.ntfs.volume import DirectoryEntry, NtfsVolume
from wclayer.layers.cache import Cache
from wclayer.model import Entry, LayerWriter
from wclayer.view import transfer
from wclayer.view.transfer import copy_out
from wclayer.win32.reparse import LinkTarget

VIEW = View(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disk")


@pytest.fixture(scope="module")
def disk(folder: Path) -> Path:
    return base_disk(folder)


@pytest.fixture
def session(disk: Path) -> Iterator[DiskSession]:
    with ExploredDisk(disk).session() as opened:
        yield opened


def labelled(facts: object) -> dict[str, str]:
    """The facts with labels."""
    return {fact.label: fact.text for fact in facts if isinstance(fact, Fact) and fact.label}  # type: ignore[attr-defined]


def test_the_files_are_those_of_the_layer_that_was_converted(disk: Path, folder: Path) -> None:
    with ExploredDisk(disk).session() as session, ChainSession([folder / "base"]) as layer:
        found, expected = session.files(VIEW), layer.files(VIEW)
        assert contents(found) == {
            path: digest
            for path, digest in contents(expected).items()
            if not path.startswith("Files/Windows/System32/config")
        } | {
            path: digest for path, digest in contents(found).items() if path.startswith("Files/Windows/System32/config")
        }
        of_disk, of_layer = items(found), items(expected)
        here = {path for path in of_layer if path.split("/")[0] == "Files"}
        assert {path for path in of_disk if not path.startswith("Files/System Volume")} == here
        for path in here:
            assert (of_disk[path].is_directory, of_disk[path].is_link) == (
                of_layer[path].is_directory,
                of_layer[path].is_link,
            ), path


def test_nothing_has_a_mark(session: DiskSession) -> None:
    tree = session.files(VIEW)
    assert {item.mark for item in items(tree).values()} == {Mark.SAME}
    registry = session.registry(VIEW)
    pending = list(registry.roots())
    assert pending
    while pending:
        item = pending.pop()
        assert (item.mark, item.may_differ) == (Mark.SAME, False)
        pending += registry.children(item) if item.is_directory else []


def test_facts_of_a_file_are_those_of_its_record(session: DiskSession) -> None:
    tree = session.files(VIEW)
    found = items(tree)
    facts = labelled(tree.facts(found["Files/License.txt"]))
    assert facts["size"] == "680 bytes"
    assert facts["takes"] == "no clusters: it is in its record" or "clusters" in facts["takes"]
    assert "record" in facts
    assert facts[":Zone.Identifier" if ":Zone.Identifier" in facts else ":Zone_Identifier"]
    linked = labelled(tree.facts(found["Files/Windows/System32/component03.dll"]))
    assert linked["also"].endswith("component03.dll")
    assert linked["also"] != "C:\\Windows\\System32\\component03.dll"
    link = labelled(tree.facts(found["Files/Documents and Settings"]))
    assert link["target"] == "C:\\Users"
    assert linked["SDDL"].startswith("O:")


def test_sizes_add_up_and_a_further_name_does_not_count(session: DiskSession) -> None:
    tree = session.files(VIEW)
    sums: Cache[str, Totals] = Cache()
    assert count_totals(TreeReading(tree), TotalsMemory(), sums, lambda: False)
    every = items(tree)
    files = [item for item in every.values() if not item.is_directory]
    assert sums["Files"].files == len(files)
    assert sums["Files"].bytes == sum(item.size for item in files if item.counts)
    assert sum(not item.counts for item in files) == 60


@pytest.mark.parametrize("kind", ["raw", "ntfs", "differencing", "vhd"])
def test_every_kind_of_disk_is_shown(tmp_path: Path, disk: Path, kind: str) -> None:
    if kind == "differencing":
        place = tmp_path / "child.vhdx"
        wclayer.convert_disk(disk, place, to="vhdx", parent=disk)
    elif kind == "vhd":
        place = tmp_path / "disk.vhd"
        raw = tmp_path / "small.img"
        write_volume(raw, sample.write_base)
        command = [
            witness("qemu-img"),
            "convert",
            "-f",
            "raw",
            "-O",
            "vpc",
            "-o",
            "subformat=dynamic",
            str(raw),
            str(place),
        ]
        subprocess.run(command, check=True)
    else:
        place = tmp_path / f"disk.{kind}"
        wclayer.convert_layer(disk.parent / "base", place, to=kind)
    explored = ExploredDisk(place)
    facts = labelled(explored.summary)
    assert facts["file"] == str(place)
    assert ("parent" in facts) == (kind == "differencing")
    with explored.session() as session:
        found = items(session.files(VIEW))
        assert "Files/Windows/win.ini" in found


def test_a_volume_that_holds_a_layer_shows_its_three_parts(tmp_path: Path) -> None:
    place = write_volume(tmp_path / "volume", sample.write_base)
    explored = ExploredDisk(place)
    assert labelled(explored.summary)["label"] == "Test"
    assert labelled(explored.summary)["holds"] == "a layer"
    with explored.session() as session:
        tree = session.files(VIEW)
        assert [item.title for item in tree.roots()] == ["C:", "UtilityVM"]
        assert "UtilityVM/Files/EFI" in items(tree)


def test_the_size_that_is_used_is_that_of_other_programs(tmp_path: Path) -> None:
    place = write_volume(tmp_path / "volume", sample.write_base)
    told = labelled(ExploredDisk(place).summary)
    found = subprocess.run([witness("ntfsinfo"), "-m", str(place)], capture_output=True, text=True, check=True).stdout
    free = next(int(line.split(":")[1].split()[0]) for line in found.splitlines() if "Free Clusters" in line)
    total = next(int(line.split(":")[1]) for line in found.splitlines() if "Volume Size in Clusters" in line)
    assert told["used"].endswith(f"({(total - free) * 4096:,} bytes)")


# Driven with keys.


def test_the_first_screen_shows_the_volume(disk: Path) -> None:
    async def steps(driven: Driven) -> None:
        screen = driven.text()
        assert "▾ C:" in screen
        assert "SYSTEM" in screen
        assert "NTFS 3.1" in screen
        assert "▸ Windows" in screen
        assert "+ " not in "\n".join(driven.lines()[:-1])
        assert "layer 1" not in screen

    drive(ExploredDisk(disk), steps, (160, 40))


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (200, 60)])
def test_it_fits_on_terminals_of_any_size(disk: Path, size: tuple[int, int]) -> None:
    async def steps(driven: Driven) -> None:
        assert len(driven.lines()) == size[1]
        assert "C:" in driven.text()
        for key in ("2", "3", "4", "5", "1", "v", "t", "comma", "full_stop", "tab", "tab", "j", "z", "z"):
            await driven.press(key)

    drive(ExploredDisk(disk), steps, size)


def test_a_file_is_found_and_its_contents_are_shown(disk: Path) -> None:
    async def steps(driven: Driven) -> None:
        await search(driven, "win.ini")
        assert "1 item found" in driven.text()
        await driven.press("enter")
        assert driven.files.item is not None
        assert driven.files.item.path == "Files/Windows/win.ini"
        assert "[fonts]" in driven.text()
        await driven.press("p", "p")
        assert "000000  3b 20 66 6f" in driven.text()

    drive(ExploredDisk(disk), steps, (200, 60))


def test_files_are_found_by_their_contents(disk: Path) -> None:
    async def steps(driven: Driven) -> None:
        await search(driven, "component0*.dll type:pe")
        assert "20 items found" in driven.text()

    drive(ExploredDisk(disk), steps)


def test_the_registry_the_inventory_and_the_documents_are_shown(disk: Path) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("2")
        await search(driven, "CurrentVersion")
        await driven.press("enter")
        assert "ProductName" in driven.text()
        await driven.press("escape", "3")
        assert "Operating system" in driven.text()
        await driven.press("4", "l")
        assert "Volume" in driven.text()
        await driven.press("5", "l")
        assert "The largest files" in driven.text()
        assert "component59.dll" in driven.text()

    drive(ExploredDisk(disk), steps, (160, 60))


def test_the_pane_of_the_volume_tells_all_that_is_known_of_it(disk: Path) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("shift+tab")
        assert "SYSTEM" in driven.text()
        assert str(disk)[:20] in driven.text()
        await driven.press("j", "G", "y")

    drive(ExploredDisk(disk), steps, (200, 60))


@pytest.mark.parametrize("path", ["Files/Windows/win.ini", "Files/Users"])
def test_what_is_exported_is_what_cp_copies_from_the_layer(
    disk: Path, folder: Path, tmp_path: Path, session: DiskSession, path: str
) -> None:
    tree = session.files(VIEW)
    copied = export(session, VIEW, items(tree)[path], tmp_path / "copy", lambda state: None, lambda: False)
    with wclayer.LayerView([folder / "base"]) as view:
        left: list[tuple[str, str]] = []
        count = copy_out(view, path, tmp_path / "expected", recursive=True, left_out=lambda *e: left.append(e))
    assert copied.files == count
    assert [path for path, _ in copied.left_out] == [path for path, _ in left]
    if path == "Files/Users":
        assert tree_listing(tmp_path / "copy") == tree_listing(tmp_path / "expected")
        for name in os.listdir(tmp_path / "expected" / "Public"):
            a, b = (tmp_path / each / "Public" / name for each in ("copy", "expected"))
            assert a.is_symlink() == b.is_symlink()
            assert a.lstat().st_mtime_ns == b.lstat().st_mtime_ns or a.is_symlink()
    else:
        assert (tmp_path / "copy").read_bytes() == (tmp_path / "expected").read_bytes()


def test_without_marks_there_is_no_view_of_them(disk: Path) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("v", "ctrl+l")
        assert driven.messages == ["nothing has a mark here; there is no other view"] * 2

    drive(ExploredDisk(disk), steps)


def test_the_key_exports_a_directory(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def steps(driven: Driven) -> None:
        await search(driven, "drivers")
        await driven.press("enter", "x", "enter")
        assert "exported" in driven.text()

    drive(ExploredDisk(disk), steps)
    assert (tmp_path / "drivers" / "etc-hosts").read_bytes() == b"127.0.0.1 localhost\r\n"


def test_the_disk_itself_is_not_replaced_by_an_export(disk: Path, session: DiskSession) -> None:
    item = items(session.files(VIEW))["Files/Windows/win.ini"]
    before = disk.stat().st_mtime_ns
    with pytest.raises(LayerError, match="is also what is read"):
        export(session, VIEW, item, disk, lambda state: None, lambda: False)
    assert disk.stat().st_mtime_ns == before


# What is odd or damaged.


def odd(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "Files/d", "Files/d/deep")
    for name in ("CON", "dot.", "space ", "\ud800lone", "\x7f\x9b31m", "a\u202eb"):
        put_file(writer, f"Files/d/{name}", name.encode("utf-8", "surrogatepass"))
    for name, target in (
        ("out", r"..\..\..\..\etc\passwd"),
        ("circle", r"circle"),
        ("share", r"\\server\share"),
        ("in", "deep"),
    ):
        reparse = LinkTarget.from_path(target, is_mount_point=False).encode()
        writer.put(Entry(f"Files/d/{name}", wclayer.FileBasicInfo(0x420), reparse=reparse))
    put_file(writer, "Files/d/deep/file", b"x", stream=b"s" * 100)


def _twins(folder: Path) -> Path:
    """A volume with a file and a directory whose names differ from others in case only, as NTFS allows it."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d", "Files/d/sub-w", "Files/d/sub-x")
        put_file(writer, "Files/d/name-w", b"upper")
        put_file(writer, "Files/d/name-x", b"lower")
        put_file(writer, "Files/d/sub-w/a", b"upper")
        put_file(writer, "Files/d/sub-x/b", b"lower")

    place = write_volume(folder / "volume", build)
    data = place.read_bytes()
    for old, new in (("name-w", "NAME-X"), ("sub-w", "SUB-X")):
        data = data.replace(old.encode("utf-16-le"), new.encode("utf-16-le"))
    place.write_bytes(data)
    return place


def _written(folder: Path) -> dict[str, bytes]:
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_names_that_differ_in_case_only_are_each_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"NAME-X": b"upper", "name-x": b"lower", "SUB-X/a": b"upper", "sub-x/b": b"lower"}
    with ExploredDisk(_twins(tmp_path)).session() as session:
        tree = session.files(VIEW)
        directory = items(tree)["Files/d"]

        def copied(item: FileItem, name: str) -> tuple[int, list[str]]:
            made = export(session, VIEW, item, tmp_path / name, lambda state: None, lambda: False)
            return made.files, sorted(path for path, _ in made.left_out)

        assert copied(directory, "all") == (4, [])
        assert _written(tmp_path / "all") == expected
        for item in tree.children(directory):
            assert copied(item, f"one {item.name}") == (1, [])
        assert (tmp_path / "one name-x").read_bytes() == b"lower"
        assert (tmp_path / "one NAME-X").read_bytes() == b"upper"
        assert _written(tmp_path / "one sub-x") == {"b": b"lower"}
        # A host for which both names are one.
        monkeypatch.setattr(transfer, "name_on_host", str.lower)
        assert copied(directory, "host") == (2, ["Files/d/name-x", "Files/d/sub-x"])
        assert _written(tmp_path / "host") == {"name-x": b"upper", "sub-x/a": b"upper"}


def test_names_that_differ_in_case_only_are_each_chosen_and_opened(tmp_path: Path) -> None:
    async def steps(driven: Driven) -> None:
        pane = driven.files
        await driven.press("home", "j", "l")
        assert [row.item.title for row in pane.rows.rows[1:6]] == ["d", "NAME-X", "name-x", "SUB-X", "sub-x"]
        await driven.press(*"jjjj", "l")
        assert [row.item.path for row in pane.rows.rows if row.is_open][2:] == ["Files/d/sub-x"]
        assert pane.item is not None
        assert pane.item.title == "sub-x"
        assert "Files/d/sub-x/b" in [row.item.path for row in pane.rows.rows]
        # Found, and shown in its place.
        await driven.press("C", "slash", "a", "enter")
        await driven.press(*"G")
        found = [item.path for item in pane.found or ()]
        await driven.press("home", *"j" * found.index("Files/d/SUB-X/a"), "enter")
        assert pane.item is not None
        assert pane.item.path == "Files/d/SUB-X/a"

    drive(ExploredDisk(_twins(tmp_path)), steps)


def test_a_stream_is_not_taken_for_a_file(session: DiskSession) -> None:
    item = items(session.files(VIEW))["Files/Windows/win.ini"]
    with (
        session.source(VIEW, item, lambda path, what: None) as source,
        pytest.raises(NotSupportedError, match="alternate stream"),
    ):
        source.open("/Files/Windows/win.ini:stream")


def test_odd_names_and_links_are_exported_harmlessly(tmp_path: Path) -> None:
    place = write_volume(tmp_path / "volume", odd)
    with ExploredDisk(place).session() as session:
        found = items(session.files(VIEW))
        copied = export(session, VIEW, found["Files/d"], tmp_path / "copy", lambda state: None, lambda: False)
    assert copied.files == 7
    left = dict(copied.left_out)
    assert set(left) == {"Files/d/out", "Files/d/circle", "Files/d/share", "Files/d/deep/file:stream"}
    assert os.readlink(tmp_path / "copy" / "in") == "deep"
    assert (tmp_path / "copy" / "CON").read_bytes() == b"CON"


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/tmp/x", "a\\b", "", "nul\0"])
def test_a_name_that_no_file_can_have_is_shown_and_never_used(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write_volume(tmp_path / "volume", odd)
    entries = NtfsVolume.entries

    def renamed(self: NtfsVolume, directory: object) -> object:
        for entry in entries(self, directory):  # type: ignore[arg-type]
            yield DirectoryEntry(entry.reference, name, entry.namespace) if entry.name == "CON" else entry

    monkeypatch.setattr(NtfsVolume, "entries", renamed)
    with ExploredDisk(place).session() as session:
        tree = session.files(VIEW)
        found = items(tree)
        (bad,) = [item for item in found.values() if item.damage]
        assert "cannot be read" in bad.title
        assert not bad.is_directory
        assert any("no file can have" in fact.text for fact in tree.facts(bad))
        copied = export(session, VIEW, found["Files/d"], tmp_path / "copy", lambda state: None, lambda: False)
        assert any("no file can have" in why for _, why in copied.left_out)
        with pytest.raises(LayerError):
            export(session, VIEW, bad, tmp_path / "bad", lambda state: None, lambda: False)
    assert {path.name for path in tmp_path.iterdir()} == {"volume", "copy"}


def test_a_damaged_record_does_not_hide_the_files_beside_it(tmp_path: Path) -> None:
    place = write_volume(tmp_path / "volume", odd)
    with ExploredDisk(place).session() as session:
        tree = session.files(VIEW)
        item = items(tree)["Files/d/CON"]
        offset = session.disk.volume.record_offset(item.number)  # type: ignore[attr-defined]
    with place.open("r+b") as file:
        file.seek(offset)
        file.write(b"BAAD")

    async def steps(driven: Driven) -> None:
        await search(driven, "lone")
        await driven.press("enter")
        assert "CON cannot be read" in driven.text()
        assert "dot." in driven.text()
        while driven.files.item is None or not driven.files.item.damage:
            await driven.press("k")
        assert "signature" in driven.text()
        await driven.press("x", "enter")
        assert "Traceback" not in driven.text()

    drive(ExploredDisk(place), steps, (160, 50))


def test_damaged_volumes_are_errors_of_the_family_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write_volume(tmp_path / "volume", sample.write_base, 16 << 20)
    data = place.read_bytes()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    chance = random.Random(5)
    with nothing_else_in(tmp_path), nothing_else_in(temporary):
        for _ in range(25):
            damaged = bytearray(data)
            for _ in range(40):
                at = chance.randrange(0, 4 << 20)
                damaged[at : at + 2] = chance.randbytes(2)
            place.write_bytes(damaged)
            try:
                with ExploredDisk(place).session() as session:
                    look_at_everything(session)
            except LayerError:
                pass


def look_at_everything(session: DiskSession) -> None:
    """Reads all that a user can look at, as the explorer does."""
    from wclayer.errors import FormatError

    tree = session.files(VIEW)
    assert isinstance(tree, DiskTree)
    pending = list(tree.roots())
    while pending:
        item = pending.pop()
        for read in (tree.facts, tree.streams):
            try:
                list(read(item))
            except (FormatError, LayerError):
                pass
        try:
            if item.is_directory:
                pending += tree.children(item)
            elif tree.has_data(item):
                with tree.open(item) as opened:
                    opened.read(1 << 16)
        except (FormatError, LayerError):
            pass


def test_what_is_no_disk_is_refused(tmp_path: Path, disk: Path) -> None:
    (tmp_path / "blank").write_bytes(bytes(8 << 20))
    (tmp_path / "foreign").write_bytes(b"QFI\xfb\0\0\0\3" + bytes(70_000))
    (tmp_path / "cut.vhdx").write_bytes(disk.read_bytes()[: 1 << 20])
    for name, kind in (
        ("blank", LayerError),
        ("foreign", NotSupportedError),
        ("cut.vhdx", LayerError),
        ("no", PathNotFoundError),
    ):
        with pytest.raises(kind):
            ExploredDisk(tmp_path / name)


def test_a_parent_that_is_gone_is_told(tmp_path: Path) -> None:
    parent = tmp_path / "parent.vhdx"
    wclayer.convert_layer(base_layer(tmp_path), parent)
    wclayer.convert_disk(parent, tmp_path / "child.vhdx", to="vhdx", parent=parent)
    parent.unlink()
    with pytest.raises(PathNotFoundError, match="parent"):
        ExploredDisk(tmp_path / "child.vhdx")
