"""`TaskStream`: tasks that are given to a cluster, and what they end with, one after the other as they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from distributed import Client, Future, as_completed
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from wclayer.errors import LayerError

_Item = TypeVar("_Item")


class TaskStream(Generic[_Item]):
    """Tasks of one kind after another on a cluster.

    A result leaves the worker as soon as it is there: what a worker has when it dies would be done again.

    Args:
        client: the client of the cluster.
        scan: the name of the scan, which its keys begin with: no other scan on the cluster has the same.
    """

    def __init__(self, client: Client, scan: str) -> None:
        self._client = client
        self._scan = scan
        self._items: dict[Any, _Item] = {}
        self._ending = as_completed(loop=client.loop)

    def start(
        self, item: _Item, kind: str, name: str, function: Callable[..., object], *arguments: object, priority: int = 0
    ) -> None:
        """Gives a task to the cluster.

        Args:
            item: what the task is for; `ended` yields it.
            kind: a word that the dashboard shows ("layer").
            name: what the task is for, in its key; no two tasks of a kind have the same.
            function: what is done, with the name of the scan as its first argument.
            arguments: the further arguments. They hold no secret: Dask shows and logs them.
            priority: tasks with a higher number are begun first.
        """
        key = (f"{kind}-{self._scan}", name)
        future = self._client.submit(function, self._scan, *arguments, key=key, priority=priority, pure=False)
        self._items[key] = item
        self._ending.add(future)

    def ended(self) -> Iterator[tuple[_Item, Any]]:
        """Yields each task that ends, until none is left: the item, and the result or the exception.

        Raises:
            LayerError: the cluster is gone.
        """
        future: Future
        for future in self._ending:
            item = self._items.pop(future.key)
            outcome = self._outcome(future)
            future.release()
            yield item, outcome

    def _outcome(self, future: Future) -> Any:
        try:
            error = future.exception() if future.status == "error" else None
            if error is None:
                return future.result()
        except KilledWorker as killed:
            return killed
        except (FutureCancelledError, TimeoutError, OSError) as failure:
            if isinstance(failure, LayerError):
                return failure
            address = str(self._client.scheduler.address) if self._client.scheduler is not None else "the scheduler"
            raise LayerError(
                address, "the scheduler ended, or its connection; the next scan goes on from here"
            ) from None
        return error

    def cancel(self) -> None:
        """Takes back what has not ended. What a worker has begun it carries out."""
        futures = list(self._ending.futures)
        if futures:
            self._client.cancel(futures)
