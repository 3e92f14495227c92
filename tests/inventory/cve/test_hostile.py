"""Documents that somebody made to do harm: each is refused, or read, in little memory and time."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from typing import Any

import pytest

from tests.inventory.cve.forms import FORMS, Case, cvrf_json, cvrf_xml
from wclayer.errors import FormatError
from wclayer.inventory.cve.parsing import parse_document

_ENTITIES = "".join(f'<!ENTITY a{number} "{f"&a{number - 1};" * 10}">' for number in range(1, 10))
BILLION_LAUGHS = f'<?xml version="1.0"?><!DOCTYPE cvrfdoc [<!ENTITY a0 "ha">{_ENTITIES}]><cvrfdoc>&a9;</cvrfdoc>'
HOSTILE = {
    "billion laughs": BILLION_LAUGHS.encode(),
    "a file as an entity": b'<!DOCTYPE cvrfdoc [<!ENTITY x SYSTEM "file:///etc/passwd">]><cvrfdoc>&x;</cvrfdoc>',
    "a document type elsewhere": b'<!DOCTYPE cvrfdoc SYSTEM "http://192.0.2.1/x.dtd"><cvrfdoc/>',
    "an entity of nobody": b"<cvrfdoc><DocumentTitle>&x;</DocumentTitle></cvrfdoc>",
    "deep XML": b"<cvrfdoc>" + b"<a>" * 100_000,
    "many elements": b"<cvrfdoc>" + b"<a/>" * 300_000 + b"</cvrfdoc>",
    "another encoding": '<?xml version="1.0" encoding="utf-16"?><cvrfdoc>ä</cvrfdoc>'.encode("latin-1"),
    "XML that is cut": cvrf_xml(Case())[:-200],
    "JSON that is cut": cvrf_json(Case())[:-200],
    "deep JSON": b'{"ProductTree":' + b"[" * 100_000,
    "deep JSON that ends": b'{"ProductTree":' + b"[" * 900 + b"]" * 900 + b"}",
    "many values": b'{"ProductTree":{},"Vulnerability":[' + b"{}," * 200_000 + b"{}]}",
    "a key twice": b'{"ProductTree":{},"ProductTree":{}}',
    "keys that differ in case": b'{"ProductTree":{},"producttree":{}}',
    "a number of 5,000 digits": b'{"ProductTree":{},"Vulnerability":' + b"9" * 5000 + b"}",
    "no number": b'{"ProductTree":{},"Vulnerability":NaN}',
    "no text": b"\0\1\2\3",
    "UTF-16 that is cut": b"\xff\xfe{\0}",
    "an unpaired surrogate": b"\xff\xfe\0\xd8",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_document_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_document(data, "document")


def test_a_long_name_of_a_namespace_is_not_repeated_for_each_element() -> None:
    data = b'<cvrfdoc xmlns="' + b"A" * (4 << 20) + b'">' + b"<a/>" * 100_000 + b"</cvrfdoc>"
    began = time.process_time()
    assert parse_document(data, "document").advisories == ()
    assert time.process_time() - began < 10


VALUES: tuple[Any, ...] = (None, 7, -1.5, 10**30, "x", [], {}, [[]], [{}], True)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "CVRF as XML"])
def test_a_value_of_another_type_is_refused_or_ignored_wherever_it_is(form: str) -> None:
    document = json.loads(FORMS[form](Case()))
    refused = 0
    for place in list(_places(document)):
        for value in VALUES:
            changed = json.loads(FORMS[form](Case()))
            _put(changed, place, value)
            try:
                parse_document(json.dumps(changed).encode(), "document")
            except FormatError as error:
                refused += 1
                assert str(error)
    assert refused > 100


def _places(value: object, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    below: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        below = list(value.items())
    elif isinstance(value, list):
        below = list(enumerate(value))
    return [place for key, item in below for place in ((*above, key), *_places(item, (*above, key)))]


def _put(document: object, place: tuple[str | int, ...], value: object) -> None:
    for key in place[:-1]:
        document = document[key]  # type: ignore[index]
    document[place[-1]] = value  # type: ignore[index]


@pytest.mark.parametrize("score", ["1e999", "-1", "11", "nan", "x"])
def test_an_impossible_score_is_refused(score: str) -> None:
    with pytest.raises(FormatError, match=r"score|JSON"):
        parse_document(cvrf_xml(Case()).replace(b">9.8<", f">{score}<".encode()), "document")


def test_powershell_files_are_read() -> None:
    for write in (cvrf_json, cvrf_xml):
        text = write(Case()).decode()
        for data in (
            text.encode("utf-8-sig"),
            text.encode("utf-16"),
            b"\r\n" + text.encode() if "{" in text[:1] else b"",
        ):
            if data:
                assert len(parse_document(data, "document").advisories) == 1


_PROGRAM = """
import resource, sys
from tests.memory import peak_memory
from wclayer.errors import FormatError
from wclayer.inventory.cve.parsing import parse_document
from wclayer.inventory.cve.matching import match
from wclayer.inventory.cve.system import InstalledSystem
from wclayer.images.windows_version import WindowsVersion

resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))
data = {data}
assert len(data) <= 16 << 20
try:
    system = InstalledSystem(WindowsVersion(10, 0, 20348, 1), "Windows Server 2022", "Server")
    match(system, [parse_document(data, "document")])
    print("read")
except FormatError as error:
    print("refused")
print(peak_memory() >> 20)
"""
LARGE = {
    "fixes as XML": 'b"<cvrfdoc><Vulnerability><CVE>CVE-2099-1</CVE><Remediations>"'
    ' + b"<Remediation Type=\\"Vendor Fix\\"/>" * 249_000 + b"</Remediations></Vulnerability></cvrfdoc>"',
    "vulnerabilities as XML": 'b"<cvrfdoc>" + b"<Vulnerability><CVE>CVE-2099-1</CVE></Vulnerability>" * 124_000'
    ' + b"</cvrfdoc>"',
    "fixes as JSON": 'b\'{"ProductTree":{},"Vulnerability":[{"CVE":"CVE-2099-1","Remediations":[\''
    " + b'{\"Type\":2},' * 249_000 + b'{\"Type\":2}]}]}'",
    "a text with one wide character": '(\'{"ProductTree":{},"DocumentTitle":{"Value":"\' + "x" * (15 << 20)'
    ' + "\\U0001f600" + \'"}}\').encode()',
}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells and limits memory so")
@pytest.mark.parametrize("data", LARGE.values(), ids=LARGE)
def test_no_document_takes_more_than_256_mib(data: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_PROGRAM).format(data=data)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told, memory = done.stdout.split()
    assert told in ("read", "refused")
    assert int(memory) < 256, told
