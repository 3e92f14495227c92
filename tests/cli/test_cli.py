"""The command, as a user runs it: what it prints, its exit statuses, its one-line errors."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import wclayer
from tests.support import DATA, parsed, run, run_process, text, vector_bytes
from wclayer.cli.verbs import cli
from wclayer.images.docker_archive import DockerArchiveSource
from wclayer.images.inspection import inspect_image


def test_import_and_export_give_the_same_bytes(tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    shown = text("import", "-i", DATA / "base.tar.gz", layer)
    digest = hashlib.sha256(vector_bytes("base.tar.gz")).hexdigest()
    assert f"diffID sha256:{digest}" in shown
    assert "(as imported)" in text("export", "-o", tmp_path / "out.tar", layer)
    assert (tmp_path / "out.tar").read_bytes() == vector_bytes("base.tar.gz")
    assert run("export", layer).stdout == vector_bytes("base.tar.gz")
    result = parsed("export", "-z", "-o", tmp_path / "out.tgz", layer)
    assert isinstance(result, dict)
    assert result["diff_id"] == f"sha256:{digest}"
    assert result["digest"] == f"sha256:{hashlib.sha256((tmp_path / 'out.tgz').read_bytes()).hexdigest()}"
    assert run("export", "--zstd", "--level", "1", layer).stdout[:4] == b"\x28\xb5\x2f\xfd"


def test_import_from_standard_input(tmp_path: Path) -> None:
    run_process("import", tmp_path / "layer", stdin=vector_bytes("base.tar.gz"))
    assert "no problem found" in text("check", tmp_path / "layer")


def test_transport_folders(tmp_path: Path, layers: Path) -> None:
    run("export", "--transport", tmp_path / "t", layers / "base")
    run("import", "-i", tmp_path / "t", tmp_path / "again")
    assert text("diff", "--no-times", layers / "base", tmp_path / "again") == ""


def test_ls_takes_any_spelling(layers: Path) -> None:
    outputs = {
        text("ls", layers / "base", path)
        for path in ("C:\\Windows", "\\windows", "/Windows", "Files/WINDOWS", "Windows/", "c:/windows")
    }
    assert len(outputs) == 1
    assert "win.ini" in outputs.pop()
    listed = parsed("ls", layers / "base", "C:\\")
    assert isinstance(listed, list)
    assert {entry["name"] for entry in listed} >= {"Files/Windows", "Files/Users", "Files/Documents and Settings"}


def test_ls_merged(layers: Path) -> None:
    alone = text("ls", layers / "child", "/")
    merged = text("ls", "--merged", layers / "child", "C:\\")
    assert "Hives" in alone
    assert "Users" in merged
    assert "License.txt" not in merged
    assert "License.txt" in text("ls", layers / "base", "C:\\")


def test_cat(layers: Path) -> None:
    assert run("cat", layers / "base", "C:\\Windows\\WIN.INI").stdout.startswith(b"; for 16-bit")
    assert run("cat", layers / "base", "/License.txt:zone.identifier").stdout.startswith(b"[ZoneTransfer]")
    assert run("cat", layers / "base", "C:\\Users\\Public\\日本語 – Ünïcödé 😀.txt").stdout == "Grüße".encode()
    assert b"is a directory" in run("cat", layers / "base", "Windows", status=12).stderr
    assert b"no stream" in run("cat", layers / "base", "License.txt:no", status=2).stderr


def test_stat_shows_all_metadata(layers: Path) -> None:
    shown = text("stat", layers / "base", "C:\\Windows\\System32\\component03.dll")
    for part in ("security", "O:S-1-5-80-", "creation time", "hard link to", "links  2", "eas", "ESBCACHE", "ARCHIVE"):
        assert part in shown
    facts = parsed("stat", layers / "base", "Documents and Settings")
    assert isinstance(facts, dict)
    assert facts["reparse"] == {
        "tag": "MOUNT_POINT", "target": "C:\\Users", "substitute_name": "\\??\\C:\\Users", "relative": False,
    }  # fmt: skip
    assert facts["creation_time"].endswith("Z")


def test_tree(layers: Path) -> None:
    shown = text("tree", layers / "child")
    assert "├── app.exe  244.1 KiB [:Zone.Identifier 26 B]" in shown
    assert "data -> C:\\ProgramData\\app" in shown
    assert "app.exe" not in text("tree", "-L", "2", layers / "child")
    listed = parsed("tree", layers / "child")
    assert isinstance(listed, list)
    assert {"path": "Files/app/settings.json", "directory": False, "size": 15} in listed


def test_diff(layers: Path) -> None:
    shown = text("diff", "--no-times", layers / "base", layers / "child", status=1)
    assert shown.splitlines() == [
        "+ Files/app/",
        "+ Files/app/app.exe  244.1 KiB",
        "+ Files/app/component.dll  16.0 KiB",
        "+ Files/app/data/",
        "+ Files/app/settings.json  15 B",
        "- Files/License.txt  680 B",
        "- Files/Users/Public/CON  31 B",
        "~ Files/Windows/win.ini",
        "    size: 49 -> 67",
        shown.splitlines()[9],
        "+ Hives/Software_Delta  8.0 KiB",
        r"~ HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion : UBR = REG_DWORD 0x1 -> REG_DWORD 0x2",
        r"- HKEY_LOCAL_MACHINE\SOFTWARE\Removed by the child",
        r"- HKEY_LOCAL_MACHINE\SOFTWARE\Removed by the child : Because = REG_SZ it can be",
        r"+ HKEY_LOCAL_MACHINE\SOFTWARE\Sample",
        r"+ HKEY_LOCAL_MACHINE\SOFTWARE\Sample\App",
        r"+ HKEY_LOCAL_MACHINE\SOFTWARE\Sample\App : Answer = REG_DWORD 0x2a",
        r"+ HKEY_LOCAL_MACHINE\SOFTWARE\Sample\App : InstallPath = REG_SZ C:\app",
    ]
    assert shown.splitlines()[9].startswith("    content: sha256:")
    assert text("diff", layers / "base", layers / "base") == ""
    found = parsed("diff", layers / "base", layers / "child", status=1)
    assert isinstance(found, dict)
    removed = {"change": "removed", "path": "Files/License.txt", "directory": False, "size": 680, "fields": {}}
    assert removed in found["files"]


def test_info(layers: Path) -> None:
    facts = parsed("info", layers / "child")
    assert isinstance(facts, dict)
    assert facts["diff_id"] == f"sha256:{hashlib.sha256((layers / 'child.tar').read_bytes()).hexdigest()}"
    assert facts["parents"] == [str(layers / "base")]
    assert facts["tombstones"] == 2
    assert "diff id" in text("info", layers / "child")


def test_check_exits_with_1_on_problems(tmp_path: Path, layers: Path) -> None:
    run("import", "-i", layers / "base.tar", tmp_path / "layer")
    (tmp_path / "layer/Files/stranger").touch()
    assert "Files/stranger: is on the host, but not in layer.db" in text("check", tmp_path / "layer", status=1)
    assert parsed("check", tmp_path / "layer", status=1) == [
        {"path": "Files/stranger", "problem": "is on the host, but not in layer.db"}
    ]


def test_create_and_remove(tmp_path: Path, layers: Path) -> None:
    run("create", "--read-only", "-l", layers / "child", "-l", layers / "base", tmp_path / "new")
    facts = parsed("info", tmp_path / "new")
    assert isinstance(facts, dict)
    assert facts["parents"] == [str(layers / "child"), str(layers / "base")]
    run("remove", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    run("remove", tmp_path / "new", status=2)
    run("create", tmp_path / "new", status=64)


def test_makebaselayer(tmp_path: Path) -> None:
    (tmp_path / "mine/Files").mkdir(parents=True)
    run("makebaselayer", tmp_path / "mine")
    assert "Hives" in text("ls", tmp_path / "mine")
    assert parsed("check", tmp_path / "mine") == []


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["import", "-i", "NO", "L"], 2, "import layer: NO: No such file"),
        (["import", "-i", str(DATA / "child.tar"), "L"], 6, "tombstone in a base layer"),
        (
            ["import", "-i", str(DATA / "base.tar.gz"), "--max-entries", "3", "L"],
            7,
            "more than 3 entries (limit entries; --max-entries raises it)",
        ),
        (
            ["import", "-i", str(DATA / "base.tar.gz"), "--max-size", "1000", "L"],
            7,
            "more than 1000 bytes come out (limit total_size; --max-total-size raises it)",
        ),
        (
            ["import", "-i", str(DATA / "base.tar.gz"), "--max-path-length", "9", "L"],
            7,
            "path longer than 9 UTF-16 units (limit path_length; --max-path-length raises it)",
        ),
        (
            ["import", "-i", str(DATA / "base.tar.gz"), "--max-pax-size", "9", "L"],
            7,
            "is larger than 9 (limit pax_size; --max-pax-size raises it)",
        ),
        (["import", "-i", str(DATA / "base.tar.gz"), "-l", "NO", "L"], 2, "does not exist"),
        (["export", "NO"], 2, "the layer does not exist"),
        (["export", "--gzip", "--zstd", "NO"], 64, "choose one"),
        (["export", "--gzip", "--level", "22", "NO"], 64, "levels 1 to 9"),
        (["ls", "NO"], 2, "does not exist"),
        (["nonsense"], 64, "No such command"),
        (["ls", "--nonsense"], 64, "No such option"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], status: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = run(*arguments, status=status).stderr.decode()
    assert error.startswith("wclayer: ")
    assert message in error
    assert error.count("\n") == 1
    assert os.listdir(tmp_path) == []


def _commands(group: click.Group, prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found = []
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += _commands(command, (*prefix, name))
        found.append(((*prefix, name), command))
    return found


_COMMANDS = dict(_commands(cli))


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_verb_has_help(name: tuple[str, ...]) -> None:
    shown = text(*name, "--help")
    assert "Usage: wclayer " in shown
    assert "\\b" not in shown
    if len(name) == 1:
        assert "Example:" in shown
        # As it is written: one command a line, which can be copied.
        example = (_COMMANDS[name].help or "").partition("Example:\n")[2].split("\n\n")[0]
        lines = {line.strip() for line in example.splitlines()}
        assert len(example) > 10
        assert lines <= {line.strip() for line in shown.splitlines()}


def test_the_version_is_told() -> None:
    assert text("--version").startswith("wclayer, version ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    assert "_WCLAYER_COMPLETE" in text("completion", shell)
    environment = {
        **os.environ,
        "_WCLAYER_COMPLETE": "bash_complete",
        "WCLAYER_LINE": "wclayer ex",
        "WCLAYER_REGION": "ex",
    }
    script = "from wclayer.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    assert b"export" in done.stdout


def test_the_demo_tells_the_whole_story(tmp_path: Path) -> None:
    shown = text("demo", "--folder", tmp_path / "work")
    assert shown.count("no problem found; export has sha256:") == 2
    assert (tmp_path / "work/layers/child/layerchain.json").exists()
    assert "+ Files/app/renamed.exe" in shown
    assert "no difference" in shown
    assert "image.tar -> sample:1: 2 layers unpacked into" in shown
    assert "edited.tar: the diffIDs of its layers are those of base.tar.gz and child.tar" in shown
    with DockerArchiveSource(tmp_path / "work/edited.tar") as source:
        config = inspect_image(source).config
    assert config is not None
    assert json.loads(config.data)["config"]["Env"] == ["GREETING=hello"]
    run("demo", "--folder", tmp_path / "work", status=3)


def test_a_closed_pipe_is_no_traceback(layers: Path) -> None:
    command = f"{sys.executable} -m wclayer tree {layers / 'base'} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, check=True)
    assert done.stderr == b""


def test_a_terminal_gets_a_progress_bar(tmp_path: Path) -> None:
    import pty  # not there on Windows

    terminal, other_end = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "wclayer", "import", "-i", str(DATA / "base.tar.gz"), str(tmp_path / "layer")],
        stderr=other_end, stdout=subprocess.DEVNULL, check=True, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(other_end)
    assert b"importing" in os.read(terminal, 100_000)
    os.close(terminal)


def test_a_poor_console_gets_escapes(layers: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wclayer", "ls", str(layers / "base"), "Users/Public"],
        capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    # As it is shown, it is also understood.
    shown = next(line for line in done.stdout.decode("ascii").splitlines() if "<U+65E5>" in line).split("  ")[-1]
    assert run("cat", layers / "base", f"Users/Public/{shown}").stdout == "Grüße".encode()


def test_characters_and_sizes_that_there_are_not_are_wrong_usage(layers: Path) -> None:
    for digits in ("110000", "FFFFFFFF"):
        assert f"no character U+{digits}".encode() in run("ls", layers / "base", f"a<U+{digits}>", status=5).stderr
    assert b"is not a size" in run("expand", layers / "base", "9" * 5000, status=64).stderr


def test_every_limit_is_an_option_of_every_verb() -> None:
    fields = {f"--max-{field.name.replace('_', '-')}" for field in dataclasses.fields(wclayer.Limits)}
    commands: list[click.Command] = [cli]
    while commands:
        command = commands.pop()
        options = {name for parameter in command.params for name in parameter.opts}
        assert command is cli or fields <= options, command.name
        if isinstance(command, click.Group):
            context = click.Context(command)
            commands += filter(None, (command.get_command(context, name) for name in command.list_commands(context)))


def test_a_limit_holds_for_one_command(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(wclayer.PathNotFoundError):
        cli.main(["import", "-i", missing, "--max-chain-length", "3", missing], standalone_mode=False)
    assert wclayer.limits_in_use() == wclayer.Limits(chain_length=3)
    with pytest.raises(wclayer.PathNotFoundError):
        cli.main(["ls", missing], standalone_mode=False)
    assert wclayer.limits_in_use() == wclayer.Limits()
