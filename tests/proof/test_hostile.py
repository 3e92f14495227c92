"""Hostile input of every kind through every command, in processes with bounds and beside canaries."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.forms import KINDS, forms

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are bounded and watched with what Linux has"),
]
_ROOT = Path(__file__).parents[2]
_EVERY = 100
"""In CI, one of so many of the commands that are not the first ones of a form."""
ELSEWHERE = {
    "F7": "tests/view/test_mount_bounds.py::test_names_that_libfuse_kept_for_itself_are_names",
    "F8": "tests/proof/test_faults.py::test_a_full_disk_is_a_full_disk",
    "F9": "tests/proof/test_faults.py::test_a_full_disk_is_a_full_disk",
    "F10": "tests/proof/test_faults.py::test_a_full_disk_is_a_full_disk",
    "F16": "tests/proof/test_faults.py::test_a_full_disk_is_a_full_disk",
    "F23": "tests/layers/test_scratch_durability.py",
    "F27": "tests/view/test_mount_state.py::test_a_dead_server_is_seen_whatever_the_kernel_remembers",
    "F30": "tests/proof/test_faults.py::test_a_read_only_disk_denies_access",
    "F32": "tests/view/test_mount_bounds.py::test_a_rename_onto_itself_returns_when_the_kind_has_changed",
    "F33": "tests/view/test_mount_bounds.py::test_a_name_that_became_another_kind_is_seen_as_that",
    "F37": "tests/view/test_mount_state.py::test_modules_in_the_current_folder_are_not_run",
    "F42": "tests/engines/test_destroy.py::test_a_scratch_whose_server_was_killed_is_removed_with_its_mount",
    "F43": "tests/engines/test_destroy.py::test_a_file_system_mounted_in_a_layer_is_not_emptied",
}
"""Findings that are no input: a host that fails, a kill, a power cut, a sequence of calls; with the test of each."""


@pytest.mark.parametrize("kind", KINDS)
def test_no_form_does_harm(kind: str, is_long: bool) -> None:
    """The command that anybody can run prints each form and command with what is wrong."""
    every = [] if is_long else ["--every", str(_EVERY)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.proof.hostile", *every, kind],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    told = re.search(r"(\d+) commands, 0 with problems", done.stdout)
    assert told is not None
    assert int(told[1]) >= sum(1 for _ in forms(kind))


def test_every_finding_has_a_form_or_a_test() -> None:
    attacked = {number for form in forms() for number in re.findall(r"F\d+", form.finding)}
    assert attacked | set(ELSEWHERE) == {f"F{number}" for number in range(1, 44)}
    for test in ELSEWHERE.values():
        path, _, name = test.partition("::")
        assert f"def {name}" in (_ROOT / path).read_text()


def test_the_corpus_is_written_with_a_manifest(tmp_path: Path) -> None:
    kinds = ("reg", "transport")
    command = [sys.executable, "-m", "tests.hostile", str(tmp_path / "corpus"), *kinds]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "corpus" / "manifest.json").read_text())
    assert {entry["kind"] for entry in manifest} == set(kinds)
    assert len(manifest) == sum(1 for kind in kinds for _ in forms(kind))
    for entry in manifest:
        assert os.path.lexists(tmp_path / "corpus" / entry["file"])
