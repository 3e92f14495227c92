"""XML from elsewhere: what is read of it, and what is refused."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from wclayer.errors import FormatLimitError
from wclayer.formats.safe_xml import XmlElement, XmlError, parse_xml

DOCUMENT = b"""<?xml version="1.0" encoding="utf-8"?>
<!-- a comment -->
<p:package xmlns:p="urn:x" xmlns="urn:y" p:kind="k">
  <metadata> <id> A&amp;B </id> <id>other</id> <note><![CDATA[<x>]]></note> </metadata>
  text <empty/>
</p:package>
"""


def test_a_document_is_a_tree_without_namespaces() -> None:
    root = parse_xml(DOCUMENT)
    assert (root.name, root.attributes["kind"], root.text) == ("package", "k", "")
    metadata = root.child("metadata")
    assert metadata is not None
    assert [child.text for child in metadata.named("id")] == ["A&B", "other"]
    assert (metadata.text_of("id"), metadata.text_of("note"), metadata.text_of("none")) == ("A&B", "<x>", "")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_the_encoding_is_the_one_of_the_mark_or_the_declaration(encoding: str) -> None:
    declared = "iso-8859-1" if encoding == "iso-8859-1" else "utf-16" if encoding == "utf-16" else "utf-8"
    data = f'<?xml version="1.0" encoding="{declared}"?><a>Grüße</a>'.encode(encoding)
    assert parse_xml(data).text == "Grüße" == ET.fromstring(data).text


@pytest.mark.parametrize(
    "data",
    [
        b"", b"no", b"<a>", b"<a></b>", b"<a/><b/>", b"<a>&unknown;</a>", b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<?xml version="1.0" encoding="none-such"?><a/>', b"<a>\xff</a>", b"<a>\0</a>",
    ],
)  # fmt: skip
def test_what_is_no_xml_or_has_a_document_type_is_refused(data: bytes) -> None:
    with pytest.raises(XmlError):
        parse_xml(data)


def test_entities_are_not_expanded() -> None:
    laughs = b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY c "&b;&b;">]><l>&c;</l>'
    with pytest.raises(XmlError, match="line 1: a document type"):
        parse_xml(laughs)


@pytest.mark.parametrize(
    "data", [b"<a>" * 65 + b"</a>" * 65, b"<r>" + b"<a/>" * 50_000 + b"</r>", b"<a>" + b" " * (4 << 20) + b"</a>"]
)
def test_size_depth_and_number_are_bounded(data: bytes) -> None:
    with pytest.raises(FormatLimitError):
        parse_xml(data)


def test_a_long_namespace_costs_once() -> None:
    data = b'<r xmlns="' + b"u" * (2 << 20) + b'">' + b"<a/>" * 40_000 + b"</r>"
    assert parse_xml(data).children[-1] == XmlElement("a", {})
