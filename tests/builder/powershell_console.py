"""A shell of PowerShell on a scratch, for tests of cmdlets."""

from __future__ import annotations

from typing import Self

from tests.builder.scratches import Console
from wclayer.view.layer_view import LayerView
from wclayer.win32.attributes import FileAttributes

WINDOWS, CORE = "powershell", "pwsh"
READ_ONLY, HIDDEN, SYSTEM, ARCHIVE = (
    int(each)
    for each in (FileAttributes.READONLY, FileAttributes.HIDDEN, FileAttributes.SYSTEM, FileAttributes.ARCHIVE)
)


class PowerShell(Console):
    """A console in which lines are scripts of PowerShell."""

    @classmethod
    def in_empty_directory(cls, view: LayerView) -> Self:
        r"""Returns a shell in `C:\t`, from which all is removed."""
        for name in view.listdir("C:\\t"):
            view.rmtree(f"C:\\t\\{name}")
        return cls(view)

    def script(self, text: str, edition: str = WINDOWS) -> int:
        """Runs a script; returns the exit code."""
        return self.run(text, (edition, "-Command"))

    def fails(self, text: str, edition: str = WINDOWS) -> str:
        """Runs a script that has to have an error, and returns what it says."""
        assert self.script(text, edition) == 1
        return self.errors.decode("cp437")

    def make(self, files: dict[str, bytes | None], attributes: int = 0) -> None:
        r"""Makes files below `C:\t`, and directories (None)."""
        for name, data in files.items():
            path = f"C:\\t\\{name}"
            directory = path if data is None else path.rpartition("\\")[0]
            self.view.makedirs(directory)
            if data is not None:
                self.view.write_bytes(path, data)
            if attributes:
                self.view.set_attributes(path, attributes)

    def tree(self, top: str = "") -> dict[str, bytes | None]:
        r"""What is below a directory of `C:\t`: the contents of files, None for directories. Links are not followed."""
        found: dict[str, bytes | None] = {}
        base = f"Files/t/{top}".rstrip("/")
        pending = [base]
        while pending:
            for status in self.view.scan(pending.pop()):
                name = status.path.removeprefix(base + "/").replace("/", "\\")
                if status.is_directory:
                    found[name] = None
                    pending += [] if status.is_link else [status.path]
                else:
                    found[name] = self.view.read_bytes(f"C:/{status.path.removeprefix('Files/')}")
        return found

    def attributes(self, name: str) -> int:
        return self.view.stat(f"C:\\t\\{name}", follow=False).info.attributes
