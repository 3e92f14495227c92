"""The cmdlets for files: what each one is called, which parameters it has, and what it does."""

from __future__ import annotations

from wclayer.builder.commands.command import Action
from wclayer.builder.commands.powershell.cmdlet import (
    LITERAL_PATH,
    PATH,
    Bound,
    Cmdlet,
    Kind,
    Parameter,
    switch,
    unsupported,
)
from wclayer.builder.commands.powershell.contents import parse_add_content, parse_clear_content, parse_set_content
from wclayer.builder.commands.powershell.copy_items import parse_copy_item
from wclayer.builder.commands.powershell.expand_archive import parse_expand_archive
from wclayer.builder.commands.powershell.move_items import parse_move_item, parse_rename_item
from wclayer.builder.commands.powershell.new_items import parse_mkdir, parse_new_item
from wclayer.builder.commands.powershell.paths import by_provider
from wclayer.builder.commands.powershell.registry import parse_new_key, parse_remove_key
from wclayer.builder.commands.powershell.remove_items import parse_remove_item

_GROUP = "PowerShell: files"
_FORCE, _PASS_THRU = switch("Force"), switch("PassThru")
_FILTERS = unsupported("Filter", "Include", "Exclude", detail="is not supported; write wildcards in the path")
_OTHERS = unsupported("Credential", "UseTransaction")
_CONTENT = (
    PATH,
    LITERAL_PATH,
    Parameter("Value", Kind.VALUE, 1),
    Parameter("Encoding"),
    switch("NoNewline"),
    _FORCE,
    _PASS_THRU,
    *_FILTERS,
    *_OTHERS,
    *unsupported("Stream"),
    *unsupported("AsByteStream", detail="needs bytes, which are not supported; COPY the file"),
)


def _no_keys(bound: Bound) -> Action:
    raise bound.refuse(bound.word("Path"), "keys of the registry are not renamed here; use `reg copy` and `reg delete`")


def _new_item(bound: Bound) -> Action:
    return by_provider(parse_new_item, parse_new_key)(bound) if "Path" in bound else parse_new_item(bound)


