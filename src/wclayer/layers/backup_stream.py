"""An entry as a Win32 backup stream, and the metadata of a backup stream as fields of an entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from wclayer.errors import LimitExceededError
from wclayer.model import DataStream, Entry, ExtraStream, Limits
from wclayer.win32.backup import SPARSE_STREAM, StreamHeader, StreamId
from wclayer.win32.names import stream_illegal_reason


def stream_name(name: str) -> str:
    """Spells the name of an alternate stream as a backup stream does (":x:$DATA")."""
    return f":{name}:$DATA"


def backup_stream(entry: Entry, streams: Iterable[DataStream]) -> Iterator[bytes | memoryview]:
    """Encodes an entry as a Win32 backup stream: security, EAs, reparse data, data, alternate data, the rest.

    Args:
        entry: the entry.
        streams: its data streams.

    Returns:
        The pieces of the backup stream; each is valid until the next one is requested.
    """
    for stream_id, data in (
        (StreamId.SECURITY_DATA, entry.security),
        (StreamId.EA_DATA, entry.eas),
        (StreamId.REPARSE_DATA, entry.reparse),
    ):
        if data:
            yield StreamHeader(stream_id, len(data)).encode() + data
    for stream in streams:
        if stream.name:
            header = StreamHeader(
                StreamId.ALTERNATE_DATA, stream.size, stream.attributes & ~SPARSE_STREAM, stream_name(stream.name)
            )
        else:
            header = StreamHeader(StreamId.DATA, stream.size, stream.attributes & ~SPARSE_STREAM)
        yield header.encode()
        yield from stream.chunks
    for extra in entry.extra:
        yield StreamHeader(extra.id, len(extra.data), extra.attributes, extra.name).encode() + extra.data


def plain_stream_name(header: StreamHeader) -> str:
    """Returns the name of an alternate stream without its colons and type: "x" for ":x:$DATA".

    Raises:
        ValueError: the name has another form, or is not legal.
    """
    base, colon, kind = header.name[1:].rpartition(":")
    if header.name[:1] != ":" or not colon or kind != "$DATA":
        raise ValueError(f"alternate stream name {header.name!r} is not of the form :name:$DATA")
    if reason := stream_illegal_reason(base):
        raise ValueError(reason)
    return base


_STREAM_OVERHEAD = 128
"""Bytes of memory that a stream takes besides its data and its name, roughly."""


def check_metadata(
    header: StreamHeader, before: int, limits: Limits, exceeded: Callable[[str, str], LimitExceededError]
) -> int:
    """Checks the size of a stream that is not data, before it is read.

    Args:
        header: the header of the stream.
        before: the bytes that the entry's streams of this kind have already, without security descriptors.
        limits: the limits; `security_size` and `metadata_size` are checked.
        exceeded: makes the error from a description of the problem and the name of the limit.

    Returns:
        The bytes that these streams have with this one.

    Raises:
        LimitExceededError: the stream is larger than the limit.
    """
    limit, size, largest = "metadata_size", before + header.size, limits.metadata_size
    if header.id == StreamId.SECURITY_DATA:
        limit, size, largest = "security_size", header.size, limits.security_size
    if size > largest:
        raise exceeded(f"{StreamId(header.id).name} of {size} bytes, more than {largest}", limit)
    if header.id == StreamId.SECURITY_DATA:
        return before
    # Each is kept with its name, even one that is empty.
    return size + _STREAM_OVERHEAD + 2 * len(header.name)


def keep_metadata(entry: Entry, header: StreamHeader, data: bytes) -> None:
    """Puts a stream that is not data into the field of the entry that it belongs to."""
    if header.id == StreamId.SECURITY_DATA:
        entry.security = data or None
    elif header.id == StreamId.EA_DATA:
        entry.eas = data
    elif header.id == StreamId.REPARSE_DATA:
        entry.reparse = data or None
    else:
        entry.extra += (ExtraStream(header.id, header.attributes, header.name, data),)
