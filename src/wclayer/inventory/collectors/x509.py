"""What a certificate says of itself, read by the library `cryptography`, if it is installed."""

from __future__ import annotations

import hashlib
import warnings
from typing import TYPE_CHECKING

from wclayer.errors import FormatError
from wclayer.inventory.item import Property

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, Name

MAX_SIZE = 1 << 16
"""The size of a certificate in bytes up to which it is read. Real ones have a few thousand."""


def is_available() -> bool:
    """Returns whether certificates can be read: whether `cryptography` is installed, and can be loaded."""
    try:
        import cryptography.x509  # noqa: F401
    except ImportError:
        return False
    return True


def read_certificate(der: bytes) -> tuple[str, dict[str, Property]]:
    """Returns the name of the owner of a certificate, and what it says as properties of an item.

    Args:
        der: the certificate in DER. `cryptography` must be installed.

    Raises:
        FormatError: it is no certificate, or is larger than 64 KiB.
    """
    if len(der) > MAX_SIZE:
        raise FormatError(f"a certificate of {len(der)} bytes; at most {MAX_SIZE} are read")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.x509 import DuplicateExtension, InvalidVersion, UnsupportedGeneralNameType

    try:
        # The library warns of certificates that break a rule, such as that of positive serial numbers.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read(der)
    except (
        ValueError, TypeError, OverflowError, UnsupportedAlgorithm, DuplicateExtension, InvalidVersion,
        UnsupportedGeneralNameType,
    ) as error:  # fmt: skip
        raise FormatError(f"is no certificate that can be read: {str(error)[:200]}") from None


def _read(der: bytes) -> tuple[str, dict[str, Property]]:
    from cryptography.x509 import load_der_x509_certificate

    certificate = load_der_x509_certificate(der)
    subject, issuer = certificate.subject, certificate.issuer
    facts: dict[str, Property] = {
        "subject": subject.rfc4514_string(),
        "issuer": issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "valid_from": certificate.not_valid_before_utc.isoformat()[:19] + "Z",
        "expires": certificate.not_valid_after_utc.isoformat()[:19] + "Z",
        "sha256": hashlib.sha256(der).hexdigest(),
        "key": _key(certificate),
        "is_ca": _is_authority(certificate),
        "is_self_issued": subject == issuer,
    }
    return _common_name(subject), facts


def _common_name(subject: Name) -> str:
    """Returns the most telling part of a name: the common name, else the unit or the organization."""
    from cryptography.x509.oid import NameOID

    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in subject.get_attributes_for_oid(oid):
            if isinstance(attribute.value, str) and attribute.value:
                return attribute.value
    return ""


def _key(certificate: Certificate) -> str:
    """Returns the kind and the size of the key: `RSA 2048`, `EC secp256r1`, `Ed25519`."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    try:
        key = certificate.public_key()
    except UnsupportedAlgorithm:
        return "unknown"
    if isinstance(key, RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return type(key).__name__.lstrip("_").removesuffix("PublicKey")


def _is_authority(certificate: Certificate) -> bool:
    from cryptography.x509 import BasicConstraints, ExtensionNotFound

    try:
        return certificate.extensions.get_extension_for_class(BasicConstraints).value.ca
    except ExtensionNotFound:
        return False
