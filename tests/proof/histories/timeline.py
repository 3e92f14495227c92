"""A history as a text that people read, and as a file that it can be looked at again from."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path

from tests.proof.histories.checker import Event
from tests.proof.histories.stress import Round

_WIDTH = 34


def _shown(event: Event) -> str:
    arguments = ", ".join(repr(argument) for argument in event.arguments)
    result = event.result if isinstance(event.result, str) and event.result.startswith("!") else repr(event.result)
    return f"{event.kind}({arguments}) -> {result}"


def timeline(events: Iterable[Event]) -> str:
    """One line for each operation by the time of its call: when it began and ended (microseconds), who did it, what it
    was and gave, and a bar that shows with which others it overlapped."""
    history = sorted(events, key=lambda event: (event.called, event.returned))
    if not history:
        return "(nothing)"
    first = history[0].called
    span = max(event.returned for event in history) - first or 1
    lines = []
    for event in history:
        start = (event.called - first) * _WIDTH // span
        end = (event.returned - first) * _WIDTH // span
        bar = " " * start + "#" * max(1, end - start)
        times = f"{(event.called - first) // 1000:>8}..{(event.returned - first) // 1000:<8}"
        lines.append(f"{event.number:>4} {times} |{bar:<{_WIDTH + 1}}| P{event.process} {_shown(event)}"[:220])
        if event.note:
            lines += [f"{'':>24}{line}" for line in event.note.splitlines()[-12:]]
    return "\n".join(lines)


def report(done: Round) -> str:
    """What is wrong with a round, and how to run it again."""
    lines = [f"scene {done.scene}, seed {done.seed}: {'; '.join(done.problems)}"]
    if done.unexplained:
        ordered = {event.number for event in done.furthest}
        lines += [
            "The longest beginning that has an order: " + " ".join(str(event.number) for event in done.furthest),
            "All that belongs together:",
            timeline(done.unexplained),
        ]
        for state, nexts in done.stuck[:3]:
            lines.append(f"Then the model is in the state {state!r},")
            lines += [f"    which does not explain {event.number}: {_shown(event)}" for event in nexts]
        lines.append(f"({len(ordered)} of {len(done.unexplained)} events have an order.)")
    else:
        lines += ["The history:", timeline(done.events)]
    lines.append(f"Again: python -m tests.proof.histories {done.scene} --seed {done.seed}")
    return "\n".join(lines)


def save(done: Round, folder: Path) -> Path:
    """Puts a round into a file of a folder; gives its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{done.scene}-{done.seed}.history"
    path.write_bytes(pickle.dumps(done))
    path.with_suffix(".txt").write_text(report(done))
    return path


def load(path: Path) -> Round:
    """A round from the file that `save` made of it."""
    found = pickle.loads(path.read_bytes())
    assert isinstance(found, Round)
    return found
