"""The path of a parent, as `layerchain.json` spells it: relative to the folder of the layer, so that layers that lie
together can be moved, or copied, together."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path, PureWindowsPath

from wclayer.errors import FormatError


class ChainError(FormatError):
    """`layerchain.json` names what cannot be a chain of parents."""


def recorded_path(layer: Path, parent: Path) -> str:
    """Returns the text by which a layer records a parent.

    It is relative to the folder of the layer ("../base"), with "/" on every host. It is absolute if the parent is on
    another drive (on Windows), lies in the layer's folder, or has a backslash in its path. The links on the way to both
    are resolved, but not a link that is the parent's own name: it is recorded by that name.

    Args:
        layer: the folder of the layer.
        parent: the absolute path of the parent.
    """
    try:
        relative = os.path.relpath(os.path.join(os.path.realpath(parent.parent), parent.name), os.path.realpath(layer))
    except ValueError:
        # On Windows: the two are on different drives.
        return str(parent)
    relative = relative.replace(os.sep, "/")
    return relative if _steps(relative) is not None else str(parent)


def parent_paths(layer: Path, texts: Iterable[str]) -> list[Path]:
    """Returns the absolute paths of parents from their texts in `layerchain.json`.

    A relative path begins at the real folder of the layer, not at the working directory or at a link to the layer. A
    path on a network share is used only if the layer itself lies on that share, because opening a share tells its host
    who the user is.

    Args:
        layer: the folder of the layer.
        texts: what the file says.

    Raises:
        ChainError: a text is neither an absolute path nor a relative one as `recorded_path` spells it, or it leads to
            a share.
    """
    # One for all: a link on the way to the layer is followed once, and not for each of its parents.
    folder = Path(os.path.realpath(layer))
    above = [folder, *folder.parents]
    return [_parent_path(layer, above, text) for text in texts]


def _parent_path(layer: Path, above: Sequence[Path], text: str) -> Path:
    windows = PureWindowsPath(text)
    # Not `os.path.isabs`: on Windows, it takes "\\base" for absolute, whose meaning depends on the current drive.
    if "\0" not in text and (text.startswith("/") or windows.is_absolute()):
        return _absolute(layer, text, windows)
    steps = _steps(text)
    if steps is None:
        raise ChainError(f"{text[:300]!r} is neither an absolute path nor a relative one such as '../base'")
    up, names = steps
    # As in the host's own paths, the directory above the root is the root.
    return above[min(up, len(above) - 1)].joinpath(*names)


def _absolute(layer: Path, text: str, windows: PureWindowsPath) -> Path:
    if sys.platform == "win32":
        drive = windows.drive
        if drive.startswith("\\\\") and drive.casefold() != PureWindowsPath(layer).drive.casefold():
            raise ChainError(f"{text[:300]!r} lies on a network share or a device")
    elif not os.path.isabs(text):
        # A Windows path, recorded where the layer was made: it does not exist here, and it is not a relative path.
        return Path(os.sep + text)
    return Path(text)


def _steps(text: str) -> tuple[int, list[str]] | None:
    """Returns the number of directories that a relative path goes up, and the names that follow.

    Returns None for any other text. ".." occurs only at the beginning, so that no link on the way changes the meaning.
    """
    names = text.split("/")
    up = 0
    while names and names[0] == "..":
        del names[0]
        up += 1
    not_a_name = ("\\", "\0", ":") if sys.platform == "win32" else ("\\", "\0")
    if not up or any(name in ("", ".", "..") or any(mark in name for mark in not_a_name) for name in names):
        return None
    return up, names
