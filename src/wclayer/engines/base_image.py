"""`BaseImage`: an image of the central image store, and its JSON record, in the format of Windows' GetBaseImages."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from wclayer.layers.json_file import JsonFileError

_FIELDS: dict[str, type[str] | type[int]] = {"Name": str, "Version": str, "Path": str, "Size": int, "CreatedTime": str}


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A base image of the central image store.

    Attributes:
        name, version: the image's name and version.
        path: the absolute path of its layer.
        size: the bytes of the layer's files.
        created_time: when it was registered, in ISO 8601.
    """

    name: str
    version: str
    path: str
    size: int
    created_time: str

    @property
    def created(self) -> datetime | None:
        """The time when the image was registered; None if `created_time` is not a time in ISO 8601."""
        try:
            return datetime.fromisoformat(self.created_time)
        except ValueError:
            return None

    def to_record(self) -> dict[str, str | int]:
        """Returns the JSON record: `{"Name", "Version", "Path", "Size", "CreatedTime"}`."""
        return dict(
            zip(_FIELDS, (self.name, self.version, self.path, self.size, self.created_time), strict=True),
        )

    @classmethod
    def from_record(cls, record: object) -> Self:
        """Returns the image of a JSON record (the inverse of `to_record`). Other fields are ignored.

        Raises:
            JsonFileError: a field is missing or has another type, or the path is not absolute.
        """
        if not isinstance(record, dict):
            raise JsonFileError("not the record of an image")
        for key, kind in _FIELDS.items():
            value = record.get(key)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise JsonFileError(f"not the record of an image: {key} is {str(value)[:60]!r}")
        if not os.path.isabs(record["Path"]):
            raise JsonFileError("not the record of an image: its path is not absolute")
        return cls(*(record[key] for key in _FIELDS))
