"""`cp` and `mv`: what they refuse, what they keep, and what they tell of what they leave out."""

from __future__ import annotations

import inspect
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import layer_tar, put_directories, put_file, run, text
from wclayer import LayerView
from wclayer.host.root import remove_tree
from wclayer.layers import atomic
from wclayer.model import LayerWriter
from wclayer.view import transfer

DATA = b"what must not get lost"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/app", "Files/app/sub", "Files/other")
        put_file(writer, "Files/app/notes.txt", DATA, 0x20, s=b"stream")
        put_file(writer, "Files/app/sub/deep.txt", DATA)

    folder = tmp_path_factory.mktemp("copies")
    (folder / "base.tar").write_bytes(layer_tar(build))
    run("import", "-i", folder / "base.tar", folder / "base")
    return folder / "base"


@pytest.fixture
def scratch(base: Path, tmp_path: Path) -> Path:
    run("create", "-l", base, tmp_path / "run")
    with LayerView(scratch=tmp_path / "run") as view:
        view.write_bytes("app/own.txt", DATA)
        view.write_bytes("app/own.txt:s", b"stream")
        view.link("app/link.txt", "app/own.txt")
        view.symlink("other/app", "C:\\app")
    return tmp_path / "run"


@pytest.mark.parametrize("file", ["app/own.txt", "app/notes.txt"])
@pytest.mark.parametrize("verb", ["cp", "mv"])
def test_a_file_onto_itself_is_refused(verb: str, file: str, scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(scratch)
    name = file.rpartition("/")[2]
    targets = [file, "C:\\app", "C:\\app\\", "other/app", f"other/app/{name}"]
    if verb == "cp":
        targets += [file.upper(), f"app/./sub/../{name}"]
        if name == "own.txt":
            targets.append("app/link.txt")
    for target in targets:
        arguments = (f"{scratch}:{file}", f"{tmp_path / 'link'}:{target}") if verb == "cp" else (scratch, file, target)
        assert b"are the same file" in run(verb, *arguments, status=5).stderr, target
        assert run("cat", scratch, file).stdout == DATA
    assert b"same file" in run("cp", f"{scratch}:{file}:s", f"{scratch}:{file.upper()}:S:$DATA", status=5).stderr
    assert run("cat", scratch, f"{file}:s").stdout == b"stream"


def test_a_name_gets_other_case(scratch: Path) -> None:
    run("mv", scratch, "app/own.txt", "app/OWN.txt")
    assert "OWN.txt" in text("ls", scratch, "app")


@pytest.mark.parametrize("target", ["app", "C:\\app\\sub", "app/new", "app/sub/new", "other/app/sub", "APP\\SUB\\new"])
def test_a_directory_into_itself_is_refused(target: str, scratch: Path) -> None:
    before = text("tree", scratch)
    assert b"into itself" in run("cp", "-r", f"{scratch}:app", f"{scratch}:{target}", status=5).stderr
    assert text("tree", scratch) == before


def test_the_folder_that_gets_a_copied_directory_must_be_there(scratch: Path, tmp_path: Path) -> None:
    target = tmp_path / "missing/copy"
    assert b"missing" in run("cp", "-r", f"{scratch}:app", target, status=2).stderr
    assert not target.parent.exists()


def test_a_target_that_ends_in_a_separator_is_a_directory(scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(DATA)
    before = text("tree", scratch)
    for end in ("\\", "/"):
        run("cp", tmp_path / "f", f"{scratch}:C:\\nope{end}", status=13)
        run("cp", f"{scratch}:app/own.txt", f"{scratch}:C:\\nope{end}", status=13)
        run("mv", scratch, "app/own.txt", f"C:\\nope{end}", status=13)
        run("cp", tmp_path / "f", f"{scratch}:C:\\app\\own.txt{end}", status=13)
    run("cp", f"{scratch}:app/own.txt", f"{tmp_path}/nope/", status=13)
    assert text("tree", scratch) == before
    assert not (tmp_path / "nope").exists()
    run("cp", "-r", f"{scratch}:app/sub", f"{scratch}:C:\\new\\")
    assert run("cat", scratch, "new/deep.txt").stdout == DATA


def test_streams_are_copied(scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(DATA)
    run("cp", tmp_path / "f", f"{scratch}:C:\\a:b")
    assert run("cat", scratch, "C:\\a:b").stdout == DATA
    run("cp", f"{scratch}:C:\\a:b", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DATA
    run("cp", f"{scratch}:C:\\a:b", f"{scratch}:app/own.txt:new")
    assert run("cat", scratch, "app/own.txt:new").stdout == DATA
    run("cp", f"{scratch}:app/own.txt:s", f"{scratch}:app/own.txt")
    assert run("cat", scratch, "app/own.txt").stdout == b"stream"
    run(
        "cp",
        "-r",
        tmp_path / "run" / "Data",
        f"{scratch}:C:\\a:c",
        status=12 if (tmp_path / "run/Data").exists() else 2,
    )


def test_a_name_that_windows_has_not_leaves_nothing(scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "q:r").write_bytes(DATA)
    before = text("tree", scratch)
    assert b"':'" in run("cp", tmp_path / "q:r", f"{scratch}:C:\\", status=5).stderr
    assert text("tree", scratch) == before


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _loop(path: Path) -> None:
    path.symlink_to(".")


def _bad_name(path: Path) -> None:
    path.with_name("a:b").touch()


def _other_case(path: Path) -> None:
    path.with_name("A-FIRST").touch()


@pytest.mark.parametrize(
    ("make", "status"),
    [(_fifo, 10), (_socket, 10), (_dangling, 2), (_loop, 5), (_bad_name, 5), (_other_case, 3)],
)  # fmt: skip
def test_what_cannot_be_copied_is_found_first(
    make: Callable[[Path], None], status: int, scratch: Path, tmp_path: Path
) -> None:
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/a-first").write_bytes(DATA)
    make(tmp_path / "tree/sub/odd")
    before = text("tree", scratch)
    error = run("cp", "-r", tmp_path / "tree", f"{scratch}:C:\\", status=status).stderr
    assert b"tree/sub" in error
    assert text("tree", scratch) == before


def test_a_fifo_alone_is_refused(scratch: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    run("cp", tmp_path / "f", f"{scratch}:C:\\", status=10)


def test_links_go_to_the_host_or_are_told(scratch: Path, tmp_path: Path) -> None:
    with LayerView(scratch=scratch) as view:
        view.symlink("app/inside", "sub\\deep.txt")
        view.mount_point("app/sub/up", "C:\\app")
        view.symlink("app/outside", "C:\\other")
        view.symlink("app/away", "..\\..\\..\\etc")
        view.symlink("app/sub/dead", "gone")
    done = run("cp", "-r", f"{scratch}:app", tmp_path / "out", status=1)
    told = done.stderr.decode().splitlines()
    for name in ("app/outside: a link to Files/other", "app/sub/dead: a link", "own.txt:s: an alternate stream"):
        assert any(name in line for line in told), name
    assert os.readlink(tmp_path / "out/inside") == "sub/deep.txt"
    assert os.readlink(tmp_path / "out/sub/up") == ".."
    assert (tmp_path / "out/inside").read_bytes() == DATA
    assert sorted(os.listdir(tmp_path / "out")) == ["inside", "link.txt", "notes.txt", "own.txt", "sub"]
    # Streams alone are no failure, and need not be told.
    run("cp", f"{scratch}:app/own.txt", tmp_path / "single")
    assert run("cp", "--no-streams", f"{scratch}:app/own.txt", tmp_path / "single").stderr == b""


def test_nothing_is_written_through_a_link_of_the_host(scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sub").symlink_to("../elsewhere")
    run("cp", "-r", f"{scratch}:app", tmp_path, "--no-streams")
    (tmp_path / "app/sub/deep.txt").unlink()
    (tmp_path / "app/sub").rmdir()
    (tmp_path / "app/sub").symlink_to("../elsewhere")
    run("cp", "-r", f"{scratch}:app", tmp_path, "--no-streams", status=13)
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.fixture
def few_calls() -> Iterator[int]:
    """The depth of calls that is left: less than the levels of a deep tree."""
    known, left = sys.getrecursionlimit(), 350
    sys.setrecursionlimit(len(inspect.stack(0)) + left)
    yield left
    sys.setrecursionlimit(known)


def test_a_deep_tree_is_copied(scratch: Path, tmp_path: Path, few_calls: int) -> None:
    deep = "/".join(["d"] * (few_calls + 50))
    with LayerView(scratch=scratch) as view:
        view.makedirs(f"C:/{deep}")
        view.write_bytes(f"C:/{deep}/f", DATA)
    try:
        run("cp", "-r", f"{scratch}:C:\\d", tmp_path / "out")
        run("cp", "-r", tmp_path / "out", f"{scratch}:C:\\again")
    finally:
        # What cleans up after tests does not get that deep.
        remove_tree(tmp_path / "out")
    run("cp", "-r", f"{scratch}:C:\\again", f"{scratch}:C:\\third")
    with LayerView(scratch=scratch) as view:
        assert view.read_bytes(f"C:/third/{deep.removeprefix('d/')}/f") == DATA


@pytest.mark.parametrize("name", [b"gone\xff", "日本語".encode(), b"\xed\xa0\x80 half"])
def test_names_of_the_host_come_back(name: bytes, scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(name)).write_bytes(DATA)
    run("cp", "-r", tmp_path / "in", f"{scratch}:C:\\")
    run("cp", "-r", f"{scratch}:C:\\in", tmp_path / "out")
    assert os.listdir(os.fsencode(tmp_path / "out")) == [name]


def test_another_drive_is_refused(scratch: Path, tmp_path: Path) -> None:
    before = text("tree", scratch)
    commands: list[list[str | Path]] = [
        ["ls", scratch, "D:\\"], ["mkdir", scratch, "D:\\ddd"], ["cat", scratch, "d:/app/own.txt"],
                      ["cp", f"{scratch}:D:\\app\\own.txt", tmp_path / "x"], ["stat", scratch, "Z:"],
                      ["mv", scratch, "app/own.txt", "E:\\x"], ["rm", scratch, "D:\\app\\own.txt"]]  # fmt: skip
    for arguments in commands:
        assert b"no drive" in run(*arguments, status=5).stderr
    assert text("tree", scratch) == before
    with LayerView(scratch=scratch) as view:
        view.symlink("elsewhere", "D:\\app")
    run("ls", scratch, "elsewhere/sub", status=16)


def test_what_the_layer_alone_lacks_is_told(base: Path, tmp_path: Path) -> None:
    run("create", "--read-only", "-l", base, tmp_path / "child")
    for verb in ("stat", "cat", "ls"):
        assert b"-m shows its parents" in run(verb, tmp_path / "child", "C:\\app\\notes.txt", status=2).stderr
    assert b"with -m" not in run("stat", base, "C:\\nowhere", status=2).stderr


def test_a_folder_is_looked_through_once_for_all_files_of_it(
    scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each file anew, the time of a copy went by the square of their number."""
    with LayerView(scratch=scratch) as view:
        view.mkdir("C:\\many")
        for number in range(20):
            view.write_bytes(f"C:\\many\\{number}", b"x")
    looked: list[Path] = []
    for module in (atomic, transfer):
        monkeypatch.setattr(module, "remove_leftovers", looked.append)
    run("cp", "-r", f"{scratch}:C:\\many", tmp_path / "out")
    assert len(os.listdir(tmp_path / "out")) == 20
    assert looked == [tmp_path / "out"]


def test_what_is_copied_is_what_was_recorded(base: Path, tmp_path: Path) -> None:
    damaged, scratch = tmp_path / "damaged", tmp_path / "run"
    shutil.copytree(base, damaged)
    file = damaged / "Files" / "app" / "notes.txt"
    file.write_bytes(bytes(byte ^ 1 for byte in file.read_bytes()))
    run("create", "-l", base, scratch)
    for target in (str(tmp_path / "out"), f"{scratch}:C:\\copied"):
        assert b"SHA-256" in run("cp", f"{damaged}:C:\\app\\notes.txt", target, status=8).stderr
    assert not (tmp_path / "out").exists()
    run("stat", "-m", scratch, "C:\\copied", status=2)
