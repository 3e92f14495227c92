"""A real registry that is killed while a blob comes or goes: a download goes on where it was, and an upload succeeds.

Debian's registry continues an upload only between two parts: the address of the upload states how many bytes it has,
and the registry cancels an upload that has more, of a part that was cut. `FakeRegistry` continues those, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images.blob_source import blob_source
from tests.images.registry import DebianRegistry
from wclayer.images.descriptor import DOCKER_LAYER, Descriptor
from wclayer.images.reference import parse_reference
from wclayer.images.registry import RegistryOptions, RegistrySource, RegistryTarget

_PIECE = hashlib.sha256(b"a piece").digest() * (1 << 15)
BLOB = b"".join(bytes([number]) + _PIECE for number in range(48))
LAYER = Descriptor.of(BLOB, DOCKER_LAYER)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[DebianRegistry]:
    with DebianRegistry(tmp_path / "registry") as running:
        yield running


@pytest.mark.parametrize("chunk_size", [0, 8 << 20])
def test_an_upload_outlives_the_registry(registry: DebianRegistry, chunk_size: int) -> None:
    options = RegistryOptions(backoff=0.05, chunk_size=chunk_size)
    killed: list[int] = []

    def kill(done: int) -> None:
        if done > 30 << 20 and not killed:
            killed.append(done)
            registry.restart()

    with RegistryTarget(parse_reference(f"{registry.host}/app:1"), options) as target:
        target.put_blob(LAYER, blob_source(BLOB), kill)
        assert killed
        assert target.has(LAYER)
    with (
        RegistrySource(parse_reference(f"{registry.host}/app:1"), options) as again,
        again.open_blob(LAYER) as stream,
    ):
        assert stream.read() == BLOB


def test_a_download_outlives_the_registry(registry: DebianRegistry) -> None:
    options = RegistryOptions(backoff=0.05)
    with RegistryTarget(parse_reference(f"{registry.host}/app:1"), options) as target:
        target.put_blob(LAYER, blob_source(BLOB))
    with (
        RegistrySource(parse_reference(f"{registry.host}/app:1"), options) as source,
        source.open_blob(LAYER) as stream,
    ):
        data = stream.read(20 << 20)
        registry.restart()
        data += stream.read(10 << 20)
        registry.restart()
        assert data + stream.read() == BLOB
