r"""The layers of a fleet of Windows images: bases and their updates, runtimes, applications.

The builds, revisions, dates and updates are those that Microsoft published. A base layer has whole hives, the layers
above it have deltas. Each of the runtimes and applications fits over every base of Server Core, as a layer that copies
files does; so the same layer is in images of several versions of Windows. The bytes are always the same.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.formats.pe import craft
from tests.images import samples
from tests.inventory.subjects import Data, Keys, tree
from tests.support import TIME, layer_tar
from wclayer.formats.regf.model import KeyMetadata, TreeKey
from wclayer.formats.regf.structs import LayerSemantics
from wclayer.formats.regf.writer import write_hive
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.sddl import from_sddl

CONFIG = "Files/Windows/System32/config"
_CBS = r"Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages"
_TOKEN = "31bf3856ad364e35"
_VERSION = r"Microsoft\Windows NT\CurrentVersion"
_UNINSTALL = r"Microsoft\Windows\CurrentVersion\Uninstall"
_INSTALLER = r"Microsoft\Windows\CurrentVersion\Installer\UserData\S-1-5-18\Products"
_SERVICES = r"ControlSet001\Services"
_ENVIRONMENT = r"ControlSet001\Control\Session Manager\Environment"
_TRUSTED = from_sddl("O:SYG:SYD:P(A;;FA;;;SY)(A;;0x1200a9;;;BA)(A;;0x1200a9;;;BU)").encode()
_ORDINARY = from_sddl("O:BAG:SYD:(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x1200a9;;;BU)").encode()
_INSTALLED, _SUPERSEDED, _STAGED = 0x70, 0x50, 0x40


@dataclass(frozen=True)
class Revision:
    """A revision of a Windows version: its number, its update, and when it appeared."""

    number: int
    kb: str
    date: str


@dataclass(frozen=True)
class Version:
    """A version of Windows Server: the first revision is the one before all updates."""

    tag: str
    product: str
    build: int
    display: str
    revisions: tuple[Revision, ...]


LTSC2019 = Version(
    "ltsc2019", "Windows Server 2019 Datacenter", 17763, "1809",
    (
        Revision(1, "", "2018-09-15"), Revision(4974, "KB5031361", "2023-10-10"),
        Revision(5122, "KB5032196", "2023-11-14"), Revision(5458, "KB5034768", "2024-02-13"),
    ),
)  # fmt: skip
LTSC2022 = Version(
    "ltsc2022", "Windows Server 2022 Datacenter", 20348, "21H2",
    (
        Revision(169, "", "2021-08-05"), Revision(2031, "KB5031364", "2023-10-10"),
        Revision(2113, "KB5032198", "2023-11-14"), Revision(2227, "KB5034129", "2024-01-09"),
        Revision(2322, "KB5034770", "2024-02-13"),
    ),
)  # fmt: skip
LTSC2025 = Version(
    "ltsc2025", "Windows Server 2025 Datacenter", 26100, "24H2",
    (
        Revision(1742, "", "2024-09-01"), Revision(2894, "KB5050009", "2025-01-14"),
        Revision(3194, "KB5051987", "2025-02-11"), Revision(3476, "KB5053598", "2025-03-11"),
    ),
)  # fmt: skip
VERSIONS = (LTSC2019, LTSC2022, LTSC2025)
NANO_SERVERS = ((LTSC2022, 1), (LTSC2022, 2), (LTSC2022, 4), (LTSC2025, 1), (LTSC2025, 3))
"""The versions of Nano Server, and the numbers of their revisions: each is one layer, without updates."""


@dataclass
class Contents:
    """What a layer holds, by paths from its root.

    Attributes:
        files: the contents of files.
        links: further names of files, by the paths of these.
        gone: tombstones.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    gone: Sequence[str] = ()

    def tar(self, number: int) -> bytes:
        """The layer's tar; another number gives other times."""
        return layer_tar(lambda writer: self._write(writer, number))

    def _write(self, writer: LayerWriter, number: int) -> None:
        names = [*self.files, *self.links, *self.gone]
        above = {"/".join(name.split("/")[:depth]) for name in names for depth in range(1, name.count("/") + 1)}
        for at, name in enumerate(sorted(above | {"Files"})):
            writer.put(Entry(name, _info(0x10, number, at), security=_security(name)))
        for at, (name, data) in enumerate(self.files.items()):
            entry = Entry(name, _info(0x20, number, at), len(data), _security(name))
            writer.put(entry, [DataStream("", len(data), (data,))])
        for at, (name, target) in enumerate(self.links.items()):
            writer.put(Entry(name, _info(0x20, number, at), link_target=target))
        for name in self.gone:
            writer.put(Entry(name, None))


