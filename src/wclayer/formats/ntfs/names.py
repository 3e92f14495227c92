"""The names in the directories of a new volume, which are read back from the records of the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from operator import lt
from typing import Any

from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.directories import Directories
from wclayer.formats.ntfs.index import directory_entry
from wclayer.formats.ntfs.mft import MasterFileTable
from wclayer.formats.ntfs.number_table import NumberTable
from wclayer.formats.ntfs.records import SECOND_ATTRIBUTE, names_in, reference
from wclayer.formats.ntfs.structs import RECORD_SIZE, AttributeType, RecordHeader, SystemFile
from wclayer.win32.names import collation_key, name_key

_AT_ONCE = 100_000
"""Names of a directory that are sorted in memory at a time."""
_SAMPLE = 64

_VALUE = SECOND_ATTRIBUTE + structs.RESIDENT.size
_NAME = _VALUE + structs.FILE_NAME.size
_UNITS = _NAME - 2
_NUMBER = structs.RECORD.size - 4
_NUMBER_END = structs.RECORD.size
_SEPARATOR = "/"
"""A character that is in no name."""
_WIDE_SEPARATOR = _SEPARATOR.encode("utf-16-le")


def _entry_head(units: int) -> bytes:
    """Returns the first bytes of an entry after the number of the record, whose sequence number is 1."""
    key_length = structs.FILE_NAME.size + 2 * units
    return structs.INDEX_ENTRY.pack(reference(0, 1), _entry_length(units), key_length, 0, 0)[4:]


def _entry_length(units: int) -> int:
    return (structs.INDEX_ENTRY.size + structs.FILE_NAME.size + 2 * units + 7) & ~7


_HEADS = [_entry_head(units) for units in range(256)]
_PADS = [bytes(-(structs.FILE_NAME.size + 2 * units) % 8) for units in range(256)]

_Keys = Callable[[str], list[Any]]
"""Makes sort keys of names with separators between them."""


class Names:
    """Finds and sorts the names in directories.

    Args:
        mft: the records of the volume.
        directories: which records are in which directory.
    """

    def __init__(self, mft: MasterFileTable, directories: Directories) -> None:
        self._mft = mft
        self._directories = directories
        self._known = NumberTable()
        """Records by directory and name key, for the directories in which a name was looked up."""

    def find(self, directory: int, name: str) -> int | None:
        """Returns the record whose first name is that, in any case, in a directory; None if there is none."""
        for first, count in self._directories.new_files(directory):
            number = first
            for data in self._mft.records_from(first, count):
                for value in self._first_values(number, data):
                    self._known.keep((directory, name_key(_name_of(value))), number)
                    number += 1
        return self._known.get((directory, name_key(name)))

    def path_of(self, value: bytes) -> str:
        """Returns the path of the name in a FILE_NAME attribute from the volume's root, for messages."""
        path = _name_of(value)
        while (number := int.from_bytes(value[:6], "little")) != SystemFile.ROOT:
            value = self.first_value(number)
            path = f"{_name_of(value)}/{path}"
        return path

    def sorted_entries(self, directory: int) -> Iterator[list[bytes]]:
        """Yields the index entries of all names in a directory, in their order, many at a time."""
        count = sum(count for _, count in self._directories.files(directory))
        count += sum(1 for _ in self._directories.links(directory))
        if count > _AT_ONCE:
            yield from self._sorted_in_parts(directory, count)
            return
        names: list[bytes] = []
        entries: list[bytes] = []
        for more_names, more_entries in self._entries(directory):
            names += more_names
            entries += more_entries
        yield _sorted(_joined(names), entries)

    def _sorted_in_parts(self, directory: int, count: int) -> Iterator[list[bytes]]:
        """Does the same as `sorted_entries` with part of the entries in memory: it reads all several times."""
        is_ascii = all(_joined(names).isascii() for names, _ in self._entries(directory))
        keys_of = _ascii_keys if is_ascii else _any_keys
        samples: list[Any] = []
        last = None
        is_sorted = True
        for names, _ in self._entries(directory):
            keys = keys_of(_joined(names))
            is_sorted = is_sorted and (last is None or last < keys[0]) and _is_sorted(keys)
            last = keys[-1]
            samples += keys[::_SAMPLE]
        if is_sorted:
            for _, entries in self._entries(directory):
                yield entries
            return
        samples.sort()
        bounds = samples[:: max(1, len(samples) * _AT_ONCE // count)]
        for low, high in zip([None, *bounds[1:]], [*bounds[1:], None], strict=True):
            part: list[tuple[Any, bytes]] = []
            for names, entries in self._entries(directory):
                part += (
                    (key, entry)
                    for key, entry in zip(keys_of(_joined(names)), entries, strict=True)
                    if (low is None or low <= key) and (high is None or key < high)
                )
            part.sort()
            yield [entry for _, entry in part]

    def _entries(self, directory: int) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """Yields the names in a directory, and their index entries, as many at a time as a page of the MFT has."""
        for first, count in self._directories.files(directory):
            number = first
            for data in self._mft.records_from(first, count):
                found = _usual_entries(data) if number >= structs.FIRST_USER_RECORD else None
                yield found or self._unusual_entries(number, data)
                number += len(data) // RECORD_SIZE
        own = self._directories.references[directory].to_bytes(8, "little")
        # The names of a file are all found when it is read for the first time.
        for number in dict.fromkeys(self._directories.links(directory)):
            record = self._mft.record(number)
            names = names_in(record) or self.values(number)
            values = [value for value in names[1:] if value[:8] == own]
            yield _with_entries([(number, 1)] * len(values), values)

    def _unusual_entries(self, number: int, data: bytes) -> tuple[list[bytes], list[bytes]]:
        """Does the same as `_usual_entries` for records of any form, the first of which has this number."""
        files = [
            (number + at // RECORD_SIZE, RecordHeader._make(structs.RECORD.unpack_from(data, at)).sequence)
            for at in range(0, len(data), RECORD_SIZE)
        ]
        return _with_entries(files, list(self._first_values(number, data)))

    def _first_values(self, number: int, data: bytes) -> Iterator[bytes]:
        """Yields the values of the first FILE_NAME attributes of records, the first of which is `number`."""
        for at in range(0, len(data), RECORD_SIZE):
            if data[at + SECOND_ATTRIBUTE] == AttributeType.FILE_NAME:
                yield data[at + _VALUE : at + _NAME + 2 * data[at + _UNITS]]
            else:
                yield self.values(number + at // RECORD_SIZE)[0]

    def first_value(self, number: int) -> bytes:
        """Returns the value of the first FILE_NAME attribute of a file."""
        return next(self._first_values(number, self._mft.record(number)))

    def values(self, number: int) -> list[bytes]:
        """Returns the values of all FILE_NAME attributes of a file, in the order in which the names were given."""
        return [
            attribute.value
            for attribute in self._mft.attributes(number)
            if attribute.type == AttributeType.FILE_NAME and attribute.value is not None
        ]


def _usual_entries(data: bytes) -> tuple[list[bytes], list[bytes]] | None:
    """Returns the names and index entries of records that have no attribute list, and the sequence number 1.

    Returns:
        None if a record has an attribute list.
    """
    if data[SECOND_ATTRIBUTE::RECORD_SIZE].strip(b"\x30"):
        return None
    names, entries = [], []
    heads, pads = _HEADS, _PADS
    for at in range(0, len(data), RECORD_SIZE):
        units = data[at + _UNITS]
        end = at + _NAME + 2 * units
        names.append(data[at + _NAME : end])
        entries.append(
            data[at + _NUMBER : at + _NUMBER_END] + heads[units] + data[at + _VALUE : end] + pads[units]
        )  # fmt: skip
    return names, entries


def _with_entries(files: list[tuple[int, int]], values: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Returns names and index entries.

    Args:
        files: the number and the sequence number of the record of each.
        values: the FILE_NAME attributes.
    """
    entries = [directory_entry(reference(*file), value) for file, value in zip(files, values, strict=True)]
    return [value[structs.FILE_NAME.size :] for value in values], entries


def _name_of(value: bytes) -> str:
    """Returns the name in the value of a FILE_NAME attribute."""
    return value[structs.FILE_NAME.size :].decode("utf-16-le", "surrogatepass")


def _joined(names: list[bytes]) -> str:
    """Returns names in UTF-16 as one text, with separators between them."""
    return _WIDE_SEPARATOR.join(names).decode("utf-16-le", "surrogatepass")


def _sorted(names: str, entries: list[bytes]) -> list[bytes]:
    """Returns index entries in the order of their names, which are given with separators between them."""
    if not entries:
        return entries
    keys = _ascii_keys(names) if names.isascii() else _any_keys(names)
    if _is_sorted(keys):
        return entries
    return [entry for _, entry in sorted(zip(keys, entries, strict=True))]


def _is_sorted(keys: list[Any]) -> bool:
    return all(map(lt, keys, islice(keys, 1, None)))


def _ascii_keys(names: str) -> list[Any]:
    return names.upper().split(_SEPARATOR)


def _any_keys(names: str) -> list[Any]:
    return [collation_key(name) for name in names.split(_SEPARATOR)]
