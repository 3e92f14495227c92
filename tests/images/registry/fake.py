"""`FakeRegistry`: a registry of our own on loopback, whose faults a test chooses, and which tells what it was asked."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.images.registry.access import Access, Guard
from tests.images.registry.contents import Contents
from tests.images.registry.exchange import CutConnectionError, Reply, Request
from tests.images.registry.faults import Fault
from tests.images.registry.service import Service

_PIECE = 1 << 16


class FakeRegistry:
    """A registry with faults. Threads answer, until the context ends.

    Args:
        faults: what goes wrong; several may happen to one request, in their order.
        access: who may do what.
        address: where it listens; "127.0.0.2" is another host for a client that compares names.
        certificate: the files of a certificate and its key: it speaks TLS.
        referrers: whether it has the API of referrers.
        mounts: whether it mounts blobs.
        urls: whether manifests may have `urls`.
        least_chunk: the `OCI-Chunk-Min-Length` that it states.
        page: how many repositories a page of the catalogue has at most; it refuses to give more.

    Attributes:
        contents: what it holds; a test may put things there.
        requests: what it was asked, in the order in which that arrived.
        faults: the faults; a test may change the list at any time.
    """

    def __init__(
        self,
        *faults: Fault,
        access: Access | None = None,
        address: str = "127.0.0.1",
        certificate: tuple[Path, Path] | None = None,
        referrers: bool = True,
        mounts: bool = True,
        urls: bool = False,
        least_chunk: int = 0,
        page: int = 0,
    ) -> None:
        self.faults: list[Fault] = list(faults)
        self.contents = Contents()
        self.requests: list[Request] = []
        self.guard = Guard(access or Access())
        self._service = Service(
            self.contents, referrers=referrers, mounts=mounts, urls=urls, least_chunk=least_chunk, page=page
        )
        self._server = _Server((address, 0), self, certificate)
        self._scheme = "https" if certificate else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def host(self) -> str:
        """Its address and port, as a reference has them."""
        address, port = self._server.server_address[:2]
        return f"{address!s}:{port}"

    @property
    def base(self) -> str:
        """What its addresses begin with."""
        return f"{self._scheme}://{self.host}"

    @property
    def secrets(self) -> set[str]:
        """Everything that nobody may find in outputs, logs and stores."""
        return self.guard.secrets

    def asked(self, kind: str = "", *methods: str, reference: str = "") -> list[Request]:
        """The requests of a kind, and of these methods (of all, if none is given)."""
        return [
            request
            for request in list(self.requests)
            if kind in ("", request.kind)
            and (not methods or request.method in methods)
            and reference in ("", request.reference)
        ]

    def sent(self, digest: str) -> int:
        """How many bytes of a blob it has sent, in all."""
        return sum(request.sent for request in self.asked("blob", "GET", reference=digest) if request.status < 300)

    def received(self) -> int:
        """How many bytes of blobs it has received, in all."""
        return sum(request.received for request in self.asked("upload"))

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._server.connections

    @property
    def authorizations(self) -> list[str]:
        """The values of `Authorization` that arrived."""
        return [request.authorization for request in list(self.requests) if request.authorization]

    def forget(self) -> None:
        """Forgets the requests that came before, and the faults."""
        self.requests.clear()
        self.faults.clear()

    def answer(self, request: Request, body: Iterator[bytes]) -> Reply:
        """The answer to a request, with the faults that happen to it."""
        happening = [fault for fault in list(self.faults) if fault.happens_to(request)]
        for fault in happening:
            if fault.instead is not None:
                return fault.instead(request)
            if fault.reads is not None:
                body = _until_cut(body, fault.reads)
            if fault.loses:
                body = _without_last(body, fault.loses)
            if fault.before is not None:
                fault.before(request)
        if request.kind == "token":
            reply = self.guard.token(request, lambda: b"".join(body))
        else:
            reply = self.guard.check(request, self.base) or self._service.answer(request, body)
        for fault in happening:
            if fault.change is not None:
                reply = fault.change(request, reply)
        return reply

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.end_connections()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # Clients that were cut off connect again at once, all of them.
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], registry: FakeRegistry, certificate: tuple[Path, Path] | None) -> None:
        super().__init__(address, _Handler)
        self.registry = registry
        self.stopped = threading.Event()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*certificate)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # In the thread of the connection: a client that never says hello holds up nobody else.
        connection = request
        with contextlib.suppress(OSError), self._known(request):
            if self._tls is not None:
                connection = self._tls.wrap_socket(request, server_side=True)
            with self._known(connection):
                super().process_request_thread(connection, client_address)
        connection.close()

    @contextlib.contextmanager
    def _known(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._connections)

    def end_connections(self) -> None:
        """Cuts every connection, so that the threads end."""
        self.stopped.set()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are no error here; a fault of the registry itself is told in its answer."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: Nagle's algorithm would hold the second one until the client's delayed
    # acknowledgement of the first, 40 ms later.
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the requests are kept."""

    def _do(self) -> None:
        request = Request.parse(self.command, self.path, dict(self.headers.items()))
        request.stopped = self.server.stopped
        self.server.registry.requests.append(request)
        try:
            body = self._body(request)
            reply = self.server.registry.answer(request, body)
            self._drain(body)
            self._write(request, reply)
        except CutConnectionError:
            self._cut()
        except (OSError, ssl.SSLError):
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _do  # noqa: N815 (the names that the base class calls)

    def _body(self, request: Request) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            found = self._chunks()
        else:
            found = self._counted(int(self.headers.get("Content-Length", 0)))
        for piece in found:
            request.received += len(piece)
            yield piece

    def _counted(self, count: int) -> Iterator[bytes]:
        while count:
            piece = self.rfile.read1(min(count, _PIECE))
            if not piece:
                raise CutConnectionError
            count -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while True:
            line = self.rfile.readline(100)
            if not line.endswith(b"\n"):
                raise CutConnectionError
            size = int(line.partition(b";")[0], 16)
            if size:
                yield from self._counted(size)
            self.rfile.readline(100)
            if not size:
                return

    def _drain(self, body: Iterator[bytes]) -> None:
        """Reads the rest of a body that is not wanted, if it is short; else the connection ends after the answer."""
        count = 0
        for piece in body:
            count += len(piece)
            if count > 1 << 20:
                self.close_connection = True
                return

    def _write(self, request: Request, reply: Reply) -> None:
        request.status = reply.status
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if reply.length == -1:
            self.close_connection = True
        elif reply.status != 204:
            self.send_header("Content-Length", str(reply.length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if request.method == "HEAD" or reply.status in (204, 304):
            return
        for piece in reply.body:
            # Counted first: the client may have the last piece, and look at the count, before `write` returns.
            request.sent += len(piece)
            try:
                self.wfile.write(piece)
            except OSError:
                request.sent -= len(piece)
                raise
        if request.sent < reply.length:
            raise CutConnectionError

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)


def _until_cut(body: Iterable[bytes], after: int) -> Iterator[bytes]:
    for piece in body:
        yield piece[:after]
        after -= min(after, len(piece))
        if not after:
            raise CutConnectionError


def _without_last(body: Iterable[bytes], count: int) -> Iterator[bytes]:
    held = b""
    for piece in body:
        held += piece
        if len(held) > count:
            yield held[:-count]
            held = held[-count:]
