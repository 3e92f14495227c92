"""Names of images on a terminal: nothing in them is obeyed."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.explore.made import Driven, drive, explored
from wclayer import sample
from wclayer.explore.model.content_type import KINDS, content_type
from wclayer.explore.model.details import Fact
from wclayer.explore.model.documents import documents_outline
from wclayer.explore.model.explored import ExploredChain
from wclayer.explore.model.outline import OutlineItem
from wclayer.explore.model.preview import TEXT_KINDS, decoded
from wclayer.explore.model.text import one_line
from wclayer.explore.widgets import text_pane
from wclayer.explore.widgets.pane import cut, line_of
from wclayer.images.config import ImageConfig, parse_config
from wclayer.search.contents import encoding_of
from wclayer.win32.shown import count_text


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> ExploredChain:
    return explored(tmp_path_factory.mktemp("image"), sample.write_base)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("win.ini", "win.ini"),
        ("日本語 Ünïcödé 😀", "日本語 Ünïcödé 😀"),
        ("[bold]x[/bold] [link=http://x]y", "[bold]x[/bold] [link=http://x]y"),
        ("a\x1b[31mb", "a<U+001B>[31mb"),
        ("a\u202egpj.exe", "a<U+202E>gpj.exe"),
        ("a\nb\tc\r\n", "a<U+000A>b<U+0009>c<U+000D><U+000A>"),
        ("a\u200bb\ufeffc\u00adb", "a<U+200B>b<U+FEFF>c<U+00AD>b"),
        ("\ud800", "<U+D800>"),
        ("e" + "\u0301" * 6, "e" + "\u0301" * 4 + "<U+0301><U+0301>"),
    ],
)
def test_a_name_is_shown_harmlessly(name: str, shown: str) -> None:
    assert one_line(name) == shown


@given(st.text())
def test_any_text_becomes_one_line_that_can_be_written(text: str) -> None:
    shown = one_line(text)
    shown.encode()
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in shown)


@given(st.text(), st.integers(0, 30))
def test_what_is_cut_fits(text: str, width: int) -> None:
    assert cell_len(cut(one_line(text), width)) <= width


@given(st.text(), st.integers(-1, 30))
def test_what_is_a_part_of_a_line_fits_and_is_harmless(text: str, width: int) -> None:
    shown = line_of(text, width)
    assert cell_len(shown) <= max(0, width)
    assert shown == one_line(text) or "…" in shown or width <= 0


@pytest.mark.parametrize("text", ["é" * 1_000_000, "e\u0301" * 500_000, "\u202e" * 1_000_000])
def test_of_a_long_text_a_line_needs_only_the_beginning(
    text: str, image: ExploredChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The screen waits while a line is drawn; to look at all characters took seconds."""
    looked_at = 0

    def category(character: str) -> str:
        nonlocal looked_at
        looked_at += 1
        return unicodedata_category(character)

    unicodedata_category = unicodedata.category
    monkeypatch.setattr(unicodedata, "category", category)
    monkeypatch.setattr(image, "inventory", lambda progress: [OutlineItem(text, note=text), OutlineItem("other")])

    async def steps(driven: Driven) -> None:
        await driven.press("3")
        assert "other" in driven.text()
        assert "…" in driven.text()

    drive(image, steps)
    # The detail pane shows 20,000 characters of a fact.
    assert 0 < looked_at < 250_000


