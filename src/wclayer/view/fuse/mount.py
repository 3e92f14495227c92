"""Mounts views: each mount is served by its own process until it is unmounted."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import wclayer.errors
from wclayer._types import StrPath
from wclayer.errors import (
    AlreadyExistsError,
    EntryNotDirectoryError,
    InvalidParameterError,
    LayerBusyError,
    LayerError,
    NotReadyError,
    NotSupportedError,
    PathNotFoundError,
    during,
    errors_at,
)
from wclayer.host import system
from wclayer.host.interpreter import needed_python
from wclayer.host.waiting import retry
from wclayer.layers.atomic import wait_for_place
from wclayer.layers.directory.chain import as_chain
from wclayer.layers.directory.scratch import MOUNT, ScratchDirectory
from wclayer.view.fuse.operations import Operations
from wclayer.view.fuse.session import check_fuse, run_session
from wclayer.view.fuse.xattr import LAYER
from wclayer.view.volume import Volume

_TIMEOUT = 60.0
_MAX_COMPLAINT = 2000
_UNMOUNTERS = ("fusermount3", "fusermount", "umount")
_TYPE = b"fuse.wclayer"


@during("mount")
def serve(
    target: StrPath,
    layers: Sequence[StrPath] = (),
    scratch: StrPath | None = None,
    *,
    allow_other: bool = False,
    make_target: bool = False,
    needed: Mapping[str, str] | None = None,
    hold: bool = False,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Mounts layers, or a scratch over them, at the folder `target`, and serves the mount.

    The function returns when the mount is unmounted or the process receives SIGINT or SIGTERM.

    Args:
        layers, scratch: as for `Volume`.
        allow_other: every user of the machine may use the mount, and change the scratch, because all its files are
            writable for every user. Unless the caller is root, /etc/fuse.conf must allow this.
        make_target: `target` is a folder in the scratch, which is created.
        needed: records that the scratch must have.
        hold: no other process removes or changes the finished layers while they are mounted.
        ready: called when the mount can be used.

    Raises:
        NotSupportedError: FUSE is not available.
        PathNotFoundError: `target` or a layer does not exist.
        EntryNotDirectoryError: `target` is not a folder.
        AlreadyExistsError: something is mounted at `target`, or the folder is not empty.
        LayerBusyError: another process has the scratch open.
        NotReadyError: the scratch lacks a record in `needed`, because it is not active.
        NotALayerError, CorruptLayerError: a layer cannot be opened.
        InvalidParameterError: the chain is in the wrong order; neither layers nor a scratch are given.
    """
    check_fuse()
    if not make_target:
        check_target(target)
    with ExitStack() as held, Volume(layers, scratch, exclusive=scratch is not None) as volume:
        try:
            for layer in volume.tree.layers if hold else ():
                if layer is not volume.scratch:
                    held.callback(wait_for_place(layer.path, shared=True).close)
            # From here on, no other process can mount or deactivate the scratch.
            if volume.scratch is not None and any(
                volume.scratch.record(key) != value for key, value in (needed or {}).items()
            ):
                raise NotReadyError(volume.name, "activate it first")
            if make_target:
                with errors_at(target):
                    Path(target).mkdir(exist_ok=True)
            place = check_target(target)
            if volume.scratch is not None:
                _set_mount(volume.scratch, str(place))

            def mounted() -> None:
                os.chdir("/")
                ready()

            run_session(
                Operations(volume, str(place)),
                str(place),
                read_only=not volume.is_writable,
                allow_other=allow_other,
                ready=mounted,
            )
        finally:
            if volume.scratch is not None:
                _set_mount(volume.scratch, None)


def _set_mount(scratch: ScratchDirectory, place: str | None) -> None:
    with scratch.transaction(is_change=False):
        scratch.set_record(MOUNT, place)


