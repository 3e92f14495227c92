"""`OpenIterator`: the items that are read from an open file or layer."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Generic, Self, TypeVar

from wclayer.errors import during

_Source = TypeVar("_Source")
_Item = TypeVar("_Item")


class OpenIterator(Iterator[_Item], Generic[_Item]):
    """Iterates over items that are read from a source, which is open from the start.

    The source is closed after the last item, by `close`, at the end of a `with` block, or when the iterator is
    abandoned.
    """

    def __init__(
        self,
        boundary: during,
        open_source: Callable[[], AbstractContextManager[_Source]],
        read: Callable[[_Source], Generator[_Item, None, None]],
    ) -> None:
        self._stack = ExitStack()
        self._boundary = boundary
        with boundary, ExitStack() as stack:
            self._items = read(stack.enter_context(open_source()))
            stack.callback(self._items.close)
            self._stack = stack.pop_all()

    def __next__(self) -> _Item:
        try:
            with self._boundary:
                return next(self._items)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the source; there are no more items."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
