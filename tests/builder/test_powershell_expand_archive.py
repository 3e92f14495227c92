"""Expand-Archive on a scratch: what goes where, what exists, and archives that are hostile or damaged."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builder.powershell_console import ARCHIVE, CORE, READ_ONLY, WINDOWS, PowerShell
from tests.builder.scratches import scratch_view
from wclayer.errors import InvalidDataError, LimitExceededError, NotSupportedError
from wclayer.model import Limits, use_limits
from wclayer.view.layer_view import LayerView

BOTH = pytest.mark.parametrize("edition", [WINDOWS, CORE])
SIX_MINUTES_PAST = (2024, 2, 29, 12, 6, 0)
ITS_FILETIME = (1_709_208_360 + 11_644_473_600) * 10_000_000


def archive(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as target:
        for name, data in files:
            target.writestr(zipfile.ZipInfo(name, SIX_MINUTES_PAST), data, method)
    return made.getvalue()


def named(name: bytes) -> bytes:
    """An archive with one member whose name has these bytes, and no flags."""
    return archive(("x" * len(name), b"data")).replace(b"x" * len(name), name)


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory, bases: Path) -> Iterator[LayerView]:
    with scratch_view(tmp_path_factory.mktemp("archives"), bases) as made:
        yield made


@pytest.fixture
def shell(view: LayerView) -> PowerShell:
    return PowerShell.in_empty_directory(view)


FILES = (("a.txt", b"a"), ("d/", b""), ("d/e/b.txt", b"b" * 100_000), ("empty/", b""), ("v1.0/", b""), ("w\\c", b"c"))
TREE = {
    "a.txt": b"a", "d": None, "d\\e": None, "d\\e\\b.txt": b"b" * 100_000, "empty": None, "v1.0": None, "w": None,
    "w\\c": b"c",
}  # fmt: skip


@pytest.mark.parametrize(
    ("script", "top"),
    [
        ("Expand-Archive a.zip", "a"),
        ("Expand-Archive a.zip n", "n"),
        ("Expand-Archive -Path C:\\t\\a.zip -DestinationPath 'C:\\t\\n m\\o' -Force", "n m/o"),
        ("Expand-Archive -LiteralPath a.zip -DestinationPath exists -PassThru", "exists"),
        ("Expand-Archive [a-b].z* n\\", "n"),
    ],
)
@BOTH
def test_an_archive_is_unpacked(shell: PowerShell, script: str, top: str, edition: str) -> None:
    shell.make({"a.zip": archive(*FILES), "exists": None})
    assert shell.script(script, edition) == 0
    assert shell.tree(top) == TREE


def test_new_files_have_the_time_of_the_archive_and_the_security_of_the_directory(shell: PowerShell) -> None:
    shell.make({"a.zip": archive(("d/a", b"a")), "made\\d": None})
    shell.view.write_bytes("C:\\t\\made\\d\\b", b"")
    assert shell.script("Expand-Archive a.zip n") == 0
    info = shell.view.stat("C:\\t\\n\\d\\a").info
    assert info.last_write_time == ITS_FILETIME
    assert info.creation_time > ITS_FILETIME
    assert info.attributes == ARCHIVE
    assert shell.view.stat("C:\\t\\n\\d").info.last_write_time > ITS_FILETIME
    assert shell.view.security("C:\\t\\n\\d\\a") == shell.view.security("C:\\t\\made\\d\\b")
    assert shell.view.security("C:\\t\\n\\d") == shell.view.security("C:\\t\\made\\d")


def test_what_exists_stays_without_force(shell: PowerShell) -> None:
    shell.make({"a.zip": archive(("d/a", b"new"), ("d/b", b"new"), ("D/", b"")), "n\\d\\A": b"old", "n\\x": b"x"})
    shell.view.set_attributes("C:\\t\\n\\d\\A", READ_ONLY)
    said = shell.fails("Expand-Archive a.zip n")
    assert "Failed to create file 'C:\\t\\n\\d\\a' while expanding the archive file 'C:\\t\\a.zip'" in said
    assert shell.tree("n") == {"d": None, "d\\A": b"old", "d\\b": b"new", "x": b"x"}
    assert shell.script("Expand-Archive a.zip n -Force") == 0
    assert shell.tree("n") == {"d": None, "d\\a": b"new", "d\\b": b"new", "x": b"x"}
    assert shell.attributes("n\\d\\a") == ARCHIVE


def test_errors_that_stop_leave_nothing_unpacked(shell: PowerShell) -> None:
    shell.make({"a.zip": archive(("a", b"new"), ("b", b"new")), "n\\b": b"old"})
    assert shell.script("Expand-Archive a.zip n -ErrorAction Stop") == 1
    assert shell.tree("n") == {"b": b"old"}


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_written_through(shell: PowerShell) -> None:
    shell.make({"a.zip": archive(("a", b"new")), "n": None, "f": b"f"})
    shell.view.symlink("C:\\t\\n\\a", "C:\\t\\f")
    assert "already exists" in shell.fails("Expand-Archive a.zip n")
    assert shell.script("Expand-Archive a.zip n -Force") == 0
    assert shell.view.read_bytes("C:\\t\\f") == b"f"
    assert shell.tree("n") == {"a": b"new"}


@pytest.mark.parametrize(
    ("script", "message", "made"),
    [
        ("Expand-Archive none.zip", "Cannot find path 'C:\\t\\none.zip'", False),
        ("Expand-Archive none.zip n", "Cannot find path 'C:\\t\\none.zip'", True),
        ("Expand-Archive *.none n", "The path '*.none' either does not exist", True),
        ("Expand-Archive *.zip n", "is resolving to multiple file system paths", True),
        ("Expand-Archive d n", "The path 'd' either does not exist or is not a valid file system path.", True),
        ("Expand-Archive a.jar n", "a.jar is not a supported archive file format.", True),
        ("Expand-Archive a.zip a.jar", "An item with the specified name C:\\t\\a.jar already exists.", False),
    ],
)
def test_errors_of_expand_archive(shell: PowerShell, script: str, message: str, made: bool) -> None:
    shell.make({"a.zip": archive(*FILES), "b.zip": b"", "a.jar": archive(*FILES), "d": None})
    assert message in shell.fails(script)
    # As on Windows, the directory is made before the archive is looked for.
    assert shell.view.exists("C:\\t\\n") == made


def test_powershell_takes_an_archive_with_any_name(shell: PowerShell) -> None:
    shell.make({"a.jar": archive(*FILES)})
    assert shell.script("Expand-Archive a.jar n", CORE) == 0
    assert shell.tree("n") == TREE


def test_an_archive_may_be_a_link(shell: PowerShell) -> None:
    shell.make({"store\\x": archive(("a", bytes(100 << 20)))})
    shell.view.symlink("C:\\t\\a.zip", "C:\\t\\store\\x")
    assert shell.script("Expand-Archive a.zip n") == 0
    assert shell.view.stat("C:\\t\\n\\a").size == 100 << 20


def test_an_empty_archive_is_nothing(shell: PowerShell) -> None:
    shell.make({"a.zip": archive()})
    assert shell.script("Expand-Archive a.zip n") == 0
    assert shell.tree("n") == {}


def _patched(data: bytes, magic: bytes, offset: int, value: bytes) -> bytes:
    at = data.rindex(magic) + offset
    return data[:at] + value + data[at + len(value) :]


ONE = archive(("a", b"x" * 1000), method=zipfile.ZIP_STORED)
HOSTILE = {
    "a way out": (named(b"../evil"), "leads out of the directory"),
    "a way out inside": (named(b"a/../../evil"), "leads out of the directory"),
    "a way out with a backslash": (named(b"..\\evil"), "leads out of the directory"),
    "a way that comes back": (named(b"a/../b"), "leads out of the directory"),
    "an absolute name": (named(b"/evil"), "begins with a separator"),
    "an absolute name with a backslash": (named(b"\\evil"), "begins with a separator"),
    "a drive": (named(b"C:/evil"), "Windows does not accept its name"),
    "a drive without a separator": (named(b"C:evil"), "Windows does not accept its name"),
    "a stream": (named(b"a.txt:evil"), "Windows does not accept its name"),
    "the index of a directory": (named(b"a:$I30:$INDEX_ALLOCATION"), "Windows does not accept its name"),
    "a device": (named(b"d/con"), "Windows does not accept its name"),
    "a device with an extension": (named(b"NUL.txt"), "Windows does not accept its name"),
    "a control character": (named(b"a\x01b"), "Windows does not accept its name"),
    "a NUL": (named(b"a\0b"), "Windows does not accept its name"),
    "a dot at the end": (named(b"a./b"), "Windows does not accept its name"),
    "a blank at the end": (named(b"a /b"), "Windows does not accept its name"),
    "a blank at the beginning": (named(b" a"), "begins or ends with a blank"),
    "a no-break blank at the end": (archive(("a\u00a0", b"")), "begins or ends with a blank"),
    "a wildcard": (named(b"a*"), "Windows does not accept its name"),
    "no name": (named(b"./."), "it has no name"),
    "a name without an encoding": (named(b"\x84"), "does not state that its name is UTF-8"),
    "a name that is no UTF-8": (_patched(archive(("\u00e4", b"")), b"PK\1\2", 46, b"\xff\xff"), "does not state"),
    "two names": (archive(("a", b""), ("A", b"")), "the same name as 'C:\\\\\\\\t\\\\\\\\n\\\\\\\\a'"),
    "two equal names": (archive(("a", b""), ("b", b"")).replace(b"b", b"a"), "the same name as"),
    "two names with a dot": (archive(("a", b""), ("./a", b"")), "the same name as"),
    "a directory for a file": (archive(("a", b""), ("A/b", b"")), "the same name as the file"),
    "a file for a directory": (archive(("a/b", b""), ("A", b"")), "the same name as"),
    "a name of Windows' upper case": (archive(("\u00e4", b""), ("\u00c4", b"")), "the same name as"),
    "encryption": (_patched(ONE, b"PK\1\2", 8, b"\1\0"), "is encrypted"),
    "Deflate64": (_patched(ONE, b"PK\1\2", 10, b"\x09\0"), "compressed with Deflate64"),
    "LZMA": (archive(("a", b"x"), method=zipfile.ZIP_LZMA), "compressed with LZMA"),
    "no archive": (b"MZ" * 100, "no zip archive"),
    "an archive that is cut off": (ONE[:-30], "no zip archive"),
    "damaged data": (_patched(ONE, b"PK\1\2", 16, b"\0\0\0\0"), "checksum"),
    "a size that is not stated": (_patched(archive(("a", b"x" * 1000)), b"PK\1\2", 24, b"\1"), "more than the"),
}


@pytest.mark.parametrize(("data", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_and_damaged_archives_are_refused(shell: PowerShell, data: bytes, message: str) -> None:
    shell.make({"a.zip": data})
    with pytest.raises(InvalidDataError, match=message) as told:
        shell.script("Expand-Archive a.zip n", CORE)
    assert "C:\\t\\a.zip" in str(told.value)
    assert set(shell.tree()) <= {"a.zip", "n", "n\\a"}
    assert shell.tree().get("n\\a", b"") == b""


def test_what_is_in_the_place_of_something_else_is_told(shell: PowerShell) -> None:
    shell.make({"a.zip": archive(("f/x", b"")), "b.zip": archive(("d", b"")), "f": b"f", "d": None})
    with pytest.raises(InvalidDataError, match="is a file in the image, where the archive has a directory"):
        shell.script("Expand-Archive a.zip . -Force")
    with pytest.raises(InvalidDataError, match="is a directory in the image, where the archive has a file"):
        shell.script("Expand-Archive b.zip . -Force")
    shell.make({"c.zip": archive(("C.zip", b""))})
    with pytest.raises(InvalidDataError, match="the place of the archive itself"):
        shell.script("Expand-Archive c.zip . -Force")


@pytest.fixture
def small_limits() -> Iterator[None]:
    use_limits(Limits(unrated_size=1 << 20, ratio=10, names_size=100_000))
    yield
    use_limits(Limits())


@pytest.mark.usefixtures("small_limits")
def test_a_bomb_is_refused_before_anything_is_written(shell: PowerShell) -> None:
    shell.make({"a.zip": archive(("small", b"x"), ("bomb", bytes(3 << 20)))})
    with pytest.raises(LimitExceededError, match=r"member 'bomb'.*--max-ratio"):
        shell.script("Expand-Archive a.zip n")
    assert shell.tree("n") == {}


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("names", [[str(number) for number in range(400)], ["/".join("d" * 5000)]])
def test_too_many_or_too_deep_names_are_refused(shell: PowerShell, names: list[str]) -> None:
    shell.make({"a.zip": archive(*((name, b"") for name in names))})
    with pytest.raises(LimitExceededError, match="--max-names-size"):
        shell.script("Expand-Archive a.zip n")
    assert shell.tree("n") == {}


def test_members_that_share_their_data_count_each(shell: PowerShell) -> None:
    data = archive(("0", bytes(10 << 20)))
    begin, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    # The local header names "0": so do all entries, which is a name that is there twice.
    entries = data[begin:end] * 100
    record = bytearray(data[end:])
    struct.pack_into("<2H2I", record, 8, 100, 100, len(entries), begin)
    shell.make({"a.zip": data[:begin] + entries + bytes(record)})
    with pytest.raises(InvalidDataError, match="the same name as"):
        shell.script("Expand-Archive a.zip n")


def test_damaged_bytes_are_refused_or_unpacked_and_never_leave_the_directory(shell: PowerShell) -> None:
    source = archive(*FILES)
    chance = random.Random(7)
    for _ in range(150):
        data = bytearray(source)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        shell.make({"a.zip": bytes(data)})
        try:
            shell.script("Expand-Archive a.zip n -Force", CORE)
        except (InvalidDataError, LimitExceededError):
            pass
        assert set(shell.view.listdir("C:\\t")) <= {"a.zip", "n"}
        assert set(shell.view.listdir("C:\\")) == {"Windows", "t"}


def test_the_archive_is_refused_by_its_name_before_anything_runs(shell: PowerShell) -> None:
    with pytest.raises(NotSupportedError, match="only C:"):
        shell.script("ni before; Expand-Archive D:\\a.zip n")
    assert shell.tree() == {}
