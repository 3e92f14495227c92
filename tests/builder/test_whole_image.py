r"""One Dockerfile with nearly everything, over a base of two layers: what is made equals a description by hand.

The description is written from the documents: Docker's reference of the Dockerfile, [MS-DTYP] for what new entries
inherit, the OCI image-spec for configuration and history. It is compared with what others read: Python's tarfile,
dissect.regf, skopeo.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from dissect.regf import regf

from tests.builder.images import BASE, store_with_base
from tests.images import samples
from tests.packages import PANDAS, fetch
from tests.support import run, witness
from wclayer.images.store import ImageStore
from wclayer.win32.sddl import to_sddl
from wclayer.win32.security import SecurityDescriptor

_OF_DIRECTORY = (
    "O:BAG:SYD:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIID;0x1200a9;;;BU)(A;CIID;LC;;;BU)(A;CIID;DC;;;BU)"
    "(A;ID;FA;;;BA)(A;OICIIOID;GA;;;CO)"
)
"""What a directory in C:\\ inherits: [MS-DTYP] 2.5.3.4, from the descriptor of the root of a system drive."""
_OF_FILE = "O:BAG:SYD:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1200a9;;;BU)(A;ID;FA;;;BA)"
_BELOW_DIRECTORY = (
    "O:BAG:SYD:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIID;0x1200a9;;;BU)(A;CIID;LC;;;BU)(A;CIID;DC;;;BU)"
    "(A;ID;FA;;;BA)(A;OICIIOID;GA;;;CO)"
)
_SECRET = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
_TIME = "2023-11-14T22:13:20Z"
_EPOCH = 1_700_000_000

DOCKERFILE = rf"""# escape=`
ARG BASE=missing:0
FROM ${{BASE}} AS tools
SHELL ["cmd", "/S", "/C"]
WORKDIR C:\tools
COPY wheel\ pandas\
RUN mkdir bin && echo @echo off>bin\run.cmd&& echo echo started>>bin\run.cmd
RUN mklink /H bin\same.cmd bin\run.cmd && mklink /D current pandas && mklink /J scripts C:\tools\bin
RUN attrib +R bin\run.cmd

