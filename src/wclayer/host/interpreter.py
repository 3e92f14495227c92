"""The Python that runs, as a program that can be started again."""

from __future__ import annotations

import sys

from wclayer._types import StrPath
from wclayer.errors import NotSupportedError


def python_program() -> str | None:
    """Returns the path of the running Python; None if it is a part of another program, such as a bundle of PyInstaller.

    A path that another program has set wrongly is not noticed.
    """
    return None if getattr(sys, "frozen", False) else sys.executable or None


def needed_python(path: StrPath, need: str, instead: str) -> str:
    """Returns the path of the running Python for something that is not done without another process of it.

    Args:
        path: what the error names.
        need: what the other process is for.
        instead: what the user can do without it.

    Raises:
        NotSupportedError: there is no such path.
    """
    if (program := python_program()) is None:
        problem = f"{need} is another process of Python, which the program that runs wclayer cannot start"
        raise NotSupportedError(path, f"{problem}; {instead}")
    return program
