"""What is expected of the Dockerfiles in `tests/build/dockerfiles`: built, or refused at a line for a word."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "dockerfiles"


@dataclass(frozen=True)
class Expected:
    """What is expected of a Dockerfile.

    Attributes:
        refusals: the lines that are refused, each with a part of the message. None of them: it is built.
        needs: a line and the commands in it that the tables must have; without them, this line is refused.
        by_parser: whether the language refuses it already, without its bases and its context.
        advice: the lines of which the parser tells that they are probably not meant so.
    """

    refusals: tuple[tuple[int, str], ...] = ()
    needs: tuple[int, tuple[str, ...]] | None = None
    by_parser: bool = False
    advice: tuple[int, ...] = ()


BUILT = Expected()


def refused(line: int, part: str, needs: tuple[int, tuple[str, ...]] | None = None) -> Expected:
    """Returns that one line is refused."""
    return Expected(((line, part),), needs)


def built_with(line: int, *commands: str) -> Expected:
    """Returns that it is built if the tables have the commands."""
    return Expected(needs=(line, commands))


EXPECTED = {
    "acl-and-links": built_with(6, "robocopy"),
    "add-without-checksum": refused(3, "--checksum"),
    "aspnet-framework": refused(5, "msbuild"),
    "aspnet-published": BUILT,
    "build-agent": built_with(7, "icacls"),
    "build-tools": refused(5, "start"),
    "cache-mount": Expected(((5, "RUN --mount is not supported"),), by_parser=True),
    "choco-packages": refused(5, "Set-ExecutionPolicy"),
    "default-escape": BUILT,
    "default-escape-trap": Expected(((2, "app"),), advice=(3, 4)),
    "flannel-agent": BUILT,
    "framework-service": BUILT,
    "git-clone": refused(4, "git"),
    "git-portable": built_with(5, "Expand-Archive", "Remove-Item"),
    "go-build": refused(5, "go"),
    "go-scratch-hostprocess": BUILT,
    "healthcheck-none": BUILT,
    "iis-appcmd": refused(4, "appcmd"),
    "iis-features": refused(4, "Install-WindowsFeature"),
    "iis-site": built_with(4, "Remove-Item"),
    "java-matrix": BUILT,
    "java-runtime": BUILT,
    "kubernetes-pause": BUILT,
    "kubernetes-proxy": BUILT,
    "monitoring-agent": built_with(6, "New-Item", "Expand-Archive"),
    "msi-install": refused(4, "msiexec"),
    "msi-powershell": refused(5, "Start-Process"),
    "multi-stage-dotnet": refused(6, "dotnet"),
    "nanoserver-files": built_with(5, "icacls"),
    "nginx-logs": BUILT,
    "node-app": refused(4, "npm"),
    "node-download": refused(5, "Invoke-WebRequest"),
    "node-zip": built_with(5, "Expand-Archive"),
    "onbuild-base": BUILT,
    "onbuild-chained": Expected(((2, "ONBUILD ONBUILD"), (3, "ONBUILD FROM")), by_parser=True),
    "powershell-core": built_with(5, "New-Item", "Set-Content"),
    "python-embedded": BUILT,
    "python-installer": refused(4, "setup.exe"),
    "python-pip": refused(5, "python"),
    "registry-import": BUILT,
    "servercore-files": BUILT,
    "sql-client": refused(6, "Install-Module", (4, ("New-Item", "New-ItemProperty"))),
    "typo": Expected(
        ((2, "is FROM meant?"), (3, "is COPY meant?"), (4, "--chmod"), (5, "NAME has no value")), by_parser=True
    ),
}
"""What is expected, by the name of the file."""