CMDLETS: tuple[Cmdlet, ...] = (
    Cmdlet(
        ("New-Item", "ni"),
        "New-Item [-Path] PATH[, …] [-Name NAME] [-ItemType TYPE] [-Value TEXT] [-Force]\n"
        "New-Item [-Path] PATH -ItemType SymbolicLink | Junction | HardLink -Target PATH [-Force]",
        "Types: Directory, File (without -ItemType), SymbolicLink, Junction, HardLink. The directories above a "
        "directory are made, those above a file or link with -Force alone. What exists is an error; with -Force, a "
        "file is emptied, a directory stays, and a link is replaced. -Value becomes the contents of a file in "
        "UTF-8, without an end of line. Targets of links are absolute, and exist; in PowerShell, that of a "
        "symbolic link need not. A path of the registry makes a key; with -Force, one that exists is emptied.",
        (
            PATH,
            Parameter("Name"),
            Parameter("ItemType", aliases=("Type",)),
            Parameter("Value", Kind.VALUE, aliases=("Target",)),
            _FORCE,
            *_OTHERS,
        ),
        _new_item,
        _GROUP,
        pipeline="Value",
        has_confirmation=True,
    ),
    Cmdlet(
        ("mkdir", "md"),
        "mkdir [-Path] PATH[, …] [-Name NAME] [-Force]",
        "Makes directories, with those above them. One that exists is an error without -Force.",
        (
            PATH,
            Parameter("Name"),
            _FORCE,
            *_OTHERS,
            *unsupported("Value", detail="has no effect on a directory; leave it out"),
        ),
        parse_mkdir,
        _GROUP,
        has_confirmation=True,
    ),
    Cmdlet(
        ("Remove-Item", "ri", "rm", "rmdir", "rd", "del", "erase"),
        "Remove-Item [-Path] PATH[, …] [-Recurse] [-Force]\nRemove-Item -LiteralPath PATH[, …] …",
        "A directory with something in it needs -Recurse, because Remove-Item asks otherwise. Hidden, system and "
        "read-only items are errors without -Force, and stay with the directories above them. Links are removed, "
        "not followed; Windows PowerShell does not remove links to directories reliably, so they end the build "
        "there.",
        (
            PATH,
            LITERAL_PATH,
            switch("Recurse"),
            _FORCE,
            *_FILTERS,
            *_OTHERS,
            *unsupported("Stream"),
        ),
        by_provider(parse_remove_item, parse_remove_key),
        _GROUP,
        has_confirmation=True,
    ),
    Cmdlet(
        ("Copy-Item", "copy", "cp", "cpi"),
        "Copy-Item [-Path] PATH[, …] [[-Destination] PATH] [-Recurse] [-Force]\nCopy-Item -LiteralPath PATH[, …] …",
        "A directory goes into a target that exists and becomes one that does not; without -Recurse it is copied "
        "empty. Files replace files, and have the streams, EAs, attributes and the write time of the original; a "
        "new file inherits its security. A read-only or hidden target is an error without -Force, and so is a "
        "directory that exists. Directories have new attributes and times. A link to a directory below the source "
        "ends the build.",
        (
            PATH,
            LITERAL_PATH,
            Parameter("Destination", position=1),
            switch("Recurse"),
            _FORCE,
            switch("Container"),
            _PASS_THRU,
            *_FILTERS,
            *_OTHERS,
            *unsupported("FromSession", "ToSession"),
        ),
        parse_copy_item,
        _GROUP,
        has_confirmation=True,
    ),
    Cmdlet(
        ("Move-Item", "move", "mv", "mi"),
        "Move-Item [-Path] PATH[, …] [[-Destination] PATH] [-Force]\nMove-Item -LiteralPath PATH[, …] …",
        "Files and directories go into a directory that exists, or get the new name. A file that exists is an "
        "error without -Force, a directory with it, too. Metadata stay, security included. Several items need a "
        "directory.",
        (
            PATH,
            LITERAL_PATH,
            Parameter("Destination", position=1),
            _FORCE,
            _PASS_THRU,
            *_FILTERS,
            *_OTHERS,
        ),
        parse_move_item,
        _GROUP,
        has_confirmation=True,
    ),
    Cmdlet(
        ("Rename-Item", "ren", "rni"),
        "Rename-Item [-Path] PATH [-NewName] NAME",
        "Renames one file or directory in its directory. A name that is taken is an error.",
        (
            Parameter("Path", position=0),
            LITERAL_PATH,
            Parameter("NewName", position=1),
            _FORCE,
            _PASS_THRU,
            *_OTHERS,
        ),
        by_provider(parse_rename_item, _no_keys),
        _GROUP,
        has_confirmation=True,
    ),
    Cmdlet(
        ("Set-Content",),
        "Set-Content [-Path] PATH[, …] [-Value] TEXT[, …] [-Encoding NAME] [-NoNewline] [-Force]",
        "Replaces the contents of files by texts, each with CR LF after it. The directory has to exist. The "
        "encoding is by default the ANSI code page of the image in Windows PowerShell, and UTF-8 in PowerShell, "
        "where utf8 has no byte order mark, either. A character that the encoding lacks is refused. A read-only or "
        "hidden file is an error without -Force.",
        _CONTENT,
        parse_set_content,
        _GROUP,
        pipeline="Value",
        windows_names=("sc",),
        has_confirmation=True,
    ),
    Cmdlet(
        ("Add-Content", "ac"),
        "Add-Content [-Path] PATH[, …] [-Value] TEXT[, …] [-Encoding NAME] [-NoNewline] [-Force]",
        "Adds texts at the end of files, as Set-Content writes them. A file that begins with a byte order mark "
        "keeps its encoding.",
        _CONTENT,
        parse_add_content,
        _GROUP,
        pipeline="Value",
        has_confirmation=True,
    ),
    Cmdlet(
        ("Clear-Content", "clc"),
        "Clear-Content [-Path] PATH[, …] [-Force]",
        "Empties files. A read-only or hidden file is an error without -Force.",
        (PATH, LITERAL_PATH, _FORCE, *_FILTERS, *_OTHERS, *unsupported("Stream")),
        parse_clear_content,
        _GROUP,
        has_confirmation=True,
    ),
    Cmdlet(
        ("Expand-Archive",),
        "Expand-Archive [-Path] PATH [[-DestinationPath] PATH] [-Force]",
        "Unpacks a zip whose members are stored or deflated. Files that exist stay and are errors without -Force. "
        "Files have the write time of the archive, taken as UTC. Before anything is written, an archive is refused "
        "in which a name leads out of the directory, is none that Windows keeps as it is, is twice there for "
        "Windows, or is not ASCII and not marked as UTF-8; so are encryption and other compressions. Damaged data "
        "is refused, too.",
        (
            PATH,
            LITERAL_PATH,
            Parameter("DestinationPath", position=1),
            _FORCE,
            _PASS_THRU,
        ),
        parse_expand_archive,
        _GROUP,
        has_confirmation=True,
    ),
)
"""The rows of the table."""
