"""A pytest plugin of the Windows Python: what cannot run there is skipped, each with its reason from `limits`."""

from __future__ import annotations

import pytest

from tests.windows import limits


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        reason = limits.reason(item.nodeid)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))
