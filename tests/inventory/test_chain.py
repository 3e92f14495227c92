"""The inventory of a base, an update and an application says what all of them together are; no layer alone does."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tests.formats.regf.support import regipy_hive
from tests.images import samples, stores
from tests.inventory.conftest import Windows
from tests.inventory.windows import APPLICATION, BASE, HISTORY, UPDATED, VERSION
from tests.support import parsed, text
from wclayer.inventory.item import Item, ItemKind
from wclayer.layers.hives import CONFIG

_NT = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
_CURRENT = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion"
_PACKAGES = rf"{_CURRENT}\Component Based Servicing\Packages"
_TOKEN = "31bf3856ad364e35"
_CORE = f"Microsoft-Windows-ServerCore-Package~{_TOKEN}~amd64~~10.0.20348.1"
_ROLES = r"HKLM\SOFTWARE\Microsoft\ServerManager\ServicingStorage\ServerComponentCache"
_MACHINE = r"HKLM\SYSTEM\ControlSet001\Control\Session Manager\Environment"
_ROLLUP = rf"{_PACKAGES}\Package_for_RollupFix~{_TOKEN}~amd64~"

EXPECTED = {
    # kind, name, version: a property, layer, from the base image or not, place
    ("operating-system", "Windows Server 2022 Datacenter", UPDATED): ("ServerDatacenterCor", 2, True, _NT),
    ("update", "Package_for_RollupFix", "20348.2322.1.8"): ("installed", 2, True, rf"{_ROLLUP}~20348.2322.1.8"),
    ("update", "Package_for_RollupFix", "20348.2113.1.10"): ("superseded", 2, True, rf"{_ROLLUP}~20348.2113.1.10"),
    ("update", "Package_for_ServicingStack_2320", "20348.2320.1.2"): (
        "installed", 2, True, rf"{_PACKAGES}\Package_for_ServicingStack_2320~{_TOKEN}~amd64~~20348.2320.1.2",
    ),
    ("update", "KB5034613", "10.0.4690.1"): (
        "installed", 2, True, rf"{_PACKAGES}\Package_for_KB5034613~{_TOKEN}~amd64~~10.0.4690.1",
    ),
    ("feature", "IIS-WebServer", "10.0.20348.1"): ("installed", 10, False, rf"{_PACKAGES}\{_CORE}\Updates"),
    ("feature", "TelnetClient", "10.0.20348.1"): ("staged", 1, True, rf"{_PACKAGES}\{_CORE}\Updates"),
    ("feature", "Server-Core", ""): ("installed", 1, True, rf"{_NT}\Server\ServerLevels"),
    ("feature", "FileAndStorage-Services", ""): ("installed", 1, True, rf"{_ROLES}\FileAndStorage-Services"),
    ("feature", "Web-Server", ""): ("installed", 9, False, rf"{_ROLES}\Web-Server"),
    ("program", "Editor", "2.0"): ("64", 5, False, rf"{_CURRENT}\Uninstall\Editor"),
    ("program", "Our Service", ""): ("64", 6, False, rf"{_CURRENT}\Uninstall\Service"),
    ("dotnet", ".NET Framework", "4.8.1"): (
        "533320", 2, True, r"HKLM\SOFTWARE\Microsoft\NET Framework Setup\NDP\v4\Full",
    ),
    ("service", "ours", ""): ("automatic", 7, False, r"HKLM\SYSTEM\ControlSet001\Services\ours"),
    ("environment-variable", "TOOLS", ""): (r"C:\app", 7, False, _MACHINE),
    ("environment-variable", "PROCESSOR_ARCHITECTURE", ""): ("AMD64", 1, True, _MACHINE),
    ("environment-variable", "MODE", ""): ("production", None, False, "config: Env"),
    ("port", "8080/tcp", ""): ("tcp", None, False, "config: ExposedPorts"),
    ("python-package", "tool", "3.1"): (
        "tool", 4, False, r"C:\python\Lib\site-packages\tool-3.1.dist-info\METADATA",
    ),
}  # fmt: skip
"""What the application's image holds, written by hand from the `.reg` files and the Dockerfile in `windows.py`. The
real machine's SYSTEM in the base has services, drivers and variables besides, of which one variable stands here."""
_SHOWN = {
    "operating-system": "edition", "program": "view", "dotnet": "release", "service": "start", "port": "protocol",
    "environment-variable": "value", "python-package": "normalized_name",
}  # fmt: skip
"""The property of each kind that is compared; of the others, the state."""


def _of(items: Iterable[Item]) -> dict[tuple[str, str, str], tuple[str, int | None, bool, str]]:
    found = {}
    for item in items:
        layer = item.origin.layer
        shown = str(item.properties.get(_SHOWN.get(item.kind, "state")))
        key = (str(item.kind), item.name, item.version)
        assert key not in found
        found[key] = (shown, None if layer is None else layer.number, item.origin.is_base, item.origin.place)
    return found


def _is_of_the_real_machine(item: Item) -> bool:
    of_system = item.kind in (ItemKind.SERVICE, ItemKind.DRIVER, ItemKind.ENVIRONMENT_VARIABLE)
    return of_system and item.origin.layer is not None and item.origin.layer.number == 1


def test_the_inventory_is_what_was_put_in(machine: Windows) -> None:
    inventory = machine.inventory(APPLICATION)
    processor = "PROCESSOR_ARCHITECTURE"
    made = [item for item in inventory.items if not _is_of_the_real_machine(item) or item.name == processor]
    assert _of(made) == EXPECTED
    assert inventory.findings == ()
    assert len(inventory.items) > len(made) + 500


