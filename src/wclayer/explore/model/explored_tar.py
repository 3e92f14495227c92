"""The tar of a layer as it is explored: read in place, and never unpacked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from wclayer._types import StrPath
from wclayer.errors import during
from wclayer.explore.model.details import Fact, heading, line
from wclayer.explore.model.explored import ChainSession, Explorable, ShownLayer, View, ViewKind
from wclayer.explore.model.files import FileItem, windows_path
from wclayer.explore.model.inventory import inventory_outline
from wclayer.explore.model.outline import OutlineItem, facts_outline
from wclayer.explore.model.security import Accounts
from wclayer.explore.model.tree_source import TreeSource
from wclayer.explore.model.waste import waste_outline
from wclayer.formats.compression import Compression
from wclayer.layers.directory import LayerDirectory
from wclayer.layers.indexed_tar.index import TarIndex
from wclayer.layers.indexed_tar.layer import IndexedTarLayer, index_tar
from wclayer.layers.progress import ProgressCallback
from wclayer.view.registry import LayerHives
from wclayer.view.transfer import CopySource
from wclayer.win32.shown import count_text, size_text

_MOST_REMOVED = 500
"""Names that the layer removes, and that are listed."""
_PARENTS = "those below are not known: `wclayer import -l PARENT` makes a layer of it that is shown over them"


class ExploredTar(Explorable):
    """The tar of a layer (plain, gzip or zstd), without the layers below it.

    Args:
        path: the tar, which is read once at the beginning.
        progress: called from time to time while it is read.

    Raises:
        PathNotFoundError, AccessDeniedError: the file does not exist, or the user may not read it.
        InvalidDataError: it is no tar of a layer, or damaged.
        LimitExceededError: it is larger than a limit.
    """

    view_kinds = (ViewKind.LAYER,)
    follows_layer = False
    list_title = "Layer"

    @during("explore")
    def __init__(self, path: StrPath, progress: ProgressCallback | None = None) -> None:
        self.name = os.fspath(path)
        self._index = index_tar(path, progress=progress)
        try:
            with IndexedTarLayer(self._index) as layer:
                self.summary = tuple(_summary(self._index, layer))
        except BaseException:
            self.close()
            raise
        self.layers = (
            ShownLayer(
                number=1, created_by="", created="", comment="", digest="", diff_id=self._index.diff_id, is_base=True,
                size=self._index.size, stored=self._index.stored_size, path=str(self._index.path),
            ),
        )  # fmt: skip

    @property
    def first_view(self) -> View:
        return View(1)

    def inventory(self, progress: ProgressCallback) -> Sequence[OutlineItem]:
        # Loaded when it is asked for, so that the first screen does not wait for it.
        from wclayer.inventory.collecting import inventory_of_layer

        with IndexedTarLayer(self._index) as layer:
            return inventory_outline(inventory_of_layer(layer, self.name, progress=progress))

    def documents(self) -> Sequence[OutlineItem]:
        return facts_outline(self.summary, "Layer")

    def waste(self, progress: ProgressCallback) -> Sequence[OutlineItem]:
        from wclayer.survey.api import survey_image

        return waste_outline(survey_image(self._index.folder, progress=progress))

    def session(self) -> TarSession:
        return TarSession(self._index)

    def close(self) -> None:
        self._index.close()


class TarSession(ChainSession):
    """The open tar.

    Args:
        index: its index.
    """

    def __init__(self, index: TarIndex) -> None:
        self._index = index
        with ExitStack() as stack:
            self.layers: list[LayerDirectory] = [stack.enter_context(IndexedTarLayer(index))]
            self._held = stack.pop_all()
        self.accounts = Accounts(LayerHives(self.layers).find)

    @contextmanager
    def source(self, view: View, item: FileItem, left_out: Callable[[str, str], None]) -> Iterator[CopySource]:
        yield TreeSource(str(self._index.path), [self._index.path], self.files(view), left_out)


def _summary(index: TarIndex, layer: IndexedTarLayer) -> Iterator[Fact]:
    what = "" if index.compression is Compression.NONE else f", {index.compression.value}"
    yield Fact(f"tar of a layer{what}", "format")
    yield Fact(f"{size_text(index.size)} ({index.size:,} bytes)", "tar")
    if index.compression is not Compression.NONE:
        yield Fact(f"{size_text(index.stored_size)} ({index.stored_size:,} bytes)", "file size")
    yield Fact(index.diff_id, "diffID")
    yield Fact(str(index.path), "file")
    removed, count = [], 0
    for count, tombstone in enumerate(layer.tombstones(), 1):
        if count <= _MOST_REMOVED:
            removed.append(line(windows_path(tombstone.path)))
    if removed:
        yield heading(f"It removes {count_text(count, 'name')} of layers below")
        yield from removed
        if count > _MOST_REMOVED:
            yield line(f"and {count - _MOST_REMOVED:,} more")
    if layer.has_links_elsewhere():
        yield heading("Layers below")
        yield line(f"some files are further names of files of other layers; {_PARENTS}")
