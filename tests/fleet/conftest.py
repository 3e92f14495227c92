"""The registry full of images that the tests of fleets read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fleet.registry_fleet import Expected, Fleet, FleetRegistry, make_fleet


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    """200 Windows images over 60 layers."""
    return make_fleet()


@pytest.fixture(scope="session")
def fleet_registry(tmp_path_factory: pytest.TempPathFactory, fleet: Fleet) -> Iterator[FleetRegistry]:
    """A registry with the fleet; nobody changes it. Call `forget` before you count."""
    with FleetRegistry(tmp_path_factory.mktemp("fleet") / "registry", fleet.tagged) as registry:
        yield registry


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory, fleet: Fleet) -> Expected:
    """The inventory of each image, taken alone: what a question about the fleet is compared with."""
    return Expected(tmp_path_factory.mktemp("expected") / "store", fleet)
