"""The public functions: each is done by the chosen engine (`selection`), or with its readers and writers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from wclayer._types import StrPath
from wclayer.engines import portable
from wclayer.engines.portable.activation import check_disk_is_current
from wclayer.engines.results import ExportResult
from wclayer.engines.selection import engine
from wclayer.errors import during
from wclayer.formats.compression import Compression
from wclayer.layers.atomic import OutputFile
from wclayer.layers.copy import ProgressCallback, copy_layer
from wclayer.layers.volume.reader import VolumeLayerReader
from wclayer.layers.volume.scratch import ScratchLayerReader
from wclayer.model import LayerReader, LayerWriter, Limits

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _by_engine(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """The function of that name of the chosen engine. The portable one stands for its signature and documentation."""

    @functools.wraps(function)
    def call(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        result: _Result = getattr(engine(), function.__name__)(*arguments, **options)
        return result

    call.__module__ = __name__
    return call


activate_layer = _by_engine(portable.activate_layer)
create_layer = _by_engine(portable.create_layer)
create_scratch_layer = _by_engine(portable.create_scratch_layer)
deactivate_layer = _by_engine(portable.deactivate_layer)
destroy_layer = _by_engine(portable.destroy_layer)
expand_scratch_size = _by_engine(portable.expand_scratch_size)
export_layer = _by_engine(portable.export_layer)
export_layer_to_tar = _by_engine(portable.export_layer_to_tar)
get_layer_mount_path = _by_engine(portable.get_layer_mount_path)
get_shared_base_images = _by_engine(portable.get_shared_base_images)
grant_vm_access = _by_engine(portable.grant_vm_access)
import_layer = _by_engine(portable.import_layer)
import_layer_from_tar = _by_engine(portable.import_layer_from_tar)
layer_exists = _by_engine(portable.layer_exists)
layer_id = _by_engine(portable.layer_id)
name_to_guid = _by_engine(portable.name_to_guid)
prepare_layer = _by_engine(portable.prepare_layer)
process_base_layer = _by_engine(portable.process_base_layer)
process_utility_vm_image = _by_engine(portable.process_utility_vm_image)
unprepare_layer = _by_engine(portable.unprepare_layer)


@during("read layer")
def new_layer_reader(path: StrPath, parents: Sequence[StrPath] = ()) -> LayerReader:
    """A reader of the layer at `path`: its entries and tombstones.

    Args:
        path: the layer directory.
        parents: the parent chain, nearest first. The portable engine knows it, and checks it if it is given; Windows
            must be told, or the layer is read as a base layer.

    Raises:
        PathNotFoundError, NotALayerError: there is no layer at `path`.
        InvalidParameterError: `parents` are not the layer's (portable engine).
        AccessDeniedError: the user does not have the privileges that backing up needs (hcs engine).

    Reference: hcsshim, `NewLayerReader`.
    """
    reader: LayerReader = engine().new_layer_reader(path, parents)
    return reader


@during("import layer")
def new_layer_writer(path: StrPath, parents: Sequence[StrPath] = ()) -> LayerWriter:
    """A writer that makes the layer directory `path`; the layer is there when its `close` returns.

    Args:
        path: where the layer will be: nothing, or an empty folder, in a folder that exists.
        parents: the parent chain, nearest first, or only the nearest one (portable engine); none for a base layer.

    Raises:
        AlreadyExistsError: `path` is taken.
        PathNotFoundError: the folder of `path`, or a parent, does not exist.
        NotALayerError: a parent is not a layer directory.
        InvalidParameterError: the chain is in the wrong order.
        AccessDeniedError: the user does not have the privileges that restoring needs (hcs engine).

    Reference: hcsshim, `NewLayerWriter`.
    """
    writer: LayerWriter = engine().new_layer_writer(path, parents)
    return writer


@during("import layer")
def import_layer_from_disk(
    path: StrPath,
    disk: StrPath,
    parents: Sequence[StrPath] = (),
    *,
    limits: Limits | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> None:
    """Makes the layer `path` from the NTFS volume in the disk file `disk`: VHDX, VHD or raw, partitioned or not.

    Without parents, everything on the volume becomes a base layer. With parents, the disk is a scratch on those, and
    the layer is the difference that it makes.

    Args:
        path: where the layer will be: nothing, or an empty folder, in a folder that exists.
        disk: the file; it is left as it is. See `VolumeLayerReader` and `ScratchLayerReader`.
        parents: the parent chain, nearest first, or only the nearest one; none for a base layer.
        limits: how much is accepted of what the volume's files say; by default the limits in use (`use_limits`).
        progress, cancelled: see `copy_layer`.

    Raises:
        PathNotFoundError: the file, or a parent of a differencing disk, is not there.
        InvalidDataError: it holds no sound NTFS volume.
        LimitExceededError: it is larger than `limits` allow.
        NotSupportedError: it is a disk in a format that is not read (`DiskFile`).
        InvalidStateError: it is the disk of a scratch with changes that it lacks: `deactivate_layer` writes them.
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
    file: StrPath,
    path: StrPath,
    parents: Sequence[StrPath] = (),
    *,
    compression: Compression | str = Compression.NONE,
    level: int | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ExportResult:
    """`export_layer_to_tar` into a file that appears, or replaces another, when it is whole. A link is followed; a
    device or a FIFO is written to (see `OutputFile`).

    Raises:
        PathNotFoundError: the folder of `file`, or the layer, does not exist.
        InvalidParameterError: `file` lies in the layer.
        EntryIsDirectoryError, AccessDeniedError, DiskFullError: it is a directory, or the host does not let it be made.
        see `export_layer_to_tar` for the rest.
    """
    with OutputFile(file, sources=[path]) as output:
        return export_layer_to_tar(
            output.stream, path, parents, target=file, compression=compression, level=level,
            progress=progress, cancelled=cancelled,
        )  # fmt: skip
