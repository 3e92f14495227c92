"""The verb `report`, and what `report_image` refuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

import wclayer
from tests.images import samples
from tests.images.forms import write_docker_archive
from tests.inventory.cve.forms import Case, cvrf_json
from tests.inventory.subjects import Keys, base, child
from tests.report.made_report import examined, survey
from tests.support import run, text
from wclayer.errors import CorruptLayerError, InvalidParameterError, PathNotFoundError
from wclayer.report import html
from wclayer.report.model import Comparison, ImageReport

_WINDOWS: Keys = {
    r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion": {
        "ProductName": "Windows Server 2022", "CurrentBuildNumber": "20348", "CurrentMajorVersionNumber": 10, "UBR": 1,
    }
}  # fmt: skip


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    return base(tmp_path, _WINDOWS, {"Program Files/App/app.exe": b"x"})


def test_the_verb_writes_the_page(layer: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert text("report", layer, "-o", page) == f"{page}\n"
    wclayer.report_image(layer, tmp_path / "again.html")
    assert page.read_bytes() == (tmp_path / "again.html").read_bytes()
    assert b"20348.1" in page.read_bytes()


def test_the_standard_output_has_nothing_but_the_page(layer: Path, tmp_path: Path) -> None:
    run("report", layer, "-o", tmp_path / "page.html")
    assert text("report", layer, "-o", "-").encode() == (tmp_path / "page.html").read_bytes()


def test_a_date_is_an_option_or_that_of_reproducible_builds(
    layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated = text("report", layer, "--at", "2026-01-31", "-o", "-")
    assert '"at": "2026-01-31T00:00:00+00:00"' in stated
    assert '"at": null' in text("report", layer, "-o", "-")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1769817600")
    assert text("report", layer, "-o", "-") == stated
    run("report", layer, "--at", "yesterday", "-o", tmp_path / "x", status=64)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    run("report", layer, "-o", tmp_path / "x", status=5)
    with pytest.raises(InvalidParameterError, match="time zone"):
        wclayer.report_image(layer, tmp_path / "x", at=datetime(2026, 1, 31))
    assert not (tmp_path / "x").exists()


def test_a_scratch_is_told_with_what_differs_from_its_parent(layer: Path, tmp_path: Path) -> None:
    scratch = child(tmp_path, layer, {r"HKLM\SOFTWARE\Vendor": {"Key": "new"}}, {"Program Files/App/more.txt": b"more"})
    written = text("report", scratch, layer, "-o", "-")
    for part in ('id="changes"', "Files/Program Files/App/more.txt", r"HKEY_LOCAL_MACHINE\SOFTWARE\Vendor"):
        assert part in written, part


def test_vulnerabilities_are_told_if_there_are_documents(layer: Path, tmp_path: Path) -> None:
    assert "no documents of the Microsoft Security Response Center were given" in text("report", layer, "-o", "-")
    document = tmp_path / "document.json"
    document.write_bytes(cvrf_json(Case()))
    written = text("report", layer, "--msrc", document, "-o", "-")
    counts = text("cve", layer, document).splitlines()[-1].partition(" (")[0]
    assert counts in written


def test_a_failure_leaves_the_page_that_was_there(layer: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("the page of yesterday")
    (layer / "layer.db").write_bytes(b"damaged" * 1000)
    with pytest.raises(CorruptLayerError):
        wclayer.report_image(layer, page)
    with pytest.raises(PathNotFoundError):
        wclayer.report_image(tmp_path / "none", page)
    assert page.read_text() == "the page of yesterday"
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]


def test_the_archive_that_is_read_is_not_replaced(tmp_path: Path) -> None:
    archive = write_docker_archive(tmp_path / "app.tar", {"app:1": samples.nanoserver()})
    before = archive.read_bytes()
    for name in (archive, f"docker-archive:{archive}"):
        assert b"app.tar" in run("report", "--store", tmp_path / "store", name, "-o", archive, status=5).stderr
    assert archive.read_bytes() == before


def test_findings_that_were_left_out_are_no_differences(layer: Path) -> None:
    image, before = (examined(survey({"": (0, 0, 0)}, []), [name]) for name in ("image", "before"))
    before = replace(before, rights=replace(before.rights, left_out=0))
    with wclayer.open_image(str(layer)) as opened:
        comparison = Comparison(before, wclayer.diff_images(opened, opened))
    written = "".join(html.page(ImageReport(image, None, comparison, None)))
    assert "perhaps removed" in written
    assert "perhaps added" not in written
    assert "did not fit into memory, and were not compared" in written
    same = replace(comparison, before=image)
    assert "The open rights that were compared are the same." in "".join(
        html.page(ImageReport(image, None, same, None))
    )


def test_only_what_is_not_named_is_said_to_be_missing() -> None:
    names = [f"name {number}" for number in range(1000)]
    all_named = survey({"": (0, 0, 0)}, names)
    missing = replace(all_named, duplicate_files=len(names) + 1)
    for found, is_told in ((all_named, False), (missing, True)):
        written = "".join(html.page(ImageReport(examined(found, ["a"]), None, None, None)))
        assert ("Only the 1,000 that waste most are named." in written) == is_told
