"""`MemorySource` and `MemoryTarget`: images in memory, to test copies with. They are as strict as they may be."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from types import TracebackType
from typing import BinaryIO, Self

from tests.images.samples import Image, Index
from wclayer.errors import InvalidDataError, PathNotFoundError
from wclayer.images.descriptor import Descriptor
from wclayer.images.manifest import Manifest, check_contents, parse_manifest
from wclayer.images.transport import BytesDone, ImageSource


class MemorySource:
    """An image in memory.

    Attributes:
        opened: the digests of the blobs that were read, in their order.
    """

    def __init__(self, item: Image | Index, name: str = "memory") -> None:
        self.name = name
        self.documents = dict(item.documents)
        self.blobs = dict(item.blobs)
        self.root = next(iter(item.documents)) if isinstance(item, Image) else item.digest
        self.attached: dict[str, list[Descriptor]] = {}
        self.opened: list[str] = []
        self.before: Callable[[str], None] = lambda digest: None

    def attach(self, subject: str, item: Image | Index, artifact_type: str = "") -> None:
        """Lets an image refer to another manifest."""
        self.documents |= item.documents
        self.blobs |= item.blobs
        descriptor = Descriptor(item.media_type, item.digest, len(item.manifest), artifact_type=artifact_type)
        self.attached.setdefault(subject, []).append(descriptor)

    def resolve(self) -> Descriptor:
        media_type, data = self.documents[self.root]
        return Descriptor.of(data, media_type)

    def manifest(self, descriptor: Descriptor) -> bytes:
        if descriptor.digest not in self.documents:
            raise PathNotFoundError(self.name, f"no manifest {descriptor.digest}")
        return check_contents(self.documents[descriptor.digest][1], descriptor)

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        self.before(descriptor.digest)
        if descriptor.digest not in self.blobs:
            raise PathNotFoundError(self.name, f"no blob {descriptor.digest}")
        self.opened.append(descriptor.digest)
        return io.BytesIO(self.blobs[descriptor.digest][offset:])

    def referrers(self, descriptor: Descriptor) -> list[Descriptor]:
        return self.attached.get(descriptor.digest, [])

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class MemoryTarget:
    """A place for images in memory, which refuses what comes in another order than `ImageTarget` says.

    Attributes:
        root: the manifest with the name; None before `finish`.
        put: the digests of the blobs that were put, in their order.
        most_at_once: how many were put at the same time, at most.
    """

    def __init__(self, *, sparse: bool = False) -> None:
        self.name = "memory target"
        self.blobs: dict[str, bytes] = {}
        self.documents: dict[str, bytes] = {}
        self.root: Descriptor | None = None
        self.put: list[str] = []
        self.most_at_once = 0
        self._sparse = sparse
        self._at_once = 0
        self._lock = threading.Lock()

    def has(self, descriptor: Descriptor) -> bool:
        return descriptor.digest in self.blobs or descriptor.digest in self.documents

    def put_blob(self, descriptor: Descriptor, source: ImageSource, done: BytesDone | None = None) -> None:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self._at_once, self.most_at_once)
        try:
            data = b""
            with source.open_blob(descriptor) as stream:
                while piece := stream.read(1 << 16):
                    data += piece
                    if done is not None:
                        done(len(data))
            try:
                self.blobs[descriptor.digest] = check_contents(data, descriptor)
            except ValueError as error:
                raise InvalidDataError(source.name, str(error)) from None
            self.put.append(descriptor.digest)
        finally:
            with self._lock:
                self._at_once -= 1

    def put_manifest(self, descriptor: Descriptor, data: bytes) -> None:
        item = parse_manifest(check_contents(data, descriptor), descriptor.media_type)
        if isinstance(item, Manifest):
            below = [item.config, *(layer for layer in item.layers if not (self._sparse and layer.is_foreign_layer))]
            assert all(blob.digest in self.blobs for blob in below)
            assert item.subject is None or item.subject.digest in self.documents
        else:
            assert all(manifest.digest in self.documents for manifest in item.manifests)
        self.documents[descriptor.digest] = data

    def finish(self, root: Descriptor) -> None:
        assert root.digest in self.documents
        self.root = root

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
