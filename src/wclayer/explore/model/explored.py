"""What is explored: an image, a layer over its parents, a scratch or a disk, with its layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from wclayer.errors import during
from wclayer.explore.model.chain_files import ChainFiles
from wclayer.explore.model.details import Fact
from wclayer.explore.model.documents import documents_outline
from wclayer.explore.model.files import FileItem, FileTree
from wclayer.explore.model.marks import Mark
from wclayer.explore.model.outline import OutlineItem
from wclayer.explore.model.registry import RegistryTree
from wclayer.explore.model.security import Accounts
from wclayer.images.config import ImageConfig
from wclayer.images.history import history_steps
from wclayer.images.manifest import Manifest
from wclayer.inventory.subject.layers import subject_layers
from wclayer.layers.directory import LayerDirectory, open_layer
from wclayer.view.registry import LayerHives

if TYPE_CHECKING:
    from wclayer.images.opening import ImageLayers
    from wclayer.layers.progress import ProgressCallback
    from wclayer.view.transfer import CopySource


class ViewKind(Enum):
    """What the marks tell."""

    LAYER = "changes of the layer"
    ALL = "changes since the base layer"
    COMPARED = "changes from the first to the second"


@dataclass(frozen=True, slots=True)
class View:
    """What of the layers is shown.

    Attributes:
        layer: the number of the nearest layer that is shown, 1 for the base layer.
        kind: what the marks tell.
        times: whether an entry with other times counts as changed.
    """

    layer: int
    kind: ViewKind = ViewKind.LAYER
    times: bool = True


@dataclass(frozen=True, slots=True)
class ShownLayer:
    """A layer in the list at the left.

    Attributes:
        number: its position from the base layer, which is 1.
        created_by: the step of the history that made it; "" if that is unknown.
        created: when, as the configuration writes it; "" if that is unknown.
        comment: what the history says about it.
        digest: the digest of its blob; "" if it is no layer of an image.
        diff_id: the digest of its tar; "" if it is no layer of an image.
        is_base: True if it belongs to the base image.
        size: the bytes of its tar; None if it was not made from one.
        stored: the bytes of its blob; None if it is no layer of an image.
        path: the layer directory, or the disk file.
        mark: of two that are compared, whether the layer is in both, only in the first one (removed), or only in the
            second one (added); changed if it is in both with another blob or in another order.
        owner: of two that are compared, in which the layer is; "" otherwise.
    """

    number: int
    created_by: str
    created: str
    comment: str
    digest: str
    diff_id: str
    is_base: bool
    size: int | None
    stored: int | None
    path: str
    mark: Mark = Mark.SAME
    owner: str = ""


class Session(ABC):
    """What one thread reads from, a context manager."""

    @abstractmethod
    def files(self, view: View) -> FileTree:
        """Returns the files of a view. They can be read until the session ends."""

    @abstractmethod
    def registry(self, view: View) -> RegistryTree:
        """Returns the registry of a view. It can be read until the session ends.

        Raises:
            InvalidDataError: a hive is damaged.
        """

    @abstractmethod
    def source(
        self, view: View, item: FileItem, left_out: Callable[[str, str], None]
    ) -> AbstractContextManager[CopySource]:
        """Returns a context manager that opens what an item is copied from. Its paths are those of the items.

        Args:
            view: the view that has the item.
            item: the item.
            left_out: called with the path of what cannot be read, and the reason.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes the layers or the disk."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class Explorable(ABC):
    """What the explorer can show: one subject, or two that are compared.

    Attributes:
        name: what the user calls it.
        layers: its layers, base layer first.
        view_kinds: what its marks can tell; empty if nothing has a mark.
        follows_layer: whether the trees show the layers up to the chosen one.
        list_title: the title of the list of layers, or of what is in its place.
        summary: what is known of the whole, in the place of a list of layers; empty if there are layers to choose from.
        remark: what the user should know at once; "" for nothing.
    """

    name: str
    layers: tuple[ShownLayer, ...]
    view_kinds: Sequence[ViewKind] = (ViewKind.LAYER, ViewKind.ALL)
    follows_layer: bool = True
    list_title: str = "Layers"
    summary: Sequence[Fact] = ()
    remark: str = ""

    @property
    @abstractmethod
    def first_view(self) -> View:
        """What is shown first."""

    def view_text(self, view: View) -> str:
        """Returns what a view shows, in words; "" if that need not be said."""
        count = len(self.layers)
        if count < 2:
            return ""
        kind = view.kind.value if view.layer > 1 else "base layer"
        return f"layer {view.layer} of {count}: {kind}{'' if view.times else ', without times'}"

    @abstractmethod
    def inventory(self, progress: ProgressCallback) -> Sequence[OutlineItem]:
        """Returns what it holds, or how the two differ in that, as an outline.

        Args:
            progress: called for each file that was looked at.

        Raises:
            LayerError: see `take_inventory` of the package.
        """

    @abstractmethod
    def documents(self) -> Sequence[OutlineItem]:
        """Returns what the documents of the image say, or how those of the two differ, as an outline."""

    @abstractmethod
    def waste(self, progress: ProgressCallback) -> Sequence[OutlineItem]:
        """Returns what takes space, and what of it is wasted or shared, as an outline.

        Args:
            progress: called for each directory that was looked at.

        Raises:
            LayerError: the layer or the disk is damaged, or the host refuses to read it.
        """

    def close(self) -> None:  # noqa: B027 (only a tar has something to remove)
        """Removes what was made to show it, after all sessions have ended."""

    @abstractmethod
    def session(self) -> Session:
        """Opens what is read.

        Raises:
            PathNotFoundError, NotALayerError, CorruptLayerError: a layer cannot be opened.
        """


