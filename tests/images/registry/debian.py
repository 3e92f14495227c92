"""`DebianRegistry`: the real server of Debian's package docker-registry, on loopback."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import witness

_PATIENCE = 20.0


class DebianRegistry:
    """A real registry with an empty store, until the context ends.

    Args:
        folder: where it keeps everything; it is made.
        users: the password of each user; without users everybody may do everything.
        certificate: the files of a certificate and its key: it speaks TLS.
        urls: whether manifests may have `urls`; if not, it answers 500 to them, as it does by default.
        logs_requests: whether its log has a line for each request.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: dict[str, str] | None = None,
        certificate: tuple[Path, Path] | None = None,
        urls: bool = False,
        logs_requests: bool = False,
    ) -> None:
        self.folder = folder
        self.users = users or {}
        self._certificate = certificate
        self._urls = urls
        self._logs_requests = logs_requests
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def host(self) -> str:
        """Its address and port, as a reference has them. The certificate is for "localhost"."""
        return f"localhost:{self._port}"

    @property
    def base(self) -> str:
        """What its addresses begin with."""
        return f"{'https' if self._certificate else 'http'}://{self.host}"

    @property
    def log(self) -> str:
        """What the server has logged."""
        return (self.folder / "log").read_text(errors="replace")

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        if self.users:
            (self.folder / "htpasswd").touch()
        for user, password in self.users.items():
            command = [witness("htpasswd"), "-i", "-B", "-C", "4", str(self.folder / "htpasswd"), user]
            subprocess.run(command, input=password.encode(), check=True, capture_output=True)
        for _ in range(5):
            # Another process may take the port before the server does.
            if self._start():
                return self
            self.stop()
        raise AssertionError(f"docker-registry does not start: {self.log}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the server, and waits for its end. What it holds stays in the folder."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Ends the server, and starts it again at the same port with what it holds."""
        self.stop()
        if not self._start(self._port):
            raise AssertionError(f"docker-registry does not start again: {self.log}")

    def _start(self, port: int = 0) -> bool:
        self._port = port or _free_port()
        config = self.folder / "config.json"  # JSON is YAML
        config.write_text(json.dumps(self._config()))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [witness("docker-registry"), "serve", str(config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and self._process.poll() is None:
            if self._answers():
                return True
            time.sleep(0.02)
        return False

    def _config(self) -> dict[str, object]:
        http: dict[str, object] = {"addr": f"127.0.0.1:{self._port}", "secret": "of tests"}
        if self._certificate:
            http["tls"] = {"certificate": str(self._certificate[0]), "key": str(self._certificate[1])}
        config: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": not self._logs_requests}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}, "delete": {"enabled": True}},
            "http": http,
        }
        if self.users:
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(self.folder / "htpasswd")}}
        if self._urls:
            config["validation"] = {"manifests": {"urls": {"allow": [".*"]}}}
        return config

    def _answers(self) -> bool:
        context = ssl._create_unverified_context() if self._certificate else None
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with contextlib.suppress(OSError):
            try:
                opener.open(f"{self.base}/v2/", timeout=2).close()
            except urllib.error.HTTPError as error:
                error.close()
            return True
        return False


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Makes an authority of our own, and a certificate for localhost and 127.0.0.1 that it has signed.

    Returns:
        The files of the authority's certificate, of the server's certificate, and of its key.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = ("ca.pem", "ca.key", "server.pem", "server.key", "server.csr", "server.ext")
    ca, ca_key, server, key, request, extensions = (folder / name for name in names)
    extensions.write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n"
        "extendedKeyUsage=serverAuth\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
    )
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl(
        "req", "-x509", *new_key, "-keyout", ca_key, "-out", ca, "-days", "2", "-subj", "/CN=authority of tests",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    _openssl("req", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=localhost")
    _openssl(
        "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out", server, "-days", "2",
        "-extfile", extensions,
    )  # fmt: skip
    return ca, server, key


def _openssl(*arguments: object) -> None:
    command = [witness("openssl"), *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
