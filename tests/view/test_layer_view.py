"""What Windows' rules say of a view: links, short names, new files, streams, metadata, space."""

from __future__ import annotations

import errno
import io
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import sleep
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wclayer
from tests.support import TIME, info, put_directories, put_file
from wclayer.errors import ERROR_ACCESS_DENIED, CorruptLayerError, InvalidParameterError, LayerError
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry
from wclayer.view.filesystem import LayerFileSystem
from wclayer.view.layer_view import LayerView
from wclayer.view.spelling import split_stream
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.inherit import inherited, volume_root
from wclayer.win32.reparse import LinkTarget, LxSymlink
from wclayer.win32.sddl import from_sddl, to_sddl
from wclayer.win32.security import SecurityDescriptor
from wclayer.win32.shortnames import is_short, may_be_generated, short_names

PROGRAMS = from_sddl("O:BAG:SYD:PAI(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)").encode()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32")
        put_file(writer, "Files/Windows/System32/a.dll", b"library")
        for name in ("Files/Program Files", "Files/Program Files (x86)"):
            writer.put(Entry(name, info(0x10), security=PROGRAMS))
        put_file(writer, "Files/Program Files/Long name.text", b"long")

        def link(name: str, target: str, *, is_directory: bool = False, is_mount_point: bool = False) -> None:
            data = LinkTarget.from_path(target, is_mount_point=is_mount_point).encode()
            writer.put(Entry(f"Files/{name}", info(0x410 if is_directory else 0x400), reparse=data))

        link("absolute", r"C:\Windows", is_directory=True)
        link("junction", r"C:\windows\SYSTEM32", is_directory=True, is_mount_point=True)
        link("Windows/relative", r"..\Program Files\Long name.text")
        link("Windows/up", "..", is_directory=True)
        link("rooted", r"\Windows\System32\a.dll")
        link("loop", "loop")
        link("outside", r"\\server\share\x")
        link("dangling", "nowhere")
        writer.put(Entry("Files/wsl", info(0x400), reparse=LxSymlink(2, b"Windows/System32/a.dll").encode()))
        writer.put(Entry("UtilityVM", info(0x10)))
        put_directories(writer, "UtilityVM/Files", "UtilityVM/Files/EFI")
        put_file(writer, "UtilityVM/Files/EFI/x", b"uvm")
        data = LinkTarget.from_path(r"C:\EFI\x", is_mount_point=False).encode()
        writer.put(Entry("UtilityVM/Files/link", info(0x400), reparse=data))
    return tmp_path / "base"


@pytest.fixture
def scratch(base: Path) -> Path:
    wclayer.create_scratch_layer(base.parent / "run", [base])
    return base.parent / "run"


def test_links_lead_where_windows_goes(base: Path) -> None:
    with LayerView([base]) as view:
        for path, data in (
            (r"C:\absolute\System32\a.dll", b"library"),
            (r"C:\JUNCTION\A.DLL", b"library"),
            ("Windows/relative", b"long"),
            (r"\Windows\up\Windows\up\absolute\relative", b"long"),
            ("rooted", b"library"),
            ("wsl", b"library"),
            ("UtilityVM/Files/link", b"uvm"),
            (r"C:\Windows\System32\..\..\Program Files\Long name.text", b"long"),
        ):
            assert view.read_bytes(path) == data, path
        assert view.stat("junction", follow=False).is_link
        assert view.stat("junction").path == "Files/Windows/System32"
        assert view.read_link("rooted").substitute_name == r"\Windows\System32\a.dll"
        assert view.listdir("absolute") == ["relative", "System32", "up"]
        with pytest.raises(wclayer.UnresolvedLinkError, match="more than 63 links") as caught:
            view.stat("loop")
        assert caught.value.code == 1921
        with pytest.raises(wclayer.UnresolvedLinkError, match="out of the layers"):
            view.read_bytes("outside")
        with pytest.raises(FileNotFoundError):
            view.read_bytes("dangling")
        with pytest.raises(NotADirectoryError):
            view.stat("Windows/System32/a.dll/x")
        with pytest.raises(InvalidParameterError, match="is no link"):
            view.read_link("Windows")


def test_short_names_are_understood(base: Path) -> None:
    with LayerView([base]) as view:
        assert view.stat(r"C:\PROGRA~1").path == "Files/Program Files"
        assert view.stat(r"c:\progra~2").path == "Files/Program Files (x86)"
        assert view.read_bytes(r"C:\PROGRA~1\LONGNA~1.TEX") == b"long"
        with pytest.raises(FileNotFoundError):
            view.stat(r"C:\PROGRA~3")


