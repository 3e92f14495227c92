"""Set-Content, Add-Content and Clear-Content of files.

Sources: "Set-Content", "Add-Content", "Clear-Content"; WriteContentCommandBase, FileSystemProvider.GetContentWriter and
.ClearContent of PowerShell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wclayer.builder.commands.command import Action
from wclayer.builder.commands.powershell.cmdlet import Bound
from wclayer.builder.commands.powershell.item_calls import ItemCall
from wclayer.builder.commands.powershell.item_paths import HIDDEN, READ_ONLY, ItemPaths
from wclayer.builder.commands.powershell.new_items import overwrite
from wclayer.builder.commands.powershell.scope import Edition
from wclayer.builder.commands.powershell.text_encodings import ENCODINGS, MARK_SIZE, TextEncoding, stated_encoding
from wclayer.builder.commands.powershell.values import parts_of, to_text
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.machine.code_pages import CodePageError
from wclayer.errors import ERROR_ACCESS_DENIED, LayerError, NotSupportedError


@dataclass(frozen=True)
class WriteContent:
    """`Set-Content` and `Add-Content`.

    Attributes:
        bound: the call.
        paths: the files.
        text: what is written, with the ends of lines.
        encoding: that of a file which has no byte order mark yet.
        appends: the text goes to the end of the file.
        force: read-only and hidden files, too.
    """

    bound: Bound
    paths: ItemPaths
    text: str
    encoding: TextEncoding
    appends: bool
    force: bool

    def check(self, state: PlannedState) -> None:
        self.paths.check(self.bound, state)
        try:
            self.encoding.encode(self.text, state.code_pages)
        except CodePageError as error:
            raise self.bound.refuse(error.word, f"{error.detail}; add -Encoding UTF8") from None

    def run(self, shell: Shell) -> int:
        call = ItemCall(self.bound, shell)
        for text in self.paths.texts:
            for path in self._files(call, text):
                if shell.view.exists(path) and shell.view.stat(path).is_directory:
                    call.fail(f"Unable to write content because it is a directory: '{path}'.")
                    continue
                _change(call, path, self._append if self.appends else self._replace, force=self.force)
        return call.code

    def _files(self, call: ItemCall, text: str) -> list[str]:
        """Returns the paths of the files; one that does not exist is made, if its path has no wildcards."""
        if not self.paths.has_wildcards(text):
            return [call.shell.path(self.paths.plain(text))]
        found = [one.path for one in call.find(self.paths, text, with_hidden=self.force)]
        if not found:
            call.fail(
                f"An object at the specified path {text} does not exist, or has been filtered by the -Include or"
                " -Exclude parameter."
            )
        return found

    def _replace(self, call: ItemCall, path: str) -> None:
        if call.view.exists(path):
            overwrite(call, path)
        with call.view.open(path, "wb") as file:
            file.write(self.encoding.mark + self.encoding.encode(self.text, call.shell.code_pages))

    def _append(self, call: ItemCall, path: str) -> None:
        encoding, begin = self.encoding, b""
        if call.view.exists(path):
            if call.view.stat(path).info.attributes & READ_ONLY:
                raise LayerError(path, "is read-only", code=ERROR_ACCESS_DENIED)
            with call.view.open(path, "rb") as file:
                begin = file.read(MARK_SIZE)
            encoding = self._checked(path, stated_encoding(begin) or encoding)
        with call.view.open(path, "ab") as file:
            file.write((b"" if begin else encoding.mark) + encoding.encode(self.text, call.shell.code_pages))

    def _checked(self, path: str, encoding: TextEncoding) -> TextEncoding:
        if encoding != self.encoding and "Encoding" in self.bound and self.bound.edition is Edition.WINDOWS:
            raise NotSupportedError(
                path, "has a byte order mark of another encoding than -Encoding states; leave -Encoding out"
            )
        return encoding


@dataclass(frozen=True)
class ClearContent:
    """`Clear-Content`.

    Attributes:
        bound: the call.
        paths: the files.
        force: read-only and hidden files, too.
    """

    bound: Bound
    paths: ItemPaths
    force: bool

    def check(self, state: PlannedState) -> None:
        self.paths.check(self.bound, state)

    def run(self, shell: Shell) -> int:
        call = ItemCall(self.bound, shell)
        for text in self.paths.texts:
            for one in call.find(self.paths, text, with_hidden=self.force):
                if one.is_directory:
                    call.fail(
                        f"Unable to clear content of '{one.path}' because it is a directory. Clear-Content is only"
                        " supported on files."
                    )
                    continue
                _change(call, one.path, _empty, force=self.force)
        return call.code


def _empty(call: ItemCall, path: str) -> None:
    overwrite(call, path)
    with call.view.open(path, "wb"):
        pass


def _change(call: ItemCall, path: str, change: Callable[[ItemCall, str], None], *, force: bool) -> None:
    """Changes a file. With `force`, it may be read-only or hidden, which it stays."""
    view = call.view
    kept = view.stat(path).info.attributes if force and view.exists(path) else 0
    try:
        if kept & (READ_ONLY | HIDDEN):
            view.set_attributes(path, kept & ~(READ_ONLY | HIDDEN))
        try:
            change(call, path)
        finally:
            if kept & (READ_ONLY | HIDDEN):
                view.set_attributes(path, kept)
    except LayerError as error:
        call.fail_at(path, error)


def parse_set_content(bound: Bound) -> Action:
    """Returns the action of Set-Content."""
    return _write(bound, appends=False)


def parse_add_content(bound: Bound) -> Action:
    """Returns the action of Add-Content."""
    return _write(bound, appends=True)


def _write(bound: Bound, *, appends: bool) -> Action:
    if "Value" not in bound:
        raise bound.refuse(bound.name, "asks for the text; write -Value TEXT")
    end = "" if bound.flag("NoNewline") else "\r\n"
    text = "".join(to_text(part) + end for part in parts_of(bound.value("Value")) if part is not None)
    word = bound.text("Encoding") or "default"
    encodings = ENCODINGS[bound.edition]
    encoding = encodings.get(word.lower())
    if encoding is None:
        raise bound.refuse(bound.word("Encoding"), f"-Encoding: possible are {', '.join(sorted(encodings))}")
    return WriteContent(bound, ItemPaths.of(bound), text, encoding, appends, bound.flag("Force"))


def parse_clear_content(bound: Bound) -> Action:
    """Returns the action of Clear-Content."""
    return ClearContent(bound, ItemPaths.of(bound), bound.flag("Force"))
