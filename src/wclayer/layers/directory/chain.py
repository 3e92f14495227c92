"""Parent chains: checks what a caller names against what the layers record."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from wclayer._types import Chain, StrPath
from wclayer.errors import AlreadyExistsError, InvalidParameterError
from wclayer.layers.atomic import StagedFile
from wclayer.layers.directory.chain_file import CHAIN_FILE, chain_text, in_place, read_chain
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.opening import open_layer
from wclayer.layers.directory.scratch import is_scratch

_PARENTS_SHOWN = 8
"""The number of parents that a message names."""


def as_chain(layers: StrPath | Iterable[StrPath]) -> list[StrPath]:
    """Returns the layers that a caller named, nearest first, as a list: a single path is a list of one.

    Raises:
        InvalidParameterError: `layers` is neither a path nor a sequence of paths, or a path is empty.
    """
    if isinstance(layers, (str, os.PathLike)):
        layers = [layers]
    try:
        chain = list(layers)
    except TypeError:
        raise InvalidParameterError(repr(layers), "is neither a path nor a sequence of paths") from None
    for layer in chain:
        if not isinstance(layer, (str, os.PathLike)):
            raise InvalidParameterError(repr(layer), "is not the path of a layer")
        if not os.fspath(layer):
            raise InvalidParameterError("", "the path of a layer is empty")
    return chain


def resolve_chain(parents: Chain, *, first_is_own: bool = False) -> list[Path]:
    """Returns the whole parent chain, absolute, nearest first.

    A caller may name the chain or just the nearest parent, whose own chain then follows.

    Args:
        parents: the layers that were named, nearest first.
        first_is_own: the first one is the layer itself, not a parent; it may be a scratch.

    Raises:
        InvalidParameterError: a layer is named twice; the chain is the one that the nearest parent knows in another
            order, or contradicts what one of them knows; a parent is a scratch.
        PathNotFoundError: a parent that only the nearest one names does not exist.
    """
    chain = [Path(os.path.abspath(parent)) for parent in as_chain(parents)]
    if not chain:
        return []
    for parent in chain[1:] if first_is_own else chain:
        if is_scratch(parent):
            raise InvalidParameterError(
                parent,
                "is a scratch, which goes on changing, and not a parent; export it and import it as a finished layer",
            )  # fmt: skip
    if len(chain) == 1:
        return chain + in_place(chain[0], read_chain(chain[0]))
    given = [os.path.realpath(parent) for parent in chain]
    if len(set(given)) != len(given):
        raise InvalidParameterError(chain[0], "a layer is named twice among the parents")
    if [os.path.realpath(path) for path in read_chain(chain[0])] == given[1:]:
        # Who names the chain that the nearest parent records means what the nearest parent alone would mean.
        return chain
    for index, parent in enumerate(chain):
        # Layers that were moved have other paths than their children know; only an order that contradicts is a mistake.
        recorded = read_chain(parent)
        ancestors = {os.path.realpath(path) for path in recorded}
        if ancestors & set(given[:index]):
            raise InvalidParameterError(parent, "the parents are not in the order nearest first")
        if recorded and not _agree(recorded, chain[index + 1 :]):
            raise InvalidParameterError(parent, f"other parents were named after it than its own: {_listed(recorded)}")
    return chain


def with_parents(layers: Chain) -> list[Path]:
    """Returns a layer, finished or a scratch, and all its parents, absolute, nearest first.

    Args:
        layers: the layer, whose parents are those that it records, or the whole chain, nearest first.

    Raises:
        InvalidParameterError: no layer was named; the chain is in the wrong order.
        PathNotFoundError, NotALayerError, CorruptLayerError: the layer cannot be opened, or a parent does not exist.
    """
    given = as_chain(layers)
    if not given:
        raise InvalidParameterError("", "no layer was named")
    if len(given) > 1:
        return resolve_chain(given, first_is_own=True)
    nearest = Path(os.path.abspath(given[0]))
    with open_layer(nearest) as layer:
        return [nearest, *layer.parents_in_place()]


def _agree(recorded: Sequence[Path], given: Sequence[Path]) -> bool:
    """Returns whether the given parents can be those that a layer records.

    Parents that were moved or copied together keep their names. Parents that were renamed have other names, but then
    nothing exists at their old paths.
    """
    return len(recorded) == len(given) and all(
        known.name == named.name or not known.exists() or os.path.realpath(known) == os.path.realpath(named)
        for known, named in zip(recorded, given, strict=True)
    )


def remember_chain(layer: Path, parents: Chain) -> None:
    """Writes the paths of a scratch's parents into its `layerchain.json`, if it records other paths (they were moved).

    Args:
        layer: the scratch; `check_chain` has already compared its chain with `parents`.
        parents: the chain, nearest first, or only the nearest one; an empty chain leaves the file as it is.
    """
    chain = resolve_chain(parents)
    known = [os.path.realpath(parent) for parent in read_chain(layer)]
    if chain and [os.path.realpath(parent) for parent in chain] != known:
        write_chain(layer, chain)


def write_chain(layer: Path, chain: Sequence[Path]) -> None:
    """Replaces the `layerchain.json` of a layer in one step. The caller holds the lock of the layer."""
    with StagedFile(layer / CHAIN_FILE) as staged:
        staged.stream.write(chain_text(layer, chain))


def check_same_chain(scratch: Path, chain: Sequence[Path]) -> None:
    """Checks that a scratch records the parents of the layer that is to replace it.

    Args:
        scratch: the scratch.
        chain: the whole parent chain of the layer, nearest first.

    Raises:
        AlreadyExistsError: it records none, or others.
    """
    recorded = read_chain(scratch)
    if recorded and list(map(os.path.realpath, recorded)) == list(map(os.path.realpath, chain)):
        return
    named = f"{_listed(chain)} were named" if chain else "none were named"
    away = "import to another place"
    gone = next((parent for parent in recorded if not parent.exists()), None)
    holds = f"with other parents: it records {_listed(recorded)}" if recorded else "that records no parents"
    if not recorded:
        advice = f"`wclayer mount -l {chain[0]} {scratch}` records them, or {away}" if chain else away
    elif gone is not None and chain:
        advice = (
            f"{gone} is not there: if it was moved or renamed, `wclayer relink -l {chain[0]} {scratch}` records"
            " where it is"
        )
    else:
        advice = f"name those that it records (-l), or {away}"
    raise AlreadyExistsError(scratch, f"a scratch is there {holds}, and {named}; {advice}")


def _listed(chain: Sequence[Path]) -> str:
    """Returns the first paths of a chain as a message names them."""
    more = len(chain) - _PARENTS_SHOWN
    return ", ".join(map(str, chain[:_PARENTS_SHOWN])) + (f" and {more} more" if more > 0 else "")


def check_chain(layer: LayerDirectory, parents: Chain) -> None:
    """Checks the parents that a caller gives for an existing layer. An empty chain is accepted for every layer.

    Raises:
        InvalidParameterError: the layer has a different number of parents, or a different nearest parent.
    """
    if not parents:
        return
    chain = resolve_chain(parents)
    known = layer.parents()
    if len(chain) != len(known):
        raise InvalidParameterError(
            layer.path, f"the layer has {len(known)} parents, not the {len(chain)} that were named"
        )
    if {path.name for path in chain} == {path.name for path in known} and [p.name for p in chain] != [
        p.name for p in known
    ]:
        raise InvalidParameterError(layer.path, "the parents are not in the order nearest first")
