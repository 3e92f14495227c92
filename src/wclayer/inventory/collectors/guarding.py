"""What keeps a damaged part of a subject from ending its inventory: the damage becomes a finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import ParamSpec, TypeVar

from wclayer.errors import (
    CorruptLayerError,
    FormatError,
    FormatLimitError,
    InvalidDataError,
    LayerError,
    LimitExceededError,
    NotSupportedError,
    detail_of,
)
from wclayer.formats.regf.model import Key, fold, sort_key
from wclayer.inventory.item import Finding, FindingKind, Item
from wclayer.inventory.subject.files import SubjectFile
from wclayer.inventory.subject.registry import KeySource

Found = Iterator[Item | Finding]
"""What a collector yields."""
_Arguments = ParamSpec("_Arguments")
_Read = TypeVar("_Read")


_HIVES = ("HKLM\\", "HKU\\")
_DAMAGE = (FormatError, InvalidDataError, CorruptLayerError, NotSupportedError)
"""Errors of contents. Others are the host's, which refuses to read or has no memory: they end the inventory."""


def guarded(
    place: str,
    find: Callable[_Arguments, Iterable[Item | Finding]],
    *args: _Arguments.args,
    **kwargs: _Arguments.kwargs,
) -> Found:
    """Yields what a function finds; if it meets damage, a finding after that.

    Args:
        place: where the function looks, for the finding.
        find: returns or yields what is there.
        args, kwargs: its arguments.

    Raises:
        LayerError: the host refuses to read.
    """
    try:
        yield from find(*args, **kwargs)
    except _DAMAGE as error:
        yield _finding(place, error)


def attempt(place: str, read: Callable[[], _Read]) -> tuple[_Read | None, list[Finding]]:
    """Returns what a function returns, and no finding; if it meets damage, None and the finding.

    Args:
        place: where the function looks, for the finding.
        read: the function.

    Raises:
        LayerError: the host refuses to read.
    """
    try:
        return read(), []
    except _DAMAGE as error:
        return None, [_finding(place, error)]


def _finding(place: str, error: FormatError | LayerError) -> Finding:
    is_limit = isinstance(error, (FormatLimitError, LimitExceededError))
    return Finding(FindingKind.LIMITED if is_limit else FindingKind.DAMAGED, place, detail_of(error))


def each_subkey(keys: KeySource, path: str, make: Callable[[str, Key], Iterable[Item | Finding]]) -> Found:
    """Yields what a function finds in each subkey of a key, in Windows' order; damage in one of them is a finding.

    Args:
        keys: the registry, or the keys of a user.
        path: the path of the key; it need not exist.
        make: takes the path of a subkey and the subkey.
    """

    def all_subkeys() -> Found:
        # A merge has the keys of the upper layer first.
        for below, key in sorted(keys.subkeys(path), key=lambda each: sort_key(fold(each[1].name))):
            yield from guarded(below, make, below, key)

    yield from guarded(path, all_subkeys)


def each_file(files: Iterable[SubjectFile], make: Callable[[SubjectFile], Iterable[Item | Finding]]) -> Found:
    """Yields what a function finds in each file; damage in one of them is a finding."""
    for file in files:
        yield from guarded(file.windows_path, make, file)


def told_once(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    r"""Returns findings in their order, each once.

    Damage of a hive is met wherever a key of it is looked for: of several findings with the same text in one hive
    (`HKLM\SOFTWARE`), one for the hive stays.
    """
    different = dict.fromkeys(findings)
    times = Counter((_hive_of(each.place), each.kind, each.text) for each in different)

    def told(finding: Finding) -> Finding:
        hive = _hive_of(finding.place)
        return replace(finding, place=hive) if hive and times[hive, finding.kind, finding.text] > 1 else finding

    return tuple(dict.fromkeys(map(told, different)))


def _hive_of(place: str) -> str:
    """Returns the hive of a key, or "" for any other place."""
    return "\\".join(place.split("\\")[:2]) if place.startswith(_HIVES) else ""
