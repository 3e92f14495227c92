"""Which files of a layer its facts keep something of: those that the collectors of an inventory say they read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from itertools import chain
from typing import Any, BinaryIO

from wclayer.errors import FormatError, FormatLimitError
from wclayer.inventory.collecting import COLLECTORS, FILE_COLLECTORS
from wclayer.inventory.collectors import pe_files
from wclayer.inventory.collectors.file_collector import Dispatch, folded
from wclayer.inventory.subject import registry
from wclayer.inventory.subject.readings import (
    MAX_RECORD,
    JsonObject,
    KnownFiles,
    Reader,
    problem_record,
    reading_of,
    record_of,
)
from wclayer.model import limits_in_use
from wclayer.win32.names import path_key

CONTENTS = "contents"
"""Stands for the contents themselves among the names of readers."""
KNOWN_FILES = (*registry.READS, *chain.from_iterable(collector.reads for collector in COLLECTORS))
"""All files at known places that are read."""

_ROOT = path_key("Files/")
_BELOW = "/**"


def _readers() -> Iterator[Reader[Any]]:
    for collector in FILE_COLLECTORS:
        yield from collector.readers
    for files in KNOWN_FILES:
        if files.reader is not None:
            yield files.reader


def _record(reader: Reader[Any], opened: BinaryIO, size: int) -> JsonObject:
    record = record_of(reader, opened, size)
    if len(json.dumps(record)) > MAX_RECORD:
        return problem_record(FormatLimitError(f"more is found in it than the {MAX_RECORD >> 20} MiB that facts keep"))
    return record


READERS: Mapping[str, Callable[[BinaryIO, int], JsonObject]] = {
    reader.name: partial(_record, reader) for reader in _readers()
}
"""What makes the record of a reading, by the name of the reader, of an open file and its size in bytes. A damaged file
has a record, too."""
_DISPATCH = Dispatch(FILE_COLLECTORS, beside=True)


def wanted(key: str, size: int) -> tuple[str, ...]:
    """Returns what facts keep of a file: names of `READERS`, and `CONTENTS`; () for nothing.

    Args:
        key: the path of the file in its layer, as a path key.
        size: its size in bytes.
    """
    if not key.startswith(_ROOT):
        return ()
    path = key[len(_ROOT) :]
    found = [_wanted_of_known(files, size) for files in _known_files(path)]
    name = path.rpartition("/")[2]
    for collector in _DISPATCH.asked_for(name):
        reader = collector.reader(folded(path), size)
        if reader is not None:
            found.append(reader.name)
    return tuple(dict.fromkeys(filter(None, found)))


def is_looked_at(name: str, record: Mapping[str, Any]) -> bool:
    """Returns whether an inventory without PE files looks at a file: it holds packages, or is damaged.

    Args:
        name: the name of a reader.
        record: what `READERS` returned for the file.
    """
    if name != pe_files.READER.name:
        return True
    try:
        reading = reading_of(pe_files.READER, record)
    except FormatError:
        return True
    contents = None if reading is None else reading["pe"]
    return contents is not None and bool(contents["packages"] or contents["problems"])


def _wanted_of_known(files: KnownFiles, size: int) -> str:
    if files.reader is not None:
        return files.reader.name
    most = limits_in_use().hive_size if files.most is None else files.most
    return CONTENTS if size <= most else ""


def _known_files(path: str) -> Iterator[KnownFiles]:
    """Yields those of the files at known places of which a path, as a path key, is one."""
    found = _known_places().fullmatch(path)
    if found is not None:
        # One path has the form of one of them at most.
        assert found.lastindex is not None
        yield KNOWN_FILES[found.lastindex - 1]


@cache
def _known_places() -> re.Pattern[str]:
    """Returns what matches the path of a file at a known place. The number of its group is that of the place."""
    return re.compile("|".join(f"({_expression(files.pattern)})" for files in KNOWN_FILES), re.DOTALL)


def _expression(pattern: str) -> str:
    expression = re.escape(path_key(pattern.removesuffix(_BELOW))).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return expression + "/.*" if pattern.endswith(_BELOW) else expression
