"""`ArchiveTarget`: what the targets that write a tar archive have in common.

Blobs arrive in any order, several at a time. Each gets a place in the file when it arrives. The bytes of the archive
depend only on the image, not on the order: if the blobs did not arrive in the order of the archive, they are copied.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self

from wclayer._types import StrPath
from wclayer.errors import InvalidStateError, boundary, errors_at
from wclayer.formats.tar import structs
from wclayer.formats.tar.writer import TarHeader, encode_header
from wclayer.host import system
from wclayer.images.archive.opened import new_spool
from wclayer.images.descriptor import Descriptor
from wclayer.images.layout_names import BLOBS, blob_name
from wclayer.images.manifest import Index, Manifest, check_contents, parse_manifest
from wclayer.images.transport import BytesDone, ImageSource
from wclayer.images.verified_copy import copy_verified
from wclayer.layers.atomic import OutputFile

_PIECE = 1 << 20
_FILE_MODE = 0o644
_DIRECTORY_MODE = 0o755


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a blob is: its header, its data and its padding."""

    start: int
    header: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.header + self.size + structs.padding(self.size)


def _member(name: str, size: int) -> bytes:
    return encode_header(TarHeader(name.encode(), mode=_FILE_MODE, size=size))


def _directory(name: str) -> bytes:
    return encode_header(TarHeader(name.encode(), structs.DIRECTORY, mode=_DIRECTORY_MODE))


_HEAD = _directory(f"{BLOBS}/") + _directory(f"{BLOBS}/sha256/")


