"""`ItemCall`: a call of a cmdlet for files while it runs, with the errors that PowerShell tells of files."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.messages import ALREADY_EXISTS, BAD_NAME, NOT_EMPTY, is_of_host
from wclayer.builder.commands.powershell.cmdlet import Bound
from wclayer.builder.commands.powershell.item_paths import ItemPaths, NothingThereError
from wclayer.builder.commands.state import Shell
from wclayer.builder.commands.wildcards import Found
from wclayer.errors import (
    ERROR_ACCESS_DENIED,
    ERROR_ALREADY_EXISTS,
    ERROR_CANT_RESOLVE_FILENAME,
    ERROR_DIR_NOT_EMPTY,
    ERROR_DIRECTORY,
    ERROR_DIRECTORY_NOT_SUPPORTED,
    ERROR_FILE_NOT_FOUND,
    ERROR_INVALID_NAME,
    ERROR_PATH_NOT_FOUND,
    LayerError,
)
from wclayer.view.layer_view import LayerView

_NO_PART = "Could not find a part of the path '{}'."
_DENIED = "Access to the path '{}' is denied."
_MESSAGES = {
    ERROR_FILE_NOT_FOUND: "Could not find file '{}'.",
    ERROR_PATH_NOT_FOUND: _NO_PART,
    ERROR_DIRECTORY: _NO_PART,
    ERROR_ACCESS_DENIED: _DENIED,
    ERROR_DIRECTORY_NOT_SUPPORTED: _DENIED,
    ERROR_ALREADY_EXISTS: ALREADY_EXISTS,
    ERROR_DIR_NOT_EMPTY: NOT_EMPTY,
    ERROR_INVALID_NAME: BAD_NAME,
    ERROR_CANT_RESOLVE_FILENAME: "The name of the file cannot be resolved by the system.",
}


@dataclass
class ItemCall:
    """A call of a cmdlet for files while it runs.

    Attributes:
        bound: the call.
        shell: where it runs.
        code: 1 after an error, else 0.
    """

    bound: Bound
    shell: Shell
    code: int = 0

    @property
    def view(self) -> LayerView:
        """The file system."""
        return self.shell.view

    def fail(self, message: str) -> None:
        """Tells an error, after which the cmdlet goes on.

        Raises:
            StoppedError: errors end the script.
        """
        self.code = self.bound.fail(self.shell, message)

    def fail_at(self, path: str, error: LayerError) -> None:
        """Tells the error of a view as PowerShell does.

        Args:
            path: the path that the message names.

        Raises:
            StoppedError: errors end the script.
            LayerError: it is no error of a command, but of the layers or the host.
        """
        message = None if is_of_host(error) else _MESSAGES.get(error.code)
        if message is None:
            raise error
        self.fail(message.format(path))

    def find(self, paths: ItemPaths, text: str, *, with_hidden: bool) -> list[Found]:
        """Returns what a path names (`ItemPaths.find`); what does not exist is an error of the cmdlet."""
        try:
            return paths.find(self.shell, text, with_hidden=with_hidden)
        except NothingThereError as error:
            self.fail(str(error))
            return []
