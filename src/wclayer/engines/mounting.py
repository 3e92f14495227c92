"""`mount_layer` and `unmount_layer`: the engine's functions that a mount needs, in the right order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wclayer._types import Chain, StrPath
from wclayer.engines.portable.activation import is_active
from wclayer.engines.selection import engine
from wclayer.errors import AlreadyExistsError, InvalidParameterError, LayerBusyError, NotReadyError, during
from wclayer.layers.atomic import make_folder
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.chain import as_chain
from wclayer.layers.directory.scratch import MOUNT, has_unsaved_changes, is_scratch
from wclayer.view.fuse import mount


@during("mount")
def mount_layer(
    path: StrPath,
    target: StrPath | None = None,
    parents: Chain = (),
    *,
    allow_other: bool = False,
    hold: bool = False,
    serve: Callable[[str], None] | None = None,
) -> str:
    """Mounts a layer over its parents: a scratch to change it, any other layer to read it.

    A scratch is activated first, unless it is active. After a failure, its activation is undone.

    Args:
        path: the layer directory.
        target: an empty folder to mount at. A scratch does not need one: by default, its folder `mount` is used.
        parents: the parent chain; if given, it must be the layer's own.
        allow_other: True if every user of the machine may use the mount, and change the files in it.
        hold: True if no other process may remove or change the layers of a read-only mount while they are mounted: for
            the layers of an image, which `prune` may remove from their store.
        serve: a function, or None. With a function, this process serves the mount until it is unmounted or interrupted,
            and calls the function with the mount point as soon as the mount can be used. With None, a new process
            serves the mount.

    Returns:
        The mount point.

    Raises:
        AlreadyExistsError: the scratch is mounted already.
        InvalidParameterError: `target` is missing, or `parents` are not the layer's.
        NotSupportedError: FUSE is missing; the message says what to install.
        LayerBusyError: other processes have the scratch open.
        PathNotFoundError, NotALayerError: there is no layer at `path`.
    """
    if not is_scratch(path):
        if target is None:
            with open_layer(path):
                pass
            raise InvalidParameterError(path, "not a scratch; it needs a folder to mount at")
        chain = [path, *as_chain(parents)]
        if serve is None:
            mount.start(target, chain, allow_other=allow_other, hold=hold)
        else:
            mount.serve(target, chain, allow_other=allow_other, hold=hold, ready=lambda: serve(os.fspath(target)))
        return os.fspath(target)
    with _activated(path):
        if serve is None:
            engine().prepare_layer(path, parents, target=target, allow_other=allow_other)
        else:
            place = os.path.join(path, MOUNT) if target is None else os.fspath(target)
            make_folder(Path(place), parents=True)
            mount.serve(place, as_chain(parents), path, allow_other=allow_other, ready=lambda: serve(place))
            engine().deactivate_layer(path)
            return place
    return engine().get_layer_mount_path(path)


@contextmanager
def _activated(path: StrPath) -> Iterator[None]:
    """Activates a scratch that is not mounted, unless it is active. If the body fails, the activation is undone."""
    chosen = engine()
    # With the hcs engine, a scratch that is active but not prepared has a path, too. Windows refuses a second mount.
    if chosen.name == "portable":
        with suppress(NotReadyError):
            at = chosen.get_layer_mount_path(path)
            raise AlreadyExistsError(path, f"it is mounted already, at {at}")
    activated = True
    try:
        chosen.activate_layer(path)
    except LayerBusyError:
        if chosen.name != "portable" or not is_active(path):
            raise
        activated = False
    try:
        yield
    except BaseException:
        if activated:
            chosen.deactivate_layer(path)
        raise


@during("unmount")
def unmount_layer(path: StrPath) -> bool:
    """Unmounts a layer. The changes of a scratch are then written into its disk, including those made without a mount.

    Args:
        path: the layer directory of a scratch, or the folder at which a layer is mounted.

    Returns:
        True if the layer was mounted; False for an unmounted scratch whose disk lacked changes.

    Raises:
        NotReadyError: nothing is mounted, and the scratch's disk has all of its changes.
        LayerBusyError: files of the mount are open.
        PathNotFoundError: nothing exists at `path`.
    """
    layer = path if is_scratch(path) else mount.mounted_layer(path)
    if layer is None or not is_scratch(layer):
        mount.unmount(path)
        return True
    chosen = engine()
    was_mounted = True
    try:
        chosen.unprepare_layer(layer)
    except NotReadyError:
        if chosen.name != "portable":
            raise
        was_mounted = False
    try:
        chosen.deactivate_layer(layer)
    except NotReadyError as error:
        if was_mounted or not has_unsaved_changes(layer):
            raise NotReadyError(layer, "it is not mounted, and its disk holds all its changes") from error
        chosen.activate_layer(layer)
        chosen.deactivate_layer(layer)
    return was_mounted
