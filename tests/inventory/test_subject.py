"""A chain of layers and a disk with the same contents are the same to collectors; damage is a finding, a host that
refuses is an error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import wclayer
from tests.inventory.conftest import Windows
from tests.inventory.windows import APPLICATION
from tests.layers.hive_layers import CONFIG, base_layer
from tests.packages import windows_volume
from tests.support import put_directories, put_file, run, write_volume
from wclayer.formats.ntfs.volume import DirectoryEntry, FileRecord, NtfsVolume
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.model import TreeKey, Value
from wclayer.formats.regf.values import ValueType, encode_string
from wclayer.formats.regf.writer import write_hive
from wclayer.inventory.collectors.guarding import guarded
from wclayer.inventory.collectors.key_values import KeyValues
from wclayer.inventory.collectors.operating_system import KEY
from wclayer.inventory.item import Finding, FindingKind
from wclayer.inventory.subject.subject import Subject
from wclayer.model import LayerWriter


def test_a_disk_says_what_the_layers_say_that_are_on_it(machine: Windows, tmp_path: Path) -> None:
    disk = tmp_path / "disk.vhdx"
    run("convert", "--store", machine.store.path, "-o", disk, APPLICATION)
    of_disk = wclayer.take_inventory(disk)
    of_image = machine.inventory(APPLICATION)
    assert [(item.kind, item.name, item.version, item.properties) for item in of_disk.items] == [
        (item.kind, item.name, item.version, item.properties)
        for item in of_image.items
        if item.origin.layer is not None
    ]
    assert (len(of_disk.layers), of_disk.findings) == (1, ())


def test_the_files_of_a_disk_are_those_of_the_layers(machine: Windows, tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    run("convert", "--store", machine.store.path, "--to", "ntfs", "-o", disk, APPLICATION)
    with ExitStack() as stack:
        image = stack.enter_context(wclayer.open_image(APPLICATION, machine.store))
        on_disk = stack.enter_context(Subject.of_disk(disk))
        with Subject.of_layers(image.layers, APPLICATION) as in_layers:
            expected = [(file.path, file.is_directory, file.is_link) for file in in_layers.files.walk()]
            assert [(file.path, file.is_directory, file.is_link) for file in on_disk.files.walk()] == expected
            assert len(expected) > 5
            for subject in (on_disk, in_layers):
                script = subject.files.find("APP/Run.CMD")
                assert script is not None
                assert (script.windows_path, script.size) == ("C:\\app\\run.cmd", 11)
                with subject.files.open(script) as opened:
                    assert (opened.seek(1), opened.read(4), opened.seek(-2, os.SEEK_END), opened.read()) == (
                        1, b"echo", 9, b"\r\n",
                    )  # fmt: skip
                assert [file.path for file in subject.files.matching("a*/*.c?d")] == ["app/run.cmd"]
                assert subject.files.find("app/none") is None


def test_a_volume_that_windows_wrote_is_walked(tmp_path: Path) -> None:
    disk = tmp_path / "ntfs.bin"
    disk.write_bytes(windows_volume())
    with Subject.of_disk(disk) as subject:
        names = {file.path for file in subject.files.walk()}
        assert "System Volume Information" in names
        assert [name for name in names if name.startswith("$") and "/" not in name] == ["$RECYCLE.BIN"]
    inventory = wclayer.take_inventory(disk)
    assert inventory.operating_system is None


def _values(**values: bytes) -> TreeKey:
    """A root key of SOFTWARE with these values of the key of the version."""
    root = empty_root(10)
    key = root
    for name in KEY.split("\\")[2:]:
        below = TreeKey(name, root.metadata)
        key.add(below)
        key = below
    for name, data in values.items():
        key.set(Value(name, ValueType.REG_SZ, data))
    return root


def test_a_damaged_hive_is_a_finding_and_ends_nothing(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32", CONFIG)
        put_file(writer, f"{CONFIG}/SOFTWARE", write_hive(_values(ProductName=encode_string("Windows"))))
        put_file(writer, f"{CONFIG}/SYSTEM", b"regf" + bytes(8188))

    inventory = wclayer.take_inventory(write_volume(tmp_path / "disk.img", build))
    assert inventory.operating_system is not None
    assert inventory.operating_system.name == "Windows"
    (finding,) = inventory.findings
    assert (finding.kind, finding.place) == (FindingKind.DAMAGED, r"HKLM\SYSTEM")
    assert "disk.img" not in finding.text


@pytest.mark.parametrize(
    ("build", "name", "version"),
    [("22631", "Windows 11 Pro", "10.0.22631"), ("9" * 5000, "Windows 10 Pro", f"0.0.{'9' * 5000}")],
)
def test_a_version_with_strange_values_is_no_error(tmp_path: Path, build: str, name: str, version: str) -> None:
    values = {
        "ProductName": encode_string("Windows 10 Pro"), "CurrentBuildNumber": encode_string(build),
        "UBR": b"\1", "CurrentMajorVersionNumber": b"", "InstallationType": b"\0\xd8x",
    }  # fmt: skip
    base = base_layer(tmp_path, SOFTWARE=write_hive(_values(**values)))
    system = wclayer.take_inventory(base).operating_system
    assert system is not None
    assert (system.name, system.version) == (name, version)


@pytest.mark.parametrize(
    ("kind", "data", "text", "number"),
    [
        (ValueType.REG_SZ, encode_string(" 12 "), "12", 12),
        (ValueType.REG_SZ, encode_string("12x"), "12x", None),
        (ValueType.REG_DWORD, b"\7\0\0\0", "7", 7),
        (ValueType.REG_DWORD, b"\7\0\0", "", None),
        (ValueType.REG_QWORD, b"\0\0\0\0\1\0\0\0", "4294967296", 1 << 32),
        (ValueType.REG_BINARY, b"\7\0\0\0", "", None),
        (ValueType.REG_SZ, encode_string("1" * 30), "1" * 30, None),
    ],
)
def test_values_are_texts_and_numbers_whatever_their_type(
    kind: int, data: bytes, text: str, number: int | None
) -> None:
    key = TreeKey("key")
    key.set(Value("Name", kind, data))
    values = KeyValues(key)
    assert (values.text("NAME"), values.number("name"), "nAme" in values) == (text, number, True)
    assert (values.text("other"), values.number("other"), values.texts("other"), "other" in values) == (
        "", None, [], False,
    )  # fmt: skip


def test_a_host_that_refuses_to_read_is_no_damage() -> None:
    def refuse() -> list[Finding]:
        raise wclayer.AccessDeniedError("C:\\x", "may not be read")

    with pytest.raises(wclayer.AccessDeniedError):
        list(guarded("C:\\x", refuse))


def test_a_disk_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no disk")
    with pytest.raises(wclayer.InvalidDataError) as refused:
        wclayer.take_inventory(tmp_path / "text")
    assert refused.value.operation == "take inventory"
    with pytest.raises(wclayer.PathNotFoundError):
        wclayer.take_inventory(tmp_path / "none")


def test_a_disk_reads_a_directory_once_for_many_look_ups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/many")
        for number in range(300):
            put_file(writer, f"Files/many/{number}.txt")

    read: list[int] = []
    entries = NtfsVolume.entries

    def counted(volume: NtfsVolume, directory: FileRecord) -> Iterator[DirectoryEntry]:
        read.append(directory.number)
        return entries(volume, directory)

    monkeypatch.setattr(NtfsVolume, "entries", counted)
    with Subject.of_disk(write_volume(tmp_path / "disk.img", build)) as subject:
        for number in range(300):
            assert subject.files.find(f"MANY/{number}.TXT") is not None
        assert subject.files.find("many/none") is None
    assert len(read) < 10