def _info(attributes: int, number: int, at: int) -> FileBasicInfo:
    time = TIME + number * 10**11 + at * 10**7
    return FileBasicInfo(attributes, time, time + 3, time + 1, time + 2)


def _security(name: str) -> bytes:
    return _TRUSTED if name.startswith("Files/Windows") else _ORDINARY


def program(name: str, version: tuple[int, int, int, int], company: str) -> bytes:
    """A PE file of two kilobytes that states its version."""
    texts = [("CompanyName", company), ("FileDescription", name), ("ProductName", name.partition(".")[0])]
    return craft.with_version(craft.version_info((version, version), {"040904b0": texts})).encode()


def delta(keys: Keys, gone: Iterable[str] = ()) -> bytes:
    """A delta hive that adds keys and values to those of the layers below, and deletes keys."""
    root = tree({**keys, **{path.rpartition("\\")[0]: {} for path in gone}})
    for path in gone:
        *above, name = path.split("\\")
        key = root
        for step in above:
            below = key.subkey(step)
            assert isinstance(below, TreeKey)
            key = below
        key.add(TreeKey(name, KeyMetadata(10, semantics=LayerSemantics.TOMBSTONE)))
    return write_hive(root, has_layered_keys=True)


# What Windows itself consists of


def _package(name: str, version: str) -> str:
    return rf"{_CBS}\{name}~{_TOKEN}~amd64~~{version}"


def _update(version: Version, revision: Revision, state: int) -> dict[str, dict[str, Data]]:
    """The keys of a monthly update: the update under its number, and the rollup that it is."""
    number = f"{version.build}.{revision.number}.1.10"
    return {
        _package(f"Package_for_{revision.kb}", f"10.0.{number}"): {"CurrentState": state, "Visibility": 1},
        _package("Package_for_RollupFix", number): {"CurrentState": state, "Visibility": 1},
    }


def _software(version: Version, revision: Revision, *, nano: bool = False) -> Keys:
    core = _package("Microsoft-Windows-ServerCore-Package", f"10.0.{version.build}.1")
    keys: dict[str, Mapping[str, Data]] = {
        _VERSION: {
            "ProductName": version.product, "EditionID": "ServerDatacenterNano" if nano else "ServerDatacenterCor",
            "InstallationType": "Nano Server" if nano else "Server Core", "DisplayVersion": version.display,
            "CurrentBuildNumber": str(version.build), "CurrentMajorVersionNumber": 10, "CurrentMinorVersionNumber": 0,
            "UBR": revision.number,
        },
        r"Microsoft\NET Framework Setup\NDP\v4\Full": {"Install": 1, "Release": 528449, "Version": "4.8.04161"},
    }  # fmt: skip
    if revision.kb:
        keys |= _update(version, revision, _INSTALLED)
    if nano:
        return keys
    return {
        **keys,
        core: {"CurrentState": _INSTALLED},
        rf"{core}\Updates": {"IIS-WebServer": _STAGED, "TelnetClient": _STAGED, "NetFx4ServerFeatures": _INSTALLED},
        _package("Package_for_KB4470502", f"10.0.{version.build}.1"): {"CurrentState": _INSTALLED},
        rf"{_VERSION}\Server\ServerLevels": {"Server-Core": 1, "Server-Gui-Shell": 0},
        rf"{_UNINSTALL}\Tool": {"DisplayName": "Old Tool", "DisplayVersion": "0.9", "Publisher": "Vendor"},
        r"Microsoft\ServerManager\ServicingStorage\ServerComponentCache\Web-Server": {"InstallState": 0},
    }


