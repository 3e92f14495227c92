"""The verb `find`: entries by their names and their metadata."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import click

from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.merged import merged_option, parents_hinted, shown_chain
from wclayer.cli.output import SIZE, echo_lines, json_option, print_json_list
from wclayer.cli.text import LAYER_PATH
from wclayer.search.finding import find_entries
from wclayer.search.query import EntryKind, EntryQuery, NameMark
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.names import encode_name


class _Bounds(NamedTuple):
    least: int | None = None
    most: int | None = None


if TYPE_CHECKING:
    _BoundsParameter = click.ParamType[_Bounds]
    _TimeParameter = click.ParamType[int]
else:
    _BoundsParameter = _TimeParameter = click.ParamType  # no generic class before click 8.4


class _Number(_BoundsParameter):
    """The click type of a number: +N is more than N, -N less than N, N exactly N."""

    name = "number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> _Bounds:
        if isinstance(value, _Bounds):
            return value
        text = str(value)
        number = self.number(text.lstrip("+-") if text[1:2] not in ("+", "-") else "", param, ctx)
        if text.startswith("+"):
            return _Bounds(number + 1, None)
        return _Bounds(None, number - 1) if text.startswith("-") else _Bounds(number, number)

    def number(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not re.fullmatch("[0-9]{1,19}", text):
            self.fail(f"{text[:40]!r} is not a number such as 2, +2 or -2", param, ctx)
        return int(text)


class _SizeBounds(_Number):
    """The click type of a size with + or -."""

    name = "size"

    def number(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return SIZE.convert(text, param, ctx)


class _Time(_TimeParameter):
    """The click type of a time, in ISO 8601; UTC if it does not say otherwise."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            time = datetime.fromisoformat(str(value))
            if time.tzinfo is None:
                time = time.replace(tzinfo=UTC)
            microseconds = (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        except (ValueError, OverflowError):
            self.fail(f"{str(value)[:40]!r} is not a time such as 2024-12-31 or 2024-12-31T23:59:59Z", param, ctx)
        return from_unix_ns(microseconds * 1000)


_KINDS = {"f": EntryKind.FILE, "d": EntryKind.DIRECTORY, "l": EntryKind.LINK}


@click.command("find")
@merged_option
@click.option(
    "-n", "--name", "names", metavar="GLOB", multiple=True,
    help="The name matches GLOB, in any case, as in Windows: *.dll. May be repeated: one of them.",
)  # fmt: skip
@click.option(
    "-t", "--type", "kinds", type=click.Choice(list(_KINDS)), multiple=True,
    help="A file, a directory, or a link (to either). May be repeated: one of them.",
)  # fmt: skip
@click.option(
    "--size", type=_SizeBounds(), default=None, metavar="[+-]SIZE",
    help="The file is larger than SIZE (+10MiB), smaller (-10MiB), or has exactly SIZE.",
)  # fmt: skip
@click.option("--newer", type=_Time(), default=None, help="The last write is after this time (2024-12-31, UTC).")
@click.option("--older", type=_Time(), default=None, help="The last write is before this time.")
@click.option(
    "--layer", "number", type=int, default=None, metavar="N",
    help="The entry is from the layer N; with --mark, that layer did it. The base layer is 1.",
)  # fmt: skip
@click.option(
    "--mark", "marks", type=click.Choice([str(mark) for mark in NameMark]), multiple=True,
    help="A layer added the name, changed the file, or removed the name. May be repeated: one of them.",
)  # fmt: skip
@click.option(
    "--owner", "owners", metavar="ACCOUNT", multiple=True,
    help="The owner: Users, NT SERVICE\\TrustedInstaller, S-1-5-18. May be repeated: one of them.",
)  # fmt: skip
@click.option("--has-stream", is_flag=True, help="It has an alternate stream.")
@click.option(
    "--links", type=_Number(), default=None, metavar="[+-]N", help="The file has N names, or more (+1) or less (-3)."
)
@click.option("--reparse", is_flag=True, help="It is a reparse point: a link, or of another kind.")
@click.option("-L", "--depth", type=click.IntRange(0), default=None, help="Do not look below this depth; PATH has 0.")
@click.option("-0", "--print0", is_flag=True, help="Print the exact names, each with a zero byte after it.")
@json_option
@layer_argument("layer")
@click.argument("paths", nargs=-1, type=LAYER_PATH)
def find_command(
    merged: bool | None,
    names: tuple[str, ...],
    kinds: tuple[str, ...],
    size: _Bounds | None,
    newer: int | None,
    older: int | None,
    number: int | None,
    marks: tuple[str, ...],
    owners: tuple[str, ...],
    has_stream: bool,
    links: _Bounds | None,
    reparse: bool,
    depth: int | None,
    print0: bool,
    as_json: bool,
    layer: LayerArgument,
    paths: tuple[str, ...],
) -> None:
    """Print the paths of all entries of LAYER, a layer or an image, at PATHS and below them, for which all options are
    true. Without PATHS, everything is looked at.

    A printed path is a PATH of every verb. A character that the terminal cannot show is printed as its number,
    <U+XXXX>, which the verbs accept; --print0 and --json are exact. Case does not count in names.

    With --mark, names that later layers hide are found, too. A directory is "changed" by nothing: what is in it is. The
    JSON has what each layer did.

    The exit status is 0, whether something is found or not.

    \b
    Example:
      wclayer find nanoserver:ltsc2022 'C:\\Windows' --name '*.exe' --size +10MiB
      wclayer find myapp:1.0 --layer 5 --mark added --mark changed --type f
      wclayer find /layers/run --has-stream --owner Administrators
      wclayer find -0 /layers/run 'C:\\app' --name '*.log' | xargs -0 wclayer rm /layers/run
    """
    if print0 and as_json:
        raise click.UsageError("--print0 and --json exclude each other")
    size, links = size or _Bounds(), links or _Bounds()
    query = EntryQuery(
        names=names, kinds=frozenset(_KINDS[kind] for kind in kinds), least_size=size.least, most_size=size.most,
        newer=newer, older=older, layer=number, marks=frozenset(map(NameMark, marks)), owners=owners,
        has_stream=has_stream, least_links=links.least, most_links=links.most, is_reparse_point=reparse,
    )  # fmt: skip
    with parents_hinted(layer, merged):
        found = find_entries(shown_chain(layer, merged), paths, query, depth=depth)
        if as_json:
            print_json_list(entry.to_json() for entry in found)
        elif print0:
            for entry in found:
                sys.stdout.buffer.write(encode_name(entry.path) + b"\0")
            sys.stdout.buffer.flush()
        else:
            echo_lines((entry.path for entry in found), as_they_come=True)


COMMANDS = (find_command,)
