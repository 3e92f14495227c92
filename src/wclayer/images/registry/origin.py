"""`Origin`: the server of an address."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from wclayer.errors import RegistryError

DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")
_MAX_URL = 16 << 10


class Origin(NamedTuple):
    """What must be equal for a request to be one to the same server."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS.get(self.scheme) else f"{host}:{self.port}"


def origin_of(url: str) -> Origin:
    """Returns scheme, host and port of an address.

    Raises:
        RegistryError: it is not an address of HTTP, or has a user name in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    is_possible = parts.scheme in DEFAULT_PORTS and len(url) <= _MAX_URL and "@" not in parts.netloc
    if not is_possible or not _HOST.fullmatch(parts.hostname or ""):
        # The address is not shown: there may be a secret in it.
        raise RegistryError("", "this is not an address of HTTP")
    return Origin(parts.scheme, parts.hostname or "", DEFAULT_PORTS[parts.scheme] if port is None else port)


def is_loopback(host: str) -> bool:
    """Returns whether a host is this machine: `localhost`, 127.0.0.0/8 or ::1."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
