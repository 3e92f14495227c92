"""Reads XML documents from elsewhere: small ones, such as manifests of packages, as a tree.

Names count without their namespaces. A document type is refused, and with it every entity of its own: what is read is
never larger than the document, and nothing else is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol
from xml.parsers import expat

from wclayer.errors import FormatError, FormatLimitError

_DEPTH = 64
_ELEMENTS = 50_000
MAX_SIZE = 4 << 20
"""The size of a document in bytes up to which it is read as a tree."""


class XmlError(FormatError):
    """A document is not XML, or has what is refused."""


class XmlHandler(Protocol):
    """What is told of a document while it is read. A method that raises a `FormatError` ends that."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins. Names are without namespaces."""

    def text(self, text: str) -> None:
        """A piece of the text in the element that began last and has not ended."""

    def end(self) -> None:
        """This element ends."""


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
    walk_xml(data, builder, most_elements=_ELEMENTS)
    return builder.root


def walk_xml(data: bytes, handler: XmlHandler, *, most_elements: int, encoding: str | None = None) -> None:
    """Tells a handler what a document has, without a tree of it.

    Args:
        data: the document, whose size the caller bounds.
        handler: is told each element and text.
        most_elements: how many elements it may have.
        encoding: its encoding, whatever it declares; None for the one that it declares.

    Raises:
        XmlError: it is not XML, or has a document type.
        FormatLimitError: it has too many elements, or is nested more than 64 deep.
        FormatError: the handler refuses it. All messages name the line.
    """
    walker = _Walker(handler, most_elements, encoding)
    try:
        walker.parser.Parse(data, True)
    except expat.ExpatError as error:
        raise XmlError(f"is not XML: {error}") from None
    except FormatError as error:
        raise type(error)(f"line {walker.parser.CurrentLineNumber}: {error}") from None
    except (LookupError, ValueError) as error:
        # An encoding that Python does not have.
        raise XmlError(f"is not XML that can be read: {error}") from None


class _Walker:
    """The parser, and the bounds of what it walks through."""

    def __init__(self, handler: XmlHandler, most_elements: int, encoding: str | None) -> None:
        # Without namespaces: the parser would put the URI of each one, however long, before every name.
        self.parser = expat.ParserCreate(encoding)
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = handler.text
        self.parser.StartDoctypeDeclHandler = self._refuse_document_type
        self.parser.buffer_text = True
        self._handler = handler
        self._most_elements = most_elements
        self._elements = self._depth = 0

    def _refuse_document_type(self, *_: object) -> None:
        raise XmlError("a document type (DTD) is refused")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._depth == _DEPTH or self._elements > self._most_elements:
            raise FormatLimitError(f"more than {self._most_elements} elements, or nested more than {_DEPTH} deep")
        self._depth += 1
        self._handler.start(_local(tag), {_local(name): text for name, text in attributes.items()})

    def _end(self, _: str) -> None:
        self._depth -= 1
        self._handler.end()


def _local(name: str) -> str:
    return name.rpartition(":")[2]


class _Builder:
    """Makes the tree of a document."""

    def __init__(self) -> None:
        self.root = XmlElement("", {})
        self._open: list[tuple[XmlElement, list[str]]] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        element = XmlElement(name, attributes)
        if self._open:
            self._open[-1][0].children.append(element)
        else:
            self.root = element
        self._open.append((element, []))

    def text(self, text: str) -> None:
        element, pieces = self._open[-1]
        if not element.children:
            pieces.append(text)

    def end(self) -> None:
        element, pieces = self._open.pop()
        element.text = "".join(pieces).strip()
