"""What of the suite cannot run in the Windows Python under Wine, and why.

docs/windows.md says what this leaves open.
"""

from __future__ import annotations

import re

NEEDS_WITNESS = re.compile(r"needs [a-z][a-z0-9._-]*\Z")
"""What a test says that needs a program of Linux (`tests.support.witness`); it runs with that program on the host."""

LIMITS: dict[str, str] = {}
"""Node ids, or what they start with, and the reason."""


def reason(nodeid: str) -> str | None:
    """Why a test cannot run there; None if it can."""
    return next((why for start, why in LIMITS.items() if nodeid.startswith(start)), None)
