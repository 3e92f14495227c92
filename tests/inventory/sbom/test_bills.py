"""`wclayer inventory --cyclonedx`, `--spdx` and `--attach`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import wclayer
from tests.images.forms import write_layout
from tests.images.samples import Image
from tests.inventory.conftest import Windows
from tests.inventory.sbom.bills import check_cyclonedx, check_spdx
from tests.inventory.windows import APPLICATION, BASE
from tests.support import parsed, run, text


@pytest.fixture
def place(machine: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a layout of the base image, and the store of the machine."""
    monkeypatch.setenv("WCLAYER_STORE", str(machine.store.path))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.chdir(tmp_path)
    write_layout(tmp_path / "mirror", {"base": machine.base})
    return tmp_path


def _contents(layout: Path, digest: str) -> bytes:
    """The file that a manifest in a layout attaches."""
    blobs = layout / "blobs" / "sha256"
    manifest: dict[str, Any] = json.loads((blobs / digest.removeprefix("sha256:")).read_bytes())
    name: str = manifest["layers"][0]["digest"]
    return (blobs / name.removeprefix("sha256:")).read_bytes()


def test_both_bills_are_files_that_others_find_valid(place: Path) -> None:
    told = text("inventory", "--no-files", "--cyclonedx", "a.cdx.json", "--spdx", "a.spdx.json", APPLICATION)
    assert [line.split(",")[0] for line in told.splitlines()] == [
        "wrote a.cdx.json: CycloneDX 1.6", "wrote a.spdx.json: SPDX 2.3",
    ]  # fmt: skip
    bom = check_cyclonedx(Path("a.cdx.json").read_bytes())
    document = check_spdx(Path("a.spdx.json").read_bytes())
    assert bom.metadata.component is not None
    assert bom.metadata.component.name == document.packages[0].name


def test_a_bill_in_the_output_is_alone_there(place: Path) -> None:
    ended = run("inventory", "--no-files", "--cyclonedx", "-", APPLICATION)
    check_cyclonedx(ended.stdout)
    assert b"wrote -" in ended.stderr


def test_the_time_is_the_one_of_the_environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    record = json.loads(run("inventory", "--no-files", "--cyclonedx", "-", APPLICATION).stdout)
    assert record["metadata"]["timestamp"] == "1970-01-02T00:00:00Z"


def test_an_end_of_a_name_gives_the_bill_of_the_whole_name(place: Path, machine: Windows) -> None:
    machine.store.tag("registry.example/shop/app:7", machine.store.find(BASE))
    try:
        record = json.loads(run("inventory", "--no-files", "--cyclonedx", "-", "app:7").stdout)
    finally:
        machine.store.untag("registry.example/shop/app:7")
    component = record["metadata"]["component"]
    assert component["name"] == "registry.example/shop/app:7"
    assert "repository_url=registry.example/shop/app&tag=7" in component["purl"]


def test_bills_are_attached_to_the_image_that_they_are_about(place: Path, machine: Windows) -> None:
    image: Image = machine.base
    told = text("inventory", "--no-files", "--cyclonedx", "b.json", "--attach", "oci:mirror:base")
    digest = told.split()[-1]
    listed = parsed("attach", "--list", "--json", "oci:mirror:base")
    assert isinstance(listed, list)
    assert [(item["digest"], item["artifact_type"]) for item in listed] == [(digest, "application/vnd.cyclonedx+json")]
    data = _contents(place / "mirror", digest)
    assert data == Path("b.json").read_bytes()
    assert json.loads(data)["metadata"]["component"]["version"] == image.digest
    again = text("inventory", "--no-files", "--attach", "--cyclonedx", "b.json", "mirror")
    assert f"is attached to mirror already as application/vnd.cyclonedx+json: {digest}" not in again
    # Another name of the image gives another bill.
    assert len(wclayer.attached_files("oci:mirror:base")) == 2
    text("inventory", "--no-files", "--attach", "--spdx", "-", "oci:mirror:base")
    assert {item.artifact_type for item in wclayer.attached_files("oci:mirror:base")} == {
        "application/vnd.cyclonedx+json", "application/spdx+json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--cyclonedx", "a", "--spdx", "a", APPLICATION], 5, "both --cyclonedx and --spdx"),
        (["--cyclonedx", "mirror", APPLICATION], 12, "mirror"),
        (["--cyclonedx", "none/a", APPLICATION], 2, "none"),
        (["--attach", "{layer}"], 5, "needs an image in the store or in a layout"),
    ],
)
def test_what_cannot_be_written_or_attached_is_refused(
    place: Path, machine: Windows, arguments: list[str], status: int, said: str
) -> None:
    with wclayer.open_image(BASE, machine.store) as image:
        layer = str(image.path)
    ended = run("inventory", "--no-files", *(each.format(layer=layer) for each in arguments), status=status)
    assert said in ended.stderr.decode()
    assert not ended.stdout
