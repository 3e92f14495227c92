"""`wclayer fleet list`, and registries that list what they should not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.registry_fleet import Fleet, FleetRegistry
from tests.images import samples
from tests.images.registry import FakeRegistry, Reply, faults
from tests.images.registry.exchange import Request
from tests.images.registry.faults import Fault
from tests.support import run
from wclayer.errors import RegistryError
from wclayer.fleet.access import ImageAccess
from wclayer.fleet.model import Listed
from wclayer.fleet.sources import list_images
from wclayer.images.registry import Credentials, RegistryOptions


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def _listed(registry: FakeRegistry) -> list[Listed]:
    options = RegistryOptions(credentials=Credentials(), retries=0)
    with ImageAccess(options) as access:
        return list(list_images(registry.host, access))


def _fill(registry: FakeRegistry, *repositories: str) -> None:
    image = samples.small("oci")
    for repository in repositories:
        registry.contents.put_manifest(repository, image.manifest, image.media_type, "1")


def test_the_command_lists_what_a_scan_would_read(fleet_registry: FleetRegistry, tmp_path: Path) -> None:
    host = fleet_registry.host
    wanted = sorted(text for text in fleet_registry.references if "/windows/" in text and ":10.0.17763." in text)
    options = ("--name", "windows/*", "--tag", "10.0.17763.*")
    listed = run("fleet", "list", "--from", host, *options).stdout.decode()
    assert sorted(listed.splitlines()) == wanted != []
    file = tmp_path / "references"
    file.write_text(listed)
    assert run("fleet", "list", "--from", str(file)).stdout.decode() == listed
    assert run("fleet", "list", "--from", "-", stdin=listed.encode()).stdout.decode() == listed
    records = json.loads(run("fleet", "list", "--from", host, *options, "--max-requests", "100", "--json").stdout)
    assert sorted(record["reference"] for record in records) == wanted
    assert {record["error"] for record in records} == {None}


def test_the_command_lists_the_newest_tags(fleet: Fleet, fleet_registry: FleetRegistry) -> None:
    host = fleet_registry.host
    made: dict[str, list[tuple[str, str]]] = {}
    for each in fleet.tagged:
        if each.repository.startswith("windows/") and each.item is not fleet.artifact:
            created = max(image.record["created"] for image in each.item.images)
            made.setdefault(each.repository, []).append((created, each.tag))
    assert len(made) == 2
    for newest in (1, 3, 1000):
        listed = run("fleet", "list", "--from", host, "--name", "windows/*", "--newest", str(newest)).stdout.decode()
        found = [reference.removeprefix(f"{host}/").rpartition(":")[::2] for reference in listed.split()]
        for repository, tags in made.items():
            times = {tag: created for created, tag in tags}
            kept = [times[tag] for name, tag in found if name == repository]
            assert sorted(kept) == sorted(times.values())[-newest:]
    assert len(listed.split()) == sum(map(len, made.values()))


def test_the_command_tells_what_it_cannot_list(tmp_path: Path) -> None:
    file = tmp_path / "references"
    file.write_text("localhost:5000/app:1\n\x1b[31mred\n")
    done = run("fleet", "list", "--from", str(file), status=1)
    assert done.stdout == b"localhost:5000/app:1\n"
    assert done.stderr.decode().startswith(f"wclayer: {file}:2: \\x1b[31mred: is not the name of an image")
    (_, record) = json.loads(run("fleet", "list", "--from", str(file), "--json", status=1).stdout)
    assert record["error"]
    for words, expected in (
        (("no-such-source",), "is no source of images, and no file: write the host of a registry"),
        ((str(file), "--max-requests", "fast"), "fast: is no number of requests; write 20"),
        ((str(file), "--name", ""), "a pattern has 1 to 1024 characters"),
    ):
        assert expected in run("fleet", "list", "--from", *words, status=5).stderr.decode()


def test_what_is_listed_means_itself_as_a_line_of_a_file(tmp_path: Path) -> None:
    """A repository may be called as a place of this machine is."""
    (tmp_path / "first").write_text("store\nlocalhost:5000/app:1\n")
    listed = run("fleet", "list", "--from", str(tmp_path / "first")).stdout
    assert listed.splitlines() == [b"docker://store:latest", b"localhost:5000/app:1"]
    (tmp_path / "second").write_bytes(listed)
    assert run("fleet", "list", "--from", str(tmp_path / "second")).stdout == listed


def test_names_that_are_none_are_told_and_never_asked_for(fake: FakeRegistry) -> None:
    _fill(fake, "app")
    names = ["app", "App", "../../etc", "a b", "a\x1b[31m", "app:1", "app@sha256:" + "0" * 64, "", "a" * 300, "app/"]
    data = json.dumps({"repositories": names}).encode()
    fake.faults.append(faults.body("catalogue", data, "application/json"))
    good, *bad = _listed(fake)
    assert good == Listed(f"{fake.host}/app:1", f"{fake.host}/app:1", "app", "1")
    assert len(bad) == len(names) - 1
    assert all(item.error and item.reference.isprintable() and len(item.reference) < 200 for item in bad)
    assert [request.repository for request in fake.asked("tags")] == ["app"]


def test_tags_that_are_none_are_told(fake: FakeRegistry) -> None:
    _fill(fake, "app")
    data = json.dumps({"tags": ["1", "no tag", "\x1b", "x" * 200, "1", "../2"]}).encode()
    fake.faults.append(faults.body("tags", data, "application/json"))
    good, *bad = _listed(fake)
    assert good.reference == f"{fake.host}/app:1"
    assert [item.error.partition(":")[0] for item in bad] == ["the registry lists a tag that is none"] * 4
    assert all(item.reference.isprintable() for item in bad)


def _failing(names: set[str], status: int) -> Fault:
    """Repositories whose tags cannot be listed."""

    def change(request: Request, reply: Reply) -> Reply:
        failed = request.repository in names
        return Reply.error(status, "UNKNOWN", "unknown") if failed else reply

    return Fault("tags", change=change)


def test_a_repository_that_cannot_be_listed_stops_no_other_one(fake: FakeRegistry) -> None:
    names = [f"app-{number:02}" for number in range(60)]
    _fill(fake, *names)
    fake.faults += [_failing({"app-03"}, 403), _failing(set(names[20:35]), 500), _failing({"app-50"}, 404)]
    found = _listed(fake)
    failed = {item.repository: item.error for item in found if item.error}
    assert failed.keys() == {"app-03", *names[20:35], "app-50"}
    assert "denies the list of tags" in failed["app-03"]
    assert "status 500" in failed["app-20"]
    assert "does not have the list of tags" in failed["app-50"]
    assert len(found) == 60


def test_a_registry_that_fails_again_and_again_is_given_up(fake: FakeRegistry) -> None:
    names = [f"app-{number:03}" for number in range(400)]
    _fill(fake, *names)
    fake.faults.append(_failing(set(names), 500))
    with pytest.raises(RegistryError, match="status 500, asked for the list of tags"):
        _listed(fake)
    assert len(fake.asked("tags")) < 120
