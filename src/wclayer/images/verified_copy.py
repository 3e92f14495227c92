"""The copy of a blob from a source, whose size and digest are verified while the bytes pass."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import BinaryIO

from wclayer.errors import InvalidDataError, errors_at
from wclayer.images.descriptor import Descriptor
from wclayer.images.transport import BytesDone, ImageSource

_PIECE = 1 << 20


def copy_verified(
    source: ImageSource, descriptor: Descriptor, write: Callable[[bytes], object], done: BytesDone | None = None
) -> None:
    """Passes the bytes of a blob on. The caller gives them the blob's name only after this function has returned.

    Args:
        source: where the blob is read.
        descriptor: the blob.
        write: takes the next bytes.
        done: called with the number of bytes that were passed on.

    Raises:
        InvalidDataError: the bytes have another size or digest. No more than the stated size was passed on.
    """
    digest = hashlib.sha256()
    size = 0
    with source.open_blob(descriptor) as stream:
        while piece := _read(stream, source.name):
            size += len(piece)
            if size > descriptor.size:
                raise InvalidDataError(
                    source.name,
                    f"{descriptor.digest}: more than the {descriptor.size} bytes that were expected;"
                    " take it from elsewhere",
                )
            digest.update(piece)
            write(piece)
            if done is not None:
                done(size)
    if size != descriptor.size:
        raise InvalidDataError(
            source.name, f"{descriptor.digest} ends after {size} of {descriptor.size} bytes; try again"
        )
    if (found := f"sha256:{digest.hexdigest()}") != descriptor.digest:
        raise InvalidDataError(
            source.name,
            f"{descriptor.digest}: the contents have the digest {found}; try again, or take it from elsewhere",
        )


def _read(stream: BinaryIO, name: str) -> bytes:
    """Returns the next bytes of a blob. Errors without a path name the source."""
    with errors_at(name):
        return stream.read(_PIECE)
