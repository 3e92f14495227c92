"""`Engine`: the functions of every engine. The packages `portable` and `hcs` are the two engines, and have all of them.

mypy checks each package against the protocol where `selection` returns it.
"""

from __future__ import annotations

from typing import BinaryIO, Protocol
from uuid import UUID

from wclayer._types import Chain, StrPath
from wclayer.engines.base_image import BaseImage
from wclayer.engines.results import ExportResult, ImportResult
from wclayer.formats.compression import Compression
from wclayer.layers.progress import Cancelled, ProgressCallback
from wclayer.model import BackupReader, BackupWriter, Limits
from wclayer.win32.attributes import FileBasicInfo

FilterEntry = tuple[str, int, FileBasicInfo | None]
r"""An entry as hcsshim's streaming functions name it: its path (`Files\x`), size and basic info (None: a tombstone)."""


class ExportStream(Protocol):
    """An engine's side of a `FilterLayerReader`, which documents the methods."""

    def next(self) -> FilterEntry | None: ...
    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


class ImportStream(Protocol):
    """An engine's side of a `FilterLayerWriter`, which documents the methods."""

    def add(self, name: str, info: FileBasicInfo) -> None: ...
    def add_link(self, name: str, target: str) -> None: ...
    def remove(self, name: str) -> None: ...
    def write(self, data: bytes | bytearray | memoryview, /) -> int: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class Engine(Protocol):
    """The functions of the Host Compute Service. `portable` implements them itself, `hcs` calls Windows.

    A parent chain (`parents`) is the path of the nearest parent, or the paths of all parents, nearest first.

    Attributes:
        name: "portable" or "hcs".
    """

    @property
    def name(self) -> str: ...

    def activate_layer(self, path: StrPath, *, prefer: str | None = None) -> None:
        """Makes a scratch ready to be prepared. For a read-only layer, it only checks that the layer exists.

        The portable engine reads the changes of `sandbox.vhdx` in if another program changed the disk since the
        scratch was last deactivated.

        Args:
            path: the layer directory.
            prefer: "disk" or "directory": the one to use if both were changed (portable engine only).

        Raises:
            PathNotFoundError, NotALayerError: there is no layer at `path`.
            LayerBusyError: the scratch is active already (ERROR_SHARING_VIOLATION), or in use by another process.
            InvalidStateError: both the disk and the layer directory were changed, and `prefer` is not given.
            InvalidDataError: the disk is damaged, or does not fit the parents.
            InvalidParameterError: `prefer` has another value, or any value with the hcs engine.

        Reference: `ActivateLayer` of vmcompute.dll.
        """

    def create_layer(self, path: StrPath, parent: StrPath | None = None, *, parents: Chain = ()) -> None:
        """Creates a new, empty, read-only layer at `path`.

        Args:
            path: where the layer will be: nothing, or an empty folder, in a folder that exists.
            parent: the nearest parent; None for a base layer.
            parents: the parent chain, instead of `parent`.

        Raises:
            AlreadyExistsError: `path` is taken.
            PathNotFoundError: the folder of `path`, or a parent, does not exist.
            NotALayerError: a parent is not a layer directory.

        Reference: `CreateLayer` of vmcompute.dll.
        """

    def create_scratch_layer(self, path: StrPath, parents: Chain) -> None:
        """Creates a read-write layer, a scratch, at `path`, with its disk `sandbox.vhdx`.

        The portable engine copies the base layer's `blank.vhdx`. A base layer that was not processed gets its blank
        disks first.

        Args:
            path: where the layer will be: nothing, or an empty folder, in a folder that exists.
            parents: the parent chain.

        Raises:
            AlreadyExistsError, PathNotFoundError, NotALayerError, InvalidParameterError: see `new_layer_writer`.

        Reference: `CreateSandboxLayer` of vmcompute.dll.
        """

    def deactivate_layer(self, path: StrPath, *, write_sandbox: bool | None = None) -> None:
        """Ends the activation of a scratch. Its changes are safe on disk when the function returns.

        Args:
            path: the layer directory.
            write_sandbox: True writes the changes into a fresh `sandbox.vhdx` that replaces the old one; False leaves
                the disk as it is (portable engine only). None is True, unless the environment variable
                WCLAYER_SANDBOX_DISK is 0.

        Raises:
            NotReadyError: the scratch is not active.
            LayerBusyError: it is prepared, or open in another process.
            DiskFullError: the changes do not fit into `sandbox.vhdx`; they are safe in the layer directory.
            PathNotFoundError, NotALayerError: there is no layer at `path`.
            InvalidParameterError: `write_sandbox` is False with the hcs engine.

        Reference: `DeactivateLayer` of vmcompute.dll.
        """

    def destroy_layer(self, path: StrPath) -> None:
        """Removes the layer at `path` with its folder. An interrupted call leaves nothing under the layer's name.

        The next call of any function that creates or removes layers in the same folder removes what an interrupted
        call left beside the layer. A mount of the layer whose server has died is unmounted first.

        Raises:
            PathNotFoundError: there is nothing at `path`.
            NotALayerError: the folder is not a layer; it is not touched.
            LayerBusyError: another process uses or removes the layer, or a file system is mounted in it. Nothing is
                removed.

        Reference: `DestroyLayer` of vmcompute.dll.
        """

    def expand_scratch_size(self, path: StrPath, size: int) -> None:
        """Grows the disk of a scratch, its partition and its NTFS volume to at least `size` bytes.

        The contents stay as they are. A disk that is large enough already is not changed. If the call is interrupted,
        the disk and its volume are sound, except for the backup partition table, which may be an old one or not yet
        at the disk's new end; another call completes the growth.

        Raises:
            PathNotFoundError: there is no scratch at `path`.
            InvalidDataError: its disk, or a parent of the disk, is damaged.
            InvalidParameterError: no disk can have that size.
            LayerBusyError: the scratch is mounted, or in use.

        Reference: `ExpandSandboxSize` of vmcompute.dll, and hcsshim, which grows the volume afterwards.
        """

    def export_layer(
        self,
        path: StrPath,
        folder: StrPath,
        parents: Chain = (),
        *,
        progress: ProgressCallback | None = None,
        cancelled: Cancelled | None = None,
    ) -> None:
        """Writes the layer at `path` as a transport folder, which appears at `folder` when it is complete.

        Args:
            path: the layer directory.
            folder: nothing, or an empty folder, in a folder that exists.
            parents: the parent chain. The portable engine knows it, and compares it if it is given.
            progress, cancelled: see `copy_layer`. The hcs engine ignores them: `ExportLayer` supports neither.

        Raises:
            PathNotFoundError, NotALayerError: there is no layer at `path`.
            AlreadyExistsError: `folder` is taken.
            InvalidParameterError: `parents` are not the layer's.
            NotSupportedError: the layer holds what a transport folder cannot (see docs/formats/transport-folder.md).

        Reference: `ExportLayer` of vmcompute.dll.
        """

    def export_layer_to_tar(
        self,
        stream: BinaryIO,
        path: StrPath,
        parents: Chain = (),
        *,
        target: StrPath = "<stream>",
        compression: Compression | str = Compression.NONE,
        level: int | None = None,
        progress: ProgressCallback | None = None,
        cancelled: Cancelled | None = None,
    ) -> ExportResult:
        """Writes the layer at `path` to `stream` as an OCI layer tar.

        With the portable engine, a layer that was imported from a tar becomes the same bytes again (before
        compression). Any other layer becomes the canonical tar: the same bytes for the same contents.

        Args:
            stream: the stream to write to. It is not closed; after a failure it holds a part of the tar.
            path: the layer directory.
            parents: the parent chain. The portable engine knows it, and compares it if it is given.
            target: the name of the stream in messages.
            compression: "none", "gzip" or "zstd".
            level: the compression level; by default 6 for gzip and 3 for zstd.
            progress, cancelled: see `copy_layer`.

        Raises:
            PathNotFoundError, NotALayerError: there is no layer at `path`.
            InvalidParameterError: `parents` are not the layer's.
            CorruptLayerError: the layer's contents do not agree with its records.

        Reference: hcsshim, `ociwclayer.ExportLayerToTar`.
        """

    def get_layer_mount_path(self, path: StrPath) -> str:
        """Returns where a layer can be accessed: the mount point of a scratch, the folder of a read-only layer.

        Raises:
            NotReadyError: the scratch is not prepared, or the server of its mount has died.
            PathNotFoundError, NotALayerError: there is no layer at `path`.

        Reference: `GetLayerMountPath` of vmcompute.dll.
        """

    def system_base_images(self) -> list[BaseImage] | None:
        """Returns the images of the operating system's own central store; None if the engine has no such store.

        `get_shared_base_images` then lists the store of wclayer.

        Reference: `GetBaseImages` of vmcompute.dll.
        """

    def grant_vm_access(self, vm_id: UUID | str, path: StrPath) -> None:
        """Grants a virtual machine full access to a file: adds its ACE to the file's security descriptor, once.

        With the portable engine, the descriptor of a file of a layer directory is in the layer's records, and that of
        a file on an ntfs-3g mount is the volume's own.

        Args:
            vm_id: the virtual machine's GUID.
            path: a file of a layer directory, or on an ntfs-3g mount.

        Raises:
            PathNotFoundError: the file does not exist, or has no security descriptor that can be changed here.
            InvalidParameterError: `vm_id` is not a GUID.
            CorruptLayerError: the file's security descriptor is damaged.
            NotSupportedError: its ACL has no room for another entry.

        Reference: `GrantVmAccess` of vmcompute.dll.
        """

    def import_layer(
        self,
        path: StrPath,
        folder: StrPath,
        parents: Chain = (),
        *,
        progress: ProgressCallback | None = None,
        cancelled: Cancelled | None = None,
    ) -> None:
        """Makes the layer directory `path` from the transport folder `folder`.

        Args:
            path: where the layer will be: nothing, or an empty folder, in a folder that exists.
            folder: the transport folder; it is not changed.
            parents: the parent chain; empty for a base layer.
            progress, cancelled: see `copy_layer`. The hcs engine ignores them: `ImportLayer` supports neither.

        Raises:
            NotALayerError: `folder` is not a transport folder.
            InvalidDataError: a file in it does not have the format of a transport folder.
            AlreadyExistsError, PathNotFoundError, NotALayerError, InvalidParameterError: see `new_layer_writer`.

        Reference: `ImportLayer` of vmcompute.dll.
        """

    def import_layer_from_tar(
        self,
        stream: BinaryIO,
        path: StrPath,
        parents: Chain = (),
        *,
        source: StrPath = "<stream>",
        limits: Limits | None = None,
        progress: ProgressCallback | None = None,
        cancelled: Cancelled | None = None,
    ) -> ImportResult:
        """Makes the layer directory `path` from an OCI layer tar: plain, gzip or zstd.

        The portable engine keeps what it needs to export the same bytes again. There is nothing at `path` before the
        layer is complete.

        As with hcsshim, `path` may be a scratch on the same parents, and the stream may be the scratch's own export:
        this commits the scratch. The finished layer replaces it in one step when it is complete, and the scratch is
        gone with its disk. After a failure the scratch is as it was.

        Args:
            stream: the tar. It is read to its end, and not closed.
            path: where the layer will be: nothing, an empty folder, or a scratch on `parents`, in a folder that exists.
            parents: the parent chain; empty for a base layer.
            source: the name of the stream in messages.
            limits: how much is accepted; by default the limits in use (`use_limits`).
            progress, cancelled: see `copy_layer`.

        Raises:
            InvalidDataError: the stream is not a layer; the message names the member and the offset.
            LimitExceededError: the layer is larger than `limits` allow.
            AlreadyExistsError, PathNotFoundError, NotALayerError, InvalidParameterError: see `new_layer_writer`.

        Reference: hcsshim, `ociwclayer.ImportLayerFromTar`.
        """

    def layer_exists(self, path: StrPath) -> bool:
        """Returns whether there is a layer at `path`.

        For the portable engine, a layer is a folder with a `layer.db`, a folder `Files` or a `sandbox.vhdx`.

        Reference: `LayerExists` of vmcompute.dll.
        """

    def layer_id(self, path: StrPath) -> UUID:
        """Returns the GUID of a layer: `name_to_guid` of the last component of its path, as hcsshim's `LayerID` does.

        Raises:
            InvalidParameterError: the path has no last component.
        """

    def name_to_guid(self, name: str) -> UUID:
        """Returns the GUID of a layer's name, a GUID of version 5.

        **The two engines return different GUIDs for the same name**: the namespace that Windows uses is not published,
        so the portable engine has its own. GUIDs of the two engines must not be mixed in one parent chain. The
        portable engine takes the name exactly as it is spelled, in UTF-8.

        Raises:
            InvalidParameterError: the name is empty, or cannot be encoded in UTF-8.

        Reference: `NameToGuid` of vmcompute.dll.
        """

    def new_layer_reader(self, path: StrPath, parents: Chain = ()) -> BackupReader:
        """Returns a reader of the layer at `path`: its entries and tombstones.

        Args:
            path: the layer directory.
            parents: the parent chain. The portable engine knows it, and compares it if it is given. Windows needs it;
                without it, it reads the layer as a base layer.

        Raises:
            PathNotFoundError, NotALayerError: there is no layer at `path`.
            InvalidParameterError: `parents` are not the layer's (portable engine).
            AccessDeniedError: the user lacks the privileges that reading backups needs (hcs engine).

        Reference: hcsshim, `NewLayerReader`.
        """

    def new_layer_writer(self, path: StrPath, parents: Chain = ()) -> BackupWriter:
        """Returns a writer that makes the layer directory `path`. The layer exists when `close` returns.

        Args:
            path: where the layer will be: nothing, or an empty folder, in a folder that exists.
            parents: the parent chain; empty for a base layer. The hcs engine needs all of it.

        Raises:
            AlreadyExistsError: `path` is taken.
            PathNotFoundError: the folder of `path`, or a parent, does not exist.
            NotALayerError: a parent is not a layer directory.
            InvalidParameterError: the chain is in the wrong order.
            AccessDeniedError: the user lacks the privileges that restoring backups needs (hcs engine).

        Reference: hcsshim, `NewLayerWriter`.
        """

    def open_export(self, path: StrPath, parents: Chain = ()) -> ExportStream:
        """Returns the engine's side of a `FilterLayerReader`.

        Raises:
            PathNotFoundError, NotALayerError, InvalidParameterError: see `new_layer_reader`.
            NotSupportedError: this build of Windows does not have the functions (hcs engine).

        Reference: `ExportLayerBegin` of vmcompute.dll.
        """

    def open_import(self, path: StrPath, parents: Chain = ()) -> ImportStream:
        """Returns the engine's side of a `FilterLayerWriter`.

        Raises:
            AlreadyExistsError, PathNotFoundError, NotALayerError, InvalidParameterError: see `new_layer_writer`.
            NotSupportedError: this build of Windows does not have the functions (hcs engine).

        Reference: `ImportLayerBegin` of vmcompute.dll.
        """

    def prepare_layer(
        self, path: StrPath, parents: Chain = (), *, target: StrPath | None = None, allow_other: bool = False
    ) -> None:
        """Mounts an active scratch over its parents; `get_layer_mount_path` returns where. Other layers need no mount.

        Args:
            path: the layer directory.
            parents: the parent chain; if given, it must be the layer's own. A scratch without a record of its chain,
                such as one that containerd made from a copy of `blank.vhdx`, records this one.
            target: an empty folder to mount at; by default the folder `mount` in the layer directory. Windows has a
                volume for each scratch and takes no `target`.
            allow_other: True if every user of the machine may use the mount, and change the files in it.

        Raises:
            NotReadyError: the scratch is not active.
            AlreadyExistsError: it is prepared already.
            InvalidParameterError: `parents` are not the layer's, or not in their order.
            NotSupportedError: FUSE is missing; the message says what to install.
            LayerBusyError: other processes have the scratch open.
            PathNotFoundError, NotALayerError: there is no layer at `path`.

        Reference: `PrepareLayer` of vmcompute.dll.
        """

    def process_base_layer(self, path: StrPath) -> None:
        """Makes what Windows needs to run containers on the base layer at `path`, and keeps what exists already.

        The portable engine makes `layout`, `blank-base.vhdx` and its child `blank.vhdx`, and grants all virtual
        machines access to both disks. The hives in `Files/Windows/System32/config` must exist, possibly empty.

        Raises:
            PathNotFoundError: there is no layer, or it lacks one of the hives, which the message names.

        Reference: `ProcessBaseImage` of vmcompute.dll.
        """

    def process_utility_vm_image(self, path: StrPath) -> None:
        """Makes what Windows needs to start the utility VM at `path`, and keeps what exists already.

        The portable engine makes `SystemTemplateBase.vhdx` and its child `SystemTemplate.vhdx`, and grants all virtual
        machines access to both.

        Args:
            path: the folder `UtilityVM` of a base layer.

        Raises:
            PathNotFoundError: there is no layer, or its utility VM has no boot store.
            InvalidDataError: the boot store is damaged.

        Reference: `ProcessUtilityImage` of vmcompute.dll.
        """

    def unprepare_layer(self, path: StrPath) -> None:
        """Unmounts a prepared scratch. It stays active, and its changes are safe.

        Raises:
            NotReadyError: it is not prepared.
            LayerBusyError: files of the mount are open; it stays prepared.
            PathNotFoundError, NotALayerError: there is no layer at `path`.

        Reference: `UnprepareLayer` of vmcompute.dll.
        """
