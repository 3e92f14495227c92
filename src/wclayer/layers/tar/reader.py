"""Reads an OCI Windows layer from a tar stream, plain or compressed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, NoReturn

from wclayer._types import StrPath
from wclayer.errors import (
    FormatError,
    InvalidDataError,
    LimitExceededError,
    boundary,
    limit_hint,
    translated,
)
from wclayer.formats.compression import Compression, HashedInput
from wclayer.formats.tar import structs
from wclayer.formats.tar.reader import TarMember, TarStream
from wclayer.layers.base import LayerReaderBase
from wclayer.layers.names import Kind, NameChecker
from wclayer.layers.tar.header_delta import encode_header_delta
from wclayer.layers.tar.members import decode_entry, encode_entry, encode_stream, global_records
from wclayer.layers.tar.recogniser import CanonicalMembers
from wclayer.model import DataStream, Entry, Limits, limits_in_use
from wclayer.win32.names import decode_name, name_key, path_key, stream_illegal_reason

_READ_AT_ONCE = 256 << 10


@boundary
class TarLayerReader(LayerReaderBase):
    """A `LayerReader` over a tar stream.

    Every member is checked before the reader returns it: see `NameChecker` for the rules. After the last entry,
    `finish` reads to the end of the stream, and the digests are known.

    Args:
        raw: the stream; it is read, never sought, and not closed.
        source: the stream's name in messages.
        is_base: the layer has no parents: tombstones, and links out of the layer, are errors.
        find_in_parents: looks a path key up in the parents; without it, names that only a parent has are accepted.
        limits: how much is accepted; by default the limits in use.
        names: checks the entries, in place of a checker made of the three arguments above.
        keep_header_deltas: each entry carries what the canonical writer could not regenerate of its header.
        known_digest: the digest of the stream, if `raw` itself verifies it (see `HashedInput`).
    """

    operation = "read layer tar"

    def __init__(
        self,
        raw: BinaryIO,
        source: StrPath = "<stream>",
        *,
        is_base: bool = False,
        find_in_parents: Callable[[str], Kind] | None = None,
        limits: Limits | None = None,
        names: NameChecker | None = None,
        keep_header_deltas: bool = False,
        known_digest: str | None = None,
    ) -> None:
        super().__init__(os.fspath(source))
        limits = names.limits if names is not None else limits or limits_in_use()
        self._limits = limits
        self._input = HashedInput(
            raw, max_size=limits.total_size, max_ratio=limits.ratio, unrated_size=limits.unrated_size,
            known_digest=known_digest,
        )  # fmt: skip
        self._tar = TarStream(
            self._input,
            max_header=limits.pax_size,
            max_global=limits.global_pax_size,
            recognise=CanonicalMembers(),
            choose_global=global_records,
        )
        self._names = names or NameChecker(self.source, is_base=is_base, find_in_parents=find_in_parents, limits=limits)
        self._keep_form = keep_header_deltas
        self._peeked: TarMember | Entry | None = None
        self._ended = False
        self._member_name = b""
        self._stream_names: set[str] = set()
        self.trailer_delta: bytes | None = None

    @property
    def compression(self) -> Compression:
        return self._input.compression

    @property
    def diff_id(self) -> str:
        """SHA-256 of the uncompressed tar ("sha256:…"), complete after `finish`."""
        return self._input.diff_id

    @property
    def digest(self) -> str:
        """SHA-256 of the stream as it was stored, complete after `finish`."""
        return self._input.digest

    @property
    def stored_size(self) -> int:
        """Bytes read from the stream so far (ahead of the entries by a few MiB)."""
        return self._input.stored_size

    @property
    def size(self) -> int:
        """Decompressed bytes so far."""
        return self._input.size

    def finish(self) -> None:
        """Reads the stream to its end, so that the digests cover all of it.

        Raises:
            InvalidDataError: what follows the archive is not padding, or the compressed stream is damaged.
        """
        while self._next_member() is not None:
            self._peeked = None
        if self.trailer_delta is None:
            try:
                trailer, own_padding = self._tar.trailer(self._limits.trailer_size)
                self.trailer_delta = encode_header_delta(trailer, structs.TRAILER, own_padding=own_padding) or b""
            except (ValueError, OSError) as error:
                self._fail(error)

    def _advance(self) -> Entry | None:
        if self._peeked is None and self._item is not None:
            for _ in self._item.streams():
                pass
        member = self._next_member()
        self._peeked = None
        if member is None:
            return None
        if self._stream_names:
            self._stream_names = set()
        if isinstance(member, Entry):
            self._names.add(member)
            self._member_name = b""
            return member
        try:
            entry = decode_entry(member)
            if self._keep_form:
                entry.header_delta = self._header_delta(member, encode_entry(entry))
        except ValueError as error:
            self._reject(member, str(error))
        self._names.add(entry)
        self._member_name = member.name
        return entry

    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        if entry.has_data:
            yield DataStream("", entry.size, self._chunks(entry.size))
        while isinstance(member := self._next_member(), TarMember):
            name = self._stream_of_current(entry, member)
            if name is None:
                return
            self._peeked = None
            stream = DataStream(name, member.size, self._chunks(member.size))
            if self._keep_form:
                stream.header_delta = self._header_delta(member, encode_stream(entry, name, member.size))
            yield stream

    def _chunks(self, size: int) -> Iterable[bytes | memoryview]:
        if size > _READ_AT_ONCE:
            return self._pieces()
        try:
            return (self._tar.read_all(),)
        except (FormatError, OSError) as error:
            self._fail(error)

    def _pieces(self) -> Iterator[bytes | memoryview]:
        try:
            yield from self._tar.data()
        except (FormatError, OSError) as error:
            self._fail(error)

    def _stream_of_current(self, entry: Entry, member: TarMember) -> str | None:
        """The name of the alternate stream of the current entry that a member carries, or None."""
        if 0x3A not in member.name or member.type != structs.REGULAR:
            return None
        owner, _, raw_name = member.name.partition(b":")
        try:
            if owner != self._member_name and path_key(decode_name(owner)) != path_key(entry.name):
                return None
            name = decode_name(raw_name)
        except UnicodeDecodeError as error:
            self._reject(member, str(error))
        if entry.link_target is not None:
            self._reject(member, "a stream of a hard link: it belongs to the link's target")
        if reason := stream_illegal_reason(name):
            self._reject(member, reason)
        if name_key(name) in self._stream_names:
            self._reject(member, "duplicate stream")
        if len(self._stream_names) >= self._limits.streams:
            problem = f"more than {self._limits.streams} streams of {entry.name[:300]!r} {limit_hint('streams')}"
            raise LimitExceededError(self.source, problem)
        self._stream_names.add(name_key(name))
        return name

    def _next_member(self) -> TarMember | Entry | None:
        if self._peeked is None and not self._ended:
            try:
                self._peeked = self._tar.next()
            except (FormatError, OSError) as error:
                self._fail(error)
            self._ended = self._peeked is None
        return self._peeked

    def _header_delta(self, member: TarMember, canonical: bytes) -> bytes | None:
        # Headers are whole blocks: anything else in front of them is padding that was not zero.
        try:
            return encode_header_delta(member.header, canonical, own_padding=len(member.header) % structs.BLOCK != 0)
        except ValueError as error:
            self._reject(member, str(error))

    def _reject(self, member: TarMember, problem: str) -> NoReturn:
        name = member.name[:300].decode("utf-8", "replace")
        raise InvalidDataError(self.source, f"member {name!r} (offset {member.offset}): {problem}")

    def _fail(self, error: Exception) -> NoReturn:
        told = translated(self.source, error)
        raise told or InvalidDataError(self.source, str(error)) from error

    def _release(self) -> None:
        self._input.close()