def _system() -> Keys:
    services: dict[str, dict[str, Data]] = {
        rf"{_SERVICES}\{name}": {
            "Type": 0x20, "Start": 2 + number % 3, "DisplayName": f"Windows service {name}",
            "ImagePath": r"%SystemRoot%\System32\svchost.exe -k netsvcs",
        }
        for number, name in enumerate(("Dnscache", "EventLog", "LanmanServer", "Schedule", "W32Time"))
    }  # fmt: skip
    return {
        "Select": {"Current": 1, "Default": 1, "Failed": 0, "LastKnownGood": 1},
        _ENVIRONMENT: {"PROCESSOR_ARCHITECTURE": "AMD64", "OS": "Windows_NT", "TEMP": r"%SystemRoot%\TEMP"},
        **services,
        rf"{_SERVICES}\Afd": {"Type": 1, "Start": 1, "ImagePath": r"System32\drivers\afd.sys"},
    }


def _system_files(version: Version, revision: Revision, names: Iterable[str]) -> dict[str, bytes]:
    number = (10, 0, version.build, revision.number)
    return {f"Files/Windows/System32/{name}": program(name, number, "Microsoft Corporation") for name in names}


_LIBRARIES = ("kernel32.dll", "ntdll.dll", "user32.dll", "drivers/afd.sys", "svchost.exe", "cmd.exe", "reg.exe")


def base(version: Version, revision: Revision, *, nano: bool = False, more: Keys | None = None) -> Contents:
    """A base layer: hives, programs of Windows under two names, and small files. `more` are keys of SOFTWARE."""
    found = Contents()
    software = {**_software(version, revision, nano=nano), **(more or {})}
    for name, keys in (("SOFTWARE", software), ("SYSTEM", _system())):
        found.files[f"{CONFIG}/{name}"] = write_hive(tree(keys))
    found.files |= {f"{CONFIG}/{name}": b"" for name in ("DEFAULT", "SAM", "SECURITY")}
    found.files |= _system_files(version, revision, _LIBRARIES)
    for number in range(20 if nano else 40):
        side = f"Files/Windows/WinSxS/amd64_component{number:02}_{_TOKEN}_10.0.{version.build}.{revision.number}_none"
        name = f"component{number:02}.dll"
        found.files[f"{side}/{name}"] = program(name, (10, 0, version.build, number), "Microsoft Corporation")
        found.links[f"Files/Windows/System32/{name}"] = f"{side}/{name}"
    found.files |= {f"Files/Windows/INF/driver{number:02}.inf": b"[Version]\r\n" * number for number in range(20)}
    found.files |= {
        "Files/Windows/win.ini": b"; for 16-bit app support\r\n[fonts]\r\n",
        "Files/License.txt": b"License terms.\r\n" * 20,
        "Files/Users/Public/desktop.ini": b"[.ShellClassInfo]\r\n",
        "Files/Program Files/Old Tool/tool.exe": program("tool.exe", (0, 9, 0, 0), "Vendor"),
    }
    return found


def _updated(version: Version, number: int) -> Contents:
    """The update layer of a revision, over the base layer: later ones name the update before, or have removed it."""
    revision, before = version.revisions[number], version.revisions[number - 1]
    keys: dict[str, Mapping[str, Data]] = {_VERSION: {"UBR": revision.number}}
    if before.kb and number % 2 == 0:
        keys |= _update(version, before, _SUPERSEDED)
    keys |= _update(version, revision, _INSTALLED)
    gone = [_package("Package_for_KB4470502", f"10.0.{version.build}.1")]
    found = Contents(_system_files(version, revision, _LIBRARIES[:4]), gone=["Files/Windows/INF/driver00.inf"])
    found.files["Hives/Software_Delta"] = delta(keys, gone)
    side = f"Files/Windows/WinSxS/amd64_component00_{_TOKEN}_10.0.{version.build}.{revision.number}_none"
    name = "component00.dll"
    found.files[f"{side}/{name}"] = program(name, (10, 0, version.build, revision.number), "Microsoft Corporation")
    found.links[f"Files/Windows/System32/{name}"] = f"{side}/{name}"
    return found


