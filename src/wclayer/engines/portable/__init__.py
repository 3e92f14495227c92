"""The portable engine: the functions of `Engine` on any operating system, and functions that Windows does not have."""

from wclayer.engines.portable.activation import (
    activate_layer,
    deactivate_layer,
    get_layer_mount_path,
    prepare_layer,
    unprepare_layer,
)
from wclayer.engines.portable.base_processing import process_base_layer, process_utility_vm_image
from wclayer.engines.portable.boot_store import read_boot_store
from wclayer.engines.portable.converting import ConvertResult, convert_layer
from wclayer.engines.portable.disk import check_disk, convert_disk, disk_info, is_disk
from wclayer.engines.portable.exporting import (
    export_layer,
    export_layer_to_tar,
    new_layer_reader,
)
from wclayer.engines.portable.filter import open_export, open_import
from wclayer.engines.portable.guids import layer_id, name_to_guid
from wclayer.engines.portable.importing import (
    import_layer,
    import_layer_from_tar,
    new_layer_writer,
)
from wclayer.engines.portable.lifecycle import create_layer, destroy_layer, layer_exists
from wclayer.engines.portable.make_base import make_base_layer
from wclayer.engines.portable.registry import RegistryEditor
from wclayer.engines.portable.scratch import create_scratch_layer, expand_scratch_size
from wclayer.engines.portable.system_images import system_base_images
from wclayer.engines.portable.vm_access import grant_vm_access

name = "portable"

__all__ = [
    "ConvertResult",
    "RegistryEditor",
    "activate_layer",
    "check_disk",
    "convert_disk",
    "convert_layer",
    "create_layer",
    "create_scratch_layer",
    "deactivate_layer",
    "destroy_layer",
    "disk_info",
    "expand_scratch_size",
    "export_layer",
    "export_layer_to_tar",
    "get_layer_mount_path",
    "grant_vm_access",
    "import_layer",
    "import_layer_from_tar",
    "is_disk",
    "layer_exists",
    "layer_id",
    "make_base_layer",
    "name",
    "name_to_guid",
    "new_layer_reader",
    "new_layer_writer",
    "open_export",
    "open_import",
    "prepare_layer",
    "process_base_layer",
    "process_utility_vm_image",
    "read_boot_store",
    "system_base_images",
    "unprepare_layer",
]
