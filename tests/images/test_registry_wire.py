"""Whatever bytes a server answers with, each call ends soon, with a sentence that names the reference."""

from __future__ import annotations

import contextlib
import io
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.images.blob_source import blob_source
from wclayer.errors import LayerError, RegistryError
from wclayer.images.descriptor import DOCKER_LAYER, DOCKER_MANIFEST, Descriptor
from wclayer.images.reference import parse_reference
from wclayer.images.registry import Credentials, RegistryOptions, RegistrySource, RegistryTarget
from wclayer.images.registry.origin import origin_of

_OPTIONS = RegistryOptions(credentials=Credentials("user", "password"), retries=1, backoff=0.001, timeout=1.0)
_DATA = b"x" * 1000
_BLOB = Descriptor.of(_DATA, DOCKER_LAYER)
_OK = b"HTTP/1.1 200 OK\r\n"
_MOVED = b"HTTP/1.1 307 x\r\nContent-Length: 0\r\nLocation: "
_WHO = b"HTTP/1.1 401 x\r\nContent-Length: 0\r\nWWW-Authenticate: "


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        if self.request.recv(1 << 16)[:1] != b"\x16":
            server: Any = self.server
            self.request.sendall(server.answer)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A server that answers everything with `answer`, and hangs up."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _open(source: RegistrySource, target: RegistryTarget) -> None:
    with source.open_blob(_BLOB) as stream:
        stream.read()


def _put(source: RegistrySource, target: RegistryTarget) -> None:
    target.put_blob(_BLOB, blob_source(_DATA))


_CALLS: dict[str, Callable[[RegistrySource, RegistryTarget], object]] = {
    "resolve": lambda source, target: source.resolve(),
    "manifest": lambda source, target: source.manifest(Descriptor.of(b"{}", DOCKER_MANIFEST)),
    "open_blob": _open,
    "tags": lambda source, target: source.tags(),
    "referrers": lambda source, target: source.referrers(_BLOB),
    "has": lambda source, target: target.has(_BLOB),
    "put_blob": _put,
}


def _call(server: Any, name: str) -> LayerError | None:
    """The error of a call; None if it succeeds."""
    reference = parse_reference(f"127.0.0.1:{server.server_address[1]}/app:1")
    with RegistrySource(reference, _OPTIONS) as source, RegistryTarget(reference, _OPTIONS) as target:
        began = time.monotonic()
        try:
            _CALLS[name](source, target)
        except LayerError as error:
            assert error.path == str(reference)
            assert error.detail
            assert "password" not in str(error)
            return error
        finally:
            assert time.monotonic() - began < 8
    return None


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"\x00\xff" * 100, b"hello\n", _OK + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        _OK + b"".join(b"X%d: a\r\n" % number for number in range(500)) + b"\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 101 x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 500, b"HTTP/1.1 204 No\r\n\r\n",
        _OK + b"Content-Length: -5\r\n\r\nabc", _OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        _OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nabc", _OK + b"Content-Length: abc\r\n\r\nabcdef",
        _OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc", _OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc",
        _OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
        _OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", _OK + b"Content-Type: \xff\xfe\r\n\r\n{}",
        _MOVED + b"http://a\x01b/\r\n\r\n", _MOVED + b"http://[::1\r\n\r\n", _MOVED + b"http://a:99999999/\r\n\r\n",
        _MOVED + b"http://a..b/\r\n\r\n", _MOVED + b"http://" + b"a" * 300 + b"/\r\n\r\n",
        _MOVED + "http://127.0.0.1:1/ü ü?".encode() + b"\r\n\r\n", _MOVED + b"//\r\n\r\n", _MOVED + b"\x1b\r\n\r\n",
        _WHO + b'Bearer realm="http://[::1"\r\n\r\n', _WHO + b'Bearer realm="http://a b/\x01"\r\n\r\n',
        _WHO + "Bearer realm=\"http://127.0.0.1:1/ü\",scope=\"ü:ü:ü\"".encode() + b"\r\n\r\n",
        b"HTTP/1.1 401 x\r\nContent-Length: 0\r\n\r\n", _WHO + b"Bearer\r\n\r\n", _WHO + b'Digest realm="x"\r\n\r\n',
        b"HTTP/1.1 429 x\r\nRetry-After: -1\r\n\r\n", b"HTTP/1.1 429 x\r\nRetry-After: 1e9\r\n\r\n",
        b'HTTP/1.1 400 x\r\n\r\n{"errors":[1]}', b"HTTP/1.1 400 x\r\n\r\n" + b"[" * 60_000,
        b'HTTP/1.1 400 x\r\n\r\n{"errors":[{"code":1,"message":"\\u001b[31m\\ud800\\n"}]}',
        _OK + b"\r\n" + b"[" * 100_000, _OK + b'\r\n{"schemaVersion": 1e999}', _OK + b"\r\n<html>",
    ],
)  # fmt: skip
def test_no_answer_is_more_than_an_error(server: Any, answer: bytes) -> None:
    server.answer = answer
    for name in _CALLS:
        error = _call(server, name)
        if error is not None:
            str(error).encode()
            assert error.detail.isprintable()


