"""Wildcards in the sources of COPY and ADD: `*`, `?` and `[…]` in one component of a path, as Docker has them.

The rules are those that Go documents for `filepath.Match`. A backslash separates components, as on Windows, and so it
escapes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


class WildcardError(ValueError):
    """A pattern is not well-formed; the message says why."""


@dataclass(frozen=True, slots=True)
class _Letter:
    """One letter of a pattern: any of these ranges, or with `is_negated` none of them."""

    ranges: tuple[tuple[str, str], ...]
    is_negated: bool = False

    def accepts(self, letter: str) -> bool:
        return any(first <= letter <= last for first, last in self.ranges) != self.is_negated


_ANY = _Letter((), is_negated=True)
Pattern = tuple[_Letter | None, ...]
"""The letters of a pattern; None stands for `*`."""


def has_wildcards(component: str) -> bool:
    """Returns whether a component of a path is a pattern."""
    return any(letter in "*?[" for letter in component)


def parse_wildcards(component: str) -> Pattern:
    """Returns the pattern that a component of a path is.

    Raises:
        WildcardError: a bracket is not closed, or a range in it is empty or has no end.
    """
    found: list[_Letter | None] = []
    at = 0
    while at < len(component):
        letter = component[at]
        at += 1
        if letter == "*":
            found.append(None)
        elif letter == "?":
            found.append(_ANY)
        elif letter == "[":
            inside, at = _bracket(component, at)
            found.append(inside)
        else:
            found.append(_Letter(((letter, letter),)))
    return tuple(found)


def _bracket(component: str, at: int) -> tuple[_Letter, int]:
    """Returns the bracket that is open before `at`, and the position after its end."""
    is_negated = component[at : at + 1] == "^"
    at += is_negated
    ranges: list[tuple[str, str]] = []
    while True:
        if at >= len(component):
            raise WildcardError(f"the bracket in {component!r} is not closed")
        first = last = component[at]
        if first == "]" and ranges:
            return _Letter(tuple(ranges), is_negated), at + 1
        if first in "-]":
            raise WildcardError(f"{first!r} in the bracket of {component!r} is not a letter or a range such as a-z")
        at += 1
        if component[at : at + 1] == "-":
            last = component[at + 1 : at + 2]
            if last in ("", "-", "]") or last < first:
                raise WildcardError(f"the range after {first!r} in {component!r} is empty or has no end")
            at += 2
        ranges.append((first, last))


def matches(pattern: Pattern, name: str) -> bool:
    """Returns whether a name matches a pattern. The time is at most the product of their lengths."""
    at = star_at = 0
    step, after_star = 0, -1
    while at < len(name):
        part = pattern[step] if step < len(pattern) else _END
        if part is None:
            step += 1
            star_at, after_star = at, step
        elif part.accepts(name[at]):
            at += 1
            step += 1
        elif after_star >= 0:
            # The last `*` takes one letter more; earlier ones need not, as what follows them has matched.
            star_at += 1
            at, step = star_at, after_star
        else:
            return False
    return all(part is None for part in pattern[step:])


_END = _Letter(())
"""Accepts no letter: the end of a pattern."""
