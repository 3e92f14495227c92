"""Compares the steps and the layers of two images: what they share, and what one of them has alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wclayer.images.config import HistoryEntry, ImageConfig
from wclayer.images.history import HistoryStep, history_steps
from wclayer.images.manifest import Manifest
from wclayer.view.diff import Change


@dataclass(frozen=True, slots=True)
class StepChange:
    """A step of the history that differs.

    Attributes:
        change: whether the step is only in the second image, only in the first one, or in both at another time.
        number: the number of the step in its image, from 1.
        old, new: the step in the first and the second image.
    """

    change: Change
    number: int
    old: HistoryEntry | None
    new: HistoryEntry | None


@dataclass(frozen=True, slots=True)
class HistoryDifference:
    """What differs between the histories of two images.

    Attributes:
        common: the number of steps with which both histories begin: the same commands, which made the same layers.
        changes: the steps that differ.
    """

    common: int
    changes: tuple[StepChange, ...]


@dataclass(frozen=True, slots=True)
class LayerPlace:
    """A layer as an image has it.

    Attributes:
        number: the number of the layer, 1 for the base layer.
        digest: the digest of the blob.
        size: the size of the blob in bytes.
        media_type: the type of the blob.
    """

    number: int
    digest: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class ComparedLayer:
    """A layer of one image or of both.

    Attributes:
        diff_id: the digest of the layer's tar, which says whether two layers are the same.
        change: whether the layer is only in the second image, only in the first one, or in both with another blob or
            in another order; None for a layer that both share.
        a, b: the layer in the first and the second image; None where it is not.
    """

    diff_id: str
    change: Change | None
    a: LayerPlace | None
    b: LayerPlace | None


def history_difference(a: ImageConfig, b: ImageConfig, *, times: bool) -> HistoryDifference:
    """Returns what differs between the histories of two images.

    Args:
        a, b: the configurations.
        times: whether the times of the steps that both begin with are compared.
    """
    steps_a, steps_b = history_steps(a), history_steps(b)
    common = 0
    changes = []
    for old, new in zip(steps_a, steps_b, strict=False):
        if _meaning(old, a) != _meaning(new, b):
            break
        common += 1
        if times and old.entry.created != new.entry.created:
            changes.append(StepChange(Change.CHANGED, common, old.entry, new.entry))
    for number, step in enumerate(steps_a[common:], common + 1):
        changes.append(StepChange(Change.REMOVED, number, step.entry, None))
    for number, step in enumerate(steps_b[common:], common + 1):
        changes.append(StepChange(Change.ADDED, number, None, step.entry))
    return HistoryDifference(common, tuple(changes))


def _meaning(step: HistoryStep, config: ImageConfig) -> tuple[object, ...]:
    made = None if step.layer is None else config.diff_ids[step.layer]
    return step.entry.created_by, step.entry.comment, step.entry.is_empty_layer, made


def compared_layers(a: tuple[Manifest, ImageConfig], b: tuple[Manifest, ImageConfig]) -> Iterator[ComparedLayer]:
    """Yields the layers of two images: first those that the first image has, then the others, each in their order."""
    layers_a, layers_b = _layers(*a), _layers(*b)
    highest = 0
    for old, new in paired([diff_id for diff_id, _ in layers_a], [diff_id for diff_id, _ in layers_b]):
        if old is None:
            assert new is not None
            yield ComparedLayer(layers_b[new][0], Change.ADDED, None, layers_b[new][1])
            continue
        diff_id, place = layers_a[old]
        if new is None:
            yield ComparedLayer(diff_id, Change.REMOVED, place, None)
            continue
        other = layers_b[new][1]
        is_same = (place.digest, place.media_type) == (other.digest, other.media_type) and other.number > highest
        highest = max(highest, other.number)
        yield ComparedLayer(diff_id, None if is_same else Change.CHANGED, place, other)


def paired(a: Sequence[str], b: Sequence[str]) -> Iterator[tuple[int | None, int | None]]:
    """Yields the indexes of the layers of two images that are the same: first those that the first image has, then the
    others, each in their order; None stands for a layer that one of them does not have.

    Args:
        a, b: what each layer is known by.
    """
    others: dict[str, list[int]] = defaultdict(list)
    for index in reversed(range(len(b))):
        others[b[index]].append(index)
    for index, key in enumerate(a):
        yield index, others[key].pop() if others[key] else None
    left = {index for indexes in others.values() for index in indexes}
    for index in range(len(b)):
        if index in left:
            yield None, index


def _layers(manifest: Manifest, config: ImageConfig) -> Sequence[tuple[str, LayerPlace]]:
    return [
        (diff_id, LayerPlace(number, blob.digest, blob.size, blob.media_type))
        for number, (diff_id, blob) in enumerate(zip(config.diff_ids, manifest.layers, strict=True), 1)
    ]
