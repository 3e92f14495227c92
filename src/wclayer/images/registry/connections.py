"""Connections of urllib3 that wait for the head of an answer only for a time, however slowly it comes."""

from __future__ import annotations

import socket
from collections.abc import Callable

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from wclayer.images.registry.patience import in_time

_SOCKET = "wclayer_socket"


def socket_of(response: urllib3.BaseHTTPResponse) -> socket.socket | None:
    """Returns the socket from which the body of a response comes, open or closed."""
    found = getattr(response, _SOCKET, None)
    return found if isinstance(found, socket.socket) else None


def _head(connection: HTTPConnection, receive: Callable[[], urllib3.HTTPResponse]) -> urllib3.HTTPResponse:
    """Returns the response of a connection when its head is there."""
    # The connection gives the socket up if the answer is its last one.
    used = connection.sock
    silence = connection.timeout if isinstance(connection.timeout, (int, float)) else None
    response: urllib3.HTTPResponse | None = None
    try:
        with in_time(used, silence, "the head of the answer"):
            response = receive()
    except TimeoutError:
        if response is not None:
            response.close()
        raise
    setattr(response, _SOCKET, used)
    return response


class _Plain(HTTPConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        return _head(self, super().getresponse)


class _Tls(HTTPSConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        return _head(self, super().getresponse)


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Tls


def use_in(manager: urllib3.PoolManager) -> urllib3.PoolManager:
    """Makes a manager use such connections, and returns it."""
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
    return manager
