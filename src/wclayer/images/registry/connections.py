"""Connections of urllib3 that wait for the head of an answer only for a time, however slowly it comes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

_TIMES = 2
"""The head of an answer may take so many times as long as no byte may come."""


@contextlib.contextmanager
def _in_time(connection: HTTPConnection) -> Iterator[None]:
    """Cuts a connection if the body of the context takes too long. Its time limit holds for each byte alone."""
    seconds = connection.timeout
    if not isinstance(seconds, (int, float)):
        yield
        return

    was_cut = threading.Event()

    def cut() -> None:
        was_cut.set()
        if connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds * _TIMES, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if was_cut.is_set():
        # For http.client, the head ends where the connection does.
        raise TimeoutError("the head of the answer comes too slowly")


class _Plain(HTTPConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        with _in_time(self):
            return super().getresponse()


class _Tls(HTTPSConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        with _in_time(self):
            return super().getresponse()


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Tls


def use_in(manager: urllib3.PoolManager) -> urllib3.PoolManager:
    """Makes a manager use such connections, and returns it."""
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
    return manager
