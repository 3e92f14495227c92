"""The public functions: those that the chosen engine carries out, and those that are built from an engine's functions.

`Engine` documents the functions of the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar
from uuid import UUID

from wclayer._types import Chain, StrPath
from wclayer.engines.engine import Engine
from wclayer.engines.portable.activation import check_disk_is_current
from wclayer.engines.results import ExportResult, ImportResult
from wclayer.engines.selection import engine
from wclayer.errors import during
from wclayer.formats.compression import Compression
from wclayer.layers.atomic import OutputFile
from wclayer.layers.copy import copy_layer
from wclayer.layers.progress import Cancelled, ProgressCallback
from wclayer.layers.volume.reader import VolumeLayerReader
from wclayer.layers.volume.scratch import ScratchLayerReader
from wclayer.model import BackupReader, BackupWriter, Limits

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _documented_by(method: Callable[..., Any]) -> Callable[[_Function], _Function]:
    """Gives a function the documentation of the method of `Engine` that it calls."""

    def document(function: _Function) -> _Function:
        function.__doc__ = method.__doc__
        return function

    return document


@_documented_by(Engine.activate_layer)
def activate_layer(path: StrPath, *, prefer: str | None = None) -> None:
    engine().activate_layer(path, prefer=prefer)


@_documented_by(Engine.create_layer)
def create_layer(path: StrPath, parent: StrPath | None = None, *, parents: Chain = ()) -> None:
    engine().create_layer(path, parent, parents=parents)


@_documented_by(Engine.create_scratch_layer)
def create_scratch_layer(path: StrPath, parents: Chain) -> None:
    engine().create_scratch_layer(path, parents)


@_documented_by(Engine.deactivate_layer)
def deactivate_layer(path: StrPath, *, write_sandbox: bool | None = None) -> None:
    engine().deactivate_layer(path, write_sandbox=write_sandbox)


@_documented_by(Engine.destroy_layer)
def destroy_layer(path: StrPath) -> None:
    engine().destroy_layer(path)


@_documented_by(Engine.expand_scratch_size)
def expand_scratch_size(path: StrPath, size: int) -> None:
    engine().expand_scratch_size(path, size)


@_documented_by(Engine.export_layer)
def export_layer(
    path: StrPath,
    folder: StrPath,
    parents: Chain = (),
    *,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> None:
    engine().export_layer(path, folder, parents, progress=progress, cancelled=cancelled)


@_documented_by(Engine.export_layer_to_tar)
def export_layer_to_tar(
    stream: BinaryIO,
    path: StrPath,
    parents: Chain = (),
    *,
    target: StrPath = "<stream>",
    compression: Compression | str = Compression.NONE,
    level: int | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> ExportResult:
    return engine().export_layer_to_tar(
        stream,
        path,
        parents,
        target=target,
        compression=compression,
        level=level,
        progress=progress,
        cancelled=cancelled,
    )


@_documented_by(Engine.get_layer_mount_path)
def get_layer_mount_path(path: StrPath) -> str:
    return engine().get_layer_mount_path(path)


@_documented_by(Engine.grant_vm_access)
def grant_vm_access(vm_id: UUID | str, path: StrPath) -> None:
    engine().grant_vm_access(vm_id, path)


@_documented_by(Engine.import_layer)
def import_layer(
    path: StrPath,
    folder: StrPath,
    parents: Chain = (),
    *,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> None:
    engine().import_layer(path, folder, parents, progress=progress, cancelled=cancelled)


@_documented_by(Engine.import_layer_from_tar)
def import_layer_from_tar(
    stream: BinaryIO,
    path: StrPath,
    parents: Chain = (),
    *,
    source: StrPath = "<stream>",
    limits: Limits | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> ImportResult:
    return engine().import_layer_from_tar(
        stream, path, parents, source=source, limits=limits, progress=progress, cancelled=cancelled
    )


@_documented_by(Engine.layer_exists)
def layer_exists(path: StrPath) -> bool:
    return engine().layer_exists(path)


@_documented_by(Engine.layer_id)
def layer_id(path: StrPath) -> UUID:
    return engine().layer_id(path)


@_documented_by(Engine.name_to_guid)
def name_to_guid(name: str) -> UUID:
    return engine().name_to_guid(name)


@_documented_by(Engine.new_layer_reader)
def new_layer_reader(path: StrPath, parents: Chain = ()) -> BackupReader:
    return engine().new_layer_reader(path, parents)


@_documented_by(Engine.new_layer_writer)
def new_layer_writer(path: StrPath, parents: Chain = ()) -> BackupWriter:
    return engine().new_layer_writer(path, parents)


@_documented_by(Engine.prepare_layer)
def prepare_layer(
    path: StrPath,
    parents: Chain = (),
    *,
    target: StrPath | None = None,
    allow_other: bool = False,
) -> None:
    engine().prepare_layer(path, parents, target=target, allow_other=allow_other)


@_documented_by(Engine.process_base_layer)
def process_base_layer(path: StrPath) -> None:
    engine().process_base_layer(path)


@_documented_by(Engine.process_utility_vm_image)
def process_utility_vm_image(path: StrPath) -> None:
    engine().process_utility_vm_image(path)


@_documented_by(Engine.unprepare_layer)
def unprepare_layer(path: StrPath) -> None:
    engine().unprepare_layer(path)


@during("import layer")
def import_layer_from_disk(
    disk: StrPath,
    path: StrPath,
    parents: Chain = (),
    *,
    limits: Limits | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> None:
    """Makes the layer `path` from the NTFS volume in the disk file `disk`: VHDX, VHD or raw, partitioned or not.

    Without parents, everything on the volume becomes a base layer. With parents, the disk is that of a scratch on these
    parents, and the layer is its difference from them.

    Args:
        disk: the disk file, which is not changed. See `VolumeLayerReader` and `ScratchLayerReader`.
        path: the path of the new layer, in an existing folder. Nothing, or an empty folder, may be there.
        parents: the parent chain, nearest first, or only the nearest one; empty for a base layer.
        limits: the limits for the sizes that the volume's files claim; by default the limits in use (`use_limits`).
        progress, cancelled: see `copy_layer`.

    Raises:
        PathNotFoundError: the file, or a parent of a differencing disk, does not exist.
        InvalidDataError: the disk does not hold an intact NTFS volume.
        LimitExceededError: the volume is larger than `limits` allow.
        NotSupportedError: the disk has an unsupported format (`DiskFile`).
        InvalidStateError: the disk lacks changes of its scratch; `deactivate_layer` writes them.
        AlreadyExistsError, NotALayerError, InvalidParameterError: see `new_layer_writer`.
    """
    check_disk_is_current(disk)
    with (
        ScratchLayerReader(disk, parents, limits=limits)
        if parents
        else VolumeLayerReader(disk, limits=limits) as reader,
        new_layer_writer(path, parents) as writer,
    ):
        copy_layer(reader, writer, progress=progress, cancelled=cancelled)


@during("export layer")
def export_layer_to_file(
    path: StrPath,
    file: StrPath,
    parents: Chain = (),
    *,
    compression: Compression | str = Compression.NONE,
    level: int | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> ExportResult:
    """Writes the layer at `path` to `file` as an OCI layer tar (see `export_layer_to_tar`).

    The file appears, or replaces an existing one, when it is complete. A link is followed. A device, a FIFO and the
    standard output ("-") are written to directly (see `OutputFile`).

    Raises:
        PathNotFoundError: the folder of `file`, or the layer, does not exist.
        InvalidParameterError: `file` lies in the layer, or `parents` are not the layer's.
        EntryIsDirectoryError: `file` is a directory.
        AccessDeniedError, DiskFullError: the host refuses to make the file, or has no space for it.
        NotALayerError, CorruptLayerError: see `export_layer_to_tar`.
    """
    with OutputFile(file, sources=[path]) as output:
        return export_layer_to_tar(
            output.stream, path, parents, target=file, compression=compression, level=level,
            progress=progress, cancelled=cancelled,
        )  # fmt: skip
