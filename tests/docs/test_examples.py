"""Every example of the documents is true: the commands of a page run one after the other, and print what it tells.

The README and docs/fleet.md, which need more, have tests of their own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.images import forms, samples
from tests.images.registry import DebianRegistry
from tests.inventory.cve.forms import Case, cvrf_json
from tests.readme import Example, examples, run
from tests.source import ROOT
from tests.support import witness

DOCS = ROOT / "docs"
_HOSTS = ("localhost:5000", "mcr.microsoft.com", "registry.example.org", "registry.example")
"""The registries that pages name. The tests reach no other host, so all of them are one here."""
_ELSEWHERE = {
    "explore.md": "it needs a terminal: tests/explore/test_process.py runs it on one",
    "fleet.md": "tests/fleet/test_document.py starts a registry and a cluster for it",
    "fleet-queries.md": "tests/fleet/query asks each ready question",
    "windows.md": "its commands are for a Windows host",
    "commands.md": "tests/docs/test_help_examples.py runs the examples of the help",
}
_PROGRAM = re.compile(r'^```python title="(.*)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
"""A file that the reader of a page saves."""
_FOUND_OR_DIFFERENT = re.compile(r"\b(diff|cve|jq -e|audit)\b")
"""What such a command looks for gives a status of its own, and is no error."""


def _pages() -> list[str]:
    with_examples = [path for path in sorted(DOCS.rglob("*.md")) if list(examples(path))]
    return [name for path in with_examples if (name := path.relative_to(DOCS).as_posix()) not in _ELSEWHERE]


def _images(folder: Path, registry: DebianRegistry) -> None:
    """The images and the files that the pages of the reference speak of."""
    core, child, nano = samples.small(os_version="10.0.20348.6000"), samples.small_child(), samples.small()
    for repository, tag, image in (
        ("windows/servercore", "ltsc2022", core), ("windows/nanoserver", "ltsc2022", nano),
        ("windows/nanoserver", "ltsc2019", samples.small(os_version="10.0.17763.1")),
        ("windows/nanoserver", "ltsc2025", samples.small(os_version="10.0.26100.1")),
        ("nanoserver", "ltsc2022", nano), ("app", "1", child), ("myapp", "1.0", child), ("myapp", "1.1", core),
    ):  # fmt: skip
        forms.put_into_registry(registry.base, repository, tag, image)
    forms.write_docker_archive(folder / "image.tar", {"app:1": samples.small()})
    forms.write_docker_archive(folder / "new.tar", {"new:1": core})
    forms.write_layout(folder / "folder", {"app": samples.small()})
    forms.write_layout(folder / "mirror", {"app": samples.small()})
    (folder / "app.tar").write_bytes(samples.small_tar({"Files/app.txt": b"app"}, 1))
    for name in ("layers", "mnt", "dist", "documents", "app"):
        (folder / name).mkdir()
    (folder / "dist" / "app.exe").write_bytes(b"MZ")
    (folder / "app" / "app.exe").write_bytes(b"MZ")
    (folder / "app.exe").write_bytes(b"MZ")
    (folder / "app.cdx.json").write_text('{"bomFormat": "CycloneDX", "specVersion": "1.6"}')
    (folder / "tests.xml").write_text("<testsuite/>")
    (folder / "Dockerfile").write_text(
        '# escape=`\nFROM nanoserver:ltsc2022\nCOPY app C:\\app\nRUN setx /M PATH "%PATH%;C:\\app"\nWORKDIR C:\\app\n'
    )
    (folder / "2026-Sep.json").write_bytes(cvrf_json(Case()))
    (folder / "documents" / "2026-Sep.json").write_bytes(cvrf_json(Case()))
    shutil.make_archive(str(folder / "documents"), "zip", folder / "documents")


def _stored(folder: Path, environment: dict[str, str]) -> None:
    """Loads the images that the pages take from the store."""
    for source, name in (
        ("nanoserver:ltsc2022", "nanoserver:ltsc2022"), ("windows/servercore:ltsc2022", "servercore:ltsc2022"),
        ("app:1", "app:1"), ("myapp:1.0", "myapp:1.0"),
    ):  # fmt: skip
        place = f"docker://{environment['REGISTRY']}/{source}"
        command = f"wclayer copy --platform windows/amd64:10.0.20348 {place} store:{name}"
        status, printed = run(command, folder, environment)
        assert status == 0, printed


_WITH_IMAGES = {
    "index.md", "images.md", "inventory.md", "build.md",
    "how-to/slow-extraction.md", "how-to/versions.md", "how-to/scan.md",
}  # fmt: skip
"""The pages that take images and files for given. Any other page makes all that it needs."""


@pytest.mark.parametrize("page", _pages())
def test_the_examples_are_true(page: str, tmp_path: Path, debian_registry: DebianRegistry) -> None:
    fusermount = witness("fusermount3")
    witness("jq")
    home = tmp_path / "home" / "me"
    home.mkdir(parents=True)
    environment = {
        "HOME": str(home), "COLUMNS": "120", "WCLAYER_NO_SYNC": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "REGISTRY": debian_registry.host,
    }  # fmt: skip
    if page in _WITH_IMAGES:
        _images(home, debian_registry)
        _stored(home, environment)
    for name, text in _PROGRAM.findall((DOCS / page).read_text(encoding="utf-8")):
        (home / name).write_text(text)
    try:
        wrong = [
            f"docs/{page}:{example.line}: {problem}"
            for example in examples(DOCS / page)
            if (problem := _problem(example, home, environment, debian_registry.host))
        ]
    finally:
        for folder in filter(os.path.ismount, home.iterdir()):
            subprocess.run([fusermount, "-u", folder], check=True)
    assert not wrong, "\n".join(wrong)


def _problem(example: Example, home: Path, environment: dict[str, str], registry: str) -> str:
    """What is wrong with an example; "" if nothing is."""
    command = example.command.replace(" /layers/", f" {home}/layers/").replace(" /mnt", f" {home}/mnt")
    for host in _HOSTS:
        command = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w.:-])", registry, command)
    status, printed = run(command, home, environment)
    told = printed.replace(str(home), "/home/me").replace(registry, "localhost:5000")
    fails = example.output is not None and any(line.startswith("wclayer: ") for line in example.output)
    different = example.differs(told)
    if different or (status != 0 and not fails and not _FOUND_OR_DIFFERENT.search(command)):
        return f"{example.command}: {status}, {different}\n{told}"
    return ""
