"""How many requests go to a registry: what a user permits, what a registry takes, over all threads and processes."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from distributed import Client, LocalCluster, WorkerPlugin
from hypothesis import given
from hypothesis import strategies as st

from tests.images import samples
from tests.images.registry import FakeRegistry
from tests.images.registry.exchange import Reply, Request
from tests.images.registry.faults import Fault, error
from wclayer.errors import InvalidParameterError
from wclayer.fleet.access import ImageAccess
from wclayer.fleet.model import ImageStatus, Listed, ResolvedImage
from wclayer.fleet.pace.budget import RequestBudget, local_pace
from wclayer.fleet.pace.rate import Rate, parse_rate
from wclayer.fleet.pace.shared import share_budget, shared_pace
from wclayer.fleet.resolve import resolve_images
from wclayer.images.registry import Credentials, RegistryOptions


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


_OPTIONS = RegistryOptions(credentials=Credentials(), backoff=0.01)


def test_a_rate_is_requests_in_a_time() -> None:
    texts = {"20": 0.05, "20/s": 0.05, "500/m": 0.12, "3600/h": 1.0, " 0.5 ": 2.0, "1/h": 3600.0}
    assert {text: parse_rate(text).interval for text in texts} == texts
    assert parse_rate(None).interval == 0.0
    for text in ("", "0", "-1", "20/d", "many", "1e3", "0.5/h", "5/", "/m", "9" * 400, "٣"):
        with pytest.raises(InvalidParameterError, match="is no number of requests; write 20"):
            parse_rate(text)


class _Clock:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(
    st.floats(0.001, 10),
    st.lists(st.one_of(st.floats(0, 5), st.tuples(st.none() | st.floats(0, 20))), max_size=50),
)
def test_requests_go_at_the_distance_of_the_rate_and_never_in_a_pause(interval: float, events: list[Any]) -> None:
    """A number is time that goes by before the next request; a tuple is a refusal."""
    clock = _Clock()
    budget = RequestBudget(Rate(interval), clock)
    sent: list[float] = []
    paused = 0.0
    for event in events:
        if isinstance(event, tuple):
            budget.refused("x", event[0])
            paused = max(paused, clock.now + (event[0] if event[0] is not None else 1.0))
            continue
        clock.now += event
        grant = budget.ask("x")
        while grant.seconds > 0:
            clock.now += grant.seconds
            grant = budget.ask("x", is_booked=True)
        sent.append(clock.now)
        assert clock.now >= paused - 1e-6
    assert all(later - earlier >= interval - 1e-6 for earlier, later in itertools.pairwise(sent))


def test_a_request_that_was_booked_waits_for_a_pause_that_came_meanwhile() -> None:
    clock = _Clock()
    budget = RequestBudget(Rate(1.0), clock)
    assert budget.ask("x") == (0.0, 0.0, 0.0)
    assert budget.ask("x").seconds == 1.0
    budget.refused("x", 30.0)
    clock.now += 1.0
    grant = budget.ask("x", is_booked=True)
    assert (grant.seconds, grant.pause) == (29.0, 29.0)
    assert budget.ask("y").seconds == 0.0


def test_after_refusals_the_distance_grows_and_shrinks_again() -> None:
    clock = _Clock()
    budget = RequestBudget(Rate(), clock)

    def distance() -> float:
        clock.now += 20.0
        budget.ask("x")
        return round(budget.ask("x").seconds, 6)

    assert distance() == 0.0
    found = []
    for _ in range(3):
        budget.refused("x", 1.0)
        budget.refused("x", 1.0)
        found.append(distance())
    assert found == [0.02, 0.04, 0.08]
    assert budget.ask("x").free == 0.0
    # The time that goes by in a pause is no sign that the registry takes more.
    budget.refused("x", 100.0)
    clock.now += 100.0
    shrinking = [distance() for _ in range(12)]
    assert shrinking == sorted(shrinking, reverse=True)
    assert list(dict.fromkeys(shrinking)) == [0.16, 0.08, 0.04, 0.02, 0.0]
    clock.now += 1.0
    assert budget.ask("x").free > 0.0


class _Limited:
    """A registry that takes so many requests in a second, and refuses the others as real ones do."""

    def __init__(self, registry: FakeRegistry, in_a_second: int) -> None:
        self.refused = 0
        self._in_a_second = in_a_second
        self._sent: list[float] = []
        self._lock = threading.Lock()
        registry.faults.append(Fault(instead=None, before=None, change=self._change))

    def _change(self, request: Request, reply: Reply) -> Reply:
        with self._lock:
            now = time.monotonic()
            self._sent = [sent for sent in self._sent if now - sent < 1.0]
            if len(self._sent) >= self._in_a_second:
                self.refused += 1
                return Reply.error(429, "TOOMANYREQUESTS", "too many", Retry_After="1")
            self._sent.append(now)
            return reply


def _fill(registry: FakeRegistry, count: int) -> list[Listed]:
    image = samples.small("oci")
    for digest, data in image.blobs.items():
        assert registry.contents.put_blob("app", data) == digest
    for number in range(count):
        registry.contents.put_manifest("app", image.manifest, image.media_type, str(number))
    texts = [f"{registry.host}/app:{number}" for number in range(count)]
    return [Listed(text, text, "app", text.rpartition(":")[2]) for text in texts]


def _times(registry: FakeRegistry) -> list[float]:
    """Makes a registry note when requests arrive."""
    found: list[float] = []

    def note(request: Request) -> None:
        found.append(time.monotonic())

    registry.faults.append(Fault(before=note))
    return found


def test_threads_share_a_budget(fake: FakeRegistry) -> None:
    listed = _fill(fake, 10)
    times = _times(fake)
    with ImageAccess(_OPTIONS) as access, ThreadPoolExecutor(4) as threads:
        access.use_pace(local_pace(parse_rate("20")))
        found = list(threads.map(lambda item: resolve_images([item], access), listed))
    assert [image.status for images in found for image in images] == [ImageStatus.OK] * 10
    assert len(times) == 20
    # Four threads that do not know of each other would need a quarter of it.
    assert times[-1] - times[0] >= 0.75 * 19 * 0.05


def test_a_registry_that_refuses_much_loses_no_image(fake: FakeRegistry) -> None:
    listed = _fill(fake, 20)
    limited = _Limited(fake, 10)
    with ImageAccess(_OPTIONS) as access, ThreadPoolExecutor(8) as threads:
        access.use_pace(local_pace(Rate()))
        found = list(threads.map(lambda item: resolve_images([item], access), listed))
    assert [image.error for images in found for image in images] == [""] * 20
    # Without a common pause, each thread would find out for itself.
    assert 0 < limited.refused < 40


def test_a_registry_that_refuses_for_hours_is_told_at_once_for_all(fake: FakeRegistry) -> None:
    listed = _fill(fake, 50)
    fake.faults.append(error(429, "manifest", Retry_After="7200"))
    with ImageAccess(_OPTIONS) as access:
        access.use_pace(local_pace(Rate()))
        found = resolve_images(listed, access)
    assert len(fake.asked("manifest")) == 1
    assert "refuses further requests for 7200 s: too many" in found[0].error
    assert all(f"{fake.host} refuses further requests for " in image.error for image in found)


class _Access(WorkerPlugin):  # type: ignore[misc]
    """Gives each worker an access, as a scan does."""

    def __init__(self, access: ImageAccess, rate: Rate) -> None:
        self.access = access
        self._rate = rate

    def setup(self, worker: Any) -> None:
        self.access.use_pace(shared_pace(worker, self._rate))
        _accesses.append(self.access)


_accesses: list[ImageAccess] = []
"""In a worker, the access that it was given last."""


def _resolve(item: Listed) -> list[ResolvedImage]:
    return resolve_images([item], _accesses[-1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as running:
        yield running


def test_processes_share_a_budget(fake: FakeRegistry, cluster: LocalCluster) -> None:
    listed = _fill(fake, 20)
    times = _times(fake)
    with Client(cluster) as client:
        share_budget(client)
        client.register_plugin(_Access(ImageAccess(_OPTIONS), parse_rate("1200/m")), "access")
        found = client.gather(client.map(_resolve, listed, pure=False))
        client.unregister_worker_plugin("access")
    assert [image.error for images in found for image in images] == [""] * 20
    assert len(times) == 40
    # Two processes that do not know of each other would need half of it.
    assert times[-1] - times[0] >= 0.75 * 39 * 0.05


def test_a_pause_of_one_process_holds_for_all(fake: FakeRegistry, cluster: LocalCluster) -> None:
    listed = _fill(fake, 40)
    limited = _Limited(fake, 10)
    with Client(cluster) as client:
        share_budget(client)
        client.register_plugin(_Access(ImageAccess(_OPTIONS), Rate()), "access")
        found = client.gather(client.map(_resolve, listed, pure=False))
        client.unregister_worker_plugin("access")
    assert [image.error for images in found for image in images] == [""] * 40
    assert 0 < limited.refused < 60
