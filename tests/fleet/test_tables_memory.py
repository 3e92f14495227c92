"""The entries of a layer are written in bounded memory, however many there are and whatever they hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wclayer.fleet.tables.dataset import Dataset
from wclayer.fleet.tables.parquet import GROUP_ROWS

LAYER = "sha256:" + "a" * 64
_PROGRAM = """
import sys
from tests.memory import peak_memory
from wclayer.fleet.tables.dataset import Dataset
from wclayer.fleet.tables.schema import FileRow, unknown

def row(number, size):
    text = f"{number:09d}"
    return FileRow(**unknown(FileRow) | {
        "layer": "sha256:" + "a" * 64, "path": "Files/" + text + "/n" * (size // 2), "kind": "file", "size": number,
        "sha256": text * 7, "security": "O:BAG:SYD:(A;;FA;;;SY)", "created": number, "written": number,
    })

def write(count, size):
    Dataset(sys.argv[1]).write_files("sha256:" + "a" * 64, (row(number, size) for number in range(count)), {})

write(1000, 10)
before = peak_memory()
write(int(sys.argv[2]), int(sys.argv[3]))
print((peak_memory() - before) >> 20)
"""


@pytest.mark.parametrize(
    ("count", "size", "most"), [(3 * GROUP_ROWS, 60, 120), (8000, 32_000, 160)], ids=["many", "long"]
)
def test_memory_is_that_of_a_row_group(count: int, size: int, most: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path), str(count), str(size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout) < most
    assert sum(1 for _ in Dataset(tmp_path).read_files(LAYER)) == count
