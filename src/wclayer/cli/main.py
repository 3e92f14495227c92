"""The entry point: the group of all verbs, and what becomes of errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from wclayer import __version__
from wclayer.cli import demo, disk, inspect, manage, registry, transfer, view
from wclayer.cli.durability import add_no_sync_option
from wclayer.cli.limits import add_limit_options
from wclayer.engines.choice import ENGINES, use_engine
from wclayer.errors import LayerError
from wclayer.model import Limits, use_limits

_GROUPS = (transfer, inspect, manage, view, registry, disk, demo)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="wclayer")
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=None,
    help="Who makes, mounts and removes layers: Windows' own Host Compute Service, or this program (default:"
    " $WCLAYER_ENGINE, or Windows where it can).",
)
def cli(engine: str | None) -> None:
    """Windows container layers on any machine.

    Imports OCI layer tars into layer directories, shows what is in them, mounts and changes scratches over them (the
    registry, too), exports layers again with the same bytes, and makes disks of them.

    On Windows, the Host Compute Service can do the work itself (--engine hcs); layers that it makes are the operating
    system's own, and the verbs that look inside work on this program's layers.

    Exit status: 0 success; 1 differences or problems found; 2 and above an error (see docs/errors.md).
    """
    if engine is not None:
        use_engine(engine)
    # Before the options of the verb: one process may run several commands.
    use_limits(Limits())


for _group in _GROUPS:
    for _command in _group.COMMANDS:
        add_limit_options(_command)
        add_no_sync_option(_command)
        cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and exits: an error is one line on the error stream."""
    try:
        status = cli.main(
            args=None if arguments is None else list(arguments), prog_name="wclayer", standalone_mode=False
        )
    except LayerError as error:
        _fail(str(error), error.exit_status)
    except click.exceptions.Abort:
        _fail("interrupted", 130)
    except click.ClickException as error:
        _fail(error.format_message(), 64)
    except BrokenPipeError:
        # The reader of our output has gone: nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except OSError as error:
        _fail(str(error), 1)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> None:
    line = " ".join(message.splitlines()).encode("utf-8", "backslashreplace").decode("utf-8")
    click.echo(f"wclayer: {line}", err=True)
    sys.exit(status)
