"""`wclayer.toml`: which options it may set, what comes before it, and what is told of what is wrong in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import platformdirs
import pytest

from tests.support import run, text
from wclayer.cli.settings import SHARED_OPTIONS, Settings, long_options, read_settings
from wclayer.cli.unsettable import _REASONS, _REASONS_OF_VERBS, reason_against
from wclayer.cli.verbs import cli
from wclayer.errors import InvalidDataError
from wclayer.images.store import ImageStore


def _verbs(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*above, name), command
        if isinstance(command, click.Group):
            yield from _verbs(command, (*above, name))


VERBS = dict(_verbs(cli))


def _value(option: click.Option) -> Any:
    """A value that the option takes."""
    if option.is_flag:
        return True
    kind: Any = option.type
    if isinstance(kind, click.Choice):
        value: Any = str(next(iter(kind.choices)))
    elif isinstance(kind, click.types._NumberRangeBase):
        value = int(kind.min or 1)
    else:
        value = next(text for text in ("linux/amd64", "7", "2026-11-30") if _takes(option, text))
    return [value] if option.multiple else value


def _takes(option: click.Option, text: str) -> bool:
    try:
        option.type.convert(text, option, click.Context(click.Command("")))
    except click.BadParameter:
        return False
    return True


def _settings(path: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    path.write_text(content, encoding="utf-8")
    monkeypatch.setenv("WCLAYER_CONFIG", str(path))
    return read_settings()


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_option_can_be_set_or_is_refused_with_a_reason(
    verb: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = f"[{'.'.join(verb)}]\n"
    command = VERBS[verb]
    for name, option in long_options(command).items():
        if verb == ("defaults",) and name not in SHARED_OPTIONS:
            # Its table is that of the options that several verbs have.
            continue
        settings = _settings(tmp_path / "w.toml", f"{table}{name} = {json.dumps(_value(option))}\n", monkeypatch)
        monkeypatch.delenv("WCLAYER_STORE", raising=False)
        reason = reason_against(verb, name)
        if reason is None:
            found = settings.of(verb, command)
            assert [(each.option, each.line) for each in found.values()] == [(name, 2)], name
        else:
            with pytest.raises(InvalidDataError, match=f"line 2: {name} cannot have a default: "):
                settings.of(verb, command)


def test_every_reason_is_that_of_an_option() -> None:
    names = {name for command in VERBS.values() for name in long_options(command)} | {"help", "version"}
    assert set(_REASONS) <= names
    assert all(name in long_options(VERBS[tuple(verb.split())]) for verb, name in _REASONS_OF_VERBS)
    shared = [name for name in SHARED_OPTIONS if name != "engine"]
    assert all(sum(name in long_options(command) for command in VERBS.values()) > 1 for name in shared)
    for name in ("insecure", "no-sync", "force", "username", "password-stdin"):
        assert reason_against((), name) is not None


def _in_force(verb: str, option: str) -> tuple[Any, str]:
    (found,) = (
        each
        for each in json.loads(text("defaults", "--json", *verb.split()))["defaults"]
        if each["option"] == f"--{option}"
    )
    return found["value"], found["source"]


def test_the_order_is_command_line_environment_file_built_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WCLAYER_STORE", raising=False)
    places = {name: tmp_path / name for name in ("line", "variable", "verb", "shared")}
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))

    def used(*options: str) -> str:
        return run("untag", *options, "x", status=2).stderr.decode()

    monkeypatch.setenv("WCLAYER_CONFIG", "")
    assert _in_force("untag", "store") == (None, "built in")
    _settings(tmp_path / "w.toml", f"[defaults]\nstore = '{places['shared']}'\n", monkeypatch)
    assert str(places["shared"]) in used()
    _settings(
        tmp_path / "w.toml",
        f"[defaults]\nstore = '{places['shared']}'\n[untag]\nstore = '{places['verb']}'\n", monkeypatch,
    )  # fmt: skip
    assert str(places["verb"]) in used()
    assert _in_force("untag", "store") == (str(places["verb"]), f"{tmp_path / 'w.toml'}:4 [untag]")
    monkeypatch.setenv("WCLAYER_STORE", str(places["variable"]))
    assert str(places["variable"]) in used()
    assert _in_force("untag", "store") == (str(places["variable"]), "$WCLAYER_STORE")
    assert str(places["line"]) in used("--store", str(places["line"]))
    monkeypatch.setenv("WCLAYER_STORE", "")
    assert str(places["verb"]) in used()


def test_flags_limits_and_the_engine_are_in_force(
    layers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WCLAYER_ENGINE", raising=False)
    plain = text("ls", layers / "base", "License.txt")
    _settings(
        tmp_path / "w.toml",
        "[import]\nmax-entries = 3\n[defaults]\nengine = 'portable'\n[ls]\njson = true\n[export]\nzstd = true\n"
        "[fleet.scan]\nmemory = '1GiB'\n",
        monkeypatch,
    )
    assert json.loads(text("ls", layers / "base", "License.txt"))[0]["name"] == "Files/License.txt"
    assert plain.endswith("License.txt\n")
    assert b"limit entries" in run("import", "-i", layers / "base.tar", tmp_path / "new", status=7).stderr
    assert run("export", layers / "base").stdout[:4] == b"\x28\xb5\x2f\xfd"
    shown = text("ls", "--help")
    assert f"Defaults of {tmp_path / 'w.toml'}:" in shown
    assert "--json  true" in shown
    assert text("--help").count("Defaults of") == 0
    assert "[fleet.scan]" in text("defaults")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[pulll]\n", "line 1: [pulll] is no verb: did you mean [pull]?"),
        ("\n[fleet.scna]\n", "line 2: [fleet.scna] is no verb: did you mean [fleet.scan]?"),
        ("jobs = 3\n", "line 1: jobs stands before the first table"),
        ("[pull]\n# x\njobz = 3\n", "line 3: jobz is no option of `pull`: did you mean jobs?"),
        ("[pull]\n--jobs = 3\n", "line 2: --jobs is no option of `pull`: did you mean jobs?"),
        ("[pull]\nno_unpack = true\n", "line 2: no_unpack is no option of `pull`: did you mean no-unpack?"),
        ("[pull]\njobs = 'many'\n", "line 2: 'many' is not a valid integer"),
        ("[pull]\njobs = 3.5\n", "line 2: '3.5' is not a valid integer"),
        ("[pull]\njobs = inf\n", "line 2: 'inf' is not a valid integer"),
        (f"[pull]\njobs = {'1' * 5000}\n", "is not TOML"),
        ("[pull]\njobs = 0\n", "line 2: 0 is not in the range"),
        ("[pull]\nno-unpack = 1\n", "line 2: 1 is not true or false"),
        ("[pull]\nca = 3\n", "line 2: 3 is not a text in quotes"),
        ("[pull]\nca = ['x']\n", "line 2: ['x'] is not a text in quotes"),
        ("[pull]\nforeign = 'psh'\n", "line 2: 'psh' is not one of"),
        ("[pull]\ninsecure = true\n", "line 2: insecure cannot have a default"),
        ("[defaults]\ninsecure = true\n", "line 2: insecure cannot have a default"),
        ("[defaults]\nstor = 'x'\n", "line 2: stor is no option of several verbs: did you mean store?"),
        ("[login]\npassword = 'x'\n", "line 2: password is no option of `login`"),
        ("[ls]\nalone = true\n", "line 2: alone is written merged = false"),
        ("[pull\n", "is not TOML: Expected ']'"),
        ("[pull]\njobs = 3\njobs = 4\n", "is not TOML"),
        ("pull = 3\n", "line 1: pull stands before the first table"),
        ("[pull]\n[pull.x]\n", "line 2: [pull.x] is no verb"),
        ("[[pull]]\n", "line 1: [[pull]] is a list of tables: write [pull]"),
        ("[pull]\nplatform = {a = 1}\n", "line 2: a table is not a text in quotes"),
        ("[pull.jobs]\nx = 1\n", "line 1: a table is not a value for --jobs"),
        (f"[pull]\njobs = 0x{'f' * 6000}\n", "is not TOML: a number has more than 64 bits"),
        (f"[defaults]\nx = [{{a = 0x{'f' * 6000}}}]\n", "is not TOML: a number has more than 64 bits"),
        ("x = " + "[" * 5000, "is not TOML"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_nearest_name(
    content: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _settings_file = tmp_path / "w.toml"
    _settings_file.write_text(content, encoding="utf-8")
    monkeypatch.setenv("WCLAYER_CONFIG", str(_settings_file))
    error = run("defaults", status=6).stderr.decode()
    assert f"{_settings_file}: {told}" in error
    assert error.count("\n") == 1
    # It is no hindrance for those who look for help.
    text("--help")


def test_odd_files_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "w.toml"
    monkeypatch.setenv("WCLAYER_CONFIG", str(place))
    assert b"WCLAYER_CONFIG names it" in run("images", status=2).stderr
    place.write_bytes(b"\xef\xbb\xbf[images]\r\njson = true\r\n")
    assert "[images]" in text("defaults")
    place.write_bytes(b"[images]\n# \xff\n")
    assert b"line 2: is not UTF-8" in run("images", status=6).stderr
    place.write_bytes(b"#" * (2 << 20))
    assert b"is larger than" in run("images", status=6).stderr
    place.unlink()
    place.mkdir()
    assert run("images", status=None).stderr.count(b"\n") == 1


def test_only_a_file_that_others_cannot_write_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WCLAYER_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    place = platformdirs.user_config_path("wclayer", appauthor=False, roaming=True) / "wclayer.toml"
    place.parent.mkdir(parents=True)
    assert "none" in text("defaults")
    place.write_text("[images]\njson = true\n")
    place.chmod(0o644)
    assert text("images") == "[]\n"
    place.chmod(0o646)
    assert b"all users may write it" in run("images", status=18).stderr
    # Named, it is the user's own choice.
    monkeypatch.setenv("WCLAYER_CONFIG", str(place))
    assert text("images") == "[]\n"
    monkeypatch.setenv("WCLAYER_CONFIG", "")
    assert text("images").startswith("NAME")


def test_the_working_directory_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wclayer.toml").write_text("[images]\njson = true\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WCLAYER_STORE", str(ImageStore(tmp_path / "store").path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("WCLAYER_CONFIG", raising=False)
    assert text("images").startswith("NAME")
