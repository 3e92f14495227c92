"""`find`: every test of an entry, beside GNU find on the mounted or exported tree, and beside a plain computation."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given

import wclayer
from tests.support import info, layer_tar, parsed, put_directories, put_file, run, text, witness
from tests.survey.chains import LayerPlan, computed, make_chain, plans
from wclayer import EntryKind, EntryQuery, NameMark
from wclayer.model import Entry, LayerWriter
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.names import encode_name
from wclayer.win32.reparse import LinkTarget
from wclayer.win32.security import SecurityDescriptor
from wclayer.win32.sid import ALIASES

_OLD = FileBasicInfo(0x20, *[116_444_736_000_000_000] * 4)
"""A file of 1970."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/app", "Files/app/Sub", "Files/empty")
        put_file(writer, "Files/app/a.dll", b"x" * 2000)
        put_file(writer, "Files/app/B.DLL", b"x" * 1024, s=b"stream")
        put_file(writer, "Files/app/Sub/c.dll.bak", b"")
        writer.put(Entry("Files/app/Sub/old.txt", _OLD, 0, SecurityDescriptor(ALIASES["BA"]).encode()), ())
        writer.put(Entry("Files/app/again.dll", info(), link_target="Files/app/a.dll"), ())
        link = LinkTarget.from_path("C:\\app", is_mount_point=False)
        writer.put(Entry("Files/link", info(0x410), reparse=link.encode()), ())
        put_file(writer, "Files/bad \u202e\ud800 name")

    folder = tmp_path_factory.mktemp("find")
    (folder / "base.tar").write_bytes(layer_tar(build))
    run("import", "-i", folder / "base.tar", folder / "base")
    return folder / "base"


def _found(*arguments: str | Path) -> list[str]:
    return text("find", *arguments).splitlines()


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--name", "*.dll"], ["app/a.dll", "app/again.dll", "app/B.DLL"]),
        (["--name", "sub", "--name", "LINK"], ["app/Sub", "link"]),
        (["--type", "d"], ["", "app", "app/Sub", "empty"]), (["--type", "l"], ["link"]),
        (["--size", "+1KiB"], ["app/a.dll", "app/again.dll"]), (["--size", "1024"], ["app/B.DLL"]),
        (["--size", "-1", "--type", "f", "--name", "*.*"], ["app/Sub/c.dll.bak", "app/Sub/old.txt", "bad"]),
        (["--older", "1980-01-01"], ["app/Sub/old.txt"]),
        (["--newer", "1970-01-01T00:00:00Z", "--name", "old*"], []),
        (["--newer", "1969-12-31T23:59:59+00:00", "--name", "old*"], ["app/Sub/old.txt"]),
        (["--newer", "1969-12-31T23:59:59.9999999Z", "--name", "old*"], ["app/Sub/old.txt"]),
        (["--newer", "1970-01-01T00:00:00.0000001Z", "--older", "1970-01-01T00:00:01", "--name", "old*"], []),
        (["--older", "1970-01-01T00:00:00.3Z", "--name", "old*"], ["app/Sub/old.txt"]),
        (["--owner", "Administrators"], ["app/Sub/old.txt"]), (["--owner", "S-1-5-18"], []),
        (["--has-stream"], ["app/B.DLL"]), (["--links", "2"], ["app/a.dll", "app/again.dll"]),
        (["--links", "+2"], []), (["--links", "-2", "--name", "b.dll"], ["app/B.DLL"]), (["--reparse"], ["link"]),
        (["--depth", "0"], [""]), (["--depth", "1", "--type", "d"], ["", "app", "empty"]),
        (["--layer", "1", "--type", "l"], ["link"]),
    ],
)  # fmt: skip
def test_each_option_is_a_test(options: list[str], found: list[str], base: Path) -> None:
    shown = _found(base, "C:\\", *options)
    assert [line.split(" ")[0] for line in shown] == [f"Files/{name}".rstrip("/") for name in found]


def test_paths_are_spelled_as_for_other_verbs(base: Path) -> None:
    whole = _found(base)
    assert whole[0] == "Files"
    assert len(whole) == 12
    for path in (r"C:\APP\sub", "/app/Sub/", "files/app/SUB", "link/sub", r"\app\Sub"):
        assert _found(base, path) == ["Files/app/Sub", "Files/app/Sub/c.dll.bak", "Files/app/Sub/old.txt"]
    assert _found(base, "app/a.dll", "empty") == ["Files/app/a.dll", "Files/empty"]
    assert b"nope" in run("find", base, "app", "nope", status=2).stderr
    assert run("find", base, "app", "nope", status=2).stdout == b""


