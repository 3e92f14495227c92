"""What readers share that walk a folder of the host."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

from wclayer.errors import InvalidDataError, from_os_error
from wclayer.host.root import HostRoot
from wclayer.layers.base import LayerReaderBase
from wclayer.layers.tree import LayerTree
from wclayer.model import Entry, Limits


class HostWalkReader(LayerReaderBase):
    """A `LayerReader` over the folder `path`, whose entries one generator finds; each is checked as it comes."""

    def __init__(self, path: Path, *, is_base: bool, limits: Limits | None = None) -> None:
        super().__init__(str(path))
        self.path = path
        self._tree = LayerTree(self.operation, self.source, is_base=is_base, limits=limits)
        self._host = HostRoot(path)
        self._walk = self._walk_all()

    @abstractmethod
    def _walk_all(self) -> Iterator[Entry]:
        """Every entry in order; an `OSError` is one of the host, a `UnicodeDecodeError` one of a name there."""

    def _advance(self) -> Entry | None:
        try:
            entry = next(self._walk, None)
        except OSError as error:
            raise from_os_error(self.operation, self.path, error) from error
        except UnicodeDecodeError as error:
            raise InvalidDataError(self.operation, self.path, f"the name {error.object!r} is not UTF-8") from None
        if entry is not None:
            self._tree.add(entry)
        return entry

    def _release(self) -> None:
        self._host.close()
