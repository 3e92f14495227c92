"""What is expected of the Dockerfiles in `tests/builder/dockerfiles`: built, or refused at a line for a word."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "dockerfiles"


@dataclass(frozen=True)
class Expected:
    """What is expected of a Dockerfile.

    Attributes:
        refusals: the lines that are refused, each with a part of the message. None of them: it is built.
        by_parser: whether the language refuses it already, without its bases and its context.
        advice: the lines of which the parser tells that they are probably not meant so.
    """

    refusals: tuple[tuple[int, str], ...] = ()
    by_parser: bool = False
    advice: tuple[int, ...] = ()


BUILT = Expected()


def refused(line: int, part: str) -> Expected:
    """Returns that one line is refused."""
    return Expected(((line, part),))


EXPECTED = {
    "acl-and-links": BUILT,
    "add-without-checksum": refused(3, "--checksum"),
    "aspnet-framework": refused(5, "msbuild"),
    "aspnet-published": BUILT,
    "build-agent": BUILT,
    "build-tools": refused(5, "start"),
    "cache-mount": Expected(((5, "RUN --mount is not supported"),), by_parser=True),
    "choco-packages": refused(5, "Set-ExecutionPolicy"),
    "default-escape": BUILT,
    "default-escape-trap": Expected(((2, "app"),), advice=(3, 4)),
    "flannel-agent": BUILT,
    "framework-service": BUILT,
    "git-clone": refused(4, "git"),
    "git-portable": BUILT,
    "go-build": refused(5, "go"),
    "go-scratch-hostprocess": BUILT,
    "healthcheck-none": BUILT,
    "iis-appcmd": refused(4, "appcmd"),
    "iis-features": refused(4, "Install-WindowsFeature"),
    "iis-site": BUILT,
    "java-matrix": BUILT,
    "java-runtime": BUILT,
    "kubernetes-pause": BUILT,
    "kubernetes-proxy": BUILT,
    "monitoring-agent": BUILT,
    "msi-install": refused(4, "msiexec"),
    "msi-powershell": refused(5, "Start-Process"),
    "multi-stage-dotnet": refused(6, "dotnet"),
    "nanoserver-files": BUILT,
    "nginx-logs": BUILT,
    "node-app": refused(4, "npm"),
    "node-download": refused(5, "Invoke-WebRequest"),
    "node-zip": BUILT,
    "onbuild-base": BUILT,
    "onbuild-chained": Expected(((2, "ONBUILD ONBUILD"), (3, "ONBUILD FROM")), by_parser=True),
    "powershell-core": BUILT,
    "python-embedded": BUILT,
    "python-installer": refused(4, "setup.exe"),
    "python-pip": refused(5, "python"),
    "registry-import": BUILT,
    "servercore-files": BUILT,
    "sql-client": refused(6, "Install-Module"),
    "typo": Expected(
        ((2, "is FROM meant?"), (3, "is COPY meant?"), (4, "--chmod"), (5, "NAME has no value")), by_parser=True
    ),
}
"""What is expected, by the name of the file."""
