"""`wclayer squash`: fewer layers, and the image shows the same."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from dissect.regf import RegistryHive

from tests.builder.chains import differences, registry_of
from tests.builder.images import BASE, store_with_base
from tests.images import samples, stores
from tests.support import parsed, run, text
from wclayer.builder.squash import CREATED_BY
from wclayer.errors import InvalidParameterError, NotSupportedError
from wclayer.images.opening import open_image
from wclayer.images.store import ImageStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    """A store with an image of four layers, two of them its own: app:2 on app:1 on base:1."""
    made, _, _ = store_with_base(tmp_path / "store", samples.servercore("oci"))
    monkeypatch.setenv("WCLAYER_STORE", str(made.path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    Path("one.txt").write_bytes(b"one")
    Path("two.txt").write_bytes(b"two")
    run("create", "--from", BASE, "first")
    run("mkdir", "first", "C:\\tool", "C:\\temp")
    run("cp", "one.txt", "first:C:\\tool")
    run("cp", "one.txt", "first:C:\\temp")
    run("rm", "first", "C:\\App\\a.txt")
    run("reg", "set", "first", "HKLM\\SOFTWARE\\Tool", "Version", "-t", "REG_SZ", "1")
    run("reg", "set", "first", "HKLM\\SOFTWARE\\Tool\\Temp", "x", "-t", "REG_SZ", "1")
    run("commit", "first", "-t", "app:1", "--reproducible")
    run("create", "--from", "app:1", "second")
    run("rm", "-r", "second", "C:\\temp")
    run("cp", "two.txt", "second:C:\\tool")
    run("reg", "set", "second", "HKLM\\SOFTWARE\\Tool", "Version", "-t", "REG_SZ", "2")
    run("reg", "delete", "second", "HKLM\\SOFTWARE\\Tool\\Temp")
    run("commit", "second", "-t", "app:2", "--reproducible", "--cmd", "tool")
    return made


def _documents(store: ImageStore, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    manifest = json.loads(store.read_blob(store.find(name)))
    return manifest, json.loads(store.blob_path(manifest["config"]["digest"]).read_bytes())


def _layer(store: ImageStore, name: str) -> tarfile.TarFile:
    manifest, _ = _documents(store, name)
    data = store.blob_path(manifest["layers"][-1]["digest"]).read_bytes()
    return tarfile.open(fileobj=io.BytesIO(gzip.decompress(data)))


def test_the_layers_above_the_base_become_one(store: ImageStore) -> None:
    told = text("squash", "app:2", "--above-base", "--base", BASE, "-t", "small:1")
    assert told.startswith("squashed 2 layers of app:2 as small:1: ")
    before, config_before = _documents(store, "app:2")
    after, config = _documents(store, "small:1")
    assert after["layers"][:-1] == before["layers"][:-2]
    assert len(config["rootfs"]["diff_ids"]) == len(after["layers"]) == len(before["layers"]) - 1
    assert config["config"] == config_before["config"]
    assert [step.get("empty_layer", False) for step in config["history"][-3:]] == [True, True, False]
    assert config["history"][-1]["created_by"] == CREATED_BY
    assert len([step for step in config["history"] if not step.get("empty_layer")]) == len(after["layers"])
    with open_image("app:2", store) as one, open_image("small:1", store) as other:
        assert differences(one.path, other.path) == []
        assert registry_of(one.path) == registry_of(other.path)
    with _layer(store, "small:1") as tar:
        names = tar.getnames()
        assert not any("temp" in name for name in names)
        assert [name for name in names if ".wh." in name] == ["Files/App/.wh.a.txt"]
        assert {"Files/tool/one.txt", "Files/tool/two.txt"} < set(names)
        delta = tar.extractfile("Hives/Software_Delta")
        assert delta is not None
        hive = RegistryHive(io.BytesIO(delta.read()))
    key = hive.root().subkey("Tool")
    assert key.value("Version").value == "2"
    assert [below.name for below in key.subkeys()] == []
    assert list(store.check()) == []


def test_the_base_is_found(store: ImageStore) -> None:
    """By the annotations: app:2 was made on app:1."""
    told: Any = parsed("squash", "app:2", "--above-base", "--json", "-t", "small:1")
    assert told["squashed"] == 1
    assert told["layer"] is None
    assert told["digest"] == store.find("app:2").digest


def test_all_layers_become_a_base_layer(store: ImageStore, tmp_path: Path) -> None:
    told: Any = parsed("squash", "app:2", "-t", "whole:1", "--json")
    manifest, config = _documents(store, "whole:1")
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 1
    assert "annotations" not in manifest or not manifest["annotations"]
    assert told["layer"]["chain_id"] == told["layer"]["diff_id"] == config["rootfs"]["diff_ids"][0]
    with open_image("app:2", store) as one, open_image("whole:1", store) as other:
        assert registry_of(one.path) == registry_of(other.path)
        changed = {getattr(found, "path", "?") for found in differences(one.path, other.path)}
    assert all(path.startswith(("Hives", "Files/Windows/System32/config/")) for path in changed)
    with _layer(store, "whole:1") as tar:
        names = tar.getnames()
        assert not any(".wh." in name or "_Delta" in name for name in names)
        software = tar.extractfile("Files/Windows/System32/config/SOFTWARE")
        assert software is not None
        hive = RegistryHive(io.BytesIO(software.read()))
    assert hive.root().subkey("Tool").value("Version").value == "2"
    (tmp_path / "x").mkdir()
    command = ["skopeo", "--override-os", "windows", "copy", f"oci:{tmp_path / 'layout'}:1", "dir:x"]
    run("copy", "store:whole:1", f"oci:{tmp_path / 'layout'}:1")
    subprocess.run(command, check=True, capture_output=True)


def test_the_same_image_gives_the_same_bytes(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {text("squash", "-q", "app:2", "--base", BASE, "--reproducible") for _ in range(2)}
    assert len(digests) == 1
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    run("squash", "app:2", "-t", "old:1")
    assert _documents(store, "old:1")[1]["history"][-1]["created"] == "2001-09-09T01:46:40Z"


def test_an_image_from_elsewhere(store: ImageStore, tmp_path: Path) -> None:
    """Its base layers are copied from there."""
    run("copy", "store:app:2", f"oci:{tmp_path / 'in'}:1")
    run("squash", f"oci:{tmp_path / 'in'}:1", "--base", BASE, "-t", f"oci:{tmp_path / 'out'}:1", "--reproducible")
    inspected: Any = parsed("inspect", f"oci:{tmp_path / 'out'}:1", "--json")
    assert inspected["digest"] == text("squash", "-q", "app:2", "--base", BASE, "--reproducible").strip()


def test_what_cannot_be_squashed(store: ImageStore) -> None:
    run("squash", "first", status=InvalidParameterError.exit_status)
    run("squash", "app:1", "--base", "app:2", status=InvalidParameterError.exit_status)
    run("squash", "app:2", "-t", "No Name", status=InvalidParameterError.exit_status)
    stores.fill(store, "docker:1", samples.servercore("docker"))
    done = run("squash", "docker:1", "--compression", "zstd", status=NotSupportedError.exit_status)
    assert b"choose gzip" in done.stderr
    run("squash", "docker:1", "-t", "docker:2")
    assert _documents(store, "docker:2")[0]["layers"][0]["mediaType"] == samples.LAYER["docker"]
