"""What the tests in this folder share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def runs(is_long: bool) -> range:
    """The numbers of the kills; `WCLAYER_KILL_RUN` chooses one, to see it again."""
    if "WCLAYER_KILL_RUN" in os.environ:
        number = int(os.environ["WCLAYER_KILL_RUN"])
        return range(number, number + 1)
    return range(1000 if is_long else 10)
