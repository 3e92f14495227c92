"""`ChainMemory`: what collectors found in the registry and at known places of chains, for images that share layers.

Most layers on top of a base image bring files that no collector of known places asks for. They are left out: what is
remembered belongs to the *reduced chain*, the layers that have hives, and those that would change an answer otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from wclayer.inventory.collecting import COLLECTORS, MAX_FOUND, weight_of
from wclayer.inventory.collectors.guarding import guarded
from wclayer.inventory.facts.files import FactsFiles
from wclayer.inventory.facts.layer import FactsLayer
from wclayer.inventory.facts.probes import (
    Probe,
    ProbedFiles,
    TooManyProbesError,
    changes_an_answer,
    mark_origins,
)
from wclayer.inventory.item import Finding, Item, SubjectLayer
from wclayer.inventory.subject.registry import SubjectRegistry
from wclayer.inventory.subject.subject import Subject
from wclayer.layers.cache import Cache
from wclayer.layers.hives import LAYER_HIVES
from wclayer.model import Limits, limits_in_use
from wclayer.view.merged import MergedTree
from wclayer.view.registry import LayerHives

_MAX_KNOWN, _MAX_ANSWERS = 192 << 20, 16 << 20
"""Bytes of what was found in all reduced chains, and of what is known of single layers."""
_PROBE = 300
"""About how many bytes a probe takes."""

Results = Sequence[Sequence[Item | Finding]]
"""What each of `COLLECTORS` found, in their order; nothing for those that use the configuration."""
_Key = tuple[Limits, tuple[str, ...]]


@dataclass(slots=True)
class _Known:
    """What was found in a reduced chain.

    Attributes:
        results: what was found. The layers of items have their numbers in the reduced chain.
        probes: what was asked of the files.
        labelled: the layers of the last image, and the results with those layers.
    """

    results: Results
    probes: Probe
    labelled: tuple[Sequence[SubjectLayer], Results] | None = None

    def of(self, layers: Sequence[SubjectLayer]) -> Results:
        """Returns the results with the layers of an image, base layer first."""
        if self.labelled is None or self.labelled[0] != layers:
            self.labelled = layers, [[_labelled(each, layers) for each in found] for found in self.results]
        return self.labelled[1]


@dataclass(frozen=True, slots=True)
class _Traits:
    """What is known of a layer."""

    has_hives: bool
    has_links_elsewhere: bool


class ChainMemory:
    """Remembers what was found, in a bounded memory. Several threads may use it."""

    def __init__(self) -> None:
        self._known: Cache[_Key, _Known] = Cache(_MAX_KNOWN)
        self._traits: Cache[str, _Traits] = Cache(_MAX_ANSWERS)
        self._changes: Cache[tuple[str, _Key], bool] = Cache(_MAX_ANSWERS)
        self._lock = threading.Lock()

    def find(self, layers: Sequence[FactsLayer], digests: Sequence[str], named: Sequence[SubjectLayer]) -> Results:
        """Returns what the collectors find in a chain that do not use the configuration.

        Args:
            layers: the facts of the layers, base layer first.
            digests: the digests of their blobs.
            named: the layers as the image has them.

        Raises:
            CorruptLayerError: a layer has a further name of a file that no layer below it has.
        """
        with self._lock:
            try:
                return self._of_chain(layers, digests, named)
            except TooManyProbesError:
                # Nothing is remembered of a chain with a million tasks.
                nearest_first = list(reversed(layers))
                return _results(FactsFiles(MergedTree(nearest_first, remember=True), named), layers, named)

    def _of_chain(self, layers: Sequence[FactsLayer], digests: Sequence[str], named: Sequence[SubjectLayer]) -> Results:
        traits = [self._traits_of(*each) for each in zip(digests, layers, strict=True)]
        # A link to a file of another layer means what the layers below have, so none of these is left out.
        everything = any(each.has_links_elsewhere for each in traits)
        for layer, each in zip(layers, traits, strict=True):
            if each.has_links_elsewhere:
                layer.check_links()
        chosen = {index for index, each in enumerate(traits) if everything or not index or each.has_hives}
        while True:
            key = limits_in_use(), tuple(digests[index] for index in sorted(chosen))
            known = self._of_reduced([layers[index] for index in sorted(chosen)], key)
            others = (index for index in range(len(layers)) if index not in chosen)
            more = {index for index in others if self._changes_an_answer(digests[index], layers[index], key, known)}
            if not more:
                return known.of([named[index] for index in sorted(chosen)])
            chosen |= more

    def _traits_of(self, digest: str, layer: FactsLayer) -> _Traits:
        traits = self._traits.get(digest)
        if traits is None:
            hives = (layer.lookup(path) for hive in LAYER_HIVES for path in (hive.delta, hive.base))
            traits = _Traits(any(row is not None for row in hives), layer.has_links_elsewhere())
            self._traits.keep(digest, traits, len(digest))
        return traits

    def _changes_an_answer(self, digest: str, layer: FactsLayer, key: _Key, known: _Known) -> bool:
        answer = self._changes.get((digest, key))
        if answer is None:
            answer = changes_an_answer(layer, known.probes)
            self._changes.keep((digest, key), answer, len(digest))
        return answer

    def _of_reduced(self, layers: Sequence[FactsLayer], key: _Key) -> _Known:
        known = self._known.get(key)
        if known is None:
            named = [SubjectLayer(index + 1, "", "", "", False, "") for index in range(len(layers))]
            files = ProbedFiles(MergedTree(list(reversed(layers)), remember=True), named)
            known = _Known(_results(files, layers, named), files.probes)
            found = [each for results in known.results for each in results]
            mark_origins(files.probes, (each for each in found if isinstance(each, Item)))
            # The items are there twice, with the layers of an image, too.
            self._known.keep(key, known, 2 * sum(map(weight_of, found)) + _PROBE * files.count)
        return known


def _results(files: FactsFiles, layers: Sequence[FactsLayer], named: Sequence[SubjectLayer]) -> Results:
    """Returns what the collectors find in layers, base layer first.

    What an inventory has no room for is left out, but for the first item that it has no room for.
    """
    registry = SubjectRegistry(LayerHives(list(reversed(layers))), files, named, layers)
    subject = Subject("", tuple(named), files, registry, ExitStack())
    results: list[list[Item | Finding]] = [[] for _ in COLLECTORS]
    left = MAX_FOUND
    for collector, found in zip(COLLECTORS, results, strict=True):
        if collector.uses_config:
            continue
        for each in guarded(collector.what, collector.collect, subject):
            found.append(each)
            left -= weight_of(each)
            if left < 0:
                return results
    return results


def _labelled(found: Item | Finding, layers: Sequence[SubjectLayer]) -> Item | Finding:
    if isinstance(found, Finding) or found.origin.layer is None:
        return found
    return replace(found, origin=replace(found.origin, layer=layers[found.origin.layer.number - 1]))
