"""Runs a fuzz target: guided by coverage where `atheris` is installed, else with random mutations of its seeds."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import random
import sys
import time
from pathlib import Path

from fuzz.targets import TARGETS, Target


def run(target: Target, data: bytes) -> None:
    """Once; an error that is allowed is none."""
    with contextlib.suppress(target.allowed):
        target.run(data)


def mutate(data: bytes, source: random.Random) -> bytes:
    """The data with a few bytes changed, inserted, removed or repeated."""
    out = bytearray(data)
    for _ in range(source.choice((1, 1, 1, 2, 4, 16))):
        at = source.randrange(len(out) + 1)
        kind = source.randrange(5)
        if kind == 0 and at < len(out):
            out[at] = source.randrange(256)
        elif kind == 1 and at < len(out):
            out[at] ^= 1 << source.randrange(8)
        elif kind == 2:
            del out[at : at + source.choice((1, 2, 8, 512))]
        elif kind == 3:
            out[at:at] = source.choice((b"\0", b"\xff" * 4, b"../", source.randbytes(4)))
        else:
            end = at + source.choice((1, 8, 512))
            out[at:at] = out[at:end]
    return bytes(out)


def main() -> None:
    parser = argparse.ArgumentParser(prog="fuzz", description=sys.modules["fuzz"].__doc__)
    parser.add_argument("target", nargs="?", choices=sorted(TARGETS))
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--list", action="store_true", help="print the targets' names")
    parser.add_argument("--seconds", type=float, default=None, help="how long (default: 10, without --runs)")
    parser.add_argument("--runs", type=int, default=None, help="how many inputs")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the random mutations; with --runs, the same each time"
    )
    options = parser.parse_args()
    if options.list or options.target is None:
        print("\n".join(sorted(TARGETS)))
        return
    target = TARGETS[options.target]
    if options.files:
        for file in options.files:
            run(target, file.read_bytes())
        return
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        seconds = options.seconds or (None if options.runs else 10)
        _random(options.target, target, seconds, options.runs, options.seed)
        return
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-max_total_time={int(options.seconds or 10)}"], lambda data: run(target, data))
    atheris.Fuzz()


def _random(name: str, target: Target, seconds: float | None, runs: int | None, seed: int | None) -> None:
    number = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    source = random.Random(number)
    seeds = target.seeds()
    end = None if seconds is None else time.monotonic() + seconds
    count = 0
    while (end is None or time.monotonic() < end) and count != runs:
        data = mutate(source.choice(seeds), source)
        try:
            run(target, data)
        except BaseException:
            failure = Path(f"{name}.failure")
            failure.write_bytes(data)
            print(f"{name}: failed with seed {number}; the input is in {failure}", file=sys.stderr)
            raise
        count += 1
    print(f"{name}: {count} inputs, seed {number}")


if __name__ == "__main__":
    main()
