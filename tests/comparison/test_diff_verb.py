"""`wclayer diff` of images: what it prints of images that a build has made, and of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import wclayer
from tests.builder.chains import import_layer
from tests.builder.images import BASE, store_with_base
from tests.images import samples, stores
from tests.support import layer_tar, parsed, put_directories, put_file, run, text

_DOCKERFILE = r"""# escape=`
FROM base:1
COPY new.txt C:\app\
RUN reg add HKLM\SOFTWARE\Acme /v Port /t REG_DWORD /d 80
RUN del C:\Users\Public\gone.txt
ENV MODE=fast
LABEL team=blue
USER ContainerAdministrator
CMD ["C:\\app\\new.exe"]
"""


def _base() -> samples.Image:
    files = {"Files/Users/Public/gone.txt": b"gone", "Files/kept.txt": b"kept"}
    layers = [samples.layer(samples.small_base_tar()), samples.layer(samples.small_tar(files))]
    container = {"User": "ContainerUser", "Env": ["MODE=slow"], "Cmd": ["cmd"]}
    return samples.image("docker", layers, [samples.step("Apply image 10.0.20348.1"), samples.step("COPY")], container)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> wclayer.ImageStore:
    """A store with the image base:1."""
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    return store_with_base(tmp_path / "store", _base())[0]


@pytest.fixture
def built(store: wclayer.ImageStore, tmp_path: Path) -> wclayer.ImageStore:
    """The same with app:1, built over it."""
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Dockerfile").write_text(_DOCKERFILE)
    (tmp_path / "context/new.txt").write_bytes(b"12345")
    run("build", "-t", "app:1", tmp_path / "context")
    return store


@pytest.mark.usefixtures("built")
def test_all_that_a_build_has_changed_is_told() -> None:
    lines = text("diff", "--no-times", BASE, "app:1", status=1).splitlines()
    layers = [line for line in lines if line[2:].startswith("layer ")]
    assert [line.split(":")[0] for line in layers] == ["= layer 1", "= layer 2", "+ layer 3", "+ layer 4", "+ layer 5"]
    assert [line for line in lines if line not in layers and "org.opencontainers" not in line] == [
        "~ config User: ContainerUser -> ContainerAdministrator",
        "~ config Env MODE: slow -> fast",
        '~ config Cmd: ["cmd"] -> ["C:\\\\app\\\\new.exe"]',
        "+ config Labels team: blue",
        "+ history 3: COPY new.txt C:\\app\\",
        r"+ history 4: RUN cmd /S /C reg add HKLM\SOFTWARE\Acme /v Port /t REG_DWORD /d 80",
        r"+ history 5: RUN cmd /S /C del C:\Users\Public\gone.txt",
        "+ history 6: ENV MODE=fast",
        "+ history 7: LABEL team=blue",
        "+ history 8: USER ContainerAdministrator",
        r'+ history 9: CMD ["C:\\app\\new.exe"]',
        "+ Files/app/",
        "+ Files/app/new.txt  5 B",
        "- Files/Users/Public/gone.txt  4 B",
        "+ Hives/Software_Delta  8.0 KiB",
        r"+ HKEY_LOCAL_MACHINE\SOFTWARE\Acme",
        r"+ HKEY_LOCAL_MACHINE\SOFTWARE\Acme : Port = REG_DWORD 0x50",
    ]


@pytest.mark.usefixtures("built")
def test_the_summary_is_a_screenful_with_the_important_changes_first() -> None:
    lines = text("diff", "--no-times", "--summary", BASE, "app:1", status=1).splitlines()
    assert [line for line in lines if "org.opencontainers" not in line and not line.startswith("layers")] == [
        "base:1 -> app:1",
        "config    ~ User: ContainerUser -> ContainerAdministrator",
        "          ~ Env MODE: slow -> fast",
        r'          ~ Cmd: ["cmd"] -> ["C:\\app\\new.exe"]',
        "          + Labels team: blue",
        "history   2 common, then 7 added",
        "files     3 added, 1 removed; 8.0 KiB added, 4 B removed",
        "            Files/app: 2 added",
        "            Files/Users: 1 removed",
        "            Hives/Software_Delta: 1 added",
        "registry  2 added",
        r"            HKEY_LOCAL_MACHINE\SOFTWARE\Acme: 2 added",
    ]


@pytest.mark.usefixtures("built")
def test_json_is_complete_and_the_summary_counts_it() -> None:
    found = parsed("diff", BASE, "app:1", status=1)
    counts = parsed("diff", "--summary", BASE, "app:1", status=1)
    assert isinstance(found, dict)
    assert isinstance(counts, dict)
    assert (found["a"], found["b"]) == (BASE, "app:1")
    documents = found["documents"]
    assert {"change": "added", "part": "config", "field": "Labels", "key": "team", "old": None, "new": "blue"} in (
        documents["fields"]
    )
    assert [layer["change"] for layer in documents["layers"]] == ["shared"] * 2 + ["added"] * 3
    assert documents["layers"][0]["old"] == documents["layers"][0]["new"]
    assert documents["history"]["common"] == 2
    assert counts["documents"]["history"] == {"added": len(documents["history"]["changes"])}
    assert sum(counts["files"].values()) == len(found["files"])
    assert sum(counts["registry"].values()) == len(found["registry"])
    assert sum(sum(each.values()) for each in counts["directories"].values()) == len(found["files"])
    (new,) = [each for each in found["files"] if each["path"] == "Files/app/new.txt"]
    assert new == {"change": "added", "path": "Files/app/new.txt", "directory": False, "size": 5, "fields": {}}


@pytest.mark.usefixtures("built")
def test_the_page_is_one_file_or_the_standard_output(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert text("diff", "--html", page, BASE, "app:1", status=1).startswith(f"{page}: ")
    written = page.read_text("utf-8")
    assert "Files/app/new.txt" in written
    done = run("diff", "--html", "-", "--json", BASE, "app:1", status=1)
    assert done.stdout.decode() == written
    assert json.loads(done.stderr)["b"] == "app:1"
    assert "Nothing differs." in run("diff", "--html", "-", BASE, BASE).stdout.decode()
    run("diff", "--html", tmp_path / "missing/page.html", BASE, "app:1", status=wclayer.PathNotFoundError.exit_status)


@pytest.mark.usefixtures("store")
def test_nothing_differs_between_an_image_and_itself() -> None:
    assert text("diff", BASE, BASE) == ""
    assert text("diff", "--summary", BASE, BASE) == "base:1 -> base:1\nno difference\n"
    found = parsed("diff", BASE, BASE)
    assert isinstance(found, dict)
    assert (found["files"], found["registry"], found["documents"]["fields"]) == ([], [], [])


def test_images_of_different_platforms(store: wclayer.ImageStore) -> None:
    base = _base()
    other = samples.image(
        "docker", base.layers, base.record["history"], base.record["config"], os_version="10.0.26100.2"
    )
    stores.fill(store, "other:1", other)
    assert text("diff", BASE, "other:1", status=1) == "~ platform os.version: 10.0.20348.5499 -> 10.0.26100.2\n"


def test_an_image_in_other_blobs_has_the_same_files(store: wclayer.ImageStore) -> None:
    base = _base()
    layers = [samples.layer(base.layers[0].tar), samples.plain_layer(base.layers[1].tar)]
    stores.fill(store, "plain:1", samples.image("docker", layers, base.record["history"], base.record["config"]))
    lines = text("diff", BASE, "plain:1", status=1).splitlines()
    assert [line.split(":")[0] for line in lines] == ["= layer 1", "~ layer 2"]


def test_a_layer_has_no_documents_and_that_is_said(store: wclayer.ImageStore) -> None:
    with wclayer.open_image(BASE, store) as image:
        done = run("diff", BASE, image.path)
        assert done.stdout == b""
        assert b"is a layer, not an image: configuration, history and layers are not compared" in done.stderr
        found = json.loads(run("diff", "--json", image.path, BASE).stdout)
        assert found["documents"] is None
        assert not wclayer.diff_images(BASE, image.path, store=store)


def test_the_function_tells_what_the_verb_tells(built: wclayer.ImageStore) -> None:
    found = wclayer.diff_images(BASE, "app:1", store=built, times=False)
    shown = parsed("diff", "--no-times", BASE, "app:1", status=1)
    assert isinstance(shown, dict)
    assert found
    assert [each.path for each in found.files] == [each["path"] for each in shown["files"]]
    assert [each.key for each in found.registry] == [each["key"] for each in shown["registry"]]
    assert found.documents is not None
    assert len(found.documents.fields) == len(shown["documents"]["fields"])


def test_the_same_name_and_size_of_a_stream_is_told_with_its_contents(tmp_path: Path) -> None:
    def build(data: bytes) -> Any:
        def write(writer: wclayer.LayerWriter) -> None:
            put_directories(writer, "Files")
            put_file(writer, "Files/a", b"", zone=data)

        return write

    for name in (b"one", b"two"):
        import_layer(layer_tar(build(name)), tmp_path / name.decode(), [])
    (line,) = [
        line for line in text("diff", tmp_path / "one", tmp_path / "two", status=1).splitlines() if "streams" in line
    ]
    old, new = line.split(" -> ")
    assert old != new
