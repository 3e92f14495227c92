"""The image in the pictures of the explorer: a shop on Windows, in six steps. Its bytes are always the same."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.inventory.subjects import Keys, tree
from wclayer.cli.sample_image import SampleLayer, sha256_of, write_sample_image
from wclayer.formats.compression import Compression
from wclayer.formats.regf.delta import delta_of
from wclayer.formats.regf.writer import write_hive
from wclayer.images.loading import load_images
from wclayer.images.opening import ImageLayers, open_image
from wclayer.images.store import ImageStore
from wclayer.layers.hives import CONFIG
from wclayer.layers.tar import TarLayerWriter
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.win32.accounts import SERVICE, virtual_account_sid
from wclayer.win32.attributes import FileAttributes, FileBasicInfo
from wclayer.win32.inherit import inherit, volume_root
from wclayer.win32.sddl import from_sddl
from wclayer.win32.sid import TRUSTED_INSTALLER

NAME = "shop:1.4"
_TIME, _HOUR = 133_500_000_000_000_000, 36_000_000_000
_ROOT = volume_root()
_SYSTEM = from_sddl(
    f"O:{TRUSTED_INSTALLER}G:{TRUSTED_INSTALLER}D:PAI(A;;FA;;;{TRUSTED_INSTALLER})(A;;0x1200a9;;;BA)(A;;0x1200a9;;;SY)"
    "(A;;0x1200a9;;;BU)"
).encode()
_SETTINGS = from_sddl(f"O:BAG:SYD:P(A;;FA;;;BA)(A;;FA;;;SY)(A;;FR;;;{virtual_account_sid(SERVICE, 'SHOP')})").encode()

_VERSION = r"Microsoft\Windows NT\CurrentVersion"
_PACKAGES = r"Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages"
_FIRST_UPDATE = rf"{_PACKAGES}\Package_for_KB5030216~31bf3856ad364e35~amd64~~20348.1970.1.0"
_UPDATE = rf"{_PACKAGES}\Package_for_RollupFix~31bf3856ad364e35~amd64~~20348.2322.1.8"
_SERVICES = r"ControlSet001\Services"
_BASE_SOFTWARE: Keys = {
    r"Classes\.txt": {"": "txtfile", "Content Type": "text/plain"},
    r"Microsoft\.NETFramework": {"InstallRoot": r"C:\Windows\Microsoft.NET\Framework64"},
    _VERSION: {
        "CurrentBuildNumber": "20348", "CurrentMajorVersionNumber": 10, "EditionID": "ServerDatacenterCor",
        "InstallationType": "Server Core", "ProductName": "Windows Server 2022 Datacenter",
        "SystemRoot": r"C:\Windows", "UBR": 1970,
    },
    _FIRST_UPDATE: {"CurrentState": 112, "Visibility": 1},
    r"Microsoft\Windows\CurrentVersion": {"CommonFilesDir": r"C:\Program Files\Common Files"},
    r"Microsoft\Windows\CurrentVersion\Run": {"SecurityHealth": r"%windir%\system32\SecurityHealthSystray.exe"},
    r"Policies\Microsoft\Windows": {},
}  # fmt: skip
_UPDATED_SOFTWARE: Keys = {
    **{key: values for key, values in _BASE_SOFTWARE.items() if key != _FIRST_UPDATE},
    _VERSION: {**_BASE_SOFTWARE[_VERSION], "UBR": 2322},
    _UPDATE: {"CurrentState": 112, "InstallName": "update.mum", "Visibility": 1},
}
_SHOP_SOFTWARE: Keys = {
    **_UPDATED_SOFTWARE,
    r"Microsoft\Windows\CurrentVersion\Run": {},
    r"Shop\Server": {"Database": r"C:\shop\data\shop.db", "Port": 8080, "Workers": 4},
}
_BASE_SYSTEM: Keys = {
    "Select": {"Current": 1, "Default": 1, "Failed": 0, "LastKnownGood": 1},
    rf"{_SERVICES}\Dhcp": {"ImagePath": r"%SystemRoot%\system32\svchost.exe -k LocalService", "Start": 2, "Type": 32},
    rf"{_SERVICES}\Dnscache": {
        "ImagePath": r"%SystemRoot%\system32\svchost.exe -k NetworkService",
        "Start": 2,
        "Type": 32,
    },
    rf"{_SERVICES}\EventLog": {"ImagePath": r"%SystemRoot%\System32\svchost.exe -k Local", "Start": 2, "Type": 32},
}
_IIS_SYSTEM: Keys = {
    **_BASE_SYSTEM,
    rf"{_SERVICES}\W3SVC": {"ImagePath": r"%windir%\system32\svchost.exe -k iissvcs", "Start": 2, "Type": 32},
}
_SHOP_SYSTEM: Keys = {
    **_IIS_SYSTEM,
    rf"{_SERVICES}\Shop": {"DisplayName": "The shop", "ImagePath": r"C:\shop\shop.exe", "Start": 2, "Type": 16},
    rf"{_SERVICES}\W3SVC": {"ImagePath": r"%windir%\system32\svchost.exe -k iissvcs", "Start": 4, "Type": 32},
}
_LICENSE = b"MICROSOFT SOFTWARE LICENSE TERMS\r\n" * 120
_HOSTS = b"127.0.0.1 localhost\r\n"
_SETTINGS_BEFORE = b'{\r\n  "Urls": "http://*:80",\r\n  "Workers": 1\r\n}\r\n'
_SETTINGS_AFTER = (
    b'{\r\n  "Urls": "http://*:8080",\r\n  "Workers": 4,\r\n  "Database": "C:\\\\shop\\\\data\\\\shop.db"\r\n}\r\n'
)

Content = int | bytes | None
"""Bytes, the size of a file whose bytes do not matter, or None for a file or directory that the layer removes."""


@dataclass(frozen=True)
class _Step:
    """A layer: the command that made it, its files below C: by their paths, and its hives. Files of one name and size
    have the same bytes in all layers, but for those that are `changed`."""

    command: str
    files: Mapping[str, Content]
    hives: Mapping[str, bytes] = field(default_factory=dict)
    changed: bool = False


def _base(keys: Keys) -> bytes:
    return write_hive(tree(keys, _TIME))


def _delta(before: Keys, after: Keys) -> bytes:
    delta = delta_of(tree(before, _TIME), tree(after, _TIME))
    assert delta is not None
    return write_hive(delta, has_layered_keys=True)


_SIDE = "Windows/WinSxS/amd64_microsoft-windows-"
_STEPS = (
    _Step(
        "Apply image 10.0.20348.1970",
        {
            "License.txt": _LICENSE,
            "Program Files/Common Files/system/wab32.dll": 412_160,
            "ProgramData/Microsoft/Windows/SystemData/index.dat": 32_768,
            "Users/Public/desktop.ini": 174,
            "Windows/System32/advapi32.dll": 708_608, "Windows/System32/cmd.exe": 331_776,
            "Windows/System32/combase.dll": 1_612_800, "Windows/System32/drivers/etc/hosts": _HOSTS,
            "Windows/System32/drivers/http.sys": 1_171_456, "Windows/System32/drivers/ntfs.sys": 1_835_008,
            "Windows/System32/kernel32.dll": 782_336, "Windows/System32/ntdll.dll": 1_228_800,
            "Windows/System32/svchost.exe": 57_344, "Windows/System32/winevt/Logs/System.evtx": 69_632,
            "Windows/win.ini": b"; for 16-bit app support\r\n[fonts]\r\n",
            f"{_SIDE}kernel32_31bf3856ad364e35_10.0.20348.1970_none_3a1c/kernel32.dll": 782_336,
            f"{_SIDE}ntdll_31bf3856ad364e35_10.0.20348.1970_none_77b0/ntdll.dll": 1_228_800,
        },
        {f"{CONFIG}/SOFTWARE": _base(_BASE_SOFTWARE), f"{CONFIG}/SYSTEM": _base(_BASE_SYSTEM)},
    ),
    _Step(
        "Install update 10.0.20348.2322",
        {
            "Windows/System32/kernel32.dll": 786_432, "Windows/System32/ntdll.dll": 1_236_992,
            "Windows/System32/drivers/http.sys": 1_179_648, "Windows/servicing/Packages/KB5034770.mum": 18_432,
            f"{_SIDE}kernel32_31bf3856ad364e35_10.0.20348.1970_none_3a1c": None,
            f"{_SIDE}kernel32_31bf3856ad364e35_10.0.20348.2322_none_5d20/kernel32.dll": 786_432,
        },
        {"Hives/Software_Delta": _delta(_BASE_SOFTWARE, _UPDATED_SOFTWARE)},
        changed=True,
    ),
    _Step(
        "powershell -Command Install-WindowsFeature Web-Server",
        {
            "inetpub/history/schema.xml": 9_216, "inetpub/wwwroot/iisstart.htm": 703,
            "inetpub/wwwroot/iisstart.png": 98_757, "Windows/System32/inetsrv/config/applicationHost.config": 61_440,
            "Windows/System32/inetsrv/iiscore.dll": 339_968, "Windows/System32/inetsrv/w3wphost.dll": 90_112,
        },
        {"Hives/System_Delta": _delta(_BASE_SYSTEM, _IIS_SYSTEM)},
    ),
    _Step(
        "powershell -Command Invoke-WebRequest $url -OutFile C:\\setup\\hosting.exe; C:\\setup\\hosting.exe /quiet",
        {
            "Program Files/dotnet/LICENSE.txt": _LICENSE, "Program Files/dotnet/dotnet.exe": 147_456,
            "Program Files/dotnet/host/fxr/8.0.2/hostfxr.dll": 375_808,
            "Program Files/dotnet/shared/Microsoft.NETCore.App/8.0.2/System.Private.CoreLib.dll": 2_211_840,
            "Program Files/dotnet/shared/Microsoft.NETCore.App/8.0.2/coreclr.dll": 1_425_408,
            "setup/hosting.exe": 3_145_728, "setup/hosting.log": 12_288,
        },
    ),
    _Step(
        "COPY publish C:\\shop # buildkit",
        {
            "shop/System.Private.CoreLib.dll": 2_211_840, "shop/appsettings.json": _SETTINGS_BEFORE,
            "shop/shop.dll": 184_320, "shop/shop.exe": 151_552, "shop/shop.pdb": 73_728,
            "shop/wwwroot/css/site.css": 11_264, "shop/wwwroot/js/cart.js": 38_912,
            "shop/wwwroot/lib/cart.js": 38_912,
        },
    ),
    _Step(
        "cmd /S /C del C:\\License.txt C:\\shop\\*.pdb & rd /s /q C:\\setup & C:\\shop\\shop.exe install",
        {
            "License.txt": None, "setup": None, "inetpub/wwwroot/iisstart.htm": None,
            "inetpub/wwwroot/web.config": b"<configuration />\r\n",
            "shop/appsettings.json": _SETTINGS_AFTER, "shop/data/shop.db": 98_304, "shop/logs/install.log": 2_048,
            "shop/shop.pdb": None, "Windows/System32/drivers/etc/hosts": _HOSTS + b"10.0.0.7 database\r\n",
            "Windows/System32/winevt/Logs/System.evtx": 69_632,
        },
        {
            "Hives/Software_Delta": _delta(_UPDATED_SOFTWARE, _SHOP_SOFTWARE),
            "Hives/System_Delta": _delta(_IIS_SYSTEM, _SHOP_SYSTEM),
        },
        changed=True,
    ),
)  # fmt: skip


def open_pictured(folder: Path) -> ImageLayers:
    """Makes the image in a store in a folder, and opens it. The caller closes it."""
    layers = []
    for number, step in enumerate(_STEPS):
        tar = folder / f"{number}.tar"
        with tar.open("wb") as raw, TarLayerWriter(raw, tar, compression=Compression.NONE) as writer:
            _write(writer, step, number)
        digest = sha256_of(tar)
        layers.append(SampleLayer(tar, digest, digest, step.command))
    write_sample_image(folder / "image.tar", NAME, layers)
    store = ImageStore(folder / "store")
    load_images(folder / "image.tar", store)
    return open_image(NAME, store)


def _write(writer: LayerWriter, step: _Step, number: int) -> None:
    time = _TIME + number * 26 * _HOUR
    entries: dict[str, bytes | None] = {f"Files/{path}": _bytes(path, what, step) for path, what in step.files.items()}
    entries |= step.hives
    made: set[str] = set()
    for path, data in entries.items():
        for above in _above(path):
            if above not in made:
                made.add(above)
                time += 70_000_000
                writer.put(Entry(above, _info(time, FileAttributes.DIRECTORY), security=_security(above, True)))
        time += 70_000_001
        if data is None:
            writer.put(Entry(path, None))
            continue
        entry = Entry(path, _info(time, FileAttributes.ARCHIVE), len(data), _security(path, False))
        streams = {"Zone.Identifier": b"[ZoneTransfer]\r\nZoneId=3\r\n"} if path.endswith("hosting.exe") else {}
        contents = {"": data, **streams}
        writer.put(entry, [DataStream(name, len(content), (content,)) for name, content in contents.items()])


def _above(path: str) -> Iterator[str]:
    names = path.split("/")
    return ("/".join(names[:depth]) for depth in range(1, len(names)))


def _bytes(path: str, what: Content, step: _Step) -> bytes | None:
    if not isinstance(what, int):
        return what
    name = path.rpartition("/")[2]
    return random.Random(f"{name} {what} {step.command if step.changed else ''}").randbytes(what)


def _info(time: int, kind: FileAttributes) -> FileBasicInfo:
    return FileBasicInfo(int(kind), time, time + 1_234_567, time + 2_345_678, time + 1_234_568)


def _security(path: str, is_directory: bool) -> bytes | None:
    if path.startswith("Hives/"):
        # Windows exports hives without a security descriptor.
        return None
    if path == "Files":
        return _ROOT.encode()
    if path.endswith("appsettings.json"):
        return _SETTINGS
    return _SYSTEM if path.startswith("Files/Windows") else inherit(_ROOT, is_directory=is_directory).encode()
