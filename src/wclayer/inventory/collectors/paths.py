r"""The paths that the registry states, as paths below C:, and whether they exist.

Windows replaces `%NAME%` by the variables of the machine. In the kernel's own words, `\SystemRoot` is `C:\Windows`, and
`\??\` stands before a path with a drive.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from wclayer.errors import InvalidParameterError
from wclayer.inventory.subject.files import SubjectFiles
from wclayer.view.machine_environment import has_reference, replace_references

SYSTEM_ROOT = r"C:\Windows"
_DRIVE = re.compile(r"C:\\", re.IGNORECASE)


def resolve_path(text: str, variables: Mapping[str, str]) -> str | None:
    r"""Returns a path as one on C: without variables (`C:\Windows\x.exe`); None if it is on no drive, or another one.

    Args:
        text: the path as it is stated.
        variables: the values of those of the machine, by their folded names (`Subject.variables`).
    """
    try:
        path = replace_references(text, variables)
    except InvalidParameterError:
        return None
    path = path.replace("/", "\\").removeprefix("\\??\\").removeprefix("\\\\?\\")
    if path[:12].lower() == "\\systemroot\\":
        path = f"{SYSTEM_ROOT}{path[11:]}"
    if _DRIVE.match(path) is None or has_reference(path):
        return None
    return path


def path_exists(files: SubjectFiles, path: str) -> bool:
    r"""Returns whether a path on C: exists. What lies behind a link is taken to exist: links are not followed.

    Args:
        files: the files.
        path: the path: `C:\Windows\x.exe`.
    """
    found = files.root()
    for name in filter(None, path.split("\\")[1:]):
        if found is None or found.is_link:
            break
        # Windows ignores dots and spaces at the end of a name.
        found = files.child(found, name.rstrip(" ."))
    return found is not None
