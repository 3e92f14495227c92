"""An inventory as tables for people, one for each kind of item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wclayer.cli.output import echo
from wclayer.cli.text_table import aligned
from wclayer.inventory.collectors.updates import INSTALLED, SUPERSEDED
from wclayer.inventory.item import Inventory, Item, ItemKind


@dataclass(frozen=True, slots=True)
class _Section:
    """A table: its title, its kind of items, the property that it shows beside name and version, which items it has,
    and whether it is shown only if the user asks for its kind."""

    title: str
    kind: ItemKind
    shows: str = ""
    wants: Callable[[Item], bool] = lambda item: True
    is_detail: bool = False


def _is_superseded(item: Item) -> bool:
    return item.properties.get("state") == SUPERSEDED


def _is_part(item: Item) -> bool:
    return not _is_superseded(item) and bool(item.properties.get("is_part"))


def _is_current(item: Item) -> bool:
    return not _is_superseded(item) and not _is_part(item)


def _is_installed(item: Item) -> bool:
    return item.properties.get("state") == INSTALLED


def _is_program(item: Item) -> bool:
    return bool(item.properties.get("is_named")) and not _is_program_update(item)


def _is_program_update(item: Item) -> bool:
    return bool(item.properties.get("is_update"))


def _is_nameless(item: Item) -> bool:
    return not _is_program(item) and not _is_program_update(item)


_SECTIONS = (
    _Section("UPDATES", ItemKind.UPDATE, "state", _is_current),
    _Section("SUPERSEDED UPDATES", ItemKind.UPDATE, "state", _is_superseded),
    _Section("PARTS OF UPDATES", ItemKind.UPDATE, "state", _is_part, is_detail=True),
    _Section("FEATURES", ItemKind.FEATURE, "source", _is_installed),
    _Section("FEATURES NOT INSTALLED", ItemKind.FEATURE, "state", lambda item: not _is_installed(item), is_detail=True),
    _Section("PROGRAMS", ItemKind.PROGRAM, "view", _is_program),
    _Section("UPDATES OF PROGRAMS", ItemKind.PROGRAM, "parent", _is_program_update),
    _Section("PROGRAMS WITHOUT A NAME", ItemKind.PROGRAM, "view", _is_nameless, is_detail=True),
    _Section("MSI PRODUCTS", ItemKind.MSI_PRODUCT, "product_code"),
    _Section("MSI PATCHES", ItemKind.MSI_PATCH, "state"),
    _Section("APPX PACKAGES", ItemKind.APPX_PACKAGE, "states"),
    _Section(".NET", ItemKind.DOTNET, "part"),
    _Section("SERVICES", ItemKind.SERVICE, "start"),
    _Section("DRIVERS", ItemKind.DRIVER, "start"),
    _Section("SCHEDULED TASKS", ItemKind.TASK, "command"),
    _Section("USERS", ItemKind.USER, "groups"),
    _Section("ENVIRONMENT", ItemKind.ENVIRONMENT_VARIABLE, "value"),
    _Section("PORTS", ItemKind.PORT),
    _Section("CERTIFICATES", ItemKind.CERTIFICATE, "expires"),
    _Section("PYTHON PACKAGES", ItemKind.PYTHON_PACKAGE),
    _Section("NODE PACKAGES", ItemKind.NODE_PACKAGE),
    _Section("JAVA PACKAGES", ItemKind.JAVA_PACKAGE),
    _Section("NUGET PACKAGES", ItemKind.NUGET_PACKAGE),
    _Section("GO MODULES", ItemKind.GO_MODULE),
    _Section("RUST CRATES", ItemKind.RUST_CRATE),
    _Section("PE FILES", ItemKind.PE_FILE, "machine"),
)
_DIGITS = 12
"""Digits of a digest that the list of layers shows."""
_STEP = 100
"""Characters of a step of the history that the list of layers shows."""
_WITHIN_BASE = frozenset({ItemKind.SERVICE, ItemKind.DRIVER, ItemKind.TASK, ItemKind.CERTIFICATE, ItemKind.PE_FILE})
"""Kinds of which every base image has hundreds: without a wish for them, those of the base are only counted."""


def print_inventory(inventory: Inventory, kinds: frozenset[ItemKind]) -> None:
    """Prints the operating system, the layers and the findings, then a table for each kind of item.

    Args:
        inventory: the inventory.
        kinds: the kinds that the user asked for, of which each item is shown; if there are none, all kinds, of which
            some show only what is the image's own.
    """
    _print_head(inventory)
    for section in _SECTIONS:
        if section.kind not in kinds if kinds else section.is_detail:
            continue
        items = [item for item in inventory.of_kind(section.kind) if section.wants(item)]
        shown = items
        if not kinds and section.kind in _WITHIN_BASE:
            shown = [item for item in items if not item.origin.is_base]
        _print_section(section, shown, len(items) - len(shown))


def _print_head(inventory: Inventory) -> None:
    system = inventory.operating_system
    echo(inventory.name)
    if system is None:
        echo("  no operating system: the registry has no version of Windows")
    else:
        words = (
            system.name, str(system.properties.get("display_version", "")), system.version,
            str(system.properties.get("installation_type", "")), str(system.properties.get("architecture", "")),
        )  # fmt: skip
        echo("  " + "  ".join(word for word in words if word))
    rows = [
        (
            str(layer.number), "base" if layer.is_base else "own", layer.digest.partition(":")[2][:_DIGITS] or "-",
            _cut(layer.created_by) or layer.path,
        )
        for layer in inventory.layers
    ]  # fmt: skip
    echo(f"\nLAYERS ({len(rows)})")
    for line in aligned([("LAYER", "ORIGIN", "DIGEST", "MADE BY"), *rows]):
        echo(f"  {line}")
    if inventory.findings:
        echo(f"\nFINDINGS ({len(inventory.findings)})")
    for finding in inventory.findings:
        echo(f"  ! {finding.kind}: {finding.place}: {finding.text}")


def _cut(step: str) -> str:
    return step if len(step) <= _STEP else step[: _STEP - 1] + "…"


def _print_section(section: _Section, items: list[Item], left_out: int) -> None:
    if left_out:
        own = f"{len(items)}, and " if items else ""
        echo(f"\n{section.title} ({own}{left_out} of the base: --kind {section.kind} shows them)")
    elif items:
        echo(f"\n{section.title} ({len(items)})")
    if items:
        heads = ("NAME", "VERSION", section.shows.replace("_", " ").upper(), "LAYER", "FROM")
        columns = zip(heads, *(_cells(section, item) for item in items), strict=True)
        # A column in which no item has anything is left out.
        filled = [column for column in columns if any(column[1:])]
        for line in aligned([tuple(cell or "-" for cell in row) for row in zip(*filled, strict=True)]):
            echo(f"  {line}")


def _cells(section: _Section, item: Item) -> tuple[str, ...]:
    layer = item.origin.layer
    number = "" if layer is None else f"{layer.number}{' base' if layer.is_base else ''}"
    shown = item.properties.get(section.shows, "")
    return (
        item.name, item.version or "", ", ".join(shown) if isinstance(shown, list) else str(shown), number,
        item.origin.place,
    )  # fmt: skip
