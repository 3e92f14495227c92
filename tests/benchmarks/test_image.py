"""The image of the yardstick is what its module says, and the benchmark makes its table, here of a thousandth of it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path

import pytest

from benchmarks import growth, servercore
from benchmarks.document import write_part, write_rows
from benchmarks.occupancy import occupancy
from tests.source import ROOT
from wclayer import TarLayerReader
from wclayer.model import LayerItem

SCALE = 0.001


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the image of random words."""
    made = tmp_path_factory.mktemp("image")
    servercore.image(made, SCALE, is_made=True, say=str)
    return made


def made_image(folder: Path) -> servercore.Image:
    return servercore.image(folder, SCALE, is_made=True, say=pytest.fail)


def items(layer: servercore.Layer) -> list[tuple[LayerItem, list[tuple[str, int]]]]:
    with layer.gzip.open("rb") as file, TarLayerReader(file, layer.gzip, is_base=layer.name == "base") as reader:
        return [(item, [(stream.name, len(stream.read_all())) for stream in item.streams()]) for item in reader]


def test_the_image_has_what_layers_of_windows_have(folder: Path) -> None:
    image = made_image(folder)
    base, update = items(image.base), items(image.update)
    links = {item.entry.name: item.entry.link_target for item, _ in base if item.entry.link_target}
    assert len(links) == image.base.links > 20
    assert any(name.startswith("Files/Windows/WinSxS/amd64") for name in links)
    assert any(str(target).startswith("Files/Windows/System32/") for target in links.values())
    assert sum(item.entry.reparse is not None for item, _ in base) == 15
    assert any(item.entry.eas for item, _ in base)
    assert len({item.entry.security for item, _ in base}) > 5
    names = {item.entry.name for item, _ in base}
    assert {"Files/Windows/System32/config/SOFTWARE", "UtilityVM/Files/EFI/Microsoft/Boot/BCD"} <= names
    assert any(item.entry.is_tombstone for item, _ in update)
    assert {"Hives/Software_Delta", "Hives/System_Delta"} <= {item.entry.name for item, _ in update}
    assert len(base) == image.base.entries
    assert sum(size for _, streams in base for name, size in streams if not name) == image.base.content


def test_the_compressed_tar_is_one_stream_with_the_header_of_go(folder: Path) -> None:
    for layer in made_image(folder).layers:
        packed = layer.gzip.read_bytes()
        assert packed.startswith(bytes.fromhex("1f8b08000000000000ff"))
        inflate = zlib.decompressobj(31)
        assert inflate.decompress(packed) == layer.tar.read_bytes()
        assert inflate.eof
        assert not inflate.unused_data


def test_the_same_image_is_made_again(folder: Path, tmp_path: Path) -> None:
    first, again = made_image(folder), servercore.image(tmp_path, SCALE, is_made=True, say=str)
    assert [layer.gzip_sha256 for layer in first.layers] == [layer.gzip_sha256 for layer in again.layers]
    assert again.base.gzip_sha256 == hashlib.sha256(first.base.gzip.read_bytes()).hexdigest()


def test_a_damaged_image_is_not_measured(folder: Path, tmp_path: Path) -> None:
    image = servercore.image(tmp_path, SCALE, is_made=True, say=str)
    with image.update.tar.open("r+b") as file:
        file.write(b"\xff")
    with pytest.raises(SystemExit, match=r"update\.tar is not what was made"):
        made_image(tmp_path)


