"""The inventory of facts is that of the unpacked layers, item by item, with origins and findings."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings

import wclayer
from tests.formats.pe.craft import Pe
from tests.formats.regf.support import dirty_pair
from tests.images import samples
from tests.inventory.conftest import Windows
from tests.inventory.facts.chains import Chain, check, facts_of_image, told
from tests.inventory.facts.random_layers import TASK, Layer, base, chains, contents, tars_of
from tests.inventory.jars import jar
from tests.inventory.subjects import tree
from tests.inventory.windows import APPLICATION, BASE
from tests.layers.hive_layers import put_hives
from tests.support import info, layer_tar, put_directories, put_file
from wclayer.errors import CorruptLayerError, LayerError
from wclayer.formats.regf.writer import write_hive
from wclayer.images.config import parse_config
from wclayer.images.manifest import Manifest, parse_manifest
from wclayer.inventory import collecting
from wclayer.inventory.collectors.guarding import Found
from wclayer.inventory.facts import memory
from wclayer.inventory.facts import subject as facts_subject
from wclayer.inventory.facts.files import FactsFiles
from wclayer.inventory.facts.layer import FactsLayer
from wclayer.inventory.facts.memory import ChainMemory
from wclayer.inventory.facts.subject import inventory_of_facts
from wclayer.inventory.facts.summary import FACTS_VERSION
from wclayer.inventory.facts.wanted import READERS, wanted
from wclayer.inventory.item import Finding, FindingKind, Inventory, Item, ItemKind, Origin, SubjectLayer
from wclayer.inventory.subject.subject import Subject
from wclayer.model import Entry, LayerWriter
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.names import path_key

CONFIG: dict[str, object] = {"Env": ["Path=C:\\app;C:\\none", "A=1"], "ExposedPorts": {"80/tcp": {}}}


@pytest.mark.parametrize("name", [BASE, APPLICATION])
def test_facts_of_windows_say_what_the_layers_say(machine: Windows, tmp_path: Path, name: str) -> None:
    expected = machine.inventory(name)
    folders, manifest, config = facts_of_image(machine.store, name, tmp_path)
    for pe_files in (True, False, False):
        found = inventory_of_facts(folders, name, manifest, config, pe_files=pe_files)
        assert told(found) == told(expected)
    assert len(expected.items) > 500


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(chains())
def test_facts_of_any_chain_say_what_the_layers_say(layers: list[Layer]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(Chain(Path(folder), tars_of(layers), CONFIG))


def _of(tars: Sequence[bytes], folder: Path) -> Inventory:
    return check(Chain(folder, tars))


def _layer(files: Mapping[str, bytes] | None = None, links: Mapping[str, str] | None = None, *deleted: str) -> bytes:
    """A layer over the base of `random_layers`."""

    def build(writer: LayerWriter) -> None:
        names = {*(files or {}), *(links or {})}
        above = {"/".join(name.split("/")[:depth]) for name in names for depth in range(1, name.count("/") + 1)}
        put_directories(writer, "Files", *(f"Files/{name}" for name in sorted(above)))
        for name in deleted:
            writer.put(Entry(f"Files/{name}", None))
        for name, data in (files or {}).items():
            put_file(writer, f"Files/{name}", data)
        for name, target in (links or {}).items():
            writer.put(Entry(f"Files/{name}", info(), link_target=f"Files/{target}"))

    return layer_tar(build)


def _service(inventory: Inventory) -> object:
    return next(item for item in inventory.of_kind(ItemKind.SERVICE) if item.name == "ours").properties["binary_exists"]


def test_a_layer_that_brings_what_the_registry_names_is_not_left_out(tmp_path: Path) -> None:
    """The base alone is remembered; then a layer brings the program of a service, and another one takes it away."""
    brings, takes = _layer({"svc/ours.exe": b"x"}), _layer({}, {}, "svc")
    assert [
        _service(_of(tars, tmp_path / str(number)))
        for number, tars in enumerate(
            ([base()], [base(), brings], [base(), brings, takes], [base(), _layer({"x": b""})])
        )
    ] == [False, True, False, False]


def test_the_directory_of_a_runtime_has_the_nearest_layer_that_has_it(tmp_path: Path) -> None:
    runtime = "Program Files/dotnet/shared/Microsoft.NETCore.App/8.0.1"
    lower, upper, other = (_layer({name: b""}) for name in (f"{runtime}/a.txt", f"{runtime}/b.txt", "x"))
    for number, tars in enumerate(([lower], [lower, upper], [lower, other, upper])):
        (item,) = _of([base(), *tars], tmp_path / str(number)).of_kind(ItemKind.DOTNET)
        assert item.origin.layer is not None
        assert item.origin.layer.number == 1 + len(tars)


def test_a_directory_is_spelled_as_the_nearest_layer_spells_it(tmp_path: Path) -> None:
    lower, upper = _layer({"Windows/System32/Tasks/T1": TASK}), _layer({"WINDOWS/notes.txt": b""})
    places = [
        next(_of(tars, tmp_path / str(number)).of_kind(ItemKind.TASK)).origin.place
        for number, tars in enumerate(([base(), lower], [base(), lower, upper]))
    ]
    assert places == ["C:\\Windows\\System32\\Tasks\\T1", "C:\\WINDOWS\\System32\\Tasks\\T1"]


def test_a_link_to_a_file_of_a_lower_layer_is_that_file(tmp_path: Path) -> None:
    lower = _layer({"lib/a-1.jar": jar({"x": b""}), "a.exe": contents()["app/go.exe"][0]})
    upper = _layer({}, {"lib/b-2.jar": "lib/a-1.jar", "b.exe": "a.exe"}, "lib/a-1.jar", "a.exe")
    taken = _of([base(), lower, upper, _layer({}, {"c.exe": "b.exe"})], tmp_path)
    assert {item.origin.place for item in taken.of_kind(ItemKind.JAVA_PACKAGE)} == {"C:\\lib\\b-2.jar"}
    assert {item.origin.place for item in taken.of_kind(ItemKind.GO_MODULE)} == {"C:\\b.exe", "C:\\c.exe"}


def test_a_link_to_a_file_whose_own_name_said_nothing_is_a_finding(tmp_path: Path) -> None:
    chain = Chain(tmp_path, [base(), _layer({"a.txt": Pe().encode()}), _layer({}, {"a.exe": "a.txt"})])
    for pe_files in (True, False):
        (finding,) = chain.of_facts(pe_files=pe_files).findings
        assert (finding.kind, finding.place) == (FindingKind.LIMITED, "C:\\a.exe")


def test_links_to_links_of_many_layers_are_followed_once_each(tmp_path: Path) -> None:
    """If each were followed anew for each that leads to it, this would not end."""
    first = _layer({"a.txt": b"", "0.exe": contents()["app/go.exe"][0]})
    links = [_layer({}, {f"{number + 1}.exe": f"{number}.exe"}) for number in range(40)]
    taken = _of([base(), first, *links], tmp_path)
    assert {item.origin.place for item in taken.of_kind(ItemKind.GO_MODULE)} >= {"C:\\0.exe", "C:\\40.exe"}


def test_a_link_to_nothing_is_an_error_as_when_the_layers_are_unpacked(tmp_path: Path) -> None:
    tars = [base(), _layer({"a.txt": b""}), _layer({}, {"b.txt": "a.txt"})]
    folders, _, _ = Chain(tmp_path, tars).facts()
    image = samples.image("oci", [samples.layer(tar) for tar in (tars[0], tars[2])], [samples.step("ADD")] * 2, {})
    manifest, config = parse_manifest(image.manifest), parse_config(image.config)
    assert isinstance(manifest, Manifest)
    del folders[1]
    with pytest.raises(CorruptLayerError, match=r"a hard link to 'Files/a\.txt', which no layer has"):
        inventory_of_facts(folders, "x", manifest, config)


def test_a_collector_that_reads_what_it_does_not_state_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain(tmp_path, [base(), _layer({"notes.txt": b"notes"})])

    def collect(subject: Subject) -> Found:
        found = subject.files.find("notes.txt")
        assert found is not None
        subject.files.read(found, 100)
        yield from ()

    more = (*collecting.COLLECTORS, collecting.Collector("notes", collect, uses_config=True))
    for module in (collecting, facts_subject):
        monkeypatch.setattr(module, "COLLECTORS", more)
    monkeypatch.setattr("wclayer.inventory.facts.memory.COLLECTORS", more)
    monkeypatch.setattr("wclayer.inventory.facts.subject._MEMORY", ChainMemory())
    assert not chain.of_layers().findings
    with pytest.raises(LayerError, match=r"C:.notes\.txt: internal error: .* do not have its contents"):
        chain.of_facts(pe_files=False)


@pytest.mark.parametrize("most", [5000, 40_000, 400_000])
def test_the_memory_for_what_is_found_is_bounded_alike(
    machine: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("wclayer.inventory.facts.subject._MEMORY", ChainMemory())
    for module in (collecting, memory):
        monkeypatch.setattr(module, "MAX_FOUND", most)
    folders, manifest, config = facts_of_image(machine.store, APPLICATION, tmp_path)
    expected = machine.inventory(APPLICATION)
    assert told(inventory_of_facts(folders, APPLICATION, manifest, config, pe_files=True)) == told(expected)
    assert [finding.kind for finding in expected.findings] == [FindingKind.LIMITED]


def test_a_chain_of_which_too_much_is_asked_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.inventory.facts.subject._MEMORY", ChainMemory())
    monkeypatch.setattr("wclayer.inventory.facts.probes.MOST_PROBES", 20)
    tasks = {f"Windows/System32/Tasks/T{number}": TASK for number in range(30)}
    assert len(list(_of([base(), _layer(tasks), _layer({"x": b""})], tmp_path).of_kind(ItemKind.TASK))) == 30


def test_only_collectors_that_say_so_use_the_documents(tmp_path: Path) -> None:
    chain = Chain(tmp_path, [base(), _layer({"Windows/System32/Tasks/T1": TASK})], CONFIG)
    with ExitStack() as stack:
        image = stack.enter_context(wclayer.open_image(chain.name, chain.store))
        documents = image.manifest, image.config
        told, bare = (
            stack.enter_context(Subject.of_layers(image.layers, name, *each))
            for name, each in (("a", documents), ("b", (None, None)))
        )
        for collector in collecting.COLLECTORS:
            if not collector.uses_config:
                found = [list(map(_without_layer, collector.collect(subject))) for subject in (told, bare)]
                assert found[0] == found[1]


def _without_layer(found: Item | Finding) -> Item | Finding:
    return found if isinstance(found, Finding) else replace(found, origin=Origin(found.origin.place, None))


def test_images_on_the_same_layers_with_hives_share_what_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wclayer.inventory.facts.subject._MEMORY", ChainMemory())
    runs: list[int] = []
    find = memory._results

    def counted(files: FactsFiles, layers: Sequence[FactsLayer], named: Sequence[SubjectLayer]) -> object:
        runs.append(len(layers))
        return find(files, layers, named)

    monkeypatch.setattr(memory, "_results", counted)
    hives = tars_of([Layer([], {}, {}, False, 1)])
    for number, tars in enumerate((
        hives, [*hives, _layer({"a.txt": b"1"})], [*hives, _layer({"a.txt": b"2"}), _layer({"app/b.exe": b"3"})],
        [hives[0], _layer({"a.txt": b"4"}), hives[1]], [*hives, _layer({"tools/x.exe": b""})],
    )):  # fmt: skip
        _of(tars, tmp_path / str(number))
    assert runs == [2, 3]


@pytest.mark.parametrize(
    "mutation",
    [
        ("probes._deletes", lambda layer, probes: False), ("probes._adds", lambda layer, probes: False),
        ("memory.mark_origins", lambda probes, items: None),
        ("probes._is_same_directory", lambda row, probe: bool(row.attributes & DIRECTORY) and probe.exists),
        ("memory._Traits", lambda hives, links: SimpleNamespace(has_hives=False, has_links_elsewhere=links)),
        ("memory._Traits", lambda hives, links: SimpleNamespace(has_hives=hives, has_links_elsewhere=False)),
    ],
    ids=["deletions", "additions", "origins", "spelling", "hives", "links"],
)  # fmt: skip
def test_a_reduced_chain_that_leaves_out_too_much_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutation: tuple[str, object]
) -> None:
    """Each rule of the reduced chain is needed: without it, one of these chains is told wrongly."""
    monkeypatch.setattr("wclayer.inventory.facts.subject._MEMORY", ChainMemory())
    monkeypatch.setattr(f"wclayer.inventory.facts.{mutation[0]}", mutation[1])
    runtime = "Program Files/dotnet/shared/Microsoft.NETCore.App/8.0.1"
    task = _layer({"Windows/System32/Tasks/T1": TASK})
    chains = {
        "deletions": [base(), task, _layer({}, {}, "Windows/System32/Tasks/T1")],
        "additions": [base(), task],
        "origins": [base(), _layer({f"{runtime}/a.txt": b""}), _layer({f"{runtime}/a.txt/b.txt": b""})],
        "spelling": [base(), task, _layer({"WINDOWS/notes.txt": b""})],
        "hives": tars_of([Layer([], {}, {}, False, 1)]),
        "links": [base(), _layer({"a.txt": TASK}), _layer({}, {"Windows/System32/Tasks/T1": "a.txt"})],
    }
    wrong = set()
    for name, tars in chains.items():
        chain = Chain(tmp_path / name, tars)
        expected, found = told(chain.of_layers(), pe_files=False), told(chain.of_facts(pe_files=False))
        if found != expected:
            wrong.add(name)
    assert wrong


def _with_hives(**hives: bytes) -> bytes:
    """A base layer with those hives, and with those of users by their paths."""

    def build(writer: LayerWriter) -> None:
        put_hives(writer, **{name: data for name, data in hives.items() if not name.startswith("NTUSER")})
        put_directories(writer, "Files/Users", "Files/Users/me")
        for name, data in hives.items():
            if name.startswith("NTUSER"):
                put_file(writer, f"Files/Users/me/{name.replace('_', '.')}", data)

    return layer_tar(build)


def test_hives_that_need_their_logs_and_damaged_ones_are_told_alike(tmp_path: Path) -> None:
    before, after, log = dirty_pair()
    system, damaged = write_hive(tree({r"ControlSet001\Services\a": {"Type": 16, "Start": 2}})), b"regf" + bytes(5000)
    chains = {
        "logs": [
            _with_hives(SOFTWARE=before, SOFTWARE_LOG1=log, NTUSER_DAT=before, NTUSER_DAT_LOG1=log, SYSTEM=system)
        ],
        "no logs": [_with_hives(SOFTWARE=before, NTUSER_DAT=before, SYSTEM=system)],
        "damaged": [_with_hives(SOFTWARE=damaged, NTUSER_DAT=damaged, SYSTEM=system)],
        "damaged delta": [_with_hives(SOFTWARE=after, SYSTEM=system), _delta(damaged), _layer({"x": b""})],
    }
    findings = {name: len(_of(tars, tmp_path / name).findings) for name, tars in chains.items()}
    assert findings["logs"] == 0
    assert min(findings[name] for name in ("no logs", "damaged", "damaged delta")) > 0


def _delta(system: bytes) -> bytes:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Hives")
        put_file(writer, "Hives/System_Delta", system)

    return layer_tar(build)


def test_facts_whose_readings_were_changed_are_an_error(tmp_path: Path) -> None:
    """Not a finding: the image is not to blame."""
    chain = Chain(tmp_path, [base(), _layer({"lib/a-1.jar": jar({"x": b""})})])
    folders, _, _ = chain.facts()
    with closing(sqlite3.connect(folders[0] / "contents.db")) as database, database:
        database.execute("UPDATE readings SET reading = ?", (json.dumps({"found": {"described": 1}}),))
    with pytest.raises(LayerError, match=r"what the facts say of C:.lib.a-1\.jar is damaged: delete the facts"):
        chain.of_facts(pe_files=False)


def test_a_reader_that_finds_something_else_needs_a_new_version_of_facts() -> None:
    """Facts that were made before would be mixed with those that are made now."""
    records = [
        [path, name, READERS[name](io.BytesIO(data), len(data))]
        for path, variants in contents().items()
        for data in variants
        for name in wanted(path_key(f"Files/{path}"), len(data))
        if name in READERS
    ]
    assert len({name for _, name, _ in records}) == len(READERS)
    # What is wrong with a file may be told in the words of a library.
    sound = [record for record in records if "found" in record[2]]
    digest = hashlib.sha256(json.dumps(sound, sort_keys=True).encode()).hexdigest()
    assert {FACTS_VERSION: digest} == {1: "c9696ad3838cc1a66630e9dcd832facf4c1225fdee4293e1c53e7c72e0edc596"}
