"""Handles what is typed and pasted one after the other: each by what has the focus after those before it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from textual import events
from textual.app import App

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
        keeps_focus: tells whether what is typed leaves the focus where it is, so that nothing need wait for it.
    """

    def __init__(
        self,
        app: App[Any],
        handle: Callable[[events.Event], Awaitable[None]],
        keeps_focus: Callable[[events.Event], bool],
    ) -> None:
        self._app = app
        self._keeps_focus = keeps_focus
        self._handle = handle
        self._waiting: deque[events.Event] = deque()
        self._is_busy = False
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None

    async def take(self, event: events.Event) -> None:
        """Handles a key, or what is pasted: at once if none is being handled."""
        if self._is_closed:
            return
        if self._is_busy:
            self._waiting.append(event)
            return
        self._is_busy = not self._keeps_focus(event)
        await self._handle(event)
        if self._is_busy:
            self._task = asyncio.create_task(self._wait())

    @property
    def is_busy(self) -> bool:
        """Whether something is being handled."""
        return self._is_busy and not self._is_closed

    def close(self) -> None:
        """Ends: what was typed, and what is typed from now on, is not handled any more."""
        self._is_closed = True
        self._waiting.clear()

    async def _wait(self) -> None:
        """Waits until all that has the focus, from the widget to the program, has handled what it was given."""
        for _ in range(_ROUNDS):
            if self._is_closed:
                return
            for node in (self._app.focused or self._app.screen).ancestors_with_self:
                handled = asyncio.Event()
                if node.call_later(handled.set):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_MOST):
                            await handled.wait()
        self._app.call_later(self._next)

    async def _next(self) -> None:
        self._is_busy = False
        while self._waiting and not self._is_busy:
            await self.take(self._waiting.popleft())
