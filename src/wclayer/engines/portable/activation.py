"""`activate_layer`, `prepare_layer`, `get_layer_mount_path`, `unprepare_layer`, `deactivate_layer`: a scratch in use.

The changes of an active scratch are in its layer directory; those of a prepared scratch are mounted over its parents.
Both states are records of the scratch, so that any process may take the next step. After a crash, the next call can
tell that a record is obsolete: an activation is valid until the machine restarts, a mount as long as its server runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from wclayer._types import Chain, StrPath
from wclayer.engines.portable.scratch_disk import SAVED_AS, note_disk, read_disk, was_changed, write_disk
from wclayer.errors import (
    AlreadyExistsError,
    CorruptLayerError,
    InvalidParameterError,
    InvalidStateError,
    LayerBusyError,
    NotReadyError,
    during,
    errors_at,
)
from wclayer.host import system
from wclayer.layers.atomic import claim_place
from wclayer.layers.directory import LayerDirectory, open_layer
from wclayer.layers.directory.chain import as_chain, check_chain, remember_chain
from wclayer.layers.directory.chain_file import in_place
from wclayer.layers.directory.database import FILE_NAME
from wclayer.layers.directory.in_place import make_empty_records
from wclayer.layers.directory.scratch import (
    DISK,
    MOUNT,
    UNREAD,
    UNSAVED,
    ScratchDirectory,
    has_unsaved_changes,
    is_scratch,
)
from wclayer.view.fuse import mount

ACTIVE = "active"
"""The record of an active scratch: the id of the current start of the machine."""
DISK_VARIABLE = "WCLAYER_SANDBOX_DISK"
"""With `0` in this environment variable, `deactivate_layer` does not write `sandbox.vhdx`."""
_TRIES = 100
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _this_boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except (FileNotFoundError, PermissionError):
        # The host, or the container, does not have this id.
        return "unknown"


def _open_scratch(place: Path, lock: system.Lock | None = None) -> ScratchDirectory | None:
    """Opens the scratch at a path for this process alone. Returns None for a finished layer.

    Args:
        lock: the lock of the folder, if it was taken already.

    Raises:
        PathNotFoundError, NotALayerError, LayerBusyError: see `ScratchDirectory`.
    """
    while is_scratch(place):
        try:
            return ScratchDirectory(place, exclusive=True, lock=lock)
        except InvalidParameterError:
            # Another process may just have committed the scratch, which makes it a finished layer.
            if is_scratch(place):
                raise
    with open_layer(place):
        return None


@during("activate layer")
def activate_layer(path: StrPath, *, prefer: str | None = None) -> None:
    """Reads the changes of a changed disk, and records that the scratch is active in this run of the machine."""
    place = Path(os.path.abspath(path))
    if prefer not in (None, "disk", "directory"):
        raise InvalidParameterError(place, f"prefer {prefer!r}; possible are disk and directory")
    with ExitStack() as stack:
        lock = None
        if is_scratch(place) and not (place / FILE_NAME).is_file():
            lock = claim_place(place)
            stack.callback(lock.close)
            with errors_at(place):
                make_empty_records(place)
        opened = _open_scratch(place, lock)
        if opened is None:
            return
        with errors_at(place, damage=CorruptLayerError), opened as scratch:
            if scratch.record(ACTIVE) == _this_boot():
                raise LayerBusyError(place, "it is active already")
            _read_changed_disk(scratch, prefer)
            with scratch.transaction(is_change=False):
                scratch.set_record(ACTIVE, _this_boot())


def _read_changed_disk(scratch: ScratchDirectory, prefer: str | None) -> None:
    """Reads the changes on the disk of a scratch if another program changed it; see `Engine.activate_layer`."""
    parents = scratch.parents()
    is_unread = scratch.record(UNREAD) is not None
    if is_unread and not parents:
        # The changes on the disk can be found only with the parents, which `prepare_layer` gets.
        return
    if is_unread or was_changed(scratch):
        if not is_unread and scratch.record(UNSAVED) and prefer is None:
            raise InvalidStateError(
                scratch.path, f"both {DISK} and the layer directory were changed since they last agreed"
            )
        if prefer != "directory":
            read_disk(scratch, in_place(scratch.path, parents))
        with scratch.transaction(is_change=False):
            scratch.set_record(UNREAD, None)
    elif scratch.record(SAVED_AS) is None and not scratch.record(UNSAVED):
        note_disk(scratch)


@during("prepare layer")
def prepare_layer(
    path: StrPath, parents: Chain = (), *, target: StrPath | None = None, allow_other: bool = False
) -> None:
    """Mounts the scratch with FUSE, by a server in a process of its own."""
    place = Path(os.path.abspath(path))
    try:
        _prepare(place, parents, target, allow_other)
    except InvalidParameterError:
        if is_scratch(place):
            raise
        # Another process has committed the scratch, which is now a finished layer.
        with open_layer(place) as layer:
            check_chain(layer, parents)


def _prepare(place: Path, parents: Chain, target: StrPath | None, allow_other: bool) -> None:
    with _opened(place) as (layer, has_disk):
        knows_parents = bool(layer.parents())
        if knows_parents or not has_disk:
            check_chain(layer, parents)
        if not has_disk:
            return
        if layer.record(ACTIVE) != _this_boot():
            raise NotReadyError(place, "activate it first")
        if not knows_parents and not parents:
            raise InvalidParameterError(place, "it does not know its parents; they must be named")
        recorded = _recorded_mount(layer)
        is_unread = layer.record(UNREAD) is not None
    if recorded is not None:
        if mount.is_serving(recorded, place):
            raise AlreadyExistsError(place, f"it is prepared already, at {recorded}")
        mount.remove_stale(recorded)
    if parents or is_unread:
        with ScratchDirectory(place, exclusive=True) as scratch:
            if parents and scratch.parents():
                check_chain(scratch, parents)
            remember_chain(place, parents)
            if scratch.record(UNREAD) is not None:
                read_disk(scratch, scratch.parents_in_place())
                with scratch.transaction(is_change=False):
                    scratch.set_record(UNREAD, None)
    at = place / MOUNT if target is None else Path(os.path.abspath(target))
    mount.start(
        at, as_chain(parents), place, allow_other=allow_other, make_target=target is None, needed={ACTIVE: _this_boot()}
    )


@contextmanager
def _opened(path: StrPath) -> Iterator[tuple[LayerDirectory, bool]]:
    """Opens a layer for the context, with whether it is a scratch.

    Raises:
        PathNotFoundError, NotALayerError: there is no layer at `path`.
        LayerBusyError: other processes replace it again and again.
    """
    for _ in range(_TRIES):
        with open_layer(path) as layer:
            # The disk is looked for by the path: a commit may have put a finished layer there, which has none.
            has_disk = is_scratch(layer.path)
            if layer.is_in_place():
                yield layer, has_disk
                return
    raise LayerBusyError(path, "other processes replace it again and again")


def _recorded_mount(layer: LayerDirectory) -> Path | None:
    recorded = layer.record(MOUNT)
    return Path(recorded) if isinstance(recorded, str) and os.path.isabs(recorded) else None


@during("get layer mount path")
def get_layer_mount_path(path: StrPath) -> str:
    """Returns the recorded mount point of a scratch if its server answers; for any other layer, its folder."""
    with _opened(path) as (layer, has_disk):
        if not has_disk:
            return str(layer.path)
        place, recorded = layer.path, _recorded_mount(layer)
    if recorded is None:
        raise NotReadyError(path, "it is not prepared")
    if not mount.is_serving(recorded, place):
        raise NotReadyError(path, f"the server of its mount at {recorded} has died; prepare it again")
    return str(recorded)


@during("unprepare layer")
def unprepare_layer(path: StrPath) -> None:
    """Unmounts the scratch and waits until its server has ended."""
    with _opened(path) as (layer, has_disk):
        place, at = layer.path, _recorded_mount(layer)
        if not has_disk:
            return
    if at is None:
        raise NotReadyError(path, "it is not prepared")
    # The record may be untrusted, like the layer directory: only a mount that shows this layer is unmounted.
    if mount.is_serving(at, place):
        mount.unmount(at)
        mount.wait_until_free(place, at)
        return
    mount.remove_stale(at)
    if not mount.forget(place, at):
        raise NotReadyError(path, "it is not prepared any more: another process has just unmounted it")


@during("look at scratch")
def is_active(path: StrPath) -> bool:
    """Returns whether a layer is an active scratch.

    Raises:
        PathNotFoundError, NotALayerError: there is no layer at `path`.
    """
    with open_layer(path) as layer:
        return layer.record(ACTIVE) == _this_boot()


def check_disk_is_current(disk: StrPath) -> None:
    """Checks that a disk file is not a `sandbox.vhdx` that lacks changes of its scratch.

    Raises:
        InvalidStateError: the disk lacks changes; the message says how to write them.
    """
    place = Path(os.path.abspath(disk))
    if place.name == DISK and (place.parent / FILE_NAME).is_file() and has_unsaved_changes(place.parent):
        problem = "the scratch has changes that its disk lacks; `wclayer unmount SCRATCH` writes them into it"
        raise InvalidStateError(place, problem)


@during("deactivate layer")
def deactivate_layer(path: StrPath, *, write_sandbox: bool | None = None) -> None:
    """Writes the changes into `sandbox.vhdx` if required, and removes the record of the activation."""
    if write_sandbox is None:
        write_sandbox = os.environ.get(DISK_VARIABLE, "1") != "0"
    place = Path(os.path.abspath(path))
    opened = _open_scratch(place)
    if opened is None:
        return
    with errors_at(place, damage=CorruptLayerError), opened as scratch:
        if scratch.record(ACTIVE) != _this_boot():
            raise NotReadyError(place, "it is not active")
        scratch.hash_all()
        if write_sandbox and scratch.record(UNSAVED) and scratch.record(UNREAD) is None:
            write_disk(scratch, scratch.parents_in_place())
        with scratch.transaction(is_change=False):
            scratch.set_record(ACTIVE, None)
        scratch.checkpoint()
