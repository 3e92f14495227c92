"""The small files and records that a layer directory and a store of images have: every verb that reads them ends with
an answer or an error of the family, and what `check` calls clean no other verb calls corrupt."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from fuzz.operations.choices import Choices
from fuzz.operations.databases import layers, use
from fuzz.operations.ground import CORRUPT, LIMITS, expect, fresh
from tests.support import copy_layer
from wclayer.engines.base_image import BaseImage
from wclayer.engines.portable import get_layer_mount_path, get_shared_base_images, unprepare_layer
from wclayer.engines.portable.images import ImageStore
from wclayer.errors import LayerError
from wclayer.layers.directory.chain_file import CHAIN_FILE, read_chain
from wclayer.layers.directory.check import check_layer
from wclayer.layers.directory.database import FILE_NAME, TRAILER_FORM
from wclayer.layers.directory.folder import HIVE_PROBLEMS
from wclayer.layers.directory.scratch import MOUNT, ScratchDirectory, has_unsaved_changes
from wclayer.model import limits_in_use, use_limits

_RECORDS = (
    MOUNT, TRAILER_FORM, HIVE_PROBLEMS, "diff_id", "digest", "compression", "size", "stored_size", "active", "unsaved",
    "unread", "disk_write_guid", "security:x",
)  # fmt: skip
_VALUES: tuple[object, ...] = (
    None, 0, 1, -1, 1 << 62, 1.5, "", "/", "/nowhere", "relative", "\0", "x" * 5000, b"", b"\0", b"\xff\xfe",
)  # fmt: skip
_NAMES = ("image@1.json", "image@2.json", "x.json", ".json", "image@1.txt")


def chain(data: bytes) -> None:
    """The data is the `layerchain.json` of a child."""
    before = limits_in_use()
    with fresh() as folder:
        layer = folder / "layer"
        shutil.copytree(layers()["child"], layer, copy_function=os.link)
        (layer / CHAIN_FILE).unlink()
        # What names the layer itself, its parent or nothing is a path that is known only here.
        text = data.replace(b"$LAYER", os.fsencode(layer)).replace(b"$BASE", os.fsencode(layers()["base"]))
        (layer / CHAIN_FILE).write_bytes(text)
        use_limits(LIMITS)
        try:
            _chain_is_a_list(layer, text)
            use(layer, 7)
        finally:
            use_limits(before)


def _chain_is_a_list(layer: Path, text: bytes) -> None:
    """A chain that is accepted is what JSON itself reads in the file."""
    try:
        found = read_chain(layer)
    except LayerError:
        return
    named = json.loads(text)
    expect(named is None or isinstance(named, list), "a chain of what is no list:", named)
    expect(len(found) == len(named or []), "a chain of another length:", found, named)
    expect(all(path.is_absolute() for path in found), "a chain with a path that is not absolute:", found)
    expect(len({os.path.realpath(path) for path in found}) == len(found), "a layer named twice:", found)


def records(data: bytes) -> None:
    """The data is a row of changes to the records of a scratch: which one, and its value."""
    choices = Choices(data)
    before = limits_in_use()
    with fresh() as folder:
        layer = folder / "layer"
        copy_layer(layers()["scratch"], layer)
        connection = sqlite3.connect(layer / FILE_NAME, isolation_level=None)
        try:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            while choices:
                name = choices.pick(_RECORDS)
                value: object = choices.pick(_VALUES) if choices.byte() & 3 else choices.block()
                connection.execute("INSERT OR REPLACE INTO layer VALUES (?, ?)", (name, value))
        finally:
            connection.close()
        use_limits(LIMITS)
        try:
            is_clean = _is_clean(layer)
            for verb in _VERBS:
                try:
                    verb(layer)
                except CORRUPT as error:
                    expect(not is_clean, "check has nothing to say, and a verb has:", error)
                except LayerError:
                    continue
            use(layer, 0)
        finally:
            use_limits(before)
        expect(sorted(os.listdir(folder)) == ["layer"], "a verb left something:", os.listdir(folder))


def _is_clean(layer: Path) -> bool:
    try:
        return not list(check_layer(layer))
    except LayerError:
        return False


def _open_exclusively(layer: Path) -> None:
    with ScratchDirectory(layer, exclusive=True) as scratch:
        scratch.hash_all()
        scratch.checkpoint()


_VERBS: tuple[Callable[[Path], object], ...] = (
    get_layer_mount_path, unprepare_layer, has_unsaved_changes, _open_exclusively,
)  # fmt: skip


def images(data: bytes) -> None:
    """The data is the files of a store of images: a name, and contents with their length before them."""
    choices = Choices(data)
    with fresh() as folder:
        while choices:
            (folder / choices.pick(_NAMES)).write_bytes(choices.block(wide=True))
        try:
            found = ImageStore(folder).images()
        except LayerError:
            return
        told = get_shared_base_images(folder)
        expect(told == found, "the images are not what the store says:", told, found)
        for image in found:
            expect(BaseImage.from_record(image.to_record()) == image, "an image whose record is another", image)
            name = f"{image.name}@{image.version}.json"
            expect((folder / name).is_file(), "an image that is in no file of its name:", image)


def chain_seeds() -> list[bytes]:
    return [
        b'["$BASE"]',
        b"null",
        b"[]",
        b'["$BASE", "/nowhere"]',
        b'["$LAYER"]',
        b'["C:\\\\x", "\\\\\\\\s\\\\x"]',
        b'[1, {"a": []}]',
    ]


def record_seeds() -> list[bytes]:
    return [bytes([record, 1, (1, 8, 12)[record % 3]]) for record in range(len(_RECORDS))] + [b""]


def image_seeds() -> list[bytes]:
    record = {"Name": "image", "Version": "1", "Path": "/x", "Size": 5, "CreatedTime": "2026-01-01T00:00:00Z"}
    text = json.dumps(record).encode()
    return [b"\0" + len(text).to_bytes(2, "little") + text, b"\2\2\0{}"]
