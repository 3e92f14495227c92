"""Sources: the references that a registry, a file, a layout and the store have, and the images that they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet.registry_fleet import Fleet, FleetRegistry
from tests.images import samples, stores
from tests.images.forms import write_layout
from wclayer.errors import InvalidDataError, InvalidParameterError, PathNotFoundError
from wclayer.fleet.access import ImageAccess
from wclayer.fleet.model import ImageStatus, Listed
from wclayer.fleet.newest import in_batches, newest_of
from wclayer.fleet.resolve import resolve_images
from wclayer.fleet.sources import list_images
from wclayer.images.store import ImageStore


def _references(text: str, access: ImageAccess | None = None, **filters: list[str]) -> list[str]:
    with access or ImageAccess() as used:
        found = list(list_images(text, used, **filters))
    assert [item.error for item in found] == [""] * len(found)
    return [item.reference for item in found]


def test_a_registry_lists_every_tag_of_every_repository(fleet: Fleet, fleet_registry: FleetRegistry) -> None:
    assert sorted(_references(fleet_registry.host)) == sorted(fleet_registry.references)
    assert len(fleet_registry.references) == len(fleet.tagged)


def test_a_registry_is_filtered_by_names_and_tags_before_it_is_asked(fleet_registry: FleetRegistry) -> None:
    fleet_registry.forget()
    found = _references(fleet_registry.host, names=["windows/*", "runtimes/j*"], tags=["*ltsc2022*"])
    named = [text for text in fleet_registry.references if "/windows/" in text or "/runtimes/j" in text]
    assert sorted(found) == sorted(text for text in named if "ltsc2022" in text.rpartition(":")[2])
    assert 2 < len(found) < len(named)
    asked = [request for request in fleet_registry.requests() if "tags/list" in request]
    assert len(asked) == len({reference.rpartition(":")[0] for reference in named}) < 10


def test_one_repository_needs_no_catalogue(fleet_registry: FleetRegistry) -> None:
    fleet_registry.forget()
    text = f"{fleet_registry.host}/windows/servercore"
    wanted = [reference for reference in fleet_registry.references if reference.startswith(f"{text}:")]
    assert sorted(_references(text)) == sorted(_references(f"docker://{text}")) == sorted(wanted)
    assert sorted(_references(f"http://{text}/")) == sorted(wanted)
    assert _references(f"{text}:ltsc2022") == [f"{text}:ltsc2022"]
    assert _references(f"{text}:ltsc2022", tags=["1*"]) == []
    assert not any("_catalog" in request for request in fleet_registry.requests())
    with pytest.raises(PathNotFoundError, match="has no repository 'no/such'"):
        _references(f"{fleet_registry.host}/no/such")


def test_a_fleet_is_resolved_with_one_connection_and_two_requests_an_image(
    fleet: Fleet, fleet_registry: FleetRegistry
) -> None:
    with ImageAccess() as access:
        listed = list(list_images(fleet_registry.host, access))
        fleet_registry.forget()
        batches = list(in_batches(listed))
        found = [image for batch in batches for image in resolve_images(batch, access)]
    assert [item for batch in batches for item in batch] == listed
    read = {image.digest: image for image in found if image.status is ImageStatus.OK}
    assert read.keys() == fleet.images.keys()
    for digest, image in read.items():
        assert image.manifest == fleet.images[digest].manifest
        assert image.config == fleet.images[digest].config
    others = {
        image.listed.reference: (image.status, image.error.partition(" '")[0])
        for image in found
        if image.status != "ok"
    }
    assert {reference.partition("/")[2]: told for reference, told in others.items()} == {
        f"windows/servercore:{samples.cosign_tag(fleet.twice)}": (ImageStatus.ARTIFACT, "an artifact of the type"),
        "linux/base:1": (ImageStatus.OTHER_PLATFORM, "an image for linux/amd64"),
    }
    # An index is one request more, and no configuration is read of an artifact. No layer is asked for.
    assert len(fleet_registry.requests()) == 2 * len(found) + 1 - 1
    fleet_registry.forget()
    with ImageAccess() as access:
        again = [image for batch in batches for image in resolve_images(batch, access, read)]
    assert again == found
    assert len(fleet_registry.requests()) == len(listed) + 1  # the configuration of the image for Linux
    (one, two) = [image for image in found if image.root == fleet.index.digest]
    assert one.listed == two.listed


def test_a_file_has_a_reference_in_each_line(tmp_path: Path) -> None:
    file = tmp_path / "list"
    text = (
        "# ours\r\n\r\nlocalhost:5000/app:1  # the old one\nnanoserver\n  docker://localhost:5000/app:1\n"
        f"localhost:5000/app@sha256:{'a' * 64}\nNo Name\noci:layout:1\nstore:app:2\nlocalhost:5000/app:\xe4"
    )
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        file.write_bytes(text.encode(encoding))
        with ImageAccess() as access:
            found = list(list_images(str(file), access))
        assert [(item.reference, item.repository, item.tag) for item in found if not item.error] == [
            ("localhost:5000/app:1", "app", "1"),
            ("nanoserver:latest", "library/nanoserver", "latest"),
            (f"localhost:5000/app@sha256:{'a' * 64}", "app", ""),
            (f"oci:{Path('layout').absolute()}:1", "", "1"),
            ("store:app:2", "library/app", "2"),
        ]
        bad = [item for item in found if item.error]
        assert [item.reference for item in bad] == [f"{file}:7", f"{file}:10"]
        assert "not the name of an image" in bad[0].error
    file.write_text("localhost:5000/app:1\nlocalhost:5000/other:2\nlocalhost:5000/team/app:3\n")
    assert _references(str(file), names=["*app"], tags=["[23]"]) == ["localhost:5000/team/app:3"]


@pytest.mark.parametrize("name", ["store", "oci"])
def test_a_repository_called_as_another_place_stays_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "list").write_text(f"{name}\n")
    with ImageAccess() as access:
        (item,) = list_images(str(tmp_path / "list"), access)
    assert (item.location, item.reference) == (f"docker://{name}:latest", f"{name}:latest")
    assert item.repository == f"library/{name}"


def test_a_path_with_a_colon_is_told(tmp_path: Path) -> None:
    """A worker would take it for another place."""
    (tmp_path / "list").write_text("oci:d:/layout:1\n")
    with ImageAccess() as access:
        (item,) = list_images(str(tmp_path / "list"), access)
    assert "has a colon" in item.error


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_bytes(b"app\n\xff\xfe\xfd")
    with pytest.raises(InvalidDataError, match="not text at byte 4"):
        _references(str(file))
    with pytest.raises(InvalidParameterError, match="is a folder; a layout is oci:DIR"):
        _references(str(tmp_path))
    for text in ("", "nothing", "no such file", "./missing", "docker://"):
        with pytest.raises(InvalidParameterError, match="no source of images, and no file: write"):
            _references(text)


def test_a_layout_and_the_store_list_their_images(tmp_path: Path) -> None:
    one, two = samples.small(), samples.small("oci", os_version="10.0.17763.1")
    several = samples.index("oci", [two, one])
    layout = write_layout(tmp_path / "layout", {"1": one, "registry.test/team/app:2": several, "-": two})
    store = ImageStore(tmp_path / "store")
    stores.fill(store, "localhost:5000/app:1", one)
    stores.fill(store, "several:2", several)
    access = ImageAccess(store=store.path)
    assert _references(f"oci:{layout}") == [
        f"oci:{layout}:1", f"oci:{layout}:registry.test/team/app:2", f"oci:{layout}:{two.digest}",
    ]  # fmt: skip
    assert _references(f"oci:{layout}", names=["team/*"]) == [f"oci:{layout}:registry.test/team/app:2"]
    assert _references("store", access) == ["store:localhost:5000/app:1", "store:several:2"]
    with access:
        for text, count in ((f"oci:{layout}", 4), ("store", 3)):
            found = resolve_images(list(list_images(text, access)), access)
            assert {image.error for image in found} == {""}
            assert {image.digest for image in found} == {one.digest, two.digest}
            assert len(found) == count


def test_what_fails_is_told_and_stops_nothing(tmp_path: Path) -> None:
    one, gone = samples.small(), samples.small("oci", os_version="10.0.17763.1")
    layout = write_layout(tmp_path / "layout", {"1": one, "several": samples.index("oci", [one, gone]), "gone": gone})
    digest = samples.sha256(gone.config).removeprefix("sha256:")
    (layout / "blobs/sha256" / digest).unlink()
    with ImageAccess() as access:
        listed = list(list_images(f"oci:{layout}", access))
        found = resolve_images([*listed, Listed("oci:/no/such", "oci:/no/such"), Listed("x", "x", error="bad")], access)
    assert [(image.status, image.listed.tag or image.listed.reference, image.digest) for image in found] == [
        (ImageStatus.OK, "1", one.digest),
        (ImageStatus.OK, "several", one.digest),
        (ImageStatus.ERROR, "several", gone.digest),
        (ImageStatus.ERROR, "gone", gone.digest),
        (ImageStatus.ERROR, "oci:/no/such", ""),
        (ImageStatus.ERROR, "x", ""),
    ]
    for image in found[2:4]:
        assert image.error == f"does not hold the blob sha256:{digest}, which its manifest names"


def test_the_newest_tags_are_those_of_the_images_that_were_made_last(tmp_path: Path) -> None:
    layers, steps = [samples.layer(samples.small_tar({"a": b""}), "oci")], [samples.step("ADD")]
    images = {
        tag: samples.image("oci", layers, steps, {}, created=created)
        for tag, created in {
            "a": "2026-01-01T00:00:00Z", "1.9": "2026-02-01T00:00:00Z", "1.10": "2026-02-01T00:00:00Z", "none": "",
        }.items()
    }  # fmt: skip
    linux = samples.image("oci", [], [], {}, os="linux", created="2027-01-01T00:00:00Z")
    layout = write_layout(tmp_path / "layout", images | {"linux": linux})
    with ImageAccess() as access:
        listed = list(list_images(f"oci:{layout}", access))
        (batch,) = in_batches(listed)
        found = resolve_images(batch, access)
    for newest, tags in ((1, ["1.10"]), (2, ["1.9", "1.10"]), (3, ["a", "1.9", "1.10"]), (None, [*images, "linux"])):
        assert [image.listed.tag for image in newest_of(found, newest)] == tags