FROM ${{BASE}}
ARG VERSION=1.0
ENV APP_VERSION=${{VERSION}} APP_HOME=C:\service
LABEL org.opencontainers.image.title="A service" `
      version=${{VERSION}}
MAINTAINER somebody@example.com
WORKDIR ${{APP_HOME}}
COPY --from=tools C:\tools C:\service\tools
COPY --chown=ContainerUser config.json .
COPY --acl="{_SECRET}" secrets C:\service\secrets
ADD data.tar.gz C:\service\data\
RUN reg add "HKLM\SOFTWARE\Acme\Service" /v Version /t REG_SZ /d %APP_VERSION% /f
RUN reg add HKLM\SYSTEM\CurrentControlSet\Services\acme /v Start /t REG_DWORD /d 2 /f
RUN setx /M PATH "C:\Windows\System32;%APP_HOME%\tools\bin"
RUN del C:\License.txt 2>nul & del C:\Windows\win.ini && if not exist logs mkdir logs
VOLUME C:\service\logs
EXPOSE 8080/tcp 8443
HEALTHCHECK --interval=30s --retries=2 CMD cmd /C exit 0
STOPSIGNAL 3
USER ContainerUser
ENTRYPOINT ["C:\\service\\tools\\bin\\run.cmd"]
CMD ["--serve", "C:\\service\\data"]
ONBUILD COPY . C:\service\site
"""


def _context(folder: Path) -> Path:
    with zipfile.ZipFile(fetch(PANDAS)) as wheel:
        wheel.extractall(folder / "wheel")
    (folder / "config.json").write_bytes(b"{}\n")
    (folder / "secrets" / "keys").mkdir(parents=True)
    (folder / "secrets" / "keys" / "a.key").write_bytes(b"secret")
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, data in (("in/one.csv", b"1,2\n"), ("two.csv", b"3\n")):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), _EPOCH - 1_000
            tar.addfile(member, io.BytesIO(data))
    (folder / "data.tar.gz").write_bytes(gzip.compress(raw.getvalue(), mtime=0))
    (folder / "Dockerfile").write_text(DOCKERFILE)
    return folder


def _base() -> samples.Image:
    layers = [samples.layer(samples.sample_base_tar(), "oci"), samples.layer(samples.sample_child_tar(), "oci")]
    history = [samples.step("Apply image 10.0.20348.4294"), samples.step("Install update 10.0.20348.5499")]
    return samples.image("oci", layers, history, {"Cmd": ["c:\\windows\\system32\\cmd.exe"], "Env": ["KEPT=yes"]})


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _context(tmp_path_factory.mktemp("whole") / "context")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, context: Path) -> ImageStore:
    store, _, _ = store_with_base(tmp_path_factory.mktemp("store"), _base())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", str(_EPOCH))
        run("build", "--store", store.path, "--build-arg", f"BASE={BASE}", "-t", "service:1", context)
    return store


def _documents(store: ImageStore) -> tuple[dict[str, Any], dict[str, Any]]:
    manifest = json.loads(store.read_blob(store.find("service:1")))
    config = json.loads(store.blob_path(manifest["config"]["digest"]).read_bytes())
    return manifest, config


def _members(store: ImageStore, number: int) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """The members of a layer, as Python's tarfile reads them."""
    manifest, _ = _documents(store)
    found = {}
    with tarfile.open(store.blob_path(manifest["layers"][number]["digest"])) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            found[member.name] = member, file.read() if file else b""
    return found


def _sddl(member: tarfile.TarInfo) -> str:
    return to_sddl(SecurityDescriptor.decode(base64.b64decode(member.pax_headers["MSWINDOWS.rawsd"])))


def test_the_dockerfile_has_enough_instructions() -> None:
    logical = DOCKERFILE.replace("`\n", "").splitlines()
    assert sum(bool(line.strip()) and not line.startswith("#") for line in logical) >= 25


def test_the_configuration_is_as_described(store: ImageStore) -> None:
    manifest, config = _documents(store)
    assert config["config"] == {
        "Cmd": ["--serve", "C:\\service\\data"],
        "Entrypoint": ["C:\\service\\tools\\bin\\run.cmd"],
        "Env": ["KEPT=yes", "APP_VERSION=1.0", "APP_HOME=C:\\service"],
        "ExposedPorts": {"8080/tcp": {}, "8443/tcp": {}},
        "Healthcheck": {"Test": ["CMD-SHELL", "cmd /C exit 0"], "Interval": 30_000_000_000, "Retries": 2},
        "Labels": {"org.opencontainers.image.title": "A service", "version": "1.0"},
        "OnBuild": ["COPY . C:\\service\\site"],
        "StopSignal": "3",
        "User": "ContainerUser",
        "Volumes": {"C:\\service\\logs": {}},
        "WorkingDir": "C:\\service",
    }
    assert (config["os"], config["os.version"], config["architecture"]) == ("windows", "10.0.20348.5499", "amd64")
    assert (config["author"], config["created"]) == ("somebody@example.com", _TIME)
    steps = [
        ("ARG VERSION=1.0", False), ("ENV APP_VERSION=1.0 APP_HOME=C:\\service", False),
        ("LABEL org.opencontainers.image.title=A service version=1.0", False),
        ("MAINTAINER somebody@example.com", False), ("WORKDIR C:\\service", True),
        ("COPY --from=tools C:\\tools C:\\service\\tools", True),
        ("COPY --chown=ContainerUser config.json .", True),
        (f"COPY --acl={_SECRET} secrets C:\\service\\secrets", True), ("ADD data.tar.gz C:\\service\\data\\", True),
        ("RUN cmd /S /C reg add \"HKLM\\SOFTWARE\\Acme\\Service\" /v Version /t REG_SZ /d %APP_VERSION% /f", True),
        ("RUN cmd /S /C reg add HKLM\\SYSTEM\\CurrentControlSet\\Services\\acme /v Start /t REG_DWORD /d 2 /f", True),
        ("RUN cmd /S /C setx /M PATH \"C:\\Windows\\System32;%APP_HOME%\\tools\\bin\"", True),
        ("RUN cmd /S /C del C:\\License.txt 2>nul & del C:\\Windows\\win.ini && if not exist logs mkdir logs", True),
        ("VOLUME [\"C:\\\\service\\\\logs\"]", False), ("EXPOSE 8080/tcp 8443/tcp", False),
        ("HEALTHCHECK --interval=30s --retries=2 CMD cmd /C exit 0", False), ("STOPSIGNAL 3", False),
        ("USER ContainerUser", False), ("ENTRYPOINT [\"C:\\\\service\\\\tools\\\\bin\\\\run.cmd\"]", False),
        ("CMD [\"--serve\", \"C:\\\\service\\\\data\"]", False), ("ONBUILD COPY . C:\\service\\site", False),
    ]  # fmt: skip
    made = config["history"][2:]
    assert [(step["created_by"], not step.get("empty_layer", False)) for step in made] == steps
    assert {step["created"] for step in made} == {_TIME}
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 2 + sum(has for _, has in steps) == 11
    base = _base()
    assert [layer["digest"] for layer in manifest["layers"][:2]] == [layer.digest for layer in base.layers]
    assert manifest["annotations"] == {
        "org.opencontainers.image.base.name": f"docker.io/library/{BASE}",
        "org.opencontainers.image.base.digest": base.digest,
    }


