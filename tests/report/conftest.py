"""The images of Windows that the tests of the page read, and the browser that shows it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.inventory.conftest import machine
from tests.pages.browser import Browser, started

__all__ = ["machine"]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("profile")) as running:
        yield running
