"""A build that is killed at any moment: the store is clean, and the next build goes on after the last finished step."""

from __future__ import annotations

import fcntl
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.builder.images import BASE, store_with_base
from tests.images import samples
from tests.support import run
from wclayer.images.store import ImageStore

_STEPS = 5
_ROUNDS = 4
_PIPE_BYTES = 4096
"""What a build can write ahead of its reader."""
_STEP, _CACHED = (re.compile(rb"^ => %s\[" % word, re.MULTILINE) for word in (rb"(?:CACHED )?", rb"CACHED "))


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "src").mkdir(parents=True)
    for number in range(200):
        (folder / "src" / f"{number}.txt").write_bytes(b"%d" % number * 1000)
    lines = ["# escape=`", f"FROM {BASE}", "COPY src C:\\app"]
    # The line that tells of a step is longer than what the pipe holds.
    word = "x" * (_PIPE_BYTES + 1000)
    lines += [f"RUN mkdir C:\\made{number} && echo {word}>C:\\made{number}\\x" for number in range(_STEPS - 1)]
    (folder / "Dockerfile").write_text("\n".join(lines))
    return folder


def _start(store: ImageStore, context: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "wclayer", "build", "--store", str(store.path), "-t", "app:1", "--reproducible",
         str(context)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0,
    )  # fmt: skip


def _kill(build: subprocess.Popen[bytes], chance: random.Random) -> tuple[int, bool]:
    """Kills a build some time after a step, or before the first one. Until then it waits for its reader after each
    step, so it is never more than one step ahead. Returns how many steps were told as finished, and whether it lived
    until then."""
    assert build.stderr is not None
    fcntl.fcntl(build.stderr, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    wanted, told = chance.randrange(_STEPS + 1), []
    for line in build.stderr:
        told.append(line)
        if len(_STEP.findall(b"".join(told))) > wanted:
            break
    time.sleep(chance.uniform(0, 0.1))
    build.kill()
    _, rest = build.communicate()
    # The first one is FROM, which makes nothing.
    return max(0, len(_STEP.findall(b"".join(told) + rest)) - 1), build.returncode != 0


def test_a_killed_build_leaves_a_clean_store_and_the_next_one_goes_on(tmp_path: Path, context: Path) -> None:
    whole, _, _ = store_with_base(tmp_path / "whole", samples.nanoserver())
    run("build", "--store", whole.path, "-t", "app:1", "--reproducible", context)
    expected = whole.find("app:1").digest
    base, _, _ = store_with_base(tmp_path / "base", samples.nanoserver())
    chance = random.Random(17)
    killed = resumed = 0
    for number in range(_ROUNDS):
        store = ImageStore(tmp_path / f"store{number}")
        shutil.copytree(base.path, store.path, symlinks=True)
        finished = 0
        # Now and then, the one that goes on is killed, too.
        for _ in range(chance.choice((1, 1, 2))):
            told, was_killed = _kill(_start(store, context), chance)
            finished, killed = max(finished, told), killed + was_killed
            assert [str(problem) for problem in store.check()] == []
        # A small build in the same store removes what the killed one left, but for its finished steps.
        run("build", "--store", store.path, "-t", "other:1", _other(tmp_path))
        assert list(store.path.rglob(".wclayer-*")) == []
        done = run("build", "--store", store.path, "-t", "app:1", "--reproducible", context)
        cached = len(_CACHED.findall(done.stderr))
        assert cached >= finished
        resumed += 0 < cached < _STEPS
        assert store.find("app:1").digest == expected
        run("prune", "--store", store.path, "--all")
        assert [str(problem) for problem in store.check()] == []
        shutil.rmtree(store.path)
    assert killed
    assert resumed


def _other(tmp_path: Path) -> Path:
    """The context of a small build."""
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