@during("mount")
def check_target(target: StrPath) -> Path:
    """Returns the absolute path of the folder at which to mount, after a mount of a dead server there is removed.

    Raises:
        PathNotFoundError: the folder does not exist.
        EntryNotDirectoryError: `target` is not a folder.
        AlreadyExistsError: something is mounted there, or the folder is not empty.
    """
    place = Path(os.path.abspath(target))
    remove_stale(place)
    if not place.exists():
        raise PathNotFoundError(place, "the folder does not exist")
    if not place.is_dir():
        raise EntryNotDirectoryError(place, "is not a folder")
    if os.path.ismount(place):
        raise AlreadyExistsError(place, "something is mounted there")
    if any(place.iterdir()):
        raise AlreadyExistsError(place, "the folder is not empty")
    return place


def is_ours(place: Path) -> bool:
    """Returns whether the topmost mount at a folder is one of wclayer, whether its server is alive or not."""
    if not sys.platform.startswith("linux"):
        return os.path.ismount(place)
    # The folder itself is not opened: with a dead server, this fails.
    wanted = os.fsencode(os.path.realpath(place.parent)).rstrip(b"/") + b"/" + os.fsencode(place.name)
    kind = b""
    for at, its_kind in system.mounts():
        if at == wanted:
            kind = its_kind
    return kind == _TYPE


def is_stale(place: Path) -> bool:
    """Returns whether a folder is a mount of wclayer whose server has ended."""
    if sys.platform == "win32":
        # There are no mounts on Windows.
        return False
    try:
        # Not `stat`: the kernel caches its result for as long as the mount exists.
        os.statvfs(place)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED) and is_ours(place)
    return False


def is_serving(place: Path, layer: Path) -> bool:
    """Returns whether a mount at a folder shows a layer directory, and its server is alive."""
    shown = None if is_stale(place) else mounted_layer(place)
    return shown is not None and is_ours(place) and os.path.realpath(shown) == os.path.realpath(layer)


def remove_stale(place: Path) -> None:
    """Removes the mount at a folder if its server has died."""
    if is_stale(place):
        _unmount(place, lazy=True)


_IN_THIS_PROCESS = "`wclayer mount --foreground` serves it in its own process"


@during("mount")
def start(
    target: StrPath, layers: Sequence[StrPath] = (), scratch: StrPath | None = None, *, allow_other: bool = False,
    make_target: bool = False, needed: Mapping[str, str] | None = None, hold: bool = False,
) -> int:  # fmt: skip
    """Starts a process that runs `serve` with the same arguments, and waits until the mount can be used.

    Returns:
        The id of the process.

    Raises:
        NotSupportedError: FUSE is not available.
        PathNotFoundError: `target` or a layer does not exist.
        EntryNotDirectoryError: `target` is not a folder.
        AlreadyExistsError: something is mounted at `target`, or the folder is not empty.
        LayerBusyError: another process has the scratch open.
        NotReadyError: the scratch lacks a record in `needed`, because it is not active.
        NotALayerError, CorruptLayerError: a layer cannot be opened.
        InvalidParameterError: the chain is in the wrong order; neither layers nor a scratch are given.
        LayerError: the server ended without an answer.
    """
    check_fuse()
    with errors_at(target):
        said, complaint = _start(
            target,
            layers,
            scratch,
            allow_other=allow_other,
            make_target=make_target,
            needed=dict(needed or {}),
            hold=hold,
        )
    if "pid" in said:
        return int(said["pid"])
    if not said:
        problem = f"the server of the mount ({sys.executable}) ended: {complaint or 'without a word'}"
        raise LayerError(target, f"{problem}; {_IN_THIS_PROCESS}")
    kind = getattr(wclayer.errors, said["error"], LayerError)
    raise kind(said["path"], said["detail"], code=said["code"], operation=said["operation"])


