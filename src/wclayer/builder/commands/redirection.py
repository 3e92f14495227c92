"""Redirections of a command: to files, to NUL, to one another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from wclayer.builder.commands.command import refused
from wclayer.builder.commands.messages import ACCESS_DENIED, PATH_NOT_FOUND, message_of
from wclayer.builder.commands.state import PlannedState, Shell, Sink, is_null_device
from wclayer.builder.commands.wildcards import NOT_THERE
from wclayer.errors import LayerError
from wclayer.win32.attributes import FileAttributes

_HELD_FROM_NEW = int(FileAttributes.READONLY | FileAttributes.HIDDEN | FileAttributes.SYSTEM)
"""Windows refuses to create a file anew over one with these attributes (CreateFile, CREATE_ALWAYS)."""
_READ_ONLY = int(FileAttributes.READONLY)
_PIECE = 1 << 16


@dataclass(frozen=True)
class Redirection:
    """One redirection as it is written: `2>>file`, `>nul`, `2>&1`, `<nul`."""

    handle: int
    operator: str
    target: str
    where: str

    @property
    def makes_file(self) -> bool:
        """Whether a file is made or changed."""
        return self.operator in (">", ">>") and not is_null_device(self.target)

    def check(self, state: PlannedState) -> None:
        """Refuses what is not supported.

        Raises:
            NotSupportedError: input comes from a file; a handle is neither 1 nor 2; the path is not in the image.
        """
        word = f"{self.handle}{self.operator}{self.target}"
        if self.operator == "<":
            if not is_null_device(self.target):
                raise refused(self.where, word, "no command here reads input; leave it out, or write <nul")
            return
        if self.handle not in (1, 2):
            raise refused(self.where, word, "possible are the handles 1 (output) and 2 (errors)")
        if self.operator == ">&":
            if self.target not in ("1", "2"):
                raise refused(self.where, word, "possible are >&1 and >&2")
        elif not is_null_device(self.target):
            state.path(self.target)


def redirected(shell: Shell, redirections: Sequence[Redirection], stack: ExitStack) -> int:
    """Redirects what a command prints, until the stack ends.

    Returns:
        0, or 1 if a file could not be opened: then the command must not run.
    """
    sinks: dict[int, Sink] = {1: shell.stdout, 2: shell.stderr}
    for redirection in redirections:
        if redirection.operator == "<":
            continue
        if redirection.operator == ">&":
            sinks[redirection.handle] = sinks[int(redirection.target)]
        elif is_null_device(redirection.target):
            sinks[redirection.handle] = lambda _: None
        else:
            sink = _opened(shell, redirection, stack)
            if sink is None:
                return 1
            sinks[redirection.handle] = sink
    stack.enter_context(shell.redirected(sinks[1], sinks[2]))
    return 0


class _FileSink:
    """Takes what a command prints into a file: a context manager.

    The file is opened for each piece alone, because a command that edits the registry ends the view.

    Args:
        shell: the shell.
        path: the file, which exists.
        where: the file and the line of the instruction, for messages.
    """

    def __init__(self, shell: Shell, path: str, where: str) -> None:
        self._shell = shell
        self._path = path
        self._where = where
        self._pieces = bytearray()
        self._expected = self._state()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            self._flush()

    def take(self, data: bytes) -> None:
        """Takes a piece of what is printed."""
        self._pieces += data
        if len(self._pieces) >= _PIECE:
            self._flush()

    def _flush(self) -> None:
        if self._state() != self._expected:
            raise refused(
                self._where,
                self._path,
                "this file takes the output of a command, and a command changes, moves or removes it meanwhile. Windows"
                " refuses that; write the output to another file (and both outputs to one with 2>&1)",
            )
        if self._pieces:
            with self._shell.view.open(self._path, "ab") as file:
                file.write(self._pieces)
            self._pieces.clear()
            self._expected = self._state()

    def _state(self) -> tuple[int, int] | None:
        """Returns what changes if another one changes the file."""
        try:
            status = self._shell.view.stat(self._path)
        except NOT_THERE:
            return None
        return status.file_id, status.size


def _opened(shell: Shell, redirection: Redirection, stack: ExitStack) -> Sink | None:
    path = shell.path(redirection.target)
    appends = redirection.operator == ">>"
    try:
        if shell.view.exists(path):
            status = shell.view.stat(path)
            if status.is_directory or status.info.attributes & (_READ_ONLY if appends else _HELD_FROM_NEW):
                shell.complain(ACCESS_DENIED)
                return None
        with shell.view.open(path, "ab" if appends else "wb"):
            pass
    except FileNotFoundError:
        shell.complain(PATH_NOT_FOUND)
        return None
    except NotADirectoryError:
        shell.complain(PATH_NOT_FOUND)
        return None
    except LayerError as error:
        text = message_of(error)
        if text is None:
            raise
        shell.complain(text)
        return None
    return stack.enter_context(_FileSink(shell, path, redirection.where)).take
