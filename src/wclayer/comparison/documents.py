"""Compares what the documents of two images say: manifest, platform, configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from wclayer.images.config import ImageConfig
from wclayer.images.manifest import Manifest
from wclayer.view.diff import Change


class DocumentPart(StrEnum):
    """A part of the documents of an image."""

    MANIFEST = "manifest"
    """The type and the annotations of the manifest."""
    PLATFORM = "platform"
    """The machine that the image is made for."""
    IMAGE = "image"
    """What the configuration says about the image itself: when it was made, by whom."""
    CONFIG = "config"
    """What a container of the image runs, and how."""


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """A field of the documents that differs.

    Attributes:
        part: the part of the documents.
        field: the name of the field ("User", "Env", "os.version").
        key: which member of the field: a variable, a label, a port; "" for the field as a whole.
        old, new: the values, as JSON has them; None for a field or a member that is not there.
    """

    part: DocumentPart
    field: str
    key: str
    old: object
    new: object

    @property
    def change(self) -> Change:
        """Whether the field was added, removed or changed."""
        if self.old is None:
            return Change.ADDED
        return Change.REMOVED if self.new is None else Change.CHANGED


_NAMES_OF_USERS = frozenset({"Labels", "ExposedPorts", "Volumes", "annotations"})
"""The fields whose members have names that users choose. An empty member of them is there."""
_PLATFORM = ("os", "architecture", "variant", "os.version", "os.features")
_ELSEWHERE = frozenset({*_PLATFORM, "config", "rootfs", "history"})
"""The fields of a configuration that are compared for themselves."""


def document_changes(
    a: tuple[Manifest, ImageConfig], b: tuple[Manifest, ImageConfig], *, times: bool
) -> Iterator[DocumentChange]:
    """Yields what differs from the documents of one image to those of another.

    An empty field is the same as a missing one: programs write either. Variables are compared by their names, in any
    case, as Windows does.

    Args:
        a, b: the manifests and the configurations.
        times: whether the times at which the images were made are compared.
    """
    (manifest_a, config_a), (manifest_b, config_b) = a, b
    kept = ("mediaType", "artifactType", "annotations")
    yield from _fields(
        DocumentPart.MANIFEST,
        _selected(manifest_a.view.record, kept) | {"mediaType": manifest_a.media_type},
        _selected(manifest_b.view.record, kept) | {"mediaType": manifest_b.media_type},
    )
    record_a, record_b = config_a.view.record, config_b.view.record
    yield from _fields(DocumentPart.PLATFORM, _selected(record_a, _PLATFORM), _selected(record_b, _PLATFORM))
    left_out = _ELSEWHERE if times else _ELSEWHERE | {"created"}
    rest_a, rest_b = ({key: record[key] for key in record if key not in left_out} for record in (record_a, record_b))
    yield from _fields(DocumentPart.IMAGE, rest_a, rest_b)
    yield from _fields(DocumentPart.CONFIG, config_a.view.view("config").record, config_b.view.view("config").record)


def _selected(record: Mapping[str, object], names: tuple[str, ...]) -> dict[str, object]:
    return {name: record[name] for name in names if name in record}


def _fields(part: DocumentPart, a: Mapping[str, object], b: Mapping[str, object]) -> Iterator[DocumentChange]:
    for name in [*a, *(name for name in b if name not in a)]:
        old, new = a.get(name) or None, b.get(name) or None
        if old == new:
            continue
        members_a, members_b = _members(name, old), _members(name, new)
        found = []
        if members_a is not None and members_b is not None:
            found = list(_member_changes(part, name, members_a, members_b))
        # Lists of variables that say the same in another order have no member that differs.
        yield from found or [DocumentChange(part, name, "", old, new)]


def _members(field: str, value: object) -> dict[str, tuple[str, object]] | None:
    """Returns the members of a field by their keys, each with its name; None for a field that is compared whole."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return {name: (name, member) for name, member in value.items() if member or field in _NAMES_OF_USERS}
    if field == "Env" and isinstance(value, list) and all(isinstance(item, str) for item in value):
        # Hidden variables, such as that of a drive's directory (=C:), begin with the character.
        ends = [(item, item.find("=", 1)) for item in value]
        return {item[:end].upper(): (item[:end], item[end + 1 :]) if end > 0 else (item, "") for item, end in ends}
    return None


def _member_changes(
    part: DocumentPart, field: str, a: dict[str, tuple[str, object]], b: dict[str, tuple[str, object]]
) -> Iterator[DocumentChange]:
    for key in [*a, *(key for key in b if key not in a)]:
        old, new = a.get(key), b.get(key)
        if old != new:
            name = (new or old or ("", None))[0]
            yield DocumentChange(part, field, name, None if old is None else old[1], None if new is None else new[1])
