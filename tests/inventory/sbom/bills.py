"""Inventories of which bills of materials are made, and the validators of others that read these."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any, cast

from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import strategies as st
from spdx_tools.spdx.model.document import Document
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from wclayer.inventory.item import Finding, FindingKind, Inventory, Item, ItemKind, Origin, Property, SubjectLayer
from wclayer.inventory.sbom.cyclonedx import write_cyclonedx
from wclayer.inventory.sbom.spdx import write_spdx

BASE = SubjectLayer(1, f"sha256:{'1' * 64}", f"sha256:{'2' * 64}", "Apply image 10.0.20348.5499", True, "/store/1")
OWN = SubjectLayer(2, f"sha256:{'3' * 64}", f"sha256:{'4' * 64}", "COPY app C:\\app", False, "/store/2")
DIGEST = f"sha256:{'9' * 64}"


def item(
    kind: ItemKind,
    name: str,
    version: str = "",
    place: str = r"HKLM\SOFTWARE\Key",
    layer: SubjectLayer | None = OWN,
    publisher: str = "",
    **properties: Property,
) -> Item:
    """An item of the image's own layer."""
    return Item(kind, name, version, Origin(place, layer), publisher, properties)


def inventory(*items: Item, name: str = "localhost:5000/shop/app:1", findings: tuple[Finding, ...] = ()) -> Inventory:
    """The inventory of an image of two layers."""
    return Inventory(name, DIGEST, "2026-08-09T02:33:18.1185716Z", (BASE, OWN), items, findings)


WINDOWS = item(
    ItemKind.OPERATING_SYSTEM, "Windows Server 2022 Datacenter", "10.0.20348.5499", layer=BASE,
    publisher="Microsoft Corporation", architecture="amd64", edition="ServerDatacenter",
    installation_type="Server Core",
)  # fmt: skip
"""Windows Server Core."""
EXE = item(
    ItemKind.PE_FILE, "a.exe", "1.2.3.4", "C:\\a.exe", publisher="Foo (UK)", sha256="a" * 64,
    names=["C:\\a.exe", "C:\\b.exe"], is_dll=False, size=12,
)  # fmt: skip
"""A program with two names."""


def cyclonedx(of: Inventory, *, epoch: int | None = None) -> dict[str, Any]:
    """The bill in CycloneDX, which others have found valid."""
    data = cyclonedx_bytes(of, epoch=epoch)
    check_cyclonedx(data)
    record: dict[str, Any] = json.loads(data)
    return record


def cyclonedx_bytes(of: Inventory, *, epoch: int | None = None) -> bytes:
    stream = io.BytesIO()
    write_cyclonedx(of, stream, epoch=epoch)
    return stream.getvalue()


def check_cyclonedx(data: bytes) -> Bom:
    """Checks a document by the strict schema, and loads it into the model of cyclonedx-python-lib."""
    text = data.decode()
    error = _VALIDATOR.validate_str(text)
    assert error is None, str(error)[-500:]
    bom = cast(Any, Bom).from_json(json.loads(text))
    assert isinstance(bom, Bom)
    bom.validate()
    return bom


_VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


def spdx(of: Inventory, *, epoch: int | None = None) -> dict[str, Any]:
    """The bill in SPDX, which others have found valid."""
    data = spdx_bytes(of, epoch=epoch)
    check_spdx(data)
    record: dict[str, Any] = json.loads(data)
    return record


def spdx_bytes(of: Inventory, *, epoch: int | None = None) -> bytes:
    stream = io.BytesIO()
    write_spdx(of, stream, epoch=epoch)
    return stream.getvalue()


def check_spdx(data: bytes) -> Document:
    """Parses a document with spdx-tools, which finds nothing wrong with it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bill.spdx.json"
        file.write_bytes(data)
        document = parse_file(str(file))
    assert validate_full_spdx_document(document) == []
    return document


HOSTILE = (
    "", " ", "-", ".", "*", "?", "\0\x1b[31m\x7f", "\ud800", "\udfff\ud800", "a\nb\tc\r\n", "x" * 30_000,
    "\u202eexe.txt", "@", "@/", "/", "a/", ":", "a:", "a@b?c=d#e%2f", "\\", "(", "()", "a (b)", "Foo (UK)", "名前",
    "\U0001f600", "\ufffe", "a" * 999 + "(" * 500, "cpe:2.3:a:b:c", '"},{"', "</script>", "NOASSERTION", "NONE",
    "v1 v2 - x64 (x86)", "%", "%00",
)  # fmt: skip
"""Texts that break what takes them for names."""

TEXTS = st.sampled_from(HOSTILE) | st.text(st.integers(0, 0x10FFFF).map(chr), max_size=30)
_LAYERS = st.sampled_from([BASE, OWN, None]) | st.builds(
    SubjectLayer, st.integers(), TEXTS, TEXTS, TEXTS, st.booleans(), TEXTS
)
_PROPERTIES = st.dictionaries(
    TEXTS | st.sampled_from(["state", "sha256", "names", "architecture", "installation_type", "edition"]),
    TEXTS
    | st.integers()
    | st.booleans()
    | st.lists(TEXTS, max_size=3)
    | st.sampled_from(["superseded", "absent", "0" * 64]),
    max_size=4,
)
_ITEMS = st.builds(Item, st.sampled_from(ItemKind), TEXTS, TEXTS, st.builds(Origin, TEXTS, _LAYERS), TEXTS, _PROPERTIES)
INVENTORIES = st.builds(
    Inventory,
    TEXTS | st.sampled_from(["app:1", "a.b/c/d@" + DIGEST]),
    TEXTS | st.just(DIGEST),
    TEXTS | st.sampled_from(["2026-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"]),
    st.lists(_LAYERS.filter(bool), max_size=3).map(tuple),
    st.lists(_ITEMS, max_size=6).map(tuple),
    st.lists(st.builds(Finding, st.sampled_from(FindingKind), TEXTS, TEXTS), max_size=2).map(tuple),
)
"""Any inventory that the types permit."""
