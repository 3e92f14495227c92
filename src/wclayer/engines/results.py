"""The results of imports and exports of a tar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from wclayer.layers.tar import TarLayerReader, TarLayerWriter


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The result of an import from a tar: digests ("sha256:…") and sizes of the stream, and its number of entries."""

    diff_id: str
    digest: str
    compression: str
    size: int
    stored_size: int
    entries: int

    @classmethod
    def of(cls, reader: TarLayerReader, entries: int) -> Self:
        """Returns the result of a reader that has reached the end of its stream."""
        return cls(reader.diff_id, reader.digest, reader.compression.value, reader.size, reader.stored_size, entries)


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The result of an export to a tar: digests ("sha256:…") and sizes of the stream, and its number of entries.

    `unchanged` is True if the engine knows that the tar is bit for bit the one that the layer was imported from.
    """

    diff_id: str
    digest: str
    size: int
    stored_size: int
    entries: int
    unchanged: bool

    @classmethod
    def of(cls, writer: TarLayerWriter, entries: int, *, unchanged: bool) -> Self:
        """Returns the result of a closed writer."""
        return cls(writer.diff_id, writer.digest, writer.size, writer.stored_size, entries, unchanged)
