"""The problems that a check of a layer directory finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """A contradiction between a layer and its records: the path it concerns, and a description."""

    path: str
    text: str
