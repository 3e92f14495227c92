"""Counts differences: how many of each kind, and where most of them are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wclayer.comparison.documents import DocumentPart
from wclayer.comparison.image_diff import DocumentDifference, ImageDifference
from wclayer.comparison.inventory_diff import InventoryDifference
from wclayer.view.diff import Change, Difference
from wclayer.view.registry import RegistryDifference

Counts = Counter[Change]

FILE_KINDS = {
    "contents": {"size", "content"},
    "security": {"security"},
    "streams": {"streams"},
    "attributes": {"attributes"},
    "links": {"reparse"},
    "eas": {"eas"},
    "times": {"creation_time", "last_write_time", "change_time", "last_access_time"},
}
"""What may differ of a file that both sides have, and the fields of a difference that show it."""
_KEY_LEVELS = 3
"""How many names of a key's path say where it is (HKEY_LOCAL_MACHINE, SOFTWARE, Acme)."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of differences.

    Attributes:
        documents: of each part of the documents, of the history and of the layers; None if one of the two is a layer.
        inventory: of the things of each kind that the images hold, and of findings; None for layers.
        files: of files.
        file_kinds: of the files that both have, how many differ in what; one file may count several times.
        file_sizes: the bytes of the files that were added and removed.
        directories: of the files in each directory at the top of the volume (`Files/Windows`).
        registry: of keys and values of the registry.
        keys: of the keys and values below each key near the top (`HKEY_LOCAL_MACHINE\\SOFTWARE\\Acme`).
    """

    documents: Mapping[str, Counts] | None
    inventory: Mapping[str, Counts] | None
    files: Counts
    file_kinds: Mapping[str, int]
    file_sizes: Mapping[Change, int]
    directories: Mapping[str, Counts]
    registry: Counts
    keys: Mapping[str, Counts]

    @property
    def total(self) -> int:
        """The number of all differences."""
        parts = {**(self.documents or {}), **(self.inventory or {})}
        return sum(counts.total() for counts in (self.files, self.registry, *parts.values()))


def summarize(difference: ImageDifference) -> Summary:
    """Returns the numbers of what differs."""
    kinds: Counter[str] = Counter()
    sizes: Counter[Change] = Counter()
    directories, keys = _Places(), _Places()
    for file in difference.files:
        directories.note(_directory(file), file.change)
        if file.change is not Change.CHANGED and not file.is_directory:
            sizes[file.change] += file.size
        kinds.update(kind for kind, fields in FILE_KINDS.items() if fields & file.fields.keys())
    for change in difference.registry:
        keys.note(_top_key(change), change.change)
    return Summary(
        None if difference.documents is None else _document_counts(difference.documents),
        None if difference.inventory is None else _inventory_counts(difference.inventory),
        _counts(difference.files),
        kinds,
        sizes,
        directories.sorted(),
        _counts(difference.registry),
        keys.sorted(),
    )


class _Places:
    """Counts by place."""

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = defaultdict(Counter)

    def note(self, place: str, change: Change) -> None:
        self._counts[place][change] += 1

    def sorted(self) -> dict[str, Counts]:
        """Returns the counts, of the places with most changes first."""
        return dict(sorted(self._counts.items(), key=lambda item: (-item[1].total(), item[0])))


def _counts(changes: Iterable[Difference] | Iterable[RegistryDifference]) -> Counts:
    return Counter(each.change for each in changes)


def _document_counts(documents: DocumentDifference) -> dict[str, Counts]:
    found = {
        part.value: Counter(each.change for each in documents.fields if each.part is part) for part in DocumentPart
    }
    found["history"] = Counter(step.change for step in documents.history.changes)
    found["layers"] = Counter(layer.change for layer in documents.layers if layer.change is not None)
    return {part: counts for part, counts in found.items() if counts}


def _inventory_counts(inventory: InventoryDifference) -> dict[str, Counts]:
    found: dict[str, Counts] = defaultdict(Counter)
    for item in inventory.items:
        found[str(item.kind)][item.change] += 1
    findings = Counter({Change.REMOVED: len(inventory.old_findings), Change.ADDED: len(inventory.new_findings)})
    return {**found, "finding": findings} if findings.total() else found


def _directory(file: Difference) -> str:
    return "/".join(file.path.split("/", 2)[:2])


def _top_key(change: RegistryDifference) -> str:
    return "\\".join(change.key.split("\\", _KEY_LEVELS)[:_KEY_LEVELS])


def summary_record(summary: Summary) -> dict[str, Any]:
    """Returns the numbers for JSON."""
    return {
        "total": summary.total,
        "documents": None if summary.documents is None else _records(summary.documents),
        "inventory": None if summary.inventory is None else _records(summary.inventory),
        "files": _record(summary.files),
        "file_kinds": dict(summary.file_kinds),
        "file_sizes": _record(summary.file_sizes),
        "directories": _records(summary.directories),
        "registry": _record(summary.registry),
        "keys": _records(summary.keys),
    }


def _record(counts: Mapping[Change, int]) -> dict[str, int]:
    return {change.value: counts[change] for change in Change if counts.get(change)}


def _records(places: Mapping[str, Counts]) -> dict[str, dict[str, int]]:
    return {place: _record(counts) for place, counts in places.items()}
