"""`cp` and `rm` with several paths and with wildcards."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support import layer_tar, parsed, put_directories, put_file, run, text
from wclayer import AlreadyExistsError, EntryIsDirectoryError, LayerView, OperationCancelledError
from wclayer.model import LayerWriter
from wclayer.view import copies
from wclayer.view.copies import CopyPlace, copy_several
from wclayer.view.transfer import copy_out

NAMES = ("a.txt", "b.TXT", "page.html", "readme", "x.tar.gz")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(writer: LayerWriter) -> None:
        put_directories(
            writer, "Files", "Files/app", "Files/app/sub", "Files/other", "Files/Program Files", "Files/twin"
        )
        for name in NAMES:
            put_file(writer, f"Files/app/{name}", name.encode(), 0x26 if name == "readme" else 0x20)
        put_file(writer, "Files/app/sub/deep.txt", b"deep", s=b"stream")
        put_file(writer, "Files/other/a.txt", b"another")
        put_file(writer, "Files/twin/B.txt", b"another b")
        put_file(writer, "Files/Program Files/p.exe", b"p", mark=b"the mark")

    folder = tmp_path_factory.mktemp("several")
    (folder / "base.tar").write_bytes(layer_tar(build))
    run("import", "-i", folder / "base.tar", folder / "base")
    return folder / "base"


@pytest.fixture
def scratch(base: Path, tmp_path: Path) -> Path:
    run("create", "-l", base, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"C:\app\*.txt", ["a.txt", "b.TXT"]), ("APP/*.t*", ["a.txt", "b.TXT", "x.tar.gz"]),
        (r"C:\app\re*.", ["readme"]), (r"\app\?.txt", ["a.txt", "b.TXT"]), (r"C:\*\*.html", ["page.html"]),
        ("Files/app/s*/*.*", ["deep.txt"]), (r"C:\PROGRA~?\*", ["p.exe"]), (r"C:\app\PAGE~*", ["page.html"]),
        ("C:/app/../app/pa*.h?ml", ["page.html"]), (r"C:\*\*.exe:MARK", ["p.exe"]), ("app/x*.gz", ["x.tar.gz"]),
        ("app/*.htm", None), (r"C:\app\*:s", None), (r"C:\nope\*", None), (r"C:\app\a.txt\*", None),
        (r"C:\*\nope", None), ("app/????.txt?x", None),
    ],
)  # fmt: skip
def test_wildcards_mean_what_they_mean_to_windows(
    pattern: str, found: list[str] | None, base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if found is None:
        error = run("cp", f"{base}:{pattern}", out, status=2).stderr.decode()
        assert error.rstrip() == f"wclayer: copy: {pattern}: nothing matches"
    else:
        run("cp", "--no-streams", f"{base}:{pattern}", out)
    assert sorted(os.listdir(out)) == (found or [])
    if pattern.endswith("MARK"):
        assert (out / "p.exe").read_bytes() == b"the mark"


def test_several_sources_are_copied_in_every_direction(base: Path, scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "two").write_bytes(b"2")
    # From the host and from layers, into a layer.
    mixed: list[str | Path] = [tmp_path / "one", tmp_path / "folder", f"{base}:app/*.txt", f"{scratch}:app/page.html"]
    assert parsed("cp", "-r", *mixed, f"{scratch}:C:\\Program Files") == {"files": 5}
    for name, data in {"one": b"1", "folder/two": b"2", "a.txt": b"a.txt", "B.txt": b"b.TXT"}.items():
        assert run("cat", scratch, f"C:\\Program Files\\{name}").stdout == data
    # Out of several layers.
    out = tmp_path / "out"
    out.mkdir()
    assert "copied 3 files" in text("cp", f"{scratch}:Program Files/?ne", f"{base}:app/*.txt", out)
    assert sorted(os.listdir(out)) == ["a.txt", "b.TXT", "one"]
    # One match is as one name.
    run("cp", f"{base}:app/pa*.html", tmp_path / "renamed")
    assert (tmp_path / "renamed").read_bytes() == b"page.html"


def test_names_that_differ_in_case_only_are_kept_apart_where_the_host_can(base: Path, tmp_path: Path) -> None:
    out, probe = tmp_path / "out", tmp_path / "probe"
    out.mkdir()
    probe.touch()
    is_one = probe.with_name("PROBE").exists()
    with LayerView([base]) as view:
        view_a, view_b = (CopyPlace(view, path) for path in ("app/b.TXT", "twin/B.txt"))
        if is_one:
            with pytest.raises(AlreadyExistsError, match="differs in case only"):
                copy_several([view_a, view_b], CopyPlace(None, str(out)))
        else:
            assert copy_several([view_a, view_b], CopyPlace(None, str(out))) == 2
            assert (out / "B.txt").read_bytes() == b"another b"
        assert (out / "b.TXT").read_bytes() == b"b.TXT"


def test_a_host_that_takes_two_names_for_one_loses_no_file(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def samestat_of_such_a_host(place: Path, other: Path) -> bool:
        return str(place).lower() == str(other).lower()

    monkeypatch.setattr(copies, "is_same_file", samestat_of_such_a_host)
    error = run("cp", f"{base}:app/b.TXT", f"{base}:twin/B.txt", tmp_path, status=3).stderr
    assert b"differs in case only" in error
    assert (tmp_path / "b.TXT").read_bytes() == b"b.TXT"


def _tree(place: Path) -> str:
    return text("tree", place)


def test_what_can_go_wrong_is_found_before_anything_is_written(base: Path, scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "a.TXT").write_bytes(b"1")
    (tmp_path / "q:r").write_bytes(b"2")
    (tmp_path / "folder").mkdir()
    (tmp_path / "f").write_bytes(b"3")
    out = tmp_path / "out"
    out.mkdir()
    before = _tree(scratch)
    host, layer = tmp_path / "f", f"{base}:app/page.html"
    cases: list[tuple[list[str | Path], int, bytes]] = [
        ([host, tmp_path / "missing", f"{scratch}:other"], 2, b"missing"),
        ([host, f"{base}:app/*.nope", f"{scratch}:other"], 2, b"nothing matches"),
        ([host, tmp_path / "q:r", f"{scratch}:other"], 5, b"':'"),
        ([host, tmp_path / "folder", f"{scratch}:other"], 12, b"-r"),
        ([host, f"{base}:app/*", f"{scratch}:other"], 12, b"-r"),
        ([host, layer, f"{scratch}:other/a.txt"], 13, b"is not a directory, and several"),
        ([host, layer, f"{scratch}:new"], 13, b"is not a directory, and several"),
        ([host, layer, f"{scratch}:other/a.txt:s"], 13, b"is not a directory, and several"),
        ([tmp_path / "a.TXT", f"{base}:app/a.txt", f"{scratch}:Program Files"], 3, b"would both be"),
        ([f"{base}:app/*.txt", f"{base}:other/*", f"{scratch}:Program Files"], 3, b"would both be"),
        ([host, host, f"{scratch}:other"], 3, b"would both be"),
        (["-r", host, f"{scratch}:app", f"{scratch}:app/sub"], 5, b"into itself"),
        ([host, f"{scratch}:other/a.txt", f"{scratch}:other"], 5, b"same file"),
        ([host, f"{scratch}:D:\\x*", f"{scratch}:other"], 5, b"no drive D:"),
    ]  # fmt: skip
    for arguments, status, message in cases:
        error = run("cp", *arguments, status=status).stderr
        assert message in error, (arguments, error)
        assert b"kept" not in error
    more: list[tuple[list[str | Path], int]] = [
        ([f"{base}:app/*.txt", f"{base}:other/a.txt", out], 3), ([f"{base}:app/*", out], 12),
        ([f"{base}:app/*.txt", tmp_path / "f"], 13), ([f"{base}:app/*.txt", tmp_path / "missing"], 13),
        ([layer, f"{base}:nope", out], 2),
    ]  # fmt: skip
    for arguments, status in more:
        run("cp", *arguments, status=status)
    run("cp", layer, host, out, status=64)
    run("cp", layer, status=64)
    assert _tree(scratch) == before
    assert os.listdir(out) == []


def test_a_link_that_is_copied_keeps_its_name(scratch: Path, tmp_path: Path) -> None:
    with LayerView(scratch=scratch) as view:
        view.symlink("app/link.txt", "page.html")
    out = tmp_path / "out"
    out.mkdir()
    run("cp", f"{scratch}:app/link.*", f"{scratch}:app/page.html", out)
    assert sorted(os.listdir(out)) == ["link.txt", "page.html"]
    assert (out / "link.txt").read_bytes() == b"page.html"


def test_what_a_failed_copy_leaves_is_told(base: Path, scratch: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(base, damaged, symlinks=True)
    (damaged / "Files" / "app" / "b.TXT").write_bytes(b"other")
    for target in (tmp_path / "out", f"{scratch}:C:\\other"):
        (tmp_path / "out").mkdir(exist_ok=True)
        error = run("cp", f"{damaged}:app/page.html", f"{damaged}:app/*.txt", target, status=8).stderr
        assert b"wclayer: 2 files copied before the failure, and kept" in error.splitlines()
        assert b"SHA-256" in error
    assert sorted(os.listdir(tmp_path / "out")) == ["a.txt", "page.html"]
    assert run("cat", scratch, "other/page.html").stdout == b"page.html"
    run("cat", scratch, "other/b.txt", status=2)
    assert "no problem found" in text("check", scratch)


def test_a_cancelled_copy_keeps_what_it_has_counted(base: Path, tmp_path: Path) -> None:
    counted: list[int] = []
    with LayerView.for_layer(base) as view:
        places = [CopyPlace(view, "app/?.txt"), CopyPlace(view, "app/page.html")]
        with pytest.raises(OperationCancelledError):
            copy_several(
                places, CopyPlace(None, str(tmp_path)), progress=lambda state: counted.append(state.entries),
                cancelled=lambda: counted[-1] == 2,
            )  # fmt: skip
    assert counted == [1, 2]
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.TXT"]


def test_several_entries_are_removed_or_none(scratch: Path, tmp_path: Path) -> None:
    before = _tree(scratch)
    for arguments, status, message in (
        (["app/a.txt", "app/nope"], 2, b"nope"), (["app/a.txt", "app/*.nope"], 2, b"app/*.nope: nothing matches"),
        (["app/*"], 12, b"is a directory"), (["app/a.txt", "Program Files/p.exe:nope"], 2, b"no stream"),
        (["-f", "app/a.txt", "app/sub"], 12, b"is a directory"),
    ):  # fmt: skip
        error = run("rm", scratch, *arguments, status=status).stderr
        assert message in error, (arguments, error)
        assert _tree(scratch) == before
    run("rm", "-f", scratch, "app/*.nope", "app/a.txt", "APP/A.TXT", r"C:\app\a*", r"nope\*")
    run("rm", scratch, r"C:\app\*.t*", "Program Files/*.exe:MARK", "Program Files/p.exe:mark")
    assert [line.strip() for line in _tree(scratch).splitlines() if "x.tar" in line or ".txt" in line.lower()] != []
    names = _names(scratch, "app")
    assert names == ["page.html", "readme", "sub"]
    assert parsed("stat", scratch, "Program Files/p.exe").get("streams") is None  # type: ignore[attr-defined]
    # What lies in a directory that is removed, too.
    run("rm", "-r", scratch, "app/s*", "app/sub/deep.txt", "app/*.*")
    assert _names(scratch, "app") == []
    assert "no problem found" in text("check", scratch)


def _names(layer: Path, path: str) -> list[str]:
    with LayerView.for_layer(layer, writable=False) as view:
        return view.listdir(path)


def test_a_link_is_removed_and_not_its_target(scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        view.symlink("other/linked", "C:\\app", is_directory=True)
    run("rm", "-r", scratch, "other/l*")
    assert _names(scratch, "other") == ["a.txt"]
    assert len(_names(scratch, "app")) == 6
    with LayerView(scratch=scratch) as view:
        view.symlink("other/linked", "C:\\app", is_directory=True)
    run("rm", scratch, "other/l*/*.gz")
    assert "x.tar.gz" not in _names(scratch, "app")


def test_what_a_link_leads_to_is_removed_with_the_link(scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        view.symlink("link", "app", is_directory=True)
    run("rm", scratch, "link", "link\\page.html")
    assert "page.html" not in text("tree", scratch)


def test_a_failure_of_one_copy_names_the_operation(base: Path, tmp_path: Path) -> None:
    with LayerView.for_layer(base) as view, pytest.raises(EntryIsDirectoryError) as failed:
        copy_out(view, "C:\\app", tmp_path / "out")
    assert failed.value.operation == "copy"
