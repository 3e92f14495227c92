"""The pane with the files: marks, sizes, layers, names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from rich.cells import cell_len

from wclayer.explore.model.contents import contents
from wclayer.explore.model.details import Fact, line, warning
from wclayer.explore.model.explored import Session, View
from wclayer.explore.model.files import FileItem, FileTree
from wclayer.explore.model.filters import shown_mark
from wclayer.explore.model.marks import Mark
from wclayer.explore.model.preview import PreviewKind
from wclayer.explore.model.search import Query
from wclayer.explore.model.sides import WAS
from wclayer.explore.model.totals import Totals
from wclayer.explore.model.tree import MarkedTree
from wclayer.explore.widgets.marked_pane import MarkedPane
from wclayer.explore.widgets.pane import Part, line_of
from wclayer.win32.shown import count_text, size_text

_SIZE = 10
_WIDE = 40
"""Cells from which on the columns of sizes and layers are shown."""


class FilesPane(MarkedPane[FileItem]):
    """The tree of the files."""

    def make_tree(self, session: Session, view: View) -> MarkedTree[FileItem]:
        return session.files(view)

    def matcher(self, query: Query) -> Callable[[MarkedTree[FileItem], FileItem], bool]:
        return lambda tree, item: query.matches_file(cast("FileTree", tree), item)

    def item_parts(self, item: FileItem, indent: str, width: int, *, with_path: bool) -> Sequence[Part]:
        totals = self.totals_of(item) if item.is_directory else None
        mark = shown_mark(item, totals)
        style = self.mark_style(mark)
        parts: list[Part] = [(f"{mark.value} ", style)]
        if width >= _WIDE:
            parts.append((f"{_size_text(item, totals):>{_SIZE}} {item.layer:>2} ", "pane--dim"))
        parts.append((indent, "pane--dim"))
        used = sum(cell_len(text) for text, _ in parts)
        name = line_of(item.shown_path if with_path else item.title, width - used)
        parts.append((name, style))
        if item.target:
            parts.append((line_of(f" → {item.target}", width - used - cell_len(name)), "pane--dim"))
        return parts

    def read_facts(self, item: FileItem, tree: MarkedTree[FileItem]) -> Callable[[Session], list[Fact]]:
        files, kind, totals = cast("FileTree", tree), self.desk.preview, self.totals_of(item)
        return lambda session: _facts(files, item, kind, totals, len(self.desk.explored.layers))


def _size_text(item: FileItem, totals: Totals | None) -> str:
    if item.is_link:
        return ""
    if not item.is_directory:
        # A further name of a file does not count in the sums.
        return size_text(item.size) if item.counts else f"={size_text(item.size)}"
    if totals is None:
        return "…"
    return size_text(totals.removed_bytes if item.mark is Mark.REMOVED else totals.bytes)


def _facts(tree: FileTree, item: FileItem, kind: PreviewKind, totals: Totals | None, layers: int) -> list[Fact]:
    found = [line(item.shown_path)]
    if layers > 1:
        found.append(Fact(item.mark.word, "mark"))
    if totals is not None:
        found += [
            Fact(
                f"{count_text(totals.files, 'file')}, {count_text(totals.directories, 'directory', 'directories')}",
                "holds",
            ),
            Fact(f"{totals.bytes:,} bytes ({size_text(totals.bytes)})", "size"),
        ]
        if totals.unread:
            what = count_text(totals.unread, "directory", "directories")
            found.append(warning(f"without what is in {what} that cannot be read"))
        if totals.before_bytes != totals.bytes and totals.before_bytes:
            found.append(Fact(f"{totals.before_bytes:,} bytes ({size_text(totals.before_bytes)})", WAS))
        if totals.differs and layers > 1:
            found.append(
                Fact(f"{totals.added:,} added, {totals.changed:,} changed, {totals.removed:,} removed", "below")
            )
    return [*found, *tree.facts(item), *contents(tree, item, kind), *tree.rights(item)]
