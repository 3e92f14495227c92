"""What a registry says: nothing of it commands a terminal, shows a secret, or fills the memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.images.registry import Access, FakeRegistry, Fault, Reply, faults
from tests.images.registry_bench import Bench, fill
from wclayer.errors import (
    AccessDeniedError,
    PathNotFoundError,
)


def test_what_a_registry_says_cannot_command_a_terminal(bench: Bench, fake: FakeRegistry) -> None:
    said = "\x1b[31mred\x07 \x9b0m \u202eback " + "long " * 1000
    fake.faults.append(Fault("manifest", instead=lambda _: Reply.error(404, "X", said)))
    ended = bench.pull(fake)
    bench.check_sentence(ended, PathNotFoundError, "red", "back")
    assert ended.said.strip().isprintable()
    assert len(ended.said) < 1000


@pytest.mark.parametrize("secret", ["Basic", "Bearer"])
def test_what_a_registry_says_of_a_secret_is_not_shown(bench: Bench, secret: str) -> None:
    access = Access("basic" if secret == "Basic" else "token")
    with FakeRegistry(access=access) as registry:
        echo = Fault("manifest", instead=lambda request: Reply.error(403, "X", f"no, {request.authorization}"), skip=1)
        registry.faults.append(echo)
        bench.check_sentence(bench.pull(registry), AccessDeniedError, "denies the tag 1")
        assert registry.requests[-1].authorization.startswith(secret)


_MEASURED = """
import sys
from tests.memory import peak_memory
from wclayer.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("peak", peak_memory())
"""


def _peak(store: Path, *problems: Fault) -> int:
    """The most memory, in MiB, that a pull needs in a process of its own."""
    with FakeRegistry(*problems, access=Access("token", anonymous_pull=True)) as registry:
        fill(registry)
        arguments = ["pull", f"{registry.host}/app:1", "--store", str(store), "--retries", "0", "--no-sync"]
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
    assert "Traceback" not in done.stderr
    return int(done.stdout.split()[-1]) >> 20


@pytest.fixture(scope="module")
def usual_peak(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The memory that a pull needs from a registry without faults."""
    return _peak(tmp_path_factory.mktemp("usual") / "store")


@pytest.mark.parametrize(
    "make",
    [
        lambda: faults.endless("manifest"),
        lambda: faults.endless("token"),
        lambda: faults.endless("blob"),
        lambda: faults.endless("manifest", status=500),
        lambda: Fault("manifest", instead=lambda _: Reply(404, [(f"X-{n}", "x" * 60_000) for n in range(99)])),
    ],
    ids=["manifest", "token", "blob", "error", "headers"],
)
def test_what_never_ends_needs_no_memory(bench: Bench, usual_peak: int, make: Callable[[], Fault]) -> None:
    # A manifest may be 4 MiB large, and is read and parsed.
    assert _peak(bench.store, make()) < usual_peak + 24
