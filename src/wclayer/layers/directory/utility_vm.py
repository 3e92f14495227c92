"""A child's utility VM: a clone of its parent's, into which the child's own entries are then written."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from wclayer.layers.directory.database import EntryRow, Origin, host_name
from wclayer.layers.directory.host_files import HostFiles
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.records import LayerRecords
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.names import path_key

FILES = "UtilityVM/Files"
BOOT_STORE = f"{FILES}/EFI/Microsoft/Boot/BCD"
BCD_BACKUPS = {
    BOOT_STORE: b"bcd.bak",
    f"{BOOT_STORE}.LOG": b"bcd.log.bak",
    f"{BOOT_STORE}.LOG1": b"bcd.log1.bak",
    f"{BOOT_STORE}.LOG2": b"bcd.log2.bak",
}
"""The boot store, which processing changes, and the path at which its imported state is kept."""
MUTATED = frozenset(path_key(path) for path in BCD_BACKUPS)
"""The path keys of files that processing changes: a child does not share them with its parent."""


def find_parent(parents: Sequence[LayerDirectory]) -> tuple[LayerDirectory, EntryRow] | None:
    """Returns the nearest parent with a utility VM, and the directory of its files; None if no parent has one."""
    for parent in parents:
        if (row := parent.lookup(FILES)) is not None:
            return parent, row
    return None


def clone(parent: LayerDirectory, top: EntryRow, records: LayerRecords, files: HostFiles, top_id: int) -> None:
    """Copies everything below `top` of the parent to the new directory with the id `top_id`.

    Files become hard links of the parent's files. Reparse points and the boot store are copied instead, because they
    are changed in place.
    """
    records.expect_removals()
    # Maps ids of the parent to new ids: of directories, and of the first name of each file with several names.
    directories = {top.id: top_id}
    heads: dict[int, tuple[int, bytes]] = {}
    for row in parent.walk(top):
        entry_id = records.new_id()
        host_path = parent.host_path(row)
        source, source_root = host_path, parent.host
        file = row
        head = entry_id
        if row.attributes & DIRECTORY:
            directories[row.id] = entry_id
        elif parent.link_count(row) > 1:
            # The walk may reach another name of the file before the first name, which has the streams.
            file = parent.first_name(row)
            head, source = heads.setdefault(file.id, (entry_id, host_path))
        is_first = head == entry_id
        if row.attributes & DIRECTORY:
            files.root.make_directory(host_path)
        elif not is_first:
            files.link_or_copy(source, host_path, files.root)
        elif row.reparse is not None or path_key(parent.path_of(row)) in MUTATED:
            files.root.copy(source, host_path, source_root=source_root)
        else:
            files.link_or_copy(source, host_path, source_root)
        if is_first:
            records.copy_streams(parent, file, entry_id)
        records.add(
            row._replace(
                id=entry_id,
                parent=directories[row.parent],
                origin=Origin.CLONED,
                security=records.security_id(parent.security(row)),
                streams=file.streams if is_first else 0,
                link=None if is_first else head,
                link_target=None,
                spelling=None,
                form=None,
            )
        )
    records.flush()


def keep_boot_store(records: LayerRecords, files: HostFiles) -> None:
    """Copies the boot store, in its imported state, to the layer's root."""
    for path, backup in BCD_BACKUPS.items():
        directory_path, _, name = path_key(path).rpartition("/")
        directory = records.directory(directory_path)
        row = None if directory is None else records.child(directory.id, name)
        if directory is not None and row is not None and not row.attributes & DIRECTORY:
            with suppress(FileNotFoundError):
                files.root.remove(backup)
            files.root.copy(directory.host_child(host_name(row)), backup)
