"""The functions of the Host Compute Service that consist of one or two calls of vmcompute.dll.

Reference: hcsshim, `internal/wclayer`. Every function here raises `LayerError`s with Windows' own text. If this build
of Windows lacks an export, it raises a `NotSupportedError` that names the export.
"""

from __future__ import annotations

import ctypes
import json
import os
import threading
from uuid import UUID

from wclayer._types import Chain, StrPath
from wclayer.engines.base_image import BaseImage
from wclayer.engines.descriptor import LayerDescriptor
from wclayer.engines.hcs import vmcompute
from wclayer.engines.hcs.structs import DescriptorArray, Guid, descriptor_array
from wclayer.engines.hcs.vmcompute import call, driver_info, text
from wclayer.engines.hcs.volume import expand_volume
from wclayer.errors import InvalidDataError, InvalidParameterError, during
from wclayer.host import winapi
from wclayer.layers.directory.chain import as_chain
from wclayer.layers.progress import Cancelled, ProgressCallback
from wclayer.win32.names import last_component

_MAX_PATH_UNITS = 1 << 16
_E_UNEXPECTED = 0x8000FFFF - (1 << 32)
_SHORT_PATH = 240
"""From this length on, a path is passed in the form without a limit. It is MAX_PATH, minus the length of the names that
Windows appends."""

# Windows can time out when several layers are prepared at once (hcsshim, preparelayer.go).
_preparing = threading.Lock()


def layer_path(path: StrPath) -> str:
    """Returns a layer's path for Windows: absolute, and if it is long, in the form without a limit.

    Raises:
        InvalidParameterError: the path contains a NUL, or is empty.
    """
    given = text(path)
    if not given:
        raise InvalidParameterError(given, "the path is empty")
    place = os.path.abspath(given)
    return winapi.absolute(place) if len(place) > _SHORT_PATH else place


def descriptors(parents: Chain) -> tuple[DescriptorArray, int]:
    """Returns a parent chain as the two arguments of a call. Each layer gets the GUID that Windows has for its name."""
    chain = as_chain(parents)
    return descriptor_array([LayerDescriptor(layer_id(parent), layer_path(parent)) for parent in chain])


@during("activate layer")
def activate_layer(path: StrPath, *, prefer: str | None = None) -> None:
    """Calls `ActivateLayer`, which mounts the volume of a scratch, and does nothing for a read-only layer.

    Windows keeps the scratch's files only in its disk, so `prefer` must be None.
    """
    if prefer is not None:
        raise InvalidParameterError(path, "Windows keeps a scratch in its disk alone: nothing to prefer")
    call(path, "ActivateLayer", driver_info(), layer_path(path))


@during("create layer")
def create_layer(path: StrPath, parent: StrPath | None = None, *, parents: Chain = ()) -> None:
    """Calls `CreateLayer`, which makes a new, empty, read-only layer on its nearest parent."""
    nearest = parent if parent is not None else next(iter(as_chain(parents)), None)
    above = "" if nearest is None else layer_path(nearest)
    call(path, "CreateLayer", driver_info(), layer_path(path), above)


@during("create scratch layer")
def create_scratch_layer(path: StrPath, parents: Chain) -> None:
    """Calls `CreateSandboxLayer`, which makes a new read-write layer on a parent chain."""
    above = descriptors(parents)
    place = layer_path(path)
    call(path, "CreateSandboxLayer", driver_info(), place, None, *above)


@during("deactivate layer")
def deactivate_layer(path: StrPath, *, write_sandbox: bool | None = None) -> None:
    """Calls `DeactivateLayer`, which dismounts the volume that `activate_layer` mounted."""
    if write_sandbox is False:
        raise InvalidParameterError(path, "Windows keeps a scratch in its disk alone: it is always written")
    call(path, "DeactivateLayer", driver_info(), layer_path(path))


@during("destroy layer")
def destroy_layer(path: StrPath) -> None:
    """Calls `DestroyLayer`, which removes a layer and its folder."""
    call(path, "DestroyLayer", driver_info(), layer_path(path))


@during("expand scratch")
def expand_scratch_size(path: StrPath, size: int) -> None:
    """Calls `ExpandSandboxSize`, and then grows the volume to the whole partition."""
    if not 0 <= size < 1 << 63:
        raise InvalidParameterError(path, f"{size} is not a size of a disk")
    place = layer_path(path)
    call(path, "ExpandSandboxSize", driver_info(), place, size)
    expand_volume(place, lambda: get_layer_mount_path(path))


