"""Handles what is typed and pasted one after the other: each by what has the focus after those before it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from textual import events
from textual.app import App

from wclayer.explore.widgets.jobs import start

_ROUNDS = 2
"""How often all that waits on the way of a key is handled before the next one: what a key asks for may ask for more, as
Enter in a line asks to close the question."""
_MOST = 0.5
"""Seconds that one widget may need; one that goes away may not answer."""


class Keyboard:
    """Holds back what is typed until what was typed before is done.

    Textual gives a key to the widget that has the focus when the key arrives. What it does, it does later: keys that
    arrive together would all go to the same widget, though the first of them opens a line in which one writes, or a
    question.

    Args:
        app: the program.
        handle: gives a key, or what is pasted, to the widget that has the focus.
    """

    def __init__(self, app: App[Any], handle: Callable[[events.Event], Awaitable[None]]) -> None:
        self._app = app
        self._handle = handle
        self._waiting: deque[events.Event] = deque()
        self._is_busy = False
        self._is_closed = False

    async def take(self, event: events.Event) -> None:
        """Handles a key, or what is pasted: at once if none is being handled."""
        if self._is_closed:
            return
        if self._is_busy:
            self._waiting.append(event)
            return
        self._is_busy = True
        await self._handle(event)
        start(self._app, self._handle_waiting, "keyboard")

    def close(self) -> None:
        """Ends: what was typed, and what is typed from now on, is not handled any more."""
        self._is_closed = True
        self._waiting.clear()

    async def _handle_waiting(self) -> None:
        await self._done()
        while self._waiting:
            await self._handle(self._waiting.popleft())
            await self._done()
        self._is_busy = False

    async def _done(self) -> None:
        """Waits until all that has the focus, from the widget to the program, has handled what it was given."""
        for _ in range(_ROUNDS):
            if self._is_closed:
                return
            for node in (self._app.focused or self._app.screen).ancestors_with_self:
                handled = asyncio.Event()
                if node.call_later(handled.set):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(handled.wait(), _MOST)
