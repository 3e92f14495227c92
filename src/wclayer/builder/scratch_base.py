"""The base layer of an image that begins with nothing (`FROM scratch`): registry hives and the directories above them.

Windows unpacks no base layer without five registry hives; from Windows Server 2025 on they must be valid. Containers
that run as processes of the host (HostProcess containers) need nothing else of a base.
"""

from __future__ import annotations

import io

from wclayer.builder.image import BuiltImage, Step
from wclayer.builder.workspace import layer_from_reader
from wclayer.errors import InvalidParameterError, during
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.writer import write_hive
from wclayer.images.edit import ConfigChanges
from wclayer.images.platform import WINDOWS, Platform
from wclayer.images.store import ImageStore
from wclayer.layers.hives import LAYER_HIVES
from wclayer.layers.tar import TarLayerReader, TarLayerWriter
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.win32.attributes import FileAttributes, FileBasicInfo
from wclayer.win32.filetime import UNIX_EPOCH
from wclayer.win32.inherit import inherited, volume_root
from wclayer.win32.sddl import from_sddl
from wclayer.win32.sid import TRUSTED_INSTALLER

# The descriptor of C:\Windows and C:\Windows\System32: users read what is there, and administrators add to it.
_SYSTEM_SDDL = (
    f"O:{TRUSTED_INSTALLER}G:{TRUSTED_INSTALLER}D:PAI"
    f"(A;;FA;;;{TRUSTED_INSTALLER})(A;CIIO;GA;;;{TRUSTED_INSTALLER})"
    "(A;;0x1301bf;;;SY)(A;OICIIO;GA;;;SY)(A;;0x1301bf;;;BA)(A;OICIIO;GA;;;BA)"
    "(A;;0x1200a9;;;BU)(A;OICIIO;GXGR;;;BU)(A;OICIIO;GA;;;CO)"
    "(A;;0x1200a9;;;AC)(A;OICIIO;GXGR;;;AC)"
)
# The hives hold passwords on a real machine: only the system and administrators read them.
_CONFIG_SDDL = "O:SYG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"


_CREATED = "1970-01-01T00:00:00Z"
_CMD = (r"c:\windows\system32\cmd.exe",)
SCRATCH = "scratch"
"""The name of the base in a Dockerfile and on the command line."""
FROM_SCRATCH = f"FROM {SCRATCH}"
"""The first step in the history of an image that begins with nothing."""
PROCESSORS = ("amd64", "arm64")
"""The processors that have HostProcess containers, in Go's words."""


def scratch_base(store: ImageStore, platform: Platform) -> BuiltImage:
    """Returns the image that has nothing but the base layer of `write_scratch_base`, which is unpacked in the store.

    It states no version of Windows unless the platform does, so every host runs it, and the command that Microsoft's
    base image for HostProcess containers has. The same platform gives the same bytes at any time. The caller holds
    `store.in_use()` until a name keeps the layer.

    Args:
        store: takes the layer.
        platform: Windows on amd64 or arm64.

    Raises:
        InvalidParameterError: it is another platform.
    """
    wanted = platform.normalized()
    with during("make base", SCRATCH):
        if wanted.os != WINDOWS or wanted.architecture not in PROCESSORS:
            possible = " and ".join(f"{WINDOWS}/{processor}" for processor in PROCESSORS)
            raise InvalidParameterError(
                str(platform)[:100], f"no base from scratch is made for it; possible are {possible}"
            )
        tar = io.BytesIO()
        with TarLayerWriter(tar) as writer:
            write_scratch_base(writer)
        tar.seek(0)
        with TarLayerReader(tar, SCRATCH, is_base=True) as reader:
            layer = layer_from_reader(store, reader, ())
        image = BuiltImage.empty(wanted).with_layer(layer, Step(FROM_SCRATCH, _CREATED, comment="wclayer"))
        return image.with_config(ConfigChanges(cmd=_CMD, created=_CREATED))[0]


def write_scratch_base(writer: LayerWriter) -> None:
    r"""Writes the entries of a base layer that has nothing but empty registry hives.

    It has `Windows\System32\config` with the hives DEFAULT, SAM, SECURITY, SOFTWARE and SYSTEM, whose root keys are all
    that is in them. The directories have the security descriptors that Windows gives them, so that what is added to the
    layer inherits what it would inherit on a machine. All times are 1970-01-01, and so the entries are always the same.

    Args:
        writer: takes the entries. The caller closes it.

    Source: hcsshim, `ProcessBaseLayer`, and microsoft/windows-host-process-containers-base-image.
    """
    system, config = (from_sddl(text).encode() for text in (_SYSTEM_SDDL, _CONFIG_SDDL))
    directories = {
        "Files": volume_root().encode(),
        "Files/Windows": system,
        "Files/Windows/System32": system,
        "Files/Windows/System32/config": config,
    }
    for name, security in directories.items():
        writer.put(Entry(name, _info(FileAttributes.DIRECTORY), security=security))
    security = inherited(config, is_directory=False)
    for hive in LAYER_HIVES:
        data = write_hive(empty_root(UNIX_EPOCH), file_name=hive.config_name)
        entry = Entry(hive.config, _info(FileAttributes.ARCHIVE), len(data), security)
        writer.put(entry, iter((DataStream("", len(data), (data,)),)))


def _info(attributes: FileAttributes) -> FileBasicInfo:
    return FileBasicInfo(int(attributes), UNIX_EPOCH, UNIX_EPOCH, UNIX_EPOCH, UNIX_EPOCH)
