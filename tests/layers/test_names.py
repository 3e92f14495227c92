"""The names of a layer are found again whatever their number is, and take few bytes each."""

from __future__ import annotations

import sys
import tracemalloc
from array import array

import pytest

from tests.support import info
from wclayer.errors import InvalidDataError
from wclayer.layers.names import _PART_BITS, Kind, NameChecker
from wclayer.model import Entry
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.reparse import LinkTarget

_MANY = 40_000
_BYTES = 13
"""Of each name: its hash has 8, and an array that grows has some more than it needs."""


def _filled(first: int, last: int, checker: NameChecker) -> NameChecker:
    for number in range(first, last):
        checker.add(Entry(f"Files/{number:0100}", info()))
    return checker


def _empty() -> NameChecker:
    checker = NameChecker("layer", is_base=True)
    checker.add(Entry("Files", info(DIRECTORY)))
    return checker


def test_every_name_is_known_by_its_kind_and_refused_when_it_comes_again() -> None:
    checker = _empty()
    checker.add(Entry("Files/Directory", info(DIRECTORY)))
    checker.add(Entry("Files/Link", info(DIRECTORY), reparse=LinkTarget("C:\\", "C:\\").encode()))
    _filled(0, _MANY, checker)
    kinds = {checker.kind(f"FILES/{number:0100}") for number in range(_MANY)}
    assert kinds == {Kind.FILE}
    assert checker.kind("FILES/DIRECTORY") is Kind.DIRECTORY
    assert checker.kind("FILES/LINK") is Kind.LINK
    assert {checker.kind(f"FILES/{number}") for number in range(_MANY)} == {Kind.ABSENT}
    for name in ("Files/directory", "Files/LINK", f"Files/{0:0100}", f"Files/{_MANY - 1:0100}"):
        with pytest.raises(InvalidDataError, match="duplicate"):
            checker.add(Entry(name, info()))


def test_names_take_no_more_memory_than_their_hashes_at_any_moment() -> None:
    tracemalloc.start()
    try:
        checker = _empty()
        before, _ = tracemalloc.get_traced_memory()
        # The parts of the table are made with the first names, and are no more with more of them.
        before += (1 << _PART_BITS) * sys.getsizeof(array("Q"))
        for last in range(_MANY, 5 * _MANY, _MANY):
            _filled(last - _MANY, last, checker)
            _, most = tracemalloc.get_traced_memory()
            assert most - before < last * _BYTES
    finally:
        tracemalloc.stop()
