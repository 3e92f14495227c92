"""`InstalledSystem`: what is installed in an image, as far as advisories speak of it."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.images.windows_version import WindowsVersion


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime that is installed beside others of its kind.

    Attributes:
        family: its name in MSRC's documents: ".NET", "ASP.NET Core" or "PowerShell".
        version: its version ("8.0.7").
        path: the directory or the file that says so; "" if that is not known.
    """

    family: str
    version: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class InstalledSystem:
    """What is installed.

    Attributes:
        version: the version of Windows; its revision is the UBR. Its build is 0 if no version is known.
        product_name: the `ProductName` of the registry ("Windows Server 2022 Datacenter").
        installation_type: the `InstallationType` ("Server Core", "Nano Server", "Server", "Client").
        architecture: "amd64", "arm64" or "386".
        updates: the articles of the updates that the image lists as installed, without "KB". Empty if it lists none.
        framework: the version of .NET Framework 4 ("4.8"); "" if there is none.
        framework_updates: the versions of the cumulative updates of .NET Framework ("10.0.4739.4").
        has_framework_3_5: whether .NET Framework 3.5 is installed.
        runtimes: the installed runtimes.
    """

    version: WindowsVersion
    product_name: str = ""
    installation_type: str = ""
    architecture: str = "amd64"
    updates: frozenset[str] = frozenset()
    framework: str = ""
    framework_updates: tuple[str, ...] = ()
    has_framework_3_5: bool = False
    runtimes: tuple[Runtime, ...] = ()
