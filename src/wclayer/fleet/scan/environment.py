"""What a worker knows of a scan beside its tasks: how images are reached, by whom, and where the results go.

It is sent by a plugin of Dask, also to workers that join later, and goes when the scan ends or its client is gone. So
no task has a secret in its arguments, and none is in a log or in the dashboard.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from distributed import Client, Scheduler, SchedulerPlugin, Worker, WorkerPlugin
from distributed.comm import CommClosedError

from wclayer.errors import LayerError, NotSupportedError, OperationCancelledError, PathNotFoundError, errors_at
from wclayer.fleet.access import ImageAccess
from wclayer.fleet.pace.rate import Rate
from wclayer.fleet.pace.shared import share_budget, shared_pace
from wclayer.fleet.scan.cluster import CLIENT, advice, versions
from wclayer.fleet.tables.dataset import Dataset
from wclayer.host.durability import unsynced
from wclayer.inventory.facts.cache import FactsCache
from wclayer.inventory.facts.store import FactsStore
from wclayer.model import Limits, use_limits

_PAUSE = 0.02
_environments: dict[str, Environment] = {}


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """What all tasks of a scan share. None of it is a secret.

    Attributes:
        scan: a name of the scan that no other one has.
        source: what is scanned, as the user calls it.
        out: the path or URL of the results.
        time: when the scan began.
        rate: how many requests all workers together may send to each registry.
        limits: how much of a source is accepted.
        is_synced: results wait for the disk.
        cache_size: the bytes of unpacked facts that a worker keeps on its disk.
        versions: the versions of the client (see `versions`).
    """

    scan: str
    source: str
    out: str
    time: datetime
    rate: Rate
    limits: Limits
    is_synced: bool
    cache_size: int
    versions: dict[str, object]


def facts_place(dataset: Dataset) -> str:
    """Returns the path or URL of the facts beside tables."""
    return dataset.folder.place("facts")


class Environment:
    """The state of a scan on one worker.

    Args:
        settings: what all tasks share.
        access: how images are reached.
        folder: a folder of the worker, which does not exist yet. It is removed at the end.

    Attributes:
        settings: what all tasks share.
        access: how images are reached.
        dataset: the tables.
        store: the facts.
        cache: unpacked facts.
    """

    def __init__(self, settings: ScanSettings, access: ImageAccess, folder: Path) -> None:
        self.settings = settings
        self.access = access
        self.dataset = Dataset(settings.out)
        self.store = FactsStore(facts_place(self.dataset))
        self.cache = FactsCache(self.store, folder / "facts", settings.cache_size)
        self._folder = folder
        self._is_checked = False

    @contextlib.contextmanager
    def new_folder(self) -> Iterator[Path]:
        """A context manager that gives an empty folder of this machine."""
        with errors_at(self._folder):
            self._folder.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                yield Path(folder)

    def check_place(self) -> None:
        """Checks, once, that the place of the results is the one that the client has prepared.

        Raises:
            PathNotFoundError: it is not.
        """
        if not self._is_checked and not self.dataset.exists():
            raise PathNotFoundError(
                self.settings.out,
                f"the worker on {platform.node()} does not find the fleet there; choose a folder that all workers share"
                " under the same path, or a URL",
            )
        self._is_checked = True

    def check_wanted(self) -> None:
        """Checks that the client still waits for results: another one may have begun to write the same place.

        Raises:
            OperationCancelledError: it is gone.
        """
        if _environments.get(self.settings.scan) is not self:
            raise OperationCancelledError(self.settings.source, "the client of the scan is gone")

    def close(self) -> None:
        """Closes all connections, and removes the folder."""
        self.access.close()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def environment(scan: str) -> Iterator[Environment]:
    """Yields the environment of a scan to a task on a worker. The settings of the scan hold inside the context.

    Raises:
        NotSupportedError: the worker has another wclayer than the client.
        PathNotFoundError: the worker does not reach the place of the results.
        LayerError: the worker has no such environment.
    """
    found = _environments.get(scan)
    if found is None:
        raise LayerError(platform.node(), "a worker here was not made ready for the scan; its log says why")
    settings = found.settings
    if settings.versions != versions():
        told = f"a worker here has another wclayer than the client: {advice(settings.versions[CLIENT])}"
        raise NotSupportedError(platform.node(), told)
    found.check_place()
    use_limits(settings.limits)
    with contextlib.nullcontext() if settings.is_synced else unsynced():
        yield found


class _OnWorker(WorkerPlugin):  # type: ignore[misc]
    """Gives each worker the environment of a scan.

    It does not have the credentials itself: Dask logs requests, with what they bring, if it is to log everything. The
    worker asks the scheduler for them (`_OnScheduler`), and answers are never logged.
    """

    def __init__(self, settings: ScanSettings) -> None:
        self._settings = settings

    async def setup(self, worker: Worker) -> None:
        settings = self._settings
        data = await getattr(worker.scheduler, _operation(settings.scan))()
        # From the user's own client, as all tasks are.
        access: ImageAccess = pickle.loads(data)
        access.use_pace(shared_pace(worker, settings.rate))
        folder = Path(worker.local_directory, f"wclayer-{settings.scan}")
        _environments[settings.scan] = Environment(settings, access, folder)

    def teardown(self, worker: Worker) -> None:
        if (found := _environments.pop(self._settings.scan, None)) is not None:
            found.close()

    def __repr__(self) -> str:
        return f"the environment of the scan {self._settings.scan}"


class _OnScheduler(SchedulerPlugin):  # type: ignore[misc]
    """Has the credentials of a scan for its workers, until its client is gone, also if that was killed.

    Then it takes the environment from the workers.

    Args:
        scan: the name of the scan.
        client: the client.
    """

    def __init__(self, scan: str, client: str) -> None:
        self.name = f"{_plugin(scan)}-client"
        self._scan = scan
        self._client = client
        self._scheduler: Any = None
        self._access = b""
        self._is_gone = False

    async def start(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        scheduler.stream_handlers[_operation(self._scan)] = self._take
        scheduler.handlers[_operation(self._scan)] = self._give

    def _take(self, client: str, access: bytes) -> None:
        self._access = access

    async def _give(self) -> bytes:
        while not self._access:
            if self._is_gone:
                raise ValueError("the client of the scan is gone")
            # It comes by the stream of the client, after the request that brings this plugin.
            await asyncio.sleep(_PAUSE)
        return self._access

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        if client == self._client:
            self._access, self._is_gone = b"", True
            self._scheduler.loop.add_callback(self._forget)

    async def _forget(self) -> None:
        del self._scheduler.stream_handlers[_operation(self._scan)], self._scheduler.handlers[_operation(self._scan)]
        with contextlib.suppress(ValueError):
            await self._scheduler.unregister_worker_plugin(None, _plugin(self._scan))
        self._scheduler.remove_plugin(self.name)


def _plugin(scan: str) -> str:
    return f"wclayer-{scan}"


def _operation(scan: str) -> str:
    return f"wclayer_access_{scan}"


@contextlib.contextmanager
def environments(client: Client, settings: ScanSettings, access: ImageAccess) -> Iterator[None]:
    """Gives the environment of a scan to all workers inside the context, also to those that join.

    Raises:
        LayerError: a worker ends meanwhile, or cannot have it.
    """
    try:
        share_budget(client)
        client.register_plugin(_OnScheduler(settings.scan, client.id))
        # The stream of the client: what it brings is never logged, as requests may be.
        client._send_to_scheduler({"op": _operation(settings.scan), "access": pickle.dumps(access)})
        client.register_plugin(_OnWorker(settings), _plugin(settings.scan))
    except CommClosedError:
        raise LayerError(
            settings.source, "a worker ended before the scan began; if it had no memory left, give each more (--memory)"
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(CommClosedError, OSError, TimeoutError):
            client.unregister_worker_plugin(_plugin(settings.scan))
