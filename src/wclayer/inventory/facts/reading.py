"""`make_facts`: reads the blob of a layer once, and writes its facts into a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from wclayer._types import StrPath
from wclayer.errors import InvalidDataError, during
from wclayer.host.root import HostRoot
from wclayer.images.descriptor import Descriptor
from wclayer.inventory.facts.archive import write_facts
from wclayer.inventory.facts.contents import ContentsWriter
from wclayer.inventory.facts.summary import LayerSummary
from wclayer.inventory.facts.writer import HIVE, FactsWriter, keep, spool
from wclayer.layers.atomic import StagedDirectory
from wclayer.layers.copy import copy_layer
from wclayer.layers.progress import Cancelled, ProgressCallback
from wclayer.layers.tar import TarLayerReader
from wclayer.model import limits_in_use
from wclayer.win32.names import decode_name

_PIECE = 1 << 20


@during("make facts", takes_over=True)
def make_facts(
    open_blob: Callable[[], BinaryIO],
    descriptor: Descriptor,
    target: StrPath,
    *,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> LayerSummary:
    """Writes the facts of a layer into a file, while its blob is read. Equal blobs have equal facts, byte for byte.

    The blob is read once. It is read a second time if a file that an inventory looks into is a hard link to one whose
    name did not say so.

    Args:
        open_blob: opens the blob. The stream is read to its end and closed.
        descriptor: the blob; its digest and size are verified.
        target: the file that is made, or replaced. What is needed meanwhile is beside it.
        progress: called from time to time.
        cancelled: called as often; the work stops if it returns True.

    Returns:
        What is known of the layer as a whole.

    Raises:
        InvalidDataError: the blob has another digest or size, or is not a layer. There is no file then.
        LimitExceededError: the blob, or what would be kept of it, is larger than a limit.
        LayerError: the host refuses to write.
    """
    place = Path(target)
    with ExitStack() as stack:
        staged = StagedDirectory(place.with_name(f"{place.name}.d"))
        stack.callback(staged.discard)
        contents = ContentsWriter(staged.path, limits_in_use().facts_size)
        stack.callback(contents.close)
        with (
            FactsWriter(staged.path, contents, descriptor.digest) as writer,
            _SizedStream(open_blob(), descriptor) as stream,
            TarLayerReader(cast(BinaryIO, stream), descriptor.digest, names=writer.names) as reader,
        ):
            copy_layer(reader, writer, progress=progress, cancelled=cancelled)
            reader.finish()
            _verify(reader, descriptor)
            summary = LayerSummary(
                digest=descriptor.digest,
                diff_id=reader.diff_id,
                media_type=descriptor.media_type,
                compression=reader.compression.value,
                stored_size=reader.stored_size,
                size=reader.size,
                hives=tuple(writer.hives),
                **writer.counts(),
            )
            for key in ("diff_id", "digest", "compression", "size", "stored_size"):
                writer.record(key, getattr(summary, key))
        if contents.misses_any:
            _read_again(open_blob, descriptor, staged.path, contents)
        contents.commit()
        write_facts(staged.path, summary, place)
    return summary


class _SizedStream:
    """The stream of a blob, whose length is checked while it is read.

    Args:
        stream: the stream, which is closed with this one.
        descriptor: the blob.
    """

    def __init__(self, stream: BinaryIO, descriptor: Descriptor) -> None:
        self._stream = stream
        self._descriptor = descriptor
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        """Returns bytes of the blob.

        Raises:
            InvalidDataError: it is longer or shorter than its descriptor says.
        """
        expected = self._descriptor.size
        data = self._stream.read(size)
        self._done += len(data)
        if self._done > expected or (not data and size and self._done < expected):
            found = f"ends after {self._done}" if self._done < expected else "has more"
            raise InvalidDataError(
                self._descriptor.digest, f"the blob {found} of the {expected} bytes that its descriptor says"
            )
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stream.close()


def _verify(reader: TarLayerReader, descriptor: Descriptor) -> None:
    if reader.digest != descriptor.digest:
        raise InvalidDataError(
            descriptor.digest,
            f"the contents of the blob have the digest {reader.digest}: it is damaged where it is stored",
        )


def _read_again(
    open_blob: Callable[[], BinaryIO], descriptor: Descriptor, folder: Path, contents: ContentsWriter
) -> None:
    """Keeps what was missed: what is wanted of files whose further names only told so."""
    with (
        HostRoot(folder) as root,
        _SizedStream(open_blob(), descriptor) as stream,
        TarLayerReader(cast(BinaryIO, stream), descriptor.digest) as reader,
    ):
        for item in reader:
            entry = item.entry
            if not entry.has_data or not contents.misses_size(entry.size):
                continue
            with spool(folder) as file:
                digest = hashlib.sha256()
                for chunk in next(item.streams()).chunks:
                    digest.update(chunk)
                    file.write(chunk)
                for want, place in contents.found(digest.digest(), entry.size):
                    if want == HIVE:
                        file.seek(0)
                        root.make_directories(place.rpartition(b"/")[0])
                        root.write_chunks(place, iter(lambda: file.read(_PIECE), b""))
                    else:
                        keep(contents, (want,), decode_name(place), digest.digest(), file, entry.size)
        reader.finish()
        _verify(reader, descriptor)
    if contents.misses_any:
        raise InvalidDataError(descriptor.digest, "the blob has other contents when it is read again")
