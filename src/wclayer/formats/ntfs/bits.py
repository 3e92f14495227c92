"""What XPRESS and LZX are made of: bits out of little-endian 16-bit words, highest first, and Huffman codes."""

from __future__ import annotations

from collections.abc import Sequence

from wclayer.formats.ntfs.structs import NtfsError


class BitReader:
    """Reads bits; beyond the end come zeros, as the decoders of Windows take them, up to some words."""

    __slots__ = ("_bits", "_count", "data", "position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position
        self._bits = 0
        self._count = 0

    def fill(self, count: int) -> None:
        """Makes at least `count` bits ready."""
        while self._count < count:
            if self.position > len(self.data) + 8:
                raise NtfsError("compressed data that ends too soon")
            word = int.from_bytes(self.data[self.position : self.position + 2].ljust(2, b"\0"), "little")
            self.position += 2
            self._bits = (self._bits << 16 | word) & 0xFFFFFFFFFFFF
            self._count += 16

    def peek(self, count: int) -> int:
        """The next bits, which stay."""
        self.fill(count)
        return self._bits >> (self._count - count) & ((1 << count) - 1)

    def skip(self, count: int) -> None:
        self._count -= count

    def read(self, count: int) -> int:
        """The next bits."""
        if not count:
            return 0
        value = self.peek(count)
        self._count -= count
        return value

    def read_beside(self, size: int) -> int:
        """A number of whole bytes that stands after the words that are ready."""
        if self.position + size > len(self.data):
            raise NtfsError("compressed data that ends too soon")
        self.position += size
        return int.from_bytes(self.data[self.position - size : self.position], "little")

    def align(self) -> None:
        """Goes past the word that bits were read from, or past the next one if all of its bits were; then `read_beside`
        and `take` go on from there."""
        if self._count % 16 == 0:
            self.fill(16)
            self._count -= 16
        self.position -= self._count // 16 * 2
        self._count = self._bits = 0

    def take(self, count: int) -> bytes:
        """Whole bytes that stand after the words that are ready."""
        data = self.data[self.position : self.position + count]
        if len(data) < count:
            raise NtfsError("compressed data that ends too soon")
        self.position += count
        return data


class Huffman:
    """A canonical Huffman code, by the length of each symbol's code (0: it has none).

    Raises:
        NtfsError: the lengths are those of no complete code.
    """

    __slots__ = ("_lengths", "_longest", "_table")

    def __init__(self, lengths: Sequence[int]) -> None:
        longest = max(lengths, default=0)
        table: list[int] = []
        for length in range(1, longest + 1):
            span = 1 << (longest - length)
            for symbol, own in enumerate(lengths):
                if own == length:
                    table += [symbol] * span
        if len(table) > 1 << longest or (table and len(table) < 1 << longest and len(set(table)) > 1):
            raise NtfsError("an invalid Huffman code")
        # A code of one symbol leaves half of its table empty.
        table += [table[0]] * ((1 << longest) - len(table)) if table else []
        self._table = table
        self._longest = longest
        self._lengths = lengths

    def read(self, bits: BitReader) -> int:
        """The next symbol.

        Raises:
            NtfsError: the code has none.
        """
        if not self._table:
            raise NtfsError("a symbol of an empty Huffman code")
        symbol = self._table[bits.peek(self._longest)]
        bits.skip(self._lengths[symbol])
        return symbol
