"""`BlobSource`: a source of blobs in memory, without images."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import BinaryIO

from wclayer.images.descriptor import Descriptor


@dataclass
class BlobSource:
    """A source whose blobs are in memory."""

    blobs: dict[str, bytes]
    name: str = "memory"
    opened: list[int] = field(default_factory=list)

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        self.opened.append(offset)
        return io.BytesIO(self.blobs[descriptor.digest][offset:])

    def resolve(self) -> Descriptor:
        raise NotImplementedError

    def manifest(self, descriptor: Descriptor) -> bytes:
        raise NotImplementedError

    def referrers(self, descriptor: Descriptor) -> list[Descriptor]:
        return []

    def close(self) -> None: ...

    def __enter__(self) -> BlobSource:
        return self

    def __exit__(self, *error: object) -> None: ...


def blob_source(*blobs: bytes) -> BlobSource:
    """A source that has these blobs."""
    return BlobSource({Descriptor.of(blob, "").digest: blob for blob in blobs})
