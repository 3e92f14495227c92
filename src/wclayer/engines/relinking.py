"""`relink_layer`: gives a layer the paths of parents that were moved or renamed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from uuid import UUID

from wclayer._types import Chain, StrPath
from wclayer.engines.portable.base_processing import BLANK_BASE
from wclayer.engines.portable.scratch_disk import reshaping
from wclayer.errors import (
    CorruptLayerError,
    InvalidParameterError,
    LimitExceededError,
    PathNotFoundError,
    during,
)
from wclayer.layers.atomic import wait_for_place
from wclayer.layers.directory import LayerDirectory, open_layer
from wclayer.layers.directory.chain import as_chain, resolve_chain, write_chain
from wclayer.layers.directory.folder import PARENT_DIFF_IDS
from wclayer.layers.directory.scratch import DISK, ScratchDirectory, is_scratch
from wclayer.layers.volume.disk_file import DiskFile, locator_for


@during("relink layer")
def relink_layer(path: StrPath, parents: Chain = ()) -> list[Path]:
    """Writes the parents of a layer into its `layerchain.json` anew, relative to the layer, in one step.

    Layers that an older wclayer made record absolute paths, which are wrong after the layers were moved. The disk of a
    scratch finds its base layer afterwards, too.

    Args:
        path: the layer directory of a finished layer, or of a scratch that is not in use.
        parents: the parent chain, nearest first, or only the nearest one. Without it, each parent is the layer that
            lies beside this one under the parent's recorded name, or else the one at the recorded path.

    Returns:
        The absolute paths of the parents, nearest first.

    Raises:
        PathNotFoundError: the layer does not exist; or a parent is not named and not found.
        NotALayerError, CorruptLayerError: the layer, or a parent, cannot be opened.
        InvalidParameterError: the layer is a base layer; or the parents cannot be its own: they are more or fewer,
            other layers than the recorded diffIDs say, in another order, or scratches.
        InvalidDataError: the disk of the scratch was made from another base layer.
        LayerBusyError: another process is using the scratch, or changing the layer.
    """
    place = Path(os.path.abspath(path))
    with open_layer(place) as layer:
        chain = _chosen(layer, as_chain(parents))
        _check_parents(layer, chain)
    if is_scratch(place):
        _relink_scratch(place, chain)
    else:
        with closing(wait_for_place(place)):
            write_chain(place, chain)
    return chain


def _chosen(layer: LayerDirectory, named: Sequence[StrPath]) -> list[Path]:
    """Returns the new chain: the parents that a caller named, or those that were found."""
    try:
        recorded = layer.parents()
    except (CorruptLayerError, LimitExceededError):
        # The named parents take the place of a damaged file.
        if not named:
            raise
        return resolve_chain(named)
    if not recorded and not is_scratch(layer.path):
        raise InvalidParameterError(layer.path, "a base layer: it has no parents")
    if not named:
        return resolve_chain([_found(layer, parent) for parent in recorded])
    chain = resolve_chain(named)
    if recorded and len(chain) != len(recorded):
        raise InvalidParameterError(
            layer.path, f"the layer has {len(recorded)} parents, not the {len(chain)} that were named"
        )
    return chain


def _found(layer: LayerDirectory, parent: Path) -> Path:
    """Returns where a recorded parent is now: beside the layer, or where it was."""
    beside = Path(os.path.realpath(layer.path)).parent / parent.name
    for place in (beside, parent):
        if place.is_dir() and not os.path.samefile(place, layer.path):
            return place
    raise PathNotFoundError(
        parent, f"the layer does not exist, and no layer {parent.name!r} lies beside {layer.path}; name the parents: -l"
    )


def _check_parents(layer: LayerDirectory, chain: Sequence[Path]) -> None:
    """Checks that layers can be the parents of a layer."""
    if not chain:
        raise InvalidParameterError(layer.path, "the scratch does not record its parents; name them: -l")
    recorded = (layer.text(PARENT_DIFF_IDS) or "").split(" ")
    known = recorded if len(recorded) == len(chain) else ["-"] * len(chain)
    for number, (parent, diff_id) in enumerate(zip(chain, known, strict=True)):
        if os.path.realpath(parent) == os.path.realpath(layer.path):
            raise InvalidParameterError(layer.path, "the layer is named as its own parent")
        with open_layer(parent) as opened:
            above, now = opened.parents(), opened.diff_id()
        if len(above) != len(chain) - number - 1:
            raise InvalidParameterError(
                parent,
                f"it has {len(above)} parents, and {len(chain) - number - 1} layers are named after it:"
                " not the parents of one layer",
            )
        if any(os.path.realpath(other) == os.path.realpath(layer.path) for other in above):
            raise InvalidParameterError(parent, f"it has {layer.path} among its own parents")
        if diff_id != "-" and now is not None and now != diff_id:
            raise InvalidParameterError(parent, f"another layer: its diffID is {now}, and the parent had {diff_id}")


def _relink_scratch(scratch: Path, chain: Sequence[Path]) -> None:
    above = chain[-1] / BLANK_BASE
    if not above.is_file():
        # The base layer was never processed: the disk, if it has a parent at all, cannot find one.
        with ScratchDirectory(scratch, exclusive=True):
            write_chain(scratch, chain)
        return
    with reshaping(scratch, above=above) as guid:
        _relink_disk(scratch / DISK, above, guid)
        write_chain(scratch, chain)


def _relink_disk(place: Path, above: Path, guid: UUID) -> None:
    """Makes a disk find its parent at a path.

    Raises:
        InvalidDataError: the disk was made from another parent.
    """
    with DiskFile(place, writable=True, parent=above) as opened, DiskFile(above) as parent:
        disk = opened.vhdx()
        locator = locator_for(place, above, parent.vhdx())
        if disk.metadata.locator is not None and disk.metadata.locator.entries != locator.entries:
            disk.write_guid = guid
            disk.set_locator(locator)
