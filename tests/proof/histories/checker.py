"""The checker of histories: is there an order of the operations that explains every result?

A history is linearizable (Herlihy and Wing, 1990) if its operations can be put into an order in which each one that had
ended before another began stands before it, and in which a sequential model gives each the result that it had. The
search is that of Wing and Gong (1993) with the memory of Lowe (2017): a set of operations that were put into order and
the state of the model after them are looked at once.

What is documented to be no single step, such as the listing of a store, is told as several events with the times of
the whole: then each part is a value that stood at some moment meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple


@dataclass(frozen=True)
class Event:
    """An operation of a process: what was asked, what it gave, and when (nanoseconds of the processes' common clock).

    `result` is a value, or the name of an error's class after `!`.
    """

    process: int
    kind: str
    arguments: tuple[Hashable, ...]
    result: Hashable
    called: int
    returned: int
    number: int = 0
    """Which event of the history it is: what an operation makes can be named by it, whatever the order is."""
    during: frozenset[str] = field(default=frozenset(), compare=False)
    """The kinds of other processes' operations that were going on meanwhile."""
    note: str = field(default="", compare=False)
    """What a reader of the history should know: the message of an error."""

    @property
    def failed(self) -> str | None:
        """The class of the error that it gave, or None."""
        return self.result[1:] if isinstance(self.result, str) and self.result.startswith("!") else None


Step = Callable[[Hashable, Event], Iterable[Hashable]]
"""The states in which a model can be after an event with its result; none if it cannot have that result."""


class Verdict(NamedTuple):
    """What the search found."""

    order: list[Event] | None
    """An order that explains all, or None."""
    states: int
    """How many pairs of a set of events and a state were looked at."""
    furthest: list[Event]
    """The longest beginning of an order that was found; all of it where there is one."""
    stuck: list[tuple[Hashable, list[Event]]]
    """After such beginnings: the state of the model, and the events that could come next, none of which it explains."""


class SearchLimitError(Exception):
    """A history is too long to be searched."""


def numbered(events: Iterable[Event]) -> list[Event]:
    """The events by the time of their call, each with its number and what went on meanwhile."""
    ordered = sorted(events, key=lambda event: (event.called, event.returned))
    return [
        replace(
            event,
            number=number,
            during=frozenset(
                other.kind
                for other in ordered
                if other.process != event.process and other.called <= event.returned and event.called <= other.returned
            ),
        )
        for number, event in enumerate(ordered)
    ]


def explain(events: Iterable[Event], start: Hashable, step: Step, *, most_states: int = 2_000_000) -> Verdict:
    """Looks for an order of the events that explains each result.

    Args:
        events: the whole history, in any order.
        start: the state of the model before them.
        step: the model.
        most_states: after so many states the search gives up.

    Raises:
        SearchLimitError: it did.
    """
    history = numbered(events)
    everything = (1 << len(history)) - 1
    seen: set[tuple[int, Hashable]] = {(0, start)}
    # Each level: what is in order so far, the state, and the ways to go on that were not tried yet.
    path: list[int] = []
    levels = [(0, start, _ways(history, 0, start, step))]
    best: list[int] = []
    stuck: list[tuple[int, Hashable]] = []
    while levels:
        done, state, ways = levels[-1]
        if done == everything:
            order = [history[index] for index in path]
            return Verdict(order, len(seen), order, [])
        if not ways:
            if len(path) > len(best):
                best, stuck = path.copy(), []
            if len(path) == len(best) and len(stuck) < 8:
                stuck.append((done, state))
            levels.pop()
            if path:
                path.pop()
            continue
        index, after = ways.pop()
        key = (done | 1 << index, after)
        if key in seen:
            continue
        if len(seen) >= most_states:
            raise SearchLimitError(f"{len(history)} events: no order found within {most_states} states")
        seen.add(key)
        path.append(index)
        levels.append((*key, _ways(history, *key, step)))
    nexts = [(state, [history[index] for index in _next(history, done)]) for done, state in stuck]
    return Verdict(None, len(seen), [history[index] for index in best], nexts)


def _next(history: Sequence[Event], done: int) -> list[int]:
    """The events that may come next: those that were called before any other that is left had ended."""
    found: list[int] = []
    end: int | None = None
    for index, event in enumerate(history):
        if done >> index & 1:
            continue
        if end is not None and event.called > end:
            break
        found.append(index)
        end = event.returned if end is None else min(end, event.returned)
    return found


def _ways(history: Sequence[Event], done: int, state: Hashable, step: Step) -> list[tuple[int, Hashable]]:
    """The events that may come next with the states after them, the one that returned first at the end."""
    ways = [
        (history[index].returned, index, after)
        for index in _next(history, done)
        for after in step(state, history[index])
    ]
    ways.sort(key=lambda way: way[:2], reverse=True)
    return [(index, after) for _, index, after in ways]


def parts(events: Iterable[Event], key: Callable[[Event], Hashable]) -> dict[Hashable, list[Event]]:
    """A history taken apart into those of independent things: the whole has an order if each part has one."""
    found: dict[Hashable, list[Event]] = {}
    for event in events:
        found.setdefault(key(event), []).append(event)
    return found
