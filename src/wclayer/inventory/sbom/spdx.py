"""`write_spdx`: an inventory as a software bill of materials in SPDX 2.3, JSON (ISO/IEC 5962).

PE files are packages with the purpose FILE: SPDX demands the SHA-1 of what it calls a file, which no layer records, and
has no place for its version and its publisher.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from wclayer._version import __version__
from wclayer.errors import during
from wclayer.inventory.item import Inventory, Item, ItemKind
from wclayer.inventory.sbom.forms import (
    FORMS,
    NO_NAME,
    components,
    contents_sha256,
    facts,
    image_sha256,
    is_in_use,
    layer_history,
    layer_text,
    places,
)
from wclayer.inventory.sbom.identifiers import identifiers_of, image_name, image_purl
from wclayer.inventory.sbom.text import clean, compact, time_of, write_named

_DOCUMENT = "SPDXRef-DOCUMENT"
_IMAGE = "SPDXRef-image"
_TOOL = f"Tool: wclayer-{__version__}"
_NAMESPACE = "https://spdx.org/spdxdocs/wclayer-"
_MOST_PLACES = 100
"""Names of one file that are stated."""


@during("write SBOM")
def write_spdx(inventory: Inventory, stream: BinaryIO, *, epoch: int | None = None) -> None:
    """Writes an inventory as a bill of materials in SPDX 2.3, JSON.

    The same inventory gives the same bytes: the time is that of the image, and the namespace of the document is made of
    the image's digest and the contents of the bill.

    Args:
        inventory: what an image holds (`take_inventory`).
        stream: where the document goes.
        epoch: the seconds since 1970 that are the time instead of the image's.

    Raises:
        LayerError: the stream cannot be written to.
    """
    time = time_of(inventory.created, epoch)
    write_named(lambda name: _document(inventory, time, _NAMESPACE + name), "spdx", inventory.digest, stream)


def _document(inventory: Inventory, time: str, namespace: str) -> Iterator[str]:
    """Yields the document in pieces: one package after the other."""
    head = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": image_name(inventory) or NO_NAME,
        "documentNamespace": namespace,
        "creationInfo": {"created": time, "creators": [_TOOL]},
    }
    yield f'{compact(head)[:-1]},\n"packages":[\n{compact(_image(inventory, time))}'
    for ref, item in _packages(inventory):
        yield f",\n{compact(_package(ref, item, time))}"
    yield f'],\n"relationships":[\n{_relationship(_DOCUMENT, "DESCRIBES", _IMAGE)}'
    system = ""
    for ref, item in _packages(inventory):
        if item.kind is ItemKind.OPERATING_SYSTEM:
            system = system or ref
        yield f",\n{_relationship(_IMAGE, 'CONTAINS', ref)}"
        if item.kind is ItemKind.UPDATE and system:
            yield f",\n{_relationship(ref, 'PATCH_FOR', system)}"
    yield "]}\n"


def _packages(inventory: Inventory) -> Iterator[tuple[str, Item]]:
    """Yields the items that are packages, with their identifiers in the document."""
    return ((f"SPDXRef-{ref}", item) for ref, item in components(inventory) if FORMS[item.kind].spdx)


def _relationship(subject: str, kind: str, target: str) -> str:
    return compact({"spdxElementId": subject, "relationshipType": kind, "relatedSpdxElement": target})


def _image(inventory: Inventory, time: str) -> dict[str, Any]:
    record: dict[str, Any] = {
        "SPDXID": _IMAGE,
        "name": image_name(inventory) or NO_NAME,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "primaryPackagePurpose": "CONTAINER",
    }
    if sha256 := image_sha256(inventory):
        record |= {"versionInfo": inventory.digest, "checksums": [_checksum(sha256)]}
    if purl := image_purl(inventory):
        record["externalRefs"] = [_reference("PACKAGE-MANAGER", "purl", purl)]
    texts = [layer_history(layer) for layer in inventory.layers]
    texts += [f"finding ({finding.kind}): {finding.place}: {finding.text}" for finding in inventory.findings]
    return record | ({"annotations": [_annotation(text, time) for text in texts]} if texts else {})


def _package(ref: str, item: Item, time: str) -> dict[str, Any]:
    record: dict[str, Any] = {"SPDXID": ref, "name": clean(item.name) or NO_NAME}
    if version := clean(item.version):
        record["versionInfo"] = version
    if item.kind is ItemKind.PE_FILE:
        record["packageFileName"] = clean(item.origin.place)
    if publisher := clean(item.publisher).strip():
        # The brackets are for an address of mail; without them, those in a name would be taken for them.
        record["supplier"] = f"Organization: {publisher} ()"
    record |= {"downloadLocation": "NOASSERTION", "filesAnalyzed": False}
    if sha256 := contents_sha256(item):
        record["checksums"] = [_checksum(sha256)]
    found = identifiers_of(item)
    references = [_reference("PACKAGE-MANAGER", "purl", found.purl)] if found.purl else []
    if found.cpe:
        comment = "a guess: made of the publisher and the name" if found.is_guess else ""
        references.append(_reference("SECURITY", "cpe23Type", found.cpe, comment))
    if references:
        record["externalRefs"] = references
    record["primaryPackagePurpose"] = FORMS[item.kind].spdx
    return record | {"annotations": [_annotation(_origin(item), time)]}


def _checksum(sha256: str) -> dict[str, str]:
    return {"algorithm": "SHA256", "checksumValue": sha256}


def _reference(category: str, kind: str, locator: str, comment: str = "") -> dict[str, str]:
    record = {"referenceCategory": category, "referenceType": kind, "referenceLocator": locator}
    return record | ({"comment": comment} if comment else {})


def _annotation(text: str, time: str) -> dict[str, str]:
    return {"annotationDate": time, "annotationType": "OTHER", "annotator": _TOOL, "comment": clean(text)}


def _origin(item: Item) -> str:
    """Returns where an item is from, and what else is known of it."""
    found = places(item)
    more = [f"and {len(found) - _MOST_PLACES} more names"] if len(found) > _MOST_PLACES else []
    parts = [str(item.kind), *found[:_MOST_PLACES], *more, layer_text(item.origin.layer)]
    parts += [f"{name}={value}" for name, value in facts(item)]
    if not is_in_use(item):
        parts.append("not in use")
    return "; ".join(filter(None, parts))
