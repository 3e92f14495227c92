"""The inputs that fuzzing left in the repository go through their targets again, with neither search nor atheris."""

from __future__ import annotations

import pytest

from fuzz import bounds, corpus
from fuzz.targets import TARGETS


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_corpus_and_the_finds_give_nothing_that_is_not_allowed(name: str) -> None:
    places = []
    for place, data in corpus.inputs(name):
        corpus.run(name, place, data)
        places.append(place)
    assert places


def test_a_run_that_never_ends_is_ended() -> None:
    with pytest.raises(bounds.OutOfTimeError), bounds.bounded(seconds=1):
        while True:
            pass


def test_a_run_that_takes_more_memory_than_it_may_is_told_so() -> None:
    with pytest.raises(MemoryError), bounds.bounded():
        bytearray(2 * bounds.MEMORY)


def test_no_folder_of_inputs_is_without_a_target() -> None:
    folders = {
        folder.name for each in (corpus.kept(""), corpus.kept_finds("")) if each.is_dir() for folder in each.iterdir()
    }
    assert folders <= set(TARGETS)
