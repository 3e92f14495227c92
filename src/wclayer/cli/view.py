"""The verbs that change a scratch, or use layers as a file system: `cp`, `rm`, `mkdir`, `mv`, `acl`, `attrib`,
`mount`, `unmount`, `shell`."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

import wclayer
from wclayer.cli.group import Verbs
from wclayer.cli.output import count_bar, echo, json_option, print_json, security_text, warn
from wclayer.cli.text import LAYER_PATH, path_of_argument
from wclayer.cli.transfer import layers_option
from wclayer.errors import InvalidParameterError
from wclayer.layers.directory.scratch import is_scratch
from wclayer.view.layer_view import LayerView
from wclayer.view.transfer import copy_between, copy_into, copy_out, move
from wclayer.win32.attributes import attribute_letters, attribute_names, changed_attributes
from wclayer.win32.sddl import from_sddl


def _split(argument: str) -> tuple[str | None, str]:
    r"""Returns a layer and a path in it (`LAYER:PATH`, `LAYER:C:\x`), or None and a path of the host."""
    # A path of the host may have colons of its own, such as that of a drive in Windows.
    for colon in re.finditer(":", argument):
        layer, path = argument[: colon.start()], argument[colon.end() :]
        if (Path(layer) / "layer.db").is_file():
            return layer, path_of_argument(path) or "C:\\"
    return None, argument


@click.command("cp")
@click.option("-r", "--recursive", is_flag=True, help="Copy directories with all their contents.")
@click.option("--no-streams", is_flag=True, help="Do not report alternate streams that are not copied to the host.")
@json_option
@click.argument("source")
@click.argument("target")
@click.pass_context
def cp_command(ctx: click.Context, recursive: bool, no_streams: bool, as_json: bool, source: str, target: str) -> None:
    """Copy SOURCE to TARGET. At least one of them is LAYER:PATH. A LAYER to copy from is any layer, a LAYER to copy to
    is a scratch.

    A copy between layers keeps everything: security, times, attributes, streams, links. A copy from the host keeps the
    modification time of a file, inherits the security of the directory, and follows links of the host.

    A copy to the host keeps contents and modification times, but not security, attributes and the other times. A link
    below SOURCE becomes a symbolic link if its target is copied, too. Other links, reparse points and alternate
    streams are not copied: the verb reports them on the error stream, and its exit status is 1 if an entry is missing.
    PATH:STREAM copies one alternate stream.

    \b
    Example:
      wclayer cp app.exe '/layers/run:C:\\app'
      wclayer cp -r '/layers/run:C:\\app\\logs' .
    """
    is_incomplete = False

    def tell(left: str, what: str) -> None:
        nonlocal is_incomplete
        is_stream = ":" in left
        is_incomplete |= not is_stream
        if not (is_stream and no_streams):
            warn(f"not copied: {left}: {what}")

    (layer, path), (to_layer, to_path) = _split(source), _split(target)
    if layer is None and to_layer is None:
        raise click.UsageError("neither SOURCE nor TARGET is LAYER:PATH of an existing layer")
    with ExitStack() as stack:
        bar = stack.enter_context(count_bar("copying"))
        options: dict[str, Any] = {"recursive": recursive, "progress": bar}
        is_same = layer is not None and to_layer is not None and os.path.samefile(layer, to_layer)
        view = stack.enter_context(LayerView.for_layer(layer or to_layer or "", writable=layer is None or is_same))
        if to_layer is None:
            count = copy_out(view, path, to_path, left_out=tell, **options)
        elif layer is None:
            count = copy_into(view, path, to_path, **options)
        else:
            other = view if is_same else stack.enter_context(LayerView.for_layer(to_layer, writable=True))
            count = copy_between(view, path, other, to_path, **options)
    print_json({"files": count}) if as_json else echo(f"copied {count} file{'' if count == 1 else 's'}")
    ctx.exit(1 if is_incomplete else 0)


@click.command("rm")
@click.option("-r", "--recursive", is_flag=True, help="Remove directories with all their contents.")
@click.argument("layer")
@click.argument("paths", nargs=-1, required=True, type=LAYER_PATH)
def rm_command(recursive: bool, layer: str, paths: tuple[str, ...]) -> None:
    """Remove files, links and streams (PATH:STREAM) of the scratch LAYER; with -r, directories, too.

    \b
    Example:
      wclayer rm -r /layers/run 'C:\\Windows\\Temp'
    """
    with LayerView(scratch=layer) as view:
        for path in paths:
            view.rmtree(path) if recursive else view.unlink(path)


@click.command("mkdir")
@click.option(
    "-p", "--parents", is_flag=True, help="Make the directories above, too; a directory that exists is not an error."
)
@click.argument("layer")
@click.argument("paths", nargs=-1, required=True, type=LAYER_PATH)
def mkdir_command(parents: bool, layer: str, paths: tuple[str, ...]) -> None:
    """Make directories in the scratch LAYER. They inherit the security of their parents.

    \b
    Example:
      wclayer mkdir -p /layers/run 'C:\\app\\logs'
    """
    with LayerView(scratch=layer) as view:
        for path in paths:
            view.makedirs(path) if parents else view.mkdir(path)


@click.command("mv")
@click.option("-n", "--no-clobber", is_flag=True, help="Fail if TARGET exists.")
@click.argument("layer")
@click.argument("source", type=LAYER_PATH)
@click.argument("target", type=LAYER_PATH)
def mv_command(no_clobber: bool, layer: str, source: str, target: str) -> None:
    """Rename SOURCE of the scratch LAYER to TARGET, or into the directory TARGET.

    \b
    Example:
      wclayer mv /layers/run 'C:\\app\\new.exe' 'C:\\app\\app.exe'
    """
    with LayerView(scratch=layer) as view:
        move(view, source, target, replace=not no_clobber)


@click.group("acl", cls=Verbs)
def acl_group() -> None:
    """Show or set the security descriptor of an entry, as SDDL.

    \b
    Example:
      wclayer acl get /layers/run 'C:\\app'
      wclayer acl set /layers/run 'C:\\app' 'O:BAG:SYD:(A;OICI;FA;;;BA)'
    """


@acl_group.command("get")
@json_option
@click.argument("layer")
@click.argument("path", type=LAYER_PATH)
def acl_get(as_json: bool, layer: str, path: str) -> None:
    """Print the security descriptor of PATH in LAYER over its parents."""
    with LayerView.for_layer(layer, writable=False) as view:
        text = security_text(view.security(path))
    print_json({"path": path, "security": text}) if as_json else echo(text or "-")


@acl_group.command("set")
@click.argument("layer")
@click.argument("path", type=LAYER_PATH)
@click.argument("sddl")
def acl_set(layer: str, path: str, sddl: str) -> None:
    """Set the security descriptor of PATH in the scratch LAYER to SDDL."""
    try:
        descriptor = from_sddl(sddl).encode()
    except ValueError as error:
        raise InvalidParameterError(sddl, str(error)) from None
    with LayerView(scratch=layer) as view:
        view.set_security(path, descriptor)


@click.command("attrib", context_settings={"ignore_unknown_options": True})
@json_option
@click.argument("layer")
@click.argument("path", type=LAYER_PATH)
@click.argument("changes", nargs=-1)
def attrib_command(as_json: bool, layer: str, path: str, changes: tuple[str, ...]) -> None:
    """Show the attributes of PATH in LAYER over its parents. With CHANGES (+R, -H, ...), change them in a scratch.

    The letters: R read-only, H hidden, S system, A archive, I not indexed, O offline, T temporary, X no scrub.

    \b
    Example:
      wclayer attrib /layers/run 'C:\\app\\app.exe' +R -A
    """
    with LayerView.for_layer(layer, writable=bool(changes)) as view:
        attributes = view.stat(path).info.attributes
        if changes:
            try:
                view.set_attributes(path, changed_attributes(attributes, changes))
            except ValueError as error:
                raise InvalidParameterError(path, str(error)) from None
            attributes = view.stat(path).info.attributes
    if as_json:
        print_json({"path": path, "attributes": attributes, "attribute_names": attribute_names(attributes)})
    elif not changes:
        echo(f"{attribute_letters(attributes)}  {path}")


@click.command("mount")
@layers_option
@click.option(
    "-f", "--foreground", is_flag=True, help="Serve the mount in this process, until it is unmounted or interrupted."
)
@click.option(
    "--allow-other",
    is_flag=True,
    help="Give all users of the machine access to the mount; they can also change everything.",
)
@json_option
@click.argument("path")
@click.argument("target", required=False)
def mount_command(
    layers: tuple[str, ...], foreground: bool, allow_other: bool, as_json: bool, path: str, target: str | None
) -> None:
    """Mount the layer PATH over its parents at the empty folder TARGET: a scratch read-write, other layers read-only.

    A scratch is activated first. Without TARGET, it is mounted at its own folder "mount".

    \b
    Example:
      wclayer mount /layers/run && ls /layers/run/mount && wclayer unmount /layers/run
      wclayer mount /layers/base /mnt
    """

    if target is None and not is_scratch(path):
        raise click.UsageError("TARGET is required unless PATH is a scratch")

    def tell(place: str) -> None:
        print_json({"layer": path, "mount_point": place}) if as_json else echo(f"{path} is at {place}")

    place = wclayer.mount_layer(path, target, layers, allow_other=allow_other, serve=tell if foreground else None)
    if not foreground:
        tell(place)


@click.command("unmount")
@click.argument("path")
def unmount_command(path: str) -> None:
    """Unmount the scratch PATH, or the layer that is mounted at PATH.

    The changes of a scratch are then written into its disk, sandbox.vhdx: those made in the mount, those that cp, rm,
    mkdir, mv, acl, attrib and reg made without a mount, and those of a mount that another program unmounted.

    \b
    Example:
      wclayer unmount /layers/run
    """
    was_mounted = wclayer.unmount_layer(path)
    echo(f"unmounted {path}" if was_mounted else f"{path} was not mounted; its changes are in its disk now")


@click.command("shell")
@layers_option
@click.argument("path")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def shell_command(ctx: click.Context, layers: tuple[str, ...], path: str, command: tuple[str, ...]) -> None:
    """Mount the scratch PATH, run COMMAND or $SHELL (on Windows, %COMSPEC%) in its root directory, and unmount the
    scratch afterwards.

    The exit status is that of the shell or COMMAND.

    \b
    Example:
      wclayer shell /layers/run
      wclayer shell /layers/run -- git clone /src/app
    """
    if not is_scratch(path):
        raise InvalidParameterError(path, "not a scratch layer")
    place = wclayer.mount_layer(path, parents=layers)
    arguments = list(command) or [os.environ.get("SHELL") or os.environ.get("COMSPEC", "/bin/sh")]
    try:
        done = subprocess.run(arguments, cwd=place, check=False)
    finally:
        wclayer.unprepare_layer(path)
        wclayer.deactivate_layer(path)
    ctx.exit(done.returncode if done.returncode >= 0 else 128 - done.returncode)


COMMANDS = (
    cp_command,
    rm_command,
    mkdir_command,
    mv_command,
    acl_group,
    attrib_command,
    mount_command,
    unmount_command,
    shell_command,
)
