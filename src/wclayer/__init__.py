"""Windows container images and layers on any machine.

The functions for layers have the names and the argument order of those in hcsshim's package. `copy_layer` copies from a
reader to a writer of any two formats, `copy_image` an image between any two places; `build_image` builds one. Errors
are `LayerError`s, a subclass of `OSError`, with the Windows code.

    >>> import wclayer
    >>> result = wclayer.pull_image("mcr.microsoft.com/windows/nanoserver:ltsc2022")
    >>> with wclayer.open_image("nanoserver:ltsc2022") as image:
    ...     print(image.layers)
    >>> with open("layer.tar.gz", "rb") as stream:
    ...     result = wclayer.import_layer_from_tar(stream, "/layers/base")
    >>> with wclayer.new_layer_reader("/layers/base") as reader:
    ...     for item in reader:
    ...         print(item.entry.name, item.entry.size)
"""

import importlib
from typing import TYPE_CHECKING

from wclayer._version import __version__

if TYPE_CHECKING:
    from wclayer.builder.api import append_image, build_image, commit_image, rebase_image, squash_image
    from wclayer.builder.appending.additions import Additions
    from wclayer.builder.progress import BuildProgress
    from wclayer.builder.rebasing.conflicts import RebaseConflict
    from wclayer.builder.rebasing.rebase import RebaseReport
    from wclayer.builder.results import (
        AppendedImage,
        AppendResult,
        BuildResult,
        CommitResult,
        MadeImage,
        RebaseResult,
        SquashResult,
    )
    from wclayer.builder.workspace import NewLayer
    from wclayer.comparison.documents import DocumentChange, DocumentPart
    from wclayer.comparison.history import ComparedLayer, HistoryDifference, LayerPlace, StepChange
    from wclayer.comparison.image_diff import DocumentDifference, ImageDifference, diff_images
    from wclayer.comparison.inventory_diff import InventoryDifference, ItemChange
    from wclayer.engines.api import (
        activate_layer,
        create_layer,
        create_scratch_layer,
        deactivate_layer,
        destroy_layer,
        expand_scratch_size,
        export_layer,
        export_layer_to_file,
        export_layer_to_tar,
        get_layer_mount_path,
        grant_vm_access,
        import_layer,
        import_layer_from_disk,
        import_layer_from_tar,
        layer_exists,
        layer_id,
        name_to_guid,
        new_layer_reader,
        new_layer_writer,
        prepare_layer,
        process_base_layer,
        process_utility_vm_image,
        unprepare_layer,
    )
    from wclayer.engines.base_image import BaseImage
    from wclayer.engines.descriptor import DescriptorFlags, LayerDescriptor
    from wclayer.engines.disk_info import DiskInfo, PartitionInfo
    from wclayer.engines.engine import Engine, ExportStream, ImportStream
    from wclayer.engines.filter import FilterLayerReader, FilterLayerWriter
    from wclayer.engines.mounting import mount_layer, unmount_layer
    from wclayer.engines.portable.boot_store import read_boot_store
    from wclayer.engines.portable.converting import ConvertResult, convert_layer
    from wclayer.engines.portable.disk import check_disk, convert_disk, disk_info, is_disk
    from wclayer.engines.portable.make_base import make_base_layer
    from wclayer.engines.portable.registry import RegistryEditor
    from wclayer.engines.relinking import relink_layer
    from wclayer.engines.results import ExportResult, ImportResult
    from wclayer.engines.selection import engine, engine_name, use_engine
    from wclayer.errors import (
        AccessDeniedError,
        AlreadyExistsError,
        CorruptLayerError,
        DirectoryNotEmptyError,
        DiskFullError,
        EntryIsDirectoryError,
        EntryNotDirectoryError,
        InvalidDataError,
        InvalidParameterError,
        InvalidStateError,
        LayerBusyError,
        LayerError,
        LimitExceededError,
        NotALayerError,
        NotReadyError,
        NotSupportedError,
        OperationCancelledError,
        OutOfMemoryError,
        PathNotFoundError,
        RegistryError,
        UnresolvedLinkError,
    )
    from wclayer.fleet.query.answer import FleetAnswer
    from wclayer.fleet.query.asking import query_fleet
    from wclayer.fleet.query.difference import (
        FleetDifference,
        FleetDiffSummary,
        FleetImage,
        FleetImageChange,
        FleetItemChange,
        FleetLayerChange,
        diff_fleets,
    )
    from wclayer.fleet.query.question import FleetQuestion, ParameterKind, QuestionParameter
    from wclayer.fleet.query.questions import fleet_question
    from wclayer.fleet.report.report import write_fleet_report
    from wclayer.fleet.scan.api import scan_fleet
    from wclayer.fleet.scan.options import ScanOptions
    from wclayer.fleet.scan.progress import ScanProgress
    from wclayer.fleet.scan.results import ScanError, ScanResult
    from wclayer.formats.bcd import BcdElement, BcdObject
    from wclayer.formats.compression import Compression
    from wclayer.formats.disk import Disk
    from wclayer.formats.regf.model import Key, KeyMetadata, Value
    from wclayer.formats.regf.structs import LayerSemantics
    from wclayer.formats.regf.text import RegEdit
    from wclayer.formats.regf.values import ValueType
    from wclayer.host.durability import unsynced
    from wclayer.images.attaching import AttachedFile, attach_file, attached_files
    from wclayer.images.base_images import get_shared_base_images
    from wclayer.images.changed import compose_index, edit_image
    from wclayer.images.config import HistoryEntry, ImageConfig
    from wclayer.images.copying import copy_between
    from wclayer.images.descriptor import Descriptor
    from wclayer.images.docker_archive import DockerArchiveSource, DockerArchiveTarget
    from wclayer.images.edit import ConfigChanges
    from wclayer.images.foreign import Foreign
    from wclayer.images.history import HistoryStep, ImageBase
    from wclayer.images.inspection import ImageInspection, inspect_image
    from wclayer.images.json_view import JsonView
    from wclayer.images.layout import LayoutArchiveTarget, LayoutSource, LayoutTarget, NamedImage
    from wclayer.images.loading import load_images, save_images
    from wclayer.images.location import Location, Transport, open_source, open_target, parse_location
    from wclayer.images.manifest import Index, Manifest
    from wclayer.images.opening import ImageLayers, open_image
    from wclayer.images.platform import Platform, parse_platform
    from wclayer.images.pull import PullResult, pull_image, store_image
    from wclayer.images.push import push_image
    from wclayer.images.reference import Reference, parse_reference
    from wclayer.images.registry import Credentials, RegistryOptions, RegistrySource, RegistryTarget
    from wclayer.images.registry.catalogue import list_repositories
    from wclayer.images.registry.login import log_in, log_out
    from wclayer.images.registry.pace import Pace
    from wclayer.images.repair import RepairResult, repair_store
    from wclayer.images.runs_on import RunsOn, runs_on
    from wclayer.images.store import ImageStore, Ingest, PruneResult, StoredImage, StoreSource, StoreTarget
    from wclayer.images.transfer import CopyResult, copy_image
    from wclayer.images.transfer_progress import TransferProgress, TransferStep
    from wclayer.images.transport import ImageSource, ImageTarget, Repository
    from wclayer.images.unpack import UnpackedImage, unpack_image
    from wclayer.images.windows_version import WindowsVersion
    from wclayer.inventory.collecting import take_inventory
    from wclayer.inventory.cve.advisory import Severity
    from wclayer.inventory.cve.checking import find_vulnerabilities
    from wclayer.inventory.cve.products import InstalledProduct, ProductKind
    from wclayer.inventory.cve.report import Vulnerability, VulnerabilityReport, VulnerabilityState
    from wclayer.inventory.facts.chain import ImageFacts
    from wclayer.inventory.facts.image import open_image_facts
    from wclayer.inventory.item import Finding, FindingKind, Inventory, Item, ItemKind, Origin, SubjectLayer
    from wclayer.inventory.sbom.cyclonedx import write_cyclonedx
    from wclayer.inventory.sbom.spdx import write_spdx
    from wclayer.layers.backup_api import BackupLayerReader, BackupLayerWriter
    from wclayer.layers.copy import copy_layer
    from wclayer.layers.directory.check import check_layer
    from wclayer.layers.directory.problem import Problem
    from wclayer.layers.directory.reader import DirectoryLayerReader
    from wclayer.layers.directory.writer import DirectoryLayerWriter
    from wclayer.layers.folder import FolderLayerReader
    from wclayer.layers.hives import LayerHive
    from wclayer.layers.open_iterator import OpenIterator
    from wclayer.layers.progress import Progress, ProgressCallback
    from wclayer.layers.tar import TarLayerReader, TarLayerWriter
    from wclayer.layers.transport import TransportLayerReader, TransportLayerWriter
    from wclayer.layers.volume.reader import VolumeLayerReader
    from wclayer.layers.volume.scratch import ScratchLayerReader
    from wclayer.layers.volume.writer import VolumeLayerWriter
    from wclayer.model import (
        BackupReader,
        BackupWriter,
        DataStream,
        Entry,
        ExtraStream,
        LayerItem,
        LayerReader,
        LayerWriter,
        Limits,
        LinkInfo,
        limits_in_use,
        use_limits,
    )
    from wclayer.report.api import report_image
    from wclayer.rights.audit.api import audit_rights
    from wclayer.rights.audit.model import AuditedPlace, GrantReason, RightsAudit, RightsFinding, RightsGrant
    from wclayer.rights.explain import EffectiveRights, ExplainedAce, SecurityExplanation, explain_security
    from wclayer.rights.kinds import ObjectKind
    from wclayer.rights.principals import AccountNames, Principal
    from wclayer.search.finding import FoundEntry, NameChange, find_entries
    from wclayer.search.grep import FoundText, search_files
    from wclayer.search.pattern import ContentPattern
    from wclayer.search.query import EntryKind, EntryQuery, NameMark
    from wclayer.survey.api import survey_image
    from wclayer.survey.model import (
        DirectoryUsage,
        DuplicateContents,
        HiddenFile,
        HiddenReason,
        LayerUsage,
        StoredFile,
        Survey,
    )
    from wclayer.survey.usage import directory_usage
    from wclayer.view.diff import Change, Difference, diff_trees
    from wclayer.view.flatten import MergedLayerReader
    from wclayer.view.layer_view import FileStatus, LayerView
    from wclayer.view.merged import MergedTree, Node
    from wclayer.view.open_files import ViewFile
    from wclayer.view.path import LayerPath
    from wclayer.view.registry import Registry, RegistryDifference, RegistryPath, diff_registries
    from wclayer.view.rootfs.export import RootfsResult, export_rootfs
    from wclayer.win32.attributes import FileAttributes, FileBasicInfo
    from wclayer.win32.reparse import LinkTarget
    from wclayer.win32.sid import Sid


