"""Names by patterns, as FindFirstFile finds them."""

from __future__ import annotations

from wclayer.win32.names import name_key

# The wildcards of the system: those of Win32 stand for them in certain places ([MS-FSA] 2.1.4.4).
_DOS_STAR, _DOS_QUESTION, _DOS_DOT = "<", ">", '"'


def has_wildcards(path: str) -> bool:
    """Returns whether a path or a name has a wildcard."""
    return "*" in path or "?" in path


class FilePattern:
    """A pattern of names of files, prepared for many of them.

    `*` is any number of characters, `?` one, or none at the end of the name or before a dot. `*.*` finds everything,
    `*.` what has no dot. Case is ignored. No name and no pattern makes it slow.

    Args:
        text: the pattern.

    Attributes:
        finds_all: whether it finds every name.
    """

    def __init__(self, text: str) -> None:
        self.finds_all = text in ("*", "*.*")
        self._pattern = _system_pattern(name_key(text))
        # A star before a dot ends at any dot that the name has: it is an ordinary one.
        plain = self._pattern.replace(f"{_DOS_STAR}.", "*.")
        has_others = any(wildcard in plain for wildcard in (_DOS_STAR, _DOS_QUESTION, _DOS_DOT))
        self._pieces = None if has_others else plain.split("*")

    def matches(self, name: str) -> bool:
        """Returns whether FindFirstFile finds a name with the pattern."""
        if self.finds_all:
            return True
        key = name_key(name)
        return _matches(key, self._pattern) if self._pieces is None else _has_pieces(key, self._pieces)


def matches(name: str, pattern: str) -> bool:
    """Returns whether FindFirstFile finds a name with a pattern (see `FilePattern`)."""
    return FilePattern(pattern).matches(name)


def _has_pieces(name: str, pieces: list[str]) -> bool:
    """Returns whether a name has the texts between stars one after the other, the first at its start, the last at its
    end."""
    first, *middle = pieces
    if not middle:
        return name == first
    last = middle.pop()
    end = len(name) - len(last)
    if end < len(first) or not (name.startswith(first) and name.endswith(last)):
        return False
    place = len(first)
    for piece in middle:
        # The first place is the best one: it leaves most of the name for the other pieces.
        place = name.find(piece, place, end)
        if place < 0:
            return False
        place += len(piece)
    return True


def _system_pattern(pattern: str) -> str:
    """Returns a pattern with the system's wildcards where Win32 puts them."""
    found = []
    for at, character in enumerate(pattern):
        after = pattern[at + 1 : at + 2]
        if character == "?":
            found.append(_DOS_QUESTION)
        elif character == "." and after in ("?", "*"):
            found.append(_DOS_DOT)
        elif character == "*" and after == ".":
            found.append(_DOS_STAR)
        else:
            found.append(character)
    if pattern.endswith("*."):
        # FindFirstFile cuts the dot off.
        found.pop()
    return "".join(found)


def _matches(name: str, pattern: str) -> bool:
    """Returns whether a name matches a pattern of the system ([MS-FSA] 2.1.4.4), both in upper case."""
    last_dot = name.rfind(".")
    # The places in the name that the pattern so far can have reached.
    places = {0}
    for wildcard in pattern:
        after: set[int] = set()
        for place in places:
            at_end = place == len(name)
            if wildcard == "*":
                after.update(range(place, len(name) + 1))
            elif wildcard == _DOS_STAR:
                after.update(range(place, (last_dot if place <= last_dot else len(name)) + 1))
            elif wildcard == _DOS_QUESTION:
                after.add(place if at_end or name[place] == "." else place + 1)
            elif wildcard == _DOS_DOT:
                if at_end:
                    after.add(place)
                elif name[place] == ".":
                    after.add(place + 1)
            elif not at_end and name[place] == wildcard:
                after.add(place + 1)
        places = after
    return len(name) in places
