r"""`reg`, `regedit /s` and `setx`: the values they leave, compared with foreign readers and with Wine's reg.exe."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dissect.regf import regf

from tests.builder.machines import PATH_VALUE, Machine, machine
from wclayer.builder.commands.environment import SETX
from wclayer.builder.commands.registry import REG, REGEDIT
from wclayer.builder.commands.run import parse_run
from wclayer.builder.commands.words import split_arguments
from wclayer.errors import InvalidDataError, LayerError, NotSupportedError
from wclayer.formats.regf.text import encode_reg

APP = r"HKLM\SOFTWARE\App"
ENVIRONMENT = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"


@pytest.fixture
def windows(tmp_path: Path, bases: Path) -> Iterator[Machine]:
    with machine(tmp_path, bases, "Default") as made:
        yield made


def _strings(text: str) -> bytes:
    return (text + "\0").encode("utf-16-le")


ADDED = [
    (r"/v a /d text", "a", 1, _strings("text")),
    (r"/v a /t reg_sz", "a", 1, _strings("")),
    (r'/v "a b" /t REG_EXPAND_SZ /d "%SystemRoot%\x \"y\"" /f', "a b", 2, _strings('%SystemRoot%\\x "y"')),
    (r"/ve /d default", "", 1, _strings("default")),
    (r"/d default", "", 1, _strings("default")),
    (r"/v n /t REG_DWORD /d 16 /f", "n", 4, b"\x10\0\0\0"),
    (r"/v n /t REG_DWORD /d 0xFFfffffe", "n", 4, b"\xfe\xff\xff\xff"),
    (r"/v n /t REG_DWORD_BIG_ENDIAN /d 1", "n", 5, b"\0\0\0\1"),
    (r"/v n /t REG_QWORD /d 0x1ffffffff", "n", 11, b"\xff\xff\xff\xff\1\0\0\0"),
    (r"/v b /t REG_BINARY /d 0aBC", "b", 3, b"\x0a\xbc"),
    (r"/v b /t REG_BINARY", "b", 3, b""),
    (r"/v m /t REG_MULTI_SZ /d a\0b\0", "m", 7, _strings("a\0b\0")),
    (r"/v m /t REG_MULTI_SZ /s ; /d a;b\0c", "m", 7, _strings("a\0b\\0c\0")),
    (r"/v x /t REG_NONE /d xy", "x", 0, _strings("xy")),
]


@pytest.mark.parametrize(("words", "name", "kind", "data"), ADDED)
def test_values_are_added(windows: Machine, words: str, name: str, kind: int, data: bytes) -> None:
    assert windows.run(REG, rf"add {APP} {words}") == 0
    assert windows.output == b"The operation completed successfully.\r\n"
    assert windows.value(APP, name) == (kind, data)
    hive = regf.RegistryHive(io.BytesIO(windows.delta("Software")))
    assert hive.open("App").value(name or "(Default)").type == kind


def test_only_a_key_is_added(windows: Machine) -> None:
    assert windows.run(REG, rf"ADD {APP}\Below\ /f") == 0
    assert windows.keys(APP) == ["Below"]


def test_a_value_is_overwritten_only_with_f(windows: Machine) -> None:
    assert windows.run(REG, rf"add {APP} /v a /d 1") == 0
    assert windows.run(REG, rf"add {APP} /v A /d 2") == 1
    assert b"/f" in windows.errors
    assert windows.value(APP, "a") == (1, _strings("1"))
    assert windows.run(REG, rf"add {APP} /v A /d 2 -f") == 0
    assert windows.value(APP, "a") == (1, _strings("2"))


def test_views_of_the_registry(windows: Machine) -> None:
    assert windows.run(REG, rf"add {APP} /v a /reg:32") == 0
    assert windows.value(r"HKLM\SOFTWARE\WOW6432Node\App", "a") is not None
    assert windows.run(REG, r"add HKLM\SOFTWARE\Policies\App /v a /reg:32") == 0
    assert windows.value(r"HKLM\SOFTWARE\Policies\App", "a") is not None
    assert windows.run(REG, r"add HKCR\.app /ve /d App.File /reg:64") == 0
    assert windows.value(r"HKLM\SOFTWARE\Classes\.app", "") == (1, _strings("App.File"))


def test_keys_and_values_are_deleted(windows: Machine) -> None:
    for name in "abc":
        windows.run(REG, rf"add {APP}\K /v {name}")
    assert windows.run(REG, rf"delete {APP}\K /v a /f") == 0
    assert windows.run(REG, rf"delete {APP}\K /v a /f") == 1
    assert windows.errors == b"ERROR: The system was unable to find the specified registry key or value.\r\n"
    assert windows.value(rf"{APP}\K", "b") is not None
    assert windows.run(REG, rf"delete {APP}\K /va /f") == 0
    assert windows.value(rf"{APP}\K", "b") is None
    assert windows.run(REG, rf"delete {APP} /f") == 0
    assert windows.keys(APP) is None
    assert windows.run(REG, rf"delete {APP} /f") == 1


def test_keys_are_copied(windows: Machine) -> None:
    windows.run(REG, rf"add {APP} /v a /d 1")
    windows.run(REG, rf"add {APP}\Below /v b /d 2")
    assert windows.run(REG, rf"copy {APP} {APP}\Copy /s") == 0
    assert windows.value(rf"{APP}\Copy", "a") == (1, _strings("1"))
    assert windows.value(rf"{APP}\Copy\Below", "b") == (1, _strings("2"))
    assert windows.keys(rf"{APP}\Copy") == ["Below"]
    assert windows.run(REG, rf"copy {APP} {APP}\Copy") == 1
    assert windows.run(REG, rf"copy {APP} HKLM\SOFTWARE\Other /f") == 0
    assert windows.keys(r"HKLM\SOFTWARE\Other") == []
    assert windows.run(REG, rf"copy {APP}\None {APP}\Copy /f") == 1


def test_a_query_prints_and_finds(windows: Machine) -> None:
    windows.run(REG, rf"add {APP}\Below /v b /t REG_DWORD /d 2")
    assert windows.run(REG, rf"query {APP}\Below /v B") == 0
    assert windows.output == b"\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\App\\Below\r\n    b    REG_DWORD    0x2\r\n"
    assert windows.run(REG, rf"query {APP}") == 0
    assert windows.output == b"\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\App\\Below\r\n"
    assert windows.run(REG, rf"query {APP} /s /v b") == 0
    assert windows.run(REG, rf"query {APP} /ve") == 1
    assert windows.run(REG, rf"query {APP}\None") == 1


def _reg_file(*lines: str) -> bytes:
    return b"".join(encode_reg(["Windows Registry Editor Version 5.00", "", *lines]))


@pytest.mark.parametrize(("command", "words"), [(REG, "import app.reg"), (REGEDIT, "/s C:\\t\\app.reg")])
def test_files_are_imported(windows: Machine, command: object, words: str) -> None:
    windows.run(REG, rf"add {APP} /v old")
    lines = [
        r"[HKEY_LOCAL_MACHINE\SOFTWARE\App]",
        '"old"=-',
        '"new"=dword:5',
        r"[HKEY_CURRENT_USER\Console]",
        '"c"="d"',
    ]
    windows.view.write_bytes("C:\\t\\app.reg", _reg_file(*lines, r"[-HKEY_LOCAL_MACHINE\SOFTWARE\None]"))
    assert isinstance(command, type(REG))
    assert windows.run(command, words, "C:\\t") == 0
    assert windows.value(APP, "old") is None
    assert windows.value(APP, "new") == (4, b"\5\0\0\0")
    hive = regf.RegistryHive(io.BytesIO(windows.view.read_bytes(r"C:\Users\Default\NTUSER.DAT")))
    assert hive.open("Console").value("c").value == "d"


@pytest.mark.parametrize("line", ["nonsense", "[HKEY_LOCAL_MACHINE\\HARDWARE]", f'[{ENVIRONMENT}]\r\n"A"="b"'])
def test_a_bad_file_changes_nothing(windows: Machine, line: str) -> None:
    windows.view.write_bytes(
        "C:\\a.reg", _reg_file(r"[HKEY_LOCAL_MACHINE\SOFTWARE\App]", '"a"="b"', *line.split("\r\n"))
    )
    with pytest.raises((InvalidDataError, LayerError)):
        windows.run(REG, r"import C:\a.reg")
    assert windows.keys(APP) is None


def test_a_missing_file_is_an_error_of_the_command(windows: Machine) -> None:
    assert windows.run(REG, r"import C:\none.reg") == 1
    assert windows.errors.startswith(b"ERROR: Error opening the file.")
    assert windows.run(REGEDIT, r"/s C:\none.reg") == 0


def test_a_key_is_exported(windows: Machine) -> None:
    windows.run(REG, rf"add {APP} /v a /d 1")
    assert windows.run(REG, rf"export {APP} C:\t\out.reg") == 0
    assert windows.view.read_bytes("C:\\t\\out.reg") == _reg_file(r"[HKEY_LOCAL_MACHINE\SOFTWARE\App]", '"a"="1"', "")
    assert windows.run(REG, rf"export {APP} C:\t\out.reg") == 1
    assert windows.run(REG, rf"export {APP} C:\t\out.reg /y") == 0
    assert windows.run(REG, rf"export {APP}\None C:\t\none.reg") == 1
    assert windows.run(REG, rf"export {APP} C:\none\out.reg") == 1


REFUSED = [
    ("add", "expected 1 key"), (r"add HKLM\HARDWARE\X", "in no hive"), (r"add HKU\S-1-5-21-1\X", "in no hive"),
    (r"add \\server\HKLM\SOFTWARE", "another machine"), ("add NONE", "starts with"),
    (rf"add {APP}\{'k' * 256}", "at most 255 characters"), (rf"add HKCU\{'k' * 256}", "at most 255 characters"),
    (r"add HKLM\SOFTWARE" + r"\k" * 512, "levels of keys"),
    (rf"add {APP} /v", "needs a value"),
    (rf"add {APP} /v a /v b", "twice"), (rf"add {APP} /v a /ve", "/v is given"), (rf"add {APP} /x", "not supported"),
    (rf"add {APP} /v a /t REG_LINK", "no type"), (rf"add {APP} /v a /t REG_DWORD", "needs /d"),
    (rf"add {APP} /v a /t REG_DWORD /d 010", "needs /d"), (rf"add {APP} /v a /t REG_DWORD /d -1", "needs /d"),
    (rf"add {APP} /v a /t REG_DWORD /d 0x100000000", "32 bits"),
    (rf"add {APP} /v a /t REG_BINARY /d abc", "two digits"),
    (rf"add {APP} /v a /t REG_MULTI_SZ /s ; /d a;;b", "empty string"), (rf"add {APP} /v a /s ; /d b", "REG_MULTI_SZ"),
    (rf"add {APP} /reg:32 /reg:64", "/reg:64"), (r"add HKCR\CLSID /reg:32", "WOW6432Node"),
    (rf"delete {APP}", "add /f"), (r"delete HKLM\SOFTWARE /f", "root of a hive"), (rf"delete {APP} /va /v a /f", "/va"),
    (rf"copy {APP}", "expected 2 keys"), (rf"copy {APP} HKLM\software\APP", "same key"), (r"load HKLM\X C:\x", "load"),
    ("", "possible are"), ("import", "expected one file"), (r"import D:\a.reg", "D:"), (rf"export {APP}", "a file"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "detail"), REFUSED)
def test_what_cannot_be_done_is_refused_before_it_runs(windows: Machine, words: str, detail: str) -> None:
    with pytest.raises(LayerError) as caught:
        windows.run(REG, words)
    assert detail in str(caught.value)
    assert "Dockerfile:7" in str(caught.value)


@pytest.mark.parametrize("words", ["app.reg", "/s", "/s a.reg b.reg", "/s /e a.reg"])
def test_regedit_imports_and_does_nothing_else(windows: Machine, words: str) -> None:
    with pytest.raises(NotSupportedError):
        windows.run(REGEDIT, words)


def test_a_user_without_a_profile_is_refused(tmp_path: Path, bases: Path) -> None:
    with machine(tmp_path, bases) as made, pytest.raises(NotSupportedError, match="no profile of the user"):
        made.run(REG, r"add HKCU\Software\App /v a")


def test_the_profile_of_the_user_is_changed(tmp_path: Path, bases: Path) -> None:
    with machine(tmp_path, bases, "Default", "ContainerAdministrator") as made:
        before = made.view.read_bytes(r"C:\Users\Default\NTUSER.DAT")
        assert made.run(REG, r"add HKCU\Software\App /v a /d b") == 0
        assert made.run(REG, r"add HKCU\Software\App\Below /v c") == 0
        assert made.run(REG, r"delete HKCU\Software\App\Below /f") == 0
        assert made.run(REG, r"delete HKCU\Software\App /v none /f") == 1
        assert made.run(REG, r"copy HKCU\Software\App HKLM\SOFTWARE\FromUser /f") == 0
        assert made.value(r"HKLM\SOFTWARE\FromUser", "a") == (1, _strings("b"))
        hive = regf.RegistryHive(io.BytesIO(made.view.read_bytes(r"C:\Users\ContainerAdministrator\NTUSER.DAT")))
        assert hive.open(r"Software\App").value("a").value == "b"
        assert [key.name for key in hive.open(r"Software\App").subkeys()] == []
        assert made.view.read_bytes(r"C:\Users\Default\NTUSER.DAT") == before


def test_what_commands_of_the_registry_print_goes_into_files(windows: Machine) -> None:
    for line in (
        r"reg add HKLM\SOFTWARE\App /v a /d 1 /f > C:\t\log",
        r"(echo one& reg add HKLM\SOFTWARE\App /v b /d 2 /f & setx /M A 1)>> C:\t\log",
        r"reg delete HKLM\SOFTWARE\None /f 2>> C:\t\log || reg query HKLM\SOFTWARE\App /v b >> C:\t\base.txt",
    ):
        [action] = parse_run(line)
        assert windows.act(action) == 0
    done = b"The operation completed successfully.\r\n"
    told = b"ERROR: The system was unable to find the specified registry key or value.\r\n"
    saved = b"\r\nSUCCESS: Specified value was saved.\r\n"
    assert windows.view.read_bytes("C:\\t\\log") == done + b"one\r\n" + done + saved + told
    assert windows.view.read_bytes("C:\\t\\base.txt").startswith(b"base\r\n\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\App\r\n")
    assert windows.value(APP, "b") == (1, _strings("2"))


def test_setx_of_the_machine(windows: Machine) -> None:
    assert windows.run(SETX, r'/M JAVA_HOME "C:\Program Files\java"') == 0
    assert windows.output == b"\r\nSUCCESS: Specified value was saved.\r\n"
    assert windows.value(ENVIRONMENT, "JAVA_HOME") == (1, _strings(r"C:\Program Files\java"))
    assert windows.run(SETX, rf"PATH {PATH_VALUE};C:\app /m") == 0
    assert windows.value(ENVIRONMENT, "Path") == (2, _strings(rf"{PATH_VALUE};C:\app"))
    assert windows.planned.machine.get("JAVA_HOME") == r"C:\Program Files\java"
    assert windows.planned.machine.expands("path")


def test_setx_of_the_user(windows: Machine) -> None:
    windows.planned.machine.set("Path", "C:\\Windows")
    assert windows.run(SETX, "PATH C:\\user") == 0
    hive = regf.RegistryHive(io.BytesIO(windows.view.read_bytes(r"C:\Users\Default\NTUSER.DAT")))
    assert hive.open("Environment").value("PATH").value == "C:\\user"
    assert windows.value(ENVIRONMENT, "Path") == (2, _strings(PATH_VALUE))
    assert windows.planned.machine.get("Path") == r"C:\Windows;C:\user"


@pytest.mark.parametrize(
    ("words", "detail"),
    [("A", "expected a name"), ("A b c", "in quotes"), ("/s server A b", "/s"), ("A " + "x" * 1025, "1024"),
     ("A=B c", "no = in it"), ("A /k HKLM\\X", "/k")],
)  # fmt: skip
def test_setx_refuses(windows: Machine, words: str, detail: str) -> None:
    with pytest.raises(NotSupportedError, match="Dockerfile:7") as caught:
        windows.run(SETX, words)
    assert detail in str(caught.value)


def test_variables_set_by_reg_are_known_to_later_lines(windows: Machine) -> None:
    windows.run(REG, rf'add "{ENVIRONMENT}" /v A /t REG_EXPAND_SZ /d "%B%\x"')
    assert windows.planned.machine.get("a") == r"%B%\x"
    windows.run(REG, rf'delete "{ENVIRONMENT}" /v A /f')
    assert windows.planned.machine.get("a") is None


_WINE = next((place for place in ("/usr/lib/wine/wine64", "/usr/bin/wine64") if os.path.exists(place)), None)


def test_the_same_lines_leave_the_same_values_with_reg_exe_of_wine(windows: Machine, tmp_path: Path) -> None:
    """Compared by the text that `reg export` of each writes; the exit codes are compared, too."""
    if _WINE is None:
        pytest.skip("needs wine64")
    lines = [
        rf"add {APP} {words}" + ("" if "/f" in words else " /f") for words, *_ in ADDED if "BIG_ENDIAN" not in words
    ]
    # Wine gives a key without a value an empty default value; Windows does not: that key is not compared.
    # Wine wants data for binary values; Windows does not.
    lines = [line for line in lines if not line.endswith("REG_BINARY /f")]
    lines += [
        rf"add {APP}\Below /v x /d 1 /f", rf"copy {APP} {APP}\Copy /f", rf"copy {APP} HKLM\SOFTWARE\App2 /s /f",
        rf"delete {APP} /v n /f", rf"delete {APP} /v none /f", rf"delete {APP}\None /f", rf"delete {APP}\Copy /va /f",
        rf"delete {APP} /ve /f", rf"delete {APP} /ve /f", rf"copy {APP}\None {APP}\Copy /f", r"import C:\none.reg",
        rf"query {APP} /v none", rf"query {APP}", r"add HKLM\SOFTWARE\Alone\ /f", rf"delete {APP}\Below /f",
    ]  # fmt: skip
    prefix = tmp_path / "prefix"
    environment = os.environ | {"WINEPREFIX": str(prefix), "WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree=;mshtml="}

    def wine(*words: str) -> int:
        return subprocess.run(
            [_WINE, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False
        ).returncode  # fmt: skip

    try:
        assert wine("wineboot", "-i") == 0
        for line in lines:
            assert wine("reg", *split_arguments(line)) == windows.run(REG, line), line
        for number, key in ((1, APP), (2, r"HKLM\SOFTWARE\App2")):
            assert wine("reg", "export", key, rf"C:\{number}.reg") == 0
            assert windows.run(REG, rf"export {key} C:\t\{number}.reg") == 0
            theirs = (prefix / f"drive_c/{number}.reg").read_bytes().decode("utf-16")
            mine = windows.view.read_bytes(rf"C:\t\{number}.reg").decode("utf-16")
            assert _sorted_reg(mine) == _sorted_reg(theirs)
    finally:
        server = "/usr/lib/wine/wineserver64" if os.path.exists("/usr/lib/wine/wineserver64") else "wineserver"
        subprocess.run([server, "-k"], env=environment, check=False)
        shutil.rmtree(prefix, ignore_errors=True)


def _sorted_reg(text: str) -> list[str]:
    """The keys of a .reg file, each with its values in the order of their names, upper-cased like keys."""
    keys = text.replace("\\\r\n  ", "").split("\r\n\r\n")
    return sorted("\n".join(sorted(key.strip().split("\r\n"))).upper() for key in keys if key.strip())
