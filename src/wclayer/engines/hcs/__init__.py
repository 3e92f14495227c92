"""The hcs engine: the functions of `Engine`, carried out by Windows through vmcompute.dll.

This package can be loaded only on Windows, and only `selection` loads it.
"""

from wclayer.engines.hcs.filter import open_export, open_import
from wclayer.engines.hcs.functions import (
    activate_layer,
    create_layer,
    create_scratch_layer,
    deactivate_layer,
    destroy_layer,
    expand_scratch_size,
    export_layer,
    get_layer_mount_path,
    grant_vm_access,
    import_layer,
    layer_exists,
    layer_id,
    name_to_guid,
    prepare_layer,
    process_base_layer,
    process_utility_vm_image,
    system_base_images,
    unprepare_layer,
)
from wclayer.engines.hcs.reader import new_layer_reader
from wclayer.engines.hcs.transfer import export_layer_to_tar, import_layer_from_tar
from wclayer.engines.hcs.writer import new_layer_writer

name = "hcs"

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
