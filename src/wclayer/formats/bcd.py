"""Reads boot configuration stores: hives whose keys are objects with elements. `bcdedit` shows the same objects.

Source: "Boot Configuration Data (BCD) Reference" (Microsoft), `BcdBootMgrElementTypes`, `BcdLibraryElementTypes`,
`BcdOSLoaderElementTypes`, `BcdDeviceObjectElementTypes`, and the names that `bcdedit /enum` prints for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from uuid import UUID

from wclayer.formats.regf.model import Key, RegfError, Value
from wclayer.formats.regf.values import decode_string, decode_strings, integer

_WELL_KNOWN = {
    "9dea862c-5cdd-4e70-acc1-f32b344d4795": "bootmgr",
    "a5a30fa2-3d06-4e9f-b5f4-a01df9d1fcba": "fwbootmgr",
    "b2721d73-1db4-4c62-bf78-c548a880142d": "memdiag",
    "466f5a88-0af2-4f76-9038-095b170dc21c": "ntldr",
    "fa926493-6f1c-4193-a414-58f0b2456d1e": "current",
    "5189b25c-5558-4bf2-bca4-289b11bd29e2": "badmemory",
    "6efb52bf-1766-41db-a6b3-0ee5eff72bd7": "bootloadersettings",
    "4636856e-540f-4170-a130-a84776f4c654": "dbgsettings",
    "0ce4991b-e6b3-4b16-b23c-5e0d9250e5d9": "emssettings",
    "7ea2e1ac-2e61-4728-aaa3-896d9d0a9f0e": "globalsettings",
    "1afa9c49-16ab-4a5c-901b-212802da9460": "resumeloadersettings",
    "7ff607e0-4395-11db-b0de-0800200c9a66": "hypervisorsettings",
    "ae5534e0-a924-466c-b836-758539a3ee3a": "ramdiskoptions",
}

_OBJECT_TYPES = {
    0x10100001: "Firmware Boot Manager",
    0x10100002: "Windows Boot Manager",
    0x10200003: "Windows Boot Loader",
    0x10200004: "Resume from Hibernate",
    0x10200005: "Windows Memory Tester",
    0x10300006: "Windows Legacy OS Loader",
    0x10400008: "Boot Sector",
    0x10400009: "Startup Module",
    0x101FFFFF: "Firmware Application",
    0x20100000: "Global Settings",
    0x20100001: "Firmware Boot Manager Settings",
    0x20100002: "Boot Manager Settings",
    0x20200003: "Boot Loader Settings",
    0x20200004: "Resume Loader Settings",
    0x30000000: "Device options",
}
_OS_LOADER, _RESUME, _MEMORY_TESTER = 3, 4, 5

# fmt: off
_LIBRARY = {
    0x11000001: "device", 0x12000002: "path", 0x12000004: "description", 0x12000005: "locale",
    0x14000006: "inherit", 0x15000007: "truncatememory", 0x14000008: "recoverysequence",
    0x16000009: "recoveryenabled", 0x1700000A: "badmemorylist", 0x1600000B: "badmemoryaccess",
    0x1500000C: "firstmegabytepolicy", 0x1500000D: "relocatephysical", 0x1500000E: "avoidlowmemory",
    0x1600000F: "traditionalkseg", 0x16000010: "bootdebug", 0x15000011: "debugtype", 0x15000012: "debugaddress",
    0x15000013: "debugport", 0x15000014: "baudrate", 0x15000015: "channel", 0x12000016: "targetname",
    0x16000017: "noumex", 0x15000018: "debugstart", 0x12000019: "busparams", 0x1500001A: "hostip",
    0x1500001B: "port", 0x1600001C: "dhcp", 0x1200001D: "key", 0x1600001E: "vm", 0x16000020: "bootems",
    0x15000022: "emsport", 0x15000023: "emsbaudrate", 0x12000030: "loadoptions", 0x16000040: "advancedoptions",
    0x16000041: "optionsedit", 0x15000042: "keyringaddress", 0x11000043: "bootstatdevice",
    0x12000044: "bootstatfilepath", 0x16000045: "preservebootstat", 0x16000046: "graphicsmodedisabled",
    0x15000047: "configaccesspolicy", 0x16000048: "nointegritychecks", 0x16000049: "testsigning",
    0x1200004A: "fontpath", 0x1500004B: "integrityservices", 0x1500004C: "volumebandid",
    0x16000050: "extendedinput", 0x15000051: "initialconsoleinput", 0x15000052: "graphicsresolution",
    0x16000053: "restartonfailure", 0x16000054: "highestmode", 0x16000060: "isolatedcontext",
    0x15000065: "displaymessage", 0x15000066: "displaymessageoverride", 0x16000068: "nobootuxtext",
    0x16000069: "nobootuxprogress", 0x1600006A: "nobootuxfade", 0x1600006C: "bootuxdisabled",
    0x16000071: "multibootsystem", 0x16000072: "nokeyboard", 0x15000073: "aliaswindowskey",
    0x16000074: "bootshutdowndisabled", 0x15000075: "performancefrequency", 0x15000076: "securebootrawpolicy",
    0x17000077: "allowedinmemorysettings", 0x15000079: "bootuxtransitiontime", 0x1600007A: "mobilegraphics",
    0x1600007B: "forcefipscrypto", 0x1500007D: "booterrorux", 0x1600007E: "flightsigning",
    0x1500007F: "measuredbootlogformat",
}
_BOOT_MANAGER = {
    0x24000001: "displayorder", 0x24000002: "bootsequence", 0x23000003: "default", 0x25000004: "timeout",
    0x26000005: "resume", 0x23000006: "resumeobject", 0x24000010: "toolsdisplayorder",
    0x26000020: "displaybootmenu", 0x26000021: "noerrordisplay", 0x21000022: "bcddevice",
    0x22000023: "bcdfilepath", 0x26000028: "processcustomactionsfirst", 0x27000030: "customactions",
    0x26000031: "persistbootsequence",
}
_LOADER = {
    0x21000001: "osdevice", 0x22000002: "systemroot", 0x23000003: "resumeobject", 0x26000004: "stampdisks",
    0x26000010: "detecthal", 0x22000011: "kernel", 0x22000012: "hal", 0x22000013: "dbgtransport", 0x25000020: "nx",
    0x25000021: "pae", 0x26000022: "winpe", 0x26000024: "nocrashautoreboot", 0x26000025: "lastknowngood",
    0x26000026: "oslnointegritychecks", 0x26000027: "osltestsigning", 0x26000030: "nolowmem",
    0x25000031: "removememory", 0x25000032: "increaseuserva", 0x25000033: "perfmem", 0x26000040: "vga",
    0x26000041: "quietboot", 0x26000042: "novesa", 0x26000043: "novga", 0x25000050: "clustermodeaddressing",
    0x26000051: "usephysicaldestination", 0x25000052: "restrictapiccluster", 0x22000053: "evstore",
    0x26000054: "uselegacyapicmode", 0x26000060: "onecpu", 0x25000061: "numproc", 0x26000062: "maxproc",
    0x25000063: "configflags", 0x26000064: "maxgroup", 0x26000065: "groupaware", 0x25000066: "groupsize",
    0x26000070: "usefirmwarepcisettings", 0x25000071: "msi", 0x25000072: "pciexpress", 0x25000080: "safeboot",
    0x26000081: "safebootalternateshell", 0x26000090: "bootlog", 0x26000091: "sos", 0x260000A0: "debug",
    0x260000A1: "halbreakpoint", 0x260000A2: "useplatformclock", 0x260000A3: "forcelegacyplatform",
    0x260000A4: "useplatformtick", 0x260000A5: "disabledynamictick", 0x250000A6: "tscsyncpolicy",
    0x260000B0: "ems", 0x250000C0: "forcefailure", 0x250000C1: "driverloadfailurepolicy",
    0x250000C2: "bootmenupolicy", 0x260000C3: "onetimeadvancedoptions", 0x260000C4: "onetimeoptionsedit",
    0x250000E0: "bootstatuspolicy", 0x260000E1: "disableelamdrivers", 0x250000F0: "hypervisorlaunchtype",
    0x220000F1: "hypervisorpath", 0x260000F2: "hypervisordebug", 0x250000F3: "hypervisordebugtype",
    0x250000F4: "hypervisordebugport", 0x250000F5: "hypervisorbaudrate", 0x250000F6: "hypervisorchannel",
    0x250000F7: "bootux", 0x260000F8: "hypervisordisableslat", 0x220000F9: "hypervisorbusparams",
    0x250000FA: "hypervisornumproc", 0x250000FB: "hypervisorrootprocpernode",
    0x260000FC: "hypervisoruselargevtlb", 0x250000FD: "hypervisorhostip", 0x250000FE: "hypervisorhostport",
    0x25000100: "tpmbootentropy", 0x22000110: "hypervisorusekey", 0x25000113: "hypervisorrootproc",
    0x26000114: "hypervisordhcp", 0x25000115: "hypervisoriommupolicy", 0x26000116: "hypervisorusevapic",
    0x22000117: "hypervisorloadoptions", 0x25000118: "hypervisormsrfilterpolicy",
    0x25000119: "hypervisormmionxpolicy", 0x2500011A: "hypervisorschedulertype", 0x25000120: "xsavepolicy",
}
_RESUME_LOADER = {
    0x21000001: "filedevice", 0x22000002: "filepath", 0x26000003: "customsettings", 0x26000004: "pae",
    0x21000005: "associatedosdevice", 0x26000006: "debugoptionenabled", 0x25000007: "bootux",
    0x25000008: "bootmenupolicy",
}
_MEMORY_TEST = {
    0x25000001: "passcount", 0x25000002: "testmix", 0x25000003: "failurecount", 0x25000004: "testtofail",
}
_DEVICE = {
    0x35000001: "ramdiskimageoffset", 0x35000002: "ramdisktftpclientport", 0x31000003: "ramdisksdidevice",
    0x32000004: "ramdisksdipath", 0x35000005: "ramdiskimagelength", 0x36000006: "exportascd",
    0x35000007: "ramdisktftpblocksize", 0x35000008: "ramdisktftpwindowsize", 0x36000009: "ramdiskmcenabled",
    0x3600000A: "ramdiskmctftpfallback", 0x3600000B: "ramdisktftpvarwindow",
}
_TEMPLATE = {
    0x45000001: "devicetype", 0x42000002: "applicationrelativepath", 0x42000003: "ramdiskdevicerelativepath",
    0x46000004: "omitosloaderelements", 0x47000006: "elementstomigrate", 0x46000010: "recoveryos",
}
# fmt: on

# The format of an element: the second digit of its type.
_FORMAT_DEVICE, _FORMAT_STRING, _FORMAT_OBJECT, _FORMAT_OBJECT_LIST = 1, 2, 3, 4
_FORMAT_INTEGER, _FORMAT_BOOLEAN, _FORMAT_INTEGER_LIST = 5, 6, 7

# A device element: options object, then the device's type, flags, size. For a partition, its id and the disk's follow.
_DEVICE_HEAD = Struct("<16sIIII")
_PARTITION = Struct("<16sII16s")
_DEVICE_BOOT, _DEVICE_PARTITION = 5, 6
_GPT, _MBR = 0, 1


@dataclass(frozen=True, slots=True)
class BcdElement:
    """An element of an object: its type, its name ("custom:…" if the type has no name), its value as text or texts."""

    type: int
    name: str
    value: str | list[str]


@dataclass(frozen=True, slots=True)
class BcdObject:
    """An object of a store: its id, its short name if it is well known, its type and the name of the type."""

    id: str
    alias: str | None
    type: int
    kind: str
    elements: list[BcdElement]


def read_store(root: Key) -> Iterator[BcdObject]:
    """Yields the objects of a boot configuration store.

    Args:
        root: the root key of the store's hive.

    Raises:
        RegfError: the hive is not a store, or it is damaged.
    """
    objects = root.subkey("Objects")
    if objects is None:
        raise RegfError("not a boot configuration store: it has no key Objects")
    for key in objects.subkeys():
        description, elements = key.subkey("Description"), key.subkey("Elements")
        found = None if description is None else _value(description, "Type")
        kind = (integer(found) if found is not None else None) or 0
        yield BcdObject(
            key.name,
            _WELL_KNOWN.get(key.name.strip("{}").lower()),
            kind,
            _OBJECT_TYPES.get(kind, f"Object {kind:#010x}"),
            [] if elements is None else [_element(kind, element) for element in elements.subkeys()],
        )


def _value(key: Key, name: str) -> Value | None:
    return next((value for value in key.values() if value.name.lower() == name.lower()), None)


def _element(object_type: int, key: Key) -> BcdElement:
    try:
        kind = int(key.name, 16)
    except ValueError:
        raise RegfError(f"element {key.name!r}: its name is its type, in hexadecimal") from None
    value = _value(key, "Element")
    return BcdElement(kind, _element_name(object_type, kind), "" if value is None else _text(kind, value))


def _element_name(object_type: int, kind: int) -> str:
    # The meaning of an application's element depends on the application.
    application = object_type & 0xFFFFF
    own = {_OS_LOADER: _LOADER, _RESUME: _RESUME_LOADER, _MEMORY_TESTER: _MEMORY_TEST}.get(application, _BOOT_MANAGER)
    table = {1: _LIBRARY, 2: own, 3: _DEVICE, 4: _TEMPLATE}.get(kind >> 28, {})
    return table.get(kind, f"custom:{kind:08x}")


def _text(kind: int, value: Value) -> str | list[str]:
    form = kind >> 24 & 0xF
    data = value.data
    if form == _FORMAT_STRING:
        return decode_string(data)
    if form == _FORMAT_OBJECT:
        return _object_name(decode_string(data))
    if form == _FORMAT_OBJECT_LIST:
        return [_object_name(name) for name in decode_strings(data)]
    if form == _FORMAT_INTEGER and len(data) <= 8:
        return str(int.from_bytes(data, "little"))
    if form == _FORMAT_BOOLEAN and len(data) == 1:
        return "Yes" if data[0] else "No"
    if form == _FORMAT_INTEGER_LIST and not len(data) % 8:
        return [f"{number:#x}" for (number,) in Struct("<Q").iter_unpack(data)]
    if form == _FORMAT_DEVICE:
        return _device(data)
    return data.hex()


def _object_name(text: str) -> str:
    alias = _WELL_KNOWN.get(text.strip("{}").lower())
    return text if alias is None else f"{{{alias}}}"


def _device(data: bytes) -> str:
    """Returns the name of a device in `bcdedit` if its kind is a simple one, else its data in hexadecimal."""
    if len(data) < _DEVICE_HEAD.size:
        return data.hex()
    _, kind, _, _, _ = _DEVICE_HEAD.unpack_from(data)
    if kind == _DEVICE_BOOT:
        return "boot"
    if kind == _DEVICE_PARTITION and len(data) >= _DEVICE_HEAD.size + _PARTITION.size:
        partition, _, style, disk = _PARTITION.unpack_from(data, _DEVICE_HEAD.size)
        if style == _GPT:
            return f"partition={{{UUID(bytes_le=partition)}}} disk={{{UUID(bytes_le=disk)}}}"
        if style == _MBR:
            offset, signature = int.from_bytes(partition[:8], "little"), int.from_bytes(disk[:4], "little")
            return f"partition={offset:#x} disk={signature:08x}"
    return data.hex()
