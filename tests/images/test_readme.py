"""The README is true: its commands are run one after the other, and print what it tells."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.images import forms, samples
from tests.images.registry import DebianRegistry
from tests.inventory.cve.forms import Case, cvrf_json
from tests.readme import examples, run
from tests.source import ROOT
from tests.support import witness

README = ROOT / "README.md"
_BASE = samples.layer(samples.sample_base_tar() + bytes(10240))
"""A base layer with hives that the demo does not have: nothing of its image is unpacked before the README loads it."""
_MICROSOFT = {
    ("windows/servercore", "ltsc2022"): samples.image(
        "docker", [_BASE], [samples.step("Apply image 10.0.20348.5499")], {}
    ),
    ("windows/nanoserver", "ltsc2022"): samples.small(),
    ("windows/nanoserver", "ltsc2025"): samples.servercore(),
}
"""What stands for Microsoft's images: the tests reach no other host."""


def test_the_examples_are_true(tmp_path: Path, debian_registry: DebianRegistry) -> None:
    witness("fusermount3")
    for (repository, tag), image in _MICROSOFT.items():
        forms.put_into_registry(debian_registry.base, repository, tag, image)
    work = tmp_path / "work"
    environment = {
        "HOME": str(tmp_path), "WCLAYER_STORE": str(tmp_path / "store"), "COLUMNS": "120", "WCLAYER_NO_SYNC": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    assert run(f"wclayer demo --folder {tmp_path / 'demo'}", tmp_path, environment)[0] == 0
    work.mkdir()
    for name in ("base.tar.gz", "child.tar", "image.tar"):
        (tmp_path / "demo" / name).rename(work / name)
    (work / "service").mkdir()
    (work / "service" / "settings.json").write_bytes(b'{"port": 8080}\n')
    (work / "service" / "Dockerfile").write_text(_told_of(README, "cat service/Dockerfile"))
    (work / "2026-Sep.json").write_bytes(cvrf_json(Case()))
    hosts = (("localhost:5000", debian_registry.host), ("mcr.microsoft.com", debian_registry.host))
    found = [example for example in examples(README) if "/bin/" not in example.command]
    assert len(found) > 40
    wrong = []
    for example in found:
        command = _replaced(example.command, hosts)
        status, printed = run(command, work, environment)
        told = printed.replace(str(work), "/home/me").replace(debian_registry.host, "localhost:5000")
        # Differences have the status 1.
        failed = status != 0 and not (status == 1 and " diff " in command)
        if failed or example.differs(told):
            wrong.append(f"README.md:{example.line}: {example.command}: {status}, {example.differs(told)}\n{told}")
    assert not wrong, "\n".join(wrong)
    (block,) = (block for block in _blocks(README) if block.startswith("import wclayer\n"))
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=work, env={**os.environ, **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _told_of(document: Path, command: str) -> str:
    """What the document says that a command prints: the contents of a file that its reader has."""
    (found,) = (example for example in examples(document) if example.command == command)
    assert found.output
    return "".join(f"{line}\n" for line in found.output)


def _replaced(text: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for old, new in pairs:
        text = text.replace(old, new)
    return text


def _blocks(document: Path) -> list[str]:
    """The blocks of code of a document."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", document.read_text(encoding="utf-8"), re.MULTILINE)
    return ["\n".join(line.removeprefix("    ") for line in block.strip("\n").split("\n")) for block in blocks]