def test_short_names_are_made_in_order() -> None:
    names = ["short.txt", "Long name one.text", "Long name two.text", ".profile", "a+b.c", "Ünï.x", "two.dots.htm"]
    assert short_names(names) == {
        "LONGNA~1.TEX": "Long name one.text", "LONGNA~2.TEX": "Long name two.text", "PROFIL~1": ".profile",
        "A_B~1.C": "a+b.c", "_N_~1.X": "Ünï.x", "TWODOT~1.HTM": "two.dots.htm",
    }  # fmt: skip
    # No number is tried twice: that many names would take minutes.
    assert len(short_names(f"a long name {number}" for number in range(30_000))) == 30_000


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cc"], exclude_characters='"*/:<>?\\|'), min_size=1, max_size=20),
        unique=True,
    )
)
def test_short_names_are_short_and_each_has_one(names: list[str]) -> None:
    found = short_names(names)
    assert all(is_short(short) and may_be_generated(short) for short in found)
    assert len(set(found.values())) == len(found)
    assert {name for name in names if not is_short(name)} == set(found.values())


def test_a_new_entry_gets_what_windows_gives_it(scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        before = view.volume.now()
        view.write_bytes(r"C:\Program Files\new.txt", b"new")
        view.mkdir(r"C:\Program Files\sub")
        file, directory = view.stat("Program Files/new.txt"), view.stat("Program Files/sub")
        assert file.info.attributes == 0x20
        assert directory.info.attributes == 0x10
        times = file.info
        assert before <= times.creation_time <= times.last_write_time <= view.volume.now()
        assert min(times.last_access_time, times.change_time) >= before
        assert view.security("Program Files/new.txt") == inherited(PROGRAMS, False)
        assert view.security("Program Files/sub") == inherited(PROGRAMS, True)
        parent = view.stat("Program Files").info
        assert parent.last_write_time >= before
        assert parent.creation_time == TIME
        descriptor = view.security("Program Files/new.txt")
        assert descriptor is not None
        assert "ID" in to_sddl(SecurityDescriptor.decode(descriptor))
        # A directory without a descriptor of its own hands down what a volume's root does.
        view.mkdir("Windows/new")
        assert view.security("Windows/new") == inherited(volume_root().encode(), True)


def test_names_that_windows_does_not_take_are_refused(scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        for name in ("a?", "x" * 256, "aux", "COM1.txt", "trailing.", "trailing ", "a<b"):
            path = f"C:\\{name}"
            for attempt in (
                partial(view.mkdir, path), partial(view.open, path, "w"), partial(view.rename, "Windows", path)
            ):  # fmt: skip
                with pytest.raises(InvalidParameterError) as caught:
                    attempt()
                assert caught.value.code == 123
        with pytest.raises(InvalidParameterError, match="no other root"):
            view.volume.check_name(view.volume.tree.root(), "x")
        with pytest.raises(InvalidParameterError, match="root directory"):
            view.rmtree("Hives")
        with pytest.raises(InvalidParameterError, match="root directory"):
            view.rename("C:\\", "Windows/x")
        for attempt in (partial(view.mkdir, "UtilityVM/Files/new"), partial(view.truncate, "UtilityVM/Files/EFI/x", 0)):
            with pytest.raises(wclayer.NotSupportedError, match="utility VM"):
                attempt()
        assert view.listdir("Windows/System32") == ["a.dll"]


def test_metadata_stay_what_they_were_set_to(scratch: Path) -> None:
    eas = encode_eas([ExtendedAttribute(b"NAME", b"value", 0)])
    descriptor = from_sddl("O:SYG:SYD:(A;;FA;;;SY)").encode()
    with LayerView(scratch=scratch) as view:
        path = "Windows/System32/a.dll"
        data_before = view.volume.find(path)
        assert data_before.layer == 1
        view.set_attributes(path, 0x1 | 0x2 | 0x10 | 0x400)
        view.set_security(path, descriptor)
        view.set_eas(path, eas)
        view.write_bytes(path + ":Zone.Identifier", b"zone")
        view.set_times(path, creation=1, access=2, write=3, change=4)
    with LayerView(scratch=scratch) as view:
        status = view.stat(path)
        assert status.info.pack() == wclayer.FileBasicInfo(0x3, 1, 2, 3, 4).pack()
        assert (view.security(path), view.eas(path)) == (descriptor, eas)
        assert view.streams(path) == [("Zone.Identifier", 4)]
        assert view.read_bytes(path) == b"library"
        view.unlink(path + ":zone.identifier")
        assert view.streams(path) == []
        with pytest.raises(FileNotFoundError):
            view.unlink(path + ":zone.identifier")
        for setter in (view.set_security, view.set_eas, view.set_reparse):
            with pytest.raises(InvalidParameterError):
                setter(path, b"x")
        # Writing sets the archive attribute and the time, and leaves the rest.
        with view.open(path, "r+b") as file:
            file.write(b"L")
        after = view.stat(path).info
        assert (after.attributes, after.creation_time) == (0x23, 1)
        assert after.last_write_time > 3


def test_metadata_are_changed_without_copying_contents(scratch: Path, base: Path) -> None:
    with LayerView(scratch=scratch) as view:
        view.set_attributes("Windows/System32/a.dll", 0x1)
        scratch_directory = view.volume.writable_scratch()
        own = scratch_directory.host.stat(scratch_directory.host_path(view.volume.find("Windows/System32/a.dll").row))
        assert own.st_ino == (base / "Files/Windows/System32/a.dll").stat().st_ino
        with view.open("Windows/System32/a.dll", "r+b") as file:
            file.write(b"changed")
        view.rename("Program Files", "Renamed")
        assert view.read_bytes("Renamed/Long name.text") == b"long"
    assert (base / "Files/Windows/System32/a.dll").read_bytes() == b"library"
    assert list(wclayer.check_layer(base)) == []


def test_a_root_without_security_keeps_its_times(scratch: Path) -> None:
    """What is written below it changes its own directory's times, and no other's."""
    with LayerView(scratch=scratch) as view:
        view.write_bytes("Windows/new", b"")
        assert view.stat("C:\\").info == info(0x10)


def test_an_open_file_outlives_its_names(scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        path = "Windows/System32/a.dll"
        with view.open(path, "rb", buffering=0) as reader, view.open(path, "r+b", buffering=0) as writer:
            view.rename(path, "Windows/moved.dll")
            writer.write(b"LIB")
            assert reader.read() == b"LIBrary"
            view.unlink("Windows/moved.dll")
            writer.seek(0, 2)
            writer.write(b"!")
            reader.seek(0)
            assert reader.read() == b"LIBrary!"
            view.write_bytes("Windows/moved.dll", b"another")
            reader.seek(0)
            assert reader.read() == b"LIBrary!"
        assert view.read_bytes("Windows/moved.dll") == b"another"
        view.write_bytes("one", b"1")
        view.link("other", "one")
        with view.open("one", "r+b", buffering=0) as file:
            number = view.stat("other").file_id
            view.unlink("one")
            file.write(b"23")
            assert (view.stat("other").file_id, view.stat("other").size) == (number, 2)
        assert view.read_bytes("other") == b"23"
        # Of a file that only a parent has, too.
        with view.open("Program Files/Long name.text", "r+b", buffering=0) as file:
            view.rmtree("Program Files")
            file.write(b"L")
            file.seek(0)
            assert file.read() == b"Long"
    assert list(wclayer.check_layer(scratch)) == []


def test_a_directory_made_anew_hides_what_its_parents_have(scratch: Path, base: Path) -> None:
    with LayerView(scratch=scratch) as view:
        view.rmtree("Program Files")
        view.mkdir("Program Files")
        assert view.listdir("Program Files") == []
        view.write_bytes("Windows/System32/a.dll", b"")
        view.rmtree("Windows/System32")
        view.write_bytes("Windows/System32", b"a file now")
    with wclayer.new_layer_reader(scratch) as reader:
        names = [(item.entry.name, item.entry.info is None) for item in reader]
    assert names == [
        ("Files/Program Files", True), ("Files", False), ("Files/Program Files", False), ("Files/Windows", False),
        ("Files/Windows/System32", False),
    ]  # fmt: skip
    with LayerView(scratch=scratch) as view:
        assert view.listdir("Program Files") == []
        assert view.read_bytes("Windows/System32") == b"a file now"
        view.unlink("Windows/System32")
        assert not view.exists("Windows/System32")
        # What is made again as a plain file needs no tombstone.
        view.write_bytes("Windows/System32", b"")
    with wclayer.new_layer_reader(scratch) as reader:
        assert [item.entry.name for item in reader if item.entry.info is None] == ["Files/Program Files"]


def test_space_is_what_the_disk_has(base: Path, tmp_path: Path) -> None:
    wclayer.create_scratch_layer(tmp_path / "small", [base])
    with LayerView(scratch=tmp_path / "small") as view:
        capacity = view.capacity
        assert capacity is not None
        assert capacity > 18 << 30
        with view.open("big", "wb", buffering=0) as file:
            file.truncate(capacity - view.used - 100)
            with pytest.raises(wclayer.DiskFullError) as caught:
                view.write_bytes("more", bytes(101))
            assert (caught.value.code, caught.value.errno) == (112, 28)
            file.truncate(0)
        view.write_bytes("more", bytes(101))
        used = view.used
    with LayerView(scratch=tmp_path / "small") as view:
        assert view.used == used == 101


def test_a_view_of_layers_takes_no_changes(base: Path) -> None:
    with LayerView([base]) as view:
        attempts: tuple[Callable[[], object], ...] = (
            lambda: view.write_bytes("x", b""), lambda: view.mkdir("x"), lambda: view.unlink("rooted"),
            lambda: view.open("Windows/System32/a.dll", "r+b"), lambda: view.truncate("Windows/System32/a.dll", 0),
        )  # fmt: skip
        for attempt in attempts:
            with pytest.raises(LayerError, match="read-only") as caught:
                attempt()
            assert caught.value.code == ERROR_ACCESS_DENIED
    with pytest.raises(InvalidParameterError, match="not a scratch"):
        LayerView(scratch=base)
    with pytest.raises(InvalidParameterError, match="neither"):
        LayerView()


def test_one_at_a_time_where_that_is_asked_for(scratch: Path) -> None:
    with LayerView(scratch=scratch) as one:
        with LayerView(scratch=scratch) as other:
            other.mkdir("by the other")
            assert one.exists("by the other")
        with pytest.raises(wclayer.LayerBusyError):
            LayerView(scratch=scratch, exclusive=True)
    with LayerView(scratch=scratch, exclusive=True), pytest.raises(wclayer.LayerBusyError):
        LayerView(scratch=scratch)
    with LayerView(scratch=scratch), pytest.raises(wclayer.LayerBusyError):
        wclayer.destroy_layer(scratch)


def test_threads_share_a_view(scratch: Path) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(30):
                view.write_bytes(f"t{number}-{step}", b"x" * step)
                view.rename(f"t{number}-{step}", f"Windows/t{number}-{step}")
                assert view.read_bytes(f"Windows/t{number}-{step}") == b"x" * step
                with view.open("Windows/shared", "ab") as file:
                    file.write(b"%d " % number)
        except BaseException as error:  # noqa: BLE001 (told to the thread that waits)
            failures.append(error)

    with LayerView(scratch=scratch) as view:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(view.listdir("Windows")) == 3 + 180 + 1


def test_paths_as_pathlib_has_them(scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        root = wclayer.LayerPath(view)
        path = root / "Windows" / "new" / "file.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
        assert path.read_text() == "text"
        assert (path.name, path.stem, path.suffix, path.parent.name) == ("file.txt", "file", ".txt", "new")
        assert path == root.joinpath("WINDOWS", "new/FILE.TXT")
        assert len({path, root / "windows/NEW/file.txt"}) == 1
        assert sorted(str(found) for found in root.rglob("*.DLL")) == ["Files/Windows/System32/a.dll"]
        assert [found.name for found in (root / "Windows").glob("*/f*")] == ["file.txt"]
        (root / "link").symlink_to(r"C:\Windows")
        assert (root / "link").is_symlink()
        assert (root / "link").is_dir()
        assert (root / "link").readlink() == r"C:\Windows"
        (root / "name").hardlink_to(path)
        assert (root / "name").stat().links == 2
        moved = (root / "name").rename(root / "Windows" / "moved")
        assert moved.exists()
        moved.unlink()
        moved.unlink(missing_ok=True)
        with pytest.raises(FileNotFoundError):
            moved.unlink()
        with path.open() as file:
            assert file.read() == "text"
        path.unlink()
        path.parent.rmdir()
        assert not path.parent.exists()


def test_streams_in_paths() -> None:
    assert split_stream(r"C:\a\b:c") == (r"C:\a\b", "c")
    assert split_stream("a/b:c:$DATA") == ("a/b", "c")
    assert split_stream(r"C:\a\b::$data") == (r"C:\a\b", "")
    assert split_stream(r"C:\a") == (r"C:\a", "")
    with pytest.raises(InvalidParameterError):
        split_stream("x/a:b:$INDEX_ALLOCATION")


def test_below_a_damaged_descriptor_nothing_is_made(tmp_path: Path) -> None:
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files")
        writer.put(Entry("Files/odd", info(0x10), security=b"no descriptor, but 24 by"))
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "base"])
    with LayerView(scratch=tmp_path / "run") as view:
        attempts: list[Callable[[], object]] = [
            lambda: view.write_bytes(r"C:\odd\x", b""), lambda: view.mkdir(r"C:\odd\x"),
            lambda: view.symlink(r"C:\odd\x", "y"), lambda: view.mount_point(r"C:\odd\x", r"C:\odd"),
        ]  # fmt: skip
        for attempt in attempts:
            with pytest.raises(CorruptLayerError, match=r"Files/odd: .* security descriptor is damaged"):
                attempt()
        assert view.listdir(r"C:\odd") == []


def test_a_change_that_is_taken_back_leaves_open_files_as_they_were(scratch: Path) -> None:
    class StopError(Exception):
        pass

    with LayerView(scratch=scratch) as view:
        with view.open("Windows/System32/a.dll", "r+b", buffering=0) as file:
            with pytest.raises(StopError), view.volume.changing():
                view.set_attributes("Windows/System32/a.dll", 0x22)
                view.unlink("Windows/System32/a.dll")
                raise StopError
            file.write(b"LIB")
        assert view.read_bytes("Windows/System32/a.dll") == b"LIBrary"


def test_a_change_happens_at_one_moment(scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        with view.volume.changing():
            view.write_bytes("Windows/first", b"1")
            sleep(0.01)
            view.mkdir("Windows/second")
        view.mkdir("Windows/third")
        first, second, third = (view.stat(f"Windows/{name}").info for name in ("first", "second", "third"))
        assert first.creation_time == second.creation_time < third.creation_time
        assert view.stat("Windows").info.last_write_time == third.creation_time


def test_times_are_filetimes(scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        for time in (-1, 1 << 63, 1 << 64):
            with pytest.raises(InvalidParameterError, match="FILETIME"):
                view.set_times("Windows", write=time)


def test_what_was_deleted_in_a_directory_stays_so_when_that_is_spelled_another_way(scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        view.unlink("Windows/System32/a.dll")
        view.rename("Windows/System32", "Windows/SYSTEM32")
        view.rename("Windows", "WINDOWS")
        assert view.listdir("Windows/System32") == []
        assert view.listdir("Windows") == ["relative", "SYSTEM32", "up"]
    with LayerView(scratch=scratch) as view:
        assert view.listdir("Windows/System32") == []
    wclayer.export_layer_to_file(scratch, scratch.parent / "changes.tar")
    with open(scratch.parent / "changes.tar", "rb") as tar:
        wclayer.import_layer_from_tar(tar, scratch.parent / "top", [scratch.parent / "base"])
    with LayerView([scratch.parent / "top", scratch.parent / "base"]) as view:
        assert view.listdir("WINDOWS/system32") == []
        assert view.read_bytes("Program Files/Long name.text") == b"long"


def test_names_that_a_nearer_layer_deletes_are_not_counted(tmp_path: Path) -> None:
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files")
        put_file(writer, "Files/a", b"data")
        for name in ("b", "c"):
            writer.put(Entry(f"Files/{name}", info(), link_target="Files/a"))
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "base"])
    with LayerView(scratch=tmp_path / "run") as view:
        assert view.stat("a").links == 3
        view.unlink("b")
        assert view.stat("a").links == 2
        view.write_bytes("a", b"taken over")
        assert view.stat("c").links == 2
        view.unlink("c")
        assert view.stat("a").links == 1


def test_a_stream_gets_its_new_contents_in_one_step(scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        view.write_bytes("C:\\f:stream", b"old")
        with pytest.raises(ZeroDivisionError), view.replacing("C:\\f:stream") as file:
            file.write(b"new")
            raise ZeroDivisionError
        assert view.read_bytes("C:\\f:stream") == b"old"
        with view.replacing("C:\\f:stream") as file, LayerView([scratch]) as reader:
            file.write(b"new")
            assert reader.read_bytes("C:\\f:stream") == b"old"
        assert view.read_bytes("C:\\f:stream") == b"new"
        # Nor is a file made for a stream that does not come about.
        with pytest.raises(ZeroDivisionError), view.replacing("C:\\g:stream"):
            raise ZeroDivisionError
        assert not view.exists("C:\\g")
        used = view.used
        view.write_bytes("C:\\f:stream", b"s" * 2_000_000)
        assert view.used == used + 2_000_000 - 3
        view.write_bytes("C:\\f:stream", b"")
        assert view.used == used - 3


def test_a_method_that_is_called_names_its_operation_not_the_class(scratch: Path, tmp_path: Path) -> None:
    with LayerView(scratch=scratch) as view:
        view.mkdir("taken")
        calls: list[tuple[str, Callable[[], object]]] = [
            ("create directory", partial(view.mkdir, "taken")),
            ("create directory", partial(view.mkdir, "nothing/below")),
            ("create directory", partial(view.makedirs, "Windows/System32/a.dll/below")),
            ("remove", partial(view.unlink, "nothing")),
            ("set attributes", partial(view.set_attributes, "nothing", 0x20)),
            ("set EAs", partial(view.set_eas, "nothing", b"")),
            ("view layers", partial(view.stat, "nothing")),
        ]
        for operation, call in calls:
            with pytest.raises(LayerError) as caught:
                call()
            assert caught.value.operation == operation
            assert str(caught.value).startswith(f"{operation}: {caught.value.path}: ")
    with pytest.raises(wclayer.PathNotFoundError) as missing:
        wclayer.MergedTree(tmp_path / "missing")
    assert missing.value.operation == "open layer"


def test_what_a_source_fails_at_is_told_as_the_reader_s_inside_a_copy(tmp_path: Path) -> None:
    class Failing(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            raise OSError(errno.EIO, "the drive is gone")

    with wclayer.TarLayerReader(cast(BinaryIO, Failing()), "source.tar") as reader:
        with wclayer.DirectoryLayerWriter(tmp_path / "made") as writer, pytest.raises(LayerError) as caught:
            wclayer.copy_layer(reader, writer)
        assert (caught.value.operation, caught.value.path) == ("read layer tar", "source.tar")


def test_a_closed_view_is_a_call_at_the_wrong_time(scratch: Path) -> None:
    view = LayerView(scratch=scratch)
    view.close()
    with pytest.raises(wclayer.InvalidStateError, match="closed"):
        view.listdir("Windows")


def test_the_file_system_names_its_operations(scratch: Path) -> None:
    with LayerFileSystem(fo=scratch) as files:
        with pytest.raises(wclayer.EntryIsDirectoryError) as caught:
            files.rm("Windows")
        assert str(caught.value) == "remove: Windows: is a directory; recursive=True removes it"
    with pytest.raises(wclayer.NotSupportedError) as refused:
        LayerFileSystem(fo=scratch, target_protocol="s3")
    assert str(refused.value).startswith(f"open file system: {scratch}: ")


def test_a_path_that_was_reached_before_leads_through_a_link_that_took_a_directorys_place(scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        view.makedirs("target/below")
        view.write_bytes("target/below/file", b"target")
        view.makedirs("removed/below")
        view.write_bytes("removed/below/file", b"removed")
        view.makedirs("changed")
        view.makedirs("moved/below")
        view.write_bytes("moved/below/file", b"moved")
        assert view.read_bytes("removed/below/file") == b"removed"
        assert view.read_bytes("moved/below/file") == b"moved"
        assert not view.exists("changed/below")
        view.rmtree("removed")
        view.symlink("removed", "target", is_directory=True)
        view.set_reparse("changed", LinkTarget.from_path(r"C:\target", is_mount_point=True).encode())
        view.rename("moved", "elsewhere")
        view.symlink("moved", "target", is_directory=True)
        for name in ("removed", "changed", "moved"):
            assert view.read_bytes(f"{name}/below/file") == b"target"
        assert view.read_bytes("elsewhere/below/file") == b"moved"


def test_a_view_of_one_layer_takes_changes_if_it_is_a_scratch(base: Path, scratch: Path) -> None:
    with LayerView.for_layer(base) as view:
        assert not view.is_writable
        assert view.exists(r"C:\Windows\System32\a.dll")
    with LayerView.for_layer(scratch, writable=False) as view:
        assert not view.is_writable
    with LayerView.for_layer(scratch) as view:
        view.write_bytes(r"C:\new", b"data")
    with LayerView.for_layer(scratch, writable=False) as view:
        assert view.read_bytes(r"C:\new") == b"data"


def test_an_error_without_a_path_of_its_own_names_the_view(base: Path) -> None:
    view = LayerView(base)
    view.close()
    with pytest.raises(wclayer.InvalidStateError) as closed:
        view.stat(r"C:\Windows")
    assert closed.value.path == str(base)
    assert str(closed.value).endswith(f": {base}: is closed")
