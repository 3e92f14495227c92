"""The values with a form of their own: durations of Go, ports, names of stages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from wclayer.errors import FormatError

_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = r"(?:(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(ns|us|µs|μs|ms|s|m|h))"
_DURATION = re.compile(rf"{_PART}{{1,8}}", re.ASCII)
_LEAST = 10**6
_LARGEST = (1 << 63) - 1
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/([a-zA-Z]+))?", re.ASCII)
_PROTOCOLS = ("tcp", "udp", "sctp")
_STAGE = re.compile(r"[a-z][a-z0-9-_.]*")
_MAX_RETRIES = (1 << 31) - 1
_SIGNALS = (
    "ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|SEGV|STKFLT|STOP|SYS|TERM|TRAP|TSTP"
    "|TTIN|TTOU|UNUSED|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ|RTMIN|RTMAX"
)
_SIGNAL = re.compile(rf"(?:SIG)?(?:{_SIGNALS})|SIGRTMIN\+\d\d?|SIGRTMAX-\d\d?|[1-9]\d?", re.IGNORECASE | re.ASCII)
"""The signals that Docker knows; Windows has its own, to which a container's host translates them."""


def parse_duration(flag: str, text: str) -> int:
    """Returns a duration in nanoseconds; 0 for "" and "0", which mean the default.

    Args:
        flag: the flag, for messages.
        text: numbers with units ("1m30s"), as Go writes durations.

    Raises:
        FormatError: it is no duration, or shorter than 1 ms.
    """
    if text in ("", "0"):
        return 0
    if not _DURATION.fullmatch(text):
        raise FormatError(
            f"--{flag}={text[:40]} is no duration: write a number and a unit (ms, s, m or h), as in 1m30s"
        )
    total = int(sum(Fraction(number) * _UNITS[unit] for number, unit in re.findall(_PART, text, re.ASCII)))
    if total and total < _LEAST:
        raise FormatError(f"--{flag}={text[:40]} is shorter than 1ms, the least that Docker accepts")
    if total > _LARGEST:
        raise FormatError(f"--{flag}={text[:40]} is more than 292 years")
    return total


def parse_retries(text: str) -> int:
    """Returns the number of --retries; 0, which means the default, for "".

    Raises:
        FormatError: it is no number from 0 on.
    """
    if not text:
        return 0
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > _MAX_RETRIES:
        raise FormatError(f"--retries={text[:40]} is no number from 0 to {_MAX_RETRIES}")
    return int(text)


def parse_signal(text: str) -> str:
    """Returns the signal of STOPSIGNAL as it is written.

    Raises:
        FormatError: it is no signal.
    """
    if not _SIGNAL.fullmatch(text):
        raise FormatError(f"STOPSIGNAL {text[:40]!r} is no signal: write a name, as SIGTERM, or a number")
    return text


def parse_port(text: str) -> Iterator[str]:
    """Yields the ports that a word of EXPOSE means, each as "NUMBER/PROTOCOL": one, or each of a range.

    Raises:
        FormatError: it is no port.
    """
    found = _PORT.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    protocol = (found[3] or "tcp").lower() if found else ""
    if not 1 <= first <= last <= 65_535 or protocol not in _PROTOCOLS:
        raise FormatError(f"EXPOSE {text[:40]} is no port: possible are 1 to 65535, 8000-8010, and /tcp, /udp or /sctp")
    for port in range(first, last + 1):
        yield f"{port}/{protocol}"


def parse_stage_name(text: str) -> str:
    """Returns the name of a stage, in lower case.

    Raises:
        FormatError: it is no name.
    """
    name = text.lower()
    if not _STAGE.fullmatch(name):
        raise FormatError(
            f"{text[:60]!r} is no name of a stage: it begins with a letter; letters, digits, '-', '_', '.'"
        )
    return name
