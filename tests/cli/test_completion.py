"""Completion in Bash, zsh and fish: names of images, and paths in layers and images, quoted as each shell needs it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.cli.shells import Shell
from tests.images import samples
from tests.images.stores import fill, unpack
from tests.support import layer_tar, put_directories, put_file, run, text, witness
from tests.verbs import verbs_of
from wclayer.cli.completing import MOST_WORDS
from wclayer.cli.layer_argument import LAYER
from wclayer.cli.text import LAYER_PATH
from wclayer.cli.verbs import cli
from wclayer.images.store import ImageStore
from wclayer.model import LayerWriter

ODD = (
    "it's", "two  spaces", "$HOME", "`id`", "a;b", "p&q", "(x)", "[0]", "{y,z}", "#hash", "~tilde", "!bang", "50%",
    "trailing dot.", "semi,colon", "é日本", "CON", "bell\x9b", "\ud800 half", "e=f", "@at", "^hat", "a'b\u2019c",
)  # fmt: skip
"""Names of files that some shell would read in another way, or some terminal not show; each is its own contents."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, layers: Path) -> Path:
    """A folder with the layers `base` and `odd`, an archive, and a store."""

    def odd(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/odd", "Files/Program Files", "Files/Program Files/In it's")
        for number, name in enumerate(ODD):
            put_file(writer, f"Files/odd/{number:02}{name}", name.encode("utf-8", "surrogatepass"))
        put_file(writer, "Files/-dash")
        put_file(writer, "Files/ABC1")
        put_file(writer, "Files/abd2")

    folder = tmp_path_factory.mktemp("completion")
    shutil.copytree(layers / "base", folder / "base")
    (folder / "odd.tar").write_bytes(layer_tar(odd))
    run("import", "-i", folder / "odd.tar", folder / "odd")
    store = ImageStore(folder / "store")
    for name in ("mcr.microsoft.com/windows/nanoserver:ltsc2022", "localhost:5000/app:1", "localhost:5001/app:1"):
        fill(store, name, samples.small())
    fill(store, "other:2", samples.small_child())
    unpack(store, samples.small())
    return folder


@pytest.fixture(scope="module", params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest, place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    program = witness(request.param)
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "WCLAYER_STORE": str(place / "store"),
    }  # fmt: skip
    folder = tmp_path_factory.mktemp(request.param)
    for name in ("base", "odd"):
        shutil.copytree(place / name, folder / name)
    shutil.copy(place / "odd.tar", folder)
    with Shell(program, folder, text("completion", request.param), environment) as opened:
        yield opened


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        # Verbs, options, choices.
        ("wclayer unmo", ["unmount"]),
        ("wclayer acl aud", ["acl", "audit"]),
        ("wclayer ls --recurs", ["ls", "--recursive"]),
        ("wclayer save --format oci-a", ["save", "--format", "oci-archive"]),
        # Images.
        ("wclayer ls nano", ["ls", "nanoserver:ltsc2022"]),
        ("wclayer ls nanoserver:lt", ["ls", "nanoserver:ltsc2022"]),
        ("wclayer ls mcr", ["ls", "mcr.microsoft.com/windows/nanoserver:ltsc2022"]),
        ("wclayer ls windows/n", ["ls", "windows/nanoserver:ltsc2022"]),
        ("wclayer ls store:nano", ["ls", "store:nanoserver:ltsc2022"]),
        ("wclayer untag localhost:5001", ["untag", "localhost:5001/app:1"]),
        ("wclayer create --from=nan", ["create", "--from=nanoserver:ltsc2022"]),
        ("wclayer create -l nan", ["create", "-l", "nanoserver:ltsc2022"]),
        ("wclayer cp nano", ["cp", "nanoserver:ltsc2022:"]),
        # Layers, and files of the host.
        ("wclayer ls ./ba", ["ls", "./base/"]),
        ("wclayer import -i odd.t", ["import", "-i", "odd.tar"]),
        # Paths in layers, in any case and with both separators.
        ("wclayer cat base Lic", ["cat", "base", "License.txt"]),
        ("wclayer cat base lic", ["cat", "base", "License.txt"]),
        ("wclayer cat base /WINDOWS/WIN.", ["cat", "base", "/WINDOWS/win.ini"]),
        ("wclayer cat base 'C:\\windows\\win.", ["cat", "base", "C:\\windows\\win.ini"]),
        ("wclayer cat base \"C:\\\\windows\\\\win.", ["cat", "base", "C:\\windows\\win.ini"]),
        ("wclayer cat base C:\\\\windows\\\\win.", ["cat", "base", "C:\\windows\\win.ini"]),
        ("wclayer cat base C:/windows/win.", ["cat", "base", "C:/windows/win.ini"]),
        ("wclayer ls base Hiv", ["ls", "base", "Hives/"]),
        ("wclayer ls base /Win", ["ls", "base", "/Windows/"]),
        ("wclayer ls odd /Program", ["ls", "odd", "/Program Files/"]),
        ("wclayer ls odd '/Program F", ["ls", "odd", "/Program Files/"]),
        ("wclayer ls odd '/Program Files/", ["ls", "odd", "/Program Files/In it's/"]),
        ("wclayer ls odd /Program\\ Files/I", ["ls", "odd", "/Program Files/In it's/"]),
        ("wclayer ls odd -- -d", ["ls", "odd", "--", "/-dash"]),
        ("wclayer cat nanoserver:ltsc2022 /Vers", ["cat", "nanoserver:ltsc2022", "/version.txt"]),
        ("wclayer rm base License.txt /Windows/win.", ["rm", "base", "License.txt", "/Windows/win.ini"]),
        ("wclayer acl get base Lic", ["acl", "get", "base", "License.txt"]),
        ("wclayer cp base:/Lic", ["cp", "base:/License.txt"]),
        ("wclayer cp base:/License.txt odd:/Program", ["cp", "base:/License.txt", "odd:/Program Files/"]),
        ("wclayer cp 'nanoserver:ltsc2022:C:\\vers", ["cp", "nanoserver:ltsc2022:C:\\version.txt"]),
        # What several words have in common, and nothing of what was typed is lost.
        ("wclayer cat odd ab", ["cat", "odd", "ab"]),
        ("wclayer cat odd /odd/0", ["cat", "odd", "/odd/0"]),
        # Nothing: also no files of the host.
        ("wclayer cat base od", ["cat", "base", "od"]),
        ("wclayer cat other:2 /Win", ["cat", "other:2", "/Win"]),
        ("wclayer cat nowhere /Win", ["cat", "nowhere", "/Win"]),
        ("wclayer cat docker://localhost:1/app:1 /Win", ["cat", "docker://localhost:1/app:1", "/Win"]),
    ],
)  # fmt: skip
def test_a_word_is_completed(shell: Shell, typed: str, words: list[str]) -> None:
    assert shell.words(shell.completed(typed)) == words


