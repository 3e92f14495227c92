"""A pull that is interrupted ends at once, whatever it waits for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.images import samples
from tests.images.registry import FakeRegistry, faults
from tests.images.registry_bench import fill


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [None, 100_000])
def test_an_interrupt_does_not_wait_for_what_hangs(
    fake: FakeRegistry, tmp_path: Path, after: int | None, number: signal.Signals
) -> None:
    """Ctrl-C, or a request to end, while a blob does not come, or no more of it, and a layer is being unpacked."""
    fill(fake, samples.servercore())
    reference = f"{fake.host}/app:1"
    fake.faults = [faults.hang("blob", after)]
    command = [sys.executable, "-m", "wclayer", "pull", "--store", str(tmp_path / "store"), reference]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    end = time.monotonic() + 20
    while not fake.asked("blob", "GET") and time.monotonic() < end:
        time.sleep(0.01)
    # All that came is unpacked.
    time.sleep(0.5)
    process.send_signal(number)
    try:
        _, err = process.communicate(timeout=10)
    finally:
        process.kill()
    assert (process.returncode, err) == (128 + number, b"wclayer: interrupted\n")
    layers = tmp_path / "store/layers"
    assert not [name for name in (os.listdir(layers) if layers.exists() else ()) if not name.startswith(".")]