@boundary
class ArchiveTarget:
    """A tar archive of one image, or of an index of several. A file is replaced when everything is there.

    Args:
        file: the file, or "-" for the standard output; what is no file is written to in order, after everything has
            arrived.
        name: what the user calls the target.
        sources: files and folders that are read for it, and must not be replaced.

    Raises:
        PathNotFoundError, AccessDeniedError, DiskFullError, …: the host refuses to make the file.
        InvalidParameterError: the file is one of the sources.
    """

    operation = "write image"

    def __init__(self, file: StrPath, name: str, sources: Iterable[StrPath] = ()) -> None:
        self._name = name
        self._file = file
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}
        self._manifests: dict[str, Descriptor] = {}
        self._further: list[tuple[str, Descriptor]] = []
        """The images beside the one that `finish` names, with their names."""
        self._end = len(_HEAD)
        self._finished = False
        self._output = OutputFile(file, sources=sources)
        try:
            with errors_at(file):
                is_file = self._output.appears_whole
                self._pool: BinaryIO = self._output.stream if is_file else new_spool()
        except BaseException:
            self._output.discard()
            raise

    @property
    def name(self) -> str:
        """What the user calls the target."""
        return self._name

    def has(self, descriptor: Descriptor) -> bool:
        """Returns whether the blob or the manifest was put."""
        return descriptor.digest in self._places

    def put_blob(self, descriptor: Descriptor, source: ImageSource, done: BytesDone | None = None) -> None:
        """Copies a blob from a source (see `ImageTarget`)."""
        if not self.has(descriptor):
            self._put(descriptor, lambda write: copy_verified(source, descriptor, write, done))

    def put_manifest(self, descriptor: Descriptor, data: bytes) -> None:
        """Stores a manifest or an index (see `ImageTarget`)."""
        with errors_at(self._name):
            check_contents(data, descriptor)
            parse_manifest(data, descriptor.media_type)
        if not self.has(descriptor):
            self._put(descriptor, lambda write: write(data))
        self._manifests.setdefault(descriptor.digest, descriptor)

    def _put(self, descriptor: Descriptor, copy: Callable[[Callable[[bytes], object]], object]) -> None:
        """Gives a blob a place, and lets `copy` write it there."""
        if self._finished:
            raise InvalidStateError(self._name, "the archive is finished")
        header = _member(blob_name(descriptor.digest), descriptor.size)
        with self._lock:
            place = _Place(self._end, len(header), descriptor.size)
            self._end = place.end
        writer = _Writer(self._pool.fileno(), place.start, self._file)
        try:
            writer.write(header)
            copy(writer.write)
            writer.write(bytes(structs.padding(descriptor.size)))
        except BaseException:
            with self._lock:
                if self._end == place.end:
                    self._end = place.start
            raise
        with self._lock:
            self._places.setdefault(descriptor.digest, place)

    def put_tag(self, tag: str, root: Descriptor) -> None:
        """Adds another image, or another name of an image. `root` was put before; `finish` comes last.

        Raises:
            InvalidParameterError: it cannot be the name of an image in the archive.
        """
        if self._finished or root.digest not in self._manifests:
            raise InvalidStateError(self._name, f"the manifest {root.digest} was not put, or the archive is finished")
        self._further.append((self._checked_tag(tag), root))

    def _checked_tag(self, tag: str) -> str:
        """Returns a name of an image unchanged if it can be one in the archive."""
        raise NotImplementedError

    def finish(self, root: Descriptor) -> None:
        """Completes the archive, and makes it appear under its name. `root` was put before."""
        if self._finished:
            raise InvalidStateError(self._name, "the archive is finished")
        if root.digest not in self._manifests:
            raise InvalidStateError(self._name, f"the manifest {root.digest} was not put")
        with errors_at(self._name):
            tail = self._tail(root)
        with errors_at(self._file):
            self._complete(list(self._in_order(root)), tail)
        self._finished = True

    def _tail(self, root: Descriptor) -> bytes:
        """Returns everything after the blobs."""
        parts = []
        for name, data in sorted(self._documents(root).items()):
            parts += [_member(name, len(data)), data, bytes(structs.padding(len(data)))]
        return b"".join([*parts, structs.TRAILER])

    def _documents(self, root: Descriptor) -> dict[str, bytes]:
        """Returns the members beside the blobs by their names."""
        raise NotImplementedError

    def _complete(self, places: list[_Place], tail: bytes) -> None:
        expected = len(_HEAD)
        in_order = self._output.appears_whole
        for place in places:
            in_order = in_order and place.start == expected
            expected = place.end
        if in_order:
            writer = _Writer(self._pool.fileno(), 0, self._file)
            writer.write(_HEAD)
            writer.at = expected
            writer.write(tail)
            os.ftruncate(self._pool.fileno(), writer.at)
            self._output.commit()
            return
        output = OutputFile(self._file) if self._output.appears_whole else self._output
        with output:
            output.stream.write(_HEAD)
            for place in places:
                for piece in self._pieces(place.start, place.end):
                    output.stream.write(piece)
            output.stream.write(tail)
        if output is not self._output:
            self._output.discard()

    def _pieces(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            piece = system.read_at(self._pool.fileno(), min(_PIECE, end - start), start)
            if not piece:
                raise OSError(5, "the file under construction has become shorter")
            start += len(piece)
            yield piece

    def _read(self, digest: str) -> bytes:
        """Returns a blob that was put, and is small enough for memory."""
        place = self._places[digest]
        start = place.start + place.header
        return b"".join(self._pieces(start, start + place.size))

    def parsed(self, descriptor: Descriptor) -> Manifest | Index | None:
        """Returns a manifest or an index that was put; None if it was not."""
        if descriptor.digest not in self._manifests:
            return None
        return parse_manifest(self._read(descriptor.digest), descriptor.media_type)

    def _reached(self, root: Descriptor) -> Iterator[Manifest | Index]:
        """Yields the manifests and indexes that were put: those below the images first, each after what it lists, then
        what refers to them."""
        done: set[str] = set()
        further = reversed([descriptor for _, descriptor in self._further])
        pending: list[tuple[Descriptor, bool]] = [
            (descriptor, False) for descriptor in (*reversed(self._manifests.values()), root, *further)
        ]
        while pending:
            descriptor, is_open = pending.pop()
            item = None if descriptor.digest in done else self.parsed(descriptor)
            if item is None:
                continue
            if isinstance(item, Index) and not is_open:
                pending.append((descriptor, True))
                pending += [(child, False) for child in reversed(item.manifests)]
                continue
            done.add(descriptor.digest)
            yield item

    def _in_order(self, root: Descriptor) -> Iterator[_Place]:
        """Yields the places in the order of the archive: for each image its layers and its configuration, then all
        manifests."""
        items = list(self._reached(root))
        digests: dict[str, None] = {}
        for item in items:
            if isinstance(item, Manifest):
                digests |= dict.fromkeys(blob.digest for blob in (*item.layers, item.config))
        digests |= dict.fromkeys(item.descriptor.digest for item in items)
        for digest in digests:
            if (place := self._places.get(digest)) is not None:
                yield place

    def close(self) -> None:
        """Ends the use of the target. Without `finish`, nothing of the archive is left."""
        if not self._finished:
            self._finished = True
            self._output.discard()
        if self._pool is not self._output.stream:
            self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class _Writer:
    """Writes to a place of a file. Errors of the host name the file."""

    def __init__(self, fd: int, at: int, file: StrPath) -> None:
        self._fd = fd
        self._file = file
        self.at = at

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        with errors_at(self._file):
            while view:
                count = system.write_at(self._fd, view, self.at)
                self.at += count
                view = view[count:]
