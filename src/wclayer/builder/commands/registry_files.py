"""`reg import` and `reg export`: `.reg` files in the image."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.registry_keys import (
    check_keys,
    edited_registry,
    holds_machine_environment,
    registry_key,
)
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.machine.code_pages import CodePageError, CodePages
from wclayer.engines.portable.registry import apply_edit
from wclayer.errors import (
    AlreadyExistsError,
    EntryIsDirectoryError,
    EntryNotDirectoryError,
    InvalidDataError,
    InvalidParameterError,
    NotSupportedError,
    PathNotFoundError,
    errors_at,
)
from wclayer.formats.regf.text import RegEdit, RegTextError, encode_reg, format_reg, parse_reg
from wclayer.model import limits_in_use

_MARKS = (b"\xff\xfe", b"\xef\xbb\xbf")
"""The marks of UTF-16 and UTF-8."""


@dataclass(frozen=True)
class ImportFile:
    """`reg import FILE`, `regedit /s FILE`: carries out the steps of a `.reg` file, all or none."""

    file: str
    is_32: bool = False
    is_silent: bool = False

    def check(self, state: PlannedState) -> None:
        path = state.path(self.file)
        if path is None or state.files is None:
            return
        data = state.files.read(path, limits_in_use().reg_file_size)
        if data is None:
            return
        try:
            steps = self._steps(path, data, state.code_pages)
        except (NotSupportedError, InvalidDataError, InvalidParameterError) as error:
            what = error.detail if error.path == path else f"{error.path}: {error.detail}"
            raise type(error)(state.where, f"{self.file!r}: {what}") from None
        check_keys(state, {step.key for step in steps})

    def run(self, shell: Shell) -> int:
        path = shell.path(self.file)
        if not shell.view.exists(path) or shell.view.stat(path).is_directory:
            self._complain(shell, "ERROR: Error opening the file. There may be a disk or file system error.")
            return 0 if self.is_silent else 1
        most = limits_in_use().reg_file_size
        if shell.view.stat(path).size > most:
            raise NotSupportedError(path, f"has more than {most} bytes (limit reg_file_size)")
        steps = self._steps(path, shell.view.read_bytes(path), shell.code_pages)
        with edited_registry(shell, {step.key for step in steps}) as registry:
            for step in steps:
                apply_edit(registry, step)
        if not self.is_silent:
            # reg.exe prints this line on the standard error.
            shell.complain("The operation completed successfully.")
        return 0

    def _complain(self, shell: Shell, text: str) -> None:
        if not self.is_silent:
            shell.complain(text)

    def _steps(self, path: str, data: bytes, code_pages: CodePages) -> list[RegEdit]:
        """Returns the steps of a file with full paths, all checked before the first one is carried out."""
        data = _with_mark(path, data, code_pages)
        steps: list[RegEdit] = []
        try:
            for edit in parse_reg(data):
                with errors_at(path):
                    key = registry_key(edit.key, is_32=self.is_32)
                if holds_machine_environment(key) and (edit.value is not None or edit.is_deletion):
                    raise NotSupportedError(
                        path, "changes the variables of the machine, which later lines of the build may use; set them "
                        "with setx /M or reg add",
                    )  # fmt: skip
                steps.append(edit._replace(key=key))
        except RegTextError as error:
            raise InvalidDataError(path, f"is no .reg file of version 5.00: {error}") from None
        return steps


def _with_mark(path: str, data: bytes, code_pages: CodePages) -> bytes:
    """Returns a `.reg` file in UTF-16: without a byte order mark, Windows reads it in the ANSI code page."""
    if data.startswith(_MARKS) or data.isascii():
        return data
    try:
        return _MARKS[0] + code_pages.ansi.decode(data).encode("utf-16-le")
    except CodePageError as error:
        raise NotSupportedError(path, f"{error.detail}; save the file as UTF-16") from None


@dataclass(frozen=True)
class ExportKey:
    """`reg export KEY FILE`: writes a key and everything below it to a `.reg` file."""

    key: str
    file: str
    is_forced: bool

    def check(self, state: PlannedState) -> None:
        state.path(self.file)
        check_keys(state, [self.key])
        state.files = None

    def run(self, shell: Shell) -> int:
        path = shell.path(self.file)
        if shell.view.exists(path) and not self.is_forced:
            shell.complain(f"ERROR: {path} exists, and nobody can answer whether it is overwritten; add /y.")
            return 1
        with edited_registry(shell, [self.key]) as registry:
            key = registry.find(self.key)
            if key is not None:
                text = format_reg([(self.key, key)], max_paths=limits_in_use().key_paths)
                data = b"".join(encode_reg(text))
        if key is None:
            shell.complain("ERROR: The system was unable to find the specified registry key or value.")
            return 1
        try:
            with shell.view.replacing(path) as file:
                file.write(data)
        except (PathNotFoundError, EntryIsDirectoryError, EntryNotDirectoryError, AlreadyExistsError):
            shell.complain("ERROR: Unable to write to the file. There may be a disk or file system error.")
            return 1
        shell.say("The operation completed successfully.")
        return 0
