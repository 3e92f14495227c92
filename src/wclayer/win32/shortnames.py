"""8.3 names: the second, short name of a file with a long name, for old programs.

Layers do not contain short names, so they are made as Windows makes them for new files: in order, the first free one.
Sources: [MS-FSCC] section 2.1.5.2.1 (8.3 filenames); "How Windows Generates 8.3 File Names from Long File Names"
(Microsoft Knowledge Base 142982). After four names with the same beginning, Windows uses a checksum in the name, whose
function is not published; here the numbers continue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from wclayer.win32.upcase import upcase

_SHORT = re.compile(r"[^\s.+,;=\[\]]{1,8}(\.[^\s.+,;=\[\]]{1,3})?\Z")
"""An 8.3 name, if all its characters are of ASCII."""
_GENERATED = re.compile(r"[^.]{0,6}~[0-9]{1,6}(\.[^.]{1,3})?\Z")
_REPLACED = re.compile(r"[+,;=\[\]]|[^\x00-\x7f]")
_BASE, _EXTENSION = 6, 3


def is_short(name: str) -> bool:
    """Returns whether a name is an 8.3 name itself, and so has no other short name."""
    return name.isascii() and _SHORT.match(name) is not None


def may_be_generated(name: str) -> bool:
    """Returns whether a name has the form of a generated short name ("PROGRA~1")."""
    return _GENERATED.match(name) is not None


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Returns the long names of a directory's entries by short name.

    Args:
        names: the names of the entries, in the order in which they were created.
    """
    given = list(names)
    taken = {upcase(name) for name in given}
    found: dict[str, str] = {}
    # For each beginning and extension, the first number that may be free. Lower ones are not tried again.
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
