"""What imports and exports of a tar tell of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from wclayer.layers.tar import TarLayerReader, TarLayerWriter


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import from a tar found: the digests ("sha256:…") and sizes of the stream, and how much was in it."""

    diff_id: str
    digest: str
    compression: str
    size: int
    stored_size: int
    entries: int

    @classmethod
    def of(cls, reader: TarLayerReader, entries: int) -> Self:
        """Of a reader that has come to the end of its stream."""
        return cls(reader.diff_id, reader.digest, reader.compression.value, reader.size, reader.stored_size, entries)


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What an export to a tar wrote: the digests ("sha256:…") and sizes of the stream, and how much is in it.

    `unchanged` tells whether the tar is bit for bit the one that the layer was imported from, as far as the engine
    knows.
    """

    diff_id: str
    digest: str
    size: int
    stored_size: int
    entries: int
    unchanged: bool

    @classmethod
    def of(cls, writer: TarLayerWriter, entries: int, *, unchanged: bool) -> Self:
        """Of a writer that was closed."""
        return cls(writer.diff_id, writer.digest, writer.size, writer.stored_size, entries, unchanged)
