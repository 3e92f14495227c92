"""The group of all verbs, each loaded when it is used; errors become messages and exit statuses."""

from __future__ import annotations

import contextlib
import importlib
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import click

from wclayer import __version__
from wclayer.cli.group import USAGE_ERROR, Verbs
from wclayer.cli.text import escape_what_cannot_be_shown
from wclayer.cli.word_kind import COMPLETION_VARIABLE
from wclayer.engines.selection import ENGINES, use_engine
from wclayer.errors import FormatError, OperationCancelledError, translated
from wclayer.win32.shown import shown

CLOSED_PIPE = 141
INTERRUPTED = OperationCancelledError.exit_status

_MODULES = {
    "acl": {
        "acl": "Show, explain, set or audit security.",
    },
    "append": {
        "append": "Put a layer on top of an image, without a Dockerfile.",
    },
    "attach": {
        "attach": "Attach a file, such as an SBOM, to an image.",
    },
    "build": {
        "build": "Build an image of a Dockerfile.",
    },
    "commit": {
        "commit": "Make an image of a scratch.",
    },
    "cve": {
        "cve": "Show the known vulnerabilities of an image.",
    },
    "defaults": {
        "defaults": "Show the defaults of options, and who set them.",
    },
    "demo": {
        "demo": "Show the main job from end to end.",
    },
    "diff": {
        "diff": "Show what differs between two images or layers.",
    },
    "disk": {
        "disk": "Show, check or convert a disk file.",
        "convert": "Make a disk from a layer.",
    },
    "explore": {
        "explore": "Look around in an image on the terminal.",
    },
    "find": {
        "find": "Find entries by names and metadata.",
    },
    "fleet": {
        "fleet": "Inventory all images of a registry, and ask.",
    },
    "grep": {
        "grep": "Find text in the contents of files.",
    },
    "image_changes": {
        "config": "Change the configuration of an image.",
        "index": "Make and list indexes of images.",
    },
    "image_documents": {
        "inspect": "Show what describes an image.",
    },
    "image_transfer": {
        "pull": "Fetch an image from a registry, and unpack it.",
        "push": "Copy an image of the store to a registry.",
        "copy": "Copy an image from anywhere to anywhere.",
        "load": "Put the images of an archive into the store.",
        "save": "Write images of the store into one file.",
    },
    "images": {
        "images": "List the images of the store.",
        "tag": "Give an image of the store a name.",
        "untag": "Remove a name of an image.",
        "rmi": "Remove a name of an image (untag).",
        "prune": "Remove from the store what no name keeps.",
    },
    "inspect": {
        "ls": "List a directory of a layer.",
        "tree": "Show a directory as a tree.",
        "cat": "Print a file, or one of its streams.",
        "stat": "Show all metadata of one entry.",
        "info": "Show digests, sizes, parents and id.",
        "check": "Verify a layer against its records.",
    },
    "inventory": {
        "inventory": "Show what an image holds.",
    },
    "login": {
        "login": "Log in to a registry.",
        "logout": "Remove the credentials of a registry.",
    },
    "manage": {
        "create": "Create a scratch: a read-write layer.",
        "remove": "Remove a layer.",
        "relink": "Record where the parents of a layer are.",
        "expand": "Grow the disk of a scratch layer.",
        "process": "Make the blank disks of a base layer.",
        "grant": "Give a virtual machine access to a file.",
        "makebaselayer": "Make a base layer from a folder.",
        "completion": "Print the completion script of a shell.",
    },
    "rebase": {
        "rebase": "Put the layers of an image onto a new base.",
    },
    "registry": {
        "reg": "Show or change the registry of a layer.",
        "bcd": "List the boot configuration of a utility VM.",
    },
    "report": {
        "report": "Write a page about an image, for a browser.",
    },
    "rootfs": {
        "export-rootfs": "Export the merged files as a plain tar.",
    },
    "squash": {
        "squash": "Make one layer of the layers of an image.",
    },
    "transfer": {
        "import": "Import a tar, a transport folder or a disk.",
        "export": "Export a layer as a tar.",
    },
    "usage": {
        "du": "Show the bytes of directories.",
    },
    "view": {
        "cp": "Copy files into, out of, or between layers.",
        "rm": "Remove entries of a scratch.",
        "mkdir": "Make directories in a scratch.",
        "mv": "Rename an entry of a scratch.",
        "attrib": "Show or change file attributes.",
        "mount": "Mount a scratch, or layers read-only.",
        "unmount": "Unmount a scratch or layers.",
        "shell": "Mount a scratch and open a shell in it.",
    },
}
"""The verbs of each module of this package, each with its line in the help. The module lists them in `COMMANDS`."""


