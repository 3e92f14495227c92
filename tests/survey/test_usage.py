"""`du`: the sums of a survey, one directory after the other; beside GNU du on the exported tree."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given

import wclayer
from tests.support import info, layer_tar, parsed, put_directories, put_file, run, text, witness
from tests.survey.chains import LayerPlan, computed, make_chain, plans
from wclayer.model import Entry, LayerWriter


@given(plans())
def test_the_sums_are_those_of_a_survey(tmp_path_factory: pytest.TempPathFactory, layers: list[LayerPlan]) -> None:
    chain = make_chain(tmp_path_factory.mktemp("chain"), layers)
    survey = wclayer.survey_image(chain)
    found = list(wclayer.directory_usage(chain))
    assert {usage.path.upper(): usage for usage in found} == dict(survey.directories)
    assert len(found) == len(survey.directories)
    assert found[-1].path == ""
    for usage in found:
        # Each of them alone is the same, whether a layer removes it or not.
        *_, alone = wclayer.directory_usage(chain, usage.path)
        assert alone == usage
        assert list(wclayer.directory_usage(chain, usage.path, depth=0)) == [usage]
    shallow = [usage for usage in found if usage.path.count("/") < 1]
    assert list(wclayer.directory_usage(chain, depth=1)) == shallow


@given(plans())
def test_directories_and_files_add_up(tmp_path_factory: pytest.TempPathFactory, layers: list[LayerPlan]) -> None:
    chain = make_chain(tmp_path_factory.mktemp("chain"), layers)
    known = computed(layers)
    *_, whole = wclayer.directory_usage(chain, depth=0)
    assert whole.bytes == sum(known.sizes.values())
    assert whole.visible_bytes == sum(size for file, size in known.sizes.items() if file not in known.hidden)


@given(plans())
def test_gnu_du_counts_the_same(tmp_path_factory: pytest.TempPathFactory, layers: list[LayerPlan]) -> None:
    """The sum of all files; below it, GNU du counts a file with several names where it meets it first."""
    program = witness("du")
    folder = tmp_path_factory.mktemp("gnu")
    for plan in layers:
        plan.links.clear()
    chain = make_chain(folder, layers)
    wclayer.export_rootfs(chain, folder / "rootfs.tar")
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    with tarfile.open(folder / "rootfs.tar") as tar:
        tar.extractall(unpacked, filter="tar")
    sizes: dict[str, int] = {}
    for place, _, names in os.walk(unpacked):
        done = subprocess.run(
            [program, "--apparent-size", "-bc", *names], cwd=place, capture_output=True, check=True, text=True
        )
        here = int(done.stdout.splitlines()[-1].split("\t")[0]) if names else 0
        path = os.path.relpath(place, unpacked)
        parts = [] if path == "." else path.upper().split("/")
        for depth in range(len(parts) + 1):
            above = "/".join(["FILES", *parts[:depth]])
            sizes[above] = sizes.get(above, 0) + here
    found = {usage.path.upper(): usage.visible_bytes for usage in wclayer.directory_usage(chain, "C:\\")}
    assert {path: size for path, size in found.items() if size or path in sizes} == sizes


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/a", "Files/b", "Files/bad \u202e")
        put_file(writer, "Files/a/f", b"x" * 1536, s=b"y" * 100)
        writer.put(Entry("Files/b/again", info(), link_target="Files/a/f"), ())
        put_file(writer, "Files/b/g", b"x" * 10)

    def build_child(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/b")
        put_file(writer, "Files/b/G", b"x" * 7)
        writer.put(Entry("Files/bad \u202e", None), ())

    folder = tmp_path_factory.mktemp("usage")
    (folder / "base.tar").write_bytes(layer_tar(build))
    (folder / "child.tar").write_bytes(layer_tar(build_child))
    run("import", "-i", folder / "base.tar", folder / "base")
    run("import", "-i", folder / "child.tar", "-l", folder / "base", folder / "child")
    return folder


def test_what_is_printed(layers: Path) -> None:
    base, child = layers / "base", layers / "child"
    assert (
        text("du", "-m", child, "C:\\") == "1.6 KiB\tFiles/a\n7 B\tFiles/b\n0 B\tFiles/bad <U+202E>\n1.6 KiB\tFiles\n"
    )
    assert text("du", "-b", "-m", "-L", "0", child, "C:\\", r"C:\A\F", "b/again") == (
        "1643\tFiles\n1636\tFiles/a/f\n0\tFiles/b/again\n"
    )
    assert text("du", "-b", "-m", "--stored", "--by-layer", "-L", "0", child) == "1646\t1\t/\n7\t2\t/\n"
    assert text("du", "-b", "-m", "--by-layer", child, "b") == "7\t2\tFiles/b\n"
    assert text("du", "-b", child) == "7\tFiles/b\n7\tFiles\n0\tHives\n7\t/\n"
    assert text("du", "-b", "-L", "0", base) == "1646\t/\n"
    assert parsed("du", "-m", "--by-layer", "-L", "0", child, "b") == [
        {
            "path": "Files/b", "bytes": 7, "stored_bytes": 17, "files": 2, "entries": 2,
            "layers": [
                {"layer": 1, "bytes": 0, "stored_bytes": 10}, {"layer": 2, "bytes": 7, "stored_bytes": 7},
            ],
        }
    ]  # fmt: skip


def test_wrong_paths_are_told(layers: Path) -> None:
    assert b"-m shows its parents" in run("du", layers / "child", "a", status=2).stderr
    assert b"nope" in run("du", "-m", layers / "child", "nope", status=2).stderr
    run("du", layers / "child", "D:\\", status=5)
    run("du", layers / "child", "-L", "-1", status=64)
