"""The mistakes that are made most on the command line: each message names the right word, or what to type next."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.images import samples
from tests.images.stores import fill
from tests.support import layer_tar, put_directories, put_file, run, run_process, vector_bytes
from wclayer._nearest import nearest
from wclayer.images.store import ImageStore
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.model import LayerWriter
from wclayer.view.layer_view import LayerView
from wclayer.view.merged import MergedTree
from wclayer.win32.names import name_key


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, layers: Path) -> Path:
    """A folder with the layers `base`, `child` and the scratch `run`, a tar, a transport folder, and a store."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name in ("base", "child"):
        shutil.copytree(layers / name, folder / name)
    run("relink", folder / "child")
    run("create", "-l", folder / "child", "-l", folder / "base", folder / "run")
    run("export", "--transport", folder / "transport", folder / "base")
    (folder / "base.tar").write_bytes(vector_bytes("base.tar.gz"))
    (folder / "empty").mkdir()
    store = ImageStore(folder / "store")
    for name in ("mcr.microsoft.com/windows/nanoserver:ltsc2022", "localhost:5000/app:1"):
        fill(store, name, samples.small())
    return folder


MISTAKES: list[tuple[Sequence[str], int, Sequence[str]]] = [
    # Words of the command itself.
    (["imoprt"], 64, ["No such command 'imoprt'", "did you mean `wclayer import`?", "see `wclayer --help`"]),
    (["reg", "qurey", "base"], 64, ["did you mean `wclayer reg query`?", "see `wclayer reg --help`"]),
    (["umount", "run"], 64, ["did you mean `wclayer unmount`?"]),
    (["dir", "base"], 64, ["did you mean `wclayer ls`?"]),
    (["ls", "--recursiv", "base"], 64, ["'--recursiv'", "did you mean --recursive?", "see `wclayer ls --help`"]),
    (["ls", "--engine", "hcs", "base"], 64, ["before the verb", "wclayer --engine … ls"]),
    (["--store", "store", "images"], 64, ["after the verb", "wclayer VERB --store"]),
    (["save", "-o", "x", "--format", "oci-archiv", "app:1"], 64, ["Did you mean 'oci-archive'?"]),
    (["completion", "bsh"], 64, ["Did you mean 'bash'?", "see `wclayer completion --help`"]),
    (["cat", "base"], 64, ["Missing argument 'PATH'", "see `wclayer cat --help`"]),
    (["ls", "base", "C:\\Program", "Files"], 64, ["unexpected extra argument (Files)", "see `wclayer ls --help`"]),
    (["cp", "a", "b"], 64, ["LAYER:PATH", "see `wclayer cp --help`"]),
    # Layers and images.
    (["ls", "bsae"], 2, ["no such path", "did you mean 'base'?"]),
    (["ls", "./bsae"], 2, ["does not exist", "did you mean './base'?"]),
    (["ls", "nanoserver:ltsc2025"], 2, [
        "did you mean mcr.microsoft.com/windows/nanoserver:ltsc2022?", "`wclayer pull nanoserver:ltsc2025`",
        "`wclayer images`",
    ]),
    (["push", "app:2"], 2, ["did you mean localhost:5000/app:1?", "`wclayer images`"]),
    (["untag", "localhost:5000/ap:1"], 2, ["did you mean localhost:5000/app:1?", "`wclayer images`"]),
    (["inspect", "app:2"], 2, ["did you mean localhost:5000/app:1?"]),
    (["ls", "docker://localhost:5000/app:2"], 2, ["`wclayer pull localhost:5000/app:2`"]),
    (["ls", "base.tar"], 4, ["wclayer import -i"]),
    (["ls", "transport"], 4, ["wclayer import -i", "transport"]),
    (["ls", "empty"], 4, ["`wclayer import`"]),
    (["ls", "store"], 4, ["`wclayer images --store"]),
    (["ls", "."], 4, ["the layers in it:", "base", "child", "run"]),
    (["import", "-i", "bse.tar", "new"], 2, ["did you mean 'base.tar'?"]),
    # Paths in layers.
    (["cat", "base", "C:\\Licence.txt"], 2, ["has no 'Licence.txt'", "did you mean 'License.txt'?"]),
    (["ls", "base", "C:\\Widnows\\System32"], 2, ["has no 'Widnows'", "did you mean 'Windows'?"]),
    (["stat", "base", "C:\\windows\\SYSTME32"], 2, ["did you mean 'System32'?"]),
    (["cp", "base:C:\\Licence.txt", "."], 2, ["did you mean 'License.txt'?"]),
    (["ls", "base", "C:WindowsSystem32"], 2, ["a shell removes backslashes", "quotes"]),
    (["cat", "base", "C:\\Windows"], 12, ["`wclayer ls`"]),
    # What is done to layers.
    (["rm", "base", "C:\\License.txt"], 5, ["`wclayer create"]),
    (["rm", "app:1", "C:\\License.txt"], 5, ["`wclayer create --from app:1 PATH`"]),
    (["import", "-i", "base.tar", "base"], 3, ["base"]),
    (["--engine", "hcs", "create", "-l", "base", "new"], 10, ["only available on Windows", "portable"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "status", "told"),
    MISTAKES,
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_a_mistake_is_told_with_what_to_type_next(
    words: Sequence[str], status: int, told: Sequence[str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("WCLAYER_STORE", str(place / "store"))
    before = sorted(os.listdir(place))
    error = run(*words, status=status).stderr.decode()
    assert error.startswith("wclayer: ")
    assert error.count("\n") == 1
    for part in told:
        assert part in error, error
    assert sorted(os.listdir(place)) == before


def test_it_is_the_same_in_a_process_of_its_own(place: Path) -> None:
    for words, status, told in MISTAKES[:2]:
        assert told[0] in run_process(*words, status=status).stderr.decode()


def test_a_scratch_in_use_is_told_with_how_to_end_that(place: Path) -> None:
    with ScratchDirectory(place / "run"):
        error = run("expand", place / "run", "40GiB", status=9).stderr.decode()
    assert "another process has it open; try again" in error


@pytest.mark.parametrize(
    ("package", "extra", "words"),
    [
        ("textual", "explore", ["explore", "base"]),
        ("duckdb", "fleet", ["fleet", "query", "out", "SELECT 1"]),
        ("pyarrow", "fleet", ["fleet", "report", "out", "-o", "x.html"]),
        ("distributed", "fleet", ["fleet", "scan", "--from", "localhost:1", "-o", "out"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_missing_extra_is_told_with_how_to_install_it(
    package: str, extra: str, words: list[str], place: Path, tmp_path: Path
) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from wclayer.cli.main import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, check=False, cwd=place,
        env={**os.environ, "WCLAYER_STORE": str(place / "store")},
    )  # fmt: skip
    assert done.returncode not in (0, 1), done.stderr
    assert f"pip install 'wclayer[{extra}]'" in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_odd_names_and_long_ones_are_told_at_once(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/many")
        for number in range(6000):
            put_file(writer, f"Files/many/file{number:05}.txt")
        put_file(writer, "Files/bell\x9b")
        put_file(writer, "Files/\ud800 half")

    (tmp_path / "odd.tar").write_bytes(layer_tar(build))
    run("import", "-i", tmp_path / "odd.tar", tmp_path / "odd")
    for path, name in (
        ("C:\\many\\file05989x.txt", "file05989.txt"), ("C:\\bel<U+009B>", "bell\\x9b"),
        ("C:\\<U+D801> half", "\\ud800 half"),
    ):  # fmt: skip
        assert f"did you mean '{name}'?" in run("cat", tmp_path / "odd", path, status=2).stderr.decode(), path
    for path in ("x" * 60_000, "C:\\" + "many\\" * 5000, "NUL", "*", "C:\\many\\", "<U+D800>"):
        assert run("stat", tmp_path / "odd", path, status=None).stderr.count(b"\n") <= 1


def test_the_nearest_name_is_found_without_regard_to_case() -> None:
    names = ["License.txt", "Windows", "Users", "ProgramData"]
    for wanted, found in (
        ("licence.TXT", "License.txt"), ("WIDNOWS", "Windows"), ("prog", "ProgramData"), ("zzz", None), ("", None),
        ("W" * 1000, None), ("u", None),
    ):  # fmt: skip
        assert nearest(wanted, names) == found, wanted


@pytest.mark.parametrize("beginning", ["", "w", "Windows", "\ud800", "zz", "\U0010ffff", "é", "É"])
def test_the_names_that_begin_so_are_those_of_the_whole_listing(beginning: str, tmp_path: Path) -> None:
    names = ["Windows", "windows2", "W", "\ud800", "\ud800x", "é", "Éa", "日本", "\U0010ffff", "\U0010ffffz", "zz"]

    def base(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d", *(f"Files/d/{name}" for name in names[:4]))
        for name in names[4:]:
            put_file(writer, f"Files/d/{name}")

    (tmp_path / "base.tar").write_bytes(layer_tar(base))
    run("import", "-i", tmp_path / "base.tar", tmp_path / "base")
    run("create", "-l", tmp_path / "base", tmp_path / "run")
    with LayerView(scratch=tmp_path / "run") as view:
        view.rmtree("C:\\d\\W")
        view.unlink("C:\\d\\zz")
        view.mkdir("C:\\d\\new")
        view.mkdir("C:\\d\\windows\\below")
    for layer in ("base", "run"):
        with MergedTree.of(tmp_path / layer, with_parents=True) as tree:
            directory = tree.lookup("Files/d")
            assert directory is not None
            key = name_key(beginning)
            expected = {child.key: (child.name, child.merged) for child in tree.children(directory)}
            found = [(child.key, (child.name, child.merged)) for child in tree.beginning(directory, beginning)]
            assert dict(found) == {k: v for k, v in expected.items() if k.rpartition("/")[2].startswith(key)}
            assert len(found) == len(dict(found))
