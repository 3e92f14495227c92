"""Readers and writers of the hcs engine: what they do on the disk, and that they leave nothing behind."""

from __future__ import annotations

import ctypes
import io
import os
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from ctypes import wintypes
from pathlib import Path

import pytest
from click.testing import CliRunner

import wclayer
from tests.support import (
    TIME,
    contents,
    directory,
    info,
    layer_tar,
    put_directories,
    put_file,
    vector_bytes,
)
from tests.windows.guest.fake import Fake
from tests.windows.guest.service import Service
from wclayer.cli.verbs import cli
from wclayer.engines.hcs import privileges, reader, writer
from wclayer.engines.hcs.files import BackupFile
from wclayer.engines.portable import engine as portable
from wclayer.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    InvalidDataError,
    InvalidStateError,
    LayerError,
    NotALayerError,
    NotSupportedError,
    PathNotFoundError,
)
from wclayer.host.root import HostRoot
from wclayer.layers.tar import TarLayerReader
from wclayer.layers.transport.layout import TOMBSTONES, TOMBSTONES_HEADER
from wclayer.model import Entry, LayerReader, LayerWriter
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.backup import SPARSE_STREAM, BackupStreamReader, StreamHeader, StreamId
from wclayer.win32.reparse import LinkTarget

CONFIG = "Files/Windows/System32/config"
BOOT = "UtilityVM/Files/EFI/Microsoft/Boot"


@pytest.fixture
def service(fake: Fake) -> Service:
    service = Service()
    fake.hook(service)
    return service


