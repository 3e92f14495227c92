"""What layers take and waste: found in one walk, as a plain computation of all states finds it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given

import wclayer
from tests.support import put_directories, put_file
from tests.survey.chains import LayerPlan, computed, make_chain, plans
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry
from wclayer.survey import tally
from wclayer.survey.model import HiddenReason, Survey
from wclayer.win32.names import path_key

_FIELDS = (
    "entries", "bytes", "hidden_bytes", "added", "replaced", "removed", "hides_bytes", "shown", "shown_files",
)  # fmt: skip


def _sums(survey: Survey) -> dict[tuple[str, int, str], int]:
    """Every sum of a survey that is not zero."""
    return {
        (key, usage.layer, name): getattr(usage, name)
        for key, directory in survey.directories.items()
        for usage in directory.layers
        for name in _FIELDS
        if getattr(usage, name)
    }


def _expected(layers: list[LayerPlan]) -> dict[tuple[str, int, str], int]:
    known = computed(layers)
    own: Counter[tuple[str, int, str]] = Counter()
    for (layer, directory, name), count in known.steps.items():
        own[f"FILES/{directory}".rstrip("/"), layer, name] += count
    for path, shown in known.state.items():
        place = f"FILES/{path}".rpartition("/")[0]
        own[place, shown.layer, "shown"] += 1
        own[place, shown.layer, "shown_files"] += shown.file is not None
    for file, size in known.sizes.items():
        place = f"FILES/{file.path}".rpartition("/")[0]
        own[place, file.layer, "bytes"] += size
        if file in known.hidden:
            own[place, file.layer, "hidden_bytes"] += size
            own[place, known.hidden[file], "hides_bytes"] += size
    for number in range(1, len(layers) + 1):  # the directory Files itself, which each layer has
        own["", number, "entries"] += 1
    own["", 1, "added"] += 1
    own["", len(layers), "shown"] += 1
    sums: Counter[tuple[str, int, str]] = Counter()
    for (place, layer, name), count in own.items():
        sums["", layer, name] += count
        parts = place.split("/") if place else []
        for depth in range(1, len(parts) + 1):
            sums["/".join(parts[:depth]), layer, name] += count
    return {key: count for key, count in sums.items() if count}


@given(plans())
def test_a_survey_is_what_a_plain_computation_finds(
    tmp_path_factory: pytest.TempPathFactory, layers: list[LayerPlan]
) -> None:
    chain = make_chain(tmp_path_factory.mktemp("chain"), layers)
    survey = wclayer.survey_image(chain)
    assert _sums(survey) == _expected(layers)
    known = computed(layers)
    assert {(file.layer, path_key(file.path), file.size, file.hidden_by) for file in survey.hidden} == {
        (file.layer, f"FILES/{file.path}", known.sizes[file], by) for file, by in known.hidden.items()
    }
    assert survey.hidden_files == len(known.hidden)
    assert survey.hidden_bytes == sum(known.sizes[file] for file in known.hidden)


@given(plans())
def test_the_same_contents_are_found_once_for_each_file(
    tmp_path_factory: pytest.TempPathFactory, layers: list[LayerPlan]
) -> None:
    survey = wclayer.survey_image(make_chain(tmp_path_factory.mktemp("chain"), layers))
    known = computed(layers)
    contents = {
        (number, path.upper()): data for number, plan in enumerate(layers, 1) for path, data in plan.files.items()
    }
    shown = {name.file for name in known.state.values() if name.file is not None}
    counted = Counter(contents[file.layer, file.path] for file in shown)
    found = {each.sha256: (each.size, each.count) for each in survey.duplicates}
    assert found == {
        hashlib.sha256(data).hexdigest(): (len(data), count) for data, count in counted.items() if count > 1 and data
    }
    assert survey.duplicate_files == sum(count - 1 for _, count in found.values())
    assert survey.duplicate_bytes == sum(each.extra_bytes for each in survey.duplicates)
    assert sorted(file.size for file in survey.largest) == sorted(size for file in shown if (size := known.sizes[file]))


@given(plans())
def test_the_walk_shows_what_the_merged_tree_shows(
    tmp_path_factory: pytest.TempPathFactory, layers: list[LayerPlan]
) -> None:
    chain = make_chain(tmp_path_factory.mktemp("chain"), layers)
    survey = wclayer.survey_image(chain)
    with wclayer.MergedTree(chain) as tree:
        names: Counter[str] = Counter()
        for node in tree.walk(tree.root()):
            if node.key.startswith("FILES"):
                names[node.key.rpartition("/")[0]] += 1
                assert node.key in survey.directories or not node.is_directory
        for key, directory in survey.directories.items():
            inside = sum(count for place, count in names.items() if not key or f"{place}/".startswith(f"{key}/"))
            assert directory.entries == inside or key == "HIVES", key


def _layer(path: Path, *parents: Path, files: dict[str, bytes], tombstones: tuple[str, ...] = ()) -> Path:
    plan = LayerPlan(files=files)
    with DirectoryLayerWriter(path, parents=list(parents)) as writer:
        put_directories(writer, "Files", *(f"Files/{name}" for name in sorted(plan.all_directories())))
        for name in tombstones:
            writer.put(Entry(f"Files/{name}", None), ())
        for name, data in files.items():
            put_file(writer, f"Files/{name}", data)
    return path


def test_waste_says_which_layer_did_it_and_how(tmp_path: Path) -> None:
    base = _layer(tmp_path / "1", files={"app/Old.dll": b"1" * 100, "app/gone": b"2" * 30, "app/kept": b"3" * 7})
    middle = _layer(tmp_path / "2", base, files={"app/old.dll": b"1" * 100})
    top = _layer(tmp_path / "3", middle, base, files={"app/OLD.DLL": b"new"}, tombstones=("app/gone",))
    survey = wclayer.survey_image(top)
    assert [(f.path, f.size, f.layer, f.hidden_by, f.reason, f.is_same) for f in survey.hidden] == [
        ("Files/app/OLD.DLL", 100, 1, 2, HiddenReason.REPLACED, True),
        ("Files/app/OLD.DLL", 100, 2, 3, HiddenReason.REPLACED, False),
        ("Files/app/gone", 30, 1, 3, HiddenReason.REMOVED, False),
    ]
    assert [(f.path, f.size, f.layer) for f in survey.largest] == [
        ("Files/app/kept", 7, 1), ("Files/app/OLD.DLL", 3, 3),
    ]  # fmt: skip
    app = survey.usage("files/APP")
    assert app is not None
    assert (app.path, app.bytes, app.hidden_bytes, app.visible_bytes, app.files) == ("Files/app", 240, 230, 10, 2)
    assert survey.of_layer(3).hides_bytes == 130
    assert [layer.number for layer in survey.layers] == [1, 2, 3]


def test_hives_of_layers_hide_nothing_and_streams_count(tmp_path: Path) -> None:
    base = _layer(tmp_path / "1", files={"a": b""})
    layers = [base]
    for number in (2, 3):
        with DirectoryLayerWriter(tmp_path / str(number), parents=layers) as writer:
            put_directories(writer, "Files", "Hives")
            put_file(writer, "Hives/Software_Delta", b"x" * 10)
            put_file(writer, f"Files/s{number}", b"1", other=b"22")
        layers.insert(0, tmp_path / str(number))
    survey = wclayer.survey_image(layers)
    assert (survey.total.bytes, survey.hidden_bytes, survey.hidden_files) == (26, 0, 0)
    hives = survey.usage("Hives")
    assert hives is not None
    assert [(usage.layer, usage.added, usage.replaced, usage.shown) for usage in hives.layers] == [
        (2, 1, 0, 1), (3, 1, 0, 1),
    ]  # fmt: skip


def test_too_many_directories_leave_out_the_smallest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"d{number:03}/f": b"x" * number for number in range(1, 200)}
    layer = _layer(tmp_path / "1", files=files)
    whole = wclayer.survey_image(layer)
    monkeypatch.setattr(tally, "MAX_DIRECTORIES", 40_000)
    survey = wclayer.survey_image(layer)
    assert whole.left_out == 0
    assert survey.left_out == len(whole.directories) - len(survey.directories) > 50
    assert survey.total == whole.total
    kept = [directory.bytes for key, directory in survey.directories.items() if key.count("/") == 1]
    assert min(kept) == 200 - len(kept)
    assert list(survey.directories) == [key for key in whole.directories if key in survey.directories]


def test_a_survey_is_counted_and_cancelled(tmp_path: Path) -> None:
    layer = _layer(tmp_path / "1", files={"a/b": b"12", "c": b"3"})
    seen: dict[str, int] = defaultdict(int)

    def note(progress: wclayer.Progress) -> None:
        seen[progress.name] = progress.bytes

    wclayer.survey_image(layer, progress=note)
    assert seen == {"Files": 0, "Files/a": 0, "Files/a/b": 2, "Files/c": 3, "Hives": 3}
    with pytest.raises(wclayer.OperationCancelledError):
        wclayer.survey_image(layer, cancelled=lambda: True)


@pytest.mark.parametrize(("limits", "name"), [({"path_depth": 3}, "path_depth"), ({"entries": 3}, "entries")])
def test_limits_hold(limits: dict[str, int], name: str, tmp_path: Path) -> None:
    layer = _layer(tmp_path / "1", files={"a/b/c": b""})
    before = wclayer.limits_in_use()
    wclayer.use_limits(wclayer.Limits(**limits))
    try:
        with pytest.raises(wclayer.LimitExceededError, match=name):
            wclayer.survey_image(layer)
    finally:
        wclayer.use_limits(before)
