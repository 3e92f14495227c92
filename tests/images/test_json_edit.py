"""Changes of a JSON document leave every other byte as it is."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import FormatError
from wclayer.images.json_edit import JsonText, write_json

keys = st.text('aB<&é\u2028\\"{}[],: ', max_size=4)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | keys
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=12
)
documents = st.dictionaries(keys, values, max_size=4)
styles = st.sampled_from(
    [
        {"separators": (",", ":")}, {}, {"indent": 3}, {"indent": "\t"}, {"ensure_ascii": False},
        {"separators": (" , ", "\n:\r")},
    ]
)  # fmt: skip


def places(value: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, item in items for path in [(*above, key), *places(item, (*above, key))]]


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def text_of(document: object, style: dict[str, Any]) -> bytes:
    return json.dumps(document, **style).encode()


@given(documents.filter(bool), styles, st.data(), values)
def test_a_value_is_replaced_and_put_back(document: Any, style: dict[str, Any], data: st.DataObject, new: Any) -> None:
    path = data.draw(st.sampled_from(places(document)))
    original = text_of(document, style)
    text = JsonText(original)
    assert text.get(path) == at(document, path)
    text.set(path, new)
    expected = copy.deepcopy(document)
    at(expected, path[:-1])[path[-1]] = new
    assert json.loads(text.data) == expected
    assert list(json.loads(text.data)) == list(document)
    old = at(document, path)
    if json.dumps(new) == json.dumps(old):
        assert text.data == original
    elif not isinstance(old, (str, dict, list, float)):  # others may have been written in another way
        text.set(path, old)
        assert text.data == original


@given(documents, styles, st.data(), values)
def test_a_member_is_added_and_removed_again(
    document: Any, style: dict[str, Any], data: st.DataObject, new: Any
) -> None:
    filled: list[tuple[str | int, ...]] = [()] if document else []
    filled += [path for path in places(document) if isinstance(at(document, path), (dict, list)) and at(document, path)]
    if not filled:
        return
    above = data.draw(st.sampled_from(filled))
    container = at(document, above)
    last: str | int = len(container) if isinstance(container, list) else "the new key"
    original = text_of(document, style)
    text = JsonText(original)
    text.set((*above, last), new)
    added = json.loads(text.data)
    assert at(added, (*above, last)) == new
    assert text.remove((*above, last))
    assert text.data == original
    assert not text.remove((*above, "no key" if isinstance(last, str) else 99))


@given(st.dictionaries(keys, values, max_size=3) | st.none(), styles, st.dictionaries(keys, values, max_size=4))
def test_members_are_set_at_once_as_one_after_the_other(below: Any, style: dict[str, Any], new: dict[str, Any]) -> None:
    original = text_of({"a": below, "b": [1]}, style)
    at_once, singly = JsonText(original), JsonText(original)
    at_once.set_all(("a",), new)
    for key, value in new.items():
        singly.set(("a", key), value)
    assert at_once.data == singly.data
    with pytest.raises(FormatError, match="b is not an object"):
        at_once.set_all(("b",), {"x": 1})


@given(documents.filter(bool), styles, st.data())
def test_any_member_is_removed_and_the_others_stay(document: Any, style: dict[str, Any], data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(places(document)))
    text = JsonText(text_of(document, style))
    assert text.remove(path)
    expected = copy.deepcopy(document)
    del at(expected, path[:-1])[path[-1]]
    assert json.loads(text.data) == expected


lists = st.lists(values, max_size=5)


@given(lists, lists, styles, st.sets(st.integers(0, 12)))
def test_a_list_is_extended_and_shortened_at_once(
    old: list[Any], new: list[Any], style: dict[str, Any], gone: set[int]
) -> None:
    text = JsonText(text_of({"a": 1, "list": old, "z": None}, style))
    text.extend(("list",), iter(new))
    whole = old + new
    assert json.loads(text.data) == {"a": 1, "list": whole, "z": None}
    one_by_one = JsonText(text.data)
    assert text.remove_all(("list",), gone) == len([number for number in gone if number < len(whole)])
    assert json.loads(text.data)["list"] == [item for number, item in enumerate(whole) if number not in gone]
    for number in sorted(gone, reverse=True):
        one_by_one.remove(("list", number))
    assert one_by_one.data == text.data


def test_only_a_list_is_extended() -> None:
    text = JsonText(b'{"a":{"b":1},"c":"d"}')
    for path in (("a",), ("c",)):
        with pytest.raises(FormatError):
            text.extend(path, [1])
    text.extend(("e", "f"), [1])
    text.extend(("g",), [])
    assert text.data == b'{"a":{"b":1},"c":"d","e":{"f":[1]}}'


def test_a_change_has_the_indentation_of_the_document() -> None:
    document = {"a": {"b": 1}, "list": [1]}
    text = JsonText(json.dumps(document, indent=3).encode())
    text.set(("c", "d"), {"e": [1, 2], "f": {}})
    text.set(("a", "x"), "<&>")
    text.set(("list", 1), {"y": None})
    expected = {"a": {"b": 1, "x": "<&>"}, "list": [1, {"y": None}], "c": {"d": {"e": [1, 2], "f": {}}}}
    written = json.dumps(expected, indent=3).replace("<&>", "\\u003c\\u0026\\u003e")
    assert text.data.decode() == written


def test_what_others_wrote_keeps_its_bytes() -> None:
    data = b'{ "n":1.50e+3, "big":123456789012345678901234567890,"s":"\\u0041\\/<" ,"t":{"k":[ ]} }'
    text = JsonText(data)
    text.set(("t", "k"), [1])
    text.set(("s",), "A/<")
    assert text.data == data.replace(b"[ ]", b"[1]")


def test_objects_that_are_missing_are_made() -> None:
    text = JsonText(b'{"a":null}')
    text.set(("a", "b", "c"), 1)
    text.set(("l", 0), 1)
    assert text.data == b'{"a":{"b":{"c":1}},"l":[1]}'
    assert text.get(("l", 5)) is None
    assert text.get(("x", "y")) is None


@pytest.mark.parametrize("path", [("a", "b"), ("a", 0), ("o", 0), ("l", "x")])
def test_something_else_in_the_way_is_refused(path: tuple[str | int, ...]) -> None:
    data = b'{"a":"text","o":{"k":1},"l":[1]}'
    text = JsonText(data)
    with pytest.raises(FormatError):
        text.set(path, 1)
    assert text.data == data


def test_strings_are_written_as_go_writes_them() -> None:
    assert write_json('a<b>&\u2028\u2029é\x00"') == '"a\\u003cb\\u003e\\u0026\\u2028\\u2029é\\u0000\\""'
    with pytest.raises(FormatError, match="not valid Unicode"):
        write_json("\udc80")
