"""The media types that are told from the contents of a document."""

from __future__ import annotations

import io
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.images.document_types import media_type_of

_CYCLONEDX = "application/vnd.cyclonedx+json"
_SPDX = "application/spdx+json"


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ('{"bomFormat":"CycloneDX","specVersion":"1.6"}', _CYCLONEDX),
        ('{"$schema":"http://cyclonedx.org/schema/bom-1.6.schema.json","bomFormat":"CycloneDX"}', _CYCLONEDX),
        ('{"components":[{"name":"a, \\"b\\" {"},[]],"x":{"y":{}},"n":1,\n\t"bomFormat" : "CycloneDX"}', _CYCLONEDX),
        ('{"SPDXID":"SPDXRef-DOCUMENT","packages":[],"spdxVersion":"SPDX-2.3"}', _SPDX),
        ('{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[]}', _SPDX),
        ('{"_type":"https://in-toto.io/Statement/v1","predicate":{"bomFormat":"CycloneDX"}}',
         "application/vnd.in-toto+json"),
        ('{"predicate":{"a":{"bomFormat":"CycloneDX"}},"_type":"https://in-toto.io/Statement/v0.1"}',
         "application/vnd.in-toto+json"),
        ('{"payloadType":"application/vnd.in-toto+json","payload":""}', "application/vnd.dsse.envelope.v1+json"),
        ('{"@context":"https://openvex.dev/ns/v0.2.0","statements":[]}', "application/vnd.openvex+json"),
        ('{"document":{"category":"csaf_vex","csaf_version":"2.0"}}', "application/csaf+json"),
        ('{"version":"2.1.0","$schema":"https:\\/\\/json.schemastore.org/sarif-2.1.0.json"}', "application/sarif+json"),
        ('{"$schema":"https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"}',
         "application/sarif+json"),
        ('\ufeff<?xml version="1.0"?>\n<bom xmlns="http://cyclonedx.org/schema/bom/1.6"/>',
         "application/vnd.cyclonedx+xml"),
        ("# a comment\nSPDXVersion: SPDX-2.3\n", "text/spdx"),
        ("", ""),
        ("hello", ""),
        ('"bomFormat"', ""),
        ('["bomFormat","CycloneDX"]', ""),
        ('[{"bomFormat":"CycloneDX"}]', ""),
        ('{"a":{"bomFormat":"CycloneDX"}}', ""),
        ('{"a":["bomFormat","CycloneDX"]}', ""),
        ('{"name":"bomFormat","CycloneDX":1}', ""),
        ('{"bomFormat":"Other"}', ""),
        ('{}{"bomFormat":"CycloneDX"}', ""),
        ('{"bomFormat', ""),
    ],
)  # fmt: skip
def test_a_document_tells_what_it_is_at_its_top_level_alone(document: str, media_type: str) -> None:
    assert media_type_of(io.BytesIO(document.encode())) == media_type


@pytest.mark.parametrize("size", [0, 4000, 4096, 1 << 17, 1_000_000])
@pytest.mark.parametrize("is_text", [True, False])
def test_what_comes_before_does_not_matter(size: int, is_text: bool) -> None:
    before = ["x" * size] * 3 if is_text else [[0]] * (size // 20)
    document = {"before": before, "spdxVersion": "SPDX-2.3"}
    assert media_type_of(io.BytesIO(json.dumps(document).encode())) == _SPDX


@given(st.binary() | st.lists(st.sampled_from(['"', "{", "}", "[", "]", ",", "\\", "bomFormat", "é"])).map(
    lambda parts: "".join(parts).encode()
))  # fmt: skip
def test_any_bytes_are_of_some_type_or_none(data: bytes) -> None:
    assert isinstance(media_type_of(io.BytesIO(data)), str)


@pytest.mark.parametrize(
    "data", [b'{"a":"' + b"x" * (8 << 20), b"{" * (1 << 19), b'"\\' * (2 << 20), b"[1," * (1 << 19)]
)
def test_hostile_documents_take_a_moment(data: bytes) -> None:
    began = time.process_time()
    assert media_type_of(io.BytesIO(data)) == ""
    assert time.process_time() - began < 5
