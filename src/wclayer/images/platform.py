"""`Platform`: the machine that an image is made for, as an index, a configuration and a user describe it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import quote, unquote

from wclayer.errors import InvalidParameterError
from wclayer.images.json_view import JsonView
from wclayer.images.windows_version import WindowsVersion

WINDOWS = "windows"
_SHOWN = 100
_WORD = re.compile(r"[A-Za-z0-9_.-]+")
_OS = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%~-]*)((?:\+[A-Za-z0-9_.%~-]+)*)\))?")
_ARCHITECTURES = {
    "386": "386", "i386": "386", "amd64": "amd64", "x86_64": "amd64", "x86-64": "amd64", "arm": "arm", "arm64": "arm64",
    "aarch64": "arm64",
}  # fmt: skip
"""The processors of Windows, in Go's words and in others."""
_USUAL_VARIANTS = {"amd64": "v1", "arm64": "v8"}
"""The variants that are not written, because all processors have them."""


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

    @property
    def windows_version(self) -> WindowsVersion | None:
        """The version of Windows by its numbers; None if it is not stated, or is none of Windows."""
        return WindowsVersion.parse(self.os_version) if self.os == WINDOWS else None

    def normalized(self) -> Platform:
        """Returns the platform in Go's words: lower case, "amd64" for "x86_64", no variant that is the usual one."""
        architecture = self.architecture.lower()
        architecture = _ARCHITECTURES.get(architecture, architecture)
        variant = self.variant.lower()
        is_usual = variant and _USUAL_VARIANTS.get(architecture) in (variant, f"v{variant}")
        return replace(self, os=self.os.lower(), architecture=architecture, variant="" if is_usual else variant)

    def is_of(self, image: Platform) -> bool:
        """Returns whether an image is made for the operating system and the processor that this platform states.

        What this platform does not state may be anything. Versions and features are not compared.
        """
        wanted, has = self.normalized(), image.normalized()
        return (
            wanted.os in ("", has.os)
            and wanted.architecture in ("", has.architecture)
            and wanted.variant in ("", has.variant)
        )

    def __str__(self) -> str:
        if self.os_features or not self.architecture or not _WORD.fullmatch(self.os_version or "-"):
            options = "+".join(
                quote(text, safe="", errors="surrogatepass") for text in (self.os_version, *self.os_features)
            )
            return "/".join(filter(None, (f"{self.os}({options})" if options else self.os, *self._processor)))
        version = f":{self.os_version}" if self.os_version else ""
        return "/".join((self.os, *self._processor)) + version

    @property
    def _processor(self) -> tuple[str, ...]:
        return (self.architecture, self.variant) if self.variant else (self.architecture,)


def parse_platform(text: str) -> Platform:
    """Returns the platform that a text names, in any of the spellings that tools for images have.

    These are `windows/amd64:10.0.20348` (crane, oras), `windows(10.0.20348+win32k)/amd64` (containerd) and
    `windows/amd64,osver=10.0.20348` (regctl). The version may have the revision (10.0.20348.5499). `windows` alone is
    every processor, and a processor alone (`amd64`) is one of Windows.

    Raises:
        InvalidParameterError: it has none of these forms.
    """

    def refused(detail: str) -> InvalidParameterError:
        return InvalidParameterError(
            text[:_SHOWN] or "''", f"is not a platform such as windows/amd64:10.0.20348: {detail}"
        )

    if any("\ud800" <= character <= "\udfff" for character in text):
        raise refused("it is not text")
    parts, comma, options = text.partition(",")
    parts, colon, after_colon = parts.partition(":")
    first, *processor = parts.split("/")
    found = _OS.fullmatch(first)
    if not found or len(processor) > 2 or not all(_WORD.fullmatch(part) for part in processor):
        raise refused("it is neither os/architecture nor os/architecture/variant")
    versions = [after_colon] if colon else []
    if comma:
        versions.append(_version_of_options(options, refused))
    if found[2]:
        versions.append(unquote(found[2]))
    if len(versions) > 1:
        raise refused("it states the version twice")
    if not all(versions):
        raise refused("the version is missing")
    os = found[1].lower()
    if not processor and os in _ARCHITECTURES:
        os, processor = WINDOWS, [os]
    architecture, variant = (*processor, "", "")[:2]
    features = tuple(unquote(feature) for feature in found[3].split("+")[1:]) if found[3] else ()
    platform = Platform(os, architecture, "".join(versions), variant, features).normalized()
    if platform.os == WINDOWS and platform.os_version and platform.windows_version is None:
        raise refused(f"{platform.os_version[:_SHOWN]!r} is not a version of Windows such as 10.0.20348")
    return platform


def _version_of_options(text: str, refused: Callable[[str], InvalidParameterError]) -> str:
    name, _, value = text.partition("=")
    if name.strip().lower() not in ("osver", "osversion"):
        raise refused(f"the option {name.strip()!r} is unknown; the version is osver=…")
    return value.strip()
