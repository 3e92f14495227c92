"""What a fuzz target is."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass

Mutator = Callable[[bytes, random.Random, int], bytes]
"""Makes another input of one: takes the input, the source of chance and the most bytes that it may return."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is run, what the search starts from, and what a run may raise.

    `run` takes the input; `seeds` makes the first inputs; `allowed` are the exceptions that bad bytes may give.
    `mutator` knows the structure of the input, and takes turns with the mutations of bytes. `words` are byte strings
    that mean something in the input. `max_size` is the most bytes an input has. `weight` is the target's share of the
    time, in proportion to those of the others.
    """

    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    allowed: tuple[type[Exception], ...] = (ValueError,)
    mutator: Mutator | None = None
    words: tuple[bytes, ...] = ()
    max_size: int = 16 << 10
    weight: float = 1.0

    def one(self, data: bytes) -> None:
        """Runs the target on an input; an exception that is allowed is none."""
        with contextlib.suppress(*self.allowed):
            self.run(data)
