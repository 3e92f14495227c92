"""8.3 names: the second, short name by which old programs know a file with a long one.

Layers do not carry short names, so they are made as Windows makes them when files are created: in order, the first free
one. Sources: [MS-FSCC] section 2.1.5.2.1 (8.3 filenames); "How Windows Generates 8.3 File Names from Long File Names"
(Microsoft Knowledge Base 142982). After four names of one beginning Windows takes a checksum into the name, whose
function is not published; here the numbers go on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from wclayer.win32.upcase import upcase

_SHORT = re.compile(r"[^\s.+,;=\[\]\x80-\U0010ffff]{1,8}(\.[^\s.+,;=\[\]\x80-\U0010ffff]{1,3})?\Z")
_GENERATED = re.compile(r"[^.]{0,6}~[0-9]{1,6}(\.[^.]{1,3})?\Z")
_REPLACED = re.compile(r"[+,;=\[\]\x80-\U0010ffff]")
_BASE, _EXTENSION = 6, 3


def is_short(name: str) -> bool:
    """Whether a name is an 8.3 name itself, and has no other."""
    return _SHORT.match(name) is not None


def may_be_generated(name: str) -> bool:
    """Whether a name has the form of one that Windows generates ("PROGRA~1")."""
    return _GENERATED.match(name) is not None


def short_names(names: Iterable[str]) -> dict[str, str]:
    """The short names of a directory's entries, given in the order in which they were made: short to long name."""
    given = list(names)
    taken = {upcase(name) for name in given}
    found: dict[str, str] = {}
    # By beginning and extension: the number from which on one may be free. Those below are not tried again.
    numbers: dict[tuple[str, str], int] = {}
    for name in given:
        if is_short(name):
            continue
        base, dot, extension = name.lstrip(". ").rpartition(".")
        if not dot:
            base, extension = extension, ""
        base, extension = _clean(base)[:_BASE], _clean(extension)[:_EXTENSION]
        number = numbers.get((base, extension), 1)
        while True:
            tail = f"~{number}"
            short = base[: 8 - len(tail)] + tail + (f".{extension}" if extension else "")
            if short not in taken:
                break
            number += 1
        taken.add(short)
        numbers[base, extension] = number + 1
        found[short] = name
    return found


def _clean(part: str) -> str:
    return upcase(_REPLACED.sub("_", part.replace(" ", "").replace(".", "")))
