"""How the verbs print: JSON or text, progress bars, and the small types as text."""

from __future__ import annotations

import json
import os
import stat
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from wclayer.layers.atomic import is_standard_output
from wclayer.layers.progress import Progress, ProgressCallback
from wclayer.model import Entry
from wclayer.win32 import filetime
from wclayer.win32.attributes import attribute_names
from wclayer.win32.ea import decode_eas
from wclayer.win32.reparse import decode_link, decode_reparse
from wclayer.win32.shown import shown
from wclayer.win32.shown import size_text as size_text

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


if TYPE_CHECKING:
    _NumberParameter = click.ParamType[int]
else:
    _NumberParameter = click.ParamType  # no generic class before click 8.4


_PRINTED_AT_ONCE = 1 << 15
"""How many characters `echo_lines` collects before it prints them."""
_MAX_DIGITS = 20
"""No file has a size with more digits."""


class _Size(_NumberParameter):
    """The click type of a size: a number of bytes, or a number with KiB, MiB, GiB or TiB."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip().lower().removesuffix("ib").removesuffix("b")
        shift = {"k": 10, "m": 20, "g": 30, "t": 40}.get(text[-1:], 0)
        number = text[:-1] if shift else text
        if not number.isdecimal() or len(number) > _MAX_DIGITS:
            self.fail(f"{text[:40]!r} is not a size such as 20GiB", param, ctx)
        return int(number) << shift


SIZE = _Size()


def print_json(value: object) -> None:
    """Prints one JSON document, indented. An unpaired surrogate is escaped."""
    # A large document is not in memory as text.
    json.dump(value, sys.stdout, indent=2, ensure_ascii=True)
    print(flush=True)


def print_json_list(items: Iterable[object]) -> None:
    """Prints what `print_json` prints for a list, with one item at a time in memory."""
    _print_items(items, "")
    click.echo("")


def print_json_members(members: Mapping[str, object], lists: Mapping[str, Iterable[object]]) -> None:
    """Prints what `print_json` prints for an object whose last members are lists, with one item at a time in memory.

    Args:
        members: the members before the lists; at least one.
        lists: the lists.
    """
    click.echo(json.dumps(dict(members), indent=2, ensure_ascii=True).removesuffix("\n}"), nl=False)
    for name, items in lists.items():
        click.echo(f',\n  "{name}": ', nl=False)
        _print_items(items, "  ")
    click.echo("\n}")


def _print_items(items: Iterable[object], indent: str) -> None:
    separator = "["
    for item in items:
        text = textwrap.indent(json.dumps(item, indent=2, ensure_ascii=True), f"{indent}  ")
        click.echo(f"{separator}\n{text}", nl=False)
        separator = ","
    click.echo("[]" if separator == "[" else f"\n{indent}]", nl=False)


def echo(text: str) -> None:
    """Prints a line of text, with characters escaped that a terminal would obey or cannot show (see `shown`)."""
    print(shown(text), flush=True)


def echo_lines(lines: Iterable[str], *, as_they_come: bool = False) -> None:
    """Prints lines as `echo` does, many in one call. If there is an error, the lines before it are printed.

    Args:
        lines: the lines.
        as_they_come: on a terminal, each line is printed before the next one is asked for, which may take long.
    """
    most = 0 if as_they_come and sys.stdout.isatty() else _PRINTED_AT_ONCE
    waiting: list[str] = []
    size = 0
    try:
        for line in lines:
            waiting.append(line)
            size += len(line)
            if size >= most:
                text, size = "\n".join(waiting), 0
                waiting.clear()
                echo(text)
    finally:
        if waiting:
            echo("\n".join(waiting))


def warn(text: str) -> None:
    """Prints a line of text on the error stream."""
    print(f"wclayer: {shown(text)}", file=sys.stderr, flush=True)


@contextmanager
def results_beside(file: str, what: str) -> Iterator[None]:
    """Prints results on the error stream inside the context if a file is the standard output, under any name: nothing
    but the file may be in that.

    Args:
        file: the file that is written.
        what: what it is, for messages ("an archive").

    Raises:
        click.UsageError: the standard output is a terminal.
    """
    if not _is_standard_output(file):
        yield
        return
    if sys.stdout.isatty():
        raise click.UsageError(f"{what} is not written to a terminal: name a file, or redirect")
    with redirect_stdout(sys.stderr):
        yield


def _is_standard_output(file: str) -> bool:
    if is_standard_output(file):
        return True
    try:
        status = os.stat(file)
        is_same = os.path.samestat(status, os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):
        return False
    # What is printed to the null device besides the file spoils nothing.
    return is_same and (sys.stdout.isatty() or not stat.S_ISCHR(status.st_mode))


@contextmanager
def progress_bar(label: str, source: BinaryIO | None = None) -> Iterator[ProgressCallback | None]:
    """Shows a progress bar on the error stream while a copy runs; yields None if the error stream is not a terminal.

    Args:
        label: the text before the bar.
        source: the file that is copied; the bar shows how much of it was read. Without it, the bar shows the bytes
            copied so far, with an unknown total.
    """
    total = os.fstat(source.fileno()).st_size if source is not None and source.seekable() else None
    with _bar(label, total) as advance:
        if advance is None:
            yield None
            return

        def report(state: Progress) -> None:
            done = state.bytes if source is None or total is None else source.tell()
            advance(done, f"{state.entries} entries")

        yield report


@contextmanager
def count_bar(label: str) -> Iterator[ProgressCallback | None]:
    """Shows a progress bar, like `progress_bar`, for work that counts its entries or bytes."""
    with _bar(label, None, transfer=False) as advance:
        if advance is None:
            yield None
            return

        def report(state: Progress) -> None:
            done, total = state.entries, state.total_entries
            if state.total_bytes is not None:
                done, total = state.bytes, state.total_bytes
            advance(done, "" if total is None else f"of {total}", total)

        yield report


@contextmanager
def _bar(label: str, total: int | None, *, transfer: bool = True) -> Iterator[Callable[..., None] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress as rich_progress
    from rich.console import Console

    columns: list[Any] = [rich_progress.TextColumn("{task.description}"), rich_progress.BarColumn()]
    if transfer:
        columns += [rich_progress.DownloadColumn(), rich_progress.TransferSpeedColumn()]
    columns.append(rich_progress.TextColumn("{task.fields[note]}"))
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, note="")

        def advance(done: int, note: str, total: int | None = None) -> None:
            bar.update(task, completed=done, note=note, total=total or bar.tasks[0].total)

        yield advance


def entry_record(entry: Entry, streams: list[tuple[str, int, bytes]], sha256: bytes | None) -> dict[str, Any]:
    """Returns all metadata of an entry, in the order in which it is printed."""
    # Most listings need no descriptors.
    from wclayer.win32.sddl import security_text

    info = entry.info
    assert info is not None
    record: dict[str, Any] = {
        "name": entry.name,
        "size": entry.size,
        "attributes": info.attributes,
        "attribute_names": attribute_names(info.attributes),
        "creation_time": filetime.to_iso(info.creation_time),
        "last_access_time": filetime.to_iso(info.last_access_time),
        "last_write_time": filetime.to_iso(info.last_write_time),
        "change_time": filetime.to_iso(info.change_time),
        "security": security_text(entry.security),
    }
    if sha256 is not None:
        record["sha256"] = sha256.hex()
    if entry.link_target is not None:
        record["hard_link_to"] = entry.link_target
    if entry.reparse is not None:
        record["reparse"] = reparse_record(entry.reparse)
    if entry.eas:
        record["eas"] = _ea_records(entry.eas)
    if streams:
        record["streams"] = [{"name": name, "size": size, "sha256": digest.hex()} for name, size, digest in streams]
    if entry.extra:
        record["other_streams"] = [{"id": extra.id, "size": len(extra.data)} for extra in entry.extra]
    return record


def reparse_record(data: bytes) -> dict[str, Any]:
    """Returns the tag and the target of a reparse point, or its data if it is not a link."""
    try:
        point = decode_reparse(data)
    except ValueError as error:
        return {"error": str(error)}
    record: dict[str, Any] = {"tag": point.tag_name}
    try:
        link = decode_link(point)
    except ValueError:
        record["data"] = point.data.hex()
    else:
        record |= {"target": link.print_name, "substitute_name": link.substitute_name, "relative": link.is_relative}
    return record


def _ea_records(data: bytes) -> list[dict[str, Any]]:
    try:
        eas = decode_eas(data)
    except ValueError as error:
        return [{"error": str(error)}]
    return [{"name": ea.name.decode("latin-1"), "flags": ea.flags, "value": ea.value.hex()} for ea in eas]
