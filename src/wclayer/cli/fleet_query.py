"""The verb `fleet query`: asks the tables of a fleet, with SQL or a ready question."""

from __future__ import annotations

from contextlib import closing

import click

from wclayer.cli.fleet_answer import print_answer
from wclayer.cli.output import SIZE, echo, print_json, warn
from wclayer.cli.text_table import aligned
from wclayer.fleet.query.questions import QUESTIONS, fleet_question
from wclayer.fleet.query.session import MEMORY, FleetSession
from wclayer.win32.shown import count_text, size_text

memory_option = click.option(
    "--memory", type=SIZE, default=MEMORY, metavar="SIZE",
    help=f"The memory that DuckDB may use (default: {size_text(MEMORY)}).",
)  # fmt: skip
threads_option = click.option(
    "--threads", type=click.IntRange(1), metavar="N", help="How many threads DuckDB uses (default: one a processor)."
)


@click.command("query")
@click.option("--question", "name", metavar="NAME", help="Ask a ready question, with its values after OUT.")
@click.option("--list", "lists", is_flag=True, help="List the ready questions.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")
@memory_option
@threads_option
@click.argument("out", required=False)
@click.argument("words", nargs=-1, metavar="[SQL | VALUE...]")
def query_command(
    name: str | None,
    lists: bool,
    as_json: bool,
    as_csv: bool,
    memory: int,
    threads: int | None,
    out: str | None,
    words: tuple[str, ...],
) -> None:
    """Ask OUT, a fleet that `wclayer fleet scan` has made: with SQL, one query for DuckDB, or a ready question.

    A VALUE is that of a parameter of the question, in order, or as NAME=VALUE. SQL sees the tables and views of the
    fleet (SHOW TABLES), and no other files.

    \b
    Example:
      wclayer fleet query --list
      wclayer fleet query out --question lacks-kb KB5031364 20348.2031
      wclayer fleet query out --question holds log4j-core below=2.17.1 --json
      wclayer fleet query s3://bucket/out "SELECT repository, count(*) FROM images GROUP BY ALL"
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    if lists:
        _list(as_json=as_json)
        return
    if out is None:
        raise click.UsageError("name the fleet: wclayer fleet query OUT; --list lists the ready questions")
    if name is None and len(words) != 1:
        raise click.UsageError("give one query as one word, or --question NAME; --list lists the ready questions")
    asked = None if name is None else fleet_question(name)
    values = {} if asked is None else asked.values(asked.named(words))
    with closing(FleetSession({"main": out}, memory=memory, threads=threads)) as session:
        with session.ask(words[0] if asked is None else asked.sql, values) as answer:
            print_answer(answer, as_json=as_json, as_csv=as_csv)
        if unread := session.unread():
            warn(f"{count_text(unread, 'reference')} could not be read, or not whole: --question errors says why")


def _list(*, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "name": each.name,
                    "sentence": each.sentence,
                    "parameters": [
                        {"name": one.name, "kind": one.kind, "meaning": one.meaning, "default": one.default}
                        for one in each.parameters
                    ],
                    "sql": each.sql,
                }
                for each in QUESTIONS
            ]
        )
        return
    for line in aligned([(each.usage, each.sentence) for each in QUESTIONS]):
        echo(line)
