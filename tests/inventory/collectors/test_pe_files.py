"""PE files of an image: which files they are, what is told of them, and their names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pefile
import pytest

import wclayer
from tests.formats.pe import craft
from tests.formats.pe.craft import FIRST_RVA, Pe, Section
from tests.formats.pe.real import WHEELS, real_files
from tests.inventory.trees import inventory_of, items, make_layer
from tests.packages import Wheel
from wclayer import LayerView
from wclayer.inventory.item import FindingKind, ItemKind

PROGRAM = Pe().encode()
TEXTS = [
    ("CompanyName", "Example GmbH"), ("FileDescription", "Does it"), ("FileVersion", "1.2 (build 7)"),
    ("OriginalFilename", "tool.exe"), ("ProductName", "Tools"), ("ProductVersion", "9.9"),
]  # fmt: skip


def versioned(fixed: craft.Fixed | None, texts: list[tuple[str, str]]) -> bytes:
    return craft.with_version(craft.version_info(fixed, {"040904b0": texts})).encode()


def test_a_program_states_its_version_and_its_publisher(tmp_path: Path) -> None:
    data = versioned(((1, 2, 3, 4), (5, 6, 7, 8)), TEXTS)
    taken = inventory_of(tmp_path / "a", {"Tools/tool.exe": data})
    (item,) = taken.of_kind(ItemKind.PE_FILE)
    assert (item.name, item.version, item.publisher) == ("tool.exe", "1.2.3.4", "Example GmbH")
    assert item.origin.place == r"C:\Tools\tool.exe"
    assert item.properties == {
        "machine": "amd64", "is_dll": False, "is_driver": False, "subsystem": "windows-cui", "is_signed": False,
        "file_version": "1.2 (build 7)", "product_name": "Tools", "product_version": "9.9",
        "original_filename": "tool.exe", "description": "Does it", "fixed_file_version": "1.2.3.4",
        "fixed_product_version": "5.6.7.8", "language": "0x0409", "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    assert not taken.findings


@pytest.mark.parametrize(
    ("fixed", "text", "version"),
    [
        (((0, 0, 0, 0), (1, 0, 0, 0)), "7.5", "7.5"),
        (((0, 0, 0, 0), (1, 0, 0, 0)), "", "0.0.0.0"),
        (((0, 0, 0, 1), (1, 0, 0, 0)), "7.5", "0.0.0.1"),
        (None, "7.5", "7.5"),
        (None, "", ""),
    ],
)
def test_the_numbers_are_the_version_unless_all_are_zero(
    tmp_path: Path, fixed: craft.Fixed | None, text: str, version: str
) -> None:
    data = versioned(fixed, [("FileVersion", text)])
    (item,) = inventory_of(tmp_path / "a", {"x.dll": data}).of_kind(ItemKind.PE_FILE)
    assert item.version == version


def test_only_files_that_start_as_programs_do_are_looked_into(tmp_path: Path) -> None:
    files = {
        "a.exe": PROGRAM, "b.DLL": PROGRAM, "plugin.xyz": PROGRAM, "without suffix": PROGRAM, "deep/c.node": PROGRAM,
        "text.exe": b"no program at all".ljust(100), "dos.com": b"MZ".ljust(200, b"\0"), "empty.dll": b"",
        "picture.png": PROGRAM, "page.html": PROGRAM,
    }  # fmt: skip
    taken = inventory_of(tmp_path / "a", files)
    found = {item.name for item in taken.of_kind(ItemKind.PE_FILE)}
    assert found == {"a.exe", "b.DLL", "plugin.xyz", "without suffix", "c.node"}
    assert not taken.findings


def test_a_file_with_several_names_is_one_item_under_the_one_that_is_not_of_the_store(tmp_path: Path) -> None:
    stored = "Windows/WinSxS/amd64_x/write.exe"
    links = {"Windows/write.exe": stored, "Windows/zz.exe": stored, "Windows/System32/w.exe": stored}
    files = {stored: PROGRAM, "Windows/WinSxS/amd64_y/only.exe": PROGRAM + b"!"}
    found = items(inventory_of(tmp_path / "a", files, links), ItemKind.PE_FILE)
    item = found[r"C:\Windows\System32\w.exe"]
    names = [
        r"C:\Windows\System32\w.exe", r"C:\Windows\WinSxS\amd64_x\write.exe", r"C:\Windows\write.exe",
        r"C:\Windows\zz.exe",
    ]  # fmt: skip
    assert item.properties["names"] == names
    assert set(found) == {names[0], r"C:\Windows\WinSxS\amd64_y\only.exe"}
    without = {path: target for path, target in links.items() if path != "Windows/System32/w.exe"}
    assert r"C:\Windows\write.exe" in items(inventory_of(tmp_path / "b", files, without), ItemKind.PE_FILE)


def test_copies_are_items_of_their_own_with_one_hash(tmp_path: Path) -> None:
    found = items(inventory_of(tmp_path / "a", {"a.exe": PROGRAM, "b/a.exe": PROGRAM}), ItemKind.PE_FILE)
    assert set(found) == {r"C:\a.exe", r"C:\b\a.exe"}
    assert len({str(item.properties["sha256"]) for item in found.values()}) == 1


def test_the_layer_of_a_program_is_the_one_that_replaced_it(tmp_path: Path) -> None:
    base = make_layer(tmp_path / "base", {"a.exe": PROGRAM, "b.exe": PROGRAM})
    make_layer(tmp_path / "app", {"b.exe": versioned(((2, 0, 0, 0), (2, 0, 0, 0)), [])}, over=base)
    found = items(wclayer.take_inventory(tmp_path / "app"), ItemKind.PE_FILE)
    layers = {item.name: (item.version, item.origin.layer and item.origin.layer.number) for item in found.values()}
    assert layers == {"a.exe": ("", 1), "b.exe": ("2.0.0.0", 2)}


def test_a_program_that_a_container_wrote_is_hashed(tmp_path: Path) -> None:
    base = make_layer(tmp_path / "base", {})
    wclayer.create_scratch_layer(tmp_path / "run", [base])
    with LayerView(scratch=tmp_path / "run") as view:
        view.write_bytes("new.exe", PROGRAM)
    (item,) = wclayer.take_inventory(tmp_path / "run").of_kind(ItemKind.PE_FILE)
    assert item.properties["sha256"] == hashlib.sha256(PROGRAM).hexdigest()


def test_what_is_damaged_is_a_finding_and_the_rest_stays(tmp_path: Path) -> None:
    good = versioned(((1, 2, 3, 4), (5, 6, 7, 8)), TEXTS)
    torn = Pe(sections=[Section(FIRST_RVA, b"?" * 64, b".rsrc")], directories={craft.RESOURCE: (FIRST_RVA, 64)})
    many = Pe(section_count=60_000).encode()
    files = {"a.exe": good, "torn.exe": torn.encode(), "cut.exe": good[:0x90], "many.exe": many}
    taken = inventory_of(tmp_path / "a", files)
    assert {item.name for item in taken.of_kind(ItemKind.PE_FILE)} == {"a.exe", "torn.exe"}
    assert {(finding.kind, finding.place) for finding in taken.findings} == {
        (FindingKind.DAMAGED, r"C:\torn.exe"), (FindingKind.DAMAGED, r"C:\cut.exe"),
        (FindingKind.DAMAGED, r"C:\many.exe"),
    }  # fmt: skip


def test_texts_that_are_too_long_or_no_text_are_tamed(tmp_path: Path) -> None:
    data = versioned(None, [("CompanyName", "x" * 5000), ("ProductName", "a\ud800b"), ("FileVersion", "  1.0 ")])
    (item,) = inventory_of(tmp_path / "a", {"x.dll": data}).of_kind(ItemKind.PE_FILE)
    assert (len(item.publisher), item.properties["product_name"], item.version) == (1000, "a\ufffdb", "1.0")


@pytest.mark.parametrize("wheel", [WHEELS[3], WHEELS[8], WHEELS[11]], ids=lambda wheel: str(wheel.project))
def test_pefile_says_the_same_of_real_files(tmp_path: Path, wheel: Wheel) -> None:
    real = dict(list(real_files(wheel))[:40])
    found = items(inventory_of(tmp_path / "a", real), ItemKind.PE_FILE)
    assert set(found) == {"C:\\" + name.replace("/", "\\") for name in real}
    for name, data in real.items():
        item = found["C:\\" + name.replace("/", "\\")]
        other = pefile.PE(data=data)
        assert (item.properties["is_dll"], item.properties["is_driver"]) == (other.is_dll(), other.is_driver())
        assert item.properties["sha256"] == hashlib.sha256(data).hexdigest()
        for info in getattr(other, "VS_FIXEDFILEINFO", []):
            high, low = info.FileVersionMS, info.FileVersionLS
            assert item.version == f"{high >> 16}.{high & 0xFFFF}.{low >> 16}.{low & 0xFFFF}"
