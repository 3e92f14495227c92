"""The targets of whole operations by name. Each has a measure of what must come of an input, so that the only thing a
run may raise is `RefusedError`: the input was refused as it should be, and nothing was left behind."""

from __future__ import annotations

from collections.abc import Callable

from fuzz.mutators.regf import mutate_hive
from fuzz.mutators.tar import mutate_tar
from fuzz.operations import databases, disks, facts, hives, records, sessions, tars, transports, views
from fuzz.operations.ground import RefusedError
from fuzz.target import Mutator, Target

_KIB = 1 << 10


def _operation(
    run: Callable[[bytes], object],
    seeds: Callable[[], list[bytes]],
    mutator: Mutator | None = None,
    *,
    words: tuple[bytes, ...] = (),
    max_size: int = 16 * _KIB,
    weight: float = 1.0,
) -> Target:
    return Target(run, seeds, (RefusedError,), mutator, words, max_size, weight)


_PATHS = (b'"$LAYER"', b'"$BASE"', b'"/nowhere"', b"null", b'"C:\\\\x"', b"[[", b"\\u0000")

TARGETS = {
    "chain": _operation(records.chain, records.chain_seeds, words=_PATHS, max_size=_KIB, weight=0.5),
    "db_pages": _operation(databases.pages, databases.page_seeds, max_size=_KIB),
    "db_rows": _operation(databases.rows, databases.row_seeds, max_size=256, weight=2),
    "disk_gpt": _operation(disks.gpt, disks.gpt_seeds, disks.mutate_disk, weight=0.5),
    "disk_ntfs": _operation(disks.ntfs, disks.ntfs_seeds, disks.mutate_disk, max_size=24 * _KIB, weight=2),
    "disk_vhd": _operation(disks.vhd_file, disks.vhd_seeds, disks.mutate_disk, weight=0.5),
    "disk_vhdx": _operation(disks.vhdx, disks.vhdx_seeds, disks.mutate_disk, weight=0.5),
    "hive_recovery": _operation(hives.logs, hives.log_seeds, hives.mutate_log, max_size=32 * _KIB, weight=0.5),
    "hive_text": _operation(hives.text, hives.text_seeds, mutate_hive, weight=0.5),
    "hives": _operation(hives.two_hives, hives.pair_seeds, hives.mutate_pair, max_size=24 * _KIB),
    "images": _operation(records.images, records.image_seeds, max_size=_KIB, weight=0.2),
    "requests": _operation(sessions.requests, sessions.request_seeds, max_size=_KIB, weight=2),
    "scratch_records": _operation(records.records, records.record_seeds, max_size=256, weight=0.5),
    "facts_of_tar": _operation(facts.facts_of_tar, tars.base_seeds, mutate_tar, max_size=24 * _KIB),
    "tar_base": _operation(tars.base_tar, tars.base_seeds, mutate_tar, max_size=24 * _KIB),
    "tar_child": _operation(tars.child_tar, tars.child_seeds, mutate_tar, max_size=24 * _KIB),
    "transport_folder": _operation(transports.transport, transports.transport_seeds, transports.mutate_transport),
    "view_changes": _operation(views.changes, views.change_seeds, max_size=512, weight=2),
}
