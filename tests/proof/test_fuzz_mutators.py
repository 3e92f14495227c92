"""The mutators make inputs that are odd, and still what they are: checksums and sizes agree with what was changed."""

from __future__ import annotations

import io
import random
import tarfile
import zlib
from collections.abc import Callable
from uuid import UUID

import pytest

from fuzz.mutators import disks, sparse
from fuzz.mutators.image_tar import mutate_image_tar, read_tar
from fuzz.mutators.regf import cells, mend_hive, mutate_hive
from fuzz.mutators.tar import join_member, join_records, mutate_tar, parse_records, split_tar
from fuzz.operations.disks import gpt_seeds, mutate_disk, vhdx_seeds
from fuzz.operations.hives import mutate_pair, pair_seeds, text_seeds
from fuzz.operations.tars import base_seeds
from fuzz.operations.transports import mutate_transport, transport_seeds
from fuzz.target import Mutator
from wclayer.errors import FormatError
from wclayer.formats.gpt.structs import BASIC_DATA
from wclayer.formats.gpt.table import Partition, PartitionTable, read_table, write_table
from wclayer.formats.ntfs.structs import protect, unprotect
from wclayer.formats.regf import structs
from wclayer.formats.regf.hive import Hive
from wclayer.formats.tar.structs import BLOCK, CHECKSUM, header_checksum
from wclayer.formats.vhd import structs as vhd
from wclayer.formats.vhdx.create import create_vhdx
from wclayer.formats.vhdx.image import Vhdx
from wclayer.layers.volume.raw import RawDisk

_RUNS = 300
_MOST = 64 << 10


@pytest.mark.parametrize(
    ("mutate", "seeds"),
    [
        (mutate_tar, base_seeds), (mutate_hive, text_seeds), (mutate_pair, pair_seeds),
        (mutate_transport, transport_seeds), (mutate_disk, gpt_seeds), (mutate_disk, vhdx_seeds),
    ],
)  # fmt: skip
def test_a_mutator_keeps_to_its_bounds_and_gives_the_same_for_the_same_chance(
    mutate: Mutator, seeds: Callable[[], list[bytes]]
) -> None:
    changed = 0
    inputs = seeds()
    for number in range(_RUNS):
        data = inputs[number % len(inputs)]
        made = mutate(data, random.Random(number), 2000)
        assert len(made) <= 2000
        assert made == mutate(data, random.Random(number), 2000)
        changed += made != data
    assert changed > _RUNS * 3 // 4
    assert len(mutate(b"", random.Random(1), 100)) <= 100


def test_a_mutated_tar_has_right_checksums_and_sizes() -> None:
    chance = random.Random(1)
    (seed, *_) = base_seeds()
    headers = right = whole = 0
    for _ in range(_RUNS):
        members, rest = split_tar(mutate_tar(seed, chance, _MOST))
        whole += not any(rest)
        for member in members:
            block = member[:BLOCK]
            headers += 1
            right += block[CHECKSUM] == b"%06o\0 " % header_checksum(block)
    # Once in eight times, bytes are changed without regard, and all members behind them are moved.
    assert right / headers > 0.9
    assert whole / _RUNS > 0.6


def test_pax_records_are_put_together_as_they_were_taken_apart() -> None:
    records = [(b"path", b"x" * size) for size in (0, 1, 89, 90, 91, 92, 93, 94, 989, 990, 991, 992, 993)]
    for record in records:
        (length, _, _) = join_records([record]).partition(b" ")
        assert int(length) == len(join_records([record]))
    assert parse_records(join_records(records)) == records
    member = join_member(bytes(BLOCK), b"data")
    assert split_tar(member + bytes(2 * BLOCK)) == ([member], bytes(2 * BLOCK))


def test_a_mutated_hive_gets_past_its_first_checks() -> None:
    chance = random.Random(2)
    (seed, *_) = text_seeds()
    assert mend_hive(seed) == seed
    assert len(cells(seed)) > 20
    opened = 0
    for _ in range(_RUNS):
        made = mutate_hive(seed, chance, _MOST)
        if len(made) >= structs.BASE_BLOCK_SIZE:
            stored = structs.BASE_CHECKSUM.unpack_from(made, structs.BASE_CHECKSUM_OFFSET)[0]
            opened += stored == structs.checksum(made)
    assert opened / _RUNS > 0.8
    damaged = bytearray(seed)
    damaged[40:44] = b"\xff" * 4
    damaged[structs.BASE_BLOCK_SIZE : structs.BASE_BLOCK_SIZE + 12] = bytes(12)
    assert list(Hive(mend_hive(bytes(damaged))).root().subkeys())


