"""What a check of a layer directory finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a layer that is not as its records say: the path it concerns, and what is wrong."""

    path: str
    text: str