class ExploredChain(Explorable):
    """A chain of layers: an image, or a layer over its parents.

    Args:
        name: what the user calls it.
        paths: the layer directories, nearest first.
        image: the image, if it is one; the caller closes it.

    Attributes:
        paths: the layer directories, nearest first.
        image: the image; None if it is none.
        manifest, config: the documents of the image; None if it is none.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: a layer cannot be opened.
    """

    @during("explore")
    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        image: ImageLayers | None = None,
    ) -> None:
        self.name = name
        self.manifest = None if image is None else image.manifest
        self.config = None if image is None else image.config
        self.paths = tuple(paths)
        self.image = image
        with self.session() as session:
            self.layers = _shown_layers(session.layers, self.manifest, self.config)

    # What not every user asks for is loaded when it is asked for, so that the first screen does not wait for it.

    def inventory(self, progress: ProgressCallback) -> Sequence[OutlineItem]:
        from wclayer.explore.model.inventory import inventory_outline
        from wclayer.inventory.collecting import take_inventory

        return inventory_outline(take_inventory(self.image or self.paths[0], progress=progress))

    def documents(self) -> Sequence[OutlineItem]:
        return documents_outline(self.config, self.manifest)

    def waste(self, progress: ProgressCallback) -> Sequence[OutlineItem]:
        from wclayer.explore.model.waste import waste_outline
        from wclayer.survey.api import survey_image

        return waste_outline(survey_image(self.image or self.paths[0], progress=progress))

    @property
    def first_view(self) -> View:
        return View(len(self.paths))

    def session(self) -> ChainSession:
        return ChainSession(self.paths)


class ChainSession(Session):
    """The open layers of a chain.

    Args:
        paths: the layer directories, nearest first.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        with ExitStack() as stack:
            self.layers = [stack.enter_context(open_layer(path)) for path in paths]
            self._held = stack.pop_all()
        self.accounts = Accounts(LayerHives(self.layers).find)

    def above_and_below(self, view: View) -> tuple[list[LayerDirectory], list[LayerDirectory]]:
        """Returns the layers that a view shows, and those that it compares them with, each nearest first."""
        first = len(self.layers) - view.layer
        after = self.layers[first:]
        if view.kind is ViewKind.LAYER or view.layer == 1:
            return after, after[1:]
        return after, after[-1:]

    def files(self, view: View) -> FileTree:
        after, before = self.above_and_below(view)
        return ChainFiles(after, before, times=view.times, accounts=self.accounts)

    def registry(self, view: View) -> RegistryTree:
        after, before = self.above_and_below(view)
        hives_before = LayerHives(before) if before else None
        return RegistryTree(LayerHives(after), hives_before, after, accounts=self.accounts)

    @contextmanager
    def source(self, view: View, item: FileItem, left_out: Callable[[str, str], None]) -> Iterator[CopySource]:
        from wclayer.view.layer_view import LayerView
        from wclayer.view.transfer import ViewSource

        after, before = self.above_and_below(view)
        layers = before if item.mark is Mark.REMOVED else after
        with LayerView([layer.path for layer in layers]) as opened:
            yield ViewSource(opened)

    def close(self) -> None:
        self._held.close()


def _shown_layers(
    opened: Sequence[LayerDirectory], manifest: Manifest | None, config: ImageConfig | None
) -> tuple[ShownLayer, ...]:
    steps = {} if config is None else {step.layer: step.entry for step in history_steps(config)}
    below_first = opened[::-1]
    found = []
    for index, described in enumerate(subject_layers([layer.path for layer in below_first], manifest, config)):
        layer, step = below_first[index], steps.get(index)
        found.append(
            ShownLayer(
                number=described.number,
                created_by=described.created_by,
                created="" if step is None else step.created,
                comment="" if step is None else step.comment,
                digest=described.digest,
                diff_id=described.diff_id or layer.text("diff_id") or "",
                is_base=described.is_base,
                size=layer.number("size"),
                stored=layer.number("stored_size") if manifest is None else manifest.layers[index].size,
                path=described.path,
            )
        )
    return tuple(found)
