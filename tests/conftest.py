"""What holds for the whole suite: hypothesis' settings, compiled modules, where files of tests are, the order, and that
CI skips nothing."""

from __future__ import annotations

import compileall
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

import wclayer

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

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

_LONGEST = ("windows", "fleet", "proof")
"""Folders with tests that take minutes, or half of one."""
_MEMORY = Path("/dev/shm")
_ROOM = 8 << 30
"""Bytes that the files of tests may take; as much memory must stay free beside them."""
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
    if not is_worker and not config.option.basetemp and _is_like_a_disk(_MEMORY):
        # Read when the first folder is made. Workers get theirs from here.
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def _is_like_a_disk(folder: Path) -> bool:
    """Whether files in memory do what tests ask of those on a disk: there is room, programs run, attributes are kept.

    Tests write and sync thousands of small files, and wait for the disk half of the time. What depends on the file
    system has its own in `tests/proof`; `.ci/lowest` runs on the disk.
    """
    if sys.platform != "linux" or not os.access(folder, os.W_OK):
        return False
    system = os.statvfs(folder)
    available = re.search(r"^MemAvailable: *(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    is_small = system.f_bavail * system.f_frsize < _ROOM or available is None or int(available[1]) << 10 < 2 * _ROOM
    if is_small or system.f_flag & os.ST_NOEXEC:
        return False
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        try:
            os.setxattr(file.name, "user.tests", b"")
        except OSError:
            return False
    return True


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Gives each worker of `-n` one part of the tests in their order, and the half of another's rest when it has ended.

    A fixture of a module or a folder is then made by one worker, not by all, and all work until the end.
    """
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the folders with the longest tests first.

    At the end, one worker of `-n` would wait for another that has just begun such a test.
    """
    tests = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(tests).parts[0] if tests in item.path.parents else ""
        return _LONGEST.index(folder) if folder in _LONGEST else len(_LONGEST)

    items.sort(key=place)


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
