"""What a search finds: each kind of fault, once for each place, and the way to it in a bounded time."""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Callable
from pathlib import Path

import atheris
import pytest

from fuzz import corpus, search
from fuzz.target import Target
from fuzz.targets import TARGETS


def _raises(data: bytes) -> None:
    if data[:1] == b"x":
        raise KeyError("x")
    if data[:1] == b"y":
        raise IndexError("y")


def _is_allowed(data: bytes) -> None:
    raise ValueError("bad bytes")


def _never_ends(data: bytes) -> None:
    while data[:1] == b"x":
        pass


def _asks_for_memory(data: bytes) -> None:
    if data[:1] == b"x":
        bytearray(1 << 40)


def _takes_memory(data: bytes) -> None:
    pieces = []
    while data[:1] == b"x":
        # So much at once comes from the system, and goes back there when it is free (mallopt(3), M_MMAP_THRESHOLD).
        pieces.append(b"x" * (1 << 26))


def _dies(data: bytes) -> None:
    if data[:1] == b"x":
        os.abort()


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "_WORK", tmp_path / "work")
    monkeypatch.setattr(corpus, "_FUZZ", tmp_path / "kept")
    # libFuzzer sets no handler of a signal that has one.
    faulthandler.disable()


def _search(monkeypatch: pytest.MonkeyPatch, run: Callable[[bytes], None], seconds: int) -> search.Result:
    monkeypatch.setitem(TARGETS, "tried", Target(run, lambda: [b"a"], words=(b"x", b"y"), max_size=2))
    (result,) = search.search(atheris, ["tried"], until=time.monotonic() + seconds, jobs=1)
    return result


@pytest.mark.parametrize(
    ("run", "seconds", "reason"),
    [
        (_never_ends, 12, "OutOfTimeError"),
        (_asks_for_memory, 2, "MemoryError"),
        (_takes_memory, 12, "oom|MemoryError"),
        (_dies, 2, "crash"),
    ],
)
def test_a_run_beyond_its_bounds_is_a_find_with_the_way_to_run_it_again(
    run: Callable[[bytes], None],
    seconds: int,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = _search(monkeypatch, run, seconds)
    assert result.finds
    assert all(find.read_bytes()[:1] == b"x" for find in result.finds)
    texts = [find.with_suffix(".txt") for find in result.finds]
    told = [find.name for find in result.finds] + [text.read_text() for text in texts if text.is_file()]
    assert any(word in text for word in reason.split("|") for text in told)
    assert f"python -m fuzz tried {os.path.relpath(result.finds[0])}" in capsys.readouterr().out


def test_the_search_goes_on_after_a_find_and_tells_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _search(monkeypatch, _raises, 3)
    assert sorted(find.read_bytes()[:1] for find in result.finds) == [b"x", b"y"]
    assert result.processes == 1
    assert result.seconds >= 2


def test_what_is_allowed_is_no_find(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _search(monkeypatch, _is_allowed, 2).finds == []


def test_a_minimised_corpus_reaches_what_all_inputs_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    @atheris.instrument_func  # type: ignore[untyped-decorator]
    def branches(data: bytes) -> None:
        if data[:1] == b"x" and data[1:2] == b"y":
            raise ValueError

    monkeypatch.setitem(TARGETS, "tried", Target(branches, lambda: [b"a", b"b"]))
    for data in (b"x", b"xy", b"xy and more", b"ab"):
        corpus.write(corpus.found("tried"), data)
    count, features = search.minimise(atheris, "tried", max_bytes=100)
    kept = [file.read_bytes() for file in corpus.files(corpus.kept("tried"))]
    assert features >= 2
    assert len(kept) == count
    assert b"xy" in kept
    assert b"xy and more" not in kept
