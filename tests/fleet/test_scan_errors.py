"""What goes wrong in a scan: an image or layer is a row with its error, a failure of the host is one clear error."""

from __future__ import annotations

import io
import json
import signal
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fleet.registry_fleet import Fleet, FleetRegistry, Tagged
from tests.fleet.scans import Cluster, Scan, command, objects_of, scan, tables_of
from tests.images import samples
from wclayer import __version__
from wclayer.fleet.tables.dataset import Dataset

JOBS = ("--jobs", "2")


@pytest.fixture(scope="module")
def few(fleet: Fleet) -> tuple[Tagged, ...]:
    """Some applications, and the bases that they are built on."""
    return tuple(each for each in fleet.tagged if each.repository in ("apps/app01", "apps/app02"))


@pytest.fixture
def registry(tmp_path: Path, few: tuple[Tagged, ...]) -> Iterator[FleetRegistry]:
    """A registry of one's own, with few images."""
    with FleetRegistry(tmp_path / "registry", few) as served:
        yield served


def _images(few: tuple[Tagged, ...]) -> list[samples.Image]:
    return [image for each in few for image in each.item.images]


def test_a_damaged_layer_is_one_row_and_mends_when_it_is_repaired(
    tmp_path: Path, few: tuple[Tagged, ...], registry: FleetRegistry
) -> None:
    images = _images(few)
    counts = Counter(layer.digest for image in images for layer in image.layers)
    layer = next(layer for image in images for layer in image.layers if 1 < counts[layer.digest] < len(images))
    whole = tmp_path / "whole"
    assert scan(registry.host, whole, *JOBS).status == 0
    registry.damage(layer.digest)
    out = tmp_path / "out"
    ended = scan(registry.host, out, *JOBS)
    assert ended.status == 1
    assert [error["what"] for error in ended.result["errors"]] == [layer.digest]
    rows = tables_of(out)
    assert [row.layer for row in rows["layers"] if row.error is not None] == [layer.digest]
    with_layer = {image.digest for image in images if layer in image.layers}
    assert {row.image for row in rows["images"] if row.status == "incomplete"} == with_layer
    assert {row.error_layer for row in rows["images"]} == {layer.digest, None}
    assert len(rows["images"]) == len(images)
    # The next scan tries it again, finds the same, and writes nothing.
    before = objects_of(out)
    assert scan(registry.host, out, *JOBS).result["errors"] == ended.result["errors"]
    assert objects_of(out) == before
    registry.repair(layer.digest, layer.data)
    registry.forget()
    mended = scan(registry.host, out, *JOBS)
    assert (mended.status, mended.result["new_layers"], mended.result["errors"]) == (0, 1, [])
    assert tables_of(out) == tables_of(whole)


def test_damaged_facts_are_told_and_made_anew_when_they_are_deleted(
    tmp_path: Path, few: tuple[Tagged, ...], registry: FleetRegistry
) -> None:
    out = tmp_path / "out"
    assert scan(registry.host, out, *JOBS).status == 0
    whole = tables_of(out)
    layer = _images(few)[0].layers[-1].digest
    (facts,) = (out / "facts").rglob(f"{layer.partition(':')[2]}.*")
    facts.write_bytes(facts.read_bytes()[:-100])
    for bucket in (out / "images").rglob("*.parquet"):
        bucket.unlink()
    ended = scan(registry.host, out, *JOBS)
    assert ended.status == 1
    with_layer = {image.digest for image in _images(few) if layer in [each.digest for each in image.layers]}
    rows = tables_of(out)["images"]
    assert {row.image for row in rows if row.status == "error"} == with_layer
    assert all(str(facts) in (row.error or "") for row in rows if row.status == "error")
    assert all("delete the file" in (row.error or "") for row in rows if row.status == "error")
    facts.unlink()
    assert scan(registry.host, out, *JOBS).status == 0
    assert tables_of(out) == whole