class _StoppedError(Exception):
    """Carries an error as its cause through click, which would otherwise report some errors in its own way."""


@contextlib.contextmanager
def _past_click() -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, KeyboardInterrupt) as error:
        raise _StoppedError from error


class _AllVerbs(Verbs):
    """The group `wclayer`, which loads the module of a verb when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(verb for verbs in _MODULES.values() for verb in verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for module, verbs in _MODULES.items():
            if cmd_name in verbs and cmd_name not in self.commands:
                # The help of the whole command does not need it.
                from wclayer.cli.preparing import prepare

                for command in importlib.import_module(f"wclayer.cli.{module}").COMMANDS:
                    prepare(command, command.name or "")
                    self.add_command(command)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the verbs without loading their modules."""
        lines = {verb: line for verbs in _MODULES.values() for verb, line in verbs.items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted(lines.items()))

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _past_click():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _past_click():
            return super().invoke(ctx)


@click.group(cls=_AllVerbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="wclayer")
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=None,
    help="The engine that makes, mounts and removes layers: hcs is the Host Compute Service of Windows, portable is"
    " this program (default: $WCLAYER_ENGINE, or hcs on a Windows that has the service).",
)
@click.pass_context
def cli(ctx: click.Context, engine: str | None) -> None:
    """Windows container images and layers on any machine.

    Pulls, copies, edits and pushes images, shows what is in them, mounts them, and makes disks from them. Imports layer
    tars, changes files and the registry in scratches over the layers, and exports layers with the same bytes.

    Wherever a verb takes a LAYER, it is the path of a layer directory or an image: a name in the store, a layout or an
    archive.

    On Windows, the Host Compute Service can do the work (--engine hcs). Layers that it makes belong to the operating
    system: the verbs that show contents work only on layers that this program made.

    Exit status: 0 success; 1 differences or problems found, or an error of the host that has no status of its own; 2
    to 20 other errors; 64 wrong usage; 130 interrupted; 141 the reader of the output has ended (see docs/errors.md).
    """
    if engine is None:
        from wclayer.cli.settings import settings_of

        if (setting := settings_of(ctx).of((), ctx.command).get("engine")) is not None:
            engine = setting.value
    if engine is not None:
        use_engine(engine)
    from wclayer.model import Limits, use_limits

    # Reset before the options of the verb are read: one process may run several commands.
    use_limits(Limits())


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, prints its error if there is one, and returns the exit status."""
    escape_what_cannot_be_shown()
    try:
        if (asked := os.environ.get(COMPLETION_VARIABLE)) is not None:
            from wclayer.cli.shells import answer

            answer(cli, asked)
            return 0
        return _status(arguments)
    finally:
        # Python flushes them again when it exits, and would report a failure in its own way.
        for stream in (sys.stdout, sys.stderr):
            _drop_what_cannot_be_written(stream)


def _status(arguments: Sequence[str] | None) -> int:
    try:
        status = cli.main(
            args=None if arguments is None else list(arguments), prog_name="wclayer", standalone_mode=False
        )
        sys.stdout.flush()
    except click.exceptions.Abort:
        return _told("interrupted", INTERRUPTED)
    except click.ClickException as error:
        from wclayer.cli.mistakes import usage_message

        return _told(usage_message(error), USAGE_ERROR)
    except _StoppedError as stopped:
        if isinstance(stopped.__cause__, KeyboardInterrupt):
            return _told("interrupted", INTERRUPTED)
        return CLOSED_PIPE
    except (OSError, FormatError, sqlite3.Error, MemoryError) as error:
        return _failed(error, sys.argv[1:] if arguments is None else arguments)
    return status if isinstance(status, int) else 0


def _failed(error: OSError | FormatError | sqlite3.Error | MemoryError, arguments: Sequence[str] = ()) -> int:
    from wclayer.cli.mistakes import hint
    from wclayer.host import system

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and system.has_no_reader(cause):
            return CLOSED_PIPE
        # An error that a translator returned unchanged is its own cause.
        cause = cause.__cause__ if cause.__cause__ is not cause else None
    # An error without a path concerns one of the standard streams.
    told = translated("", error)
    assert told is not None
    return _told(f"{told}{hint(told, arguments)}", told.exit_status)


def _told(message: str, status: int) -> int:
    with contextlib.suppress(OSError):
        print(f"wclayer: {shown(' '.join(message.splitlines()))}", file=sys.stderr, flush=True)
    return status


def _drop_what_cannot_be_written(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
