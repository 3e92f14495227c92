"""The verbs of the registry, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.formats.regf.boot_store import boot_store
from tests.formats.regf.support import crafted_hive, simple_tree
from tests.layers.hive_layers import base_layer
from tests.packages import system_hive
from tests.support import parsed, run, text
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.writer import write_hive

KEY = r"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layers") / "base"
    config = folder / "Files/Windows/System32/config"
    config.mkdir(parents=True)
    (config / "SYSTEM").write_bytes(system_hive())
    boot = folder / "UtilityVM/Files/EFI/Microsoft/Boot"
    boot.mkdir(parents=True)
    (boot / "BCD").write_bytes(boot_store())
    run("makebaselayer", folder)
    return folder


@pytest.fixture
def child(base: Path, tmp_path: Path) -> Path:
    run("create", "--read-only", "-l", base, tmp_path / "child")
    return tmp_path / "child"


def test_query(base: Path) -> None:
    lines = text("reg", "query", base, KEY).splitlines()
    assert lines[0] == r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
    assert "    ICSDomain    REG_SZ    mshome.net" in lines
    assert "    IPEnableRouter    REG_DWORD    0x0" in lines
    assert lines[0] + r"\Interfaces" in lines
    assert text("reg", "query", base, KEY.lower(), "-v", "icsdomain").count("REG_") == 1
    recursive = text("reg", "query", "-s", base, KEY)
    assert recursive.count("\nHKEY_LOCAL_MACHINE") > 10
    shown = parsed("reg", "query", base, KEY)
    assert isinstance(shown, list)
    assert shown[0]["key"] == lines[0]
    assert {"name": "ICSDomain", "type": "REG_SZ", "text": "mshome.net"}.items() <= next(
        value for value in shown[0]["values"] if value["name"] == "ICSDomain"
    ).items()
    assert text("reg", "query", base, "HKLM").splitlines()[-1] == r"HKEY_LOCAL_MACHINE\SYSTEM"


def test_get(base: Path) -> None:
    assert text("reg", "get", base, KEY, "ICSDomain") == "mshome.net\n"
    shown = parsed("reg", "get", base, KEY, "ICSDomain")
    assert isinstance(shown, dict)
    assert bytes.fromhex(shown["data"]).decode("utf-16-le") == "mshome.net\0"


def test_set_and_delete(child: Path) -> None:
    assert "Level" in text("reg", "set", child, r"HKLM\SOFTWARE\My App", "Level", "3", "-t", "reg_dword")
    run("reg", "set", child, r"HKLM\SOFTWARE\My App", "", "the default")
    run("reg", "set", child, r"HKLM\SOFTWARE\My App", "Many", r"a\0b", "-t", "REG_MULTI_SZ")
    run("reg", "set", child, r"HKLM\SOFTWARE\My App\Empty")
    assert text("reg", "query", "-s", child, r"HKLM\SOFTWARE\My App").splitlines() == [
        r"HKEY_LOCAL_MACHINE\SOFTWARE\My App",
        "    Level    REG_DWORD    0x3",
        "    (Default)    REG_SZ    the default",
        r"    Many    REG_MULTI_SZ    a\0b",
        "",
        r"HKEY_LOCAL_MACHINE\SOFTWARE\My App\Empty",
        "",
    ]
    run("reg", "delete", child, r"HKLM\SOFTWARE\My App", "Level")
    run("reg", "get", child, r"HKLM\SOFTWARE\My App", "Level", status=2)
    run("reg", "delete", child, KEY, "ICSDomain")
    run("reg", "get", child, KEY, "ICSDomain", status=2)
    run("reg", "delete", child, r"HKLM\SOFTWARE\My App")
    run("reg", "query", child, r"HKLM\SOFTWARE\My App", status=2)
    run("check", child)
    delta = Hive((child / "Hives/System_Delta").read_bytes())
    assert delta.has_layered_keys


def test_export_and_import(base: Path, child: Path, tmp_path: Path) -> None:
    file = tmp_path / "tcpip.reg"
    run("reg", "export", base, KEY, file)
    assert run("reg", "export", base, KEY).stdout == file.read_bytes()
    moved = file.read_bytes()[2:].decode("utf-16-le").replace(r"SYSTEM\CurrentControlSet\Services", "SOFTWARE")
    shown = run("reg", "import", child, "-", stdin=moved.encode()).stdout.decode()
    assert "steps" in shown
    copied = text("reg", "query", "-s", child, r"HKLM\SOFTWARE\Tcpip\Parameters")
    assert copied.replace("SOFTWARE", r"SYSTEM\CurrentControlSet\Services") == text("reg", "query", "-s", base, KEY)


def test_diff_shows_the_registry(base: Path, child: Path) -> None:
    run("reg", "set", child, KEY, "ICSDomain", "example.org")
    run("reg", "delete", child, KEY, "NameServer")
    shown = text("diff", "--no-times", base, child, status=1)
    key = r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Services\Tcpip\Parameters"
    assert f"~ {key} : ICSDomain = REG_SZ mshome.net -> REG_SZ example.org\n" in shown
    assert f"- {key} : NameServer = REG_SZ \n" in shown
    assert "_Base" not in shown
    entries = json.loads(run("diff", "--json", "--no-times", base, child, status=1).stdout)
    assert {
        "change": "changed",
        "key": key,
        "value": "ICSDomain",
        "fields": {"data": ["REG_SZ mshome.net", "REG_SZ example.org"]},
    } in entries["registry"]
    assert "last written" in text("diff", base, child, status=1)


def test_bcd(base: Path) -> None:
    shown = text("bcd", base)
    assert "Windows Boot Loader\n-------------------\nidentifier" in shown
    assert "bootmenupolicy          1\n" in shown
    objects = parsed("bcd", base)
    assert isinstance(objects, list)
    assert {found["alias"] for found in objects} >= {"bootmgr", "memdiag"}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["query", "HKCU"], 5, "current user"),
        (["query", "SOFTWARE"], 5, "HKLM"),
        (["query", r"HKLM\SYSTEM\Nowhere"], 2, "no such key"),
        (["get", KEY, "nothing"], 2, "no value"),
        (["set", KEY, "a"], 64, "DATA"),
        (["set", KEY, "a", "x", "-t", "REG_DWORD"], 5, "not a number"),
        (["set", KEY, "a", "x", "-t", "REG_FOO"], 5, "not a type"),
        (["delete", r"HKLM\SYSTEM"], 5, "cannot be deleted"),
    ],
)
def test_errors(child: Path, arguments: list[str], status: int, message: str) -> None:
    done = run("reg", arguments[0], child, *arguments[1:], status=status)
    assert message in done.stderr.decode()
    assert list((child / "Hives").iterdir()) == []


def test_a_bad_reg_file_changes_nothing(child: Path) -> None:
    file = child.parent / "bad.reg"
    file.write_text('Windows Registry Editor Version 5.00\n\n[HKLM\\SOFTWARE\\A]\n"a"=dword:1\nnonsense\n')
    assert "line 5" in run("reg", "import", child, file, status=6).stderr.decode()
    file.write_text('Windows Registry Editor Version 5.00\n\n[HKLM\\SOFTWARE\\A]\n"a"=dword:1\n[HKCU\\A]\n')
    assert "current user" in run("reg", "import", child, file, status=5).stderr.decode()
    assert list((child / "Hives").iterdir()) == []


def test_an_import_warns_of_a_damaged_hive(tmp_path: Path) -> None:
    config = tmp_path / "source/Files/Windows/System32/config"
    config.mkdir(parents=True)
    (config / "SOFTWARE").write_bytes(b"rubbish")
    run("makebaselayer", tmp_path / "source")
    run("export", "-o", tmp_path / "layer.tar", tmp_path / "source")
    done = run("import", "-i", tmp_path / "layer.tar", tmp_path / "layer")
    assert "warning: Files/Windows/System32/config/SOFTWARE: 7 bytes" in done.stderr.decode()
    assert "SOFTWARE: 7 bytes" in text("check", tmp_path / "layer", status=1)
    run("reg", "query", tmp_path / "layer", r"HKLM\SOFTWARE", status=6)
    run("reg", "query", tmp_path / "layer", r"HKLM\SYSTEM")


def test_an_export_of_paths_that_repeat_long_names_is_limited(tmp_path: Path) -> None:
    chain = [(max(0, index - 1), "n" * 250) for index in range(101)]
    hive = crafted_hive([*chain, *((100, f"k{number}") for number in range(500))])
    layer = base_layer(tmp_path, SOFTWARE=hive)
    target = tmp_path / "out.reg"
    few = ("--max-key-paths", "1000000")
    for refused in (
        run("reg", "export", *few, layer, "HKLM", target, status=7),
        run("reg", "query", "-s", *few, layer, "HKLM", status=7),
    ):
        assert b"--max-key-paths" in refused.stderr
    assert not target.exists()
    run("reg", "export", layer, "HKLM", target)
    assert target.stat().st_size > 20_000_000


def test_a_reg_file_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    layer = base_layer(tmp_path, SOFTWARE=write_hive(simple_tree()))
    text = tmp_path / "in.reg"
    text.write_text("Windows Registry Editor Version 5.00\n\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\New]\n")
    refused = run("reg", "import", "--max-reg-file-size", "50", layer, text, status=7)
    assert b"--max-reg-file-size" in refused.stderr
    run("reg", "import", layer, text)