def test_the_layer_of_the_tree_is_as_described(store: ImageStore, context: Path) -> None:
    members = _members(store, 3)
    tree = {
        f"Files/service/tools/pandas/{path.relative_to(context / 'wheel').as_posix()}": path
        for path in (context / "wheel").rglob("*")
    }
    own = {
        "Files", "Hives", "Files/service", "Files/service/tools", "Files/service/tools/pandas",
        "Files/service/tools/bin", "Files/service/tools/bin/run.cmd", "Files/service/tools/bin/same.cmd",
        "Files/service/tools/current", "Files/service/tools/scripts",
    }  # fmt: skip
    assert sum(path.is_file() for path in tree.values()) > 1_000
    assert members.keys() == tree.keys() | own
    for name, path in tree.items():
        member, data = members[name]
        if path.is_dir():
            assert (member.isdir(), member.pax_headers["MSWINDOWS.fileattr"]) == (True, "16"), name
            assert _sddl(member) == _BELOW_DIRECTORY, name
        else:
            assert data == path.read_bytes(), name
            assert member.pax_headers["MSWINDOWS.fileattr"] == "32", name
            assert _sddl(member) == _OF_FILE, name
        assert member.mtime == min(int(path.stat().st_mtime), _EPOCH), name
    program, data = members["Files/service/tools/bin/run.cmd"]
    assert data == b"@echo off\r\necho started\r\n"
    assert program.pax_headers["MSWINDOWS.fileattr"] == "33"
    same = members["Files/service/tools/bin/same.cmd"][0]
    assert (same.islnk(), same.linkname) == (True, "Files/service/tools/bin/run.cmd")
    current, scripts = (members[f"Files/service/tools/{name}"][0] for name in ("current", "scripts"))
    assert (current.issym(), current.linkname, current.pax_headers["MSWINDOWS.fileattr"]) == (True, "pandas", "1040")
    assert (scripts.linkname, scripts.pax_headers["MSWINDOWS.mountpoint"]) == ("C:\\tools\\bin", "1")
    for member, _ in members.values():
        for key in ("mtime", "atime", "ctime", "LIBARCHIVE.creationtime"):
            assert float(member.pax_headers.get(key, member.mtime)) <= _EPOCH, (member.name, key)


