"""The modules of Go and the crates of Rust that a program says it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from wclayer.errors import FormatError
from wclayer.formats.pe.go_build import GoModule, read_go_build
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.rust_audit import read_rust_audit
from wclayer.inventory.collectors.packages.documents import as_object, parse_json_object, text_of
from wclayer.inventory.collectors.text import kept_text
from wclayer.inventory.item import Item, ItemKind, Origin, Property

STANDARD_LIBRARY = "stdlib"
"""The name of Go's standard library, whose version is that of Go."""
_FOLDER = "(devel)"
"""What stands for the version of a module that is a folder of the machine that built the program."""


class EmbeddedPackage(TypedDict):
    """A package that is a part of a program, wherever the program is. `kind` is that of an item."""

    kind: str
    name: str
    version: str
    properties: dict[str, Property]


def package_item(package: EmbeddedPackage, origin: Origin) -> Item:
    """Returns a package as an item of the program at `origin`."""
    kind = ItemKind(package["kind"])
    return Item(kind, package["name"], package["version"], origin, properties=package["properties"])


def _package(kind: ItemKind, name: str, version: str, properties: dict[str, Property]) -> EmbeddedPackage:
    return {"kind": str(kind), "name": name, "version": version, "properties": properties}


def go_modules(image: PeImage) -> Iterator[EmbeddedPackage]:
    """Yields the modules of a program of Go: its own, the others, and the standard library.

    Raises:
        FormatError: the list is damaged.
    """
    build = read_go_build(image)
    if build is None:
        return
    if build.main is not None:
        yield _go_module(build.main, is_main=True)
    for module in build.modules:
        yield _go_module(module, is_main=False)
    version = kept_text(build.go_version).removeprefix("go")
    yield _package(ItemKind.GO_MODULE, STANDARD_LIBRARY, version, {"is_main": False})


def _go_module(module: GoModule, *, is_main: bool) -> EmbeddedPackage:
    """Returns a module. One that another version or another module replaced is that one."""
    properties: dict[str, Property] = {"is_main": is_main}
    used = module
    if module.replacement is not None:
        if module.replacement.version not in ("", _FOLDER):
            used = module.replacement
            properties["replaces"] = kept_text(f"{module.path} {module.version}")
        else:
            properties["replaced_by"] = kept_text(module.replacement.path)
    if used.sum:
        properties["sum"] = kept_text(used.sum)
    return _package(ItemKind.GO_MODULE, kept_text(used.path), kept_text(used.version), properties)


def rust_crates(image: PeImage) -> Iterator[EmbeddedPackage]:
    """Yields the crates of a program of Rust that lists them.

    Raises:
        FormatError: the list is damaged.
    """
    data = read_rust_audit(image)
    if data is None:
        return
    listed = parse_json_object(data).get("packages", [])
    if not isinstance(listed, list):
        raise FormatError("the list of crates is no list")
    for entry in listed:
        crate = as_object(entry, "a crate")
        properties: dict[str, Property] = {"is_main": crate.get("root") is True}
        # A crate that is only used while the program is built has the kind "build".
        properties["is_development"] = text_of(crate, "kind") == "build"
        source = text_of(crate, "source")
        if source:
            properties["source"] = source
        yield _package(ItemKind.RUST_CRATE, text_of(crate, "name"), text_of(crate, "version"), properties)
