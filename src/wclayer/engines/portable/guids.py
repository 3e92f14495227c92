"""`layer_id` and `name_to_guid`: the GUIDs by which layers refer to each other."""

from __future__ import annotations

import os
from uuid import UUID, uuid5

from wclayer._types import StrPath
from wclayer.errors import InvalidParameterError, during
from wclayer.win32.names import last_component

NAMESPACE = UUID("5a0e44ab-9c8e-5e60-a3d1-0a52bb9fe5c7")
"""The namespace of the portable engine's GUIDs. It never changes: GUIDs made from it are stored in layers."""


@during("name to GUID")
def name_to_guid(name: str) -> UUID:
    """Returns the GUID of version 5 of a name in the namespace of this project."""
    if not name:
        raise InvalidParameterError(name, "the name is empty")
    try:
        return uuid5(NAMESPACE, name)
    except UnicodeEncodeError:
        raise InvalidParameterError(name.encode("utf-8", "replace").decode(), "an unpaired surrogate") from None


@during("layer id")
def layer_id(path: StrPath) -> UUID:
    """Returns the GUID of the last component of a path."""
    return name_to_guid(last_component(os.fspath(path)))
