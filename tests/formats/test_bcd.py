"""Boot configuration stores, by the names that bcdedit gives."""

from __future__ import annotations

import pytest

from tests.formats.regf.boot_store import DISK, LOADER, MANAGER, PARTITION, RECOVERY, RESUME, boot_store
from wclayer.formats.bcd import BcdElement, read_store
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.model import KeyMetadata, RegfError, TreeKey, Value

STORE = {found.id: found for found in read_store(Hive(boot_store()).root())}


def test_objects_have_their_names_and_kinds() -> None:
    by_alias = {found.alias: found for found in STORE.values() if found.alias}
    assert by_alias.keys() == {
        "emssettings", "resumeloadersettings", "dbgsettings", "badmemory", "bootloadersettings", "globalsettings",
        "hypervisorsettings", "bootmgr", "fwbootmgr", "memdiag",
    }  # fmt: skip
    assert by_alias["bootmgr"].kind == "Windows Boot Manager"
    assert by_alias["memdiag"].kind == "Windows Memory Tester"
    assert STORE[LOADER].kind == "Windows Boot Loader"
    assert STORE[RESUME].kind == "Resume from Hibernate"


def test_elements_have_their_names_and_values() -> None:
    loader = {element.name: element.value for element in STORE[LOADER].elements}
    partition = f"partition={{{PARTITION}}} disk={{{DISK}}}"
    assert loader == {
        "device": partition,
        "path": r"\Windows\system32\winload.efi",
        "description": "Windows Server",
        "locale": "en-US",
        "inherit": ["{bootloadersettings}"],
        "recoverysequence": [RECOVERY],
        "displaymessageoverride": "3",
        "recoveryenabled": "Yes",
        "isolatedcontext": "Yes",
        "allowedinmemorysettings": ["0x15000075"],
        "osdevice": partition,
        "systemroot": r"\Windows",
        "resumeobject": RESUME,
        "nx": "0",
        "bootmenupolicy": "1",
    }
    manager = {element.name: element.value for element in STORE[MANAGER].elements}
    assert manager["timeout"] == "30"
    assert manager["default"] == LOADER
    # An element's meaning depends on its object.
    resume = {element.name for element in STORE[RESUME].elements}
    assert {"filedevice", "filepath", "debugoptionenabled", "bootmenupolicy"} <= resume


def _store(element: str, kind: int, data: bytes) -> TreeKey:
    def key(name: str, *below: TreeKey) -> TreeKey:
        made = TreeKey(name, KeyMetadata())
        for child in below:
            made.add(child)
        return made

    leaf = key(element)
    leaf.set(Value("Element", kind, data))
    description = key("Description")
    description.set(Value("Type", 4, (0x10200003).to_bytes(4, "little")))
    return key("ROOT", key("Objects", key("{1}", key("Elements", leaf), description)))


def test_unknown_elements_and_odd_data_are_shown() -> None:
    for element, data, value in (
        ("26009999", b"\x01", "Yes"),
        ("11000001", b"short", b"short".hex()),
        ("11000001", bytes(16) + b"\x05\0\0\0" + bytes(12), "boot"),
        ("15000007", bytes(9), bytes(9).hex()),
        ("16000009", b"", ""),
        ("17000077", b"123", b"123".hex()),
    ):
        (found,) = read_store(_store(element, 3, data))
        name = "custom:26009999" if element == "26009999" else found.elements[0].name
        assert found.elements == [BcdElement(int(element, 16), name, value)]


def test_what_is_no_store() -> None:
    with pytest.raises(RegfError, match="Objects"):
        list(read_store(TreeKey("ROOT")))
    with pytest.raises(RegfError, match="its name is its type"):
        list(read_store(_store("what", 3, b"")))
