"""The name of the base that an image states: whole, and the same one whichever verb made the image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builder.images import BASE, store_with_base
from tests.images import samples
from tests.support import run
from wclayer.images.history import BASE_DIGEST, BASE_NAME
from wclayer.images.inspection import image_of, read_root
from wclayer.images.store import ImageStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    made, _, _ = store_with_base(tmp_path / "store", samples.small("oci"))
    monkeypatch.setenv("WCLAYER_STORE", str(made.path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "context").mkdir()
    return made


def _stated(store: ImageStore, name: str) -> tuple[str, str]:
    with store.source(name) as source:
        manifest = json.loads(image_of(source, read_root(source), None).data)
    return manifest["annotations"].get(BASE_NAME, ""), manifest["annotations"][BASE_DIGEST]


def _make_all(base: str) -> list[str]:
    """Makes an image on a base with each verb that does, and returns their names."""
    Path("context/Dockerfile").write_text(f"FROM {base}\nLABEL a=1\n")
    run("build", "-q", "-t", "built:1", "context")
    run("append", "-q", base, "--copy", r"context=C:\new", "-t", "appended:1")
    run("create", "--from", base, "scratch")
    run("commit", "-q", "scratch", "--from", base, "--label", "a=1", "-t", "committed:1")
    return ["built:1", "appended:1", "committed:1"]


@pytest.mark.parametrize(
    ("name", "said", "whole"),
    [
        (BASE, BASE, f"docker.io/library/{BASE}"),
        ("localhost:5000/windows/core:1", "localhost:5000/windows/core:1", "localhost:5000/windows/core:1"),
        ("localhost:5000/windows/core:1", "windows/core:1", "localhost:5000/windows/core:1"),
    ],
)
def test_every_verb_states_the_whole_name(store: ImageStore, name: str, said: str, whole: str) -> None:
    if name != BASE:
        run("tag", BASE, name)
    digest = store.find(BASE).digest
    assert {_stated(store, made) for made in _make_all(said)} == {(whole, digest)}


def test_a_base_that_only_its_digest_names_has_no_name(store: ImageStore) -> None:
    digest = store.find(BASE).digest
    run("append", "-q", digest, "--copy", r"context=C:\new", "-t", "appended:1")
    assert _stated(store, "appended:1") == ("", digest)