def test_what_differs_from_a_known_disk_makes_the_disk_again() -> None:
    known = bytes(200_000)
    disk = bytearray(known)
    disk[100:164] = b"x" * 64
    disk[70_000:150_000] = random.Random(3).randbytes(80_000)
    disk[-1] = 1
    packed = sparse.pack(bytes(disk), known)
    assert len(packed) < 81_000
    assert sparse.unpack(packed, known) == disk
    assert sparse.unpack(sparse.join_pieces([(1 << 31, b"x"), (199_999, b"yz")]), known)[-1:] == b"y"


def test_records_of_ntfs_are_protected_again_where_they_were_changed() -> None:
    block = bytearray(1024)
    block[:8] = b"FILE\x30\0\3\0"
    block[100:104] = b"data"
    known = bytearray(4096)
    known[1024:2048] = block
    plain = bytearray(known)
    protected = bytearray(block)
    protect(protected, 9)
    known[1024:2048] = protected
    assert disks.unprotect_ntfs(bytes(known))[1124:1128] == b"data"
    plain[1124:1128] = b"DATA"
    disks.mend_ntfs(plain, [(1124, 1128)])
    made = plain[1024:2048]
    assert unprotect(made)
    assert made[100:104] == b"DATA"
    # A header that says of no place for the sequence is left as it is.
    odd = bytearray(b"FILE\xff\xff\xff\xff" + bytes(1016))
    disks.mend_ntfs(odd, [(0, 1024)])
    assert odd == b"FILE\xff\xff\xff\xff" + bytes(1016)


def test_the_tables_of_a_changed_gpt_are_read() -> None:
    disk = RawDisk(io.BytesIO(), size=2 << 20)
    partition = Partition(BASIC_DATA, UUID(int=2), 1 << 20, 512 << 10)
    write_table(disk, PartitionTable(disk.size, 512, UUID(int=1), (partition,)))
    changed = bytearray(disk.read(0, disk.size))
    changed[1024 + 56 : 1024 + 58] = b"N\0"
    damaged = read_table(RawDisk(io.BytesIO(bytes(changed))))
    assert damaged.problems
    disks.mend_gpt(changed, [(1080, 1082)])
    mended = read_table(RawDisk(io.BytesIO(bytes(changed))))
    assert mended.partitions[0].name == "N"
    head = changed[512 : 512 + 92]
    stored, head[16:20] = int.from_bytes(head[16:20], "little"), bytes(4)
    assert stored == zlib.crc32(head)


def test_a_changed_vhdx_is_opened() -> None:
    file = io.BytesIO()
    create_vhdx(file, 2 << 20).flush()
    changed = bytearray(file.getvalue())
    for at in (65536, 131072, 196608, 262144):
        # Of headers the GUID of the last write, of region tables what is reserved.
        changed[at + (16 if at < 196608 else 12)] ^= 1
    with pytest.raises(FormatError):
        Vhdx(io.BytesIO(bytes(changed)))
    disks.mend_vhdx(changed, [(at, at + 32) for at in (65536, 131072, 196608, 262144)])
    assert Vhdx(io.BytesIO(bytes(changed))).size == 2 << 20


def test_the_sums_of_a_changed_vhd_are_right() -> None:
    footer = bytearray(vhd.COOKIE.ljust(vhd.FOOTER.size, b"\x07"))
    disks.mend_vhd(footer, [(20, 24)])
    stored = int.from_bytes(footer[vhd.FOOTER_CHECKSUM_OFFSET : vhd.FOOTER_CHECKSUM_OFFSET + 4], "big")
    assert stored == vhd.checksum(bytes(footer), vhd.FOOTER_CHECKSUM_OFFSET)


@pytest.mark.parametrize("size", [1 << 34, 1 << 66])
def test_a_member_of_a_size_that_python_cannot_read_ends_no_mutator(size: int) -> None:
    member = tarfile.TarInfo("large")
    member.size = size
    hostile = member.tobuf(tarfile.GNU_FORMAT) + bytes(2048)
    assert read_tar(hostile) == {}
    assert len(mutate_image_tar(hostile, random.Random(1), 1 << 16)) <= 1 << 16
