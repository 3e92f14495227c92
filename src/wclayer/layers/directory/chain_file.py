"""`layerchain.json`: the parents of a layer, as the layer itself names them."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from wclayer.errors import (
    CorruptLayerError,
    FormatLimitError,
    NotALayerError,
    PathNotFoundError,
    errors_at,
    limit_hint,
)
from wclayer.host.root import HostRoot
from wclayer.layers.directory.chain_path import ChainError, parent_paths, recorded_path
from wclayer.layers.json_file import read_json
from wclayer.model import limits_in_use

CHAIN_FILE = "layerchain.json"
_CHAIN_ID = re.compile(r"[0-9a-f]{64}\Z")
"""The name of a layer in a store of images."""


def open_folder(path: Path) -> HostRoot:
    """Opens the folder of a layer.

    Raises:
        PathNotFoundError: it does not exist.
        NotALayerError: it is a file.
    """
    with errors_at(path):
        try:
            return HostRoot(path)
        except FileNotFoundError:
            raise PathNotFoundError(path, "the layer does not exist") from None
        except NotADirectoryError:
            problem = "a file, not the folder of a layer; `wclayer import -i FILE FOLDER` makes one of a tar or a disk"
            raise NotALayerError(path, problem) from None


def read_chain(path: Path) -> list[Path]:
    """Returns the parents that the `layerchain.json` of a layer names, nearest first.

    The list is empty if the file or the layer does not exist.

    Raises:
        NotALayerError: `path` is a file.
        CorruptLayerError: the file is not a JSON list of paths as `parent_paths` reads them, or names a layer twice, or
            the layer itself.
        LimitExceededError: the file is larger than `json_size`, or names more than `chain_length` parents.
    """
    try:
        root = open_folder(path)
    except PathNotFoundError:
        return []
    with root:
        return chain_of(root)


def chain_of(root: HostRoot) -> list[Path]:
    """`read_chain` of the layer at `root`."""
    with errors_at(root.path / CHAIN_FILE, damage=CorruptLayerError):
        try:
            named = read_json(root, CHAIN_FILE.encode())
        except FileNotFoundError:
            return []
        if named is None:
            return []
        if not isinstance(named, list) or not all(isinstance(parent, str) for parent in named):
            raise ChainError("not a list of paths")
        most = limits_in_use().chain_length
        if len(named) > most:
            raise FormatLimitError(f"{len(named)} parents, more than {most} {limit_hint('chain_length')}")
        chain = parent_paths(root.path, named)
        seen = {_identity(root.path)}
        for parent in chain:
            if (same := _identity(parent)) in seen:
                raise ChainError(f"{str(parent)!r} is named twice, or is the layer itself")
            seen.add(same)
        return chain


def chain_text(layer: Path, chain: Sequence[Path]) -> bytes:
    """Returns the contents of `layerchain.json` in the folder `layer`, for a chain of absolute paths, nearest first."""
    return json.dumps([recorded_path(layer, parent) for parent in chain]).encode()


def in_place(layer: Path, chain: list[Path]) -> list[Path]:
    """Returns a recorded chain unchanged if something exists at each of its paths.

    Args:
        layer: the layer that records the chain.
        chain: the absolute paths of the parents.

    Raises:
        PathNotFoundError: nothing exists at the path of a parent.
    """
    for parent in chain:
        try:
            parent.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise PathNotFoundError(parent, f"the layer does not exist; {missing_parent(layer, parent)}") from None
        except (OSError, ValueError):
            # Whoever opens the parent reports it.
            continue
    return chain


def missing_parent(layer: Path, parent: Path) -> str:
    """Returns what a message says about a layer that records a parent that is not there."""
    if _CHAIN_ID.match(parent.name):
        return (
            f"{layer} records it as a parent, in a store of images: if the store was moved,"
            f" `wclayer relink --store FOLDER {layer}` finds it"
        )
    return f"{layer} records it as a parent: if it was moved or renamed, `wclayer relink {layer}` finds it"


def _identity(path: Path) -> tuple[int, int] | str:
    """Returns an identity that is equal for all paths of the same folder."""
    try:
        status = path.stat()
    except UnicodeEncodeError:
        raise ChainError(f"{str(path)[:300]!r} cannot be a path of this host") from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            raise ChainError(f"{str(path)[:300]!r}… is longer than a path of this host can be") from None
        return os.path.normcase(os.path.abspath(path))
    return status.st_dev, status.st_ino
