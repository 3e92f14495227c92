"""Whatever its neighbours take, the verb takes under the same words; and files that only it shows."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.explore.made import Driven, drive
from tests.explore.process import Terminal
from tests.explore.subjects import base_disk, base_tar
from tests.images import samples
from tests.images.forms import write_docker_archive, write_layout, write_layout_archive
from tests.support import run
from wclayer.cli.explore import _explored
from wclayer.cli.layer_argument import _STORE, LayerArgument
from wclayer.errors import InvalidDataError, InvalidParameterError, LayerError, NotALayerError, PathNotFoundError
from wclayer.explore.model.explored import Explorable

REFERENCES = (
    "docker-archive:{0}/docker.tar", "docker-archive:{0}/docker.tar:app:1", "{0}/docker.tar", "{0}/docker.tar.gz",
    "oci-archive:{0}/oci.tar:1", "{0}/oci.tar", "oci:{0}/layout:1", "oci:{0}/layout", "{0}/layout", "{0}/base",
    "{0}/base.vhdx", "{0}/base.tar", "{0}/base.tar.gz", "{0}/volume.ntfs",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("references")
    app = samples.image("docker", [samples.layer(samples.sample_base_tar())], [samples.step("Apply image")], {})
    write_docker_archive(folder / "docker.tar", {"app:1": app})
    (folder / "docker.tar.gz").write_bytes(gzip.compress((folder / "docker.tar").read_bytes(), 1))
    write_layout_archive(folder / "oci.tar", {"1": app})
    write_layout(folder / "layout", {"1": app})
    base_disk(folder)
    run("convert", "--to", "ntfs", "-o", folder / "volume.ntfs", folder / "base")
    (folder / "base.tar.gz").write_bytes(gzip.compress(base_tar(folder).read_bytes(), 1))
    return folder


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, in which nothing is left at the end."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def opened(text: str, folder: Path) -> tuple[Explorable, click.Context]:
    context = click.Context(click.Command("explore"))
    context.meta[_STORE] = str(folder / "store")
    return _explored(LayerArgument(text, context)), context


@pytest.mark.parametrize("reference", REFERENCES)
def test_it_takes_whatever_other_verbs_take(folder: Path, reference: str) -> None:
    text = reference.format(folder)
    explored, context = opened(text, folder)

    async def steps(driven: Driven) -> None:
        assert "C:" in driven.text()
        assert "License.txt" in driven.text()

    drive(explored, steps)
    explored.close()
    context.close()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("missing", PathNotFoundError), ("text", InvalidDataError), ("zip", InvalidDataError),
        ("empty", InvalidDataError), ("hive", InvalidDataError), ("folder", NotALayerError),
        ("cut.gz", InvalidDataError), ("-", InvalidParameterError), ("other.tar", InvalidDataError),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_told_with_what_can(
    folder: Path, tmp_path: Path, name: str, kind: type[LayerError]
) -> None:
    (tmp_path / "text").write_bytes(b"some text\n" * 1000)
    (tmp_path / "zip").write_bytes(b"PK\3\4" + bytes(1000))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "hive").write_bytes(b"regf" + bytes(8000))
    (tmp_path / "cut.gz").write_bytes((folder / "base.tar.gz").read_bytes()[:100_000])
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.tar").write_bytes((folder / "base.tar").read_bytes().replace(b"Files/", b"Xiles/"))
    with pytest.raises(kind) as caught:
        opened(name if name == "-" else str(tmp_path / name), folder)
    if name in ("text", "zip", "empty", "hive"):
        assert "can be shown" in str(caught.value)


def test_a_disk_and_a_tar_are_not_compared(folder: Path) -> None:
    for name in ("base.vhdx", "base.tar"):
        done = run("explore", folder / "base", folder / name, status=None)
        assert done.returncode
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_what_a_tar_needs_is_removed_when_the_program_is_ended(
    folder: Path, temporary: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(temporary))
    terminal = Terminal(folder / "base.tar.gz", controlling=True)
    try:
        terminal.read_until(b"License.txt")
        assert len(list(temporary.iterdir())) == 1
        terminal.process.send_signal(number)
        if number != signal.SIGKILL:
            terminal.read_until(b"\x1b[?1049l")
        terminal.process.wait(60)
        os.close(terminal.parent)
        assert b"Traceback" not in terminal.seen
    finally:
        terminal.process.kill()
        terminal.process.wait()
    if number == signal.SIGKILL:
        # The next one removes it.
        explored, context = opened(str(folder / "base.tar"), folder)
        explored.close()
        context.close()
    assert list(temporary.iterdir()) == []


def test_an_interrupt_while_a_tar_is_read_leaves_nothing(folder: Path, temporary: Path) -> None:
    program = (
        "import os, signal, sys; from wclayer.layers.indexed_tar.layer import index_tar\n"
        "def note(state): os.kill(os.getpid(), signal.SIGINT)\n"
        "index_tar(sys.argv[1], progress=note)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder / "base.tar.gz")], capture_output=True, check=False,
        env=os.environ | {"TMPDIR": str(temporary)},
    )  # fmt: skip
    assert b"KeyboardInterrupt" in done.stderr
    assert list(temporary.iterdir()) == []
