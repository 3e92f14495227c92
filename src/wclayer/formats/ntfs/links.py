"""The further names of files of a new volume, which their records get while they have room."""

from __future__ import annotations

from collections.abc import Sequence

from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.catalog import Catalog
from wclayer.formats.ntfs.mft import MasterFileTable
from wclayer.formats.ntfs.records import Attribute, has_list, insert_name, link_count, reference
from wclayer.formats.ntfs.structs import AttributeType, FileTooComplexError, Namespace, RecordFlags

_MAX_WAITING = 4 << 20
"""Bytes of the names that wait until the records of their files are written again."""
_OVERHEAD = 200


class Links:
    """Adds names to files.

    Args:
        mft: the records of the volume.
        catalog: the files and directories.
    """

    def __init__(self, mft: MasterFileTable, catalog: Catalog) -> None:
        self._mft = mft
        self._catalog = catalog
        self._waiting: dict[int, list[bytes]] = {}
        """The names of files with an attribute list, as FILE_NAME attributes by the number of the record."""
        self._size = 0

    def add(self, directory: int, name: str, record: int) -> None:
        """Adds a name in a directory to the file with this record.

        Raises:
            FileTooComplexError: the file has as many names as NTFS allows.
        """
        directories = self._catalog.directories
        encoded = name.encode("utf-16-le", "surrogatepass")
        waiting = self._waiting.get(record)
        first = self._catalog.names.first_value(record)
        # All but the directory and the name is the same in each name of a file.
        fields = first[8 : structs.FILE_NAME.size - 2]
        value = directories.references[directory].to_bytes(8, "little") + fields
        value += bytes((len(encoded) // 2, Namespace.POSIX)) + encoded
        page, start = self._mft.place(record)
        if link_count(page, start) + len(waiting or ()) >= structs.MAX_NAMES:
            raise FileTooComplexError(
                f"{self._catalog.names.path_of(value)!r}: a further name of a file with {structs.MAX_NAMES}, the most "
                "that NTFS allows"
            )
        directories.add_link(directory, record)
        if has_list(page, start):
            self._waiting.setdefault(record, []).append(value)
            self._size += len(value) + _OVERHEAD
            if self._size > _MAX_WAITING:
                self.finish()
        elif not insert_name(page, start, value):
            self._put(record, [value])

    def finish(self) -> None:
        """Writes the records of the files whose names are waiting."""
        for record, values in self._waiting.items():
            self._put(record, values)
        self._waiting.clear()
        self._size = 0

    def _put(self, record: int, values: Sequence[bytes]) -> None:
        """Writes the records of a file again, with further names."""
        attributes = self._mft.take_file(record)
        attributes += (Attribute(AttributeType.FILE_NAME, value=value, is_indexed=True) for value in values)
        self._catalog.put_file(reference(record, 1), RecordFlags.IN_USE, attributes)
