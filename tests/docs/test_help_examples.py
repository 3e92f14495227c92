"""Every example of a help text runs, in a folder that has what it names."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.docs.help_examples import help_examples
from tests.explore.process import SECONDS, Terminal
from tests.images import forms, samples
from tests.images.registry import DebianRegistry
from tests.inventory.cve.forms import Case, cvrf_json
from tests.inventory.subjects import Keys, hive
from tests.layers.hive_layers import CONFIG
from tests.readme import run
from tests.s3_server import S3Server
from tests.support import info, layer_tar, put_directories, put_file, witness
from tests.support import run as run_here
from tests.verbs import verbs_of
from wclayer.cli.verbs import cli
from wclayer.model import DataStream, Entry, LayerWriter

_EXAMPLES = [(example.verb, example.line) for example in help_examples()]
_VERBS = list(dict.fromkeys(verb for verb, _ in _EXAMPLES))

_NOT_RUN = {
    "wclayer fleet scan --from references.txt -o out --dask tcp://scheduler:8786 --max-requests 500/m": (
        "tests/fleet/test_document.py starts a cluster for such a command"
    ),
}
"""The examples that do not run here, and why."""

_HOSTS = ("localhost:5000", "mcr.microsoft.com", "registry.example.org", "registry.example.com")
"""The registries that examples name. The tests reach no other host, so all of them are one here."""
_FOLDERS = ("layers", "mnt", "moved", "elsewhere", "tmp", "src")
"""The folders at the root of the host that examples name; here they are in the user's folder."""
_VERSIONS = {"ltsc2019": "10.0.17763.1", "ltsc2022": "10.0.20348.1", "ltsc2025": "10.0.26100.1"}
_DOCKER = "#!/bin/sh\ncase $1 in save) cat app.tar;; load) tar -t;; esac\n"
"""Docker needs a service, which is not here: a script gives and takes its archives."""
_SHELL = {"|", "<", ">", "&&"}
"""Words for which an example needs a shell; without them, it is run in this process."""
_ID = "0123456789ab"
"""What an example has for the id of an image."""

_STATUS = {
    "wclayer acl audit myapp:1.0": 21,
    "wclayer acl audit --account 'NETWORK SERVICE' --facts facts docker://registry.example.org/myapp:1.0": 21,
    "wclayer cve myapp:1.0 --fail-on critical --sarif cve.sarif --vex cve.vex.json --msrc documents.zip": 21,
    "wclayer diff /layers/base /layers/app": 1,
    "wclayer diff /layers/run": 1,
    "wclayer diff servercore:ltsc2022 servercore:new": 1,
    "wclayer diff --summary --html report.html app:1 app:2": 1,
    "wclayer diff --facts facts docker://registry.example.org/app:1 docker://registry.example.org/app:2": 1,
    "wclayer explore --web myapp:1.0": 0,
}
"""The documented statuses of those that find what they look for, where it is there."""

_SILENT = {
    r"wclayer acl set /layers/run 'C:\app' 'O:BAG:SYD:(A;OICI;FA;;;BA)'",
    r"wclayer attrib /layers/run 'C:\app\app.exe' +R -A",
    "wclayer completion bash > ~/.local/share/bash-completion/completions/wclayer",
    r"wclayer find -0 /layers/run 'C:\app' --name '*.log' | xargs -0 wclayer rm /layers/run",
    "wclayer fleet list --from registry.example.com --name 'apps/*' --tag 'v2.*' > references.txt",
    "mkdir -p /layers/mine/Files/App && cp app.exe /layers/mine/Files/App",
    r"wclayer mkdir -p /layers/run 'C:\app\logs'",
    r"wclayer mv /layers/run 'C:\app\new.exe' 'C:\app\app.exe'",
    r"wclayer rm -r /layers/run 'C:\Windows\Temp'",
    r"wclayer rm /layers/run 'C:\app\*.log' 'C:\app\old?.dll'",
    "wclayer shell /layers/run",
}
"""The examples that print nothing: they write a file, change a folder or a scratch, or wait for commands."""

