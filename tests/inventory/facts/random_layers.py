"""Random chains of layers with files for every collector, which are overwritten, deleted, made anew, linked."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.formats.pe import craft_go
from tests.formats.pe.craft import Pe
from tests.inventory.jars import jar, pom
from tests.inventory.subjects import tree, value
from tests.inventory.trees import METADATA, NUSPEC
from tests.support import directory, info, layer_tar, put_directories, put_file
from wclayer.formats.regf.delta import delta_of
from wclayer.formats.regf.model import TreeKey
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.hives import CONFIG
from wclayer.model import Entry, LayerWriter

TASK = (
    b'<?xml version="1.0"?><Task xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task"><RegistrationInfo><Author>'
    b"me</Author></RegistrationInfo><Actions><Exec><Command>a.exe</Command></Exec></Actions></Task>"
)
APPX = (
    b'<Package xmlns="http://schemas.microsoft.com/appx/manifest/foundation/windows10"><Identity Name="App" '
    b'Publisher="CN=me" Version="1.0.0.0"/></Package>'
)
PACKAGE = b'{"name": "n", "version": "1", "license": "MIT"}'
LOCK = b'{"lockfileVersion": 3, "packages": {"node_modules/l": {"version": "2"}}}'
DEPS = b'{"libraries": {"Lib/1.0": {"type": "package"}, "Own/1.0": {"type": "project"}}}'
_LINKS = ("app/link.exe", "bin/none", "lib/link.jar", "app/b.nuspec")
_KEY = r"ControlSet001\Services\ours"
_MACHINE = r"ControlSet001\Control\Session Manager\Environment"


@functools.cache
def contents() -> dict[str, list[bytes]]:
    """What files may hold, by their paths below C:."""
    go, plain = craft_go.program(craft_go.inline()).encode(), Pe().encode()
    site, certificates = "P/site-packages/a-1.dist-info", "Users/me/AppData/Roaming/Microsoft/SystemCertificates/My"
    user = [write_hive(tree({r"Environment": {"MINE": "1", "Path": r"C:\tools"}})), write_hive(tree({"Other": {}}))]
    return {
        f"{site}/METADATA": [METADATA, METADATA.replace(b"1.2.3", b"2.0")], f"{site}/INSTALLER": [b"pip\n", b"uv"],
        f"{site}/direct_url.json": [b'{"url": "https://example.org"}', b"["],
        "app/node_modules/n/package.json": [PACKAGE, b"{"], "app/package.json": [PACKAGE],
        "app/package-lock.json": [LOCK], "app/app.deps.json": [DEPS, b"5"], "app/a.nuspec": [NUSPEC, b"<"],
        "app/a.nupkg": [jar({"a.nuspec": NUSPEC}), b"zip"],
        "lib/tool-1.0.jar": [jar({**pom("g", "tool", "1.0"), "in/b-2.jar": jar(pom("g", "b", "2"))}), b"PK"],
        "app/go.exe": [go, plain, plain[:200]], "bin/unknown": [go, plain, b"text"], "data.bin": [go, plain],
        "svc/ours.exe": [plain, b"x"], "tools/readme.txt": [b"tools"],
        "Windows/System32/Tasks/T1": [TASK, b"<Task"], "Windows/System32/Tasks/F/T2": [TASK],
        "Users/me/NTUSER.DAT": [*user, b"damaged"], f"{certificates}/Certificates/00AA": [b"damaged"],
        "Program Files/WindowsApps/x/AppxManifest.xml": [APPX, b"<Package/>"],
        "Program Files/dotnet/shared/Microsoft.NETCore.App/8.0.1/a.dll": [plain],
        "Program Files/PowerShell/7/pwsh.dll": [plain, b"MZ"],
    }  # fmt: skip


@dataclass
class State:
    """What a chain shows: the files by their paths below C:."""

    files: set[str] = field(default_factory=set)
    system: int = 0
    """The number of the state of the hive SYSTEM."""


@dataclass
class Layer:
    """The changes of one layer, in the order in which they are written.

    Attributes:
        deleted: names that it deletes from the layers below.
        files: the files that it puts, with the numbers of their `contents`.
        links: further names, with the names that they are links to.
        shouts: whether it spells the names of directories in upper case.
        system: the state of the hive SYSTEM that it makes; None for one that has no hive.
    """

    deleted: list[str]
    files: dict[str, int]
    links: dict[str, str]
    shouts: bool
    system: int | None

    def tar(self, before: int) -> bytes:
        """The layer over layers with a state of the hive SYSTEM."""
        return layer_tar(lambda writer: self._write(writer, before))

    def _spelled(self, path: str) -> str:
        above, slash, name = path.rpartition("/")
        return f"{above.upper() if self.shouts else above}{slash}{name}"

    def _write(self, writer: LayerWriter, before: int) -> None:
        put_directories(writer, "Files")
        for path in self.deleted:
            writer.put(Entry(f"Files/{path}", None))
        for path in _directories([self._spelled(path) for path in (*self.files, *self.links)]):
            writer.put(directory(f"Files/{path}"))
        for path, number in self.files.items():
            put_file(writer, f"Files/{self._spelled(path)}", contents()[path][number])
        for path, target in self.links.items():
            inside = self._spelled(target) if target in self.files else target
            writer.put(Entry(f"Files/{self._spelled(path)}", info(), link_target=f"Files/{inside}"))
        if self.system is not None:
            delta = delta_of(_system(before), _system(self.system))
            put_directories(writer, "Hives")
            if delta is not None:
                put_file(writer, "Hives/System_Delta", write_hive(delta, has_layered_keys=True))


def _directories(paths: list[str]) -> Iterator[str]:
    parts = (path.split("/") for path in paths)
    yield from sorted({"/".join(each[:depth]) for each in parts for depth in range(1, len(each))})


def _system(number: int) -> TreeKey:
    images = {0: r"C:\svc\ours.exe", 1: r"%TOOLS%\x.exe", 2: r"C:\bin\unknown"}
    root = tree({
        _KEY: {"Type": 16, "Start": 2, "ImagePath": images[number]},
        r"ControlSet001\Services\none": {"Type": 16, "Start": 3, "ImagePath": r"C:\nowhere\deep\x.exe"},
        _MACHINE: {"TOOLS": r"C:\tools", "Path": r"C:\tools;C:\app;C:\nowhere\deep;%SystemRoot%"},
    })  # fmt: skip
    root.set(value("state", number))
    return root


def base() -> bytes:
    """The base layer: two hives and the folder of Windows."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32", CONFIG, "Files/Users")
        put_file(writer, f"{CONFIG}/SOFTWARE", write_hive(tree({r"Microsoft\Windows NT\CurrentVersion": {
            "ProductName": "Windows Server 2022", "CurrentBuildNumber": "20348", "UBR": 1,
        }})))  # fmt: skip
        put_file(writer, f"{CONFIG}/SYSTEM", write_hive(_system(0)))

    return layer_tar(build)


