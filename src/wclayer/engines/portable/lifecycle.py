"""`create_layer`, `layer_exists`, `destroy_layer`: the beginning, the existence and the end of a layer."""

from __future__ import annotations

import os
from pathlib import Path

from wclayer._types import Chain, StrPath
from wclayer.errors import LayerBusyError, NotALayerError, PathNotFoundError, during, errors_at
from wclayer.host.root import HostRoot, mounts_below
from wclayer.layers.atomic import remove_leftovers, remove_whole
from wclayer.layers.directory import database, is_layer
from wclayer.layers.directory.chain import as_chain
from wclayer.layers.directory.chain_file import CHAIN_FILE
from wclayer.layers.directory.scratch import DISK
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.view.fuse import mount

_MARKS = (CHAIN_FILE, DISK)
"""The files of which each one makes a folder a layer."""
_MARKS_BESIDE_FILES = (database.FILE_NAME, "blank.vhdx", "blank-base.vhdx", "layout", "Hives/*_Base")
"""The files of which each one makes a folder with `Files` a layer: a damaged one of this project, or one that Windows
made. A transport folder has none of them."""


@during("create layer")
def create_layer(path: StrPath, parent: StrPath | None = None, *, parents: Chain = ()) -> None:
    """Creates an empty, finished layer directory."""
    chain = [parent] if parent is not None else as_chain(parents)
    with DirectoryLayerWriter(path, chain):
        pass


@during("layer exists")
def layer_exists(path: StrPath) -> bool:
    """Returns whether `path` is a folder with a `layer.db`, a `Files` folder or a `sandbox.vhdx`."""
    return is_layer(path)


@during("destroy layer")
def destroy_layer(path: StrPath) -> None:
    """Moves the layer aside in one step, then removes it."""
    place = Path(os.path.abspath(path))
    with errors_at(place):
        if not os.path.lexists(place):
            if place.parent.is_dir():
                remove_leftovers(place.parent)
            raise PathNotFoundError(place, "the layer does not exist")
        if place.is_symlink():
            raise NotALayerError(
                place, f"a symbolic link to {os.readlink(place)}; name the layer itself, or remove the link"
            )
        remove_whole(place, lambda: _check(place))


def _check(place: Path) -> None:
    """Refuses a folder that is not a layer, and a layer in which something is mounted. The caller holds its lock."""
    if not place.is_dir():
        raise NotALayerError(place, "not a layer: it is no folder")
    if not _is_layer(place):
        raise NotALayerError(
            place,
            f"not a layer: it has no {database.FILE_NAME}, {CHAIN_FILE} or {DISK}, and no other file that only"
            " layers have; remove the folder by the means of the system if it is to go",
        )  # fmt: skip
    _check_mounts(place)


def _is_layer(place: Path) -> bool:
    """Returns whether a folder is certainly a layer, made by this project, Windows or containerd, possibly damaged."""
    try:
        with HostRoot(place) as root:
            database.read_kind(root)
    except (OSError, ValueError):
        pass
    else:
        return True
    if any((place / mark).is_file() for mark in _MARKS):
        return True
    return (place / "Files").is_dir() and any(
        found.is_file() for mark in _MARKS_BESIDE_FILES for found in list(place.glob(mark))
    )


def _check_mounts(place: Path) -> None:
    for at in mounts_below(place):
        if not mount.is_stale(at):
            raise LayerBusyError(at, "a file system is mounted there; unmount it first")
    for at in mounts_below(place):
        mount.remove_stale(at)