_SCANNED = "wclayer fleet scan --from registry.example.com --name myapp -o"
_WITHOUT_SCRATCH = "rm -r layers/run"
_BEFORE = {
    "wclayer create": _WITHOUT_SCRATCH,
    "wclayer diff": r"wclayer mkdir /layers/run 'C:\new'",
    "wclayer find": r"wclayer acl set /layers/run 'C:\setup.exe' 'O:BAG:BAD:(A;;FA;;;BA)'",
    "wclayer import": "rm -r layers/app layers/base\ncp application.tar app.tar",
    "wclayer fleet": f"{_SCANNED} out-may\n{_SCANNED} out-june",
    "wclayer fleet diff": f"{_SCANNED} out-may\n{_SCANNED} out-june",
    "wclayer fleet query": f"{_SCANNED} out\n{_SCANNED} s3://bucket/out",
    "wclayer fleet report": f"{_SCANNED} out",
    "wclayer index append": "wclayer index create app:ltsc2022 app:ltsc2025 -t app:1",
    "wclayer logout": "wclayer login -u alice --password-stdin localhost:5000 < password.txt",
    "wclayer relink": "mv layers/app layers/base moved",
    "wclayer shell": "git init -q /src/app\nwclayer rm -r /layers/run 'C:\\app'",
    "wclayer squash": r"wclayer append app:1 --copy 'dist=C:\dist' -t app:1",
    "wclayer unmount": "wclayer mount /layers/run",
}
"""What was done before the examples of a verb."""
_BEFORE_LINE = {
    "wclayer create --from nanoserver:ltsc2022 /layers/run": _WITHOUT_SCRATCH,
    "wclayer import -i app.tar -l nanoserver:ltsc2022 /layers/app": "rm -r layers/app",
    "wclayer export /layers/run | wclayer import --over-scratch -l /layers/base /layers/run": (
        "rm -r layers/run\nwclayer create -l /layers/base /layers/run"
    ),
    "wclayer mount nanoserver:ltsc2022 /mnt": "wclayer unmount /mnt",
    "wclayer relink --store /moved/store /layers/run": (
        "rm -r layers/run\nwclayer create --from nanoserver:ltsc2022 /layers/run\nmv .local/share/wclayer/store moved"
    ),
    "wclayer relink -l /elsewhere/base /moved/app": "mv moved/base elsewhere/base",
}
"""What is done before one more example of a verb, so that it finds what it needs."""
_QUIT = [(b"Windows", b"q")]
_ON_A_TERMINAL = {
    "wclayer explore myapp:1.0": _QUIT,
    "wclayer explore myapp:1.0 myapp:2.0": [(b"changes from the first to the second", b"q")],
    "wclayer explore sandbox.vhdx": _QUIT,
    "wclayer explore layer.tar.gz": _QUIT,
    "wclayer explore --web myapp:1.0": [(b"Ctrl-C ends it.", b"\x03")],
    "wclayer login localhost:5000": [(b"Username", b"alice\n"), (b"Password", b"rabbit\n")],
}
"""What is typed on the terminal of an example that needs one, after which text."""


def _application(version: str, writer: LayerWriter) -> None:
    """An application, as the examples of `acl`, `find`, `grep` and `rm` speak of it."""
    put_directories(writer, "Files", "Files/app", "Files/app/logs", "Files/Windows", "Files/Windows/Temp")
    for name, data in (
        ("app.exe", b"MZ"), ("new.exe", b"MZ new"), ("old1.dll", b"MZ"), ("server.log", b"started\r\n"),
        ("settings.ini", f"[{version}]\r\ntimeout = 5\r\nPassword=secret\r\n".encode()), ("logs/a.log", b"a line\r\n"),
        ("build.txt", rb"made in C:\src"), ("log4j-core-2.14.1.jar", b""),
    ):  # fmt: skip
        put_file(writer, f"Files/app/{name}", data)


def _base(writer: LayerWriter) -> None:
    """A base layer of a few files, with the registry and the boot configuration that examples speak of."""
    boot = "UtilityVM/Files/EFI/Microsoft/Boot"
    put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32", CONFIG, "Files/Windows/Temp")
    version: dict[str, str | int] = {"CurrentBuildNumber": "20348", "CurrentMajorVersionNumber": 10, "UBR": 1}
    software: Keys = {r"Microsoft\Windows NT\CurrentVersion": version | {"ProductName": "Windows Server 2022"}}
    system: Keys = {
        "Select": {"Current": 1},
        **{rf"ControlSet001\Services\{name}": {"Start": 2, "ImagePath": "a.exe"} for name in ("Dnscache", "W3SVC")},
    }
    for name, data in (
        (f"{CONFIG}/SOFTWARE", hive(software)),
        (f"{CONFIG}/SYSTEM", hive(system)),
        *((f"{CONFIG}/{name}", b"") for name in ("DEFAULT", "SAM", "SECURITY")),
        ("Files/Windows/win.ini", b"[fonts]\r\n"), ("Files/Windows/System32/kernel32.dll", b"MZ"),
        ("Files/Windows/large.exe", b"MZ" + bytes(11 << 20)),
    ):  # fmt: skip
        put_file(writer, name, data)
    mark = b"[ZoneTransfer]\r\nZoneId=3\r\n"
    streams = [DataStream("", 2, (b"MZ",)), DataStream("Zone.Identifier", len(mark), (mark,))]
    writer.put(Entry("Files/setup.exe", info(), 2), streams)
    put_directories(writer, *(boot[: each.start()] for each in re.finditer("/|$", boot)))
    manager = r"Objects\{9dea862c-5cdd-4e70-acc1-f32b344d4795}"
    put_file(writer, f"{boot}/BCD", hive({rf"{manager}\Description": {"Type": 0x10100002}}))


