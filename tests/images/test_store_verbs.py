"""The verbs of the store: images, tag, untag, rmi, prune."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.images import samples
from tests.images.forms import write_docker_archive, write_layout_archive
from tests.images.stores import fill, unpack
from tests.support import run
from wclayer.cli.group import USAGE_ERROR
from wclayer.errors import (
    AccessDeniedError,
    CorruptLayerError,
    InvalidParameterError,
    NotSupportedError,
    PathNotFoundError,
)
from wclayer.images.config import chain_ids
from wclayer.images.store import ImageStore


def told(*arguments: str, status: int = 0) -> str:
    """What a verb prints: its output, or what it says of an error."""
    ended = run(*arguments, status=status)
    return (ended.stdout or ended.stderr).decode().replace("\r\n", "\n")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    return ImageStore()


def test_images_lists_names_platforms_and_sizes(store: ImageStore) -> None:
    assert told("images").split() == ["NAME", "DIGEST", "PLATFORM", "BASE", "CREATED", "SHARED", "OWN", "UNPACKED"]
    fill(store, "base:1", samples.small())
    fill(store, "localhost:5000/app", samples.small_child())
    unpack(store, samples.small())
    head, base, app = told("images").splitlines()
    assert base.split()[:3] == ["base:1", samples.small().digest[7:19], "windows/amd64:10.0.20348.5499"]
    assert base.split()[-1] == "yes"
    assert app.split()[:4] == [
        "localhost:5000/app:latest", samples.small_child().digest[7:19], "windows/amd64:10.0.20348.5499", "base:1",
    ]  # fmt: skip
    assert app.split()[-1] == "no"
    # Columns stand below their heads.
    assert head.index("PLATFORM") == base.index("windows/") == app.index("windows/")
    assert samples.small().digest in told("images", "--digests")
    first, second = json.loads(told("images", "--json"))
    assert (first["name"], first["digest"], first["unpacked"]) == ("base:1", samples.small().digest, True)
    assert second["base"] == "base:1"
    assert second["size"] == second["shared_size"] + second["own_size"]
    assert second["platform"] == {"architecture": "amd64", "os": "windows", "os.version": "10.0.20348.5499"}


def test_tag_and_untag(store: ImageStore) -> None:
    fill(store, "localhost:5000/app", samples.small())
    digest = samples.small().digest
    assert told("tag", "app", "other:2") == f"other:2 is {digest}\n"
    assert told("tag", digest[7:19], "third") == f"third:latest is {digest}\n"
    assert told("rmi", "third", "app") == "untagged third:latest\nuntagged localhost:5000/app:latest\n"
    assert "`wclayer pull app` fetches" in told("tag", "app", "x", status=PathNotFoundError.exit_status)
    assert told("untag", "other:2") == "untagged other:2\n"
    assert "no such name" in told("untag", "other:2", status=PathNotFoundError.exit_status)


def test_names_are_json(store: ImageStore) -> None:
    fill(store, "app:1", samples.small())
    digest = samples.small().digest
    assert json.loads(told("tag", "app:1", "other", "--json")) == {"name": "other:latest", "digest": digest}
    assert json.loads(told("untag", "other", "--json")) == {"untagged": ["other:latest"]}
    assert json.loads(told("rmi", "app:1", "--json")) == {"untagged": ["app:1"]}


def test_a_tag_makes_no_store(store: ImageStore) -> None:
    told("tag", "app:1", "other", status=PathNotFoundError.exit_status)
    assert not store.path.exists()


def test_a_scratch_of_a_base_without_all_hives(store: ImageStore, tmp_path: Path) -> None:
    """Its disk is made when the scratch is, by a change of the base."""
    fill(store, "base:1", samples.small())
    unpack(store, samples.small())
    told("create", "--from", "base:1", str(tmp_path / "run"))
    told("rmi", "base:1")
    assert store.prune().layers == []
    assert "version.txt" in told("ls", str(tmp_path / "run"), "C:\\")


def test_the_path_of_a_layer_in_a_store_is_no_parent(store: ImageStore, tmp_path: Path) -> None:
    unpack(store, samples.small())
    (layer,) = (store.path / "layers").iterdir()
    said = told("create", "-l", str(layer), str(tmp_path / "run"), status=InvalidParameterError.exit_status)
    assert "name the image, which is then kept" in said
    assert not (tmp_path / "run").exists()


def test_prune_removes_children_before_their_parents(store: ImageStore) -> None:
    unpack(store, samples.small_child())
    base, child = samples.small().layers[0], samples.small_child().layers[1]
    chain = chain_ids([base.diff_id, child.diff_id])
    assert store.prune().layers == [chain[1], chain[0]]


def test_prune_tells_what_it_removes(store: ImageStore) -> None:
    fill(store, "app", samples.small())
    unpack(store, samples.small())
    assert told("prune").startswith("0 blobs, 0 layers, 0 begun downloads removed: 0 B")
    told("untag", "app")
    assert told("prune", "--dry-run").startswith("3 blobs, 1 layer, 0 begun downloads would be removed")
    with store.hold_layers(samples.small().chain_ids):
        left, said = told("prune").splitlines()
    assert left == f"left: {store.layer_path(samples.small().chain_ids[0])} is mounted or open"
    assert said.startswith("3 blobs, 0 layers, 0 begun downloads removed")
    assert json.loads(told("prune", "--json", "--all"))["layers"] == samples.small().chain_ids
    assert store.images() == []


def test_prune_check_verifies_the_store(store: ImageStore) -> None:
    fill(store, "app", samples.small())
    assert told("prune", "--check") == f"{store.path}: no problem found\n"
    store.blob_path(samples.small().layers[0].digest).write_bytes(b"damaged")
    assert "its contents have the digest" in told("prune", "--check", status=1)
    problems = json.loads(told("prune", "--check", "--json", status=1))
    assert {problem["path"].partition("/")[0] for problem in problems} == {"app:latest", "blobs"}
    assert told("images").splitlines()[1].startswith("app:latest")


def test_prune_check_removes_nothing(store: ImageStore) -> None:
    for option in ("--dry-run", "--all"):
        assert "--check removes nothing" in told("prune", "--check", option, status=64)


def test_a_damaged_store_is_told(store: ImageStore) -> None:
    fill(store, "app", samples.small())
    (store.path / "store.db").write_bytes(b"no database")
    for verb in (["images"], ["prune"], ["untag", "app"], ["tag", "app", "b"]):
        said = told(*verb, status=CorruptLayerError.exit_status)
        assert "store.db" in said


@pytest.mark.parametrize("below", ["", "/store"], ids=["file", "below a file"])
@pytest.mark.parametrize("verb", ["images", "prune", "ls app:1 /", "tag app:1 b", "untag a", "inspect app:1"])
def test_a_file_is_no_store(verb: str, below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    name, *arguments = verb.split()
    shown = told(name, "--store", f"{tmp_path / 'file'}{below}", *arguments, status=InvalidParameterError.exit_status)
    assert f"{tmp_path / 'file'} is a file; name another folder" in shown


@pytest.mark.parametrize("arguments", ["tag app:1 b", "untag app:1", "config app:1 --user x -t app:2"])
def test_a_store_that_can_only_be_read_is_told(
    arguments: str, store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, "app:1", samples.small())
    # As on a file system that is read-only; root may write whatever modes say.
    monkeypatch.setattr("os.access", lambda path, mode, **_: not mode & os.W_OK)
    shown = told(*arguments.split(), status=AccessDeniedError.exit_status)
    assert f"{store.path}: the store can only be read" in shown
    assert "name another store (--store)" in shown
    assert [image.name for image in store.images()] == ["app:1"]


def test_an_image_with_a_problem_keeps_the_table_narrow(store: ImageStore) -> None:
    fill(store, "app:1", samples.small())
    store.blob_path(samples.small().digest).unlink()
    digest = samples.small().digest
    listed = run("images")
    assert listed.stdout.decode().splitlines()[1].split(maxsplit=2) == ["app:1", digest[7:19], "(cannot be read)"]
    assert f"wclayer: app:1: {digest} is not in the store; pull the image again" in listed.stderr.decode()
    (record,) = json.loads(told("images", "--json"))
    assert "pull the image again" in record["problem"]


def test_an_image_without_layers_names_the_option_that_takes_it(store: ImageStore, tmp_path: Path) -> None:
    empty = samples.image("oci", [], [], {})
    file = write_layout_archive(tmp_path / "empty.tar", {"empty:1": empty})
    shown = told("load", "-i", str(file), status=NotSupportedError.exit_status)
    assert "nothing to unpack" in shown
    assert "--no-unpack" in shown
    assert empty.digest in told("load", "-i", str(file), "-t", "empty:1", "--no-unpack")


@pytest.mark.parametrize(
    ("text", "problem"), [("=B", "no name before the '='"), ("A", "no '='"), ("=", "no name before the '='")]
)
def test_a_pair_without_a_name_is_told(text: str, problem: str, store: ImageStore) -> None:
    fill(store, "app:1", samples.small())
    shown = told("config", "app:1", "--env", text, "-t", "app:2", status=USAGE_ERROR)
    assert f"--env '{text}' has {problem}; write --env NAME=VALUE" in shown


def test_a_tar_of_a_layout_is_called_one(store: ImageStore, tmp_path: Path) -> None:
    file = write_layout_archive(tmp_path / "layout.tar", {"app:1": samples.small()})
    assert told("inspect", str(file)).split("\n")[0].split() == ["name", f"oci-archive:{file}"]
    saved = write_docker_archive(tmp_path / "saved.tar", {"app:1": samples.small()}, "classic")
    assert told("inspect", str(saved)).split("\n")[0].split() == ["name", f"docker-archive:{saved}"]
