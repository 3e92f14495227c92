"""A workspace makes a layer of what was changed in it: its blob and its layer directory are in the store."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from tests.builder.images import store_with_base
from wclayer.builder.workspace import NewLayer, Workspace
from wclayer.errors import InvalidStateError
from wclayer.formats.regf.values import ValueType, encode_string
from wclayer.images.store import ImageStore
from wclayer.view.layer_view import LayerView
from wclayer.win32.filetime import from_unix_ns

EPOCH = from_unix_ns(1_600_000_000 * 10**9)


def _tar(store: ImageStore, layer: NewLayer) -> bytes:
    data = store.blob_path(layer.descriptor.digest).read_bytes()
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == layer.descriptor.digest
    tar = gzip.decompress(data)
    assert f"sha256:{hashlib.sha256(tar).hexdigest()}" == layer.diff_id
    return tar


def _change(workspace: Workspace) -> None:
    view = workspace.view
    view.mkdir("C:/tool")
    with view.open("C:/tool/hello.txt", "wb") as file:
        file.write(b"hello")
    with workspace.registry() as registry:
        registry.set_value(r"HKLM\SOFTWARE\App", "Version", int(ValueType.REG_SZ), encode_string("1"))
    with workspace.view.open("C:/tool/more.txt", "wb") as file:
        file.write(b"more")


def test_a_layer_is_made(tmp_path: Path) -> None:
    store, image, _ = store_with_base(tmp_path / "store")
    with store.in_use(), Workspace(store, image.chain_ids) as workspace:
        _change(workspace)
        layer = workspace.commit()
        assert layer is not None
        with pytest.raises(InvalidStateError):
            workspace.commit()
    with tarfile.open(fileobj=io.BytesIO(_tar(store, layer))) as tar:
        names = tar.getnames()
    assert names == [
        "Files", "Files/tool", "Files/tool/hello.txt", "Files/tool/more.txt", "Hives", "Hives/Software_Delta"
    ]  # fmt: skip
    with LayerView.for_layer(store.layer_path(layer.chain_id)) as view:
        assert view.open("C:/tool/hello.txt").read() == b"hello"
        assert view.exists("C:/Windows/System32")
    assert list(store.check()) == []
    assert sorted(os.listdir(store.path / "layers")) == sorted(
        digest[7:] for digest in (*image.chain_ids, layer.chain_id)
    )
    store.prune()
    assert not store.has_layer(layer.chain_id)
    assert not store.has_blob(layer.descriptor)


def test_nothing_changed_is_no_layer(tmp_path: Path) -> None:
    store, image, _ = store_with_base(tmp_path / "store")
    with Workspace(store, image.chain_ids) as workspace:
        assert workspace.view.exists("C:/Windows")
        assert workspace.commit() is None
    assert len(os.listdir(store.path / "layers")) == len(image.layers)


def test_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for place in ("one", "two"):
        store, image, _ = store_with_base(tmp_path / place)
        with Workspace(store, image.chain_ids, time=EPOCH) as workspace:
            _change(workspace)
            made.append(workspace.commit())
    assert made[0] is not None
    assert made[0] == made[1]


def test_a_base_layer_is_made_without_parents(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    with Workspace(store, ()) as workspace:
        workspace.view.mkdir("C:/tool")
        layer = workspace.commit()
        assert layer is not None
    assert layer.chain_id == layer.diff_id
    with LayerView.for_layer(store.layer_path(layer.chain_id)) as view:
        assert view.listdir("C:/") == ["tool"]
