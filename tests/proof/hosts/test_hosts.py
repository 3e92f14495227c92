"""The operations on other hosts: with calls of Linux taken away, and on other file systems, do the same or refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.proof.hosts import core, taken_away
from tests.support import witness

pytestmark = pytest.mark.hosts

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "hosts.md"
MIB = 1 << 20
_NEW_EACH_TIME = ("disk to vhdx", "disk to raw", "import folder")
"""What they leave has GUIDs or times of the sources, which each run makes anew."""
_FEW = (
    "import tar", "import many", "import child", "import folder", "import vhdx", "create scratch", "export gzip",
    "export folder", "write bill", "convert to vhdx", "disk to raw", "copy tree out", "remove", "make base layer",
    "process", "tag image", "attach to layout", "copy tree in", "mv", "change scratch", "reg set",
    "reg set of a layer", "expand", "grant", "import over scratch", "repair store", "activate, deactivate", "unmount",
    "names", "build image",
)  # fmt: skip
"""Those that CI runs, of each kind one."""

_EXCHANGE = {
    **dict.fromkeys(("commit", "import over scratch"), "cannot replace a scratch in one step"),
    "repair store": "cannot replace a folder in one step",
}
_NO_LINKS = {"export folder": "is a hard link, and the file system of the folder has none"}
_MOUNTS = {"unmount": "a view is mounted through Linux' FUSE"}
_UNLOCKED = (
    "export", "write bill", "write page", "convert", "disk to", "copy out", "copy tree out",
)  # fmt: skip
"""How operations begin that put a file, or files one by one, into a folder: nothing needs to be locked for it."""
_SHARED = ("tag image", "untag image", "attach in the store")
"""Operations that take shared locks only: a network's file system has them for what is opened for reading."""
_UNNAMED = (
    "import tar", "import many", "import folder", "import vhdx", "create layer", "create scratch", "export tar",
    "export folder", "convert to vhdx", "disk to raw", "names",
)  # fmt: skip
"""Operations that begin with a file or folder of a long name."""


@dataclass(frozen=True)
class Host:
    """A kind of host, and what is refused there, by its operation and a part of what is told."""

    refused: dict[str, str]
    sources: str = "its own"
    operations: tuple[str, ...] = ()


def _locked(name: str) -> bool:
    return name == "export folder" or not name.startswith(_UNLOCKED)


_LOCKS = {name: "its file system cannot lock it" for name in core.ALL if _locked(name)}
HOSTS = {
    "macos": Host(_EXCHANGE | _MOUNTS),
    "bsd": Host(_EXCHANGE | _MOUNTS),
    "refusing": Host(_EXCHANGE | _NO_LINKS, sources="ordinary"),
    "network": Host({name: text for name, text in _LOCKS.items() if name not in _SHARED}, sources="ordinary"),
    "no locks": Host(_LOCKS, sources="ordinary"),
    "short names": Host({}),
    "8.3 names": Host(
        dict.fromkeys(_UNNAMED, "its file system does not take names like"), sources="ordinary", operations=_UNNAMED
    ),
}


