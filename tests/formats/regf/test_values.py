"""Values as text, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.formats.regf.model import Value
from wclayer.formats.regf.values import ValueType, decode_strings, from_text, parse_type, to_text, type_name

plain = st.text(st.characters(codec="utf-16", exclude_characters="\0\\"), max_size=20)


@given(plain, st.sampled_from([1, 2, 6]))
def test_strings(text: str, kind: int) -> None:
    assert to_text(Value("v", kind, from_text(kind, text))) == text


@given(st.lists(plain.filter(bool), max_size=5))
def test_multiple_strings(parts: list[str]) -> None:
    text = "\\0".join(parts)
    data = from_text(ValueType.REG_MULTI_SZ, text)
    assert decode_strings(data) == parts
    assert to_text(Value("v", 7, data)) == text
    assert data.endswith(b"\0\0")


@given(st.integers(0, 2**32 - 1))
def test_numbers(number: int) -> None:
    for kind in (ValueType.REG_DWORD, ValueType.REG_DWORD_BIG_ENDIAN, ValueType.REG_QWORD):
        for text in (str(number), hex(number)):
            data = from_text(kind, text)
            assert to_text(Value("v", kind, data)) == hex(number)
    assert from_text(ValueType.REG_DWORD_BIG_ENDIAN, "1") == b"\0\0\0\1"


@given(st.binary(max_size=30), st.sampled_from([0, 3, 8, 9, 10, 0x1234]))
def test_other_data_is_hexadecimal(data: bytes, kind: int) -> None:
    assert from_text(kind, to_text(Value("v", kind, data))) == data


@pytest.mark.parametrize(
    ("kind", "text"),
    [(4, "x"), (4, "-1"), (4, "4294967296"), (4, ""), (11, "0x10000000000000000"), (3, "abc"), (3, "x")],
)
def test_text_that_does_not_fit(kind: int, text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        from_text(kind, text)


def test_types() -> None:
    for kind in ValueType:
        assert parse_type(type_name(kind)) == parse_type(kind.name.lower()) == kind
    assert parse_type(type_name(0x12345678)) == 0x12345678
    for text in ("REG_FOO", "-1", "0x100000000"):
        with pytest.raises(ValueError, match="not a type"):
            parse_type(text)


@given(st.binary(max_size=40), st.integers(0, 12))
def test_any_data_has_a_text(data: bytes, kind: int) -> None:
    assert isinstance(to_text(Value("v", kind, data)), str)
