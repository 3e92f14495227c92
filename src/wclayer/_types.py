"""Types that many modules name."""

from __future__ import annotations

import os
from collections.abc import Sequence

StrPath = str | os.PathLike[str]
"""A path, as `open` takes it."""

Chain = StrPath | Sequence[StrPath]
"""Layers, nearest first: several paths, or one path alone."""
