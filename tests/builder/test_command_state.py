"""The environment of a process, paths as commands write them, and arguments as programs read them."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.builder.commands.state import Environment, PlannedState, absolute_path, is_null_device, process_environment
from wclayer.builder.commands.words import split_arguments
from wclayer.errors import InvalidParameterError, NotSupportedError


def test_the_case_of_a_name_does_not_matter_and_its_first_spelling_stays() -> None:
    environment = Environment({"Path": "a"})
    environment.set("PATH", "b")
    assert list(environment.items()) == [("Path", "b")]
    environment.delete("pAtH")
    assert "Path" not in environment
    assert environment.get("path") is None


def test_of_two_environments_only_what_is_the_same_stays_known() -> None:
    merged = Environment({"A": "1", "B": "2"}).merged(Environment({"a": "1", "C": "3"}), "not decided")
    assert list(merged.items()) == [("A", "1")]
    assert [merged.unknown_reason(name) for name in "abc"] == [None, "not decided", "not decided"]
    merged.set("B", "4")
    assert merged.get("b") == "4"
    assert merged.unknown_reason("b") is None


def test_a_process_gets_what_windows_sets_then_the_machine_then_the_image() -> None:
    machine = Environment({"windir": "C:\\Windows", "TEMP": "C:\\Windows\\TEMP", "Plain": "%windir%"})
    machine.set("Path", "%SystemRoot%\\system32;%Tool%\\bin", expands=True)
    machine.set("Tool", "C:\\tool")
    found = process_environment(machine, {"TOOL": "D"}, user="app")
    assert found.get("Path") == "C:\\Windows\\system32;C:\\tool\\bin"
    assert found.get("Plain") == "%windir%"
    assert found.get("temp") == "C:\\Users\\app\\AppData\\Local\\Temp"
    assert found.get("tool") == "D"
    assert found.get("ProgramFiles(x86)") == "C:\\Program Files (x86)"
    assert found.unknown_reason("ComputerName") == "each container and machine has its own"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "C:\\app\\a"),
        ("a/b", "C:\\app\\a\\b"),
        ("\\a", "C:\\a"),
        ("/a", "C:\\a"),
        ("c:a", "C:\\app\\a"),
        ("C:\\a\\..\\b\\.\\c", "C:\\b\\c"),
        ("..\\..\\..\\x", "C:\\x"),
        ("a. . ", "C:\\app\\a"),
        ("a.\\b", "C:\\app\\a\\b"),
        (".", "C:\\app"),
        ("\\", "C:\\"),
        ("\\\\?\\C:\\x", "C:\\x"),
        ("*.txt", "C:\\app\\*.txt"),
        ("f:s", "C:\\app\\f:s"),
    ],
)
def test_paths_are_absolute_as_windows_makes_them(text: str, expected: str) -> None:
    if text == "f:s":
        text = ".\\f:s"
    assert absolute_path(text, "C:\\app") == expected


@pytest.mark.parametrize("text", ["D:\\x", "\\\\server\\share", "\\\\.\\pipe\\x", "con", "C:\\a\\aux.txt"])
def test_paths_outside_of_the_image_are_refused(text: str) -> None:
    with pytest.raises(NotSupportedError):
        absolute_path(text, "C:\\")
    with pytest.raises(NotSupportedError, match="Dockerfile:7"):
        PlannedState("Dockerfile:7").path(text)


def test_an_empty_path_is_refused_and_nul_is_known() -> None:
    with pytest.raises(InvalidParameterError):
        absolute_path("", "C:\\")
    assert all(map(is_null_device, ("nul", "NUL", "Nul:", "\\\\.\\nul")))
    assert not is_null_device("null")


def test_a_relative_path_is_unknown_if_the_directory_is() -> None:
    state = PlannedState()
    state.take_either(PlannedState(directory="C:\\a"), PlannedState(directory="C:\\b"))
    assert state.path("x") is None
    assert state.path("\\x") == "C:\\x"
    assert state.path("C:/x") == "C:\\x"


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r")), max_size=5))
def test_arguments_that_python_quotes_come_back(arguments: list[str]) -> None:
    assert list(split_arguments(" " + subprocess.list2cmdline(arguments))) == arguments
