"""`RequestBudget`: when the next request may go to a server, for all that share it; `BudgetPace` waits until then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from wclayer.errors import RegistryError
from wclayer.fleet.pace.rate import Rate
from wclayer.images.registry.options import RegistryOptions

_MOST_HOSTS = 1024
_LEAST_PAUSE = 0.1
_PAUSE = 1.0
"""The pause after a refusal that does not say how long."""
_FIRST_INTERVAL = 0.02
"""After the first refusal, requests go to the server at this distance; after each further one at twice the distance."""
_LONGEST_INTERVAL = 10.0
_CALM = 30.0
"""After so many seconds without a refusal the distance is halved."""
_FREE = 1.0
"""For so many seconds nobody needs to ask again for a server that takes any number of requests."""


class Grant(NamedTuple):
    """When a request may be sent.

    Attributes:
        seconds: wait so long, and ask again; 0 if it may be sent now.
        pause: for so long the server still refuses all requests; it is a part of `seconds`.
        free: for so long nobody needs to ask.
    """

    seconds: float
    pause: float
    free: float


@dataclass(slots=True)
class _Host:
    """What is known of a server, in seconds of the clock.

    Attributes:
        interval: the time from one request to the next.
        next: when the next request may be sent.
        paused: until when it refuses requests.
        changed: when the interval was changed.
    """

    interval: float
    next: float = 0.0
    paused: float = 0.0
    changed: float = 0.0


class RequestBudget:
    """The requests that may be sent to each server. Several threads may share it.

    Requests go at the distance of the rate. If a server refuses one, all wait as long as it says, and go at a greater
    distance then, because all of them would come back at once; without further refusals, it grows smaller again.

    Args:
        rate: how many requests the user permits for each server.
        clock: gives the time in seconds.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()

    def ask(self, host: str, *, is_booked: bool = False) -> Grant:
        """Books the next request to a server.

        Args:
            host: the server.
            is_booked: this is the request that was booked before, and its time has come: it may be sent, unless the
                server has refused another one meanwhile.
        """
        with self._lock:
            known, now = self._known(host), self._clock()
            if known.interval > self._rate.interval and now - max(known.changed, known.paused) > _CALM:
                known.interval = known.interval / 2 if known.interval > _FIRST_INTERVAL else 0.0
                known.interval, known.changed = max(known.interval, self._rate.interval), now
            if is_booked and now >= known.paused:
                return Grant(0.0, 0.0, 0.0)
            begins = max(now, known.next, known.paused)
            known.next = begins + known.interval
            return Grant(begins - now, max(known.paused - now, 0.0), _FREE if known.next <= now else 0.0)

    def refused(self, host: str, seconds: float | None) -> None:
        """Notes that a server refuses requests.

        Args:
            host: the server.
            seconds: for how long, if it says so.
        """
        with self._lock:
            known, now = self._known(host), self._clock()
            if now >= known.paused:
                # Those that were under way at the same time are refused, too, and say nothing more.
                known.interval = min(max(known.interval * 2, _FIRST_INTERVAL), max(_LONGEST_INTERVAL, known.interval))
                known.changed = now
            known.paused = max(known.paused, now + max(_PAUSE if seconds is None else seconds, _LEAST_PAUSE))

    def _known(self, host: str) -> _Host:
        if host not in self._hosts:
            if len(self._hosts) >= _MOST_HOSTS:
                # A registry leads to few servers; the one that was met first is hardly asked any more.
                del self._hosts[next(iter(self._hosts))]
            self._hosts[host] = _Host(self._rate.interval)
        return self._hosts[host]


class BudgetPace:
    """Waits for the requests of a budget, which is here or elsewhere (see `Pace`).

    Args:
        ask: asks the budget (`RequestBudget.ask`), with `is_booked` as its second argument.
        refused: tells the budget (`RequestBudget.refused`).
        patience: the seconds for which a server may refuse all requests before one that waits fails.
    """

    def __init__(
        self,
        ask: Callable[[str, bool], Grant],
        refused: Callable[[str, float | None], object],
        patience: float = RegistryOptions().patience,
    ) -> None:
        self._ask = ask
        self._refused = refused
        self._patience = patience
        self._free: dict[str, float] = {}

    def wait(self, host: str) -> None:
        """Returns when a request may be sent.

        Raises:
            RegistryError: the server refuses all requests for longer than the patience.
        """
        if time.monotonic() < self._free.get(host, 0.0):
            return
        is_booked = False
        while True:
            grant = self._ask(host, is_booked)
            if grant.pause > self._patience:
                raise RegistryError("", f"{host} refuses further requests for {grant.pause:.0f} s; try again then")
            if grant.seconds <= 0:
                break
            time.sleep(grant.seconds)
            is_booked = True
        if len(self._free) > _MOST_HOSTS:
            self._free.clear()
        self._free[host] = time.monotonic() + grant.free

    def refused(self, host: str, seconds: float | None) -> None:
        """Notes that a server refuses requests for now."""
        self._free.pop(host, None)
        self._refused(host, seconds)


def local_pace(rate: Rate) -> BudgetPace:
    """Returns a pace that the threads of this process share."""
    budget = RequestBudget(rate)
    return BudgetPace(lambda host, is_booked: budget.ask(host, is_booked=is_booked), budget.refused)
