"""The command as a process: its streams, its locale, interrupts, and what it loads."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from tests.images import samples, stores
from tests.support import layer_tar, put_directories, put_file, run, run_process, vector_bytes
from wclayer.images.store import ImageStore
from wclayer.model import LayerWriter

NAMES = ("\ud800 half", "日本語", "bell\x9b", "é")
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
LATIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "latin-1"}
COMMAND = [sys.executable, "-m", "wclayer"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer of files with names that are hard to show: each has its own name as its contents, in UTF-8."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d")
        for name in NAMES:
            put_file(writer, f"Files/d/{name}", name.encode("utf-8", "surrogatepass"), 0x20, **{"s\x1b[2J": b"x"})

    folder = tmp_path_factory.mktemp("odd")
    (folder / "odd.tar").write_bytes(layer_tar(build))
    run("import", "-i", folder / "odd.tar", folder / "odd")
    return folder / "odd"


def _environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in {**os.environ, **more}.items() if value}


# Streams.


def _with_closed(descriptor: int) -> Callable[[], None]:
    return lambda: os.close(descriptor)


@pytest.mark.parametrize(
    ("descriptor", "arguments", "status", "message"),
    [
        (1, ["cat", "LAYER", "C:\\License.txt"], 1, b"Bad file descriptor"),
        (1, ["ls", "LAYER"], 1, b"Bad file descriptor"),
        (0, ["import", "NEW"], 1, b"Bad file descriptor"),
        (0, ["ls", "LAYER"], 0, b""),
        (2, ["ls", "LAYER", "nowhere"], 2, b""),
        (2, ["ls", "LAYER"], 0, b""),
    ],
)
def test_a_closed_stream_is_no_traceback(
    descriptor: int, arguments: list[str], status: int, message: bytes, layers: Path, tmp_path: Path
) -> None:
    places = {"LAYER": str(layers / "base"), "NEW": str(tmp_path / "new")}
    done = subprocess.run(
        [*COMMAND, *(places.get(argument, argument) for argument in arguments)], capture_output=True, check=False,
        preexec_fn=_with_closed(descriptor),
    )  # fmt: skip
    assert (done.returncode, b"Traceback" in done.stderr) == (status, False), done.stderr
    assert message in done.stderr
    assert done.stderr.count(b"\n") == bool(message)
    assert os.listdir(tmp_path) == []


def test_no_file_gets_the_descriptor_of_a_closed_stream(layers: Path, tmp_path: Path) -> None:
    """What child processes and messages print would go into the layer."""
    done = subprocess.run(
        [*COMMAND, "import", "-i", str(layers / "base.tar"), str(tmp_path / "layer")], check=False,
        preexec_fn=lambda: os.closerange(1, 3),
    )  # fmt: skip
    assert done.returncode == 1
    assert "no problem found" in run_process("check", tmp_path / "layer").stdout.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ["tree", "LAYER"], ["ls", "LAYER", "C:\\"], ["cat", "LAYER", "C:\\License.txt"], ["stat", "LAYER", "C:\\"],
        ["info", "LAYER"], ["diff", "LAYER", "CHILD"], ["check", "LAYER"], ["export", "LAYER"],
        ["export", "-z", "LAYER"],
        ["reg", "query", "LAYER", "HKLM\\SOFTWARE"], ["reg", "export", "LAYER", "HKLM\\SOFTWARE"], ["--help"],
        ["ls", "--help"], ["--version"], ["completion", "bash"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_reader_that_is_gone_ends_every_verb_in_silence(arguments: list[str], layers: Path) -> None:
    places = {"LAYER": str(layers / "base"), "CHILD": str(layers / "child")}
    with _without_reader() as writer:
        done = run(*(places.get(argument, argument) for argument in arguments), status=141, stdout=writer)
    assert done.stderr == b""


def test_a_process_whose_reader_is_gone_ends_in_silence(layers: Path) -> None:
    """Python itself would tell at the end of a process what it could not print."""
    for arguments in (["tree", layers / "base"], ["export", layers / "base"], ["--version"]):
        with _without_reader() as writer:
            done = subprocess.run([*COMMAND, *map(str, arguments)], stdout=writer, stderr=subprocess.PIPE, check=False)
        assert (done.returncode, done.stderr) == (141, b"")


@contextlib.contextmanager
def _without_reader() -> Iterator[BinaryIO]:
    """The end of a pipe that one writes to, when the other is closed."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb", buffering=0) as file:
        yield cast(BinaryIO, file)


