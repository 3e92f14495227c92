"""`.reg` files: read within the limits, and applied to the registry of a layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from wclayer._types import StrPath
from wclayer.engines.portable.registry import RegistryEditor
from wclayer.errors import InvalidParameterError, LimitExceededError, errors_at, limit_hint
from wclayer.formats.regf.text import RegEdit, parse_reg
from wclayer.model import limits_in_use


def read_reg(stream: BinaryIO, name: StrPath) -> bytes:
    """Returns the contents of a `.reg` file.

    Args:
        stream: the file.
        name: the file in messages.

    Raises:
        LimitExceededError: it is larger than the limit `reg_file_size`.
    """
    most = limits_in_use().reg_file_size
    with errors_at(name):
        data = stream.read(most + 1)
    if len(data) > most:
        raise LimitExceededError(name, f"more than {most} bytes {limit_hint('reg_file_size')}")
    return data


def apply_reg(editor: RegistryEditor, data: bytes, name: StrPath) -> int:
    """Carries out the steps of a `.reg` file (version 5.00), as regedit does.

    Args:
        editor: the registry.
        data: the contents of the file.
        name: the file in messages.

    Returns:
        The number of steps.

    Raises:
        InvalidDataError: it is no `.reg` file; the message names the line.
        InvalidParameterError: a key or a value is not possible.
    """
    try:
        # The steps are parsed one at a time: those of a short text may take much memory.
        return editor.apply(_edits(data, name))
    except InvalidParameterError as error:
        raise InvalidParameterError(name, f"{error.path}: {error.detail}", code=error.code) from None


def _edits(data: bytes, name: StrPath) -> Iterator[RegEdit]:
    with errors_at(name):
        yield from parse_reg(data)
