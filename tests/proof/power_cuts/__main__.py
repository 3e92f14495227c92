"""Leaves out each sync of each operation once, and says which of them no power cut would show: such a sync is for
nothing, or the test has a gap.

    python -m tests.proof.power_cuts [OPERATION…]
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

from tests.proof.power_cuts.disk import Sync
from tests.proof.power_cuts.operations import OPERATIONS
from tests.proof.power_cuts.recording import Recorder
from tests.proof.power_cuts.verdict import Case
from tests.proof.world import MEMORY, make_sources

_SAMPLES = 60


def main(names: list[str]) -> None:
    """Prints a line for each operation, and one for each sync that is not missed."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        sources = Path(folder) / "sources"
        sources.mkdir()
        make_sources(sources)
        recorder = Recorder(sources, Path(folder) / "place")
        for name in names:
            case = Case(name, recorder, sources)
            recording = case.recording
            idle = [n for n in recording.syncs if not case.is_missed(n, _SAMPLES, random.Random(n))]
            print(f"{name}: {case.steps} steps, {len(recording.syncs)} syncs, {len(idle)} not missed;"
                  f" {case.looked_at} states", flush=True)  # fmt: skip
            for number in idle:
                step = recording.steps[number]
                assert isinstance(step, Sync)
                print(f"    {number}: {recording.path(step.node) or '/'}")
        recorder.close()


if __name__ == "__main__":
    main(sys.argv[1:] or list(OPERATIONS))
