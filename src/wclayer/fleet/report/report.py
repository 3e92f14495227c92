"""`write_fleet_report`: a page about a fleet for a browser."""

from __future__ import annotations

from wclayer._types import StrPath
from wclayer.errors import during
from wclayer.fleet.query.session import MEMORY, FleetSession
from wclayer.fleet.report.html import page
from wclayer.layers.atomic import OutputFile
from wclayer.layers.object_folder import ObjectFolder


@during("report fleet")
def write_fleet_report(
    fleet: StrPath, target: StrPath, *, memory: int = MEMORY, threads: int | None = None
) -> None:  # fmt: skip
    """Writes a page about a fleet: patch levels, ages, the worst images, what sharing layers saves, packages, errors,
    and a list of all images that can be searched and sorted.

    The page is one file. It loads nothing, and can be read without JavaScript. Of lists that would be too long it says
    what is left out.

    Args:
        fleet: the path of the fleet, or a URL that fsspec knows.
        target: the file of the page, outside the fleet.
        memory: bytes of memory that DuckDB may use.
        threads: how many threads DuckDB uses; by default one for each processor.

    Raises:
        PathNotFoundError: there is no fleet, or no folder for the page.
        NotSupportedError: DuckDB is not installed, or another version of wclayer has made the fleet.
        InvalidParameterError: the target is in the fleet.
        OutOfMemoryError: a fleet of this size needs more memory.
        InvalidDataError: a table is damaged.
        AccessDeniedError, DiskFullError, …: the host refuses to write the page.
    """
    folder = ObjectFolder(fleet).path
    with (
        FleetSession({"main": fleet}, memory=memory, threads=threads) as session,
        OutputFile(target, sources=[] if folder is None else [folder]) as output,
    ):
        for part in page(session):
            output.stream.write(part.encode())
