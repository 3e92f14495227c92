"""What the inventory reads of packages: their metadata in several formats."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from fuzz.target import Target
from wclayer.formats.safe_xml import parse_xml


def _xml(data: bytes) -> None:
    """A document that is accepted has the tree that Python's own parser makes of it, which looks at namespaces, too."""
    root = parse_xml(data)
    try:
        waiting = [(root, ET.fromstring(data))]
    except ET.ParseError:
        return
    while waiting:
        mine, other = waiting.pop()
        assert len(mine.attributes) <= len(other.attrib) + data.count(b"xmlns")
        assert mine.text == (other.text or "").strip() or len(other)
        waiting += zip(mine.children, other, strict=True)


TARGETS = {
    "xml": Target(
        _xml,
        lambda: [b'<?xml version="1.0"?><p xmlns="urn:x"><m a="b"><id>A&amp;B</id><![CDATA[<x>]]></m> t </p>'],
        words=(
            b"<!DOCTYPE a [",
            b"<!ENTITY x 'y'>",
            b"]>",
            b"&x;",
            b"<![CDATA[",
            b"]]>",
            b"<?",
            b"?>",
            b"xmlns:a=",
            b' encoding="utf-16"',
            b' encoding="cp437"',
        ),
        max_size=2048,
    ),
}
