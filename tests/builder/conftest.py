"""Fixtures that the tests of builds share with those of images, registries, and with one another."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.images.conftest import certificates, debian_registry, fake, repository

__all__ = ["certificates", "debian_registry", "fake", "repository"]


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for base layers that scratches of many tests stand on; nobody changes them."""
    return tmp_path_factory.mktemp("bases")
