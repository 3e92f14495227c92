"""The verbs that change a scratch and mount it, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import parsed, run, text, tree_listing, witness


@pytest.fixture
def scratch(layers: Path, tmp_path: Path) -> Path:
    run("create", "-l", layers / "child", "-l", layers / "base", "--size", "21GiB", tmp_path / "run")
    return tmp_path / "run"


def test_files_are_changed_without_a_mount(scratch: Path, tmp_path: Path, layers: Path) -> None:
    (tmp_path / "source" / "sub").mkdir(parents=True)
    (tmp_path / "source" / "sub" / "f").write_bytes(b"from the host")
    assert "copied 1 file\n" in text("cp", "-r", tmp_path / "source", f"{scratch}:C:\\")
    run("cp", tmp_path / "source", f"{scratch}:C:\\", status=12)
    assert run("cat", scratch, r"C:\SOURCE\sub\f").stdout == b"from the host"
    run("mkdir", "-p", scratch, "a/b/c", "a/b/d")
    run("mkdir", scratch, "a/b/c", status=3)
    run("mv", scratch, "source/sub/f", "a/b/c")
    run("mv", scratch, "a/b/c/f", "a/b/c/g")
    run("cp", f"{scratch}:a/b/c/g", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"from the host"
    run("cp", "-r", f"{scratch}:a", tmp_path)
    assert [name for name, what in tree_listing(tmp_path / "a") if what != "directory"] == ["b/c/g"]
    run("rm", scratch, "a", status=12)
    run("rm", "-r", scratch, "a", "source")
    run("rm", scratch, "a", status=2)
    # Between layers, with everything that Windows knows.
    run("cp", f"{layers / 'child'}:app/app.exe", f"{scratch}:C:\\copy.exe")
    before, after = parsed("stat", "-m", layers / "child", "app/app.exe"), parsed("stat", scratch, "copy.exe")
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    for key in ("size", "attributes", "creation_time", "last_write_time", "change_time", "security", "sha256"):
        assert before[key] == after[key], key
    assert before.get("streams") == after.get("streams")
    run("cp", tmp_path / "out", tmp_path / "x", status=64)
    assert "no problem found" in text("check", scratch)


def test_metadata_are_shown_and_set(scratch: Path, layers: Path) -> None:
    shown = text("acl", "get", scratch, r"C:\app\app.exe").strip()
    assert shown == text("acl", "get", layers / "child", "app/app.exe").strip()
    run("acl", "set", scratch, "app/app.exe", "O:SYG:SYD:(A;;FA;;;SY)")
    assert text("acl", "get", scratch, "app/app.exe") == "O:SYG:SYD:(A;;FA;;;SY)\n"
    run("acl", "set", scratch, "app/app.exe", "nonsense", status=5)
    before = parsed("attrib", scratch, "app/app.exe")
    assert isinstance(before, dict)
    run("attrib", scratch, "app/app.exe", "+R", "-A", "+h")
    assert text("attrib", scratch, "app/app.exe").startswith("-RH-")
    run("attrib", scratch, "app/app.exe", "+D", status=5)
    run("attrib", layers / "base", "Windows", "+H", status=1)


def test_diff_of_a_scratch_is_what_it_changes(scratch: Path) -> None:
    assert text("diff", scratch) == ""
    run("rm", scratch, "app/app.exe")
    run("mkdir", scratch, "made")
    shown = text("diff", "--no-times", scratch, status=1)
    assert "- Files/app/app.exe" in shown
    assert "+ Files/made/" in shown
    found = parsed("diff", "--no-times", scratch, status=1)
    assert isinstance(found, dict)
    assert {entry["path"]: entry["change"] for entry in found["files"]} == {
        "Files/app/app.exe": "removed",
        "Files/made": "added",
    }


def test_a_scratch_is_mounted_and_unmounted(scratch: Path, layers: Path, tmp_path: Path) -> None:
    witness("fusermount3")
    place = scratch / "mount"
    assert f"is at {place}" in text("mount", scratch)
    (place / "from outside").write_bytes(b"x")
    run("mount", scratch, status=3)
    run("rm", scratch, "from outside", status=9)
    assert "from outside" in text("ls", scratch, "C:\\")
    run("unmount", scratch)
    assert not place.exists()
    run("unmount", scratch, status=17)
    # At a place of one's own.
    (tmp_path / "m").mkdir()
    run("mount", scratch, tmp_path / "m")
    assert (tmp_path / "m" / "from outside").read_bytes() == b"x"
    assert os.getxattr(tmp_path / "m", "system.wclayer_layer") == os.fsencode(scratch)
    run("unmount", tmp_path / "m")
    run("unmount", tmp_path / "m", status=17)
    run("mount", scratch, tmp_path / "nowhere", status=2)
    # It can go on as any layer can.
    run("export", "--transport", tmp_path / "t", scratch)
    assert "Files/from outside" in [name for name, _ in tree_listing(tmp_path / "t")]
    run("import", "-i", tmp_path / "t", "-l", layers / "child", "-l", layers / "base", tmp_path / "committed")
    # A transport folder has a folder Hives without metadata, even if it is empty.
    assert "Files/" not in text("diff", "--no-times", scratch, tmp_path / "committed", status=1)
    run("convert", scratch, "-o", tmp_path / "run.vhdx")
    run("import", "-i", tmp_path / "run.vhdx", tmp_path / "flat")
    assert "from outside" in text("ls", tmp_path / "flat", "C:\\")
    assert "from outside" in text("ls", scratch, "C:\\")


def test_a_mounted_scratch_can_be_looked_at(scratch: Path, tmp_path: Path) -> None:
    witness("fusermount3")
    text("mount", scratch)
    try:
        (scratch / "mount" / "made").write_bytes(b"in the mount")
        assert "A" in text("attrib", scratch, r"C:\made").split()[0]
        assert text("acl", "get", scratch, r"C:\made").startswith("O:")
        text("cp", rf"{scratch}:C:\made", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"in the mount"
        for change in (("attrib", scratch, r"C:\made", "+R"), ("cp", tmp_path / "copy", rf"{scratch}:C:\x")):
            run(*change, status=9)
    finally:
        run("unmount", scratch)


def test_layers_are_mounted_to_be_read(layers: Path, tmp_path: Path) -> None:
    witness("fusermount3")
    run("mount", layers / "child", status=64)
    (tmp_path / "m").mkdir()
    run("mount", layers / "child", tmp_path / "m")
    try:
        assert (tmp_path / "m" / "app" / "app.exe").exists()
    finally:
        run("unmount", tmp_path / "m")


def test_a_mount_in_the_foreground_ends_by_a_signal(scratch: Path) -> None:
    witness("fusermount3")
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "wclayer", "mount", "-f", str(scratch)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    assert "is at" in server.stdout.readline()
    (scratch / "mount" / "made").mkdir()
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0
    server.stdout.close()
    assert "made" in text("ls", scratch, "C:\\")
    run("mount", scratch)
    run("unmount", scratch)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_shell_is_asked_to_end_and_the_scratch_is_unmounted(scratch: Path, name: str) -> None:
    witness("fusermount3")
    number = signal.Signals[name]
    program = "trap 'echo asked > asked; exit' TERM; sleep 0.3; echo begun; while :; do sleep 0.1; done"
    command = subprocess.Popen(
        [sys.executable, "-m", "wclayer", "shell", str(scratch), "--", "sh", "-c", program],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert command.stdout is not None
    assert command.stdout.readline() == b"begun\n"
    command.send_signal(number)
    _, errors = command.communicate(timeout=60)
    assert (command.returncode, errors) == (128 + number, b"wclayer: interrupted\n")
    assert not os.path.ismount(scratch / "mount")
    assert text("cat", scratch, "asked") == "asked\n"


def test_a_shell_runs_in_the_mount(scratch: Path) -> None:
    witness("fusermount3")
    done = run("shell", scratch, "--", "sh", "-c", "echo text > made; pwd; exit 7", status=7)
    assert done.stdout.decode().strip() == str(scratch / "mount")
    assert run("cat", scratch, "made").stdout == b"text\n"
    environment = {**os.environ, "SHELL": "/bin/ls"}
    done = subprocess.run(
        [sys.executable, "-m", "wclayer", "shell", str(scratch)], capture_output=True, env=environment, check=True
    )
    assert b"made" in done.stdout


def test_rm_f_takes_what_is_not_there_for_removed(tmp_path: Path) -> None:
    (tmp_path / "layer" / "Files" / "app").mkdir(parents=True)
    (tmp_path / "layer" / "Files" / "app" / "x").write_bytes(b"x")
    run("makebaselayer", tmp_path / "layer")
    run("create", "-l", tmp_path / "layer", tmp_path / "run")
    run("rm", tmp_path / "run", "C:\\nothing", status=2)
    run("rm", "-f", tmp_path / "run", "C:\\nothing", "C:\\no\\thing", "C:\\app\\x")
    run("rm", "-rf", tmp_path / "run", "C:\\app", "C:\\app")
    assert b"app" not in run("ls", tmp_path / "run", "C:\\").stdout
    # It hides nothing else: the scratch must exist, and a directory needs -r.
    run("rm", "-f", tmp_path / "other", "C:\\nothing", status=2)
    run("mkdir", tmp_path / "run", "C:\\dir")
    assert run("rm", "-f", tmp_path / "run", "C:\\dir", status=None).returncode not in (0, 2)


def test_a_recursive_list_has_each_directory_under_its_path(tmp_path: Path) -> None:
    for name in ("top/a/b", "top/a", "top/c"):
        (tmp_path / "layer" / "Files" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "layer" / "Files" / name / "f").write_bytes(b"x")
    run("makebaselayer", tmp_path / "layer")
    lines = run("ls", "-R", tmp_path / "layer", "C:\\top").stdout.decode().splitlines()
    assert [line if line.endswith(":") else line[line.rfind("  ") + 2 :] for line in lines] == [
        "Files/top:", "a", "c", "", "Files/top/a:", "b", "f", "", "Files/top/a/b:", "f", "", "Files/top/c:", "f",
    ]  # fmt: skip
    names = [entry["name"] for entry in json.loads(run("ls", "-R", "--json", tmp_path / "layer", "C:\\top\\a").stdout)]
    assert names == ["Files/top/a/b", "Files/top/a/f", "Files/top/a/b/f"]
    file = (tmp_path / "layer", "C:\\top\\a\\f")
    assert run("ls", "-R", *file).stdout == run("ls", *file).stdout
