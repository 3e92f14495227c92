"""Credentials reach the workers, and stand nowhere: in no log, no task, no page of the dashboard, no file."""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from distributed import Client

from tests.fleet.registry_fleet import Fleet, FleetRegistry
from tests.fleet.scans import Cluster, Scan, command, facts_of, tables_of, until

USER, SECRET = "fleet", "Geheimes-Wort-4711"
PAGES = (
    "/info/main/workers.html", "/info/main/exceptions.html", "/info/main/logs.html", "/json/counts.json",
    "/json/identity.json", "/metrics", "/status",
)  # fmt: skip


def _forms() -> list[str]:
    whole = f"{USER}:{SECRET}"
    return [SECRET, base64.b64encode(whole.encode()).decode(), base64.b64encode(SECRET.encode()).decode()]


def _has_secret(text: str) -> bool:
    return any(form in text for form in _forms())


def test_credentials_reach_the_workers_and_stand_nowhere(tmp_path: Path, fleet: Fleet) -> None:
    few = [each for each in fleet.tagged if each.repository in ("apps/app01", "apps/app02", "apps/app03")]
    out = tmp_path / "out"
    with (
        FleetRegistry(tmp_path / "registry", few, users={USER: SECRET}) as registry,
        Cluster(tmp_path / "cluster", 2) as cluster,
    ):
        authfile = tmp_path / "auth.json"
        record = {"auths": {registry.host: {"auth": _forms()[1]}}}
        authfile.write_text(json.dumps(record))
        words = command(registry.host, out, "--dask", cluster.address, "--authfile", str(authfile))
        seen = ""
        # The file is for the client alone: the worker that joins later has the credentials, too.
        with Scan(words) as running, Client(cluster.address) as client:
            running.when(lambda: len(facts_of(out)) >= 3)
            cluster.join()
            authfile.unlink()
            seen += _seen(cluster, client)
            ended = running.end()
            assert ended.status == 0, ended.told
            seen += _seen(cluster, client) + ended.told + json.dumps(ended.result)
            # They go when the scan ends.
            assert client.run_on_scheduler(_plugins) == []
            assert not any(client.run(_environments).values())
        assert "layer" in seen
        assert not _has_secret(seen)
        assert not _has_secret(cluster.log)
        for folder in (out, tmp_path / "cluster"):
            for file in folder.rglob("*"):
                assert not file.is_file() or not any(form.encode() in file.read_bytes() for form in _forms()), file
    assert {row.status for row in tables_of(out)["images"]} == {"ok"}


def test_credentials_leave_the_cluster_when_the_client_is_killed(tmp_path: Path, fleet: Fleet) -> None:
    few = [each for each in fleet.tagged if each.repository == "apps/app01"]
    out = tmp_path / "out"
    with (
        FleetRegistry(tmp_path / "registry", few, users={USER: SECRET}) as registry,
        Cluster(tmp_path / "cluster", 1) as cluster,
    ):
        authfile = tmp_path / "auth.json"
        authfile.write_text(json.dumps({"auths": {registry.host: {"auth": _forms()[1]}}}))
        with (
            Scan(command(registry.host, out, "--dask", cluster.address, "--authfile", str(authfile))) as running,
            Client(cluster.address) as client,
        ):
            running.when(lambda: len(facts_of(out)) >= 1)
            assert client.run_on_scheduler(_plugins) != []
            running.kill()
            until(lambda: client.run_on_scheduler(_plugins) == [] and not any(client.run(_environments).values()))


def test_a_wrong_password_is_told_without_it(tmp_path: Path, fleet: Fleet) -> None:
    few = [each for each in fleet.tagged if each.repository == "apps/app01"]
    with FleetRegistry(tmp_path / "registry", few, users={USER: "another"}) as registry:
        authfile = tmp_path / "auth.json"
        authfile.write_text(json.dumps({"auths": {registry.host: {"auth": _forms()[1]}}}))
        file = tmp_path / "references"
        file.write_text("\n".join(registry.references))
        with Scan(command(str(file), tmp_path / "out", "--jobs", "1", "--authfile", str(authfile))) as running:
            ended = running.end()
    assert ended.status == 1
    assert not _has_secret(ended.told + json.dumps(ended.result))
    rows = tables_of(tmp_path / "out")["images"]
    assert {row.status for row in rows} == {"error"}
    assert not _has_secret(str(rows))


def _plugins(dask_scheduler: Any = None) -> list[str]:
    return [name for name in dask_scheduler.worker_plugins if name.startswith("wclayer")]


def _environments() -> list[str]:
    from wclayer.fleet.scan import environment

    return list(environment._environments)


def _seen(cluster: Cluster, client: Client) -> str:
    """Everything that somebody sees who looks at the cluster: pages, logs, and what the scheduler knows of tasks."""
    texts = [str(client.get_scheduler_logs()), str(client.get_worker_logs()), str(client.get_events())]
    texts += [str(client.scheduler_info()), str(client.get_task_stream()), str(client.run_on_scheduler(_tasks))]
    keys = re.findall(r"\('layer-[^)]*\)", texts[-1])
    texts.append(str(client.story(*keys[:50])))
    for page in PAGES:
        try:
            with urllib.request.urlopen(cluster.dashboard + page) as answer:
                texts.append(answer.read().decode())
        except urllib.error.HTTPError as error:
            # Dask fails to show some pages while a worker joins.
            texts.append(error.read().decode())
    return "\n".join(texts)


def _tasks(dask_scheduler: Any = None) -> str:
    """What the scheduler keeps of each task: its key, what it calls, and with which arguments."""
    texts = []
    for key, task in dask_scheduler.tasks.items():
        spec = task.run_spec
        texts += [repr(key), repr(task), repr(spec), repr(getattr(spec, "args", "")), repr(getattr(spec, "kwargs", ""))]
    return "\n".join(texts)