def tars_of(layers: Sequence[Layer]) -> list[bytes]:
    """The tars of layers over the base layer, which is first."""
    tars, system = [base()], 0
    for layer in layers:
        tars.append(layer.tar(system))
        system = system if layer.system is None else layer.system
    return tars


@st.composite
def chains(draw: st.DrawFn, most: int = 5) -> list[Layer]:
    """Random layers over the base layer."""
    layers: list[Layer] = []
    state = State()
    for _ in range(draw(st.integers(1, most))):
        layers.append(draw(_layers(state)))
        state = _after(state, layers[-1])
    return layers


def _after(state: State, layer: Layer) -> State:
    gone = {path for path in state.files for name in layer.deleted if path == name or path.startswith(f"{name}/")}
    system = state.system if layer.system is None else layer.system
    return State(state.files - gone | layer.files.keys() | layer.links.keys(), system)


@st.composite
def _layers(draw: st.DrawFn, state: State) -> Layer:
    known = contents()
    deleted = (
        draw(st.lists(st.sampled_from(sorted(_names(state.files))), max_size=2, unique=True)) if state.files else []
    )
    # What is below a name that is deleted, too, is not named itself.
    deleted = [name for name in deleted if not any(name.startswith(f"{other}/") for other in deleted)]
    paths = draw(st.lists(st.sampled_from(sorted(known)), max_size=5, unique=True))
    files = {path: draw(st.integers(0, len(known[path]) - 1)) for path in paths}
    links = {}
    for path in draw(st.lists(st.sampled_from(_LINKS), max_size=2, unique=True)):
        # What a file of a lower layer holds is known if its name said that it matters, too.
        below = {name for name in state.files - files.keys() if name.rpartition(".")[2] == path.rpartition(".")[2]}
        targets = sorted((below if draw(st.booleans()) else files) or files or below)
        if targets and path not in files:
            links[path] = draw(st.sampled_from(targets))
    return Layer(deleted, files, links, draw(st.booleans()), draw(st.sampled_from([None, None, 0, 1, 2])))


def _names(files: set[str]) -> set[str]:
    """The files, and the directories that only they need."""
    found = set()
    for path in files:
        parts = path.split("/")
        found |= {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    return found - {"Windows", "Windows/System32", "Users"}
