"""Layers made of a few files by their paths, and what the inventory says of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import wclayer
from tests.support import info, put_directories, put_file
from wclayer.inventory.item import Inventory, Item, ItemKind
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry

SITE = "Python/Lib/site-packages"
METADATA = b"""Metadata-Version: 2.1
Name: Example.Package_X
Version: 1.2.3
Author: Erika Musterfrau
License: MIT
  or something
  else
Classifier: Name: no name

Name: not-this
"""
"""The metadata of a package of Python."""
NUSPEC = b"""<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd">
  <metadata minClientVersion="2.12">
    <id>Newtonsoft.Json</id><version>13.0.1</version><authors>James Newton-King</authors>
    <license type="expression">MIT</license>
    <dependencies><group targetFramework=".NETStandard1.0"><dependency id="x" version="1"/></group></dependencies>
  </metadata>
</package>"""
"""The manifest of a package of NuGet."""


def make_layer(
    place: Path, files: Mapping[str, bytes], links: Mapping[str, str] | None = None, *, over: Path | None = None
) -> Path:
    """Makes a layer with files, and further names of them, by their paths below C:."""
    names = {**files, **(links or {})}
    above = {"/".join(path.split("/")[:depth]) for path in names for depth in range(1, path.count("/") + 1)}
    with DirectoryLayerWriter(place, parents=[] if over is None else [over]) as writer:
        put_directories(writer, "Files", *(f"Files/{path}" for path in sorted(above | {"Windows", "Windows/System32"})))
        for path, data in files.items():
            put_file(writer, f"Files/{path}", data)
        for path, target in (links or {}).items():
            writer.put(Entry(f"Files/{path}", info(), link_target=f"Files/{target}"))
    return place


def inventory_of(place: Path, files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> Inventory:
    """The inventory of a layer with those files."""
    return wclayer.take_inventory(make_layer(place, files, links))


def items(inventory: Inventory, kind: ItemKind) -> dict[str, Item]:
    """The items of one kind by their places, of which none occurs twice."""
    found = list(inventory.of_kind(kind))
    by_place = {item.origin.place: item for item in found}
    assert len(by_place) == len(found)
    return by_place