def _start(
    target: StrPath, layers: Sequence[StrPath], scratch: StrPath | None, **options: object
) -> tuple[dict[str, Any], str]:
    """Starts the server, and returns its answer on the pipe and its output on the error stream."""
    python = needed_python(target, "the server of a mount", _IN_THIS_PROCESS)
    reader, writer = os.pipe()
    arguments = json.dumps(
        {
            "target": os.fspath(target),
            "layers": [os.path.abspath(layer) for layer in as_chain(layers)],
            "scratch": None if scratch is None else os.path.abspath(scratch),
            **options,
        }
    )
    with os.fdopen(reader, "rb") as answer, tempfile.TemporaryFile() as complaints:
        try:
            # The server continues in a child process, which no process has to wait for.
            subprocess.run(
                # -P: without it, Python would import modules from the current folder, which others may change.
                [python, "-P", "-m", "wclayer.view.fuse.server", arguments, str(writer)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints, pass_fds=(writer,),
                start_new_session=True, check=False,
            )  # fmt: skip
        finally:
            os.close(writer)
        said = json.loads(answer.read() or b"{}")
        complaints.seek(0)
        complaint = " ".join(complaints.read(_MAX_COMPLAINT).decode("utf-8", "replace").split())
    return said, complaint


@during("unmount")
def mounted_layer(target: StrPath) -> Path | None:
    """Returns the layer directory that is mounted at a folder, or None if there is no mount of wclayer."""
    if sys.platform != "linux":
        return None
    try:
        return Path(os.fsdecode(os.getxattr(target, LAYER)))
    except OSError:
        return None


@during("unmount")
def unmount(target: StrPath) -> None:
    """Unmounts the mount at a folder, and returns when its server has recorded everything.

    Raises:
        LayerBusyError: files of the mount are open.
        NotReadyError: nothing is mounted there, or the mount is not one of wclayer.
        NotSupportedError: no program that can unmount is installed.
    """
    place = Path(os.path.abspath(target))
    if is_stale(place):
        _unmount(place, lazy=True)
        return
    if not is_ours(place):
        problem = (
            "what is mounted there is not a mount of wclayer's"
            if os.path.ismount(place)
            else "nothing is mounted there"
        )
        raise NotReadyError(place, problem)
    _unmount(place, lazy=False)


def _unmount(place: Path, *, lazy: bool) -> None:
    found = (shutil.which(name) for name in _UNMOUNTERS)
    # PATH may contain the current folder; programs there are not run.
    program = next((path for path in found if path is not None and os.path.isabs(path)), None)
    if program is None:
        raise NotSupportedError(place, "neither fusermount3 nor umount is there; install fuse3")
    options = ["-u"] if "fusermount" in program else []
    if lazy:
        options.append("-z" if "fusermount" in program else "-l")
    done = subprocess.run([program, *options, str(place)], capture_output=True, text=True, check=False)
    if done.returncode and "busy" in done.stderr:
        raise LayerBusyError(place, "files of the mount are open")
    if done.returncode and not lazy and not is_ours(place):
        raise NotReadyError(place, "nothing is mounted there any more")
    if done.returncode:
        raise LayerError(place, done.stderr.strip() or f"{program} failed")


@during("unmount")
def wait_until_free(scratch: StrPath, target: StrPath | None = None) -> None:
    """Waits until the server of a scratch's mount, which was unmounted, has ended.

    Args:
        target: the folder of the mount. If it is in the scratch, it is removed.

    Raises:
        LayerBusyError: the server does not end.
    """

    def attempt() -> None:
        try:
            forget(scratch, target)
        except (PathNotFoundError, InvalidParameterError):
            # Another process has since removed or committed the scratch, which is possible only after the server ended.
            pass
        except LayerBusyError:
            # Another process may have mounted the scratch again in the meantime.
            if target is None or not is_serving(Path(target), Path(scratch)):
                raise

    retry(attempt, patience=_TIMEOUT, busy=LayerBusyError)


@during("unmount")
def forget(scratch: StrPath, target: StrPath | None) -> bool:
    """Removes the record of a mount whose server has ended, and returns whether the mount was recorded at `target`.

    Raises:
        LayerBusyError: the server has not ended, or another process has the scratch open.
    """
    with ScratchDirectory(scratch, exclusive=True) as opened:
        was_recorded = target is not None and opened.record(MOUNT) == os.fspath(target)
        if was_recorded:
            _set_mount(opened, None)
        if target is not None and Path(target) == opened.path / MOUNT:
            with suppress(OSError):
                os.rmdir(target)
    return was_recorded
