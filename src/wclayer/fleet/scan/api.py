"""`scan_fleet`: the inventory of every image of a registry, as tables. What it needs is loaded when it is called."""

from __future__ import annotations

from wclayer._types import StrPath
from wclayer.errors import NotSupportedError, during
from wclayer.fleet.scan.options import ScanOptions
from wclayer.fleet.scan.progress import ScanCallback
from wclayer.fleet.scan.results import ScanResult


def scan_fleet(
    source: str, out: StrPath, options: ScanOptions | None = None, *, progress: ScanCallback | None = None
) -> ScanResult:
    """Makes the tables of what all images of a source hold, or brings them up to date.

    Each distinct layer is read once, by one worker of a Dask cluster, which keeps its facts; the rows of images are
    made from facts alone. What an earlier scan has done, whole or interrupted, is not done again. What cannot be read
    is a row with its error, is tried again by the next scan, and stops nothing.

    The workers reach the registries and `out` themselves. They have the credentials of this machine for the registries,
    as long as the scan lasts.

    Without the address of a cluster, the workers are processes that begin like this one: a program that calls this
    keeps what it does behind `if __name__ == "__main__":`.

    Args:
        source: the host of a registry (all its repositories), `HOST/REPOSITORY`, a file with a location in each line,
            `oci:DIR`, or `store`.
        out: the path or the URL (`s3://…`) of the tables and facts.
        options: what is read, and who carries it out.
        progress: called when something has been done.

    Returns:
        What was done.

    Raises:
        InvalidParameterError: the source, a pattern or an option is not possible.
        LayerBusyError: another scan writes to `out`.
        NotSupportedError: the extra `fleet` is not installed, or a process of the cluster has another version.
        LayerError: the source cannot be listed, `out` cannot be written, or the cluster is gone.
    """
    with during("scan fleet", source, takes_over=True):
        try:
            from wclayer.fleet.scan.scanning import scan
        except ImportError as error:
            detail = f"this needs the package {error.name}: pip install 'wclayer[fleet]'"
            raise NotSupportedError(source, detail) from None
        return scan(source, out, options or ScanOptions(), progress)