def test_the_table_has_a_row_for_each_program_on_each_file_system(folder: Path, tmp_path: Path) -> None:
    jobs = ("import gzip", "export plain tar", "VHDX of tar.gz", "--help")
    programs = ("wclayer", "wclayer before", "tar -xzf", "tar -cf, sha256sum", "limit: gzip -dc")
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.image", "--folder", str(folder), "--memory-folder", str(tmp_path),
            "--scale", str(SCALE), "--made", "--runs", "1", "--jobs", ",".join(jobs),
            "--before", f"{sys.executable} -m wclayer", "--programs", ";".join(programs),
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    head, _, *lines = lines
    rows = {(job, program): dict(zip(head[2:], cells, strict=True)) for job, program, *cells in lines}
    assert {job for job, _ in rows} == set(jobs)
    for job in jobs:
        ours, before = rows[job, "wclayer"], rows[job, "wclayer before"]
        assert ours["disk: wclayer ÷ it"] == "", ours
        assert float(ours["CPU"].removesuffix(" s")) > 0
        # The help may be there before anybody looks at the memory.
        if job != "--help" or ours["peak memory"]:
            assert 5 < float(ours["peak memory"].removesuffix(" MiB")) < 150
        for where in ("disk", "memory fs"):
            assert float(before[f"{where}: wclayer ÷ it"]) > 0
    for job, peer in (("import gzip", "tar -xzf"), ("export plain tar", "tar -cf, sha256sum")):
        for which in ("disk: wclayer", "disk: before", "memory fs: wclayer", "memory fs: before"):
            assert float(rows[job, peer][f"{which} ÷ it"]) > 0
    assert rows["import gzip", "limit: gzip -dc"]["disk"]


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--list"], "import gzip\n"), (["--jobs", "ls,lss"], "no such job: lss; --list prints their names")],
)
def test_the_names_of_jobs_are_known_before_an_image_is_made(tmp_path: Path, words: list[str], said: str) -> None:
    command = [sys.executable, "-m", "benchmarks.image", "--folder", str(tmp_path / "image"), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr
    assert not (tmp_path / "image").exists()


def test_growth_tells_the_time_of_an_entry(tmp_path: Path) -> None:
    points = list(growth.measure_growth(tmp_path, "disk", f"{sys.executable} -m wclayer", 1, [5000]))
    assert [(point.job, point.entries) for point in points] == [(job, 5000) for job in ("import", "export", "convert")]
    assert all(point.seconds > 0 and point.memory > 1 << 20 for point in points)
    assert list(tmp_path.iterdir()) == []
    lines = growth.table(points).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| import", "| export", "| convert"]


def test_the_time_of_an_entry_is_without_the_start() -> None:
    small, large = (
        growth.Point("disk", "import", entries, 2 + entries * 30e-6, 2, 20e-6, 1 << 20)
        for entries in (100_000, 1_000_000)
    )
    assert small.microseconds == pytest.approx(30)
    assert "| import | disk | 1,000,000 | 32.00 s | 30.0 µs | 1.00 | 20.0 µs | 1.00 | 1 MiB |" in growth.table(
        [small, large]
    )
    marks = ET.fromstring(growth.plot([small, large])).iter("{http://www.w3.org/2000/svg}circle")
    assert len({mark.get("cy") for mark in marks}) == 1


def test_a_point_replaces_that_of_its_row_and_the_document_has_the_table_of_all(tmp_path: Path) -> None:
    old, other, new = (
        growth.Point(where, "import", 1000, seconds, 1, 20e-6, 1 << 20)
        for where, seconds in (("disk", 2), ("memory", 3), ("disk", 4))
    )
    points = growth.joined([other, old], [new])
    assert points == [new, other]
    document = tmp_path / "document.md"
    document.write_text("before\n<!-- growth -->\n<!-- end of growth -->\nafter\n")
    (tmp_path / "plots").mkdir()
    growth.write(document, points)
    assert growth.table(points) in document.read_text()
    assert growth.read_points(tmp_path / "plots" / "growth.json") == points
    assert (tmp_path / "plots" / "growth.svg").read_text() == growth.plot(points)


def test_the_table_of_growth_is_that_of_the_points_that_are_kept() -> None:
    points = growth.read_points(ROOT / "docs" / "plots" / "growth.json")
    assert growth.table(points) in (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")


def test_the_plot_of_threads_has_a_row_for_each_that_does_something(tmp_path: Path) -> None:
    program = tmp_path / "two_threads.py"
    program.write_text(
        "import hashlib, threading\n"
        "def work():\n    for _ in range(1500): hashlib.sha256(bytes(1 << 20))\n"
        "thread = threading.Thread(target=work, name='hasher')\n"
        "thread.start(); work(); thread.join()\n"
    )
    plot = occupancy(f"{sys.executable} {program}", "two threads")
    texts = [text.text for text in ET.fromstring(plot).iter("{http://www.w3.org/2000/svg}text")]
    assert "two threads" in texts
    for thread in ("main thread", "hasher"):
        (row,) = (text for text in texts if str(text).startswith(f"two_threads 1: {thread}, "))
        assert float(str(row).split()[-2]) > 0.1


def test_only_the_text_between_the_marks_is_replaced(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("one\n<!-- jobs -->\nold\n<!-- end of jobs -->\ntwo\n")
    write_part(document, "jobs", "new\n")
    assert document.read_text() == "one\n<!-- jobs -->\nnew\n<!-- end of jobs -->\ntwo\n"
    with pytest.raises(SystemExit, match="growth"):
        write_part(document, "growth", "new")


def test_rows_of_what_was_not_measured_stay(tmp_path: Path) -> None:
    document = tmp_path / "x.md"
    head = "| job | time |\n|---|---|\n"
    text = f"a\n<!-- t -->\n{head}| x | 1 |\n| x | 2 |\n| z | 3 |\n<!-- end of t -->\nb\n"
    document.write_text(text)
    write_rows(document, "t", head)
    assert document.read_text() == text
    write_rows(document, "t", head + "| w | 7 |\n| x | 4 |\n| y | 5 |\n| y | 6 |\n")
    rows = "| w | 7 |\n| x | 4 |\n| y | 5 |\n| y | 6 |\n| z | 3 |\n"
    assert document.read_text() == f"a\n<!-- t -->\n{head}{rows}<!-- end of t -->\nb\n"
