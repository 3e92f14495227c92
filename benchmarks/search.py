"""Times `find`, `du` and `grep` on a layer of 100,000 files beside GNU find, du and grep on the same files unpacked.

    python -m benchmarks.search [--folder FOLDER] [--files N] [--runs N]

Each command is a process of its own, whose output is read and dropped. Both sides have read the files before. The
folder needs room for two copies of the files, about 1 GiB for 100,000.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.measuring import WCLAYER, measure
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import DataStream, Entry
from wclayer.win32.attributes import FileBasicInfo

_TIME = 133_000_000_000_000_000
_FILE = FileBasicInfo(0x20, *[_TIME] * 4)
_DIRECTORY = FileBasicInfo(0x10, *[_TIME] * 4)
_IN_DIRECTORY = 1000
_LINE = "setting{0:06}=value of the setting {0} of the file\r\n"
_LINES = 40
"""Lines of each file, 2 KiB together."""
_NEEDLE = "setting099007="
"""In 40 files of 100,000: each has the settings of its own number and of the next ones."""
_MISSING = "not in any file"
_EXPRESSION = "of [x-z]+ file"
_FOUND = 0, 1
"""The exit statuses of grep with and without a match."""


def make_files(folder: Path, files: int) -> None:
    """Makes the layer `layer` and the same files in the folder `tree`."""
    with DirectoryLayerWriter(folder / "layer") as writer:
        writer.put(Entry("Files", _DIRECTORY))
        for number in range(files):
            directory = f"d{number // _IN_DIRECTORY}"
            if number % _IN_DIRECTORY == 0:
                writer.put(Entry(f"Files/{directory}", _DIRECTORY))
                (folder / "tree" / directory).mkdir(parents=True)
            name = f"{directory}/file{number % _IN_DIRECTORY}.{('ini', 'dll', 'txt')[number % 3]}"
            data = "".join(_LINE.format(number + line) for line in range(_LINES)).encode()
            writer.put(Entry(f"Files/{name}", _FILE, len(data)), [DataStream("", len(data), [data])])
            (folder / "tree" / name).write_bytes(data)


def _commands(folder: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Returns our command and that of GNU for each row."""
    layer, tree = str(folder / "layer"), str(folder / "tree")
    return {
        "find everything": ([*WCLAYER, "find", layer, "C:\\"], ["find", tree]),
        "find --name '*7.dll'": ([*WCLAYER, "find", layer, "C:\\", "-n", "*7.dll"], ["find", tree, "-iname", "*7.dll"]),
        "find --size +3KiB": ([*WCLAYER, "find", layer, "C:\\", "--size", "+3KiB"], ["find", tree, "-size", "+3072c"]),
        "du": ([*WCLAYER, "du", "-b", layer, "C:\\"], ["du", "-b", tree]),
        "grep -lF, a text of 40 files": ([*WCLAYER, "grep", "-lF", _NEEDLE, layer], ["grep", "-rlF", _NEEDLE, tree]),
        "grep -i, a text of no file": ([*WCLAYER, "grep", "-i", _MISSING, layer], ["grep", "-ri", _MISSING, tree]),
        "grep, an expression of no file": ([*WCLAYER, "grep", _EXPRESSION, layer], ["grep", "-rE", _EXPRESSION, tree]),
    }  # fmt: skip


def print_table(folder: Path, runs: int) -> None:
    """Prints a row for each job: medians of our and of GNU's seconds, their ratio, and our peak memory."""
    print(f"{'':<34} {'wclayer':>9} {'GNU':>9} {'ratio':>7} {'memory':>9}")
    for name, (ours, gnu) in _commands(folder).items():
        measured = [(measure(ours, statuses=_FOUND), measure(gnu, statuses=_FOUND)) for _ in range(runs)]
        our, their = (statistics.median(pair[side][0] for pair in measured) for side in (0, 1))
        memory = max(pair[0][1] for pair in measured) / 1024
        print(f"{name:<34} {our:8.2f}s {their:8.2f}s {our / their:6.1f}x {memory:6.0f}MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the files are made; by default, a temporary folder")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        make_files(Path(place), arguments.files)
        print_table(Path(place), arguments.runs)


if __name__ == "__main__":
    main()
