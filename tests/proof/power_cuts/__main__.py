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
            of_files: dict[str, list[int]] = {}
            for number in recording.syncs:
                step = recording.steps[number]
                assert isinstance(step, Sync)
                of_files.setdefault(recording.path(step.node) or "/", []).append(number)
            idle = {n for n in recording.syncs if not case.are_missed([n], _SAMPLES, random.Random(n))}
            print(f"{name}: {case.steps} steps, {len(recording.syncs)} syncs, {len(idle)} not missed", flush=True)
            for path, syncs in of_files.items():
                if not idle.isdisjoint(syncs):
                    needed = case.are_missed(syncs, _SAMPLES, random.Random(path)) if len(syncs) > 1 else False
                    which = " ".join(str(number) for number in syncs if number in idle)
                    print(f"    {path}: {which}{': one of them, or another of its syncs, is' if needed else ''}")
            print(f"    {case.looked_at} states looked at", flush=True)
        recorder.close()


if __name__ == "__main__":
    main(sys.argv[1:] or list(OPERATIONS))
