"""What a word of the command line may become: names of images, paths of layers, and paths in them.

Nothing is fetched, unpacked or written for that: an image whose layers are not unpacked has no paths yet.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from wclayer.cli.layer_argument import LayerArgument, store_of
from wclayer.cli.text import path_of_argument
from wclayer.cli.word_kind import WordKind
from wclayer.layers.directory.scratch import is_scratch
from wclayer.view.merged import MergedTree, Node
from wclayer.view.resolve import existing
from wclayer.view.spelling import has_drive, layer_path
from wclayer.win32.shown import escaped, shown

if TYPE_CHECKING:
    from wclayer.images.store import ImageStore

MOST_WORDS = 1000
"""As many words are offered at most. A shell takes its time for each, and nobody reads more."""
_LEAST_DIGITS = 2
"""Digits of a digest from which on it is completed: a word of fewer may be anything."""
_SHORT = 12
"""Digits that name an image by its digest."""
_HOST_PATH = re.compile(r"\.|/|\\|~|[A-Za-z]:[\\/]")
_STORE, _DIGEST = "store:", "sha256:"
_HEXADECIMAL = re.compile("[0-9a-f]*")
_IMAGE_FILE = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Word(NamedTuple):
    """A word that is offered."""

    text: str
    """All of it, without quotes."""
    is_final: bool = True
    """False if more of it may follow, as the names in a directory do."""
    display: str = ""
    """What a list of several words shows of it; "" for the text."""
    help: str = ""
    """What it means."""


def words_of(kind: WordKind, context: click.Context, incomplete: str) -> list[Word] | None:
    """Returns what a word may become; None if it can be the path of a file of the host, which every shell completes.

    Args:
        kind: what the word means.
        context: the context of the verb, with the words before.
        incomplete: what was typed of it, without quotes.

    Raises:
        LayerError: the layer, the image or the store cannot be read.
    """
    match kind:
        case WordKind.IMAGE:
            return [Word(name) for name in _images(store_of(context), incomplete)] or None
        case WordKind.LAYER:
            return _layers(context, incomplete) or None
        case WordKind.PATH:
            layer = next((value for value in context.params.values() if isinstance(value, LayerArgument)), None)
            return [] if layer is None else _paths(context, layer, incomplete)
        case WordKind.COPY:
            return _sides_of_copy(context, incomplete)


def _layers(context: click.Context, incomplete: str) -> list[Word]:
    if _HOST_PATH.match(incomplete):
        return []
    found = [Word(name) for name in _images(store_of(context), incomplete)]
    return [*found, *_beside(incomplete)] if found else []


def _sides_of_copy(context: click.Context, incomplete: str) -> list[Word] | None:
    # The verb is loaded already, and no other word needs it.
    from wclayer.cli.view import split_layer

    layer, _ = split_layer(incomplete, context)
    if layer is None:
        return [Word(f"{name}:", is_final=False) for name in _images(store_of(context), incomplete)] or None
    begun = f"{layer}:"
    found = _paths(context, layer, incomplete.removeprefix(begun))
    return [word._replace(text=begun + word.text) for word in found]


def _images(store: ImageStore, incomplete: str) -> list[str]:
    """Returns the shortest word for each image of the store that has one that begins so."""
    begun = _STORE if incomplete.startswith(_STORE) else ""
    wanted = incomplete.removeprefix(begun)
    ends = {name: _ends(name) for name in store.names() if not name.startswith(_DIGEST)}
    uses = Counter(end for each in ends.values() for end in each)
    words = (next((end for end in each if end.startswith(wanted) and uses[end] == 1), None) for each in ends.values())
    offered = sorted(begun + word for word in words if word is not None)
    if wanted.startswith(_DIGEST) or (len(wanted) >= _LEAST_DIGITS and _HEXADECIMAL.fullmatch(wanted)):
        digits = wanted.removeprefix(_DIGEST)
        algorithm = wanted.removesuffix(digits)
        found = {digest.removeprefix(_DIGEST) for digest in store.digests()}
        size = max(_SHORT, len(digits))
        offered += sorted(begun + algorithm + each[:size] for each in found if each.startswith(digits))
    return offered[:MOST_WORDS]


def _ends(name: str) -> list[str]:
    """Returns what finds an image: the ends of its name from a "/" on, the shortest first, and the name itself."""
    parts = name.split("/")
    return ["/".join(parts[number:]) for number in reversed(range(len(parts)))]


def _beside(incomplete: str) -> Iterator[Word]:
    """Yields the folders and the files of images in the current directory whose names begin so."""
    folder, name = os.path.split(incomplete)
    try:
        with os.scandir(folder or ".") as entries:
            for entry in islice((each for each in entries if each.name.startswith(name)), MOST_WORDS):
                path = os.path.join(folder, entry.name)
                if entry.is_dir():
                    yield Word(path + "/", is_final=False)
                elif entry.name.endswith(_IMAGE_FILE):
                    yield Word(path)
    except OSError:
        return


def _paths(context: click.Context, layer: LayerArgument, incomplete: str) -> list[Word]:
    begun = max(incomplete.rfind("\\"), incomplete.rfind("/")) + 1
    if not begun and has_drive(incomplete):
        begun = 2
    above, name = incomplete[:begun], incomplete[begun:]
    separator = above[-1] if above.endswith(("/", "\\")) else "\\" if above else "/"
    with _tree(context, layer) as tree:
        found = list(islice(_nodes(tree, path_of_argument(above), path_of_argument(name)), MOST_WORDS + 1))
    names = [_spelled(node.name) for node in found[:MOST_WORDS]]
    if not all(each.startswith(names[0][: len(name)]) for each in names):
        # A shell replaces the word by what all have in common, which would be less than what was typed.
        names = [name + each[len(name) :] for each in names]
    if above.endswith(":") or (not above and any(each.startswith("-") for each in names)):
        above += separator
    words = []
    for node, each in zip(found, names, strict=False):
        end = separator if node.is_directory else ""
        words.append(Word(above + each + end, is_final=not end, display=each + end))
    if len(found) > MOST_WORDS:
        # No shell adds what only the first of them have in common.
        words.append(Word(incomplete, is_final=False, display="…"))
    return words


def _nodes(tree: MergedTree, above: str, name: str) -> Iterator[Node]:
    """Yields the entries whose paths begin so."""
    path = layer_path(above)
    # What is below none of the layer's roots is below the root of C:.
    for place in (path,) if path else ("", layer_path("C:\\")):
        yield from tree.beginning(existing(tree, place, follow=True), name)


@contextmanager
def _tree(context: click.Context, layer: LayerArgument) -> Iterator[MergedTree]:
    """Opens what the verb will show of a layer, or of an image whose layers are unpacked."""
    if layer.is_image:
        from wclayer.images.opening import unpacked_layers

        with MergedTree(unpacked_layers(layer.text, layer.store, platform=layer.platform)) as tree:
            yield tree
        return
    is_merged: Any = context.params.get("merged", True)
    if is_merged is None:
        is_merged = is_scratch(layer.text)
    with MergedTree.of(layer.text, with_parents=is_merged) as tree:
        yield tree


def _spelled(name: str) -> str:
    """Returns a name as every verb accepts it and every terminal can show it."""
    return _SURROGATE.sub(lambda found: escaped(found[0]), shown(name))