# What runs on it


def jar(group: str, artifact: str, version: str, nested: Mapping[str, bytes] | None = None) -> bytes:
    """An archive of Java as Maven makes it, with archives in it."""
    out = io.BytesIO()
    properties = f"groupId={group}\nartifactId={artifact}\nversion={version}\n"
    members: dict[str, bytes] = {
        "META-INF/MANIFEST.MF": f"Manifest-Version: 1.0\r\nImplementation-Version: {version}\r\n\r\n".encode(),
        f"META-INF/maven/{group}/{artifact}/pom.properties": properties.encode(),
        **(nested or {}),
    }
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), data)
    return out.getvalue()


def log4j(version: str) -> bytes:
    """An archive of log4j-core."""
    return jar("org.apache.logging.log4j", "log4j-core", version)


def python_package(name: str, version: str) -> dict[str, bytes]:
    """The files of a package of Python, below its `site-packages`."""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT\n\n{name}\n".encode()
    folder = f"{name}-{version}.dist-info"
    return {f"{folder}/METADATA": metadata, f"{folder}/INSTALLER": b"pip\n", f"{name}/__init__.py": b"pass\n"}


def node_package(name: str, version: str) -> dict[str, bytes]:
    """The files of a package of Node.js, below `node_modules`."""
    record = {"name": name, "version": version, "license": "MIT", "author": "A. Author <a@example.com>"}
    return {f"{name}/package.json": json.dumps(record).encode(), f"{name}/index.js": b"module.exports = 1\n"}


def _below(folder: str, *parts: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"Files/{folder}/{name}": data for part in parts for name, data in part.items()}


SITE = "Python/Lib/site-packages"
MODULES = "nodejs/node_modules"
JAVA_LIBRARIES = "java/lib"


def _installed(
    name: str, version: str, publisher: str, more: Keys | None = None, system: Keys | None = None
) -> Contents:
    """A layer whose program is known to Windows."""
    keys: Keys = {
        rf"{_UNINSTALL}\{name}": {"DisplayName": name, "DisplayVersion": version, "Publisher": publisher},
        **(more or {}),
    }
    found = Contents({"Hives/Software_Delta": delta(keys)})
    if system:
        found.files["Hives/System_Delta"] = delta(system)
    return found


def _numbers(version: str) -> tuple[int, int, int, int]:
    parts = [int(part) for part in version.split(".")]
    return (*parts, 0, 0, 0, 0)[:4]  # type: ignore[return-value]


def _python(version: str, requests: str) -> Contents:
    found = _installed(f"Python {version} (64-bit)", version, "Python Software Foundation")
    found.files |= _below(SITE, python_package("pip", "24.0"), python_package("requests", requests))
    found.files["Files/Python/python.exe"] = program("python.exe", _numbers(version), "Python Software Foundation")
    return found


def _node(version: str, express: str) -> Contents:
    found = _installed("Node.js", version, "Node.js Foundation", _msi("Node.js", version))
    found.files |= _below(MODULES, node_package("npm", "10.2.3"), node_package("express", express))
    found.files["Files/nodejs/node.exe"] = program("node.exe", _numbers(version), "Node.js")
    return found


def _msi(name: str, version: str) -> Keys:
    """A product of Windows Installer; its code is a packed GUID that its name gives."""
    code = samples.sha256(f"{name} {version}".encode())[7:39].upper()
    return {rf"{_INSTALLER}\{code}\InstallProperties": {"DisplayName": name, "DisplayVersion": version}}


