"""The machine's environment: read over all layers, changed with the types that Windows needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from dissect.regf import regf

import wclayer
from tests.layers.hive_layers import base_layer, child_layer
from wclayer.errors import InvalidParameterError
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.model import KeyMetadata, TreeKey, Value
from wclayer.formats.regf.values import ValueType, encode_string
from wclayer.formats.regf.writer import write_hive
from wclayer.view.machine_environment import (
    MACHINE_KEY,
    MAX_UNITS,
    Variable,
    add_to_path,
    delete_variable,
    expand,
    expanded,
    machine_environment,
    machine_variables,
    path_entries,
    set_variable,
)

SZ, EXPAND = ValueType.REG_SZ, ValueType.REG_EXPAND_SZ
SYSTEM_PATH = r"%SystemRoot%\system32;%SystemRoot%;%SYSTEMROOT%\System32\Wbem"


def _key(above: TreeKey, *names: str) -> TreeKey:
    for name in names:
        below = TreeKey(name, KeyMetadata(10, above.metadata.security))
        above.add(below)
        above = below
    return above


def _system(select: int | None = 1, **variables: tuple[int, str]) -> bytes:
    root = empty_root(10)
    environment = _key(root, "ControlSet001", "Control", "Session Manager", "Environment")
    for name, (kind, text) in variables.items():
        environment.set(Value(name, kind, encode_string(text)))
    environment.set(Value("NUMBER", ValueType.REG_DWORD, b"\1\0\0\0"))
    if select is not None:
        _key(root, "Select").set(Value("Current", 4, select.to_bytes(4, "little")))
    return write_hive(root)


@pytest.fixture
def child(tmp_path: Path) -> Path:
    base = base_layer(
        tmp_path, SYSTEM=_system(Path=(EXPAND, SYSTEM_PATH), windir=(EXPAND, "%SystemRoot%"), OS=(SZ, "Windows_NT"))
    )
    return child_layer(tmp_path, "child", base)


def _delta_values(layer: Path) -> dict[str, tuple[int, object]]:
    """The variables in the layer's own delta hive, as a foreign program reads them."""
    with (layer / "Hives" / "System_Delta").open("rb") as file:
        key = regf.RegistryHive(file).open(r"ControlSet001\Control\Session Manager\Environment")
        return {value.name: (value.type, value.value) for value in key.values()}


def test_the_environment_is_read_over_all_layers(child: Path) -> None:
    with wclayer.RegistryEditor(child) as editor:
        set_variable(editor, "JAVA_HOME", r"C:\java")
    with wclayer.Registry(child) as registry:
        environment = machine_environment(registry.find)
        assert Variable("OS", "Windows_NT", SZ) in machine_variables(registry.find)
    assert environment["JAVA_HOME"] == r"C:\java"
    assert environment["OS"] == "Windows_NT"
    assert environment["windir"] == r"C:\Windows"
    assert environment["Path"] == r"C:\Windows\system32;C:\Windows;C:\Windows\System32\Wbem"
    assert "NUMBER" not in environment


def test_new_values_have_the_type_that_their_text_needs(child: Path) -> None:
    with wclayer.RegistryEditor(child) as editor:
        set_variable(editor, "A", "100% sure")
        set_variable(editor, "B", r"%ProgramData%\b")
        set_variable(editor, "os", "Other")
        set_variable(editor, "WINDIR", r"C:\Windows")
        set_variable(editor, "PATH", r"C:\only")
    assert _delta_values(child) == {
        "A": (SZ, "100% sure"), "B": (EXPAND, r"%ProgramData%\b"),
        # The spelling of the name and the type stay those of the layers below.
        "OS": (SZ, "Other"), "windir": (EXPAND, r"C:\Windows"), "Path": (EXPAND, r"C:\only"),
    }  # fmt: skip


def test_a_reference_in_a_plain_string_is_made_to_work(child: Path) -> None:
    with wclayer.RegistryEditor(child) as editor:
        set_variable(editor, "OS", "%A%")
    assert _delta_values(child) == {"OS": (EXPAND, "%A%")}


@pytest.mark.parametrize(
    "directory",
    [r"C:\Windows\SYSTEM32", "c:\\windows\\System32\\", r"%systemroot%\system32", '"C:\\Windows\\System32"'],
)
def test_an_entry_of_path_is_not_doubled(child: Path, directory: str) -> None:
    with wclayer.RegistryEditor(child) as editor:
        assert not add_to_path(editor, [directory])
    assert not (child / "Hives" / "System_Delta").exists()


def test_directories_are_added_to_path(child: Path) -> None:
    with wclayer.RegistryEditor(child) as editor:
        assert add_to_path(editor, [r"C:\app", r"C:\Windows", "C:\\app\\"])
        assert add_to_path(editor, [r"C:\first", r"C:\second;odd"], first=True)
    assert _delta_values(child) == {"Path": (EXPAND, f'C:\\first;"C:\\second;odd";{SYSTEM_PATH};C:\\app')}
    assert path_entries('a;;"b;c"; d ;x"y;z"w') == ["a", '"b;c"', "d", 'x"y;z"w']


def test_a_machine_without_path_gets_one(tmp_path: Path) -> None:
    base = base_layer(tmp_path, SYSTEM=_system(select=None))
    with wclayer.RegistryEditor(base) as editor:
        assert add_to_path(editor, [r"C:\app"])
        assert delete_variable(editor, "path")
        assert not delete_variable(editor, "path")
        assert add_to_path(editor, [r"C:\app"])
    with wclayer.Registry(base) as registry:
        # The hive names no current control set: the first one is taken.
        key = MACHINE_KEY.replace("CurrentControlSet", "ControlSet001")
        assert machine_variables(registry.find, key) == [Variable("Path", r"C:\app", EXPAND)]
        assert registry.find(r"HKLM\SYSTEM\CurrentControlSet") is None
        assert machine_environment(registry.find)["Path"] == r"C:\app"


@pytest.mark.parametrize(("name", "value"), [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "\0"), ("A", "x" * 40_000)])
def test_impossible_variables_are_refused(child: Path, name: str, value: str) -> None:
    with wclayer.RegistryEditor(child) as editor, pytest.raises(InvalidParameterError):
        set_variable(editor, name, value)


@pytest.mark.parametrize("directory", ["", '""', 'C:\\a"b'])
def test_impossible_directories_are_refused(child: Path, directory: str) -> None:
    with wclayer.RegistryEditor(child) as editor, pytest.raises(InvalidParameterError):
        add_to_path(editor, [directory])


def test_references_are_replaced_in_one_pass() -> None:
    variables = {"A": "%B%", "B": "b", "ProgramFiles(x86)": "p"}
    assert expand("%a%-%b%-%none%-%%-%programfiles(X86)%%", variables) == "%B%-b-%none%-%%-p%"
    assert expand("100%b%", variables) == "100b"
    assert expand("%none%b%", variables) == "%noneb"
    with pytest.raises(InvalidParameterError):
        expand("%A%" * 2, {"A": "x" * MAX_UNITS})


def test_plain_values_come_before_those_with_references() -> None:
    variables = [Variable("X", "%Y%", EXPAND), Variable("Y", "y", SZ), Variable("systemdrive", "D:", SZ)]
    assert dict(expanded(variables, {"SystemDrive": "C:"}).values()) == {"X": "y", "Y": "y", "systemdrive": "D:"}
