"""Programs of others that read and write images: skopeo, umoci, and containerd with its `ctr`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import witness

_PATIENCE = 60.0


def skopeo(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs skopeo, without policies and credentials of this machine."""
    return _run([witness("skopeo"), "--insecure-policy", *map(str, arguments)], check)


def umoci(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs umoci."""
    return _run([witness("umoci"), *map(str, arguments)], check)


def _run(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"HOME": home, "XDG_RUNTIME_DIR": home, "DOCKER_CONFIG": home}
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, env=environment, stdin=subprocess.DEVNULL
        )
    assert ended.returncode == 0 or not check, f"{command}: {ended.stderr or ended.stdout}"
    return ended


class Containerd:
    """A containerd with an empty store, until the context ends. It needs to be root."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # The names of sockets are short, and pytest's folders are not.
        self._folder = Path(tempfile.mkdtemp(prefix="ctr-"))
        config = self._folder / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{self._folder}/root"\nstate = "{self._folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs",\n'
            '  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",\n'
            '  "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt",\n'
            '  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]\n'
            f'[grpc]\n  address = "{self._socket}"\n[ttrpc]\n  address = "{self._socket}.ttrpc"\n'
        )
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [witness("containerd"), "--config", str(config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        end = time.monotonic() + _PATIENCE
        while self.ctr("version", check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"containerd does not start: {(self._folder / 'log').read_text()}")
            time.sleep(0.05)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _socket(self) -> Path:
        return self._folder / "s"

    def ctr(self, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs ctr against it."""
        return _run([witness("ctr"), "--address", str(self._socket), *map(str, arguments)], check)
