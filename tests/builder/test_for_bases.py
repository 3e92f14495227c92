"""One image for several releases: which base each has, and the index over them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builder.chains import hive as hive_of
from tests.images import samples
from tests.images.forms import put_into_registry
from tests.images.memory import MemorySource, MemoryTarget
from tests.images.registry import FakeRegistry
from tests.support import run, text
from wclayer.builder.for_bases import Release, base_for, check_release, make_for_releases, parse_releases
from wclayer.errors import InvalidParameterError, PathNotFoundError
from wclayer.images.platform import Platform, parse_platform
from wclayer.images.store import ImageStore
from wclayer.images.transfer import copy_image
from wclayer.layers.hives import LAYER_HIVES


def releases(text: str = "ltsc2019,ltsc2022,ltsc2025") -> tuple[Release, ...]:
    return parse_releases(text.split(","))


def test_releases_are_named_by_name_build_or_version() -> None:
    found = parse_releases(["ltsc2016", " LTSC2019", "20348", "10.0.26100", "25398"])
    assert [release.name for release in found] == ["ltsc2016", "ltsc2019", "ltsc2022", "ltsc2025", "25398"]
    assert [release.version.build for release in found] == [14393, 17763, 20348, 26100, 25398]
    assert [str(release) for release in found[3:]] == ["ltsc2025 (10.0.26100)", "25398"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ltsc2022,",
        "ltsc2020",
        "2022",
        "10.0.20348.5499",
        "ltsc2022,20348",
        ",".join(map(str, range(10000, 10040))),
    ],
)
def test_what_is_no_list_of_releases_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError):
        parse_releases(text.split(","))


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("mcr.microsoft.com/windows/servercore:ltsc2022", "mcr.microsoft.com/windows/servercore:ltsc2019"),
        ("nanoserver:ltsc2025-arm64", "nanoserver:ltsc2019-arm64"),
        ("python:3.12-windowsservercore-ltsc2022", "python:3.12-windowsservercore-ltsc2019"),
        ("app:{release}", "app:ltsc2019"),
        ("localhost:5000/{release}/app:ltsc2022", "localhost:5000/ltsc2019/app:ltsc2022"),
        ("oci:layout:ltsc2022", "oci:layout:ltsc2019"),
        # An index of several releases, or what nobody can know from the name.
        ("golang:1.22-nanoserver", "golang:1.22-nanoserver"),
        ("app:myltsc2022x", "app:myltsc2022x"),
        ("localhost:5000/ltsc2022/app", "localhost:5000/ltsc2022/app"),
        ("ltsc2022", "ltsc2022"),
        (f"app:ltsc2022@sha256:{'0' * 64}", f"app:ltsc2022@sha256:{'0' * 64}"),
    ],
)
def test_the_base_of_a_release(reference: str, expected: str) -> None:
    assert base_for(reference, releases()[0]) == expected


def test_a_release_without_a_name_has_no_tag() -> None:
    release = Release.parse("25398")
    with pytest.raises(InvalidParameterError, match=r"the tag is for one release.*25398.*\{release\}"):
        base_for("servercore:ltsc2022", release)
    assert base_for("app:{release}", release) == "app:25398"
    assert base_for("app:1", release) == "app:1"


def test_the_platform_of_a_release_has_the_processor_that_is_wanted() -> None:
    release = Release.parse("ltsc2022")
    assert release.platform() == Platform("windows", "", "10.0.20348")
    assert release.platform(parse_platform("amd64")) == Platform("windows", "amd64", "10.0.20348")
    assert release.platform(parse_platform("windows/amd64:10.0.20348.1")).os_version == "10.0.20348.1"
    for other in ("linux/amd64", "windows/amd64:10.0.17763"):
        with pytest.raises(InvalidParameterError, match="is not a platform of the release ltsc2022"):
            release.platform(parse_platform(other))


def test_an_image_of_another_release_is_refused() -> None:
    release = Release.parse("ltsc2025")
    check_release(parse_platform("windows/amd64:10.0.26100.1"), release, "x:1")
    for stated in ("windows/amd64:10.0.20348.5499", "windows/amd64"):
        with pytest.raises(PathNotFoundError, match=r"no image for ltsc2025.*windows/amd64"):
            check_release(parse_platform(stated), release, "x:1")


def test_one_index_lists_the_images_with_their_versions() -> None:
    made = []

    def make(release: Release) -> MemorySource:
        made.append(release.name)
        return MemorySource(samples.small(os_version=f"{release.version}.77"))

    target = MemoryTarget()
    copy_image(make_for_releases(releases(), make), target, all_platforms=True)
    assert target.root is not None
    index = json.loads(target.documents[target.root.digest])
    assert [item["platform"]["os.version"] for item in index["manifests"]] == [
        "10.0.17763.77", "10.0.20348.77", "10.0.26100.77"
    ]  # fmt: skip
    assert made == ["ltsc2019", "ltsc2022", "ltsc2025"]


def test_a_release_that_fails_leaves_no_index() -> None:
    def make(release: Release) -> MemorySource:
        if release.name == "ltsc2022":
            raise PathNotFoundError("x", "is not there")
        return MemorySource(samples.small(os_version=str(release.version)))

    with pytest.raises(PathNotFoundError, match="is not there"):
        make_for_releases(releases(), make)


@pytest.mark.parametrize("verb", ["build", "append"])
def test_all_images_that_are_fetched_of_one_index_stay(
    verb: str, fake: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name means the index: nothing is fetched again, and prune leaves all of them."""
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    images = [_with_hives(f"10.0.{build}.77") for build in (17763, 20348, 26100)]
    put_into_registry(fake.base, "core", "1", samples.index("oci", images))
    name = f"{fake.host}/core:1"
    Path("Dockerfile").write_text(f"FROM {name}\nRUN reg add HKLM\\SOFTWARE\\App /v x /d 1\n")
    arguments = {
        "build": ("build", "-q", "--for", "ltsc2019,ltsc2022", "-t", "app:1", "."),
        "append": ("append", f"docker://{name}", "-q", "--for", "ltsc2019,ltsc2022", "--setx", "A=1", "-t", "app:1"),
    }[verb]
    for number in range(2):
        fake.forget()
        run(*arguments)
        fetched = {request.reference for request in fake.asked("blob", "GET")}
        wanted = {layer.digest for image in images[:2] for layer in image.layers}
        assert fetched & {layer.digest for image in images for layer in image.layers} == (set() if number else wanted)
        run("prune", "--all")
        store = ImageStore(tmp_path / "store")
        found = [image for image in store.images() if image.name == name]
        assert sorted(str(image.platform) for image in found) == [
            "windows/amd64:10.0.17763.77", "windows/amd64:10.0.20348.77"
        ]  # fmt: skip
        assert all(image.is_unpacked for image in found)
        assert list(store.check()) == []
    assert store.find(name).digest == samples.index("oci", images).digest
    assert text("cat", "--platform", "windows/amd64:10.0.20348", name, "C:\\version.txt") == "10.0.20348.77"


def _with_hives(version: str) -> samples.Image:
    files = {f"Files/Windows/System32/config/{hive.config_name}": hive_of("App") for hive in LAYER_HIVES}
    tar = samples.small_tar({**files, "Files/version.txt": version.encode()})
    return samples.image("oci", [samples.layer(tar, "oci")], [samples.step("base")], {}, os_version=version)
