"""What an inventory consists of: items, each with the place and the layer that it is from, and findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

Property = str | int | bool | list[str]
"""A property of an item: a text, a number, yes or no, or several texts."""


class ItemKind(StrEnum):
    """What an item is."""

    OPERATING_SYSTEM = "operating-system"
    UPDATE = "update"
    FEATURE = "feature"
    PROGRAM = "program"
    MSI_PRODUCT = "msi-product"
    MSI_PATCH = "msi-patch"
    APPX_PACKAGE = "appx-package"
    DOTNET = "dotnet"
    SERVICE = "service"
    DRIVER = "driver"
    TASK = "task"
    USER = "user"
    ENVIRONMENT_VARIABLE = "environment-variable"
    PORT = "port"
    CERTIFICATE = "certificate"
    PYTHON_PACKAGE = "python-package"
    NODE_PACKAGE = "node-package"
    JAVA_PACKAGE = "java-package"
    NUGET_PACKAGE = "nuget-package"
    GO_MODULE = "go-module"
    RUST_CRATE = "rust-crate"
    PE_FILE = "pe-file"


KIND_ORDER = {kind: number for number, kind in enumerate(ItemKind)}
"""The order in which kinds are listed."""


KIND_WORDS = {
    ItemKind.OPERATING_SYSTEM: "operating system", ItemKind.UPDATE: "updates", ItemKind.FEATURE: "features",
    ItemKind.PROGRAM: "installed programs", ItemKind.MSI_PRODUCT: "MSI products", ItemKind.MSI_PATCH: "MSI patches",
    ItemKind.APPX_PACKAGE: "AppX packages", ItemKind.DOTNET: ".NET", ItemKind.SERVICE: "services",
    ItemKind.DRIVER: "drivers", ItemKind.TASK: "scheduled tasks", ItemKind.USER: "users",
    ItemKind.ENVIRONMENT_VARIABLE: "environment variables", ItemKind.PORT: "ports",
    ItemKind.CERTIFICATE: "certificates", ItemKind.PYTHON_PACKAGE: "Python packages",
    ItemKind.NODE_PACKAGE: "Node packages", ItemKind.JAVA_PACKAGE: "Java packages",
    ItemKind.NUGET_PACKAGE: "NuGet packages", ItemKind.GO_MODULE: "Go modules", ItemKind.RUST_CRATE: "Rust crates",
    ItemKind.PE_FILE: "PE files (programs and libraries)",
}  # fmt: skip
"""What the items of a kind are called within a sentence."""


@dataclass(frozen=True, slots=True)
class SubjectLayer:
    """A layer of what is inventoried.

    Attributes:
        number: its position from the base layer, which is 1. A disk has one layer.
        digest: the digest of its blob; "" if it is no layer of an image.
        diff_id: the digest of its tar; "" if it is no layer of an image.
        created_by: the step of the history that made it; "" if that is unknown.
        is_base: True if it belongs to the base image, False if it is the image's own.
        path: its layer directory, the file of its facts, or the disk file.
    """

    number: int
    digest: str
    diff_id: str
    created_by: str
    is_base: bool
    path: str

    def to_json(self) -> dict[str, Any]:
        """Returns the layer for JSON."""
        return {
            "number": self.number, "digest": self.digest or None, "diff_id": self.diff_id or None,
            "created_by": self.created_by or None, "is_base": self.is_base, "path": self.path,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Origin:
    r"""Where an item is from.

    Attributes:
        place: the path of a file (`C:\Windows\notepad.exe`), a key of the registry, perhaps with a value
            (`HKLM\SOFTWARE\Vendor\Program`, `HKLM\…:Path`), or a field of the configuration (`config: ExposedPorts`).
        layer: the layer that brought it; None for what the configuration says.
    """

    place: str
    layer: SubjectLayer | None

    @property
    def is_base(self) -> bool:
        """True if the base image brought it, False if it is the image's own."""
        return self.layer is not None and self.layer.is_base


def config_origin(field: str) -> Origin:
    """Returns a field of the configuration as an origin."""
    return Origin(f"config: {field}", None)


@dataclass(frozen=True, slots=True)
class Item:
    """A thing that an image holds.

    Attributes:
        kind: what it is.
        name: its name.
        version: its version, as it states it; "" if it has none.
        origin: where it is from.
        publisher: who made it, as it states it; "" if that is unknown.
        properties: what else is known of it, by names in lower case.
    """

    kind: ItemKind
    name: str
    version: str
    origin: Origin
    publisher: str = ""
    properties: Mapping[str, Property] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the item for JSON."""
        layer = self.origin.layer
        return {
            "kind": str(self.kind), "name": self.name, "version": self.version or None,
            "publisher": self.publisher or None, "from": self.origin.place,
            "layer": None if layer is None else layer.number,
            "digest": None if layer is None else layer.digest or None,
            "created_by": None if layer is None else layer.created_by or None,
            "is_base": self.origin.is_base, "properties": dict(self.properties),
        }  # fmt: skip


class FindingKind(StrEnum):
    """What a finding is."""

    DAMAGED = "damaged"
    """A part cannot be read; what it holds is missing in the inventory."""
    MISMATCH = "mismatch"
    """Two places contradict each other."""
    LIMITED = "limited"
    """A part exceeds a limit, or was not looked into; what it holds is missing in the inventory."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about an image that its user should know.

    Attributes:
        kind: what it is.
        place: where it is, as in `Origin`.
        text: what was found, and what was expected.
    """

    kind: FindingKind
    place: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """Returns the finding for JSON."""
        return {"kind": str(self.kind), "place": self.place, "text": self.text}


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that an image, a layer, a scratch or a disk holds.

    Attributes:
        name: what the user calls it.
        digest: the digest of the image's manifest; "" if it is no image.
        created: when the image was made, as its configuration writes it; "" if that is unknown.
        layers: its layers, base layer first.
        items: what it holds, by kind, in the order of `ItemKind`.
        findings: what is wrong with it, or could not be read.
    """

    name: str
    digest: str
    created: str
    layers: tuple[SubjectLayer, ...]
    items: tuple[Item, ...]
    findings: tuple[Finding, ...]

    def of_kind(self, kind: ItemKind) -> Iterator[Item]:
        """Yields the items of one kind."""
        return (item for item in self.items if item.kind is kind)

    @property
    def operating_system(self) -> Item | None:
        """The operating system; None if there is none, as in a layer without its base."""
        return next(self.of_kind(ItemKind.OPERATING_SYSTEM), None)

    def with_items(self, items: Iterable[Item]) -> Inventory:
        """Returns the inventory with other items."""
        return replace(self, items=tuple(items))

    def to_json(self) -> dict[str, Any]:
        """Returns the inventory for JSON."""
        return {
            "name": self.name, "digest": self.digest or None, "created": self.created or None,
            "layers": [layer.to_json() for layer in self.layers],
            "items": [item.to_json() for item in self.items],
            "findings": [finding.to_json() for finding in self.findings],
        }  # fmt: skip
