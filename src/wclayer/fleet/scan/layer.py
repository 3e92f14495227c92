"""`read_layer`: the task that reads the blob of a layer, once, and keeps what an inventory needs of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from wclayer.errors import (
    FOREIGN_ERRORS,
    AccessDeniedError,
    CorruptLayerError,
    DiskFullError,
    InvalidDataError,
    LayerError,
    PathNotFoundError,
    RegistryError,
    translated,
)
from wclayer.fleet.access import ImageAccess
from wclayer.fleet.scan.environment import Environment, environment
from wclayer.fleet.scan.found import FoundLayer
from wclayer.fleet.tables.file_rows import file_rows
from wclayer.host.durability import unsynced
from wclayer.images.descriptor import Descriptor
from wclayer.inventory.facts.archive import unpack_facts, unpack_stream
from wclayer.inventory.facts.reading import make_facts
from wclayer.inventory.facts.summary import LayerSummary

CREATED_BY = "created_by"
"""What is noted of a layer beside what its facts say: the step that made it."""


@dataclass(frozen=True, slots=True)
class LayerOutcome:
    """What became of a layer.

    Attributes:
        error: why it cannot be read; "" if its facts are there.
        bytes_read: the bytes that were read of its blob.
        is_unreachable: the registry cannot be reached, or fails, which may concern all layers.
    """

    error: str
    bytes_read: int = 0
    is_unreachable: bool = False


def read_layer(scan: str, places: Sequence[tuple[str, FoundLayer]]) -> LayerOutcome:
    """Makes the facts of a layer, and the rows of its entries.

    Args:
        scan: the name of the scan.
        places: locations of images that have the layer, with what these say of it.

    Raises:
        LayerError: the worker has no room for them, or they cannot be written.
    """
    layer = places[0][1]
    digest = layer.descriptor.digest
    with environment(scan) as here, here.new_folder() as folder:
        file, unpacked = folder / "facts", folder / "unpacked"
        reading = _Reading(here.access, places)
        # What is in the folder of the worker need not survive a power cut.
        with unsynced():
            summary = _unpack_kept(here, digest, unpacked)
            is_new = summary is None
            if summary is None:
                if not reading.make_facts(file):
                    return reading.outcome
                summary = unpack_facts(file, unpacked)
        here.check_wanted()
        here.dataset.write_files(
            digest, file_rows(unpacked, digest), {**summary.to_json(), CREATED_BY: layer.created_by}
        )
        if is_new:
            # Last: where facts are, rows are, too.
            here.store.put(digest, file)
        return reading.outcome


def _unpack_kept(here: Environment, digest: str, folder: Path) -> LayerSummary | None:
    """Unpacks the facts of a layer if they are kept, as after a change of the tables; returns None if they are not, or
    are damaged."""
    with suppress(PathNotFoundError, InvalidDataError, CorruptLayerError), here.store.open(digest) as stream:
        return unpack_stream(stream, here.store.place(digest), folder, digest=digest)
    return None


class _Reading:
    """The reading of the blob of a layer.

    Args:
        access: how images are reached.
        places: locations of images that have the layer, with what these say of it.

    Attributes:
        outcome: what became of it.
    """

    def __init__(self, access: ImageAccess, places: Sequence[tuple[str, FoundLayer]]) -> None:
        self._access = access
        self._places = places
        self.outcome = LayerOutcome("")

    def make_facts(self, file: Path) -> bool:
        """Writes the facts of the layer into a file, and returns whether it could be read.

        Another place is asked if one does not have the blob, or its manifest states another size.

        Raises:
            DiskFullError: the worker has no room.
        """
        wrong_sizes: set[int] = set()
        error, is_unreachable = "", False
        for location, layer in self._places:
            if layer.descriptor.size in wrong_sizes:
                continue
            try:
                self._make_facts(location, layer.descriptor, file)
            except FOREIGN_ERRORS as failure:
                told = translated(layer.descriptor.digest, failure)
                if told is None or isinstance(told, DiskFullError):
                    raise
                error = error or _text(told, layer.descriptor.digest, file.parent)
                is_unreachable = is_unreachable or isinstance(told, RegistryError)
                if not isinstance(told, (PathNotFoundError, AccessDeniedError)):
                    wrong_sizes.add(layer.descriptor.size)
            else:
                self.outcome = LayerOutcome("", self.outcome.bytes_read)
                return True
        self.outcome = LayerOutcome(error, self.outcome.bytes_read, is_unreachable)
        return False

    def _make_facts(self, location: str, descriptor: Descriptor, file: Path) -> None:
        streams: list[_Counted] = []

        def open_blob() -> BinaryIO:
            streams.append(_Counted(source.open_blob(descriptor)))
            return cast(BinaryIO, streams[-1])

        with self._access.open(location) as source:
            try:
                make_facts(open_blob, descriptor, file)
            finally:
                done = sum(stream.bytes_read for stream in streams)
                self.outcome = LayerOutcome("", self.outcome.bytes_read + done)


class _Counted:
    """A stream whose bytes are counted."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.bytes_read = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.bytes_read += len(data)
        return data

    def close(self) -> None:
        self._stream.close()


def _text(error: LayerError, digest: str, folder: Path) -> str:
    """Returns what is wrong with a layer, without a place in the folder of this worker: that is another one at each
    scan, and an equal error makes an equal row."""
    is_named = error.path in (digest, "") or Path(error.path).is_relative_to(folder)
    return error.detail if is_named else f"{error.path}: {error.detail}"
