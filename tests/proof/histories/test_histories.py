"""Rounds of every scene: each result is one that some order of the operations explains, and nothing is left behind.

In CI each scene has its rounds, with the seeds that it always has; with `--long`, each runs for 20 minutes
(`WCLAYER_HISTORIES_MINUTES`), from a random seed on. A failure prints the history and the command to run it again.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.proof.histories.run import Figures, memory_folder, run_rounds
from tests.proof.histories.scenes import SCENES
from tests.proof.histories.timeline import report
from tests.support import witness

pytestmark = [
    pytest.mark.histories,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, and scratches mounted"),
]
_ROUNDS = {"scratch": 16, "mount": 3, "layer": 8, "store": 8, "life": 8, "registry": 8}
"""How many rounds of a scene CI has time for."""
_MINUTES = float(os.environ.get("WCLAYER_HISTORIES_MINUTES", "20"))


@pytest.mark.parametrize("name", SCENES)
def test_each_result_is_one_that_some_order_of_the_operations_explains(
    name: str, is_long: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if name in ("mount", "life"):
        witness("fusermount3")
    failures, figures = tmp_path_factory.getbasetemp() / "histories", Figures()
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        if not is_long:
            failed = run_rounds(name, 1, _ROUNDS[name], Path(folder), failures, figures)
        else:
            failed, end = None, time.monotonic() + 60 * _MINUTES
            seed = random.SystemRandom().randrange(10**9)
            while failed is None and time.monotonic() < end:
                failed = run_rounds(name, seed, 1, Path(folder), failures, figures)
                seed += 1
            print(figures)
    assert failed is None, f"{report(failed)}\nSaved in {failures}"
    assert figures.operations[name] > 3 * figures.histories[name]
