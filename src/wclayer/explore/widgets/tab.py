"""What each tab has in common: it is loaded when it is shown, is searched, and tells of what is chosen in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from wclayer.explore.model.details import Fact


@dataclass(frozen=True, slots=True)
class Details:
    """What the detail pane shows.

    Attributes:
        title: the title.
        facts: what is known.
    """

    title: str
    facts: Sequence[Fact]


class Tab(Protocol):
    """A tab: a pane."""

    def show(self) -> None:
        """Begins to load what is not loaded, or is out of date, because the tab is shown now."""

    def view_changed(self) -> None:
        """Takes note that other layers are to be shown."""

    async def details(self) -> Details | None:
        """Returns what is known of what is chosen; None if nothing is."""

    def copied(self) -> str:
        """Returns the text that is copied to the clipboard; "" for none."""

    def search(self, text: str) -> None:
        """Searches for a text; the empty one ends the search.

        Raises:
            InvalidParameterError: the text asks for what is not there.
        """

    def tick(self) -> None:
        """Shows what has become known in the meantime; called several times a second."""

    def stop(self) -> None:
        """Makes what is done in threads end soon."""
