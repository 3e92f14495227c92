"""Several processes add to one index at the same time: it has what each of them added."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.images import samples
from tests.images.stores import fill
from tests.support import parsed, run, run_process
from wclayer.images.store import ImageStore

VERSIONS = [f"10.0.{build}.1" for build in (17763, 20348, 26100, 26200)]


@pytest.mark.parametrize("index", ["all:1", "oci:{}/layout:all"], ids=["store", "layout"])
def test_nothing_that_is_added_at_the_same_time_is_lost(index: str, tmp_path: Path) -> None:
    store = ("--store", str(tmp_path / "store"))
    index = index.format(tmp_path)
    for version in VERSIONS:
        fill(ImageStore(tmp_path / "store"), f"app:{version}", samples.small(os_version=version))
    run("index", "create", *store, f"app:{VERSIONS[0]}", "-t", index)

    def append(version: str) -> None:
        run_process("index", "append", *store, index, f"app:{version}")

    with ThreadPoolExecutor(len(VERSIONS)) as threads:
        list(threads.map(append, VERSIONS[1:]))
    listed = parsed("index", "list", *store, index)
    assert isinstance(listed, list)
    assert sorted(item["platform"]["os.version"] for item in listed) == VERSIONS
