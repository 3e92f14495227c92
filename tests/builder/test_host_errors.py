"""What the host refuses ends the build: it is no error of a command, which a script may ignore."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.builder.powershell_console import WINDOWS
from tests.builder.scratches import Console, scratch_view
from wclayer.errors import AccessDeniedError, errors_at
from wclayer.view.layer_view import LayerView

_POWERSHELL = (WINDOWS, "-Command")
_LINES = [
    ("mkdir", "mkdir C:\\t\\new"),
    ("mkdir", "md a\\b\\c & exit /b 0"),
    ("open", "echo x> C:\\t\\new.txt"),
    ("open", "copy base.txt new.txt"),
    ("open", "xcopy base.txt C:\\t\\new\\ /i"),
    ("rename", "ren base.txt new.txt"),
    ("rename", "move base.txt new.txt"),
    ("link", "mklink /h new.txt base.txt"),
    ("create_link", "mklink new.txt base.txt"),
    ("unlink", "del base.txt"),
    ("set_security", "takeown /f base.txt"),
    ("set_attributes", "attrib +h base.txt"),
]
_SCRIPTS = [
    ("makedirs", "New-Item -Type Directory C:\\t\\new"),
    ("makedirs", "New-Item -Type Directory -Force C:\\t\\new -ErrorAction SilentlyContinue"),
    ("rename", "Move-Item C:\\t\\base.txt C:\\t\\new.txt"),
    ("rename", "Rename-Item C:\\t\\base.txt new.txt"),
    ("unlink", "Remove-Item C:\\t\\base.txt -ErrorAction SilentlyContinue"),
    ("open", "Copy-Item C:\\t\\base.txt C:\\t\\new.txt"),
]


@pytest.mark.parametrize(
    ("method", "line", "shell"),
    [*((method, line, ("cmd", "/S", "/C")) for method, line in _LINES), *((m, t, _POWERSHELL) for m, t in _SCRIPTS)],
)
def test_what_the_host_refuses_ends_the_build(
    method: str, line: str, shell: tuple[str, ...], tmp_path: Path, bases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "run" / "layer.db"

    def refuse(*_arguments: object, **_options: object) -> None:
        with errors_at(database):
            raise PermissionError(errno.EACCES, "Permission denied", str(database))

    with scratch_view(tmp_path, bases) as view:
        console = Console(view)
        monkeypatch.setattr(LayerView, method, refuse)
        with pytest.raises(AccessDeniedError) as caught:
            console.run(line, shell)
    assert caught.value.path == str(database)


def test_what_a_view_refuses_is_an_error_of_the_command(
    tmp_path: Path, bases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise AccessDeniedError("Files/t/new", "is protected")

    with scratch_view(tmp_path, bases) as view:
        console = Console(view)
        monkeypatch.setattr(LayerView, "mkdir", refuse)
        assert console.run("mkdir C:\\t\\new") == 1
    assert console.errors == b"Access is denied.\r\n"
