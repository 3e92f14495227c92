"""The explorer, which also writes `ANSWERED` to its terminal when the answer to a key is on the screen.

    python -m benchmarks.explore_program explore IMAGE

It is the command otherwise. `benchmarks.explore` presses its keys: what is written after a key may also tell what a
thread has found in the meantime, so that alone is no answer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from textual import events
from textual.dom import DOMNode
from textual.message_pump import MessagePump

from wclayer.cli.main import main
from wclayer.explore import running
from wclayer.explore.app import ExploreApp

ANSWERED = "\x1b]777;answered\x1b\\"
"""An operating system command (OSC) that no terminal shows."""


class _TellingApp(ExploreApp):
    """The explorer that writes the mark."""

    async def on_event(self, event: events.Event) -> None:
        is_pressed = isinstance(event, events.Key) and not event.is_forwarded
        await super().on_event(event)
        if is_pressed:
            # The first way up follows the key, the second one what the key has sent: a widget tells those above it.
            again = partial(self._climb, None, lambda: self.call_after_refresh(self._answered))
            self._climb(None, again)

    def _climb(self, node: DOMNode | None, then: Callable[[], object]) -> None:
        """Does something after all that is in the queues of a node, by default the one with the focus, and of those
        above it."""
        if node is None:
            node = self.focused or self.screen
        above: MessagePump | None = node.parent
        node.call_later(partial(self._climb, above, then) if isinstance(above, DOMNode) else then)

    def _answered(self) -> None:
        assert self._driver is not None
        self._driver.write(ANSWERED)


if __name__ == "__main__":
    running.ExploreApp = _TellingApp  # type: ignore[attr-defined]
    main()
