"""`Wire`: connections to a registry and the hosts that it leads to: TLS, proxies, time limits."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment

import urllib3

from wclayer._types import StrPath
from wclayer.errors import InvalidDataError, RegistryError, errors_at
from wclayer.images.registry.options import RegistryOptions
from wclayer.layers.inputs import open_stream

Body = Callable[[], Iterable[bytes]]
"""Makes the body of a request, anew for each try."""

_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_URL = 16 << 10
_MAX_CA = 16 << 20
_CONNECTIONS = 16
USER_AGENT = "wclayer"


class Origin(NamedTuple):
    """What must be equal for a request to be one to the same server."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS.get(self.scheme) else f"{host}:{self.port}"


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
    is_possible = parts.scheme in _DEFAULT_PORTS and len(url) <= _MAX_URL and "@" not in parts.netloc
    if not is_possible or not _HOST.fullmatch(parts.hostname or ""):
        # The address is not shown: there may be a secret in it.
        raise RegistryError("", "this is not an address of HTTP")
    return Origin(parts.scheme, parts.hostname or "", _DEFAULT_PORTS[parts.scheme] if port is None else port)


def is_loopback(host: str) -> bool:
    """Returns whether a host is this machine: `localhost`, 127.0.0.0/8 or ::1."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _proxy_for(origin: Origin) -> str:
    """Returns the proxy that the environment names for a server; "" if it is reached directly."""
    proxies = getproxies_environment()
    proxy = proxies.get(origin.scheme) or proxies.get("all", "")
    if not proxy or is_loopback(origin.host):
        return ""
    if any(_is_excepted(origin, part.strip().lower()) for part in proxies.get("no", "").split(",")):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_excepted(origin: Origin, part: str) -> bool:
    """Returns whether a server belongs to a part of NO_PROXY: "*", a domain, HOST:PORT, an address or a network."""
    if not part:
        return False
    name, colon, port = part.rpartition(":")
    if colon and port.isdigit() and (name.endswith("]") or ":" not in name):
        if port != str(origin.port):
            return False
        part = name
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(origin.host) in ipaddress.ip_network(part.strip("[]"), strict=False)
    domain = part.removeprefix("*").removeprefix(".")
    return not domain or origin.host == domain or origin.host.endswith(f".{domain}")


class Wire:
    """Connections to a registry and the hosts that it leads to.

    Args:
        registry: the host of the registry, with its port if one is stated.
        options: how it is reached. `insecure` holds for this host alone.
    """

    def __init__(self, registry: str, options: RegistryOptions) -> None:
        self._own_host = origin_of(f"https://{registry}").host
        self._options = options
        self._timeout = urllib3.Timeout(connect=options.connect_timeout, read=options.timeout)
        self._managers: dict[tuple[str, bool], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def is_trusted_blindly(self, origin: Origin) -> bool:
        """Returns whether plain HTTP and any certificate are accepted from a server."""
        return self._options.insecure and origin.host == self._own_host

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | bytes | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Sends a request, and returns the answer, whose body is still to be read. Redirects are not followed.

        Raises:
            urllib3.exceptions.HTTPError: there is no answer.
        """
        origin = origin_of(url)
        manager = self._manager(_proxy_for(origin), self.is_trusted_blindly(origin))
        return manager.urlopen(
            method,
            url,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers},
            body=body() if callable(body) else body,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=self._timeout,
        )

    def close(self) -> None:
        """Closes all connections."""
        with self._lock:
            for manager in self._managers.values():
                manager.clear()

    def _manager(self, proxy: str, blindly: bool) -> urllib3.PoolManager:
        with self._lock:
            if (proxy, blindly) not in self._managers:
                self._managers[proxy, blindly] = self._new_manager(proxy, blindly)
            return self._managers[proxy, blindly]

    def _new_manager(self, proxy: str, blindly: bool) -> urllib3.PoolManager:
        context = _trusting(self._options.ca)
        if blindly:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            # The caller asked for it.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        if not proxy:
            return urllib3.PoolManager(maxsize=_CONNECTIONS, ssl_context=context)
        try:
            parts = urlsplit(proxy)
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
            bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
            return urllib3.ProxyManager(
                bare,
                maxsize=_CONNECTIONS,
                ssl_context=context,
                proxy_ssl_context=_trusting(self._options.ca),
                proxy_headers=urllib3.make_headers(proxy_basic_auth=user) if user else None,
            )
        except (ValueError, urllib3.exceptions.HTTPError):
            raise RegistryError(
                "", "the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) names a proxy that is not http://HOST:PORT"
            ) from None


def _trusting(ca: StrPath | None) -> ssl.SSLContext:
    """Returns a TLS context that trusts the system's certificates, and those of a file."""
    context = ssl.create_default_context()
    if ca is None:
        return context
    with errors_at(ca), open_stream(ca) as file:
        data = file.read(_MAX_CA)
    try:
        context.load_verify_locations(cadata=data.decode("ascii"))
    except (ValueError, ssl.SSLError):
        raise InvalidDataError(os.fspath(ca), "is not a file of certificates in the form PEM") from None
    return context
