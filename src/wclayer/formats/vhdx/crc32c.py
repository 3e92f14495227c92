"""CRC-32C (Castagnoli), the checksum of every VHDX structure ([MS-VHDX] section 2)."""

from __future__ import annotations

from functools import lru_cache

_POLYNOMIAL = 0x82F63B78
_ONE = 1 << 31
"""The polynomial 1. The lowest bit is the highest power."""


def _table() -> tuple[int, ...]:
    values = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        values.append(byte)
    return tuple(values)


_TABLE = _table()


def crc32c(data: bytes | bytearray) -> int:
    """Returns the checksum of `data`.

    Most of a structure is zeros at its end: a region table has 64 KiB, of which 100 bytes are in use. The zeros are not
    read one by one: n zero bytes multiply the remainder by x to the power of 8n.
    """
    table = _TABLE
    used = data.rstrip(b"\0")
    crc = 0xFFFFFFFF
    for byte in used:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return _multiply(crc, _power_of_x(8 * (len(data) - len(used)))) ^ 0xFFFFFFFF


def _multiply(left: int, right: int) -> int:
    """Returns the product of two polynomials modulo the polynomial of the checksum."""
    product = 0
    for bit in range(31, -1, -1):
        if left >> bit & 1:
            product ^= right
        right = right >> 1 ^ (_POLYNOMIAL if right & 1 else 0)
    return product


# The structures have few sizes, and as much in use as the time before.
@lru_cache(maxsize=256)
def _power_of_x(exponent: int) -> int:
    """Returns x to the power of `exponent`, modulo the polynomial of the checksum."""
    power, square = _ONE, _ONE >> 1
    while exponent:
        if exponent & 1:
            power = _multiply(power, square)
        square = _multiply(square, square)
        exponent >>= 1
    return power
