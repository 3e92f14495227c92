"""Two chains that are compared: marks, sums, what is read, both sides of an entry, shared bytes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.explore.chains import LAYER, RandomLayer, base, random_chain, update
from tests.explore.made import Build, chain, explored_pair, marks
from tests.explore.registries import SOFTWARE, registry_base, registry_update
from tests.support import directory, info, put_directories, put_file, run, vector_bytes
from wclayer import sample
from wclayer.explore.model.chain_files import ChainItem
from wclayer.explore.model.contents import contents, text_difference
from wclayer.explore.model.details import Fact
from wclayer.explore.model.explored import ExploredChain, View
from wclayer.explore.model.files import FileItem
from wclayer.explore.model.marks import Mark
from wclayer.explore.model.pair import ExploredPair
from wclayer.explore.model.preview import PreviewKind
from wclayer.explore.model.reading import TreeReading
from wclayer.explore.model.registry import KeyItem
from wclayer.explore.model.sharing import compare_contents
from wclayer.explore.model.totals import Totals, TotalsMemory, count_totals
from wclayer.explore.model.tree import MarkedTree
from wclayer.layers.cache import Cache
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.progress import Progress
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.reparse import LinkTarget
from wclayer.win32.sddl import from_sddl

_TIME = 133_600_000_000_000_000


def other(writer: LayerWriter) -> None:
    """Another layer over `base` than `update`."""
    put_directories(writer, "Files", "Files/Kept", "Files/moved")
    put_file(writer, "Files/moved/added.txt", b"7" * 320)
    writer.put(Entry("Files/a", None))
    writer.put(Entry("Files/Kept/z", info(), 3), [DataStream("", 3, (b"abc",))])


def pair_of(a: Sequence[Path], b: Sequence[Path]) -> ExploredPair:
    return ExploredPair(ExploredChain("a", a), ExploredChain("b", b))


def counts(tree: MarkedTree[Any], memory: TotalsMemory | None = None) -> Totals:
    """The sums of a whole tree, as the screen has them."""
    found: Cache[str, Totals] = Cache()
    memory = memory or TotalsMemory()
    assert count_totals(TreeReading(tree), memory, found, lambda: False)
    whole = Totals()
    for root in tree.roots():
        below = found.get(root.identity) or memory.find(tree.same_below(root), root.mark)
        whole.add(root, below if root.is_directory else None)
    return whole


def told_by_diff(a: Path, b: Path, *options: str) -> dict[str, Any]:
    """What `wclayer diff --json` prints."""
    found: dict[str, Any] = json.loads(run("diff", "--json", *options, a, b, status=None).stdout)
    return found


def _random_chains(
    folder: Path, common: Sequence[RandomLayer], only_a: Sequence[RandomLayer], only_b: Sequence[RandomLayer]
) -> tuple[list[Path], list[Path]]:
    """Two chains over common layers, each nearest first."""
    for name in ("common", "a", "b"):
        (folder / name).mkdir()
    below = random_chain(folder / "common", [], [{}, *common])
    return random_chain(folder / "a", below, only_a), random_chain(folder / "b", below, only_b)


def check(a: Sequence[Path], b: Sequence[Path]) -> None:
    """Checks marks and numbers of files and keys against the command `diff`, with times and without them."""
    for options, times in (((), True), (("--no-times",), False)):
        told = told_by_diff(a[0], b[0], *options)
        with pair_of(a, b).session() as session:
            view = View(1, times=times)
            files = session.files(view)
            expected = Counter(each["change"] for each in told["files"])
            sums = counts(files)
            assert (sums.added, sums.changed, sums.removed) == tuple(
                expected[word] for word in ("added", "changed", "removed")
            )
            found = {(path, mark) for path, both in marks(files).items() for mark in both if mark != " "}
            signs = {mark.word: mark.value for mark in Mark}
            assert found == {(each["path"], signs[each["change"]]) for each in told["files"]}
            keys = session.registry(view)
            changes = {each["key"] for each in told["registry"]}
            assert {path for path, mark in marks(keys).items() if mark != " "} == changes
            sums = counts(keys)
            assert sums.added + sums.changed + sums.removed == len(changes)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(*(st.lists(LAYER, max_size=2) for _ in range(3)))
def test_marks_and_sums_are_those_of_diff(
    tmp_path_factory: pytest.TempPathFactory,
    common: list[RandomLayer],
    only_a: list[RandomLayer],
    only_b: list[RandomLayer],
) -> None:
    check(*_random_chains(tmp_path_factory.mktemp("pair"), common, only_a, only_b))


def test_marks_and_sums_of_images_that_share_nothing_are_those_of_diff(tmp_path: Path) -> None:
    a, b = chain(tmp_path / "a", base, update), chain(tmp_path / "b", base, other)
    check(a, b)
    check(b, a)


def test_marks_and_sums_of_the_vectors_are_those_of_diff(tmp_path: Path) -> None:
    for name, parent in (("base.tar.gz", None), ("child.tar", "base.tar.gz"), ("child-no-junction.tar", "base.tar.gz")):
        (tmp_path / f"{name}.in").write_bytes(vector_bytes(name))
        parents = () if parent is None else ("-l", tmp_path / parent)
        run("import", "-i", tmp_path / f"{name}.in", *parents, tmp_path / name)
    below = tmp_path / "base.tar.gz"
    child, plain = tmp_path / "child.tar", tmp_path / "child-no-junction.tar"
    check([child, below], [plain, below])
    check([below], [child, below])
    check([plain, below], [below])


def test_marks_and_sums_of_registries_are_those_of_diff(tmp_path: Path) -> None:
    below = chain(tmp_path / "common", registry_base)
    check(below, chain(tmp_path / "b", registry_update, below=below))
    check(chain(tmp_path / "c", registry_base, registry_update), below)
    check(chain(tmp_path / "d", sample.write_base), chain(tmp_path / "e", sample.write_base, sample.write_child))


@pytest.mark.parametrize(
    ("common", "a", "b"),
    [
        ([base], [update], [other]),
        ([], [sample.write_base], [registry_base, registry_update]),
        ([], [base], [sample.write_base]),
        ([sample.write_base], [], [sample.write_child]),
    ],
)
def test_sizes_of_both_add_up(tmp_path: Path, common: list[Build], a: list[Build], b: list[Build]) -> None:
    pair = explored_pair(tmp_path, common, a, b)
    with pair.session() as session:
        sums = counts(session.files(pair.first_view))
        shared = compare_contents(session.files(pair.first_view), lambda state: None)
    assert shared.bytes + shared.a.bytes + shared.a.elsewhere_bytes == sums.before_bytes
    assert shared.bytes + shared.b.bytes + shared.b.elsewhere_bytes == sums.bytes
    whole = []
    for each in (pair.a, pair.b):
        with each.session() as session:
            whole.append(counts(session.files(each.first_view)).bytes)
    assert [sums.before_bytes, sums.bytes] == whole


def test_layers_that_both_have_are_not_compared_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def large(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/shared", "Files/shared/deep", "Files/touched")
        for number in range(20):
            put_file(writer, f"Files/shared/deep/{number}", bytes([number]))

    def small(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/touched")
        put_file(writer, "Files/touched/x", b"x")

    pair = explored_pair(tmp_path, [large], [], [small])
    listed: list[tuple[str, int]] = []
    children = LayerDirectory.children

    def noted(self: LayerDirectory, parent: int) -> Any:
        listed.append((self.path.parent.name, parent))
        return children(self, parent)

    with pair.session() as session:
        tree = session.files(pair.first_view)
        by_path = {item.path: item for item in TreeReading(tree).walk(only_different=True)}
        shared = by_path["Files/shared"]
        assert isinstance(shared, ChainItem)
        assert (shared.mark, shared.may_differ, by_path["Files/touched"].may_differ) == (Mark.SAME, False, True)
        assert shared.after is not None
        monkeypatch.setattr(LayerDirectory, "children", noted)
        found = [item.path for item in TreeReading(tree).walk(only_different=True) if item.mark is not Mark.SAME]
        assert found == ["Files/touched/x"]
        assert ("common", shared.after.row.id) not in listed
        assert ("second", 0) in listed


def test_the_same_layer_named_in_two_ways_is_the_same(tmp_path: Path) -> None:
    layers = chain(tmp_path / "made", base, update)
    (tmp_path / "link").symlink_to(layers[0])
    pair = pair_of(layers, [tmp_path / "link", layers[1]])
    assert pair.has_same_layers
    assert pair.remark == "nothing differs: both have the same layers"
    with pair.session() as session:
        assert set(marks(session.files(pair.first_view)).values()) == {" "}
    assert [item.title for item in pair.inventory(lambda state: None)] == [pair.remark]


# Both sides of an entry.


def facts_at(pair: ExploredPair, path: str) -> list[Fact]:
    with pair.session() as session:
        tree = session.files(pair.first_view)
        item = next(item for item in TreeReading(tree).walk() if item.path == path)
        return [*tree.facts(item), *contents(tree, item, PreviewKind.AUTO)]


def _file(data: bytes, **streams: bytes) -> Any:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        put_file(writer, "Files/x", data, 0x20, **streams)

    return build


def texts(facts: Sequence[Fact]) -> list[str]:
    return [f"{fact.label}: {fact.text}" if fact.label else fact.text for fact in facts]


def test_both_sides_of_an_entry_are_told(tmp_path: Path) -> None:
    def later(writer: LayerWriter) -> None:
        writer.put(directory("Files"))
        streams = [DataStream("", 6, (b"one\r\n2",)), DataStream("two", 1, (b"b",)), DataStream("new", 2, (b"no",))]
        writer.put(Entry("Files/x", info(0x21, time=_TIME), 6), streams)

    found = texts(facts_at(explored_pair(tmp_path, [], [_file(b"one\r\n", two=b"a", gone=b"g")], [later]), "Files/x"))
    for text in (
        "~ size: 6 bytes", "was: 5 bytes", "+ 2", "  one", "- :gone", "+ :new", "~ :two", "~ attributes", "~ written",
    ):  # fmt: skip
        assert any(each.startswith(text) for each in found), (text, found)
    assert "Contents: lines that differ" in found
    assert "Stream :two: lines that differ" in found
    assert found.index("- a") + 1 == found.index("+ b")


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (b"a\nb\nc\n", b"a\nB\nc\n", ["line 1", "  a", "- b", "+ B", "  c"]),
        (b"", b"a\n", ["line 1", "+ a"]),
        (b"a\nb", b"a\r\nb", ["only line ends, or how the text is encoded"]),
        ("grün".encode(), "grün".encode("utf-16"), ["only line ends, or how the text is encoded"]),
        (
            b"\n".join(b"%d" % number for number in range(30)),
            b"\n".join(b"x" if number in (10, 25) else b"%d" % number for number in range(30)),
            [
                "line 8", "  7", "  8", "  9", "- 10", "+ x", "  11", "  12", "  13", "line 23", "  22", "  23", "  24",
                "- 25", "+ x", "  26", "  27", "  28",
            ],
        ),
        (bytes(40), bytes(20) + b"\1" + bytes(19), ["- 000010  00", "+ 000010  00"]),
        (b"a\x1b[31m\n", b"b\x1b[31m\n", ["line 1", "- a\x1b[31m", "+ b\x1b[31m"]),
    ],
)  # fmt: skip
def test_contents_that_differ_are_told(tmp_path: Path, old: bytes, new: bytes, found: list[str]) -> None:
    facts = texts(facts_at(explored_pair(tmp_path, [], [_file(old)], [_file(new)]), "Files/x"))
    start = next(number for number, text in enumerate(facts) if text.startswith("Contents"))
    assert len(facts[start + 1 :]) == len(found)
    assert all(text.startswith(part) for text, part in zip(facts[start + 1 :], found, strict=True)), facts


@settings(max_examples=50, deadline=None)
@given(*(st.lists(st.sampled_from(["a", "b", "", "\tc"]), max_size=30) for _ in range(2)))
def test_the_difference_of_texts_is_one(old: list[str], new: list[str]) -> None:
    """What is removed and added turns the old lines into the new ones, where no line is left out."""
    if old == new:
        return
    rest = list(old)
    made: list[str] = []
    for fact in text_difference(old, new):
        if fact.text.startswith("line "):
            number = int(fact.text.removeprefix("line ")) - 1
            count = number - len(made)
            assert rest[:count] == new[len(made) : number]
            made += rest[:count]
            del rest[:count]
            continue
        mark, text = fact.text[0], fact.text[2:].replace("    c", "\tc")
        if mark != "+":
            assert rest.pop(0) == text
        if mark != "-":
            made.append(text)
    assert made + rest == new


def test_texts_of_many_lines_that_all_differ_are_told_as_a_whole(tmp_path: Path) -> None:
    old, new = (b"".join(b"%d%s\n" % (number, word) for number in range(5000)) for word in (b"a", b"b"))
    found = texts(facts_at(explored_pair(tmp_path, [], [_file(old)], [_file(new)]), "Files/x"))
    assert "- 0a" in found
    assert found[-1] == "and more that differs"
    assert len(found) < 3000


def test_one_side_that_is_damaged_does_not_hide_the_other(tmp_path: Path) -> None:
    pair = explored_pair(tmp_path, [], [_file(b"old text")], [_file(b"new text")])
    (tmp_path / "first" / "layer1" / "Files" / "x").unlink()
    found = texts(facts_at(pair, "Files/x"))
    assert any("cannot be opened" in text for text in found)
    assert "new text" in found


def test_a_link_that_leads_elsewhere_has_both_targets(tmp_path: Path) -> None:
    def link(target: str) -> Any:
        def build(writer: LayerWriter) -> None:
            put_directories(writer, "Files")
            data = LinkTarget.from_path(target, is_mount_point=True).encode()
            writer.put(Entry("Files/x", info(DIRECTORY | 0x400), reparse=data))

        return build

    found = texts(facts_at(explored_pair(tmp_path, [], [link("C:\\a")], [link("C:\\b")]), "Files/x"))
    assert found[found.index("~ target: C:\\b") + 1] == "was: C:\\a"


def test_security_in_words_has_both_sides(tmp_path: Path) -> None:
    def secured(text: str) -> Build:
        def build(writer: LayerWriter) -> None:
            put_directories(writer, "Files")
            writer.put(Entry("Files/x", info(), security=from_sddl(text).encode()), [DataStream("", 0, ())])

        return build

    old, new = "O:SYG:SYD:(A;;FA;;;SY)", "O:BAG:SYD:(A;;FA;;;SY)(A;;FR;;;BU)"
    pair = explored_pair(tmp_path, [], [secured(old)], [secured(new)])
    found = texts(facts_at(pair, "Files/x"))
    assert "~ owner: Administrators" in [text.replace("BUILTIN\\", "") for text in found]
    with pair.session() as session:
        tree = session.files(pair.first_view)
        item = next(item for item in TreeReading(tree).walk() if item.path == "Files/x")
        told = texts(list(tree.rights(item)))
    added = [text for text in told if text.startswith("+ ")]
    assert any("Users" in text for text in added), told
    assert "Who may do what" in told


def test_a_key_tells_both_sides(tmp_path: Path) -> None:
    pair = explored_pair(tmp_path, [registry_base], [], [registry_update])
    with pair.session() as session:
        tree = session.registry(pair.first_view)
        keys: dict[str, KeyItem] = {item.path: item for item in TreeReading(tree).walk()}
        found = texts(list(tree.facts(keys[f"{SOFTWARE}\\Vendor\\Changed"])))
        assert found[found.index("~ b: REG_SZ  2") + 1] == "was: REG_SZ  1"
        assert "- gone: REG_SZ  x" in found
        assert found[found.index("~ in layers: 1, 2") + 1] == "was: 1"
        assert "in layers: 1" in texts(list(tree.facts(keys[f"{SOFTWARE}\\Vendor\\Removed"])))


# Shared bytes.


def test_shared_bytes_add_up(tmp_path: Path) -> None:
    pair = explored_pair(tmp_path, [base], [update], [other])
    seen: list[int] = []
    with pair.session() as session:
        tree = session.files(pair.first_view)
        found = compare_contents(tree, lambda state: seen.append(state.entries))
        sums = counts(session.files(pair.first_view))
    assert found.bytes + found.a.bytes + found.a.elsewhere_bytes == sums.before_bytes
    assert found.bytes + found.b.bytes + found.b.elsewhere_bytes == sums.bytes
    # new/added.txt of the first one is moved/added.txt of the second one.
    assert [(each.path, each.other) for each in found.a.elsewhere] == [("Files/new/added.txt", "Files/moved/added.txt")]
    assert found.a.elsewhere_bytes == found.b.elsewhere_bytes == 320
    assert [each.path for each in found.b.alone] == [
        "Files/becomes-directory", "Files/b/removed.txt", "Files/Kept/z",
    ]  # fmt: skip
    assert len(seen) > 10


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(*(st.lists(LAYER, max_size=2) for _ in range(3)))
def test_shared_bytes_of_any_chains_add_up(
    tmp_path_factory: pytest.TempPathFactory,
    common: list[RandomLayer],
    only_a: list[RandomLayer],
    only_b: list[RandomLayer],
) -> None:
    pair = pair_of(*_random_chains(tmp_path_factory.mktemp("pair"), common, only_a, only_b))
    with pair.session() as session:
        found = compare_contents(session.files(pair.first_view), lambda state: None)
    for side, each in ((found.a, pair.a), (found.b, pair.b)):
        with each.session() as session:
            tree = session.files(each.first_view)
            whole = sum(item.size_now for item in TreeReading(tree).walk())
        assert found.bytes + side.bytes + side.elsewhere_bytes == whole


def test_a_comparison_of_contents_stops_when_it_is_told_to(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(state: Progress, /) -> None:
        raise StoppedError

    pair = explored_pair(tmp_path, [base], [update], [other])
    for work in (pair.waste, pair.inventory):
        with pytest.raises(StoppedError):
            work(stop)


def test_layers_are_those_of_both_with_marks(tmp_path: Path) -> None:
    pair = explored_pair(tmp_path, [base], [update], [other])
    assert [(layer.number, layer.mark, layer.owner) for layer in pair.layers] == [
        (1, Mark.SAME, "both: layer 1 of first, layer 1 of second"),
        (2, Mark.REMOVED, "first alone"),
        (2, Mark.ADDED, "second alone"),
    ]


def test_the_views_that_are_taken_are_with_times_and_without(tmp_path: Path) -> None:
    def touched(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/a", "Files/a/deep")
        data = [DataStream("", 20, (b"2" * 20,))]
        writer.put(Entry("Files/a/deep/same.txt", info(time=_TIME), 20), data)

    pair = explored_pair(tmp_path, [base], [], [touched])
    with pair.session() as session:
        assert marks(session.files(pair.first_view))["Files/a/deep/same.txt"] == "~"
        without: dict[str, str] = marks(session.files(replace(pair.first_view, times=False)))
        assert set(without.values()) == {" "}
    assert pair.view_text(replace(pair.first_view, times=False)).endswith("without times")


def test_what_is_removed_can_be_read(tmp_path: Path) -> None:
    pair = explored_pair(tmp_path, [base], [], [other])
    with pair.session() as session:
        tree = session.files(pair.first_view)
        items: dict[str, FileItem] = {item.path: item for item in TreeReading(tree).walk()}
        with tree.open(items["Files/a/changed.txt"]) as opened:
            assert opened.read() == b"1" * 10
