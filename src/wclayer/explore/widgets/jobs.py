"""Starts work that waits for a thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, cast

from textual.dom import DOMNode
from textual.worker import WorkType


def start(node: DOMNode, work: Callable[[], Coroutine[Any, Any, None]], group: str, *, alone: bool = False) -> None:
    """Starts a coroutine, which ends with the widget or the program that it belongs to.

    Args:
        node: the widget or the program.
        work: makes the coroutine.
        group: what the work is, among that of the node.
        alone: whether it takes the place of earlier work of the group, which is cancelled.
    """
    node.run_worker(cast("WorkType[None]", work), group=group, exclusive=alone)
