"""The verb `grep`: text in the contents of files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import click

from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.merged import merged_option, parents_hinted, shown_chain
from wclayer.cli.output import json_option, print_json_list
from wclayer.cli.text import LAYER_PATH, text_of_argument
from wclayer.search.grep import FoundText, search_files
from wclayer.search.pattern import ContentPattern
from wclayer.win32.shown import shown

_NOTHING_FOUND = 1


@click.command("grep")
@merged_option
@click.option("-i", "--ignore-case", is_flag=True, help="Upper and lower case are the same.")
@click.option("-F", "--fixed", is_flag=True, help="PATTERN is a fixed text, not a regular expression.")
@click.option("-l", "--files", "only_files", is_flag=True, help="Print only the paths of the files.")
@click.option("-c", "--count", "only_counts", is_flag=True, help="Print only how many lines match in each file.")
@click.option("-n", "--number", "with_numbers", is_flag=True, help="Print the number of each line.")
@click.option(
    "--include", metavar="GLOB", multiple=True,
    help="Search only files whose name matches, in any case, as in Windows: *.ini. May be repeated: one of them.",
)  # fmt: skip
@click.option("--streams", is_flag=True, help="Search alternate streams, too.")
@json_option
@click.argument("pattern")
@layer_argument("layer")
@click.argument("paths", nargs=-1, type=LAYER_PATH)
@click.pass_context
def grep_command(
    ctx: click.Context,
    merged: bool | None,
    ignore_case: bool,
    fixed: bool,
    only_files: bool,
    only_counts: bool,
    with_numbers: bool,
    include: tuple[str, ...],
    streams: bool,
    as_json: bool,
    pattern: str,
    layer: LayerArgument,
    paths: tuple[str, ...],
) -> None:
    """Print the lines that match PATTERN in the files of LAYER, a layer or an image, at PATHS and below them. Without
    PATHS, all files are searched.

    PATTERN is a regular expression in the syntax of RE2, which is that of Perl without backreferences and lookaround;
    no expression is slow. It needs the extra wclayer[grep]. A PATTERN of letters, digits and characters with a
    backslash before them (win\\.ini), and one with -F, needs nothing.

    Text in UTF-8, in UTF-16, and in any encoding that contains ASCII is searched by lines. A binary file is searched
    for PATTERN as bytes and as UTF-16, and "binary file matches" is printed. Characters that a terminal would obey
    are printed as their numbers, <U+XXXX>; --json is exact. Links are not followed, and directories of a PATH are
    searched with all that is below them.

    The exit status is 0 if something was found, 1 if not, and another one for errors.

    \b
    Example:
      wclayer grep -n 'timeout *=' myapp:1.0 'C:\\app' --include '*.ini' --include '*.config'
      wclayer grep -il password myapp:1.0
      wclayer grep -F 'C:\\src' /layers/app
    """
    if only_files + only_counts + as_json > 1:
        raise click.UsageError("-l, -c and --json exclude each other")
    is_found = False

    def noted(matches: Iterator[FoundText]) -> Iterator[FoundText]:
        nonlocal is_found
        for match in matches:
            is_found = True
            yield match

    wanted = ContentPattern(text_of_argument(pattern), is_fixed=fixed, ignore_case=ignore_case)
    with parents_hinted(layer, merged):
        found = noted(
            search_files(
                shown_chain(layer, merged), wanted, paths, include=include, streams=streams, first_only=only_files
            )
        )
        if as_json:
            print_json_list(match.to_json() for match in found)
        elif only_counts:
            for name, matches in groupby(found, key=lambda match: match.name):
                print(shown(f"{name}:{sum(1 for _ in matches)}"))
        else:
            for match in found:
                print(shown(_line(match, only_files=only_files, with_numbers=with_numbers)))
    ctx.exit(0 if is_found else _NOTHING_FOUND)


def _line(match: FoundText, *, only_files: bool, with_numbers: bool) -> str:
    if only_files:
        return match.name
    if match.is_binary:
        return f"{match.name}: binary file matches"
    return f"{match.name}:{match.line}:{match.text}" if with_numbers else f"{match.name}:{match.text}"


COMMANDS = (grep_command,)