# An exclamation mark has no quotes inside double ones.
_QUOTED = [
    (number, quote)
    for number in range(len(ODD))
    for quote in ("", "'", '"')
    if not (quote == '"' and "!" in ODD[number])
]


@pytest.mark.parametrize(("number", "quote"), _QUOTED)
def test_odd_names_are_quoted_so_that_they_are_found(shell: Shell, number: int, quote: str, place: Path) -> None:
    words = shell.words(shell.completed(f"wclayer cat odd {quote}/odd/{number:02}"))
    assert words[:2] == ["cat", "odd"]
    assert run("cat", place / "odd", *words[2:]).stdout == ODD[number].encode("utf-8", "surrogatepass")


def test_bash_takes_single_backslashes_as_they_are_meant(place: Path, shell: Shell) -> None:
    if shell.kind == "fish":
        assert shell.words(shell.completed("wclayer cat base C:\\windows")) == ["cat", "base", "C:windows"]
        return
    words = shell.words(shell.completed("wclayer cat base C:\\Windows\\win."))
    assert words == ["cat", "base", "C:\\Windows\\win.ini"]


def test_the_words_of_a_list(shell: Shell) -> None:
    """The first key inserts what is common, and the next word is completed from there."""
    first = shell.completed("wclayer ls base '/Prog")
    assert shell.words(first)[2].startswith("/Program")


# What is asked, without a shell.


def asked(line: str, place: Path, monkeypatch: pytest.MonkeyPatch, region: str = "") -> list[str]:
    monkeypatch.chdir(place)
    monkeypatch.setenv("WCLAYER_STORE", str(place / "store"))
    monkeypatch.setenv("_WCLAYER_COMPLETE", "bash_complete")
    monkeypatch.setenv("WCLAYER_LINE", line)
    monkeypatch.setenv("WCLAYER_REGION", region)
    done = run()
    assert done.stderr == b""
    return done.stdout.decode().splitlines()


def test_a_digest_is_completed_from_two_digits_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = samples.small().digest
    short = digest.removeprefix("sha256:")
    assert asked(f"wclayer ls {short[:2]}", place, monkeypatch, short[:2])[1] == short[:12]
    assert f"sha256:{short[:12]}" in asked("wclayer ls sha256:", place, monkeypatch, "sha256:")


