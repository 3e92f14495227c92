r"""An image of Windows as real ones are made: a base, a monthly update, an application.

The base's SYSTEM is that of a real machine, its SOFTWARE is written by hivex. The update and the application change
them by deltas: the update's is made by `wclayer reg import`, the application's by `wclayer build`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import wclayer
from tests.images import samples, stores
from tests.packages import system_hive
from tests.support import layer_tar, put_directories, put_file, run, witness
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.hives import CONFIG
from wclayer.model import LayerWriter

BASE, APPLICATION = "servercore:ltsc2022", "app:1"
VERSION, UPDATED = "10.0.20348.2113", "10.0.20348.2322"
HISTORY = [
    samples.step(f"Apply image {VERSION}", "2023-11-10T07:53:31.1234567Z"),
    samples.step(f"Install update {UPDATED}", "2024-02-10T07:53:31.1234567Z"),
]
_CBS = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages"
_TOKEN = "31bf3856ad364e35"

BASE_REG = rf"""Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion]
"ProductName"="Windows Server 2022 Datacenter"
"EditionID"="ServerDatacenterCor"
"InstallationType"="Server Core"
"DisplayVersion"="21H2"
"CurrentBuildNumber"="20348"
"CurrentMajorVersionNumber"=dword:0000000a
"CurrentMinorVersionNumber"=dword:00000000
"UBR"=dword:00000841

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Server\ServerLevels]
"Server-Core"=dword:00000001
"Server-Gui-Shell"=dword:00000000

[{_CBS}\Package_for_RollupFix~{_TOKEN}~amd64~~20348.2113.1.10]
"CurrentState"=dword:00000070
"Visibility"=dword:00000001

[{_CBS}\Package_for_KB5030216~{_TOKEN}~amd64~~20348.1970.1.0]
"CurrentState"=dword:00000070

[{_CBS}\Package_1_for_KB5030216~{_TOKEN}~amd64~~20348.1970.1.0]
"CurrentState"=dword:00000070

[{_CBS}\Microsoft-Windows-ServerCore-Package~{_TOKEN}~amd64~~10.0.20348.1]
"CurrentState"=dword:00000070

[{_CBS}\Microsoft-Windows-ServerCore-Package~{_TOKEN}~amd64~~10.0.20348.1\Updates]
"IIS-WebServer"=dword:00000040
"TelnetClient"=dword:00000040

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\NET Framework Setup\NDP\v4\Full]
"Install"=dword:00000001
"Release"=dword:00081041
"Version"="4.8.04161"

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\Editor]
"DisplayName"="Editor"
"DisplayVersion"="1.0"
"Publisher"="Vendor"

[HKEY_LOCAL_MACHINE\SOFTWARE\Wow6432Node\Microsoft\Windows\CurrentVersion\Uninstall\Old]
"DisplayName"="Old Tool"
"DisplayVersion"="0.9"

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\ServerManager\ServicingStorage\ServerComponentCache\FileAndStorage-Services]
"InstallState"=dword:00000001

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\ServerManager\ServicingStorage\ServerComponentCache\Web-Server]
"InstallState"=dword:00000000
"""

UPDATE_REG = rf"""Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion]
"UBR"=dword:00000912

[{_CBS}\Package_for_RollupFix~{_TOKEN}~amd64~~20348.2113.1.10]
"CurrentState"=dword:00000050

[-{_CBS}\Package_for_KB5030216~{_TOKEN}~amd64~~20348.1970.1.0]

[-{_CBS}\Package_1_for_KB5030216~{_TOKEN}~amd64~~20348.1970.1.0]

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\NET Framework Setup\NDP\v4\Full]
"Release"=dword:00082348
"Version"="4.8.09037"

[{_CBS}\Package_for_RollupFix~{_TOKEN}~amd64~~20348.2322.1.8]
"CurrentState"=dword:00000070
"Visibility"=dword:00000001
"InstallTimeHigh"=dword:01da5b2e
"InstallTimeLow"=dword:00000000

[{_CBS}\Package_for_ServicingStack_2320~{_TOKEN}~amd64~~20348.2320.1.2]
"CurrentState"=dword:00000070

