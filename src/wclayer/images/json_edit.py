"""`JsonText`: changes of a JSON document that leave every other byte as it is.

The documents of images are named by the digest of their bytes, and have keys that this program does not know. So a
change is made in the text: key order, spaces, escapes and numbers of everything else stay as their maker wrote them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wclayer.errors import FormatError

Path = Sequence[str | int]
"""Where a value is: the keys and indexes that lead to it from the outermost object."""

_SPACE = re.compile(r"[ \t\n\r]*")
_INDENT = re.compile(r"\s*\{\r?\n([ \t]+)")
_decode = json.JSONDecoder().raw_decode
_SAME = object()

# Go's encoder escapes these, so that JSON can stand in HTML and JavaScript (encoding/json, `HTMLEscape`).
_GO_ESCAPES = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


@dataclass(frozen=True, slots=True)
class _Member:
    """A member of an object or a list: where its text begins, where its value begins, and where it ends."""

    key: str | int
    start: int
    value: int
    end: int


class JsonText:
    """The text of a JSON document, which changes in place.

    Args:
        data: the bytes: an object in UTF-8, which `parse_json` has accepted.
    """

    def __init__(self, data: bytes) -> None:
        self._text = data.decode()
        found = _INDENT.match(self._text)
        self._indent = found[1] if found else None

    @property
    def data(self) -> bytes:
        """The bytes of the document."""
        return self._text.encode()

    def get(self, path: Path) -> Any:
        """Returns a value; None if it is missing."""
        if not path:
            return _decode(self._text, self._skip(0))[0]
        found = self._find(path)
        return None if found is None else _decode(self._text, found.value)[0]

    def set(self, path: Path, value: object) -> None:
        """Replaces a value, or adds it at the end of its object or list. Objects that are missing are made.

        A value that is equal already keeps its text.

        Raises:
            FormatError: something else is where an object or a list must be, or a string cannot be encoded.
        """
        found = self._find(path)
        if found is not None:
            if not _is_same(_decode(self._text, found.value)[0], value):
                self._replace(found.value, found.end, self._written(value, len(path)))
            return
        *above, last = path
        if above and self.get(above) is None:
            self.set(above, {last: value} if isinstance(last, str) else [value])
            return
        parent = self._start(above)
        if self._text[parent] != ("{" if isinstance(last, str) else "["):
            raise FormatError(f"{_named(above)} is not {'an object' if isinstance(last, str) else 'a list'}")
        members = list(self._members(parent, above))
        if not members:
            whole = self._written({last: value} if isinstance(last, str) else [value], len(above))
            self._replace(parent, self._end(parent), whole)
            return
        before = self._text[self._after_comma(parent, members) : members[-1].start]
        key = write_json(last) + self._colon(members[-1]) if isinstance(last, str) else ""
        self._replace(members[-1].end, members[-1].end, f",{before}{key}{self._written(value, len(path))}")

    def set_all(self, path: Path, values: Mapping[str, object]) -> None:
        """Sets members of an object, as `set` does one after the other, in a time that is linear in their number.

        Raises:
            FormatError: something else is where an object must be, or a string cannot be encoded.
        """
        if not values:
            return
        if self.get(path) in (None, {}):
            self.set(path, dict(values))
            return
        start = self._start(path)
        if self._text[start] != "{":
            raise FormatError(f"{_named(path)} is not an object")
        members = list(self._members(start, path))
        known = {member.key: member for member in members}
        before = self._text[self._after_comma(start, members) : members[-1].start]
        colon, depth = self._colon(members[-1]), len(path) + 1
        added = [
            f",{before}{write_json(key)}{colon}{self._written(value, depth)}"
            for key, value in values.items()
            if key not in known
        ]
        pieces, at = [], 0
        for member in members:
            value = values.get(str(member.key), _SAME)
            if value is not _SAME and not _is_same(_decode(self._text, member.value)[0], value):
                pieces += [self._text[at : member.value], self._written(value, depth)]
                at = member.end
        end = members[-1].end
        self._text = "".join([*pieces, self._text[at:end], *added, self._text[end:]])

    def extend(self, path: Path, values: Iterable[object]) -> None:
        """Adds values at the end of a list, which is made if it is missing.

        Raises:
            FormatError: something else is there, or a string cannot be encoded.
        """
        values = list(values)
        if not values:
            return
        if self.get(path) in (None, []):
            self.set(path, values)
            return
        start = self._start(path)
        members = list(self._members(start, path))
        if self._text[start] != "[":
            raise FormatError(f"{_named(path)} is not a list")
        before = self._text[self._after_comma(start, members) : members[-1].start]
        added = (f",{before}{self._written(value, len(path) + 1)}" for value in values)
        self._replace(members[-1].end, members[-1].end, "".join(added))

    def remove(self, path: Path) -> bool:
        """Removes a value, with its key; returns whether it was there."""
        *above, last = path
        return bool(self.remove_all(above, [last]))

    def remove_all(self, path: Path, keys: Iterable[str | int]) -> int:
        """Removes members of an object or a list, and returns how many were there.

        Args:
            path: the object or the list.
            keys: the keys of the object, or the indexes of the list.
        """
        if path and self.get(path) is None:
            return 0
        start = self._start(path)
        members = list(self._members(start, path))
        gone = set(keys)
        kept = [number for number, member in enumerate(members) if member.key not in gone]
        if len(kept) == len(members):
            return 0
        if not kept:
            self._replace(start + 1, self._end(start) - 1, "")
            return len(members)
        # With each member go the comma and the spaces before it; with the first ones, those behind them.
        pieces = [self._text[: members[0].start]]
        for number in kept:
            begin = members[number].start if number == kept[0] else members[number - 1].end
            pieces.append(self._text[begin : members[number].end])
        self._text = "".join(pieces) + self._text[members[-1].end :]
        return len(members) - len(kept)

    def _replace(self, start: int, end: int, text: str) -> None:
        self._text = self._text[:start] + text + self._text[end:]

    def _start(self, path: Path) -> int:
        """Returns where a value begins that is there."""
        if not path:
            return self._skip(0)
        found = self._find(path)
        assert found is not None
        return found.value

    def _find(self, path: Path) -> _Member | None:
        start, found = self._skip(0), None
        for depth, key in enumerate(path):
            if self._text[start] == "n":  # null
                return None
            found = next((item for item in self._members(start, path[:depth]) if item.key == key), None)
            if found is None:
                return None
            start = found.value
        return found

    def _members(self, start: int, path: Path) -> Iterator[_Member]:
        """Yields the members of the object or the list that begins at `start`."""
        opening = self._text[start]
        if opening not in "{[":
            raise FormatError(f"{_named(path)} is neither an object nor a list")
        at, number = self._skip(start + 1), 0
        while self._text[at] not in "}]":
            key: str | int = number
            value = at
            if opening == "{":
                key, value = _decode(self._text, at)
                value = self._skip(self._skip(value) + 1)
            end = _decode(self._text, value)[1]
            yield _Member(key, at, value, end)
            at, number = self._skip(end), number + 1
            if self._text[at] == ",":
                at = self._skip(at + 1)

    def _after_comma(self, parent: int, members: Sequence[_Member]) -> int:
        """Returns where the spaces before the last member begin."""
        return self._text.index(",", members[-2].end) + 1 if len(members) > 1 else parent + 1

    def _colon(self, member: _Member) -> str:
        """Returns the text between key and value of a member of an object."""
        return self._text[self._end(member.start) : member.value]

    def _end(self, start: int) -> int:
        end: int = _decode(self._text, start)[1]
        return end

    def _skip(self, at: int) -> int:
        """Returns where the next character is that is no space."""
        found = _SPACE.match(self._text, at)
        assert found is not None
        return found.end()

    def _written(self, value: object, depth: int) -> str:
        """Returns the text of a value at a depth: with the indentation of the document, or compact as Go writes it."""
        return write_json(value, self._indent).replace("\n", "\n" + (self._indent or "") * depth)


def write_json(value: object, indent: str | None = None) -> str:
    """Returns JSON as Go's encoder writes it: compact, or with an indentation.

    Raises:
        FormatError: a string has a character that UTF-8 cannot encode.
    """
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators).translate(_GO_ESCAPES)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FormatError("a text is not valid Unicode, so JSON cannot hold it") from None
    return text


def _named(path: Path) -> str:
    return ".".join(map(str, path)) or "the document"


def _is_same(one: object, other: object) -> bool:
    """Returns whether two JSON values are equal. True and 1 are not, and the order of keys counts."""
    return type(one) is type(other) and json.dumps(one) == json.dumps(other)
