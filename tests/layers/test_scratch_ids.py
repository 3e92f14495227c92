"""The ids of a scratch's entries: no entry gets the id that another one had."""

from __future__ import annotations

from pathlib import Path

import pytest

import wclayer
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.win32.attributes import FileBasicInfo

_INFO = FileBasicInfo(0x20, 1, 1, 1, 1)


def _add(scratch: ScratchDirectory, name: str) -> int:
    with scratch.transaction():
        return scratch.add(scratch.root().id + 1, name, _INFO).id


def _remove(scratch: ScratchDirectory, number: int) -> None:
    with scratch.transaction():
        scratch.remove(scratch.by_id(number))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "base" / "Files").mkdir(parents=True)
    wclayer.make_base_layer(tmp_path / "base")
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "base"])
    return tmp_path / "run"


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_ids_are_not_used_again(place: Path, order: tuple[int, ...], exclusive: bool) -> None:
    used: set[int] = set()
    for number in range(3):
        with ScratchDirectory(place, exclusive=exclusive) as scratch:
            made = [_add(scratch, f"file{number}{name}") for name in "abc"]
            assert not used & set(made)
            used.update(made)
            for index in order:
                _remove(scratch, made[index])
                again = _add(scratch, f"again{number}{index}")
                assert again not in used
                used.add(again)
                _remove(scratch, again)


@pytest.mark.parametrize("exclusive", [False, True])
def test_links_are_counted_through_changes_and_rollbacks(place: Path, exclusive: bool) -> None:
    with ScratchDirectory(place, exclusive=exclusive) as scratch:
        first, other = _add(scratch, "first"), _add(scratch, "other")
        assert scratch.link_count(scratch.by_id(first)) == 1
        with scratch.transaction():
            link = scratch.add_link(scratch.root().id + 1, "link", scratch.by_id(first))
        assert scratch.link_count(scratch.by_id(first)) == scratch.link_count(scratch.by_id(link)) == 2
        assert scratch.link_count(scratch.by_id(other)) == 1
        with pytest.raises(KeyError), scratch.transaction():
            scratch.remove(scratch.by_id(link))
            assert scratch.link_count(scratch.by_id(first)) == 1
            raise KeyError
        assert scratch.link_count(scratch.by_id(first)) == 2
        # The row of the first name takes the name of the second.
        _remove(scratch, first)
        assert scratch.link_count(scratch.by_id(first)) == 1
        with scratch.transaction():
            scratch.add_link(scratch.root().id + 1, "third", scratch.by_id(first))
        assert scratch.link_count(scratch.by_id(first)) == 2
