"""Blobs of an image: read whole where they are small, copied with errors that name them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self

from wclayer.errors import FOREIGN_ERRORS, InvalidDataError, LayerError, translated
from wclayer.images.descriptor import Descriptor
from wclayer.images.manifest import check_contents, check_manifest_size
from wclayer.images.transport import ImageSource


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob of an image.

    Attributes:
        descriptor: its descriptor.
        what: the blob in words ("layer 1 of 2").
    """

    descriptor: Descriptor
    what: str


@contextmanager
def errors_of(blob: Blob, name: str) -> Iterator[None]:
    """Names the blob in the errors of its body, which become errors of the family.

    Args:
        blob: the blob.
        name: what the user named. It is the path of errors about the data, and of those without a path.
    """
    try:
        yield
    except FOREIGN_ERRORS as error:
        told = translated(name, error)
        assert told is not None
        digest = "" if blob.descriptor.digest in told.detail else f" ({blob.descriptor.digest})"
        path = name if isinstance(told, InvalidDataError) else told.path or name
        # Without an operation: that of the whole copy is the one that the user knows.
        raise type(told)(path, f"{blob.what}{digest}: {told.detail}", code=told.code) from error


def read_blob(source: ImageSource, descriptor: Descriptor) -> bytes:
    """Returns the contents of a small blob, such as a configuration, verified.

    Raises:
        LimitExceededError: it is larger than the limit `manifest_size`. Nothing is read.
        InvalidDataError: it has another size or digest.
        PathNotFoundError: the source does not have it.
    """
    try:
        check_manifest_size(descriptor.size)
        pieces, size = [], 0
        with source.open_blob(descriptor) as stream:
            while size <= descriptor.size and (piece := stream.read(descriptor.size + 1 - size)):
                pieces.append(piece)
                size += len(piece)
        return check_contents(b"".join(pieces), descriptor)
    except LayerError:
        raise
    except FOREIGN_ERRORS as error:
        told = translated(source.name, error)
        assert told is not None
        raise told from error


class KnownBlobs:
    """An `ImageSource` of blobs that are in memory already.

    Args:
        source: where they come from.
        blobs: their contents by digest.
    """

    def __init__(self, source: ImageSource, blobs: Mapping[str, bytes]) -> None:
        self._source = source
        self._blobs = blobs

    @property
    def name(self) -> str:
        """The name of the source that they come from."""
        return self._source.name

    def resolve(self) -> Descriptor:
        """See `ImageSource`."""
        return self._source.resolve()

    def manifest(self, descriptor: Descriptor) -> bytes:
        """See `ImageSource`."""
        return self._source.manifest(descriptor)

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        """Opens a blob in memory."""
        return io.BytesIO(self._blobs[descriptor.digest][offset:])

    def referrers(self, descriptor: Descriptor) -> list[Descriptor]:
        """See `ImageSource`."""
        return self._source.referrers(descriptor)

    def close(self) -> None:
        """Leaves the source open: it belongs to the caller."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
