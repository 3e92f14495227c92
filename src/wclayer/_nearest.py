"""`nearest`: the name that a misspelt one was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

MOST_NAMES = 4096
"""As many names are looked at: a message has to come at once."""
_LONGEST = 300
"""Characters of a name that may be misspelt. The comparison takes the square of its length."""
_ALIKE = 0.6
"""How alike two names have to be, between 0 and 1 (the ratio of `difflib`)."""
_BEGUN = 3
"""Characters after which the beginning of a name is enough, if only one name begins so."""


def nearest(wanted: str, names: Iterable[str]) -> str | None:
    """Returns the name that is most like another one, without regard to case; None if none is much like it.

    Args:
        wanted: the name that is not there.
        names: those that are. The first `MOST_NAMES` of them are looked at.
    """
    # Only those who have made a mistake wait for it.
    from difflib import get_close_matches

    key = wanted.casefold()
    if not key or len(key) > _LONGEST:
        return None
    known = {name.casefold(): name for name in islice(names, MOST_NAMES) if len(name) <= _LONGEST}
    begun = [name for name in known if len(key) >= _BEGUN and name.startswith(key)]
    found = get_close_matches(key, known, n=1, cutoff=_ALIKE) or (begun if len(begun) == 1 else [])
    return known[found[0]] if found else None
