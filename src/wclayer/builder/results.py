"""What the public functions that make images return."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.rebasing.rebase import RebaseReport
from wclayer.builder.workspace import NewLayer
from wclayer.images.descriptor import Descriptor
from wclayer.images.manifest import Manifest
from wclayer.images.platform import Platform


@dataclass(frozen=True, slots=True)
class MadeImage:
    """An image that was made, or an index of images for several platforms.

    Attributes:
        descriptor: the manifest, or the index.
        names: the names and places that it got, as the caller wrote them; none if the store keeps it by its digest.
        warnings: what the user should know.
    """

    descriptor: Descriptor
    names: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The digest of the manifest, or of the index."""
        return self.descriptor.digest


@dataclass(frozen=True, slots=True)
class BuildResult(MadeImage):
    """What `build_image` made.

    Attributes:
        images: the manifests of the images, in the order of the releases and platforms.
    """

    images: tuple[Manifest, ...]


@dataclass(frozen=True, slots=True)
class AppendedImage:
    """One image that `append_image` made.

    Attributes:
        manifest: the manifest.
        platform: what it is for.
        release: the release of Windows for which it was made ("ltsc2022"); "" if none was asked for.
        needs_base: whether the layers of the base were needed.
        reason: why, as a sentence without a full stop.
    """

    manifest: Manifest
    platform: Platform
    release: str
    needs_base: bool
    reason: str


@dataclass(frozen=True, slots=True)
class AppendResult(MadeImage):
    """What `append_image` made.

    Attributes:
        images: the images, in the order of the releases.
    """

    images: tuple[AppendedImage, ...]


@dataclass(frozen=True, slots=True)
class CommitResult(MadeImage):
    """What `commit_image` made.

    Attributes:
        layer: the new layer; None if nothing was changed in the scratch.
    """

    layer: NewLayer | None


@dataclass(frozen=True, slots=True)
class SquashResult(MadeImage):
    """What `squash_image` made.

    Attributes:
        layer: the new layer; None if there was nothing to put together.
        count: how many layers became one.
    """

    layer: NewLayer | None
    count: int


@dataclass(frozen=True, slots=True)
class RebaseResult(MadeImage):
    """What `rebase_image` made, or would make.

    Attributes:
        reports: what each image is made of, and what it would hide, in the order of the releases.
    """

    reports: tuple[RebaseReport, ...]