def _java(version: str, log4j_version: str) -> Contents:
    found = _installed(f"Eclipse Temurin JRE {version}", version, "Eclipse Adoptium", _msi("Temurin", version))
    found.files[f"Files/{JAVA_LIBRARIES}/log4j-core-{log4j_version}.jar"] = log4j(log4j_version)
    found.files[f"Files/{JAVA_LIBRARIES}/guava-31.1-jre.jar"] = jar("com.google.guava", "guava", "31.1-jre")
    found.files["Files/java/bin/java.exe"] = program("java.exe", _numbers(version), "Eclipse Adoptium")
    found.files["Hives/System_Delta"] = delta({_ENVIRONMENT: {"JAVA_HOME": r"C:\java"}})
    return found


def _dotnet(version: str) -> Contents:
    shared = f"Program Files/dotnet/shared/Microsoft.NETCore.App/{version}"
    names = ("coreclr.dll", "System.Private.CoreLib.dll")
    found = Contents(
        _below(shared, {name: program(name, _numbers(version), "Microsoft Corporation") for name in names})
    )
    found.files[f"Files/{shared}/.version"] = f"{version}\n".encode()
    return found


def _iis(version: Version) -> Contents:
    """The web server: a feature of a version of Windows is switched on, and a service is added."""
    core = _package("Microsoft-Windows-ServerCore-Package", f"10.0.{version.build}.1")
    service: Keys = {
        rf"{_SERVICES}\W3SVC": {"Type": 0x20, "Start": 2, "ImagePath": r"%windir%\system32\inetsrv\w3wp.exe"}
    }
    found = Contents(_system_files(version, version.revisions[0], ["inetsrv/w3wp.exe"]))
    role: Keys = {r"Microsoft\ServerManager\ServicingStorage\ServerComponentCache\Web-Server": {"InstallState": 1}}
    found.files["Hives/Software_Delta"] = delta({rf"{core}\Updates": {"IIS-WebServer": _INSTALLED}, **role})
    found.files["Hives/System_Delta"] = delta(service)
    return found


def _tools() -> Contents:
    """A program replaces an old one: its key and its files are gone."""
    keys: Keys = {rf"{_UNINSTALL}\Git": {"DisplayName": "Git", "DisplayVersion": "2.44.0", "Publisher": "Git Project"}}
    found = Contents(
        {"Hives/Software_Delta": delta(keys, [rf"{_UNINSTALL}\Tool"])}, gone=["Files/Program Files/Old Tool"]
    )
    found.files["Files/Git/git.exe"] = program("git.exe", (2, 44, 0, 0), "Git Project")
    found.files["Files/Windows/win.ini"] = b"[fonts]\r\n[git]\r\n"
    # A further name of a file of a layer below.
    found.links["Files/Git/shell.exe"] = "Files/Windows/System32/cmd.exe"
    return found


RUNTIMES = ("python-3.11", "python-3.12", "node-18", "node-20", "java-11", "java-17", "dotnet-6", "dotnet-8", "tools")
"""The runtimes that fit over every base of Server Core."""
_OLD_JAR = {"java-11": "2.14.1", "java-17": "2.17.1"}
_OLD_REQUESTS = {"python-3.11": "2.28.0", "python-3.12": "2.31.0"}


def _runtimes() -> dict[str, Contents]:
    found = {
        "python-3.11": _python("3.11.8", _OLD_REQUESTS["python-3.11"]),
        "python-3.12": _python("3.12.2", _OLD_REQUESTS["python-3.12"]),
        "node-18": _node("18.19.1", "4.17.1"), "node-20": _node("20.11.1", "4.18.2"),
        "java-11": _java("11.0.22", _OLD_JAR["java-11"]), "java-17": _java("17.0.10", _OLD_JAR["java-17"]),
        "dotnet-6": _dotnet("6.0.27"), "dotnet-8": _dotnet("8.0.2"), "tools": _tools(),
    }  # fmt: skip
    assert tuple(found) == RUNTIMES
    return found


APPLICATIONS = 30
DAMAGED_PACKAGE = 12
"""The application with a package whose description is cut off: its images have a finding."""


def runtime_of(application: int) -> str:
    """The runtime that an application stands on; the last ones stand on Nano Server and have .NET 8."""
    return "dotnet-8" if application >= APPLICATIONS - 3 else RUNTIMES[application % len(RUNTIMES)]


