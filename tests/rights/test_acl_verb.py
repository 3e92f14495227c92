"""`wclayer acl get --explain` and `wclayer acl audit`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import wclayer
from tests.inventory.conftest import Windows
from tests.inventory.windows import APPLICATION, BASE
from tests.rights.layers import CLOSED, INHERITED, OPEN, OPEN_KEY, hive, make_layer
from tests.support import parsed, run, text
from wclayer.rights.audit.api import audit_rights

FOUND = 21
_SERVICES = r"HKLM\SYSTEM\CurrentControlSet\Services"
_APP = {"place": "service", "path": "C:\\app", "about": "ours", "layer": 3}


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    system = hive(
        {"Select": {"Current": 1}, r"ControlSet001\Services\one": {"Type": 16, "Start": 2, "ImagePath": "x"}},
        {r"ControlSet001\Services\one": OPEN_KEY},
    )
    files = {"Windows/x.dll": OPEN, "Program Files/App/": OPEN, "Program Files/App/a.dll": INHERITED}
    return make_layer(tmp_path / "layer", files, {"SYSTEM": system})


def test_a_file_a_directory_and_a_key_are_explained(layer: Path) -> None:
    lines = text("acl", "get", "--explain", layer, r"C:\Windows\x.dll").splitlines()
    assert lines[0] == f"SDDL: {OPEN}"
    assert "  3. BUILTIN\\Users (S-1-5-32-545) may modify [this file; own]" in lines
    lines = text("acl", "get", "--explain", layer, r"C:\Program Files\App").splitlines()
    assert "  3. BUILTIN\\Users (S-1-5-32-545) may modify [this folder, subfolders and files; own]" in lines
    assert "  a standard user: modify" in lines
    key = parsed("acl", "get", "--explain", "--json", layer, rf"{_SERVICES}\one")
    assert isinstance(key, dict)
    assert (key["kind"], key["security"]) == ("key", OPEN_KEY)
    assert key["effective"][2] == {"who": "a standard user", "rights": ["full control"]}


def test_keys_have_descriptors_that_are_shown(layer: Path) -> None:
    assert text("acl", "get", layer, rf"{_SERVICES}\one") == OPEN_KEY + "\n"
    assert parsed("acl", "get", "--json", layer, r"hklm\system") == {
        "path": r"hklm\system", "security": "O:BAG:SYD:P(A;CI;KA;;;BA)(A;CI;KR;;;BU)",
    }  # fmt: skip
    run("acl", "get", layer, r"HKLM\SYSTEM\gone", status=2)
    assert "no current user" in run("acl", "get", layer, r"HKCU\Software", status=5).stderr.decode()


def test_a_damaged_registry_costs_only_the_names(tmp_path: Path) -> None:
    layer = make_layer(tmp_path / "layer", {"Windows/x.dll": CLOSED}, {"SYSTEM": b"damaged"})
    told = run("acl", "get", "--explain", layer, r"C:\Windows\x.dll")
    assert "may read and execute" in told.stdout.decode()
    assert "the names of services are missing" in told.stderr.decode()


def test_a_damaged_hive_costs_only_its_own_names(tmp_path: Path) -> None:
    layer = make_layer(tmp_path / "layer", {"Windows/x.dll": CLOSED}, {"SAM": b"damaged"})
    told = run("acl", "get", "--explain", layer, r"C:\Windows\x.dll").stderr.decode()
    assert "the names of accounts are missing" in told
    assert "services" not in told


def test_an_audit_as_text(layer: Path) -> None:
    *lines, last = run("acl", "audit", layer, status=FOUND).stdout.decode().splitlines()
    head = ["PATH", "WHO", "MAY", "BY", "LAYER"]
    user, modify, base = "BUILTIN\\Users", "(A;OICI;0x1301bf;;;BU)", "1 (base)"
    assert [re.split("  +", line.strip()) for line in lines] == [
        [str(layer)],
        [""],
        ["SERVICE-KEY (1): keys of services and drivers"],
        head,
        [rf"{_SERVICES}\one", user, "set values, create subkeys, create links, delete it, change permissions, take"
         " ownership", "(A;CI;KA;;;BU)", base],
        [""],
        ["WINDOWS (1): in Windows"],
        head,
        ["C:\\Windows\\x.dll", user, "write data, append data, delete it", modify, base],
        [""],
        ["PROGRAM-FILES (1): in Program Files"],
        head,
        ["C:\\Program Files\\App and 1 more below it", user, "create files, create folders, delete it", modify, base],
        [""],
    ]  # fmt: skip
    assert last.startswith("3 findings (looked at ")


def _found(record: Any) -> list[dict[str, object]]:
    return [{name: finding[name] for name in _APP} for finding in record["findings"]]


def test_an_audit_of_an_image(machine: Windows, tmp_path: Path) -> None:
    store = ["--store", str(machine.store.path)]
    whole = parsed("acl", "audit", "--json", "--all", *store, APPLICATION, status=FOUND)
    assert isinstance(whole, dict)
    assert _APP in _found(whole)
    assert len(whole["expected"]) == 7
    own = parsed("acl", "audit", "--json", "--own", *store, APPLICATION, status=FOUND)
    assert _found(own) == [_APP]
    assert text("acl", "audit", "--place", "startup", *store, APPLICATION).splitlines()[-1].startswith("0 findings")
    run("acl", "audit", "--place", "path", *store, BASE, status=FOUND)
    assert "no account" in run("acl", "audit", "--account", "nobody", *store, BASE, status=5).stderr.decode()
    facts = parsed("acl", "audit", "--json", "--all", "--facts", tmp_path / "facts", *store, APPLICATION, status=FOUND)
    assert isinstance(facts, dict)
    for record in (whole, facts):
        del record["layers"]
    assert facts == whole


def test_an_audit_of_a_scratch_and_of_a_disk(layer: Path, tmp_path: Path) -> None:
    wclayer.create_scratch_layer(tmp_path / "run", [layer])
    assert audit_rights(tmp_path / "run").findings == audit_rights(layer).findings
    run("acl", "set", tmp_path / "run", r"C:\Windows\x.dll", CLOSED)
    changed = audit_rights(tmp_path / "run")
    assert [str(each.place) for each in changed.findings] == ["service-key", "program-files"]
    run("convert", "-o", tmp_path / "disk.vhdx", layer)
    disk = audit_rights(tmp_path / "disk.vhdx")
    # A volume has no files below C: of its own but those of the layer.
    expected = [(each.path, each.grants, each.below) for each in audit_rights(layer).findings]
    assert [(each.path, each.grants, each.below) for each in disk.findings] == expected
