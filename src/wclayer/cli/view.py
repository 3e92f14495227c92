"""The verbs that change a scratch, or use layers as a file system: `cp`, `rm`, `mkdir`, `mv`, `attrib`, `mount`,
`unmount`, `shell`."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import click

import wclayer
from wclayer.cli.layer_argument import LayerArgument, chain_of, image_options, layer_argument
from wclayer.cli.output import count_bar, echo, json_option, print_json, warn
from wclayer.cli.text import LAYER_PATH, path_of_argument
from wclayer.cli.transfer import layers_option
from wclayer.cli.word_kind import WordKind, completed_as
from wclayer.errors import InvalidParameterError, PathNotFoundError
from wclayer.layers.directory.scratch import is_scratch
from wclayer.layers.progress import Progress
from wclayer.view.copies import CopyPlace, copy_several
from wclayer.view.layer_view import LayerView
from wclayer.view.matching import remove_paths
from wclayer.view.transfer import move
from wclayer.win32.attributes import attribute_letters, attribute_names, changed_attributes
from wclayer.win32.shown import count_text


def split_layer(argument: str, context: click.Context) -> tuple[LayerArgument | None, str]:
    r"""Returns a layer and a path in it (`LAYER:PATH`, `IMAGE:C:\x`), or None and a path of the host."""
    # A path of the host may have colons of its own, such as that of a drive in Windows.
    for colon in re.finditer(":", argument):
        layer, path = argument[: colon.start()], argument[colon.end() :]
        if (Path(layer) / "layer.db").is_file():
            return LayerArgument(layer, context), path_of_argument(path) or "C:\\"
    split = _IMAGE_PATH.fullmatch(argument)
    if split is not None and not os.path.lexists(argument):
        image = LayerArgument(split["image"], context)
        with suppress(PathNotFoundError):
            if image.is_image:
                return image, path_of_argument(split["path"])
    return None, argument


_IMAGE_PATH = re.compile(
    # The word of a transport, and the path after it, may begin as the path in the image does.
    r"(?P<image>(?:(?:oci|oci-archive|docker-archive):)?(?:[A-Za-z]:(?=[\\/]))?[^:].*?):(?P<path>(?:[Cc]:)?[\\/].*|[Cc]:)",
    re.DOTALL,
)


@click.command("cp")
@click.option("-r", "--recursive", is_flag=True, help="Copy directories with all their contents.")
@click.option("--no-streams", is_flag=True, help="Do not report alternate streams that are not copied to the host.")
@json_option
@image_options
@click.argument("sources", shell_complete=completed_as(WordKind.COPY), nargs=-1, required=True)
@click.argument("target", shell_complete=completed_as(WordKind.COPY))
@click.pass_context
def cp_command(
    ctx: click.Context, recursive: bool, no_streams: bool, as_json: bool, sources: tuple[str, ...], target: str
) -> None:
    """Copy SOURCES to TARGET. Each SOURCE, or TARGET, is LAYER:PATH. A LAYER to copy from is any layer or an image, a
    LAYER to copy to is a scratch. After an image, PATH begins with C: or a slash. Several SOURCES are copied into the
    directory TARGET.

    PATH of a SOURCE may have wildcards, which mean what they mean to Windows: * is any number of characters, ? one, *.*
    everything. Quote them: those of host paths are replaced by the shell. If nothing matches, if two SOURCES would get
    the same name, or if a SOURCE cannot be copied, nothing is written. If a copy fails later, the files that were
    copied before it stay, and the verb tells how many.

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
      wclayer cp '/layers/run:C:\\app\\*.log' '/layers/run:C:\\Windows\\*.ini' found
      wclayer cp 'nanoserver:ltsc2022:C:\\Windows\\win.ini' .
    """
    is_incomplete = False
    copied = 0

    def tell(left: str, what: str) -> None:
        nonlocal is_incomplete
        is_stream = ":" in left
        is_incomplete |= not is_stream
        if not (is_stream and no_streams):
            warn(f"not copied: {left}: {what}")

    named = [split_layer(source, ctx) for source in sources]
    to_layer, to_path = split_layer(target, ctx)
    if to_layer is None and any(layer is None for layer, _ in named):
        raise click.UsageError(
            "neither SOURCE nor TARGET is LAYER:PATH of an existing layer, or of an image that is here"
        )
    with ExitStack() as stack:
        bar = stack.enter_context(count_bar("copying"))

        def count(state: Progress) -> None:
            nonlocal copied
            copied = state.entries
            if bar is not None:
                bar(state)

        changed = None if to_layer is None else to_layer.path_to_change()
        other = None if changed is None else stack.enter_context(LayerView.for_layer(changed, writable=True))
        views: list[tuple[str, LayerView]] = [] if changed is None or other is None else [(changed, other)]
        places = [CopyPlace(_view(layer, views, stack), path) for layer, path in named]
        try:
            copy_several(places, CopyPlace(other, to_path), recursive=recursive, progress=count, left_out=tell)
        except BaseException:
            if copied:
                warn(f"{count_text(copied, 'file')} copied before the failure, and kept")
            raise
    print_json({"files": copied}) if as_json else echo(f"copied {count_text(copied, 'file')}")
    ctx.exit(1 if is_incomplete else 0)


def _view(layer: LayerArgument | None, views: list[tuple[str, LayerView]], stack: ExitStack) -> LayerView | None:
    """Returns the view of a layer to copy from, one for all sources in it; None for the host."""
    if layer is None:
        return None
    known = next((view for path, view in views if os.path.samefile(layer.path, path)), None)
    if known is None:
        known = stack.enter_context(LayerView.for_layer(layer.path, writable=False))
        views.append((layer.path, known))
    return known


@click.command("rm")
@click.option("-r", "--recursive", is_flag=True, help="Remove directories with all their contents.")
@click.option("-f", "--force", is_flag=True, help="What does not exist is not an error.")
@layer_argument("layer")
@click.argument("paths", nargs=-1, required=True, type=LAYER_PATH)
def rm_command(recursive: bool, force: bool, layer: LayerArgument, paths: tuple[str, ...]) -> None:
    """Remove files, links and streams (PATH:STREAM) of the scratch LAYER; with -r, directories, too. All PATHS are
    removed, or none if it fails.

    PATHS may have wildcards, which mean what they mean to Windows: * is any number of characters, ? one, *.*
    everything. Quote them. It is an error if nothing matches.

    \b
    Example:
      wclayer rm -r /layers/run 'C:\\Windows\\Temp'
      wclayer rm /layers/run 'C:\\app\\*.log' 'C:\\app\\old?.dll'
    """
    with LayerView(scratch=layer.path_to_change()) as view:
        remove_paths(view, paths, recursive=recursive, missing_ok=force)


@click.command("mkdir")
@click.option(
    "-p", "--parents", is_flag=True, help="Make the directories above, too; a directory that exists is not an error."
)
@layer_argument("layer")
@click.argument("paths", nargs=-1, required=True, type=LAYER_PATH)
def mkdir_command(parents: bool, layer: LayerArgument, paths: tuple[str, ...]) -> None:
    """Make directories in the scratch LAYER. They inherit the security of their parents.

    \b
    Example:
      wclayer mkdir -p /layers/run 'C:\\app\\logs'
    """
    with LayerView(scratch=layer.path_to_change()) as view:
        for path in paths:
            view.makedirs(path) if parents else view.mkdir(path)


@click.command("mv")
@click.option("-n", "--no-clobber", is_flag=True, help="Fail if TARGET exists.")
@layer_argument("layer")
@click.argument("source", type=LAYER_PATH)
@click.argument("target", type=LAYER_PATH)
def mv_command(no_clobber: bool, layer: LayerArgument, source: str, target: str) -> None:
    """Rename SOURCE of the scratch LAYER to TARGET, or into the directory TARGET.

    \b
    Example:
      wclayer mv /layers/run 'C:\\app\\new.exe' 'C:\\app\\app.exe'
    """
    with LayerView(scratch=layer.path_to_change()) as view:
        move(view, source, target, replace=not no_clobber)


@click.command("attrib", context_settings={"ignore_unknown_options": True})
@json_option
@layer_argument("layer")
@click.argument("path", type=LAYER_PATH)
@click.argument("changes", nargs=-1)
def attrib_command(as_json: bool, layer: LayerArgument, path: str, changes: tuple[str, ...]) -> None:
    """Show the attributes of PATH in LAYER over its parents, or in an image. With CHANGES (+R, -H, ...), change them in
    a scratch.

    The letters: R read-only, H hidden, S system, A archive, I not indexed, O offline, T temporary, X no scrub.

    \b
    Example:
      wclayer attrib /layers/run 'C:\\app\\app.exe' +R -A
    """
    path_of_layer = layer.path_to_change() if changes else layer.path
    with LayerView.for_layer(path_of_layer, writable=bool(changes)) as view:
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
@layer_argument("path")
@click.argument("target", required=False)
def mount_command(
    layers: tuple[LayerArgument, ...],
    foreground: bool,
    allow_other: bool,
    as_json: bool,
    path: LayerArgument,
    target: str | None,
) -> None:
    """Mount the layer PATH over its parents, or the image PATH, at the empty folder TARGET: a scratch read-write, other
    layers and images read-only.

    A scratch is activated first. Without TARGET, it is mounted at its own folder "mount".

    \b
    Example:
      wclayer mount /layers/run && ls /layers/run/mount && wclayer unmount /layers/run
      wclayer mount /layers/base /mnt
      wclayer mount nanoserver:ltsc2022 /mnt
    """

    if target is None and (path.is_image or not is_scratch(path.text)):
        raise click.UsageError("TARGET is required unless PATH is a scratch")

    def tell(place: str) -> None:
        print_json({"layer": path.text, "mount_point": place}) if as_json else echo(f"{path} is at {place}")

    place = wclayer.mount_layer(
        path.path, target, chain_of(layers), allow_other=allow_other, hold=path.is_image,
        serve=tell if foreground else None,
    )  # fmt: skip
    if not foreground:
        tell(place)


@click.command("unmount")
@layer_argument("path")
def unmount_command(path: LayerArgument) -> None:
    """Unmount the scratch PATH, or the layer or image that is mounted at PATH.

    The changes of a scratch are then written into its disk, sandbox.vhdx: those made in the mount, those that cp, rm,
    mkdir, mv, acl, attrib and reg made without a mount, and those of a mount that another program unmounted.

    \b
    Example:
      wclayer unmount /layers/run
    """
    was_mounted = wclayer.unmount_layer(path.path_to_change())
    echo(f"unmounted {path}" if was_mounted else f"{path} was not mounted; its changes are in its disk now")


_PATIENCE = 5.0
"""Seconds that a program in a mount has to end when it is asked to."""


@click.command("shell")
@layers_option
@layer_argument("path")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def shell_command(
    ctx: click.Context, layers: tuple[LayerArgument, ...], path: LayerArgument, command: tuple[str, ...]
) -> None:
    """Mount the scratch PATH, run COMMAND or $SHELL (on Windows, %COMSPEC%) in its root directory, and unmount the
    scratch afterwards. An image is mounted read-only, at a temporary folder.

    The exit status is that of the shell or COMMAND.

    \b
    Example:
      wclayer shell /layers/run
      wclayer shell /layers/run -- git clone /src/app
      wclayer shell nanoserver:ltsc2022 -- find . -name '*.dll'
    """
    with _mounted_image(path) if path.is_image else _mounted_scratch(path.text, layers) as place:
        arguments = list(command) or [os.environ.get("SHELL") or os.environ.get("COMSPEC", "/bin/sh")]
        status = _run(arguments, place)
    ctx.exit(status if status >= 0 else 128 - status)


def _run(arguments: list[str], place: str) -> int:
    """Runs a program in a folder, and returns its status. An interrupt asks it to end, and waits for that."""
    with subprocess.Popen(arguments, cwd=place) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                # A shell at a terminal ignores it.
                process.kill()
            raise


@contextmanager
def _mounted_scratch(path: str, layers: tuple[LayerArgument, ...]) -> Iterator[str]:
    if not is_scratch(path):
        raise InvalidParameterError(path, "not a scratch layer")
    place = wclayer.mount_layer(path, parents=chain_of(layers))
    try:
        yield place
    finally:
        wclayer.unprepare_layer(path)
        wclayer.deactivate_layer(path)


@contextmanager
def _mounted_image(image: LayerArgument) -> Iterator[str]:
    place = tempfile.mkdtemp(prefix="wclayer-")
    try:
        wclayer.mount_layer(image.path, place, hold=True)
        try:
            yield place
        finally:
            wclayer.unmount_layer(place)
    finally:
        os.rmdir(place)


COMMANDS = (
    cp_command,
    rm_command,
    mkdir_command,
    mv_command,
    attrib_command,
    mount_command,
    unmount_command,
    shell_command,
)
