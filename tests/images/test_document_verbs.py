"""The verbs `inspect`, `config` and `index`, on images in a store, in layouts and in archives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.images import samples
from tests.images.forms import write_layout
from tests.images.registry import FakeRegistry
from tests.images.registry.clients import skopeo
from tests.images.registry.debian import DebianRegistry
from tests.support import nothing_left_in, run
from wclayer.images.edit import CMD_WARNING, PATH_WARNING
from wclayer.images.location import open_source
from wclayer.images.pull import store_image
from wclayer.images.store import ImageStore


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an empty store and a layout `images`."""
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    images: dict[str, samples.Image | samples.Index] = {
        "core": samples.servercore(), "nano": samples.small("oci"), "classic": samples.classic(),
        "several": samples.several("oci"), "foreign": samples.with_foreign_layer(),
    }  # fmt: skip
    write_layout(tmp_path / "images", images)
    return tmp_path


def inspected(image: str, *options: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(run("inspect", image, "--json", *options).stdout)
    return record


def stored(*names: str) -> None:
    """Puts images of the layout into the store, unchanged."""
    for name in names:
        run("config", f"oci:images:{name}", "-t", f"{name}:1")


def test_inspect_shows_each_step_with_its_layer(folder: Path) -> None:
    image = samples.classic()
    record = inspected("oci:images:classic")
    assert record["digest"] == image.digest
    assert [step["layer"] for step in record["image"]["history"]] == [*range(7)]
    assert [step["digest"] for step in record["image"]["history"]] == [layer.digest for layer in image.layers]
    assert [layer["diff_id"] for layer in record["image"]["layers"]] == image.diff_ids
    assert [layer["chain_id"] for layer in record["image"]["layers"]] == image.chain_ids
    assert record["image"]["base"] == {"name": "", "digest": "", "version": "10.0.20348.5499", "layers": 2}
    assert record["image"]["config"] == image.record["config"]
    text = run("inspect", "oci:images:classic").stdout.decode()
    assert "layer 2     70.9 KiB  2026-08-09T02:33:18  Install update 10.0.20348.5499" in text
    assert "base      10.0.20348.5499, the lowest 2 layers" in text
    assert "10.0.20348 (Windows Server 2022)          yes      yes" in text
    assert "10.0.17763 (Windows Server 2019)          no       no" in text


def test_inspect_does_not_count_the_layers_of_the_base_as_those_of_the_image_it_was_built_on(folder: Path) -> None:
    run(
        "config", "oci:images:nano", "--annotation", "org.opencontainers.image.base.name=r.io/tools:1",
        "-t", "oci:images:built",
    )  # fmt: skip
    lines = run("inspect", "oci:images:built").stdout.decode().splitlines()
    assert "built on  r.io/tools:1" in lines
    assert "base      10.0.20348.5499, the lowest 1 layer" in lines


def test_inspect_lists_platforms_and_shows_one(folder: Path) -> None:
    record = inspected("oci:images:several")
    assert record["image"] is None
    assert [item["platform"] for item in record["platforms"]] == [
        {"architecture": "amd64", "os": "windows", "os.version": "10.0.26100.33296"},
        {"architecture": "amd64", "os": "windows", "os.version": "10.0.20348.5499"},
        {"architecture": "arm64", "os": "windows", "os.version": "10.0.26100.33296"},
    ]
    assert "several images fit" in run("inspect", "oci:images:several").stdout.decode()
    for spelling in ("windows/amd64:10.0.20348", "windows(10.0.20348+win32k)/amd64", "windows/amd64,osver=10.0.20348"):
        chosen = inspected("oci:images:several", "--platform", spelling)
        assert chosen["image"]["digest"] == samples.several("oci").images[1].digest
        assert chosen["image"]["platform"] == record["platforms"][1]["platform"]
    error = run("inspect", "oci:images:several", "--platform", "windows", status=5).stderr.decode()
    assert "windows/arm64:10.0.26100.33296" in error
    assert (
        "no image for linux/amd64"
        in run("inspect", "oci:images:several", "--platform", "linux/amd64", status=2).stderr.decode()
    )


def test_inspect_prints_the_bytes(folder: Path) -> None:
    several, image = samples.several("oci"), samples.several("oci").images[2]
    assert run("inspect", "--raw", "oci:images:several").stdout == several.manifest
    assert run("inspect", "--raw", "oci:images:several", "--platform", "arm64").stdout == image.manifest
    assert run("inspect", "--config", "oci:images:several", "--platform", "arm64").stdout == image.config
    run("inspect", "--config", "oci:images:several", status=5)
    run("inspect", "--config", "--raw", "oci:images:core", status=64)


def test_inspect_says_why_a_host_runs_an_image(folder: Path) -> None:
    record = inspected("oci:images:core", "--host", "10.0.26100.1", "--host", "10.0.17763", "--isolation", "process")
    assert [(answer["host"], answer["runs"]) for answer in record["runs_on"]] == [
        ("10.0.26100.1", True), ("10.0.17763", False)
    ]  # fmt: skip
    text = run("inspect", "oci:images:core", "--host", "10.0.17763", "--isolation", "hyperv").stdout.decode()
    assert "no   10.0.17763, hyperv: The image's release 10.0.20348 is newer than the host's, 10.0.17763." in text
    run("inspect", "oci:images:core", "--host", "2022", status=5)


def test_the_utility_vm_is_looked_for_in_a_layer_that_is_unpacked(folder: Path) -> None:
    write_layout(folder / "more", {"vm": samples.nanoserver(), "none": samples.servercore()})
    arguments = ("--host", "10.0.26100", "--isolation", "hyperv")
    assert "not looked for" in inspected("oci:more:vm", *arguments)["runs_on"][0]["warning"]
    for name, runs in (("vm", True), ("none", False)):
        with open_source(f"oci:more:{name}") as source:
            store_image(source, ImageStore(), f"{name}:1")
        for place in (f"{name}:1", f"oci:more:{name}"):
            answer = inspected(place, *arguments)["runs_on"][0]
            assert (answer["runs"], answer["warning"]) == (runs, "")


def test_a_name_alone_is_one_in_the_store(folder: Path) -> None:
    error = run("inspect", "core:1", status=2).stderr.decode()
    assert "no such image in the store" in error
    stored("core")
    assert inspected("core:1")["digest"] == samples.servercore().digest
    assert inspected("store:core:1")["digest"] == samples.servercore().digest


def test_the_path_of_a_layout_or_an_archive_is_an_image(folder: Path) -> None:
    write_layout(folder / "one", {"x": samples.servercore()})
    run("config", "one", "-t", "docker-archive:one.tar:x:1")
    run("config", str(folder / "one"), "-t", "oci-archive:two.tar:x")
    config = samples.servercore().config
    for path in ("one", "one.tar", "two.tar", str(folder / "one.tar")):
        assert run("inspect", "--config", path).stdout == config
    # A folder that is no image does not hide a name in the store.
    run("config", "oci:images:core", "-t", "core")
    (folder / "core").mkdir()
    assert inspected("core")["digest"] == samples.servercore().digest
    assert "no such image in the store" in run("inspect", "store", status=2).stderr.decode()


def test_config_changes_what_it_is_told_and_nothing_else(folder: Path) -> None:
    stored("core")
    done = run(
        "config", "core:1", "--env", "path=C:\\x", "--env", "A=<1>", "--label", "k=v",
        "--entrypoint", '["a.exe", "b c"]', "--user", "ContainerUser", "--workdir", "C:\\", "--expose", "80",
        "--volume", "C:\\d", "--shell", "cmd", "--shell", "/S", "--author", "me",
        "--set-platform", "windows/amd64:10.0.20348.6000", "-t", "core:2",
    )  # fmt: skip
    assert PATH_WARNING in done.stderr.decode()
    assert CMD_WARNING in done.stderr.decode()
    record = json.loads(run("inspect", "--config", "core:2").stdout)
    old = samples.servercore().record
    assert record == old | {
        "os.version": "10.0.20348.6000", "author": "me",
        "config": old["config"] | {
            "Env": ["path=C:\\x", "A=<1>"], "Labels": {"k": "v"}, "Entrypoint": ["a.exe", "b c"], "Cmd": None,
            "User": "ContainerUser", "WorkingDir": "C:\\", "ExposedPorts": {"80/tcp": {}}, "Volumes": {"C:\\d": {}},
            "Shell": ["cmd", "/S"],
        },
    }  # fmt: skip
    assert [*record] == [*old, "author"]
    assert inspected("core:2")["image"]["layers"] == inspected("core:1")["image"]["layers"]


def test_config_undone_is_the_same_image(folder: Path) -> None:
    stored("classic")
    run("config", "classic:1", "--env", "app_version=2", "--env", "NEW=1", "--user", "x", "-t", "classic:2")
    done = run(
        "config",
        "classic:2",
        "--env",
        "APP_VERSION=1.2",
        "--unset-env",
        "new",
        "--user",
        "",
        "--json",
        "-t",
        "classic:3",
    )
    assert json.loads(done.stdout)["digest"] == samples.classic().digest
    assert inspected("classic:3") == inspected("classic:1") | {"name": "classic:3"}


def test_config_writes_where_it_is_told(folder: Path) -> None:
    run("config", "oci:images:several", "--platform", "arm64", "--cmd", "a.exe", "--cmd", "b", "-t", "oci:made:x")
    assert json.loads(run("inspect", "--config", "oci:made:x").stdout)["config"]["Cmd"] == ["a.exe", "b"]
    run("config", "oci:made:x", "--cmd", "[]", "--annotation", "a=b", "-t", "oci-archive:made.tar:y")
    record = inspected("oci-archive:made.tar:y")
    assert "Cmd" not in record["image"]["config"]
    assert record["image"]["annotations"] == {"a": "b"}
    run("config", "oci-archive:made.tar:y", "--unset-annotation", "a", "-t", "docker-archive:docker.tar:y:1")
    assert inspected("docker-archive:docker.tar:y:1")["image"]["config"]["User"] == "ContainerUser"


def test_config_leaves_a_foreign_layer_that_the_store_lacks(folder: Path) -> None:
    stored("foreign")
    base = samples.with_foreign_layer().layers[0]
    (folder / "store" / "blobs" / "sha256" / base.digest.removeprefix("sha256:")).unlink()
    run("config", "foreign:1", "--user", "x", "-t", "foreign:2")
    assert inspected("foreign:2")["image"]["layers"][0]["urls"] == list(base.urls)


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        (["--env", "A"], 64, "has no '='"),
        (["--env", "A=1", "--env", "A=2"], 64, "names 'A' twice"),
        (["--env", "A=1", "--env", "a=2"], 5, "named twice"),
        (["--env", "A=1", "--unset-env", "a"], 5, "named twice"),
        (["--cmd", "[1]"], 64, "not a JSON list of strings"),
        (["--cmd", "[" * 100000], 64, "not a JSON list of strings"),
        (["--expose", "http"], 5, "is not a port"),
        (["--created", "now"], 5, "is not a time"),
        (["--set-platform", "windows/amd64:11"], 5, "not a version of Windows"),
        (["--platform", "windows/amd64", "-t", "Big"], 5, "in lower case"),
    ],
)
def test_config_refuses_what_is_not_possible(folder: Path, options: list[str], status: int, reason: str) -> None:
    stored("core")
    with nothing_left_in(folder / "store" / "blobs" / "sha256"):
        done = run("config", "core:1", "-t", "core:2", *options, status=status)
    assert reason in done.stderr.decode()
    run("inspect", "core:2", status=2)