def _image(version: str, parent: samples.Image) -> samples.Image:
    """An image of five layers, the last of which is the application."""
    tars = [samples.small_tar({f"Files/step{number}.txt": b""}, number) for number in range(3)]
    tars.append(layer_tar(lambda writer: _application(version, writer)))
    history = [*parent.record["history"], *(samples.step(f"COPY {number} C:\\") for number in range(len(tars)))]
    return samples.image(
        "docker", [*parent.layers, *map(samples.layer, tars)], history, parent.record["config"],
        os_version=parent.record["os.version"],
    )  # fmt: skip


@dataclass
class World:
    """What the examples name: a user's folder with a store and layers, and a registry.

    Attributes:
        home: the user's folder. Absolute paths in it, such as those of parents, hold for each copy, for each takes its
            place.
        registry: the one registry that all names of registries stand for.
    """

    home: Path
    registry: DebianRegistry
    nano: samples.Image = field(init=False)

    @property
    def _original(self) -> Path:
        return self.home.with_name("original")

    def make(self) -> None:
        """Makes it all."""
        for name in ("layers", "mnt", "moved", "elsewhere", "tmp/rootfs", "bin", "dist", "mirror", "found", "src/app"):
            (self.home / name).mkdir(parents=True)
        (self.home / ".local/share/bash-completion/completions").mkdir(parents=True)
        for name, text in (
            ("app.cdx.json", '{"bomFormat": "CycloneDX", "specVersion": "1.6"}'), ("tests.xml", "<testsuite/>"),
            ("password.txt", "rabbit\n"), ("ci.toml", '[defaults]\nstore = "elsewhere"\n'), ("bin/docker", _DOCKER),
            ("Dockerfile", "FROM nanoserver:ltsc2022\nCOPY app.exe /app/\n"), ("app.exe", "MZ"), ("dist/app.exe", "MZ"),
        ):  # fmt: skip
            (self.home / name).write_text(text)
        (self.home / "bin/docker").chmod(0o755)
        for name in ("2026-Sep.json", "2026-Jan.json", "documents/2026-Sep.json"):
            (self.home / name).parent.mkdir(exist_ok=True)
            (self.home / name).write_bytes(cvrf_json(Case()))
        shutil.make_archive(str(self.home / "documents"), "zip", self.home / "documents")
        base = layer_tar(_base)
        self.nano = samples.image(
            "docker",
            [samples.layer(base)],
            [samples.step(f"Apply image {_VERSIONS['ltsc2022']}")],
            {},
            os_version=_VERSIONS["ltsc2022"],
        )
        for name in ("base.tar.gz", "layer.tar.gz"):
            (self.home / name).write_bytes(samples.gzipped(base))
        (self.home / "application.tar").write_bytes(layer_tar(lambda writer: _application("1.0", writer)))
        for name in ("app.tar", "image.tar"):
            forms.write_docker_archive(self.home / name, {"app:1": samples.small_child()})
        forms.write_layout(self.home / "layout", {"app": samples.small_child()})
        forms.write_layout(self.home / "stored", self._stored())
        with contextlib.chdir(self.home):
            self.run(
                "wclayer load -i stored && rm -r stored",
                "wclayer import -i base.tar.gz /layers/base",
                "wclayer import -i application.tar -l /layers/base /layers/app",
                "wclayer create -l /layers/app -l /layers/base /layers/run",
                "wclayer convert /layers/app -o sandbox.vhdx",
            )
        self.home.rename(self._original)

    def _stored(self) -> dict[str, samples.Image | samples.Index]:
        """The images of the store by their names."""
        core, child = samples.small_child(parent=self.nano), samples.small_child()
        older = {year: samples.small(os_version=version) for year, version in _VERSIONS.items()}
        return {
            "nanoserver:ltsc2022": self.nano,
            "nanoserver:ltsc2025": samples.small(os_version=_VERSIONS["ltsc2025"]),
            "nanoserver:1803": samples.with_foreign_layer(),
            "servercore:ltsc2022": core,
            "servercore:new": samples.small_child(parent=core),
            "myapp:1.0": _image("1.0", self.nano),
            "myapp:2.0": _image("2.0", self.nano),
            "app:1": child,
            "app:2": samples.small_child(parent=older["ltsc2025"]),
            **{f"app:{year}": image for year, image in older.items()},
            self.here("localhost:5000/app:1"): child,
            self.here("mcr.microsoft.com/windows/nanoserver:ltsc2025"): samples.small(os_version=_VERSIONS["ltsc2025"]),
        }

    def fill_registry(self) -> None:
        """Gives each name in the registry its image."""
        nano2025 = samples.small(os_version=_VERSIONS["ltsc2025"])
        for repository, tag, image in (
            ("windows/nanoserver", "ltsc2022", self.nano), ("windows/nanoserver", "ltsc2025", nano2025),
            ("windows/servercore", "ltsc2022", samples.index("docker", [samples.small(os_version="10.0.20348.6000")])),
            ("nanoserver", "ltsc2022", self.nano), ("nanoserver", "ltsc2025", nano2025),
            ("app", "1", samples.small_child()), ("app", "2", samples.small_child(parent=nano2025)),
            ("apps/one", "v2.0", samples.small_child()),
            ("myapp", "1.0", _image("1.0", self.nano)), ("myapp", "2.0", _image("2.0", self.nano)),
        ):  # fmt: skip
            forms.put_into_registry(self.registry.base, repository, tag, image)

    @contextlib.contextmanager
    def fresh(self, verb: str) -> Iterator[None]:
        """Has everything as it was, with what comes before the examples of a verb; nothing stays mounted."""
        self.fill_registry()
        shutil.copytree(self._original, self.home, symlinks=True)
        try:
            with contextlib.chdir(self.home):
                self.run(*_BEFORE.get(verb, "").splitlines())
                yield
        finally:
            for mounted in filter(os.path.ismount, [self.home / "mnt", *self.home.glob("layers/*/mount")]):
                subprocess.run([witness("fusermount3"), "-u", mounted], check=True)
            shutil.rmtree(self.home)

    def here(self, line: str) -> str:
        """A line of a shell with the names that things have here."""
        for host in _HOSTS:
            line = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w:-])", self.registry.host, line)
        line = line.replace(_ID, self.nano.digest.removeprefix("sha256:")[:12]) if _ID in line else line
        return re.sub(rf"(?<![\w.:/])/({'|'.join(_FOLDERS)})\b", rf"{self.home}/\1", line)

    def answer(self, line: str) -> tuple[int, str]:
        """Runs an example; gives its status and all that it prints."""
        words = shlex.split(self.here(line))
        if words[0] == "wclayer" and not _SHELL.intersection(words):
            done = run_here(*words[1:], status=None)
            return done.returncode, (done.stdout + done.stderr).decode(errors="replace")
        return run(self.here(line), self.home, {})

    def type_into(self, line: str) -> tuple[int, str]:
        """Does the same on a terminal."""
        terminal = Terminal(
            *shlex.split(self.here(line))[2:], verb=shlex.split(line)[1], controlling=True, folder=self.home,
        )  # fmt: skip
        try:
            for text, keys in _ON_A_TERMINAL[line]:
                terminal.read_until(text)
                os.write(terminal.parent, keys)
            while terminal.read(SECONDS):
                pass
            return terminal.process.wait(SECONDS), terminal.seen.decode(errors="replace")
        finally:
            terminal.process.kill()
            terminal.process.wait()
            os.close(terminal.parent)

    def run(self, *lines: str) -> None:
        """Runs lines of a shell, each of which has to end well."""
        for line in lines:
            status, printed = self.answer(line)
            assert status == 0, f"{line}: {status}\n{printed}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, debian_registry: DebianRegistry) -> Iterator[World]:
    home = tmp_path_factory.mktemp("help") / "me"
    home.mkdir()
    path = f"{home / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"HOME": str(home), "COLUMNS": "120", "WCLAYER_NO_SYNC": "1", "PATH": path, "SHELL": "/bin/sh"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        made = World(home, debian_registry)
        made.make()
        with S3Server():
            yield made


@pytest.mark.parametrize("verb", _VERBS)
def test_the_examples_run(verb: str, world: World) -> None:
    wrong = []
    with world.fresh(verb):
        for line in [line for each, line in _EXAMPLES if each == verb and line not in _NOT_RUN]:
            world.run(*_BEFORE_LINE.get(line, "").splitlines())
            status, printed = world.type_into(line) if line in _ON_A_TERMINAL else world.answer(line)
            if status != _STATUS.get(line, 0) or bool(printed) == (line in _SILENT):
                wrong.append(f"{line}: {status}\n{printed}")
    assert not wrong, "\n".join(wrong)


def test_what_is_said_of_examples_is_said_of_those_that_there_are() -> None:
    lines = {line for _, line in _EXAMPLES}
    for named in (_NOT_RUN, _STATUS, _SILENT, _BEFORE_LINE, _ON_A_TERMINAL):
        assert not set(named) - lines
    assert not set(_BEFORE) - set(_VERBS)


def test_every_verb_has_an_example() -> None:
    shown = "".join(f"{line} " for _, line in _EXAMPLES)
    assert [name for name, _ in verbs_of(cli) if f"wclayer {name} " not in shown] == []
