"""The commands that concern the shell itself: cd, pushd, popd, set, echo, type, exit."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wclayer.builder.commands.command import Action, Command, Invocation, refused
from wclayer.builder.commands.flow import ExitShell
from wclayer.builder.commands.messages import ACCESS_DENIED, BAD_DIRECTORY, BAD_SYNTAX, FILE_NOT_FOUND, PATH_NOT_FOUND
from wclayer.builder.commands.state import PlannedState, Shell, is_null_device
from wclayer.builder.commands.wildcards import find, is_directory, split_path
from wclayer.builder.commands.words import split_words
from wclayer.builder.machine.code_pages import CodePageError
from wclayer.errors import NotSupportedError
from wclayer.win32.wildcards import has_wildcards

_PIECE = 1 << 20
_BYTE_ORDER_MARK = b"\xff\xfe"


@dataclass
class ChangeDirectory:
    """`cd`, `pushd`: the directory from which relative paths begin."""

    path: str
    pushes: bool = False

    def check(self, state: PlannedState) -> None:
        before = state.directory
        state.directory = state.path(self.path)
        if self.pushes and state.pushed is not None:
            state.pushed = (*state.pushed, before)

    def run(self, shell: Shell) -> int:
        path = shell.path(self.path)
        if not shell.view.exists(path):
            shell.complain(PATH_NOT_FOUND)
            return 1
        if not is_directory(shell, path):
            shell.complain(BAD_DIRECTORY)
            return 1
        if self.pushes:
            shell.pushed.append(shell.directory)
        shell.directory = path
        return 0


@dataclass
class ShowDirectory:
    """`cd` without a path: prints the directory."""

    def check(self, state: PlannedState) -> None:
        pass

    def run(self, shell: Shell) -> int:
        shell.say(shell.directory)
        return 0


@dataclass
class PopDirectory:
    """`popd`: goes back to the directory that the last `pushd` left."""

    def check(self, state: PlannedState) -> None:
        if state.pushed:
            state.directory, state.pushed = state.pushed[-1], state.pushed[:-1]
        elif state.pushed is None:
            state.directory = None

    def run(self, shell: Shell) -> int:
        if not shell.pushed:
            return 1
        shell.directory = shell.pushed.pop()
        return 0


def _parse_cd(invocation: Invocation) -> Action:
    text = invocation.tail.strip(" \t,;=")
    switch = re.match(r"/[dD](?![A-Za-z])", text)
    if switch is not None:
        text = text[switch.end() :].strip(" \t,;=")
    elif text.startswith("/") and re.match(r"/[A-Za-z?](?![A-Za-z\\/])", text):
        raise invocation.refuse(text, "the one switch is /D; a path that begins with / needs quotes")
    path = text.replace('"', "").rstrip(" \t")
    if not path or path.lower() == "c:":
        return ShowDirectory()
    if has_wildcards(path):
        raise invocation.refuse(path, "wildcards are not supported; write the name")
    return ChangeDirectory(path)


def _parse_pushd(invocation: Invocation) -> Action:
    path = invocation.tail.strip(" \t,;=").replace('"', "")
    if not path:
        raise invocation.refuse("pushd", "write a directory; the list of directories is not supported")
    return ChangeDirectory(path, pushes=True)


def _parse_popd(_: Invocation) -> Action:
    return PopDirectory()


@dataclass
class SetVariable:
    """`set NAME=VALUE`: a variable of this line's process; an empty value removes it."""

    name: str
    value: str

    def check(self, state: PlannedState) -> None:
        self._apply(state)

    def run(self, shell: Shell) -> int:
        self._apply(shell)
        return 0

    def _apply(self, state: PlannedState | Shell) -> None:
        if self.value:
            state.environment.set(self.name, self.value)
        else:
            state.environment.delete(self.name)


def _parse_set(invocation: Invocation) -> Action:
    text = invocation.tail.lstrip(" \t,;=")
    if switch := re.match(r"/[A-Za-z?]+", text):
        raise invocation.refuse(switch[0], "calculations and questions are not supported; write set NAME=VALUE")
    if text.startswith('"'):
        # What follows the last quote is ignored.
        text = text[1:].rpartition('"')[0] if '"' in text[1:] else text[1:]
        text = text.lstrip(" \t")
    name, equals, value = text.partition("=")
    if not equals:
        raise invocation.refuse(text or "set", "write set NAME=VALUE; lists of variables are not supported")
    if not name:
        raise invocation.refuse(text, "a name is expected before =")
    return SetVariable(name, value)


@dataclass
class Echo:
    """`echo`: prints its text exactly as it is written, blanks included."""

    text: str

    def check(self, state: PlannedState) -> None:
        try:
            state.code_pages.oem.encode(self.text)
        except CodePageError as error:
            raise refused(
                state.where, error.word,
                f"echo: {error.detail}: Windows writes another one. COPY a file with the text instead",
            ) from None  # fmt: skip

    def run(self, shell: Shell) -> int:
        shell.say(self.text)
        return 0


@dataclass
class NoEffect:
    """A command that succeeds and changes nothing that a build can see."""

    def check(self, state: PlannedState) -> None:
        pass

    def run(self, shell: Shell) -> int:
        return 0


def _parse_echo(invocation: Invocation) -> Action:
    tail = invocation.tail
    word = tail.strip(" \t")
    if not word:
        return Echo("ECHO is on.")
    if word.lower() in ("on", "off") and tail[0] in " \t,;=":
        return NoEffect()
    if "/?" in tail.split():
        raise invocation.refuse("/?", "the help is not supported")
    return Echo(tail[1:])


