"""Scans of a registry full of images, undisturbed and disturbed: the tables are the same."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.fleet.registry_fleet import Expected, Fleet, FleetRegistry
from tests.fleet.scans import Cluster, Scan, command, facts_of, objects_of, scan, tables_of, until
from wclayer.fleet.model import ImageStatus, Listed, ResolvedImage
from wclayer.fleet.tables.dataset import BucketRows
from wclayer.fleet.tables.rows import add_holdings

JOBS = ("--jobs", "4")


def _has_facts(out: Path, count: int) -> bool:
    return len(facts_of(out)) >= count


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, fleet: Fleet, fleet_registry: FleetRegistry) -> Path:
    """A fleet that was scanned in one go."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    fleet_registry.forget()
    ended = scan(fleet_registry.host, out, *JOBS)
    assert ended.status == 0, ended.told
    blobs = {layer.digest: len(layer.data) for layer in fleet.layers.all}
    served = {digest: size for digest, size in fleet_registry.served().items() if digest in blobs}
    assert served == blobs
    assert {digest: count for digest, count in fleet_registry.downloads().items() if digest in blobs} == dict.fromkeys(
        blobs, 1
    )
    assert (ended.result["new_layers"], ended.result["new_images"]) == (60, 200)
    assert ended.result["bytes_read"] == fleet.windows_bytes
    return out


def test_images_hold_in_the_tables_what_their_inventories_say(
    undisturbed: Path, fleet: Fleet, expected: Expected
) -> None:
    rows = tables_of(undisturbed)
    for digest, image in fleet.images.items():
        wanted = BucketRows()
        manifest, config = image.documents[digest][1], image.config
        resolved = ResolvedImage(
            Listed("", ""), ImageStatus.OK, digest=digest, manifest=manifest, config=config, media_type=image.media_type
        )
        add_holdings(wanted, resolved, expected.inventory(digest))
        for table in ("packages", "updates", "registry", "findings"):
            assert Counter(map(str, getattr(wanted, table))) == Counter(
                str(row) for row in rows[table] if row.image == digest
            )


def test_every_reference_is_a_row(undisturbed: Path, fleet: Fleet, fleet_registry: FleetRegistry) -> None:
    rows = tables_of(undisturbed)["images"]
    assert {row.reference for row in rows} == set(fleet_registry.references)
    assert {row.image for row in rows if row.status == "ok"} == fleet.images.keys()
    assert Counter(row.status for row in rows)["ok"] == 201  # one image has two tags
    assert {row.image for row in rows if row.status == "other-platform"} == {fleet.linux.digest}


def test_a_second_scan_asks_for_manifests_and_writes_nothing(undisturbed: Path, fleet_registry: FleetRegistry) -> None:
    before = objects_of(undisturbed)
    fleet_registry.forget()
    ended = scan(fleet_registry.host, undisturbed, *JOBS)
    assert ended.status == 0, ended.told
    assert ended.result["unchanged"]
    assert not fleet_registry.served()
    assert objects_of(undisturbed) == before


def test_a_worker_that_is_killed_changes_nothing(
    undisturbed: Path, tmp_path: Path, fleet_registry: FleetRegistry
) -> None:
    out = tmp_path / "out"
    with Scan(command(fleet_registry.host, out, *JOBS)) as running:
        for count in (5, 30):
            running.when(partial(_has_facts, out, count))
            os.kill(random.choice(running.workers()), signal.SIGKILL)
        ended = running.end()
    assert ended.status == 0, ended.told
    assert tables_of(out) == tables_of(undisturbed)


def test_a_scan_goes_on_where_a_killed_one_was(
    undisturbed: Path, tmp_path: Path, fleet: Fleet, fleet_registry: FleetRegistry
) -> None:
    out = tmp_path / "out"
    with Scan(command(fleet_registry.host, out, *JOBS)) as running:
        running.when(partial(_has_facts, out, 20))
        running.kill()
        until(lambda: not running.others())
    done = {f"sha256:{file.name[:64]}" for file in facts_of(out)}
    assert 20 <= len(done) < 60
    fleet_registry.forget()
    ended = scan(fleet_registry.host, out, *JOBS)
    assert ended.status == 0, ended.told
    assert not done & fleet_registry.served().keys()
    assert ended.result["new_layers"] == 60 - len(done)
    assert tables_of(out) == tables_of(undisturbed)


def test_workers_of_a_cluster_make_the_same_tables_also_if_one_is_killed(
    undisturbed: Path, tmp_path: Path, fleet_registry: FleetRegistry
) -> None:
    out = tmp_path / "out"
    with (
        Cluster(tmp_path / "cluster") as cluster,
        Scan(command(fleet_registry.host, out, "--dask", cluster.address)) as running,
    ):
        running.when(partial(_has_facts, out, 10))
        os.kill(cluster.workers[0], signal.SIGKILL)
        cluster.join()
        ended = running.end()
        assert ended.status == 0, ended.told
    assert tables_of(out) == tables_of(undisturbed)


def test_an_interrupt_ends_all_processes(tmp_path: Path, fleet_registry: FleetRegistry) -> None:
    out = tmp_path / "out"
    with Scan(command(fleet_registry.host, out, *JOBS)) as running:
        running.when(partial(_has_facts, out, 5))
        running.interrupt()
        ended = running.end()
        # One that has ended may be seen for a moment.
        until(lambda: not running.others())
    assert ended.status == 130
    assert ended.told.splitlines()[-1] == "wclayer: interrupted"
    assert "Traceback" not in ended.told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_leaves_no_process_and_no_folder(
    tmp_path: Path, fleet_registry: FleetRegistry, number: signal.Signals
) -> None:
    out, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    with Scan(command(fleet_registry.host, out, *JOBS), {"TMPDIR": str(temporary)}) as running:
        running.when(partial(_has_facts, out, 2))
        os.kill(running.pid, number)
        ended = running.end()
        until(lambda: not running.others())
    assert ended.status == 128 + number
    assert ended.told.splitlines()[-1] == "wclayer: interrupted"
    assert not [path for path in temporary.rglob("*") if path.name.startswith(("worker-", "scheduler-"))]
