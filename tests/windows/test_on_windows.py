"""Runs the package on Windows: the hcs engine's own tests, and the portable engine's suite.

What cannot run there is in `limits`, and nothing else is skipped: neither a test that is not in it, nor a line of it
that no test needs.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest

import wclayer
from tests.windows import limits
from tests.windows.machine import COMPILER, DLLS, ROOT, Machine, build, windows_path

TESTS = ROOT / "tests"
# Codecs take bytes and give bytes: they ask nothing of a host. What opens files is not among them.
_PURE = (TESTS / "win32", *(TESTS / "formats" / name for name in ("regf", "ntfs", "pe")))
_NOT_THERE = {
    "test_bcd.py",
    "test_compression.py",
    "test_gpt.py",
    "test_mbr.py",
    "test_recogniser.py",
    "test_tar_codec.py",
}
# What refuses damaged and hostile input does not either, and to try all of it takes minutes.
_NOT_THERE |= {"test_hostile.py", "test_hostile_tar.py", "test_hostile_volume.py"}
# A volume is in one file, and disks of every kind are read and written there by other tests.
_NOT_THERE |= {"test_volume.py", "test_volume_forms.py"}
# Documents of images, and what is said of them, are bytes, too.
_NOT_THERE |= {"test_challenge.py", "test_edit.py", "test_history.py", "test_json_edit.py", "test_json_view.py"}
_NOT_THERE |= {"test_cve_matching.py", "test_cve_outputs.py"}
_NOT_THERE |= {"test_platform.py", "test_reference.py", "test_runs_on.py", "test_samples.py"}
_NOT_THERE |= {"test_attach_types.py", "test_bills.py", "test_cyclonedx.py", "test_identifiers.py", "test_spdx.py"}
# Registries are servers and programs of Linux, and processes that use a store at once are killed with its signals. A
# shell runs the README's commands.
_NOT_THERE |= {"test_archives_and_clients.py", "test_kills.py", "test_interrupt.py", "test_pairs.py", "test_pull.py"}
_NOT_THERE |= {
    "test_attach.py",
    "test_catalogue.py",
    "test_object_folder.py",
    "test_readme.py",
    "test_registries.py",
    "test_registry_client.py",
    "test_registry_layers.py",
}
_NOT_THERE |= {"test_registry_access.py", "test_registry_manifests.py", "test_registry_uploads.py"}
_NOT_THERE |= {"test_registry_restart.py", "test_registry_wire.py", "test_registry_words.py", "test_store_processes.py"}
# A shell, pipes and terminals of Linux are what the command is used with.
_NOT_THERE |= {"test_standard_input.py", "test_completion.py"}
# What is told of a mistake asks a host for the names in a folder, and nothing else.
_NOT_THERE |= {"test_mistakes.py"}
# Memory is limited, and told, by Linux, and shared with worker processes there.
_NOT_THERE |= {"test_content_copier.py", "test_file_pool.py", "test_memory.py", "test_worker_process.py"}
# What needs another process of Python needs FUSE, Dask, or a server for browsers, too.
_NOT_THERE |= {"test_no_python.py"}
# Windows does not rename what another process has open.
_NOT_THERE |= {"test_leftovers.py"}
# Faults, power cuts and kills are made with what Linux has.
_LINUX = TESTS / "proof"
# Of builds, those that make an image of a scratch, and commands for files: the rest makes trees and servers with what
# Linux has, or takes minutes there.
_BUILDS = TESTS / "builder"
_BUILT_THERE = {"test_append_way.py", "test_commit.py", "test_file_commands.py", "test_tar_files.py"}
# Fleets are scanned on Linux: Windows' Python of these tests has neither Dask nor Arrow nor DuckDB.
_FLEETS = TESTS / "fleet"
# Benchmarks measure what Linux tells of processes, beside programs that are there.
_BENCHMARKS = TESTS / "benchmarks"
# Windows' Python of these tests has no Textual.
_EXPLORER = TESTS / "explore"
# The documents' examples are for a shell of Linux.
_DOCS = TESTS / "docs"
SUITE = sorted(
    path.relative_to(ROOT).as_posix()
    for path in TESTS.rglob("test_*.py")
    if not {TESTS / "windows", _LINUX, _FLEETS, _BENCHMARKS, _EXPLORER, _DOCS, *_PURE} & set(path.parents)
    and (_BUILDS not in path.parents or path.name in _BUILT_THERE)
    and path.name not in _NOT_THERE
    # Of the repository, not of the package.
    and path.name not in ("test_architecture.py", "test_workflow.py")
)
GUEST = sorted(path.relative_to(ROOT).as_posix() for path in (TESTS / "windows" / "guest").glob("test_*.py"))


@pytest.fixture(scope="session")
def machine() -> Machine:
    return build()


def run_files(
    machine: Machine, files: Sequence[str], report: Path, environment: dict[str, str] | None = None
) -> dict[str, str | None]:
    """Runs files of tests in one process; gives each test's reason for being skipped, or None. A failure fails."""
    # Of its own: several may run at once.
    name = hashlib.sha256(" ".join(files).encode()).hexdigest()[:8]
    command = (
        "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", "-p", "no:terminalprogress",
        "-p", "tests.windows.guest.plugin", f"--basetemp=C:\\t\\{name}", f"--junitxml={windows_path(report)}", *files,
    )  # fmt: skip
    status, output = machine.run(*command, environment=environment)
    if status and not output.strip():
        # pytest says something whatever happens: Wine did not come to start it.
        status, output = machine.run(*command, environment=environment)
    # pytest leaves its folders; in the user's cache they would stay.
    shutil.rmtree(machine.prefix / "drive_c" / "t" / name, ignore_errors=True)
    assert status == 0, output[-20_000:]
    found: dict[str, str | None] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        skipped = case.find("skipped")
        module = (case.get("classname") or "").replace(".", "/")
        found[f"{module}.py::{case.get('name')}"] = None if skipped is None else skipped.get("message")
    return found


