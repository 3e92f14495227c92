"""What the tests of the hcs engine start from: the engine chosen, its stand-ins reset, and checked at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import wclayer
from tests.windows.guest.fake import Fake
from wclayer.engines.hcs import files
from wclayer.host import winapi
from wclayer.host.root import remove_tree


class _Kernel32:
    """kernel32, with some of its calls replaced."""

    def __init__(self, real: object, replaced: dict[str, object]) -> None:
        self._real = real
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """The hcs engine over stand-ins."""
    fake = Fake()
    fake.reset()
    replaced = {}
    for name in ("DeviceIoControl", "GetDiskFreeSpaceExW"):
        replaced[name] = getattr(fake.files, name)
        replaced[name].argtypes = getattr(winapi._kernel32, name).argtypes
    monkeypatch.setattr(winapi, "_kernel32", _Kernel32(winapi._kernel32, replaced))
    monkeypatch.setattr(files, "calls", files.FileCalls(fake.files))
    wclayer.use_engine("hcs")
    yield fake
    wclayer.use_engine(None)
    fake.check()
    fake.reset()


def service(name: str, layer: str, other: str, data: bytes) -> int:
    """What Windows does on the disk, as far as the tests look at it."""
    if name in ("CreateLayer", "CreateSandboxLayer"):
        os.mkdir(layer)
    if name == "CreateSandboxLayer":
        Path(layer, "sandbox.vhdx").write_bytes(b"disk")
    if name == "DestroyLayer":
        remove_tree(Path(layer))
    return 0
