"""What every public function raises when something is wrong with what it needs: the table is `functions.CALLS`."""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import wclayer
from tests.proof.conditions import as_nobody, caught, leave, make_read_only, mounted
from tests.proof.functions import ASK_NOTHING, CALLS, READS, Condition
from tests.proof.world import MEMORY, World, make_sources
from tests.source import ROOT
from wclayer.errors import ERROR_FILE_NOT_FOUND, LayerError
from wclayer.images.transfer import copy_image
from wclayer.layers import atomic
from wclayer.layers.directory.scratch import ScratchDirectory

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="faults of the host are made with what Linux has"),
]
_DISK = "96m"
_ROOMS = (0, 8 << 10, 120 << 10, 500 << 10)
"""Bytes that are left of a full disk: one function needs more than another."""


@pytest.fixture(scope="module")
def sources() -> Iterator[Path]:
    # Not below pytest's folder, which no other user may enter.
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        place = Path(folder)
        place.chmod(0o755)
        make_sources(place)
        store = wclayer.ImageStore(place / "store")
        with wclayer.DockerArchiveSource(place / "image.tar") as source, store.target("image:1") as target:
            copy_image(source, target)
        yield place


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_every_public_function_is_in_the_table() -> None:
    """So is every public class that is made of something on the host; values, and what others return, are not."""
    functions = {name for name in wclayer.__all__ if inspect.isfunction(getattr(wclayer, name))}
    assert functions <= CALLS.keys() | ASK_NOTHING.keys(), functions - CALLS.keys() - ASK_NOTHING.keys()
    classes = {
        name
        for name in wclayer.__all__
        if inspect.isclass(kind := getattr(wclayer, name))
        and re.search("StrPath|BinaryIO|Disk", _parameters(kind))
        and not issubclass(kind, LayerError)
    }
    assert len(classes) > 15
    assert classes - CALLS.keys() - ASK_NOTHING.keys() == set()
    assert (CALLS.keys() | ASK_NOTHING.keys()) <= functions | classes | {"LayerPath"}


def _parameters(kind: type[Any]) -> str:
    with contextlib.suppress(ValueError):
        return str(inspect.signature(kind))
    return ""


_ROWS = {
    row[1].strip(" `"): (int(row[3]), int(row[4]))
    for line in (ROOT / "docs/errors.md").read_text().splitlines()
    if re.match(r"\| `\w+Error` \|", line) and (row := line.split("|"))
}
"""Of each class of the family, what the document says: its Windows code and the exit status of the command."""


def _raised(name: str, condition: Condition, sources: Path, folder: Path) -> tuple[LayerError | None, World]:
    """What a function raises under a condition, and the world as it is then."""
    call = CALLS[name]
    if condition in (Condition.FULL, Condition.READ_ONLY):
        error, world = None, World(sources, folder / "m" / "place")
        for room in _ROOMS if condition is Condition.FULL else [0]:
            with mounted(folder / "m", _DISK) as disk:
                world = call.prepare(sources, disk / "place")
                leave(disk, room) if condition is Condition.FULL else make_read_only(disk)
                error = _alone(caught(call.call, world))
            if error is not None:
                break
        return error, world
    world = call.prepare(sources, folder / "place")
    if condition is Condition.MISSING:
        (world.place / call.needs).rename(folder / "elsewhere")
    elif condition is Condition.DAMAGED:
        file = call.file_in(world)
        data = bytearray(file.read_bytes())
        data[4 : len(data) // 2] = b"\xee" * (len(data) // 2 - 4)
        file.write_bytes(data)
    elif condition is Condition.UNREADABLE:
        # Of all the user may do, only this.
        for at, _, names in os.walk(folder):
            os.chmod(at, 0o777)
            for path in (Path(at, name) for name in names):
                if not path.is_symlink():
                    path.chmod(0o666)
        call.file_in(world).chmod(0)
        return as_nobody(call.call, world), world
    else:
        with _used_by_another(world.place / call.given):
            return caught(call.call, world), world
    return caught(call.call, world), world


def _alone(error: LayerError | None) -> LayerError | None:
    """An error without its traceback and its cause, which keep files open."""
    return error and type(error)(error.path, error.detail, code=error.code, operation=error.operation)


def _used_by_another(path: Path) -> contextlib.AbstractContextManager[object]:
    if (path / "sandbox.vhdx").exists():
        return ScratchDirectory(path, exclusive=True)
    return contextlib.closing(atomic.lock_place(path))


@pytest.mark.parametrize(
    ("name", "condition"),
    [(name, condition) for name, call in CALLS.items() for condition in Condition
     if not isinstance(call.outcome(condition), str)],
)  # fmt: skip
def test_the_error_says_what_is_wrong_and_where(
    name: str, condition: Condition, sources: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "PATIENCE", 0.1)
    kind = CALLS[name].outcome(condition)
    error, world = _raised(name, condition, sources, folder)
    assert type(error) is kind, error
    assert error is not None
    assert error.operation
    assert str(error).startswith(f"{error.operation}: {error.path}")
    code, exit_status = _ROWS[type(error).__name__]
    if condition is Condition.MISSING and (sources / CALLS[name].needs).is_file():
        code = ERROR_FILE_NOT_FOUND
    assert (error.code, error.exit_status) == (code, exit_status)
    assert error.errno == type(error)._errno
    if condition in (Condition.MISSING, Condition.UNREADABLE, Condition.DAMAGED, Condition.BUSY):
        assert error.path.startswith(str(world.place / CALLS[name].given))
    else:
        assert error.path.startswith(str(world.place))


@pytest.mark.parametrize(
    ("name", "condition"),
    [(name, condition) for name, call in CALLS.items() for condition in (Condition.FULL, Condition.READ_ONLY)
     if call.outcome(condition) is READS],
)  # fmt: skip
def test_what_only_reads_does_not_need_to_write(name: str, condition: Condition, sources: Path, folder: Path) -> None:
    assert _raised(name, condition, sources, folder)[0] is None
