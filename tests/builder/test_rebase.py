"""`wclayer rebase`: the own layers of an image on a new base, and what they would hide of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builder.chains import hive
from tests.images import samples, stores
from tests.support import info, layer_tar, parsed, put_directories, put_file, run, text
from wclayer.errors import InvalidParameterError, InvalidStateError, NotSupportedError
from wclayer.images.store import ImageStore
from wclayer.layers.hives import CONFIG, LAYER_HIVES
from wclayer.model import Entry, LayerWriter

OLD, NEW = "10.0.20348.4294", "10.0.20348.5499"


def _base(version: str, files: dict[str, bytes], *keys: str, kind: Any = "oci", env: list[str]) -> samples.Image:
    """A base image of one layer."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32", CONFIG, "Files/App", "Files/Old")
        for layer_hive in LAYER_HIVES:
            put_file(writer, layer_hive.config, hive(*keys) if layer_hive.stem == "Software" else hive())
        for name, data in files.items():
            put_file(writer, f"Files/{name}", data)

    container = {"User": "", "Env": env, "Cmd": [f"{version}.exe"], "Labels": {"base": version, "z": "1"}}
    history = [samples.step(f"Apply image {version}")]
    layers = [samples.layer(layer_tar(build), kind)]
    return samples.image(kind, layers, history, container, os_version=version)


