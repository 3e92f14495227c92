"""The block allocation table (BAT) of a VHDX file. A bounded part of it is in memory ([MS-VHDX] 2.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wclayer.formats.vhdx.structs import MIB, SECTOR

PIECE = SECTOR
"""Bytes that are read or written at a time: one sector of the log."""
_ENTRIES = PIECE // 8
_KEPT = 64
_SCANNED = MIB
_ZEROS = bytes(_SCANNED)


class BlockTable:
    """The entries of a BAT, as 64-bit numbers by their index.

    Args:
        read: returns `length` bytes of the file from an offset, with zeros after its end.
        offset: the file offset of the table.
        entries: the number of entries.
    """

    def __init__(self, read: Callable[[int, int], bytes], offset: int, entries: int) -> None:
        self._read = read
        self.offset = offset
        self.entries = entries
        self._clean: dict[int, memoryview] = {}
        self._changed: dict[int, memoryview] = {}

    def __getitem__(self, index: int) -> int:
        number, at = divmod(index, _ENTRIES)
        return self._piece(number)[at]

    def __setitem__(self, index: int, entry: int) -> None:
        number, at = divmod(index, _ENTRIES)
        piece = self._piece(number)
        piece[at] = entry
        self._changed[number] = piece
        self._clean.pop(number, None)

    @property
    def changed_size(self) -> int:
        """The number of bytes in memory that are not in the file yet."""
        return len(self._changed) * PIECE

    def take_changes(self) -> list[tuple[int, bytes]]:
        """Returns the changed pieces, as file offsets and bytes. They count as written from now on."""
        found = [(self.offset + number * PIECE, bytes(self._changed[number])) for number in sorted(self._changed)]
        self._changed.clear()
        return found

    def in_use(self) -> Iterator[tuple[int, int]]:
        """Yields the entries that are not zero, each after its index."""
        for start in range(0, self.entries * 8, _SCANNED):
            data = bytearray(self._read(self.offset + start, min(_SCANNED, self.entries * 8 - start)))
            for number in range(start // PIECE, -(-(start + len(data)) // PIECE)):
                if (piece := self._changed.get(number)) is not None:
                    at = number * PIECE - start
                    data[at : at + PIECE] = bytes(piece)[: len(data) - at]
            if data == _ZEROS[: len(data)]:
                continue
            for index, entry in enumerate(memoryview(data).cast("Q"), start // 8):
                if entry:
                    yield index, entry

    def _piece(self, number: int) -> memoryview:
        piece = self._changed.get(number) or self._clean.get(number)
        if piece is None:
            piece = memoryview(bytearray(self._read(self.offset + number * PIECE, PIECE))).cast("Q")
            if len(self._clean) >= _KEPT:
                del self._clean[next(iter(self._clean))]
            self._clean[number] = piece
        return piece
