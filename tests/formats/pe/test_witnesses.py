"""pefile, LIEF and dnfile say of 500 real files what our reader says, and signatures have the hash that we compute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import dnfile
import lief
import pefile
import pytest

from tests.formats.pe.real import LEAST, WHEELS, real_files, signed_hash
from tests.packages import Wheel
from wclayer.formats.pe.checksum import computed_checksum
from wclayer.formats.pe.facts import PeFacts, read_facts
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.imports import delayed_dlls, imported_dlls
from wclayer.formats.pe.resources import walk_resources
from wclayer.formats.pe.signature import authenticode_hash, read_certificates
from wclayer.formats.pe.source import BufferSource
from wclayer.formats.pe.structs import Directory, Machine

Said = dict[str, object]

lief.logging.disable()


def _image(data: bytes) -> PeImage:
    return PeImage(BufferSource(data))


def _headers(image: PeImage) -> Said:
    header, optional = image.header, image.optional
    return {
        "machine": header.machine,
        "timestamp": header.timestamp,
        "characteristics": header.characteristics,
        "magic": optional.magic,
        "entry point": optional.entry_point,
        "image base": optional.image_base,
        "image size": optional.image_size,
        "checksum": optional.checksum,
        "subsystem": optional.subsystem,
        "DLL characteristics": optional.dll_characteristics,
        "sections": [
            (each.raw_name, each.rva, each.virtual_size, each.raw_offset, each.raw_size, each.characteristics)
            for each in image.sections
        ],
    }


def _versions(facts: PeFacts) -> Said:
    infos = [version.info for version in facts.versions]
    return {
        "fixed": [info.fixed for info in infos if info.fixed is not None],
        "strings": [(table.key, dict(table.strings)) for info in infos for table in info.tables],
        "translations": [translation for info in infos for translation in info.translations],
    }


def _ours_as_pefile(data: bytes) -> Said:
    image = _image(data)
    facts = read_facts(image)
    assert facts.problems == ()
    return (
        _headers(image)
        | _versions(facts)
        | {
            "resources": [(each.type, each.name, each.language, each.rva, each.size) for each in walk_resources(image)],
            "certificates": [image.directory(Directory.SECURITY)],
            "is managed": facts.clr is not None,
            "imports": imported_dlls(image),
            "delayed imports": delayed_dlls(image),
        }
    )


def _by_pefile(data: bytes) -> Said:
    pe = pefile.PE(data=data, fast_load=True)
    places = pefile.DIRECTORY_ENTRY
    pe.parse_data_directories(
        [
            places[f"IMAGE_DIRECTORY_ENTRY_{name}"]
            for name in ("RESOURCE", "IMPORT", "DELAY_IMPORT", "SECURITY", "COM_DESCRIPTOR")
        ]
    )
    header, optional = pe.FILE_HEADER, pe.OPTIONAL_HEADER
    security = optional.DATA_DIRECTORY[places["IMAGE_DIRECTORY_ENTRY_SECURITY"]]
    blocks = [block for version in getattr(pe, "FileInfo", []) for block in version]
    variables = [variable for block in blocks if block.Key == b"VarFileInfo" for variable in block.Var]
    return {
        "machine": header.Machine,
        "timestamp": header.TimeDateStamp,
        "characteristics": header.Characteristics,
        "magic": optional.Magic,
        "entry point": optional.AddressOfEntryPoint,
        "image base": optional.ImageBase,
        "image size": optional.SizeOfImage,
        "checksum": optional.CheckSum,
        "subsystem": optional.Subsystem,
        "DLL characteristics": optional.DllCharacteristics,
        "sections": [
            (
                each.Name, each.VirtualAddress, each.Misc_VirtualSize, each.PointerToRawData, each.SizeOfRawData,
                each.Characteristics,
            )
            for each in pe.sections
        ],
        "fixed": [
            (
                each.Signature, each.StrucVersion, each.FileVersionMS, each.FileVersionLS, each.ProductVersionMS,
                each.ProductVersionLS, each.FileFlagsMask, each.FileFlags, each.FileOS, each.FileType,
                each.FileSubtype, each.FileDateMS, each.FileDateLS,
            )
            for each in getattr(pe, "VS_FIXEDFILEINFO", [])
        ],
        "strings": [
            (table.LangID.decode(), {key.decode(): value.decode() for key, value in table.entries.items()})
            for block in blocks
            if block.Key == b"StringFileInfo"
            for table in block.StringTable
        ],
        "translations": [
            tuple(int(half, 16) for half in pair.split())
            for variable in variables
            for pair in variable.entry.values()
        ],
        "resources": [
            (_pefile_name(kind), _pefile_name(name), each.id, each.data.struct.OffsetToData, each.data.struct.Size)
            for kind in (pe.DIRECTORY_ENTRY_RESOURCE.entries if hasattr(pe, "DIRECTORY_ENTRY_RESOURCE") else [])
            for name in kind.directory.entries
            for each in name.directory.entries
        ],
        "certificates": [(security.VirtualAddress, security.Size) if security.Size else None],
        "is managed": optional.DATA_DIRECTORY[places["IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR"]].Size > 0,
        "imports": [each.dll.decode() for each in getattr(pe, "DIRECTORY_ENTRY_IMPORT", [])],
        "delayed imports": [each.dll.decode() for each in getattr(pe, "DIRECTORY_ENTRY_DELAY_IMPORT", [])],
    }  # fmt: skip


def _pefile_name(entry: pefile.ResourceDirEntryData) -> object:
    return entry.id if entry.name is None else str(entry.name)


def _ours_as_lief(data: bytes) -> Said:
    image = _image(data)
    facts = read_facts(image)
    return {
        "machine": image.header.machine,
        "is ARM64EC": facts.machine == Machine.ARM64EC,
        "is ARM64X": facts.machine == Machine.ARM64X,
        "is reproducible": facts.is_reproducible,
        "sections": [(each.rva, each.virtual_size, each.raw_offset, each.raw_size) for each in image.sections],
        "file versions": [version.info.fixed.file_version_high for version in facts.versions if version.info.fixed],
        "strings": _versions(facts)["strings"],
        "signatures": sum(certificate.is_signature for certificate in facts.certificates),
        "hash": authenticode_hash(image),
        "checksum": computed_checksum(image),
    }


def _by_lief(data: bytes) -> Said:
    binary = lief.PE.parse(data)
    assert isinstance(binary, lief.PE.Binary)
    resources = binary.resources_manager
    versions = resources.version if isinstance(resources, lief.PE.ResourcesManager) else []
    return {
        "machine": binary.header.machine.value,
        "is ARM64EC": binary.is_arm64ec,
        "is ARM64X": binary.is_arm64x,
        "is reproducible": binary.is_reproducible_build,
        "sections": [
            (each.virtual_address, each.virtual_size, each.pointerto_raw_data, each.sizeof_raw_data)
            for each in binary.sections
        ],
        "file versions": [version.file_info.file_version_ms for version in versions],
        "strings": [
            (table.key, {entry.key: entry.value for entry in table.entries})
            for version in versions
            if version.string_file_info is not None
            for table in version.string_file_info.children
        ],
        "signatures": len(binary.signatures),
        "hash": binary.authentihash(lief.PE.ALGORITHMS.SHA_256).hex(),
        "checksum": binary.compute_checksum(),
    }


def _ours_as_dnfile(data: bytes) -> Said:
    clr = read_facts(_image(data)).clr
    if clr is None:
        return {"is managed": False}
    return {
        "is managed": True,
        "header version": clr.header_version,
        "metadata version": clr.metadata_version,
        "flags": clr.flags,
        "is IL only": clr.is_il_only,
        "has native image": clr.has_native_image,
    }


def _by_dnfile(data: bytes) -> Said:
    opened: Any = dnfile.dnPE
    # The tables of the metadata, and the other directories, take it most of its time, and nobody asks for them.
    pe = opened(data=data, fast_load=True, clr_lazy_load=True)
    pe.parse_data_directories([pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR"]])
    net = pe.net
    if net is None:
        return {"is managed": False}
    header = net.struct
    return {
        "is managed": True,
        "header version": (header.MajorRuntimeVersion, header.MinorRuntimeVersion),
        "metadata version": net.metadata.struct.Version.rstrip(b"\0").decode(),
        "flags": header.Flags,
        "is IL only": net.Flags.CLR_ILONLY,
        "has native image": header.ManagedNativeHeaderRva > 0,
    }


@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: f"{wheel.project}-{wheel.platform}")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(_ours_as_pefile, _by_pefile), (_ours_as_lief, _by_lief), (_ours_as_dnfile, _by_dnfile)],
    ids=["pefile", "lief", "dnfile"],
)
def test_a_witness_reads_the_same(wheel: Wheel, ours: Callable[[bytes], Said], theirs: Callable[[bytes], Said]) -> None:
    differences = {}
    for name, data in real_files(wheel):
        our_words, their_words = ours(data), theirs(data)
        if our_words != their_words:
            differences[name] = [
                (key, our_words.get(key), their_words.get(key))
                for key in our_words | their_words
                if our_words.get(key) != their_words.get(key)
            ]
    assert differences == {}


def test_the_hash_is_the_one_that_signatures_sign() -> None:
    signed = 0
    for wheel in WHEELS:
        for name, data in real_files(wheel):
            image = _image(data)
            for certificate in read_certificates(image):
                assert signed_hash(data, certificate) == authenticode_hash(image), name
                signed += 1
    assert signed > 250


def test_the_real_files_are_many_and_of_every_kind() -> None:
    kinds = Counter[str]()
    for wheel in WHEELS:
        for _, data in real_files(wheel):
            facts = read_facts(_image(data))
            kinds.update(["all", facts.processor, "signed" if facts.is_signed else "unsigned"])
            kinds.update(["managed"] if facts.clr is not None else [])
            kinds.update(["driver"] if facts.is_kernel_mode else [])
            kinds.update(["reproducible"] if facts.is_reproducible else [])
            kinds.update(["languages"] if len(facts.versions) > 1 else [])
            kinds.update(["version"] if facts.version is not None else ["no version"])
    assert kinds["all"] >= LEAST
    assert kinds.keys() >= {"x86", "amd64", "arm64", "arm64ec", "arm64x", "signed", "unsigned", "managed", "driver"}
    assert kinds.keys() >= {"reproducible", "version", "no version"}
