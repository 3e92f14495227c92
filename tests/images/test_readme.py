"""The README is true: its commands are run one after the other, and print what it tells."""

from __future__ import annotations

import os
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
_DOCKERFILE = """\
# escape=`
FROM sample:1
COPY --acl=D:P(A;OICI;FA;;;SY)(A;OICI;FR;;;BU) settings.json C:\\service\\
RUN reg add HKLM\\SOFTWARE\\Acme\\Service /v Port /t REG_DWORD /d 8080
RUN setx /M SERVICE_HOME C:\\service
"""
"""What is in the folder that the README builds."""


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
    (work / "service" / "Dockerfile").write_text(_DOCKERFILE)
    (work / "2026-Sep.json").write_bytes(cvrf_json(Case()))
    hosts = (("localhost:5000", debian_registry.host), ("mcr.microsoft.com", debian_registry.host))
    found = [example for example in examples(README) if "/bin/" not in example.command]
    assert len(found) >= 20
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


def _replaced(text: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for old, new in pairs:
        text = text.replace(old, new)
    return text
