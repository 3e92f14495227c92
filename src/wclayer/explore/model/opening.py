"""`open_path`: opens whatever is at a path to be explored: a layer directory, a disk, or the tar of a layer."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import Enum, auto
from pathlib import Path

from wclayer._types import StrPath
from wclayer.errors import InvalidDataError, during, errors_at
from wclayer.explore.model.explored import Explorable, ExploredChain
from wclayer.formats.compression import Compression, detect
from wclayer.formats.tar import structs
from wclayer.layers.directory import open_layer
from wclayer.layers.inputs import has_any_place, open_any_place
from wclayer.layers.progress import ProgressCallback
from wclayer.layers.volume.kinds import DiskKind, disk_kind, foreign_format, what_else

_LARGEST_EMPTY_TAR = 1 << 20
"""The most bytes of zeros that are an empty tar, and no blank disk."""


class _FileKind(Enum):
    DISK = auto()
    TAR = auto()


@during("explore")
def open_path(path: StrPath, bar: Callable[[], AbstractContextManager[ProgressCallback | None]]) -> Explorable:
    """Opens what is at a path. The caller closes it.

    Args:
        path: the path of a layer directory, which is shown over the parents that it records; of a disk file; or of the
            tar of a layer, which is read once.
        bar: gives what is called from time to time while a tar is read.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: the layer cannot be opened, or nothing is there.
        InvalidDataError, NotSupportedError: the file is damaged, or neither a disk with an NTFS volume nor the tar of a
            layer.
    """
    if not has_any_place(path):
        with open_layer(path) as layer:
            paths = [layer.path, *layer.parents_in_place()]
        return ExploredChain(os.fspath(path), list(map(Path, paths)))
    # Loaded for files alone, so that the first screen of a layer does not wait for it.
    from wclayer.explore.model.explored_disk import ExploredDisk
    from wclayer.explore.model.explored_tar import ExploredTar

    if _kind_of_file(path) is _FileKind.DISK:
        return ExploredDisk(path)
    with bar() as progress:
        return ExploredTar(path, progress)


def _kind_of_file(path: StrPath) -> _FileKind:
    with errors_at(path), open_any_place(path) as file:
        head = file.read(structs.BLOCK)
        if detect(head[:4]) is not Compression.NONE or head[structs.MAGIC][:5] == structs.USTAR_MAGIC[:5]:
            return _FileKind.TAR
        kind = disk_kind(file)
        size = file.seek(0, os.SEEK_END)
        if kind is DiskKind.OTHER and not any(head) and size <= _LARGEST_EMPTY_TAR:
            return _FileKind.TAR
        if kind is not None or foreign_format(file) is not None:
            return _FileKind.DISK
        raise InvalidDataError(
            path,
            f"is {what_else(file)}; a layer directory, a disk (VHDX, VHD, raw, or an NTFS volume), the tar of a layer,"
            " or an archive or a layout of images can be shown",
        )
