"""Stands in front of libc in a process of its own, and makes one of its calls fail: the Python side of `host.c`."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
from pathlib import Path

from tests.support import witness

VARIABLE = "WCLAYER_FAULTS"
"""The environment variable that names the file of the `State`."""
SHORT, END = -1, -2
"""Faults that are no error: a part of a read or write is done; a read finds the end."""
_OFF, _RECORD, _FAIL = range(3)
_CALLS = 16384


class _Call(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char * 12), ("path", ctypes.c_char * 244))


class State(ctypes.Structure):
    """What the process and its children have in common; `host.c` declares the same."""

    _fields_ = (
        ("mode", ctypes.c_int),
        ("fault", ctypes.c_int),
        ("at", ctypes.c_long),
        ("name", ctypes.c_char * 12),
        ("unused", ctypes.c_int),
        ("count", ctypes.c_long),
        ("hit", ctypes.c_long),
        ("memory_mode", ctypes.c_int),
        ("memory_length", ctypes.c_int),
        ("memory_at", ctypes.c_long),
        ("memory_count", ctypes.c_long),
        ("memory_hits", ctypes.c_long),
        ("prefix", ctypes.c_char * 256),
        ("calls", _Call * _CALLS),
    )


def build(folder: Path) -> dict[str, str]:
    """Compiles `host.c` in a folder; gives the environment in which a process has it."""
    library, state = folder / "host.so", folder / "state"
    source = Path(__file__).with_name("host.c")
    subprocess.run(
        [witness("gcc"), "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", library, source], check=True
    )
    state.write_bytes(bytes(ctypes.sizeof(State)))
    return {"LD_PRELOAD": str(library), VARIABLE: str(state)}


class Shim:
    """The faults of this process, which was started in the environment that `build` gave."""

    def __init__(self) -> None:
        with open(os.environ[VARIABLE], "r+b") as file:
            self._state = State.from_buffer(mmap.mmap(file.fileno(), 0))

    def watch(self, prefix: Path) -> None:
        """Files below a folder count, besides those of the kernel (`/proc`, pipes); others are Python's own."""
        self._state.prefix = os.fsencode(prefix)

    def record(self) -> None:
        """From now on, calls are written down."""
        self._begin(_RECORD)

    def fail(self, at: int, name: str, fault: int) -> None:
        """The first call of that name, from the `at`th call of any name on, has a fault: an errno, `SHORT` or `END`."""
        self._state.at, self._state.name, self._state.fault = at, name.encode(), fault
        self._begin(_FAIL)

    def _begin(self, mode: int) -> None:
        self._state.count = self._state.hit = 0
        self._state.mode = mode

    def stop(self) -> int | None:
        """Nothing is recorded and nothing fails from now on. Returns the number of the call that had the fault."""
        self._state.mode = self._state.memory_mode = _OFF
        return self._state.hit - 1 if self._state.hit else None

    def calls(self) -> list[tuple[str, str]]:
        """The calls since `record` or `fail`: what was called, and the path that it is about."""
        return [self.call(number) for number in range(min(self._state.count, _CALLS))]

    def call(self, number: int) -> tuple[str, str]:
        """One of the calls."""
        call = self._state.calls[number]
        return call.name.decode(), os.fsdecode(call.path)

    def count_memory(self) -> None:
        """From now on, allocations are counted."""
        self._begin_memory(_RECORD)

    def exhaust_memory(self, at: int, length: int) -> None:
        """The `at`th allocation from now on fails, and so many after it."""
        self._state.memory_at, self._state.memory_length = at, length
        self._begin_memory(_FAIL)

    def _begin_memory(self, mode: int) -> None:
        self._state.memory_count = self._state.memory_hits = 0
        self._state.memory_mode = mode

    @property
    def allocations(self) -> int:
        """How many allocations there were since `count_memory` or `exhaust_memory`."""
        return int(self._state.memory_count)
