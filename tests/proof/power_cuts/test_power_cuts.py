"""Every operation, its calls recorded, and in a fresh folder what a power cut may have left of them: the old state, the
new one, or a clear error; and of what was reported as done, only the new one."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proof.power_cuts.operations import OPERATIONS
from tests.proof.power_cuts.recording import Recorder
from tests.proof.power_cuts.verdict import IN_STEPS, Case, Refused
from tests.proof.world import MEMORY, make_sources

pytestmark = [
    pytest.mark.power_cuts,
    pytest.mark.skipif(sys.platform != "linux", reason="calls are recorded by strace"),
]
_SAMPLES, _LONG_SAMPLES = 20, 3_000
_TRIES = 2


@pytest.fixture(scope="module")
def sources() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        place = Path(folder) / "sources"
        place.mkdir()
        make_sources(place)
        yield place


@pytest.fixture(scope="module")
def recorder(sources: Path) -> Iterator[Recorder]:
    made = Recorder(sources, sources.parent / "place")
    yield made
    made.close()


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_power_cut_leaves_the_old_state_or_the_new_one(
    name: str, recorder: Recorder, sources: Path, is_long: bool
) -> None:
    case = Case(name, recorder, sources)
    recording, source = case.recording, random.Random(name)
    assert case.new == case.left
    assert not isinstance(case.old, Refused)
    assert not isinstance(case.new, Refused)
    assert list(map(str, case.faults(recording, recording.prefixes()))) == []
    if case.operation.is_one_step and name not in IN_STEPS:
        assert [found for found in case.between() if found not in (case.old, case.new)] == []
    moments = range(case.steps + 1) if is_long else (source.randrange(min(case.steps, 300)), case.steps)
    for done in moments:
        assert list(map(str, case.faults(recording, ((done, state) for state in recording.lone(done))))) == []
    samples = case.samples(recording, _LONG_SAMPLES if is_long else _SAMPLES, source)
    assert list(map(str, case.faults(recording, samples))) == []
    for done, state in case.samples(recording, _LONG_SAMPLES // 10 if is_long else _TRIES, source):
        if case.find(recording, state) == case.old and done < case.steps:
            assert case.second_try(recording, state) == case.new, state


@pytest.mark.parametrize("name", ["create layer", "export gzip", "copy in", "copy tree out", "store image", "remove"])
def test_without_syncs_what_was_done_can_be_lost(name: str, recorder: Recorder, sources: Path) -> None:
    """That is what `wclayer.unsynced()` says; and if nothing were found here, nothing would be found above."""
    case = Case(name, recorder, sources, is_synced=False)
    samples = case.samples(case.recording, 4 * _SAMPLES, random.Random(name))
    found = [fault for fault in case.faults(case.recording, samples) if fault.done == case.steps]
    assert any(fault.found != case.old for fault in found)


@pytest.mark.parametrize("name", ["export tar", "export gzip"])
def test_every_sync_is_missed_if_it_does_not_happen(name: str, recorder: Recorder, sources: Path) -> None:
    case = Case(name, recorder, sources)
    syncs = case.recording.syncs
    assert syncs
    assert [number for number in syncs if not case.are_missed([number], _SAMPLES, random.Random(name))] == []
