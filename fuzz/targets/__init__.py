"""All targets by name."""

from __future__ import annotations

from fuzz.target import Target
from fuzz.targets import codecs, operations

TARGETS: dict[str, Target] = {}

for _module in (codecs, operations):
    for _name, _target in _module.TARGETS.items():
        if _name in TARGETS:
            raise ValueError(f"two targets have the name {_name}")
        TARGETS[_name] = _target
