"""`wclayer build` as its users see it: what is made, what is refused before that, what is not made again."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builder.images import BASE, store_with_base
from tests.builder.reading import sddl, tree
from tests.images import samples, stores
from tests.images.registry import FakeRegistry
from tests.support import run
from wclayer.images.inspection import image_of, read_config, read_root
from wclayer.images.opening import open_image
from wclayer.images.store import ImageStore
from wclayer.view.layer_view import LayerView


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    made, _, _ = store_with_base(tmp_path / "store", samples.nanoserver())
    monkeypatch.setenv("WCLAYER_STORE", str(made.path))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return made


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "src" / "sub").mkdir(parents=True)
    (folder / "src" / "a.txt").write_bytes(b"a")
    (folder / "src" / "sub" / "b.txt").write_bytes(b"b")
    return folder


def write(context: Path, *lines: str) -> None:
    (context / "Dockerfile").write_text("# escape=`\n" + "\n".join(lines) + "\n")


def build(context: Path, *options: str, status: int | None = 0) -> tuple[str, str]:
    """Builds, and returns what the command printed on its output and on its error stream."""
    done = run("build", *options, context, status=status)
    return done.stdout.decode(), done.stderr.decode()


def config(store: ImageStore, name: str) -> dict[str, Any]:
    with store.source(name) as source:
        found: dict[str, Any] = json.loads(read_config(source, image_of(source, read_root(source), None)).data)
        return found


def digest(store: ImageStore, name: str) -> str:
    return store.find(name).digest


def test_files_and_configuration_are_those_of_the_dockerfile(store: ImageStore, context: Path) -> None:
    write(
        context, f"FROM {BASE} AS one", "ARG NAME=app", "WORKDIR C:\\${NAME}", "COPY src .", "ENV A=1 B=\"x y\"",
        "RUN echo hello>out.txt&& mkdir made", f"FROM {BASE}", "COPY --from=one C:\\app C:\\copy",
        "ENTRYPOINT [\"C:\\\\copy\\\\x.exe\"]", "CMD [\"/s\"]", "EXPOSE 80", "USER ContainerUser", "LABEL a=b",
    )  # fmt: skip
    out, err = build(context, "-t", "app:1", "--label", "c=d")
    assert out == f"made app:1: {digest(store, 'app:1')}\n"
    assert [line.split("  ")[0] for line in err.splitlines()] == [
        f" => [one 1/4] FROM {BASE}", " => [one 2/4] WORKDIR C:\\app", " => [one 3/4] COPY src .",
        " => [one 4/4] RUN echo hello>out.txt&& mkdir made", f" => [stage-1 1/2] FROM {BASE}",
        " => [stage-1 2/2] COPY --from=one C:\\app C:\\copy",
    ]  # fmt: skip
    with open_image("store:app:1", store) as image, LayerView(image.layers) as view:
        assert tree(view, "C:\\copy") == {
            "copy/a.txt": b"a", "copy/made": None, "copy/out.txt": b"hello\r\n", "copy/sub": None,
            "copy/sub/b.txt": b"b",
        }  # fmt: skip
    made = config(store, "app:1")
    assert made["config"]["Entrypoint"] == ["C:\\copy\\x.exe"]
    assert made["config"]["Cmd"] == ["/s"]
    assert made["config"]["User"] == "ContainerUser"
    assert made["config"]["ExposedPorts"] == {"80/tcp": {}}
    assert made["config"]["Labels"].items() >= {"a": "b", "c": "d"}.items()
    assert made["os.version"] == config(store, BASE)["os.version"]
    assert len(made["rootfs"]["diff_ids"]) == len(config(store, BASE)["rootfs"]["diff_ids"]) + 1
    assert [step.get("empty_layer", False) for step in made["history"][1:]] == [False, *[True] * 5]


def test_the_shell_form_is_one_command_line(store: ImageStore, context: Path) -> None:
    write(context, f"FROM {BASE}", 'SHELL ["powershell", "-Command"]', 'CMD Get-Date  -Format "o"')
    build(context, "-t", "app:1")
    made = config(store, "app:1")["config"]
    assert made["Cmd"] == ['powershell -Command Get-Date  -Format "o"']
    assert made["ArgsEscaped"] is True
    assert made["Shell"] == ["powershell", "-Command"]


def test_arguments_go_from_a_stage_to_those_on_it(store: ImageStore, context: Path) -> None:
    write(
        context, "ARG V=before", f"FROM {BASE} AS one", "ARG V W=$V-w", "FROM one", "ENV A=$V B=$W C=${X:-none}",
        "ARG a=hidden BUILDPLATFORM", "ENV D=$A E=$BUILDPLATFORM",
    )  # fmt: skip
    _, err = build(
        context, "-t", "app:1", "--build-arg", "v=given", "--build-arg", "unknown=1", "--platform", "windows/amd64"
    )
    environment = config(store, "app:1")["config"]["Env"]
    assert environment[-5:] == ["A=given", "B=given-w", "C=none", "D=given", "E=windows/amd64"]
    assert "Dockerfile:7: ARG a has no effect" in err
    assert "UNKNOWN: no ARG takes it" in err.upper().replace("NO ARG TAKES IT", "no ARG takes it")


def test_a_heredoc_of_one_line_is_a_command(store: ImageStore, context: Path) -> None:
    write(context, f"FROM {BASE}", "RUN <<EOF", "  mkdir C:\\new && echo x> C:\\new\\x", "EOF")
    build(context, "-t", "app:1")
    with open_image("store:app:1", store) as image, LayerView(image.layers) as view:
        assert tree(view, "C:\\new") == {"new/x": b"x\r\n"}


def test_an_error_of_a_stage_that_copy_needs_has_its_own_line(store: ImageStore, context: Path) -> None:
    write(context, f"FROM {BASE} AS one", "RUN frobnicate", f"FROM {BASE}", "COPY --from=one C:\\x C:\\x")
    _, err = build(context, "-t", "app:1", status=10)
    assert err.startswith("wclayer: build image: Dockerfile:3: 'frobnicate'")


def test_what_is_probably_not_meant_is_told(store: ImageStore, context: Path) -> None:
    (context / ".dockerignore").write_text("bin\\Debug\n")
    (context / "Dockerfile").write_text(f"FROM {BASE}\nCMD ['x']\n")
    _, err = build(context, "-t", "app:1")
    assert "Dockerfile:2: CMD begins with '['" in err
    assert ".dockerignore:1: in 'bin\\\\Debug'" in err


@pytest.mark.parametrize(
    ("lines", "where", "words"),
    [
        (["COPY missing C:\\"], 3, "no 'missing'"),
        (["COPY src\\*.txt nothing.txt C:\\x"], 3, "no 'nothing.txt'"),
        (["RUN echo a", "RUN frobnicate /x"], 4, "frobnicate"),
        (["COPY --from=none C:\\x C:\\"], 3, "none"),
        (["COPY --from=3 C:\\x C:\\"], 3, "no earlier stage"),
        (["COPY --chown=nobody src C:\\x"], 3, "nobody"),
        (["COPY --acl=rubbish src C:\\x"], 3, "rubbish"),
        (["COPY src D:\\x"], 3, "C:"),
        (["COPY https://example.com/x C:\\"], 3, "URL"),
        (["ADD https://example.com/x C:\\"], 3, "--checksum"),
        (["ADD git@example.com:a/b.git C:\\"], 3, "Git"),
        (["EXPOSE 70000"], 3, "70000"),
        (["USER a/b"], 3, "a/b"),
        (["RUN mkdir made", "ENV a=1 A=2"], 4, "named twice"),
        (["RUN mkdir made", "ENV $X=1"], 4, "empty name"),
        (["STOPSIGNAL nothing"], 3, "no signal"),
        (["WORKDIR D:\\x"], 3, "C:"),
        (["ENV A=${B:?missing}"], 3, "missing"),
        (["FROM none:1/x"], 3, "none:1/x"),
        (["RUN <<EOF", "echo a", "echo b", "EOF"], 3, "RUN <<"),
        (["COPY <<../x C:\\app\\", "a", "../x"], 3, "../x"),
        (["COPY <<.wh.app C:\\", "a", ".wh.app"], 3, "whiteout"),
        (["COPY src C:\\.wh.app"], 3, "whiteout"),
    ],
)
def test_everything_is_checked_before_anything_is_made(
    store: ImageStore, context: Path, lines: list[str], where: int, words: str
) -> None:
    write(context, f"FROM {BASE}", *lines)
    before = sorted(path for path in store.path.rglob("*") if path.name not in ("store.db-wal", "store.db-shm"))
    done = run("build", "-t", "app:1", context, status=None)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode
    assert out == ""
    assert f"Dockerfile:{where}" in err
    assert words in err
    assert sorted(p for p in store.path.rglob("*") if p.name not in ("store.db-wal", "store.db-shm")) == before


def test_a_step_deletes_nothing_by_a_name_that_is_a_whiteout_in_a_tar(store: ImageStore, context: Path) -> None:
    for number, line in enumerate(("RUN type nul> C:\\.wh.Windows", "RUN mkdir C:\\.wh.Windows")):
        write(context, f"FROM {BASE}", "RUN mkdir C:\\app", line)
        _, err = build(context, "-t", f"app:{number}", status=6)
        assert "Dockerfile:4" in err
        assert "whiteout" in err


def test_what_was_made_is_not_made_again(store: ImageStore, context: Path) -> None:
    write(context, f"FROM {BASE}", "COPY src C:\\app", "RUN mkdir C:\\app\\x", "ENV A=1")
    build(context, "-t", "app:1")
    first = digest(store, "app:1")
    os.utime(context / "src" / "a.txt", ns=(5, 5))
    _, err = build(context, "-t", "app:1")
    assert err.count("CACHED") == 2
    assert digest(store, "app:1") == first
    (context / "src" / "a.txt").write_bytes(b"changed")
    _, err = build(context, "-t", "app:2")
    assert err.count("CACHED") == 0
    assert digest(store, "app:2") != first
    _, err = build(context, "-t", "app:3", "--no-cache")
    assert err.count("CACHED") == 0


def test_a_step_that_changes_nothing_makes_no_layer(store: ImageStore, context: Path) -> None:
    write(context, f"FROM {BASE}", "WORKDIR C:\\Windows", "RUN cd C:\\", "RUN if exist C:\\nothing mkdir C:\\x")
    build(context, "-t", "app:1")
    made = config(store, "app:1")
    assert made["rootfs"] == config(store, BASE)["rootfs"]
    assert [step["empty_layer"] for step in made["history"][1:]] == [True] * 3


def test_only_what_the_target_needs_is_built(store: ImageStore, context: Path) -> None:
    write(
        context, f"FROM {BASE} AS one", "RUN mkdir C:\\one", f"FROM {BASE} AS two", "RUN mkdir C:\\two",
        "FROM one AS three", "RUN mkdir C:\\three",
    )  # fmt: skip
    _, err = build(context, "-t", "app:1", "--target", "three")
    assert "two" not in err
    _, err = build(context, "-t", "app:2", "--target", "two")
    assert "one" not in err
    assert "three" not in err
    _, err = build(context, "--target", "four", status=2)
    assert "four" in err


def test_a_reproducible_build_is_the_same_elsewhere_and_later(
    store: ImageStore, context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        context, f"FROM {BASE}", "COPY src C:\\app",
        "RUN mkdir C:\\app\\x && echo 1> C:\\app\\x\\y", "ENV A=1",
    )  # fmt: skip
    build(context, "-t", "app:1", "--reproducible")
    first = digest(store, "app:1")
    other, _, _ = store_with_base(tmp_path / "elsewhere" / "store", samples.nanoserver())
    moved = tmp_path / "moved"
    context.rename(moved)
    for path in (moved / "src" / "a.txt", moved / "src" / "sub"):
        os.utime(path, ns=(0, 1_700_000_000_000_000_000))
    script = (
        "import sys, time; now, ns = time.time, time.time_ns; time.time = lambda: now() + 1e6;"
        "time.time_ns = lambda: ns() + 10**15; from wclayer.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    subprocess.run(
        [sys.executable, "-c", script, "build", "-t", "app:1", "--store", str(other.path), str(moved)],
        check=True, env={**os.environ, "SOURCE_DATE_EPOCH": "0"},
    )  # fmt: skip
    assert digest(other, "app:1") == first
    made = config(other, "app:1")
    assert made["created"] == "1970-01-01T00:00:00Z"
    assert {step["created"] for step in made["history"][1:]} == {"1970-01-01T00:00:00Z"}


def test_arguments_and_variables_are_expanded_as_docker_does(store: ImageStore, context: Path) -> None:
    write(
        context, f"ARG BASE={BASE}", "ARG VERSION=0", "FROM ${BASE}", "ARG VERSION", "ARG OTHER=${VERSION}.1",
        "ENV V=${VERSION} o=${OTHER} NONE=${none}", "ARG TARGETARCH",
        "ENV O=${O}-${TARGETARCH}",
    )  # fmt: skip
    _, err = build(context, "-t", "app:1", "--build-arg", "VERSION=2", "--build-arg", "UNUSED=1")
    assert "UNUSED: no ARG takes it" in err
    assert "none has no value" in err
    assert {*config(store, "app:1")["config"]["Env"]} == {"V=2", "O=2.1-amd64", "NONE="}


def test_a_path_in_the_environment_warns(store: ImageStore, context: Path) -> None:
    write(context, f"FROM {BASE}", "ENV PATH=C:\\app")
    _, err = build(context, "-t", "app:1")
    assert "Dockerfile:3: ENV PATH replaces the PATH in the image's registry" in err


def test_the_result_goes_where_it_is_asked_to_go(store: ImageStore, context: Path, tmp_path: Path) -> None:
    write(context, f"FROM {BASE}", "COPY src C:\\app")
    out, err = build(
        context, "-q", "-t", "app:1", "-t", f"oci:{tmp_path / 'layout'}:1", "--iidfile", str(tmp_path / "id")
    )
    assert out == f"{digest(store, 'app:1')}\n"
    assert err == ""
    assert (tmp_path / "id").read_text() == digest(store, "app:1")
    index = json.loads((tmp_path / "layout" / "index.json").read_bytes())
    assert index["manifests"][0]["digest"] == digest(store, "app:1")
    out, _ = build(context, "--json", "-t", "app:1")
    assert json.loads(out)["digest"] == digest(store, "app:1")


def test_the_dockerfile_may_come_from_the_standard_input(store: ImageStore, context: Path) -> None:
    run("build", "-f", "-", "-t", "app:1", context, stdin=f"FROM {BASE}\nCOPY src /app\n".encode())
    with open_image("store:app:1", store) as image, LayerView(image.layers) as view:
        assert view.read_bytes("C:\\app\\a.txt") == b"a"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the host has no FIFO in a folder")
def test_the_dockerfile_of_a_context_must_be_a_file_but_a_fifo_may_be_named(store: ImageStore, context: Path) -> None:
    os.mkfifo(context / "Dockerfile")
    _, err = build(context, "-t", "app:1", status=None)
    assert f"{context / 'Dockerfile'}: is a FIFO" in err
    shell = f'exec "$0" -m wclayer build -q -t app:1 -f <(echo FROM {BASE}) "$1"'
    done = subprocess.run(["bash", "-c", shell, sys.executable, context], check=True, capture_output=True, timeout=60)
    assert done.stdout.decode() == f"{digest(store, 'app:1')}\n"


def test_a_file_of_the_digest_that_cannot_be_written_is_refused_before_the_build(
    store: ImageStore, context: Path, tmp_path: Path
) -> None:
    write(context, f"FROM {BASE}", "COPY src C:\\app")
    before = sorted(image.name for image in store.images())
    for place, words in ((Path(context.anchor), "is a directory; a file is needed"), (tmp_path / "no" / "id", "exist")):
        _, err = build(context, "-t", "app:1", "--iidfile", str(place), status=None)
        assert f"{place}: " in err
        assert words in err
        assert sorted(image.name for image in store.images()) == before


def test_the_file_of_the_digest_may_lie_in_the_context_and_is_not_copied(store: ImageStore, context: Path) -> None:
    write(context, f"FROM {BASE}", "COPY . C:\\app")
    build(context, "-q", "-t", "app:1", "--iidfile", str(context / "id"))
    assert (context / "id").read_text() == digest(store, "app:1")
    with open_image("store:app:1", store) as image, LayerView(image.layers) as view:
        assert [*tree(view, "C:\\app")] == [
            "app/Dockerfile",
            "app/src",
            "app/src/a.txt",
            "app/src/sub",
            "app/src/sub/b.txt",
        ]


def test_triggers_of_the_base_are_carried_out_once(store: ImageStore, context: Path) -> None:
    write(context, f"FROM {BASE}", "ONBUILD COPY src C:\\app", "ONBUILD ENV A=1")
    build(context, "-t", "mother:1")
    assert config(store, "mother:1")["config"]["OnBuild"] == ["COPY src C:\\app", "ENV A=1"]
    write(context, "FROM mother:1")
    build(context, "-t", "app:1")
    made = config(store, "app:1")["config"]
    assert not made.get("OnBuild")
    assert "A=1" in made["Env"]
    with open_image("store:app:1", store) as image, LayerView(image.layers) as view:
        assert view.read_bytes("C:\\app\\a.txt") == b"a"


def test_several_platforms_make_an_index(store: ImageStore, context: Path) -> None:
    write(context, "FROM scratch", "COPY src C:\\app")
    build(context, "-t", "app:1", "--platform", "windows/amd64,windows/arm64")
    with store.source("app:1") as source:
        item = json.loads(source.manifest(source.resolve()))
    assert [each["platform"]["architecture"] for each in item["manifests"]] == ["amd64", "arm64"]


def test_acls_owners_and_dockerignore(store: ImageStore, context: Path) -> None:
    (context / ".dockerignore").write_text("**/b.txt\n")
    write(
        context, f"FROM {BASE}", "COPY --chown=ContainerUser --acl=D:P(A;OICI;FA;;;BA)(A;OICI;FR;;;BU) src C:\\app",
        "COPY --exclude=a.txt src C:\\other",
    )  # fmt: skip
    build(context, "-t", "app:1")
    with open_image("store:app:1", store) as image, LayerView(image.layers) as view:
        assert sddl(view, "C:\\app\\a.txt") == "O:S-1-5-93-2-2G:SYD:P(A;;FA;;;BA)(A;;FR;;;BU)"
        assert tree(view, "C:\\app") == {"app/a.txt": b"a", "app/sub": None}
        assert tree(view, "C:\\other") == {"other/sub": None}


def test_an_ignore_file_that_is_no_file_is_not_taken_for_none(store: ImageStore, context: Path, tmp_path: Path) -> None:
    write(context, f"FROM {BASE}", "COPY . C:\\app")
    ignore = context / ".dockerignore"
    for target, word in (
        ("nowhere", "No such file"),
        ("/dev/zero", "device"),
        (ignore.name, "links"),
        ("", "directory"),
    ):
        ignore.symlink_to(target) if target else ignore.mkdir()
        _, err = build(context, "-t", "app:1", status=None)
        assert ".dockerignore" in err
        assert word in err
        ignore.rmdir() if ignore.is_dir() else ignore.unlink()
    (tmp_path / "rules").write_text("src\n")
    ignore.symlink_to(tmp_path / "rules")
    build(context, "-t", "app:1")
    with open_image("store:app:1", store) as image, LayerView(image.layers) as view:
        assert not view.exists("C:\\app\\src")


def test_each_release_is_built_on_its_own_base(store: ImageStore, context: Path) -> None:
    for name, version in (("ltsc2019", "10.0.17763.1"), ("ltsc2022", "10.0.20348.7")):
        image = samples.small(os_version=version)
        stores.fill(store, f"win:{name}", image)
        stores.unpack(store, image)
    write(context, "FROM win:ltsc2022", "COPY src C:\\app")
    build(context, "-t", "app:1", "--for", "ltsc2019,ltsc2022")
    with store.source("app:1") as source:
        item = json.loads(source.manifest(source.resolve()))
    assert [each["platform"]["os.version"] for each in item["manifests"]] == ["10.0.17763.1", "10.0.20348.7"]


class _Files(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/tool.exe")
            self.end_headers()
            return
        self.send_response(200 if self.path == "/tool.exe" else 404)
        self.end_headers()
        self.wfile.write(b"a tool")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def test_a_file_of_a_url_is_taken_if_it_has_its_digest(store: ImageStore, context: Path, server: str) -> None:
    right, wrong = hashlib.sha256(b"a tool").hexdigest(), "0" * 64
    for url, target in ((f"{server}/tool.exe", "C:\\bin\\"), (f"{server}/moved", "C:\\bin\\tool.exe")):
        write(context, f"FROM {BASE}", f"ADD --checksum=sha256:{right} {url} {target}")
        build(context, "-t", "app:1")
        with open_image("store:app:1", store) as image, LayerView(image.layers) as view:
            assert view.read_bytes("C:\\bin\\tool.exe") == b"a tool"
    write(context, f"FROM {BASE}", f"ADD --checksum=sha256:{wrong} {server}/tool.exe C:\\bin\\")
    _, err = build(context, "-t", "app:2", status=6)
    assert f"Dockerfile:3: {server}/tool.exe: has the digest sha256:{right}" in err
    write(context, f"FROM {BASE}", f"ADD --checksum=sha256:{wrong} {server}/none C:\\bin\\x")
    _, err = build(context, "-t", "app:2", status=20)
    assert "404" in err


def test_heredocs_are_files(store: ImageStore, context: Path) -> None:
    write(
        context, f"FROM {BASE}", "ENV A=1", "COPY <<one.txt <<'two.txt' C:\\app\\", "a=$A", "one.txt", "a=$A", "two.txt"
    )
    build(context, "-t", "app:1")
    with open_image("store:app:1", store) as image, LayerView(image.layers) as view:
        assert tree(view, "C:\\app") == {"app/one.txt": b"a=1\n", "app/two.txt": b"a=$A\n"}


def test_what_is_pushed_has_the_digest_of_the_store(
    store: ImageStore, context: Path, fake: FakeRegistry, tmp_path: Path
) -> None:
    write(context, f"FROM {BASE}", "COPY src C:\\app")
    name = f"{fake.host}/app:1"
    build(context, "-t", name, "--push", "--insecure")
    run("rmi", name)
    write(context, f"FROM {name}", "RUN mkdir C:\\x")
    build(context, "-t", "next:1", "--insecure")
    assert len(config(store, "next:1")["rootfs"]["diff_ids"]) == 3


@pytest.mark.parametrize("context_text", ["https://example.com/a.git", "-", "git@example.com:a/b"])
def test_a_context_that_is_no_folder_is_refused(store: ImageStore, context_text: str) -> None:
    assert b"the context is a folder" in run("build", "-t", "app:1", context_text, status=10).stderr
