"""Credentials are found in the files of Docker and Podman, in their order, and are kept in them."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.images.registry import DebianRegistry
from tests.support import run, witness
from wclayer.errors import InvalidDataError, LayerError, PathNotFoundError
from wclayer.images.reference import parse_reference
from wclayer.images.registry import Credentials, RegistryOptions, RegistrySource, helpers
from wclayer.images.registry.credentials import find_credentials
from wclayer.images.registry.tokens import merged

_HELPER = """#!{python}
import json, os, sys, time
path = os.path.join(os.path.dirname(__file__), "kept-{name}.json")
kept = json.load(open(path)) if os.path.exists(path) else {{}}
text = sys.stdin.read()
if sys.argv[1] == "get":
    if text not in kept:
        print("credentials not found in native keychain")
        sys.exit(1)
    print(json.dumps(kept[text]))
elif sys.argv[1] == "store":
    kept[json.loads(text)["ServerURL"]] = json.loads(text)
elif sys.argv[1] == "erase":
    kept.pop(text, None)
json.dump(kept, open(path, "w"))
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without credentials."""
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def _auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def _write(path: Path, **record: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def _helper(folder: Path, name: str, kept: dict[str, dict[str, str]] | None = None, *, script: str = _HELPER) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text(script.format(python=sys.executable, name=name))
    program.chmod(0o755)
    store = folder / f"kept-{name}.json"
    store.write_text(json.dumps(kept or {}))
    return store


def _found(registry: str, repository: str = "", **options: Any) -> Credentials:
    return find_credentials(registry, repository, RegistryOptions(**options)).credentials


def test_the_files_are_read_in_their_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _found("r:5000") == Credentials()
    _write(home / ".config/containers/auth.json", auths={"r:5000": _auth("podman:a")})
    assert _found("r:5000") == Credentials("podman", "a")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    _write(home / "run/containers/auth.json", auths={"r:5000": _auth("runtime:b")})
    assert _found("r:5000") == Credentials("runtime", "b")
    _write(home / ".docker/config.json", auths={"r:5000": _auth("docker:c:d")})
    assert _found("r:5000") == Credentials("docker", "c:d")
    monkeypatch.setenv("DOCKER_CONFIG", str(home / "other"))
    assert _found("r:5000") == Credentials("runtime", "b")
    _write(home / "other/config.json", auths={"r:5000": _auth("other:e")})
    assert _found("r:5000") == Credentials("other", "e")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(_write(home / "stated", auths={"r:5000": _auth("stated:f")})))
    assert _found("r:5000") == Credentials("stated", "f")
    own = _write(home / "own", auths={"r:5000": _auth("own:g")})
    assert _found("r:5000", authfile=own) == Credentials("own", "g")
    assert _found("r:5000", credentials=Credentials("given", "h")) == Credentials("given", "h")


def test_the_closest_key_counts(home: Path) -> None:
    path = _write(home / "auth.json", auths={
        "r:5000": _auth("host:a"), "r:5000/team": _auth("team:b"), "r:5000/team/app": _auth("app:c"),
        "https://old.example.com/v1/": _auth("old:d"), "https://index.docker.io/v1/": _auth("hub:e"),
    })  # fmt: skip
    for registry, repository, user in (
        ("r:5000", "team/app", "app"), ("r:5000", "team/app/x", "app"), ("r:5000", "team/other", "team"),
        ("r:5000", "teams", "host"), ("r:5000", "", "host"), ("old.example.com", "x", "old"),
        ("docker.io", "library/nanoserver", "hub"), ("r:5001", "team/app", ""),
    ):  # fmt: skip
        assert _found(registry, repository, authfile=path).username == user, (registry, repository)


def test_programs_come_before_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}")
    _helper(home / "bin", "one", {"r:1": {"Username": "one", "Secret": "a"}})
    _helper(home / "bin", "two", {
        server: {"Username": "two", "Secret": "b"} for server in ("r:1", "r:2", "https://index.docker.io/v1/")
    } | {"r:4": {"Username": "<token>", "Secret": "identity"}})  # fmt: skip
    path = _write(
        home / "auth.json", credHelpers={"r:1": "one", "r:9": "one"}, credsStore="two",
        auths={f"r:{number}": _auth(f"file:{number}") for number in (1, 2, 3)},
    )  # fmt: skip
    assert _found("r:1", authfile=path) == Credentials("one", "a")
    assert _found("r:2", authfile=path) == Credentials("two", "b")
    assert _found("r:3", authfile=path) == Credentials("file", "3")
    assert _found("r:4", authfile=path) == Credentials(identity_token="identity")
    assert _found("docker.io", "library/x", authfile=path) == Credentials("two", "b")
    assert _found("r:9", authfile=path) == Credentials()
    assert find_credentials("r:1", "", RegistryOptions(authfile=path)).user == "the user 'one' (docker-credential-one)"


def test_identity_tokens_and_access_tokens_of_a_file(home: Path) -> None:
    path = _write(home / "auth.json", auths={
        "r:1": {**_auth("<token>:"), "identitytoken": "x"}, "r:2": {"identitytoken": "y"}, "r:3": _auth("<token>:z"),
        "r:4": {"registrytoken": "w"}, "r:5": {"username": "u", "password": "p"}, "r:6": {}, "r:7": _auth("u:p\0\0"),
    })  # fmt: skip
    expected = {
        1: Credentials(identity_token="x"), 2: Credentials(identity_token="y"), 3: Credentials(identity_token="z"),
        4: Credentials(registry_token="w"), 5: Credentials("u", "p"), 6: Credentials(), 7: Credentials("u", "p"),
    }  # fmt: skip
    assert {number: _found(f"r:{number}", authfile=path) for number in expected} == expected


def test_secrets_are_not_shown() -> None:
    shown = repr(RegistryOptions(credentials=Credentials("user", "hidden1", "hidden2", "hidden3")))
    assert "user" in shown
    assert "hidden" not in shown


@pytest.mark.parametrize(
    "text",
    ["[", "[]", '{"auths": "hidden"}', '{"auths": {"r:1": "hidden"}}', '{"auths": {"r:2": ["hidden"]}}',
     '{"auths": []}', '{"auths": {"r:1": []}}', '{"auths": {"r:1": {"auth": "hidden!"}}}',
     '{"auths": {"r:1": {"auth": "aGlkZGVu"}}}', '{"auths": {"r:1": {"auth": {"hidden": 1}}}}', '{"credHelpers": 1}',
     '{"auths": ["hidden"]}',
     '{"auths": {"r:1": {"username": "\\ud800", "password": "hidden"}}}',
     '{"auths": {"r:1": {"identitytoken": ["hidden"]}}}', '{"credsStore": ["hidden"]}'],
)  # fmt: skip
def test_a_damaged_file_is_named_and_not_quoted(home: Path, text: str) -> None:
    path = home / "auth.json"
    path.write_text(text)
    with pytest.raises(InvalidDataError) as error:
        _found("r:1", authfile=path)
    assert error.value.path == str(path)
    assert "hidden" not in str(error.value) or "credsStore" in text


def test_a_large_or_missing_file_is_refused(home: Path) -> None:
    with pytest.raises(PathNotFoundError):
        _found("r:1", authfile=home / "missing")
    (home / "large").write_text(" " * (5 << 20))
    with pytest.raises(InvalidDataError, match="at most"):
        _found("r:1", authfile=home / "large")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("#!/bin/sh\nexit 3\n", "ends with status 3"),
        ('#!/bin/sh\necho \'{{"Username": "u", "Secret": "hidden"\'\n', "is not an object"),
        ("#!/bin/sh\nexec yes hidden\n", "answers with more than"),
        ("#!/bin/sh\nexec sleep 60\n", "did not answer within"),
        ("#!/bin/sh\nsleep 2 &\nexit 0\n", "did not answer within"),
        ("#!/bin/sh\n", "is not an object"),
    ],
)
def test_a_program_that_fails_is_named(home: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: str) -> None:
    monkeypatch.setenv("PATH", f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(helpers, "TIME_LIMIT", 0.5)
    _helper(home / "bin", "bad", script=script)
    path = _write(home / "auth.json", credsStore="bad")
    with pytest.raises(LayerError, match=expected) as error:
        _found("r:1", authfile=path)
    assert error.value.path == "docker-credential-bad"
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize("name", ["missing", "../bin/x", "a/b", "-x", ""])
def test_a_program_that_is_not_there(home: Path, name: str) -> None:
    path = _write(home / "auth.json", credHelpers={"r:1": name})
    if not name:
        assert _found("r:1", authfile=path) == Credentials()
        return
    with pytest.raises(LayerError):
        _found("r:1", authfile=path)


_RESOURCE = st.sampled_from(["repository:a", "repository:h:5000/b", "registry:catalog"])
_ACTIONS = st.sets(st.sampled_from(["pull", "push", "*", "delete"]), min_size=1)


@given(st.lists(st.tuples(_RESOURCE, _ACTIONS), max_size=6))
def test_merged_scopes_permit_the_same(scopes: list[tuple[str, set[str]]]) -> None:
    result = merged(f"{resource}:{','.join(actions)}" for resource, actions in scopes)
    wanted: dict[str, set[str]] = {}
    for resource, actions in scopes:
        wanted.setdefault(resource, set()).update(actions)
    assert {text.rpartition(":")[0]: set(text.rpartition(":")[2].split(",")) for text in result} == wanted
    assert len(result) == len(wanted)


def test_a_login_keeps_the_other_keys_in_their_order(home: Path) -> None:
    path = home / "config.json"
    path.write_text('{"zebra": 1, "auths": {"b": {"x": "ü"}, "https://r:1/v2/": {}, "a": {}}, "apple": {"k": [2, 1]}}')
    path.chmod(0o644)
    link = home / "link.json"
    link.symlink_to(path)
    from wclayer.images.registry import login

    with login._changing(link) as record:
        login._set(record, "r:1", {"auth": "new"})
    written = json.loads(path.read_text())
    assert list(written) == ["zebra", "auths", "apple"]
    assert list(written["auths"].items()) == [("b", {"x": "ü"}), ("https://r:1/v2/", {"auth": "new"}), ("a", {})]
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(item.name for item in home.iterdir()) == ["config.json", "link.json"]


def test_a_login_keeps_what_cannot_be_written_as_utf_8(home: Path) -> None:
    """JSON can name an unpaired surrogate, and other programs may have written one."""
    from wclayer.images.registry import login

    path = home / "config.json"
    path.write_text('{"other": "\\ud800"}')
    with login._changing(path) as record:
        login._set(record, "r:1", {"auth": "new"})
    assert json.loads(path.read_bytes()) == {"other": "\ud800", "auths": {"r:1": {"auth": "new"}}}


def test_usage_of_login_is_checked() -> None:
    for arguments in (["login", "r:1"], ["login", "--password-stdin", "r:1"]):
        assert run(*arguments, status=64)
    for host in ("a b", "", "ftp://x", "r:1/name", "x", "r:99999999"):
        assert run("login", "-u", "u", "--password-stdin", host, status=None, stdin=b"p").returncode in (5, 20), host
    for user, password in (("u:v", b"p"), ("u", b""), ("", b"p"), ("u", b"p\nq"), ("u", b"\xff"), ("u", b"p" * 70_000)):
        assert run("login", "-u", user, "--password-stdin", "r:1", status=5, stdin=password), (user, password[:10])


def test_a_user_logs_in_and_out(home: Path, debian_registry_with_users: DebianRegistry, repository: str) -> None:
    registry = debian_registry_with_users
    user, password = next(iter(registry.users.items()))
    path = home / ".docker/config.json"
    wrong = run("login", "-u", user, "--password-stdin", registry.host, status=18, stdin=b"hidden")
    assert b"does not accept the credentials of the user 'alice'" in wrong.stderr
    assert b"hidden" not in wrong.stderr
    assert not path.exists()
    login = ["login", "-u", user, "--password-stdin", registry.host]
    assert run(*login, "--json", stdin=f"{password}\r\n".encode()).stdout
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with RegistrySource(parse_reference(f"{registry.host}/{repository}:1")) as source, pytest.raises(PathNotFoundError):
        source.resolve()
    # What we write, skopeo reads.
    command = [witness("skopeo"), "list-tags", "--tls-verify=false", f"docker://{registry.host}/{repository}"]
    seen = subprocess.run([*command, "--authfile", str(path)], capture_output=True, check=False)
    assert b"404 (Not Found)" in seen.stderr
    assert run("logout", registry.host).stdout.decode().endswith(f"from {path}\n")
    assert json.loads(path.read_text()) == {"auths": {}}
    assert b"no credentials of this registry" in run("logout", registry.host, status=2).stderr


def test_what_skopeo_writes_is_read(home: Path, debian_registry_with_users: DebianRegistry, repository: str) -> None:
    registry = debian_registry_with_users
    user, password = next(iter(registry.users.items()))
    path = home / "auth.json"
    command = [
        witness("skopeo"),
        "login",
        "--tls-verify=false",
        "--authfile",
        str(path),
        "-u",
        user,
        "--password-stdin",
    ]
    subprocess.run([*command, registry.host], input=password.encode(), check=True, capture_output=True)
    reference = parse_reference(f"{registry.host}/{repository}:1")
    with RegistrySource(reference, RegistryOptions(authfile=path)) as source, pytest.raises(PathNotFoundError):
        source.resolve()


def test_a_program_keeps_what_a_user_logs_in_with(
    home: Path, monkeypatch: pytest.MonkeyPatch, debian_registry_with_users: DebianRegistry
) -> None:
    registry = debian_registry_with_users
    user, password = next(iter(registry.users.items()))
    monkeypatch.setenv("PATH", f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}")
    kept = _helper(home / "bin", "keep")
    path = _write(home / ".docker/config.json", credsStore="keep")
    printed = run("login", "-u", user, "--password-stdin", registry.host, stdin=password.encode()).stdout.decode()
    assert printed == f"logged in to {registry.host} as alice; the credentials are kept in docker-credential-keep\n"
    assert json.loads(path.read_text()) == {"credsStore": "keep", "auths": {registry.host: {}}}
    assert json.loads(kept.read_text())[registry.host]["Secret"] == password
    assert _found(registry.host) == Credentials(user, password)
    assert b"docker-credential-keep" in run("logout", registry.host).stdout
    assert json.loads(kept.read_text()) == {}
    assert json.loads(path.read_text()) == {"credsStore": "keep", "auths": {}}


def test_logins_at_the_same_time_lose_none(home: Path) -> None:
    from wclayer.images.registry import login

    path = home / "config.json"

    def add(number: int) -> None:
        with login._changing(path) as record:
            login._set(record, f"r:{number}", {"auth": str(number)})

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(json.loads(path.read_text())["auths"]) == [f"r:{number}" for number in range(8)]


def test_a_user_is_asked_on_a_terminal(home: Path, debian_registry_with_users: DebianRegistry) -> None:
    import pty

    registry = debian_registry_with_users
    user, password = next(iter(registry.users.items()))
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-m", "wclayer", "login", registry.host])
    seen = b""
    # Up to the space that ends a question: what is typed before it is thrown away when the terminal stops to echo.
    for question, answer in ((b"Username: ", user), (b"Password: ", password)):
        while question not in seen:
            seen += os.read(terminal, 1000)
        os.write(terminal, answer.encode() + b"\n")
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 1000):
            seen += part
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, seen
    assert b"logged in" in seen
    assert password.encode() not in seen
    assert _found(registry.host) == Credentials(user, password)
