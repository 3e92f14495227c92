"""Reports whose parts are stated, for what no image of a test has: many files, hostile texts, huge numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from wclayer.inventory.item import Finding, FindingKind, Inventory, Item, ItemKind, Origin, Property, SubjectLayer
from wclayer.report.html import page
from wclayer.report.model import Examined, ImageReport
from wclayer.rights.audit.model import AuditedPlace, GrantReason, RightsAudit, RightsFinding, RightsGrant
from wclayer.rights.kinds import ObjectKind
from wclayer.rights.principals import Principal
from wclayer.survey.model import (
    DirectoryUsage,
    DuplicateContents,
    HiddenFile,
    HiddenReason,
    LayerUsage,
    Survey,
)
from wclayer.win32.names import path_key

LARGEST = (1 << 63) - 1
LAYERS = tuple(SubjectLayer(number, "", "", f"step {number}", number == 1, "") for number in (1, 2))


def usage(path: str, base: int, own: int, hidden: int = 0) -> DirectoryUsage:
    """What a directory takes: visible bytes of the base layer and of the own layer, and bytes of the base that are not
    visible."""
    return DirectoryUsage(
        path,
        (LayerUsage(1, 5, base + hidden, hidden, 5, 0, 0, 0, 4, 3), LayerUsage(2, 2, own, 0, 1, 1, 0, hidden, 2, 2)),
    )


def survey(directories: Mapping[str, tuple[int, int, int]], names: list[str]) -> Survey:
    """A survey with these directories, and files of these names that are hidden, and that are duplicates."""
    return Survey(
        name="image",
        layers=LAYERS,
        directories={path_key(path): usage(path, *sizes) for path, sizes in directories.items()},
        left_out=0,
        largest=(),
        hidden=tuple(
            HiddenFile(f"Files/{name}", LARGEST, 1, 2, HiddenReason.REPLACED, number % 2 == 0)
            for number, name in enumerate(names)
        ),
        duplicates=tuple(
            DuplicateContents("00" * 32, 10, 2, (f"Files/{name}", f"Files/other {name}")) for name in names
        ),
        hidden_files=len(names),
        duplicate_files=len(names),
        duplicate_bytes=10 * len(names),
    )


def items(names: list[str]) -> Iterator[Item]:
    """An item of each kind with each of these texts."""
    for kind in ItemKind:
        for name in names:
            properties: dict[str, Property] = dict.fromkeys(
                ("state", "installed", "start", "account", "command", "location", "store", "issuer", "edition"), name
            )
            yield Item(kind, name, name, Origin(name, LAYERS[1]), name, properties)


def examined(found: Survey, names: list[str]) -> Examined:
    """An image in which every text is one of these names."""
    grant = RightsGrant(
        Principal("S-1-1-0", names[0], True), 2, ("write",), GrantReason.ENTRY, ("(A;;FA;;;WD)",), False
    )  # fmt: skip
    findings = tuple(
        RightsFinding(
            AuditedPlace.SERVICE, name, f"C:\\{name}", ObjectKind.FILE, LAYERS[number % 2], (grant,), 3, True, ""
        )
        for number, name in enumerate(names)
    )
    expected = tuple(
        RightsFinding(AuditedPlace.WINDOWS, "", name, ObjectKind.FILE, LAYERS[0], (grant,), 0, True, name)
        for name in names
    )
    return Examined(
        name=" ".join(names),
        manifest=None,
        config=None,
        survey=found,
        inventory=Inventory(
            "image",
            "",
            "",
            LAYERS,
            tuple(items(names)),
            tuple(Finding(FindingKind.DAMAGED, name, name) for name in names),
        ),
        rights=RightsAudit("image", LAYERS, findings, expected, 7, 100, 3, ()),
    )


def write_page(file: Path, image: Examined, at: datetime | None = None) -> Path:
    """Writes the page about an image, and returns it."""
    file.write_bytes("".join(page(ImageReport(image, None, None, at))).encode())
    return file
