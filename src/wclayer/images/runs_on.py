"""`runs_on`: whether a Windows host can run an image, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from wclayer.errors import InvalidParameterError, during
from wclayer.images.config import ImageConfig
from wclayer.images.platform import WINDOWS, Platform, parse_platform
from wclayer.images.windows_version import WINDOWS_SERVER_2022, WindowsVersion

Isolation = Literal["process", "hyperv"]
"""How a container is kept apart: its processes run on the kernel of the host, or in a virtual machine with a kernel of
the image."""

ISOLATIONS: tuple[Isolation, ...] = get_args(Isolation)

_FIRST_WITH_CONTAINERS = 14393
_WINDOWS_11_25H2 = 26200
_WINDOWS_SERVER_2025 = 26100


@dataclass(frozen=True, slots=True)
class RunsOn:
    """Whether a host can run an image.

    Attributes:
        runs: True if it can.
        reason: the reason, as a sentence.
        warning: what may prevent it nevertheless, as a sentence; "" if nothing is known.
    """

    runs: bool
    reason: str
    warning: str = ""

    def __bool__(self) -> bool:
        return self.runs


@during("runs on")
def runs_on(
    image: ImageConfig | Platform | str,
    host_version: str,
    isolation: Isolation = "process",
    *,
    has_utility_vm: bool | None = None,
) -> RunsOn:
    """Returns whether a Windows host can run an image, with the reason.

    The releases are compared; the revisions (UBR) never matter.

    - An image that states no version runs on every host: those for HostProcess containers state none.
    - `process`: the host's kernel must be of the same release. From Windows Server 2022 on, it may also be a later one
      up to the generation of the next long-term release (containerd/platforms; `WindowsVersion.shares_kernel_with`).
    - `hyperv`: the host must not be older than the image (moby, `checkImageCompatibility`), and the base layer of the
      image must have a utility VM.

    Args:
        image: the image's configuration, its platform, or its version ("10.0.20348.5499").
        host_version: the version of the host ("10.0.26100"), or its platform ("windows/arm64:10.0.26100"). Only a
            platform states the processor; it is compared then.
        isolation: how the container is kept apart.
        has_utility_vm: whether the base layer has a utility VM; None if that is not known.

    Raises:
        InvalidParameterError: the version is none of Windows, or there is no such isolation.
    """
    if isolation not in ISOLATIONS:
        raise InvalidParameterError(str(isolation), f"the isolation is one of {', '.join(ISOLATIONS)}")
    host = _platform(host_version)
    kernel = host.windows_version
    if kernel is None:
        raise InvalidParameterError(host_version[:100], "is not a version of Windows such as 10.0.20348")
    made_for = image.platform if isinstance(image, ImageConfig) else image
    if isinstance(made_for, str):
        made_for = _platform(made_for)
    if made_for.os != WINDOWS:
        return RunsOn(False, f"The image is made for {made_for.os[:60] or 'no operating system'}, not for Windows.")
    if not host.is_of(made_for):
        return RunsOn(
            False, f"The image is made for {made_for.architecture[:60]}, and the host has {host.architecture}."
        )
    if not made_for.os_version:
        return RunsOn(True, "The image states no version of Windows, so every host takes it.")
    version = made_for.windows_version
    if version is None:
        return RunsOn(False, f"The image states the version {made_for.os_version[:60]!r}, which is none of Windows.")
    if isolation == "process":
        return _by_process(version, kernel)
    return _by_hyperv(version, kernel, has_utility_vm)


def _platform(text: str) -> Platform:
    if WindowsVersion.parse(text):
        return Platform(WINDOWS, "", text)
    return parse_platform(text)


def _by_process(image: WindowsVersion, host: WindowsVersion) -> RunsOn:
    if host.release == image.release:
        return RunsOn(True, f"Image and host are of the same release, {_release(image)}.")
    if host.shares_kernel_with(image):
        warning = ""
        if host.build >= _WINDOWS_11_25H2 and image.build == _WINDOWS_SERVER_2025:
            warning = (
                f"Hosts of the build {_WINDOWS_11_25H2} have refused layers of {_WINDOWS_SERVER_2025} with the error"
                " 0xc0370112 (hcsshim issue 2566)."
            )
        return RunsOn(
            True,
            f"The kernel of {_release(host)} runs processes of the older release {_release(image)}: both have the"
            " stable interface of Windows Server 2022 and later.",
            warning,
        )
    if image > host:
        return RunsOn(False, f"The image's release {_release(image)} is newer than the host's, {_release(host)}.")
    if host.build < WINDOWS_SERVER_2022:
        why = f"a host older than {WINDOWS_SERVER_2022} runs only images of its own release"
    else:
        why = f"its kernel no longer runs processes of the release {_release(image)}"
    return RunsOn(False, f"The host is of the release {_release(host)}: {why}. With Hyper-V isolation it may run.")


def _by_hyperv(image: WindowsVersion, host: WindowsVersion, has_utility_vm: bool | None) -> RunsOn:
    if host.build < _FIRST_WITH_CONTAINERS:
        return RunsOn(False, f"The host's release {_release(host)} has no containers.")
    if image.release > host.release:
        return RunsOn(False, f"The image's release {_release(image)} is newer than the host's, {_release(host)}.")
    if has_utility_vm is False:
        return RunsOn(False, "The base layer of the image has no utility VM, which Hyper-V isolation starts.")
    warnings = []
    if has_utility_vm is None:
        warnings.append("The base layer must have a utility VM, which was not looked for.")
    if not host.shares_kernel_with(image):
        warnings.append("containerd does not choose it by itself: it compares releases as for process isolation.")
    return RunsOn(
        True,
        f"The virtual machine has the kernel of the image, {_release(image)}, which is not newer than the host,"
        f" {_release(host)}.",
        " ".join(warnings),
    )


def _release(version: WindowsVersion) -> str:
    return ".".join(map(str, version.release))
