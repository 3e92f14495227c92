r"""The state in which commands run: `Shell`, with the scratch, and `PlannedState`, which is known before a build."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from wclayer.builder.commands.environment_block import ADMINISTRATOR, Environment, process_environment
from wclayer.builder.commands.known_files import KnownFiles
from wclayer.builder.machine.code_pages import CodePages
from wclayer.errors import InvalidParameterError, NotSupportedError
from wclayer.view.layer_view import LayerView
from wclayer.win32.names import is_reserved, name_key

if TYPE_CHECKING:
    from wclayer.engines.portable.registry import RegistryEditor

__all__ = [
    "ADMINISTRATOR",
    "Environment",
    "PlannedState",
    "Shell",
    "Sink",
    "WorkspaceLike",
    "absolute_path",
    "is_null_device",
    "process_environment",
]

Sink = Callable[[bytes], object]
"""Takes what a command prints."""


class WorkspaceLike(Protocol):
    """What commands need of a `Workspace`."""

    @property
    def view(self) -> LayerView: ...

    @property
    def time(self) -> int | None: ...

    def registry(self) -> AbstractContextManager[RegistryEditor]: ...


def is_null_device(text: str) -> bool:
    r"""Returns whether a path names the device NUL, which takes everything and is empty: `nul`, `NUL:`, `\\.\nul`."""
    name = text.removeprefix("\\\\.\\").removesuffix(":")
    return name_key(name) == "NUL"


def absolute_path(text: str, directory: str) -> str:
    r"""Returns the absolute path `C:\…` that a path of a command means, as GetFullPathName determines it.

    Both separators are understood, and `.` and `..`. Dots and spaces at the end of the path are cut off. Wildcards and
    the name of a stream stay as they are.

    Args:
        text: the path as it was written, without quotes.
        directory: the current directory.

    Raises:
        NotSupportedError: the path is on another drive or machine, or is that of a device.
        InvalidParameterError: the path is empty.
    """
    if not text:
        raise InvalidParameterError(text, "an empty path; name a file or a directory")
    path = text.replace("/", "\\")
    if path.startswith(("\\\\?\\", "\\\\.\\")) and path[5:6] == ":":
        path = path[4:]
    if path.startswith("\\\\"):
        raise NotSupportedError(text, r"is on another machine or is a device; paths in a build are on C:\ ")
    if path[1:2] == ":" and path[0].isascii() and path[0].isalpha():
        if path[0] not in "cC":
            raise NotSupportedError(text, f"is on the drive {path[:2].upper()}; an image has only C:")
        path = path[2:]
    if not path.startswith("\\"):
        path = f"{directory}\\{path}"[2:]
    parts: list[str] = []
    for part in path.split("\\"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            # Windows cuts one dot off a name on the way, and all dots and spaces off the last one.
            parts.append(part.removesuffix(".") if part.strip(". ") else part)
    if parts and parts[-1].rstrip(". "):
        parts[-1] = parts[-1].rstrip(". ")
    if parts and is_reserved(parts[-1]):
        raise NotSupportedError(text, f"{parts[-1]!r} is a device, not a file")
    return "C:\\" + "\\".join(parts)


@dataclass
class PlannedState:
    """What is known of a shell before anything is built.

    Each action changes it as its run will change the shell (`Action.check`); what only the run decides becomes unknown.
    """

    where: str = "RUN"
    """The file and the line of the instruction, for messages (`Dockerfile:12`)."""
    environment: Environment = field(default_factory=Environment)
    """The variables of the process."""
    machine: Environment = field(default_factory=Environment)
    r"""The machine's variables as the registry has them (`HKLM\SYSTEM\…\Session Manager\Environment`), unexpanded. The
    environment of the next RUN is made from them (`process_environment`)."""
    directory: str | None = "C:\\"
    """The current directory; None if only the run decides it."""
    user: str = ADMINISTRATOR
    """The user who runs the commands (`USER`)."""
    pushed: tuple[str | None, ...] | None = ()
    """The directories that `pushd` has left; None if only the run decides them."""
    files: KnownFiles | None = None
    """The files that the commands will find; None if an earlier command may have changed any of them."""
    code_pages: CodePages = field(default_factory=CodePages)
    """The code pages of the image."""

    def copy(self) -> PlannedState:
        """Returns a copy, which changes on its own."""
        return replace(self, environment=self.environment.copy(), machine=self.machine.copy())

    def take(self, other: PlannedState) -> None:
        """Takes over the values of another state."""
        self.environment, self.machine = other.environment, other.machine
        self.directory, self.pushed, self.files = other.directory, other.pushed, other.files

    def take_either(self, one: PlannedState, other: PlannedState) -> None:
        """Takes over what is the same in two states, of which the run decides which one holds."""
        reason = "whether an earlier command sets it is decided only when it runs"
        self.environment = one.environment.merged(other.environment, reason)
        self.machine = one.machine.merged(other.machine, reason)
        self.directory = one.directory if one.directory == other.directory else None
        self.pushed = one.pushed if one.pushed == other.pushed else None
        self.files = one.files if one.files is other.files else None

    def path(self, text: str) -> str | None:
        """Returns the absolute path that a path means, or None if it depends on a directory that is not known yet.

        Raises:
            NotSupportedError, InvalidParameterError: as `absolute_path`, with the line.
        """
        try:
            found = absolute_path(text, self.directory or "C:\\")
        except (NotSupportedError, InvalidParameterError) as error:
            raise type(error)(self.where, f"{error.path!r} {error.detail}") from None
        is_relative = not text.replace("/", "\\").startswith("\\") and text[1:3].replace("/", "\\") != ":\\"
        return None if is_relative and self.directory is None else found


def _ignore(_: bytes) -> None:
    pass


@dataclass
class Shell:
    """A shell of a build: commands change the files and the registry of its workspace."""

    workspace: WorkspaceLike
    environment: Environment = field(default_factory=Environment)
    directory: str = "C:\\"
    user: str = ADMINISTRATOR
    stdout: Sink = _ignore
    stderr: Sink = _ignore
    error_level: int = 0
    """The exit code of the last command that set one (`%ERRORLEVEL%`)."""
    pushed: list[str] = field(default_factory=list)
    """The directories that `pushd` has left, the last one at the end."""
    code_pages: CodePages = field(default_factory=CodePages)
    """The code pages of the image."""

    @property
    def view(self) -> LayerView:
        """The file system that the commands see and change."""
        return self.workspace.view

    def path(self, text: str) -> str:
        r"""Returns the absolute path `C:\…` that a path of a command means (`absolute_path`)."""
        return absolute_path(text, self.directory)

    def say(self, text: str) -> None:
        """Prints a line on the standard output, in the code page of the console."""
        self.write(f"{text}\r\n")

    def write(self, text: str) -> None:
        """Prints a text on the standard output, in the code page of the console."""
        self.stdout(self.code_pages.oem.printed(text))

    def complain(self, text: str) -> None:
        """Prints a line on the standard error, in the code page of the console."""
        self.stderr(self.code_pages.oem.printed(f"{text}\r\n"))

    def child(self) -> Shell:
        """Returns the shell of a new process: it has the same files, and its own variables and directory."""
        return replace(self, environment=self.environment.copy(), error_level=0, pushed=[])

    @contextmanager
    def redirected(self, stdout: Sink | None = None, stderr: Sink | None = None) -> Iterator[None]:
        """Sends what is printed in the context to other places."""
        before = self.stdout, self.stderr
        self.stdout, self.stderr = stdout or before[0], stderr or before[1]
        try:
            yield
        finally:
            self.stdout, self.stderr = before
