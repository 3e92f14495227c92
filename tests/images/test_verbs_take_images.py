"""Every verb that takes a layer takes an image: a name in the store, a docker-archive, a layout."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

import wclayer
from tests.images import samples
from tests.images.forms import write_docker_archive, write_layout, write_layout_archive
from tests.images.samples import Image
from tests.support import parsed, run, text
from tests.verbs import verbs_of
from wclayer.cli.layer_argument import LAYER
from wclayer.cli.text import LAYER_PATH
from wclayer.cli.verbs import cli
from wclayer.errors import (
    InvalidDataError,
    InvalidParameterError,
    NotALayerError,
    NotSupportedError,
    PathNotFoundError,
)
from wclayer.images.layout import LayoutSource
from wclayer.images.opening import open_image
from wclayer.images.platform import parse_platform
from wclayer.images.pull import store_image
from wclayer.images.store import ImageStore
from wclayer.layers.atomic import lock_place
from wclayer.layers.directory.chain_file import read_chain


def _app() -> Image:
    """An image of two layers, with hives and a utility VM: the sample's base and its application."""
    layers = [samples.layer(samples.sample_base_tar()), samples.layer(samples.sample_child_tar())]
    history = [samples.step("Apply image 10.0.20348.5499"), samples.step("COPY app")]
    return samples.image("docker", layers, history, {"Cmd": ["cmd"]})


