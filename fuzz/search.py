"""The search for new inputs: libFuzzer, through atheris, in a process for each target.

Each target runs in a fork of this process, since libFuzzer never returns. What a run raises is written down and the
search goes on; an input beyond the bounds ends its process, and another takes over.
"""

from __future__ import annotations

import gc
import hashlib
import math
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from fuzz import bounds, corpus, place
from fuzz.target import Mutator, Target
from fuzz.targets import TARGETS

_MOST_FINDS = 20
"""A target with so many finds of its own in a process is searched no further."""
_MOST_PROCESSES = 4
"""So many processes of a target may end before their time."""
_LEAST = 0.5
"""Each target is searched for so many seconds at least."""
_GRACE = bounds.WAITING + 30
"""A process that is so many seconds late is killed."""
# A thread has its own arena and stack: address space that is reserved, not memory that is used.
_FOR_THREADS = 256 << 20


@dataclass(slots=True)
class Result:
    """What the search of a target came to."""

    name: str
    seconds: float = 0.0
    runs: int = 0
    edges: int = 0
    features: int = 0
    inputs: int = 0
    finds: list[Path] = field(default_factory=list)
    processes: int = 0


@dataclass(slots=True)
class _Process:
    """A fork in which a target is searched."""

    result: Result
    log: Path
    started: float
    seconds: float


def search(atheris: ModuleType, names: Sequence[str], *, until: float, jobs: int) -> list[Result]:
    """Searches targets, some at once, until a time; prints each find, and a line for each target that is done.

    Args:
        atheris: the module.
        names: the targets'.
        until: when the search ends, in seconds of `time.monotonic`; the targets share the time by their weights.
        jobs: how many processes run at once.

    Returns:
        The results, in the order of the targets.
    """
    results = {name: Result(name) for name in names}
    waiting = list(names)
    running: dict[int, _Process] = {}
    gc.collect()
    gc.freeze()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=place.memory()) as scratch:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    name = waiting.pop(0)
                    now = time.monotonic()
                    left = max(0.0, until - now) * min(jobs, len(waiting) + 1)
                    weight = TARGETS[name].weight
                    share = weight / (weight + sum(TARGETS[other].weight for other in waiting))
                    seconds = max(_LEAST, min(left * share, until - now))
                    process, pid = _start(atheris, results[name], seconds, Path(scratch))
                    running[pid] = process
                for pid, process in list(running.items()):
                    late = time.monotonic() - process.started - process.seconds
                    if late > _GRACE:
                        os.kill(pid, signal.SIGKILL)
                    ended, status = os.waitpid(pid, os.WNOHANG)
                    if ended:
                        del running[pid]
                        if _end(process, status) and process.result.processes < _MOST_PROCESSES:
                            waiting.insert(0, process.result.name)
                        else:
                            print(_line(process.result), flush=True)
                time.sleep(0.05)
        finally:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    return list(results.values())


def _start(atheris: ModuleType, result: Result, seconds: float, scratch: Path) -> tuple[_Process, int]:
    """Forks the process of a target; returns it and its number."""
    name = result.name
    target = TARGETS[name]
    log = scratch / f"{name}.{result.processes}.log"
    folder = scratch / f"{name}.{result.processes}"
    folder.mkdir()
    result.processes += 1
    process = _Process(result, log, time.monotonic(), seconds)
    pid = os.fork()
    if pid:
        return process, pid
    try:
        _redirect(log)
        place.use(folder)
        seeds = folder / "seeds"
        for data in target.seeds():
            corpus.write(seeds, data)
        finds = corpus.new_finds(name)
        finds.mkdir(parents=True, exist_ok=True)
        corpus.found(name).mkdir(parents=True, exist_ok=True)
        folders = [corpus.found(name), seeds, corpus.kept(name), corpus.kept_finds(name)]
        words = folder / "words"
        words.write_text("".join(_in_quotes(word) for word in target.words))
        _fuzz(
            atheris,
            target,
            _Finds(finds).run(target, until=process.started + seconds),
            folder,
            [
                f"-max_len={target.max_size}",
                *([f"-dict={words}"] if target.words else []),
                f"-artifact_prefix={finds}/",
                "-reload=0",
                *(str(each) for each in folders if each.is_dir()),
            ],
        )
    except BaseException:  # noqa: BLE001 - the log tells the parent
        traceback.print_exc()
    finally:
        # libFuzzer ends the process itself.
        os._exit(1)


