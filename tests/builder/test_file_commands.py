"""What the commands for files leave on a scratch where Windows' rules decide: metadata, messages, exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builder.scratches import Console, scratch_view
from wclayer.builder.commands.wildcards import renamed
from wclayer.errors import NotSupportedError
from wclayer.win32.attributes import FileAttributes
from wclayer.win32.wildcards import matches

HIDDEN, READ_ONLY, ARCHIVE = 2, 1, 0x20


@pytest.fixture
def console(tmp_path: Path, bases: Path) -> Iterator[Console]:
    with scratch_view(tmp_path, bases) as view:
        yield Console(view)


CODES = [
    ("mkdir base.txt", 1, "A subdirectory or file base.txt already exists."),
    ("mkdir new\\?", 1, "The filename, directory name, or volume label syntax is incorrect."),
    ("rmdir nothing", 2, "The system cannot find the file specified."),
    ("rmdir nothing\\x", 3, "The system cannot find the path specified."),
    ("rmdir base.txt", 267, "The directory name is invalid."),
    ("mkdir d\\e & rmdir d", 145, "The directory is not empty."),
    ("move C:\\t C:\\u", 1, "The process cannot access the file because it is being used by another process."),
    ("ren C:\\t u", 1, "The process cannot access the file because it is being used by another process."),
    (
        "mkdir d\\e & cd d\\e & ren C:\\t\\d u",
        1,
        "The process cannot access the file because it is being used by another process.",
    ),
    ("rmdir C:\\t", 32, "The process cannot access the file because it is being used by another process."),
    ("rmdir nothing & exit", 0, "The system cannot find the file specified."),
    ("rmdir nothing || exit", 2, "The system cannot find the file specified."),
    ("del nothing", 0, "Could Not Find C:\\t\\nothing"),
    ("del nothing\\x", 1, "The system cannot find the path specified."),
    ("copy nothing x", 1, "The system cannot find the file specified."),
    ("copy base.txt base.txt", 1, "The file cannot be copied onto itself."),
    ("ren base.txt base.txt2 & ren nothing x", 1, "The system cannot find the file specified."),
    ("echo a>x & ren x base.txt", 1, "A duplicate file name exists, or the file\r\ncannot be found."),
    ("move nothing x", 1, "The system cannot find the file specified."),
    ("mklink base.txt x", 1, "Cannot create a file when that file already exists."),
    ("mklink /h x nothing", 1, "The system cannot find the file specified."),
]


@pytest.mark.parametrize(("line", "code", "message"), CODES)
def test_failures_have_the_codes_and_messages_of_windows(
    console: Console, line: str, code: int, message: str
) -> None:  # fmt: skip
    assert console.run(line) == code
    assert console.errors.decode("cp437").strip() == message


def test_a_copy_has_the_streams_attributes_and_write_time_and_inherits_its_security(console: Console) -> None:
    view = console.view
    view.write_bytes("C:\\t\\base.txt:s", b"stream")
    view.set_times("C:\\t\\base.txt", write=130_000_000_000_000_000)
    assert console.run("attrib +r -a base.txt & copy base.txt x") == 0
    status = view.stat("C:\\t\\x")
    assert status.info.attributes == READ_ONLY | ARCHIVE
    assert status.info.last_write_time == 130_000_000_000_000_000
    assert status.info.creation_time > 130_000_000_000_000_000
    assert view.read_bytes("C:\\t\\x:s") == b"stream"
    assert console.run("copy base.txt x") == 1
    assert console.errors == b"Access is denied.\r\n"


def test_hidden_files_are_not_seen_by_del_and_copy(console: Console) -> None:
    assert console.run("attrib +h base.txt") == 0
    assert console.run("del /q *.txt") == 0
    assert console.view.stat("C:\\t\\base.txt").info.attributes & HIDDEN
    assert console.run("copy base.txt x") == 1
    assert console.run("attrib +r base.txt") == 0
    assert console.output == b"Not resetting hidden file - C:\\t\\base.txt\r\n"
    assert console.run("del /a:h base.txt") == 0
    assert not console.view.exists("C:\\t\\base.txt")


def test_links_are_made_and_not_followed_by_removals(console: Console) -> None:
    view = console.view
    assert console.run("mkdir d & (echo a)>d\\f & mklink /d s d & mklink /j j d & mklink l base.txt") == 0
    assert console.run("mklink /h h base.txt") == 0
    assert view.read_link("C:\\t\\s").substitute_name == "d"
    assert view.read_link("C:\\t\\j").substitute_name == "\\??\\C:\\t\\d"
    assert view.read_link("C:\\t\\l").substitute_name == "base.txt"
    assert view.stat("C:\\t\\h").links == 2
    assert view.read_bytes("C:\\t\\s\\f") == view.read_bytes("C:\\t\\j\\f") == b"a\r\n"
    assert console.run("rd s & rd /s /q j & del l") == 0
    assert view.listdir("C:\\t\\d") == ["f"]
    assert view.read_bytes("C:\\t\\base.txt") == b"base\r\n"


def test_a_directory_keeps_its_descriptor_when_it_is_moved(console: Console) -> None:
    assert console.run("mkdir d\\e & echo a>d\\e\\f") == 0
    before = console.view.security("C:\\t\\d\\e\\f")
    assert console.run("move d x") == 0
    assert console.view.security("C:\\t\\x\\e\\f") == before
    assert console.output == b"        1 dir(s) moved.\r\n"


ASKING = [
    "rd /s d", "del *", "del *.* /f", "del /p x", "copy a b c", "copy /-y a b", "ren a b\\c", "mkdir", "mkdir a/b",
    "move a b c", "attrib x", "mklink /z a b", "copy a+b",
]  # fmt: skip


@pytest.mark.parametrize("line", ASKING)
def test_what_would_ask_or_is_not_supported_is_refused_before_it_runs(console: Console, line: str) -> None:
    with pytest.raises(NotSupportedError, match=r"Dockerfile:3"):
        console.run(f"mkdir before & {line}")
    assert not console.view.exists("C:\\t\\before")


MATCHES = {
    ("a.txt", "*.txt"): True, ("a.txt", "*"): True, ("a", "*.*"): True, ("a.txt", "?.txt"): True,
    ("ab.txt", "?.txt"): False, ("a.txt", "??.txt"): True, ("a.txt", "a.txt?"): True, ("a", "a.*"): True,
    ("a.b.c", "*.c"): True, ("a.b.c", "a.*"): True, ("a", "*."): True, ("a.b", "*."): False, ("a.b", "A.B"): True,
    ("ab", "a?b"): False, ("a.b", "*b"): True, ("x.tx", "*.t?t"): False, ("abc.def", "a*c.d*f"): True,
    ("a.b.c", "*.b"): False,
}  # fmt: skip


@pytest.mark.parametrize(("case", "expected"), MATCHES.items())
def test_wildcards_find_what_findfirstfile_finds(case: tuple[str, str], expected: bool) -> None:
    assert matches(*case) is expected


RENAMED = {
    ("abc.txt", "*.bak"): "abc.bak", ("abc.txt", "*"): "abc.txt", ("a.b.c", "*.z"): "a.b.z", ("abc", "*.z"): "abc.z",
    ("abcd.txt", "??z*"): "abzd.txt", ("ab.txt", "????.z"): "ab.z", ("abc.txt", "x"): "x", ("abc.txt", "x*"): "xbc.txt",
    ("abc.txt", "*c"): "abc", ("abc.txt", "*zz"): "abc.txtzz", ("a.b.c", "?.?"): "a.b", ("a.txt", "x.*"): "x.txt",
}  # fmt: skip


@pytest.mark.parametrize(("case", "expected"), RENAMED.items())
def test_masks_make_the_names_that_rename_makes(case: tuple[str, str], expected: str) -> None:
    assert renamed(*case) == expected


def test_short_names_are_matched_too(console: Console) -> None:
    assert console.run('echo a>"long name.html" & if exist longna~1.htm echo b') == 0
    assert console.output == b"b\r\n"
    assert console.run("del *.htm") == 0
    assert not console.view.exists("C:\\t\\long name.html")


def test_the_letters_of_attrib_are_those_of_windows(console: Console) -> None:
    assert console.run("attrib +s +h +i -a base.txt") == 0
    expected = FileAttributes.SYSTEM | FileAttributes.HIDDEN | FileAttributes.NOT_CONTENT_INDEXED
    assert console.view.stat("C:\\t\\base.txt").info.attributes == int(expected)
