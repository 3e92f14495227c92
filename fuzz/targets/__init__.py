"""All targets by name."""

from __future__ import annotations

from fuzz.target import Target
from fuzz.targets import (
    advisories,
    commands,
    contents,
    disks,
    dockerfiles,
    facts,
    image_archives,
    images,
    interfaces,
    ntfs,
    operations,
    packages,
    pe,
    programs,
    regf,
    sources,
    tar,
    win32,
    zips,
)

_MODULES = (
    advisories, commands, contents, disks, dockerfiles, facts, image_archives, images, interfaces, ntfs, operations,
    packages, pe, programs, regf, sources, tar, win32, zips,
)  # fmt: skip

TARGETS: dict[str, Target] = {}
for _module in _MODULES:
    for _name, _target in _module.TARGETS.items():
        if _name in TARGETS:
            raise ValueError(f"two targets have the name {_name}")
        TARGETS[_name] = _target
