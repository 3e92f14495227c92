"""The common parts of XPRESS and LZX: Huffman codes, and bits in little-endian 16-bit words, highest bit first."""

from __future__ import annotations

from collections.abc import Sequence

from wclayer.formats.ntfs.structs import NtfsError


class BitReader:
    """Reads bits. After the end of the data it reads a few words of zeros, as the decoders of Windows do."""

    __slots__ = ("_bits", "_count", "data", "position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position
        self._bits = 0
        self._count = 0

    def fill(self, count: int) -> None:
        """Loads words until at least `count` bits are loaded."""
        while self._count < count:
            if self.position > len(self.data) + 8:
                raise NtfsError("compressed data that ends too soon")
            word = int.from_bytes(self.data[self.position : self.position + 2].ljust(2, b"\0"), "little")
            self.position += 2
            self._bits = (self._bits << 16 | word) & 0xFFFFFFFFFFFF
            self._count += 16

    def peek(self, count: int) -> int:
        """Returns the next `count` bits without consuming them."""
        self.fill(count)
        return self._bits >> (self._count - count) & ((1 << count) - 1)

    def skip(self, count: int) -> None:
        self._count -= count

    def read(self, count: int) -> int:
        """Consumes and returns the next `count` bits."""
        if not count:
            return 0
        value = self.peek(count)
        self._count -= count
        return value

    def read_beside(self, size: int) -> int:
        """Reads a little-endian number of `size` bytes, which follows the loaded words, and returns it."""
        if self.position + size > len(self.data):
            raise NtfsError("compressed data that ends too soon")
        self.position += size
        return int.from_bytes(self.data[self.position - size : self.position], "little")

    def align(self) -> None:
        """Skips the rest of the word that is being read, or the next whole word if none is partly read.

        `read_beside` and `take` continue after it.
        """
        if self._count % 16 == 0:
            self.fill(16)
            self._count -= 16
        self.position -= self._count // 16 * 2
        self._count = self._bits = 0

    def take(self, count: int) -> bytes:
        """Reads `count` whole bytes, which follow the loaded words, and returns them."""
        data = self.data[self.position : self.position + count]
        if len(data) < count:
            raise NtfsError("compressed data that ends too soon")
        self.position += count
        return data


class Huffman:
    """A canonical Huffman code, defined by the length of each symbol's code (0: the symbol has no code).

    Raises:
        NtfsError: no complete code has these lengths.
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
        """Reads the next symbol and returns it.

        Raises:
            NtfsError: the next bits are the code of no symbol.
        """
        if not self._table:
            raise NtfsError("a symbol of an empty Huffman code")
        symbol = self._table[bits.peek(self._longest)]
        bits.skip(self._lengths[symbol])
        return symbol