def test_images_that_no_inventory_can_be_made_of_are_rows_that_stay_the_same(
    tmp_path: Path, few: tuple[Tagged, ...], registry: FleetRegistry
) -> None:
    base = few[0].item.images[0].layers[0]
    dangling = io.BytesIO()
    with tarfile.open(fileobj=dangling, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind in (("Files", tarfile.DIRTYPE), ("Files/app.jar", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "Files/nowhere.jar" if kind == tarfile.LNKTYPE else ""
            archive.addfile(member)
    above = samples.layer(dangling.getvalue(), "oci")
    registry.storage.put(Tagged("hostile", "nothing", samples.image("oci", [], [], {})))
    large = samples.layer(samples.small_tar({"Files/Windows/System32/config/SOFTWARE": bytes(1 << 20)}), "oci")
    registry.storage.put(Tagged("hostile", "hive", samples.image("oci", [base, large], [], {})))
    registry.storage.put(Tagged("hostile", "link", samples.image("oci", [base, above], [], {})))
    out = tmp_path / "out"
    hives = ("--max-hive-size", str((1 << 20) - 1))
    ended = scan(registry.host, out, *JOBS, *hives)
    assert {row.reference: row.status for row in tables_of(out)["images"] if row.status != "ok"} == {
        f"{registry.host}/hostile:{tag}": status
        for tag, status in (("nothing", "error"), ("link", "error"), ("hive", "incomplete"))
    }
    told = {error["what"]: error["text"] for error in ended.result["errors"]}
    assert told[large.digest].startswith("entry 'Files/Windows/System32/config/SOFTWARE': a hive of 1048576 bytes")
    link = told[f"{registry.host}/hostile:link"]
    assert link.startswith(f"{above.digest}/layer.db: ")
    assert "a hard link to 'Files/nowhere.jar', which no layer has" in link
    before = objects_of(out)
    assert scan(registry.host, out, *JOBS, *hives).result["errors"] == ended.result["errors"]
    assert objects_of(out) == before


def test_a_layer_that_kills_workers_is_a_row_and_its_neighbours_are_read(
    tmp_path: Path, few: tuple[Tagged, ...], registry: FleetRegistry
) -> None:
    poison = _images(few)[0].layers[-1].digest
    preload = tmp_path / "preload.py"
    preload.write_text(
        "import os\n"
        "from wclayer.fleet.scan import layer\n"
        "from wclayer.inventory.facts.reading import make_facts as usual\n"
        "def make_facts(open_blob, descriptor, target):\n"
        f"    if descriptor.digest == {poison!r}:\n"
        f"        os.kill(os.getpid(), {signal.SIGKILL:d})\n"
        "    return usual(open_blob, descriptor, target)\n"
        "layer.make_facts = make_facts\n"
    )
    out = tmp_path / "out"
    with Cluster(tmp_path / "cluster", 2, ["--preload", str(preload)], restarts=True) as cluster:
        ended = scan(registry.host, out, "--dask", cluster.address)
    assert ended.status == 1, ended.told
    assert [error["what"] for error in ended.result["errors"]] == [poison]
    assert "4 workers ended while they worked on it" in ended.result["errors"][0]["text"]
    rows = tables_of(out)
    assert {row.layer for row in rows["layers"] if row.error is None} == {
        layer.digest for image in _images(few) for layer in image.layers
    } - {poison}


def test_an_image_whose_configuration_means_other_layers_is_a_row(tmp_path: Path, few: tuple[Tagged, ...]) -> None:
    """Its layers are sound, and are read for other images."""
    good = next(image for image in _images(few) if len(image.layers) > 2)
    first, second, *others = good.layers
    # The configuration is made of the tars, the manifest of the blobs.
    meant = [replace(first, tar=second.tar), replace(second, tar=first.tar), *others]
    swapped = samples.image("oci", meant, [samples.step("ADD")] * len(meant), {})
    tagged = (Tagged("good", "1", good), Tagged("swapped", "1", swapped))
    with FleetRegistry(tmp_path / "registry", tagged) as served:
        ended = scan(served.host, tmp_path / "out", *JOBS)
        assert ended.status == 1
        (error,) = ended.result["errors"]
    assert error["what"] == f"{served.host}/swapped:1"
    assert f"layer 1 of {len(good.layers)} has the diffID {first.diff_id}" in error["text"]
    rows = tables_of(tmp_path / "out")
    assert {row.repository: row.status for row in rows["images"]} == {"good": "ok", "swapped": "error"}
    assert not [row for row in rows["layers"] if row.error is not None]


def test_a_reference_that_cannot_be_read_is_a_row(tmp_path: Path, registry: FleetRegistry) -> None:
    known = registry.references[0]
    file = tmp_path / "references"
    file.write_text(f"{known}\n{registry.host}/apps/app01:nowhere\nlocalhost:1/app:1\nNo Reference\n")
    ended = scan(str(file), tmp_path / "out", *JOBS, "--retries", "0")
    assert ended.status == 1
    assert {row.reference: row.status for row in tables_of(tmp_path / "out")["images"]} == {
        known: "ok", f"{registry.host}/apps/app01:nowhere": "error", "localhost:1/app:1": "error", f"{file}:4": "error",
    }  # fmt: skip
    assert len(ended.result["errors"]) == 3


def test_only_what_a_scan_reads_goes_when_it_is_gone(tmp_path: Path, registry: FleetRegistry) -> None:
    out = tmp_path / "out"
    assert scan(registry.host, out, *JOBS).status == 0
    before = tables_of(out)
    assert scan(registry.host, out, *JOBS, "--name", "apps/app01").result["unchanged"]
    file = tmp_path / "references"
    file.write_text(f"{registry.references[0]}\n{registry.references[1]}\n")
    assert scan(str(file), out, *JOBS).result["new_layers"] == 0
    rows = tables_of(out)
    assert len(rows["images"]) == len(before["images"]) + 2
    assert {name: rows[name] for name in rows if name != "images"} == {
        name: before[name] for name in before if name != "images"
    }
    file.write_text(f"{registry.references[1]}\n")
    assert scan(str(file), out, *JOBS).result["removed"] == 1
    assert len(tables_of(out)["images"]) == len(before["images"]) + 1


def test_the_newest_tags_are_read(tmp_path: Path, registry: FleetRegistry) -> None:
    out = tmp_path / "out"
    ended = scan(registry.host, out, *JOBS, "--newest", "1")
    assert {row.repository for row in tables_of(out)["images"]} == {"apps/app01", "apps/app02"}
    assert ended.result["references"] == 2
    registry.forget()
    assert scan(registry.host, out, *JOBS, "--newest", "1").result["unchanged"]


def test_a_place_that_cannot_be_written_ends_the_scan_with_one_error(tmp_path: Path, registry: FleetRegistry) -> None:
    out = tmp_path / "out"
    assert scan(registry.host, out, *JOBS, "--name", "apps/app01").status == 0
    (out / "facts" / "sha256").rename(out / "facts" / "away")
    (out / "facts" / "sha256").write_text("in the way")
    ended = scan(registry.host, out, *JOBS)
    assert ended.status not in (0, 1)
    assert ended.told.splitlines()[-1].startswith(f"wclayer: scan fleet: {out}/facts")
    assert "Traceback" not in ended.told


def test_an_address_without_a_scheduler_is_one_error(tmp_path: Path, registry: FleetRegistry) -> None:
    for address, status, told in (
        ("tcp://127.0.0.1:9", 1, "cannot be reached"), ("nowhere", 5, "is not the address of a scheduler")
    ):  # fmt: skip
        with Scan(
            command(registry.host, tmp_path / "out", "--dask", address, "-q"),
            {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"},
        ) as running:
            ended = running.end()
        assert ended.status == status
        assert told in ended.told
        assert len(ended.told.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", ["worker", "late worker"])
def test_another_version_on_a_worker_is_refused(tmp_path: Path, registry: FleetRegistry, part: str) -> None:
    preload = tmp_path / "preload.py"
    preload.write_text("from wclayer import _version\n_version.__version__ = '0.0.1'\n")
    out = tmp_path / "out"
    with (
        Cluster(tmp_path / "cluster", 1 if part == "worker" else 0, ["--preload", str(preload)]) as cluster,
        Scan(command(registry.host, out, "--dask", cluster.address)) as running,
    ):
        if part == "late worker":
            running.when(lambda: (out / "fleet.json").exists())
            cluster.join()
        ended = running.end()
    assert ended.status == 10
    assert f"install wclayer=={__version__}" in ended.told.splitlines()[-1]


def test_workers_without_the_folder_are_told(tmp_path: Path, registry: FleetRegistry) -> None:
    """A folder that only the client has: here, the workers see another one, in a namespace of their own."""
    preload = tmp_path / "preload.py"
    preload.write_text("from wclayer.fleet.scan import environment\nenvironment.Dataset.exists = lambda self: False\n")
    with Cluster(tmp_path / "cluster", 1, ["--preload", str(preload)]) as cluster:
        ended = scan(registry.host, tmp_path / "out", "--dask", cluster.address)
    assert ended.status == 2
    assert "choose a folder that all workers share" in ended.told.splitlines()[-1]


def test_too_little_memory_is_refused(tmp_path: Path, registry: FleetRegistry) -> None:
    ended = scan(registry.host, tmp_path / "out", *JOBS, "--memory", "60MiB")
    assert ended.status == 5
    assert "at least 268435456" in ended.told


def test_two_scans_at_once_are_refused(tmp_path: Path, registry: FleetRegistry) -> None:
    out = tmp_path / "out"
    # What a scan holds as long as it runs.
    with Dataset(out).locked():
        second = scan(registry.host, out, *JOBS)
    assert second.status == 9
    assert "another scan is writing to it" in second.told
    assert scan(registry.host, out, *JOBS).status == 0


def test_a_result_is_told_in_json(tmp_path: Path, registry: FleetRegistry) -> None:
    ended = scan(registry.host, tmp_path / "out", *JOBS)
    assert json.dumps(ended.result)
    assert ended.result["source"] == registry.host
