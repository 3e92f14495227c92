"""`layerchain.json`: the parents of a layer, as the layer itself names them."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path, PureWindowsPath

from wclayer.errors import (
    CorruptLayerError,
    FormatError,
    FormatLimitError,
    NotALayerError,
    PathNotFoundError,
    errors_at,
    limit_hint,
)
from wclayer.host.root import HostRoot
from wclayer.layers.json_file import read_json
from wclayer.model import limits_in_use

CHAIN_FILE = "layerchain.json"


class ChainError(FormatError):
    """`layerchain.json` names what cannot be a chain of parents."""


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
        CorruptLayerError: the file is not a JSON list of absolute paths, or names a layer twice or the layer itself.
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
        chain = [_parent(root.path, parent) for parent in named]
        seen = {_identity(root.path)}
        for parent in chain:
            if (same := _identity(parent)) in seen:
                raise ChainError(f"{str(parent)!r} is named twice, or is the layer itself")
            seen.add(same)
        return chain


def _parent(layer: Path, text: str) -> Path:
    """Returns a parent's path from what the file says.

    A relative path is refused: its meaning would depend on the working directory. A path on a network share is used
    only if the layer itself lies on that share, because opening a share tells its host who the user is.
    """
    windows = PureWindowsPath(text)
    if "\0" in text or not (os.path.isabs(text) or windows.is_absolute()):
        raise ChainError(f"{text[:300]!r} is not an absolute path")
    if sys.platform == "win32":
        drive = windows.drive
        if drive.startswith("\\\\") and drive.casefold() != PureWindowsPath(layer).drive.casefold():
            raise ChainError(f"{text[:300]!r} lies on a network share or a device")
    elif not os.path.isabs(text):
        # A Windows path, recorded where the layer was made: it does not exist here, and it is not a relative path.
        return Path(os.sep + text)
    return Path(text)


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