def test_each_layer_has_its_digest_and_its_step(machine: Windows) -> None:
    inventory = machine.inventory(APPLICATION, files=False)
    steps = [layer.created_by for layer in inventory.layers]
    assert steps[:3] == [f"Apply image {VERSION}", f"Install update {UPDATED}", r"COPY run.cmd C:\app\run.cmd"]
    assert {step.split()[0] for step in steps[3:]} == {"COPY", "RUN"}
    assert [layer.digest for layer in inventory.layers][:2] == [layer.digest for layer in machine.base.layers]
    assert [layer.is_base for layer in inventory.layers] == [True, True, *[False] * 8]


def _in_a_single_layer(tar: bytes, folder: Path) -> dict[str, object]:
    """What a scanner of single layers finds in a layer's own hive of SOFTWARE, read by regipy; {} without a hive."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for name in (f"{CONFIG}/SOFTWARE", "Hives/Software_Delta"):
            with suppress(KeyError):
                hive = archive.extractfile(name)
                assert hive is not None
                (folder / "hive").write_bytes(hive.read())
                key = regipy_hive(folder / "hive").get_key("\\Microsoft\\Windows NT\\CurrentVersion")
                return {value.name: value.value for value in key.get_values()}
    return {}


def test_a_single_layer_gives_the_wrong_answer(machine: Windows, tmp_path: Path) -> None:
    """The base layer has the old patch level, the update the new one without the system that has it, the application
    nothing; only the merged hives have the truth."""
    base, update = (_in_a_single_layer(layer.tar, tmp_path) for layer in machine.base.layers)
    assert (base["CurrentBuildNumber"], base["UBR"]) == ("20348", 2113)
    assert update == {"UBR": 2322}
    merged = machine.inventory(APPLICATION, files=False).operating_system
    assert merged is not None
    assert (merged.name, merged.version) == ("Windows Server 2022 Datacenter", UPDATED)


def test_a_base_alone_is_its_own_base(machine: Windows) -> None:
    inventory = machine.inventory(BASE, files=False)
    assert {item.origin.is_base for item in inventory.items} == {True}
    roles = {item.name: item.properties["state"] for item in inventory.of_kind(ItemKind.FEATURE)}
    assert (roles["Web-Server"], roles["IIS-WebServer"]) == ("available", "staged")


def test_what_the_configuration_says_is_compared_with_the_registry(machine: Windows) -> None:
    image = samples.image("docker", machine.base.layers, HISTORY, {}, os_version="10.0.20348.1", architecture="arm64")
    stores.fill(machine.store, "mismatch:1", image)
    inventory = machine.inventory("mismatch:1", files=False)
    assert [finding.to_json() for finding in inventory.findings] == [
        {
            "kind": "mismatch", "place": "config: os.version",
            "text": f"says 10.0.20348.1, but the registry of the image says {UPDATED}",
        },
        {
            "kind": "mismatch", "place": "config: architecture",
            "text": "says arm64, but the registry of the image says amd64",
        },
    ]  # fmt: skip


def test_the_verb_shows_what_the_library_returns(machine: Windows) -> None:
    shown = parsed("inventory", "--store", str(machine.store.path), APPLICATION)
    assert shown == machine.inventory(APPLICATION).to_json()
    own = parsed("inventory", "--own", "--no-files", "--store", str(machine.store.path), APPLICATION)
    assert isinstance(own, dict)
    assert {item["name"] for item in own["items"]} >= {"IIS-WebServer", "Web-Server"}
    assert not any(item["is_base"] for item in own["items"])
    one = parsed("inventory", "--kind", "update", "--store", str(machine.store.path), APPLICATION)
    assert isinstance(one, dict)
    assert {item["kind"] for item in one["items"]} == {"update"}


def test_the_table_shows_superseded_updates_apart(machine: Windows) -> None:
    lines = text("inventory", "--no-files", "--store", str(machine.store.path), APPLICATION).splitlines()
    digest = machine.base.layers[1].digest.partition(":")[2]
    assert lines[:2] == [APPLICATION, f"  Windows Server 2022 Datacenter  21H2  {UPDATED}  Server Core  amd64"]
    assert lines[3] == "LAYERS (10)"
    assert lines[4] == "  LAYER  ORIGIN  DIGEST        MADE BY"
    assert lines[6] == f"  2      base    {digest[:12]}  Install update {UPDATED}"
    assert lines[7].split()[:2] == ["3", "own"]
    current, superseded = lines.index("UPDATES (3)"), lines.index("SUPERSEDED UPDATES (1)")
    assert [line.split()[:4] for line in lines[current + 1 : current + 5]] == [
        ["NAME", "VERSION", "STATE", "LAYER"],
        ["KB5034613", "10.0.4690.1", "installed", "2"],
        ["Package_for_RollupFix", "20348.2322.1.8", "installed", "2"],
        ["Package_for_ServicingStack_2320", "20348.2320.1.2", "installed", "2"],
    ]
    assert lines[superseded + 2].split()[:2] == ["Package_for_RollupFix", "20348.2113.1.10"]


def test_a_kind_that_is_asked_for_is_shown_whole(machine: Windows) -> None:
    store = ("--no-files", "--store", str(machine.store.path))
    assert "FEATURES NOT INSTALLED" not in text("inventory", *store, BASE)
    lines = text("inventory", "--kind", "feature", *store, BASE).splitlines()
    installed, others = lines.index("FEATURES (2)"), lines.index("FEATURES NOT INSTALLED (3)")
    assert [line.split()[0] for line in lines[installed + 2 : others - 1]] == ["FileAndStorage-Services", "Server-Core"]
    assert [line.split()[:3] for line in lines[others + 1 : others + 5]] == [
        ["NAME", "VERSION", "STATE"],
        ["IIS-WebServer", "10.0.20348.1", "staged"],
        ["TelnetClient", "10.0.20348.1", "staged"],
        ["Web-Server", "-", "available"],
    ]
