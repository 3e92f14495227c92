"""`grep`: text in every encoding of Windows, binary files, lines and files of any size; beside GNU grep."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import wclayer
from tests.support import layer_tar, parsed, put_directories, put_file, run, text, witness
from wclayer import ContentPattern, InvalidParameterError
from wclayer.model import LayerWriter
from wclayer.search import contents
from wclayer.search.contents import encoding_of, search_contents
from wclayer.search.pattern import make_matcher

_INI = "[boot]\r\ntimeout=30\r\nName=Größe\r\n"
_PROGRAM = b"MZ\x90\0" + b"\0\1" * 50 + "Copyright Größe".encode("utf-16-le") + b"\0plain text\0"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/app", "Files/app/sub")
        put_file(writer, "Files/app/ansi.INI", _INI.encode("cp1252"))
        put_file(writer, "Files/app/utf-8.ini", _INI.encode("utf-8-sig"))
        put_file(writer, "Files/app/utf-16.ini", _INI.encode("utf-16"))
        put_file(writer, "Files/app/utf-16-be.ini", b"\xfe\xff" + _INI.encode("utf-16-be"))
        put_file(writer, "Files/app/no-mark.ini", _INI.encode("utf-16-le"))
        put_file(writer, "Files/app/program.exe", _PROGRAM, s=b"ZoneId=3\r\n")
        put_file(writer, "Files/app/sub/empty")
        put_file(writer, "Files/app/sub/evil \u202e.txt", b"timeout \x1b[31m \xff")

    folder = tmp_path_factory.mktemp("grep")
    (folder / "base.tar").write_bytes(layer_tar(build))
    run("import", "-i", folder / "base.tar", folder / "base")
    return folder / "base"


_INIS = ["ansi.INI", "no-mark.ini", "utf-16-be.ini", "utf-16.ini", "utf-8.ini"]


def test_text_is_found_in_every_encoding(base: Path) -> None:
    found = text("grep", "-n", "timeout=30", base).splitlines()
    assert found == [f"Files/app/{name}:2:timeout=30" for name in _INIS]
    wide = [name for name in _INIS if name != "ansi.INI"]
    assert text("grep", "Größe", base, "--include", "*.ini").splitlines() == [
        f"Files/app/{name}:Name=Größe" for name in wide
    ]
    assert text("grep", "-li", "GRÖSSE\nGRÖßE", base).splitlines() == [
        f"Files/app/{name}" for name in ["no-mark.ini", "program.exe", *wide[1:]]
    ]
    assert text("grep", "-c", "o", base, "app/utf-8.ini") == "Files/app/utf-8.ini:2\n"


def test_binary_files_are_told_as_such(base: Path) -> None:
    for pattern in ("plain text", "Copyright Größe", "-F", "opyright"):
        if pattern != "-F":
            assert text("grep", "--", pattern, base) == "Files/app/program.exe: binary file matches\n"
    assert text("grep", "-c", "plain", base) == "Files/app/program.exe:1\n"
    assert parsed("grep", "plain", base) == [{"path": "Files/app/program.exe", "layer": 1, "binary": True}]


def test_streams_are_searched_if_asked_for(base: Path) -> None:
    assert run("grep", "ZoneId", base, status=1).stdout == b""
    assert text("grep", "--streams", "zoneid", "-i", base) == "Files/app/program.exe:s:ZoneId=3\n"
    (found,) = json.loads(text("grep", "--streams", "--json", "ZoneId", base))
    assert (found["stream"], found["line"], found["text"], found["encoding"]) == ("s", 1, "ZoneId=3", "utf-8")


def test_a_lone_surrogate_can_be_looked_for(base: Path) -> None:
    assert run("grep", "-F", os.fsdecode(b"\xed\xa0\x80"), base, status=1).stdout == b""
    assert make_matcher(ContentPattern("\udcff", is_fixed=True)).first(b"a\xff", 0) == 1
    assert make_matcher(ContentPattern("\ud800", is_fixed=True)).first(b"a\xed\xa0\x80", 0) == 1


def test_what_is_printed_is_harmless_and_exact_for_programs(base: Path) -> None:
    assert "Files/app/sub/evil <U+202E>.txt:timeout <U+001B>[31m <U+DCFF>\n" in text("grep", "timeout", base, "app/sub")
    (found,) = json.loads(text("grep", "--json", "timeout", base, "app/sub"))
    assert found["path"] == "Files/app/sub/evil \u202e.txt"
    assert found["text"].encode("utf-8", "surrogateescape") == b"timeout \x1b[31m \xff"


def test_the_exit_status_says_whether_something_was_found(base: Path) -> None:
    run("grep", "timeout", base)
    assert run("grep", "nothing of this", base, status=1).stdout == b""
    assert parsed("grep", "nothing of this", base, status=1) == []
    run("grep", "timeout", base, "nope", status=2)
    run("grep", "timeout", base, "--include", "*.nope", status=1)
    run("grep", "-l", "-c", "x", base, status=64)
    run("grep", "", base, "app/sub/empty", status=1)
    assert text("grep", "-c", "", base, "app/ansi.INI") == "Files/app/ansi.INI:3\n"


def test_regular_expressions(base: Path) -> None:
    pytest.importorskip("re2", reason="needs google-re2")
    for pattern, found in {
        r"^\[b.*t\]$": 5, "o=30$": 0, r"=\d+$": 5, "TIMEOUT": 0, "(?i)TIME+OUT=": 5, r"\Atimeout": 6, r"Gr.?..e\z": 4,
        "=30\n^.boot": 10, "[^a]boot": 5, r"\s": 2, "(x+x+)+y": 0, r"t.m.o(u)t\=": 5, "copyright": 0,
        "Copy(right) G": 1, "l[a]in +text": 1,
        # What is quoted may go on to the end of an expression.
        r"\Qt=30": 5, "\\Qt=30\nName": 10, "Name|none\n\\Q[boot]": 10, r"\\Qo": 0, r"\Qt\Eim.o\Qut=": 5,
    }.items():  # fmt: skip
        printed = text("grep", "--", pattern, base, status=0 if found else 1)
        assert len(printed.splitlines()) == found, (pattern, printed)
    assert len(text("grep", "-i", "TIME.UT=", base).splitlines()) == 5
    for pattern in ("(", "a**b(", r"(a)\1", "(?=x)", "[z-a]", "(?:a{1000}){1000}", "x)|(y", "(a\nb)"):
        error = run("grep", "--", pattern, base, status=5).stderr
        assert b"no regular expression" in error, error
    # The same texts as fixed ones.
    run("grep", "-F", "--", "(a\nb)", base, status=1)
    assert len(text("grep", "-F", "[boot]", base).splitlines()) == 5


def test_without_re2_a_fixed_text_is_found(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    assert b"pip install 'wclayer[grep]'" in run("grep", "a+", base, status=10).stderr
    assert len(text("grep", r"\[boot\]", base).splitlines()) == 5
    assert len(text("grep", "-F", "[boot]", base).splitlines()) == 5
    assert len(text("grep", "-i", "BOOT", base).splitlines()) == 5


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a|a)*b", "(.*)(.*)(.*)(.*)(.*)x", "(a?){60}a{60}b"])
def test_no_expression_is_slow(pattern: str) -> None:
    """With Python's `re`, each of them outlives whoever waits for it."""
    pytest.importorskip("re2", reason="needs google-re2")
    matcher = make_matcher(ContentPattern(pattern))
    assert list(search_contents([b"a" * 100_000 + b"\n"], matcher)) == []


