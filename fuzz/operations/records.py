"""The small files and records that a layer directory and a store of images have: every verb that reads them ends with
an answer or an error of the family, and what `check` calls clean no other verb calls corrupt."""

from __future__ import annotations

import functools
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fuzz.operations.choices import Choices
from fuzz.operations.databases import layers, use
from fuzz.operations.ground import CORRUPT, LIMITS, expect, fresh, made_once
from tests.images import samples
from tests.images.memory import MemorySource
from tests.support import copy_layer
from wclayer.engines.portable.engine import get_layer_mount_path, unprepare_layer
from wclayer.errors import LayerError
from wclayer.images.base_images import get_shared_base_images
from wclayer.images.store import ImageStore
from wclayer.images.transfer import copy_image
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
    """The data is changes of the bytes of a store's database: places, with what is there then."""
    choices = Choices(data)
    with fresh() as folder:
        shutil.copytree(_stored(), folder / "store")
        file = folder / "store" / "store.db"
        database = bytearray(file.read_bytes())
        while choices:
            place, change = choices.number(2) % len(database), choices.block()
            database[place : place + len(change)] = change
        file.write_bytes(database)
        store = ImageStore(folder / "store")
        try:
            found = store.images()
        except LayerError:
            return
        for image in found:
            expect(store.find(image.name) == image.descriptor, "a name that means something else", image)
        expect(len(get_shared_base_images(store.path)) <= len(found), "more base images than images")
        with suppress(LayerError):
            kept = store.prune()
            expect(not store.prune().freed, "prune leaves what it removes the next time", kept)
        told = [image.name for image in store.images()]
        expect(told == [image.name for image in found], "prune took a name", told)


@functools.cache
def _stored() -> Path:
    """A store with two names, made once."""
    store = ImageStore(made_once("store"))
    for name, image in (("image:1", samples.small()), ("localhost:5000/image", samples.small_child())):
        with MemorySource(image) as source, store.target(name) as target:
            copy_image(source, target, jobs=1)
    return store.path


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
    """Changes in the header, in the schema, and in the rows."""
    return [b"", b"\x12\x00\x02\x01\x01", b"\x40\x0f\x04abcd", b"\x00\x10\x02\x0d\x00"]
