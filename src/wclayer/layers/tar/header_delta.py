"""What a tar said beyond the canonical form of its entries, kept so that an export gives the same bytes back.

A *form* is the bytes a member really had before its data, deflated against the bytes the canonical writer makes for
it: a header that differs in one field takes some twenty bytes, one that does not differ takes none.
"""

from __future__ import annotations

import zlib

_OWN_PADDING = b"\x01"
_ZERO_PADDING = b"\x00"
MAX_FORM = 32 << 20
"""Bytes of a header, or of the end of an archive, that a form can stand for."""


def encode_form(raw: bytes, canonical: bytes, *, own_padding: bool = False) -> bytes | None:
    """The form of a header, or None if it is canonical.

    `own_padding`: `raw` starts with the padding of the data before it, because that is not zero.

    Raises:
        ValueError: longer than a form can be.
    """
    if len(raw) > MAX_FORM:
        raise ValueError(f"a header of {len(raw)} bytes: no more than {MAX_FORM} can be kept")
    if raw == canonical and not own_padding:
        return None
    # Deflate looks back 32 KiB: of a longer canonical header the last part serves.
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, canonical[-32768:])
    return (_OWN_PADDING if own_padding else _ZERO_PADDING) + deflate.compress(raw) + deflate.flush()


def decode_form(form: bytes, canonical: bytes) -> tuple[bytes, bool]:
    """The raw bytes, and whether they start with the padding of the data before.

    Raises:
        ValueError: not a form, or not one against this canonical header.
    """
    if form[:1] not in (_OWN_PADDING, _ZERO_PADDING):
        raise ValueError("unknown kind of tar form")
    inflate = zlib.decompressobj(-15, canonical[-32768:])
    try:
        raw = inflate.decompress(form[1:], MAX_FORM)
    except zlib.error as error:
        raise ValueError(f"tar form does not fit its entry: {error}") from None
    if not inflate.eof:
        raise ValueError("tar form does not fit its entry: it is cut off")
    return raw, form[:1] == _OWN_PADDING
