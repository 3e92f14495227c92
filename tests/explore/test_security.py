"""What the detail pane says of security: the words of `acl get --explain`, with the names of the image."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.explore.made import Driven, drive
from tests.rights.layers import OPEN_KEY, hive, make_layer
from wclayer.explore.model.details import FactKind
from wclayer.explore.model.explored import ExploredChain, View
from wclayer.explore.model.tree import Item, MarkedTree
from wclayer.win32.accounts import SERVICE, virtual_account_sid

_SHOP = virtual_account_sid(SERVICE, "SHOP")
_SDDL = f"O:BAG:SYD:P(A;;FA;;;SY)(A;;FA;;;{_SHOP})(A;;0x1200a9;;;BU)"


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    system = hive(
        {"Select": {"Current": 1}, r"ControlSet001\Services\Shop": {"Type": 16, "Start": 2, "ImagePath": "x"}},
        {r"ControlSet001\Services\Shop": OPEN_KEY},
    )
    files = {"shop.exe": _SDDL, "none.txt": None, "damaged.txt": b"\1\2", "Data/": _SDDL}
    return make_layer(tmp_path / "layer", files, {"SYSTEM": system})


def _find(tree: MarkedTree[Item], *names: str) -> Item:
    items = tree.roots()
    for name in names[:-1]:
        items = tree.children(next(item for item in items if item.name == name))
    return next(item for item in items if item.name == names[-1])


def _security(layer: Path, *names: str, registry: bool = False) -> list[str]:
    """The facts from the heading "Security" on."""
    with ExploredChain("made", [layer]).session() as session:
        if registry:
            keys = session.registry(View(1))
            facts = list(keys.facts(_find(keys, *names)))
        else:
            files = session.files(View(1))
            item = _find(files, *names)
            facts = [*files.facts(item), *files.rights(item)]
    start = next(number for number, fact in enumerate(facts) if fact.text == "Security")
    return [f"{fact.label}: {fact.text}" if fact.label else fact.text for fact in facts[start:]]


def test_a_file_says_who_owns_it_and_who_may_do_what(layer: Path) -> None:
    assert _security(layer, "Files", "shop.exe") == [
        "Security",
        "owner: BUILTIN\\Administrators",
        "group: NT AUTHORITY\\SYSTEM",
        f"SDDL: {_SDDL}",
        "Who may do what",
        "1. NT AUTHORITY\\SYSTEM may do everything (full control) [this file; own]",
        "2. NT SERVICE\\Shop may do everything (full control) [this file; own]",
        "3. BUILTIN\\Users may read and execute [this file; own]",
        "In the end",
        "Everyone, Authenticated Users: nothing",
        "a standard user: read and execute",
        "an administrator: read and execute, change permissions",
        "SYSTEM: full control",
        "It is protected: it inherits nothing from the directory above it.",
        "The owner may always read and change its permissions.",
    ]


def test_a_directory_and_a_key_are_told_in_their_own_words(layer: Path) -> None:
    assert "3. BUILTIN\\Users may read and execute [this folder only; own]" in _security(layer, "Files", "Data")
    told = _security(layer, "HKEY_LOCAL_MACHINE", "SYSTEM", "ControlSet001", "Services", "Shop", registry=True)
    assert "2. BUILTIN\\Users may do everything (full control) [this key and subkeys; own]" in told


def test_none_and_a_damaged_one_are_told(layer: Path) -> None:
    assert _security(layer, "Files", "none.txt") == [
        "Security",
        "The layer has no descriptor for it: Windows gives it one when the layer is used, by what is above it.",
    ]
    _, damaged, data = _security(layer, "Files", "damaged.txt")
    assert damaged.startswith("the security descriptor is damaged: ")
    assert data == "data: 01 02"


def test_a_damaged_registry_costs_only_the_names(tmp_path: Path) -> None:
    told = _security(make_layer(tmp_path / "layer", {"x": _SDDL}, {"SYSTEM": b"damaged"}), "Files", "x")
    assert f"2. a service whose name is not known ({_SHOP}) may do everything (full control) [this file; own]" in told
    assert told[-1].startswith("the names of services are missing: ")


def test_it_is_shown(layer: Path) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("slash", *"shop", "enter", "enter", "z")
        assert "NT SERVICE\\Shop may do everything" in "\n".join(
            fact.text for fact in driven.app.detail.facts if fact.kind is FactKind.TEXT
        )

    drive(ExploredChain("made", [layer]), steps)
