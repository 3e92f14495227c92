"""The registry hives of layer directories: the effective hive of a chain, and the `_Base` hives that keep it at hand.

A layer's effective hive is its nearest parent's with its own delta merged in; a base layer's is the one in its
`Files/Windows/System32/config`. docs/formats/layer-directory.md describes the files, docs/formats/registry.md the
merge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress

from wclayer.errors import InvalidDataError, PathNotFoundError, errors_at
from wclayer.formats.regf.delta import merge
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.hive import Buffer, Hive
from wclayer.formats.regf.model import Key, RegfError, RegfLimitError
from wclayer.formats.regf.recovery import recover
from wclayer.formats.regf.writer import hive_buffer, set_file_name, write_hive
from wclayer.host.root import HostRoot
from wclayer.layers.directory.database import EntryRow, Origin, host_name
from wclayer.layers.directory.folder import HIVE_PROBLEMS
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.records import DirectoryPlace, LayerRecords
from wclayer.layers.hives import LAYER_HIVES, LOG_SUFFIXES, MAX_LOG, LayerHive
from wclayer.model import limits_in_use
from wclayer.win32.attributes import DIRECTORY, FileAttributes
from wclayer.win32.names import path_key

_GROWTH, _SLACK = 2, 1 << 20
"""The size of a merged hive is limited to this multiple of the size of the hives it is made from, plus this number of
bytes: a hostile hive can refer to the same cell many times, and its merge would grow without bound."""


def effective_root(layers: Sequence[LayerDirectory], hive: LayerHive) -> Key | None:
    """Returns the root key of a hive as the first of `layers` (nearest first) sees it; None if no layer has the hive.

    Raises:
        InvalidDataError: a hive of the chain is damaged; the message names the file and the cell.
    """
    deltas: list[Key] = []
    root: Key | None = None
    for index, layer in enumerate(layers):
        found = open_hive(layer, hive.base)
        if found is None and index == len(layers) - 1:
            found = open_hive(layer, hive.config)
        if found is not None:
            root = _root(layer, hive, found)
            break
        delta = open_hive(layer, hive.delta)
        if delta is not None:
            deltas.append(_root(layer, hive, delta))
    for delta_root in reversed(deltas):
        root = merge(root, delta_root)
    return root


def effective_hive(layers: Sequence[LayerDirectory], hive: LayerHive) -> bytes | None:
    """Returns the file of a hive as the first of `layers` (nearest first) sees it; None if no layer has the hive.

    Raises:
        InvalidDataError: a hive of the chain is damaged.
        CorruptLayerError: a `_Base` that was made with a layer does not have the recorded SHA-256.
        LimitExceededError: the hive would be larger than the limit `hive_size`.
    """
    with errors_at(layers[0].path / hive.delta):
        made = _made_hive(layers, hive)
        if made is not None:
            return made
        root = effective_root(layers, hive)
        if root is None:
            return None
        return write_hive(root, file_name=hive.config_name, max_size=limits_in_use().hive_size)


def _made_hive(layers: Sequence[LayerDirectory], hive: LayerHive) -> bytes | None:
    """Returns what `write_hive` would make of the `_Base` of the nearest layer that changes a hive.

    Returns:
        None if that is the base layer, if the layer's `_Base` is not one that was made of its delta, or if the hive is
        larger than the limit.

    Raises:
        CorruptLayerError: the `_Base` does not have the recorded SHA-256.
    """
    for layer in layers[:-1]:
        row = layer.lookup(hive.base)
        if row is not None:
            if row.origin != Origin.MADE or not 0 < row.size <= limits_in_use().hive_size:
                return None
            data = bytearray()
            for chunk in layer.data_chunks(row):
                data += chunk
            set_file_name(data, hive.config_name)
            return bytes(data)
        delta = layer.lookup(hive.delta)
        if delta is not None and delta.size:
            return None
    return None


def open_hive(layer: LayerDirectory, path: str) -> Hive | None:
    """Returns the hive at a path of the layer, recovered from the logs beside it; None if it is missing or empty.

    Raises:
        InvalidDataError: the file is not an intact hive.
        PathNotFoundError, LayerBusyError: another process has removed or changed the layer.
    """
    row = layer.lookup(path)
    if row is None or row.attributes & DIRECTORY or not row.size:
        return None
    logs = []
    for suffix in LOG_SUFFIXES:
        log = layer.lookup(path + suffix)
        if log is not None and not log.attributes & DIRECTORY and 0 < log.size <= MAX_LOG:
            logs.append(layer.host_path(log))
    try:
        with errors_at(layer.path / path):
            return _open(layer.host, layer.host_path(row), logs)
    except PathNotFoundError as error:
        raise layer.changed(row) or error from error


def _open(host: HostRoot, path: bytes, logs: Sequence[bytes], max_size: int | None = None) -> Hive:
    # The map lives as long as the hive does.
    data = host.map(path)
    hive = Hive(data)
    if not hive.is_dirty:
        return hive
    if max_size is None:
        max_size = limits_in_use().hive_size
    return Hive(recover(data, [host.map(log) for log in logs], max_size=max_size))


def _root(layer: LayerDirectory, hive: LayerHive, found: Hive) -> Key:
    try:
        return found.root()
    except RegfError as error:
        raise InvalidDataError(layer.path, f"hive {hive.stem}: {error}") from None


def _sizes(layers: Sequence[LayerDirectory], hive: LayerHive) -> Iterator[int]:
    """Yields the sizes of the files that `effective_root` makes a hive of."""
    for index, layer in enumerate(layers):
        is_last = index == len(layers) - 1
        for path in (hive.base, hive.config) if is_last else (hive.base,):
            if (row := layer.lookup(path)) is not None and row.size:
                yield row.size
                return
        if (row := layer.lookup(hive.delta)) is not None:
            yield row.size


class BaseHiveMaker:
    """Makes the `_Base` hives of a layer whose files and rows are all in place.

    Args:
        max_size: the largest size in bytes of a hive that is assembled in memory (`Limits.hive_size`).
    """

    def __init__(
        self,
        records: LayerRecords,
        root: HostRoot,
        parents: Sequence[LayerDirectory],
        *,
        max_size: int | None = None,
    ) -> None:
        self._max_size = limits_in_use().hive_size if max_size is None else max_size
        self._records = records
        self._root = root
        self._parents = parents

    def make_all(self, hives: DirectoryPlace) -> None:
        """Makes the `_Base` hives in the directory `Hives`.

        A layer with a damaged hive is accepted: that hive gets no `_Base`, and the layer's records say why.
        """
        problems = []
        for hive in LAYER_HIVES:
            source_path = hive.delta if self._parents else hive.config
            source = self._file(source_path)
            if source is None or self._records.locate(path_key(hive.base)) is not None:
                continue
            try:
                data = self._effective(hive, *source)
            except RegfError as error:
                problems.append(f"{source_path}: {error}")
            except InvalidDataError as error:
                problems.append(f"{source_path}: {error.path}: {error.detail}")
            else:
                if data is not None:
                    self._add(hive, hives, source[1], data)
        if problems:
            self._records.record(HIVE_PROBLEMS, "\n".join(problems))

    def _file(self, path: str) -> tuple[DirectoryPlace, EntryRow] | None:
        directory_key, _, name = path_key(path).rpartition("/")
        directory = self._records.directory(directory_key)
        row = None if directory is None else self._records.child(directory.id, name)
        if directory is None or row is None or row.attributes & DIRECTORY or row.sha256 is None:
            return None
        return directory, row

    def _effective(self, hive: LayerHive, directory: DirectoryPlace, row: EntryRow) -> Buffer | None:
        """Returns the effective hive; None if the layer's own hive is an empty file that changes nothing."""
        path = directory.host_child(host_name(row))
        if not row.size:
            return None if self._parents else write_hive(empty_root(row.last_write_time), file_name=hive.config_name)
        if not self._parents:
            found = _open(self._root, path, self._logs(hive), self._max_size)
            found.root()
            return found.buffer
        delta = _open(self._root, path, ())
        merged = merge(effective_root(self._parents, hive), delta.root())
        if merged is None:
            raise RegfError("the root key is deleted")
        growth = (row.size + sum(_sizes(self._parents, hive))) * _GROWTH + _SLACK
        try:
            return hive_buffer(merged, file_name=hive.base, max_size=min(self._max_size, growth))
        except RegfLimitError:
            if growth > self._max_size:
                raise
            raise RegfError(
                f"merged, the hives would have more than {growth} bytes, {_GROWTH} times their own"
            ) from None

    def _logs(self, hive: LayerHive) -> list[bytes]:
        found = [self._file(hive.config + suffix) for suffix in LOG_SUFFIXES]
        return [log[0].host_child(host_name(log[1])) for log in found if log is not None and 0 < log[1].size <= MAX_LOG]

    def _add(self, hive: LayerHive, hives: DirectoryPlace, source: EntryRow, data: Buffer) -> None:
        name = hive.base.rpartition("/")[2]
        path = hives.host_child(name.encode())
        with suppress(FileNotFoundError):
            self._root.remove(path)
        self._root.write_bytes(path, data)
        self._records.add(made_row(self._records.new_id(), hives.id, name, source.last_write_time, data))


def made_row(entry_id: int, directory: int, name: str, time: int, data: Buffer) -> EntryRow:
    """Returns the row of a file that was made from the layer's entries and is not one of them."""
    attributes = int(FileAttributes.ARCHIVE)
    times = (time, time, time, time)
    digest = hashlib.sha256(data).digest()
    return EntryRow(entry_id, directory, name, path_key(name), attributes, *times, None, len(data), digest, Origin.MADE)
