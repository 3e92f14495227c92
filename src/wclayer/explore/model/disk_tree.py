"""The files of the NTFS volume in a disk file as a tree. Nothing in it has a mark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from wclayer.errors import FormatError
from wclayer.explore.model.details import Fact, heading, warning
from wclayer.explore.model.files import FileItem, FileTree, windows_path
from wclayer.explore.model.marks import Mark
from wclayer.explore.model.metadata import ea_facts, info_facts, link_target, reparse_facts, size_fact
from wclayer.explore.model.security import Accounts, rights_facts, security_facts
from wclayer.formats.ntfs.structs import RECORD_MASK, AttributeType, Namespace, SystemFile
from wclayer.formats.ntfs.volume import FileName, FileRecord, StreamAttribute
from wclayer.formats.ntfs.wof import STREAM
from wclayer.inventory.subject.disk_files import DiskFiles, record_of
from wclayer.inventory.subject.files import SubjectFile
from wclayer.layers.volume.reader import basic_info, eas_of
from wclayer.rights.kinds import ObjectKind
from wclayer.view.layer_view import FileStatus
from wclayer.win32.names import illegal_reason, name_key, path_key
from wclayer.win32.shown import size_text

_DRIVE = "Files"
"""The path of C: in a tree of files."""
_DEPTH = 512
_MOST_NAMES = 20
"""Other names of a file that are listed."""


class DiskItem(FileItem):
    """An item of a `DiskTree`."""

    __slots__ = ("_damage", "_target", "number")

    def __init__(self, path: str, number: int, file: SubjectFile, *, counts: bool, target: str) -> None:
        super().__init__(
            path.rpartition("/")[2], path, path_key(path), file.is_directory, file.size, counts, Mark.SAME,
            False, 1,
        )  # fmt: skip
        self.number = number
        """The number of its record."""
        self._target = target
        self._damage = ""

    @classmethod
    def of_damage(cls, path: str, number: int, file: SubjectFile, damage: str) -> DiskItem:
        """Returns the item of a name whose record cannot be read, or that no file can have."""
        item = cls(path, number, file, counts=False, target="")
        item.is_directory, item.size, item._damage = False, 0, damage
        return item

    @property
    def title(self) -> str:
        return f"{self.name} cannot be read" if self._damage else super().title

    @property
    def damage(self) -> str:
        return self._damage

    @property
    def place(self) -> str:
        # NTFS allows names that differ in case only.
        return self.path

    @property
    def is_link(self) -> bool:
        return bool(self._target)

    @property
    def target(self) -> str:
        return self._target


class DiskTree(FileTree):
    """The files of a volume. If it holds a layer, the directory `Files` is C:, and what is beside it is shown, too.

    Args:
        files: the files of the disk, which the caller closes.
        accounts: the names of its accounts.
    """

    def __init__(self, files: DiskFiles, accounts: Accounts) -> None:
        self._files = files
        self._accounts = accounts
        self._volume = files.volume

    def roots(self) -> list[FileItem]:
        top = self._files.top()
        if self._files.holds_layer:
            return list(self._below("", top))
        return [self._item(_DRIVE, top, counts=True)]

    def children(self, item: FileItem) -> list[FileItem]:
        if not item.is_directory or item.is_link:
            return []
        if item.path.count("/") > _DEPTH:
            raise FormatError(f"{item.path[:100]}: more than {_DEPTH} directories deep")
        return list(self._below(f"{item.path}/", self._file(item)))

    def _below(self, prefix: str, directory: SubjectFile) -> Iterator[FileItem]:
        """Yields the items of what is in a directory. What is damaged is an item that says so."""
        for name, number in self._files.names(directory):
            path = prefix + name
            reason = illegal_reason(name)
            try:
                if reason is not None:
                    raise FormatError(f"no file can have this name: {reason}")
                file = self._files.found(directory, name, number)
                yield self._item(path, file, counts=self._is_first_name(directory, file, name))
            except FormatError as error:
                # A separator in a name would lead to another place.
                shown = prefix + name.replace("/", "\N{FULLWIDTH SOLIDUS}") if reason else path
                yield DiskItem.of_damage(shown, number, directory, str(error))

    def _item(self, path: str, file: SubjectFile, *, counts: bool) -> DiskItem:
        record = record_of(file)
        reparse = self._files.reparse(record) if file.is_link else None
        target = "" if reparse is None else link_target(reparse) or "?"
        return DiskItem(path, record.number, file, counts=counts, target=target)

    def _is_first_name(self, directory: SubjectFile, file: SubjectFile, name: str) -> bool:
        """Returns whether a file is counted under this name: under one of its names it is."""
        if file.is_directory:
            return True
        names = _long_names(record_of(file))
        if len(names) < 2:
            return True
        number = record_of(directory).number
        return (names[0].parent & RECORD_MASK, name_key(names[0].name)) == (number, name_key(name))

    def _file(self, item: FileItem) -> SubjectFile:
        found = _disk_item(item)
        if found.damage:
            raise FormatError(found.damage)
        return self._files.at(found.path, found.number)

    def same_below(self, item: FileItem) -> object | None:
        return None

    # What is known of one item.

    def facts(self, item: FileItem) -> Iterator[Fact]:
        found = _disk_item(item)
        if found.damage:
            yield warning(found.damage)
            yield Fact(f"{found.number:,}", "record")
            return
        record = record_of(self._file(item))
        data = record.find(AttributeType.DATA)
        if not record.is_directory and data is not None:
            yield size_fact(data.size)
            yield Fact(self._stored_text(data), "takes")
        reparse = self._files.reparse(record)
        if reparse is not None:
            yield from reparse_facts(reparse)
        yield heading("Metadata")
        yield from info_facts(basic_info(record))
        yield Fact(f"{record.number:,} (used {record.sequence:,} times)", "record")
        for name in record.names():
            if name.namespace == Namespace.DOS:
                yield Fact(name.name, "short name")
        streams = self.streams(item)
        if streams:
            yield heading("Streams")
            for stream, size in streams:
                yield Fact(size_text(size), f":{stream}")
        yield from self._other_names(found, record)
        yield from security_facts(self._security(record), _kind(record), self._accounts)
        yield from ea_facts(self._eas(record))

    def rights(self, item: FileItem) -> Iterator[Fact]:
        if _disk_item(item).damage:
            return iter(())
        record = record_of(self._file(item))
        return rights_facts(self._security(record), _kind(record), self._accounts)

    def _security(self, record: FileRecord) -> bytes | None:
        return self._volume.security(record, record.information().security_id)

    def _stored_text(self, data: StreamAttribute) -> str:
        if data.value is not None:
            return "no clusters: it is in its record"
        size = data.runs.allocated * self._volume.cluster_size
        return f"{data.runs.allocated:,} clusters ({size_text(size)})"

    def _other_names(self, item: DiskItem, record: FileRecord) -> Iterator[Fact]:
        names = _long_names(record)
        if record.is_directory or len(names) < 2:
            return
        yield heading(f"{len(names):,} names (hard links)")
        paths = (self._path_of(name) for name in names)
        for path in islice((path for path in paths if path_key(path) != item.key), _MOST_NAMES):
            yield Fact(windows_path(path), "also")
        if len(names) > _MOST_NAMES + 1:
            yield Fact(f"and {len(names) - _MOST_NAMES - 1:,} more")

    def _path_of(self, name: FileName) -> str:
        """Returns the path of a name in the tree, "…" in the place of directories whose records are damaged."""
        parts = [name.name]
        above = name.parent & RECORD_MASK
        with suppress(FormatError):
            while above != SystemFile.ROOT and len(parts) <= _DEPTH:
                parent = _long_names(self._volume.record(above))[:1]
                if not parent:
                    break
                parts.append(parent[0].name)
                above = parent[0].parent & RECORD_MASK
        if above != SystemFile.ROOT:
            parts.append("…")
        if not self._files.holds_layer:
            parts.append(_DRIVE)
        return "/".join(reversed(parts))

    def _eas(self, record: FileRecord) -> bytes:
        found = record.find(AttributeType.EA)
        if found is None:
            return b""
        try:
            return eas_of(self._volume, found)
        except ValueError:
            # They are shown as damaged.
            return self._volume.value(found)

    # What is read of one item.

    def open(self, item: FileItem) -> BinaryIO:
        return self._files.open(self._file(item))

    def has_data(self, item: FileItem) -> bool:
        return not item.is_directory and record_of(self._file(item)).find(AttributeType.DATA) is not None

    def streams(self, item: FileItem) -> list[tuple[str, int]]:
        if _disk_item(item).damage:
            return []
        record = record_of(self._file(item))
        # The contents of a compressed file, which are shown as its own.
        hidden = STREAM if self._files.is_overlaid(record) else None
        return [
            (each.name, each.size)
            for each in record.attributes
            if each.type == AttributeType.DATA and each.name and each.name != hidden
        ]

    def read_stream(self, item: FileItem, stream: str, most: int) -> bytes:
        found = record_of(self._file(item)).find(AttributeType.DATA, stream)
        if found is None:
            raise FormatError(f"has no stream {stream!r}")
        return b"".join(self._volume.chunks(found, 0, min(most, found.size)))

    def status(self, item: FileItem) -> FileStatus:
        file = self._file(item)
        record = record_of(file)
        reparse = None if self._files.is_overlaid(record) else self._files.reparse(record)
        names = max(1, len(_long_names(record)))
        return FileStatus(
            item.path, file.size, basic_info(record), names, record.number, reparse, Path(self._files.disk.path)
        )

    def stored_size(self, item: FileItem) -> int:
        record = record_of(self._file(item))
        found = [each for each in record.attributes if each.type == AttributeType.DATA]
        return sum(
            each.runs.allocated * self._volume.cluster_size if each.value is None else len(each.value)
            for each in found
        )  # fmt: skip


def _kind(record: FileRecord) -> ObjectKind:
    return ObjectKind.DIRECTORY if record.is_directory else ObjectKind.FILE


def _long_names(record: FileRecord) -> list[FileName]:
    return [name for name in record.names() if name.namespace != Namespace.DOS]


def _disk_item(item: FileItem) -> DiskItem:
    assert isinstance(item, DiskItem)
    return item
