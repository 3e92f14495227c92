"""`get_shared_base_images` and the central image store it reads."""

from __future__ import annotations

import contextlib
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

from wclayer._types import StrPath
from wclayer.errors import (
    AlreadyExistsError,
    CorruptLayerError,
    InvalidParameterError,
    PathNotFoundError,
    during,
)
from wclayer.host.root import HostRoot
from wclayer.layers.atomic import StagedFile, make_folder, sync_name
from wclayer.layers.directory import open_layer
from wclayer.layers.json_file import JsonFileError, read_json

STORE_VARIABLE = "WCLAYER_IMAGE_STORE"
_FIELDS: dict[str, type[str] | type[int]] = {"Name": str, "Version": str, "Path": str, "Size": int, "CreatedTime": str}
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

    def __init__(self, path: StrPath | None = None) -> None:
        self.path = Path(path) if path is not None else default_store()

    def register(self, layer: StrPath, name: str, version: str) -> None:
        """Adds a base layer to the store under a name and version.

        Raises:
            InvalidParameterError: a name or version that is not letters, digits, dots, dashes and underscores; or
                the layer has parents.
            AlreadyExistsError: that name and version is registered.
            PathNotFoundError, NotALayerError: there is no layer at `layer`.
        """
        file = self._file(name, version)
        with open_layer(layer) as directory:
            if directory.parents():
                raise InvalidParameterError(directory.path, "not a base layer: it has parents")
            record = {
                "Name": name,
                "Version": version,
                "Path": str(directory.path),
                "Size": directory.totals().file_bytes,
                "CreatedTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        with during("register image", self.path):
            make_folder(self.path, parents=True)
            try:
                with StagedFile(file, replaces=False) as staged:
                    staged.stream.write(json.dumps(record).encode())
            except AlreadyExistsError:
                taken = f"{name} {version} is registered already"
                raise AlreadyExistsError(self.path, taken) from None

    def unregister(self, name: str, version: str) -> None:
        """Takes an image out of the store; its layer stays.

        Raises:
            InvalidParameterError: see `register`.
            PathNotFoundError: it is not registered.
        """
        file = self._file(name, version)
        with during("unregister image", self.path):
            try:
                file.unlink()
                sync_name(file)
            except FileNotFoundError:
                raise PathNotFoundError(self.path, f"{name} {version} is not registered") from None

    def images(self) -> list[dict[str, str | int]]:
        """The images, by name and version: each that was registered all the time; whether one that comes or goes
        meanwhile is listed is left open.

        Raises:
            CorruptLayerError: a file of the store is not a record.
        """
        found = []
        with contextlib.ExitStack() as stack:
            with during("list images", self.path):
                try:
                    root = stack.enter_context(HostRoot(self.path))
                except FileNotFoundError:
                    return []
                names = sorted(name for name in root.names(b"") if name.endswith(".json"))
            for name in names:
                # One that was taken out since is no image any more.
                with (
                    during("list images", self.path / name, damage=CorruptLayerError),
                    contextlib.suppress(FileNotFoundError),
                ):
                    found.append(_image(name, read_json(root, os.fsencode(name))))
        return found

    def _file(self, name: str, version: str) -> Path:
        for text in (name, version):
            if not _NAME.match(text):
                raise InvalidParameterError(self.path, f"{text!r} is not a name or version")
        return self.path / _file_name(name, version)


def _file_name(name: str, version: str) -> str:
    return f"{name}@{version}.json"


def _image(file_name: str, record: object) -> dict[str, str | int]:
    """The record of an image, from what its file holds."""
    if not isinstance(record, dict):
        raise JsonFileError("not the record of an image")
    image: dict[str, str | int] = {}
    for key, kind in _FIELDS.items():
        value = record.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise JsonFileError(f"not the record of an image: {key} is {str(value)[:60]!r}")
        image[key] = value
    if file_name != _file_name(str(image["Name"]), str(image["Version"])) or not os.path.isabs(str(image["Path"])):
        raise JsonFileError("not the record of an image: it has another name, or no absolute path")
    return image


@during("list images")
def get_shared_base_images(store: StrPath | None = None) -> str:
    """JSON of the images in an `ImageStore`."""
    return json.dumps({"Images": ImageStore(store).images()}, separators=(",", ":"))
