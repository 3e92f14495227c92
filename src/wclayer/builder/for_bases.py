"""One image for several releases of Windows: which base each release has, and the index over the images."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wclayer.errors import InvalidParameterError, PathNotFoundError, during
from wclayer.images.changed import compose_index
from wclayer.images.platform import WINDOWS, Platform
from wclayer.images.transport import ImageSource
from wclayer.images.windows_version import LONG_TERM_RELEASES, WindowsVersion

PLACEHOLDER = "{release}"
"""The part of the name of a base image in whose place the name of a release comes."""
_MOST = 32
_BUILD = re.compile(r"\d{5}", re.ASCII)
_IN_TAG = re.compile(rf"(?<![A-Za-z0-9])({'|'.join(LONG_TERM_RELEASES)})(?![A-Za-z0-9])")


@dataclass(frozen=True, slots=True)
class Release:
    """A release of Windows for which an image is made.

    Attributes:
        name: what tags of images call it ("ltsc2022"); the build of a release that has no name.
        version: 10.0 and the build. The revision is that of the base.
    """

    name: str
    version: WindowsVersion

    @classmethod
    def parse(cls, text: str) -> Release:
        """Returns the release that a user names: "ltsc2022", "20348" or "10.0.20348".

        Raises:
            InvalidParameterError: it is none, or states a revision: revisions do not decide what runs.
        """
        if (build := LONG_TERM_RELEASES.get(text.lower())) is not None:
            return cls(text.lower(), WindowsVersion(10, 0, build))
        version = WindowsVersion(10, 0, int(text)) if _BUILD.fullmatch(text) else WindowsVersion.parse(text)
        if version is None or version.revision >= 0:
            known = ", ".join(LONG_TERM_RELEASES)
            raise InvalidParameterError(
                text[:100] or "''", f"is not a release of Windows: {known}, a build (20348) or a version (10.0.20348)"
            )
        names = {build: name for name, build in LONG_TERM_RELEASES.items()}
        return cls(names.get(version.build, str(version.build)), version)

    def platform(self, wanted: Platform | None = None) -> Platform:
        """Returns the platform of the release.

        Args:
            wanted: the platform that states the processor; None for any.

        Raises:
            InvalidParameterError: it is not Windows, or states another release.
        """
        if wanted is None:
            return Platform(WINDOWS, "", str(self.version))
        stated = wanted.windows_version
        if wanted.os != WINDOWS or (stated is not None and stated.release != self.version.release):
            raise InvalidParameterError(str(wanted)[:100], f"is not a platform of the release {self}")
        return Platform(WINDOWS, wanted.architecture, wanted.os_version or str(self.version), wanted.variant)

    def __str__(self) -> str:
        return self.name if self.name == str(self.version.build) else f"{self.name} ({self.version})"


def parse_releases(texts: Sequence[str]) -> tuple[Release, ...]:
    """Returns the releases that a user names.

    Raises:
        InvalidParameterError: one is none, is named twice, or there are too many.
    """
    if len(texts) > _MOST:
        raise InvalidParameterError(texts[0][:100], f"{len(texts)} releases, more than {_MOST}")
    releases = tuple(Release.parse(text.strip()) for text in texts)
    for number, release in enumerate(releases):
        if release in releases[:number]:
            raise InvalidParameterError(texts[number][:100], f"the release {release} is named twice")
    return releases


def base_for(reference: str, release: Release) -> str:
    """Returns the name of the base image for a release.

    1. `{release}` in the name is replaced by the name of the release.
    2. Otherwise, the name of a release in the tag is replaced: `nanoserver:ltsc2022-amd64` means that release alone.
    3. Any other name stays: it is that of an index, from which the image of the release is taken. So does a name with
       a digest.

    Args:
        reference: the name as the user, or a Dockerfile, writes it; or a place such as `oci:DIR:ltsc2022`.
        release: the release.

    Raises:
        InvalidParameterError: the tag names a release, and this one has no name.
    """
    if PLACEHOLDER in reference:
        return reference.replace(PLACEHOLDER, release.name)
    name, colon, tag = reference.rpartition(":")
    if not colon or "/" in tag or "@" in reference or not _IN_TAG.search(tag):
        return reference
    if release.name not in LONG_TERM_RELEASES:
        raise InvalidParameterError(
            reference[:100],
            f"the tag is for one release, and what it is for {release} is not known; write {PLACEHOLDER} in its place,"
            " or name an index",
        )
    return f"{name}:{_IN_TAG.sub(release.name, tag)}"


def check_release(stated: Platform, release: Release, name: str) -> None:
    """Checks that an image is of a release: an index may have none of it, and a tag may promise what it does not hold.

    Args:
        stated: the platform in the image's configuration.
        release: the release.
        name: the image in messages.

    Raises:
        PathNotFoundError: it is of another one.
    """
    found = stated.windows_version
    if found is None or found.release != release.version.release:
        raise PathNotFoundError(
            name,
            f"no image for {release}: what there is is for {str(stated)[:100]}; name a base that has the release, or"
            f" leave the release out",
        )


def make_for_releases(
    releases: Sequence[Release], make: Callable[[Release], ImageSource], media_type: str | None = None
) -> ImageSource:
    """Makes one image for each release, and returns the index over them, each with the version of its base.

    Args:
        releases: the releases, in the order of the index.
        make: makes the image for a release. What it returns stays open until the index is copied.
        media_type: the type of the index (see `compose_index`).

    Raises:
        LayerError: what `make` raises: then there is no index. See also `compose_index`.
    """
    with during("make images for releases", ",".join(release.name for release in releases)):
        return compose_index([make(release) for release in releases], media_type=media_type)
