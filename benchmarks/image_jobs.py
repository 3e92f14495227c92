"""The jobs of the yardstick, the programs that can do each, and the limits beside them."""

from __future__ import annotations

import io
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import layers
from benchmarks.mounts import OVERLAY, step_names
from benchmarks.servercore import Image

OURS = "wclayer"
BEFORE = "wclayer before"
MOUNTS = "mounts"
"""The name on the command line of all jobs in a mount, which run together."""
_TAR = "tar --warning=no-unknown-keyword"


@dataclass(frozen=True, slots=True)
class Way:
    """One program that does a job, as a command of bash in which `{out}` is an empty folder."""

    who: str
    kind: str
    """"ours", "before", "peer" or "limit"."""
    command: str
    prepare: str = ""
    """What is run before it, without being measured."""
    needs: str = ""
    """The program without which the row is left out."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job: its name on the command line and in the table, what it reads, and who does it."""

    name: str
    inputs: tuple[Callable[[], object], ...]
    ways: tuple[Way, ...]


class Inputs:
    """What the jobs read, made when it is first wanted and kept in the folder.

    Args:
        folder: the folder of the image.
        image: the image in it.
        scale: its scale.
        before: the command of another wclayer.
    """

    def __init__(self, folder: Path, image: Image, scale: float, before: str | None) -> None:
        self.folder = folder / "inputs"
        self.scale = scale
        self.image = image
        self.commands = {OURS: f"{shlex.quote(sys.executable)} -m wclayer"}
        if before:
            self.commands[BEFORE] = before

    def kind(self, who: str) -> str:
        return {OURS: "ours", BEFORE: "before"}[who]

    def layer(self, who: str, name: str) -> Path:
        """The layer directory of one of the image's layers, as that wclayer has made it."""
        return self.folder / who.replace(" ", "-") / name

    def import_layers(self) -> None:
        """Makes the layer directories."""
        for who, wclayer in self.commands.items():
            base, update = self.layer(who, "base"), self.layer(who, "update")
            base.parent.mkdir(parents=True, exist_ok=True)
            if not base.exists():
                self._shell(f"{wclayer} import -i {self.image.base.gzip} {base}")
            if not update.exists():
                self._shell(f"{wclayer} import -i {self.image.update.gzip} -l {base} {update}")

    @property
    def tree(self) -> Path:
        """The files of the base as tar unpacks them."""
        return self.folder / "tree"

    def unpack_tree(self) -> None:
        if not self.tree.exists():
            partial = self.tree.with_suffix(".partial")
            self._shell(f"rm -rf {partial}; mkdir -p {partial}; {_TAR} -xf {self.image.base.tar} -C {partial}")
            partial.rename(self.tree)

    @property
    def empties(self) -> Path:
        """A tar of as many directories, files and links as the base has, all empty."""
        return self.folder / "empties.tar"

    def make_empties(self) -> None:
        if not self.empties.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = self.empties.with_suffix(".partial")
            with (
                tarfile.open(self.image.base.tar) as source,
                tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as target,
            ):
                for member in source:
                    member.size, member.pax_headers = 0, {}
                    member.mode = 0o755 if member.isdir() else 0o644
                    target.addfile(member, io.BytesIO())
            partial.rename(self.empties)

    @property
    def small(self) -> Path:
        """A layer tar of small files."""
        return self.folder / "small.tar.gz"

    def pack_small_files(self) -> None:
        layers.write(self.small, layers.small_files(max(1000, int(100_000 * self.scale))))

    def import_small_files(self) -> None:
        """Makes the layer directories of the small files, and their tree."""
        self.pack_small_files()
        for who, wclayer in self.commands.items():
            if not self.layer(who, "small").exists():
                self._shell(f"{wclayer} import -i {self.small} {self.layer(who, 'small')}")
        if not self.small_tree.exists():
            partial = self.small_tree.with_suffix(".partial")
            self._shell(f"rm -rf {partial}; mkdir -p {partial}; {_TAR} -xf {self.small} -C {partial}")
            partial.rename(self.small_tree)

    @property
    def small_tree(self) -> Path:
        """The small files as tar unpacks them."""
        return self.folder / "small-tree"

    @property
    def wim(self) -> Path:
        """A WIM of the base's volume, uncompressed."""
        return self.folder / "base.wim"

    def capture_wim(self) -> None:
        if not self.wim.exists() and shutil.which("wimlib-imagex"):
            volume, partial = self.folder / "volume.img", self.wim.with_suffix(".partial")
            base = self.layer(OURS, "base")
            self._shell(
                f"{self.commands[OURS]} convert --to ntfs -o {volume} {base};"
                f" wimlib-imagex capture {volume} {partial} --compress=none; rm {volume}"
            )
            partial.rename(self.wim)

    def _shell(self, command: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["bash", "-ec", command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise SystemExit(f"{command}: exit status {done.returncode}\n{done.stderr.decode(errors='replace')}")


def all_jobs(inputs: Inputs) -> list[Job]:
    """All jobs, with those of their programs that this machine has."""
    return [
        Job(job.name, job.inputs, tuple(way for way in job.ways if not way.needs or shutil.which(way.needs)))
        for job in (*_imports(inputs), *_exports(inputs), *_disks(inputs), *_looks(inputs))
    ]


def _ours(inputs: Inputs, command: Callable[[str], str]) -> Iterable[Way]:
    """The ways of wclayer and of the other one.

    Args:
        command: takes who runs it, and returns the arguments.
    """
    for who, wclayer in inputs.commands.items():
        yield Way(who, inputs.kind(who), command(who).replace("{wclayer}", wclayer))


def _peer(who: str, command: str, needs: str = "", prepare: str = "") -> Way:
    return Way(who, "peer", command, prepare, needs)


def _limit(who: str, command: str, needs: str = "") -> Way:
    return Way(f"limit: {who}", "limit", command, needs=needs)


def _imports(inputs: Inputs) -> list[Job]:
    base, update = inputs.image.base, inputs.image.update
    extract = f"{_TAR} -C {{out}}"
    shared = (
        _limit("SHA-256 of the tar", f"sha256sum {base.tar}"),
        _limit("dd of the tar's bytes", f"dd if={base.tar} of={{out}}/bytes bs=1M"),
        _limit("tar -xf, the same names, all empty", f"{extract} -xf {inputs.empties}"),
    )
    rapidgzip = Path(sys.executable).with_name("rapidgzip")
    return [
        Job(
            "import gzip",
            (inputs.make_empties,),
            (
                *_ours(inputs, lambda who: f"{{wclayer}} import -i {base.gzip} {{out}}/layer"),
                _peer("tar -xzf", f"{extract} -xzf {base.gzip}"),
                _peer("tar -xzf, sync -f", f"{extract} -xzf {base.gzip}; sync -f {{out}}"),
                _peer("pigz -dc, tar -xf", f"pigz -dc {base.gzip} | {extract} -xf -", "pigz"),
                _limit("gzip -dc", f"gzip -dc {base.gzip} | cat >/dev/null"),
                _limit("pigz -dc", f"pigz -dc {base.gzip} >/dev/null", "pigz"),
                _limit("rapidgzip -d", f"{rapidgzip} -d -c -P 0 {base.gzip} >/dev/null", str(rapidgzip)),
                *shared,
            ),
        ),
        Job(
            "import plain tar",
            (inputs.make_empties,),
            (
                *_ours(inputs, lambda who: f"{{wclayer}} import -i {base.tar} {{out}}/layer"),
                _peer("tar -xf", f"{extract} -xf {base.tar}"),
                _peer("tar -xf, sync -f", f"{extract} -xf {base.tar}; sync -f {{out}}"),
                *shared,
            ),
        ),
        Job(
            "import both layers",
            (),
            (
                *_ours(
                    inputs,
                    lambda who: (
                        f"{{wclayer}} import -i {base.gzip} {{out}}/base;"
                        f" {{wclayer}} import -i {update.gzip} -l {{out}}/base {{out}}/update"
                    ),
                ),
                _peer(
                    "tar -xzf, twice",
                    f"mkdir {{out}}/0 {{out}}/1; {_TAR} -xzf {base.gzip} -C {{out}}/0;"
                    f" {_TAR} -xzf {update.gzip} -C {{out}}/1",
                ),
            ),
        ),
        Job(
            "import small files",
            (inputs.pack_small_files,),
            (
                *_ours(inputs, lambda who: f"{{wclayer}} import -i {inputs.small} {{out}}/layer"),
                _peer("tar -xzf", f"{extract} -xzf {inputs.small}"),
            ),
        ),
    ]


def _exports(inputs: Inputs) -> list[Job]:
    before = (inputs.import_layers, inputs.unpack_tree)
    pack = f"tar --format=posix -C {inputs.tree}"
    read = _limit("read all files", f"{pack} -cf - . | cat >/dev/null")

    def layer(who: str) -> Path:
        return inputs.layer(who, "base")

    return [
        Job(
            "export plain tar",
            before,
            (
                *_ours(inputs, lambda who: f"{{wclayer}} export -o {{out}}/tar {layer(who)}"),
                _peer("tar -cf, sha256sum", f"{pack} -cf {{out}}/tar .; sha256sum {{out}}/tar"),
                _peer("tar -cf", f"{pack} -cf {{out}}/tar ."),
                _limit("SHA-256 of the tar", f"sha256sum {inputs.image.base.tar}"),
                _limit("dd of the tar's bytes", f"dd if={inputs.image.base.tar} of={{out}}/bytes bs=1M"),
                read,
            ),
        ),
        Job(
            "export gzip",
            before,
            (
                *_ours(inputs, lambda who: f"{{wclayer}} export -z -o {{out}}/tar.gz {layer(who)}"),
                _peer("tar -cf, pigz -6", f"{pack} -cf - . | pigz -6 >{{out}}/tar.gz", "pigz"),
                _peer("tar -czf", f"{pack} -czf {{out}}/tar.gz ."),
                _limit("pigz -6 of the tar", f"pigz -6 <{inputs.image.base.tar} >{{out}}/tar.gz", "pigz"),
            ),
        ),
        Job(
            "export small files, gzip",
            (inputs.import_small_files,),
            (
                *_ours(inputs, lambda who: f"{{wclayer}} export -z -o {{out}}/tar.gz {inputs.layer(who, 'small')}"),
                _peer("tar -czf", f"tar --format=posix -C {inputs.small_tree} -czf {{out}}/tar.gz ."),
            ),
        ),
        Job(
            "export zstd",
            before,
            (
                *_ours(inputs, lambda who: f"{{wclayer}} export --zstd -o {{out}}/tar.zst {layer(who)}"),
                _peer("tar -cf, zstd -3 -T0", f"{pack} -cf - . | zstd -q -3 -T0 >{{out}}/tar.zst", "zstd"),
                _limit("zstd -3 -T0 of the tar", f"zstd -q -3 -T0 <{inputs.image.base.tar} >{{out}}/tar.zst", "zstd"),
            ),
        ),
    ]


def _disks(inputs: Inputs) -> list[Job]:
    base = inputs.image.base
    volume = "truncate -s 20G {out}/volume; mkntfs -F -q -Q {out}/volume"
    wimlib = _peer("wimlib-imagex apply", f"wimlib-imagex apply {inputs.wim} 1 {{out}}/volume", "wimlib-imagex", volume)
    copy = _limit("dd of the tar's bytes", f"dd if={base.tar} of={{out}}/bytes bs=1M")
    return [
        Job(
            "VHDX of tar.gz",
            (inputs.import_layers, inputs.capture_wim),
            (
                *_ours(inputs, lambda who: _to_disk(inputs.commands[who], base.gzip)),
                wimlib,
                _limit("gzip -dc", f"gzip -dc {base.gzip} | cat >/dev/null"),
                copy,
            ),
        ),
        Job(
            "VHDX of a layer directory",
            (inputs.import_layers, inputs.capture_wim),
            (
                *_ours(inputs, lambda who: f"{{wclayer}} convert -o {{out}}/x.vhdx {inputs.layer(who, 'base')}"),
                wimlib,
                copy,
            ),
        ),
        Job(
            "VHDX of both layers",
            (inputs.import_layers, inputs.capture_wim),
            (
                *_ours(inputs, lambda who: f"{{wclayer}} convert -o {{out}}/x.vhdx {inputs.layer(who, 'update')}"),
                wimlib,
            ),
        ),
    ]


def _to_disk(wclayer: str, tar: Path) -> str:
    """The command that makes a disk of a tar: where `convert` takes no tar, by the benchmark of that wclayer's
    checkout, whose virtual environment is in its top folder."""
    shown = subprocess.run(["bash", "-c", f"{wclayer} convert --help"], capture_output=True, text=True, check=True)
    if ".tar" in shown.stdout:
        return f"{wclayer} convert -o {{out}}/x.vhdx {tar}"
    python = shlex.split(wclayer)[0] if "-m" in wclayer else str(Path(wclayer).with_name("python"))
    top = Path(python).parents[2]
    return f"cd {top}; {python} -m benchmarks.volumes --work {tar} --disk {{out}}/x.vhdx --size {20 << 30}"


def _looks(inputs: Inputs) -> list[Job]:
    folder = r"'C:\Windows\System32'"

    def layer(who: str) -> Path:
        return inputs.layer(who, "update")

    return [
        Job(
            "ls",
            (inputs.import_layers, inputs.unpack_tree),
            (
                *_ours(inputs, lambda who: f"{{wclayer}} ls -m {layer(who)} {folder}"),
                _peer("ls -l", f"ls -l {inputs.tree}/Files/Windows/System32"),
            ),
        ),
        Job(
            "ls -R",
            (inputs.import_layers, inputs.unpack_tree),
            (
                *_ours(inputs, lambda who: _list_all(inputs.commands[who], layer(who))),
                _peer("ls -lR", f"ls -lR {inputs.tree}"),
            ),
        ),
        Job(
            "--help",
            (),
            (
                *_ours(inputs, lambda who: "{wclayer} --help"),
                _limit("python -c pass", f"{shlex.quote(sys.executable)} -c pass"),
            ),
        ),
        Job(
            "start",
            (),
            (
                *_ours(inputs, lambda who: "{wclayer} --version"),
                _limit("python -c pass", f"{shlex.quote(sys.executable)} -c pass"),
            ),
        ),
    ]


def _list_all(wclayer: str, layer: Path) -> str:
    shown = subprocess.run(["bash", "-c", f"{wclayer} ls --help"], capture_output=True, text=True, check=True)
    return f"{wclayer} ls -m -R {layer}" if "-R" in shown.stdout else f"{wclayer} tree -m {layer}"


def mount_sizes(scale: float) -> tuple[int, int]:
    """How many small files a mount has, and how many bytes its large file."""
    return max(2, int(10 * scale)) * 1000, max(16, int(1024 * scale)) << 20


def mount_jobs(inputs: Inputs, scale: float) -> list[Job]:
    """The steps of `benchmarks.mounts` as jobs, for the table."""
    ways = [Way(who, inputs.kind(who), "") for who in inputs.commands]
    if shutil.which(OVERLAY):
        ways.append(Way(OVERLAY, "peer", ""))
    return [Job(f"mount: {name}", (), tuple(ways)) for name in step_names(*mount_sizes(scale))]
