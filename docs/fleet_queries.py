"""Writes docs/fleet-queries.md: the ready questions, the views and the functions of `wclayer fleet query`.

    python docs/fleet_queries.py

The lists are made of `wclayer/fleet/query` alone. tests/fleet/test_query_document.py fails while the two differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wclayer.fleet.query.question import FleetQuestion
from wclayer.fleet.query.questions import QUESTIONS
from wclayer.fleet.query.session import MEMORY
from wclayer.fleet.query.views import FUNCTIONS, VIEWS
from wclayer.win32.shown import size_text

DOCUMENT = Path(__file__).with_name("fleet-queries.md")
_HEAD = """\
# Questions about a fleet

<!-- Made by `python docs/fleet_queries.py`: change that, or wclayer/fleet/query, not this document. -->

`wclayer fleet query OUT` asks the tables of a fleet ([fleet-schema.md](fleet-schema.md)), with a ready question or with
SQL of DuckDB:

    wclayer fleet query OUT --question lacks-kb KB5031364 20348.2031
    wclayer fleet query OUT --question holds log4j-core below=2.17.1 --json
    wclayer fleet query OUT "SELECT repository, count(*) FROM images GROUP BY ALL" --csv

The values of a question stand in the order of its parameters, or as `NAME=VALUE`. Rows are printed while they are read.
References that could not be read, or not whole, are counted on the error stream: an answer may lack them.

Times are in UTC. How long Microsoft maintains a release of Windows is not known here: no question is about that.

## Ready questions
"""
_BOUNDS = f"""
## What SQL may do

One query is run: `SELECT`, `FROM`, `WITH`, `VALUES`, `DESCRIBE`, `SHOW`, `SUMMARIZE`. It sees the tables, views and
functions of the fleet, and nothing else: no other files, also not in the fleet's folder, no network, no variables of
the program. DuckDB has no access to the outside but through a file system that shows the tables' files and cannot
write; extensions are not loaded, and SQL cannot change the settings. Statements that are no queries are not run, and
DuckDB would refuse them as well. `tests/fleet/test_query_bounds.py` tries to get out.

DuckDB may use {size_text(MEMORY)} of memory (`--memory`) and one thread for each processor (`--threads`). What does not
fit is an error: nothing is written to the disk. A damaged file is an error, too, if DuckDB notices the damage: it does
not compare checksums, so that a bit that has changed in a text may pass.
"""


def document() -> str:
    """Returns the document."""
    parts = [
        _HEAD,
        *map(_section, QUESTIONS),
        "\n## Views\n\nEach table is a view with its name. In `files`, `key` is never NULL here.\n\n"
        "| view | rows |\n|---|---|\n",
        *(f"| `{view.name}` | {view.description} |\n" for view in VIEWS),
        "\n## Functions\n\n| function | value |\n|---|---|\n",
        *(f"| `{function.call}` | {function.description} |\n" for function in FUNCTIONS),
        _BOUNDS,
    ]
    return "".join(parts)


def _section(question: FleetQuestion) -> str:
    return "".join((f"\n### {question.name}\n\n{question.sentence}\n", *_parameters(question)))


def _parameters(question: FleetQuestion) -> Iterator[str]:
    if question.parameters:
        yield "\n| parameter | meaning | if it is left out |\n|---|---|---|\n"
    for parameter in question.parameters:
        left_out = "refused" if parameter.default is None else parameter.default or "not looked at"
        if parameter.name == "today":
            left_out = "this day"
        yield f"| `{parameter.name}` | {parameter.meaning} | {left_out} |\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document())
