"""A build that is killed at any moment: the store is clean, and the next build goes on after the last finished step."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.build.images import BASE, store_with_base
from tests.images import samples
from tests.support import run
from wclayer.images.store import ImageStore

_STEPS = 5


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "src").mkdir(parents=True)
    for number in range(200):
        (folder / "src" / f"{number}.txt").write_bytes(b"%d" % number * 1000)
    lines = ["# escape=`", f"FROM {BASE}", "COPY src C:\\app"]
    lines += [f"RUN mkdir C:\\made{number} && echo x>C:\\made{number}\\x" for number in range(_STEPS - 1)]
    (folder / "Dockerfile").write_text("\n".join(lines))
    return folder


def _start(store: ImageStore, context: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "wclayer", "build", "--store", str(store.path), "-t", "app:1", str(context)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
    )  # fmt: skip


def test_a_killed_build_leaves_a_clean_store_and_goes_on(tmp_path: Path, context: Path) -> None:
    whole, _, _ = store_with_base(tmp_path / "whole", samples.nanoserver())
    begin = time.monotonic()
    complete = _start(whole, context)
    complete.communicate()
    assert complete.returncode == 0
    longest = time.monotonic() - begin
    store, _, _ = store_with_base(tmp_path / "store", samples.nanoserver())
    chance = random.Random(17)
    killed = 0
    for _ in range(8):
        build = _start(store, context)
        time.sleep(chance.uniform(0.3, 1) * longest)
        build.kill()
        _, told = build.communicate()
        killed += build.returncode != 0
        if build.returncode == 0:
            break
        finished = told.decode().count(" => ") - 1
        assert [str(problem) for problem in store.check()] == []
        after = run("build", "--store", store.path, "--no-cache", "-t", "other:1", _other(tmp_path))
        assert b"made other:1" in after.stdout
        # Each step that was told as finished is in the cache.
        assert len(list((store.path / "cache").iterdir())) >= max(finished, 0)
    assert killed
    done = _start(store, context)
    _, told = done.communicate()
    assert done.returncode == 0
    assert told.decode().count("CACHED") >= 1
    assert store.find("app:1").digest == whole.find("app:1").digest
    run("prune", "--store", store.path)
    assert [str(problem) for problem in store.check()] == []
    assert list(store.path.rglob(".wclayer-*")) == []


def _other(tmp_path: Path) -> Path:
    """A small build in the same store, which removes what the killed one left."""
    folder = tmp_path / "other"
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(f"FROM {BASE}\nRUN mkdir C:\\other\n")
    return folder


def test_two_builds_of_the_same_at_once_make_the_same(tmp_path: Path, context: Path) -> None:
    store, _, _ = store_with_base(tmp_path / "store", samples.nanoserver())
    builds = [_start(store, context) for _ in range(3)]
    for build in builds:
        _, told = build.communicate()
        assert build.returncode == 0, told.decode()
    assert [str(problem) for problem in store.check()] == []
    assert len({path.name for path in (store.path / "layers").iterdir()}) == 1 + _STEPS


def test_a_step_that_fails_names_its_line_and_the_steps_before_it_stay(tmp_path: Path, context: Path) -> None:
    store, _, _ = store_with_base(tmp_path / "store", samples.nanoserver())
    text = (context / "Dockerfile").read_text()
    (context / "Dockerfile").write_text(text + "\nRUN mkdir C:\\made0\n")
    failed = run("build", "--store", store.path, "-t", "app:1", context, status=1)
    assert b"Dockerfile:8: the command of RUN ended with the exit code 1" in failed.stderr
    (context / "Dockerfile").write_text(text)
    assert run("build", "--store", store.path, "-t", "app:1", context).stderr.count(b"CACHED") == _STEPS


def test_prune_keeps_the_cache_for_a_day_and_all_removes_it(tmp_path: Path, context: Path) -> None:
    store, _, _ = store_with_base(tmp_path / "store", samples.nanoserver())
    run("build", "--store", store.path, "-t", "app:1", context)
    run("rmi", "--store", store.path, "app:1")
    assert b"0 layers" in run("prune", "--store", store.path).stdout
    assert run("build", "--store", store.path, "-t", "app:1", context).stderr.count(b"CACHED") == _STEPS
    run("rmi", "--store", store.path, "app:1")
    told = run("prune", "--store", store.path, "--all").stdout.decode()
    assert f"{_STEPS} layers, 0 begun downloads, {_STEPS} build steps removed" in told
    assert list((store.path / "cache").iterdir()) == []
    assert [str(problem) for problem in store.check()] == []
    assert run("build", "--store", store.path, "-t", "app:1", context).stderr.count(b"CACHED") == 0


def test_a_damaged_record_counts_as_none(tmp_path: Path, context: Path) -> None:
    store, _, _ = store_with_base(tmp_path / "store", samples.nanoserver())
    run("build", "--store", store.path, "-t", "app:1", context)
    records = sorted((store.path / "cache").iterdir())
    for record, data in zip(
        records, (b"", b"{}", b"[1]", b'{"version": 2}', b'{"version": 1, "layer": 3}'), strict=True
    ):
        record.write_bytes(data)
    assert run("build", "--store", store.path, "-t", "app:1", context).stderr.count(b"CACHED") == 0
