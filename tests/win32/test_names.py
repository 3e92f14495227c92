"""Names: NTFS's upcase, what is legal, what is reserved, and surrogates that stay."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.packages import windows_volume
from wclayer.win32 import names
from wclayer.win32.upcase import upcase, upcase_table

_any_name = st.text(st.characters(codec=None, exclude_categories=()), max_size=30)


def test_upcase_is_that_of_a_volume_formatted_by_windows() -> None:
    ntfs = pytest.importorskip("dissect.ntfs")
    volume = ntfs.NTFS(io.BytesIO(windows_volume()))
    table = volume.mft.get("$UpCase").open().read(131072)
    ours = upcase_table()
    differing = [hex(unit) for unit in range(65536) if table[2 * unit : 2 * unit + 2] != ours[2 * unit : 2 * unit + 2]]
    assert differing == []


def test_upcase_is_not_casefold() -> None:
    assert names.names_equal("Straße", "STRAßE")
    assert not names.names_equal("straße", "strasse")
    assert not names.names_equal("ſ", "S")
    assert names.names_equal("é", "É")
    assert names.names_equal("ǆ", "Ǆ")
    assert not names.names_equal("ı", "I")


@given(_any_name)
def test_upcase_keeps_the_length_and_is_idempotent(name: str) -> None:
    assert len(upcase(name)) == len(name)
    assert upcase(upcase(name)) == upcase(name)


@given(_any_name)
def test_names_survive_their_bytes(name: str) -> None:
    # A pair of surrogates is one character: Python's form of it.
    canonical = name.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    assert names.decode_name(names.encode_name(canonical)) == canonical
    assert names.decode_name(names.encode_name(name)) == canonical


def test_an_unpaired_surrogate_stays_one() -> None:
    assert names.encode_name("a\ud800b") == b"a\xed\xa0\x80b"
    assert names.decode_name(b"a\xed\xa0\x80b") == "a\ud800b"
    with pytest.raises(UnicodeDecodeError):
        names.decode_name(b"\xff")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        (".", "name"),
        ("..", "name"),
        ("a:b", "character ':'"),
        ("a\\b", "character"),
        ("a\0", "character"),
        ("a*", "character"),
        ("x" * 256, "longer than 255"),
        ("😀" * 128, "longer than 255"),
    ],
)
def test_illegal_names(name: str, reason: str) -> None:
    assert reason in (names.illegal_reason(name) or "")


@pytest.mark.parametrize("name", ["CON", "aux.txt", "trailing.", "trailing ", "x" * 255, "😀" * 127, "a\ud800"])
def test_names_that_ntfs_takes(name: str) -> None:
    assert names.illegal_reason(name) is None


@pytest.mark.parametrize("name", ["CON", "con", "aux.txt", "COM1 .log", "lpt¹", "CONIN$", "NUL.tar.gz"])
def test_reserved_names(name: str) -> None:
    assert names.is_reserved(name)


@pytest.mark.parametrize("name", ["CONSOLE", "COM", "COM10", "xCON", "LPT"])
def test_names_that_only_look_reserved(name: str) -> None:
    assert not names.is_reserved(name)


def test_paths_of_any_spelling() -> None:
    assert names.split_path(r"\Windows\/System32\\") == ["Windows", "System32"]


def test_stream_names() -> None:
    assert names.stream_illegal_reason("Zone.Identifier") is None
    assert names.stream_illegal_reason("a*b") is None
    for name in ("", "a:b", "a/b", "a\\b", "x" * 256):
        assert names.stream_illegal_reason(name)
