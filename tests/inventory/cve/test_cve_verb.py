"""`wclayer cve`: the known vulnerabilities of the image of Windows that the tests of inventories read."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import wclayer
from tests.inventory.conftest import Windows
from tests.inventory.cve.forms import CORE_2022, Case, Fix, cvrf_json, cvrf_xml, with_fixes
from tests.inventory.windows import APPLICATION, BASE, UPDATED
from tests.support import layer_tar, parsed, put_directories, run, text

FOUND = 21
CORE = "Windows Server 2022 (Server Core installation)"
BEFORE = with_fixes(Fix((CORE_2022,), "5034129", "10.0.20348.2227"), cve="CVE-2099-0227")
"""Fixed by the update that the second layer of the base image brings, not by the first."""
AFTER = with_fixes(
    Fix((CORE_2022,), "5035857", "10.0.20348.2340"), cve="CVE-2099-0340", severity="Important", score=7.8
)


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    (folder / "2099").mkdir(parents=True)
    (folder / "2099" / "jan.xml").write_bytes(cvrf_xml(BEFORE))
    (folder / "feb.JSON").write_bytes(cvrf_json(AFTER))
    (folder / "readme.txt").write_bytes(b"no document")
    return folder


def _states(machine: Windows, image: str, documents: Path) -> dict[str, str]:
    report: Any = parsed("cve", "--store", machine.store.path, image, "--msrc", documents)
    return {each["cve"]: each["state"] for each in report["vulnerabilities"]}


@pytest.mark.parametrize("image", [BASE, APPLICATION])
def test_the_merged_registry_decides(machine: Windows, image: str, documents: Path) -> None:
    assert _states(machine, image, documents) == {"CVE-2099-0227": "fixed", "CVE-2099-0340": "vulnerable"}


def test_the_base_layer_alone_is_vulnerable_to_more(machine: Windows, documents: Path) -> None:
    """Whoever reads one layer, and not the deltas over it, sees a system without its last update."""
    with wclayer.open_image(BASE, machine.store) as image:
        layer = image.layers[-1]
        assert _states(machine, str(layer), documents) == {"CVE-2099-0227": "vulnerable", "CVE-2099-0340": "vulnerable"}


def test_people_get_a_table_of_what_is_vulnerable(machine: Windows, documents: Path) -> None:
    shown = text("cve", "--store", machine.store.path, BASE, "--msrc", documents)
    lines = shown.splitlines()
    assert lines[:2] == [BASE, f"  {CORE}  {UPDATED}"]
    assert "VULNERABLE (1)" in lines
    row = next(line for line in lines if "CVE-2099-0340" in line)
    assert row.split("  ")[1:4] == ["CVE-2099-0340", "Important", "7.8"]
    for word in (CORE, UPDATED, "10.0.20348.2340", "KB5035857", "Windows Example Remote Code Execution Vulnerability"):
        assert word in row
    assert "CVE-2099-0227" not in shown
    assert lines[-1] == "1 vulnerable, 0 unknown, 1 fixed, 0 not affected (2 documents)"
    assert "CVE-2099-0227" in text("cve", "--all", "--store", machine.store.path, BASE, "--msrc", documents)


@pytest.mark.parametrize(
    ("threshold", "status"),
    [("any", FOUND), ("low", FOUND), ("moderate", FOUND), ("important", FOUND), ("critical", 0)],
)
def test_the_exit_status_tells_whether_something_is_severe_enough(
    machine: Windows, documents: Path, threshold: str, status: int
) -> None:
    run("cve", "--store", machine.store.path, BASE, "--fail-on", threshold, documents, status=status)


def test_without_a_threshold_a_check_that_was_carried_out_succeeds(machine: Windows, documents: Path) -> None:
    run("cve", "--store", machine.store.path, BASE, documents, status=0)


def test_documents_may_follow_the_image_and_lie_in_a_zip(machine: Windows, documents: Path, tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("2099/jan.xml", cvrf_xml(BEFORE))
        file.writestr("notes.txt", b"x")
    arguments = ("cve", "--store", machine.store.path, BASE, "--msrc", archive, documents / "feb.JSON")
    report: Any = parsed(*arguments)
    assert {each["cve"]: each["source"] for each in report["vulnerabilities"]} == {
        "CVE-2099-0340": str(documents / "feb.JSON"), "CVE-2099-0227": f"{archive}: 2099/jan.xml",
    }  # fmt: skip
    assert report["counts"]["vulnerable"] == 1


def test_files_are_written_beside_what_is_printed(machine: Windows, documents: Path, tmp_path: Path) -> None:
    vex, sarif = tmp_path / "vex.json", tmp_path / "cve.sarif"
    store = ("--store", machine.store.path)
    run("cve", *store, BASE, "--vex", vex, "--sarif", sarif, "--fail-on", "any", documents, status=FOUND)
    assert json.loads(vex.read_bytes())["specVersion"] == "1.6"
    assert json.loads(sarif.read_bytes())["runs"][0]["results"][0]["ruleId"] == "CVE-2099-0340"
    assert json.loads(text("cve", *store, BASE, "--sarif", "-", documents)) == json.loads(sarif.read_bytes())
    run("cve", *store, BASE, "--vex", vex, "--sarif", vex, documents, status=5)
    run("cve", *store, BASE, "--vex", documents / "feb.JSON", documents / "feb.JSON", status=5)


def test_documents_of_other_products_are_told_as_such(machine: Windows, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    case = with_fixes(Fix(("11571",), "5099002", "10.0.17763.9999"))
    file.write_bytes(cvrf_json(case, names={"11571": "Windows Server 2019"}))
    shown = text("cve", "--store", machine.store.path, BASE, file)
    assert f"! limited: {CORE} {UPDATED}: no document mentions this product: nothing is known" in shown


def test_a_layer_without_windows_is_told_as_such(tmp_path: Path, documents: Path) -> None:
    (tmp_path / "layer.tar").write_bytes(layer_tar(lambda writer: put_directories(writer, "Files")))
    run("import", "-i", tmp_path / "layer.tar", tmp_path / "layer")
    shown = text("cve", tmp_path / "layer", documents)
    assert "the registry has no version of Windows: nothing is known of its vulnerabilities" in shown


def test_the_path_of_a_layer_need_not_be_text(tmp_path: Path, documents: Path) -> None:
    (tmp_path / "layer.tar").write_bytes(layer_tar(lambda writer: put_directories(writer, "Files")))
    layer = os.path.join(tmp_path, os.fsdecode(b"\xff"))
    run("import", "-i", tmp_path / "layer.tar", layer)
    report: Any = parsed("cve", layer, documents, "--sarif", tmp_path / "sarif")
    assert report["name"] == layer
    assert json.loads((tmp_path / "sarif").read_bytes())["version"] == "2.1.0"


@pytest.mark.parametrize(
    ("name", "data", "place"),
    [
        (
            "a.json",
            b'{"Vulnerability":[{"CVE":7}],"ProductTree":{}}',
            "document: Vulnerability[0]: CVE is '7'",
        ),
        ("a.json", b"{", "document is not JSON: "),
        ("a.json", b"{}", "is JSON, but neither CVRF, nor CSAF, nor a record of CVE"),
        ("a.xml", b"<cvrfdoc><a></cvrfdoc>", "is not XML: mismatched tag: line 1, column 14"),
        ("a.xml", b"<!DOCTYPE html>\n<html></html>", "line 1: a document type (DTD) is refused"),
        ("a.xml", b"<html></html>", "line 1: the document is 'html', not 'cvrfdoc'"),
        ("a.txt", b"", "is no document of MSRC: neither XML nor a JSON object"),
    ],
)
def test_a_file_that_is_no_document_is_named_with_the_place(
    machine: Windows, tmp_path: Path, name: str, data: bytes, place: str
) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    done = run("cve", "--store", machine.store.path, BASE, file, status=6)
    assert f"check vulnerabilities: {file}: {place}" in done.stderr.decode()
    assert not done.stdout


def test_what_is_missing_or_empty_is_an_error(machine: Windows, tmp_path: Path) -> None:
    store = ("--store", machine.store.path)
    run("cve", *store, BASE, tmp_path / "missing.json", status=2)
    (tmp_path / "empty").mkdir()
    assert b"has no document" in run("cve", *store, BASE, tmp_path / "empty", status=5).stderr
    assert b"name the documents" in run("cve", *store, BASE, status=64).stderr
    run("cve", *store, "missing:1", tmp_path / "empty", status=2)


def test_a_document_beyond_the_limit_is_refused(machine: Windows, documents: Path, tmp_path: Path) -> None:
    store = ("--store", machine.store.path)
    done = run("cve", *store, BASE, "--max-advisory-size", "1000", documents, status=7)
    assert b"(limit advisory_size; --max-advisory-size raises it)" in done.stderr
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.xml", cvrf_xml(*(replace(Case(), cve=f"CVE-2099-{number}") for number in range(1000, 1100))))
    done = run("cve", *store, BASE, "--max-advisory-size", "9000", archive, status=7)
    assert b"all.zip: a.xml" in done.stderr
    run("cve", *store, BASE, "--max-archive-members", "0", archive, status=7)