def test_a_name_that_several_registries_have_is_completed_with_its_registry(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked("wclayer untag localhost", place, monkeypatch, "localhost")[1:] == [
        "localhost:5000/app:1", "localhost:5001/app:1",
    ]  # fmt: skip
    assert asked("wclayer untag ap", place, monkeypatch, "ap") == ["files"]


def test_of_many_names_the_first_are_offered_and_nothing_wrong_is_inserted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        for number in range(3 * MOST_WORDS):
            put_file(writer, f"Files/file{number:06}")

    (tmp_path / "many.tar").write_bytes(layer_tar(build))
    run("import", "-i", tmp_path / "many.tar", tmp_path / "many")
    words = asked("wclayer cat many /f", tmp_path, monkeypatch, "/f")[1:]
    assert len(words) == MOST_WORDS + 1
    assert all(word.startswith("/f") for word in words)
    assert "/f" in words
    assert asked("wclayer cat many /FILE002999", tmp_path, monkeypatch, "/FILE002999")[1:] == ["/file002999"]


def test_the_network_is_not_asked_and_nothing_is_written(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network is asked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    before = sorted(path for path in place.rglob("*") if "store.db" not in path.name)
    for line in (
        "ls other:2 C:/",
        "pull mcr",
        "ls docker://localhost:1/x C:/",
        "inspect other",
        "cp other:2:/W",
        "login lo",
    ):
        asked(f"wclayer {line}", place, monkeypatch)
    assert sorted(path for path in place.rglob("*") if "store.db" not in path.name) == before


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_names_that_no_answer_can_have_are_left_to_the_shell(
    shell_name: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("other\tname", "other\nname"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WCLAYER_STORE", str(place / "store"))
    monkeypatch.setenv("_WCLAYER_COMPLETE", f"{shell_name}_complete")
    monkeypatch.setenv("WCLAYER_LINE", "wclayer ls oth")
    monkeypatch.setenv("WCLAYER_REGION", "oth")
    monkeypatch.setenv("WCLAYER_WORDS", "wclayer\nls")
    monkeypatch.setenv("WCLAYER_WORD", "oth")
    (kind, answer) = run().stdout.decode().splitlines()
    assert (kind, "other:2" in answer or "other\\:2" in answer) == ("words", True)


def test_a_failure_prints_nothing_and_is_no_error(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(place / "base", tmp_path / "base")
    (tmp_path / "base" / "layer.db").write_bytes(b"SQLite format 3\0" + bytes(5000))
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "store.db").write_bytes(b"x" * 5000)
    for line in (
        "wclayer cat base /L",
        "wclayer ls x",
        "wclayer cat base:1 /L",
        "wclayer cp x",
        "wclayer cat base 'D:\\x",
    ):
        assert asked(line, tmp_path, monkeypatch) == [], line
    for variables in ({}, *({"_WCLAYER_COMPLETE": asking} for asking in ("csh_complete", "", "zsh_complete", "bash"))):
        done = subprocess.run(
            [sys.executable, "-m", "wclayer", "ls"], capture_output=True, check=False,
            env={**os.environ, "_WCLAYER_COMPLETE": "bash_complete", **variables},
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), variables


def test_a_reader_that_is_gone_is_no_error(place: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m wclayer >&-; echo $?"], capture_output=True, check=False,
        env={**os.environ, "_WCLAYER_COMPLETE": "bash_complete", "WCLAYER_LINE": "wclayer l", "WCLAYER_REGION": "l"},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"0\n", b"")


_OF_THE_HOST = {"file", "files", "folder", "context", "out", "old", "new"}
"""Arguments that are files of the host, or new ones: every shell completes those itself."""
_OTHERS = {
    "commit": set(), "completion": set(), "attrib": {"changes"}, "acl set": {"sddl"}, "create": {"path"},
    "cve": {"files"}, "copy": {"target"}, "defaults": {"verb"}, "disk convert": {"source", "target"},
    "expand": {"size"}, "fleet query": {"words"}, "grant": {"vm"}, "grep": {"pattern"}, "import": {"path"},
    "login": {"host"}, "logout": {"host"}, "makebaselayer": {"path"}, "mount": {"target"}, "pull": {"reference"},
    "push": {"reference"},
    "reg delete": {"key", "name"}, "reg export": {"key"}, "reg get": {"key", "name"}, "reg query": {"key"},
    "reg set": {"key", "name", "data"}, "shell": {"command"}, "tag": {"name"},
}  # fmt: skip
"""Arguments that are new names, keys, hosts, values, patterns, verbs, or images that only a registry knows."""


def test_every_argument_that_names_what_is_there_is_completed() -> None:
    arguments = [(verb, each) for verb, command in verbs_of(cli) for each in command.params]
    for verb, argument in arguments:
        if not isinstance(argument, click.Argument):
            continue
        assert argument.name is not None
        if argument.type in (LAYER, LAYER_PATH) or isinstance(argument.type, click.Choice):
            continue
        is_completed = argument._custom_shell_complete is not None
        is_other = argument.name in _OF_THE_HOST or argument.name in _OTHERS.get(verb, ())
        assert is_completed is not is_other, (verb, argument.name)
