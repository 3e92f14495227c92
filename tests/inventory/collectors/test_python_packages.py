"""Packages of Python: what is found, and what pip and importlib say of the same files."""

from __future__ import annotations

import importlib.metadata
import json
import site
import subprocess
import sys
from pathlib import Path

import pytest

import wclayer
from tests.inventory.trees import METADATA, SITE, inventory_of, items, make_layer
from wclayer.inventory.item import FindingKind, Item, ItemKind


def found(place: Path, files: dict[str, bytes]) -> dict[str, Item]:
    return items(inventory_of(place, files), ItemKind.PYTHON_PACKAGE)


def test_a_package_states_its_name_and_how_it_came(tmp_path: Path) -> None:
    folder = f"{SITE}/example_package_x-1.2.3.dist-info"
    files = {
        f"{folder}/METADATA": METADATA, f"{folder}/INSTALLER": b"pip\r\n",
        f"{folder}/direct_url.json": b'{"dir_info": {"editable": true}, "url": "file:///C:/src"}',
    }  # fmt: skip
    (item,) = found(tmp_path / "a", files).values()
    assert (item.name, item.version, item.publisher) == ("Example.Package_X", "1.2.3", "Erika Musterfrau")
    assert item.origin.place == r"C:\Python\Lib\site-packages\example_package_x-1.2.3.dist-info\METADATA"
    assert item.properties == {
        "normalized_name": "example-package-x", "license": "MIT  or something  else", "installer": "pip",
        "is_editable": True, "url": "file:///C:/src",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "is_package"),
    [
        (f"{SITE}/a-1.dist-info/METADATA", True), (f"{SITE}/A-1.DIST-INFO/metadata", True),
        (f"{SITE}/a.egg-info/PKG-INFO", True), (f"{SITE}/a-1-py3.11.egg/EGG-INFO/PKG-INFO", True),
        (f"{SITE}/a-1-py2.7.egg-info", True), ("src/a.egg-info/PKG-INFO", True),
        (f"{SITE}/a/METADATA", False), ("METADATA", False), ("PKG-INFO", False), ("sdist/PKG-INFO", False),
        (f"{SITE}/a-1.dist-info/metadata.json", False),
    ],
)  # fmt: skip
def test_the_place_tells_whether_metadata_is_of_an_installed_package(
    tmp_path: Path, path: str, is_package: bool
) -> None:
    assert len(found(tmp_path / "a", {path: METADATA})) == is_package


def test_what_has_no_name_or_no_version_is_no_package(tmp_path: Path) -> None:
    files = {
        f"{SITE}/a-1.dist-info/METADATA": b"Metadata-Version: 2.1\nName: a\n\nVersion: 1\n",
        f"{SITE}/b-1.dist-info/METADATA": b"\0\xff" * 5000,
        f"{SITE}/c-1.dist-info/METADATA": b"",
    }
    taken = inventory_of(tmp_path / "a", files)
    assert not list(taken.of_kind(ItemKind.PYTHON_PACKAGE))
    assert not taken.findings


def test_a_long_description_is_not_read(tmp_path: Path) -> None:
    (item,) = found(tmp_path / "a", {f"{SITE}/a.dist-info/METADATA": METADATA + b"x" * (8 << 20)}).values()
    assert item.version == "1.2.3"


def test_a_damaged_record_of_the_installation_is_a_finding(tmp_path: Path) -> None:
    folder = f"{SITE}/a-1.dist-info"
    files = {f"{folder}/METADATA": METADATA, f"{folder}/direct_url.json": b"[" * 100_000}
    (finding,) = inventory_of(tmp_path / "a", files).findings
    assert (finding.kind, finding.place) == (FindingKind.LIMITED, rf"C:\{folder}\METADATA".replace("/", "\\"))


def test_pip_and_importlib_say_the_same_of_this_environment(tmp_path: Path) -> None:
    files = {}
    for folder in map(Path, site.getsitepackages()):
        for path in [*folder.glob("*.dist-info/*"), *folder.glob("*.egg-info/PKG-INFO")]:
            if path.is_file() and path.name in ("METADATA", "INSTALLER", "direct_url.json", "PKG-INFO"):
                files[f"{SITE}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    mine = found(tmp_path / "a", files).values()
    command = [sys.executable, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    by_pip = {(each["name"], each["version"], "editable_project_location" in each) for each in listed}
    assert {(item.name, item.version, item.properties.get("is_editable", False)) for item in mine} == by_pip
    for item in mine:
        other = importlib.metadata.distribution(item.name)
        assert (item.version, item.properties.get("installer")) == (
            other.version,
            (other.read_text("INSTALLER") or "").strip(),
        )


def test_the_packages_of_a_layer_over_another_are_those_that_are_left(tmp_path: Path) -> None:
    base = make_layer(tmp_path / "base", {f"{SITE}/a-1.dist-info/METADATA": METADATA})
    newer = METADATA.replace(b"1.2.3", b"2.0")
    make_layer(tmp_path / "app", {f"{SITE}/a-1.dist-info/METADATA": newer}, over=base)
    (item,) = wclayer.take_inventory(tmp_path / "app").of_kind(ItemKind.PYTHON_PACKAGE)
    assert (item.version, item.origin.layer and item.origin.layer.number) == ("2.0", 2)
