"""The options of the verbs that look at all references of a source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Function = TypeVar("_Function", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--from",
        "source",
        required=True,
        metavar="SOURCE",
        help="The host of a registry; HOST/REPOSITORY; a file with a reference in each line ('-': standard input);"
        " oci:DIR; or store.",
    ),
    click.option("--name", "names", multiple=True, metavar="GLOB", help="Only repositories with such a name (apps/*)."),
    click.option("--tag", "tags", multiple=True, metavar="GLOB", help="Only tags with such a name."),
    click.option(
        "--newest",
        type=click.IntRange(1),
        metavar="N",
        help="Only the N newest tags of each repository: the configurations of all its images are read.",
    ),
    click.option(
        "--max-requests",
        metavar="N[/s|/m|/h]",
        help="Send at most N requests in a second (a minute, an hour) to each registry, over all processes.",
    ),
    click.option(
        "--store", metavar="FOLDER", help="The store (default: $WCLAYER_STORE, or the folder of the user's data)."
    ),
)


def source_options(function: _Function) -> _Function:
    """Adds the options to a verb: `source`, `names`, `tags`, `newest`, `max_requests` and `store`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
