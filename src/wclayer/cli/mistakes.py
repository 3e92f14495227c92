"""What is told of a mistake on the command line, besides what is wrong: the nearest right word, what to type next."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

import click

from wclayer._nearest import MOST_NAMES, nearest
from wclayer.errors import LayerError, NotALayerError, PathNotFoundError

if TYPE_CHECKING:
    from wclayer.view.merged import MergedTree, Node

_OTHER_WORDS = {
    "dir": "ls", "list": "ls", "type": "cat", "show": "stat", "del": "rm", "delete": "rm",
    "erase": "rm", "rmdir": "rm", "rd": "rm", "md": "mkdir", "ren": "mv", "rename": "mv", "move": "mv", "xcopy": "cp",
    "chmod": "attrib", "icacls": "acl", "cacls": "acl", "registry": "reg", "regedit": "reg", "umount": "unmount",
    "run": "shell", "exec": "shell", "enter": "shell", "history": "inspect", "manifest": "index", "sbom": "inventory",
    "scan": "cve", "vulnerabilities": "cve", "fetch": "pull", "download": "pull", "upload": "push", "verify": "check",
    "unpack": "import", "extract": "export-rootfs", "resize": "expand", "gc": "prune", "clean": "prune",
    "edit": "config", "destroy": "remove", "signin": "login", "signout": "logout",
}  # fmt: skip
"""Words by which other programs call what a verb does."""
_NOT_A_CHOICE = re.compile(r"(['\"])(?P<value>.*)\1 is not one of ", re.DOTALL)
"""How click refuses a value that is none of those that can be chosen."""
_MEANT = "did you mean"
_LAYERS_SHOWN = 5
_NO_BACKSLASH = re.compile(r"(?:.*:)?[Cc]:[^\\/:]", re.DOTALL)
"""A path of Windows from which a shell has removed the backslashes."""


def no_such_verb(context: click.Context, name: str, verbs: Sequence[str]) -> click.UsageError:
    """Returns the error for a verb that does not exist.

    Args:
        context: the context of the group.
        name: what was typed.
        verbs: those that the group has.
    """
    group = context.command_path
    found = nearest(name, verbs)
    # What only resembles a verb may be the name of one in another program.
    if context.parent is None and (other := _OTHER_WORDS.get(name.casefold())) is not None:
        found = other
    meant = "" if found is None else f": did you mean `{group} {found}`?"
    return click.UsageError(f"No such command {name[:80]!r}{meant}", context)


def usage_message(error: click.ClickException) -> str:
    """Returns the message for an error of usage, with the help to look at."""
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "wclayer"
    text = error.format_message().strip()
    if isinstance(error, click.NoSuchOption):
        text = _no_such_option(error.option_name, context)
    elif isinstance(error, click.BadParameter) and error.param is not None:
        text += _nearest_choice(error.param.type, error.message)
    end = "" if text.endswith("?") else ";"
    return f"{text.rstrip('.')}{end} see `{where} --help`"


def _no_such_option(name: str, context: click.Context | None) -> str:
    text = f"No such option {name[:80]!r}"
    if context is None:
        return text
    above = context.parent
    while above is not None:
        if name in _options_of(above.command):
            verb = context.command_path.removeprefix(above.command_path).strip()
            return f"{text} of `{verb}`: it stands before the verb, as in `{above.command_path} {name} … {verb}`"
        above = above.parent
    if (found := nearest(name, _options_of(context.command))) is not None:
        return f"{text}: did you mean {found}?"
    if isinstance(context.command, click.Group):
        return f"{text}: an option of a verb stands after the verb, as in `{context.command_path} VERB {name}`"
    return text


def _options_of(command: click.Command) -> list[str]:
    """Returns the options of a command, also those that its help does not list."""
    options = [each for each in command.params if isinstance(each, click.Option)]
    return [name for option in options for name in chain(option.opts, option.secondary_opts)] + ["--help"]


def _nearest_choice(kind: object, refusal: str) -> str:
    refused = _NOT_A_CHOICE.match(refusal)
    if refused is None or not isinstance(kind, click.Choice):
        return ""
    found = nearest(refused["value"], map(str, kind.choices))
    return "" if found is None else f" Did you mean {found!r}?"


def hint(error: LayerError, words: Sequence[str]) -> str:
    """Returns what to add to the message of an error: the nearest name that is there, or what to type next.

    Args:
        error: what a verb has raised.
        words: the arguments of the command.
    """
    try:
        if isinstance(error, NotALayerError):
            return _other_than_layer(error, words)
        if not isinstance(error, PathNotFoundError):
            return ""
        if error.missing is not None and os.name != "nt" and any(map(_NO_BACKSLASH.match, words)):
            return "; a shell removes backslashes: put the path in quotes, 'C:\\…', or write slashes"
        found = _nearest_entry(error) if error.missing is not None else _nearest_on_host(error.path, words)
    except (OSError, ValueError):
        # The message is right without it.
        return ""
    return "" if found is None or _MEANT in error.detail else f"; {_MEANT} {found!r}?"


def _other_than_layer(error: NotALayerError, words: Sequence[str]) -> str:
    """Returns what to do with a file or a folder that is no layer, if the user has named it."""
    path = _as_named(error.path, words)
    if path is None or "`wclayer import" in error.detail:
        return ""
    from wclayer.images.store.folder import DATABASE
    from wclayer.layers.transport.layout import TOMBSTONES

    if os.path.isfile(path):
        return f"; `wclayer import -i {shlex.quote(path)} FOLDER` makes a layer of a layer tar or a disk"
    if os.path.isfile(os.path.join(path, TOMBSTONES)):
        return f"; it is a transport folder: `wclayer import -i {shlex.quote(path)} FOLDER` makes a layer of it"
    if os.path.isfile(os.path.join(path, DATABASE)):
        return f"; it is a store: `wclayer images --store {shlex.quote(path)}` lists its images"
    if "`wclayer " in error.detail:
        return ""
    with os.scandir(path) as entries:
        below = (entry.name for entry in islice(entries, MOST_NAMES) if os.path.isfile(os.path.join(entry, "layer.db")))
        found = sorted(below)[:_LAYERS_SHOWN]
    if found:
        return f"; the layers in it: {', '.join(os.path.join(path, name) for name in found)}"
    return "; `wclayer import` makes a layer of a tar, a transport folder or a disk"


def _as_named(path: str, words: Sequence[str]) -> str | None:
    """Returns a path as the user has written it; None if the user has not."""
    place = os.path.abspath(path)
    return next((word for word in words if path and word and os.path.abspath(word) == place), None)


def _nearest_entry(error: PathNotFoundError) -> str | None:
    """Returns the nearest name in the directory of layers in which a name was looked up."""
    from wclayer.view.merged import MergedTree

    assert error.missing is not None
    layers, path, name = error.missing
    with MergedTree(layers) as tree:
        directory = tree.lookup(path)
        if directory is None:
            return None
        return nearest(name, _candidates(tree, directory, name))


def _candidates(tree: MergedTree, directory: Node, name: str) -> Iterator[str]:
    """Yields the names of a directory; of one with many names, those that begin in the same way come first."""
    beginnings = (name[: len(name) // 2], name[:2], "")
    for beginning in beginnings:
        for node in islice(tree.beginning(directory, beginning), MOST_NAMES // len(beginnings)):
            yield node.name


def _nearest_on_host(path: str, words: Sequence[str]) -> str | None:
    """Returns the nearest path of the host beside one that does not exist, if the user has named that."""
    named = _as_named(path, words)
    if named is None or os.path.lexists(path):
        return None
    folder, name = os.path.split(os.path.abspath(path))
    with os.scandir(folder) as entries:
        found = nearest(name, (entry.name for entry in entries))
    return None if found is None else os.path.join(os.path.dirname(named), found)
