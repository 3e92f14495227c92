"""The Dockerfiles of the corpus are built on a base of two layers, or refused before anything is made."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.builder.dockerfile.corpus import EXPECTED, FOLDER, Expected
from tests.builder.images import store_with_base
from tests.images import samples, stores
from wclayer.builder.building import BuildOptions, open_build, open_context, read_dockerfile
from wclayer.builder.clock import Clock
from wclayer.errors import LayerError
from wclayer.images.reference import parse_reference
from wclayer.images.store import ImageStore

_FILES = (
    "app/app.exe", "app/app.dll", "app/run.cmd", "config/app.config", "config/main.ps1", "config/kube-proxy.ps1",
    "site/index.html", "site/css/site.css", "dist/site.dll", "dist/app.jar", "dist/app-full.jar", "dist/agent.exe",
    "dist/kube-proxy.exe", "dist/flanneld.exe", "dist/pause-windows-amd64.exe", "dist/site-packages/app/__init__.py",
    "src/app.csproj", "src/index.js", "package.json", "package-lock.json", "requirements.txt", "go.mod", "go.sum",
    "tools/python/python.exe", "tools/python-amd64.exe", "tools/jre/bin/java.exe", "tools/agent.msi",
    "tools/agent/run.cmd", "tools/agent/bin/agent.dll",
)  # fmt: skip
_SETTINGS = (
    'Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Example]\r\n"Mode"=dword:00000001\r\n'
)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A context with what the Dockerfiles copy."""
    folder = tmp_path_factory.mktemp("context")
    for name in _FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "config" / "settings.reg").write_bytes(b"\xff\xfe" + _SETTINGS.encode("utf-16-le"))
    for name, members in (
        ("node.zip", ["node/node.exe", "node/npm.cmd"]),
        ("mingit.zip", ["cmd/git.exe"]),
        ("exporter.zip", ["exporter.exe"]),
    ):
        with zipfile.ZipFile(folder / "tools" / name, "w") as archive:
            for member in members:
                archive.writestr(member, member)
    with tarfile.open(folder / "tools" / "nginx.tar", "w") as tar:
        for member in ("nginx/conf/nginx.conf", "nginx/logs/readme", "nginx/nginx.exe"):
            info = tarfile.TarInfo(member)
            info.size = len(member)
            tar.addfile(info, io.BytesIO(member.encode()))
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    """A store with a base of two layers under the name of every image that the Dockerfiles begin with."""
    core = samples.servercore()
    site = samples.layer(samples.small_tar({"Files/inetpub/wwwroot/iisstart.htm": b"<html>"}))
    iis = samples.image("docker", [*core.layers, site], [*samples.SERVERCORE_HISTORY, samples.step("Install IIS")], {})
    made, _, _ = store_with_base(tmp_path_factory.mktemp("store"), core)
    stores.unpack(made, iis)
    for file in FOLDER.iterdir():
        for name in _bases(file.read_text()):
            stores.fill(made, str(parse_reference(name)), iis if "/iis:" in name else core)
    return made


def _bases(text: str) -> set[str]:
    """The images after FROM, with the defaults of ARG put in by hand."""
    values = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    stages = {name.lower() for name in re.findall(r"^FROM .* AS (\w+)", text, re.MULTILINE)} | {"scratch"}
    names = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    return {re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], name) for name in names} - stages


@pytest.mark.parametrize(
    ("name", "expected"),
    [(name, expected) for name, expected in EXPECTED.items() if not expected.by_parser],
    ids=[name for name, expected in EXPECTED.items() if not expected.by_parser],
)
def test_a_dockerfile_is_built_or_refused(name: str, expected: Expected, context: Path, store: ImageStore) -> None:
    file = read_dockerfile(context, FOLDER / f"{name}.Dockerfile")
    before = sorted(store.path.rglob("*"))
    with open_context(context) as opened:
        building = open_build(file, opened, store, options=BuildOptions(clock=Clock(0)))
        if not expected.refusals:
            with building as built:
                assert built.images
            return
        with pytest.raises(LayerError) as caught, building:
            pass
    ((line, part),) = expected.refusals
    assert caught.value.path == f"{file.name}:{line}"
    assert part in caught.value.detail
    assert sorted(store.path.rglob("*")) == before
