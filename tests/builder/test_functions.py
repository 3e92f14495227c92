"""The public functions that make images: they make what the verbs make, and say what they made."""

from __future__ import annotations

from pathlib import Path

import pytest

import wclayer
from tests.builder.chains import hive
from tests.builder.images import BASE, store_with_base
from tests.images import samples
from tests.support import layer_tar, parsed, put_directories, put_file, run
from wclayer.layers.hives import CONFIG, LAYER_HIVES
from wclayer.model import LayerWriter


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> wclayer.ImageStore:
    """The default store, with a base of two layers."""
    made, _, _ = store_with_base(tmp_path / "store", samples.servercore("oci"))
    monkeypatch.setenv("WCLAYER_STORE", str(made.path))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "a.txt").write_bytes(b"a")
    (tmp_path / "context" / "Dockerfile").write_text(
        f"# escape=`\nFROM {BASE}\nARG WHAT=one\nCOPY a.txt C:\\new\\%WHAT%.txt\nRUN mkdir C:\\new\\%WHAT%\n"
    )
    return made


def _read(name: str, path: str) -> bytes:
    with wclayer.open_image(name) as image, wclayer.LayerView(image.layers) as view:
        return view.read_bytes(path)


def test_a_build_is_that_of_the_verb(store: wclayer.ImageStore) -> None:
    made = wclayer.build_image("context", "app:1", arguments={"WHAT": "two"}, reproducible=True)
    told = parsed("build", "-t", "app:2", "--build-arg", "WHAT=two", "--reproducible", "--json", "context")
    assert isinstance(told, dict)
    assert made.digest == told["digest"] == store.find("app:1").digest == store.find("app:2").digest
    assert (made.names, made.warnings) == (("app:1",), ())
    assert [(image.descriptor, len(image.layers)) for image in made.images] == [(made.descriptor, 4)]


def test_what_the_progress_is_warned_of_is_in_the_result(store: wclayer.ImageStore) -> None:
    made = wclayer.build_image("context", arguments={"OTHER": "x"})
    assert made.warnings == ("--build-arg OTHER: no ARG takes it",)
    assert made.names == ()
    assert [image.name for image in store.images() if image.manifest.digest == made.digest] == [made.digest]


def test_an_image_gets_all_its_names(store: wclayer.ImageStore) -> None:
    names = ["oci:layout:1", "app:1", "docker-archive:app.tar:app:1"]
    made = wclayer.append_image(BASE, wclayer.Additions(copies=[("context/a.txt", "C:\\new\\")]), names)
    assert made.names == tuple(names)
    assert store.find("app:1").digest == made.digest
    for place in ("oci:layout:1", "docker-archive:app.tar"):
        assert _read(place, "C:\\new\\a.txt") == b"a"
    assert [(each.release, each.needs_base) for each in made.images] == [("", False)]
    assert made.images[0].reason


