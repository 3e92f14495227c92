"""Writes a layer as an OCI tar stream: canonical headers, and those that header deltas restore."""

from __future__ import annotations

import os
from typing import BinaryIO

from wclayer._types import StrPath
from wclayer.errors import CorruptLayerError, boundary
from wclayer.formats.compression import Compression
from wclayer.formats.hashed_output import HashedOutput
from wclayer.formats.tar import structs
from wclayer.layers.base import LayerWriterBase
from wclayer.layers.names import NameChecker, Names
from wclayer.layers.tar.canonical import CanonicalEncoder
from wclayer.layers.tar.header_delta import decode_header_delta
from wclayer.layers.tar.members import encode_stream, unusable_in_tar_reason
from wclayer.model import DataStream, Entry


@boundary
class TarLayerWriter(LayerWriterBase):
    """A `LayerWriter` into a tar stream.

    Entries are written in the order they come; an entry's alternate streams follow it as members of their own. Where
    an entry carries a header delta, its header is restored from it. After `close`, `diff_id` and `digest`
    ("sha256:…") are known. `raw` is written to, never sought, and stays open; after a failure it holds a part.

    Args:
        raw: the stream.
        target: the stream's name in messages.
        level: of the compression; by default 6 for gzip and 3 for zstd.
        trailer_delta: the header delta of the end of the archive.
        names: checks the entries; by default a checker of this writer's own.
    """

    operation = "write layer tar"

    def __init__(
        self,
        raw: BinaryIO,
        target: StrPath = "<stream>",
        *,
        compression: Compression = Compression.NONE,
        level: int | None = None,
        trailer_delta: bytes | None = None,
        names: Names | None = None,
    ) -> None:
        name = os.fspath(target)
        super().__init__(name, names or NameChecker(name, is_base=False))
        self._output = HashedOutput(raw, compression, level)
        self._trailer_form = trailer_delta
        self._entry = Entry("", None)
        self._encode = CanonicalEncoder()
        self._padding = 0

    @property
    def diff_id(self) -> str:
        return self._output.diff_id

    @property
    def digest(self) -> str:
        return self._output.digest

    @property
    def size(self) -> int:
        """Uncompressed bytes."""
        return self._output.size

    @property
    def stored_size(self) -> int:
        """Bytes written to the stream."""
        return self._output.stored_size

    def _put_plain(self, entry: Entry, key: str, data: bytes) -> bool:
        # Header and data go out in one piece.
        self._check_name(entry)
        self._entry = entry
        self._output.write(b"".join((bytes(self._padding), self._encode(entry), data)))
        self._padding = structs.padding(len(data))
        return True

    def _begin(self, entry: Entry, key: str) -> None:
        if entry.info is not None:
            self._check_name(entry)
        self._entry = entry
        self._header(entry.header_delta, self._encode(entry))

    def _check_name(self, entry: Entry) -> None:
        if reason := unusable_in_tar_reason(entry.name.rpartition("/")[2]):
            raise self._bad(entry, reason)

    def _open_stream(self, stream: DataStream) -> None:
        if self._entry.link_target is not None:
            # Readers offer the data of a link whose target is in a parent; a tar has only the link.
            return
        if stream.name:
            self._header(stream.header_delta, encode_stream(self._entry, stream.name, stream.size))
        elif not self._entry.has_data:
            raise self._bad(self._entry, "cannot hold data in a tar")
        self._padding = structs.padding(stream.size)

    def _data(self, chunk: bytes | memoryview) -> None:
        if self._entry.link_target is None:
            self._output.write(chunk)

    def _header(self, form: bytes | None, canonical: bytes) -> None:
        own_padding = False
        if form is not None:
            try:
                canonical, own_padding = decode_header_delta(form, canonical)
            except ValueError as error:
                raise CorruptLayerError(self.target, f"entry {self._entry.name!r}: {error}") from None
        if self._padding and not own_padding:
            canonical = bytes(self._padding) + canonical
        self._padding = 0
        self._output.write(canonical)

    def _finish(self) -> None:
        self._header(self._trailer_form or None, structs.TRAILER)
        self._output.finish()
        self._output.close()

    def _discard(self) -> None:
        self._output.close()
