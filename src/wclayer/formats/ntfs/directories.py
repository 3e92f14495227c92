"""The directories of a new volume, and which records are the files in each: a few bytes for each, in arrays.

Names are not kept: they are read back from the records when the indexes are built. Files whose records follow each
other, which is usual, take 12 bytes together.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator


class Directories:
    """The directories of a volume by their numbers, from 0 up, in the order in which they are added."""

    def __init__(self) -> None:
        self.references = array("Q")
        """The file reference of each directory."""
        self._first = array("I")
        self._last = array("I")
        """The first and the last piece of the list of what is in each directory; 0 for none."""
        self._seen = array("I")
        self._seen_counts = array("I")
        """The piece that `new_files` yielded last, and how many of its records."""
        # The pieces: consecutive records, or one record and a count of 0 for further names of a file. There is no 0.
        self._records = array("I", (0,))
        self._counts = array("I", (0,))
        self._next = array("I", (0,))

    def __len__(self) -> int:
        return len(self.references)

    def add(self, reference: int) -> int:
        """Adds an empty directory and returns its number."""
        self.references.append(reference)
        self._first.append(0)
        self._last.append(0)
        self._seen.append(0)
        self._seen_counts.append(0)
        return len(self.references) - 1

    def add_file(self, directory: int, record: int) -> None:
        """Adds a file or directory, which has its first name in a directory."""
        last = self._last[directory]
        if self._counts[last] and self._records[last] + self._counts[last] == record:
            self._counts[last] += 1
        else:
            self._add_piece(directory, record, 1)

    def add_link(self, directory: int, record: int) -> None:
        """Adds a file that has a further name in a directory."""
        self._add_piece(directory, record, 0)

    def _add_piece(self, directory: int, record: int, count: int) -> None:
        piece = len(self._records)
        self._records.append(record)
        self._counts.append(count)
        self._next.append(0)
        if last := self._last[directory]:
            self._next[last] = piece
        else:
            self._first[directory] = piece
        self._last[directory] = piece

    def is_empty(self, directory: int) -> bool:
        """Returns whether nothing was added to a directory."""
        return not self._first[directory]

    def files(self, directory: int) -> Iterator[tuple[int, int]]:
        """Yields what has its first name in a directory, in the order in which it came.

        Each piece is the number of a record, and how many records with it follow each other.
        """
        for record, count in self._pieces(directory):
            if count:
                yield record, count

    def new_files(self, directory: int) -> Iterator[tuple[int, int]]:
        """Yields those of `files` that no earlier call for this directory has yielded."""
        piece, seen = self._seen[directory], self._seen_counts[directory]
        if not piece:
            piece = self._first[directory]
        while piece:
            count = self._counts[piece]
            if count > seen:
                yield self._records[piece] + seen, count - seen
            self._seen[directory], self._seen_counts[directory] = piece, count
            piece, seen = self._next[piece], 0

    def links(self, directory: int) -> Iterator[int]:
        """Yields the records of files that have further names in a directory, each as often as names were added."""
        for record, count in self._pieces(directory):
            if not count:
                yield record

    def _pieces(self, directory: int) -> Iterator[tuple[int, int]]:
        piece = self._first[directory]
        while piece:
            yield self._records[piece], self._counts[piece]
            piece = self._next[piece]
