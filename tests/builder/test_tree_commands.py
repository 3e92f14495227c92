"""xcopy and robocopy on a scratch: which files, which attributes and times, which exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builder.scratches import Console, scratch_view
from wclayer.errors import NotSupportedError

READ_ONLY, HIDDEN, ARCHIVE = 1, 2, 0x20


@pytest.fixture
def console(tmp_path: Path, bases: Path) -> Iterator[Console]:
    with scratch_view(tmp_path, bases) as view:
        made = Console(view)
        line = (
            "mkdir s\\d s\\empty & (echo 1)>s\\a.txt & (echo 2)>s\\d\\b.txt & (echo 3)>s\\d\\c.log & (echo 4)>s\\h.txt"
        )
        assert made.run(f"{line} & attrib +h s\\h.txt & attrib +r s\\a.txt") == 0
        yield made


def tree(console: Console, top: str) -> list[str]:
    """The paths below a directory of the test, sorted; directories end with a backslash."""
    found: list[str] = []
    pending = [f"Files/t/{top}"]
    while pending:
        for status in console.view.scan(pending.pop()):
            name = status.path.removeprefix(f"Files/t/{top}/").replace("/", "\\")
            found.append(name + "\\" * status.is_directory)
            if status.is_directory:
                pending.append(status.path)
    return sorted(found)


XCOPY = {
    "xcopy s n /i": ["a.txt"],
    "xcopy s n\\ /q": ["a.txt"],
    "xcopy s n /s /i": ["a.txt", "d\\", "d\\b.txt", "d\\c.log"],
    "xcopy s n /e/i/y": ["a.txt", "d\\", "d\\b.txt", "d\\c.log", "empty\\"],
    "xcopy s n /s /i /h": ["a.txt", "d\\", "d\\b.txt", "d\\c.log", "h.txt"],
    "xcopy s\\*.log n /s /i": ["d\\", "d\\c.log"],
    "xcopy s n /t /i": ["d\\"],
    "xcopy s n /t /e /i": ["d\\", "empty\\"],
    "xcopy s\\a.txt n\\": ["a.txt"],
}


@pytest.mark.parametrize(("line", "expected"), XCOPY.items())
def test_xcopy_copies_what_its_switches_say(console: Console, line: str, expected: list[str]) -> None:
    assert console.run(line) == 0
    assert tree(console, "n") == expected
    number = len([name for name in expected if not name.endswith("\\")])
    assert console.output.decode().endswith(f"{number} File(s) copied\r\n")


def test_xcopy_clears_read_only_unless_it_keeps_attributes(console: Console) -> None:
    assert console.run("xcopy s n /i & xcopy s k /i /k") == 0
    assert console.view.stat("C:\\t\\n\\a.txt").info.attributes == ARCHIVE
    assert console.view.stat("C:\\t\\k\\a.txt").info.attributes == ARCHIVE | READ_ONLY
    source, copy = (console.view.stat(f"C:\\t\\{name}\\a.txt").info.last_write_time for name in "sn")
    assert source == copy
    # A read-only file is replaced with /R alone.
    assert console.run("xcopy s k /i /y") == 4
    assert console.run("xcopy s k /i /y /r") == 0


def test_xcopy_ends_the_build_where_it_would_ask(console: Console) -> None:
    for line, message in (
        ("xcopy s new", "asks whether the target is a file or a directory"),
        ("xcopy s\\a.txt new /i", "asks whether the target is a file or a directory"),
        ("xcopy s\\a.txt s\\d & xcopy s\\a.txt s\\d", "asks before it replaces a file; add /Y"),
    ):
        with pytest.raises(NotSupportedError, match=message):
            console.run(line)


def test_xcopy_fails_with_4_if_nothing_is_found_or_the_copy_has_no_end(console: Console) -> None:
    assert console.run("xcopy nothing n /i") == 4
    assert console.errors == b"File not found - nothing\r\n"
    assert console.run("xcopy s s\\d\\n /s /i") == 4


ROBOCOPY = [
    ("robocopy s n", 1, ["a.txt", "h.txt"]),
    ("robocopy s n /s /njh /njs", 1, ["a.txt", "d\\", "d\\b.txt", "d\\c.log", "h.txt"]),
    ("robocopy s n /e /np /r:0", 1, ["a.txt", "d\\", "d\\b.txt", "d\\c.log", "empty\\", "h.txt"]),
    ("robocopy s n *.log /s", 1, ["d\\", "d\\c.log"]),
    ("robocopy s n /s /xf *.log h.txt", 1, ["a.txt", "d\\", "d\\b.txt"]),
    ("robocopy s n /e /xd d", 1, ["a.txt", "empty\\", "h.txt"]),
    ("robocopy nothing n", 16, None),
    ("robocopy s n /e & robocopy s n /e", 0, ["a.txt", "d\\", "d\\b.txt", "d\\c.log", "empty\\", "h.txt"]),
    ("mkdir n & (echo x)>n\\x & robocopy s n", 3, ["a.txt", "h.txt", "x"]),
    ("mkdir n\\y & (echo x)>n\\x & robocopy s n /mir", 3, ["a.txt", "d\\", "d\\b.txt", "d\\c.log", "empty\\", "h.txt"]),
    ("robocopy s n & if errorlevel 8 (exit 1) else exit 0", 0, ["a.txt", "h.txt"]),
]


@pytest.mark.parametrize(("line", "code", "expected"), ROBOCOPY)
def test_robocopy_copies_and_its_code_has_bits(
    console: Console, line: str, code: int, expected: list[str] | None
) -> None:  # fmt: skip
    assert console.run(line) == code
    if expected is not None:
        assert tree(console, "n") == expected


def test_robocopy_keeps_attributes_and_times(console: Console) -> None:
    console.view.set_times("C:\\t\\s\\a.txt", creation=130_000_000_000_000_000, write=130_000_000_000_000_001)
    assert console.run("robocopy s n") == 1
    info = console.view.stat("C:\\t\\n\\a.txt").info
    assert (info.creation_time, info.last_write_time) == (130_000_000_000_000_000, 130_000_000_000_000_001)
    assert info.attributes == ARCHIVE | READ_ONLY
    assert console.view.stat("C:\\t\\n\\h.txt").info.attributes & HIDDEN


def test_robocopy_moves(console: Console) -> None:
    assert console.run("robocopy s n /e /mov") == 1
    assert tree(console, "s") == ["d\\", "empty\\"]
    assert console.run("robocopy n m /e /move") == 1
    assert not console.view.exists("C:\\t\\n")
    assert tree(console, "m") == ["a.txt", "d\\", "d\\b.txt", "d\\c.log", "empty\\", "h.txt"]


def test_links_in_the_source_end_the_build(console: Console) -> None:
    assert console.run("mklink /d s\\l C:\\Windows") == 0
    for line in ("robocopy s n /e", "xcopy s n /e /i"):
        with pytest.raises(NotSupportedError, match="is a link"):
            console.run(line)
