"""`choose`: the one image of an index that a user, or a host, means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from wclayer.errors import FormatError, InvalidParameterError, PathNotFoundError
from wclayer.images.descriptor import Descriptor
from wclayer.images.manifest import Index, Manifest
from wclayer.images.platform import WINDOWS, Platform
from wclayer.images.windows_version import WindowsVersion

MOST_NESTED = 8
"""How deep an index may lie in other indexes, and referrers refer to referrers."""
_IMPLIED_FEATURE = "win32k"
"""The feature that no host is asked for (containerd/platforms, `windowsStripFeaturesMatcher`)."""
_ATTESTATION = "vnd.docker.reference.type"
_MOST_SHOWN = 40
_LONGEST = 100
_NO_VERSION = WindowsVersion(0, 0, 0)


def choose_image(
    root: tuple[Descriptor, Manifest | Index],
    read: Callable[[Descriptor], Manifest | Index],
    wanted: Platform | None,
    what: str,
) -> tuple[Descriptor, Manifest]:
    """Returns the image that a platform means: the root itself, or one in an index, or in an index of that.

    Args:
        root: what a name means.
        read: returns the manifest or the index of a descriptor.
        wanted, what: see `choose`.

    Raises:
        PathNotFoundError, InvalidParameterError: see `choose`.
        FormatError: the indexes are nested too deep.
    """
    descriptor, item = root
    for _ in range(MOST_NESTED):
        if isinstance(item, Manifest):
            return descriptor, item
        descriptor = choose(item.manifests, wanted, what)
        item = read(descriptor)
    raise FormatError(f"an index in an index, more than {MOST_NESTED} times")


def choose(manifests: Sequence[Descriptor], wanted: Platform | None, what: str = "the index") -> Descriptor:
    """Returns the image of an index that a platform means.

    Operating system, processor and variant must be those that `wanted` states. Its version is that of an image, or of
    a host (containerd/platforms and moby, pull_v2_windows.go). These are taken, in this order:

    1. the image of exactly this version;
    2. the image of the same release with the highest revision, by number: revisions do not decide what runs;
    3. the newest image of an older release that this kernel runs (`WindowsVersion.shares_kernel_with`);
    4. an image that states no version: it runs anywhere.

    Without a version, the images of one release are one image for several months: the one with the highest revision is
    taken. Images of several releases are ambiguous, and so are several processors if none is stated. Without `wanted`,
    an image for Windows is meant if there is one. The choice never depends on the machine on which it is made.

    Attestations of BuildKit, which have the platform "unknown", are never chosen.

    Args:
        manifests: the descriptors of the index.
        wanted: the platform; None for the only image that fits.
        what: the name of the index in messages.

    Raises:
        PathNotFoundError: no image fits. The message lists what there is.
        InvalidParameterError: several images fit, and none of them best. The message lists them.
    """
    images = _without_repetitions(item for item in manifests if not is_attestation(item))
    if wanted is None:
        fitting = [item for item in images if item.platform and item.platform.normalized().os == WINDOWS] or images
        wanted = Platform("", "")
    else:
        wanted = wanted.normalized()
        stated = [item for item in images if item.platform and item.platform.os]
        fitting = [item for item in stated if item.platform and wanted.is_of(item.platform)]
        fitting = [item for item in fitting if _has_features(wanted, item)]
        # An image without a platform may be the one: what its configuration says is not known here.
        fitting = fitting or [item for item in images if item not in stated]
    best = _best(fitting, wanted)
    if len(best) == 1:
        return best[0]
    if best:
        raise InvalidParameterError(what, f"{_AMBIGUOUS}: {_listed(best)}")
    asked = f"no image for {wanted}" if wanted.os or wanted.architecture else "no image"
    raise PathNotFoundError(what, f"{asked}; it has: {_listed(images)}" if images else asked)


def check_platform(found: Descriptor, stated: Platform, wanted: Platform | None, what: str) -> None:
    """Checks that an image has the platform that is meant: a name may mean an image, and no index.

    Args:
        found: the manifest of the image.
        stated: what its configuration says.
        wanted: the platform; None for any.
        what: the name of the image in messages.

    Raises:
        PathNotFoundError: it has another one.
    """
    if wanted is not None:
        choose([replace(found, platform=stated)], wanted, what)


_AMBIGUOUS = "several images fit; name one with --platform, or by its digest (NAME@sha256:…)"


def _best(images: list[Descriptor], wanted: Platform) -> list[Descriptor]:
    """Returns the images between which the version does not decide. Processors are not compared."""
    by_processor: dict[tuple[str, str, str], list[Descriptor]] = {}
    for item in images:
        by_processor.setdefault(_processor(item), []).append(item)
    return [item for group in by_processor.values() for item in _best_of_one_processor(group, wanted)]


def _best_of_one_processor(images: list[Descriptor], wanted: Platform) -> list[Descriptor]:
    if wanted.os_version:
        host = wanted.windows_version
        ranks = [_rank(wanted.os_version, host, item) for item in images]
        best = max((rank for rank in ranks if rank), default=None)
        images = [item for rank, item in zip(ranks, images, strict=True) if rank and rank == best]
    elif len({_release(item) for item in images}) == 1:
        newest = max(_version(item) or _NO_VERSION for item in images)
        images = [item for item in images if (_version(item) or _NO_VERSION) == newest]
    if len(images) > 1 and wanted.os_features:
        images = [item for item in images if {*_features(item)} == {*wanted.os_features}] or images
    return images


def _rank(text: str, host: WindowsVersion | None, item: Descriptor) -> tuple[int, WindowsVersion] | None:
    """Returns how well an image fits a version; None if it does not."""
    stated = item.platform.os_version if item.platform else ""
    version = _version(item)
    if stated == text:
        return 4, version or _NO_VERSION
    if not stated:
        return 1, _NO_VERSION
    if host is None or version is None:
        return None
    if version.release == host.release:
        return 3, version
    return (2, version) if host.shares_kernel_with(version) else None


def _processor(item: Descriptor) -> tuple[str, str, str]:
    platform = item.platform.normalized() if item.platform else Platform("", "")
    return platform.os, platform.architecture, platform.variant


def _release(item: Descriptor) -> tuple[int, int, int] | str:
    version = _version(item)
    return version.release if version else item.platform.os_version if item.platform else ""


def _version(item: Descriptor) -> WindowsVersion | None:
    return item.platform.windows_version if item.platform else None


def _features(item: Descriptor) -> tuple[str, ...]:
    return item.platform.os_features if item.platform else ()


def _has_features(wanted: Platform, item: Descriptor) -> bool:
    """Returns whether a platform has the features that an image needs. One that states none may have any."""
    return not wanted.os_features or {*_features(item)} <= {*wanted.os_features, _IMPLIED_FEATURE}


def is_attestation(item: Descriptor) -> bool:
    """Returns whether an entry of an index is an attestation of BuildKit, or has the platform "unknown" as these do."""
    return _ATTESTATION in item.annotations or (item.platform is not None and item.platform.os == "unknown")


def _without_repetitions(manifests: Iterable[Descriptor]) -> list[Descriptor]:
    return list({(item.digest, str(item.platform)): item for item in manifests}.values())


def _listed(images: Sequence[Descriptor]) -> str:
    texts = [str(item.platform)[:_LONGEST] if item.platform else "no platform" for item in images[:_MOST_SHOWN]]
    shown = ", ".join(f"{text} ({item.digest[:19]}…)" for text, item in zip(texts, images, strict=False))
    more = len(images) - _MOST_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