class Place(NamedTuple):
    """A store with the image app:1, unpacked, and files with the same image."""

    store: ImageStore
    layers: list[Path]
    """The unpacked layers, nearest first."""
    names: dict[str, str]
    """What a user writes for the image."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("images")
    app = _app()
    archive = write_docker_archive(folder / "app.tar", {"app:1": app})
    layout = write_layout(folder / "layout", {"1": app})
    oci_archive = write_layout_archive(folder / "oci.tar", {"1": app})
    store = ImageStore(folder / "store")
    with LayoutSource(layout, "1") as source:
        image = store_image(source, store, "localhost:5000/app:1").images[0]
    names = {
        "name": "localhost:5000/app:1",
        "end of a name": "app:1",
        "store": "store:app:1",
        "digest": app.digest,
        "docker-archive": f"docker-archive:{archive}:app:1",
        "archive by its path": str(archive),
        "oci-archive": f"oci-archive:{oci_archive}:1",
        "layout": f"oci:{layout}:1",
        "layout by its path": str(layout),
    }
    return Place(store, list(reversed(image.layers)), names)


@pytest.fixture
def place(made: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("WCLAYER_STORE", str(made.store.path))
    return made


READING = {
    "ls": ["ls {merged} {image} C:\\"],
    "tree": ["tree {merged} {image} C:\\", "tree --alone {image}"],
    "cat": ["cat {merged} {image} C:\\Windows\\win.ini"],
    "stat": ["stat {merged} {image} C:\\Windows"],
    "find": ["find {merged} {image} C:\\Windows --name *.ini"],
    "du": ["du {merged} --bytes {image} C:\\Windows"],
    "grep": ["grep {merged} -F -c e {image} C:\\Windows\\win.ini"],
    "diff": ["diff --json {image}", "diff {image} {image}", "diff {base} {image}"],
    "check": ["check --json {image}"],
    "reg query": ["reg query {image} HKLM\\SOFTWARE"],
    "reg get": ["reg get --json {image} HKLM\\SYSTEM\\Select Current"],
    "reg export": ["reg export {image} HKLM\\SYSTEM\\Select"],
    "acl get": [
        "acl get {image} C:\\Windows",
        "acl get --explain --json {image} C:\\Windows",
        "acl get {image} HKLM\\SYSTEM",
    ],
    "attrib": ["attrib {image} C:\\Windows"],
    "convert": ["convert --reproducible --to ntfs --size 64MiB -o {out} {image}"],
    "export": ["export -o {out} {image}", "export --transport {out} {image}"],
    "export-rootfs": ["export-rootfs --json -o {out} {image}"],
    "cp": ["cp -r {image}:C:\\Windows\\win.ini {out}", "cp {image}:/Windows/win.ini {out}"],
}
"""Calls of the verbs that read. Each does with an image what it does with the top layer over its parents."""
OTHERWISE = {
    "acl audit",
    "bcd",
    "cve",
    "explore",
    "info",
    "inventory",
    "mount",
    "report",
    "shell",
    "create",
    "import",
    "squash",
}
"""Verbs whose output is another one for an image, or that make something; a test of their own has them."""
CHANGING = {
    "rm": ["rm {image} C:\\Windows"],
    "mkdir": ["mkdir {image} C:\\new"],
    "mv": ["mv {image} C:\\Windows C:\\new"],
    "acl set": ["acl set {image} C:\\Windows O:BA"],
    "attrib": ["attrib {image} C:\\Windows +R"],
    "cp": ["cp {file} {image}:C:\\new", "cp {scratch}:C:\\Windows\\win.ini {image}:C:\\new"],
    "reg set": ["reg set {image} HKLM\\SOFTWARE\\New"],
    "reg delete": ["reg delete {image} HKLM\\SOFTWARE\\New"],
    "reg import": ["reg import {image} {file}"],
    "remove": ["remove {image}"],
    "relink": ["relink {image}"],
    "expand": ["expand {image} 30GiB"],
    "process": ["process {image}"],
    "unmount": ["unmount {image}"],
    "commit": ["commit {image} -t new:1"],
}
"""Calls of the verbs that change a layer. Each refuses an image."""
OF_FILES = {
    "makebaselayer": ["makebaselayer {image}"],
    "grant": ["grant 11111111-2222-3333-4444-555555555555 {image}/layer.db"],
    "create": ["create -l {base} {image}"],
}
"""Calls with a path that may lie in a store, of verbs that take no layer there."""
NO_LAYERS = {
    "import": "PATH is where the new layer goes",
    "create": "PATH is where the new layer goes",
    "makebaselayer": "PATH is a folder that is not a layer yet",
    "images add": "LAYER is registered by its path",
    "demo": "FOLDER is where the example goes",
}
"""Verbs with an argument that has the name of one for layers, and is none."""


VERBS = dict(verbs_of(cli))


def test_no_verb_with_a_layer_is_forgotten() -> None:
    taking = {
        verb
        for verb, command in VERBS.items()
        if any(parameter.type is LAYER and parameter.name != "layers" for parameter in command.params)
        or any(parameter.type is LAYER and isinstance(parameter, click.Argument) for parameter in command.params)
    }
    assert taking | {"cp", "import"} == READING.keys() | CHANGING.keys() | OTHERWISE
    for verb in taking | {"cp"}:
        options = {option for parameter in VERBS[verb].params for option in parameter.opts}
        assert {"--store", "--platform"} <= options, verb


def test_every_argument_that_sounds_like_a_layer_is_one() -> None:
    words = {"layer", "layers", "path", "a", "b", "scratch", "parent", "parents"}
    for verb, command in VERBS.items():
        for parameter in command.params:
            if isinstance(parameter, click.Argument) and parameter.name in words and verb not in NO_LAYERS:
                assert parameter.type in (LAYER, LAYER_PATH), (verb, parameter.name)
            # `-l` of grep lists files, as everywhere.
            if "-l" in parameter.opts and verb != "grep":
                assert parameter.type is LAYER, verb


def _arguments(call: str, **words: object) -> list[str]:
    return [part.format(**words) for part in call.split(" ") if part.format(**words)]


def _result(arguments: list[str], out: Path) -> tuple[int, str, object]:
    """What a call prints and makes."""
    done = run(*arguments, status=None)
    if out.is_dir():
        made: object = sorted(
            (str(path.relative_to(out)), path.read_bytes()) for path in out.rglob("*") if path.is_file()
        )
        shutil.rmtree(out)
    else:
        made = out.read_bytes() if out.exists() else None
        out.unlink(missing_ok=True)
    return done.returncode, done.stdout.decode(errors="surrogateescape"), made


@pytest.mark.parametrize("name", ["end of a name", "docker-archive", "layout"])
@pytest.mark.parametrize("call", [call for calls in READING.values() for call in calls])
def test_a_verb_that_reads_does_with_an_image_what_it_does_with_its_layers(
    call: str, name: str, place: Place, tmp_path: Path
) -> None:
    top, base = map(str, place.layers)
    out, image = tmp_path / "out", place.names[name]
    expected = _result(_arguments(call, image=top, base=base, merged="-m", out=out), out)
    found = _result(_arguments(call, image=image, base=base, merged="", out=out), out)
    assert found[0] in (0, 1) if call.startswith("diff") else found[0] == 0
    # JSON has backslashes of its own.
    spell = (lambda path: json.dumps(path)[1:-1]) if "--json" in call else str
    assert (found[0], found[1].replace(spell(image), spell(top)), found[2]) == expected


@pytest.mark.parametrize("call", [call for calls in CHANGING.values() for call in calls])
def test_a_verb_that_changes_refuses_images_and_their_layers(call: str, place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"Windows Registry Editor Version 5.00\r\n")
    scratch = tmp_path / "run"
    if "{scratch}" in call:
        wclayer.create_scratch_layer(scratch, place.layers)
    before = _contents(place.store.path)
    for name in ("end of a name", "docker-archive", "layout"):
        image = place.names[name]
        done = run(*_arguments(call, image=image, file=tmp_path / "file", scratch=scratch), status=None)
        assert done.returncode == InvalidParameterError.exit_status, done.stderr
        assert f"`wclayer create --from {image} PATH`".encode() in done.stderr
    for path in place.layers:
        done = run(*_arguments(call, image=path, file=tmp_path / "file", scratch=scratch), status=None)
        assert done.returncode == InvalidParameterError.exit_status, done.stderr
        assert b"wclayer create --from" in done.stderr
    assert _contents(place.store.path) == before


@pytest.mark.parametrize("call", [call for calls in OF_FILES.values() for call in calls])
def test_no_verb_changes_what_lies_in_a_store(call: str, place: Place) -> None:
    before = _contents(place.store.path)
    top, base = place.layers
    done = run(*_arguments(call, image=top, base=base), status=None)
    assert done.returncode == InvalidParameterError.exit_status, done.stderr
    assert b"images are not changed" in done.stderr
    assert _contents(place.store.path) == before


def _contents(folder: Path) -> list[tuple[str, int, int]]:
    return sorted(
        (str(path), path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".db-shm", ".db-wal")
    )


@pytest.mark.parametrize("path", ["C:\\Windows\\win.ini", "/Windows/win.ini", "c:/Windows/win.ini"])
def test_cp_finds_the_path_after_any_name_of_an_image(path: str, place: Place, tmp_path: Path) -> None:
    for number, name in enumerate(place.names.values()):
        run("cp", f"{name}:{path}", tmp_path / str(number))
        assert b"[app]" in (tmp_path / str(number)).read_bytes(), name
    run("cp", "-r", "app:1:C:", tmp_path / "all", status=None)
    assert (tmp_path / "all/Windows/win.ini").exists()
    done = run("cp", f"nothing:1:{path}", tmp_path / "out", status=64)
    assert b"LAYER:PATH of an existing layer, or of an image that is here" in done.stderr


def test_cp_copies_from_an_image_into_a_scratch(place: Place, tmp_path: Path) -> None:
    run("create", "--from", "app:1", tmp_path / "run")
    run("cp", "-r", "app:1:C:\\app", f"{tmp_path / 'run'}:C:\\copy")
    before: Any = parsed("stat", "app:1", "C:\\app\\app.exe", "--json")
    after: Any = parsed("stat", tmp_path / "run", "C:\\copy\\app.exe", "--json")
    for key in ("size", "security", "creation_time", "sha256", "streams"):
        assert before[key] == after[key], key


# The names.


@pytest.mark.parametrize("kind", ["name", "end of a name", "store", "digest", "docker-archive", "archive by its path",
                                  "oci-archive", "layout", "layout by its path"])  # fmt: skip
def test_every_name_of_an_image_means_its_layers(kind: str, place: Place) -> None:
    with open_image(place.names[kind]) as image:
        assert list(image.layers) == place.layers
        assert image.path == place.layers[0]
        assert image.name == place.names[kind]
        assert image.config is not None
        assert image.manifest is not None
        assert len(image.manifest.layers) == len(image.config.diff_ids) == 2
        with wclayer.LayerView.for_layer(image.path, writable=False) as view:
            assert view.exists("C:\\Windows\\win.ini")


def test_a_layer_directory_is_a_chain_without_an_image(place: Place) -> None:
    with open_image(str(place.layers[0])) as image:
        assert list(image.layers) == place.layers
        assert (image.manifest, image.config) == (None, None)


def test_a_path_that_exists_is_a_path(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wclayer.create_layer("app")
    with open_image("app") as image:
        assert image.layers == (tmp_path / "app",)
    with contextlib.suppress(OSError):
        os.mkdir("app:1")
        with pytest.raises(NotALayerError):
            open_image("app:1")


def test_an_archive_is_unpacked_into_the_store_without_a_name(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "cache"))
    archive = place.names["archive by its path"]
    assert "win.ini" in text("ls", archive, "C:\\Windows")
    store = ImageStore()
    assert {path.name for path in (store.path / "layers").iterdir()} == {path.name for path in place.layers}
    assert store.images() == []
    assert list((store.path / "blobs/sha256").iterdir()) == []
    # While it is open, its layers stay; afterwards they are a cache.
    with open_image(archive) as image:
        pruned = store.prune()
        assert (pruned.layers, sorted(pruned.busy)) == ([], sorted(image.layers))
    assert len(store.prune().layers) == 2


def test_the_layers_of_an_index_are_those_of_the_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    layout = write_layout(tmp_path / "layout", {"multi": samples.several()})
    with LayoutSource(layout, "multi") as source:
        store_image(source, ImageStore(), "multi:1", all_platforms=True)
    for image in ("multi:1", f"oci:{layout}:multi"):
        for version in ("10.0.26100.33296", "10.0.20348.5499"):
            platform = f"windows/amd64:{version}"
            assert text("cat", "--platform", platform, image, "version.txt") == version
            with open_image(image, platform=parse_platform(platform)) as opened:
                assert opened.config is not None
                assert opened.config.platform.os_version == version
        done = run("ls", image, status=InvalidParameterError.exit_status)
        assert b"several images fit" in done.stderr
        assert b"10.0.20348.5499" in done.stderr
        run("ls", "--platform", "linux/amd64", image, status=PathNotFoundError.exit_status)


def test_the_option_names_the_store(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "empty"))
    run("ls", "app:1", status=PathNotFoundError.exit_status)
    assert "Windows" in text("ls", "--store", place.store.path, "app:1", "C:\\")
    assert "Windows" in text("ls", "app:1", "--store", place.store.path, "C:\\")


@pytest.mark.parametrize("name", ["nothing:1", "localhost:5000/nothing", "folder/nothing", "nothing"])
def test_a_name_that_nothing_has_is_told_with_what_was_looked_for(name: str, place: Place) -> None:
    done = run("ls", name, status=PathNotFoundError.exit_status)
    for part in ("no such path", str(place.store.path), f"wclayer pull {name}", "wclayer images"):
        assert part in done.stderr.decode(), part


def test_other_texts_that_mean_nothing_are_told(place: Place, tmp_path: Path) -> None:
    for text_, said in (
        ("No Name", "not the name of an image"),
        ("docker://localhost:5000/x", "is in a registry; `wclayer pull localhost:5000/x`"),
        (str(tmp_path / "missing"), "does not exist"),
        (f"oci:{tmp_path / 'missing'}", "missing"),
        (f"docker-archive:{tmp_path / 'missing'}", "missing"),
        ("store:nothing", "no such image in the store"),
        ("0123456789abcdef", "no such image in the store"),
    ):
        done = run("ls", text_, status=PathNotFoundError.exit_status)
        assert said in done.stderr.decode(), (text_, done.stderr)
    # A file that holds no images, and a layer's tar.
    (tmp_path / "file").write_bytes(b"x" * 2000)
    (tmp_path / "base.tar").write_bytes(samples.sample_child_tar())
    (tmp_path / "base.tar.gz").write_bytes(samples.gzipped(samples.sample_child_tar()))
    for path in (tmp_path / "file", tmp_path / "base.tar", tmp_path / "base.tar.gz"):
        done = run("ls", path, status=NotALayerError.exit_status)
        assert b"wclayer import -i" in done.stderr
    (tmp_path / "folder").mkdir()
    run("ls", tmp_path / "folder", status=NotALayerError.exit_status)


def test_a_layout_that_is_not_whole_is_told(place: Place, tmp_path: Path) -> None:
    image = samples.small()
    layout = write_layout(tmp_path / "layout", {"1": image})
    blob = layout / "blobs/sha256" / image.layers[0].digest[7:]
    blob.write_bytes(bytes(reversed(blob.read_bytes())))
    done = run("ls", layout, status=InvalidDataError.exit_status)
    assert b"layer 1 of 1" in done.stderr
    blob.unlink()
    run("ls", layout, status=PathNotFoundError.exit_status)
    with pytest.raises(PathNotFoundError):
        open_image(str(layout))


def test_an_image_for_linux_is_told(place: Place, tmp_path: Path) -> None:
    windows = samples.small()
    config = samples.dump({**windows.record, "os": "linux"})
    record = json.loads(windows.manifest)
    record["config"] |= {"digest": samples.sha256(config), "size": len(config)}
    linux = Image("docker", samples.dump(record), config, windows.layers)
    layout = write_layout(tmp_path / "layout", {"1": linux})
    done = run("ls", layout, status=NotSupportedError.exit_status)
    assert b"linux" in done.stderr


def test_an_artifact_is_told_without_options_of_other_verbs(place: Place, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {"1": samples.referrer(samples.small())})
    assert b"artifact" in (said := run("ls", layout, status=NotSupportedError.exit_status).stderr)
    assert b"--no-unpack" not in said
    assert b"--no-unpack" in run("load", "-i", str(tmp_path / "layout"), status=NotSupportedError.exit_status).stderr


# What is kept.


def test_a_layer_of_an_image_that_is_open_is_not_pruned(place: Place) -> None:
    with open_image("app:1") as image:
        for path in image.layers:
            with pytest.raises(BlockingIOError):
                lock_place(path).close()
    for path in place.layers:
        lock_place(path).close()


@pytest.mark.parametrize("name", ["end of a name", "archive by its path", "layout"])
def test_create_makes_a_scratch_of_an_image(name: str, place: Place, tmp_path: Path) -> None:
    run("create", "--from", place.names[name], tmp_path / "run")
    assert read_chain(tmp_path / "run") == place.layers
    run("mkdir", tmp_path / "run", "C:\\new")
    assert "new" in text("ls", tmp_path / "run", "C:\\")
    run("create", "--from", place.names[name], "--read-only", tmp_path / "layer")
    assert read_chain(tmp_path / "layer") == place.layers


def test_a_scratch_of_an_archive_keeps_its_image(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "cache"))
    store = ImageStore()
    run("create", "--from", place.names["archive by its path"], tmp_path / "run")
    assert store.prune().layers == []
    assert "win.ini" in text("ls", tmp_path / "run", "C:\\Windows")
    assert parsed("check", "--json", tmp_path / "run") == []


def test_images_are_parents(place: Place, tmp_path: Path) -> None:
    (tmp_path / "new.tar").write_bytes(samples.small_tar({"Files/new": b"new"}))
    run("import", "-i", tmp_path / "new.tar", "-l", "app:1", tmp_path / "new")
    assert read_chain(tmp_path / "new") == place.layers
    run("create", "-l", tmp_path / "new", "-l", "app:1", tmp_path / "run")
    assert read_chain(tmp_path / "run") == [tmp_path / "new", *place.layers]
    run("export", "-o", tmp_path / "again.tar", "-l", "app:1", tmp_path / "new")
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "new.tar").read_bytes()
    (tmp_path / "new/layerchain.json").write_text(json.dumps(["/gone/a", "/gone/b"]))
    run("relink", "-l", "app:1", tmp_path / "new")
    assert read_chain(tmp_path / "new") == place.layers


def test_create_wants_either_an_image_or_parents(place: Place, tmp_path: Path) -> None:
    for arguments in ([], ["--from", "app:1", "-l", str(place.layers[0])]):
        assert b"--from IMAGE" in run("create", *arguments, tmp_path / "run", status=64).stderr


def test_an_image_in_a_store_that_is_only_read_is_used_as_it_is(place: Place) -> None:
    from tests.proof.conditions import as_nobody
    from tests.proof.world import World

    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        own = Path(folder) / "own"
        own.mkdir()
        own.chmod(0o777)
        shared = ImageStore(shutil.copytree(place.store.path, Path(folder) / "store"))

        def call(_: object) -> None:
            with open_image("app:1", shared) as image:
                assert len(list(wclayer.check_layer(image.path))) == 0
            with open_image("app:1", shared, keep=True) as image:
                wclayer.create_scratch_layer(own / "run", image.path)

        assert as_nobody(call, World(Path(folder), own)) is None
        assert read_chain(own / "run")[0].parent == Path(os.path.realpath(shared.path)) / "layers"


# The other verbs.


def test_info_shows_an_image(place: Place) -> None:
    app = _app()
    record: Any = parsed("info", "--json", "app:1")
    assert (record["name"], record["digest"]) == ("app:1", app.digest)
    assert record["platform"] == {"os": "windows", "architecture": "amd64", "os.version": app.record["os.version"]}
    shown = [(layer["digest"], layer["diff_id"], layer["chain_id"], layer["path"]) for layer in record["layers"]]
    paths = [str(path) for path in reversed(place.layers)]
    assert shown == list(zip([layer.digest for layer in app.layers], app.diff_ids, app.chain_ids, paths, strict=True))
    assert [layer["stored_size"] for layer in record["layers"]] == [len(layer.data) for layer in app.layers]
    assert [layer["size"] for layer in record["layers"]] == [len(layer.tar) for layer in app.layers]
    lines = text("info", place.names["layout"])
    for part in (app.digest, "layer 2 of 2", app.diff_ids[1], app.chain_ids[1], "windows/amd64"):
        assert part in lines


def test_bcd_shows_the_utility_vm_of_the_nearest_layer_that_has_one(place: Place) -> None:
    assert text("bcd", "app:1") == text("bcd", place.layers[1])
    assert "Windows Boot Manager" in text("bcd", place.names["layout"])


def test_check_looks_at_every_layer_of_an_image(place: Place, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(place.store.path, copy)
    base = copy / "layers" / place.layers[1].name
    (base / "Files/Windows/win.ini").write_bytes(b"changed")
    lines = text("check", "--store", copy, "app:1", status=1).splitlines()
    assert lines[0].startswith("layer 1 of 2: Files/Windows/win.ini: ")
    assert text("check", "app:1") == "app:1: no problem found\n"


def test_a_store_is_moved_with_its_layers(place: Place, tmp_path: Path) -> None:
    shutil.copytree(place.store.path, tmp_path / "moved")
    assert "win.ini" in text("ls", "--store", tmp_path / "moved", "app:1", "C:\\Windows")
    store = ImageStore(tmp_path / "moved")
    with open_image("app:1", store) as image:
        assert {path.parent for path in image.layers} == {tmp_path / "moved/layers"}
        assert read_chain(image.path) == list(image.layers[1:])
    assert list(store.check()) == []


# Mounts.


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    """A store of its own, without images."""
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "cache"))
    return ImageStore()


def test_an_image_is_mounted_and_its_layers_stay_while_it_is(made: Place, cache: ImageStore, tmp_path: Path) -> None:
    at = tmp_path / "at"
    at.mkdir()
    archive = made.names["archive by its path"]
    assert text("mount", archive, at) == f"{archive} is at {at}\n"
    try:
        assert "[app]" in (at / "Windows/win.ini").read_text()
        with pytest.raises(OSError, match="Read-only"):
            (at / "new").write_bytes(b"")
        pruned = cache.prune()
        assert (pruned.layers, len(pruned.busy)) == ([], 2)
        assert "[app]" in (at / "Windows/win.ini").read_text()
    finally:
        run("unmount", at)
    # The server of the mount ends a moment after the mount has gone.
    removed: list[str] = []
    end = time.monotonic() + 60
    while len(removed) < 2 and time.monotonic() < end:
        removed += cache.prune().layers
    assert sorted(removed) == sorted(f"sha256:{path.name}" for path in made.layers)
    run("mount", archive, status=64)


def test_a_shell_in_an_image_is_in_a_folder_that_goes(place: Place, tmp_path: Path) -> None:
    said = text("shell", "app:1", "--", "sh", "-c", "pwd; ls; touch new || exit 7", status=7).splitlines()
    assert "Windows" in said
    assert not os.path.exists(said[0])


def test_a_scratch_keeps_its_image_when_the_name_goes(made: Place, cache: ImageStore, tmp_path: Path) -> None:
    run("load", "-i", made.names["archive by its path"])
    run("create", "--from", "app:1", tmp_path / "run")
    assert cache.untag("app:1")
    pruned = cache.prune()
    assert (pruned.layers, pruned.blobs) == ([], [])
    assert parsed("check", "--json", tmp_path / "run") == []
    (kept,) = cache.images()
    for text_ in ("sha256", "sha256:", kept.name[7:18], kept.name[:18]):
        run("rmi", text_, status=None)
        assert cache.images()
    # As `images` shows it.
    run("rmi", kept.name.removeprefix("sha256:")[:12])
    assert len(cache.prune().layers) == 2
    done = run("ls", tmp_path / "run", status=PathNotFoundError.exit_status)
    assert b"wclayer relink" in done.stderr
