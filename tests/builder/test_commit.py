"""`wclayer commit`: a scratch becomes an image, whose layer holds what was changed and nothing else."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

import wclayer
from tests.builder.images import BASE, store_with_base
from tests.images import samples
from tests.images.registry import FakeRegistry
from tests.support import parsed, run, text, witness
from wclayer.builder.clock import Clock
from wclayer.builder.commit import CREATED_BY
from wclayer.errors import InvalidParameterError, LayerBusyError, NotSupportedError, PathNotFoundError
from wclayer.images.opening import open_image
from wclayer.images.store import ImageStore
from wclayer.layers.directory.scratch import ScratchDirectory


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    """A store with a base image of OCI's kind, which is the default store."""
    made, _, _ = store_with_base(tmp_path / "store", samples.servercore("oci"))
    monkeypatch.setenv("WCLAYER_STORE", str(made.path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return made


def _changed_scratch(path: str = "run") -> None:
    run("create", "--from", BASE, path)
    Path("hello.txt").write_bytes(b"hello")
    run("mkdir", path, "C:\\tool")
    run("cp", "hello.txt", f"{path}:C:\\tool")
    run("rm", path, "C:\\App\\a.txt")
    run("reg", "set", path, "HKLM\\SOFTWARE\\Tool", "Version", "-t", "REG_SZ", "1")


def _documents(store: ImageStore, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    manifest = json.loads(store.read_blob(store.find(name)))
    config = json.loads(store.blob_path(manifest["config"]["digest"]).read_bytes())
    return manifest, config


def _layer(store: ImageStore, name: str) -> tarfile.TarFile:
    manifest, _ = _documents(store, name)
    data = store.blob_path(manifest["layers"][-1]["digest"]).read_bytes()
    return tarfile.open(fileobj=io.BytesIO(gzip.decompress(data)))


def test_a_scratch_becomes_an_image(store: ImageStore) -> None:
    _changed_scratch()
    base, base_config = _documents(store, BASE)
    told = text("commit", "run", "-t", "app:1", "-m", "Adds the tool", "--author", "A. Maker", "--env", "MODE=1")
    assert told.startswith("committed run as app:1: a layer of ")
    manifest, config = _documents(store, "app:1")
    assert manifest["layers"][:-1] == base["layers"]
    assert manifest["annotations"] == {
        "org.opencontainers.image.base.name": f"docker.io/library/{BASE}",
        "org.opencontainers.image.base.digest": store.find(BASE).digest,
    }
    assert config["author"] == "A. Maker"
    assert "MODE=1" in config["config"]["Env"]
    assert config["history"][:-1] == base_config["history"]
    step = config["history"][-1]
    assert step == {
        "created": config["created"], "created_by": CREATED_BY, "author": "A. Maker", "comment": "Adds the tool"
    }  # fmt: skip
    with _layer(store, "app:1") as tar:
        assert tar.getnames() == [
            "Files/App/.wh.a.txt", "Files", "Files/App", "Files/tool", "Files/tool/hello.txt", "Hives",
            "Hives/Software_Delta",
        ]  # fmt: skip
    assert text("cat", "app:1", "C:\\tool\\hello.txt") == "hello"
    assert text("reg", "get", "app:1", "HKLM\\SOFTWARE\\Tool", "Version") == "1\n"
    with open_image("app:1", store) as image, wclayer.LayerView.for_layer(image.path) as view:
        assert not view.exists("C:/App/a.txt")
    assert list(store.check()) == []
    # The scratch is as it was, and goes on.
    assert text("cat", "-m", "run", "C:\\tool\\hello.txt") == "hello"
    run("mkdir", "run", "C:\\more")
    again: Any = parsed("commit", "run", "--json")
    assert again["names"] == []


def test_the_result_is_told(store: ImageStore) -> None:
    _changed_scratch()
    told: Any = parsed("commit", "run", "-t", "app:1", "-t", "app:2", "--json")
    assert told["names"] == ["app:1", "app:2"]
    assert told["digest"] == store.find("app:1").digest == store.find("app:2").digest
    assert store.has_layer(told["layer"]["chain_id"])
    assert text("commit", "-q", "run", "--reproducible") == text("commit", "-q", "run", "--reproducible")


def test_without_changes_only_the_configuration_is_new(store: ImageStore) -> None:
    run("create", "--from", BASE, "run")
    assert "no changes" in text("commit", "run", "-t", "app:1", "--cmd", "cmd")
    manifest, config = _documents(store, "app:1")
    assert manifest["layers"] == _documents(store, BASE)[0]["layers"]
    assert config["history"][-1]["empty_layer"] is True
    assert config["config"]["Cmd"] == ["cmd"]
    # Two images have the layers of the scratch now; the scratch knows of which it was made.
    run("mkdir", "run", "C:\\tool")
    run("commit", "run", "-t", "app:2")
    assert _documents(store, "app:2")[0]["annotations"]["org.opencontainers.image.base.digest"] == (
        store.find(BASE).digest
    )
    # An older scratch does not.
    with ScratchDirectory("run") as scratch, scratch.transaction(is_change=False):
        scratch.set_record("image", None)
    done = run("commit", "run", status=InvalidParameterError.exit_status)
    assert b"--from IMAGE" in done.stderr
    run("commit", "run", "--from", "app:1", "-t", "app:3")
    assert _documents(store, "app:3")[1]["config"]["Cmd"] == ["cmd"]
    done = run("commit", "run", "--from", "app:3", status=InvalidParameterError.exit_status)
    assert b"has other layers" in done.stderr


def test_directories_on_the_way_keep_what_they_have(store: ImageStore) -> None:
    run("create", "--from", BASE, "run")
    (before,) = [json.loads(text("stat", "-m", BASE, "C:\\Windows\\System32", "--json"))]
    Path("hello.txt").write_bytes(b"hello")
    run("cp", "hello.txt", "run:C:\\Windows\\System32")
    run("commit", "run", "-t", "app:1")
    after: Any = parsed("stat", "app:1", "C:\\Windows\\System32", "--json")
    for key in ("security", "attributes", "creation_time"):
        assert after[key] == before[key], key
    # Windows changes these when a name is added, and not those of the directories above.
    assert after["last_write_time"] > before["last_write_time"]
    above: list[Any] = [parsed("stat", "-m", name, "C:\\Windows", "--json") for name in (BASE, "app:1")]
    for key in ("security", "attributes", "creation_time", "last_write_time", "change_time"):
        assert above[0][key] == above[1][key], key


def test_no_time_is_later_than_the_epoch(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    _changed_scratch()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    run("commit", "run", "-t", "app:1")
    _, config = _documents(store, "app:1")
    assert config["created"] == config["history"][-1]["created"] == "2023-11-14T22:13:20Z"
    with _layer(store, "app:1") as tar:
        for member in tar:
            for key in ("mtime", "atime", "ctime", "LIBARCHIVE.creationtime"):
                assert float(member.pax_headers.get(key, 0)) <= 1_700_000_000, (member.name, key)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    run("commit", "run", "-t", "app:1", status=InvalidParameterError.exit_status)


def test_the_same_changes_give_the_same_image(store: ImageStore, tmp_path: Path) -> None:
    _changed_scratch("one")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    _changed_scratch("deep/er/two")
    digests = {text("commit", "-q", path, "--reproducible") for path in ("one", "deep/er/two")}
    assert len(digests) == 1


def test_other_programs_accept_the_image(store: ImageStore, tmp_path: Path) -> None:
    skopeo = witness("skopeo")
    _changed_scratch()
    run("commit", "run", "-t", f"oci:{tmp_path / 'layout'}:1", "-t", "docker-archive:app.tar:app:1")
    for source in (f"oci:{tmp_path / 'layout'}:1", "docker-archive:app.tar"):
        command = [skopeo, "--override-os", "windows", "inspect", "--config", source]
        config = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        assert config["history"][-1]["created_by"] == CREATED_BY
    command = [skopeo, "--override-os", "windows", "copy", f"oci:{tmp_path / 'layout'}:1", "dir:copied"]
    subprocess.run(command, check=True, capture_output=True)
    assert list(store.images()) != []


def test_the_image_is_pushed(store: ImageStore, fake: FakeRegistry) -> None:
    _changed_scratch()
    run("commit", "run", "-t", f"{fake.host}/app:1", "--push", "--insecure")
    digest = store.find(f"{fake.host}/app:1").digest
    assert fake.contents.repository("app").tags == {"1": digest}


def test_what_cannot_be_committed(store: ImageStore, tmp_path: Path) -> None:
    run("create", "--from", BASE, "run")
    run("mkdir", "run", "C:\\tool")
    run("commit", "nothing", status=PathNotFoundError.exit_status)
    run("commit", store.layer_path(store.images()[0].chain_ids[0]), status=InvalidParameterError.exit_status)
    run("commit", "run", "-t", "No Name", status=InvalidParameterError.exit_status)
    with ScratchDirectory("run", exclusive=True):
        done = run("commit", "run", status=LayerBusyError.exit_status)
    # A scratch on layers that are in no store, or in another one.
    run("export", "-o", "base.tar", BASE)
    wclayer.create_layer(tmp_path / "alone")
    run("create", "-l", "alone", "other")
    done = run("commit", "other", status=InvalidParameterError.exit_status)
    assert b"is not a layer of the store" in done.stderr
    done = run("commit", "alone", status=InvalidParameterError.exit_status)
    assert b"is no scratch" in done.stderr
    done = run("commit", "run", "--store", tmp_path / "elsewhere", status=InvalidParameterError.exit_status)
    assert b"is not a layer of the store" in done.stderr
    assert {image.name for image in store.images()} == {BASE, store.find(BASE).digest}
    shutil.rmtree("run")


def test_docker_has_gzip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _, _ = store_with_base(tmp_path / "store", samples.servercore("docker"))
    monkeypatch.setenv("WCLAYER_STORE", str(store.path))
    monkeypatch.chdir(tmp_path)
    _changed_scratch()
    before = sorted(os.listdir(store.path / "blobs" / "sha256"))
    run("commit", "run", "--compression", "zstd", "-t", "app:1", status=NotSupportedError.exit_status)
    assert sorted(os.listdir(store.path / "blobs" / "sha256")) == before
    run("commit", "run", "-t", "app:1")
    assert _documents(store, "app:1")[0]["layers"][-1]["mediaType"] == samples.LAYER["docker"]


def test_the_clock() -> None:
    assert Clock.of(reproducible=False, environment={}) == Clock()
    assert Clock.of(reproducible=True, environment={}).now() == "1970-01-01T00:00:00Z"
    base = Clock.of(reproducible=True, base_created="2026-08-09T02:33:18.1185716Z", environment={})
    assert base.now() == "2026-08-09T02:33:18Z"
    assert Clock.of(reproducible=True, base_created="never", environment={"SOURCE_DATE_EPOCH": "1"}).epoch == 1
    for wrong in ("-1", "1.5", "x", "9" * 12, "999999999999"):
        with pytest.raises(InvalidParameterError, match="SOURCE_DATE_EPOCH"):
            Clock.of(reproducible=False, environment={"SOURCE_DATE_EPOCH": wrong})
