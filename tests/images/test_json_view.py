"""JSON from elsewhere: what programs would read differently is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import FormatError
from wclayer.images.config import parse_config
from wclayer.images.descriptor import Descriptor
from wclayer.images.json_view import JsonView, parse_json
from wclayer.images.manifest import parse_manifest

DIGEST = f"sha256:{'0' * 64}"
LAYERS = '"layers":[]'
CONFIG = f'"config":{{"mediaType":"x","digest":"{DIGEST}","size":1}}'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f'{{"schemaVersion":2,{CONFIG},{LAYERS},"Layers":[]}}', "'layers' and 'Layers', which differ only in case"),
        (f'{{"schemaVersion":2,{CONFIG},"Layers":[]}}', "'layers' is written 'Layers'"),
        (f'{{"SchemaVersion":2,{CONFIG},{LAYERS}}}', "'schemaVersion' is written 'SchemaVersion'"),
        (f'{{"schemaVersion":2,{CONFIG},"layer\u017f":[]}}', "'layers' is written 'layer\u017f'"),  # Go folds it, too
        ('{"schemaVersion":2,"Manifests":[]}', "'manifests' is written 'Manifests'"),
        (f'{{"schemaVersion":2,"mediatype":"x",{CONFIG},{LAYERS}}}', "'mediaType' is written 'mediatype'"),
        (
            f'{{"schemaVersion":2,"config":{{"mediaType":"x","digest":"{DIGEST}","Digest":"{DIGEST}","size":1}},{LAYERS}}}',
            "'digest' and 'Digest'",
        ),
        (f'{{"schemaVersion":2,{CONFIG},{LAYERS},{LAYERS}}}', "a key occurs twice"),
    ],
)
def test_equal_keys_in_other_case_are_refused_in_manifests(text: str, reason: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_manifest(text.encode())
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '{"os":"windows","OS":"linux","rootfs":{"type":"layers","diff_ids":[]}}',
        '{"rootfs":{"type":"layers","diff_ids":[],"Diff_IDs":[]}}',
        '{"rootfs":{"type":"layers","diff_ids":[]},"config":{"Cmd":["a"],"cmd":["b"]}}',
        '{"rootfs":{"type":"layers","diff_ids":[]},"Config":{"Cmd":["a"]}}',
        '{"rootfs":{"type":"layers","diff_ids":[]},"history":[{"Empty_Layer":true}]}',
    ],
)
def test_equal_keys_in_other_case_are_refused_in_configurations(text: str) -> None:
    with pytest.raises(FormatError):
        parse_config(text.encode())


def test_keys_that_are_data_may_differ_in_case_only() -> None:
    record = {"mediaType": "x", "digest": DIGEST, "size": 1, "annotations": {"a": "1", "A": "2"}}
    assert Descriptor.from_json(JsonView(record, "x")).annotations == {"a": "1", "A": "2"}
    config = {"rootfs": {"type": "layers", "diff_ids": []}, "config": {"Labels": {"a": "1", "A": "2"}}}
    assert parse_config(json.dumps(config).encode()).view.view("config").mapping("Labels") == {"a": "1", "A": "2"}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text("aAbB", max_size=3), values, max_size=4))
def test_a_view_shows_what_json_says_or_refuses_it(record: dict[str, object]) -> None:
    data = json.dumps(record).encode()
    if len({key.casefold() for key in record}) < len(record):
        with pytest.raises(FormatError, match="differ only in case"):
            parse_json(data, "x")
        return
    view = parse_json(data, "x")
    assert view.record == record
    for key, value in record.items():
        assert (key in view) is (value is not None)
        if key.swapcase() != key:
            with pytest.raises(FormatError, match="is written"):
                view.text(key.swapcase())


@given(st.binary(max_size=60) | st.text('{}[]":,a1', max_size=30).map(str.encode))
def test_any_bytes_are_a_view_or_a_format_error(data: bytes) -> None:
    for parse in (lambda: parse_json(data, "x"), lambda: parse_manifest(data), lambda: parse_config(data)):
        try:
            parse()
        except FormatError:
            pass


def nested(depth: int) -> bytes:
    return b'{"a":"[[","b\\"{":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_what_is_nested_too_deep_is_refused() -> None:
    parse_json(nested(64), "x")
    for depth in (65, 500, 100_000):
        with pytest.raises(FormatError, match="nested more than 64 deep"):
            parse_json(nested(depth), "x")