def test_counts_have_their_words() -> None:
    assert [count_text(count, "file") for count in (0, 1, 2000)] == ["0 files", "1 file", "2,000 files"]


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "empty"), (b"MZ" + b"\0" * 58 + b"\x40\0\0\0PE\0\0", "pe"), (b"MZ" + bytes(100), "dos"),
        (b"regf....", "hive"), (b"PK\x03\x04", "zip"), (b"<?xml version='1.0'?>", "xml"),
        (b"\xff\xfe<\0?\0x\0m\0l\0", "xml"), (b"\xff\xfea\0", "utf-16"), (b'{"a": 1}', "json"), (b"hello\r\n", "text"),
        ("Grüße".encode(), "text"), (b"\0\1\2", "binary"), (b"-----BEGIN CERTIFICATE-----", "pem"),
        (b"a\0b\0\r\0\n\0", "utf-16"), (b"\0<\0?\0x\0m\0l", "xml"), (b"\xff\xfe\0\0a\0\0\0", "binary"),
        (b"bell\x07\r\n", "text"), (b"a\0\1\0b\0", "binary"),
    ],
)  # fmt: skip
def test_the_first_bytes_tell_what_contents_are(head: bytes, kind: str) -> None:
    assert content_type(head) == kind


@given(st.binary(max_size=100))
def test_any_contents_have_a_known_kind(head: bytes) -> None:
    assert content_type(head) in KINDS


@given(st.one_of(st.binary(max_size=100), st.text(max_size=50).map(lambda text: text.encode("utf-16-le", "replace"))))
def test_what_grep_searches_by_lines_is_shown_as_lines(head: bytes) -> None:
    kind = content_type(head)
    if kind in TEXT_KINDS:
        assert encoding_of(head)
    elif kind == "binary":
        assert not encoding_of(head)


@given(st.text(st.sampled_from("ab 漢\u0301"), max_size=300), st.integers(8, 40))
def test_a_text_is_wrapped_without_loss(text: str, width: int) -> None:
    pieces = text_pane._pieces(text, width)
    assert all(cell_len(piece) <= width for piece in pieces)
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("text", ["word after word, " * 4_000, "x" * 64_000, "漢" * 32_000, "e\u0301" * 32_000])
def test_a_long_text_is_measured_a_few_times_only(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The screen waits while a text is wrapped; to measure all that is left for each line took seconds."""
    measured = 0

    def counted(piece: str) -> int:
        nonlocal measured
        measured += len(piece)
        return cell_len(piece)

    monkeypatch.setattr(text_pane, "cell_len", counted)
    text_pane._pieces(text, 40)
    assert measured < 20 * len(text)


@pytest.mark.parametrize(
    ("data", "is_cut", "text"),
    [
        (b"Caf\xe9", False, "Caf\xe9"), ("Caf\xe9".encode(), False, "Caf\xe9"), (b"Caf\xc3", True, "Caf\ufffd"),
        (b"\xe9t\xe9 1", True, "\xe9t\xe9 1"), (b"\xff\xfea\0", False, "a"),
        (b"a\0b\0", False, "ab"), (b"\xfe\xff\0a", False, "a"), (b"\xfe\xff\0a\0", True, "a\ufffd"),
    ],
)  # fmt: skip
def test_bytes_are_the_text_that_they_probably_are(data: bytes, is_cut: bool, text: str) -> None:
    assert decoded(data, is_cut=is_cut) == text


def test_a_long_fact_is_shown_in_part_and_says_so() -> None:
    lines = text_pane._wrapped(Fact("\u4e16" * 50_000, "created by"), 50)
    shown = "".join(text.strip() for parts in lines for text, _ in parts)
    assert shown.count("\u4e16") == 20_000
    assert shown.endswith("… and 30,000more characters")


def test_a_long_document_is_shown_in_part_and_says_so() -> None:
    item = documents_outline(_config({"Labels": {"long": "x\n" * 20_000}}), None)[1]
    assert item.children[0].children[0].tell()[-1].text == "and 20,000 more characters"


def test_values_of_documents_are_shown_as_json_writes_them() -> None:
    values: dict[str, object] = {"a": 1, "b": 0, "c": 1.5, "d": True, "e": False, "f": None, "g": "true"}
    item = documents_outline(_config(values), None)[1]
    assert [child.title for child in item.children] == ["1", "0", "1.5", "true", "false", "null", "true"]


def _config(values: dict[str, object]) -> ImageConfig:
    document = {
        "os": "windows",
        "architecture": "amd64",
        "config": values,
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    return parse_config(json.dumps(document).encode())
