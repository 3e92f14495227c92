"""The `.reg` text format, version 5.00, which regedit exports and imports.

Source: "How to add, modify, or delete registry subkeys and values by using a .reg file" (Microsoft Support), and the
files of regedit: UTF-16LE with a byte order mark, CRLF, hexadecimal data wrapped at 80 columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from wclayer.errors import FormatError
from wclayer.formats.regf.model import Key, Value, walk
from wclayer.formats.regf.structs import LayerSemantics
from wclayer.formats.regf.values import ValueType, encode_string

HEADER = "Windows Registry Editor Version 5.00"
_WIDTH = 80
_PER_BYTE = 3
"""Characters: two digits and a comma."""
_BOM_UTF16 = b"\xff\xfe"
_BOM_UTF8 = b"\xef\xbb\xbf"
# A quoted name or string. Its only escapes are \\ and \", and it may contain line breaks.
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_HEX = re.compile(r"hex(?:\(([0-9a-fA-F]{1,8})\))?:(.*)", re.DOTALL)
_HEX_BYTE = re.compile(r"[0-9a-fA-F]{1,2}\Z")
_DWORD = re.compile(r"dword:([0-9a-fA-F]{1,8})\Z")
_LINE_END = re.compile(r"\r\n|\n|\r")
# Characters that would be read back differently from a string in quotes.
_UNQUOTABLE = re.compile(r"[\x00\r\n\ud800-\udfff]")


class RegTextError(FormatError):
    """The text is not in the `.reg` format; `line` is the number of the line, from 1."""

    def __init__(self, line: int, problem: str) -> None:
        self.line = line
        self.problem = problem
        super().__init__(f"line {line}: {problem}" if line else problem)


class RegEdit(NamedTuple):
    """One step of a `.reg` file: it creates or deletes a key, or, if `value` is given, sets or deletes a value.

    If a value is deleted, only its name is significant.
    """

    key: str
    value: Value | None = None
    is_deletion: bool = False


def parse_reg(data: bytes) -> Iterator[RegEdit]:
    """Yields the steps of a `.reg` file in order. The file is UTF-16LE with a byte order mark, or UTF-8.

    Raises:
        RegTextError: the file is not in the format. The steps before the error have been yielded.
    """
    text = _decode(data)
    end = _LINE_END.search(text)
    if text[: end.start() if end else len(text)].strip() != HEADER:
        raise RegTextError(1, f"the first line must be {HEADER!r}")
    position = len(text) if end is None else end.end()
    line = 2
    key: str | None = None
    while position < len(text):
        edit, length = _statement(text, position, line, key)
        if edit is not None:
            yield edit
            key = edit.key if edit.value is not None or not edit.is_deletion else None
        elif text[position : position + 1] == "[":
            key = None
        line += len(_LINE_END.findall(text, position, position + length))
        position += length


def _decode(data: bytes) -> str:
    try:
        if data.startswith(_BOM_UTF16):
            return data[2:].decode("utf-16-le")
        return data.removeprefix(_BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise RegTextError(0, f"neither UTF-16 with a byte order mark nor UTF-8: {error.reason}") from None


def _statement(text: str, position: int, line: int, key: str | None) -> tuple[RegEdit | None, int]:
    """Returns the statement that starts at a line, if any, and its length including the end of its last line."""
    end = _end_of_line(text, position)
    content = text[position:end].strip()
    if not content or content.startswith(";"):
        return None, _past_line(text, end) - position
    if content.startswith("["):
        name, bracket, rest = content[1:].rpartition("]")
        if not bracket or (rest.strip() and not rest.strip().startswith(";")):
            raise RegTextError(line, "a key has the form [PATH] or [-PATH]")
        is_deletion = name.startswith("-")
        path = name.removeprefix("-").strip("\\")
        if not path:
            raise RegTextError(line, "an empty key")
        return RegEdit(path, None, is_deletion), _past_line(text, end) - position
    start = position + (len(text[position:end]) - len(text[position:end].lstrip()))
    name, start = _value_name(text, start, line)
    if key is None:
        raise RegTextError(line, f"value {name!r} without a key before it")
    value, end = _value(text, start, line, name)
    return RegEdit(key, value or Value(name, 0, b""), value is None), _past_line(text, end) - position


def _value_name(text: str, start: int, line: int) -> tuple[str, int]:
    """Returns a value's name, and the offset of its data."""
    if text[start] == "@":
        name, start = "", start + 1
    elif match := _QUOTED.match(text, start):
        name, start = _unescape(match[1]), match.end()
    else:
        raise RegTextError(line, 'expected a key, "NAME"=… or @=…')
    while text[start : start + 1] in (" ", "\t"):
        start += 1
    if text[start : start + 1] != "=":
        raise RegTextError(line, f"no = after the name {name!r}")
    return name, start + 1


