"""Reads small XML documents from elsewhere, such as manifests of packages, as a tree.

Names count without their namespaces. A document type is refused, and with it every entity of its own: the tree is never
larger than the document, and nothing else is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from wclayer.errors import FormatError, FormatLimitError

_DEPTH = 64
_ELEMENTS = 50_000
MAX_SIZE = 4 << 20
"""The size of a document in bytes up to which it is read."""


class XmlError(FormatError):
    """A document is not XML, or has what is refused."""


@dataclass(slots=True)
class XmlElement:
    """An element of a document.

    Attributes:
        name: its name, without a namespace.
        attributes: its attributes by their names, without namespaces.
        children: the elements in it.
        text: the text in it up to its first child, without the white space around it.
    """

    name: str
    attributes: dict[str, str]
    children: list[XmlElement] = field(default_factory=list)
    text: str = ""

    def child(self, name: str) -> XmlElement | None:
        """Returns the first child of that name, or None."""
        return next(self.named(name), None)

    def named(self, name: str) -> Iterator[XmlElement]:
        """Yields the children of that name."""
        return (child for child in self.children if child.name == name)

    def text_of(self, name: str) -> str:
        """Returns the text of the first child of that name; "" if there is none."""
        child = self.child(name)
        return "" if child is None else child.text


def parse_xml(data: bytes) -> XmlElement:
    """Returns the root of a document.

    Raises:
        XmlError: it is not XML, or has a document type. The message names the line.
        FormatLimitError: it has more than 4 MiB or 50,000 elements, or is nested more than 64 deep.
    """
    if len(data) > MAX_SIZE:
        raise FormatLimitError(f"an XML document of {len(data)} bytes; read are up to {MAX_SIZE}")
    builder = _Builder()
    try:
        builder.parser.Parse(data, True)
    except expat.ExpatError as error:
        raise XmlError(f"is not XML: {error}") from None
    except FormatError:
        raise
    except (LookupError, ValueError) as error:
        # An encoding that Python does not have.
        raise XmlError(f"is not XML that can be read: {error}") from None
    return builder.root


class _Builder:
    """Makes the tree while the parser walks through the document."""

    def __init__(self) -> None:
        # Without namespaces: the parser would put the URI of each one, however long, before every name.
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._refuse_document_type
        self.parser.buffer_text = True
        self.root = XmlElement("", {})
        self._open: list[tuple[XmlElement, list[str]]] = []
        self._elements = 0

    def _refuse_document_type(self, *_: object) -> None:
        raise XmlError(f"line {self.parser.CurrentLineNumber}: a document type (DTD) is refused")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        element = XmlElement(_local(tag), {_local(name): text for name, text in attributes.items()})
        self._elements += 1
        if len(self._open) == _DEPTH or self._elements > _ELEMENTS:
            raise FormatLimitError(f"has more than {_ELEMENTS} elements, or nests them more than {_DEPTH} deep")
        if self._open:
            self._open[-1][0].children.append(element)
        else:
            self.root = element
        self._open.append((element, []))

    def _characters(self, text: str) -> None:
        element, pieces = self._open[-1]
        if not element.children:
            pieces.append(text)

    def _end(self, _: str) -> None:
        element, pieces = self._open.pop()
        element.text = "".join(pieces).strip()


def _local(name: str) -> str:
    return name.rpartition(":")[2]
