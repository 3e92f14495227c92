"""The rows of an image say what its inventory, taken alone, and its documents say."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.fleet.registry_fleet import Expected, Fleet
from wclayer.errors import FormatError
from wclayer.fleet.model import ImageStatus, Listed, ResolvedImage
from wclayer.fleet.tables.dataset import BucketRows
from wclayer.fleet.tables.rows import PACKAGES, add_holdings, failed_layer_row, image_row
from wclayer.fleet.tables.schema import TABLES
from wclayer.images.descriptor import OCI_LAYER, Descriptor
from wclayer.inventory.item import ItemKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LISTED = Listed("localhost:5000/apps/a:1", "localhost:5000/apps/a:1", "apps/a", "1")


def _resolved(image: Any, config: bytes | None = None) -> ResolvedImage:
    return ResolvedImage(
        LISTED, digest=image.digest, media_type=image.media_type, manifest=image.manifest,
        config=image.config if config is None else config,
    )  # fmt: skip


@pytest.fixture(scope="module")
def names(fleet: Fleet) -> list[str]:
    """Some images: one of each repository."""
    found = {each.repository: each.name for each in fleet.tagged if each.item not in (fleet.linux, fleet.artifact)}
    return [*found.values()][::6]


def test_every_item_is_a_row_of_one_table(fleet: Fleet, expected: Expected, names: list[str]) -> None:
    kinds: Counter[ItemKind] = Counter()
    for name in names:
        for image in fleet.tag(name).images:
            inventory = expected.inventory(image.digest)
            rows = BucketRows()
            add_holdings(rows, _resolved(image), inventory)
            found = [(row.kind, row.name, row.version, row.publisher, row.place, row.layer, row.is_base, row.properties)
                     for table in (rows.packages, rows.registry) for row in table]  # fmt: skip
            found += [
                ("update", row.kb or row.name, row.version, "Microsoft Corporation", row.place, row.layer, row.is_base,
                 json.dumps(json.loads(row.properties)
                            | {"package": row.name, "state": row.state} | ({"kb": row.kb} if row.kb else {}),
                            sort_keys=True, ensure_ascii=False))
                for row in rows.updates
            ]  # fmt: skip
            items = [item for item in inventory.items if item.kind is not ItemKind.PE_FILE]
            wanted = []
            for item in items:
                told = item.to_json()
                properties = json.dumps(told["properties"], sort_keys=True, ensure_ascii=False)
                wanted.append((told["kind"], told["name"] if item.kind is not ItemKind.UPDATE or "kb" in item.properties
                               else item.properties["package"], told["version"], told["publisher"], told["from"],
                               told["digest"], told["is_base"], properties))  # fmt: skip
            assert Counter(found) == Counter(wanted)
            assert [(row.kind, row.place, row.text) for row in rows.findings] == [
                (str(each.kind), each.place, each.text) for each in inventory.findings
            ]
            assert {row.image for table in TABLES[2:6] for row in rows.of(table)} == {image.digest}
            kinds.update(item.kind for item in items)
    assert len(kinds) > 10
    assert kinds.keys() & PACKAGES
    assert kinds[ItemKind.UPDATE]


def test_an_image_s_row_says_what_its_documents_say(fleet: Fleet, expected: Expected, names: list[str]) -> None:
    for name in names:
        for image in fleet.tag(name).images:
            inventory = expected.inventory(image.digest)
            row = image_row(_resolved(image), "localhost:5000", NOW, inventory)
            manifest, config = json.loads(image.manifest), json.loads(image.config)
            sizes = [layer["size"] for layer in manifest["layers"]]
            assert (row.reference, row.source, row.repository, row.tag) == (
                LISTED.reference, "localhost:5000", "apps/a", "1"
            )  # fmt: skip
            assert (row.image, row.status, row.error, row.scanned) == (image.digest, "ok", None, NOW)
            assert row.layers == tuple(layer["digest"] for layer in manifest["layers"])
            assert row.diff_ids == tuple(config["rootfs"]["diff_ids"])
            assert (row.layer_count, row.size) == (len(sizes), sum(sizes))
            own = [layer.digest for layer in inventory.layers if not layer.is_base]
            assert row.base_layers == len(sizes) - len(own)
            assert row.own_size == sum(each["size"] for each in manifest["layers"] if each["digest"] in own)
            system = inventory.operating_system
            assert system is not None
            assert (row.os_version, row.product_name) == (system.version, system.name)
            assert row.os_version == f"10.0.{row.build}.{row.revision}"
            assert (row.os_name, row.architecture) == (config["os"], config["architecture"])
            assert row.created is not None
            assert row.created.isoformat()[:19] == config["created"][:19]


def test_what_a_container_runs_is_json(fleet: Fleet) -> None:
    (image,) = fleet.twice.images
    config = json.loads(image.config)
    config["config"] = {"User": "ContainerUser", "Entrypoint": ["a", "ü"], "Cmd": [], "Labels": {"b": "2", "a": "1"}}
    row = image_row(_resolved(image, json.dumps(config).encode()), "s", NOW)
    assert (row.user, row.entrypoint, row.cmd, row.labels) == (
        "ContainerUser", '["a", "ü"]', None, '{"a": "1", "b": "2"}'
    )  # fmt: skip


def test_a_field_of_another_type_is_a_finding(fleet: Fleet) -> None:
    (image,) = fleet.twice.images
    config = json.loads(image.config)
    config["config"] = {"User": 5, "Labels": {"a": 1}, "Cmd": ["run"]}
    resolved = _resolved(image, json.dumps(config).encode())
    row = image_row(resolved, "s", NOW)
    assert (row.user, row.labels, row.cmd, row.status) == (None, None, '["run"]', "ok")
    rows = BucketRows()
    add_holdings(rows, resolved, None)
    assert [(row.image, row.kind, row.place) for row in rows.findings] == [
        (image.digest, "damaged", "config: User"), (image.digest, "damaged", "config: Labels")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2024-02-13T10:20:30.123456789Z", datetime(2024, 2, 13, 10, 20, 30, 123456, UTC)),
        ("2024-02-13T10:20:30+02:00", datetime(2024, 2, 13, 8, 20, 30, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00+01:00", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_times_are_those_that_there_are(text: str, wanted: datetime | None, fleet: Fleet) -> None:
    (image,) = fleet.twice.images
    config = json.loads(image.config) | {"created": text}
    assert image_row(_resolved(image, json.dumps(config).encode()), "s", NOW).created == wanted


def test_an_image_that_cannot_be_read_is_a_row(fleet: Fleet) -> None:
    failed = ResolvedImage(LISTED, ImageStatus.ERROR, "HTTP 404: manifest unknown")
    row = image_row(failed, "s", NOW)
    assert (row.status, row.error, row.image, row.layers, row.layer_count) == ("error", failed.error, None, (), 0)
    rows = BucketRows()
    add_holdings(rows, failed, None)
    assert rows == BucketRows()
    (image,) = fleet.twice.images
    layer = image.layers[-1].digest
    row = image_row(_resolved(image), "s", NOW, error="has another digest", error_layer=layer)
    assert (row.status, row.error, row.error_layer) == ("incomplete", "has another digest", layer)
    assert row.layers[-1] == layer
    failed_row = failed_layer_row(Descriptor(OCI_LAYER, layer, 5), "has another digest", is_base=False)
    assert (failed_row.layer, failed_row.stored_size, failed_row.error) == (layer, 5, "has another digest")


def test_documents_that_do_not_parse_are_an_error(fleet: Fleet) -> None:
    (image,) = fleet.twice.images
    with pytest.raises(FormatError):
        image_row(replace(_resolved(image), config=b"{"), "s", NOW)
