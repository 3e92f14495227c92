"""Changes to JSON that stay JSON: values of other types, keys that are missing, repeated or new."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from fuzz.mutators.plain import mutate_bytes

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1 << 31, 1 << 63, 1 << 64, 1.5, 1e300, "", "x", "sha256:", [], {}, [[]], [{}],
    {"": {}}, "\ud800", "\0", "../..", "sha256:" + "0" * 64, "sha256:" + "A" * 64, "sha512:" + "0" * 128,
)  # fmt: skip


def mutate_json(data: bytes, chance: Random, most: int) -> bytes:
    """Another JSON text, made of one whose values are in other places, or gone; other bytes are changed as bytes."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(data, chance, most)
    if chance.randrange(8) == 0:
        return mutate_bytes(data, chance, most)
    try:
        for _ in range(chance.choice((1, 1, 2, 4))):
            value = _changed(value, chance)
        return json.dumps(value, ensure_ascii=chance.randrange(2) == 0).encode("utf-8", "surrogatepass")[:most]
    except (RecursionError, ValueError):
        return mutate_bytes(data, chance, most)


def _changed(value: Any, chance: Random) -> Any:
    """A value like another, changed at one place."""
    if isinstance(value, dict) and value and chance.randrange(6):
        key = chance.choice(list(value))
        kind = chance.randrange(6)
        if kind == 0:
            return {name: item for name, item in value.items() if name != key}
        if kind == 1:
            return {**value, key.swapcase() if chance.randrange(2) else chance.choice(list(value)) + "x": value[key]}
        return {**value, key: _changed(value[key], chance)}
    if isinstance(value, list) and value and chance.randrange(6):
        at = chance.randrange(len(value))
        kind = chance.randrange(5)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return value + [value[at]] * chance.choice((1, 2, 40))
        return [*value[:at], _changed(value[at], chance), *value[at + 1 :]]
    if isinstance(value, str) and value and chance.randrange(2):
        at = chance.randrange(len(value))
        return value[:at] + chance.choice(("", "0", "g", "/", "..", ":", "@", "é", value)) + value[at + 1 :]
    if isinstance(value, int) and chance.randrange(2):
        return int(value) + chance.choice((-1, 1, 1 << 32, -(1 << 40)))
    return chance.choice(_VALUES)
