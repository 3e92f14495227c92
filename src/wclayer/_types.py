"""Types that many modules name."""

from __future__ import annotations

import os

StrPath = str | os.PathLike[str]
"""A path, as `open` takes it."""