def test_an_index_is_made_listed_and_extended(folder: Path) -> None:
    stored("core", "nano", "foreign")
    run("index", "create", "core:1", "foreign:1", "-t", "app:1")
    listed = json.loads(run("index", "list", "app:1", "--json").stdout)
    assert [item["platform"]["os.version"] for item in listed] == ["10.0.20348.5499", "10.0.17763.4377"]
    assert inspected("app:1")["media_type"] == samples.INDEX["docker"]
    assert "--replace" in run("index", "append", "app:1", "oci:images:nano", status=5).stderr.decode()
    run("index", "append", "app:1", "oci:images:nano", "--replace", "-t", "app:2")
    text = run("index", "list", "app:2").stdout.decode()
    assert text.splitlines() == [
        f"  windows/amd64:10.0.17763.4377  {samples.with_foreign_layer().digest}",
        f"  windows/amd64:10.0.20348.5499  {samples.small('oci').digest}",
    ]
    assert len(json.loads(run("index", "list", "app:1", "--json").stdout)) == 2
    run("index", "append", "app:1", "oci:images:several", "--replace")
    assert len(json.loads(run("index", "list", "app:1", "--json").stdout)) == 4
    run("tag", "app:1", "localhost:5000/set:1")
    run("index", "append", "set:1", "core:1", "--replace")
    assert "set:1" not in [image["name"] for image in json.loads(run("images", "--json").stdout)]
    assert json.loads(run("index", "list", "set:1", "--json").stdout)[-1]["digest"] == samples.servercore().digest
    assert "one image, not an index" in run("index", "list", "core:1", status=10).stderr.decode()
    run("index", "create", "core:1", "--oci", "--docker", "-t", "x", status=64)
    run("index", "create", "core:1", "--oci", "-t", "oci-archive:x.tar:1")
    assert inspected("oci-archive:x.tar:1")["media_type"] == samples.INDEX["oci"]
    refused = run("index", "append", "oci-archive:x.tar", "core:1", "--replace", status=64)
    assert "name the result" in refused.stderr.decode()


