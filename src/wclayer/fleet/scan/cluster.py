"""The cluster that carries out a scan: processes of this machine, or one that is there already, by its address."""

from __future__ import annotations

import logging
import pydoc
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

from distributed import Client, LocalCluster
from distributed.scheduler import KilledWorker

from wclayer._ending import ends_interrupt
from wclayer._version import __version__
from wclayer.errors import InvalidParameterError, LayerError, NotSupportedError, OutOfMemoryError
from wclayer.fleet.scan.interrupts import interrupts_wait
from wclayer.fleet.scan.options import ScanOptions
from wclayer.host.interpreter import needed_python

_LOOPBACK = "127.0.0.1"
_TALKATIVE = ("distributed", "tornado", "bokeh")
_SLOW_DISK = "Creating scratch directories is taking"
"""The beginning of what Dask warns of when a busy machine makes a folder slowly."""
_CONNECT = "cannot be reached as a scheduler of Dask"
_ELSEWHERE = "the workers of a cluster do it with --dask ADDRESS"
CLIENT = "wclayer"
_VERSIONS = {
    CLIENT: "wclayer._version.__version__",
    "the format of facts": "wclayer.inventory.facts.summary.FACTS_VERSION",
    "the format of tables": "wclayer.fleet.tables.schema.SCHEMA_VERSION",
}
"""What must be the same in every process of a scan, each with the object that states it."""
_SHOWN = 3


@contextmanager
def open_cluster(options: ScanOptions) -> Iterator[Client]:
    """Yields a client of a cluster. What was started for it has ended when the context is left.

    The connection to a scheduler is encrypted as Dask's own configuration says (`distributed.comm.tls`).

    Raises:
        InvalidParameterError: the address is none.
        NotSupportedError: a process of the cluster has no wclayer, or another version of it.
        LayerError: the scheduler cannot be reached, or the processes do not start.
    """
    with _quiet():
        if options.dask:
            with _connected(options.dask) as client:
                check_versions(client)
                yield client
        else:
            with _local(options) as client:
                yield client


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        client = Client(address)
    except ValueError as error:
        raise InvalidParameterError(address, f"is not the address of a scheduler (tcp://HOST:8786): {error}") from error
    except OSError as error:
        raise LayerError(address, f"{_CONNECT}: {error}") from error
    with client:
        yield client


@contextmanager
def _local(options: ScanOptions) -> Iterator[Client]:
    with ends_interrupt(), ExitStack() as stack:
        with interrupts_wait():
            cluster = _start(options)
            stack.callback(_end, cluster)
        yield stack.enter_context(Client(cluster))


def _end(cluster: LocalCluster) -> None:
    with interrupts_wait():
        cluster.close()


def _start(options: ScanOptions) -> LocalCluster:
    python = needed_python("", "each worker of a scan", _ELSEWHERE)
    try:
        return LocalCluster(
            n_workers=options.workers,
            # The collectors are Python: threads would share one core.
            threads_per_worker=1,
            processes=True,
            host=_LOOPBACK,
            dashboard_address=f"{_LOOPBACK}:0",
            memory_limit=options.memory if options.memory is not None else "auto",
            silence_logs=logging.CRITICAL,
        )
    except MemoryError as error:
        raise OutOfMemoryError("", f"the processes of the scan do not start: {error}") from error
    except (OSError, RuntimeError) as error:
        problem = f"the processes of the scan, which {python} runs, do not start: {error}"
        raise LayerError("", f"{problem.rstrip('.')}; {_ELSEWHERE}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Dask from telling on the error stream what it does. What matters of it becomes an error of a scan."""
    known = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith(_TALKATIVE)]
    levels = [logger.level for logger in known]
    for logger in known:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _SLOW_DISK, UserWarning)
            yield
    finally:
        for logger, level in zip(known, levels, strict=True):
            logger.setLevel(level)


def versions() -> dict[str, object]:
    """Returns the versions that all processes of a scan must have."""
    return {what: pydoc.locate(name) for what, name in _VERSIONS.items()}


def check_versions(client: Client) -> None:
    """Checks that the scheduler and every worker has the wclayer that this process has.

    Raises:
        NotSupportedError: one has another, or none.
    """
    for what, name in _VERSIONS.items():
        # `locate` is a function of Python's own library: a process without wclayer could not load one of ours.
        theirs: dict[str, object] = {"the scheduler": client.run_on_scheduler(pydoc.locate, name)}
        theirs |= {f"the worker {address}": value for address, value in client.run(pydoc.locate, name).items()}
        ours = pydoc.locate(name)
        wrong = {where: value for where, value in theirs.items() if value != ours}
        if wrong:
            raise NotSupportedError(_address(client), _mismatch(what, ours, wrong))


def advice(version: object) -> str:
    """Returns what to do if a process has another version than the client."""
    return f"install wclayer=={version} with its extra [fleet] wherever a part of the cluster runs"


def _mismatch(what: str, ours: object, wrong: dict[str, object]) -> str:
    told = [f"{where} has {'none' if theirs is None else theirs}" for where, theirs in wrong.items()]
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return f"{what} has the version {ours} here; {', '.join(told[:_SHOWN])}{more}: {advice(__version__)}"


def dashboard_of(client: Client) -> str:
    """Returns the address of a page about the cluster; "" if it has none."""
    page = str(client.dashboard_link or "")
    # Without bokeh, that page only says that it is missing; this one lists workers and tasks.
    return page if find_spec("bokeh") else page.replace("/status", "/info/main/workers.html")


def _address(client: Client) -> str:
    return str(client.scheduler.address)


def died_text(error: KilledWorker) -> str:
    """Returns what a user is told of a task whose workers ended again and again."""
    return (
        f"{error.allowed_failures + 1} workers ended while they worked on it; if they had no memory left, give each"
        " more (--memory)"
    )
