"""osslsigncode signs files whose hash we know, and writes a checksum that we compute."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.formats.pe.craft import FIRST_RVA, Pe, Section
from tests.formats.pe.real import signed_hash
from tests.support import witness
from wclayer.formats.pe.checksum import computed_checksum
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.signature import authenticode_hash, read_certificates
from wclayer.formats.pe.source import BufferSource


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key, and a certificate for it."""
    folder = tmp_path_factory.mktemp("key")
    subprocess.run(
        [
            witness("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test",
            "-keyout", "key.pem", "-out", "certificate.pem",
        ],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("length", [0, 1, 5, 8])
@pytest.mark.parametrize("plus", [True, False])
def test_a_program_that_signs_signs_our_hash(key: Path, tmp_path: Path, plus: bool, length: int) -> None:
    """Also of a file whose size is no multiple of eight, which LIEF hashes without the zeros."""
    pe = Pe(plus, sections=[Section(FIRST_RVA, b"x" * 0x200)], overlay=b"y" * length)
    plain, target = tmp_path / "plain.dll", tmp_path / "signed.dll"
    plain.write_bytes(pe.encode())
    subprocess.run(
        [
            witness("osslsigncode"), "sign", "-certs", str(key / "certificate.pem"), "-key", str(key / "key.pem"),
            "-h", "sha256", "-in", str(plain), "-out", str(target),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    signed = target.read_bytes()
    image = PeImage(BufferSource(signed))
    (certificate,) = read_certificates(image)
    assert certificate.is_signature
    assert authenticode_hash(PeImage(BufferSource(plain.read_bytes()))) == signed_hash(signed, certificate)
    assert authenticode_hash(image) == signed_hash(signed, certificate)
    assert image.optional.checksum == computed_checksum(image)
