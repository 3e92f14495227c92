"""The contents of a file as lines: what differs from the contents before, or the beginning of what there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from difflib import SequenceMatcher
from itertools import islice

from wclayer.errors import FormatError, LayerError
from wclayer.explore.model.content_type import content_type
from wclayer.explore.model.details import Fact, FactKind, heading, line, warning
from wclayer.explore.model.files import FileItem, FileTree
from wclayer.explore.model.preview import (
    HEX_WIDTH,
    MOST_BYTES,
    MOST_COLUMNS,
    MOST_LINES,
    MOST_STREAM,
    TEXT_KINDS,
    PreviewKind,
    bytes_as_lines,
    decoded,
    hex_line,
    pe_facts,
    preview,
)
from wclayer.explore.model.sides import both_sides
from wclayer.search.contents import HEAD
from wclayer.win32.shown import size_text

_MOST_MATCHED = 1_000
"""Lines of a text among which the same ones are searched, after those with which both begin and end. The search takes
up to the square of that."""
_CONTEXT = 3
"""Lines that are shown before and after lines that differ."""


def contents(tree: FileTree, item: FileItem, kind: PreviewKind) -> Iterator[Fact]:
    """Yields what a file has in it as lines; of one that was changed, what differs. What is damaged is told in a line.

    Args:
        tree: the tree that has it.
        item: the file; a directory has no contents.
        kind: how contents are shown. Differences are shown automatically only.
    """
    old = tree.before(item) if kind is PreviewKind.AUTO else None
    if old is None:
        yield from preview(tree, item, kind)
        return
    try:
        yield from _file_difference(tree, old, item)
        yield from _stream_differences(tree, old, item)
    except FormatError:
        # One of the two has no contents.
        yield from preview(tree, item, kind)
    except LayerError as error:
        yield warning(str(error))
        yield from preview(tree, item, kind)


def _file_difference(tree: FileTree, old: FileItem, new: FileItem) -> Iterator[Fact]:
    with closing(tree.open(old)) as file_a, closing(tree.open(new)) as file_b:
        head_a, head_b = file_a.read(MOST_BYTES), file_b.read(MOST_BYTES)
        yield from both_sides(
            *(
                [Fact(kind, "contents"), *(pe_facts(file) if kind == "pe" else ())]
                for file, kind in ((file_a, content_type(head_a[:HEAD])), (file_b, content_type(head_b[:HEAD])))
            )
        )
    is_cut = old.size > len(head_a) or new.size > len(head_b)
    yield from bytes_difference("Contents", head_a, head_b, is_cut=is_cut)


def _stream_differences(tree: FileTree, old: FileItem, new: FileItem) -> Iterator[Fact]:
    sizes_a, sizes_b = dict(tree.streams(old)), dict(tree.streams(new))
    for name in dict.fromkeys((*sizes_b, *sizes_a)):
        data_a, data_b = (
            tree.read_stream(item, name, MOST_STREAM) if name in sizes else b""
            for item, sizes in ((old, sizes_a), (new, sizes_b))
        )
        is_cut = max(sizes_a.get(name, 0), sizes_b.get(name, 0)) > MOST_STREAM
        yield from bytes_difference(f"Stream :{name}", data_a, data_b, is_cut=is_cut)


def bytes_difference(title: str, old: bytes, new: bytes, *, is_cut: bool) -> Iterator[Fact]:
    """Yields how bytes differ: as lines of text if both are text, in hexadecimal otherwise.

    Args:
        title: what the bytes are.
        old, new: the bytes before and now, or their beginnings.
        is_cut: whether one of them is only the beginning.
    """
    shown = f" (the first {size_text(max(len(old), len(new)))})" if is_cut else ""
    if old == new:
        yield heading(f"{title}{shown}: the same")
        yield from bytes_as_lines(new, PreviewKind.AUTO, is_cut=is_cut)
        return
    kinds = {content_type(data[:HEAD]) for data in (old, new)}
    if kinds <= {*TEXT_KINDS, "empty"}:
        yield heading(f"{title}{shown}: lines that differ")
        yield from text_difference(*(decoded(data, is_cut=is_cut).splitlines() for data in (old, new)))
    else:
        yield heading(f"{title}{shown}: bytes that differ")
        yield from _first(_hex_difference(old, new))


def text_difference(old: Sequence[str], new: Sequence[str]) -> Iterator[Fact]:
    """Yields the lines that differ between two texts, with a few lines around them; at most `MOST_LINES`."""
    if old == new:
        yield line("only line ends, or how the text is encoded")
        return
    yield from _first(_text_difference(old, new))


def _first(facts: Iterator[Fact]) -> Iterator[Fact]:
    yield from islice(facts, MOST_LINES)
    if next(facts, None) is not None:
        yield warning("and more that differs")


def _text_difference(old: Sequence[str], new: Sequence[str]) -> Iterator[Fact]:
    shown: int | None = None
    for start_a, end_a, start_b, end_b in _changed_lines(old, new):
        begin = max(0, start_b - _CONTEXT)
        if shown is not None:
            end = min(shown + _CONTEXT, start_b)
            yield from map(_same_line, new[shown:end])
            begin = max(begin, end)
            shown = end
        if begin != shown:
            yield heading(f"line {begin + 1:,}")
        yield from map(_same_line, new[begin:start_b])
        for text in old[start_a:end_a]:
            yield Fact(f"- {_shown(text)}", kind=FactKind.REMOVED)
        for text in new[start_b:end_b]:
            yield Fact(f"+ {_shown(text)}", kind=FactKind.ADDED)
        shown = end_b
    if shown is not None:
        yield from map(_same_line, new[shown : shown + _CONTEXT])


def _changed_lines(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yields the ranges of lines that differ: from and to where in the old text, from and to where in the new one."""
    start = 0
    shorter = min(len(old), len(new))
    while start < shorter and old[start] == new[start]:
        start += 1
    end = 0
    while end < shorter - start and old[-1 - end] == new[-1 - end]:
        end += 1
    middle_a, middle_b = old[start : len(old) - end], new[start : len(new) - end]
    if max(len(middle_a), len(middle_b)) > _MOST_MATCHED:
        yield start, start + len(middle_a), start, start + len(middle_b)
        return
    for what, start_a, end_a, start_b, end_b in SequenceMatcher(None, middle_a, middle_b).get_opcodes():
        if what != "equal":
            yield start + start_a, start + end_a, start + start_b, start + end_b


def _same_line(text: str) -> Fact:
    return line(f"  {_shown(text)}")


def _shown(text: str) -> str:
    return text.expandtabs(4)[:MOST_COLUMNS]


def _hex_difference(old: bytes, new: bytes) -> Iterator[Fact]:
    for offset in range(0, max(len(old), len(new)), HEX_WIDTH):
        piece_a, piece_b = old[offset : offset + HEX_WIDTH], new[offset : offset + HEX_WIDTH]
        if piece_a == piece_b:
            continue
        if piece_a:
            yield Fact(f"- {hex_line(offset, piece_a)}", kind=FactKind.REMOVED)
        if piece_b:
            yield Fact(f"+ {hex_line(offset, piece_b)}", kind=FactKind.ADDED)