def _run(place: Path, sources: Path, names: tuple[str, ...], kind: str = "") -> dict[str, dict[str, object]]:
    """Runs operations in a process of their own; returns what became of each."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.proof.hosts.core", str(place), str(sources), *names],
            capture_output=True, text=True, timeout=900, check=False, cwd=ROOT,
            env={**os.environ, taken_away.VARIABLE: kind, taken_away.PLACE: str(place)},
        )  # fmt: skip
    finally:
        # What a failed operation left mounted.
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            if (at := line.split()[4]).startswith(f"{place}/"):
                subprocess.run(["umount", "-l", at], check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, dict[str, object]] = json.loads(done.stdout)
    return found


def _check(
    found: dict[str, dict[str, object]], ordinary: dict[str, dict[str, object]], refused: dict[str, str]
) -> None:
    """Each operation is refused before anything is done, or leaves what it leaves on an ordinary host."""
    for name, result in found.items():
        if name in refused:
            assert result.get("error") == "NotSupportedError", (name, result)
            assert refused[name] in str(result["text"]), name
            assert result["new"] == [], name
        elif name in _NEW_EACH_TIME:
            assert "error" not in result, (name, result)
        else:
            assert result == ordinary[name], name


@pytest.fixture(scope="session")
def names(is_long: bool) -> tuple[str, ...]:
    """The operations that are run."""
    return tuple(core.ALL) if is_long else _FEW


@pytest.fixture(scope="session")
def ordinary_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ordinary") / "sources"


@pytest.fixture(scope="session")
def ordinary(
    ordinary_sources: Path, tmp_path_factory: pytest.TempPathFactory, names: tuple[str, ...]
) -> dict[str, dict[str, object]]:
    """What the operations leave here."""
    every = (*names, *(name for name in _UNNAMED if name not in names))
    found = _run(tmp_path_factory.mktemp("here"), ordinary_sources, every)
    assert not [name for name, result in found.items() if "error" in result]
    return found


@pytest.mark.parametrize("kind", HOSTS)
def test_a_host_without_calls_does_the_same_or_says_no_first(
    kind: str,
    ordinary: dict[str, dict[str, object]],
    ordinary_sources: Path,
    tmp_path: Path,
    names: tuple[str, ...],
) -> None:
    host = HOSTS[kind]
    sources = ordinary_sources if host.sources == "ordinary" else tmp_path / "sources"
    _check(_run(tmp_path, sources, host.operations or names, kind), ordinary, host.refused)


@dataclass(frozen=True)
class FileSystem:
    """A file system that is made in a file and mounted; what is refused there.

    - `has_descriptors`: security descriptors of its own, to which `grant` adds; no record of the layer has them then.
    - `make`: the command that makes it, the file's name following.
    - `mount`: the command that mounts it; the file, or a loop device over it, and the place follow.
    """

    make: tuple[str, ...]
    mount: tuple[str, ...] = ("mount", "-o", "loop")
    size: int = 512 * MIB
    has_loop_device: bool = False
    ignores_case: bool = False
    refused: tuple[tuple[str, str], ...] = ()
    has_descriptors: bool = False
    has_links: bool = True


_FILE_SYSTEMS = {
    "ext4": FileSystem(("mkfs.ext4", "-q", "-F")),
    "xfs": FileSystem(("mkfs.xfs", "-q")),
    "btrfs": FileSystem(("mkfs.btrfs", "-q")),
    "tmpfs": FileSystem((), ("mount", "-t", "tmpfs")),
    "exfat": FileSystem(
        ("mkfs.exfat",), ("mount.exfat-fuse",), has_loop_device=True, ignores_case=True,
        refused=tuple((_EXCHANGE | _NO_LINKS).items()), has_links=False,
    ),
    "ntfs": FileSystem(
        ("mkntfs", "-q", "-F", "-f"), ("lowntfs-3g", "-o", "ignore_case"), ignores_case=True,
        refused=tuple(_EXCHANGE.items()), has_descriptors=True,
    ),
}  # fmt: skip


@pytest.fixture
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where a file system is mounted, by its name."""
    if os.geteuid():
        pytest.skip("only root mounts file systems")
    system = _FILE_SYSTEMS[request.param]
    image, place = tmp_path / "image", tmp_path / "place"
    place.mkdir()
    with ExitStack() as stack:
        source = str(image)
        if system.make:
            with image.open("xb") as file:
                file.truncate(system.size)
            _call(*system.make, str(image))
        if system.has_loop_device:
            source = _call("losetup", "--find", "--show", str(image)).strip()
            stack.callback(_call, "losetup", "--detach", source)
        _call(*system.mount, source, str(place))
        stack.callback(_call, "umount", str(place))
        yield place


def _call(program: str, *arguments: str) -> str:
    done = subprocess.run([witness(program), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (program, done.stdout, done.stderr)
    return done.stdout


@pytest.mark.parametrize(("mounted", "kind"), [(name, name) for name in _FILE_SYSTEMS], indirect=["mounted"])
def test_another_file_system_does_the_same_or_says_no_first(
    mounted: Path,
    kind: str,
    ordinary: dict[str, dict[str, object]],
    ordinary_sources: Path,
    names: tuple[str, ...],
) -> None:
    system = _FILE_SYSTEMS[kind]
    (mounted / "case").touch()
    assert (mounted / "CASE").exists() == system.ignores_case
    # The sources have a transport folder, and it has a hard link.
    sources = mounted / "sources" if system.has_links else ordinary_sources
    found = _run(mounted, sources, names)
    if system.has_descriptors:
        assert "error" not in found.pop("grant")
    _check(found, ordinary, dict(system.refused))


def test_the_document_has_every_host_that_is_tried() -> None:
    text = DOCUMENT.read_text()
    assert [name for name in (*HOSTS, *_FILE_SYSTEMS) if f"| `{name}` |" not in text] == []
