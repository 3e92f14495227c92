"""The command: `python -m fuzz`."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path

import fuzz

_CORPUS_BYTES = 40 << 10
"""The most bytes of a target's corpus in the repository."""


def main() -> int:
    """Runs the command; returns its exit status: 1 if there are finds."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description=fuzz.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", nargs="*", help="names of targets, and files to run them on")
    parser.add_argument("--all", action="store_true", help="all targets")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long all of it takes (default: 60)")
    parser.add_argument("--hours", type=float, help="the same in hours")
    parser.add_argument("--jobs", type=int, default=1, help="how many targets run at once (default: 1)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="print the names of the targets")
    what.add_argument("--replay", action="store_true", help="run the corpus and the finds in the repository")
    what.add_argument("--minimise", action="store_true", help="make the corpus in the repository anew")
    what.add_argument("--coverage", action="store_true", help="print the share of lines reached, by module")
    options = parser.parse_args()
    files = [Path(word) for word in options.target if Path(word).is_file()]
    names = [word for word in options.target if Path(word) not in files]
    if not (names or options.all or options.list):
        parser.error("name a target, or say --all; --list prints the names")
    if options.list:
        print("\n".join(_names([], is_all=True)))
        return 0
    if options.coverage:
        from fuzz.coverage import lines_reached

        print("\n".join(lines_reached(None if options.all else names)))
        return 0
    if files or options.replay:
        return _replay(_names(names, is_all=options.all), files)

    from fuzz.instrument import load

    atheris = load()
    from fuzz import search

    names = _names(names, is_all=options.all)
    if options.minimise:
        for name in names:
            inputs, features = search.minimise(atheris, name, max_bytes=_CORPUS_BYTES)
            print(f"{name}: {inputs} inputs reach {features} features", flush=True)
        return 0
    seconds = options.seconds if options.hours is None else options.hours * 3600
    results = search.search(atheris, names, until=started + seconds, jobs=options.jobs)
    print("\n".join(search.table(results)))
    return 1 if any(result.finds for result in results) else 0


def _names(names: list[str], *, is_all: bool) -> list[str]:
    from fuzz.targets import TARGETS

    if unknown := [name for name in names if name not in TARGETS]:
        raise SystemExit(f"fuzz: no target has the name {unknown[0]}; --list prints the names")
    return sorted(TARGETS) if is_all else names


def _replay(names: list[str], files: list[Path]) -> int:
    """Runs targets on files, or on all that the repository has for them."""
    from fuzz import corpus

    status = 0
    for name in names:
        count = 0
        for place, data in ((str(file), file.read_bytes()) for file in files) if files else corpus.inputs(name):
            count += 1
            try:
                corpus.run(name, place, data)
            except corpus.FindError:
                traceback.print_exc()
                status = 1
        print(f"{name}: {count} inputs", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