_HOMES = {
    "wclayer.builder.appending.additions": ("Additions",),
    "wclayer.builder.api": ("append_image", "build_image", "commit_image", "rebase_image", "squash_image"),
    "wclayer.builder.rebasing.conflicts": ("RebaseConflict",),
    "wclayer.builder.progress": ("BuildProgress",),
    "wclayer.builder.rebasing.rebase": ("RebaseReport",),
    "wclayer.builder.results": (
        "AppendedImage",
        "AppendResult",
        "BuildResult",
        "CommitResult",
        "MadeImage",
        "RebaseResult",
        "SquashResult",
    ),
    "wclayer.builder.workspace": ("NewLayer",),
    "wclayer.win32.reparse": ("LinkTarget",),
    "wclayer.view.open_files": ("ViewFile",),
    "wclayer.fleet.query.answer": ("FleetAnswer",),
    "wclayer.fleet.query.asking": ("query_fleet",),
    "wclayer.fleet.query.difference": (
        "FleetDifference",
        "FleetDiffSummary",
        "FleetImage",
        "FleetImageChange",
        "FleetItemChange",
        "FleetLayerChange",
        "diff_fleets",
    ),
    "wclayer.fleet.query.question": (
        "FleetQuestion",
        "ParameterKind",
        "QuestionParameter",
    ),
    "wclayer.fleet.query.questions": ("fleet_question",),
    "wclayer.fleet.report.report": ("write_fleet_report",),
    "wclayer.fleet.scan.api": ("scan_fleet",),
    "wclayer.fleet.scan.options": ("ScanOptions",),
    "wclayer.fleet.scan.progress": ("ScanProgress",),
    "wclayer.fleet.scan.results": ("ScanError", "ScanResult"),
    "wclayer.report.api": ("report_image",),
    "wclayer.rights.audit.api": ("audit_rights",),
    "wclayer.rights.audit.model": ("AuditedPlace", "GrantReason", "RightsAudit", "RightsFinding", "RightsGrant"),
    "wclayer.rights.explain": ("EffectiveRights", "ExplainedAce", "SecurityExplanation", "explain_security"),
    "wclayer.rights.kinds": ("ObjectKind",),
    "wclayer.rights.principals": ("AccountNames", "Principal"),
    "wclayer.win32.sid": ("Sid",),
    "wclayer.search.finding": ("FoundEntry", "NameChange", "find_entries"),
    "wclayer.search.grep": ("FoundText", "search_files"),
    "wclayer.search.pattern": ("ContentPattern",),
    "wclayer.search.query": ("EntryKind", "EntryQuery", "NameMark"),
    "wclayer.survey.api": ("survey_image",),
    "wclayer.survey.usage": ("directory_usage",),
    "wclayer.survey.model": (
        "DirectoryUsage",
        "DuplicateContents",
        "HiddenFile",
        "HiddenReason",
        "LayerUsage",
        "StoredFile",
        "Survey",
    ),
    "wclayer.inventory.collecting": ("take_inventory",),
    "wclayer.inventory.facts.chain": ("ImageFacts",),
    "wclayer.inventory.facts.image": ("open_image_facts",),
    "wclayer.inventory.cve.advisory": ("Severity",),
    "wclayer.inventory.cve.checking": ("find_vulnerabilities",),
    "wclayer.inventory.cve.products": ("InstalledProduct", "ProductKind"),
    "wclayer.inventory.cve.report": ("Vulnerability", "VulnerabilityReport", "VulnerabilityState"),
    "wclayer.inventory.sbom.cyclonedx": ("write_cyclonedx",),
    "wclayer.inventory.sbom.spdx": ("write_spdx",),
    "wclayer.inventory.item": ("Finding", "FindingKind", "Inventory", "Item", "ItemKind", "Origin", "SubjectLayer"),
    "wclayer.layers.hives": ("LayerHive",),
    "wclayer.formats.regf.structs": ("LayerSemantics",),
    "wclayer.formats.regf.text": ("RegEdit",),
    "wclayer.formats.regf.values": ("ValueType",),
    "wclayer.formats.regf.model": ("Key", "KeyMetadata", "Value"),
    "wclayer.formats.disk": ("Disk",),
    "wclayer.formats.bcd": ("BcdElement", "BcdObject"),
    "wclayer.engines.selection": ("engine", "engine_name", "use_engine"),
    "wclayer.engines.base_image": ("BaseImage",),
    "wclayer.engines.descriptor": ("DescriptorFlags", "LayerDescriptor"),
    "wclayer.engines.disk_info": ("DiskInfo", "PartitionInfo"),
    "wclayer.engines.engine": ("ExportStream", "ImportStream", "Engine"),
    "wclayer.engines.filter": ("FilterLayerReader", "FilterLayerWriter"),
    "wclayer.engines.api": (
        "activate_layer",
        "create_layer",
        "create_scratch_layer",
        "deactivate_layer",
        "destroy_layer",
        "expand_scratch_size",
        "export_layer",
        "export_layer_to_file",
        "export_layer_to_tar",
        "get_layer_mount_path",
        "grant_vm_access",
        "import_layer",
        "import_layer_from_disk",
        "import_layer_from_tar",
        "layer_exists",
        "layer_id",
        "name_to_guid",
        "new_layer_reader",
        "new_layer_writer",
        "prepare_layer",
        "process_base_layer",
        "process_utility_vm_image",
        "unprepare_layer",
    ),
    "wclayer.engines.portable.boot_store": ("read_boot_store",),
    "wclayer.engines.portable.converting": ("ConvertResult", "convert_layer"),
    "wclayer.engines.portable.disk": ("check_disk", "convert_disk", "disk_info", "is_disk"),
    "wclayer.engines.portable.make_base": ("make_base_layer",),
    "wclayer.engines.portable.registry": ("RegistryEditor",),
    "wclayer.engines.mounting": ("mount_layer", "unmount_layer"),
    "wclayer.engines.relinking": ("relink_layer",),
    "wclayer.engines.results": ("ExportResult", "ImportResult"),
    "wclayer.errors": (
        "AccessDeniedError",
        "AlreadyExistsError",
        "CorruptLayerError",
        "DirectoryNotEmptyError",
        "DiskFullError",
        "EntryIsDirectoryError",
        "EntryNotDirectoryError",
        "InvalidDataError",
        "InvalidParameterError",
        "InvalidStateError",
        "LayerBusyError",
        "LayerError",
        "LimitExceededError",
        "NotALayerError",
        "NotReadyError",
        "NotSupportedError",
        "OperationCancelledError",
        "OutOfMemoryError",
        "PathNotFoundError",
        "UnresolvedLinkError",
        "RegistryError",
    ),
    "wclayer.formats.compression": ("Compression",),
    "wclayer.host.durability": ("unsynced",),
    "wclayer.layers.backup_api": ("BackupLayerReader", "BackupLayerWriter"),
    "wclayer.layers.copy": ("copy_layer",),
    "wclayer.layers.directory.check": ("check_layer",),
    "wclayer.layers.directory.problem": ("Problem",),
    "wclayer.layers.directory.reader": ("DirectoryLayerReader",),
    "wclayer.layers.directory.writer": ("DirectoryLayerWriter",),
    "wclayer.layers.open_iterator": ("OpenIterator",),
    "wclayer.layers.progress": ("Progress", "ProgressCallback"),
    "wclayer.layers.folder": ("FolderLayerReader",),
    "wclayer.layers.tar": ("TarLayerReader", "TarLayerWriter"),
    "wclayer.layers.transport": ("TransportLayerReader", "TransportLayerWriter"),
    "wclayer.layers.volume.reader": ("VolumeLayerReader",),
    "wclayer.layers.volume.scratch": ("ScratchLayerReader",),
    "wclayer.layers.volume.writer": ("VolumeLayerWriter",),
    "wclayer.model": (
        "BackupReader",
        "BackupWriter",
        "DataStream",
        "Entry",
        "ExtraStream",
        "LayerItem",
        "LayerReader",
        "LayerWriter",
        "Limits",
        "LinkInfo",
        "limits_in_use",
        "use_limits",
    ),
    "wclayer.view.diff": ("Change", "Difference", "diff_trees"),
    "wclayer.view.layer_view": ("FileStatus", "LayerView"),
    "wclayer.view.merged": ("Node", "MergedTree"),
    "wclayer.view.path": ("LayerPath",),
    "wclayer.view.flatten": ("MergedLayerReader",),
    "wclayer.view.registry": ("RegistryPath", "Registry", "RegistryDifference", "diff_registries"),
    "wclayer.view.rootfs.export": ("RootfsResult", "export_rootfs"),
    "wclayer.win32.attributes": ("FileAttributes", "FileBasicInfo"),
    "wclayer.images.reference": ("Reference", "parse_reference"),
    "wclayer.images.platform": ("Platform", "parse_platform"),
    "wclayer.images.windows_version": ("WindowsVersion",),
    "wclayer.images.descriptor": ("Descriptor",),
    "wclayer.images.manifest": ("Manifest", "Index"),
    "wclayer.images.config": ("ImageConfig", "HistoryEntry"),
    "wclayer.images.json_view": ("JsonView",),
    "wclayer.images.repair": ("RepairResult", "repair_store"),
    "wclayer.images.runs_on": ("RunsOn", "runs_on"),
    "wclayer.images.location": ("Location", "Transport", "parse_location", "open_source", "open_target"),
    "wclayer.images.store": ("ImageStore", "Ingest", "PruneResult", "StoreSource", "StoreTarget", "StoredImage"),
    "wclayer.images.attaching": ("AttachedFile", "attach_file", "attached_files"),
    "wclayer.images.base_images": ("get_shared_base_images",),
    "wclayer.images.transport": ("ImageSource", "ImageTarget", "Repository"),
    "wclayer.images.layout": ("LayoutSource", "LayoutTarget", "LayoutArchiveTarget", "NamedImage"),
    "wclayer.images.docker_archive": ("DockerArchiveSource", "DockerArchiveTarget"),
    "wclayer.images.registry": ("Credentials", "RegistryOptions", "RegistrySource", "RegistryTarget"),
    "wclayer.images.changed": ("compose_index", "edit_image"),
    "wclayer.images.edit": ("ConfigChanges",),
    "wclayer.images.history": ("HistoryStep", "ImageBase"),
    "wclayer.images.inspection": ("ImageInspection", "inspect_image"),
    "wclayer.images.pull": ("pull_image", "store_image", "PullResult"),
    "wclayer.images.push": ("push_image",),
    "wclayer.images.loading": ("load_images", "save_images"),
    "wclayer.images.copying": ("copy_between",),
    "wclayer.images.transfer": ("copy_image", "CopyResult"),
    "wclayer.images.foreign": ("Foreign",),
    "wclayer.images.transfer_progress": ("TransferProgress", "TransferStep"),
    "wclayer.images.unpack": ("unpack_image", "UnpackedImage"),
    "wclayer.images.opening": ("open_image", "ImageLayers"),
    "wclayer.comparison.documents": ("DocumentChange", "DocumentPart"),
    "wclayer.comparison.history": ("ComparedLayer", "HistoryDifference", "LayerPlace", "StepChange"),
    "wclayer.comparison.inventory_diff": ("InventoryDifference", "ItemChange"),
    "wclayer.comparison.image_diff": ("DocumentDifference", "ImageDifference", "diff_images"),
    "wclayer.images.registry.catalogue": ("list_repositories",),
    "wclayer.images.registry.login": ("log_in", "log_out"),
    "wclayer.images.registry.pace": ("Pace",),
}
"""The module that defines each public name, which is loaded when the name is used for the first time."""

