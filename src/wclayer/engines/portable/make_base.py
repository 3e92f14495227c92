"""`make_base_layer`: turns a folder with `Files` in it into a base layer."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from wclayer._types import StrPath
from wclayer.engines.portable.base_processing import ProcessingInPlaceWriter
from wclayer.errors import AlreadyExistsError, NotALayerError, PathNotFoundError, during, errors_at
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.writer import write_hive
from wclayer.host.root import HostRoot
from wclayer.layers.atomic import StagedFile, remove_leftovers
from wclayer.layers.copy import copy_layer
from wclayer.layers.folder import FolderLayerReader
from wclayer.layers.hives import CONFIG, LAYER_HIVES
from wclayer.layers.progress import Cancelled, ProgressCallback
from wclayer.win32.names import names_equal


@during("make base layer")
def make_base_layer(
    path: StrPath,
    *,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> None:
    """Turns the folder `path`, which has `Files` in it, into a base layer, in place.

    Files keep their paths and contents. Each gets the metadata that Windows gives a new file (see `FolderLayerReader`).
    Registry hives that are missing in `Files/Windows/System32/config` are made; they are valid and have no keys. The
    folder becomes a layer in one step, when its `layer.db` appears. An interrupted call can be repeated.

    Raises:
        PathNotFoundError, NotALayerError: there is no such folder, or no `Files` in it.
        AlreadyExistsError: the folder is a layer already.
        InvalidDataError: the folder contains a file that a layer cannot hold.

    Reference: hcsshim, `ConvertToBaseLayer`.
    """
    place = Path(os.path.abspath(path))
    if not place.is_dir():
        raise PathNotFoundError(place, "the folder does not exist")
    if (place / "layer.db").exists():
        raise AlreadyExistsError(place, "the folder is a layer already")
    if not (place / "Files").is_dir():
        raise NotALayerError(place, "the folder has no folder Files in it")
    with errors_at(place):
        _ensure_hives(place)
    with FolderLayerReader(place) as reader, ProcessingInPlaceWriter(place) as writer:
        copy_layer(reader, writer, progress=progress, cancelled=cancelled)


def _ensure_hives(place: Path) -> None:
    with HostRoot(place) as host:
        directory = ""
        for part in CONFIG.split("/"):
            directory = _spelled(host, directory, part) or _make(host, directory, part)
        remove_leftovers(place / directory)
        for hive in LAYER_HIVES:
            name = hive.config_name
            if _spelled(host, directory, name) is None:
                # The file must appear as a whole or not at all, because the next call keeps existing files.
                with StagedFile(place / directory / name) as staged:
                    staged.stream.write(write_hive(empty_root(), file_name=name))


def _spelled(host: HostRoot, directory: str, name: str) -> str | None:
    """Returns the path of a name in a directory, in the case in which it exists there; None if it does not exist."""
    for found in host.names(directory.encode()):
        if names_equal(found, name):
            return f"{directory}/{found}" if directory else found
    return None


def _make(host: HostRoot, directory: str, name: str) -> str:
    path = f"{directory}/{name}"
    with suppress(FileExistsError):
        host.make_directory(path.encode())
    return path
