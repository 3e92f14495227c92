"""The ways to spell a path inside a layer: with and without a drive, with either separator, with a stream."""

from __future__ import annotations

from wclayer.errors import ERROR_INVALID_NAME, InvalidParameterError
from wclayer.layers.names import ROOTS
from wclayer.win32.names import name_key, path_key, split_path

_ROOT_KEYS = frozenset(path_key(root) for root in ROOTS if "/" not in root)


def has_drive(text: str) -> bool:
    """Returns whether a path begins with a drive letter, such as `C:`."""
    return text[1:2] == ":" and text[0].isascii() and text[0].isalpha()


def layer_path(text: str) -> str:
    r"""Returns the path inside a layer for any common spelling of it.

    `C:\Windows`, `\Windows`, `/Windows`, `Windows` and `Files/Windows` all mean `Files/Windows`; `Hives/…` and
    `UtilityVM/…` stay as they are. The empty path, `/` and `\` mean the layer's root, `C:\` means `Files`. As in Win32,
    `..` removes the component before it, even if that is a link.

    Raises:
        InvalidParameterError: the path is on another drive than C:, the only one of a layer.
    """
    drive = has_drive(text)
    if drive and text[0] not in "cC":
        raise InvalidParameterError(
            text,
            f"a layer has no drive {text[:2]}, only C: (a stream of a file in its root is C:\\NAME:STREAM)",
            code=ERROR_INVALID_NAME,
        )
    path = (text[2:] if drive else text).replace("\\", "/").strip("/")
    if "//" in path or "/." in path or path.startswith("."):
        parts: list[str] = []
        for part in split_path(path):
            if part == "..":
                del parts[-1:]
            elif part != ".":
                parts.append(part)
        path = "/".join(parts)
    if drive or (path and path_key(path.partition("/")[0]) not in _ROOT_KEYS):
        return f"Files/{path}" if path else "Files"
    return path


def split_stream(path: str) -> tuple[str, str]:
    r"""Returns the path of the file and the name of the stream in `C:\a:b` or `C:\a:b:$DATA`; "" for the main data.

    Raises:
        InvalidParameterError: the stream type is not `$DATA`.
    """
    start = 2 if has_drive(path) else 0
    last = max(path.rfind("/"), path.rfind("\\"), start - 1) + 1
    name, colon, stream = path[last:].partition(":")
    if not colon:
        return path, ""
    stream, colon, kind = stream.partition(":")
    if colon and name_key(kind) != "$DATA":
        raise InvalidParameterError(path, f"stream type {kind!r}; possible is $DATA", code=ERROR_INVALID_NAME)
    return path[:last] + name, stream
