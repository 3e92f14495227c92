"""`--no-sync`: every verb that waits for the disk takes it, and does not wait then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import run
from tests.verbs import verbs_of
from wclayer.cli.verbs import cli
from wclayer.host import system

_VM = "00000000-0000-0000-0000-000000000001"
# What only reads; a mount, in which each program asks for itself.
_WITHOUT = {
    "acl get", "bcd", "cat", "check", "completion", "defaults", "disk check", "disk info", "du", "find", "fleet list",
    "fleet query", "grep", "images", "index list", "info", "inspect", "ls", "mount", "reg get", "reg query",
    "stat", "tree",
}  # fmt: skip


def test_every_verb_that_writes_takes_no_sync() -> None:
    without = {name for name, command in verbs_of(cli) if "no_sync" not in {option.name for option in command.params}}
    assert without == _WITHOUT


@pytest.mark.parametrize(
    "arguments",
    [
        ("attrib", "RUN", r"C:\Windows", "+H"),
        ("acl", "set", "RUN", r"C:\Windows", "O:BAG:SYD:(A;;FA;;;SY)"),
        ("mkdir", "RUN", r"C:\new"),
        ("grant", _VM, "RUN/Files"),
        ("unmount", "RUN"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_sync_does_not_wait_for_the_disk(
    arguments: tuple[str, ...], layers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "run"
    run("create", "-l", layers / "child", "-l", layers / "base", scratch)
    run("mkdir", scratch, r"C:\changed")
    waited: list[str] = []
    for name in ("sync_file", "sync_file_at", "sync_directory", "sync_file_system"):
        original = getattr(system, name)

        def witness(*place: object, name: str = name, original: object = original) -> object:
            waited.append(name)
            return original(*place)  # type: ignore[operator]

        monkeypatch.setattr(system, name, witness)
    verb = [argument.replace("RUN", str(scratch)) for argument in arguments]
    run(*verb, "--no-sync")
    assert waited == []
    if arguments[0] == "mkdir":
        verb[-1] += "er"
    elif arguments[0] == "unmount":
        run("mkdir", scratch, r"C:\more", "--no-sync")
    elif arguments[0] == "grant":
        verb[1] = _VM.replace("1", "2")
    run(*verb)
    assert waited
