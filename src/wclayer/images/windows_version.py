"""`WindowsVersion`: a version of Windows by its numbers, and which images a kernel can run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

WINDOWS_SERVER_2022 = 20348
LONG_TERM_RELEASES = {"ltsc2016": 14393, "ltsc2019": 17763, "ltsc2022": WINDOWS_SERVER_2022, "ltsc2025": 26100}
"""The builds of Windows Server's long-term releases, by the names that tags of images have for them."""
_STABLE_RELEASES = (WINDOWS_SERVER_2022, 26100)
"""The builds of the long-term releases of Windows Server since processes of the one before run on the kernel."""

_TEXT = re.compile(r"(\d{1,5})\.(\d{1,5})\.(\d{1,5})(?:\.(\d{1,9}))?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class WindowsVersion:
    """A version of Windows. Versions are ordered by their numbers: 10.0.20348.1000 is newer than 10.0.20348.999.

    Attributes:
        major: 10.
        minor: 0.
        build: the release (20348 is Windows Server 2022).
        revision: the update of the release (UBR); -1 if it is not stated.
    """

    major: int
    minor: int
    build: int
    revision: int = -1

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Returns the version that a text states ("10.0.20348", "10.0.20348.5499"); None if it states none."""
        found = _TEXT.fullmatch(text)
        return cls(*(int(number) for number in found.groups(default="-1"))) if found else None

    @property
    def release(self) -> tuple[int, int, int]:
        """The version without its revision."""
        return self.major, self.minor, self.build

    def shares_kernel_with(self, image: WindowsVersion) -> bool:
        """Returns whether processes of an image can run on the kernel of this version. The revisions do not matter.

        Before Windows Server 2022, only the same release can. A later host runs what was released since the long-term
        release before its own: one of the generation of Windows Server 2025 (26100, 26200) runs 20348 and later.

        Reference: containerd/platforms, `checkWindowsHostAndContainerCompat` of v1.0.0-rc.5 (pull request 34, for
        moby#53397).
        """
        if (self.major, self.minor) != (image.major, image.minor):
            return False
        if self.build < WINDOWS_SERVER_2022:
            return image.build == self.build
        own = max(number for number, build in enumerate(_STABLE_RELEASES) if build <= self.build)
        return _STABLE_RELEASES[max(own - 1, 0)] <= image.build <= self.build

    def __str__(self) -> str:
        revision = f".{self.revision}" if self.revision >= 0 else ""
        return f"{self.major}.{self.minor}.{self.build}{revision}"
