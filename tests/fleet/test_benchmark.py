"""The benchmark of scans runs, and its promises that do not depend on the machine hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.source import ROOT


def test_every_layer_is_downloaded_once_and_not_again(tmp_path: Path) -> None:
    small = ("--images", "4", "--layers", "5", "--jobs", "2", "--runs", "1", "--entries", "300", "--size", "300000")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fleet", "--folder", str(tmp_path), *small],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = (
        line.replace(" MB", "").replace(" MiB", "").split()
        for line in done.stdout.splitlines()
        if line[:7] == "      2"
    )
    (jobs, images, layers), (downloaded, stored), again = row[:3], row[9:11], row[-1]
    assert (jobs, images, layers) == ("2", "4", "5"), done.stdout
    assert float(downloaded) == float(stored) > 0
    assert float(again) == 0
