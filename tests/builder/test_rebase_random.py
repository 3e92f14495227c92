"""`wclayer rebase` of random images: what the result means, and which changes of the new base it hides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given

from tests.builder import meaning
from tests.builder.random_images import (
    BASE,
    MADE_BY_CONTAINERS,
    MADE_BY_OTHERS,
    SLOW,
    Wanted,
    check_view,
    layers,
    layers_of,
    put_image,
    random_store,
    tars_of,
)
from tests.support import parsed, run, text
from wclayer.errors import NotSupportedError
from wclayer.images.store import ImageStore
from wclayer.layers.hives import LAYER_HIVES

_TIMES = ("LIBARCHIVE.creationtime", "atime", "ctime", "mtime")
_Facts = dict[tuple[str, ...], object]


def _files(read: list[meaning.Layer]) -> _Facts:
    """Everything but times, by the path in upper case."""
    return {
        ("file", path.upper()): (
            [item for item in node.metadata if item[0] not in _TIMES],
            # No data is the same as none, but for a stream that has a name.
            sorted(item for item in node.streams.items() if any(item)),
        )
        for path, node in meaning.walk(meaning.files_of(read))
    }


def _directories(read: list[meaning.Layer]) -> set[str]:
    """The paths of directories, in upper case."""
    return {path.upper() for path, node in meaning.walk(meaning.files_of(read)) if meaning.is_directory(node)}


def _registry(read: list[meaning.Layer]) -> _Facts:
    """The descriptors of keys, and the values, by path and name in upper case."""
    found: _Facts = {}
    mounts = {hive.stem: "\\".join(hive.mount) for hive in LAYER_HIVES}
    for stem, root in meaning.registry_of(read).items():
        for path, key in () if root is None else _keys(mounts[stem].upper(), root):
            found["key", path] = key.security
            found |= {("value", path, name): value for name, value in key.values.items()}
    return found


def _keys(path: str, key: meaning.RegistryKey) -> Iterator[tuple[str, meaning.RegistryKey]]:
    yield path, key
    for name, child in key.below.items():
        yield from _keys(f"{path}\\{name}", child)


def _hidden(old: _Facts, new: _Facts, made: _Facts) -> set[tuple[str, ...]]:
    """What the new base has changed, and the rebased image does not show as the new base has it."""
    return {what for what in {*old, *new} if old.get(what) != new.get(what) and made.get(what) != new.get(what)}


def _told(conflicts: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    return {
        (item["kind"], item["path"].upper(), *([(item["value"] or "(Default)").upper()] if "value" in item else []))
        for item in conflicts
    }


def _is_told(what: tuple[str, ...], told: set[tuple[str, ...]], kept: set[str]) -> bool:
    """Whether a fact is among those that were told, or lies in a key among them, or in a directory that only one base
    has, which `kept` does not name."""
    kind, separator = ("file", "/") if what[0] == "file" else ("key", "\\")
    parts = what[1].split(separator)
    above = {separator.join(parts[:count]) for count in range(1, len(parts) + 1)}
    return what in told or any((kind, path) in told for path in above - kept)


def _manifest(store: ImageStore, name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(store.read_blob(store.find(name)))
    return record


@SLOW
@given(layers, layers)
@example(MADE_BY_CONTAINERS, MADE_BY_OTHERS)
@example(MADE_BY_OTHERS, MADE_BY_CONTAINERS)
@example(MADE_BY_CONTAINERS, [])
def test_a_rebased_image_has_its_layers_over_the_new_base_and_all_that_it_hides_is_told(
    own: Wanted, changes: Wanted
) -> None:
    with pytest.MonkeyPatch.context() as patch, random_store(patch) as store:
        put_image(store, "old:1", [BASE], [], "10.0.20348.1")
        put_image(store, "app:1", [BASE], own, "10.0.20348.1")
        put_image(store, "new:1", [BASE], changes, "10.0.20348.2")
        digest = store.find("app:1").digest
        assert text("rebase", "-q", "app:1", "--old-base", "old:1", "--onto", "old:1").strip() == digest
        options = ["app:1", "--old-base", "old:1", "--onto", "new:1"]
        conflicts: Any = parsed("rebase", *options, "--dry-run", "--json")
        old, new, app = (layers_of(store, name) for name in ("old:1", "new:1", "app:1"))
        if lost := meaning.lost_links(new, app[1:]):
            # The first five are told, and the lowest layer comes last.
            found = conflicts["lost_links"]
            assert lost <= set(found) or len(found) == 5
            run("rebase", *options, "--force", "-t", "app:2", status=NotSupportedError.exit_status)
            return
        assert conflicts["lost_links"] == []
        text("rebase", *options, "--force", "-t", "app:2")
        assert tars_of(store, "app:2") == [*tars_of(store, "new:1"), *tars_of(store, "app:1")[1:]]
        text("rebase", "app:2", "--old-base", "new:1", "--onto", "old:1", "--force", "-t", "app:3")
        # The image did not state its base before.
        assert {**_manifest(store, "app:3"), "annotations": None} == {**_manifest(store, "app:1"), "annotations": None}
        told = _told(conflicts["conflicts"])
        made = layers_of(store, "app:2")
        files = [_files(read) for read in (old, new, made)]
        hidden = _hidden(*files) | _hidden(*(_registry(read) for read in (old, new, made)))
        kept = _directories(old) & _directories(new)
        assert {what for what in hidden if not _is_told(what, told, kept)} == set()
        # A whole key is told if anything in it differs.
        assert {what for what in told - hidden if what[0] != "key"} == set()
        check_view(store, "app:2", without=frozenset(meaning.linked_names(made)))
