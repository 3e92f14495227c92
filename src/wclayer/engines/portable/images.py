"""`get_shared_base_images` and the central image store it reads."""

from __future__ import annotations

import contextlib
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

from wclayer._types import StrPath
from wclayer.engines.base_image import BaseImage
from wclayer.errors import (
    AlreadyExistsError,
    CorruptLayerError,
    InvalidParameterError,
    PathNotFoundError,
    during,
    errors_at,
)
from wclayer.host.root import HostRoot
from wclayer.layers.atomic import StagedFile, make_folder, sync_name
from wclayer.layers.directory import open_layer
from wclayer.layers.json_file import JsonFileError, read_json

STORE_VARIABLE = "WCLAYER_IMAGE_STORE"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


def default_store() -> Path:
    """Returns the default image store: `$WCLAYER_IMAGE_STORE`, or `wclayer/images` in the user's data folder."""
    if configured := os.environ.get(STORE_VARIABLE):
        return Path(configured)
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return Path(data) / "wclayer" / "images"


class ImageStore:
    """A folder with one JSON file for each registered base image. The layers stay at their paths.

    Args:
        path: the folder, which does not have to exist; by default that of `default_store`.
    """

    def __init__(self, path: StrPath | None = None) -> None:
        self.path = Path(path) if path is not None else default_store()

    @during("register image")
    def register(self, layer: StrPath, name: str, version: str) -> None:
        """Adds a base layer to the store with a name and version.

        Raises:
            InvalidParameterError: `name` or `version` has other characters than letters, digits, dots, dashes and
                underscores, or the layer has parents.
            AlreadyExistsError: an image with that name and version is registered.
            PathNotFoundError, NotALayerError: there is no layer at `layer`.
        """
        file = self._file(name, version)
        with open_layer(layer) as directory:
            if directory.parents():
                raise InvalidParameterError(directory.path, "not a base layer: it has parents")
            image = BaseImage(
                name,
                version,
                str(directory.path),
                directory.totals().file_bytes,
                datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            )
        with errors_at(self.path):
            make_folder(self.path, parents=True)
            try:
                with StagedFile(file, replaces=False) as staged:
                    staged.stream.write(json.dumps(image.to_record()).encode())
            except AlreadyExistsError:
                taken = f"{name} {version} is registered already"
                raise AlreadyExistsError(self.path, taken) from None

    @during("unregister image")
    def unregister(self, name: str, version: str) -> None:
        """Removes an image from the store. Its layer is not removed.

        Raises:
            InvalidParameterError: see `register`.
            PathNotFoundError: the image is not registered.
        """
        file = self._file(name, version)
        with errors_at(self.path):
            try:
                file.unlink()
                sync_name(file)
            except FileNotFoundError:
                raise PathNotFoundError(self.path, f"{name} {version} is not registered") from None

    def images(self) -> list[BaseImage]:
        """Returns the images, sorted by name and version.

        An image that is registered or unregistered during the call may be in the list or not.

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
                # The image may have been unregistered in the meantime.
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


def _image(file_name: str, record: object) -> BaseImage:
    """Returns the image that a file of the store describes."""
    image = BaseImage.from_record(record)
    if file_name != _file_name(image.name, image.version):
        raise JsonFileError("not the record of an image: it has another name than its file")
    return image


@during("list images")
def get_shared_base_images(store: StrPath | None = None) -> list[BaseImage]:
    """Returns the images of an `ImageStore`."""
    return ImageStore(store).images()
