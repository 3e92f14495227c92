"""`search_files`: finds text in the contents of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from wclayer.errors import during
from wclayer.search.contents import search_contents
from wclayer.search.pattern import ContentPattern, make_matcher
from wclayer.search.walking import entries_at
from wclayer.survey.opening import Subject, open_tree
from wclayer.win32.wildcards import FilePattern


@dataclass(frozen=True, slots=True)
class FoundText:
    """A line of a file that has the pattern, or a binary file that has it.

    Attributes:
        path: the path of the file from the layer's root, as it is stored: `Files/Windows/win.ini`.
        stream: the name of the alternate stream; "" for the contents of the file.
        layer: the number of the layer that has the file; the base layer is 1.
        line: the number of the line, from 1; None for a binary file.
        text: the line without its end; "" for a binary file. A byte that is no UTF-8 is a surrogate, U+DC80 to U+DCFF.
            Of a line of more than 1 MiB, it is a part.
        encoding: `utf-8`, which also stands for other encodings that contain ASCII, `utf-16-le` or `utf-16-be`; "" for
            a binary file.
    """

    path: str
    stream: str
    layer: int
    line: int | None
    text: str
    encoding: str

    @property
    def is_binary(self) -> bool:
        """Whether the file is binary: then it is found once."""
        return self.line is None

    @property
    def name(self) -> str:
        """The path with the name of the stream: `Files/a.exe:Zone.Identifier`."""
        return f"{self.path}:{self.stream}" if self.stream else self.path

    def to_json(self) -> dict[str, Any]:
        """Returns it for JSON."""
        record: dict[str, Any] = {"path": self.path, "layer": self.layer, "binary": self.is_binary}
        if self.stream:
            record["stream"] = self.stream
        if not self.is_binary:
            record |= {"line": self.line, "text": self.text, "encoding": self.encoding}
        return record


@during("grep", takes_over=True)
def search_files(
    subject: Subject,
    pattern: ContentPattern,
    paths: Sequence[str] = (),
    *,
    include: Sequence[str] = (),
    streams: bool = False,
    first_only: bool = False,
) -> Iterator[FoundText]:
    """Yields the lines in files of an image, or of any other chain, that have a pattern.

    Text in UTF-8, in UTF-16 of either byte order with or without a byte order mark, and in every encoding that contains
    ASCII is searched line by line; a line may end with CR LF. In other, binary files, the pattern is looked for in the
    bytes, as UTF-8 and as UTF-16LE, as programs of Windows have their texts; a match in them may be up to 64 KiB long.
    Files and lines of any size take a few MiB of memory, and the time is linear in the size. Links are not followed.

    Args:
        subject: where it is searched: an open image (`open_image`); the path of a layer directory, which is taken over
            the parents that it records; or the paths of a chain, nearest first.
        pattern: what is searched for.
        paths: files and directories in any spelling that `layer_path` accepts. By default, everything.
        include: patterns of names of files, one of which must match, as in Windows: `*.ini`. By default, all files.
        streams: alternate streams of files and directories are searched, too.
        first_only: a file is not searched further after the first match.

    Raises:
        PathNotFoundError: a path does not exist, or a layer cannot be opened. This and the other errors are raised when
            the first match is requested.
        NotALayerError, CorruptLayerError: a layer cannot be opened, or is damaged.
        InvalidParameterError: the pattern is no regular expression of RE2.
        NotSupportedError: it is a regular expression, and RE2 is not installed.
        LimitExceededError: a file, or a path, is larger than the limits allow.
    """
    matcher = make_matcher(pattern)
    wanted = [FilePattern(name) for name in include]
    with open_tree(subject) as tree:
        for node in entries_at(tree, paths):
            if wanted and not any(each.matches(node.name) for each in wanted):
                continue
            if node.is_directory and not streams:
                continue
            for stream in tree.streams(node):
                if stream.name and not streams:
                    continue
                for match in search_contents(map(bytes, stream.chunks), matcher):
                    yield FoundText(
                        node.path, stream.name, tree.depth(node.layer), match.line, match.text, match.encoding
                    )
                    if first_only:
                        break
