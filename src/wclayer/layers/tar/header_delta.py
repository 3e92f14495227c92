"""Header deltas: what the headers of a tar said beyond the canonical ones, so that an export restores the same bytes.

A *header delta* is the bytes that a member had before its data, deflated with the canonical header as the preset
dictionary: a header that differs in one field takes some twenty bytes, and a canonical header takes none.
"""

from __future__ import annotations

import zlib

_OWN_PADDING = b"\x01"
_ZERO_PADDING = b"\x00"
_WINDOW = 32 << 10
"""Bytes that deflate can look back."""
MAX_HEADER_SIZE = 32 << 20
"""Bytes of a header, or of the end of an archive, that a header delta can stand for."""


def encode_header_delta(raw: bytes, canonical: bytes, *, own_padding: bool = False) -> bytes | None:
    """Encodes a header as its delta to the canonical one.

    Args:
        raw: the header's bytes as they were.
        canonical: the bytes that the canonical writer makes for the same member.
        own_padding: `raw` starts with the padding of the data before it, because that padding is not zero.

    Returns:
        The delta, or None if the header is canonical.

    Raises:
        ValueError: the header is larger than `MAX_HEADER_SIZE`.
    """
    if len(raw) > MAX_HEADER_SIZE:
        raise ValueError(f"a header of {len(raw)} bytes: no more than {MAX_HEADER_SIZE} can be kept")
    if raw == canonical and not own_padding:
        return None
    # Deflate looks back 32 KiB: only the last part of a longer canonical header is of use.
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, canonical[-_WINDOW:])
    return (_OWN_PADDING if own_padding else _ZERO_PADDING) + deflate.compress(raw) + deflate.flush()


def decode_header_delta(delta: bytes, canonical: bytes) -> tuple[bytes, bool]:
    """Restores a header from its delta.

    Returns:
        The header's bytes, and whether they start with the padding of the data before it.

    Raises:
        ValueError: `delta` is not a header delta, or was not made against this canonical header.
    """
    if delta[:1] not in (_OWN_PADDING, _ZERO_PADDING):
        raise ValueError("unknown kind of header delta")
    inflate = zlib.decompressobj(-15, canonical[-_WINDOW:])
    try:
        raw = inflate.decompress(delta[1:], MAX_HEADER_SIZE)
    except zlib.error as error:
        raise ValueError(f"header delta does not fit its entry: {error}") from None
    if not inflate.eof:
        raise ValueError("header delta does not fit its entry: it is cut off")
    return raw, delta[:1] == _OWN_PADDING