def test_owners_acls_and_archives_are_as_described(store: ImageStore) -> None:
    config = _members(store, 4)
    assert config.keys() == {"Files", "Files/service", "Files/service/config.json", "Hives"}
    owned = _OF_FILE.replace("O:BA", "O:S-1-5-93-2-2").replace("(A;ID;FA;;;BA)", "(A;ID;FA;;;BA)", 1)
    assert _sddl(config["Files/service/config.json"][0]) == owned[: owned.rindex("(")] + "(A;ID;FA;;;S-1-5-93-2-2)"
    assert _sddl(config["Files/service"][0]) == _OF_DIRECTORY
    secrets = _members(store, 5)
    assert {name: _sddl(member) for name, (member, _) in secrets.items() if "secrets" in name} == {
        "Files/service/secrets": f"O:BAG:SY{_SECRET}",
        "Files/service/secrets/keys": f"O:BAG:SY{_SECRET}",
        "Files/service/secrets/keys/a.key": "O:BAG:SYD:P(A;;FA;;;SY)(A;;FA;;;BA)",
    }
    data = _members(store, 6)
    assert {name: content for name, (member, content) in data.items() if member.isreg()} == {
        "Files/service/data/in/one.csv": b"1,2\n", "Files/service/data/two.csv": b"3\n",
    }  # fmt: skip
    assert data["Files/service/data/two.csv"][0].mtime == _EPOCH - 1_000


def _hive(data: bytes) -> regf.RegistryHive:
    return regf.RegistryHive(io.BytesIO(data))


def test_the_hives_are_as_described(store: ImageStore) -> None:
    software = _members(store, 7)
    assert software.keys() == {"Files", "Hives", "Hives/Software_Delta"}
    value = _hive(software["Hives/Software_Delta"][1]).open("Acme\\Service").value("Version")
    assert (value.value, value.type) == ("1.0", 1)
    system = _members(store, 8)
    assert system.keys() == {"Files", "Hives", "Hives/System_Delta"}
    assert _hive(system["Hives/System_Delta"][1]).open("ControlSet001\\Services\\acme").value("Start").value == 2
    path = _members(store, 9)
    key = _hive(path["Hives/System_Delta"][1]).open("ControlSet001\\Control\\Session Manager\\Environment")
    assert key.value("Path").value == "C:\\Windows\\System32;C:\\service\\tools\\bin"
    assert all(key.timestamp.timestamp() <= _EPOCH for key in _hive(path["Hives/System_Delta"][1]).root().subkeys())


def test_deleted_files_become_whiteouts(store: ImageStore) -> None:
    names = _members(store, 10).keys()
    assert names >= {"Files/Windows/.wh.win.ini", "Files/service/logs"}
    assert not any("License" in name for name in names)


def test_skopeo_accepts_the_image(store: ImageStore, tmp_path: Path) -> None:
    skopeo = witness("skopeo")
    layout = tmp_path / "layout"
    run("save", "--store", store.path, "-o", tmp_path / "image.tar", "service:1")
    run("copy", "--store", store.path, "store:service:1", f"oci:{layout}:1")
    told = subprocess.run(
        [skopeo, "--override-os", "windows", "inspect", f"oci:{layout}:1"], check=True, capture_output=True
    )  # fmt: skip
    record = json.loads(told.stdout)
    manifest, _ = _documents(store)
    assert record["Layers"] == [layer["digest"] for layer in manifest["layers"]]
    subprocess.run(
        [skopeo, "--override-os", "windows", "copy", "-q", "--preserve-digests", f"oci:{layout}:1",
         f"oci:{tmp_path / 'again'}:1"], check=True,
    )  # fmt: skip


def test_the_same_is_built_on_another_day_in_another_folder(store: ImageStore, tmp_path: Path) -> None:
    other, _, _ = store_with_base(tmp_path / "other store", _base())
    context = _context(tmp_path / "elsewhere")
    script = (
        "import sys, time; now, ns = time.time, time.time_ns; time.time = lambda: now() + 1e6;"
        "time.time_ns = lambda: ns() + 10**15; from wclayer.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    subprocess.run(
        [sys.executable, "-c", script, "build", "--store", str(other.path), "-q", "--build-arg", f"BASE={BASE}", "-t",
         "service:1", str(context)],
        check=True, env={**os.environ, "SOURCE_DATE_EPOCH": str(_EPOCH)},
    )  # fmt: skip
    assert other.find("service:1").digest == store.find("service:1").digest
