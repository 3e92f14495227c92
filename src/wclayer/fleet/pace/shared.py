"""A `RequestBudget` in the scheduler of a Dask cluster, which all workers ask."""

from __future__ import annotations

from typing import Any

from distributed import Client, Scheduler, SchedulerPlugin, Worker
from distributed.utils import sync

from wclayer.fleet.pace.budget import BudgetPace, Grant, RequestBudget
from wclayer.fleet.pace.rate import Rate

_NAME = "wclayer-pace"
_ASK, _REFUSED = "wclayer_ask_request", "wclayer_refused_request"


class _Budgets(SchedulerPlugin):  # type: ignore[misc]
    """The budgets of all scans on a cluster. Scans with the same rate share one."""

    name = _NAME
    # A second scan does not reset what is known of the servers.
    idempotent = True

    def __init__(self) -> None:
        self._budgets: dict[float, RequestBudget] = {}

    async def start(self, scheduler: Scheduler) -> None:
        """Makes the scheduler answer the workers."""
        scheduler.handlers |= {_ASK: self._ask, _REFUSED: self._refused}

    def _ask(self, interval: float, host: str, is_booked: bool) -> Grant:
        return self._of(interval).ask(host, is_booked=is_booked)

    def _refused(self, interval: float, host: str, seconds: float | None) -> None:
        self._of(interval).refused(host, seconds)

    def _of(self, interval: float) -> RequestBudget:
        return self._budgets.setdefault(interval, RequestBudget(Rate(interval)))


def share_budget(client: Client) -> None:
    """Makes the scheduler of a cluster ready for the workers' questions (`shared_pace`)."""
    client.register_plugin(_Budgets())


def shared_pace(worker: Worker, rate: Rate) -> BudgetPace:
    """Returns a pace that all workers of a cluster share.

    Args:
        worker: the worker whose tasks wait.
        rate: how many requests all of them may send to each server.
    """

    def call(question: str, **arguments: Any) -> Any:
        return sync(worker.loop, getattr(worker.scheduler, question), interval=rate.interval, **arguments)

    return BudgetPace(
        lambda host, is_booked: Grant(*call(_ASK, host=host, is_booked=is_booked)),
        lambda host, seconds: call(_REFUSED, host=host, seconds=seconds),
    )
