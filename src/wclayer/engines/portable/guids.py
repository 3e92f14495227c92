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
    """The version-5 GUID of a layer's name, over a namespace of this project's own.

    **It is not the GUID that Windows gives for the same name.** Windows' `NameToGuid` also gives version-5 GUIDs, but
    over a namespace that is not published; the hcs engine, on Windows, asks Windows. GUIDs of the two engines must
    not be mixed in one parent chain. The name counts exactly as it is spelled, in UTF-8.

    Raises:
        InvalidParameterError: the name is empty, or is not text that has a UTF-8 form.
    """
    if not name:
        raise InvalidParameterError(name, "the name is empty")
    try:
        return uuid5(NAMESPACE, name)
    except UnicodeEncodeError:
        raise InvalidParameterError(name.encode("utf-8", "replace").decode(), "an unpaired surrogate") from None


@during("layer id")
def layer_id(path: StrPath) -> UUID:
    """The GUID of a layer: `name_to_guid` of the last component of its path, as hcsshim's `LayerID`.

    Raises:
        InvalidParameterError: the path has no last component.
    """
    return name_to_guid(last_component(os.fspath(path)))
