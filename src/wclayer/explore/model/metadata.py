"""The metadata of an entry as facts: times, attributes, links, reparse data, EAs."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.explore.model.details import Fact, heading, warning
from wclayer.win32 import filetime
from wclayer.win32.attributes import FileBasicInfo, attribute_letters, attribute_names
from wclayer.win32.ea import decode_eas
from wclayer.win32.reparse import decode_link, decode_reparse
from wclayer.win32.shown import size_text

_MOST_HEX = 64
"""Bytes of a value that are shown in hexadecimal."""


def size_fact(size: int, label: str = "size") -> Fact:
    """Returns a size in bytes as a fact."""
    return Fact(f"{size:,} bytes ({size_text(size)})" if size >= 1024 else f"{size:,} bytes", label)


def info_facts(info: FileBasicInfo) -> Iterator[Fact]:
    """Yields the attributes and the four times, to 100 ns."""
    names = " ".join(attribute_names(info.attributes))
    yield Fact(f"{attribute_letters(info.attributes)}  {info.attributes:#x} {names}".rstrip(), "attributes")
    yield Fact(filetime.to_iso(info.creation_time), "created")
    yield Fact(filetime.to_iso(info.last_write_time), "written")
    yield Fact(filetime.to_iso(info.change_time), "changed")
    yield Fact(filetime.to_iso(info.last_access_time), "accessed")


def reparse_facts(data: bytes) -> Iterator[Fact]:
    """Yields what a reparse point says."""
    try:
        point = decode_reparse(data)
    except ValueError as error:
        yield warning(f"the reparse data is damaged: {error}")
        return
    yield Fact(point.tag_name, "reparse")
    try:
        link = decode_link(point)
    except ValueError:
        yield Fact(hex_text(point.data), "data")
        return
    yield Fact(link.print_name, "target")
    if link.substitute_name != link.print_name:
        yield Fact(link.substitute_name, "stored as")


def link_target(data: bytes) -> str:
    """Returns what a link leads to; the name of the tag of another reparse point; "" if the data is damaged."""
    try:
        point = decode_reparse(data)
    except ValueError:
        return ""
    try:
        return decode_link(point).print_name
    except ValueError:
        return point.tag_name


def ea_facts(data: bytes) -> Iterator[Fact]:
    """Yields the extended attributes."""
    if not data:
        return
    yield heading("Extended attributes")
    try:
        for ea in decode_eas(data):
            yield Fact(hex_text(ea.value), ea.name.decode("latin-1"))
    except ValueError as error:
        yield warning(f"damaged: {error}")


def hex_text(data: bytes) -> str:
    """Returns bytes in hexadecimal, the first ones of many."""
    text = data[:_MOST_HEX].hex(" ")
    return f"{text} … ({len(data):,} bytes)" if len(data) > _MOST_HEX else text