_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_ENDLESS: dict[str, tuple[bytes, bytes, float]] = {
    "a head": (_OK, b"X: y\r\n", 0.05),
    "provisional answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0),
    "provisional answers, slowly": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
    "trailers": (_CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n", 0),
    "trailers, slowly": (_CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n", 0.05),
    "a trailer": (_CHUNKED + b"2\r\n{}\r\n0\r\n", b"y", 0.05),
    "the size of a chunk": (_CHUNKED + b"2;", b"y", 0.05),
}
"""What begins an answer, what follows without end, and the seconds between two pieces of that."""


class _Trickle(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        if self.request.recv(1 << 16)[:1] == b"\x16":
            return
        server: Any = self.server
        begin, rest, pause = server.endless
        with contextlib.suppress(OSError):
            self.request.sendall(begin)
            while True:
                time.sleep(pause)
                self.request.sendall(rest if pause else rest * 1000)


@pytest.mark.parametrize("name", _ENDLESS)
def test_an_answer_that_never_ends_is_given_up(name: str) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Trickle) as running:
        running.daemon_threads = True
        running.endless = _ENDLESS[name]  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        reference = parse_reference(f"127.0.0.1:{running.server_address[1]}/app:1")
        options = RegistryOptions(credentials=Credentials(), retries=1, backoff=0.001, timeout=0.2)
        began = time.monotonic()
        try:
            with RegistrySource(reference, options) as source, pytest.raises(RegistryError, match="tried 2 times"):
                source.resolve()
            # Before http.client refuses the hundredth header.
            assert time.monotonic() - began < 3
        finally:
            running.shutdown()
            thread.join()


@settings(max_examples=25)
@given(st.binary(max_size=300), st.sampled_from(sorted(_CALLS)), st.booleans())
def test_any_bytes_are_no_more_than_an_error(server: Any, data: bytes, name: str, is_body: bool) -> None:
    server.answer = _OK + b"\r\n" + data if is_body else data
    _call(server, name)


@given(st.text(max_size=100))
def test_any_address_has_an_origin_or_is_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"https://{text}/x"):
        try:
            origin = origin_of(url)
        except RegistryError:
            continue
        assert origin.scheme in ("http", "https")
        assert origin.host.isascii()
        assert 0 <= origin.port < 65536


def test_an_empty_blob_is_read_without_a_request() -> None:
    with RegistrySource(parse_reference("127.0.0.1:1/app"), _OPTIONS) as source:
        assert source.open_blob(Descriptor.of(b"", DOCKER_LAYER)).read() == b""
        assert isinstance(source.open_blob(_BLOB, 1000), io.BytesIO)
