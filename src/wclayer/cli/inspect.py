"""The verbs that show a layer: `ls`, `tree`, `cat`, `stat`, `info`, `check`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import click

import wclayer
from wclayer._walk import Walk
from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.merged import is_merged, merged_option
from wclayer.cli.output import (
    count_bar,
    echo,
    echo_lines,
    entry_record,
    json_option,
    print_json,
    print_json_list,
    reparse_record,
    size_text,
)
from wclayer.cli.text import LAYER_PATH, can_show
from wclayer.errors import EntryIsDirectoryError, PathNotFoundError, UnresolvedLinkError
from wclayer.layers.directory.file_security import file_security
from wclayer.layers.directory.summary import summarize_layer
from wclayer.view.merged import MergedTree, Node
from wclayer.view.resolve import existing
from wclayer.view.spelling import layer_path, split_stream
from wclayer.win32 import filetime
from wclayer.win32.attributes import DIRECTORY, attribute_letters
from wclayer.win32.names import names_equal
from wclayer.win32.shown import count_text


def _tree(layer: LayerArgument, merged: bool | None) -> MergedTree:
    return MergedTree.of(layer.path, with_parents=is_merged(layer, merged))


def _find(tree: MergedTree, path: str, *, follow: bool = True) -> Node:
    try:
        return existing(tree, layer_path(path), follow=follow)
    except (PathNotFoundError, UnresolvedLinkError) as error:
        if len(tree.layers) == 1 and tree.layers[0].parents():
            error.detail += "; this is the layer alone: -m shows its parents, too"
        raise


def _line(node: Node) -> str:
    """Returns the line of a listing."""
    row = node.row
    size = "" if row.attributes & DIRECTORY else row.size
    time = filetime.to_listed(row.last_write_time)
    return f"{attribute_letters(row.attributes)}  {size:>12}  {time}  {node.name}{_suffix(node)}"


def _suffix(node: Node) -> str:
    """Returns what a listing shows after a name: the target of a link."""
    if node.row.reparse is not None:
        record = reparse_record(node.row.reparse)
        return f" -> {record.get('target', record.get('tag', '?'))}"
    if node.link_target is not None:
        return f" = {node.link_target}"
    return ""


@click.command("ls")
@merged_option
@click.option("-R", "--recursive", is_flag=True, help="List all directories below, too.")
@json_option
@layer_argument("layer")
@click.argument("path", default="", type=LAYER_PATH)
def ls_command(merged: bool | None, recursive: bool, as_json: bool, layer: LayerArgument, path: str) -> None:
    """List a directory of LAYER, a layer or an image: attributes, size, last write time, name.

    C:\\Windows, \\Windows, /Windows, Windows and Files/Windows are the same PATH, in any case. C:\\ is Files, the
    volume of a container. Without PATH, or with / alone, the verb lists the root of the layer, which holds Files,
    Hives and UtilityVM.

    A character that the terminal cannot show is printed as its number, <U+XXXX>. Every verb accepts this spelling.

    \b
    Example:
      wclayer ls /layers/base 'C:\\Windows'
      wclayer ls nanoserver:ltsc2022 'C:\\Windows'
      wclayer ls docker-archive:image.tar 'C:\\'
    """
    with _tree(layer, merged) as tree:
        node = _find(tree, path)
        listings = _listings(tree, node, recursive=recursive)
        if as_json:
            nodes = (child for _, inside in listings for child in inside)
            print_json_list(entry_record(tree.entry(n), tree.stream_digests(n), tree.digest(n)) for n in nodes)
            return
        echo_lines(_lines(listings, layer.text if recursive and node.is_directory else None))


def _lines(listings: Iterable[tuple[Node, list[Node]]], top: str | None) -> Iterator[str]:
    """Yields the lines of listings.

    Args:
        top: what stands above the listing of the layer's root, if each listing has the path of its directory above it.
    """
    for number, (directory, inside) in enumerate(listings):
        if top is not None:
            if number:
                yield ""
            yield f"{directory.path or top}:"
        yield from map(_line, inside)


def _listings(tree: MergedTree, node: Node, *, recursive: bool) -> Iterator[tuple[Node, list[Node]]]:
    """Yields a directory with what is in it, and then those below it; a file is a listing of itself."""
    inside = tree.children(node) if node.is_directory else [node]
    yield node, inside
    if not (recursive and node.is_directory):
        return
    walk = Walk(_directories(inside), None)
    for _, directory in walk:
        below = tree.children(directory)
        yield directory, below
        walk.enter(_directories(below), None)


def _directories(nodes: list[Node]) -> list[Node]:
    return [node for node in nodes if node.row.attributes & DIRECTORY]


@click.command("tree")
@merged_option
@click.option("-L", "--depth", type=click.IntRange(1), default=None, help="Do not open directories below this depth.")
@json_option
@layer_argument("layer")
@click.argument("path", default="", type=LAYER_PATH)
def tree_command(merged: bool | None, depth: int | None, as_json: bool, layer: LayerArgument, path: str) -> None:
    """Show everything below a directory of LAYER, a layer or an image, as a tree.

    \b
    Example:
      wclayer tree -L 3 /layers/base Windows
    """
    with _tree(layer, merged) as tree:
        top = _find(tree, path)
        if as_json:
            print_json(
                [
                    {"path": node.path, "directory": node.is_directory, "size": node.row.size}
                    for _, _, node in _walk_tree(tree, top, depth)
                ]
            )
            return
        lines = _BOX if can_show("".join(_BOX)) else _ASCII
        echo(top.path or layer.text)
        for indent, is_last, node in _walk_tree(tree, top, depth, lines):
            streams = "".join(f" [:{name} {size_text(size)}]" for name, size, _ in tree.stream_digests(node))
            size = "" if node.is_directory or node.row.reparse is not None else f"  {size_text(node.row.size)}"
            echo(f"{indent}{lines.last if is_last else lines.branch}{node.name}{_suffix(node)}{size}{streams}")


class _Lines(NamedTuple):
    """The parts of the lines that draw a tree."""

    branch: str
    last: str
    through: str


_BOX = _Lines("├── ", "└── ", "│   ")
_ASCII = _Lines("|-- ", "`-- ", "|   ")


def _walk_tree(
    tree: MergedTree, top: Node, depth: int | None, lines: _Lines = _ASCII
) -> Iterator[tuple[str, bool, Node]]:
    """Yields everything below `top`, `depth` levels deep: indent, "is last of its directory", node."""
    walk = Walk(_with_last_marked(tree.children(top)), "")
    for indent, (is_last, node) in walk:
        yield indent, is_last, node
        if node.is_directory and (depth is None or walk.depth < depth):
            walk.enter(_with_last_marked(tree.children(node)), indent + ("    " if is_last else lines.through))


def _with_last_marked(nodes: list[Node]) -> Iterator[tuple[bool, Node]]:
    return ((number == len(nodes), node) for number, node in enumerate(nodes, 1))


@click.command("cat")
@merged_option
@layer_argument("layer")
@click.argument("path", type=LAYER_PATH)
def cat_command(merged: bool | None, layer: LayerArgument, path: str) -> None:
    """Write the contents of a file of LAYER, a layer or an image, to standard output, or those of one of its streams
    (PATH:STREAM).

    \b
    Example:
      wclayer cat /layers/base 'C:\\Windows\\win.ini'
      wclayer cat /layers/base /setup.exe:Zone.Identifier
    """
    file, stream = split_stream(path)
    with _tree(layer, merged) as tree:
        node = _find(tree, file)
        if node.is_directory and not stream:
            raise EntryIsDirectoryError(path, "is a directory; `wclayer ls` lists it")
        for data in tree.streams(node):
            if names_equal(data.name, stream):
                for chunk in data.chunks:
                    sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
                return
        raise PathNotFoundError(path, f"the file has no stream {stream!r}" if stream else "has no data", code=2)


@click.command("stat")
@merged_option
@json_option
@layer_argument("layer")
@click.argument("path", type=LAYER_PATH)
def stat_command(merged: bool | None, as_json: bool, layer: LayerArgument, path: str) -> None:
    """Show all metadata of one entry of LAYER, a layer or an image, with its security descriptor as SDDL.

    \b
    Example:
      wclayer stat /layers/base 'C:\\Windows\\System32'
    """
    with _tree(layer, merged) as tree:
        security = file_security(tree.layers[0], path.replace("\\", "/").strip("/"))
        if security is not None:
            # The file is a disk that was made from the layer, not an entry of it.
            from wclayer.win32.sddl import security_text

            shown = security_text(security)
            print_json({"name": path, "security": shown}) if as_json else echo(f"{'security':>17}  {shown}")
            return
        node = _find(tree, path, follow=False)
        record = entry_record(tree.entry(node), tree.stream_digests(node), tree.digest(node))
        record["links"] = tree.link_count(node)
        record["layer"] = str(tree.layers[node.layer].path)
    if as_json:
        print_json(record)
        return
    for key, value in record.items():
        if key == "attributes":
            value = f"{value:#x} {' '.join(record['attribute_names'])}".rstrip()
        elif key == "attribute_names":
            continue
        label = key.replace("_", " ")
        if isinstance(value, list):
            for item in value:
                echo(f"{label:>17}  {' '.join(f'{k}={v}' for k, v in item.items())}")
        elif isinstance(value, dict):
            echo(f"{label:>17}  {' '.join(f'{k}={v}' for k, v in value.items())}")
        else:
            echo(f"{label:>17}  {'-' if value is None else value}")


@click.command("info")
@json_option
@layer_argument("layer")
def info_command(as_json: bool, layer: LayerArgument) -> None:
    """Show the digests, sizes, parents and id of LAYER. If it is an image, show its platform, and each of its layers
    with its digests, sizes and folder.

    \b
    Example:
      wclayer info /layers/app
      wclayer info nanoserver:ltsc2022
    """
    if layer.image is not None:
        from wclayer.cli.image_info import image_info, print_image_info

        record = image_info(layer.image)
        print_json(record) if as_json else print_image_info(record)
        return
    summary = dataclasses.asdict(summarize_layer(layer.path))
    path, parents = summary.pop("path"), summary.pop("parents")
    record = {"path": str(path), "id": str(wclayer.layer_id(path)), **summary}
    record["parents"] = [str(parent) for parent in parents]
    if as_json:
        print_json(record)
        return
    for key, value in record.items():
        for item in value if isinstance(value, list) else [value]:
            echo(f"{key.replace('_', ' '):>21}  {'-' if item is None else item}")


@click.command("check")
@json_option
@layer_argument("layer")
@click.pass_context
def check_command(ctx: click.Context, as_json: bool, layer: LayerArgument) -> None:
    """Verify that LAYER, or each layer of an image, agrees with its own records: sizes, digests, links, references.

    The exit status is 1 if there is a problem.

    \b
    Example:
      wclayer check /layers/base
      wclayer check nanoserver:ltsc2022
    """
    chain = layer.chain()[::-1]
    problems = []
    with count_bar("checking") as progress:
        for number, path in enumerate(chain, 1):
            where = f"layer {number} of {len(chain)}: " if layer.is_image else ""
            problems += [
                dataclasses.replace(problem, path=where + problem.path)
                for problem in wclayer.check_layer(path, progress=progress)
            ]
    if as_json:
        print_json([{"path": problem.path, "problem": problem.text} for problem in problems])
    else:
        for problem in problems:
            echo(f"{problem.path}: {problem.text}")
        echo(f"{layer}: {count_text(len(problems), 'problem') if problems else 'no problem found'}")
    ctx.exit(1 if problems else 0)


COMMANDS = (ls_command, tree_command, cat_command, stat_command, info_command, check_command)
