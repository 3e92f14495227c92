"""All that an inventory asks of a PE file, in one call that a damaged part does not stop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

from wclayer.formats.pe import structs
from wclayer.formats.pe.clr import Clr, read_clr
from wclayer.formats.pe.errors import PeError
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.imports import imported_dlls
from wclayer.formats.pe.resources import ResourceName, walk_resources
from wclayer.formats.pe.signature import Certificate, read_certificates
from wclayer.formats.pe.structs import Characteristics, Machine, ResourceType, Subsystem
from wclayer.formats.pe.traits import is_reproducible, true_machine
from wclayer.formats.pe.version import VersionInfo, parse_version

_PROCESSORS: dict[int, str] = {
    Machine.I386: "x86",
    Machine.AMD64: "amd64",
    Machine.ARM: "arm",
    Machine.THUMB: "arm",
    Machine.ARMNT: "arm",
    Machine.ARM64: "arm64",
    Machine.ARM64EC: "arm64ec",
    Machine.ARM64X: "arm64x",
    Machine.IA64: "ia64",
    Machine.EBC: "ebc",
}

T = TypeVar("T")


class VersionResource(NamedTuple):
    """A version resource with its name and language."""

    name: ResourceName
    language: ResourceName
    info: VersionInfo


class PeFacts(NamedTuple):
    """What a PE file says of itself. A part that is damaged is left out, and `problems` says why."""

    machine: int
    """The number of the header, or that of `ARM64EC` or `ARM64X`."""
    is_pe32_plus: bool
    characteristics: int
    """`Characteristics`, and others."""
    dll_characteristics: int
    """`DllCharacteristics`, and others."""
    is_kernel_mode: bool
    """True for drivers and other code of the kernel: the native subsystem, and no import of ntdll.dll, which native
    programs such as smss.exe have."""
    subsystem: int
    timestamp: int
    """The number of the header: seconds since 1970, or a hash if `is_reproducible`."""
    is_reproducible: bool
    checksum: int
    """The number of the header, which is not compared with the file."""
    versions: tuple[VersionResource, ...]
    certificates: tuple[Certificate, ...]
    clr: Clr | None
    problems: tuple[str, ...]

    @property
    def processor(self) -> str:
        """The name of the machine, or its number in hexadecimal."""
        return _PROCESSORS.get(self.machine) or f"{self.machine:#06x}"

    @property
    def is_dll(self) -> bool:
        """True for a library, False for a program."""
        return bool(self.characteristics & Characteristics.DLL)

    @property
    def is_signed(self) -> bool:
        """True if a signature is embedded, which is not verified. Signatures by a catalog are outside of the file."""
        return any(certificate.is_signature for certificate in self.certificates)

    @property
    def version(self) -> VersionInfo | None:
        """The first version resource."""
        return self.versions[0].info if self.versions else None


def read_facts(image: PeImage) -> PeFacts:
    """Returns what a PE file says of itself."""
    problems: list[str] = []

    def read(part: str, reader: Callable[[PeImage], T], otherwise: T) -> T:
        try:
            return reader(image)
        except PeError as error:
            problems.append(f"{part}: {error}")
            return otherwise

    header, optional = image.header, image.optional
    versions: list[VersionResource] = []
    read("version", partial(_add_versions, versions), None)
    return PeFacts(
        machine=read("load configuration", true_machine, header.machine),
        is_pe32_plus=image.is_pe32_plus,
        characteristics=header.characteristics,
        dll_characteristics=optional.dll_characteristics,
        is_kernel_mode=read("imports", _is_kernel_mode, False),
        subsystem=optional.subsystem,
        timestamp=header.timestamp,
        is_reproducible=read("debug directory", is_reproducible, False),
        checksum=optional.checksum,
        versions=tuple(versions),
        certificates=read("certificates", read_certificates, ()),
        clr=read("CLR header", read_clr, None),
        problems=tuple(problems),
    )


def _is_kernel_mode(image: PeImage) -> bool:
    return image.optional.subsystem == Subsystem.NATIVE and "ntdll.dll" not in map(str.lower, imported_dlls(image))


def _add_versions(found: list[VersionResource], image: PeImage) -> None:
    """Appends the version resources: of a damaged tree, those before the damage."""
    left = structs.MAX_VERSIONS_SIZE
    for resource in walk_resources(image, ResourceType.VERSION):
        size = min(resource.size, structs.MAX_VERSION_SIZE)
        left -= size
        if left < 0:
            raise PeError(f"version resources of more than {structs.MAX_VERSIONS_SIZE} bytes")
        data = image.read(resource.rva, size)
        found.append(VersionResource(resource.name, resource.language, parse_version(data)))