def test_a_full_disk_below_the_output_is_told(layers: Path) -> None:
    for arguments in (["ls", layers / "base"], ["export", layers / "base"], ["cat", layers / "base", "License.txt"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([*COMMAND, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, check=False)
        assert (done.returncode, done.stderr.count(b"\n")) == (15, 1), done.stderr
        assert b"No space left" in done.stderr


# Locales.


_CAT_EACH = """
import sys
from wclayer.cli.verbs import run

for path in sys.argv[2:]:
    assert run(["cat", sys.argv[1], path]) == 0
    sys.stdout.buffer.write(b"|")
"""
"""Prints each of the files that the process is given: a start of Python for each would take longer."""


@pytest.mark.parametrize("locale", [C_LOCALE, LATIN, {"PYTHONUTF8": "1"}, {"PYTHONIOENCODING": "ascii:strict"}])
def test_what_is_listed_can_be_given_back_in_any_locale(locale: dict[str, str], odd: Path) -> None:
    listed = run_process("ls", odd, "d", locale=locale).stdout
    shown = [line.split(b"  ")[-1] for line in listed.splitlines()]
    assert len(shown) == len(NAMES)
    # The bytes of a name are UTF-8 whatever the terminal's encoding is.
    given = [name.decode("latin-1").encode() if locale == LATIN else name for name in shown]
    paths = [b"C:\\d\\" + name for name in given]
    command = [os.fsencode(sys.executable), b"-c", _CAT_EACH.encode(), os.fsencode(odd), *paths]
    printed = subprocess.run(command, capture_output=True, check=True, env=_environment(**locale)).stdout
    assert set(printed.split(b"|")) == {name.encode("utf-8", "surrogatepass") for name in NAMES} | {b""}
    assert b"<U+D800> half" in shown
    assert b"bell<U+009B>" in shown


@pytest.mark.parametrize("verb", ["ls", "cat", "stat", "attrib", "acl get", "tree", "rm", "mkdir", "mv", "cp"])
@pytest.mark.parametrize("name", [b"\xed\xa0\x80 half", b"<U+D800> half", b"gone\xff", "日本語".encode()])
def test_every_verb_takes_any_name(verb: str, name: bytes, odd: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "run"
    run("create", "-l", odd, scratch)
    path = b"C:\\d\\" + name
    exists = b"gone" not in name
    arguments: list[str | bytes | Path] = [*verb.split(), "LAYER", path]
    if verb == "mv":
        arguments.append(b"C:\\d\\new" + name)
    elif verb == "cp":
        arguments = ["cp", "--no-streams", os.fsencode(scratch) + b":" + path, tmp_path / "out"]
    elif verb == "mkdir":
        exists = not exists
    given = [os.fsencode(scratch if argument == "LAYER" else argument) for argument in arguments]
    done = run(*map(os.fsdecode, given), status=0 if exists else 3 if verb == "mkdir" else 2)
    assert (b"wclayer: " in done.stderr) != exists


def test_names_are_no_commands_to_the_terminal(odd: Path) -> None:
    for arguments in (["tree"], ["ls", "C:\\d"], ["stat", "C:\\d\\é"], ["ls", "C:\\\x1b[2J"]):
        done = run(arguments[0], odd, *arguments[1:], status=2 if "\x1b" in arguments[-1] else 0)
        assert not set(done.stdout + done.stderr) & {0x1B, 0x07}
        assert "\x9b" not in done.stdout.decode()


def test_help_is_printed_in_the_poorest_locale() -> None:
    assert b"Usage" in run_process("--help", locale=C_LOCALE).stdout


# Interrupts.


ENDS = pytest.mark.parametrize(
    "number", [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
)


@ENDS
def test_an_interrupt_at_any_moment_of_the_start_is_one_line(number: signal.Signals, layers: Path) -> None:
    """The process is stopped in the middle of loading whichever module, or of its work."""
    program = (
        "import sys, os, signal, builtins\n"
        "usual, left = builtins.__import__, [int(sys.argv[1])]\n"
        "def interrupting(*arguments, **options):\n"
        "    left[0] -= 1\n"
        "    if left[0] == 0: signal.raise_signal(int(sys.argv[2]))\n"
        "    return usual(*arguments, **options)\n"
        "from wclayer.cli.main import main\n"
        "builtins.__import__ = interrupting\n"
        "main(sys.argv[3:])\n"
    )
    for count in (1, 2, 20, 200, 600, 1200):
        command = [sys.executable, "-c", program, str(count), str(int(number)), "tree", str(layers / "base")]
        done = subprocess.run(command, capture_output=True, check=False)
        assert (done.returncode, done.stderr.splitlines()) == (128 + number, [b"wclayer: interrupted"]), count


@pytest.mark.parametrize("is_in_background", [False, True])
@ENDS
def test_an_interrupt_of_work_is_one_line(number: signal.Signals, is_in_background: bool, tmp_path: Path) -> None:
    """Also in the background of a script, which ignores interrupts: there, only the other signals end it."""
    process = subprocess.Popen(
        [*COMMAND, "import", str(tmp_path / "layer")], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN) and None) if is_in_background else None,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(vector_bytes("base.tar.gz")[: 4 << 20])
    process.stdin.flush()
    while not list(tmp_path.glob(".wclayer-*/Files")):
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    if number == signal.SIGINT and is_in_background:
        # It has gone on, until the tar ended in the middle.
        assert process.returncode == 6
    else:
        assert (process.returncode, errors) == (128 + number, b"wclayer: interrupted\n")
    assert os.listdir(tmp_path) == []


@ENDS
def test_an_interrupt_while_a_text_is_run_has_its_status(number: signal.Signals, tmp_path: Path) -> None:
    """Python would end itself by SIGINT then, if it runs a module as its program."""
    (tmp_path / "program.py").write_text(
        "import signal, sys, wclayer.cli.verbs as verbs; from wclayer.cli.main import main\n"
        "verbs.run = lambda words: exec('signal.raise_signal(int(sys.argv[1]))')\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-m", "program", str(int(number))], capture_output=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (128 + number, b"wclayer: interrupted\n")


def test_a_signal_that_the_process_ignores_does_not_end_it(layers: Path) -> None:
    """As of `nohup`."""
    done = subprocess.run(
        [sys.executable, "-c", "import os, signal; from wclayer.cli.main import main; "
         "import wclayer.cli.inspect, wclayer.cli.verbs as verbs; usual = verbs.run\n"
         "def run(words): os.kill(os.getpid(), signal.SIGHUP); return usual(words)\n"
         "verbs.run = run; main(['info', os.sys.argv[1]])", str(layers / "base")],
        capture_output=True, check=True, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN) and None,
    )  # fmt: skip
    assert b"diff id" in done.stdout


def test_a_process_that_ignores_interrupts_goes_on(layers: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import os, signal; from wclayer.cli.main import main; "
         "os.kill(os.getpid(), signal.SIGINT); main(['info', os.sys.argv[1]])", str(layers / "base")],
        capture_output=True, check=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN) and None,
    )  # fmt: skip
    assert b"diff id" in done.stdout


# What is loaded.


def _loaded(*arguments: str) -> list[str]:
    """The modules that a command loads."""
    program = (
        "import sys; from wclayer.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, check=True)
    loaded = done.stderr.decode().split()
    assert "wclayer.cli.verbs" in loaded
    return loaded


def _of(loaded: list[str], *packages: str) -> list[str]:
    return [name for name in loaded if f"{name}.".startswith(tuple(f"{package}." for package in packages))]


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_a_verb_loads_what_it_needs(option: str) -> None:
    loaded = _loaded(option)
    unneeded = (
        "wclayer.view",
        "wclayer.layers",
        "wclayer.formats",
        "wclayer.host",
        "wclayer.model",
        # On Windows, click asks the console with it.
        *(["ctypes"] if sys.platform != "win32" else []),
    )
    assert _of(loaded, *unneeded) == []


def test_a_verb_that_looks_into_a_layer_loads_neither_its_writer_nor_the_formats_of_disks(layers: Path) -> None:
    unneeded = (
        "wclayer.formats", "wclayer.layers.directory.writer", "wclayer.layers.volume", "wclayer.engines.portable",
        "wclayer.view.volume", "wclayer.images.store", "rich", "urllib3",
    )  # fmt: skip
    for verb in ("ls", "tree", "cat", "stat"):
        loaded = _loaded(verb, str(layers / "base"), "C:\\License.txt")
        assert "wclayer.view.merged" in loaded
        assert _of(loaded, *unneeded) == [], verb


def test_a_verb_that_searches_a_layer_loads_nothing_of_images_and_inventories(layers: Path) -> None:
    unneeded = (
        "wclayer.formats", "wclayer.layers.directory.writer", "wclayer.layers.volume", "wclayer.images.opening",
        "wclayer.images.store", "wclayer.inventory.facts", "wclayer.inventory.subject", "rich", "urllib3",
    )  # fmt: skip
    for verb in (["find"], ["du"], ["grep", "text"]):
        loaded = _loaded(*verb, str(layers / "base"))
        assert "wclayer.view.merged" in loaded
        assert _of(loaded, *unneeded) == [], verb


def test_the_list_of_images_is_read_without_a_client_of_registries_and_without_an_engine(tmp_path: Path) -> None:
    loaded = _loaded("images", "--store", str(tmp_path / "store"))
    assert "wclayer.images.store" in loaded
    assert _of(loaded, "urllib3", "wclayer.images.registry", "wclayer.engines.portable", "wclayer.formats") == []


def test_an_image_of_the_store_loads_neither_a_client_of_registries_nor_what_unpacks(tmp_path: Path) -> None:
    store, image = ImageStore(tmp_path / "store"), samples.small()
    stores.fill(store, "app:1", image)
    stores.unpack(store, image)
    loaded = _loaded("ls", "--store", str(store.path), "app:1", "C:\\")
    assert "wclayer.images.opening" in loaded
    assert _of(loaded, "urllib3", "wclayer.images.registry", "wclayer.engines.portable", "wclayer.layers.tar") == []


def test_every_name_of_a_module_is_its_verb() -> None:
    from wclayer.cli import verbs

    for module, names in verbs._MODULES.items():
        commands = __import__(f"wclayer.cli.{module}", fromlist=["COMMANDS"]).COMMANDS
        assert {command.name for command in commands} == set(names), module


@pytest.mark.parametrize("group", [[], ["reg"], ["disk"], ["fleet"], ["index"], ["acl"]], ids=" ".join)
def test_a_group_alone_shows_its_help(group: list[str]) -> None:
    done = run(*group, status=64)
    assert done.stdout == b""
    assert done.stderr == run(*group, "--help").stdout


def test_a_message_has_the_command_s_name_once(capsys: pytest.CaptureFixture[str]) -> None:
    from wclayer.cli import verbs

    assert verbs._failed(PermissionError(13, "Permission denied", "/layers/base")) == 18
    assert capsys.readouterr().err == "wclayer: /layers/base: Permission denied\n"
