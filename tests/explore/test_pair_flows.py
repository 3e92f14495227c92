"""What a user does who compares two images, and what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.explore.chains import base, update
from tests.explore.made import Driven, chain, drive, explored_pair
from tests.explore.registries import registry_base, registry_update
from tests.images import samples, stores
from tests.support import put_directories, put_file, run
from wclayer import sample
from wclayer.comparison.image_diff import diff_images
from wclayer.explore.model.explored import ExploredChain
from wclayer.explore.model.outline import OutlineItem, walk
from wclayer.explore.model.pair import ExploredPair
from wclayer.images.opening import open_image
from wclayer.images.store import ImageStore
from wclayer.model import LayerWriter
from wclayer.view.diff import Change

_METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n"
_SITE = "Files/Python/Lib/site-packages"


def _image(files: dict[str, str], container: dict[str, Any], architecture: str = "amd64") -> samples.Image:
    tar = samples.small_tar({path: text.encode() for path, text in files.items()})
    layers = [samples.layer(samples.small_base_tar()), samples.layer(tar)]
    steps = [samples.step("Apply image 10.0.20348.1"), samples.step(f"COPY {len(files)} files")]
    return samples.image("docker", layers, steps, container, architecture=architecture)


@contextmanager
def images(folder: Path, old: samples.Image, new: samples.Image) -> Iterator[ExploredPair]:
    store = ImageStore(folder / "store")
    for name, image in (("old:1", old), ("new:1", new)):
        stores.fill(store, name, image)
    with ExitStack() as stack:
        opened = [stack.enter_context(open_image(name, store)) for name in ("old:1", "new:1")]
        yield ExploredPair(*(ExploredChain(each.name, each.layers, each) for each in opened))


OLD = {
    f"{_SITE}/kept-1.dist-info/METADATA": _METADATA.format("kept", 1),
    f"{_SITE}/changed-1.dist-info/METADATA": _METADATA.format("changed", 1),
    "Files/app/settings.ini": "[a]\nport=80\n",
}
NEW = {
    f"{_SITE}/kept-1.dist-info/METADATA": _METADATA.format("kept", 1),
    f"{_SITE}/changed-2.dist-info/METADATA": _METADATA.format("changed", 2),
    "Files/app/settings.ini": "[a]\nport=8080\n",
    "Files/app/package.json": '{"name": "app", "version": "1"}',
    "Files/app/node_modules/x/package.json": '{"name": "x", "version": "1"}',
}


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[ExploredPair]:
    old = _image(OLD, {"User": "ContainerUser", "Env": ["MODE=slow"], "Cmd": ["cmd"]})
    new = _image(NEW, {"User": "ContainerAdministrator", "Env": ["MODE=fast", "X=1"], "Cmd": ["cmd"]})
    with images(tmp_path, old, new) as found:
        yield found


async def search(driven: Driven, text: str) -> None:
    await driven.press("slash", *({".": "full_stop", ":": "colon", " ": "space"}.get(key, key) for key in text))
    await driven.press("enter")


def test_the_first_screen_says_what_is_compared(pair: ExploredPair) -> None:
    async def steps(driven: Driven) -> None:
        screen = driven.text()
        assert "old:1 → new:1" in screen
        assert "changes from the first to the second" in screen
        assert any("+  2" in line and "COPY 5 files" in line for line in driven.lines())
        assert any("-  2" in line and "COPY 3 files" in line for line in driven.lines())
        assert "~" in screen

    drive(pair, steps, (160, 40))


def test_a_changed_text_is_told_line_by_line(pair: ExploredPair) -> None:
    async def steps(driven: Driven) -> None:
        await search(driven, "settings.ini")
        await driven.press("enter")
        screen = driven.text()
        assert "- port=80" in screen
        assert "+ port=8080" in screen
        assert "  [a]" in screen
        assert "~ size" in screen
        await driven.press("p")
        assert "- port=80" not in driven.text()
        assert "port=8080" in driven.text()

    drive(pair, steps, (200, 70))


def test_marks_filter_and_are_searched(pair: ExploredPair) -> None:
    async def steps(driven: Driven) -> None:
        await search(driven, "mark:changed settings")
        assert "1 item found" in driven.text()
        await driven.press("escape", "equals_sign")
        assert "without what is unchanged" in driven.text()
        await driven.press("j", "l")
        assert all(row.item.mark.value != " " or row.item.may_differ for row in driven.files.rows.rows)

    drive(pair, steps, (160, 40))


def test_what_differs_of_the_inventory_is_what_diff_finds(pair: ExploredPair) -> None:
    assert pair.a.image is not None
    assert pair.b.image is not None
    told = diff_images(pair.a.image, pair.b.image).inventory
    assert told is not None
    items = [item for item in walk(pair.inventory(lambda state: None)) if not item.children]
    signs = {Change.ADDED: "+", Change.CHANGED: "~", Change.REMOVED: "-"}
    assert [(item.mark.value, item.title.partition("  ")[0]) for item in items] == [
        (signs[change.change], change.name) for change in told.items
    ]

    async def steps(driven: Driven) -> None:
        await driven.press("3")
        assert "Python packages" in driven.text()
        await search(driven, "changed")
        assert "changed  1 → 2" in driven.text()
        assert "~ version 2" in driven.text()

    drive(pair, steps, (160, 40))


def _leaves(outline: list[OutlineItem], title: str) -> list[OutlineItem]:
    return [item for top in outline if top.title.startswith(title) for item in top.children]


def test_what_differs_of_the_documents_is_what_diff_finds(pair: ExploredPair) -> None:
    assert pair.a.image is not None
    assert pair.b.image is not None
    told = diff_images(pair.a.image, pair.b.image).documents
    assert told is not None
    outline = list(pair.documents())
    assert [item.note for item in _leaves(outline, "Configuration")] == [
        f"{' '.join(filter(None, (field.part.value, field.field, field.key)))}:" for field in told.fields
    ]
    assert len(_leaves(outline, "History after 1 ")) == len(told.history.changes)
    assert [item.mark.value for item in _leaves(outline, "Layers")] == [" ", "-", "+"]
    assert [item.title for item in outline][-2:] == ["old:1", "new:1"]

    async def steps(driven: Driven) -> None:
        await driven.press("4")
        await search(driven, "config user")
        assert "ContainerUser → ContainerAdministrator" in driven.text()
        assert "~ config User" in driven.text()
        await search(driven, "env x")
        assert "+ config Env X" in driven.text()

    drive(pair, steps, (200, 40))


def test_what_both_share_is_a_tab(pair: ExploredPair) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("5")
        screen = driven.text()
        assert "Layers in both" in screen
        assert "Layers of old:1 alone" in screen
        assert "The same contents under the same name" in screen
        await search(driven, "package.json")
        assert "C:\\app\\package.json" in driven.text()

    drive(pair, steps, (200, 40))


def test_equal_images_are_told_as_such(tmp_path: Path) -> None:
    image = _image(OLD, {"Cmd": ["cmd"]})
    with images(tmp_path, image, image) as pair:

        async def steps(driven: Driven) -> None:
            assert driven.messages == ["nothing differs: both have the same layers"]
            await driven.press("equals_sign")
            assert driven.files.count_lines() == 0
            for tab, text in (("3", "nothing differs"), ("4", "what their documents say is the same")):
                await driven.press(tab)
                assert text in driven.text()
            await driven.press("5")
            assert "alone" not in driven.text()

        drive(pair, steps, (200, 40))


def test_images_of_other_platforms_are_told_as_such(tmp_path: Path) -> None:
    with images(tmp_path, _image(OLD, {}), _image(NEW, {}, architecture="arm64")) as pair:
        assert "old:1 is for windows/amd64" in pair.remark
        assert "new:1 for windows/arm64" in pair.remark

        async def steps(driven: Driven) -> None:
            await driven.press("4")
            await search(driven, "architecture")
            assert "amd64 → arm64" in driven.text()

        drive(pair, steps, (160, 40))


def test_a_layer_has_no_documents_to_compare(tmp_path: Path) -> None:
    with images(tmp_path, _image(OLD, {}), _image(NEW, {})) as pair:
        mixed = ExploredPair(pair.a, ExploredChain("layer", chain(tmp_path / "made", base)))
        assert mixed.remark == "layer is a layer, not an image: documents are not compared"

        async def steps(driven: Driven) -> None:
            await driven.press("4")
            assert "no documents to compare" in driven.text()
            assert "old:1" in driven.text()

        drive(mixed, steps)


def test_what_layers_hold_is_compared(tmp_path: Path) -> None:
    pair = explored_pair(tmp_path, [sample.write_base], [], [sample.write_child])

    async def steps(driven: Driven) -> None:
        await driven.press("3")
        assert "cannot" not in driven.text()
        assert driven.app.pane.count_lines()

    drive(pair, steps)


def test_keys_of_the_registry_are_compared(tmp_path: Path) -> None:
    pair = explored_pair(tmp_path, [registry_base], [registry_update], [])

    async def steps(driven: Driven) -> None:
        await driven.press("2")
        await search(driven, "mark:changed Changed")
        assert "~ b REG_SZ  1" in driven.text()
        assert "was REG_SZ  2" in driven.text()

    drive(pair, steps, (200, 50))


def test_what_was_removed_is_exported_from_the_first_one(tmp_path: Path) -> None:
    pair = explored_pair(tmp_path, [base], [], [update])
    target = tmp_path / "out.txt"

    async def steps(driven: Driven) -> None:
        for name, data in (("removed.txt", b"3" * 40), ("changed.txt", b"6" * 15)):
            await search(driven, name)
            await driven.press("x")
            driven.app.screen.query_one("#answer").value = str(target)  # type: ignore[attr-defined]
            await driven.press("enter")
            assert target.read_bytes() == data
            target.unlink()
            await driven.press("escape")

    drive(pair, steps)


def test_a_damaged_hive_of_one_side_is_told(tmp_path: Path) -> None:
    pair = explored_pair(tmp_path, [], [sample.write_base], [sample.write_base, sample.write_child])
    hive = tmp_path / "first" / "layer1" / "Hives" / "Software_Base"
    data = bytearray(hive.read_bytes())
    data[4096 + 32 : 4096 + 64] = b"\xff" * 32
    hive.write_bytes(data)

    async def steps(driven: Driven) -> None:
        await driven.press("2", "j", "j", "j")
        assert "SOFTWARE cannot be read" in driven.text()
        assert "▸ SYSTEM" in driven.text()
        assert "first/layer1" in driven.text()
        await driven.press("3")
        assert driven.app.pane.count_lines()

    drive(pair, steps, (400, 40))


def test_hostile_names_are_harmless_on_both_sides(tmp_path: Path) -> None:
    names = ("[bold]x", "a\u202egpj.exe", "\ud800", "日本語" * 30, "x.", "CON")

    def files(data: bytes) -> Any:
        def build(writer: LayerWriter) -> None:
            put_directories(writer, "Files")
            for name in names:
                put_file(writer, f"Files/{name}", data + name.encode("utf-8", "surrogatepass"))

        return build

    pair = explored_pair(tmp_path, [], [files(b"\x1b[31mold ")], [files(b"[red]new ")])

    async def steps(driven: Driven) -> None:
        for _ in names:
            await driven.press("j", "y")
            text = driven.text()
            text.encode()
            assert "\x1b" not in text
            assert "\u202e" not in text
        await driven.press("5", "j", "l", "j", "G", "slash", "x", "enter", "escape")
        driven.text().encode()

    drive(pair, steps, (60, 20))


def test_a_third_image_is_too_many(tmp_path: Path) -> None:
    done = run("explore", "a", "b", "c", status=64)
    assert b"it shows one image, or compares two; 3 are given" in done.stderr


@pytest.mark.parametrize("place", [0, 1])
def test_one_that_is_not_there_is_named(tmp_path: Path, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTUAL_DRIVER", "none")
    arguments = [chain(tmp_path / "made", base)[0]] * 2
    arguments[place] = tmp_path / "missing"
    done = run("explore", *arguments, status=None)
    assert done.returncode
    assert b"missing" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_damaged_layer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTUAL_DRIVER", "none")
    layers = chain(tmp_path / "made", base, update)
    (layers[0] / "layer.db").write_bytes(b"SQLite format 3\0" + bytes(5000))
    done = run("explore", layers[1], layers[0], status=None)
    assert done.returncode
    assert str(layers[0]).encode() in done.stderr
    assert b"Traceback" not in done.stderr
