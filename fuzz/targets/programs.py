"""What an inventory reads of the registry and of documents in known places: accounts, certificates, tasks, names."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

from fuzz.target import Target
from tests.inventory.collectors.test_certificates import blob
from tests.inventory.collectors.test_tasks import TASK
from tests.inventory.collectors.test_users import facts, group, texts
from wclayer.errors import FormatError
from wclayer.formats.certificate_blob import parse_certificate_blob
from wclayer.formats.sam import parse_account_facts, parse_account_texts, parse_domain_sid, parse_group
from wclayer.inventory.collectors.appx_name import is_family_name, parse_full_name, publisher_id
from wclayer.inventory.collectors.ports import parse_port
from wclayer.inventory.collectors.services import host_group, program_paths
from wclayer.inventory.collectors.task_document import author_and_version, parse_task, task_properties
from wclayer.inventory.collectors.x509 import read_certificate
from wclayer.win32.sid import Sid

_CERTIFICATE = base64.b64decode(
    b"MIIBiDCCAS2gAwIBAgIULpV5CIINllUuHEBKeml0JZsIT8YwCgYIKoZIzj0EAwIwGDEKMAgGA1UECgwBVDEKMAgGA1UEAwwBeDAg"
    b"Fw0yNjExMjkyMTAzNTBaGA8yMTI2MTEwNTIxMDM1MFowGDEKMAgGA1UECgwBVDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqG"
    b"SM49AwEHA0IABNwMtsAeKcQFxRi2eRYCEJAMu7l3M0Rfmj563sP2/E05VuHGXcqGzm7I1xbdknaynvhAbTEUyWKHAg8Q9bJ6EM+j"
    b"UzBRMB0GA1UdDgQWBBQD136bbqAwEiSR9N0Zt2D/WBmG7zAfBgNVHSMEGDAWgBQD136bbqAwEiSR9N0Zt2D/WBmG7zAPBgNVHRMB"
    b"Af8EBTADAQH/MAoGCCqGSM49BAMCA0kAMEYCIQDFpwTJuzs3VR23H/pNUUNqKMKQiq6TQlViL/p02o//fAIhALD+1/gZBJY2InBW"
    b"yA55fOCVwrVte53amTXz6Ydp4osn"
)


def _sam(data: bytes) -> None:
    """No text and no list of members is longer than the value."""
    with suppress(FormatError):
        assert parse_account_facts(data).rid < 1 << 32
    with suppress(FormatError):
        assert all(len(text) * 2 <= len(data) for text in parse_account_texts(data))
    with suppress(FormatError):
        found = parse_group(data)
        assert len(found.name) * 2 <= len(data)
        assert sum(member.size for member in found.members) <= len(data)
    with suppress(FormatError):
        assert parse_domain_sid(data).size <= 68


def _certificate_blob(data: bytes) -> None:
    found = parse_certificate_blob(data)
    assert len(found.certificate) + len(found.sha1) + len(found.friendly_name) <= len(data)


def _certificate(data: bytes) -> None:
    """Whatever the library says of a certificate is a text that JSON can have."""
    name, facts = read_certificate(data)
    json.dumps([name, facts])
    assert str(facts["expires"]).endswith("Z")


def _task(data: bytes) -> None:
    task = parse_task(data)
    properties = task_properties(task)
    assert all(len(text) <= len(data) for text in author_and_version(task))
    assert isinstance(properties["is_enabled"], bool)
    assert len(json.dumps(properties)) <= 20 * len(data) + 500


def _names(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with suppress(FormatError):
        number, protocol = parse_port(text)
        assert parse_port(f"{number}/{protocol}") == (number, protocol)
    with suppress(FormatError):
        name = parse_full_name(text)
        assert str(name) == text
        assert is_family_name(name.family)
    assert parse_full_name(f"a_1.0.0.0_x64__{publisher_id(text)}").publisher_id == publisher_id(text)
    for path in program_paths(text):
        assert len(path) <= len(text) + 4
    host_group(text)


TARGETS = {
    "certificate": Target(_certificate, lambda: [_CERTIFICATE], max_size=4 << 10),
    "certificate_blob": Target(
        _certificate_blob, lambda: [blob(_CERTIFICATE, "A name"), blob(b"x")], max_size=1024
    ),
    "program_names": Target(
        _names,
        lambda: [
            b"Microsoft.WindowsTerminal_1.18.3181.0_x64__8wekyb3d8bbwe", b"443/tcp",
            rb"C:\Program Files\App\app --run", rb"C:\Windows\system32\svchost.exe -k netsvcs -p",
        ],
        max_size=256,
    ),
    "sam": Target(
        _sam,
        lambda: [
            facts(500, 0x211),
            texts("app", "The application", "comment"),
            group(544, "Administrators", "S-1-5-18", "S-1-5-21-1-2-3-500"),
            bytes(64) + Sid.parse("S-1-5-21-1-2-3").encode(),
        ],
        max_size=1024,
    ),
    "task": Target(
        _task,
        lambda: [TASK.encode("utf-16"), TASK.replace("UTF-16", "UTF-8").encode()],
        words=(b"<!DOCTYPE", b"<!ENTITY", b"&x;", b"<Task>", b"</Task>", b"<Exec>", b"</Exec>", b"<Actions>"),
        max_size=8 << 10,
    ),
}  # fmt: skip