[{_CBS}\Package_for_KB5034613~{_TOKEN}~amd64~~10.0.4690.1]
"CurrentState"=dword:00000070
"""

_ROLE = r"HKLM\SOFTWARE\Microsoft\ServerManager\ServicingStorage\ServerComponentCache\Web-Server"
_UNINSTALL = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall"
_UNINSTALL_32 = r"HKLM\SOFTWARE\Wow6432Node\Microsoft\Windows\CurrentVersion\Uninstall"
_SERVICE = r"HKLM\SYSTEM\CurrentControlSet\Services\ours"
_FEATURES = rf"{_CBS}\Microsoft-Windows-ServerCore-Package~{_TOKEN}~amd64~~10.0.20348.1\Updates"
DOCKERFILE = rf"""# escape=`
FROM {BASE}
COPY run.cmd C:\app\run.cmd
COPY site-packages\ C:\python\Lib\site-packages\
ENV MODE=production
EXPOSE 8080
RUN reg add "{_UNINSTALL}\Editor" /v DisplayVersion /d 2.0 /f
RUN reg add "{_UNINSTALL}\Service" /v DisplayName /d "Our Service" /f && reg delete "{_UNINSTALL_32}\Old" /f
RUN setx /M TOOLS C:\app && reg add "{_SERVICE}" /v ImagePath /d C:\app\run.cmd /f
RUN reg add "{_SERVICE}" /v Type /t REG_DWORD /d 16 /f && reg add "{_SERVICE}" /v Start /t REG_DWORD /d 2 /f
RUN reg add "{_ROLE}" /v InstallState /t REG_DWORD /d 1 /f
RUN reg add "{_FEATURES}" /v IIS-WebServer /t REG_DWORD /d 112 /f
"""


def base_image(store: wclayer.ImageStore, folder: Path) -> samples.Image:
    """Puts the base image, of a base layer and an update, into a store under the name `BASE`.

    Args:
        store: the store.
        folder: an empty folder to work in.
    """
    base = layer_tar(lambda writer: _write_base(writer, _software(folder)))
    (folder / "base.tar").write_bytes(base)
    run("import", "-i", folder / "base.tar", folder / "base")
    run("create", "-l", folder / "base", folder / "run")
    (folder / "update.reg").write_text(UPDATE_REG, "utf-16", newline="\r\n")
    run("reg", "import", folder / "run", folder / "update.reg")
    run("export", "-o", folder / "update.tar", folder / "run")
    image = samples.image(
        "docker", [samples.layer(base), samples.layer((folder / "update.tar").read_bytes())], HISTORY,
        {"User": "ContainerAdministrator", "Cmd": ["c:\\windows\\system32\\cmd.exe"]}, os_version=UPDATED,
    )  # fmt: skip
    stores.fill(store, BASE, image)
    stores.unpack(store, image)
    return image


def application(store: wclayer.ImageStore, folder: Path) -> wclayer.BuildResult:
    """Builds the application on the base image, under the name `APPLICATION`.

    Args:
        store: a store with the base image.
        folder: an empty folder: the context.
    """
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "run.cmd").write_bytes(b"@echo off\r\n")
    package = folder / "site-packages" / "tool-3.1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: tool\nVersion: 3.1\n")
    return wclayer.build_image(folder, APPLICATION, store)


def _write_base(writer: LayerWriter, software: bytes) -> None:
    put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32", CONFIG)
    put_file(writer, f"{CONFIG}/SOFTWARE", software)
    put_file(writer, f"{CONFIG}/SYSTEM", system_hive())


def _with_keys_above(text: str) -> str:
    """A `.reg` file for hivexregedit, which makes only keys whose keys above are there."""
    lines: list[str] = []
    made = {r"HKEY_LOCAL_MACHINE\SOFTWARE"}
    for line in text.splitlines():
        names = line.strip("[]").split("\\") if line.startswith("[") else []
        for depth in range(3, len(names)):
            above = "\\".join(names[:depth])
            if above not in made:
                made.add(above)
                lines += [f"[{above}]", ""]
        lines.append(line)
        made.add("\\".join(names))
    return "\n".join(lines) + "\n"


def _software(folder: Path) -> bytes:
    """A hive with `BASE_REG`, which hivex has written."""
    hive, text = folder / "SOFTWARE", folder / "base.reg"
    hive.write_bytes(write_hive(empty_root(10)))
    text.write_text(_with_keys_above(BASE_REG))
    command = [witness("hivexregedit"), "--merge", "--prefix", r"HKEY_LOCAL_MACHINE\SOFTWARE", str(hive), str(text)]
    subprocess.run(command, check=True, capture_output=True)
    return hive.read_bytes()