def _in_quotes(word: bytes) -> str:
    """A line of libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n'


def _redirect(log: Path) -> None:
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _fuzz(
    atheris: ModuleType, target: Target, run: Callable[[bytes], None], folder: Path, options: Sequence[str]
) -> None:
    """Gives this process to libFuzzer."""
    memory = bounds.resident() + bounds.MEMORY
    bounds.limit_memory(bounds.MEMORY + _FOR_THREADS)
    arguments = [
        sys.argv[0],
        f"-timeout={bounds.WAITING}",
        f"-report_slow_units={bounds.WAITING}",
        f"-rss_limit_mb={memory >> 20}",
        *options,
    ]
    if target.mutator is None:
        atheris.Setup(arguments, run)
    else:
        atheris.Setup(arguments, run, custom_mutator=_mutator(atheris, target.mutator))
    atheris.Fuzz()


def _mutator(atheris: ModuleType, mutate: Mutator) -> Callable[[bytes, int, int], bytes]:
    """The target's mutator and libFuzzer's own, in turns."""

    def either(data: bytes, max_size: int, seed: int) -> bytes:
        source = random.Random(seed)
        if source.randrange(4) == 0:
            mutated: bytes = atheris.Mutate(data, max_size)
            return mutated
        return mutate(data, source, max_size)[:max_size]

    return either


class _Finds:
    """What runs raised in this process: one find for each place that raised."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: set[str] = set()

    def run(self, target: Target, *, until: float = math.inf) -> Callable[[bytes], None]:
        """The function that libFuzzer calls with each input.

        Args:
            target: what it runs.
            until: when the process ends, in seconds of `time.monotonic`. libFuzzer counts whole seconds, and looks at
                no clock while it reads the corpus.
        """

        runs = 0

        def one(data: bytes) -> None:
            nonlocal runs
            if time.monotonic() > until:
                os.write(2, f"\nRUNS {runs}\n".encode())
                os._exit(0)
            runs += 1
            signal.setitimer(signal.ITIMER_PROF, bounds.SECONDS)
            try:
                target.one(data)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is a find
                signal.setitimer(signal.ITIMER_PROF, 0)
                self._note(data, error)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)

        signal.signal(signal.SIGPROF, bounds.expired)
        return one

    def _note(self, data: bytes, error: BaseException) -> None:
        # What the run has taken is free from here on: this needs memory, too, and libFuzzer must not find it in the
        # next run, which has another input.
        traceback.clear_frames(error.__traceback__)
        frames = traceback.extract_tb(error.__traceback__)
        place = type(error).__name__
        if not isinstance(error, bounds.OutOfTimeError):
            place += str([(frame.filename, frame.lineno) for frame in frames[-3:]])
        if place in self._known:
            return
        self._known.add(place)
        file = corpus.write(self._folder, data)
        file.with_suffix(".txt").write_text("".join(traceback.format_exception(error)))
        os.write(2, f"\nFIND {file}\n".encode())
        if len(self._known) == _MOST_FINDS:
            os._exit(0)


def _end(process: _Process, status: int) -> bool:
    """Takes down what the log of a process says; returns whether it ended before its time."""
    result = process.result
    spent = time.monotonic() - process.started
    result.seconds += spent
    log = process.log.read_text(errors="replace")
    lines = re.findall(r"^#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/", log, re.MULTILINE)
    total = re.search(r"^RUNS (\d+)", log, re.MULTILINE)
    if lines:
        runs, result.edges, result.features, result.inputs = (int(number) for number in lines[-1])
        result.runs += int(total[1]) if total else runs
    written = re.findall(r"^FIND (.+)$", log, re.MULTILINE)
    written += re.findall(r"Test unit written to (\S+)", log)
    for text in dict.fromkeys(written):
        find = Path(text)
        result.finds.append(find)
        print(f"{result.name}: find: {_reason(find)}")
        print(f"    again: python -m fuzz {result.name} {os.path.relpath(find)}", flush=True)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return False
    if not written:
        # Not an input's doing, or one that took the process along without a word.
        file = corpus.write(corpus.new_finds(result.name), log.encode())
        file = file.rename(file.with_suffix(".txt"))
        result.finds.append(file)
        print(f"{result.name}: find: the process ended with status {code}; its log is {file}", flush=True)
        return False
    return True


