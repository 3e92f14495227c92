"""Images that are written to the standard output: nothing else is in it, and no file is called "-"."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.images import samples
from tests.images.stores import fill
from tests.support import nothing_left_in, run
from wclayer.errors import InvalidParameterError
from wclayer.images.docker_archive import DockerArchiveSource
from wclayer.images.store import ImageStore

NAMES = ("-", "/dev/stdout", "/dev/fd/1")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    store = ImageStore()
    fill(store, "app:1", samples.small())
    return store


def check_archive(data: bytes, file: Path) -> None:
    """Reads an archive with `tarfile` to its end, and with our own reader the image in it."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r|") as archive:
        assert "index.json" in [member.name for member in archive]
    assert not data[-1024:].strip(b"\0")
    file.write_bytes(data)
    with DockerArchiveSource(file) as source:
        assert source.resolve().digest == samples.small().digest


@pytest.mark.parametrize(
    "verb",
    [
        ("save", "app:1", "-o", "{}"),
        ("save", "app:1", "--json", "-o", "{}"),
        ("save", "app:1", "--format", "oci-archive", "-q", "-o", "{}"),
        ("copy", "store:app:1", "docker-archive:{}"),
        ("copy", "--json", "store:app:1", "oci-archive:{}:x"),
        ("config", "app:1", "-t", "docker-archive:{}"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("target", NAMES)
def test_nothing_but_the_archive_is_in_the_standard_output(
    store: ImageStore, verb: Sequence[str], target: str, tmp_path: Path
) -> None:
    with nothing_left_in(Path()):
        done = run(*(word.format(target) for word in verb))
    check_archive(done.stdout, tmp_path / "archive.tar")
    # What is told is told beside it.
    if "--json" in verb:
        record = json.loads(done.stderr)
        assert (record[0] if isinstance(record, list) else record)["digest"] == samples.small().digest
    else:
        assert samples.small().digest in done.stderr.decode()


def test_a_folder_is_not_written_to_the_standard_output(store: ImageStore) -> None:
    status = InvalidParameterError.exit_status
    with nothing_left_in(Path()):
        for arguments in (("save", "app:1", "--format", "oci", "-o", "-"), ("copy", "store:app:1", "oci:-:x")):
            assert b"a layout is a folder; write oci-archive:-" in run(*arguments, status=status).stderr
    run("copy", "store:app:1", "oci:./-:x")
    assert Path("-/index.json").is_file()
