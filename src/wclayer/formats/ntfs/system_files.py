"""The files of a new volume that NTFS itself needs: `$MFT`, `$Bitmap`, `$Secure`, `$Boot` and the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.allocator import ClusterAllocator, data_attribute, set_bits
from wclayer.formats.ntfs.catalog import ROOT, Catalog, stream_sizes
from wclayer.formats.ntfs.file_metadata import FileMetadata
from wclayer.formats.ntfs.index import view_entry
from wclayer.formats.ntfs.mft import MasterFileTable
from wclayer.formats.ntfs.records import Attribute, encode_record, reference
from wclayer.formats.ntfs.runs import Run
from wclayer.formats.ntfs.structs import (
    RECORD_SIZE,
    SECTOR_SIZE,
    AttributeType,
    BootSector,
    Collation,
    Namespace,
    NtfsError,
    RecordFlags,
    SystemFile,
    ViewEntry,
)
from wclayer.win32.attributes import FileAttributes
from wclayer.win32.sid import ADMINISTRATORS
from wclayer.win32.upcase import upcase_table

_MIB = 1 << 20
_SPARE_RECORDS = 8
"""Unused records at the end of the MFT, some of which the root directory may need."""
_ATTRIBUTES = int(FileAttributes.HIDDEN | FileAttributes.SYSTEM)
_NAMES = {
    SystemFile.MFT_MIRROR: "$MFTMirr",
    SystemFile.LOG_FILE: "$LogFile",
    SystemFile.VOLUME: "$Volume",
    SystemFile.ATTRIBUTE_DEFINITIONS: "$AttrDef",
    SystemFile.BOOT: "$Boot",
    SystemFile.BAD_CLUSTERS: "$BadClus",
    SystemFile.SECURE: "$Secure",
    SystemFile.UPCASE: "$UpCase",
}
"""The system files in the root directory, except those that are written last."""
_EXTEND = reference(SystemFile.EXTEND, SystemFile.EXTEND)


@dataclass(frozen=True, slots=True)
class VolumeIdentity:
    """The values in which volumes with the same files differ."""

    label: str
    serial: int
    time: int
    """FILETIME of the system files."""
    hidden_sectors: int
    """Sectors of the disk before the volume."""
    security: bytes
    """The descriptor of the system files."""


class SystemFiles:
    """Writes the system files in three steps, because some of them describe everything else.

    The constructor reserves the clusters at the start of a volume. `store_contents` writes contents that do not depend
    on other files. `finish`, after all other files and directories, writes the rest.
    """

    def __init__(self, allocator: ClusterAllocator, identity: VolumeIdentity) -> None:
        self._allocator = allocator
        self._identity = identity
        time = identity.time
        self._metadata = FileMetadata(time, time, time, time, _ATTRIBUTES, identity.security)
        self._files: dict[SystemFile, list[Attribute]] = {}
        self._boot = allocator.allocate(structs.BOOT_SIZE)
        self._mirror_size = max(structs.MIRRORED_RECORDS * RECORD_SIZE, allocator.cluster_size)
        self._mirror = allocator.allocate(self._mirror_size)
        self._log = allocator.allocate(4 * _MIB if allocator.disk.size >= 256 * _MIB else 2 * _MIB)

    def store_contents(self) -> None:
        """Prepares the system files that do not depend on others, and writes their contents."""
        definitions = b"".join(
            structs.ATTRIBUTE_DEFINITION.pack(
                row.name.encode("utf-16-le"), row.type, 0, row.collation, row.flags, row.minimum, row.maximum
            )
            for row in structs.ATTRIBUTE_DEFINITIONS
        ) + bytes(structs.ATTRIBUTE_DEFINITION.size)
        version = structs.VOLUME_INFORMATION.pack(*structs.VolumeInformation(0, *structs.VERSION, 0))
        self._files = {
            SystemFile.MFT_MIRROR: [data_attribute(self._mirror, self._mirror_size)],
            SystemFile.LOG_FILE: [data_attribute(self._log, self._log.size)],
            SystemFile.VOLUME: [
                Attribute(AttributeType.VOLUME_NAME, value=self._identity.label.encode("utf-16-le")),
                Attribute(AttributeType.VOLUME_INFORMATION, value=version),
                Attribute(AttributeType.DATA),
            ],
            SystemFile.ATTRIBUTE_DEFINITIONS: [self._allocator.store(definitions, AttributeType.DATA)],
            SystemFile.BOOT: [data_attribute(self._boot, structs.BOOT_SIZE)],
            SystemFile.BAD_CLUSTERS: [Attribute(AttributeType.DATA), self._bad_clusters()],
            SystemFile.UPCASE: [self._allocator.store(upcase_table(), AttributeType.DATA)],
        }

    def _bad_clusters(self) -> Attribute:
        """Returns the stream `$Bad`: a hole as large as the volume."""
        clusters = self._allocator.clusters
        size = clusters * self._allocator.cluster_size
        return Attribute(AttributeType.DATA, "$Bad", None, [Run(None, clusters)], size, size, is_initialized=False)

    def finish(
        self, catalog: Catalog, mft: MasterFileTable, root: FileMetadata, root_streams: Sequence[Attribute]
    ) -> None:
        """Writes all system files and the root directory.

        Args:
            catalog: all other files and directories.
            mft: the records of the volume.
            root: the metadata of the root directory.
            root_streams: its named streams.

        Raises:
            OutOfSpaceError: the volume is full.
        """
        # Everything that is still to be written has the descriptor of the system files, or is the root directory.
        catalog.security.id_of(self._identity.security)
        catalog.security.id_of(root.security)
        catalog.put_directory(ROOT, ROOT, ".", root, root_streams, namespace=Namespace.WIN32_AND_DOS)
        catalog.directories.add_file(ROOT, SystemFile.ROOT)
        self._put_extend(catalog)
        for number, name in _NAMES.items():
            view = RecordFlags.VIEW_INDEX if number is SystemFile.SECURE else 0
            self._put(catalog, number, name, self._files[number], RecordFlags.IN_USE | view)
        for reserved in range(structs.FIRST_RESERVED, structs.END_RESERVED):
            information = Attribute(AttributeType.STANDARD_INFORMATION, value=catalog.information(self._metadata))
            attributes = [information, Attribute(AttributeType.DATA)]
            catalog.put_file(reference(reserved, reserved), RecordFlags.IN_USE, attributes)
        self._put_maps(catalog, mft)
        self._write_fixed(mft)

    def _put_extend(self, catalog: Catalog) -> None:
        """Writes `$Extend` with its files, and prepares `$Secure`."""
        catalog.directories.add_file(ROOT, SystemFile.EXTEND)
        extend = catalog.directories.add(_EXTEND)
        views = (
            (SystemFile.QUOTA, "$Quota", (
                ("$O", Collation.SID, self._quota_owners()), ("$Q", Collation.NUMBER, self._quotas()),
            )),
            (SystemFile.OBJECT_IDS, "$ObjId", (
                ("$O", Collation.NUMBERS, sorted(catalog.object_ids, key=_numbers_key)),
            )),
            (SystemFile.REPARSE, "$Reparse", (
                ("$R", Collation.NUMBERS, sorted(catalog.reparse_points, key=_numbers_key)),
            )),
        )  # fmt: skip
        flags = RecordFlags.IN_USE | RecordFlags.IN_EXTEND | RecordFlags.VIEW_INDEX
        for number, name, indexes in views:
            attributes = [
                attribute
                for index_name, collation, entries in indexes
                for attribute in catalog.index(index_name, 0, collation, (entries,))
            ]
            self._put(catalog, number, name, attributes, flags, parent=extend, sequence=1)
        self._files[SystemFile.SECURE] = [
            self._allocator.store(catalog.security.stream, AttributeType.DATA, "$SDS"),
            *catalog.index("$SDH", 0, Collation.SECURITY_HASH, (catalog.security.by_hash(),)),
            *catalog.index("$SII", 0, Collation.NUMBER, (catalog.security.by_id(),)),
        ]
        catalog.put_directory(extend, ROOT, "$Extend", self._metadata)
        catalog.put_index(extend)

    def _put(
        self,
        catalog: Catalog,
        number: SystemFile,
        name: str,
        attributes: list[Attribute],
        flags: RecordFlags | int,
        *,
        parent: int = ROOT,
        sequence: int | None = None,
    ) -> None:
        """Writes a system file and its name."""
        file = reference(number, sequence or max(1, int(number)))
        allocated, size = stream_sizes(attributes)
        # Windows sets the flag of a view also in the standard information of these files.
        metadata = self._metadata
        if flags & RecordFlags.VIEW_INDEX:
            metadata = replace(metadata, attributes=metadata.attributes | structs.FILE_NAME_VIEW_INDEX)
        file_name = catalog.file_name(parent, name, metadata, allocated, size, namespace=Namespace.WIN32_AND_DOS)
        own = [
            Attribute(AttributeType.STANDARD_INFORMATION, value=catalog.information(metadata)),
            Attribute(AttributeType.FILE_NAME, value=file_name, is_indexed=True),
            *attributes,
        ]
        catalog.put_file(file, flags, own)
        catalog.directories.add_file(parent, number)

    def _put_maps(self, catalog: Catalog, mft: MasterFileTable) -> None:
        """Writes the files that describe all others: the root directory, the MFT and the two bitmaps."""
        clusters = self._allocator.clusters
        bitmap_size = -(-clusters // 64) * 8
        bitmap = self._allocator.allocate(bitmap_size)
        # The MFT ends soon after the last record; the rest of its clusters is room for growth.
        per_unit = max(1, self._allocator.cluster_size // RECORD_SIZE)
        end = -(-(mft.next_record + _SPARE_RECORDS) // per_unit) * per_unit
        while end > mft.records:
            mft.grow()
        mft_bitmap_size = -(-end // 64) * 8
        mft_bitmap = self._allocator.allocate(mft_bitmap_size)
        attributes = [data_attribute(bitmap, bitmap_size)]
        self._put(catalog, SystemFile.BITMAP, "$Bitmap", attributes, RecordFlags.IN_USE)
        attributes = [
            Attribute(AttributeType.DATA, "", None, mft.runs, end * RECORD_SIZE, mft.records * RECORD_SIZE),
            data_attribute(mft_bitmap, mft_bitmap_size, AttributeType.BITMAP),
        ]
        self._put(catalog, SystemFile.MFT, "$MFT", attributes, RecordFlags.IN_USE)
        catalog.put_index(ROOT)
        if mft.next_record > end:
            raise NtfsError("the root directory takes more records than were kept for it")
        used = mft.used_ranges()
        for (_, free), (taken, _) in zip(used, [*used[1:], (end, end)], strict=True):
            for number in range(free, taken):
                mft.put_record(number, encode_record(number, 1, 0, 0, ()))
        mft.flush()
        self._write_bits(mft_bitmap.offset, used, mft_bitmap_size * 8, mft_bitmap_size * 8)
        self._write_bits(bitmap.offset, self._allocator.used_ranges(), bitmap_size * 8, clusters)

    def _write_bits(self, offset: int, ranges: list[tuple[int, int]], total: int, end: int) -> None:
        """Writes a bitmap at an offset of the volume, which holds zeros.

        Args:
            offset: where the bitmap is.
            ranges: the bits that are set.
            total: the bits of the bitmap.
            end: the bits from here on are set, too.
        """
        used = max(stop for _, stop in ranges)
        bits = bytearray(-(-used // 8))
        for first, stop in ranges:
            set_bits(bits, first, stop)
        self._allocator.disk.write(offset, bytes(bits))
        if total > end:
            first_byte = end // 8
            tail = bytearray(total // 8 - first_byte)
            if first_byte < len(bits):
                tail[: len(bits) - first_byte] = bits[first_byte:]
            set_bits(tail, end - first_byte * 8, total - first_byte * 8)
            self._allocator.disk.write(offset + first_byte, bytes(tail))

    def _write_fixed(self, mft: MasterFileTable) -> None:
        """Writes the empty log, the copy of the MFT's first records, and the boot sector with its copy."""
        disk = self._allocator.disk
        piece = b"\xff" * _MIB
        for offset in range(0, self._log.size, _MIB):
            disk.write(self._log.offset + offset, piece[: self._log.size - offset])
        disk.write(self._mirror.offset, disk.read(mft.offset, self._mirror_size))
        boot = self._boot_sector(mft)
        disk.write(0, boot)
        disk.write(self._allocator.sectors * SECTOR_SIZE, boot[:SECTOR_SIZE])

    def _boot_sector(self, mft: MasterFileTable) -> bytes:
        """Returns the boot sector and the sectors after it, which are zeros."""
        cluster_size = self._allocator.cluster_size
        fields = BootSector(
            jump=structs.BOOT_JUMP,
            oem_id=structs.BOOT_OEM_ID,
            sector_size=SECTOR_SIZE,
            sectors_per_cluster=cluster_size // SECTOR_SIZE,
            zeros=b"",
            media=structs.MEDIA_FIXED,
            zeros2=b"",
            sectors_per_track=63,
            heads=255,
            hidden_sectors=self._identity.hidden_sectors,
            zeros3=0,
            mark=structs.BOOT_MARK,
            sectors=self._allocator.sectors,
            mft_cluster=mft.runs[0].start or 0,
            mirror_cluster=self._mirror.run.start or 0,
            record_size=_encoded_size(RECORD_SIZE, cluster_size),
            zeros4=b"",
            index_block_size=_encoded_size(structs.INDEX_BLOCK_SIZE, cluster_size),
            zeros5=b"",
            serial=self._identity.serial,
            checksum=0,
        )
        boot = bytearray(structs.BOOT.pack(*fields).ljust(structs.BOOT_SIZE, b"\0"))
        boot[structs.BOOT_SIGNATURE_OFFSET : structs.BOOT_SIGNATURE_OFFSET + 2] = structs.BOOT_SIGNATURE
        return bytes(boot)

    def _quotas(self) -> list[bytes]:
        """Returns the entries of `$Q`: no limits by default, and the administrators' entry."""
        entries = []
        for owner, flags, sid in (
            (structs.QUOTA_DEFAULTS_ID, structs.QUOTA_DEFAULT_LIMITS, b""),
            (structs.FIRST_OWNER_ID, structs.QUOTA_DEFAULT_LIMITS, ADMINISTRATORS.encode()),
        ):
            value = structs.QUOTA_ENTRY.pack(structs.QUOTA_VERSION, flags, 0, self._identity.time, -1, -1, 0) + sid
            entries.append(view_entry(owner.to_bytes(4, "little"), value))
        return entries

    @staticmethod
    def _quota_owners() -> list[bytes]:
        """Returns the entries of `$O` of `$Quota`."""
        return [view_entry(ADMINISTRATORS.encode(), structs.FIRST_OWNER_ID.to_bytes(4, "little"))]


def _numbers_key(entry: bytes) -> tuple[int, ...]:
    """Returns the key of a view's entry as the 32-bit numbers by which it is ordered."""
    length = ViewEntry._make(structs.VIEW_ENTRY.unpack_from(entry)).key_length
    start = structs.VIEW_ENTRY.size
    return tuple(int.from_bytes(entry[at : at + 4], "little") for at in range(start, start + length, 4))


def _encoded_size(size: int, cluster_size: int) -> int:
    """Returns a size as the boot sector stores it: in clusters, or as a negative power of two if it is smaller."""
    return size // cluster_size if size >= cluster_size else -(size.bit_length() - 1)
