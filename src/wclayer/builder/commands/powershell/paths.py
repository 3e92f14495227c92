r"""Paths of PowerShell: those of files, and those of the registry (`HKLM:\…`, `Registry::HKEY_…`).

Source: "about_Path_Syntax", "about_Registry_Provider", "about_FileSystem_Provider" (Microsoft Learn).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from wclayer.builder.commands.command import Action
from wclayer.builder.commands.powershell.cmdlet import Bound
from wclayer.builder.commands.registry_keys import registry_key
from wclayer.errors import LayerError

_DRIVE = re.compile(r"([A-Za-z][A-Za-z0-9_]*):(?!:)[\\/]?")
_PROVIDER = re.compile(r"(?:Microsoft\.PowerShell\.Core[\\/])?([A-Za-z]+)::[\\/]?", re.ASCII | re.IGNORECASE)
_ROOTS = {"hklm": "HKEY_LOCAL_MACHINE", "hkcu": "HKEY_CURRENT_USER"}


def registry_path_of(bound: Bound, text: str, word: str) -> str | None:
    r"""Returns the full path of the key that a path names (`HKEY_LOCAL_MACHINE\…`), or None for the path of a file.

    Args:
        bound: the call.
        text: the path.
        word: how it is written.

    Raises:
        NotSupportedError: the path is neither of files nor of the registry, or its key is in no hive of an image.
    """
    provider = _PROVIDER.match(text)
    if provider is not None and provider[1].lower() != "registry":
        if provider[1].lower() == "filesystem":
            raise bound.refuse(word, "write the path without the provider")
        raise bound.refuse(word, "possible are paths of files, and of the registry")
    if provider is not None:
        return _key(bound, text[provider.end() :], word)
    drive = _DRIVE.match(text)
    if drive is None or len(drive[1]) == 1:
        return None
    root = _ROOTS.get(drive[1].lower())
    if root is None:
        raise bound.refuse(
            word, "there is no such drive here; possible are C:, HKLM:, HKCU: and Registry::HKEY_…"
        )  # fmt: skip
    return _key(bound, f"{root}\\{text[drive.end() :]}", word)


def _key(bound: Bound, text: str, word: str) -> str:
    try:
        return registry_key(text.replace("/", "\\"))
    except LayerError as error:
        raise bound.refuse(word, error.detail) from None


def paths_of(bound: Bound) -> tuple[str, ...]:
    """Returns the paths of `-Path` or `-LiteralPath`, of which one has to be given.

    Raises:
        NotSupportedError: none is given, or both, or an empty one.
    """
    given = [name for name in ("Path", "LiteralPath") if name in bound]
    if len(given) != 1:
        raise bound.refuse(bound.word("LiteralPath"), "write -Path or -LiteralPath")
    found = bound.texts(given[0])
    if not found or not all(found):
        raise bound.refuse(bound.word(given[0]), "the path is empty")
    return found


def paths_word(bound: Bound) -> str:
    """Returns how the paths are written."""
    return bound.word("Path" if "Path" in bound else "LiteralPath")


def literal_keys(bound: Bound) -> list[tuple[str, str]]:
    """Returns the full paths of the keys that the paths of a call name, each with the path as it is given.

    Raises:
        NotSupportedError: a path is that of a file, or has wildcards in it.
    """
    word = paths_word(bound)
    found: list[tuple[str, str]] = []
    for text in paths_of(bound):
        key = registry_path_of(bound, text, word)
        if key is None:
            raise bound.refuse(word, "a key of the registry is expected here, such as HKLM:\\SOFTWARE\\App")
        if "Path" in bound and any(character in text for character in "*?[`"):
            raise bound.refuse(word, "wildcards in keys are not supported; use -LiteralPath")
        found.append((key, text))
    return found


def by_provider(files: Callable[[Bound], Action], registry: Callable[[Bound], Action]) -> Callable[[Bound], Action]:
    """Returns the `parse` of a cmdlet that works on files and on keys of the registry, as the first path says.

    Args:
        files: makes the action for paths of files.
        registry: makes the action for paths of the registry.
    """

    def parse(bound: Bound) -> Action:
        word = paths_word(bound)
        are_keys = {registry_path_of(bound, text, word) is not None for text in paths_of(bound)}
        if len(are_keys) > 1:
            raise bound.refuse(word, "paths of files and of the registry in one call are not supported")
        return registry(bound) if True in are_keys else files(bound)

    return parse
