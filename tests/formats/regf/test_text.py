"""`.reg` files: what is exported is imported the same, by us and by hivex."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.regf.support import hive_bytes, metadata_of, names, simple_tree, trees, values
from tests.support import witness
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.model import Key, KeyMetadata, TreeKey, Value, walk
from wclayer.formats.regf.structs import LayerSemantics
from wclayer.formats.regf.text import HEADER, RegEdit, RegTextError, encode_reg, format_reg, parse_reg
from wclayer.formats.regf.writer import write_hive

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")
PREFIX = r"HKEY_LOCAL_MACHINE\SOFTWARE"


def _export(key: Key, path: str = PREFIX) -> bytes:
    return b"".join(encode_reg(format_reg([(path, key)])))


def _import(data: bytes) -> dict[str, dict[str, Value]]:
    """Keys and values that a file without deletions makes."""
    found: dict[str, dict[str, Value]] = {}
    for edit in parse_reg(data):
        assert not edit.is_deletion
        key = found.setdefault(edit.key, {})
        if edit.value is not None:
            key[edit.value.name] = edit.value
    return found


def _expected(key: Key) -> dict[str, dict[str, Value]]:
    return {
        f"{PREFIX}\\{path}".rstrip("\\"): {value.name: value for value in current.values()}
        for path, current in walk(key)
    }


@pytest.mark.parametrize("name", ["SYSTEM", "strings", "big data", "Unicode"])
def test_real_hives_survive(name: str) -> None:
    root = Hive(hive_bytes(name)).root()
    assert _import(_export(root)) == _expected(root)


@given(trees)
def test_any_tree_survives(tree: TreeKey) -> None:
    if any(set("\r\n") & set(path) or "\ud800" <= max(path, default="") <= "\udfff" for path, _ in walk(tree)):
        return
    assert _import(_export(tree)) == _expected(tree)


@given(names, values)
def test_any_value_survives(name: str, value: Value) -> None:
    key = TreeKey("k")
    key.set(value._replace(name=name))
    assert _import(_export(key)) == {PREFIX: {name: value._replace(name=name)}}


def test_hivexregedit_reads_what_is_exported(tmp_path: Path) -> None:
    (tmp_path / "hive").write_bytes(write_hive(empty_root()))
    source = simple_tree()
    # It wants UTF-8 without a byte order mark.
    text = _export(source)[2:].decode("utf-16-le").replace("\r\n", "\n")
    (tmp_path / "all.reg").write_text(text, encoding="utf-8", newline="\n")
    command = [witness("hivexregedit"), "--merge", "--encoding", "UTF-8", "--prefix", PREFIX]
    subprocess.run([*command, str(tmp_path / "hive"), str(tmp_path / "all.reg")], check=True)
    merged = metadata_of(Hive((tmp_path / "hive").read_bytes()).root())
    for path, (_, expected) in metadata_of(source).items():
        assert merged[path][1] == expected


def test_what_hivexregedit_exports_is_read(tmp_path: Path) -> None:
    source = simple_tree()
    # It mixes encodings where there is more than ASCII.
    source.below = {"CHILD": source.below["CHILD"]}
    child = source.below["CHILD"]
    assert isinstance(child, TreeKey)
    child.by_name = {name: value for name, value in child.by_name.items() if name.isascii()}
    (tmp_path / "hive").write_bytes(write_hive(source))
    command = [witness("hivexregedit"), "--export", "--prefix", PREFIX, str(tmp_path / "hive"), "\\"]
    text = subprocess.run(command, check=True, capture_output=True).stdout
    found = _import(text)
    for path, expected in _expected(source).items():
        assert found[path] == expected


def test_the_form_is_regedit_s() -> None:
    key = TreeKey("k")
    key.set(Value("", 1, 'a "b" \\c\0'.encode("utf-16-le")))
    key.set(Value("d", 4, b"\x01\x02\0\0"))
    key.set(Value("x", 3, bytes(range(40))))
    key.set(Value("q", 11, bytes(8)))
    key.set(Value("m", 7, "a\0\0".encode("utf-16-le")))
    data = _export(key)
    assert data.startswith(b"\xff\xfe")
    assert data[2:].decode("utf-16-le").split("\r\n") == [
        HEADER,
        "",
        f"[{PREFIX}]",
        r'@="a \"b\" \\c"',
        '"d"=dword:00000201',
        '"x"=hex:00,01,02,03,04,05,06,07,08,09,0a,0b,0c,0d,0e,0f,10,11,12,13,14,15,16,\\',
        "  17,18,19,1a,1b,1c,1d,1e,1f,20,21,22,23,24,25,26,27",
        '"q"=hex(b):00,00,00,00,00,00,00,00',
        '"m"=hex(7):61,00,00,00,00,00',
        "",
        "",
    ]


def test_a_delta_hive_becomes_deletions() -> None:
    text = "\n".join(format_reg([("HKEY_LOCAL_MACHINE\\SYSTEM", Hive(hive_bytes("a delta")).root())]))
    services = r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Services"
    assert f"[-{services}\\gone]\n" in text
    assert f"[-{services}\\replaced]\n\n[{services}\\replaced]\n" in text
    assert f"[-{services}\\replaced\\below]" not in text
    assert '"removed"=-\n' in text


def test_what_lies_below_a_tombstone_is_not_made_again() -> None:
    root = TreeKey("root")
    gone = TreeKey("gone", KeyMetadata(semantics=LayerSemantics.TOMBSTONE))
    gone.add(TreeKey("below"))
    root.add(gone)
    root.add(TreeKey("gone too"))
    lines = list(format_reg([("HKLM\\X", root)]))
    assert "[-HKLM\\X\\gone]" in lines
    assert not any("below" in line for line in lines)
    assert "[HKLM\\X\\gone too]" in lines


def test_everything_people_write_is_read() -> None:
    text = "\n".join(
        [
            HEADER,
            "; a comment",
            "",
            "[HKLM\\SOFTWARE\\A]  ; the key",
            '@="default"',
            '"text" = "two\nlines"  ; with a comment',
            '"hex"=hex:01, 02,\\',
            "  03 ; comment",
            '"n"=hex(2):',
            '"a=b"=dword:1',
            '"gone"=-',
            "@=-",
            "[-HKLM\\SOFTWARE\\B]",
            "[HKLM\\SOFTWARE\\with]bracket]",
        ]
    )
    edits = list(parse_reg(b"\xef\xbb\xbf" + text.encode()))
    a = "HKLM\\SOFTWARE\\A"
    assert edits == [
        RegEdit(a),
        RegEdit(a, Value("", 1, "default\0".encode("utf-16-le"))),
        RegEdit(a, Value("text", 1, "two\nlines\0".encode("utf-16-le"))),
        RegEdit(a, Value("hex", 3, b"\x01\x02\x03")),
        RegEdit(a, Value("n", 2, b"")),
        RegEdit(a, Value("a=b", 4, b"\x01\0\0\0")),
        RegEdit(a, Value("gone", 0, b""), True),
        RegEdit(a, Value("", 0, b""), True),
        RegEdit("HKLM\\SOFTWARE\\B", None, True),
        RegEdit("HKLM\\SOFTWARE\\with]bracket"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("REGEDIT4\n", 1, "first line"),
        ("", 1, "first line"),
        (f'{HEADER}\n\n"a"=dword:1\n', 3, "without a key"),
        (f"{HEADER}\n[HKLM\n", 2, "form"),
        (f"{HEADER}\n[]\n", 2, "empty key"),
        (f"{HEADER}\n[HKLM\\A]\nwhat\n", 3, "expected a key"),
        (f'{HEADER}\n[HKLM\\A]\n"a"\n', 3, "no = after"),
        (f'{HEADER}\n[HKLM\\A]\n"a\n"=x\n', 3, "expected"),
        (f'{HEADER}\n[HKLM\\A]\n"a"=hex:zz\n', 3, "hexadecimal"),
        (f'{HEADER}\n[HKLM\\A]\n"a"=hex:100\n', 3, "hexadecimal"),
        (f'{HEADER}\n[HKLM\\A]\n"a"=hex:+1,02\n', 3, "hexadecimal"),
        (f'{HEADER}\n[HKLM\\A]\n"a"=hex:0_1\n', 3, "hexadecimal"),
        (f'{HEADER}\n[HKLM\\A]\n"a"=hex:\uff11\n', 3, "hexadecimal"),
        (f'{HEADER}\n[HKLM\\A]\n"a"=dword:123456789\n', 3, "expected"),
        (f'{HEADER}\n[HKLM\\A]\n"a"="b" c\n', 3, "after the end"),
        (f'{HEADER}\n[HKLM\\A]\n"a"=hex:01,\\', 3, "ends after"),
        (f'{HEADER}\n[-HKLM\\A]\n"a"="b"\n', 3, "without a key"),
    ],
)
def test_errors_name_the_line(text: str, line: int, message: str) -> None:
    with pytest.raises(RegTextError, match=message) as caught:
        list(parse_reg(text.encode()))
    assert caught.value.line == line


@given(st.binary(max_size=200), st.text(max_size=200))
def test_anything_is_read_or_refused(data: bytes, text: str) -> None:
    for candidate in (data, f"{HEADER}\n[HKLM\\A]\n{text}".encode("utf-8", "replace")):
        try:
            list(parse_reg(candidate))
        except RegTextError:
            pass


def test_a_line_break_in_a_key_s_name_has_no_form() -> None:
    with pytest.raises(RegTextError, match="line break"):
        _export(Hive(hive_bytes("odd names")).root())
