"""`Platform`: the machine that an image is made for, as an index and a configuration describe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from wclayer.images.json_view import JsonView


@dataclass(frozen=True, slots=True)
class Platform:
    """The machine that an image is made for (OCI image index, "platform").

    Attributes:
        os: the operating system ("windows").
        architecture: the processor, in Go's words ("amd64", "arm64").
        os_version: the version of Windows ("10.0.20348.5499"); "" if it is not stated.
        variant: the variant of the processor ("v8"); "" if it is not stated.
        os_features: features of the operating system that the image needs ("win32k").
    """

    os: str
    architecture: str
    os_version: str = ""
    variant: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, record: Mapping[str, object], what: str) -> Self:
        """Returns the platform of a JSON object: the "platform" of a descriptor, or a whole configuration.

        Args:
            record: the object. Keys of other meanings are ignored.
            what: a name for the object in messages.

        Raises:
            FormatError: a field has another type.
        """
        view = JsonView(record, what)
        return cls(
            os=view.text("os"),
            architecture=view.text("architecture"),
            os_version=view.text("os.version"),
            variant=view.text("variant"),
            os_features=view.texts("os.features"),
        )

    def to_json(self) -> dict[str, str | list[str]]:
        """Returns the JSON object of a descriptor ("platform"). Fields that are not stated are left out."""
        record: dict[str, str | list[str]] = {"architecture": self.architecture, "os": self.os}
        if self.os_version:
            record["os.version"] = self.os_version
        if self.os_features:
            record["os.features"] = list(self.os_features)
        if self.variant:
            record["variant"] = self.variant
        return record
