"""`write_cyclonedx`: an inventory as a software bill of materials in CycloneDX 1.6, JSON (ECMA-424)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from wclayer._version import __version__
from wclayer.errors import during
from wclayer.inventory.item import Inventory, Item, ItemKind
from wclayer.inventory.sbom.forms import (
    FORMS,
    NO_NAME,
    SETTINGS,
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

_SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_IMAGE = "image"
_LONGEST_VERSION = 1024
"""Characters that the schema permits."""
_GUESS = 0.3
"""How sure a CPE name is that is made of what a program says of itself."""


@during("write SBOM")
def write_cyclonedx(inventory: Inventory, stream: BinaryIO, *, epoch: int | None = None) -> None:
    """Writes an inventory as a bill of materials in CycloneDX 1.6, JSON.

    The same inventory gives the same bytes: the time is that of the image, and the serial number is made of the image's
    digest and the contents of the bill.

    Args:
        inventory: what an image holds (`take_inventory`).
        stream: where the document goes.
        epoch: the seconds since 1970 that are the time instead of the image's.

    Raises:
        LayerError: the stream cannot be written to.
    """
    time = time_of(inventory.created, epoch)
    write_named(lambda name: _document(inventory, time, f"urn:uuid:{name}"), "cyclonedx", inventory.digest, stream)


def _document(inventory: Inventory, time: str, serial: str) -> Iterator[str]:
    """Yields the document in pieces: one component after the other."""
    head = {"$schema": _SCHEMA, "bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": serial, "version": 1}
    tool = {"type": "application", "name": "wclayer", "version": __version__}
    metadata = {"timestamp": time, "tools": {"components": [tool]}, "component": _image(inventory)}
    yield f'{compact(head)[:-1]},\n"metadata":{compact(metadata)},\n"components":['
    yield from _joined(compact(_component(ref, item)) for ref, item in components(inventory))
    yield '],\n"dependencies":['
    yield from _dependencies(inventory)
    yield "]}\n"


def _joined(texts: Iterator[str]) -> Iterator[str]:
    separator = "\n"
    for text in texts:
        yield separator + text
        separator = ",\n"


def _hash(sha256: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": sha256}


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"wclayer:{name}", "value": clean(value)}


def _image(inventory: Inventory) -> dict[str, Any]:
    """Returns the component that the bill is about, with what is no component of its own."""
    record: dict[str, Any] = {"type": "container", "bom-ref": _IMAGE, "name": image_name(inventory) or NO_NAME}
    if sha256 := image_sha256(inventory):
        record |= {"version": inventory.digest, "hashes": [_hash(sha256)]}
    if purl := image_purl(inventory):
        record["purl"] = purl
    properties = [_property(f"layer:{layer.number}", layer_history(layer)) for layer in inventory.layers]
    properties += [
        _property(f"finding:{finding.kind}", f"{finding.place}: {finding.text}") for finding in inventory.findings
    ]
    properties += [
        _property(str(item.kind), "; ".join([item.name, *(f"{name}={value}" for name, value in facts(item))]))
        for item in inventory.items
        if item.kind in SETTINGS
    ]
    return record | ({"properties": properties} if properties else {})


def _component(ref: str, item: Item) -> dict[str, Any]:
    record: dict[str, Any] = {"type": FORMS[item.kind].cyclonedx, "bom-ref": ref}
    if publisher := clean(item.publisher):
        record["publisher"] = publisher
    record["name"] = clean(item.name) or NO_NAME
    if version := clean(item.version)[:_LONGEST_VERSION]:
        record["version"] = version
    if not is_in_use(item):
        record["scope"] = "optional"
    if sha256 := contents_sha256(item):
        record["hashes"] = [_hash(sha256)]
    found = identifiers_of(item)
    if found.cpe:
        record["cpe"] = found.cpe
    if found.purl:
        record["purl"] = found.purl
    record["evidence"] = _evidence(item, is_guess=found.is_guess)
    if item.kind is ItemKind.CERTIFICATE:
        certificate = {"subjectName": record["name"]}
        record["cryptoProperties"] = {"assetType": "certificate", "certificateProperties": certificate}
    return record | {"properties": [*_origin(item), *(_property(name, value) for name, value in facts(item))]}


def _evidence(item: Item, *, is_guess: bool) -> dict[str, Any]:
    """Returns where an item was found, and how sure its CPE name is."""
    layer = layer_text(item.origin.layer)
    context = {"additionalContext": layer} if layer else {}
    record: dict[str, Any] = {"occurrences": [{"location": place or NO_NAME, **context} for place in places(item)]}
    if is_guess:
        method = {"technique": "manifest-analysis", "confidence": _GUESS}
        record["identity"] = [{"field": "cpe", "confidence": _GUESS, "methods": [method]}]
    return record


def _origin(item: Item) -> Iterator[dict[str, str]]:
    yield _property("kind", str(item.kind))
    if (layer := item.origin.layer) is not None:
        yield _property("layer", str(layer.number))
        if layer.digest:
            yield _property("layer:digest", layer.digest)
        yield _property("layer:origin", "base" if layer.is_base else "own")


def _dependencies(inventory: Inventory) -> Iterator[str]:
    """Yields the graph: the image depends on the operating system and on what its own layers brought, the operating
    system on what came with the base."""
    system = next((ref for ref, item in components(inventory) if item.kind is ItemKind.OPERATING_SYSTEM), "")

    def below(*, base: bool) -> Iterator[str]:
        return (
            compact(ref)
            for ref, item in components(inventory)
            if ref != system and (item.origin.is_base if system else False) is base
        )

    yield f'\n{{"ref":"{_IMAGE}","dependsOn":['
    own = [compact(system)] if system else []
    yield from _joined(text for texts in (iter(own), below(base=False)) for text in texts)
    yield "]}"
    if system:
        yield f',\n{{"ref":{compact(system)},"dependsOn":['
        yield from _joined(below(base=True))
        yield "]}"
