"""The checker itself: what has an order is accepted, what has none is refused."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proof.histories.checker import Event, SearchLimitError, explain, parts
from tests.proof.histories.stress import Round
from tests.proof.histories.timeline import load, report, save, timeline
from tests.proof.histories.tree import MountScene

pytestmark = pytest.mark.histories


def register(state: Hashable, event: Event) -> Iterator[Hashable]:
    """The model of one value that is written, read, and changed if it is what one expects."""
    if event.kind == "write":
        yield event.arguments[0]
    elif event.kind == "read" and event.result == state:
        yield state
    elif event.kind == "swap":
        old, new = event.arguments
        if event.result is (state == old):
            yield new if state == old else state


def call(process: int, kind: str, argument: Hashable, result: Hashable, called: int, returned: int) -> Event:
    arguments = argument if isinstance(argument, tuple) else () if argument is None else (argument,)
    return Event(process, kind, arguments, result, called, returned)


def has_order(*events: Event) -> bool:
    return explain(events, 0, register).order is not None


def test_what_follows_each_other_is_seen() -> None:
    assert has_order(call(1, "write", 1, "ok", 0, 1), call(2, "read", None, 1, 2, 3))


def test_a_value_that_was_there_before_is_stale_when_its_change_had_ended() -> None:
    assert not has_order(call(1, "write", 1, "ok", 0, 1), call(2, "read", None, 0, 2, 3))


def test_while_a_change_goes_on_the_old_value_and_the_new_one_may_be_seen() -> None:
    write = call(1, "write", 1, "ok", 0, 10)
    assert has_order(write, call(2, "read", None, 0, 2, 3), call(2, "read", None, 1, 4, 5))
    assert has_order(write, call(2, "read", None, 1, 2, 3), call(2, "read", None, 1, 4, 5))


def test_nobody_sees_the_old_value_after_anybody_saw_the_new_one() -> None:
    write = call(1, "write", 1, "ok", 0, 10)
    assert not has_order(write, call(2, "read", None, 1, 2, 3), call(3, "read", None, 0, 4, 5))


def test_of_two_changes_at_once_all_see_the_same_order() -> None:
    writes = call(1, "write", 1, "ok", 0, 5), call(2, "write", 2, "ok", 0, 5)
    assert has_order(*writes, call(3, "read", None, 1, 6, 7), call(4, "read", None, 1, 8, 9))
    assert not has_order(*writes, call(3, "read", None, 1, 6, 7), call(4, "read", None, 2, 8, 9))


def test_an_update_that_another_overwrote_has_no_order() -> None:
    # Both say that they found 0.
    assert not has_order(call(1, "swap", (0, 1), True, 0, 5), call(2, "swap", (0, 2), True, 1, 6))
    assert has_order(call(1, "swap", (0, 1), True, 0, 5), call(2, "swap", (0, 2), False, 1, 6))


def test_a_value_that_nobody_wrote_has_no_order() -> None:
    assert not has_order(call(1, "write", 1, "ok", 0, 9), call(2, "read", None, 7, 1, 2))


def test_times_that_meet_are_at_once() -> None:
    assert has_order(call(1, "write", 1, "ok", 0, 5), call(2, "read", None, 0, 5, 6))


def test_a_model_may_leave_open_what_happened() -> None:
    def toss(state: Hashable, event: Event) -> Iterator[Hashable]:
        yield from (("head", "tail") if event.kind == "toss" else (state,) if event.result == state else ())

    tossed = call(1, "toss", None, "ok", 0, 1)
    for side in ("head", "tail"):
        assert explain([tossed, call(2, "look", None, side, 2, 3)], None, toss).order is not None
    both = [tossed, call(2, "look", None, "head", 2, 3), call(2, "look", None, "tail", 4, 5)]
    assert explain(both, None, toss).order is None


def test_the_verdict_says_where_it_ends() -> None:
    verdict = explain([call(1, "write", 1, "ok", 0, 1), call(2, "read", None, 0, 2, 3)], 0, register)
    assert [event.kind for event in verdict.furthest] == ["write"]
    assert [(state, [event.kind for event in nexts]) for state, nexts in verdict.stuck] == [(1, ["read"])]


def test_an_event_knows_what_went_on_meanwhile() -> None:
    order = explain([call(1, "write", 1, "ok", 0, 5), call(2, "read", None, 1, 3, 9)], 0, register).order
    assert order is not None
    assert [sorted(event.during) for event in order] == [["read"], ["write"]]


def test_a_search_that_is_too_long_ends() -> None:
    events = [call(process, "write", process, "ok", 0, 100) for process in range(12)]
    with pytest.raises(SearchLimitError):
        explain([*events, call(99, "read", None, -1, 101, 102)], 0, register, most_states=1000)


def test_a_set_of_events_and_a_state_are_looked_at_once() -> None:
    # 10 writes of one value have 10! orders, and 2**10 sets.
    events = [call(process, "write", 1, "ok", 0, 100) for process in range(10)]
    verdict = explain([*events, call(99, "read", None, 0, 101, 102)], 0, register)
    assert verdict.order is None
    assert verdict.states <= 2**10 + 1


# Any sequential run, its times stretched.

_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 3)),
        st.tuples(st.just("read"), st.none()),
        st.tuples(st.just("swap"), st.tuples(st.integers(0, 3), st.integers(0, 3))),
    ),
    min_size=1,
    max_size=14,
)


def run(steps: list[tuple[str, Hashable]], seed: int) -> list[Event]:
    """The history of steps that happen one after the other, each at a moment between its call and its return, by
    processes that take one step at a time."""
    rng = random.Random(seed)
    value: Hashable = 0
    events = []
    free = [0] * 4
    for number, (kind, argument) in enumerate(steps):
        moment = (number + 1) * 100
        process = rng.choice([process for process in range(4) if free[process] < moment] or [0])
        called = rng.randrange(free[process], moment + 1) if free[process] < moment else moment
        returned = moment + rng.randrange(350)
        free[process] = returned + 1
        result: Hashable = "ok"
        if kind == "write":
            value = argument
        elif kind == "read":
            result = value
        else:
            assert isinstance(argument, tuple)
            result = value == argument[0]
            value = argument[1] if result else value
        events.append(call(process, kind, argument, result, called, returned))
    rng.shuffle(events)
    return events


@given(_STEPS, st.integers())
def test_every_run_that_has_an_order_is_accepted(steps: list[tuple[str, Hashable]], seed: int) -> None:
    events = run(steps, seed)
    verdict = explain(events, 0, register)
    assert verdict.order is not None
    assert len(verdict.order) == len(events)
    for number, event in enumerate(verdict.order):
        assert all(event.called <= later.returned for later in verdict.order[number:])


@given(_STEPS, st.integers(), st.data())
def test_a_result_that_no_value_explains_is_refused(
    steps: list[tuple[str, Hashable]], seed: int, data: st.DataObject
) -> None:
    events = run([*steps, ("read", None)], seed)
    index = data.draw(st.sampled_from([n for n, event in enumerate(events) if event.kind == "read"]))
    event = events[index]
    # No write has this value.
    events[index] = call(event.process, "read", None, 99, event.called, event.returned)
    assert explain(events, 0, register).order is None


@given(_STEPS, st.integers())
def test_a_lost_update_is_refused(steps: list[tuple[str, Hashable]], seed: int) -> None:
    """Everything ends; then one writes a new value, which a later reader does not see."""
    events = run(steps, seed)
    end = max(event.returned for event in events)
    lost = call(1, "write", 99, "ok", end + 1, end + 2)
    stale = call(2, "read", None, 1, end + 3, end + 4)
    assert explain([*events, lost, stale], 0, register).order is None


@given(_STEPS, _STEPS, st.integers())
def test_independent_parts_are_looked_at_by_themselves(
    one: list[tuple[str, Hashable]], other: list[tuple[str, Hashable]], seed: int
) -> None:
    first, second = run(one, seed), run(other, seed + 1)
    found = parts([*first, *second], lambda event: event in first)
    assert sum(map(len, found.values())) == len(first) + len(second)
    assert all(explain(part, 0, register).order is not None for part in found.values() if part in (first, second))


# What people see.


def test_a_timeline_has_a_line_for_each_event() -> None:
    lines = timeline([call(1, "write", 1, "ok", 0, 5000), call(2, "read", None, 0, 3000, 9000)]).splitlines()
    assert len(lines) == 2
    assert "P1 write(1) -> 'ok'" in lines[0]
    assert "P2 read() -> 0" in lines[1]


def test_a_failed_round_is_kept_and_says_how_to_run_it_again(tmp_path: Path) -> None:
    events = [call(1, "write", 1, "ok", 0, 1), call(2, "read", None, 0, 2, 3)]
    verdict = explain(events, 0, register)
    done = Round(
        "scratch", 42, events, ["no order"], verdict.states, events, furthest=verdict.furthest, stuck=verdict.stuck
    )
    path = save(done, tmp_path)
    assert load(path) == done
    assert "python -m tests.proof.histories scratch --seed 42" in report(done)
    assert path.with_suffix(".txt").read_text() == report(done)


def mount_has_order(*events: Event) -> bool:
    """Whether the model of a mount explains events; at first, it has `p` and `d/l`, which are one file of 20 bytes."""
    return explain(events, MountScene().start(), MountScene.step).order is not None


def test_a_listing_of_a_mount_has_each_name_once() -> None:
    listing = call(0, "listing", "d", ("a", "l", "l"), 0, 10)
    assert mount_has_order(call(0, "listing", "d", ("a", "l"), 0, 10))
    assert not mount_has_order(listing)
    # What others do meanwhile is no excuse: it is of one moment.
    remove, make = call(1, "unlink", "d/l", "ok", 1, 2), call(1, "link", ("d/l", "p"), "ok", 3, 4)
    for names, expected in ((("a", "l"), True), (("a",), True), (("a", "l", "l"), False), (("l",), False)):
        assert mount_has_order(call(0, "listing", "d", names, 0, 10), remove, make) == expected


def test_who_finds_a_file_of_a_mount_by_a_name_may_see_that_it_lost_it() -> None:
    unlink = call(0, "unlink", "p", "ok", 0, 5)
    for result, expected in (
        ((20, False, 2, None), True),
        ((20, False, 1, None), True),
        ((21, False, 1, None), False),
        ((20, False, 3, None), False),
        ("!PathNotFoundError", True),
    ):
        assert mount_has_order(unlink, call(1, "stat", "p", result, 1, 6)) == expected
    # After the name is gone, nobody finds the file by it.
    assert not mount_has_order(unlink, call(1, "stat", "p", (20, False, 1, None), 6, 7))


def test_who_finds_a_file_of_a_mount_by_a_name_may_change_it_after_it_lost_it() -> None:
    unlink = call(0, "unlink", "p", "ok", 0, 5)
    truncate = call(1, "truncate", ("p", 3), "ok", 1, 20)
    before, after = call(0, "read", "d/l", b"p" * 20, 6, 7), call(0, "read", "d/l", b"ppp", 21, 22)
    assert mount_has_order(unlink, truncate, before, after)
    assert not mount_has_order(unlink, call(1, "truncate", ("p", 3), "ok", 6, 20), before, after)
    assert not mount_has_order(unlink, truncate, before, call(0, "read", "d/l", b"p" * 20, 21, 22))
    # A file that is under the name by now, and all others, are as they were.
    moved = call(0, "rename", ("a", "p"), "ok", 0, 5)
    assert mount_has_order(moved, truncate, before, after, call(0, "read", "p", b"a" * 20, 23, 24))
