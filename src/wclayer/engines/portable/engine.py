"""The functions of `Engine` on any operating system: `selection` returns this module as the engine."""

from wclayer.engines.portable.activation import (
    activate_layer,
    deactivate_layer,
    get_layer_mount_path,
    prepare_layer,
    unprepare_layer,
)
from wclayer.engines.portable.base_processing import process_base_layer, process_utility_vm_image
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
from wclayer.engines.portable.scratch import create_scratch_layer, expand_scratch_size
from wclayer.engines.portable.system_images import system_base_images
from wclayer.engines.portable.vm_access import grant_vm_access

name = "portable"

__all__ = [
    "activate_layer",
    "create_layer",
    "create_scratch_layer",
    "deactivate_layer",
    "destroy_layer",
    "expand_scratch_size",
    "export_layer",
    "export_layer_to_tar",
    "get_layer_mount_path",
    "grant_vm_access",
    "import_layer",
    "import_layer_from_tar",
    "layer_exists",
    "layer_id",
    "name",
    "name_to_guid",
    "new_layer_reader",
    "new_layer_writer",
    "open_export",
    "open_import",
    "prepare_layer",
    "process_base_layer",
    "process_utility_vm_image",
    "system_base_images",
    "unprepare_layer",
]
