"""Two images, or two layers over their parents, that are compared."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wclayer.comparison.history import paired
from wclayer.explore.model.chain_files import ChainFiles
from wclayer.explore.model.differences import documents_differences, inventory_differences
from wclayer.explore.model.documents import documents_outline
from wclayer.explore.model.explored import (
    ChainSession,
    Explorable,
    ExploredChain,
    ShownLayer,
    View,
    ViewKind,
)
from wclayer.explore.model.marks import Mark
from wclayer.explore.model.outline import OutlineItem, warning_item
from wclayer.explore.model.reading import TreeReading
from wclayer.explore.model.registry import RegistryTree
from wclayer.explore.model.security import Accounts
from wclayer.explore.model.sharing import compare_contents, sharing_outline
from wclayer.layers.directory import LayerDirectory, open_layer
from wclayer.layers.progress import Progress, report
from wclayer.view.registry import LayerHives

if TYPE_CHECKING:
    from wclayer.layers.progress import ProgressCallback

_SAME = "nothing differs: both have the same layers"


class ExploredPair(Explorable):
    """Two chains that are compared. What the second one has more is added, what it lacks is removed.

    Args:
        a, b: the first and the second chain.
    """

    view_kinds = (ViewKind.COMPARED,)
    follows_layer = False

    def __init__(self, a: ExploredChain, b: ExploredChain) -> None:
        self.a = a
        self.b = b
        self.name = f"{a.name} → {b.name}"
        self._paths_a = a.paths
        # The same layer may have been named in two ways.
        spelled = {os.path.realpath(path): path for path in a.paths}
        self._paths_b = tuple(spelled.get(os.path.realpath(path), path) for path in b.paths)
        self.layers = tuple(_layers_of_both(a, b))
        self.remark = "; ".join(self._remarks())

    @property
    def has_same_layers(self) -> bool:
        """Whether both have the same layers, and therefore the same files and the same registry."""
        return self._paths_a == self._paths_b

    def _remarks(self) -> Iterator[str]:
        a, b = self.a, self.b
        if self.has_same_layers:
            yield _SAME
        if a.config is not None and b.config is not None:
            if a.config.platform != b.config.platform:
                yield f"{a.name} is for {a.config.platform}, {b.name} for {b.config.platform}"
        elif a.config is not None or b.config is not None:
            layer = a if a.config is None else b
            yield f"{layer.name} is a layer, not an image: documents are not compared"

    @property
    def first_view(self) -> View:
        return View(len(self._paths_b), ViewKind.COMPARED)

    def view_text(self, view: View) -> str:
        return f"{view.kind.value}{'' if view.times else ', without times'}"

    def session(self) -> PairSession:
        return PairSession(self._paths_a, self._paths_b)

    def _tree(self, session: PairSession) -> ChainFiles:
        return session.files(self.first_view)

    def inventory(self, progress: ProgressCallback) -> Sequence[OutlineItem]:
        if self.has_same_layers:
            return [OutlineItem(_SAME)]
        # Loaded when it is asked for, so that the first screen does not wait for it.
        from wclayer.comparison.inventory_diff import diff_contents

        a, b = (each.image or each.paths[0] for each in (self.a, self.b))
        paths, remark = self._changed_paths(progress)
        outline = inventory_differences(diff_contents(a, b, paths, progress))
        return [warning_item(remark), *outline] if remark else outline

    def _changed_paths(self, progress: ProgressCallback) -> tuple[list[str], str]:
        """Returns the paths of the files that differ, and what could not be read."""
        state = Progress()
        found = []
        with self.session() as session:
            reading = TreeReading(self._tree(session))
            for item in reading.walk(only_different=True):
                state.entries += 1
                report(state, progress)
                if item.mark is not Mark.SAME and not item.is_directory:
                    found.append(item.path)
        return found, reading.remark

    def documents(self) -> Sequence[OutlineItem]:
        from wclayer.comparison.image_diff import document_difference

        a, b = self.a.image, self.b.image
        differences = None if a is None or b is None else document_difference(a, b, times=True)
        found = documents_differences(differences)
        images = [each for each in (self.a, self.b) if each.config is not None]
        return [
            *found,
            *(OutlineItem(each.name, children=documents_outline(each.config, each.manifest)) for each in images),
        ]

    def waste(self, progress: ProgressCallback) -> Sequence[OutlineItem]:
        with self.session() as session:
            return sharing_outline(
                compare_contents(self._tree(session), progress), self.layers, (self.a.name, self.b.name)
            )


class PairSession(ChainSession):
    """The open layers of two chains; a layer that both have is opened once.

    Args:
        before: the layer directories of the first chain, nearest first.
        after: those of the second one.
    """

    def __init__(self, before: Sequence[Path], after: Sequence[Path]) -> None:
        with ExitStack() as stack:
            opened = {path: stack.enter_context(open_layer(path)) for path in dict.fromkeys((*before, *after))}
            self.layers = [opened[path] for path in after]
            self._before = [opened[path] for path in before]
            self._held = stack.pop_all()
        self.accounts = Accounts(LayerHives(self.layers).find)
        self.accounts_before = Accounts(LayerHives(self._before).find)

    def above_and_below(self, view: View) -> tuple[list[LayerDirectory], list[LayerDirectory]]:
        return self.layers, self._before

    def files(self, view: View) -> ChainFiles:
        return ChainFiles(
            self.layers,
            self._before,
            times=view.times,
            directory_times=True,
            accounts=self.accounts,
            accounts_before=self.accounts_before,
        )

    def registry(self, view: View) -> RegistryTree:
        return RegistryTree(
            LayerHives(self.layers),
            LayerHives(self._before),
            self.layers,
            layers_before=self._before,
            times=view.times,
            accounts=self.accounts,
            accounts_before=self.accounts_before,
        )


def _layers_of_both(a: ExploredChain, b: ExploredChain) -> Iterator[ShownLayer]:
    """Yields the layers of two chains: those of the first one, then what the second one has more."""
    highest = 0
    for old, new in paired(*([_layer_key(layer) for layer in each.layers] for each in (a, b))):
        if new is None:
            assert old is not None
            yield replace(a.layers[old], mark=Mark.REMOVED, owner=f"{a.name} alone")
        elif old is None:
            yield replace(b.layers[new], mark=Mark.ADDED, owner=f"{b.name} alone")
        else:
            layer, other = a.layers[old], b.layers[new]
            # Only layers of images have digests of blobs.
            is_same = other.number > highest and (layer.digest == other.digest or not (layer.digest and other.digest))
            highest = max(highest, other.number)
            yield replace(
                layer,
                mark=Mark.SAME if is_same else Mark.CHANGED,
                owner=f"both: layer {layer.number} of {a.name}, layer {other.number} of {b.name}",
            )


def _layer_key(layer: ShownLayer) -> str:
    return layer.diff_id or os.path.realpath(layer.path)
