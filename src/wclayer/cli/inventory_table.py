"""An inventory as tables for people, one for each kind of item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wclayer.cli.output import echo
from wclayer.cli.text_table import aligned
from wclayer.inventory.item import Inventory, Item, ItemKind
from wclayer.inventory.updates import INSTALLED, SUPERSEDED


@dataclass(frozen=True, slots=True)
class _Section:
    """A table: its title, its kind of items, the property that it shows beside name and version, and which items."""

    title: str
    kind: ItemKind
    shows: str = ""
    wants: Callable[[Item], bool] = lambda item: True


def _is_superseded(item: Item) -> bool:
    return item.properties.get("state") == SUPERSEDED


def _is_current(item: Item) -> bool:
    return not _is_superseded(item) and not item.properties.get("is_part")


def _is_program(item: Item) -> bool:
    return bool(item.properties.get("is_named")) and not item.properties.get("is_update")


_SECTIONS = (
    _Section("UPDATES", ItemKind.UPDATE, "state", _is_current),
    _Section("SUPERSEDED UPDATES", ItemKind.UPDATE, "state", _is_superseded),
    _Section("FEATURES", ItemKind.FEATURE, "source", lambda item: item.properties.get("state") == INSTALLED),
    _Section("PROGRAMS", ItemKind.PROGRAM, "view", _is_program),
    _Section("UPDATES OF PROGRAMS", ItemKind.PROGRAM, "parent", lambda item: bool(item.properties.get("is_update"))),
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
)
_DIGITS = 12
"""Digits of a digest that the list of layers shows."""
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
    files = (_Section("PE FILES", ItemKind.PE_FILE, "machine"),)
    for section in (*_SECTIONS, *files):
        if kinds and section.kind not in kinds:
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
            layer.created_by or layer.path,
        )
        for layer in inventory.layers
    ]  # fmt: skip
    echo(f"\nLAYERS ({len(rows)})")
    for line in aligned(rows):
        echo(f"  {line}")
    if inventory.findings:
        echo(f"\nFINDINGS ({len(inventory.findings)})")
    for finding in inventory.findings:
        echo(f"  ! {finding.kind}: {finding.place}: {finding.text}")


def _print_section(section: _Section, items: list[Item], left_out: int) -> None:
    if not items and not left_out:
        return
    more = f"; {left_out} of the base: --kind {section.kind}" if left_out else ""
    echo(f"\n{section.title} ({len(items)}{more})")
    # What has no versions, such as users, has no column for them.
    has_versions = any(item.version for item in items)
    rows = [_row(section, item, has_versions) for item in items]
    for line in aligned(rows):
        echo(f"  {line}")


def _row(section: _Section, item: Item, has_versions: bool) -> tuple[str, ...]:
    layer = item.origin.layer
    cells = [item.name]
    if has_versions:
        cells.append(item.version)
    if section.shows:
        shown = item.properties.get(section.shows, "")
        cells.append(", ".join(shown) if isinstance(shown, list) else str(shown))
    cells.append("" if layer is None else f"{layer.number}{' base' if layer.is_base else ''}")
    return (*(cell or "-" for cell in cells), item.origin.place)