def _value(text: str, start: int, line: int, name: str) -> tuple[Value | None, int]:
    """Returns the value whose data starts at `start` (None: it is deleted), and the end of its last line."""
    while text[start : start + 1] in (" ", "\t"):
        start += 1
    if match := _QUOTED.match(text, start):
        end = _end_of_line(text, match.end())
        _check_rest(text[match.end() : end], line)
        return Value(name, ValueType.REG_SZ, encode_string(_unescape(match[1]))), end
    pieces = []
    while True:
        end = _end_of_line(text, start)
        piece = text[start:end].partition(";")[0].strip()
        if not piece.endswith("\\"):
            pieces.append(piece)
            break
        pieces.append(piece[:-1])
        start = _past_line(text, end)
        if start >= len(text):
            raise RegTextError(line, f"value {name!r}: the text ends after a \\")
    data = "".join("".join(pieces).split())
    if data == "-":
        return None, end
    if dword := _DWORD.match(data):
        return Value(name, ValueType.REG_DWORD, int(dword[1], 16).to_bytes(4, "little")), end
    if match := _HEX.match(data):
        kind = ValueType.REG_BINARY if match[1] is None else int(match[1], 16)
        numbers = [number for number in match[2].rstrip(",").split(",") if number]
        if not all(_HEX_BYTE.match(number) for number in numbers):
            raise RegTextError(line, f"value {name!r}: hexadecimal data is bytes with commas between them")
        return Value(name, kind, bytes(int(number, 16) for number in numbers)), end
    raise RegTextError(line, f'value {name!r}: expected "…", dword:…, hex:…, hex(TYPE):… or -, not {data[:20]!r}')


def _check_rest(rest: str, line: int) -> None:
    if rest.strip() and not rest.strip().startswith(";"):
        raise RegTextError(line, f"{rest.strip()[:20]!r} after the end of a string")


def _unescape(text: str) -> str:
    return _ESCAPE.sub(r"\1", text)


def _end_of_line(text: str, position: int) -> int:
    match = _LINE_END.search(text, position)
    return len(text) if match is None else match.start()


def _past_line(text: str, end: int) -> int:
    match = _LINE_END.match(text, end)
    return len(text) if match is None else match.end()


def format_reg(keys: Iterable[tuple[str, Key]], *, max_paths: int | None = None) -> Iterator[str]:
    """Yields the lines of a `.reg` file, without line ends.

    The tombstones of a delta hive become deletions. A key that supersedes its subtree is deleted before it is created.

    Args:
        keys: the keys, each with its full path.
        max_paths: how many characters the paths of all keys below one of `keys` may have (see `walk`).

    Raises:
        RegTextError: a key's name has a line break in it, which the format cannot hold.
        RegfError: a key is damaged, or below more levels than Windows allows.
        RegfLimitError: the paths have more than `max_paths` characters.
    """
    yield HEADER
    yield ""
    for top_path, top in keys:
        superseded = deleted = ""
        for path, key in walk(top, top_path, max_paths=max_paths):
            if "\r" in path or "\n" in path:
                raise RegTextError(0, f"key {path!r}: a line break in a key's name has no form in a .reg file")
            semantics = key.metadata.semantics
            if deleted and path.startswith(deleted):
                # Keys below a tombstone are deleted with it.
                continue
            if semantics is LayerSemantics.TOMBSTONE:
                deleted = path + "\\"
                yield f"[-{path}]"
                yield ""
                continue
            if semantics is LayerSemantics.SUPERSEDE_TREE and not (superseded and path.startswith(superseded)):
                superseded = path + "\\"
                yield f"[-{path}]"
                yield ""
            yield f"[{path}]"
            for value in key.values():
                yield from _format_value(value)
            yield ""


def _format_value(value: Value) -> Iterator[str]:
    head = "@=" if not value.name else f'"{_escape(value.name)}"='
    if value.is_tombstone:
        yield head + "-"
        return
    text = _quotable(value)
    if text is not None:
        yield f'{head}"{_escape(text)}"'
    elif value.type == ValueType.REG_DWORD and len(value.data) == 4:
        yield f"{head}dword:{int.from_bytes(value.data, 'little'):08x}"
    else:
        head += "hex:" if value.type == ValueType.REG_BINARY else f"hex({value.type:x}):"
        yield from _wrap(head, value.data)


def _quotable(value: Value) -> str | None:
    """Returns the text of a string value, or None if quotes cannot hold it without loss."""
    if value.type != ValueType.REG_SZ or len(value.data) % 2 or value.data[-2:] != b"\0\0":
        return None
    text = value.data[:-2].decode("utf-16-le", "surrogatepass")
    return None if _UNQUOTABLE.search(text) else text


def _wrap(head: str, data: bytes) -> Iterator[str]:
    """Yields the lines of hexadecimal data, at most `_WIDTH` wide. All lines but the last end with a backslash."""
    line, at = head, 0
    while at < len(data) and len(line) + _PER_BYTE * (len(data) - at) > _WIDTH:
        # A line contains the comma after its last byte and the backslash. A long name may leave no room for a byte.
        count = max(0, (_WIDTH - len(line) - 2) // _PER_BYTE)
        yield f"{line}{data[at : at + count].hex(',')},\\" if count else f"{line}\\"
        line, at = "  ", at + count
    yield line + data[at:].hex(",")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def encode_reg(lines: Iterable[str]) -> Iterator[bytes]:
    """Yields the bytes of a `.reg` file, line by line, as regedit writes them."""
    yield _BOM_UTF16
    for line in lines:
        yield f"{line}\r\n".encode("utf-16-le", "surrogatepass")
