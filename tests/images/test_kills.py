"""Processes that pull and push are killed at random moments: the next one ends the work, and fetches nothing twice.

By default a few are killed; `--long` kills 200 of each kind. A failure says how the same moment is seen again.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.images import samples
from tests.images.registry import DebianRegistry, FakeRegistry, faults
from tests.images.stores import fill as fill_store
from tests.proof import killing
from wclayer.images.pull import pull_image
from wclayer.images.push import push_image
from wclayer.images.registry import Credentials, RegistryOptions
from wclayer.images.store import ImageStore

pytestmark = pytest.mark.kills

_OPTIONS = RegistryOptions(credentials=Credentials(), backoff=0.01, timeout=30.0)
_PARTS = RegistryOptions(credentials=Credentials(), backoff=0.01, timeout=30.0, chunk_size=1 << 20)


@pytest.fixture
def runs(is_long: bool) -> range:
    """The numbers of the kills; `WCLAYER_KILL_RUN` chooses one, to see it again."""
    if "WCLAYER_KILL_RUN" in os.environ:
        number = int(os.environ["WCLAYER_KILL_RUN"])
        return range(number, number + 1)
    return range(200 if is_long else 8)


@pytest.fixture(autouse=True)
def end_what_was_started() -> Iterator[None]:
    """No process of a test that failed lives on."""
    yield
    killing.end_all()


def _make_image() -> samples.Image:
    """An image of three layers: a small one, one of 4 MB, and one of 2 MB with some files."""
    chance = random.Random(16)
    tars = [
        samples.small_base_tar(),
        samples.small_tar({"Files/app/large.bin": chance.randbytes(4 << 20)}, 1),
        samples.small_tar({f"Files/app/{number}.bin": chance.randbytes(1 << 17) for number in range(16)}, 2),
    ]
    history = [samples.step("Apply image 10.0.20348.1"), samples.step("COPY large.bin"), samples.step("COPY . .")]
    return samples.image("oci", [samples.layer(tar, "oci") for tar in tars], history, {})


IMAGE = _make_image()
CONFIG = samples.sha256(IMAGE.config)
BLOBS = {digest: len(data) for digest, data in IMAGE.blobs.items()}


@dataclass
class _Stored:
    """What a store holds after a kill."""

    blobs: set[str]
    begun: dict[str, int]
    layers: set[str]
    has_name: bool

    @classmethod
    def of(cls, path: Path) -> _Stored:
        blobs, ingest, layers = path / "blobs/sha256", path / "ingest", path / "layers"
        return cls(
            {f"sha256:{file.name}" for file in blobs.glob("*") if not file.name.startswith(".")},
            {f"sha256:{file.stem}": file.stat().st_size for file in ingest.glob("*.part")},
            {f"sha256:{folder.name}" for folder in layers.glob("*") if not folder.name.startswith(".")},
            bool(ImageStore(path).images()),
        )

    def __str__(self) -> str:
        if self.has_name:
            return "ended"
        if self.layers:
            return f"{len(self.layers)} layers unpacked"
        return "blobs whole" if self.blobs else "download begun" if any(self.begun.values()) else "nothing there"


def _check(path: Path) -> None:
    """The store has no problems, after a kill and otherwise."""
    if (path / "store.db").exists():
        assert list(ImageStore(path).check()) == []


def _left(path: Path) -> list[str]:
    return [str(file.relative_to(path)) for file in path.rglob(".wclayer-*")]


def _kill(step: Callable[[], object], calls: int, duration: float, chance: random.Random) -> tuple[str, bool]:
    """Does a step in a process that is killed at any time, or before any of its calls that change the host."""
    if chance.randrange(2):
        seconds = chance.uniform(0, 1.05) * duration
        return f"after {seconds:.6f} s", killing.run_killed_after(seconds, step).was_killed
    call = chance.randrange(calls)
    return f"before call {call}", killing.run_killed_before(call, step).was_killed


def _measure(step: Callable[[], object], again: Callable[[], None]) -> tuple[int, float]:
    """The number of the calls of a step that change the host, and the seconds that it takes."""
    killing.check_counting()
    again()
    ended = killing.run(step)
    assert ended.status == 0, ended.said
    again()
    counted = killing.run(step, counted=True)
    assert counted.status == 0, counted.said
    again()
    return len(counted.calls), ended.duration


def _put(registry: FakeRegistry) -> None:
    for data in IMAGE.blobs.values():
        registry.contents.put_blob("app", data)
    registry.contents.put_manifest("app", IMAGE.manifest, IMAGE.media_type, "1")


def _told(error: BaseException, moment: str, number: int) -> None:
    error.add_note(f"killed {moment}; again: WCLAYER_KILL_SEED={killing.SEED} WCLAYER_KILL_RUN={number}")


def test_a_pull_that_was_killed_is_continued(tmp_path: Path, runs: range) -> None:
    """What was whole is not fetched again, nor unpacked; what had begun goes on where it was."""
    found: Counter[str] = Counter()
    killed = saved = 0
    with FakeRegistry() as registry:
        _put(registry)
        # So that a good part of the moments lie in the downloads.
        slowly = faults.trickle("blob", 1 << 18, 0.004)
        registry.faults.append(slowly)
        store = tmp_path / "measured"
        names = iter(range(1 << 20))

        def again() -> None:
            nonlocal store
            store = tmp_path / f"store {next(names)}"

        def pull() -> None:
            pull_image(f"{registry.host}/app:1", ImageStore(store), registry=_OPTIONS)

        calls, duration = _measure(pull, again)
        for number in runs:
            again()
            chance = random.Random(f"{killing.SEED} pull {number}")
            moment = "before it began"
            try:
                moment, was_killed = _kill(pull, calls, duration, chance)
                killed += was_killed
                if chance.randrange(3) == 0:
                    # Once more, before it could end.
                    killed += _kill(pull, calls, duration, chance)[1]
                _check(store)
                before = _Stored.of(store)
                found[str(before)] += 1
                _wait_for_silence(registry)
                registry.requests.clear()
                result = pull_image(f"{registry.host}/app:1", ImageStore(store), registry=_OPTIONS)
                for digest, size in BLOBS.items():
                    # A configuration is read before anything is copied, so it is not continued.
                    begun = 0 if digest == CONFIG else before.begun.get(digest, 0)
                    most = 0 if digest in before.blobs else size - begun
                    assert registry.sent(digest) <= most, (digest, size, before)
                saved += sum(BLOBS.values()) - sum(map(registry.sent, BLOBS))
                (image,) = result.images
                assert image.unpacked == len(IMAGE.layers) - len(before.layers)
                after = _Stored.of(store)
                assert after.has_name
                assert after.blobs == {*BLOBS, IMAGE.digest}
                assert (after.begun, after.layers) == ({}, set(IMAGE.chain_ids))
                _check(store)
                # The claim of a layer is left if the process was killed between the layer and the end of its claim.
                ImageStore(store).prune(keep_hours=0)
                assert _left(store) == []
                assert _Stored.of(store) == after
            except BaseException as error:
                _told(error, moment, number)
                raise
        assert killed or len(runs) == 1
    print(f"pull: {len(runs)} runs, {killed} kills: {dict(found)}; {saved >> 20} MiB were not fetched again")


def test_a_pull_that_was_killed_is_removed_by_prune(tmp_path: Path, runs: range) -> None:
    """Who does not pull again has the space back."""
    store = tmp_path / "store"
    with FakeRegistry(faults.trickle("blob", 1 << 18, 0.004)) as registry:
        _put(registry)
        chance = random.Random(f"{killing.SEED} prune")
        for _ in runs[: max(1, len(runs) // 4)]:
            seconds = chance.uniform(0.05, 0.5)
            killing.run_killed_after(
                seconds, lambda: pull_image(f"{registry.host}/app:1", ImageStore(store), registry=_OPTIONS)
            )
            if not (store / "store.db").exists():
                continue
            for image in ImageStore(store).images():
                ImageStore(store).untag(image.name)
            ImageStore(store).prune(keep_hours=0)
            stored = _Stored.of(store)
            assert (stored.blobs, stored.begun, stored.layers) == (set(), {}, set())
            assert _left(store) == []
            _check(store)


@pytest.mark.parametrize("options", [_OPTIONS, _PARTS], ids=["whole", "parts"])
def test_a_push_that_was_killed_is_ended_by_the_next(tmp_path: Path, runs: range, options: RegistryOptions) -> None:
    """What the registry has whole is not sent again; the name is there when everything is."""
    found: Counter[str] = Counter()
    killed = saved = 0
    store = ImageStore(tmp_path / "store")
    with FakeRegistry() as registry:
        name = f"{registry.host}/app:1"
        fill_store(store, name, IMAGE)

        jobs = 4

        def again() -> None:
            registry.contents.repositories.clear()
            registry.contents.uploads.clear()

        def push() -> None:
            push_image(name, store=store, registry=options, jobs=jobs)

        _, duration = _measure(push, again)
        for number in runs:
            again()
            chance = random.Random(f"{killing.SEED} push {number}")
            moment = "before it began"
            try:
                jobs = chance.choice((1, 4))
                # A push changes nothing of the host but its locks, so all moments are ones of time.
                seconds = chance.uniform(0, 1.05) * duration
                moment = f"after {seconds:.6f} s"
                killed += killing.run_killed_after(seconds, push).was_killed
                _check(store.path)
                _wait_for_silence(registry)
                repository = registry.contents.repository("app")
                whole = set(repository.blobs)
                assert not repository.tags or whole == set(BLOBS)
                assert not repository.manifests or whole == set(BLOBS)
                found["ended" if repository.tags else f"{len(whole)} of {len(BLOBS)} blobs whole"] += 1
                registry.requests.clear()
                push()
                missing = sum(size for digest, size in BLOBS.items() if digest not in whole)
                assert registry.received() == missing
                saved += sum(BLOBS.values()) - missing
                assert repository.tags == {"1": IMAGE.digest}
                assert repository.manifests[IMAGE.digest][1] == IMAGE.manifest
                assert repository.blobs == IMAGE.blobs
                _check(store.path)
                assert _left(store.path) == []
            except BaseException as error:
                _told(error, moment, number)
                raise
        assert killed or len(runs) == 1
    print(f"push: {len(runs)} runs, {killed} kills: {dict(found)}; {saved >> 20} MiB were not sent again")


def test_a_real_registry_is_pushed_to_and_pulled_from_after_kills(
    tmp_path: Path, debian_registry: DebianRegistry, repository: str, runs: range
) -> None:
    """With Debian's registry the ends are the same; nobody counts there."""
    origin = ImageStore(tmp_path / "origin")
    chance = random.Random(f"{killing.SEED} real")
    for number in runs[: max(1, len(runs) // 4)]:
        name = f"{debian_registry.host}/{repository}/{number}:1"
        fill_store(origin, name, IMAGE)
        store = ImageStore(tmp_path / f"store {number}")
        killing.run_killed_after(
            chance.uniform(0, 0.3),
            lambda name=name: push_image(name, store=origin, registry=_OPTIONS),  # type: ignore[misc]
        )
        assert push_image(name, store=origin, registry=_OPTIONS).descriptor.digest == IMAGE.digest
        killing.run_killed_after(
            chance.uniform(0, 0.5),
            lambda name=name, store=store: pull_image(name, store, registry=_OPTIONS),  # type: ignore[misc]
        )
        _check(store.path)
        assert pull_image(name, store, registry=_OPTIONS).copied.descriptor.digest == IMAGE.digest
        _check(store.path)
        store.prune(keep_hours=0)
        assert _left(store.path) == []


def _wait_for_silence(registry: FakeRegistry) -> None:
    """Returns when the registry has seen that its client is gone."""
    end = time.monotonic() + killing.PATIENCE
    while registry.connections and time.monotonic() < end:
        time.sleep(0.002)
    assert not registry.connections
