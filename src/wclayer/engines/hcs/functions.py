"""The functions of the Host Compute Service that are one call of vmcompute.dll each, or two.

Reference: hcsshim, `internal/wclayer`. Every function here raises `LayerError`s with Windows' own text, and
`NotSupportedError`, naming the export, where this build of Windows does not have it.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from uuid import UUID

from wclayer.engines.descriptor import LayerDescriptor
from wclayer.engines.hcs import vmcompute
from wclayer.engines.hcs.structs import DescriptorArray, Guid, descriptor_array
from wclayer.engines.hcs.vmcompute import call, driver_info, text
from wclayer.engines.hcs.volume import expand_volume
from wclayer.errors import InvalidParameterError
from wclayer.host import winapi
from wclayer.layers.copy import CopyProgress
from wclayer.layers.directory.chain import as_chain
from wclayer.win32.names import last_component

PathLike = str | os.PathLike[str]
Chain = PathLike | Sequence[PathLike]
_MAX_PATH_UNITS = 1 << 16
_E_UNEXPECTED = 0x8000FFFF - (1 << 32)
_SHORT_PATH = 240
"""From this length on a path is given in the form that has no limit; MAX_PATH, less what Windows appends."""

# Windows can time out when several layers are prepared at once (hcsshim, preparelayer.go).
_preparing = threading.Lock()


def layer_path(operation: str, path: PathLike) -> str:
    """A layer's path as Windows takes it: absolute, and if it is long, in the form that may be.

    Raises:
        InvalidParameterError: it has a NUL, or is empty.
    """
    given = text(operation, path)
    if not given:
        raise InvalidParameterError(operation, given, "the path is empty")
    place = os.path.abspath(given)
    return winapi.absolute(place) if len(place) > _SHORT_PATH else place


def descriptors(operation: str, parents: Chain) -> tuple[DescriptorArray, int]:
    """A parent chain, nearest first, as two arguments of a call; each with the GUID that Windows gives its name."""
    chain = as_chain(operation, parents)
    return descriptor_array([LayerDescriptor(layer_id(parent), layer_path(operation, parent)) for parent in chain])


def activate_layer(path: PathLike, *, prefer: str | None = None) -> None:
    """`ActivateLayer`: mounts the volume of a scratch; of a read-only layer it does nothing.

    Windows has the scratch's files in its disk and nowhere else: `prefer` must be None.
    """
    operation = "activate layer"
    if prefer is not None:
        raise InvalidParameterError(operation, path, "Windows keeps a scratch in its disk alone: nothing to prefer")
    call(operation, path, "ActivateLayer", driver_info(), layer_path(operation, path))


def create_layer(path: PathLike, parent: PathLike | None = None, *, parents: Sequence[PathLike] = ()) -> None:
    """`CreateLayer`: a new, empty, read-only layer on its nearest parent."""
    operation = "create layer"
    nearest = parent if parent is not None else next(iter(parents), None)
    above = "" if nearest is None else layer_path(operation, nearest)
    call(operation, path, "CreateLayer", driver_info(), layer_path(operation, path), above)


def create_scratch_layer(path: PathLike, parents: Sequence[PathLike]) -> None:
    """`CreateSandboxLayer`: a new read-write layer on a parent chain, nearest first."""
    operation = "create scratch layer"
    above = descriptors(operation, parents)
    place = layer_path(operation, path)
    call(operation, path, "CreateSandboxLayer", driver_info(), place, None, *above)


def deactivate_layer(path: PathLike, *, write_sandbox: bool | None = None) -> None:
    """`DeactivateLayer`: dismounts what `activate_layer` mounted."""
    operation = "deactivate layer"
    if write_sandbox is False:
        raise InvalidParameterError(operation, path, "Windows keeps a scratch in its disk alone: it is always written")
    call(operation, path, "DeactivateLayer", driver_info(), layer_path(operation, path))


def destroy_layer(path: PathLike) -> None:
    """`DestroyLayer`: removes a layer and its folder."""
    operation = "destroy layer"
    call(operation, path, "DestroyLayer", driver_info(), layer_path(operation, path))


def expand_scratch_size(path: PathLike, size: int) -> None:
    """`ExpandSandboxSize`, and then the growth of the volume to the whole partition."""
    operation = "expand scratch"
    if not 0 <= size < 1 << 63:
        raise InvalidParameterError(operation, path, f"{size} is not a size of a disk")
    place = layer_path(operation, path)
    call(operation, path, "ExpandSandboxSize", driver_info(), place, size)
    expand_volume(operation, place, lambda: get_layer_mount_path(path))


def export_layer(
    path: PathLike,
    folder: PathLike,
    parents: Chain = (),
    *,
    progress: Callable[[CopyProgress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> None:
    """`ExportLayer`: writes the layer as a transport folder. Windows tells no progress and takes no cancellation."""
    _transfer("export layer", "ExportLayer", path, folder, parents)


def import_layer(
    path: PathLike,
    folder: PathLike,
    parents: Chain = (),
    *,
    progress: Callable[[CopyProgress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> None:
    """`ImportLayer`: makes a layer of a transport folder. Windows tells no progress and takes no cancellation."""
    _transfer("import layer", "ImportLayer", path, folder, parents)


def _transfer(operation: str, name: str, path: PathLike, folder: PathLike, parents: Chain) -> None:
    above = descriptors(operation, parents)
    places = layer_path(operation, path), layer_path(operation, folder)
    call(operation, path, name, driver_info(), *places, *above)


def get_layer_mount_path(path: PathLike) -> str:
    """`GetLayerMountPath`: the volume of an activated scratch, the folder of another layer."""
    operation = "get layer mount path"
    place = layer_path(operation, path)
    length = ctypes.c_size_t(0)
    call(operation, path, "GetLayerMountPath", driver_info(), place, ctypes.byref(length), None)
    if not length.value:
        return ""
    if length.value > _MAX_PATH_UNITS:
        raise vmcompute.failure(operation, path, "GetLayerMountPath", _E_UNEXPECTED)
    buffer = ctypes.create_unicode_buffer(length.value)
    call(operation, path, "GetLayerMountPath", driver_info(), place, ctypes.byref(length), buffer)
    return buffer.value


def get_shared_base_images(store: PathLike | None = None) -> str:
    """`GetBaseImages`: JSON of the images in Windows' central store, which is the only one it has."""
    operation = "get shared base images"
    if store is not None:
        raise InvalidParameterError(operation, store, "Windows has one central store; the hcs engine takes no other")
    address = ctypes.c_void_p()
    call(operation, vmcompute.LIBRARY, "GetBaseImages", ctypes.byref(address))
    return vmcompute.take_string(address.value)


