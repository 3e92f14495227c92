"""What cannot work is refused before anything is built, as far as it can be known then; and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builder.images import BASE, store_with_base
from tests.images import samples
from tests.support import run
from wclayer.images.store import ImageStore

_REG = 'Windows Registry Editor Version 5.00\n\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\App]\n"A"="b"\n'
_OF_USER = _REG.replace("LOCAL_MACHINE", "CURRENT_USER")
_OF_MACHINE = _REG.replace(r"SOFTWARE\App", r"SYSTEM\CurrentControlSet\Control\Session Manager\Environment")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    """A store with a base that has no profile of a user, and a context."""
    made, _, _ = store_with_base(tmp_path / "store", samples.nanoserver())
    monkeypatch.setenv("WCLAYER_STORE", str(made.path))
    folder = tmp_path / "context"
    (folder / "src" / "sub").mkdir(parents=True)
    (folder / "src" / "a.txt").write_bytes(b"a")
    (folder / "src" / "sub" / "b.txt").write_bytes(b"b")
    for name, text in (("app", _REG), ("user", _OF_USER), ("machine", _OF_MACHINE), ("wrong", "no file of regedit")):
        (folder / f"{name}.reg").write_text(text)
    return made


def build(tmp_path: Path, *lines: str, status: int = 0) -> tuple[bool, str]:
    """Builds a Dockerfile. Returns whether something was built, and what the command says on its error stream."""
    (tmp_path / "context" / "Dockerfile").write_text("\n".join(["# escape=`", f"FROM {BASE} AS one", *lines, ""]))
    told = run("build", "-t", "app:1", tmp_path / "context", status=status).stderr.decode()
    return " => " in told, told


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["COPY src C:\\src", "RUN xcopy C:\\src C:\\dst /E"], "Dockerfile:4: 'C:\\\\dst': xcopy asks whether"),
        (["COPY src C:\\src\\", "RUN xcopy C:\\src\\a.txt C:\\dst /I"], "'C:\\\\dst': xcopy asks"),
        (["COPY src C:\\src", "RUN [\"xcopy\", \"C:\\\\src\", \"C:\\\\dst\"]"], "'C:\\\\dst': xcopy asks"),
        (["COPY src C:\\src", "RUN cmd /c xcopy C:\\src C:\\dst"], "'C:\\\\dst': xcopy asks"),
        (["COPY src C:\\src", "WORKDIR C:\\dst", "RUN xcopy ..\\src ..\\new"], "'..\\\\new': xcopy asks"),
        (["COPY src C:\\src", "COPY src C:\\dst", "RUN xcopy C:\\src\\a.txt C:\\dst"], "exists, and xcopy asks"),
        (["COPY src C:\\src", "COPY src C:\\dst", "RUN xcopy C:\\src\\a.txt C:\\dst\\a.txt"], "exists, and xcopy asks"),
        (["COPY src C:\\src", "RUN del C:\\src"], "Dockerfile:4: 'C:\\\\src': is a directory: `del` asks"),
        (["RUN del C:\\Windows"], "'C:\\\\Windows': is a directory: `del` asks"),
        (["RUN reg add HKCU\\Software\\App"], "'HKEY_CURRENT_USER': the image has no profile of the user"),
        (["RUN [\"reg\", \"query\", \"HKCU\\\\Software\"]"], "'HKEY_CURRENT_USER': the image has no profile"),
        (["RUN setx NAME value"], "'HKEY_CURRENT_USER': the image has no profile"),
        (["USER ContainerUser", "RUN setx NAME value"], "the image has no profile of the user ContainerUser"),
        (["COPY src C:\\Users\\x", "RUN echo a & setx NAME value"], "'HKEY_CURRENT_USER': the image has no profile"),
        (["COPY user.reg C:\\", "RUN reg import C:\\user.reg"], "'HKEY_CURRENT_USER': the image has no profile"),
        (["COPY machine.reg C:\\", "RUN reg import C:\\machine.reg"], "changes the variables of the machine"),
        (["COPY machine.reg C:\\a.reg", "RUN regedit /s C:\\a.reg"], "Dockerfile:4: 'C:\\\\a.reg': changes"),
        (["COPY . C:\\x", "WORKDIR C:\\x", "RUN reg import wrong.reg >nul 2>&1"], "'wrong.reg': is no .reg file"),
        (["COPY <<EOF C:\\a.reg", "no file", "EOF", "RUN reg import C:\\a.reg"], "Dockerfile:6: 'C:\\\\a.reg': is no"),
        (["WORKDIR C:\\Windows\\System32\\config\\SYSTEM"], "Dockerfile:3: C:\\Windows\\System32\\config\\SYSTEM is"),
        ([f"COPY --from={BASE} C:\\none C:\\x"], "there is no 'C:\\\\none' in the stage or image"),
        ([f"COPY --from={BASE} C:\\Win*.none C:\\x\\"], "there is no 'C:\\\\Win*.none' in the stage or image"),
        (["COPY src C:\\src", f"FROM {BASE}", "COPY --from=one C:\\src\\c.txt C:\\x"], "Dockerfile:5: one"),
        (["COPY src C:\\src", f"FROM {BASE}", "COPY --from=one \\src\\sub\\none C:\\x"], "there is no"),
    ],
)  # fmt: skip
def test_what_is_known_to_fail_is_refused_before_anything_is_built(
    store: ImageStore, tmp_path: Path, lines: list[str], told: str
) -> None:
    before = sorted(store.path.glob("layers/*"))
    (tmp_path / "context" / "Dockerfile").write_text("\n".join(["# escape=`", f"FROM {BASE} AS one", *lines, ""]))
    done = run("build", "-t", "app:1", tmp_path / "context", status=None)
    said = done.stderr.decode()
    assert done.returncode not in (0, 1)
    assert told in said
    assert "Dockerfile:" in said
    assert " => " not in said
    assert sorted(store.path.glob("layers/*")) == before


@pytest.mark.parametrize(
    "lines",
    [
        ["COPY src C:\\src", "RUN xcopy C:\\src C:\\dst\\ /E"],
        ["COPY src C:\\src", "RUN xcopy C:\\src C:\\dst /E /I"],
        ["COPY src C:\\src", "WORKDIR C:\\dst", "RUN xcopy C:\\src C:\\dst"],
        ["COPY src C:\\src", "RUN mkdir C:\\dst && xcopy C:\\src C:\\dst"],
        ["COPY src C:\\src", "RUN mkdir C:\\dst", "RUN xcopy C:\\src C:\\dst"],
        ["COPY src C:\\src", "RUN if exist C:\\dst (xcopy C:\\src C:\\dst) else (echo no)"],
        ["COPY src C:\\src", "COPY src C:\\dst", "RUN xcopy C:\\src\\a.txt C:\\dst /Y"],
        ["COPY src C:\\src", "COPY src C:\\dst", "RUN del C:\\dst\\a.txt", "RUN xcopy C:\\src\\a.txt C:\\dst"],
        ["RUN xcopy C:\\none C:\\dst || exit 0"],
        ["RUN reg import C:\\none.reg || exit 0"],
        ["COPY src C:\\src", "RUN del /q C:\\src"],
        ["COPY wrong.reg C:\\a.reg", "COPY app.reg C:\\a.reg", "RUN reg import C:\\a.reg"],
        ["COPY wrong.reg C:\\a.reg", "RUN echo Windows Registry Editor Version 5.00>C:\\a.reg",
         "RUN reg import C:\\a.reg"],
        ["COPY wrong.reg C:\\a.reg", "RUN (echo Windows Registry Editor Version 5.00)>C:\\a.reg& reg import C:\\a.reg"],
        ["COPY wrong.reg C:\\a\\", "RUN mklink /J C:\\b C:\\a", "COPY app.reg C:\\b\\wrong.reg",
         "RUN reg import C:\\a\\wrong.reg"],
        ["RUN if exist C:\\Users\\Default\\NTUSER.DAT setx NAME value"],
        ["RUN mkdir C:\\made", f"FROM {BASE}", "COPY --from=one C:\\made C:\\x"],
        ["RUN echo x>C:\\a.txt", f"FROM {BASE}", "COPY --from=one C:\\a.txt C:\\x"],
        [f"COPY --from={BASE} C:\\Windows C:\\copy", f"FROM {BASE}", "COPY --from=one C:\\copy\\System32 C:\\x"],
        ["WORKDIR C:\\made", f"FROM {BASE}", "COPY --from=one C:\\MADE C:\\x"],
        ["COPY src C:\\made\\", f"FROM {BASE}", "COPY --from=one C:\\Made\\SUB\\b.txt C:\\x"],
        ["COPY src\\a.txt C:\\made.txt", f"FROM {BASE}", "COPY --from=one C:\\MADE~1.TXT C:\\x", "COPY src C:\\y"][:2],
    ],
)  # fmt: skip
def test_what_only_the_run_decides_is_not_refused(store: ImageStore, tmp_path: Path, lines: list[str]) -> None:
    build(tmp_path, *lines)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["COPY src C:\\src", "RUN mkdir C:\\made", "RUN xcopy C:\\src C:\\dst"], "Dockerfile:5: 'C:\\\\dst'"),
        (["COPY . C:\\x", "RUN mkdir C:\\y", "RUN reg import C:\\x\\wrong.reg"], "Dockerfile:5: C:\\x\\wrong.reg"),
        (["RUN mkdir C:\\made", "RUN reg add HKCU\\Software\\App"], "Dockerfile:4: HKEY_CURRENT_USER"),
        (["RUN mkdir C:\\made", f"FROM {BASE}", "COPY --from=one C:\\none C:\\x"], "Dockerfile:5"),
    ],
)  # fmt: skip
def test_what_only_the_run_finds_out_is_told_with_line_and_word_and_makes_no_layer(
    store: ImageStore, tmp_path: Path, lines: list[str], told: str
) -> None:
    (tmp_path / "context" / "Dockerfile").write_text("\n".join(["# escape=`", f"FROM {BASE} AS one", *lines, ""]))
    done = run("build", "-t", "app:1", tmp_path / "context", status=None)
    assert done.returncode != 0
    said = done.stderr.decode()
    assert told.replace("'", "").replace("\\\\", "\\") in said.replace("'", "").replace("\\\\", "\\")
    made = said.count(" => ")
    assert not [image for image in store.images() if image.name == "app:1"]
    # The step that failed is not in the cache: it fails again.
    again = run("build", "-t", "app:1", tmp_path / "context", status=None)
    assert again.returncode == done.returncode
    assert again.stderr.decode().count(" => ") == made