def _application(number: int) -> Contents:
    """An application. Some bring packages, some replace or delete those of the runtime."""
    runtime, name = runtime_of(number), f"app{number:02}"
    version = f"1.{number}.0"
    service: Keys = {
        rf"{_SERVICES}\{name}": {
            "Type": 0x10, "Start": 2, "DisplayName": f"Application {number}", "ImagePath": rf"C:\{name}\{name}.exe",
        }
    }  # fmt: skip
    on_nano = number >= APPLICATIONS - 3
    found = Contents() if on_nano else _installed(f"Application {number}", version, "Example", system=service)
    found.files[f"Files/{name}/{name}.exe"] = program(f"{name}.exe", _numbers(version), "Example")
    found.files[f"Files/{name}/settings.json"] = json.dumps({"application": number}).encode()
    if runtime.startswith("python"):
        found.files |= _below(SITE, python_package("flask", f"2.{number % 3}.0"))
        if number >= len(RUNTIMES):
            found.files |= _below(SITE, python_package("requests", "2.32.0"))
            found.gone = [f"Files/{SITE}/requests-{_OLD_REQUESTS[runtime]}.dist-info"]
    elif runtime.startswith("node"):
        found.files |= _below(MODULES, node_package("lodash", f"4.17.{10 + number}"))
        if number == DAMAGED_PACKAGE:
            found.files[f"Files/{MODULES}/lodash/package.json"] = b'{"name": "lodash", '
        if number >= len(RUNTIMES):
            found.files |= _below(MODULES, node_package("express", "4.19.0"))
    elif runtime.startswith("java"):
        found.files |= _java_application(number, name)
        if number >= 2 * len(RUNTIMES):
            found.gone = [f"Files/{JAVA_LIBRARIES}/log4j-core-{_OLD_JAR[runtime]}.jar"]
            found.files[f"Files/{JAVA_LIBRARIES}/log4j-core-2.23.0.jar"] = log4j("2.23.0")
    return found


def _java_application(number: int, name: str) -> dict[str, bytes]:
    """An archive of an application, some with an archive of log4j in it."""
    nested = {"BOOT-INF/lib/log4j-core-2.15.0.jar": log4j("2.15.0")} if number < len(RUNTIMES) else {}
    return {f"Files/{name}/{name}-1.0.jar": jar("com.example", name, "1.0", nested)}


@dataclass(frozen=True)
class Layers:
    """The layers of a fleet by their names."""

    bases: Mapping[str, samples.Layer]
    """By the tag of the version: "ltsc2022"."""
    updates: Mapping[tuple[str, int], samples.Layer]
    """By the tag of the version and the number of the revision."""
    nano_servers: Mapping[tuple[str, int], samples.Layer]
    runtimes: Mapping[str, samples.Layer]
    """By name; the web server by "iis-" and the tag of the version."""
    applications: tuple[samples.Layer, ...]

    @property
    def all(self) -> tuple[samples.Layer, ...]:
        """All of them, each once."""
        groups = (self.bases, self.updates, self.nano_servers, self.runtimes)
        return (*(layer for group in groups for layer in group.values()), *self.applications)


def make_layers() -> Layers:
    """Makes the layers: of some the blobs are compressed with gzip, of others with Zstandard."""
    numbers = iter(range(1000))

    def made(contents: Contents) -> samples.Layer:
        number = next(numbers)
        tar = contents.tar(number)
        return samples.zstd_layer(tar) if number % 7 == 6 else samples.layer(tar, "oci")

    return Layers(
        {version.tag: made(base(version, version.revisions[0])) for version in VERSIONS},
        {
            (version.tag, number): made(_updated(version, number))
            for version in VERSIONS
            for number in range(1, len(version.revisions))
        },
        {
            (version.tag, number): made(base(version, version.revisions[number], nano=True))
            for version, number in NANO_SERVERS
        },
        {
            name: made(contents)
            for name, contents in {**_runtimes(), **{f"iis-{v.tag}": _iis(v) for v in VERSIONS}}.items()
        },
        tuple(made(_application(number)) for number in range(APPLICATIONS)),
    )