def test_skopeo_reads_what_was_made(folder: Path) -> None:
    run("config", "oci:images:nano", "--env", "A=<&>", "--label", "k=ä", "-t", "oci:made:nano")
    raw = skopeo("inspect", "--raw", "oci:made:nano").stdout
    assert raw.encode() == run("inspect", "--raw", "oci:made:nano").stdout
    config = json.loads(skopeo("inspect", "--config", "--raw", "oci:made:nano").stdout)
    assert config == json.loads(run("inspect", "--config", "oci:made:nano").stdout)
    shown = json.loads(skopeo("inspect", "--config", "oci:made:nano").stdout)
    assert shown["config"]["Env"] == ["A=<&>"]
    assert shown["config"]["Labels"] == {"k": "ä"}
    skopeo("copy", "oci:made:nano", "oci:copied:nano")
    assert inspected("oci:copied:nano")["digest"] == inspected("oci:made:nano")["digest"]
    run("index", "create", "oci:made:nano", "oci:images:foreign", "--oci", "-t", "oci:made:both")
    listed = json.loads(skopeo("inspect", "--raw", "oci:made:both").stdout)["manifests"]
    assert [item["platform"]["os.version"] for item in listed] == ["10.0.20348.5499", "10.0.17763.4377"]


def test_an_image_in_a_registry_is_inspected_and_changed_there(
    folder: Path, debian_registry: DebianRegistry, repository: str
) -> None:
    name = f"{debian_registry.host}/{repository}"
    for image in ("classic", "nano"):
        run("copy", f"oci:images:{image}", f"{name}:{image}")
    record = inspected(f"docker://{name}:classic")
    assert (record["name"], record["digest"]) == (f"{name}:classic", samples.classic().digest)
    run("config", f"docker://{name}:classic", "--env", "app_version=2", "-t", f"docker://{name}:edited")
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}:edited").stdout
    assert raw.encode() == run("inspect", "--raw", f"docker://{name}:edited").stdout
    config = skopeo("inspect", "--config", "--raw", "--tls-verify=false", f"docker://{name}:edited").stdout
    assert json.loads(config)["config"]["Env"] == ["app_version=2"]
    assert json.loads(config)["config"]["Shell"] == samples.classic().record["config"]["Shell"]
    made = [f"docker://{name}:{image}" for image in ("edited", "nano")]
    assert "an index lists one image" in run("index", "create", *made, "-t", "x:1", status=5).stderr.decode()
    newer = ("--set-platform", "windows/amd64:10.0.26100.1")
    run("config", f"docker://{name}:nano", *newer, "-t", f"docker://{name}:newer")
    run("index", "create", made[0], f"docker://{name}:newer", "-t", f"docker://{name}:both")
    listed = json.loads(run("index", "list", f"docker://{name}:both", "--json").stdout)
    shown = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}:both").stdout)
    assert [item["digest"] for item in listed] == [item["digest"] for item in shown["manifests"]]
    assert [item["platform"]["os.version"] for item in shown["manifests"]] == ["10.0.20348.5499", "10.0.26100.1"]
    chosen = inspected(f"docker://{name}:both", "--platform", "windows/amd64:10.0.20348")
    assert chosen["image"]["digest"] == inspected(f"docker://{name}:edited")["digest"]


def test_the_layers_of_a_changed_image_are_mounted(folder: Path, fake: FakeRegistry) -> None:
    run("copy", "oci:images:classic", f"{fake.host}/one:1")
    layers = samples.classic().layers
    fake.forget()
    run("config", f"docker://{fake.host}/one:1", "--user", "x", "-t", f"docker://{fake.host}/two:1")
    run("index", "create", f"docker://{fake.host}/one:1", "-t", f"docker://{fake.host}/three:1")
    assert [fake.sent(layer.digest) for layer in layers] == [0] * len(layers)
    assert fake.received() < 10_000
