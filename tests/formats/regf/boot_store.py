"""A boot configuration store put together cell by cell, with what `bcdboot` puts into one.

Source: "Boot Configuration Data (BCD) Reference" (Microsoft): the types of objects and elements,
and the layout of devices.
"""

from __future__ import annotations

import struct
from uuid import UUID

from tests.formats.regf.craft import CraftedKey, CraftedValue, craft

LOADER = "{0f2aa4d8-5c1b-11ee-9d8e-00155d012345}"
RESUME = "{0f2aa4d7-5c1b-11ee-9d8e-00155d012345}"
RECOVERY = "{0f2aa4d9-5c1b-11ee-9d8e-00155d012345}"
MANAGER = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}"
PARTITION, DISK = UUID("6a7b1a7e-2f9e-4c53-8a51-64b1d0b2b5a1"), UUID("c7c10a4f-9a13-4d83-9a0c-15a6d2f6f001")
_SZ, _BINARY, _MULTI_SZ = 1, 3, 7
_INHERITED = "{6efb52bf-1766-41db-a6b3-0ee5eff72bd7}"
_LEGACY = {
    "{0ce4991b-e6b3-4b16-b23c-5e0d9250e5d9}": 0x20100000,
    "{1afa9c49-16ab-4a5c-901b-212802da9460}": 0x20200004,
    "{4636856e-540f-4170-a130-a84776f4c654}": 0x20100000,
    "{5189b25c-5558-4bf2-bca4-289b11bd29e2}": 0x20100000,
    _INHERITED: 0x20200003,
    "{7ea2e1ac-2e61-4728-aaa3-896d9d0a9f0e}": 0x20100000,
    "{7ff607e0-4395-11db-b0de-0800200c9a66}": 0x20200003,
    "{a5a30fa2-3d06-4e9f-b5f4-a01df9d1fcba}": 0x10100001,
    "{b2721d73-1db4-4c62-bf78-c548a880142d}": 0x10200005,
}


def _text(kind: int, text: str) -> CraftedKey:
    return _element(kind, _SZ, (text + "\0").encode("utf-16-le"))


def _texts(kind: int, *texts: str) -> CraftedKey:
    return _element(kind, _MULTI_SZ, ("".join(text + "\0" for text in texts) + "\0").encode("utf-16-le"))


def _number(kind: int, number: int) -> CraftedKey:
    return _element(kind, _BINARY, struct.pack("<Q", number))


def _yes(kind: int) -> CraftedKey:
    return _element(kind, _BINARY, b"\1")


def _element(kind: int, of_type: int, data: bytes) -> CraftedKey:
    return CraftedKey(f"{kind:08x}", [CraftedValue("Element", of_type, data)])


def _partition(kind: int) -> CraftedKey:
    """A device that is a partition of a GPT disk."""
    place = struct.pack("<16sII16s", PARTITION.bytes_le, 0, 0, DISK.bytes_le).ljust(56, b"\0")
    return _element(kind, _BINARY, struct.pack("<16sIIII", bytes(16), 6, 0, 0x48, 0) + place)


def _object(name: str, kind: int, *elements: CraftedKey) -> CraftedKey:
    description = CraftedKey("Description", [CraftedValue("Type", 4, struct.pack("<I", kind))])
    below = [description, CraftedKey("Elements", below=sorted(elements, key=lambda key: key.name))]
    return CraftedKey(name, below=below)


def boot_store() -> bytes:
    """The store, as a hive."""
    objects = [
        _object(
            MANAGER, 0x10100002, _text(0x12000004, "Windows Boot Manager"), _number(0x25000004, 30),
            _text(0x23000003, LOADER), _texts(0x24000001, LOADER),
        ),
        _object(
            LOADER, 0x10200003, _partition(0x11000001), _text(0x12000002, r"\Windows\system32\winload.efi"),
            _text(0x12000004, "Windows Server"), _text(0x12000005, "en-US"), _texts(0x14000006, _INHERITED),
            _texts(0x14000008, RECOVERY), _number(0x15000066, 3), _yes(0x16000009), _yes(0x16000060),
            _number(0x17000077, 0x15000075), _partition(0x21000001), _text(0x22000002, r"\Windows"),
            _text(0x23000003, RESUME), _number(0x25000020, 0), _number(0x250000C2, 1),
        ),
        _object(
            RESUME, 0x10200004, _partition(0x21000001), _text(0x22000002, r"\hiberfil.sys"), _yes(0x26000006),
            _number(0x25000008, 1),
        ),
        *(_object(name, kind) for name, kind in _LEGACY.items()),
    ]  # fmt: skip
    objects.sort(key=lambda key: key.name)
    return craft(
        CraftedKey("NewStoreRoot", below=[CraftedKey("Description"), CraftedKey("Objects", below=objects)])
    ).data
