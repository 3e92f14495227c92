"""How many lines of each module the inputs of the corpus reach, by coverage.py."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path


def lines_reached(names: Iterable[str] | None) -> list[str]:
    """Runs targets on all inputs that are known, and says what share of the lines of each module was run.

    Args:
        names: the targets, all without.

    Raises:
        SystemExit: coverage.py is not installed.
    """
    try:
        import coverage
    except ImportError:
        raise SystemExit("fuzz: the coverage needs coverage.py: pip install -e '.[fuzz]'") from None
    measure = coverage.Coverage(source_pkgs=["wclayer"], data_file=None, concurrency=["thread"])
    measure.start()
    try:
        from fuzz import corpus
        from fuzz.targets import TARGETS

        for name in names or TARGETS:
            found = ((str(file), file.read_bytes()) for file in corpus.files(corpus.found(name)))
            for place, data in chain(corpus.inputs(name), found):
                # Whether it is a find is not asked here.
                with contextlib.suppress(corpus.FindError):
                    corpus.run(name, place, data)
    finally:
        measure.stop()
    import wclayer

    root = Path(wclayer.__file__).parent
    rows = []
    for file in sorted(root.rglob("*.py")):
        _, statements, _, missing, _ = measure.analysis2(str(file))
        if statements:
            rows.append((str(file.relative_to(root)), len(statements), len(statements) - len(missing)))
    rows.append(("total", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    return [
        f"{name:<44} {reached:>6} of {all_lines:>6} lines  {reached / all_lines:>5.0%}"
        for name, all_lines, reached in rows
    ]
