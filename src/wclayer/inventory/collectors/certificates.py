r"""Certificates in the stores of the registry, and in those that users have as files.

A store (`ROOT`, `CA`, `MY`, `Disallowed`, …) is a key, in which each certificate has a key that is named by its SHA-1.
Sources: "System Store Locations" (Win32, cryptography).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial

from wclayer.errors import FormatError
from wclayer.formats.certificate_blob import CertificateBlob, parse_certificate_blob
from wclayer.formats.regf.model import Key
from wclayer.inventory.collectors import x509
from wclayer.inventory.collectors.guarding import Found, each_file, each_subkey, guarded
from wclayer.inventory.collectors.key_values import KeyValues
from wclayer.inventory.collectors.user_keys import UserKeys, each_user
from wclayer.inventory.item import Finding, FindingKind, Item, ItemKind, Origin, Property
from wclayer.inventory.subject.files import SubjectFile
from wclayer.inventory.subject.readings import KnownFiles
from wclayer.inventory.subject.registry import KeySource
from wclayer.inventory.subject.subject import Subject

_STORES = r"Microsoft\SystemCertificates"
_POLICIES = r"Policies\Microsoft\SystemCertificates"
_MACHINE = (
    ("machine", rf"HKLM\SOFTWARE\{_STORES}"),
    ("machine policy", rf"HKLM\SOFTWARE\{_POLICIES}"),
    ("enterprise", r"HKLM\SOFTWARE\Microsoft\EnterpriseCertificates"),
)
_SERVICES = r"HKLM\SOFTWARE\Microsoft\Cryptography\Services"
_FILES = "Users/*/AppData/Roaming/Microsoft/SystemCertificates/*/Certificates/*"
_MAX_FILE = 1 << 20
READS = (KnownFiles(_FILES, _MAX_FILE),)


def collect(subject: Subject) -> Found:
    """Yields the certificates. The property `location` is "machine", "machine policy", "enterprise", "service", "user"
    or "user policy".

    If `cryptography` is not installed, they have only the SHA-1, and a finding says so.
    """
    is_readable = x509.is_available()
    found = _all(subject, is_readable)
    if is_readable:
        yield from found
        return
    first = next(found, None)
    if first is not None:
        yield Finding(
            FindingKind.LIMITED,
            "certificates",
            "only their SHA-1 and store are shown: install wclayer[inventory] to see whose they are, and until when",
        )
        yield first
    yield from found


def _all(subject: Subject, is_readable: bool) -> Found:
    registry = subject.registry
    for location, path in _MACHINE:
        yield from _location(registry, path, {"location": location}, is_readable)

    def service(path: str, key: Key) -> Found:
        about: dict[str, Property] = {"location": "service", "service": key.name}
        yield from _location(registry, rf"{path}\SystemCertificates", about, is_readable)

    def user(keys: UserKeys) -> Found:
        for location, path in (("user", _STORES), ("user policy", _POLICIES)):
            about: dict[str, Property] = {"location": location, "user": keys.user}
            yield from _location(keys.keys, rf"{keys.root}\Software\{path}", about, is_readable)

    def file(found: SubjectFile) -> Found:
        parts = found.path.split("/")
        about: dict[str, Property] = {"location": "user", "user": parts[1], "store": parts[-3]}
        blob = parse_certificate_blob(subject.files.read(found, _MAX_FILE))
        yield from _certificate(blob, found.name, about, found.origin, is_readable)

    yield from each_subkey(registry, _SERVICES, service)
    yield from each_user(subject, user)
    yield from guarded(_FILES, each_file, subject.files.matching(_FILES), file)


def _location(keys: KeySource, path: str, about: dict[str, Property], is_readable: bool) -> Found:
    def store(path: str, key: Key) -> Found:
        yield from each_subkey(keys, rf"{path}\Certificates", partial(certificate, key.name))

    def certificate(store: str, path: str, key: Key) -> Found:
        value = KeyValues(key).value("Blob")
        if value is not None:
            blob = parse_certificate_blob(value.data)
            yield from _certificate(blob, key.name, {**about, "store": store}, keys.origin(path, "Blob"), is_readable)

    yield from each_subkey(keys, path, store)


def _certificate(
    blob: CertificateBlob, name: str, about: dict[str, Property], origin: Origin, is_readable: bool
) -> Iterator[Item | Finding]:
    """Yields a certificate; then what is wrong with it, as findings.

    Args:
        blob: what its store has of it.
        name: the name of its key or file: its SHA-1.
        about: where its store is.
        origin: its place.
        is_readable: whether certificates can be read.
    """
    properties, findings, owner = {**about, "sha1": name.lower()}, [], ""
    if blob.friendly_name:
        properties["friendly_name"] = blob.friendly_name
    if blob.certificate:
        actual = hashlib.sha1(blob.certificate, usedforsecurity=False).hexdigest()
        if actual != name.lower():
            text = f"the certificate has the SHA-1 {actual}, not the one by which it is named"
            findings.append(Finding(FindingKind.MISMATCH, origin.place, text))
        if is_readable:
            try:
                owner, facts = x509.read_certificate(blob.certificate)
                properties |= facts
            except FormatError as error:
                findings.append(Finding(FindingKind.DAMAGED, origin.place, str(error)))
    yield Item(ItemKind.CERTIFICATE, owner or blob.friendly_name or name, "", origin, "", properties)
    yield from findings