@dataclass
class Type:
    """`type`: prints the contents of files."""

    paths: list[str]

    def check(self, state: PlannedState) -> None:
        for path in self.paths:
            if not is_null_device(path):
                state.path(path)

    def run(self, shell: Shell) -> int:
        code = 0
        for path in self.paths:
            if not is_null_device(path):
                code = self._type(shell, path) or code
        return code

    def _type(self, shell: Shell, path: str) -> int:
        found = [one for one in find(shell, path) if not has_wildcards(path) or not one.is_directory]
        shows_names = len(self.paths) > 1 or has_wildcards(path)
        if not found:
            directory = split_path(shell.path(path))[0]
            shell.complain(FILE_NOT_FOUND if is_directory(shell, directory) else PATH_NOT_FOUND)
            if len(self.paths) > 1:
                shell.complain(f"Error occurred while processing: {path}.")
            return 1
        for one in found:
            if one.is_directory:
                shell.complain(ACCESS_DENIED)
                return 1
            if shows_names:
                name = one.name if has_wildcards(path) else path
                shell.complain(f"\r\n{name}\r\n\r\n")
            _print_file(shell, one.path)
        return 0


def _print_file(shell: Shell, path: str) -> None:
    with shell.view.open(path, "rb") as file:
        first = file.read(len(_BYTE_ORDER_MARK))
        if first == _BYTE_ORDER_MARK:
            # Text in UTF-16 is printed in the code page of the console.
            text = file.read(_PIECE)
            if len(text) == _PIECE or file.read(1):
                raise NotSupportedError(path, "`type` of more than 1 MiB of UTF-16 text; use copy /b, which keeps it")
            try:
                shell.stdout(shell.code_pages.oem.encode(text.decode("utf-16-le")))
            except CodePageError as error:
                raise NotSupportedError(path, f"`type` of {error.word[:20]!r}: {error.detail}; use copy /b") from None
            except UnicodeDecodeError:
                raise NotSupportedError(path, "`type` of a text that is no UTF-16; use copy /b") from None
            return
        shell.stdout(first)
        while piece := file.read(_PIECE):
            shell.stdout(piece)


def _parse_type(invocation: Invocation) -> Action:
    words, switches = split_words(invocation.tail)
    if switches:
        raise invocation.refuse(switches[0], "there is no such switch; a path with / needs quotes")
    if not words:
        raise invocation.refuse("type", BAD_SYNTAX)
    return Type(words)


@dataclass
class Exit:
    """`exit`: ends the line with an exit code."""

    code: int | None

    def check(self, state: PlannedState) -> None:
        pass

    def run(self, shell: Shell) -> int:
        raise ExitShell(shell.error_level if self.code is None else self.code)


def _parse_exit(invocation: Invocation) -> Action:
    found = re.fullmatch(r"[\s,;=]*(?:/[bB](?![^\s,;=]))?[\s,;=]*(-?[0-9]{1,9})?[\s,;=]*", invocation.tail)
    if found is None:
        raise invocation.refuse(invocation.tail.strip(), "write exit, exit CODE or exit /b CODE")
    return Exit(None if found[1] is None else int(found[1]))


COMMANDS = (
    Command(
        ("cd", "chdir"),
        "cd [/D] PATH",
        "The path may have blanks without quotes. /D makes no difference, as there is one drive. The spelling"
        " stays as written. Without a path, the directory is printed.",
        _parse_cd,
        "Shell",
        True,
        keeps_files=True,
    ),
    Command(
        ("pushd",),
        "pushd PATH",
        "Changes the directory; `popd` goes back.",
        _parse_pushd,
        "Shell",
        True,
        keeps_files=True,
    ),
    Command(
        ("popd",),
        "popd",
        "Without a directory to go back to, the exit code is 1.",
        _parse_popd,
        "Shell",
        True,
        keeps_files=True,
        keeps_error_level=True,
        hides_error_level=True,
    ),
    Command(
        ("set",),
        'set NAME=VALUE, set "NAME=VALUE"',
        "Blanks before `&` are part of the value without quotes. The variable is gone after the RUN; use ENV "
        "or `setx`. `/A`, `/P` and lists are refused.",
        _parse_set,
        "Shell",
        True,
        keeps_files=True,
        keeps_error_level=True,
        never_fails=True,
    ),
    Command(
        ("echo",),
        "echo TEXT, echo.TEXT",
        "Prints all that follows, blanks before `>` and `&` included, and CR LF. A character that the "
        "code page of the image lacks is refused.",
        _parse_echo,
        "Shell",
        True,
        keeps_files=True,
        keeps_error_level=True,
        never_fails=True,
    ),
    Command(
        ("type",),
        "type PATH…",
        "With wildcards. `type nul` prints nothing. Text in UTF-16 with a byte order mark is printed in the "
        "code page of the image, other contents as they are.",
        _parse_type,
        "Shell",
        True,
        keeps_files=True,
    ),
    Command(
        ("exit",),
        "exit [/B] [CODE]",
        "Ends the line. Without a code, the code is that of the last command which determined `%ERRORLEVEL%`.",
        _parse_exit,
        "Shell",
        True,
        keeps_files=True,
        never_returns=True,
    ),
)
"""The rows of the table."""