@pytest.fixture(autouse=True)
def no_folder_is_left(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No temporary folder outlives a test, whatever happened in it."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert os.listdir(folder) == []


def build_base(writer: LayerWriter) -> None:
    """A base layer in the order in which one is read."""
    put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32", CONFIG)
    for hive in ("DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM"):
        put_file(writer, f"{CONFIG}/{hive}")
    put_directories(writer, "Files/a")
    put_file(writer, "Files/a/file", b"content", attributes=0x26, stream=b"alternate", other=b"x" * 5000)
    put_file(writer, "Files/a/large", os.urandom(50_000))
    writer.put(Entry("Files/a/z-link", info(0x26), link_target="Files/a/file"))
    writer.put(
        Entry("Files/junction", info(0x410), reparse=LinkTarget.from_path("C:\\Windows", is_mount_point=True).encode())
    )
    put_directories(writer, "UtilityVM", "UtilityVM/Files")
    put_directories(writer, "UtilityVM/Files/EFI", "UtilityVM/Files/EFI/Microsoft", BOOT)
    put_file(writer, f"{BOOT}/BCD", b"boot store")
    put_file(writer, f"{BOOT}/BCD.LOG", b"log")
    put_file(writer, "UtilityVM/Files/kernel", b"kernel")


@pytest.fixture
def base_tar() -> bytes:
    return layer_tar(build_base)


@pytest.fixture
def base(service: Service, base_tar: bytes, tmp_path: Path, fake: Fake) -> Path:
    path = tmp_path / "base"
    wclayer.import_layer_from_tar(io.BytesIO(base_tar), path)
    return path


def by_name(found: list[tuple[object, ...]]) -> dict[object, tuple[object, ...]]:
    return {entry[0]: entry for entry in found}


# A base layer.


def test_a_base_layer_goes_in_and_comes_out(fake: Fake, base: Path, base_tar: bytes) -> None:
    assert fake.calls == ["ProcessBaseImage", "ProcessUtilityImage"]
    assert fake.log == [f"ProcessBaseImage|path={base}", f"ProcessUtilityImage|path={base}\\UtilityVM"]
    assert contents(wclayer.new_layer_reader(base)) == contents(TarLayerReader(io.BytesIO(base_tar), is_base=True))
    # The state of the boot store before it was processed is kept.
    assert (base / "bcd.bak").read_bytes() == b"boot store"
    assert (base / "bcd.log.bak").read_bytes() == b"log"
    out = io.BytesIO()
    result = wclayer.export_layer_to_tar(out, base)
    assert out.getvalue() == base_tar
    assert result.size == len(base_tar)


@pytest.mark.parametrize("name", ["base.tar.gz"])
def test_the_vector_keeps_every_entry(service: Service, fake: Fake, name: str, tmp_path: Path) -> None:
    data = vector_bytes(name)
    result = wclayer.import_layer_from_tar(io.BytesIO(data), tmp_path / "layer")
    wanted = by_name(contents(TarLayerReader(io.BytesIO(data), is_base=True)))
    found = by_name(contents(wclayer.new_layer_reader(tmp_path / "layer")))
    assert found.keys() == wanted.keys()
    links = {key for key, entry in wanted.items() if entry[2] is not None}
    for key in wanted.keys() - links:
        # Of a file with two names, the one that is read first is the file, and the other the link.
        if found[key][2] is None:
            assert found[key] == wanted[key]
    out = io.BytesIO()
    again = wclayer.export_layer_to_tar(out, tmp_path / "layer")
    wclayer.import_layer_from_tar(io.BytesIO(out.getvalue()), tmp_path / "copy")
    copy = io.BytesIO()
    assert wclayer.export_layer_to_tar(copy, tmp_path / "copy").diff_id == again.diff_id
    assert result.entries == again.entries == len(wanted)


def test_entries_come_in_the_order_of_hcsshim(fake: Fake, base: Path) -> None:
    for name in ("b", "B2", "a-", "ü"):
        (base / "Files" / name).mkdir()
    (base / "Files" / "$recycle.bin").mkdir()
    (base / "Files" / "$recycle.bin" / "x").write_bytes(b"")
    (base / "UtilityVM" / "SystemTemplate.vhdx").write_bytes(b"made")
    (base / "UtilityVM" / "Filesystem").mkdir()
    with wclayer.new_layer_reader(base) as reader:
        names = [item.entry.name for item in reader]
    tops = [name for name in names if name.count("/") == 1 and name.startswith("Files")]
    assert tops == ["Files/B2", "Files/Windows", "Files/a", "Files/a-", "Files/b", "Files/junction", "Files/ü"]
    assert names[0] == "Files"
    below = [name for name in names if name.startswith("UtilityVM")]
    assert below[:2] == ["UtilityVM", "UtilityVM/Files"]
    assert all(name.startswith("UtilityVM/Files/") for name in below[2:])


def test_a_utility_vm_without_files_is_none(fake: Fake, service: Service, tmp_path: Path) -> None:
    (tmp_path / "Files").mkdir()
    (tmp_path / "UtilityVM").mkdir()
    with wclayer.new_layer_reader(tmp_path) as reader:
        assert [item.entry.name for item in reader] == ["Files"]


def test_backup_streams_pass_byte_for_byte(fake: Fake, base: Path) -> None:
    """Portions of any size, links, and what is behind the data."""
    streams: dict[str, bytes] = {}
    with wclayer.new_layer_reader(base) as reader:
        while (entry := reader.next()) is not None:
            pieces = []
            while piece := reader.read(777):
                pieces.append(piece)
            streams[entry.name] = b"".join(pieces)
            links = reader.link_info()
            assert links.number_of_links == (2 if entry.name in ("Files/a/file", "Files/a/z-link") else 1)
    assert streams["Files/a/z-link"] == b""
    stream = BackupStreamReader(io.BytesIO(streams["Files/a/file"]))
    assert [(header.id, header.size, header.name) for header in stream] == [
        (1, 7, ""), (4, 9, ":stream:$DATA"), (4, 5000, ":other:$DATA"),
    ]  # fmt: skip


def test_sparse_streams_are_read_dense_and_passed_sparse(fake: Fake, service: Service, tmp_path: Path) -> None:
    raw = b"".join(
        [
            StreamHeader(StreamId.SECURITY_DATA, 4).encode(), b"\1\0\4\x80",
            StreamHeader(StreamId.DATA, 0, SPARSE_STREAM).encode(),
            StreamHeader(StreamId.SPARSE_BLOCK, 3, offset=100_000).encode(), b"abc",
            StreamHeader(StreamId.SPARSE_BLOCK, 2, offset=3_000_000).encode(), b"de",
            StreamHeader(StreamId.SPARSE_BLOCK, 0, offset=4_000_000).encode(),
            StreamHeader(StreamId.LINK, 3).encode(), b"lnk",
            StreamHeader(StreamId.ALTERNATE_DATA, 0, SPARSE_STREAM, ":s:$DATA").encode(),
            StreamHeader(StreamId.SPARSE_BLOCK, 1, offset=10).encode(), b"x",
            StreamHeader(StreamId.SPARSE_BLOCK, 0, offset=20).encode(),
            StreamHeader(StreamId.ALTERNATE_DATA, 1, 0, ":t:$DATA").encode(), b"t",
            StreamHeader(StreamId.OBJECT_ID, 16).encode(), bytes(16),
        ]
    )  # fmt: skip
    with wclayer.new_layer_writer(tmp_path / "layer") as out:
        out.add("Files", info(0x10))
        out.add("Files/sparse", info(0x220))
        for at in range(0, len(raw), 100):
            assert out.write(raw[at : at + 100]) == len(raw[at : at + 100])
    dense = bytes(100_000) + b"abc" + bytes(2_899_997) + b"de" + bytes(999_998)
    with wclayer.new_layer_reader(tmp_path / "layer") as back:
        back.next()
        entry = back.next()
        assert entry is not None
        assert entry.size == 4_000_000
        found = [(stream.name, stream.size, stream.read_all()) for stream in back.streams()]
        assert found == [("", 4_000_000, dense), ("s", 20, bytes(10) + b"x" + bytes(9)), ("t", 1, b"t")]
        assert [extra.id for extra in entry.extra] == [StreamId.LINK, StreamId.OBJECT_ID]
    with wclayer.new_layer_reader(tmp_path / "layer") as back:
        back.next()
        back.next()
        # A stream that is passed over does not hide the next one.
        assert [stream.name for stream in back.streams()] == ["", "s", "t"]
    with wclayer.new_layer_reader(tmp_path / "layer") as back:
        back.next()
        back.next()
        assert back.read() == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"\x0b\0\0\0" + bytes(16),
        StreamHeader(StreamId.DATA, 0, SPARSE_STREAM).encode()
        + StreamHeader(StreamId.SPARSE_BLOCK, 1, offset=5).encode() + b"x"
        + StreamHeader(StreamId.SPARSE_BLOCK, 1, offset=5).encode() + b"x",
        StreamHeader(StreamId.SPARSE_BLOCK, 1, offset=5).encode() + b"x",
        StreamHeader(StreamId.ALTERNATE_DATA, 0, 0, "no colons").encode(),
        StreamHeader(StreamId.SECURITY_DATA, 1 << 40).encode(),
        StreamHeader(StreamId.DATA, 10).encode() + b"short",
    ],
)  # fmt: skip
def test_an_unsound_backup_stream_is_an_error(fake: Fake, service: Service, tmp_path: Path, raw: bytes) -> None:
    with wclayer.new_layer_writer(tmp_path / "layer") as out:
        out.add("Files", info(0x10))
        put_file(out, "Files/x", b"x")
    with HostRoot(tmp_path / "layer") as root, BackupFile(root, b"Files/x") as file:
        fake.files.FakeStream(ctypes.c_void_p(file._handle), raw, len(raw))
    with wclayer.new_layer_reader(tmp_path / "layer") as back, pytest.raises(InvalidDataError, match=r"Files/x'?: "):
        for _ in back:
            for stream in back.streams():
                stream.read_all()


