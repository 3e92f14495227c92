"""Certificates in stores: made by OpenSSL, whose own words about them are the expectation."""

from __future__ import annotations

import functools
import hashlib
import struct
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wclayer
from tests.inventory.subjects import Keys, base, child, hive, items, rows
from tests.support import witness
from wclayer.errors import FormatError
from wclayer.formats.certificate_blob import parse_certificate_blob
from wclayer.inventory.collectors import x509

_STORES = r"Microsoft\SystemCertificates"


@functools.cache
def certificate(subject: str, *options: str) -> bytes:
    """A self-signed certificate of OpenSSL, as DER."""
    command = [
        witness("openssl"), "req", "-x509", "-nodes", "-subj", subject, "-days", "400", "-keyout", "/dev/null",
        "-outform", "DER", *options,
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout


def authority() -> bytes:
    return certificate("/O=Test/CN=Test Root", "-newkey", "rsa:2048")


def server() -> bytes:
    return certificate(
        "/CN=server.example", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-addext", "basicConstraints=critical,CA:FALSE",
    )  # fmt: skip


def said_by_openssl(der: bytes, option: str) -> str:
    """What OpenSSL says of a certificate."""
    command = [witness("openssl"), "x509", "-inform", "DER", "-noout", "-nameopt", "RFC2253", option]
    answer = subprocess.run(command, input=der, check=True, capture_output=True).stdout.decode()
    return answer.partition("=")[2].strip()


def sha1(der: bytes) -> str:
    """The name of a certificate's key."""
    return hashlib.sha1(der).hexdigest().upper()


def blob(der: bytes, friendly_name: str = "") -> bytes:
    """A blob as Windows stores it: hashes, perhaps a name, the certificate at the end."""
    parts = [(3, hashlib.sha1(der).digest()), (4, hashlib.md5(der).digest())]
    if friendly_name:
        parts.append((11, (friendly_name + "\0").encode("utf-16-le")))
    parts.append((32, der))
    return b"".join(struct.pack("<III", number, 1, len(data)) + data for number, data in parts)


def test_a_certificate_says_what_openssl_reads(tmp_path: Path) -> None:
    root, other = authority(), server()
    keys: Keys = {
        rf"HKLM\SOFTWARE\{_STORES}\ROOT\Certificates\{sha1(root)}": {"Blob": blob(root, "The root")},
        rf"HKLM\SOFTWARE\{_STORES}\MY\Certificates\{sha1(other)}": {"Blob": blob(other)},
    }
    found = wclayer.take_inventory(base(tmp_path, keys), files=False)
    assert found.findings == ()
    my, trusted = items(found, "certificate")
    assert (my.name, trusted.name) == ("server.example", "Test Root")
    for item, der in ((my, other), (trusted, root)):
        assert item.properties["subject"] == said_by_openssl(der, "-subject")
        assert item.properties["issuer"] == said_by_openssl(der, "-issuer")
        assert int(str(item.properties["serial"]), 16) == int(said_by_openssl(der, "-serial"), 16)
        for name, option in (("valid_from", "-startdate"), ("expires", "-enddate")):
            stated = datetime.strptime(said_by_openssl(der, option), "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
            assert datetime.fromisoformat(str(item.properties[name])) == stated
        assert item.properties["sha1"] == said_by_openssl(der, "-fingerprint").replace(":", "").lower()
        assert item.properties["sha256"] == hashlib.sha256(der).hexdigest()
    assert [item.properties["key"] for item in (my, trusted)] == ["EC secp256r1", "RSA 2048"]
    assert [item.properties["is_ca"] for item in (my, trusted)] == [False, True]
    assert [item.properties["is_self_issued"] for item in (my, trusted)] == [True, True]
    assert [item.properties.get("friendly_name") for item in (my, trusted)] == [None, "The root"]


def test_certificates_are_found_in_every_kind_of_store(tmp_path: Path) -> None:
    root = authority()
    name, data = sha1(root), {"Blob": blob(root)}
    user = hive({
        rf"Software\{_STORES}\TrustedPublisher\Certificates\{name}": data,
        rf"Software\Policies\{_STORES}\CA\Certificates\{name}": data,
    })  # fmt: skip
    keys: Keys = {
        rf"HKLM\SOFTWARE\{_STORES}\AuthRoot\Certificates\{name}": data,
        rf"HKLM\SOFTWARE\{_STORES}\AuthRoot\CRLs": {},
        rf"HKLM\SOFTWARE\Policies\{_STORES}\Disallowed\Certificates\{name}": data,
        rf"HKLM\SOFTWARE\Microsoft\EnterpriseCertificates\NTAuth\Certificates\{name}": data,
        rf"HKLM\SOFTWARE\Microsoft\Cryptography\Services\Srv\SystemCertificates\MY\Certificates\{name}": data,
        rf"HKU\.DEFAULT\Software\{_STORES}\ROOT\Certificates\{name}": data,
    }
    files = {
        "Users/app/NTUSER.DAT": user,
        f"Users/app/AppData/Roaming/Microsoft/SystemCertificates/My/Certificates/{name}": blob(root),
    }
    found = wclayer.take_inventory(child(tmp_path, base(tmp_path, keys), {}, files), files=False)
    assert found.findings == ()
    assert rows(found, "certificate", "location", "store", "user", "service") == [
        ("Test Root", "", 1, "machine", "AuthRoot", None, None),
        ("Test Root", "", 1, "machine policy", "Disallowed", None, None),
        ("Test Root", "", 1, "enterprise", "NTAuth", None, None),
        ("Test Root", "", 1, "service", "MY", None, "Srv"),
        ("Test Root", "", 1, "user", "ROOT", ".DEFAULT", None),
        ("Test Root", "", 2, "user", "TrustedPublisher", "app", None),
        ("Test Root", "", 2, "user policy", "CA", "app", None),
        ("Test Root", "", 2, "user", "My", "app", None),
    ]


def test_what_is_wrong_with_a_certificate_is_a_finding_and_stops_no_other(tmp_path: Path) -> None:
    root = authority()
    store = rf"HKLM\SOFTWARE\{_STORES}\ROOT\Certificates"
    cut, no_certificate = root[:-1], 32 * "A"
    keys: Keys = {
        rf"{store}\{sha1(root)}": {"Blob": blob(root)},
        rf"{store}\{sha1(cut)}": {"Blob": blob(cut, "cut off")},
        rf"{store}\{40 * '0'}": {"Blob": blob(root)},
        rf"{store}\{no_certificate}": {"Blob": struct.pack("<III", 3, 1, 2) + b"ab"},
        rf"{store}\damaged": {"Blob": struct.pack("<III", 32, 1, 3) + b"ab"},
        rf"{store}\empty": {},
    }
    found = wclayer.take_inventory(base(tmp_path, keys), files=False)
    assert {item.name for item in items(found, "certificate")} == {"Test Root", "cut off", no_certificate}
    assert {(finding.kind, finding.place) for finding in found.findings} == {
        ("damaged", rf"{store}\{sha1(cut)}"), ("mismatch", rf"{store}\{40 * '0'}"), ("damaged", rf"{store}\damaged"),
    }  # fmt: skip


def test_without_the_library_certificates_have_their_hash_and_one_finding_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(x509, "is_available", lambda: False)
    store = rf"HKLM\SOFTWARE\{_STORES}\ROOT\Certificates"
    one, two = b"one", b"two"
    layer = base(
        tmp_path, {rf"{store}\{sha1(one)}": {"Blob": blob(one, "One")}, rf"{store}\{sha1(two)}": {"Blob": blob(two)}}
    )
    found = wclayer.take_inventory(layer, files=False)
    assert sorted(rows(found, "certificate", "sha1", "expires")) == sorted([
        ("One", "", 1, sha1(one).lower(), None), (sha1(two), "", 1, sha1(two).lower(), None),
    ])  # fmt: skip
    assert [(finding.kind, finding.place) for finding in found.findings] == [("limited", "certificates")]
    assert "wclayer[inventory]" in found.findings[0].text


def test_an_image_without_certificates_needs_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x509, "is_available", lambda: False)
    assert wclayer.take_inventory(base(tmp_path, {}), files=False).findings == ()


@given(st.binary(max_size=200))
def test_an_arbitrary_blob_gives_at_most_an_error(data: bytes) -> None:
    try:
        found = parse_certificate_blob(data)
    except FormatError:
        return
    assert len(found.certificate) + len(found.sha1) + len(found.friendly_name) <= len(data)


@given(st.binary(max_size=100), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))
def test_a_blob_is_read_as_it_was_written(der: bytes, name: str) -> None:
    found = parse_certificate_blob(blob(der, name))
    assert (found.certificate, found.sha1, found.friendly_name) == (der, hashlib.sha1(der).digest(), name)


def test_a_blob_with_too_many_properties_is_refused() -> None:
    with pytest.raises(FormatError, match="more than 1000"):
        parse_certificate_blob(struct.pack("<III", 3, 1, 0) * 1001)


def test_a_certificate_that_is_too_large_is_refused() -> None:
    with pytest.raises(FormatError, match="at most 65536"):
        x509.read_certificate(bytes(x509.MAX_SIZE + 1))