def grant_vm_access(vm_id: UUID | str, path: PathLike) -> None:
    """`GrantVmAccess`: a virtual machine may open a file."""
    operation = "grant VM access"
    call(operation, path, "GrantVmAccess", text(operation, str(vm_id)), layer_path(operation, path))


def layer_exists(path: PathLike) -> bool:
    """`LayerExists`: whether there is a layer at `path`."""
    operation = "layer exists"
    found = ctypes.c_uint32()
    call(operation, path, "LayerExists", driver_info(), layer_path(operation, path), ctypes.byref(found))
    return bool(found.value)


def name_to_guid(name: str) -> UUID:
    """`NameToGuid`: the GUID by which Windows knows a layer of that name."""
    operation = "name to GUID"
    guid = Guid()
    call(operation, name, "NameToGuid", text(operation, name), ctypes.byref(guid))
    return guid.to_uuid()


def layer_id(path: PathLike) -> UUID:
    """The GUID of a layer: `name_to_guid` of the last component of its path."""
    return name_to_guid(last_component(os.fspath(path)))


def prepare_layer(
    path: PathLike, parents: Chain = (), *, target: PathLike | None = None, allow_other: bool = False
) -> None:
    """`PrepareLayer`: the file system filter shows a scratch over its parents. One at a time in this process.

    The view is on the scratch's volume (`get_layer_mount_path`): `target` must be None.
    """
    operation = "prepare layer"
    if target is not None:
        raise InvalidParameterError(operation, target, "Windows shows a scratch on its own volume, and nowhere else")
    above = descriptors(operation, parents)
    place = layer_path(operation, path)
    with _preparing:
        call(operation, path, "PrepareLayer", driver_info(), place, *above)


def unprepare_layer(path: PathLike) -> None:
    """`UnprepareLayer`: the filter lets go of a scratch."""
    operation = "unprepare layer"
    call(operation, path, "UnprepareLayer", driver_info(), layer_path(operation, path))


def process_base_layer(path: PathLike) -> None:
    """`ProcessBaseImage`: what Windows needs to run on a base layer whose files are in place."""
    operation = "process base layer"
    call(operation, path, "ProcessBaseImage", layer_path(operation, path))


def process_utility_vm_image(path: PathLike) -> None:
    """`ProcessUtilityImage`: the same for a utility VM; `path` is the layer's folder `UtilityVM`."""
    operation = "process utility VM image"
    call(operation, path, "ProcessUtilityImage", layer_path(operation, path))
