"""The option `--merged`: whether a verb shows a layer over its parents, or alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from wclayer.cli.layer_argument import LayerArgument
from wclayer.errors import PathNotFoundError, UnresolvedLinkError
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.scratch import is_scratch

if TYPE_CHECKING:
    from wclayer.images.opening import ImageLayers

merged_option = click.option(
    "-m",
    "--merged/--alone",
    default=None,
    help="Show LAYER over its parents, or alone. By default, scratches and images are shown over their parents, and"
    " other layers alone.",
)


def is_merged(layer: LayerArgument, merged: bool | None) -> bool:
    """Returns whether a layer is shown over its parents.

    Args:
        layer: the layer.
        merged: what the user says; None if he does not.
    """
    return (layer.is_image or is_scratch(layer.path)) if merged is None else merged


def shown_chain(layer: LayerArgument, merged: bool | None) -> ImageLayers | str | Sequence[str]:
    """Returns what is shown, as functions take it that work on chains: an image, a layer with the parents that it
    records, or a chain of this one layer."""
    if not is_merged(layer, merged):
        return [layer.path]
    return layer.image or layer.text


@contextmanager
def parents_hinted(layer: LayerArgument, merged: bool | None) -> Iterator[None]:
    """Adds to the error that a path does not exist that it may exist in the parents, if these are not shown."""
    try:
        yield
    except (PathNotFoundError, UnresolvedLinkError) as error:
        if not is_merged(layer, merged):
            with open_layer(layer.path) as directory:
                if directory.parents():
                    error.detail += "; this is the layer alone: -m shows its parents, too"
        raise