FIRST = {"App/a.dll": b"1", "App/same.dll": b"1", "App/gone.dll": b"1", "Windows/notepad.exe": b"1"}
SECOND = {"App/a.dll": b"2", "App/same.dll": b"2", "Windows/notepad.exe": b"2", "App/new.dll": b"2"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    """A store with two bases, and an image app:1 on the old one."""
    made = ImageStore(tmp_path / "store")
    old = _base(OLD, FIRST, "App", "Old", env=["BASE=1", "Path=C:\\Windows"])
    new = _base(NEW, SECOND, "App", "New", env=["BASE=2", "FRESH=1", "Path=C:\\Windows"])
    for name, image in (("base:old", old), ("base:new", new)):
        stores.fill(made, name, image)
        stores.unpack(made, image)
    monkeypatch.setenv("WCLAYER_STORE", str(made.path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    Path("own.txt").write_bytes(b"own")
    run("create", "--from", "base:old", "run")
    run("mkdir", "run", "C:\\tool")
    run("cp", "own.txt", "run:C:\\tool")
    run("reg", "set", "run", "HKLM\\SOFTWARE\\Tool", "Version", "-t", "REG_SZ", "1")
    run("commit", "run", "-t", "app:1", "--env", "MODE=own", "--label", "own=1", "--workdir", "C:\\tool")
    return made


def _documents(store: ImageStore, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    manifest = json.loads(store.read_blob(store.find(name)))
    return manifest, json.loads(store.blob_path(manifest["config"]["digest"]).read_bytes())


def test_the_own_layers_get_a_new_base(store: ImageStore) -> None:
    told = text("rebase", "app:1", "--onto", "base:new", "-t", "app:2")
    assert told.startswith(f"rebased 1 layer of app:1 as app:2 for Windows {NEW}, conflicts: 0\n")
    before, config_before = _documents(store, "app:1")
    after, config = _documents(store, "app:2")
    base, config_of_base = _documents(store, "base:new")
    assert after["layers"] == [*base["layers"], before["layers"][-1]]
    assert config["os.version"] == NEW
    assert config["history"] == [*config_of_base["history"], config_before["history"][-1]]
    assert config["rootfs"]["diff_ids"] == [
        *config_of_base["rootfs"]["diff_ids"], config_before["rootfs"]["diff_ids"][-1]
    ]  # fmt: skip
    # What came from the old base is that of the new one now; what the image set itself stays.
    assert config["config"]["Env"] == ["BASE=2", "FRESH=1", "Path=C:\\Windows", "MODE=own"]
    assert config["config"]["Cmd"] == [f"{NEW}.exe"]
    assert config["config"]["Labels"] == {"base": NEW, "z": "1", "own": "1"}
    assert config["config"]["WorkingDir"] == "C:\\tool"
    assert config["created"] == config_before["created"]
    assert after["annotations"] == {
        "org.opencontainers.image.base.name": "docker.io/library/base:new",
        "org.opencontainers.image.base.digest": store.find("base:new").digest,
    }
    assert text("cat", "app:2", "C:\\tool\\own.txt") == "own"
    assert text("cat", "app:2", "C:\\Windows\\notepad.exe") == "2"
    assert text("reg", "get", "app:2", "HKLM\\SOFTWARE\\New", "Version") == "1\n"
    assert text("reg", "get", "app:2", "HKLM\\SOFTWARE\\Tool", "Version") == "1\n"
    assert list(store.check()) == []


def test_the_same_base_gives_the_same_image(store: ImageStore) -> None:
    digest = store.find("app:1").digest
    for options in ([], ["--no-report"], ["--old-base", "base:old"]):
        assert text("rebase", "-q", "app:1", "--onto", "base:old", *options).strip() == digest


def test_to_the_new_base_and_back_gives_the_first_image(store: ImageStore) -> None:
    run("rebase", "app:1", "--onto", "base:new", "-t", "app:2")
    run("rebase", "app:2", "--onto", "base:old", "-t", "app:3")
    assert store.find("app:3").digest == store.find("app:1").digest


def test_a_base_that_only_the_history_tells(store: ImageStore) -> None:
    """Its settings are not known, so the image keeps its own; its layers are still the right ones."""
    old = store.find("base:old").digest
    run("config", "app:1", "--unset-annotation", "org.opencontainers.image.base.digest", "-t", "bare:1",
        "--unset-annotation", "org.opencontainers.image.base.name")  # fmt: skip
    done = run("rebase", "bare:1", "--onto", "base:new", "-t", "bare:2")
    assert b"all settings of the image stay" in done.stderr
    manifest, config = _documents(store, "bare:2")
    assert "annotations" not in manifest or not manifest["annotations"]
    assert config["os.version"] == NEW
    assert config["config"]["Env"][0] == "BASE=1"
    run("rebase", "bare:2", "--onto", "base:old", "-t", "bare:3")
    assert store.find("bare:3").digest == store.find("bare:1").digest
    told: Any = parsed("rebase", "bare:1", "--old-base", "base:old", "--onto", "base:new", "--json", "--dry-run")
    assert told["old_base"] == old


def test_conflicts_are_told_and_refused(store: ImageStore, tmp_path: Path) -> None:
    run("create", "--from", "app:1", "more")
    Path("a.dll").write_bytes(b"own")
    run("cp", "a.dll", "more:C:\\App\\a.dll")
    Path("new.dll").write_bytes(b"own")
    run("cp", "new.dll", "more:C:\\App\\new.dll")
    Path("both.dll").write_bytes(b"2")
    run("cp", "both.dll", "more:C:\\App\\same.dll")
    run("rm", "more", "C:\\Windows\\notepad.exe")
    run("rm", "more", "C:\\App\\gone.dll")
    run("reg", "set", "more", "HKLM\\SOFTWARE\\New", "Version", "-t", "REG_SZ", "own")
    run("reg", "set", "more", "HKLM\\SOFTWARE\\Old", "more", "-t", "REG_SZ", "own")
    run("reg", "set", "more", "HKLM\\SOFTWARE\\App", "more", "-t", "REG_SZ", "own")
    run("commit", "more", "-t", "app:2")
    options = ["app:2", "--old-base", "base:old", "--onto", "base:new"]
    told: Any = parsed("rebase", *options, "--dry-run", "--json", "--report", tmp_path / "report.json")
    assert told == json.loads((tmp_path / "report.json").read_text())
    found = {
        (item["kind"], item["path"], item.get("value")): (item["image"], item["base"]) for item in told["conflicts"]
    }
    software = "HKEY_LOCAL_MACHINE\\SOFTWARE"
    assert found == {
        ("file", "Files/App/a.dll", None): ("changed", "changed"),
        ("file", "Files/App/new.dll", None): ("added", "added"),
        ("file", "Files/Windows/notepad.exe", None): ("removed", "changed"),
        ("key", f"{software}\\New", None): ("added", "added"),
        ("value", f"{software}\\New", "Version"): ("added", "added"),
        ("key", f"{software}\\Old", None): ("changed", "removed"),
    }
    before = {image.name for image in store.images()}
    done = run("rebase", *options, "-t", "app:3", status=InvalidStateError.exit_status)
    assert b"would hide 6 changes of the new base" in done.stderr
    assert b"conflict: file Files/App/a.dll: changed by the image, changed by the base (content)" in done.stdout
    assert {image.name for image in store.images()} == before
    run("rebase", *options, "-t", "app:3", "--force")
    assert text("cat", "app:3", "C:\\App\\a.dll") == "own"
    run("rebase", *options, "-t", "app:4", "--no-report")
    assert store.find("app:3").digest == store.find("app:4").digest


def test_a_copy_of_an_old_file_is_a_conflict(store: ImageStore) -> None:
    """A step that only touched a file would bring back the file that the new base has repaired."""
    run("create", "--from", "app:1", "more")
    run("attrib", "more", "C:\\App\\a.dll", "+H")
    run("attrib", "more", "C:\\App\\a.dll", "-H")
    run("commit", "more", "-t", "app:2")
    told: Any = parsed("rebase", "app:2", "--old-base", "base:old", "--onto", "base:new", "--dry-run", "--json")
    assert [(item["path"], item["image"], item["base"]) for item in told["conflicts"]] == [
        ("Files/App/a.dll", "same", "changed")
    ]


@pytest.mark.parametrize("looks", [[], ["--no-report"]])
def test_servicing_state_is_refused(looks: list[str], store: ImageStore) -> None:
    run("create", "--from", "app:1", "more")
    run("mkdir", "more", "C:\\Windows\\servicing", "C:\\Windows\\servicing\\Packages")
    cbs = "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Component Based Servicing\\Packages\\KB1"
    run("reg", "set", "more", cbs, "CurrentState", "-t", "REG_DWORD", "112")
    run("commit", "more", "-t", "app:2")
    options = ["app:2", "--old-base", "base:old", "--onto", "base:new", *looks]
    done = run("rebase", *options, "-t", "app:3", status=NotSupportedError.exit_status)
    assert b"Files/Windows/servicing/Packages" in done.stderr
    assert b"Component Based Servicing" in done.stderr
    run("rebase", *options, "-t", "app:3", "--force")
    assert _documents(store, "app:3")[1]["os.version"] == NEW


def test_links_to_files_that_the_new_base_does_not_have_are_refused(store: ImageStore) -> None:
    """Also with --force: the layers could not be unpacked over it."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/App")
        for name in ("a.dll", "gone.dll"):
            writer.put(Entry(f"Files/App/link to {name}", info(), link_target=f"Files/App/{name}"))

    base = _base(OLD, FIRST, "App", "Old", env=["BASE=1", "Path=C:\\Windows"])
    layers = [*base.layers, samples.layer(layer_tar(build), "oci")]
    history = [*base.record["history"], samples.step("links")]
    stores.fill(store, "links:1", samples.image("oci", layers, history, base.record["config"], os_version=OLD))
    assert text("cat", "links:1", "C:\\App\\link to gone.dll") == "1"
    options = ["links:1", "--old-base", "base:old", "--onto", "base:new"]
    told: Any = parsed("rebase", *options, "--dry-run", "--json")
    assert told["lost_links"] == ["Files/App/link to gone.dll"]
    for more in ([], ["--force"]):
        done = run("rebase", *options, *more, "-t", "links:2", status=NotSupportedError.exit_status)
        assert b"hard links to files that the new base does not have (Files/App/link to gone.dll)" in done.stderr
    assert b"lost link: Files/App/link to gone.dll" in done.stdout
    assert "links:2" not in {image.name for image in store.images()}


def _with_layers(store: ImageStore, name: str, version: str, *builds: Callable[[LayerWriter], None]) -> None:
    """Puts an image into the store: a base, and layers on it."""
    base = _base(version, FIRST, "App", "Old", env=["BASE=1", "Path=C:\\Windows"])
    layers = [*base.layers, *(samples.layer(layer_tar(build), "oci") for build in builds)]
    history = [*base.record["history"], *(samples.step(f"layer {number}") for number, _ in enumerate(builds))]
    stores.fill(store, name, samples.image("oci", layers, history, base.record["config"], os_version=version))


def _link_to_gone(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "Files/App")
    writer.put(Entry("Files/App/link", info(), link_target="Files/App/gone.dll"))


def _delete_gone(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "Files/App")
    writer.put(Entry("Files/App/gone.dll", None))


def _delete_app(writer: LayerWriter) -> None:
    put_directories(writer, "Files")
    writer.put(Entry("Files/App", None))


def _make_gone_a_directory(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "Files/App")
    writer.put(Entry("Files/App/gone.dll", None))
    put_directories(writer, "Files/App/gone.dll")


@pytest.mark.parametrize("change", [_delete_gone, _delete_app, _make_gone_a_directory])
def test_a_link_to_a_file_that_a_layer_of_the_new_base_deletes_is_refused(
    change: Callable[[LayerWriter], None], store: ImageStore
) -> None:
    """A lower layer of the new base still has the file, and the link would bring it back, or could not be made."""
    _with_layers(store, "links:1", OLD, _link_to_gone)
    _with_layers(store, "base:changed", NEW, change)
    options = ["links:1", "--old-base", "base:old", "--onto", "base:changed"]
    told: Any = parsed("rebase", *options, "--dry-run", "--json")
    assert told["lost_links"] == ["Files/App/link"]
    run("rebase", *options, "--force", "-t", "links:2", status=NotSupportedError.exit_status)


def test_a_link_shows_the_file_of_the_new_base(store: ImageStore) -> None:
    """So it hides nothing of it where that file is what the new base has in the place of the link."""

    def link(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/App")
        writer.put(Entry("Files/App/a.dll", info(), link_target="Files/Windows/notepad.exe"))

    def link_again(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/App")
        writer.put(Entry("Files/App/link", info(), link_target="Files/App/a.dll"))
        writer.put(Entry("Files/App/new.dll", info(), link_target="Files/App/link"))

    def link_own(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/App", "Files/Windows")
        put_file(writer, "Files/App/own.dll", b"1")
        writer.put(Entry("Files/Windows/notepad.exe", info(), link_target="Files/App/own.dll"))

    _with_layers(store, "links:1", OLD, link, link_again)
    options = ["--old-base", "base:old", "--onto", "base:new"]
    told: Any = parsed("rebase", "links:1", *options, "--dry-run", "--json")
    assert told["conflicts"] == []
    run("rebase", "links:1", *options, "-t", "links:2")
    assert [text("cat", "links:2", f"C:\\App\\{name}") for name in ("a.dll", "link", "new.dll")] == ["2", "2", "2"]
    _with_layers(store, "own:1", OLD, link_own)
    told = parsed("rebase", "own:1", *options, "--dry-run", "--json")
    assert [(item["path"], item["image"], item["base"]) for item in told["conflicts"]] == [
        ("Files/Windows/notepad.exe", "same", "changed")
    ]


def test_a_link_to_a_file_that_its_own_layer_renames_is_kept(store: ImageStore) -> None:
    def rename(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/App")
        writer.put(Entry("Files/App/gone.dll", None))
        writer.put(Entry("Files/App/kept.dll", info(), link_target="Files/App/gone.dll"))

    def link_again(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/App")
        writer.put(Entry("Files/App/kept too.dll", info(), link_target="Files/App/kept.dll"))

    _with_layers(store, "links:1", OLD, rename, link_again)
    _with_layers(store, "base:more", NEW, lambda writer: put_directories(writer, "Files", "Files/More"))
    run("rebase", "links:1", "--old-base", "base:old", "--onto", "base:more", "-t", "links:2")
    assert text("cat", "links:2", "C:\\App\\kept too.dll") == "1"


@pytest.mark.parametrize("before", ["nothing", "a file", "a directory"])
def test_what_a_directory_made_anew_hides_is_told_although_the_new_base_has_made_the_same_directory(
    before: str, store: ImageStore
) -> None:
    def old(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        if before == "a file":
            put_file(writer, "Files/Tool", b"old")
        elif before == "a directory":
            put_directories(writer, "Files/Tool", "Files/Tool/same")

    def first(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        if before == "a directory":
            put_directories(writer, "Files/Tool")
            writer.put(Entry("Files/Tool/same", None))
            put_directories(writer, "Files/Tool/same")
        else:
            put_file(writer, "Files/Tool", b"own")

    def anew(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        writer.put(Entry("Files/Tool", None))
        put_directories(writer, "Files/Tool", "Files/Tool/same", "Files/Tool/same/own")
        put_file(writer, "Files/Tool/same/both", b"2")

    def new(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        if before == "a file":
            writer.put(Entry("Files/Tool", None))
        put_directories(writer, "Files/Tool", "Files/Tool/more", "Files/Tool/same")
        put_file(writer, "Files/Tool/more/b.dll", b"2")
        put_file(writer, "Files/Tool/same/a.dll", b"2")
        put_file(writer, "Files/Tool/same/both", b"2")

    _with_layers(store, "tool:old", OLD, old)
    _with_layers(store, "tool:1", OLD, old, first, anew)
    _with_layers(store, "tool:new", NEW, old, new)
    options = ["tool:1", "--old-base", "tool:old", "--onto", "tool:new"]
    told: Any = parsed("rebase", *options, "--dry-run", "--json")
    assert sorted((item["path"], item["image"], item["base"]) for item in told["conflicts"]) == [
        (f"Files/Tool/{name}", "removed", "added") for name in ("more", "more/b.dll", "same/a.dll")
    ]
    run("rebase", *options, "--force", "-t", "tool:2")
    assert text("ls", "-R", "tool:2", "C:\\Tool").split() == text("ls", "-R", "tool:1", "C:\\Tool").split()


def test_the_features_of_windows_are_those_of_the_new_base(store: ImageStore) -> None:
    image = _base("10.0.20348.6000", SECOND, "App", "New", env=[])
    other = samples.image(
        "oci", image.layers, image.record["history"], {}, os_version="10.0.20348.6000",
        extra={"os.features": ["win32k"]},
    )  # fmt: skip
    stores.fill(store, "base:features", other)
    run("rebase", "app:1", "--old-base", "base:old", "--onto", "base:features", "--no-report", "-t", "app:2")
    config = _documents(store, "app:2")[1]
    assert (config["os.version"], config["os.features"]) == ("10.0.20348.6000", ["win32k"])
    run("rebase", "app:2", "--old-base", "base:features", "--onto", "base:new", "--no-report", "-t", "app:3")
    config = _documents(store, "app:3")[1]
    assert config["os.version"] == NEW
    assert "os.features" not in config


def test_what_does_not_fit_is_refused(store: ImageStore) -> None:
    stores.fill(store, "arm:1", samples.small("oci", os_version=NEW, architecture="arm64"))
    stores.fill(store, "other:1", samples.small("oci", os_version=NEW))
    run("rebase", "app:1", "--onto", "arm:1", status=InvalidParameterError.exit_status)
    done = run(
        "rebase", "app:1", "--old-base", "other:1", "--onto", "base:new", status=InvalidParameterError.exit_status
    )
    assert b"is not made on that base" in done.stderr
    run(
        "rebase",
        "app:1",
        "--onto",
        "base:new",
        "--no-report",
        "--report",
        "x",
        status=InvalidParameterError.exit_status,
    )
    run("rebase", "app:1", "--onto", "nothing:1", status=2)
    stores.fill(store, "plain:1", samples.image("oci", [samples.layer(samples.small_base_tar(), "oci")], [], {}))
    done = run("rebase", "plain:1", "--onto", "base:new", status=InvalidParameterError.exit_status)
    assert b"--old-base" in done.stderr


def test_an_image_of_docker_on_a_base_of_oci(store: ImageStore) -> None:
    old = _base(OLD, FIRST, "App", "Old", kind="docker", env=[])
    stores.fill(store, "docker:old", old)
    stores.fill(store, "docker:1", samples.small_child("docker", old))
    run("rebase", "docker:1", "--onto", "base:new", "--no-report", "-t", "docker:2")
    manifest, config = _documents(store, "docker:2")
    assert [layer["mediaType"] for layer in manifest["layers"]] == [samples.LAYER["docker"]] * 2
    assert manifest["mediaType"] == samples.MANIFEST["docker"]
    assert config["os.version"] == NEW


def test_other_programs_accept_the_image(store: ImageStore, tmp_path: Path) -> None:
    run("rebase", "app:1", "--onto", "base:new", "-t", f"oci:{tmp_path / 'layout'}:1")
    source = f"oci:{tmp_path / 'layout'}:1"
    command = ["skopeo", "--override-os", "windows", "inspect", "--config", source]
    config = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert config["os.version"] == NEW
    subprocess.run(
        ["skopeo", "--override-os", "windows", "copy", source, "dir:copied"], check=True, capture_output=True
    )


def test_one_image_for_several_releases(store: ImageStore) -> None:
    other = _base("10.0.26100.33296", SECOND, "App", "New", env=[])
    stores.fill(store, "win:ltsc2025", other)
    stores.unpack(store, other)
    stores.fill(store, "win:ltsc2022", _base(NEW, SECOND, "App", "New", env=[]))
    run("rebase", "app:1", "--onto", "win:ltsc2022", "--for", "ltsc2022,ltsc2025", "-t", "app:all")
    listed: Any = parsed("index", "list", "app:all", "--json")
    assert NEW in json.dumps(listed)
    assert "10.0.26100.33296" in json.dumps(listed)
