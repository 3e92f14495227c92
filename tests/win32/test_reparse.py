"""Reparse points: links, WCI, WOF and LX tags both ways, every other tag verbatim."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.win32.reparse import (
    LinkTarget,
    LxSymlink,
    ReparsePoint,
    ReparseTag,
    WciPlaceholder,
    WofFile,
    decode_link,
    decode_lx_symlink,
    decode_reparse,
    decode_wci,
    decode_wof,
)

_text = st.text(st.characters(exclude_categories=()), max_size=40).map(
    lambda text: text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
)


@given(st.integers(0, 0xFFFFFFFF), st.binary(max_size=100))
def test_any_tag_is_kept_verbatim(tag: int, data: bytes) -> None:
    point = ReparsePoint(tag, data)
    assert decode_reparse(point.encode()) == point


@given(_text, _text, st.integers(0, 1), st.booleans())
def test_links_both_ways(substitute: str, printed: str, flags: int, is_mount_point: bool) -> None:
    link = LinkTarget(substitute, printed, 0 if is_mount_point else flags, is_mount_point)
    assert decode_link(decode_reparse(link.encode())) == link


@given(st.sampled_from([ReparseTag.WCI, ReparseTag.WCI_1, ReparseTag.WCI_LINK]), st.uuids(), _text)
def test_wci_both_ways(tag: ReparseTag, layer: UUID, name: str) -> None:
    placeholder = WciPlaceholder(int(tag), 1, 0, layer, name)
    assert decode_wci(decode_reparse(placeholder.encode())) == placeholder


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 3))
def test_wof_both_ways(version: int, provider: int, provider_version: int, algorithm: int) -> None:
    file = WofFile(version, provider, provider_version, algorithm)
    assert decode_wof(decode_reparse(file.encode())) == file


@given(st.binary(max_size=50))
def test_lx_symlinks_both_ways(target: bytes) -> None:
    link = LxSymlink(2, target)
    assert decode_lx_symlink(decode_reparse(link.encode())) == link


@given(st.sampled_from(list(ReparseTag)), st.binary(max_size=60))
def test_arbitrary_data_gives_a_value_error(tag: ReparseTag, data: bytes) -> None:
    point = ReparsePoint(int(tag), data)
    for decode in (decode_link, decode_wci, decode_wof, decode_lx_symlink):
        try:
            decode(point)
        except ValueError as error:
            assert str(error)


@given(st.binary(max_size=40))
def test_arbitrary_buffers_give_a_point_or_a_value_error(data: bytes) -> None:
    try:
        decode_reparse(data)
    except ValueError as error:
        assert "reparse buffer" in str(error)


@pytest.mark.parametrize(
    ("path", "substitute", "relative"),
    [
        ("C:\\x", "\\??\\C:\\x", False),
        ("\\\\?\\Volume{1}\\", "\\??\\Volume{1}\\", False),
        ("\\\\server\\share", "\\??\\UNC\\server\\share", False),
        ("..\\x", "..\\x", True),
        ("\\x", "\\x", True),
    ],
)
def test_targets_of_win32_paths(path: str, substitute: str, relative: bool) -> None:
    link = LinkTarget.from_path(path, is_mount_point=False)
    assert (link.substitute_name, link.print_name, link.is_relative) == (substitute, path, relative)


def test_symbolic_link_layout() -> None:
    data = LinkTarget("a", "b", 1).encode()
    names = "a\0b\0".encode("utf-16-le")
    assert data == struct.pack("<IHHHHHHI", 0xA000000C, 20, 0, 0, 2, 4, 2, 1) + names


def test_longer_than_windows_allows_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than Windows allows"):
        ReparsePoint(1, bytes(16 * 1024)).encode()
