"""Joins what is known of an entry before and after: what is the same once, what differs with both values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from wclayer.explore.model.details import Fact, FactKind, heading

WAS = "was"
"""The label of a value that was replaced."""


def both_sides(old: Iterable[Fact], new: Iterable[Fact]) -> list[Fact]:
    """Returns the facts of two sides as one text.

    Facts of the same label under the same heading are compared. One that both have is there once. One that differs has
    the mark `~`, and its old text below it; one of the new side alone has `+`, one of the old side alone `-`.

    Args:
        old: the facts of the first side.
        new: those of the second side, in whose order the result is.
    """
    before, after = _sections(old), _sections(new)
    found: list[Fact] = []
    for title in dict.fromkeys((*after, *before)):
        if title:
            found.append(heading(title))
        found += _section(before.get(title, []), after.get(title, []))
    return found


def _sections(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    """Returns facts by the headings above them; those above the first one by ""."""
    sections: dict[str, list[Fact]] = {}
    title = ""
    for fact in facts:
        if fact.kind is FactKind.HEADING:
            title = fact.text
        sections.setdefault(title, [])
        if fact.kind is not FactKind.HEADING:
            sections[title].append(fact)
    return sections


def _section(old: list[Fact], new: list[Fact]) -> Iterable[Fact]:
    # A label may stand before several facts. Those with the same text are the same; the others follow one another.
    left: dict[Fact, int] = defaultdict(int)
    for fact in old:
        left[fact] += 1
    is_kept = [_taken(left, fact) for fact in new]
    rest: dict[tuple[str, FactKind], list[Fact]] = defaultdict(list)
    for fact in reversed(old):
        if _taken(left, fact):
            rest[fact.label, fact.kind].append(fact)
    for fact, kept in zip(new, is_kept, strict=True):
        if kept:
            yield fact
        elif fact.label and rest[fact.label, fact.kind]:
            yield Fact(fact.text, f"~ {fact.label}", FactKind.CHANGED)
            yield Fact(rest[fact.label, fact.kind].pop().text, WAS)
        else:
            yield _alone(fact, "+", FactKind.ADDED)
    for facts in rest.values():
        yield from (_alone(fact, "-", FactKind.REMOVED) for fact in reversed(facts))


def _taken(left: dict[Fact, int], fact: Fact) -> bool:
    """Returns whether a fact is among those that are left, and takes it away."""
    if not left[fact]:
        return False
    left[fact] -= 1
    return True


def _alone(fact: Fact, mark: str, kind: FactKind) -> Fact:
    """Returns a fact that only one side has."""
    if fact.label:
        return Fact(fact.text, f"{mark} {fact.label}", kind)
    return Fact(f"{mark} {fact.text}", kind=kind)
