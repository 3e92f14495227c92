"""The scenes, by name."""

from __future__ import annotations

from collections.abc import Callable

from tests.proof.histories.life import LifeScene
from tests.proof.histories.places import LayerScene, StoreScene
from tests.proof.histories.registry import RegistryScene
from tests.proof.histories.stress import Scene
from tests.proof.histories.tree import MountScene, ScratchScene

_ALL: tuple[Callable[[], Scene], ...] = (ScratchScene, MountScene, LayerScene, StoreScene, LifeScene, RegistryScene)
SCENES: dict[str, Callable[[], Scene]] = {scene().name: scene for scene in _ALL}
