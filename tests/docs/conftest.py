"""The registry that stands for all registries of the documents."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.images.registry import DebianRegistry


@pytest.fixture(scope="session")
def debian_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianRegistry]:
    """Debian's registry, for all tests of a process."""
    with DebianRegistry(tmp_path_factory.mktemp("registry") / "plain") as registry:
        yield registry