def test_a_base_layer_has_no_tombstones(fake: Fake, service: Service, tmp_path: Path) -> None:
    out = wclayer.new_layer_writer(tmp_path / "layer")
    out.add("Files", info(0x10))
    with pytest.raises(InvalidDataError, match="no tombstones"):
        out.remove("Files/x")
    assert not (tmp_path / "layer").exists()
    with pytest.raises(InvalidStateError):
        out.add("Files/y", info())


@pytest.mark.parametrize("name", ["../x", "Files/../x", "C:\\x", "Files/a:b", "/Files", "Files//x", "Files/x\0"])
def test_names_do_not_lead_out(fake: Fake, service: Service, name: str, tmp_path: Path) -> None:
    out = wclayer.new_layer_writer(tmp_path / "layer")
    out.add("Files", info(0x10))
    with pytest.raises(InvalidDataError):
        out.add(name, info())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("step", ["ProcessBaseImage", "ProcessUtilityImage", "BackupWrite", "BackupRead", "source"])
def test_a_base_layer_that_fails_is_gone(
    fake: Fake, service: Service, base_tar: bytes, tmp_path: Path, step: str
) -> None:
    kind: type[LayerError] = AccessDeniedError
    fake.hook(lambda name, *_: 0x80070005 - (1 << 32) if name == step else 0)
    fake.files.FakeBackupAnswers(0, 5 if step == "BackupWrite" else 0)
    if step == "source":
        base_tar, kind = base_tar[:30_000], InvalidDataError
    if step == "BackupRead":
        wclayer.import_layer_from_tar(io.BytesIO(base_tar), tmp_path / "layer")
        fake.files.FakeBackupAnswers(5, 0)
        with wclayer.new_layer_reader(tmp_path / "layer") as back, pytest.raises(AccessDeniedError):
            list(back)
        return
    with pytest.raises(kind):
        wclayer.import_layer_from_tar(io.BytesIO(base_tar), tmp_path / "layer")
    assert os.listdir(tmp_path) == []


