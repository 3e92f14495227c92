"""Runs a scene again and again, or one round of it: see `--help`."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.proof.histories.checker import explain
from tests.proof.histories.run import Figures, memory_folder, run_rounds
from tests.proof.histories.scenes import SCENES
from tests.proof.histories.timeline import load, report


def main() -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.histories", description=__doc__)
    parser.add_argument("scene", nargs="?", choices=[*SCENES, "all"], default="all")
    parser.add_argument("--seed", type=int, help="of the first round (default: a random one)")
    parser.add_argument("--rounds", type=int, help="how many (default: one with --seed)")
    parser.add_argument("--minutes", type=float, help="how long")
    parser.add_argument("--again", type=Path, metavar="FILE", help="look at a saved history once more")
    parser.add_argument("--keep-going", action="store_true", help="do not end at the first history without an order")
    parser.add_argument("--save", type=Path, default=Path(tempfile.gettempdir()) / "wclayer-histories")
    options = parser.parse_args()
    if options.again is not None:
        return look_again(options.again)
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    rounds = options.rounds or (None if options.minutes else 1)
    end = time.monotonic() + 60 * options.minutes if options.minutes else None
    figures = Figures()
    names = list(SCENES) if options.scene == "all" else [options.scene]
    count = 0
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        while (rounds is None or count < rounds) and (end is None or time.monotonic() < end):
            for name in names:
                failed = run_rounds(name, seed + count, 1, Path(folder), options.save, figures)
                if failed is not None:
                    print(report(failed), flush=True)
                    if not options.keep_going:
                        print(figures)
                        return 1
            count += 1
    print(figures)
    return 1 if figures.failed else 0


def look_again(path: Path) -> int:
    """Searches a saved history for an order, and prints it."""
    done = load(path)
    print(report(done))
    scene = SCENES[done.scene]()
    verdict = explain(done.unexplained or done.events, scene.start(), scene.step)
    print("There is an order now." if verdict.order is not None else "There is no order.")
    return 0 if verdict.order is not None else 1


if __name__ == "__main__":
    sys.exit(main())