@pytest.mark.parametrize("pattern", ["a[^b]*c", "(?s)a.*c"])
def test_no_match_goes_over_lines(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be looked for from each line again."""
    pytest.importorskip("re2", reason="needs google-re2")
    matcher = make_matcher(ContentPattern(pattern))
    calls = 0
    first = matcher.first

    def counted(data: bytes, start: int) -> int:
        nonlocal calls
        calls += 1
        return first(data, start)

    monkeypatch.setattr(matcher, "first", counted)
    assert list(search_contents([b"a\n" * 1000 + b"c\n"], matcher)) == []
    assert calls == 1


def _found(data: bytes, pattern: ContentPattern, size: int) -> list[tuple[int | None, str]]:
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    return [(match.line, match.text) for match in search_contents(pieces, make_matcher(pattern))]


_TEXTS = st.text(st.sampled_from("ab\r\nä€😀 "), max_size=60)


@given(_TEXTS, st.sampled_from(["a", "ab", "ä", "b €", "😀", ""]), st.booleans(), st.integers(1, 70))
@example("a\r\n\r\nab", "", False, 1)
def test_lines_are_those_of_a_plain_computation(content: str, needle: str, ignore_case: bool, size: int) -> None:
    lines = content.replace("\r\n", "\n").split("\n")
    if lines[-1] == "":
        lines.pop()
    expected = [(number, line) for number, line in enumerate(lines, 1) if needle in line]
    pattern = ContentPattern(needle, is_fixed=True, ignore_case=ignore_case)
    for mark, encoding in (("", "utf-8"), ("\ufeff", "utf-8"), ("\ufeff", "utf-16-le"), ("\ufeff", "utf-16-be")):
        data = (mark + content).encode(encoding)
        if mark or "\0" not in content:
            assert _found(data, pattern, size) == expected, encoding


@given(st.lists(st.sampled_from(["", "a", "ab", "b\rb", "ba ", "x"]), max_size=8), st.integers(1, 9))
def test_expressions_are_those_of_each_line(lines: list[str], size: int) -> None:
    pytest.importorskip("re2", reason="needs google-re2")
    for expression in ("^a", "b$", "^$", r"a\s", "[^x]", r"\Aab?\z", r"\ba\b", "a|^x"):
        wanted = re.compile(expression.replace("\\z", "\\Z"))
        expected = [(number, line) for number, line in enumerate(lines, 1) if wanted.search(line)]
        data = "".join(f"{line}\n" for line in lines).encode()
        assert _found(data, ContentPattern(expression), size) == expected, expression


def test_long_lines_are_searched_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "LONGEST_LINE", 1000)

    def pieces() -> Iterator[bytes]:
        yield b"first\n"
        for _ in range(200):
            yield b"x" * 99
        yield b"nee"
        yield b"dle" + b"y" * 5000 + b"needle\nlast needle\n"

    found = list(search_contents(pieces(), make_matcher(ContentPattern("needle", is_fixed=True))))
    assert [match.line for match in found] == [2, 3]
    assert "needle" in found[0].text
    assert len(found[0].text) < 10_000


def test_binary_contents_are_searched_across_pieces() -> None:
    data = b"\0" * 5000 + "wide needle".encode("utf-16-le") + b"\0" * 5001
    for size in (1, 7, 4096, 1 << 20):
        assert _found(data, ContentPattern("e NEEDLE", ignore_case=True), size) == [(None, "")]
        assert _found(b"text\n" * 900 + data, ContentPattern("needle"), size) == [(None, "")]
    assert _found(data, ContentPattern("needles"), 4096) == []


def test_binary_contents_that_begin_as_utf_16_are_searched() -> None:
    begin = "text\r\n".encode("utf-16-le")
    numbers = begin + struct.pack("<3000H", *[33 + i % 60 for i in range(3000)])
    for data in (numbers + b"\0\0" + b"needle in ASCII", numbers + b"\0\0" + b"x" + "needle".encode("utf-16-le")):
        for size in (1, 7, 4096, 1 << 20):
            assert _found(data, ContentPattern("needle", is_fixed=True), size) == [(None, "")]
            # What was not told as a line before the first zero is told with the rest.
            assert _found(data, ContentPattern("text", is_fixed=True), size) in ([(1, "text")], [(None, "")])
    cut = numbers + "nee".encode("utf-16-le") + b"d" + b"\0\0\0"
    assert _found(cut, ContentPattern("need", is_fixed=True), 6000) == [(None, "")]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_the_end_of_utf_16_is_searched_also_if_it_is_half_a_character(size: int) -> None:
    text = "\ufeffone\ntwo"
    for encoding in ("utf-16-le", "utf-16-be"):
        data = text.encode(encoding)
        assert _found(data + b"!", ContentPattern("two!", is_fixed=True), size) == [(2, "two!")]
        assert _found(data + b"\xff", ContentPattern("two", is_fixed=True), size) == [(2, "two\ufffd")]
        lone = "\ud83d".encode(encoding, "surrogatepass")
        assert _found(data + lone, ContentPattern("two\ud83d", is_fixed=True), size) == [(2, "two\ud83d")]
        assert _found(data + lone + b"!", ContentPattern("two", is_fixed=True), size) == [(2, "two\ud83d!")]


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        (b"", "utf-8"), (b"abc", "utf-8"), (b"\xff\xfea\0", "utf-16-le"), (b"\xfe\xff\0a", "utf-16-be"),
        (b"a\0b\0", "utf-16-le"), (b"\0a\0b", "utf-16-be"), (b"\xff\xfe\0\0a\0\0\0", ""), (b"MZ\x90\0\3\0\0\0", ""),
        (b"\xef\xbb\xbf\0", "utf-8"), (b"a\0", "utf-16-le"), (b"\0", ""), (b"abc\0B", ""), (b"a\0\1\0b\0", ""),
        (b"a\0\t\0\x1b\0\r\0\n\0", "utf-16-le"),
    ],
)  # fmt: skip
def test_encodings_are_recognised(head: bytes, encoding: str) -> None:
    assert encoding_of(head) == encoding


@given(st.binary(max_size=200), st.binary(max_size=3), st.integers(1, 50))
def test_any_bytes_can_be_searched_for_anything(data: bytes, needle: bytes, size: int) -> None:
    pattern = ContentPattern(needle.decode("utf-8", "surrogateescape"), is_fixed=True)
    found = _found(data, pattern, size)
    if needle and needle in data and not {0, 10, 13, 0xFE, 0xFF, 0xEF} & {*data, *needle}:
        assert found


def test_a_pattern_is_checked_before_a_layer_is_opened(tmp_path: Path) -> None:
    pytest.importorskip("re2", reason="needs google-re2")
    with pytest.raises(InvalidParameterError):
        list(wclayer.search_files(tmp_path / "missing", ContentPattern("(")))


@given(
    st.dictionaries(
        st.sampled_from(["a.txt", "b.txt", "C.INI", "d"]), st.text(st.sampled_from("ab .\n"), max_size=40), min_size=1
    ),
    st.sampled_from(["a", "ab", "a b", ".", "b."]),
)
def test_gnu_grep_finds_the_same(tmp_path_factory: pytest.TempPathFactory, files: dict[str, str], needle: str) -> None:
    program = witness("grep")
    folder = tmp_path_factory.mktemp("gnu")

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        for name, data in files.items():
            put_file(writer, f"Files/{name}", data.encode())

    (folder / "base.tar").write_bytes(layer_tar(build))
    run("import", "-i", folder / "base.tar", folder / "base")
    wclayer.export_rootfs(folder / "base", folder / "rootfs.tar")
    with tarfile.open(folder / "rootfs.tar") as tar:
        tar.extractall(folder / "unpacked", filter="tar")
    for options in (["-n"], ["-c"], ["-l"], ["-in"], ["-n", "--include", "*.txt"]):
        done = subprocess.run(
            [program, "-rHF", *options, "--", needle, "."], cwd=folder / "unpacked", capture_output=True, check=False
        )
        ours = run("grep", "-F", *options, "--", needle, folder / "base", status=done.returncode)
        theirs = {line for line in done.stdout.splitlines() if not (options == ["-c"] and line.endswith(b":0"))}
        assert {line.replace(b"Files/", b"./") for line in ours.stdout.splitlines()} == theirs, options
