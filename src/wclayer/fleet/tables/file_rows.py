"""`file_rows`: the entries of a layer as rows, from the facts that were read of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from wclayer.errors import FormatError
from wclayer.fleet.tables.schema import FileKind, FileRow, unknown
from wclayer.inventory.collectors.pe_files import READER as PE_READER
from wclayer.inventory.facts.contents import Contents
from wclayer.inventory.subject.readings import reading_of
from wclayer.layers.cache import Cache
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.database import EntryRow, Origin, from_column
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.backup import StreamId
from wclayer.win32.names import path_key
from wclayer.win32.reparse import decode_link, decode_reparse, is_name_surrogate
from wclayer.win32.sddl import security_text


class _Pe(NamedTuple):
    """What is known of a PE file."""

    version: str | None = None
    product: str | None = None
    company: str | None = None
    machine: str | None = None
    signed: bool | None = None


def file_rows(folder: Path, layer: str) -> Iterator[FileRow]:
    """Yields the entries of a layer: each directory before what is in it, in the order of the names, tombstones last.

    Args:
        folder: the facts of the layer, unpacked (`unpack_facts`).
        layer: the digest of its blob.

    Raises:
        CorruptLayerError: the facts are damaged.
    """
    with open_layer(folder) as facts, Contents(folder) as contents:
        rows = _Rows(facts, contents, layer)
        for entry in facts.walk(facts.root()):
            if entry.origin == Origin.OWN:
                yield rows.of_entry(entry)
        for tombstone in facts.tombstones():
            yield rows.of_tombstone(tombstone.path)


class _Rows:
    """Makes the rows of one layer."""

    def __init__(self, facts: LayerDirectory, contents: Contents, layer: str) -> None:
        self._facts = facts
        self._contents = contents
        self._layer = layer
        self._security: Cache[int, str | None] = Cache()
        self._pe: Cache[bytes, _Pe] = Cache()

    def of_entry(self, entry: EntryRow) -> FileRow:
        """Returns the row of an entry. A further name of a file has what its first name says; if that is in a layer
        below, its contents are unknown here."""
        path = self._facts.path_of(entry)
        first = self._facts.first_name(entry)
        is_elsewhere = entry.link is None and entry.link_target is not None
        kind, target = self._kind(entry, first)
        has_contents = kind is not FileKind.DIRECTORY and not is_elsewhere
        sha256 = first.sha256 if has_contents else None
        pe = _Pe() if sha256 is None else self._pe_of(sha256)
        return FileRow(
            layer=self._layer,
            path=path,
            key=_key(path),
            kind=kind,
            size=first.size if has_contents else None,
            attributes=first.attributes,
            security=self._security_of(first),
            sha256=None if sha256 is None else sha256.hex(),
            link_target=target,
            created=first.creation_time,
            accessed=first.last_access_time,
            written=first.last_write_time,
            changed=first.change_time,
            streams=self._alternate_streams(entry),
            pe_version=pe.version,
            pe_product=pe.product,
            pe_company=pe.company,
            pe_machine=pe.machine,
            pe_signed=pe.signed,
        )

    def of_tombstone(self, path: str) -> FileRow:
        """Returns the row of a tombstone."""
        known = {"layer": self._layer, "path": path, "key": _key(path), "kind": FileKind.TOMBSTONE}
        return FileRow(**unknown(FileRow) | known)

    def _kind(self, entry: EntryRow, first: EntryRow) -> tuple[FileKind, str | None]:
        """Returns what an entry is, and where it leads to."""
        if entry.link is not None:
            return FileKind.HARD_LINK, self._facts.path_of(first)
        if entry.link_target is not None:
            return FileKind.HARD_LINK, from_column(entry.link_target)
        if entry.reparse is not None and is_name_surrogate(entry.reparse):
            return FileKind.LINK, _target(entry.reparse)
        return (FileKind.DIRECTORY if entry.attributes & DIRECTORY else FileKind.FILE), None

    def _alternate_streams(self, entry: EntryRow) -> int:
        streams = self._facts.stream_rows(entry) if entry.streams else ()
        return sum(stream.stream_id == StreamId.ALTERNATE_DATA for stream in streams)

    def _security_of(self, entry: EntryRow) -> str | None:
        if entry.security is None:
            return None
        known = self._security.get(entry.security)
        if known is None:
            known = security_text(self._facts.security(entry))
            self._security.keep(entry.security, known, len(known or ""))
        return known

    def _pe_of(self, sha256: bytes) -> _Pe:
        known = self._pe.get(sha256)
        if known is None:
            known = self._read_pe(sha256)
            self._pe.keep(sha256, known, sum(map(len, filter(None, known[:4]))))
        return known

    def _read_pe(self, sha256: bytes) -> _Pe:
        try:
            reading = reading_of(PE_READER, self._contents.reading(PE_READER.name, sha256))
        except FormatError:
            # A damaged PE file is a finding of the images that hold it.
            return _Pe()
        pe = None if reading is None else reading["pe"]
        if pe is None:
            return _Pe()
        properties = pe["properties"]
        product, machine, signed = (properties.get(name) for name in ("product_name", "machine", "is_signed"))
        return _Pe(
            pe["version"] or None,
            str(product) if product else None,
            pe["publisher"] or None,
            str(machine) if machine else None,
            bool(signed),
        )


def _key(path: str) -> str | None:
    return None if path.isascii() else path_key(path)


def _target(reparse: bytes) -> str | None:
    try:
        link = decode_link(decode_reparse(reparse))
    except FormatError:
        return None
    return link.print_name or link.substitute_name or None
