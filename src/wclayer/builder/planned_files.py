"""`PlannedFiles`: the files of a stage at one of its instructions, as far as they are known before anything is built.

They are those of the image that the stage begins with, those that COPY takes from the context, and the directories of
WORKDIR. Where another instruction may have changed something, nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from wclayer.builder.commands.known_files import FileKind
from wclayer.builder.files.context import BuildContext, ContextItem, ContextSource, Kind
from wclayer.builder.files.copying import Target, TextSource
from wclayer.errors import LayerError, PathNotFoundError
from wclayer.images.store import ImageStore
from wclayer.view.layer_view import LayerView
from wclayer.win32.names import path_key, split_path

_Key = tuple[str, ...]
"""The names of a path below `C:`, as they compare."""


@dataclass(frozen=True)
class _Entry:
    """What COPY puts at a path. The kind is None for a link."""

    kind: FileKind | None
    read: Callable[[int], bytes | None] | None = None


@dataclass(frozen=True)
class _Change:
    """What an instruction has made.

    Attributes:
        place: the directory or file that it makes, with the directories above it.
        is_certain: whether nothing below the place has changed but `entries`.
        entries: yields what it makes, with paths.
    """

    place: _Key
    is_certain: bool = False
    entries: Callable[[], Iterator[tuple[str, _Entry]]] = field(default=lambda: iter(()))

    @cached_property
    def _known(self) -> Mapping[_Key, _Entry]:
        return {_key(path): entry for path, entry in self.entries()}

    def find(self, key: _Key) -> _Entry | None:
        """Returns what the instruction has made of a path; None if it leaves it as it was."""
        if key in self._known:
            return self._known[key]
        if any(self._is_no_directory(key[:count]) for count in range(1, len(key))):
            return _UNKNOWN
        if key == self.place[: len(key)] and (self.is_certain or len(key) < len(self.place)):
            return _Entry(FileKind.DIRECTORY)
        if key[: len(self.place)] == self.place and not self.is_certain:
            return _UNKNOWN
        return None

    def _is_no_directory(self, key: _Key) -> bool:
        entry = self._known.get(key)
        return entry is not None and entry.kind is not FileKind.DIRECTORY


_UNKNOWN = _Entry(None)


class PlannedFiles:
    """See the module. An object does not change: each instruction makes another one.

    Args:
        store: the store, which has the layers.
        chain_ids: the layers that the stage begins with, base layer first.
    """

    def __init__(self, store: ImageStore, chain_ids: Sequence[str], changes: tuple[_Change, ...] = ()) -> None:
        self._store = store
        self._chain_ids = chain_ids
        self._changes = changes

    def kind(self, path: str) -> FileKind | None:
        """See `KnownFiles`."""
        with self._view() as view:
            return self._find(view, path).kind

    def read(self, path: str, most: int) -> bytes | None:
        """See `KnownFiles`."""
        with self._view() as view:
            found = self._find(view, path)
            return found.read(most) if found.read is not None and found.kind is FileKind.FILE else None

    def changed(self, path: str) -> PlannedFiles:
        """Returns what is known after an instruction that may have changed anything at a path or below it."""
        return self._with(_Change(_key(path)))

    def unknown(self) -> PlannedFiles:
        """Returns what is known after an instruction that may have changed any file."""
        return self._with(_Change(()))

    def with_directory(self, path: str) -> PlannedFiles:
        """Returns what is known after an instruction that has made a directory, if it did not exist."""
        return self._with(_Change(_key(path), is_certain=True))

    def with_copies(
        self, context: BuildContext, sources: Sequence[ContextSource], texts: Sequence[TextSource], target: Target
    ) -> PlannedFiles:
        """Returns what is known after COPY from the context."""
        is_directory = target.is_directory or any(source.is_directory for source in sources)
        if not is_directory:
            found = self.kind(target.path)
            if found is None:
                return self.changed(target.path)
            is_directory = found is FileKind.DIRECTORY
        place = target.path if is_directory else target.path.rpartition("/")[0]

        def entries() -> Iterator[tuple[str, _Entry]]:
            for source in sources:
                for item in source.items:
                    path = item.below if source.is_directory else source.name
                    if path:
                        yield (target.below(path) if is_directory else target.path), _of_context(context, item)
            for text in texts:
                yield (target.below(text.name) if is_directory else target.path), _of_data(text.data)

        return self._with(_Change(_key(place), True, entries))

    def _with(self, change: _Change) -> PlannedFiles:
        return PlannedFiles(self._store, self._chain_ids, (*self._changes, change))

    @contextmanager
    def _view(self) -> Iterator[LayerView | None]:
        """Opens what the stage begins with; None if it has no layers."""
        with ExitStack() as stack:
            view = None
            if self._chain_ids:
                layers = stack.enter_context(self._store.hold_layers(self._chain_ids))
                view = stack.enter_context(LayerView(layers[::-1]))
            yield view

    def _find(self, view: LayerView | None, path: str) -> _Entry:
        key = _key(path)
        # A name may also be the short name of a file that is made during the build.
        if any("~" in name for name in key):
            return _UNKNOWN
        is_everything_open = any(not change.place and not change.is_certain for change in self._changes)
        for number, change in enumerate(reversed(self._changes)):
            if number and is_everything_open:
                # Links that a command has made may lead from one place to another.
                return _UNKNOWN
            if _passes_link(view, change.place):
                # Nobody knows what was changed.
                return _UNKNOWN
            if (entry := change.find(key)) is not None:
                return entry
        return _of_view(view, key)


def _key(path: str) -> _Key:
    return tuple(path_key(part) for part in split_path(path.replace("\\", "/")[2:]))


def _passes_link(view: LayerView | None, key: _Key) -> bool:
    """Returns whether a link is on the way to a path, or short names may be."""
    if any("~" in name for name in key):
        return True
    if view is None:
        return False
    for count in range(1, len(key) + 1):
        try:
            if view.stat(f"C:/{'/'.join(key[:count])}", follow=False).is_link:
                return True
        except PathNotFoundError:
            return False
    return False


def _of_view(view: LayerView | None, key: _Key) -> _Entry:
    """Returns what an image has at a path."""
    if view is None:
        return _Entry(FileKind.DIRECTORY if not key else FileKind.ABSENT)
    if _passes_link(view, key):
        return _UNKNOWN
    path = f"C:/{'/'.join(key)}"
    try:
        status = view.stat(path)
    except PathNotFoundError:
        return _Entry(FileKind.ABSENT)
    except LayerError:
        return _UNKNOWN
    if status.is_directory:
        return _Entry(FileKind.DIRECTORY)
    return _Entry(FileKind.FILE, lambda most: view.read_bytes(path) if status.size <= most else None)


def _of_context(context: BuildContext, item: ContextItem) -> _Entry:
    """Returns what COPY makes of an item of the context."""
    if item.kind is Kind.DIRECTORY:
        return _Entry(FileKind.DIRECTORY)
    if item.kind is Kind.LINK:
        return _UNKNOWN

    def read(most: int) -> bytes | None:
        if item.size > most:
            return None
        with context.open(item) as file:
            return file.read(most)

    return _Entry(FileKind.FILE, read)


def _of_data(data: bytes) -> _Entry:
    return _Entry(FileKind.FILE, lambda most: data if len(data) <= most else None)
