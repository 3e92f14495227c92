"""The workflow for public CI, which is not run here, names what is there and what `.ci` runs."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORKFLOW = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
STAGES = ("lowest", "newest", "workflows")


def _jobs() -> dict[str, str]:
    """The text of each job, by its name."""
    parts = re.split(r"^  (\w+):\n", WORKFLOW.partition("\njobs:\n")[2], flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _steps(job: str) -> list[str]:
    return re.findall(r"^ +run: (?!\|)(.+)$", job, flags=re.MULTILINE)


def test_the_steps_on_linux_are_those_of_ci() -> None:
    jobs = _jobs()
    assert _steps(jobs["everything"])[-1] == ".ci/run"
    assert _steps(jobs["linux"]) == ["python -m pip install -e '.[test]'", ".ci/core python"]
    run = (ROOT / ".ci" / "run").read_text()
    assert [stage for stage in STAGES if f".ci/{stage}" not in map(str.strip, run.splitlines())] == []
    assert '.ci/core "' in (ROOT / ".ci" / "newest").read_text()
    assert [name for name in os.listdir(ROOT / ".ci") if not os.access(ROOT / ".ci" / name, os.X_OK)] == []


def test_what_steps_name_is_there() -> None:
    steps = [step for job in _jobs().values() for step in _steps(job)]
    modules = {module for step in steps for module in re.findall(r"python -m (wclayer[\w.]+)", step)}
    assert modules == {"wclayer.engines.hcs.selftest"}
    assert (ROOT / "src" / "wclayer" / "engines" / "hcs" / "selftest.py").is_file()
    folders = {folder for step in steps for folder in re.findall(r"--ignore=(\S+)", step)}
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


def test_the_newest_python_that_is_tried_is_told() -> None:
    matrix = re.findall(r'"(3\.\d+)"', re.findall(r"python: \[(.*)\]", WORKFLOW)[0])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert [told[0], told[-1]] == [matrix[0], matrix[-1]]
    assert project["requires-python"] == f">={matrix[0]}"


def test_it_says_that_nobody_has_seen_it_run() -> None:
    assert "NOBODY HAS SEEN THIS RUN YET" in WORKFLOW
    assert all("never seen yet" in _jobs()[name] for name in ("macos", "windows"))
