"""`get_shared_base_images` and the central image store it reads."""

from __future__ import annotations

import json
import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from wclayer.errors import AlreadyExistsError, CorruptLayerError, InvalidParameterError, PathNotFoundError
from wclayer.layers.directory import LayerDirectory

STORE_VARIABLE = "WCLAYER_IMAGE_STORE"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


def default_store() -> Path:
    """The image store: `$WCLAYER_IMAGE_STORE`, or `wclayer/images` below the user's data folder."""
    if configured := os.environ.get(STORE_VARIABLE):
        return Path(configured)
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return Path(data) / "wclayer" / "images"


class ImageStore:
    """A folder with one JSON file for each registered base image; the layers stay where they are.

    `path` is the folder; by default that of `default_store`. It need not exist.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(path) if path is not None else default_store()

    def register(self, layer: str | os.PathLike[str], name: str, version: str) -> None:
        """Adds a base layer to the store under a name and version.

        Raises:
            InvalidParameterError: a name or version that is not letters, digits, dots, dashes and underscores; or
                the layer has parents.
            AlreadyExistsError: that name and version is registered.
            PathNotFoundError, NotALayerError: there is no layer at `layer`.
        """
        for text in (name, version):
            if not _NAME.match(text):
                raise InvalidParameterError("register image", self.path, f"{text!r} is not a name or version")
        with LayerDirectory(layer, operation="register image") as directory:
            if directory.parents():
                raise InvalidParameterError("register image", directory.path, "not a base layer: it has parents")
            (size,) = directory.query("SELECT TOTAL(size) FROM entries WHERE link IS NULL").fetchone()
            record = {
                "Name": name,
                "Version": version,
                "Path": str(directory.path),
                "Size": int(size),
                "CreatedTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        self.path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=self.path, prefix=".new-", delete=False) as file:
            json.dump(record, file)
        try:
            os.link(file.name, self._file(name, version))
        except FileExistsError:
            raise AlreadyExistsError("register image", self.path, f"{name} {version} is registered already") from None
        finally:
            os.unlink(file.name)

    def unregister(self, name: str, version: str) -> None:
        """Takes an image out of the store; its layer stays.

        Raises:
            PathNotFoundError: it is not registered.
        """
        try:
            self._file(name, version).unlink()
        except FileNotFoundError:
            raise PathNotFoundError("unregister image", self.path, f"{name} {version} is not registered") from None

    def images(self) -> list[dict[str, str | int]]:
        """The images, by name and version.

        Raises:
            CorruptLayerError: a file of the store is not a record.
        """
        found = []
        for file in sorted(self.path.glob("*.json")):
            try:
                record = json.loads(file.read_bytes())
                found.append({key: record[key] for key in ("Name", "Version", "Path", "Size", "CreatedTime")})
            except (ValueError, KeyError, TypeError):
                raise CorruptLayerError("list images", file, "not the record of an image") from None
        return found

    def _file(self, name: str, version: str) -> Path:
        return self.path / f"{name}@{version}.json"


def get_shared_base_images(store: str | os.PathLike[str] | None = None) -> str:
    """JSON of the images in the central image store: `{"Images":[{"Name","Version","Path","Size","CreatedTime"}]}`.

    Args:
        store: the store's folder; by default `$WCLAYER_IMAGE_STORE` or that of the user.

    Raises:
        CorruptLayerError: a file of the store is not a record.

    Reference: `GetBaseImages` of vmcompute.dll.
    """
    return json.dumps({"Images": ImageStore(store).images()}, separators=(",", ":"))
