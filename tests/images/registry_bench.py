"""The command beside a registry with faults: every error way ends in one sentence, and nothing is left behind.

The sentence says which reference, which layer, what happened, and what to do. No secret is anywhere.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.images import samples
from tests.images.registry import FakeRegistry
from tests.support import run
from wclayer.errors import (
    LayerError,
)
from wclayer.images.store import ImageStore

IMAGE = samples.small_child("oci")
LOWER, UPPER = IMAGE.layers
CONFIG = samples.sha256(IMAGE.config)
OCI = samples.MANIFEST["oci"]
_WHAT_TO_DO = re.compile(
    r"try again|try later|check (that|the name)|log in|login|take (it|the image) from elsewhere|raises it"
    r"|raise the limit|push the image anew|--foreign|ask (the|its) administrator|pull it from its maker again"
    r"|neither an image nor an index"
)
_BASIC = "dXNlcjpwYXNzd29yZA=="
ELSEWHERE = "http://127.0.0.2:1"


def fill(registry: FakeRegistry, image: samples.Image = IMAGE, repository: str = "app", tag: str = "1") -> None:
    """Puts an image into a fake registry."""
    for data in image.blobs.values():
        registry.contents.put_blob(repository, data)
    for media_type, data in image.documents.values():
        registry.contents.put_manifest(repository, data, media_type, tag)


@dataclass
class Ended:
    """How a command ended."""

    status: int
    said: str


@dataclass
class Bench:
    """A folder with a store, a file of credentials, and the command."""

    folder: Path
    secrets: set[str] = field(default_factory=set)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def call(self, verb: str, *arguments: str, registry: FakeRegistry, retries: int = 1) -> Ended:
        """Runs a verb with the user's credentials for a registry, if it asks for some."""
        asks = registry.guard.access.kind != "none"
        auths = {"auths": {registry.host: {"auth": _BASIC}}} if asks else {}
        authfile = self.folder / "auth.json"
        authfile.write_text(json.dumps(auths))
        more = () if verb == "copy" else ("--store", str(self.store))
        done = run(verb, *arguments, *more, "--retries", str(retries), "--authfile", str(authfile), status=None)
        self.secrets |= registry.secrets | {"password", _BASIC}
        return Ended(done.returncode, (done.stdout + done.stderr).decode())

    def pull(self, registry: FakeRegistry, *more: str, retries: int = 1) -> Ended:
        return self.call("pull", f"{registry.host}/app:1", *more, registry=registry, retries=retries)

    def copy(self, registry: FakeRegistry) -> Ended:
        return self.call("copy", f"{registry.host}/app:1", f"oci:{self.folder / 'layout'}:1", registry=registry)

    def push(self, registry: FakeRegistry, image: samples.Image = IMAGE, *more: str) -> Ended:
        """Pushes an image that was pulled before from a registry without faults."""
        with FakeRegistry() as origin:
            fill(origin, image)
            assert self.call("pull", f"{origin.host}/app:1", "--no-unpack", registry=origin).status == 0
            name = f"{origin.host}/app:1"
        return self.call("push", name, f"{registry.host}/app:1", *more, registry=registry)

    def check(self) -> None:
        """Nothing that has no name is in the store but downloads that have begun; no secret is anywhere."""
        if self.store.exists():
            assert list(ImageStore(self.store).check()) == []
            assert not [file for file in self.store.rglob(".wclayer-*") if file.suffix in (".partial", ".gone")]
        for file in self.folder.rglob("*"):
            if file.is_file() and file.name != "auth.json":
                data = file.read_bytes()
                assert not [secret for secret in self.secrets if secret.encode() in data], file

    def check_layout(self) -> None:
        """A layout that was begun names no image, and has no blob that is not whole: the next copy takes these."""
        folder = self.folder / "layout"
        if not folder.exists():
            # No layer was whole.
            return
        assert json.loads((folder / "index.json").read_bytes())["manifests"] == []
        for file in (folder / "blobs").rglob("*"):
            assert file.is_dir() or samples.sha256(file.read_bytes()) == f"sha256:{file.name}"

    def check_sentence(self, ended: Ended, error: type[LayerError], *expected: str) -> None:
        """One line says everything that a user needs, and no secret."""
        assert ended.status == error.exit_status, ended.said
        (line,) = ended.said.splitlines()
        assert line.startswith("wclayer: ")
        for text in expected:
            assert re.search(text, line), f"no {text!r} in: {line}"
        assert _WHAT_TO_DO.search(line), line
        assert not [secret for secret in self.secrets if secret in line.replace("'user'", "")], line
        self.check()