def test_a_name_that_is_none_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    for names in ("App:1", ["app:1", "oci:"]):
        with pytest.raises(wclayer.InvalidParameterError):
            wclayer.build_image("context", names, wclayer.ImageStore(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_releases_make_an_index(tmp_path: Path) -> None:
    for number, name in ((17763, "ltsc2019"), (20348, "ltsc2022")):
        image = samples.small("oci", os_version=f"10.0.{number}.1")
        store_with_base(tmp_path / "bases" / name, image)
        with wclayer.open_source(f"store:{BASE}", store=wclayer.ImageStore(tmp_path / "bases" / name)) as source:
            wclayer.store_image(source, wclayer.ImageStore(), f"windows:{name}")
    made = wclayer.append_image(
        "windows:ltsc2022", wclayer.Additions(copies=[("context/a.txt", "C:\\new\\")]), "app:1",
        releases=["ltsc2019", "20348"],
    )  # fmt: skip
    assert [each.release for each in made.images] == ["ltsc2019", "ltsc2022"]
    assert [each.platform.os_version for each in made.images] == ["10.0.17763.1", "10.0.20348.1"]
    assert made.digest not in [each.manifest.descriptor.digest for each in made.images]


def test_the_base_from_scratch_has_the_version_of_a_release() -> None:
    additions = wclayer.Additions(copies=[("context/a.txt", "C:\\new\\")])
    made = wclayer.append_image("scratch", additions, "app:1", releases=["ltsc2022", "ltsc2025"])
    assert [str(each.platform) for each in made.images] == ["windows/amd64:10.0.20348", "windows/amd64:10.0.26100"]


def test_a_scratch_is_committed_as_by_the_verb(store: wclayer.ImageStore, tmp_path: Path) -> None:
    run("create", "--from", BASE, "run")
    with wclayer.LayerView(scratch="run") as view:
        view.write_bytes("C:\\new.txt", b"new")
    config = wclayer.ConfigChanges(user="ContainerUser")
    made = wclayer.commit_image("run", "app:1", config=config, message="Adds a file", reproducible=True)
    run("commit", "run", "-t", "app:2", "--user", "ContainerUser", "-m", "Adds a file", "--reproducible")
    assert made.digest == store.find("app:1").digest == store.find("app:2").digest
    assert made.layer is not None
    assert store.has_layer(made.layer.chain_id)
    assert _read("app:1", "C:\\new.txt") == b"new"
    assert wclayer.commit_image("run", compression="zstd").digest != made.digest


def test_layers_are_squashed_as_by_the_verb(store: wclayer.ImageStore) -> None:
    wclayer.build_image("context", "app:1")
    made = wclayer.squash_image("app:1", "small:1", base=BASE, reproducible=True)
    run("squash", "app:1", "--base", BASE, "--reproducible", "-t", "small:2")
    assert made.digest == store.find("small:1").digest == store.find("small:2").digest
    assert (made.count, made.layer is not None) == (2, True)
    same = wclayer.squash_image("small:1", "small:3", base=BASE)
    assert (same.digest, same.count, same.layer) == (made.digest, 1, None)


def _windows(version: str, data: bytes) -> samples.Image:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32", CONFIG)
        for layer_hive in LAYER_HIVES:
            put_file(writer, layer_hive.config, hive())
        put_file(writer, "Files/Windows/system.dll", data)

    layers = [samples.layer(layer_tar(build), "oci")]
    return samples.image("oci", layers, [samples.step(f"Apply image {version}")], {}, os_version=version)


def test_a_rebase_tells_what_it_would_hide_before_it_is_refused(store: wclayer.ImageStore, tmp_path: Path) -> None:
    for number in (1, 2):
        made, _, _ = store_with_base(tmp_path / f"{number}", _windows(f"10.0.20348.{number}", b"%d" % number))
        with wclayer.open_source(f"store:{BASE}", store=made) as source:
            wclayer.store_image(source, store, f"windows:{number}")
    wclayer.append_image("windows:1", wclayer.Additions(copies=[("context/a.txt", "C:\\Windows\\system.dll")]), "app:1")
    told: list[wclayer.RebaseResult] = []
    with pytest.raises(wclayer.InvalidStateError, match="hide 1 changes of the new base"):
        wclayer.rebase_image("app:1", "windows:2", "app:2", on_result=told.append)
    (refused,) = told
    (report,) = refused.reports
    assert report.conflicts is not None
    assert [conflict.path for conflict in report.conflicts] == ["Files/Windows/system.dll"]
    assert "app:2" not in {image.name for image in store.images()}
    assert wclayer.rebase_image("app:1", "windows:2", "app:2", dry_run=True) == refused
    assert "app:2" not in {image.name for image in store.images()}
    assert wclayer.rebase_image("app:1", "windows:2", "app:2", force=True) == refused
    assert store.find("app:2").digest == refused.digest
    assert _read("app:2", "C:\\Windows\\system.dll") == b"a"
