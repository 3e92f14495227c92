"""Several processes use one store at the same time, and are killed at any moment: what has a name stays whole."""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import time
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path

from tests.images import samples
from tests.images.memory import MemorySource
from tests.images.stores import fill, unpack
from wclayer.errors import LayerBusyError, PathNotFoundError
from wclayer.host.durability import unsynced
from wclayer.images.descriptor import Descriptor
from wclayer.images.store import ImageStore
from wclayer.images.transfer import copy_image

# A process that is forked begins at once.
if sys.platform == "win32":
    _PROCESSES = multiprocessing.get_context("spawn")
else:
    _PROCESSES = multiprocessing.get_context("fork")
_IMAGES = [samples.small(), samples.small_child(), samples.small(os_version="10.0.26100.33296")]
_KILLS = 20


def _problems(store: ImageStore) -> list[tuple[str, str]]:
    return [(problem.path, problem.text) for problem in store.check()]


def _ingest(path: Path, data: bytes, slow: bool, told: Queue[int]) -> None:
    store = ImageStore(path)
    written = 0
    with store.ingest(Descriptor.of(data, "application/octet-stream")) as ingest:
        if not ingest.is_whole:
            for start in range(ingest.offset, len(data), 1000):
                written += len(data[start : start + 1000])
                ingest.write(data[start : start + 1000])
                time.sleep(0.005 if slow else 0)
            ingest.commit()
    told.put(written)


def test_of_many_processes_one_brings_a_blob_in(tmp_path: Path) -> None:
    data = os.urandom(100_000)
    told = _PROCESSES.Queue()
    workers = [_PROCESSES.Process(target=_ingest, args=(tmp_path / "store", data, True, told)) for _ in range(4)]
    for worker in workers:
        worker.start()
    written = [told.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sorted(written) == [0, 0, 0, len(data)]
    assert ImageStore(tmp_path / "store").blob_path(samples.sha256(data)).read_bytes() == data


def _use(path: Path, seed: int, rounds: int) -> None:
    """Stores, tags, untags and prunes at random."""
    rng = random.Random(seed)
    store = ImageStore(path)
    path.with_name(f"began-{seed}").touch()
    with unsynced():
        for _ in range(rounds):
            name = f"image:{rng.randrange(3)}"
            what = rng.randrange(5)
            try:
                if what < 2:
                    with MemorySource(rng.choice(_IMAGES)) as source, store.target(name) as target:
                        copy_image(source, target, jobs=2)
                elif what == 2:
                    store.untag(name)
                elif what == 3:
                    store.prune(keep_hours=0)
                else:
                    assert not [image for image in store.images() if image.problem]
            except PathNotFoundError:
                assert what == 2
            except LayerBusyError:
                assert what == 3


def _start(path: Path, seed: int, rounds: int) -> BaseProcess:
    worker = _PROCESSES.Process(target=_use, args=(path, seed, rounds))
    worker.start()
    return worker


def test_processes_that_use_one_store_leave_it_sound(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    kept = fill(store, "kept:1", samples.classic())
    unpacked = unpack(store, samples.small_child())
    store.tag("unpacked:1", fill(store, "unpacked:1", samples.small_child()))
    workers = [_start(store.path, seed, 30) for seed in range(3)]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert _problems(store) == []
    assert store.find("kept:1") == kept
    assert all(path.is_dir() for path in unpacked)
    with store.source("kept:1") as source:
        assert source.manifest(kept) == samples.classic().manifest


def test_killed_processes_lose_nothing_that_has_a_name(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    fill(store, "kept:1", samples.small_child())
    rng = random.Random(16)
    seen: set[str] = set()
    workers = {number: _start(store.path, number, 10_000) for number in range(2)}
    try:
        for number in range(_KILLS):
            while not (tmp_path / f"began-{number}").exists():
                time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 0.3))
            worker = workers.pop(number)
            worker.kill()
            worker.join()
            # It did not end before, with an error.
            assert worker.exitcode not in (0, 1)
            assert _problems(store) == []
            assert store.find("kept:1").digest == samples.small_child().digest
            seen.update(image.name for image in store.images())
            workers[number + 2] = _start(store.path, number + 2, 10_000)
    finally:
        for worker in workers.values():
            worker.kill()
            worker.join()
    assert len(seen) > 2
    for image in store.images():
        store.untag(image.name)
    store.prune(keep_hours=0)
    files = {name for _, _, names in os.walk(store.path) for name in names}
    assert files - {"store.db-wal", "store.db-shm"} == {"store.db"}
