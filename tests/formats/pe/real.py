"""Real PE files: those in wheels for Windows from PyPI, pinned by version and hash.

They come from Microsoft (.NET Core, the runtime of Visual C++, of which the one for Arm is of hybrid images), from the
compilers of Microsoft, GNU and LLVM, and from WinDivert, which has a driver.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from tests.packages import PANDAS, Wheel, wheel_files
from wclayer.formats.pe.signature import Certificate

WHEELS = (
    Wheel("clr-loader", "0.3.1", "cbad189de20d202a7d621956b0fc38049e13c9bf7ca2923441eff725cd121aa1"),
    Wheel("debugpy", "1.8.22", "745e1800ec2961e5660c1a317c0a20e28c0fef4de36c04f17a21c33f2b37a92a", "win32"),
    Wheel("distlib", "0.4.4", "cf09d55b1e85a89576b036aeb71550bfd68320f3f21761ca329eadadad918638"),
    Wheel("dotnetcore2", "3.1.23", "e2528813677d7a080522336cb530442408d1e2aea76fa8657018fb532c03c252"),
    Wheel("msvc-runtime", "14.44.35112", "aba7fbe71897d25ed53fbb7f391e9f50289378a8a9ae218ba18530c663448391"),
    Wheel(
        "msvc-runtime", "14.51.36231", "52f9fd6e089eac9d72607d3ac4ffebcd5f0d6f940fca83db8a9c12ca11b1c26c",
        "win_arm64", "3.13",
    ),
    Wheel(
        "numpy", "2.5.5", "f6622e32cb46c60bee3b2c7dd7f5c22bdc86fcb8630336b4822ec81c3986111a", "win_arm64", "3.12"
    ),
    PANDAS,
    Wheel("pydivert", "4.0.1", "848e8da98a39b4da056758f51b53af33cdf027d8c55eff19d910922b61347db1"),
    Wheel("pythonnet", "3.2.1", "dd5668b74b0c903d9a24e1ba86f728fc490f8e919d56b3c24bf06739b9ee2b7f"),
    Wheel("pywin32", "312", "17948aeadbdb091f0ced6ef0841620794e68327b94ee415571c1203594b7215c", "win32"),
    Wheel("pywin32", "312", "d11417d84412f859b722fad0841b3614459ed0047f7542d8362e77884f6b6e8a"),
    Wheel(
        "pywin32", "312", "6017c58e12f6809fbb0555b75df144c2922a9ffd18e4b9b5afa863b6c1a9d950", "win_arm64", "3.12"
    ),
    Wheel("setuptools", "84.2.1", "ca140b45d5325a9478f880e351484f62fef15f336462e449ca0c03c873d589c2"),
)  # fmt: skip
_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
"""DER: a DigestInfo with a SHA-256, which follows (RFC 8017, section 9.2, note 1). Authenticode signs one."""
LEAST = 500
"""At least so many PE files are in them."""


def real_files(wheel: Wheel) -> Iterator[tuple[str, bytes]]:
    """The PE files in a wheel: the name and the contents of each."""
    return ((name, data) for name, data in wheel_files(wheel) if data.startswith(b"MZ"))


def signed_hash(data: bytes, certificate: Certificate) -> str:
    """The hash that is in a signature of a file: of the file, when it was signed."""
    contents = data[certificate.offset : certificate.offset + certificate.size]
    _, found, rest = contents.partition(_SHA256_INFO)
    assert found, "the signature has no SHA-256 of a file"
    return rest[: hashlib.sha256().digest_size].hex()