def test_names_are_exact_for_programs_and_harmless_for_people(base: Path) -> None:
    name = "Files/bad \u202e\ud800 name"
    assert _found(base, "--name", "bad*") == ["Files/bad <U+202E><U+D800> name"]
    assert run("find", "-0", base, "--name", "bad*").stdout == encode_name(name) + b"\0"
    (record,) = json.loads(text("find", "--json", base, "--name", "bad*"))
    assert record["path"] == name
    assert text("find", base, "Files/bad <U+202E><U+D800> name") == "Files/bad <U+202E><U+D800> name\n"
    assert parsed("find", base, "--name", "nothing") == []


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--size", "big"], 64), (["--size", "+-5"], 64), (["--links", "x"], 64), (["--newer", "yesterday"], 64),
        (["-0", "--json"], 64), (["--type", "x"], 64), (["--layer", "2"], 5), (["--layer", "0"], 5),
        (["--owner", "nobody at all"], 5), (["--mark", "gone"], 64), (["--newer", "0001-01-01T00:00:00+14:00"], 0),
    ],
)  # fmt: skip
def test_wrong_options_are_told(arguments: list[str], status: int, base: Path) -> None:
    run("find", base, *arguments, status=status)


def test_what_several_paths_share_counts_once_against_the_limit(tmp_path: Path) -> None:
    names = [f"{number:02d}" for number in range(10)]
    (layer,) = make_chain(tmp_path, [LayerPlan(files={f"d/{name}": b"" for name in names})])
    everything: list[str | Path] = ["--max-entries", "20", "--mark", "added", layer]
    assert len(_found(*everything, *(f"d/{name}" for name in names))) == len(names)
    assert len(_found(*everything, *["d"] * 3)) == 3 * (1 + len(names))
    assert b"--max-entries" in run("find", "--max-entries", "9", "--mark", "added", layer, status=None).stderr


@given(plans())
def test_marks_are_what_a_plain_computation_finds(
    tmp_path_factory: pytest.TempPathFactory, layers: list[LayerPlan]
) -> None:
    """The model counts steps by directory; here they are counted from what is found."""
    chain = make_chain(tmp_path_factory.mktemp("chain"), layers)
    known = computed(layers)
    words = {"added": NameMark.ADDED, "replaced": NameMark.CHANGED, "removed": NameMark.REMOVED}
    for number in range(1, len(layers) + 1):
        for word, mark in words.items():
            query = EntryQuery(layer=number, marks=frozenset([mark]))
            counted: dict[str, int] = {}
            for entry in wclayer.find_entries(chain, ["C:\\"], query):
                place = entry.path.upper().removeprefix("FILES").lstrip("/").rpartition("/")[0]
                if entry.path.upper() != "FILES":
                    steps = [change for change in entry.changes if (change.layer, change.mark) == (number, mark)]
                    counted[place] = counted.get(place, 0) + len(steps)
            expected = {
                place: count for (layer, place, what), count in known.steps.items() if (layer, what) == (number, word)
            }
            assert counted == expected, (number, mark)


@given(plans())
def test_everything_is_what_the_merged_tree_shows(
    tmp_path_factory: pytest.TempPathFactory, layers: list[LayerPlan]
) -> None:
    chain = make_chain(tmp_path_factory.mktemp("chain"), layers)
    found = [(entry.path, entry.layer, entry.size) for entry in wclayer.find_entries(chain)]
    with wclayer.MergedTree(chain) as tree:
        shown = [(node.path, len(chain) - node.layer, node.row.size) for node in tree.walk(tree.root())]
    assert found == shown
    for number in range(1, len(layers) + 1):
        query = EntryQuery(layer=number, kinds=frozenset([EntryKind.FILE]))
        of_layer = [entry.path for entry in wclayer.find_entries(chain, (), query)]
        files = [entry for entry in wclayer.find_entries(chain) if entry.kind is EntryKind.FILE]
        assert of_layer == [entry.path for entry in files if entry.layer == number]


_GNU: list[tuple[list[str], EntryQuery, int | None]] = [
    ([], EntryQuery(), None),
    (["-type", "f"], EntryQuery(kinds=frozenset([EntryKind.FILE])), None),
    (["-type", "d"], EntryQuery(kinds=frozenset([EntryKind.DIRECTORY])), None),
    (["-type", "f", "-size", "+0c"], EntryQuery(least_size=1), None),
    (["-type", "f", "-size", "5c"], EntryQuery(least_size=5, most_size=5), None),
    (["-iname", "*d"], EntryQuery(names=("*d",)), None),
    (["-iname", "a*", "-maxdepth", "2"], EntryQuery(names=("a*",)), 2),
    (["-type", "f", "-links", "+1"], EntryQuery(least_links=2), None),
]


@given(plans())
def test_gnu_find_finds_the_same(tmp_path_factory: pytest.TempPathFactory, layers: list[LayerPlan]) -> None:
    program = witness("find")
    folder = tmp_path_factory.mktemp("gnu")
    chain = make_chain(folder, layers)
    wclayer.export_rootfs(chain, folder / "rootfs.tar")
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    with tarfile.open(folder / "rootfs.tar") as tar:
        tar.extractall(unpacked, filter="tar")
    for options, query, depth in _GNU:
        depth_first = sorted(options, key=lambda word: word not in ("-maxdepth", "2"))
        done = subprocess.run([program, ".", *depth_first], cwd=unpacked, capture_output=True, check=True, text=True)
        expected = {os.path.normpath(line) for line in done.stdout.splitlines()}
        found = [entry.path for entry in wclayer.find_entries(chain, ["C:\\"], query, depth=depth)]
        assert {os.path.relpath(path, "Files") for path in found} - {"."} == expected - {"."}, options
        assert len(found) == len(set(found))