__all__ = [
    "AccessDeniedError",
    "AccountNames",
    "Additions",
    "AlreadyExistsError",
    "AppendResult",
    "AppendedImage",
    "AttachedFile",
    "AuditedPlace",
    "BackupLayerReader",
    "BackupLayerWriter",
    "BackupReader",
    "BackupWriter",
    "BaseImage",
    "BcdElement",
    "BcdObject",
    "BuildProgress",
    "BuildResult",
    "Change",
    "CommitResult",
    "ComparedLayer",
    "Compression",
    "ConfigChanges",
    "ContentPattern",
    "ConvertResult",
    "CopyResult",
    "CorruptLayerError",
    "Credentials",
    "DataStream",
    "Descriptor",
    "DescriptorFlags",
    "Difference",
    "DirectoryLayerReader",
    "DirectoryLayerWriter",
    "DirectoryNotEmptyError",
    "DirectoryUsage",
    "Disk",
    "DiskFullError",
    "DiskInfo",
    "DockerArchiveSource",
    "DockerArchiveTarget",
    "DocumentChange",
    "DocumentDifference",
    "DocumentPart",
    "DuplicateContents",
    "EffectiveRights",
    "Engine",
    "Entry",
    "EntryIsDirectoryError",
    "EntryKind",
    "EntryNotDirectoryError",
    "EntryQuery",
    "ExplainedAce",
    "ExportResult",
    "ExportStream",
    "ExtraStream",
    "FileAttributes",
    "FileBasicInfo",
    "FileStatus",
    "FilterLayerReader",
    "FilterLayerWriter",
    "Finding",
    "FindingKind",
    "FleetAnswer",
    "FleetDiffSummary",
    "FleetDifference",
    "FleetImage",
    "FleetImageChange",
    "FleetItemChange",
    "FleetLayerChange",
    "FleetQuestion",
    "FolderLayerReader",
    "Foreign",
    "FoundEntry",
    "FoundText",
    "GrantReason",
    "HiddenFile",
    "HiddenReason",
    "HistoryDifference",
    "HistoryEntry",
    "HistoryStep",
    "ImageBase",
    "ImageConfig",
    "ImageDifference",
    "ImageFacts",
    "ImageInspection",
    "ImageLayers",
    "ImageSource",
    "ImageStore",
    "ImageTarget",
    "ImportResult",
    "ImportStream",
    "Index",
    "Ingest",
    "InstalledProduct",
    "InvalidDataError",
    "InvalidParameterError",
    "InvalidStateError",
    "Inventory",
    "InventoryDifference",
    "Item",
    "ItemChange",
    "ItemKind",
    "JsonView",
    "Key",
    "KeyMetadata",
    "LayerBusyError",
    "LayerDescriptor",
    "LayerError",
    "LayerHive",
    "LayerItem",
    "LayerPath",
    "LayerPlace",
    "LayerReader",
    "LayerSemantics",
    "LayerUsage",
    "LayerView",
    "LayerWriter",
    "LayoutArchiveTarget",
    "LayoutSource",
    "LayoutTarget",
    "LimitExceededError",
    "Limits",
    "LinkInfo",
    "LinkTarget",
    "Location",
    "MadeImage",
    "Manifest",
    "MergedLayerReader",
    "MergedTree",
    "NameChange",
    "NameMark",
    "NamedImage",
    "NewLayer",
    "Node",
    "NotALayerError",
    "NotReadyError",
    "NotSupportedError",
    "ObjectKind",
    "OpenIterator",
    "OperationCancelledError",
    "Origin",
    "OutOfMemoryError",
    "Pace",
    "ParameterKind",
    "PartitionInfo",
    "PathNotFoundError",
    "Platform",
    "Principal",
    "Problem",
    "ProductKind",
    "Progress",
    "ProgressCallback",
    "PruneResult",
    "PullResult",
    "QuestionParameter",
    "RebaseConflict",
    "RebaseReport",
    "RebaseResult",
    "Reference",
    "RegEdit",
    "Registry",
    "RegistryDifference",
    "RegistryEditor",
    "RegistryError",
    "RegistryOptions",
    "RegistryPath",
    "RegistrySource",
    "RegistryTarget",
    "RepairResult",
    "Repository",
    "RightsAudit",
    "RightsFinding",
    "RightsGrant",
    "RootfsResult",
    "RunsOn",
    "ScanError",
    "ScanOptions",
    "ScanProgress",
    "ScanResult",
    "ScratchLayerReader",
    "SecurityExplanation",
    "Severity",
    "Sid",
    "SquashResult",
    "StepChange",
    "StoreSource",
    "StoreTarget",
    "StoredFile",
    "StoredImage",
    "SubjectLayer",
    "Survey",
    "TarLayerReader",
    "TarLayerWriter",
    "TransferProgress",
    "TransferStep",
    "Transport",
    "TransportLayerReader",
    "TransportLayerWriter",
    "UnpackedImage",
    "UnresolvedLinkError",
    "Value",
    "ValueType",
    "ViewFile",
    "VolumeLayerReader",
    "VolumeLayerWriter",
    "Vulnerability",
    "VulnerabilityReport",
    "VulnerabilityState",
    "WindowsVersion",
    "__version__",
    "activate_layer",
    "append_image",
    "attach_file",
    "attached_files",
    "audit_rights",
    "build_image",
    "check_disk",
    "check_layer",
    "commit_image",
    "compose_index",
    "convert_disk",
    "convert_layer",
    "copy_between",
    "copy_image",
    "copy_layer",
    "create_layer",
    "create_scratch_layer",
    "deactivate_layer",
    "destroy_layer",
    "diff_fleets",
    "diff_images",
    "diff_registries",
    "diff_trees",
    "directory_usage",
    "disk_info",
    "edit_image",
    "engine",
    "engine_name",
    "expand_scratch_size",
    "explain_security",
    "export_layer",
    "export_layer_to_file",
    "export_layer_to_tar",
    "export_rootfs",
    "find_entries",
    "find_vulnerabilities",
    "fleet_question",
    "get_layer_mount_path",
    "get_shared_base_images",
    "grant_vm_access",
    "import_layer",
    "import_layer_from_disk",
    "import_layer_from_tar",
    "inspect_image",
    "is_disk",
    "layer_exists",
    "layer_id",
    "limits_in_use",
    "list_repositories",
    "load_images",
    "log_in",
    "log_out",
    "make_base_layer",
    "mount_layer",
    "name_to_guid",
    "new_layer_reader",
    "new_layer_writer",
    "open_image",
    "open_image_facts",
    "open_source",
    "open_target",
    "parse_location",
    "parse_platform",
    "parse_reference",
    "prepare_layer",
    "process_base_layer",
    "process_utility_vm_image",
    "pull_image",
    "push_image",
    "query_fleet",
    "read_boot_store",
    "rebase_image",
    "relink_layer",
    "repair_store",
    "report_image",
    "runs_on",
    "save_images",
    "scan_fleet",
    "search_files",
    "squash_image",
    "store_image",
    "survey_image",
    "take_inventory",
    "unmount_layer",
    "unpack_image",
    "unprepare_layer",
    "unsynced",
    "use_engine",
    "use_limits",
    "write_cyclonedx",
    "write_fleet_report",
    "write_spdx",
]

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Loads and returns a public name (PEP 562)."""
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | _HOME_OF.keys())
