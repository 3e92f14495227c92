"""`query_fleet`: the answer of a fleet to SQL, or to a ready question."""

from __future__ import annotations

from collections.abc import Mapping

from wclayer._types import StrPath
from wclayer.errors import during
from wclayer.fleet.query.answer import FleetAnswer
from wclayer.fleet.query.question import FleetQuestion
from wclayer.fleet.query.session import MEMORY, FleetSession


@during("query fleet")
def query_fleet(
    fleet: StrPath,
    query: str | FleetQuestion,
    parameters: Mapping[str, str] | None = None,
    *,
    memory: int = MEMORY,
    threads: int | None = None,
) -> FleetAnswer:
    """Returns the answer of a fleet to a query, as `wclayer fleet query` gives it.

    SQL sees the tables and views of the fleet and nothing else: no other files, no network, no variables.

    Args:
        fleet: the path of the fleet, or a URL that fsspec knows.
        query: one query in the SQL of DuckDB, or a ready question (`fleet_question`).
        parameters: values for the parameters `$NAME` of the query, by their names. Those of a ready question are texts.
        memory: bytes of memory that DuckDB may use.
        threads: how many threads DuckDB uses; by default one for each processor.

    Returns:
        The rows, which are read while they are used; `close`, or the end of its context, closes the fleet.

    Raises:
        PathNotFoundError: there is no fleet, or a file of it is missing.
        NotSupportedError: DuckDB is not installed, or another version of wclayer has made the fleet.
        InvalidParameterError: DuckDB does not understand the query, or a parameter is missing or wrong.
        AccessDeniedError: the query reads other files than those of the fleet.
        OutOfMemoryError: the query needs more memory than it may use.
        InvalidDataError: a table is damaged.
    """
    session = FleetSession({"main": fleet}, memory=memory, threads=threads)
    try:
        if isinstance(query, FleetQuestion):
            return session.ask(query.sql, query.values(parameters or {}), then_close=True)
        return session.ask(query, parameters, then_close=True)
    except BaseException:
        session.close()
        raise
