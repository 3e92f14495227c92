"""What a user finds after a power cut: the old state, the new one, a step between them, or an error that says so."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import wclayer
from tests.proof.operations import Operation
from tests.proof.power_cuts.disk import Recording, State
from tests.proof.power_cuts.operations import OPERATIONS
from tests.proof.power_cuts.recording import Recorder
from tests.proof.world import World
from wclayer.errors import LayerError
from wclayer.formats.gpt.table import read_table
from wclayer.formats.ntfs.structs import AttributeType, SystemFile
from wclayer.formats.ntfs.volume import NtfsVolume
from wclayer.layers.atomic import remove_leftovers
from wclayer.layers.volume.disk_file import DiskFile, PartitionWindow

IN_STEPS = {
    "process": "makes several files, each whole, and leaves those that are there",
    "expand": "the disk grows, then its partition, then its volume; the next call ends it",
    "deactivate": "the new disk is in its place before the records say so; the next call writes it again",
}
"""Operations that a failure undoes, or completes, but a power cut does not."""


MAY_BE_REFUSED = {
    "expand": "check_disk tells that the second partition table is not at the end of the larger disk, until the next"
    " call has moved it",
    "relink scratch": "check_disk tells that the log of the disk has changes that are not in the file yet, until the"
    " next call has written them",
    "reg set of a layer": "check tells of files of the update that no record refers to; the next update removes them",
}
"""Operations after which a check may find something in the middle, which the next call mends. All others leave what is
sound."""


@dataclass(frozen=True)
class Refused:
    """An error of the family, or what a check reports: the layer is not sound, and its user is told."""

    text: str


@dataclass(frozen=True)
class Fault:
    """A state in which a user finds what must not be."""

    done: int
    state: State
    found: object

    def __str__(self) -> str:
        return f"after {self.done} steps, of which are kept {sorted(self.state.kept)}: {str(self.found)[:2000]}"


@cache
def _disk(place: Path, digests: tuple[tuple[Path, bytes], ...]) -> object:
    """What a disk is, whose file and parents have these digests: sizes, and the names at the top of its volume."""
    problems = [str(problem) for problem in wclayer.check_disk(place)]
    assert problems == [], problems
    with DiskFile(place) as opened, opened.errors():
        data = read_table(opened.disk).data_partition
        volume = NtfsVolume(PartitionWindow(opened.disk, data.offset, data.size))
        bitmap = volume.record(SystemFile.BITMAP).find(AttributeType.DATA)
        assert bitmap is not None
        bits = 8 * sum(len(chunk) for chunk in volume.chunks(bitmap))
        assert bits * volume.cluster_size >= volume.sectors * volume.sector_size, "a bitmap for fewer clusters"
        names = sorted(entry.name for entry in volume.entries(volume.record(SystemFile.ROOT)))
        return place, opened.disk.size, data.size, volume.sectors, names


def _disks(folder: Path) -> list[object]:
    """The disks of a layer, which its records do not tell of; none before the folder is a layer."""
    if not (folder / "layer.db").exists():
        return []
    places = sorted(path for path in folder.rglob("*.vhdx") if ".wclayer-" not in os.fspath(path))
    digests = tuple((place, hashlib.sha256(place.read_bytes()).digest()) for place in places)
    return [_disk(place, digests) for place in places]


def look(operation: Operation, world: World) -> object:
    """What a user finds of an operation; what was under construction must go with the next call."""
    with suppress(LayerError):
        # A scratch whose machine stopped may lack contents until it is next opened for changes.
        wclayer.LayerView(scratch=world.scratch).close()
    try:
        found = operation.result(world), [_disks(layer) for layer in (world.layer, world.scratch)]
    except LayerError as error:
        return Refused(str(error))
    except AssertionError as problems:
        return Refused(str(problems))
    for folder in (world.place, world.place / "store"):
        if folder.is_dir():
            remove_leftovers(folder)
            hidden = [path.name for path in folder.iterdir() if path.name.startswith(".")]
            assert hidden == [], hidden
    return found


class Case:
    """An operation that was recorded, and what is found in the states that a power cut may leave of it."""

    def __init__(self, name: str, recorder: Recorder, sources: Path, *, is_synced: bool = True) -> None:
        self.name = name
        self.operation: Operation = OPERATIONS[name]
        self.world = World(sources, recorder.place)
        self._recorder = recorder
        self.recording = recorder.record(name, is_synced=is_synced)
        self.left = look(self.operation, self.world)
        """What the operation itself left."""
        self.steps = len(self.recording.steps)
        self._known: dict[object, object] = {}
        self._tried: dict[object, object] = {}
        self.old = self.find(self.recording, State(frozenset()))
        self.new = self.find(self.recording, State(frozenset(range(self.steps))))
        self._between: list[object] | None = None

    def find(self, recording: Recording, state: State) -> object:
        """What is found in a state of the recording, or of one with fewer syncs."""
        key = recording.key(state)
        if key not in self._known:
            self._recorder.forget()
            recording.put(state, self.world.place)
            self._known[key] = look(self.operation, self.world)
        return self._known[key]

    @property
    def looked_at(self) -> int:
        """In how many different states was looked."""
        return len(self._known)

    def between(self) -> list[object]:
        """What a process that is killed leaves, step by step."""
        if self._between is None:
            self._between = []
            for state in self.recording.killed():
                found = self.find(self.recording, state)
                if found not in self._between and not isinstance(found, Refused):
                    self._between.append(found)
        return self._between

    def faults(self, recording: Recording, states: Iterable[tuple[int, State]]) -> Iterator[Fault]:
        """The states in which is found what must not be. What is refused must become the new state by a second try."""
        for done, state in states:
            found = self.find(recording, state)
            if found == self.new or (found == self.old and done < self.steps):
                continue
            if done < self.steps and isinstance(found, Refused) and self.name in MAY_BE_REFUSED:
                if self.second_try(recording, state) != self.new:
                    yield Fault(done, state, found)
            elif done == self.steps or isinstance(found, Refused) or found not in self.between():
                yield Fault(done, state, found)

    def second_try(self, recording: Recording, state: State) -> object:
        """What is there when the operation is done again in that state."""
        key = recording.key(state)
        if key not in self._tried:
            self._tried[key] = self._try(recording, state)
        return self._tried[key]

    def _try(self, recording: Recording, state: State) -> object:
        self._recorder.forget()
        recording.put(state, self.world.place)
        try:
            self.operation(self.world)
        except LayerError as error:
            return Refused(str(error))
        return look(self.operation, self.world)

    def are_missed(self, syncs: Collection[int], count: int, source: random.Random) -> bool:
        """Whether a user could find what must not be, had these syncs not happened."""
        recording, first = self.recording.without(syncs), min(syncs)
        moments = {*(sync + 1 for sync in syncs), self.steps}
        lone = ((done, state) for done in sorted(moments) for state in recording.lone(done))
        states = chain(recording.prefixes(first), lone, self.samples(recording, count, source, first))
        return next(self.faults(recording, states), None) is not None

    def samples(
        self, recording: Recording, count: int, source: random.Random, begin: int = 0
    ) -> Iterator[tuple[int, State]]:
        """States of random moments, half of them when the operation was done."""
        for number in range(count):
            done = self.steps if number % 2 else source.randrange(begin, self.steps + 1)
            yield done, recording.sampled(done, source)
