"""A tree that is known as a whole: an inventory, the documents of an image, what is waste."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from wclayer.explore.model.details import Fact, FactKind, warning
from wclayer.explore.model.marks import Mark


def _nothing() -> Sequence[Fact]:
    return ()


@dataclass(slots=True, eq=False)
class OutlineItem:
    """An item of an outline.

    Attributes:
        title: what it is.
        note: a short text before it, such as a size or a version.
        tell: returns what the detail pane shows of it.
        children: what is below it.
        weight: the number by which the largest come first.
        path: the path that is copied; "" for none.
        mark: what happened to it, if the outline tells what differs.
        identity: what it is known by; no other item of the outline has it.
    """

    title: str
    note: str = ""
    tell: Callable[[], Sequence[Fact]] = _nothing
    children: Sequence[OutlineItem] = ()
    weight: int = 0
    path: str = ""
    mark: Mark = Mark.SAME
    identity: str = field(default="")

    @property
    def is_directory(self) -> bool:
        """Whether something is below it."""
        return bool(self.children)


def facts_outline(facts: Sequence[Fact], title: str) -> Sequence[OutlineItem]:
    """Returns facts as an outline: those below each heading are below an item.

    Args:
        facts: the facts.
        title: the title of those before the first heading.
    """
    groups: list[OutlineItem] = [OutlineItem(title, children=[])]
    for fact in facts:
        if fact.kind is FactKind.HEADING:
            groups.append(OutlineItem(fact.text, children=[]))
            continue
        note = f"{fact.label}:" if fact.label else ""
        item = OutlineItem(fact.text, note=note, tell=partial(_one, fact), path=fact.text)
        groups[-1].children = [*groups[-1].children, item]
    return [group for group in groups if group.children]


def warning_item(text: str) -> OutlineItem:
    """Returns what is wrong as an item."""
    return OutlineItem(text, tell=lambda: [warning(text)])


def _one(fact: Fact) -> Sequence[Fact]:
    return (fact,)


def with_identities(items: Sequence[OutlineItem]) -> Sequence[OutlineItem]:
    """Gives each item of an outline, and all below it, its identity: its place."""
    pending = [(str(number), item) for number, item in enumerate(items)]
    while pending:
        place, item = pending.pop()
        item.identity = place
        pending += [(f"{place}.{number}", child) for number, child in enumerate(item.children)]
    return items


def walk(items: Sequence[OutlineItem]) -> Iterator[OutlineItem]:
    """Yields all items of an outline, each before those below it."""
    pending = list(reversed(items))
    while pending:
        item = pending.pop()
        yield item
        pending += reversed(item.children)


def matches(item: OutlineItem, words: Sequence[str], tell: Callable[[OutlineItem], Sequence[Fact]]) -> bool:
    """Returns whether an item, or what is known of it, has all words.

    Args:
        item: the item.
        words: the words, in lower case.
        tell: returns what is known of an item.
    """
    text = f"{item.title} {item.note}".casefold()
    if all(word in text for word in words):
        return True
    text = " ".join((text, *(fact.text.casefold() for fact in tell(item))))
    return all(word in text for word in words)
