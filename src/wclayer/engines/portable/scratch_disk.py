"""A scratch and its disk: writes the changes into `sandbox.vhdx`, and reads them back from a changed disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import time_ns
from uuid import UUID, uuid4

from wclayer.engines.portable.guids import layer_id
from wclayer.errors import errors_at
from wclayer.formats.gpt.table import read_table, write_table
from wclayer.formats.ntfs.volume import NtfsVolume
from wclayer.formats.vhdx.create import create_vhdx
from wclayer.host import durability
from wclayer.layers.atomic import StagedFile, claim_place
from wclayer.layers.copy import copy_layer
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.database import FILE_NAME
from wclayer.layers.directory.reader import DirectoryLayerReader
from wclayer.layers.directory.scratch import DISK, ScratchDirectory
from wclayer.layers.directory.scratch_writer import ScratchWriter
from wclayer.layers.names import Kind
from wclayer.layers.volume.disk_file import DiskFile, PartitionWindow, locator_for
from wclayer.layers.volume.scratch import ScratchLayerReader
from wclayer.layers.volume.scratch_writer import ScratchVolumeWriter
from wclayer.win32.filetime import from_unix_ns

SAVED_AS = "disk_write_guid"
"""The record of the DataWriteGuid that the disk had when it last agreed with the scratch ([MS-VHDX] 2.2.2)."""
SAVED_NEXT = "disk_write_guid_next"
"""The record of the DataWriteGuid that the disk gets from the current operation. Even after an interruption, it
distinguishes the disk from one that another program has changed."""


def disk_guid(scratch: Path, *, above: Path | None = None) -> str:
    """Returns the GUID that changes whenever the data of a scratch's disk changes.

    Args:
        scratch: the layer directory.
        above: the path of the disk's parent; by default the one that the disk records.

    Raises:
        PathNotFoundError, InvalidDataError: the disk, or its parent, does not exist, or is damaged.
    """
    with DiskFile(scratch / DISK, parent=above) as opened:
        return str(opened.vhdx().linkage)


def was_changed(scratch: ScratchDirectory) -> bool:
    """Returns whether another program has changed the disk since the scratch was last written to it."""
    known = scratch.record(SAVED_AS)
    return known is not None and disk_guid(scratch.path) not in (known, scratch.record(SAVED_NEXT))


def _announce(scratch: ScratchDirectory) -> UUID:
    """Records and returns the DataWriteGuid that the disk gets next."""
    guid = uuid4()
    with scratch.transaction(is_change=False):
        scratch.set_record(SAVED_NEXT, str(guid))
    if durability.is_wanted():
        scratch.sync()
    return guid


@contextmanager
def reshaping(path: Path, *, above: Path | None = None) -> Iterator[UUID]:
    """A context for changing the size or the parent's path of a scratch's disk. No other process can use the scratch in
    it, and afterwards the data of the disk counts as unchanged. Yields the DataWriteGuid that the disk must get.

    Args:
        path: the layer directory.
        above: the path of the disk's parent; by default the one that the disk records.

    Raises:
        LayerBusyError: the scratch is in use.
    """
    if not (path / FILE_NAME).is_file():
        # The scratch was never activated here.
        with closing(claim_place(path)):
            yield uuid4()
        return
    with ScratchDirectory(path, exclusive=True) as scratch:
        is_known = scratch.record(SAVED_AS) == disk_guid(path, above=above)
        yield _announce(scratch) if is_known else uuid4()
        if is_known:
            with scratch.transaction(is_change=False):
                scratch.set_record(SAVED_AS, disk_guid(path, above=above))


def note_disk(scratch: ScratchDirectory) -> None:
    """Records that the disk agrees with the scratch."""
    scratch.mark_saved(**{SAVED_AS: disk_guid(scratch.path)})
    scratch.checkpoint()


def read_disk(scratch: ScratchDirectory, parents: Sequence[Path]) -> None:
    """Replaces the scratch's changes by those on the disk, all of them or none.

    Raises:
        InvalidDataError: the disk does not have an intact volume, or has marks that do not fit the parents.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(open_layer(parent)) for parent in parents]
        reader = stack.enter_context(ScratchLayerReader(scratch.path / DISK, parents))
        with ScratchWriter(scratch, opened) as writer:
            copy_layer(reader, writer)
    note_disk(scratch)


def write_disk(scratch: ScratchDirectory, parents: Sequence[Path]) -> None:
    """Writes the changes into a new disk, with the size and the parent of the old one, which it then replaces.

    Raises:
        DiskFullError: the changes do not fit; the old disk stays.
        InvalidDataError: the old disk is damaged.
    """
    place = scratch.path / DISK
    # The old disk is closed before the new one replaces it: Windows would not replace an open file.
    with DiskFile(place) as old, old.errors():
        table = read_table(old.disk)
        data = table.data_partition
        serial = NtfsVolume(PartitionWindow(old.disk, data.offset, data.size)).serial
        metadata, above = old.vhdx().metadata, next(iter(old.chain), None)
    # This comes first: it makes the mark that, after a crash, leads to the removal of the unfinished new disk.
    guid = _announce(scratch)
    with errors_at(place), ExitStack() as stack:
        staged = stack.enter_context(StagedFile(place, readable=True))
        parent = locator = None
        if above is not None:
            parent = stack.enter_context(DiskFile(above)).vhdx()
            locator = locator_for(place, above, parent)
        disk = stack.enter_context(
            create_vhdx(
                staged.stream, metadata.size, block_size=metadata.block_size, parent=parent, locator=locator,
                logical_sector_size=metadata.logical_sector_size, disk_id=metadata.disk_id, write_guid=guid,
            )
        )  # fmt: skip
        if parent is not None:
            disk.hide_parent()
        write_table(disk, table)
        layers = [stack.enter_context(open_layer(layer)) for layer in parents]

        def owner(path: str) -> UUID | None:
            found = next((layer for layer in layers if layer.kind(path) is not Kind.ABSENT), None)
            return layer_id(found.path) if found is not None and found.kind(path) is Kind.DIRECTORY else None

        reader = stack.enter_context(DirectoryLayerReader(scratch.path))
        volume = PartitionWindow(disk, data.offset, data.size)
        with ScratchVolumeWriter(
            volume, str(place), owner=owner, serial=serial, time=from_unix_ns(time_ns()),
            hidden_sectors=data.offset // disk.sector_size,
        ) as writer:  # fmt: skip
            copy_layer(reader, writer)
    note_disk(scratch)