def test_a_taken_place_is_left_alone(fake: Fake, service: Service, tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer" / "mine").write_bytes(b"")
    for parents in ([], [tmp_path]):
        with pytest.raises(AlreadyExistsError):
            wclayer.new_layer_writer(tmp_path / "layer", parents)
    with pytest.raises(PathNotFoundError):
        wclayer.new_layer_writer(tmp_path / "none" / "layer")
    with pytest.raises(PathNotFoundError, match="parent"):
        wclayer.new_layer_writer(tmp_path / "new", [tmp_path / "none"])
    with pytest.raises(PathNotFoundError):
        wclayer.new_layer_reader(tmp_path / "none")
    with pytest.raises(NotALayerError):
        wclayer.new_layer_reader(tmp_path / "layer")
    assert os.listdir(tmp_path / "layer") == ["mine"]
    assert os.listdir(tmp_path) == ["layer"]


def test_long_paths(fake: Fake, service: Service, tmp_path: Path) -> None:
    deep = ["Files", *(f"{'d' * 60}{n}" for n in range(12))]
    with wclayer.new_layer_writer(tmp_path / "layer") as out:
        for depth in range(len(deep)):
            out.put(directory("/".join(deep[: depth + 1])))
        put_file(out, "/".join([*deep, "bottom"]), b"bottom")
    with wclayer.new_layer_reader(tmp_path / "layer") as back:
        *_, last = back
        assert last.entry.name == "/".join([*deep, "bottom"])
        assert last.entry.info is not None
    assert wclayer.new_layer_reader(tmp_path / "layer").close() is None


# Privileges.


def test_privileges_are_held_for_the_call_and_given_back(fake: Fake, base: Path, tmp_path: Path) -> None:
    held = []

    def look(name: str, *_: object) -> int:
        held.append((name, _enabled()))
        return 0

    fake.hook(look)
    assert _enabled() is None
    with wclayer.new_layer_writer(tmp_path / "new") as out:
        out.add("Files", info(0x10))
        assert _enabled() is None
    assert held == [("ProcessBaseImage", set(privileges.NAMES))]
    held.clear()
    wclayer.activate_layer(tmp_path)
    assert held == [("ActivateLayer", None)]
    fake.answer("ProcessBaseImage", 0x80070005)
    with pytest.raises(AccessDeniedError), wclayer.new_layer_writer(tmp_path / "other") as out:
        out.add("Files", info(0x10))
    assert _enabled() is None


def _enabled() -> set[str] | None:
    """Which of the privileges the thread's own token has enabled; None if the thread has no token."""
    token = wintypes.HANDLE()
    thread = privileges._kernel32.GetCurrentThread()
    if not privileges._advapi32.OpenThreadToken(thread, 0x8, False, ctypes.byref(token)):
        return None
    size = wintypes.DWORD()
    buffer = ctypes.create_string_buffer(4096)
    information = ctypes.WinDLL("advapi32").GetTokenInformation
    information.argtypes = (
        wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD, ctypes.POINTER(wintypes.DWORD),
    )  # fmt: skip
    assert information(token, 3, buffer, len(buffer), ctypes.byref(size))
    ctypes.WinDLL("kernel32").CloseHandle(token)
    luids = {}
    for name in privileges.NAMES:
        luid = privileges._Luid()
        assert privileges._advapi32.LookupPrivilegeValueW(None, name, ctypes.byref(luid))
        luids[luid.LowPart, luid.HighPart] = name
    (count,) = struct.unpack_from("<I", buffer)
    found = {}
    for number in range(count):
        low, high, attributes = struct.unpack_from("<IiI", buffer, 4 + number * 12)
        found[low, high] = bool(attributes & 2)
    return {name for key, name in luids.items() if found.get(key)}


def test_a_user_without_the_privileges_is_told(
    fake: Fake, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NotAdministrator:
        def __getattr__(self, name: str) -> object:
            if name == "AdjustTokenPrivileges":
                return lambda *_: ctypes.set_last_error(1300) or 1
            return getattr(real, name)

    real = privileges._advapi32
    monkeypatch.setattr(privileges, "_advapi32", NotAdministrator())
    with pytest.raises(AccessDeniedError, match="elevated administrator") as refused:
        list(wclayer.new_layer_reader(base))
    assert refused.value.code == 1314
    with pytest.raises(AccessDeniedError):
        wclayer.import_layer_from_tar(io.BytesIO(layer_tar(build_base)), tmp_path / "new")
    with pytest.raises(AccessDeniedError):
        wclayer.new_layer_reader(base, [tmp_path])
    with pytest.raises(AccessDeniedError), wclayer.new_layer_writer(tmp_path / "child", [base]) as out:
        out.add("Files", info(0x10))
    assert sorted(os.listdir(tmp_path)) == ["base"]


# A child layer.


def build_child(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "Files/a", "Hives", "Files/new")
    put_file(writer, "Files/a/file2", b"of the child", stream=b"s")
    put_file(writer, "Files/new/x", b"x")
    for hive in ("DefaultUser", "Sam", "Security", "Software", "System"):
        put_file(writer, f"Hives/{hive}_Delta", b"regf" + hive.encode())
    writer.put(
        Entry("Files/new/junction", info(0x410), reparse=LinkTarget.from_path("C:\\a", is_mount_point=True).encode())
    )
    writer.put(Entry("Files/a/own", info(0x20), link_target="Files/new/x"))
    writer.put(Entry("Files/a/theirs", info(0x20), link_target="Files/a/large"))
    writer.put(Entry("Files/a/z-link", None))


@pytest.fixture
def child(fake: Fake, service: Service, base: Path, tmp_path: Path) -> Path:
    fake.dll.FakeReset()
    fake.hook(service)
    path = tmp_path / "child"
    with wclayer.new_layer_writer(path, [base]) as out:
        build_child(out)
    return path


def test_a_child_is_imported_by_windows(fake: Fake, service: Service, child: Path, base: Path) -> None:
    (line,) = [line for line in fake.log if line.startswith("ImportLayer")]
    assert line.startswith(f"ImportLayer|id={child}|folder=")
    assert f"layers=1|{{{str(wclayer.layer_id(base)).upper()}}}|path={base}" in line
    assert fake.calls == ["ImportLayer"]
    # What the import saw: no file of tombstones but ours, every top with its metadata.
    assert service.seen == [("imported", ["Files", "Files.$wcidirs$", "Hives", "Hives.$wcidirs$", "tombstones.txt"])]
    assert (child / "Files/a/file2").read_bytes() == b"of the child"
    assert (child / "Hives/Sam_Delta").read_bytes() == b"regfSam"
    # Links are made after it, also out of the layer.
    assert os.path.samefile(child / "Files/a/own", child / "Files/new/x")
    assert os.path.samefile(child / "Files/a/theirs", base / "Files/a/large")
    with HostRoot(child) as root:
        for path in (b"Files", b"Files/a", b"Files/new", b"Hives"):
            with BackupFile(root, path) as file:
                assert file.info() == info(0x10)
        with BackupFile(root, b"Files/new/junction") as file:
            assert file.info() == info(0x410)


def test_tombstones_are_removed_after_the_import(fake: Fake, service: Service, base: Path, tmp_path: Path) -> None:
    def with_placeholders(name: str, layer: str, other: str, data: bytes) -> int:
        result = service(name, layer, other, data)
        if name == "ImportLayer":
            Path(layer, "Files/a/gone").mkdir()
            Path(layer, "Files/a/gone/below").write_bytes(b"")
            Path(layer, "Files/a/there").write_bytes(b"placeholder")
        return result

    fake.hook(with_placeholders)
    with wclayer.new_layer_writer(tmp_path / "child", [base]) as out:
        put_directories(out, "Files", "Files/a")
        out.remove("Files/a/gone")
        out.remove("Files/a/never")
        out.add_link("Files/a/there", "Files/a/file")
    assert sorted(os.listdir(tmp_path / "child/Files/a")) == ["there"]
    assert os.path.samefile(tmp_path / "child/Files/a/there", base / "Files/a/file")


def test_a_child_s_utility_vm_is_its_parent_s_with_changes(
    fake: Fake, service: Service, base: Path, tmp_path: Path
) -> None:
    path = tmp_path / "child"
    fake.dll.FakeReset()
    fake.hook(service)
    with wclayer.new_layer_writer(path, [base]) as out:
        put_directories(out, "Files")
        put_directories(out, "UtilityVM", "UtilityVM/Files", "UtilityVM/Files/EFI")
        put_file(out, "UtilityVM/Files/kernel", b"new kernel")
        put_file(out, "UtilityVM/Files/added", b"added")
        out.add_link("UtilityVM/Files/alias", "UtilityVM/Files/added")
        out.add_link("UtilityVM/Files/log", f"{BOOT}/BCD.LOG")
        put_directories(out, f"{BOOT}/BCD.LOG2")
    assert fake.calls == ["ImportLayer", "ProcessUtilityImage"]
    assert (path / "UtilityVM/Files/kernel").read_bytes() == b"new kernel"
    assert (base / "UtilityVM/Files/kernel").read_bytes() == b"kernel"
    assert os.path.samefile(path / "UtilityVM/Files/alias", path / "UtilityVM/Files/added")
    # The boot store is changed by processing: it is a copy, with all that belongs to it.
    assert not os.path.samefile(path / BOOT / "BCD", base / BOOT / "BCD")
    assert (path / BOOT / "BCD").read_bytes() == b"boot store"
    with HostRoot(path) as root:
        with BackupFile(root, f"{BOOT}/BCD".encode()) as file:
            assert file.info() == info(0x20)
        with BackupFile(root, b"UtilityVM/Files/EFI/Microsoft") as file:
            assert file.info() == info(0x10)
    # Everything else is one file with the parent's.
    with wclayer.new_layer_writer(tmp_path / "second", [base]) as out:
        put_directories(out, "Files", "UtilityVM", "UtilityVM/Files")
        out.remove(f"{BOOT}/BCD.LOG")
    assert os.path.samefile(tmp_path / "second/UtilityVM/Files/kernel", base / "UtilityVM/Files/kernel")
    assert not (tmp_path / "second" / BOOT / "BCD.LOG").exists()


def test_a_reparse_directory_is_no_way_into_something_else(
    fake: Fake, service: Service, base: Path, tmp_path: Path
) -> None:
    out = wclayer.new_layer_writer(tmp_path / "child", [base])
    put_directories(out, "Files")
    out.put(Entry("Files/j", info(0x410), reparse=LinkTarget.from_path("C:\\", is_mount_point=True).encode()))
    with pytest.raises(PathNotFoundError):
        put_file(out, "Files/j/x", b"")
    assert not (tmp_path / "child").exists()


@pytest.mark.parametrize(
    "steps",
    [
        lambda out: out.add("UtilityVM/Files", info(0x10)),
        lambda out: (out.add("UtilityVM", info(0x10)), out.add("UtilityVM/other", info(0x10))),
        lambda out: out.remove("Hives/x"),
        lambda out: out.add_link("Hives/x", "Files/a/file"),
        lambda out: out.add_link("Files/x", "Files/nowhere"),
        lambda out: out.write(b"x"),
    ],
)
def test_what_a_child_cannot_have(
    fake: Fake, base: Path, tmp_path: Path, steps: Callable[[LayerWriter], object]
) -> None:
    out = wclayer.new_layer_writer(tmp_path / "child", [base])
    with pytest.raises((InvalidDataError, InvalidStateError)):
        steps(out)
    assert not (tmp_path / "child").exists()


@pytest.mark.parametrize("step", ["ImportLayer", "ProcessUtilityImage", "NameToGuid", "BackupWrite", "abort", "stream"])
def test_a_child_that_fails_is_gone(fake: Fake, service: Service, base: Path, tmp_path: Path, step: str) -> None:
    def failing(name: str, layer: str, other: str, data: bytes) -> int:
        return 0x80070005 - (1 << 32) if name == step else service(name, layer, other, data)

    fake.hook(failing)
    kind: type[Exception] = {"abort": RuntimeError, "stream": InvalidDataError}.get(step, AccessDeniedError)
    with pytest.raises(kind), wclayer.new_layer_writer(tmp_path / "child", [base]) as out:
        build_child(out)
        put_directories(out, "UtilityVM", "UtilityVM/Files")
        fake.files.FakeBackupAnswers(0, 5 if step == "BackupWrite" else 0)
        put_file(out, "UtilityVM/Files/x", b"x")
        if step == "abort":
            raise RuntimeError
        if step == "stream":
            out.add("Files/cut", info(0x10))
            out.write(b"\1\0\0")
    assert not (tmp_path / "child").exists()
    assert (base / "UtilityVM/Files/kernel").read_bytes() == b"kernel"


def test_a_child_is_exported_by_windows(fake: Fake, service: Service, base: Path, tmp_path: Path) -> None:
    above = tmp_path / "above"
    portable.import_layer_from_tar(io.BytesIO(layer_tar(build_base)), above)
    service.exported = tmp_path / "exported"
    portable.import_layer_from_tar(io.BytesIO(layer_tar(build_child)), service.exported, [above])
    fake.dll.FakeReset()
    fake.hook(service)
    layer = tmp_path / "layer"
    wanted = by_name(contents(portable.new_layer_reader(service.exported)))
    found = by_name(contents(wclayer.new_layer_reader(layer, [base])))
    assert found.keys() == wanted.keys()
    # Of a file with two names, the one that is read first is the file; one that lies in a parent is a file of its own.
    assert found["Files/new/x"][2] == "Files/a/own"
    for name in wanted.keys() - {"Files/new/x", "Files/a/own", "Files/a/theirs"}:
        entry = wanted[name]
        # Wine has no place for creation and change times (see limits).
        assert found[name][3:] == entry[3:], name
    assert fake.calls == ["ExportLayer"]
    hives = FileBasicInfo.unpack(found["Hives"][1])  # type: ignore[arg-type]
    delta = FileBasicInfo.unpack(found["Hives/System_Delta"][1])  # type: ignore[arg-type]
    # hcsshim's rule for what the export gives no times of its own.
    assert delta.creation_time == delta.last_access_time == delta.last_write_time == TIME + 2
    assert hives.attributes == 0x10
    fake.dll.FakeReset()
    fake.hook(service)
    out = io.BytesIO()
    wclayer.export_layer_to_tar(out, layer, [base])
    assert fake.calls == ["ActivateLayer", "PrepareLayer", "UnprepareLayer", "ExportLayer", "DeactivateLayer"]
    assert by_name(contents(TarLayerReader(io.BytesIO(out.getvalue())))).keys() == wanted.keys()


@pytest.mark.parametrize("step", ["ActivateLayer", "PrepareLayer", "UnprepareLayer", "ExportLayer", "NameToGuid"])
def test_an_export_that_fails_leaves_nothing(fake: Fake, tmp_path: Path, step: str) -> None:
    fake.answer(step, 0x80070020)
    with pytest.raises(wclayer.LayerBusyError):
        wclayer.export_layer_to_tar(io.BytesIO(), tmp_path / "layer", ["C:\\base"])
    # What was activated is deactivated.
    assert ("DeactivateLayer" in fake.calls) == (step != "ActivateLayer")


def test_an_export_that_is_no_transport_folder_leaves_nothing(fake: Fake, tmp_path: Path) -> None:
    with pytest.raises(NotALayerError):
        wclayer.new_layer_reader(tmp_path / "layer", ["C:\\base"])

    def half(name: str, layer: str, other: str, data: bytes) -> int:
        if name == "ExportLayer":
            Path(other, TOMBSTONES).write_bytes(TOMBSTONES_HEADER + b"\r\n")
            Path(other, "Hives").mkdir()
        return 0

    fake.hook(half)
    with wclayer.new_layer_reader(tmp_path / "layer", ["C:\\base"]) as back, pytest.raises(InvalidDataError):
        list(back)


# Streaming.


def test_a_layer_is_streamed_out(fake: Fake) -> None:
    data = os.urandom(2500)
    fake.add_entry("Files\\a", info(0x20), 1234, data)
    fake.add_entry("\\Files\\b", None, 0, b"")
    fake.add_entry("Files\\c", info(0x10), 0, b"")
    with wclayer.FilterLayerReader("C:\\layer", ["C:\\base"]) as source:
        with pytest.raises(InvalidStateError):
            source.read()
        assert source.next() == ("Files\\a", 1234, info(0x20))
        assert source.read(100) == data[:100]
        assert source.read() == data[100:]
        assert source.read(5) == b""
        assert source.next() == ("Files\\b", 0, None)
        assert source.next() == ("Files\\c", 0, info(0x10))
        assert source.read() == b""
        assert source.next() is None
    with pytest.raises(InvalidStateError):
        source.next()
    assert fake.log[1].startswith("ExportLayerBegin|id=C:\\layer|layers=1|{")
    assert fake.calls[-1] == "ExportLayerEnd"


@pytest.mark.parametrize("step", ["ExportLayerBegin", "ExportLayerNext", "ExportLayerRead", "ExportLayerEnd"])
def test_streaming_out_fails_and_ends(fake: Fake, step: str) -> None:
    fake.add_entry("Files\\a", info(0x20), 3, b"abc")
    fake.answer(step, 0x80070005)
    with pytest.raises(AccessDeniedError, match=step), wclayer.FilterLayerReader("C:\\layer", []) as source:
        source.next()
        source.read()
    assert ("ExportLayerEnd" in fake.calls) == (step != "ExportLayerBegin")


def test_a_layer_is_streamed_in(fake: Fake) -> None:
    written = []
    fake.hook(lambda name, layer, other, data: written.append(data) or 0)
    with wclayer.FilterLayerWriter("C:\\layer", ["C:\\base"]) as target:
        with pytest.raises(InvalidStateError):
            target.write(b"x")
        target.add("Files/a", info(0x20))
        assert target.write(b"x" * 3_000_000) == 3_000_000
        target.remove("Files\\b")
        with pytest.raises(NotSupportedError, match="no hard links"):
            target.add_link("Files/c", "Files/a")
    times = f"creation={TIME}|access={TIME + 1}|write={TIME + 2}|change={TIME + 3}|attributes=32"
    assert [line for line in fake.log if line.startswith("ImportLayerNext")] == [
        f"ImportLayerNext|name=\\Files\\a|{times}", "ImportLayerNext|name=\\Files\\b|deleted",
    ]  # fmt: skip
    assert b"".join(written) == b"x" * 3_000_000
    assert fake.calls[-1] == "ImportLayerEnd"


@pytest.mark.parametrize("step", ["ImportLayerBegin", "ImportLayerNext", "ImportLayerWrite", "ImportLayerEnd"])
def test_streaming_in_fails_and_is_removed(fake: Fake, step: str) -> None:
    fake.answer(step, 0x80070005)
    with pytest.raises(AccessDeniedError, match=step), wclayer.FilterLayerWriter("C:\\layer", []) as target:
        target.add("Files", info(0x10))
        target.write(b"x")
    if step in ("ImportLayerNext", "ImportLayerWrite"):
        assert fake.calls[-2:] == ["ImportLayerEnd", "DestroyLayer"]


# The command.


def test_the_verbs_use_the_engine(fake: Fake, service: Service, base_tar: bytes, tmp_path: Path) -> None:
    tar = tmp_path / "base.tar"
    tar.write_bytes(base_tar)
    base = str(tmp_path / "base")

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert "imported" in run("--engine", "hcs", "import", "-i", str(tar), base)
    assert not (tmp_path / "base" / "layer.db").exists()
    run("export", "-o", str(tmp_path / "out.tar"), base)
    assert (tmp_path / "out.tar").read_bytes() == base_tar
    fake.dll.FakeReset()
    run("create", "-l", base, str(tmp_path / "run"))
    run("process", base)
    run("grant", "1e3a4c5b-0000-4000-8000-000000000001", str(tar))
    run("remove", str(tmp_path / "run"))
    assert wclayer.get_shared_base_images() == []
    assert fake.calls == [
        "CreateSandboxLayer", "ProcessBaseImage", "ProcessUtilityImage", "GrantVmAccess", "DestroyLayer",
        "GetBaseImages",
    ]  # fmt: skip
    run("--engine", "portable", "import", "-i", str(tar), str(tmp_path / "ours"))
    assert (tmp_path / "ours" / "layer.db").exists()


def test_a_scratch_is_mounted_by_windows(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "sandbox.vhdx").write_bytes(b"disk")
    fake.texts(mount=f"{tmp_path}\\")

    def run(*arguments: str, status: int = 0) -> str:
        fake.dll.FakeReset()
        fake.texts(mount=f"{tmp_path}\\")
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == status, done.output
        return done.output

    scratch = str(tmp_path / "run")
    assert f"{scratch} is at {tmp_path}\\" in run("mount", "-l", "C:\\base", scratch)
    assert fake.calls == ["ActivateLayer", "PrepareLayer", "GetLayerMountPath", "GetLayerMountPath"]
    run("unmount", scratch)
    assert fake.calls == ["UnprepareLayer", "DeactivateLayer"]
    run("shell", "-l", "C:\\base", scratch, "--", sys.executable, "-c", "raise SystemExit(7)", status=7)
    assert fake.calls[-2:] == ["UnprepareLayer", "DeactivateLayer"]
    # What was activated is deactivated when it cannot be prepared.
    fake.dll.FakeReset()
    fake.answer("PrepareLayer", 0x80070005)
    assert isinstance(CliRunner().invoke(cli, ["mount", "-l", "C:\\base", scratch]).exception, AccessDeniedError)
    assert fake.calls == ["ActivateLayer", "PrepareLayer", "DeactivateLayer"]


def test_the_variable_chooses(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    from wclayer.engines import selection

    monkeypatch.setattr(selection, "_chosen", None)
    monkeypatch.setenv("WCLAYER_ENGINE", "portable")
    assert wclayer.engine_name() == "portable"
    monkeypatch.setattr(selection, "_chosen", None)
    monkeypatch.setenv("WCLAYER_ENGINE", "docker")
    with pytest.raises(wclayer.InvalidParameterError, match="docker"):
        wclayer.engine_name()


def test_writers_and_readers_are_what_the_protocols_ask_for() -> None:
    """Checked by mypy; here, that nothing is missing at run time."""
    for kind, protocol in ((writer.HcsLayerWriter, LayerWriter), (reader.BaseLayerReader, LayerReader)):
        wanted = {name for name in vars(protocol) if not name.startswith("_") or name in ("__enter__", "__exit__")}
        assert wanted <= {name for part in kind.__mro__ for name in vars(part)}
