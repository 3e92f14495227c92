"""Rounds of scenes, one after the other, and the figures of all of them."""

from __future__ import annotations

import collections
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tests.proof.histories.scenes import SCENES
from tests.proof.histories.stress import Round, run_round
from tests.proof.histories.timeline import save


def memory_folder() -> str | None:
    """Where syncing costs nothing."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclass
class Figures:
    """How much was looked at."""

    histories: collections.Counter[str] = field(default_factory=collections.Counter)
    operations: collections.Counter[str] = field(default_factory=collections.Counter)
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    states: int = 0
    failed: int = 0

    def add(self, done: Round) -> None:
        self.histories[done.scene] += 1
        self.states += done.states
        self.failed += bool(done.problems)
        for event in done.events:
            self.operations[done.scene] += 1
            if event.failed:
                self.errors[event.failed] += 1

    def __str__(self) -> str:
        scenes = ", ".join(f"{name} {count} ({self.operations[name]})" for name, count in self.histories.items())
        errors = ", ".join(f"{name} {count}" for name, count in self.errors.most_common())
        return (
            f"{sum(self.histories.values())} histories (operations): {scenes}\n"
            f"{sum(self.operations.values())} operations, {self.states} states searched,"
            f" {self.failed} histories without an order\n"
            f"errors that have an order: {errors}"
        )


def run_rounds(name: str, seed: int, count: int, folder: Path, failures: Path, figures: Figures) -> Round | None:
    """Runs rounds of a scene with seeds from `seed` on; gives the first that fails, saved in `failures`."""
    for number in range(count):
        place = folder / name / str(seed + number)
        place.mkdir(parents=True)
        done = run_round(SCENES[name](), seed + number, place)
        figures.add(done)
        if done.problems:
            save(done, failures)
            return done
        shutil.rmtree(place)
    return None