def _reason(find: Path) -> str:
    kind = find.name.partition("-")[0]
    if kind == "timeout":
        return f"takes longer than {bounds.WAITING} s"
    if kind == "oom":
        return f"takes more than {bounds.MEMORY >> 20} MiB of memory"
    text = find.with_suffix(".txt")
    return text.read_text().strip().splitlines()[-1][:200] if text.is_file() else "ends the process"


_COLUMNS = "{:<24} {:>8} {:>10} {:>8} {:>7} {:>9} {:>7} {:>6}"


def table(results: Iterable[Result]) -> list[str]:
    """The results as lines of text, with their sums."""
    results = list(results)
    lines = [_COLUMNS.format("target", "seconds", "runs", "runs/s", "edges", "features", "inputs", "finds")]
    lines += [_line(result) for result in results]
    total = Result("total")
    for result in results:
        total.seconds += result.seconds
        total.runs += result.runs
        total.inputs += result.inputs
        total.finds += result.finds
    return [*lines, _line(total)]


def _line(result: Result) -> str:
    return _COLUMNS.format(
        result.name,
        f"{result.seconds:.0f}",
        result.runs,
        f"{result.runs / result.seconds:.0f}" if result.seconds else "-",
        result.edges or "-",
        result.features or "-",
        result.inputs,
        len(result.finds),
    )


def minimise(atheris: ModuleType, name: str, *, max_bytes: int) -> tuple[int, int]:
    """Makes a target's corpus in the repository anew: the inputs that reach most for their size, of all that are known.

    Args:
        atheris: the module.
        name: the target's.
        max_bytes: the most bytes that the corpus may have.

    Returns:
        The number of inputs that are kept, and of the features that they reach.
    """
    target = TARGETS[name]
    known: dict[str, bytes] = {}
    for data in [
        *target.seeds(),
        *(file.read_bytes() for file in corpus.files(corpus.found(name), corpus.kept(name), corpus.kept_finds(name))),
    ]:
        if len(data) <= target.max_size:
            known.setdefault(hashlib.sha256(data).hexdigest()[:16], data)
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=place.memory()) as scratch:
        reached = _features(atheris, target, known, Path(scratch))
    chosen: list[str] = []
    covered: set[int] = set()
    size = 0
    while reached:
        # The most that is new for a byte; a file costs as much as some bytes.
        best = max(reached, key=lambda each: len(reached[each] - covered) / (64 + len(known[each])))
        new = reached.pop(best) - covered
        if not new:
            break
        if size + len(known[best]) <= max_bytes and not _is_find(name, known[best]):
            chosen.append(best)
            covered |= new
            size += len(known[best])
    folder = corpus.kept(name)
    shutil.rmtree(folder, ignore_errors=True)
    for each in chosen:
        corpus.write(folder, known[each])
    return len(chosen), len(covered)


def _is_find(name: str, data: bytes) -> bool:
    """Whether an input shows a fault that is not mended yet: the corpus has none of these."""
    try:
        corpus.run(name, "corpus", data)
    except corpus.FindError:
        return True
    return False


def _features(atheris: ModuleType, target: Target, inputs: dict[str, bytes], scratch: Path) -> dict[str, set[int]]:
    """The features that each input reaches, by the name of the input: what libFuzzer's merge writes down.

    The control file names the inputs; libFuzzer adds `STARTED number size` and `FT number features…` for each. Where an
    input takes the process along, the next process goes on behind it.
    """
    names = list(inputs)
    for each, data in inputs.items():
        (scratch / each).write_bytes(data)
    control = scratch / "control"
    control.write_text(f"{len(names)}\n0\n" + "".join(f"{scratch / each}\n" for each in names))
    empty = scratch / "empty"
    empty.mkdir()
    for _ in range(_MOST_PROCESSES):
        pid = os.fork()
        if not pid:
            try:
                _redirect(scratch / "log")
                place.use(scratch)
                run = _Finds(empty).run(target)
                options = [
                    "-merge_inner=1",
                    f"-merge_control_file={control}",
                    f"-artifact_prefix={empty}/",
                    f"-max_len={target.max_size}",
                ]
                _fuzz(atheris, target, run, scratch, [*options, str(empty), str(empty)])
            finally:
                os._exit(1)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
            break
    return {
        names[int(number)]: {int(feature) for feature in features.split()}
        for number, features in re.findall(r"^FT (\d+)((?: \d+)*)$", control.read_text(), re.MULTILINE)
    }
