"""Reads JSON files of layers and stores, which may come from elsewhere."""

from __future__ import annotations

import json
import os
import stat

from wclayer.errors import FormatError, FormatLimitError, limit_hint
from wclayer.host.root import HostRoot
from wclayer.model import limits_in_use


class JsonFileError(FormatError):
    """A file is not JSON, or not a regular file."""


def read_json(root: HostRoot, path: bytes) -> object:
    """Returns the value in a JSON file below `root`. The caller checks its types.

    Raises:
        FileNotFoundError: the file does not exist.
        JsonFileError: it is not a regular file, or not JSON.
        FormatLimitError: it is larger than the limit `json_size`.
    """
    if not stat.S_ISREG(root.stat(path).st_mode):
        raise JsonFileError("not a regular file")
    most = limits_in_use().json_size
    with os.fdopen(root.open(path), "rb") as file:
        text = file.read(most + 1)
    if len(text) > most:
        raise FormatLimitError(f"larger than {most} bytes {limit_hint('json_size')}")
    try:
        return json.loads(text)
    except ValueError as error:
        raise JsonFileError(f"not JSON: {error}") from None
    except RecursionError:
        raise JsonFileError("not JSON of a sensible depth") from None
