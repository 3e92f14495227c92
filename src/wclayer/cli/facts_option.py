"""The option `--facts`: an image is known by the facts of its layers, which are not unpacked."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from wclayer.cli.layer_argument import LayerArgument
from wclayer.cli.remote import registry_options
from wclayer.images.registry import RegistryOptions
from wclayer.inventory.facts.chain import ImageFacts
from wclayer.inventory.facts.image import open_image_facts
from wclayer.layers.progress import ProgressCallback

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class FactsOption:
    """Where facts are kept, as the user says.

    Attributes:
        place: the folder or URL; "" if layers are unpacked instead.
        registry: how a registry is reached.
    """

    place: str
    registry: RegistryOptions

    def __bool__(self) -> bool:
        return bool(self.place)

    def open(self, image: LayerArgument, progress: ProgressCallback | None) -> AbstractContextManager[ImageFacts]:
        """Returns a context manager that gives an image by the facts of its layers."""
        return open_image_facts(
            image.text, self.place, store=image.store, platform=image.platform, registry=self.registry,
            progress=progress,
        )  # fmt: skip


def facts_option(function: _Command) -> _Command:
    """Adds the option to a verb, and those for registries. The verb gets them as one argument, `facts`
    (`FactsOption`)."""

    @functools.wraps(function)
    def call(*arguments: Any, facts: str, registry: RegistryOptions, **more: Any) -> Any:
        return function(*arguments, facts=FactsOption(facts, registry), **more)

    decorate = click.option(
        "--facts", metavar="DIR", default="",
        help="Do not unpack the layers: read each one once, and keep its facts in DIR (a folder, a URL that fsspec"
        " knows, or what `wclayer fleet scan` wrote). The image may be in a registry: docker://REF.",
    )  # fmt: skip
    decorated: Any = decorate(registry_options(call))
    return decorated  # type: ignore[no-any-return]
