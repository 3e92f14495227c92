"""What holds for the whole suite: hypothesis' settings, compiled modules, the order, and that CI skips nothing."""

from __future__ import annotations

import compileall
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import wclayer

settings.register_profile(
    "default", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# CI tells whether a change is good, so it looks at the same examples each time; new ones are looked for elsewhere.
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
# On Windows the same code runs as here: it is the host that is looked at.
settings.register_profile("windows", parent=settings.get_profile("ci"), max_examples=10)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=3000)
# What the user of the machine has as defaults is no part of a test.
os.environ["WCLAYER_CONFIG"] = ""
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))

_LONGEST = Path(__file__).parent / "windows"
_skipped: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="run the tests in tests/proof as often as it takes to be sure: hours"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Compiles the package where Python is told to write no compiled modules (`PYTHONDONTWRITEBYTECODE`).

    Tests start thousands of commands, and each of them would compile what it imports again: half of its time. What pip
    installs is compiled, too.
    """
    is_worker = hasattr(config, "workerinput")
    if sys.dont_write_bytecode and not is_worker:
        compileall.compile_dir(Path(wclayer.__file__).parent, quiet=2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest tests first: those that run a Windows Python take minutes.

    At the end, one worker of `-n` would wait for another that has just begun such a test.
    """
    items.sort(key=lambda item: _LONGEST not in item.path.parents)


@pytest.fixture(scope="session")
def is_long(pytestconfig: pytest.Config) -> bool:
    """Whether sampled tests take as many samples as their long mode says, instead of the few that CI has time for."""
    return bool(pytestconfig.getoption("--long"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test is a failure where everything must be there."""
    if _skipped and os.environ.get("CI"):
        print(f"\nskipped in CI: {', '.join(sorted(set(_skipped)))}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
