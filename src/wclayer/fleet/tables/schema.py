"""The tables of a fleet, each with its columns: their types, and a sentence that says what they hold.

A table is a named tuple. The annotation of a field says its type and its meaning; the schemas of Arrow
(`parquet.arrow_schema`) and docs/fleet-schema.md are made from it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, NamedTuple, get_type_hints

SCHEMA_VERSION = 1
"""The version of the tables. It grows with any change of the columns or of their meaning."""


class FileKind(StrEnum):
    """What an entry of a layer is."""

    FILE = "file"
    DIRECTORY = "directory"
    HARD_LINK = "hard-link"
    """A further name of a file of the layer, or of a layer below it."""
    LINK = "link"
    """A symbolic link, a junction or a mount point."""
    TOMBSTONE = "tombstone"
    """The name is deleted from the layers below."""


class ImageRow(NamedTuple):
    """The references that were listed, each with the image that it names."""

    reference: Annotated[str, "The reference or location that was listed, as `wclayer` takes it."]
    source: Annotated[str, "What was listed: the value of `--from`."]
    repository: Annotated[str | None, "The repository of the reference, with its registry."]
    tag: Annotated[str | None, "The tag of the reference."]
    image: Annotated[str | None, "The digest of the image's manifest: the key of the other tables."]
    created: Annotated[datetime | None, "When the image was made, as its configuration says."]
    architecture: Annotated[str | None, "The processor, in Go's words (`amd64`)."]
    os_name: Annotated[str | None, "The operating system, as the configuration says (`windows`)."]
    os_version: Annotated[
        str | None, "The version of Windows with its revision: that of the registry, or else of the configuration."
    ]
    product_name: Annotated[str | None, "The name of Windows (`Windows Server 2022 Datacenter`), by the registry."]
    build: Annotated[int | None, "The third number of `os_version`: the release."]
    revision: Annotated[int | None, "The fourth number of `os_version` (UBR): the update of the release."]
    base_name: Annotated[str | None, "The name of the base image, as the annotations of the manifest say."]
    base_digest: Annotated[str | None, "The digest of the base image, as the annotations of the manifest say."]
    base_os_version: Annotated[
        str | None, "The version of Windows of the base image, as the history of the image says."
    ]
    base_layers: Annotated[int | None, "How many of the layers are the base image's."]
    layer_count: Annotated[int, "How many layers the image has."]
    layers: Annotated[tuple[str, ...], "The digests of the layers' blobs, base layer first."]
    diff_ids: Annotated[tuple[str, ...], "The digests of the uncompressed layers, base layer first."]
    own_size: Annotated[int | None, "Bytes of the compressed layers that are not the base image's."]
    size: Annotated[int | None, "Bytes of all compressed layers."]
    user: Annotated[str | None, "The user that a container of the image has."]
    entrypoint: Annotated[str | None, "The entrypoint, as a JSON list of texts."]
    cmd: Annotated[str | None, "The arguments or the command, as a JSON list of texts."]
    labels: Annotated[str | None, "The labels, as a JSON object of texts."]
    status: Annotated[
        str,
        "`ok`; `incomplete` if a layer is damaged; `error`; `other-platform` or `artifact` if it is not of Windows.",
    ]
    error: Annotated[str | None, "What is wrong with the image; NULL if its status is `ok`."]
    error_layer: Annotated[str | None, "The digest of the damaged layer, whose row in `layers` has the cause."]
    scanned: Annotated[datetime | None, "When the row was made. It is no part of what is known of the image."]


class LayerRow(NamedTuple):
    """The distinct layers of all images, also those that cannot be read."""

    layer: Annotated[str, "The digest of the layer's blob."]
    diff_id: Annotated[str | None, "The digest of the uncompressed layer."]
    media_type: Annotated[str | None, "The media type of the blob."]
    stored_size: Annotated[int | None, "Bytes of the blob."]
    size: Annotated[int | None, "Bytes of the uncompressed layer: its tar."]
    entries: Annotated[int | None, "How many entries it has: rows of `files`."]
    files: Annotated[int | None, "How many of the entries are files."]
    bytes: Annotated[int | None, "Bytes of the contents of its files; a file with several names counts once."]
    is_base: Annotated[bool, "Whether it belongs to the base image in any image."]
    created_by: Annotated[str | None, "The step that made it, as the history of an image says."]
    facts_version: Annotated[int | None, "The version of the facts that were read from it."]
    error: Annotated[str | None, "Why it cannot be read; NULL if it was read."]


class PackageRow(NamedTuple):
    """The programs and packages that images hold."""

    image: Annotated[str, "The digest of the image's manifest."]
    kind: Annotated[
        str,
        "`program`, `msi-product`, `appx-package`, `dotnet`, `python-package`, `node-package`, `java-package`,"
        " `nuget-package`, `go-module` or `rust-crate`.",
    ]
    name: Annotated[str, "Its name."]
    version: Annotated[str | None, "Its version, as it states it."]
    publisher: Annotated[str | None, "Who made it, as it states it."]
    purl: Annotated[str | None, "Its package URL."]
    place: Annotated[str, "The file, the key of the registry or the field of the configuration that tells of it."]
    layer: Annotated[str | None, "The digest of the layer that brought it; NULL for what the configuration says."]
    is_base: Annotated[bool, "Whether the base image brought it."]
    properties: Annotated[str, "What else is known of it, as a JSON object."]


class UpdateRow(NamedTuple):
    """The updates of Windows that images know, installed or not."""

    image: Annotated[str, "The digest of the image's manifest."]
    kb: Annotated[str | None, "The number of the article (`KB5031364`); NULL if the name of the update has none."]
    name: Annotated[str, "The identity of the update's package."]
    version: Annotated[str | None, "The version of the package."]
    state: Annotated[str | None, "`installed`, `superseded`, `staged`, …: how far its installation is."]
    place: Annotated[str, "The key of the registry that tells of it."]
    layer: Annotated[str | None, "The digest of the layer that brought it."]
    is_base: Annotated[bool, "Whether the base image brought it."]
    properties: Annotated[str, "What else is known of it, as a JSON object."]


class RegistryRow(NamedTuple):
    """What else the registry and the configuration of images tell: services, users, tasks, certificates, …"""

    image: Annotated[str, "The digest of the image's manifest."]
    kind: Annotated[
        str,
        "`operating-system`, `feature`, `msi-patch`, `service`, `driver`, `task`, `user`, `environment-variable`,"
        " `port` or `certificate`.",
    ]
    name: Annotated[str, "Its name."]
    version: Annotated[str | None, "Its version, as it states it."]
    publisher: Annotated[str | None, "Who made it, as it states it."]
    place: Annotated[str, "The file, the key of the registry or the field of the configuration that tells of it."]
    layer: Annotated[str | None, "The digest of the layer that brought it; NULL for what the configuration says."]
    is_base: Annotated[bool, "Whether the base image brought it."]
    properties: Annotated[str, "What else is known of it, as a JSON object."]


class FindingRow(NamedTuple):
    """What users of the images should know: damage, contradictions, limits."""

    image: Annotated[str, "The digest of the image's manifest."]
    kind: Annotated[str, "`damaged`, `mismatch` or `limited`."]
    place: Annotated[str, "Where it is."]
    text: Annotated[str, "What was found, and what was expected."]


class FileRow(NamedTuple):
    """All entries of the layers. What an image shows of them is the view `image_files` of `wclayer fleet query`."""

    layer: Annotated[str, "The digest of the layer's blob."]
    path: Annotated[str, "The path from the layer's root, with slashes (`Files/Windows/notepad.exe`)."]
    key: Annotated[
        str | None,
        "The path in NTFS's upper case, by which names are compared; NULL if `upper(path)` is that: if it is ASCII.",
    ]
    kind: Annotated[str, "`file`, `directory`, `hard-link`, `link` or `tombstone`."]
    size: Annotated[int | None, "Bytes of the file's main stream."]
    attributes: Annotated[int | None, "The attributes of Windows (FILE_ATTRIBUTE_…), as a bit mask."]
    security: Annotated[str | None, "The security descriptor as SDDL, or `hex:…` if SDDL cannot express it."]
    sha256: Annotated[str | None, "The SHA-256 of the file's contents, in hexadecimal."]
    link_target: Annotated[
        str | None, "For a hard link, the path of the file's first name; for a link, where it leads to."
    ]
    created: Annotated[int | None, "Time of creation, as a FILETIME: 100 ns since 1601-01-01 UTC."]
    accessed: Annotated[int | None, "Time of the last access, as a FILETIME."]
    written: Annotated[int | None, "Time of the last write, as a FILETIME."]
    changed: Annotated[int | None, "Time of the last change of contents or metadata, as a FILETIME."]
    streams: Annotated[int | None, "How many alternate data streams it has."]
    pe_version: Annotated[str | None, "The version of a program or library (PE file)."]
    pe_product: Annotated[str | None, "The name of the product that a PE file belongs to."]
    pe_company: Annotated[str | None, "The company that made a PE file, as it states it."]
    pe_machine: Annotated[str | None, "The processor of a PE file (`amd64`)."]
    pe_signed: Annotated[bool | None, "Whether a PE file has a signature in itself; nobody verified it."]


class Table(NamedTuple):
    """A table, and how its rows are kept.

    Attributes:
        name: its name, and that of its folder.
        row: the named tuple of its columns.
        order: the columns by which the rows of a Parquet file are sorted. All others follow, so that the order of
            equal rows does not matter.
    """

    name: str
    row: type[Any]
    order: tuple[str, ...]

    @property
    def description(self) -> str:
        """What its rows are."""
        return str(self.row.__doc__)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Its columns."""
        return _columns(self)


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: its name.
        kind: its type: `str`, `int`, `bool`, `datetime` (UTC), or `tuple` for a list of texts.
        is_nullable: whether it may be NULL, which means that the value is unknown or that there is none.
        description: what it holds.
    """

    name: str
    kind: type
    is_nullable: bool
    description: str


IMAGES = Table("images", ImageRow, ("reference", "source"))
LAYERS = Table("layers", LayerRow, ("layer",))
PACKAGES = Table("packages", PackageRow, ("image", "kind", "name", "version", "place"))
UPDATES = Table("updates", UpdateRow, ("image", "kb", "name"))
REGISTRY = Table("registry", RegistryRow, ("image", "kind", "name", "place"))
FINDINGS = Table("findings", FindingRow, ("image", "kind", "place"))
FILES = Table("files", FileRow, ())
"""Its rows have the order of `file_rows`: they are too many to be sorted in memory."""

OF_IMAGES = (PACKAGES, UPDATES, REGISTRY, FINDINGS)
"""The tables with what images hold, keyed by `image`. Each has the buckets of the table of images."""
BUCKETED = (*OF_IMAGES, IMAGES)
"""The tables that have buckets, in the order in which a bucket of them is written."""
TABLES = (IMAGES, LAYERS, PACKAGES, UPDATES, REGISTRY, FINDINGS, FILES)
"""All tables."""


def unknown(row: type[Any]) -> dict[str, Any]:
    """Returns the columns of a table, all of them NULL."""
    return dict.fromkeys(row._fields)


@cache
def _columns(table: Table) -> tuple[Column, ...]:
    hints = get_type_hints(table.row, include_extras=True)
    return tuple(_column(name, hints[name]) for name in table.row._fields)


def _column(name: str, hint: Any) -> Column:
    """Returns the column of a field with a type such as `Annotated[str | None, "…"]`."""
    (description,) = hint.__metadata__
    kinds = getattr(hint.__origin__, "__args__", None)
    if kinds is None:
        return Column(name, hint.__origin__, False, description)
    if hint.__origin__ == tuple[str, ...]:
        return Column(name, tuple, False, description)
    return Column(name, kinds[0], True, description)
