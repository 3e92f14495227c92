"""Pulls and pushes that are killed at random: the next one goes on, and fetches and sends nothing again that was whole.

`WCLAYER_IMAGE_KILLS` is the number of kills of each.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("processes are forked", allow_module_level=True)

from tests.images import samples
from tests.images.registry import FakeRegistry, faults
from tests.images.victims import KILLED, Victims
from wclayer.errors import PathNotFoundError
from wclayer.images.store import ImageStore

KILLS = int(os.environ.get("WCLAYER_IMAGE_KILLS", "20"))
_IMAGE = samples.servercore


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    with Victims() as process:
        yield process


def _fill(registry: FakeRegistry, image: samples.Image) -> str:
    for data in image.blobs.values():
        registry.contents.put_blob("app", data)
    registry.contents.put_manifest("app", image.manifest, image.media_type, "1")
    return f"{registry.host}/app:1"


def _whole(store: ImageStore) -> set[str]:
    folder = store.path / "blobs" / "sha256"
    return {f"sha256:{name}" for name in os.listdir(folder)} if folder.exists() else set()


def _layers(store: ImageStore) -> set[str]:
    folder = store.path / "layers"
    names = os.listdir(folder) if folder.exists() else []
    return {f"sha256:{name}" for name in names if not name.startswith(".")}


def test_pulls_that_are_killed(victims: Victims, fake: FakeRegistry, tmp_path: Path) -> None:
    image, chance = _IMAGE(), random.Random(16)
    reference = _fill(fake, image)
    status, seconds = victims.run("pull", reference, str(tmp_path / "first"))
    assert status == 0
    kills = rounds = 0
    while kills < KILLS:
        rounds += 1
        store = ImageStore(tmp_path / f"store{rounds}")
        status = KILLED
        while status == KILLED:
            whole, layers = _whole(store), _layers(store)
            sent = {digest: fake.sent(digest) for digest in whole}
            # Now and then all of it, or no round would end on a machine that becomes slower.
            after = None if chance.random() < 0.1 else chance.uniform(0, seconds * 1.2)
            status, _ = victims.run("pull", reference, str(store.path), after=after)
            kills += status == KILLED
            assert {digest: fake.sent(digest) for digest in whole} == sent
            assert whole <= _whole(store)
            assert layers <= _layers(store)
            if store.path.exists() and (store.path / "store.db").exists():
                assert list(store.check()) == []
        assert status == 0
        assert (store.find(reference).digest, _layers(store)) == (image.digest, set(image.chain_ids))
        store.prune(keep_hours=0)
        assert _whole(store) == {image.digest, *image.blobs}
        assert sorted(os.listdir(store.path / "layers")) == sorted(name[7:] for name in image.chain_ids)
        assert os.listdir(store.path / "ingest") == []
        shutil.rmtree(store.path)


def test_pushes_that_are_killed(victims: Victims, fake: FakeRegistry, tmp_path: Path) -> None:
    image, chance = _IMAGE(), random.Random(17)
    store = ImageStore(tmp_path / "store")
    reference = _fill(fake, image)
    assert victims.run("pull", reference, str(store.path))[0] == 0
    status, seconds = victims.run("push", "app:1", f"{fake.host}/first:1", str(store.path))
    assert status == 0
    kills = rounds = 0
    while kills < KILLS:
        rounds += 1
        # Of a registry that has it: nothing would be sent.
        repository = fake.contents.repository(f"r{rounds}")
        status = KILLED
        while status == KILLED:
            missing = sum(len(data) for digest, data in image.blobs.items() if digest not in repository.blobs)
            received = fake.received()
            after = None if chance.random() < 0.1 else chance.uniform(0, seconds * 1.2)
            status, _ = victims.run("push", "app:1", f"{fake.host}/r{rounds}:1", str(store.path), after=after)
            kills += status == KILLED
            assert fake.received() - received <= missing
            assert repository.tags == ({"1": image.digest} if status == 0 else repository.tags)
        assert status == 0
        assert repository.manifests == {image.digest: (image.media_type, image.manifest)}
        assert repository.blobs == image.blobs
    assert list(store.check()) == []


def test_a_name_appears_with_everything(victims: Victims, fake: FakeRegistry, tmp_path: Path) -> None:
    """Killed at once, a pull leaves no name."""
    reference = _fill(fake, _IMAGE())
    store = ImageStore(tmp_path / "store")
    assert victims.run("pull", reference, str(store.path), after=0.02)[0] == KILLED
    with pytest.raises(PathNotFoundError):
        store.find(reference)


@pytest.mark.parametrize("after", [None, 100_000])
def test_an_interrupt_does_not_wait_for_what_hangs(fake: FakeRegistry, tmp_path: Path, after: int | None) -> None:
    """Ctrl-C while a blob does not come, or no more of it, and a layer is being unpacked."""
    reference = _fill(fake, _IMAGE())
    fake.faults = [faults.hang("blob", after)]
    command = [sys.executable, "-m", "wclayer", "pull", "--store", str(tmp_path / "store"), reference]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    end = time.monotonic() + 20
    while not fake.asked("blob", "GET") and time.monotonic() < end:
        time.sleep(0.01)
    # All that came is unpacked.
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=10)
    finally:
        process.kill()
    assert (process.returncode, err) == (130, b"wclayer: interrupted\n")
    assert _layers(ImageStore(tmp_path / "store")) == set()
