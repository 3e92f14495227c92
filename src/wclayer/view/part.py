"""Reads neighbouring layers of a chain as one layer that shows the same over the layers below them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from wclayer._types import StrPath
from wclayer._walk import Walk
from wclayer.errors import InvalidParameterError, NotSupportedError, boundary, errors_at
from wclayer.formats.regf.composition import compose_all, has_needless_tombstones, without_needless_tombstones
from wclayer.formats.regf.model import Key
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.base import LayerReaderBase
from wclayer.layers.budget import Budget
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.database import Origin
from wclayer.layers.directory.hives import effective_hive, effective_root, open_hive
from wclayer.layers.hives import CONFIG, HIVES_ROOT, LAYER_HIVES, LOG_SUFFIXES, LayerHive
from wclayer.model import DataStream, Entry, limits_in_use
from wclayer.view.merged import MergedTree, Node
from wclayer.view.part_files import PartFiles
from wclayer.view.part_tombstones import PartTombstones
from wclayer.win32.attributes import FileAttributes
from wclayer.win32.inherit import inherit
from wclayer.win32.names import path_key
from wclayer.win32.security import SecurityDescriptor

_CONFIG_KEY = path_key(CONFIG)
_CONFIGS = {path_key(hive.config): hive for hive in LAYER_HIVES}
_DELTAS = {path_key(hive.delta): hive for hive in LAYER_HIVES}
_DELTA_LOGS = {path_key(hive.delta + suffix): hive for hive in LAYER_HIVES for suffix in LOG_SUFFIXES}
_GROWTH, _SLACK = 2, 1 << 20
"""The size of a composed delta is limited to this multiple of the sizes of the deltas, plus this number of bytes: a
hostile hive can refer to the same cell many times."""


@dataclass(slots=True)
class _Found:
    """An entry of the layer that is read, and what opens its data streams."""

    entry: Entry
    streams: Callable[[], Iterator[DataStream]]


@boundary
class ChainPartReader(LayerReaderBase):
    """A `LayerReader` that makes one layer of the nearest layers of a chain.

    Over the layers below, it shows what they show: files with all metadata, hard links, tombstones that hide something
    of the layers below, and the registry, whose deltas become one delta. A file that was linked to a file of a parent
    stays linked to it. Short names stay, because the names of a directory come in the order in which they were made.
    The headers that a tar writer gives the entries are canonical.

    If all layers of the chain become one, it is a base layer: without tombstones, with the effective hives in
    `Windows/System32/config`, and with the utility VM.

    Args:
        layers: the layer directories of the whole chain, nearest first.
        count: how many of them become one.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: a layer cannot be opened.
        InvalidParameterError: the chain does not have that many layers, or `count` is less than 1.
        NotSupportedError: a layer has hives in a form that cannot be put together.
    """

    operation = "read layers as one"

    def __init__(self, layers: Sequence[StrPath], count: int) -> None:
        if not 1 <= count <= len(layers):
            raise InvalidParameterError(
                layers[0] if layers else "", f"{count} layers of a chain of {len(layers)} cannot become one"
            )
        with ExitStack() as stack:
            self._layers = [stack.enter_context(open_layer(path)) for path in layers]
            self._count = count
            self._is_base = count == len(layers)
            super().__init__(str(self._layers[0].path))
            budget = Budget(self.source, limits_in_use())
            for layer in self._layers:
                layer.budget = budget
            self._parts = MergedTree(self._layers[:count])
            self._files = PartFiles(self._layers, self._parts, count)
            self._tombstones = PartTombstones(self._parts, None if self._is_base else MergedTree(self._layers[count:]))
            self._check_hives()
            self._held = stack.pop_all()
        self._current: _Found | None = None
        self._all = self._entries()

    def _check_hives(self) -> None:
        """Checks that the hives of the layers can be put together."""
        for layer in self._layers[: self._count - self._is_base]:
            for hive in LAYER_HIVES:
                row = layer.lookup(hive.base)
                if row is not None and row.origin == Origin.OWN:
                    raise NotSupportedError(
                        layer.path, f"the layer came with {hive.base}, which hides the changes of its parents"
                    )
        config = self._parts.lookup(CONFIG)
        if self._is_base and (config is None or not config.is_directory):
            for hive in LAYER_HIVES:
                if any(layer.lookup(hive.delta) is not None for layer in self._layers):
                    raise NotSupportedError(
                        self.source,
                        f"the layers change the registry ({hive.delta}), and there is no {CONFIG}, where a base layer"
                        " has it",
                    )

    def _advance(self) -> Entry | None:
        self._current = next(self._all, None)
        return None if self._current is None else self._current.entry

    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        assert self._current is not None
        return self._current.streams()

    def _release(self) -> None:
        self._all.close()
        self._held.close()

    def _entries(self) -> Generator[_Found, None, None]:
        for path in self._tombstones.of_missing_names():
            yield _tombstone(path)
        for node in self._walk("Files"):
            yield from self._of_files(node)
        for node in self._walk(HIVES_ROOT):
            yield from self._of_hives(node)
        for node in self._walk("UtilityVM"):
            if self._is_base or self._files.is_own_of_utility_vm(node):
                yield from self._of_name(node)

    def _walk(self, root: str) -> Iterator[Node]:
        """Yields a root directory and everything below it, the names of a directory in the order of their making."""
        top = self._parts.lookup(root)
        if top is None:
            return
        yield top
        walk = Walk(self._children(top), None)
        for _, node in walk:
            yield node
            if node.is_directory:
                walk.enter(self._children(node), None)

    def _children(self, node: Node) -> list[Node]:
        return sorted(self._parts.children(node), key=lambda child: (-child.layer, child.row.id))

    def _of_name(self, node: Node) -> Iterator[_Found]:
        """Yields the entry of a name, and before it the tombstone that it needs."""
        if self._tombstones.is_needed_beside(node):
            yield _tombstone(node.path)
        if node.row.origin in (Origin.OWN, Origin.CLONED):
            yield self._file(node)

    def _file(self, node: Node) -> _Found:
        entry = self._parts.entry(node)
        entry.name, entry.header_delta, entry.link_target = node.path, None, None
        if not node.is_directory and self._files.link(entry, node):
            return _Found(entry, _no_streams)
        return _Found(entry, partial(self._streams, node))

    def _streams(self, node: Node) -> Iterator[DataStream]:
        for stream in self._parts.streams(node):
            # It was the difference to another header.
            stream.header_delta = None
            yield stream

    def _with_data(self, node: Node, data: bytes) -> _Found:
        """Returns the entry of a file with other data."""
        entry = self._parts.entry(node)
        entry.name, entry.header_delta, entry.link_target, entry.size = node.path, None, None, len(data)

        def streams() -> Iterator[DataStream]:
            yield DataStream("", len(data), (data,))
            yield from (stream for stream in self._streams(node) if stream.name)

        return _Found(entry, streams)

    # The registry of a base layer.

    def _of_files(self, node: Node) -> Iterator[_Found]:
        hive = _CONFIGS.get(node.key) if self._is_base else None
        if hive is not None and not node.is_directory and self._is_changed(hive, node):
            data = effective_hive(self._layers, hive)
            if data is not None:
                yield self._with_data(node, data)
                return
        yield from self._of_name(node)
        if self._is_base and node.key == _CONFIG_KEY:
            yield from self._missing_hives(node)

    def _is_changed(self, hive: LayerHive, node: Node) -> bool:
        """Returns whether the effective hive may be another one than the file that the layers show."""
        *children, base = self._layers
        made = base.lookup(hive.base)
        return (
            node.layer < len(children)
            or (made is not None and made.origin == Origin.OWN)
            or any(layer.lookup(hive.delta) is not None for layer in children)
        )

    def _missing_hives(self, config: Node) -> Iterator[_Found]:
        """Yields the hives that only children of the base layer have."""
        for hive in LAYER_HIVES:
            if self._parts.child(config, hive.config_name) is not None:
                continue
            data = effective_hive(self._layers, hive)
            if data is None:
                continue
            times = next((row.info for layer in self._layers if (row := layer.lookup(hive.delta))), config.row.info)
            security = self._parts.security(config)
            if security is not None:
                security = inherit(SecurityDescriptor.decode(security), is_directory=False).encode()
            info = replace(times, attributes=int(FileAttributes.ARCHIVE))
            entry = Entry(f"{config.path}/{hive.config_name}", info, len(data), security)
            yield _Found(entry, partial(_one_stream, data))

    # The delta hives of a child.

    def _of_hives(self, node: Node) -> Iterator[_Found]:
        if node.row.origin == Origin.MADE:
            return
        delta, log = _DELTAS.get(node.key), _DELTA_LOGS.get(node.key)
        if self._is_base:
            if delta is None and log is None:
                yield from self._of_name(node)
        elif delta is not None and self._is_composed(delta):
            yield self._with_data(node, self._composed(delta))
        elif log is None or not self._is_composed(log):
            yield from self._of_name(node)

    def _deltas(self, hive: LayerHive) -> list[Key]:
        """Returns the roots of the deltas of a hive, the lowest first."""
        found: list[Key] = []
        for layer in reversed(self._layers[: self._count]):
            if (delta := open_hive(layer, hive.delta)) is not None:
                with errors_at(layer.path / hive.delta):
                    found.append(delta.root())
        return found

    def _is_composed(self, hive: LayerHive) -> bool:
        """Returns whether the delta of a hive is made anew: several layers have one, or one has needless tombstones."""
        deltas = self._deltas(hive)
        with errors_at(self._layers[0].path / hive.delta):
            return len(deltas) > 1 or any(has_needless_tombstones(delta, self._base_of(hive)) for delta in deltas)

    def _base_of(self, hive: LayerHive) -> Key | None:
        """Returns the root of what the layers below have of a hive."""
        return effective_root(self._layers[self._count :], hive)

    def _composed(self, hive: LayerHive) -> bytes:
        """Returns one delta that does what those of the layers do."""
        rows = (layer.lookup(hive.delta) for layer in self._layers[: self._count])
        size = sum(row.size for row in rows if row is not None)
        composed = compose_all(self._deltas(hive))
        assert composed is not None
        most = min(limits_in_use().hive_size, size * _GROWTH + _SLACK)
        with errors_at(self._layers[0].path / hive.delta):
            needed = without_needless_tombstones(composed, self._base_of(hive))
            return write_hive(needed, has_layered_keys=True, file_name=hive.delta, max_size=most)


def _tombstone(path: str) -> _Found:
    return _Found(Entry(path, None), _no_streams)


def _no_streams() -> Iterator[DataStream]:
    return iter(())


def _one_stream(data: bytes) -> Iterator[DataStream]:
    return iter((DataStream("", len(data), (data,)),))
