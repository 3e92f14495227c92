"""Makes a realistic sample of a Windows base layer and a child, for the demo and many tests.

They hold one of each thing that a layer can hold: security descriptors, alternate streams, EAs, symbolic links,
junctions, hard links, tombstones, a utility VM, names that are long, reserved or not ASCII. The bytes are always the
same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from wclayer.formats.regf.delta import delta_of
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.model import KeyMetadata, TreeKey, Value, fold
from wclayer.formats.regf.values import ValueType, encode_string
from wclayer.formats.regf.writer import write_hive
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.win32.attributes import FileAttributes, FileBasicInfo
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.inherit import inherit, volume_root
from wclayer.win32.reparse import LinkTarget
from wclayer.win32.sddl import from_sddl
from wclayer.win32.sid import TRUSTED_INSTALLER

_BASE_TIME = 133_500_000_000_000_000
_TRUSTED_INSTALLER = from_sddl(
    f"O:{TRUSTED_INSTALLER}G:{TRUSTED_INSTALLER}D:PAI(A;;FA;;;{TRUSTED_INSTALLER})"
    "(A;;0x1200a9;;;BA)(A;;0x1200a9;;;SY)(A;;0x1200a9;;;BU)(A;;0x1200a9;;;AC)"
).encode()
_ROOT = volume_root()
_DIRECTORY = inherit(_ROOT, is_directory=True).encode()
_FILE = inherit(_ROOT, is_directory=False).encode()

_D = int(FileAttributes.DIRECTORY)
_A = int(FileAttributes.ARCHIVE)
_HS = int(FileAttributes.HIDDEN | FileAttributes.SYSTEM)
_L = int(FileAttributes.REPARSE_POINT)


class _Sample:
    """Puts entries into a writer. Each entry has its own times."""

    def __init__(self, writer: LayerWriter, seed: int) -> None:
        self._writer = writer
        self._random = random.Random(seed)
        self._time = _BASE_TIME + seed * 10**13

    def _info(self, attributes: int) -> FileBasicInfo:
        self._time += self._random.randrange(10**6, 10**9)
        created = self._time
        written = created + self._random.randrange(10**7)
        return FileBasicInfo(attributes, created, written + 3, written, written + 1)

    def directory(self, name: str, attributes: int = 0, security: bytes = _DIRECTORY) -> None:
        self._writer.put(Entry(name, self._info(_D | attributes), security=security))

    def file(
        self,
        name: str,
        data: bytes,
        attributes: int = _A,
        security: bytes | None = _FILE,
        eas: bytes = b"",
        **streams: bytes,
    ) -> None:
        entry = Entry(name, self._info(attributes), len(data), security, eas)
        self._writer.put(entry, _streams(data, streams))

    def link(self, name: str, target: str) -> None:
        self._writer.put(Entry(name, self._info(_A), link_target=target))

    def reparse(self, name: str, target: str, *, junction: bool, directory: bool = False) -> None:
        attributes = _L | (_D if directory or junction else _A)
        data = LinkTarget.from_path(target, is_mount_point=junction).encode()
        self._writer.put(Entry(name, self._info(attributes), security=_DIRECTORY, reparse=data))

    def program(self, size: int) -> bytes:
        """Returns bytes like those of a program: a header, code that repeats, data that does not."""
        words = [self._random.randbytes(12) for _ in range(64)]
        body = b"".join(self._random.choices(words, k=size // 16)) + self._random.randbytes(size // 4)
        return (b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff\0\0" + body)[:size]


def _streams(data: bytes, streams: dict[str, bytes]) -> Iterator[DataStream]:
    yield DataStream("", len(data), (data,))
    for name, content in streams.items():
        yield DataStream(name.replace("_", "."), len(content), (content,))


def write_base(writer: LayerWriter) -> None:
    """Writes the sample base layer: 218 entries, about 8 MB."""
    make = _Sample(writer, 1)
    make.directory("Files", security=_ROOT.encode())
    for name in ("Program Files", "ProgramData", "Users", "Windows"):
        make.directory(f"Files/{name}", security=_TRUSTED_INSTALLER if name == "Windows" else _DIRECTORY)
    make.file("Files/License.txt", b"Sample license.\r\n" * 40, Zone_Identifier=b"[ZoneTransfer]\r\nZoneId=3\r\n")
    for name in ("System32", "SysWOW64", "WinSxS", "INF", "Temp"):
        make.directory(f"Files/Windows/{name}", security=_TRUSTED_INSTALLER)
    for name in ("config", "drivers", "en-US"):
        make.directory(f"Files/Windows/System32/{name}", security=_TRUSTED_INSTALLER)
    # Hives may be empty: image builders without a registry leave them so.
    hives = {"DEFAULT": b"", "SAM": b"", "SECURITY": b"", "SOFTWARE": write_hive(_software()), "SYSTEM": _system()}
    for name, data in hives.items():
        make.file(f"Files/Windows/System32/config/{name}", data)
    catalog = encode_eas([ExtendedAttribute(b"$KERNEL.PURGE.ESBCACHE", bytes(range(36)))])
    for number in range(60):
        side = f"Files/Windows/WinSxS/amd64_component-{number:02d}_31bf3856ad364e35_10.0.20348.1_none"
        make.directory(side, security=_TRUSTED_INSTALLER)
        library = f"{side}/component{number:02d}.dll"
        make.file(library, make.program(16_384 + 4_096 * number), security=_TRUSTED_INSTALLER, eas=catalog)
        make.link(f"Files/Windows/System32/component{number:02d}.dll", library)
    # Microsoft's layers sometimes spell a parent directory differently; Windows ignores the difference.
    make.file("Files/Windows/inf/setupapi.inf", b"[Version]\r\nSignature=$WINDOWS NT$\r\n", security=_TRUSTED_INSTALLER)
    make.file("Files/Windows/win.ini", b"; for 16-bit app support\r\n[fonts]\r\n[extensions]\r\n")
    make.file("Files/Windows/System32/drivers/etc-hosts", b"127.0.0.1 localhost\r\n", _A | int(FileAttributes.READONLY))
    make.directory("Files/Users/Public")
    make.directory("Files/Users/Default", int(FileAttributes.HIDDEN))
    make.reparse("Files/Documents and Settings", r"C:\Users", junction=True)
    make.reparse("Files/Users/All Users", r"C:\ProgramData", junction=False, directory=True)
    make.reparse("Files/Users/Public/readme.lnk.txt", r"..\..\License.txt", junction=False)
    make.file("Files/Users/Public/desktop.ini", b"[.ShellClassInfo]\r\n", _A | _HS)
    make.file("Files/Users/Public/日本語 – Ünïcödé 😀.txt", "Grüße".encode())
    make.file("Files/Users/Public/" + "long name " * 20 + ".txt", b"200 characters")
    make.file("Files/Users/Public/CON", b"a reserved name, legal for NTFS")
    make.directory("UtilityVM")
    make.directory("UtilityVM/Files")
    path = "UtilityVM/Files"
    for name in ("EFI", "Microsoft", "Boot"):
        path = f"{path}/{name}"
        make.directory(path)
    make.file(f"{path}/BCD", _boot_store())
    make.file(f"{path}/bootmgfw.efi", make.program(65_536))


def write_child(writer: LayerWriter) -> None:
    """Writes the sample child: an application over the base layer, one file replaced, two deleted."""
    make = _Sample(writer, 2)
    make.directory("Files", security=_ROOT.encode())
    make.directory("Files/app")
    make.file("Files/app/app.exe", make.program(250_000), Zone_Identifier=b"[ZoneTransfer]\r\nZoneId=3\r\n")
    make.file("Files/app/settings.json", b'{"answer": 42}\n')
    make.reparse("Files/app/data", r"C:\ProgramData\app", junction=True)
    make.link(
        "Files/app/component.dll",
        "Files/Windows/WinSxS/amd64_component-00_31bf3856ad364e35_10.0.20348.1_none/component00.dll",
    )
    make.directory("Files/Windows", security=_TRUSTED_INSTALLER)
    make.file("Files/Windows/win.ini", b"; for 16-bit app support\r\n[fonts]\r\n[extensions]\r\n[app]\r\nkey=value\r\n")
    writer.put(Entry("Files/License.txt", None))
    writer.put(Entry("Files/Users/Public/CON", None))
    make.directory("Hives")
    # Windows exports hives without a security descriptor.
    make.file("Hives/Software_Delta", _software_delta(), security=None)


def _key(root: TreeKey, path: str, **values: str | int) -> TreeKey:
    """Makes a key below a root with its values, which are strings or numbers, and returns it."""
    key = root
    for name in path.split("\\"):
        child = key.below.get(fold(name))
        if not isinstance(child, TreeKey):
            child = TreeKey(name, KeyMetadata(_BASE_TIME, root.metadata.security))
            key.add(child)
        key = child
    for name, value in values.items():
        kind = ValueType.REG_SZ if isinstance(value, str) else ValueType.REG_DWORD
        key.set(Value(name, kind, encode_string(value) if isinstance(value, str) else value.to_bytes(4, "little")))
    return key


def _software() -> TreeKey:
    root = empty_root(_BASE_TIME)
    _key(root, r"Microsoft\Windows NT\CurrentVersion", CurrentBuild="20348", ProductName="Sample Server", UBR=1)
    _key(root, r"Classes\.ini").set(Value("", ValueType.REG_SZ, encode_string("inifile")))
    _key(root, "Removed by the child", Because="it can be")
    return root


def _software_delta() -> bytes:
    changed = _software()
    _key(changed, r"Sample\App", InstallPath=r"C:\app", Answer=42)
    _key(changed, r"Microsoft\Windows NT\CurrentVersion", UBR=2)
    del changed.below[fold("Removed by the child")]
    delta = delta_of(_software(), changed)
    assert delta is not None
    return write_hive(delta, has_layered_keys=True)


def _system() -> bytes:
    root = empty_root(_BASE_TIME)
    _key(root, "Select", Current=1, Default=1, Failed=0, LastKnownGood=1)
    _key(root, r"ControlSet001\Services\Sample", Start=3, ImagePath=r"System32\drivers\sample.sys")
    return write_hive(root)


def _boot_store() -> bytes:
    root = empty_root(_BASE_TIME)
    manager = r"Objects\{9dea862c-5cdd-4e70-acc1-f32b344d4795}"
    _key(root, rf"{manager}\Description", Type=0x10100002)
    _key(root, rf"{manager}\Elements\12000004", Element="Windows Boot Manager")
    _key(root, rf"{manager}\Elements\12000002", Element=r"\EFI\Microsoft\Boot\bootmgfw.efi")
    return write_hive(root)