@during("export layer")
def export_layer(
    path: StrPath,
    folder: StrPath,
    parents: Chain = (),
    *,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> None:
    """Calls `ExportLayer`, which writes a transport folder. It does not support `progress` or `cancelled`."""
    _transfer("ExportLayer", path, folder, parents)


@during("import layer")
def import_layer(
    path: StrPath,
    folder: StrPath,
    parents: Chain = (),
    *,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> None:
    """Calls `ImportLayer`, which reads a transport folder. It does not support `progress` or `cancelled`."""
    _transfer("ImportLayer", path, folder, parents)


def _transfer(name: str, path: StrPath, folder: StrPath, parents: Chain) -> None:
    above = descriptors(parents)
    places = layer_path(path), layer_path(folder)
    call(path, name, driver_info(), *places, *above)


@during("get layer mount path")
def get_layer_mount_path(path: StrPath) -> str:
    """Calls `GetLayerMountPath`: returns the volume of an active scratch, or the folder of another layer."""
    place = layer_path(path)
    length = ctypes.c_size_t(0)
    call(path, "GetLayerMountPath", driver_info(), place, ctypes.byref(length), None)
    if not length.value:
        return ""
    if length.value > _MAX_PATH_UNITS:
        raise vmcompute.failure(path, "GetLayerMountPath", _E_UNEXPECTED)
    buffer = ctypes.create_unicode_buffer(length.value)
    call(path, "GetLayerMountPath", driver_info(), place, ctypes.byref(length), buffer)
    return buffer.value


@during("get shared base images")
def system_base_images() -> list[BaseImage]:
    """Calls `GetBaseImages`: returns the images of Windows' central store."""
    address = ctypes.c_void_p()
    call(vmcompute.LIBRARY, "GetBaseImages", ctypes.byref(address))
    return _images(vmcompute.take_string(address.value))


def _images(text: str) -> list[BaseImage]:
    try:
        records = json.loads(text)["Images"]
    except (ValueError, LookupError, TypeError):
        raise InvalidDataError(vmcompute.LIBRARY, f"GetBaseImages: not a list of images: {text[:60]!r}") from None
    return [BaseImage.from_record(record) for record in records or ()]


@during("grant VM access")
def grant_vm_access(vm_id: UUID | str, path: StrPath) -> None:
    """Calls `GrantVmAccess`, which permits a virtual machine to open a file."""
    call(path, "GrantVmAccess", text(str(vm_id)), layer_path(path))


@during("layer exists")
def layer_exists(path: StrPath) -> bool:
    """Calls `LayerExists`: returns whether there is a layer at `path`."""
    found = ctypes.c_uint32()
    call(path, "LayerExists", driver_info(), layer_path(path), ctypes.byref(found))
    return bool(found.value)


@during("name to GUID")
def name_to_guid(name: str) -> UUID:
    """Calls `NameToGuid`: returns the GUID that Windows has for a layer of that name."""
    guid = Guid()
    call(name, "NameToGuid", text(name), ctypes.byref(guid))
    return guid.to_uuid()


@during("layer id")
def layer_id(path: StrPath) -> UUID:
    """Returns the GUID of a layer: `name_to_guid` of the last component of its path."""
    return name_to_guid(last_component(os.fspath(path)))


@during("prepare layer")
def prepare_layer(
    path: StrPath, parents: Chain = (), *, target: StrPath | None = None, allow_other: bool = False
) -> None:
    """Calls `PrepareLayer`: the file system filter then shows a scratch over its parents. This process makes one such
    call at a time.

    The view is on the scratch's volume (`get_layer_mount_path`), so `target` must be None.
    """
    if target is not None:
        raise InvalidParameterError(target, "Windows shows a scratch on its own volume, and nowhere else")
    above = descriptors(parents)
    place = layer_path(path)
    with _preparing:
        call(path, "PrepareLayer", driver_info(), place, *above)


@during("unprepare layer")
def unprepare_layer(path: StrPath) -> None:
    """Calls `UnprepareLayer`, which detaches the filter from a scratch."""
    call(path, "UnprepareLayer", driver_info(), layer_path(path))


@during("process base layer")
def process_base_layer(path: StrPath) -> None:
    """Calls `ProcessBaseImage`, which makes what Windows needs to run containers on a base layer."""
    call(path, "ProcessBaseImage", layer_path(path))


@during("process utility VM image")
def process_utility_vm_image(path: StrPath) -> None:
    """Calls `ProcessUtilityImage`, which does the same for a utility VM. `path` is the layer's folder `UtilityVM`."""
    call(path, "ProcessUtilityImage", layer_path(path))
