"""The kinds of words that a shell can complete, which arguments name. `completing` knows the words themselves."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


COMPLETION_VARIABLE = "_WCLAYER_COMPLETE"
"""The variable of the environment by which a shell asks for words."""


class WordKind(StrEnum):
    """What a word of the command line means."""

    IMAGE = "image"
    """The name or the digest of an image in the store."""
    LAYER = "layer"
    """An image, or a layer directory."""
    PATH = "path"
    """A path in the layer that a word before it names."""
    COPY = "copy"
    """A side of a copy: a file of the host, or LAYER:PATH."""


def completed_as(
    kind: WordKind,
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem[Any]]]:
    """Returns what an argument takes as `shell_complete`: it states the kind of the word and its context."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
        # Verbs that run do not need it.
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type=kind, context=context)]

    return complete
