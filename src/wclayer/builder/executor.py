"""Carries a plan out: each step that changes something makes a layer, or finds it in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from wclayer.builder.bases import Base
from wclayer.builder.clock import Clock
from wclayer.builder.image import BuiltImage, Step
from wclayer.builder.plan import BuildPlan, PlannedStep, StagePlan, Work, located
from wclayer.builder.progress import BuildProgress, StepOutput
from wclayer.builder.workspace import NewLayer, Workspace
from wclayer.formats.compression import Compression
from wclayer.host.durability import unsynced
from wclayer.images.edit import ConfigChanges
from wclayer.images.store import ImageStore
from wclayer.images.store.build_cache import BuildCache, CachedStep
from wclayer.layers.directory.opening import layers_stay_open

_ALGORITHM = 2
"""The version of what steps do: it changes when the same step makes another layer."""
_COMMENT = "wclayer"


class Executor:
    """Carries plans out. The caller holds `store.in_use()` until a name keeps the images.

    Args:
        store: the store.
        clock: the time of what is made.
        use_cache: whether a step that was made before is taken from the cache. What is made is recorded in any case.
        progress: is told what happens.
        compression: of the layers.
        level: of the compression.

    Attributes:
        warnings: what the progress was told that the user should know.
    """

    def __init__(
        self,
        store: ImageStore,
        *,
        clock: Clock,
        use_cache: bool,
        progress: BuildProgress,
        compression: Compression = Compression.GZIP,
        level: int | None = None,
    ) -> None:
        self._store = store
        self._cache = BuildCache(store.path)
        self._clock = clock
        self._use_cache = use_cache
        self._progress = progress
        self._compression = compression
        self._level = level
        self._made: dict[int, BuiltImage] = {}
        self.warnings: list[str] = []

    def carry_out(
        self, plan: BuildPlan, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None
    ) -> BuiltImage:
        """Builds the stages of a plan, and returns the image of the last one.

        Args:
            plan: the plan.
            labels: labels that the image gets, too.
            annotations: annotations of the manifest that the image gets, too.

        Raises:
            LayerError: a step fails; the message names the line. The steps before it are in the cache.
        """
        self._made = {}
        with layers_stay_open():
            for stage in plan.stages:
                self._made[stage.number] = self._built(stage, _name_of(stage, plan))
        image = self._made[plan.stages[-1].number]
        if labels:
            image, warnings = image.with_config(ConfigChanges(labels=labels))
            self._warn(warnings)
        return image.with_annotations(annotations) if annotations else image

    def _built(self, stage: StagePlan, name: str) -> BuiltImage:
        """Builds a stage, and returns its image.

        Args:
            stage: the stage.
            name: what the progress calls it.
        """
        shown = [step for step in stage.steps if step.work is not None]
        image = self._beginning(stage)
        self._progress.begins(1, len(shown) + 1, name, _from_text(stage))
        self._progress.ends(is_cached=False)
        number = 1
        for configures, steps in groupby(stage.steps, key=lambda step: step.work is None):
            if configures:
                image = self._configured(image, [*steps])
                continue
            for step in steps:
                assert step.work is not None
                number += 1
                self._progress.begins(number, len(shown) + 1, name, step.text)
                image, is_cached = self._layered(image, step, step.work)
                self._progress.ends(is_cached=is_cached)
        return image

    def chain_of(self, origin: StagePlan | Base) -> tuple[str, ...]:
        """See `MadeStages`."""
        image = self._made[origin.number] if isinstance(origin, StagePlan) else origin.image
        return image.chain_ids

    def _beginning(self, stage: StagePlan) -> BuiltImage:
        if isinstance(stage.origin, StagePlan):
            return self._made[stage.origin.number]
        return stage.origin.image

    def _configured(self, image: BuiltImage, steps: Sequence[PlannedStep]) -> BuiltImage:
        """Returns the image after consecutive steps that change the configuration alone.

        They are one change, with one time and one record in the cache: a change reads and checks the whole
        configuration, so the time of one for each step is quadratic.
        """
        commands = [step.created_by for step in steps]
        key = self._key(image, ["configuration", image.config.decode("utf-8", "replace"), commands])
        known = self._cache.get(key) if self._use_cache else None
        made = known or CachedStep(steps[-1].text, self._clock.now())
        if known is None:
            self._cache.put(key, made)
        # The plan has checked each step. What is left to refuse is a configuration that is too large.
        with located(steps[-1].where):
            image, warnings = image.with_steps(
                [
                    (step.changes or ConfigChanges(), Step(step.created_by, made.created, comment=_COMMENT))
                    for step in steps
                ]
            )
        for step, told in zip(steps, warnings, strict=True):
            self._warn(f"{step.where}: {warning}" for warning in told)
        return image

    def _layered(self, image: BuiltImage, step: PlannedStep, work: Work) -> tuple[BuiltImage, bool]:
        """Returns the image after a step that changes files or keys, and whether that was in the cache."""
        cache = self._cache
        key = self._key(image, work.inputs(self))
        if self._use_cache and (known := cache.get(key)) is not None:
            return self._with(image, step, known), True
        with Workspace(self._store, image.chain_ids, time=self._clock.latest) as workspace:
            # The scratch need not survive a power cut; the layer that is made of it does.
            with unsynced():
                work.carry_out(workspace, self, StepOutput(self._progress))
            with located(step.where):
                layer = workspace.commit(self._compression, level=self._level)
        made = CachedStep(step.text, self._clock.now())
        if layer is not None:
            made = CachedStep(step.text, self._clock.now(), layer.descriptor, layer.diff_id, layer.chain_id)
        cache.put(key, made)
        return self._with(image, step, made), False

    def _with(self, image: BuiltImage, step: PlannedStep, made: CachedStep) -> BuiltImage:
        """Returns the image with what a step has made, and an entry of the history."""
        warnings: list[str] = []
        with located(step.where):
            entry = Step(step.created_by, made.created, comment=_COMMENT)
            if made.layer is None:
                image, warnings = image.with_config(step.changes or ConfigChanges(), entry)
            else:
                if step.changes is not None:
                    image, warnings = image.with_config(step.changes)
                image = image.with_layer(NewLayer(made.layer, made.diff_id, made.chain_id), entry)
        self._warn(f"{step.where}: {warning}" for warning in warnings)
        return image

    def _warn(self, warnings: Iterable[str]) -> None:
        for warning in warnings:
            self.warnings.append(warning)
            self._progress.warn(warning)

    def _key(self, image: BuiltImage, inputs: list[object]) -> str:
        """Returns the digest of all that a step depends on."""
        platform = image.parsed.platform
        chain = image.chain_ids
        everything = [
            _ALGORITHM, chain[-1] if chain else "", platform.os, platform.architecture, self._clock.latest,
            self._compression.value, self._level, inputs,
        ]  # fmt: skip
        text = json.dumps(everything, ensure_ascii=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _name_of(stage: StagePlan, plan: BuildPlan) -> str:
    """Returns what the progress calls a stage, as BuildKit does: nothing if it is the only one."""
    if not stage.name.isdecimal():
        return stage.name
    return f"stage-{stage.name}" if len(plan.stages) > 1 else ""


def _from_text(stage: StagePlan) -> str:
    return f"FROM {stage.origin.name}"
