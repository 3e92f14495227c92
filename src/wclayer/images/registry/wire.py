"""`Wire`: connections to a registry and the hosts that it leads to: TLS, proxies, time limits."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import unquote, urlsplit

import urllib3

from wclayer._types import StrPath
from wclayer.errors import InvalidDataError, RegistryError, errors_at
from wclayer.images.registry.connections import use_in
from wclayer.images.registry.options import RegistryOptions
from wclayer.images.registry.origin import Origin, origin_of
from wclayer.images.registry.proxies import proxy_for
from wclayer.layers.inputs import open_stream

Body = Callable[[], Iterable[bytes]]
"""Makes the body of a request, anew for each try."""

_MAX_CA = 16 << 20
_CONNECTIONS = 16
_LONG = 3
"""A server that verifies and stores a large blob may be silent for so many times as long."""
USER_AGENT = "wclayer"


class Wire:
    """Connections to a registry and the hosts that it leads to.

    Args:
        registry: the host of the registry, with its port if one is stated.
        options: how it is reached. `insecure` holds for this host alone.
    """

    def __init__(self, registry: str, options: RegistryOptions) -> None:
        self._own_host = origin_of(f"https://{registry}").host
        self._options = options
        self._managers: dict[tuple[str, bool], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def is_trusted_blindly(self, origin: Origin) -> bool:
        """Returns whether plain HTTP and any certificate are accepted from a server."""
        return self._options.insecure and origin.host == self._own_host

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | bytes | None = None,
        *,
        takes_long: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """Sends a request, and returns the answer, whose body is still to be read. Redirects are not followed.

        Args:
            method: "GET" and so on.
            url: the whole address.
            headers: the headers.
            body: the body.
            takes_long: True if the server may work for a while before it answers.

        Raises:
            urllib3.exceptions.HTTPError: there is no answer.
        """
        origin = origin_of(url)
        manager = self._manager(proxy_for(origin), self.is_trusted_blindly(origin))
        return manager.urlopen(
            method,
            url,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers},
            body=body() if callable(body) else body,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(
                connect=self._options.connect_timeout, read=self._options.timeout * (_LONG if takes_long else 1)
            ),
        )

    def close(self) -> None:
        """Closes all connections."""
        with self._lock:
            for manager in self._managers.values():
                # `clear` alone leaves idle connections open until nothing refers to their pool.
                for key in manager.pools.keys():  # noqa: SIM118 (it is no dict, and cannot be iterated)
                    if (pool := manager.pools.get(key)) is not None:
                        pool.close()
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
            return use_in(urllib3.PoolManager(maxsize=_CONNECTIONS, ssl_context=context))
        try:
            parts = urlsplit(proxy)
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
            bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
            return use_in(
                urllib3.ProxyManager(
                    bare,
                    maxsize=_CONNECTIONS,
                    ssl_context=context,
                    proxy_ssl_context=_trusting(self._options.ca),
                    proxy_headers=urllib3.make_headers(proxy_basic_auth=user) if user else None,
                )
            )
        except (ValueError, urllib3.exceptions.HTTPError):
            raise RegistryError(
                "", "the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) names a proxy that is not http://HOST:PORT"
            ) from None


def read_certificates(path: StrPath) -> bytes:
    """Returns the contents of a file of certificates.

    Raises:
        PathNotFoundError, AccessDeniedError, …: the file cannot be read.
    """
    with errors_at(path), open_stream(path) as file:
        return file.read(_MAX_CA)


def _trusting(ca: StrPath | bytes | None) -> ssl.SSLContext:
    """Returns a TLS context that trusts the system's certificates, and others."""
    context = ssl.create_default_context()
    if ca is None:
        return context
    data = ca if isinstance(ca, bytes) else read_certificates(ca)
    try:
        context.load_verify_locations(cadata=data.decode("ascii"))
    except (ValueError, ssl.SSLError):
        name = "the certificates" if isinstance(ca, bytes) else os.fspath(ca)
        raise InvalidDataError(name, "is not a file of certificates in the form PEM") from None
    return context
