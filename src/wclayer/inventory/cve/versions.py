"""Versions as documents write them: "10.0.20348.2700", "4.8.04690.02", "8.0.17"."""

from __future__ import annotations

import re

_VERSION = re.compile(r"[vV]?(\d{1,9}(?:\.\d{1,9}){1,5})", re.ASCII)


def numbers_of(text: str) -> tuple[int, ...]:
    """Returns the numbers of a version; none if the text is no version, such as "3.1.XX"."""
    found = _VERSION.fullmatch(text.strip())
    return tuple(int(number) for number in found[1].split(".")) if found else ()


def release_of(version: str) -> str:
    """Returns the release that a version leads to: "9.0.0" for "9.0.0-rc.2"."""
    return version.partition("-")[0]
