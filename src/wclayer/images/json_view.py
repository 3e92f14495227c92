"""`JsonView`: a JSON object from elsewhere, whose fields are checked when they are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from wclayer.errors import FormatError

_Kind = TypeVar("_Kind")

_DEPTH = 64
"""How deep objects and lists may lie in each other. Those of images are less than ten deep."""
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]')


class JsonView:
    """A JSON object. Each method returns one field, or a default if the field is missing or null.

    Go's decoder takes `Layers` for `layers`, and most programs for images are written in Go. So an object with two
    keys that are equal but for their case is refused, and so is a field that is only there in another case: programs
    would not agree what it says. An object whose keys are data, such as annotations (`mapping`), may have both.

    Args:
        record: the object.
        what: a name for the object in messages ("manifest", "layers[3]").

    Raises:
        FormatError: a field has another type, or is written in another case. So do all methods.
    """

    def __init__(self, record: object, what: str) -> None:
        if not isinstance(record, dict):
            raise FormatError(f"{what} is not a JSON object")
        self.record: dict[str, Any] = record
        self.what = what
        self._keys: dict[str, str] = {}
        for key in record:
            if (other := self._keys.setdefault(key.casefold(), key)) != key:
                raise FormatError(f"{what} has the keys {other[:60]!r} and {key[:60]!r}, which differ only in case")

    def __contains__(self, key: str) -> bool:
        return self._get(key) is not None

    def text(self, key: str, default: str = "") -> str:
        """Returns a string."""
        return self._value(key, str, default)

    def number(self, key: str, default: int = 0) -> int:
        """Returns an integer."""
        return self._value(key, int, default)

    def flag(self, key: str, default: bool = False) -> bool:
        """Returns a truth value."""
        return self._value(key, bool, default)

    def texts(self, key: str) -> tuple[str, ...]:
        """Returns a list of strings."""
        items = self._value(key, list, [])
        if not all(isinstance(item, str) for item in items):
            raise FormatError(f"{self.what}: {key} is not a list of strings")
        return tuple(items)

    def mapping(self, key: str) -> Mapping[str, str]:
        """Returns an object whose values are strings."""
        items = self._value(key, dict, {})
        if not all(isinstance(item, str) for item in items.values()):
            raise FormatError(f"{self.what}: {key} is not an object of strings")
        return dict(items)

    def view(self, key: str) -> JsonView:
        """Returns an object; an empty one if the field is missing."""
        return JsonView(self._value(key, dict, {}), f"{self.what}: {key}")

    def views(self, key: str) -> Iterator[JsonView]:
        """Yields the objects of a list."""
        for number, item in enumerate(self._value(key, list, [])):
            yield JsonView(item, f"{self.what}: {key}[{number}]")

    def _get(self, key: str) -> object:
        if (written := self._keys.get(key.casefold(), key)) != key:
            raise FormatError(f"{self.what}: the key {key!r} is written {written[:60]!r}")
        return self.record.get(key)

    def _value(self, key: str, kind: type[_Kind], default: _Kind) -> _Kind:
        value = self._get(key)
        if value is None:
            return default
        # True is an `int` in Python, not a number in JSON.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise FormatError(f"{self.what}: {key} is {str(value)[:60]!r}, not {_JSON_NAMES[kind]}")
        return value


_JSON_NAMES: dict[type, str] = {
    str: "a string", int: "an integer", bool: "true or false", list: "a list", dict: "an object",
}  # fmt: skip


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise FormatError("a key occurs twice in one JSON object")
    return record


_TOO_DEEP = f"its objects and lists are nested more than {_DEPTH} deep"


def nesting(text: str) -> int:
    """Returns how deep the objects and lists of a JSON text are nested."""
    depth = deepest = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        if (bracket := found[0]) in "[{":
            depth += 1
            deepest = max(depth, deepest)
        elif bracket in "]}":
            depth -= 1
    return deepest


def _refuse_constant(text: str) -> None:
    raise FormatError(f"{text} is not JSON")


def _load(data: bytes, what: str) -> object:
    """Returns the JSON value in `data`.

    Raises:
        FormatError: the bytes are not JSON in UTF-8, a key occurs twice in one object, or the nesting is deeper than in
            any document of an image.
    """
    try:
        text = data.decode()
        value: object = json.loads(text, object_pairs_hook=_refuse_repeated, parse_constant=_refuse_constant)
    except FormatError as error:
        raise FormatError(f"{what}: {error}") from None
    except ValueError as error:
        raise FormatError(f"{what} is not JSON: {error}") from None
    except RecursionError:
        raise FormatError(f"{what}: {_TOO_DEEP}") from None
    if nesting(text) > _DEPTH:
        raise FormatError(f"{what}: {_TOO_DEEP}")
    return value


def parse_json(data: bytes, what: str) -> JsonView:
    """Returns the JSON object in `data`, with its keys in their order.

    A key that occurs twice in one object is refused: programs do not agree which one counts.

    Raises:
        FormatError: the bytes are not JSON in UTF-8, or not an object.
    """
    return JsonView(_load(data, what), what)


def parse_json_list(data: bytes, what: str) -> list[JsonView]:
    """Returns the objects of the JSON list in `data`. A key that occurs twice is refused, as in `parse_json`.

    Raises:
        FormatError: the bytes are not JSON in UTF-8, or not a list of objects.
    """
    items = _load(data, what)
    if not isinstance(items, list):
        raise FormatError(f"{what} is not a JSON list")
    return [JsonView(item, f"{what}[{number}]") for number, item in enumerate(items)]