def _groups(files: Sequence[str], count: int) -> list[list[str]]:
    """The files in groups, each of which is run by one process: a start of pytest takes seconds there."""
    return [list(files[first::count]) for first in range(count)]


@pytest.mark.parametrize("files", _groups(SUITE, 8), ids=lambda files: f"{Path(files[0]).stem} and others")
def test_the_portable_engine(machine: Machine, files: list[str], tmp_path: Path) -> None:
    found = run_files(machine, files, tmp_path / "report.xml", {"WCLAYER_ENGINE": "portable"})
    for test, skipped in found.items():
        expected = limits.reason(test)
        if expected is not None:
            assert skipped == expected, test
        elif skipped is not None:
            assert limits.NEEDS_WITNESS.match(skipped), (test, skipped)
    for start in limits.LIMITS:
        if start.startswith(tuple(files)):
            assert any(test.startswith(start) for test in found), f"no test needs the limit {start}"


@pytest.mark.parametrize("files", _groups(GUEST, 2), ids=lambda files: f"{Path(files[0]).stem} and others")
def test_the_hcs_engine(machine: Machine, files: list[str], tmp_path: Path) -> None:
    found = run_files(machine, files, tmp_path / "report.xml")
    assert {test.partition("::")[0] for test in found} == set(files)
    assert not any(found.values())


def test_the_layout_of_32_bits() -> None:
    """The structures that the stand-ins assert, as a 32-bit Windows has them, and as the package packs them."""
    if shutil.which(COMPILER) is None:
        pytest.skip(f"needs {COMPILER}")
    for source in sorted(DLLS.glob("*.c")):
        command = [COMPILER, "-m32", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-attributes", str(source)]
        subprocess.run(command, check=True)
    packed = wclayer.LayerDescriptor(UUID(int=1), "C:\\x").pack(0x1000, pointer_size=4)
    assert struct.unpack_from("<I", packed, 20) == (0x1000 + 24,)
    assert packed[24:] == "C:\\x\0".encode("utf-16-le")


def test_every_limit_is_of_a_file_that_is_there() -> None:
    for start in limits.LIMITS:
        assert start.partition("::")[0] in SUITE
