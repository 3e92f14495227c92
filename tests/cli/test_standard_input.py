"""`-` where a verb reads a file: the standard input, a pipe or a file that was redirected to it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import wclayer
from tests.support import run
from wclayer.cli.group import USAGE_ERROR
from wclayer.errors import InvalidParameterError
from wclayer.layers.inputs import STANDARD_INPUT, has_any_place, open_any_place, open_stream

REG = b'Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\New]\r\n"a"="b"\r\n'
DOCKERFILE = b"FROM scratch\nLABEL a=b\n"


def piped(*arguments: str | Path, data: bytes, status: int = 0) -> subprocess.CompletedProcess[bytes]:
    """Runs the command with a pipe as its standard input."""
    command = [sys.executable, "-m", "wclayer", *map(str, arguments)]
    done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=120)
    assert done.returncode == status, done.stderr
    assert b"Traceback" not in done.stderr
    return done


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file named `-` in it that nobody means, and a store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    (tmp_path / "-").write_bytes(b"what nobody means")
    return tmp_path


@pytest.fixture
def image(here: Path) -> str:
    """The name of an image without layers in the store."""
    (here / "context").mkdir()
    (here / "Dockerfile").write_bytes(DOCKERFILE)
    run("build", "-f", "Dockerfile", "-t", "app:1", "context")
    return "app:1"


def plain_tar() -> bytes:
    """A tar with one file."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        entry = tarfile.TarInfo("app/x.txt")
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    return target.getvalue()


def base_tar(layers: Path) -> bytes:
    return (layers / "base.tar").read_bytes()


# What is read on.


def test_import_reads_a_tar(here: Path, layers: Path) -> None:
    for name, arguments in {"a": ("import", "a"), "b": ("import", "-i", "-", "b")}.items():
        assert b"<stdin>" not in piped(*arguments, data=base_tar(layers)).stdout
        assert wclayer.layer_exists(here / name)
    with open(layers / "base.tar", "rb") as file:
        run("import", "-i", "-", "c", stdin=file.read())
    assert b"<stdin>" in piped("import", "-i", "-", "d", data=b"no tar" * 1000, status=6).stderr
    run("import", "-i", "./-", "e", status=6)


def test_convert_reads_a_tar(here: Path, layers: Path) -> None:
    run("convert", "--reproducible", layers / "base.tar", "-o", here / "a.vhdx")
    piped("convert", "--reproducible", "-", "-o", here / "b.vhdx", data=base_tar(layers))
    run("convert", "--reproducible", "-", "-o", here / "c.vhdx", stdin=base_tar(layers))
    assert (here / "a.vhdx").read_bytes() == (here / "b.vhdx").read_bytes() == (here / "c.vhdx").read_bytes()


def test_reg_import_reads_a_reg_file(here: Path, layers: Path) -> None:
    run("import", "-i", layers / "base.tar", "layer")
    assert b"2 steps" in piped("reg", "import", "layer", "-", data=REG).stdout
    assert b"b" in run("reg", "get", "layer", "HKLM\\SOFTWARE\\New", "a").stdout


def test_build_reads_a_dockerfile(image: str) -> None:
    made = piped("build", "-q", "-f", "-", "-t", "app:2", "context", data=DOCKERFILE).stdout
    assert made == run("build", "-q", "-f", "Dockerfile", "-t", "app:1", "context").stdout
    assert b"-f -" in piped("build", "-t", "app:2", "-", data=DOCKERFILE, status=10).stderr


def test_cve_reads_a_document(here: Path, layers: Path) -> None:
    document = (
        b'{"document": {"category": "csaf_vex", "csaf_version": "2.0", "title": "none", "tracking": {"id": "x"}}}'
    )
    for arguments in (("cve", layers / "base", "-"), ("cve", "--msrc", "-", layers / "base")):
        done = subprocess.run(
            [sys.executable, "-m", "wclayer", *map(str, arguments)], input=document, capture_output=True, check=False
        )
        assert b"No such file" not in done.stderr
        assert b"nobody" not in done.stderr


def test_append_reads_a_reg_file_and_attach_a_file(image: str, layers: Path) -> None:
    run("append", image, "--tar", layers / "base.tar", "-t", "app:2")
    piped("append", "app:2", "--reg", "-", "-t", "app:3", data=REG)
    assert b"b" in run("reg", "get", "app:3", "HKLM\\SOFTWARE\\New", "a").stdout
    # A file that was redirected can be read twice.
    run("attach", image, "-", "--type", "application/json", stdin=b"{}")


# What is read at any place.


def test_a_tar_that_was_redirected_is_appended(image: str) -> None:
    run("append", image, "--tar", "-", "-t", "app:2", stdin=plain_tar())
    assert run("cat", "app:2", "C:\\app\\x.txt").stdout == b"x"


@pytest.mark.parametrize("arguments", [("append", "app:1", "--tar", "-", "-t", "app:2"), ("attach", "app:1", "-")])
def test_a_pipe_that_would_be_read_twice_is_refused_with_what_to_do(arguments: tuple[str, ...], image: str) -> None:
    done = piped(*arguments, data=plain_tar(), status=InvalidParameterError.exit_status)
    assert b"write it to a file first" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("disk", "info", "-"), ("disk", "check", "-"), ("disk", "convert", "-", "x.vhdx")], ids=" ".join
)
def test_a_disk_is_refused_with_what_to_do(arguments: tuple[str, ...], here: Path) -> None:
    done = piped(*arguments, data=b"x", status=InvalidParameterError.exit_status)
    assert b"name its file" in done.stderr


@pytest.mark.parametrize("verb", [("ls",), ("info",), ("inventory",), ("diff", "base")], ids=" ".join)
def test_a_layer_is_refused_with_what_to_do(verb: tuple[str, ...], here: Path, layers: Path) -> None:
    words = [str(layers / word) if word == "base" else word for word in verb]
    done = piped(*words, "-", data=b"x", status=InvalidParameterError.exit_status)
    assert b"docker-archive:-" in done.stderr


def test_the_digest_of_a_build_goes_to_the_standard_output(image: str) -> None:
    done = run("build", "-f", "Dockerfile", "--iidfile", "-", "-t", "app:1", "context")
    assert done.stdout.startswith(b"sha256:")
    assert len(done.stdout) == len("sha256:") + 64
    assert b"made app:1" in done.stderr


# The functions.


def test_a_path_of_that_name_is_a_file(here: Path) -> None:
    for opened in (open_stream, open_any_place):
        for path in (Path("-"), "./-"):
            with opened(path) as file:
                assert file.read() == b"what nobody means"
    assert has_any_place(Path("-"))


def test_the_standard_input_stays_open(here: Path) -> None:
    program = (
        "import os, sys; from wclayer.layers.inputs import *; f = open_stream('-'); f.read(1); f.close(); os.fstat(0);"
        " print(has_any_place('-'))"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, input=b"abc", capture_output=True, check=True).stdout.split() == [b"False"]
    with open("-", "rb") as file:
        assert subprocess.run(command, stdin=file, capture_output=True, check=True).stdout.split() == [b"True"]


def test_a_closed_standard_input_is_told(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wclayer", "import", "-i", "-", "x"],
        capture_output=True, check=False, close_fds=True, preexec_fn=lambda: os.close(0),
    )  # fmt: skip
    assert done.returncode not in (0, USAGE_ERROR)
    assert b"Traceback" not in done.stderr
    assert STANDARD_INPUT == "-"
