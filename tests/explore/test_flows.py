"""What a user does: looks into files and keys, searches, exports, reads the other tabs; and what goes wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.explore.chains import base, update
from tests.explore.made import Driven, drive, explored
from tests.images import samples
from tests.images.forms import write_docker_archive
from tests.support import put_directories, put_file
from wclayer import sample
from wclayer.errors import CorruptLayerError
from wclayer.explore.model.details import Fact
from wclayer.explore.model.explored import ExploredChain
from wclayer.explore.model.outline import OutlineItem
from wclayer.images.opening import open_image
from wclayer.images.store import ImageStore
from wclayer.model import LayerWriter


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> ExploredChain:
    return explored(tmp_path_factory.mktemp("image"), sample.write_base, sample.write_child)


async def search(driven: Driven, text: str) -> None:
    await driven.press("slash", *({".": "full_stop", ":": "colon", " ": "space"}.get(key, key) for key in text))
    await driven.press("enter")


def test_a_file_is_found_and_shown_in_its_place(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await search(driven, "win.ini")
        assert "1 item found" in driven.text()
        assert "C:\\Windows\\win.ini" in driven.text()
        await driven.press("enter")
        assert driven.files.item is not None
        assert driven.files.item.path == "Files/Windows/win.ini"
        assert "▾ Windows" in driven.text()
        assert "key=value" in driven.text()

    drive(image, steps, (120, 60))


def test_what_was_found_stays_until_escape(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("j")
        await search(driven, "component00")
        assert "2 items found" in driven.text()
        await driven.press("j", "escape")
        assert "found" not in driven.text()
        assert driven.files.item is not None
        assert driven.files.item.name == "app"

    drive(image, steps)


def test_a_search_for_what_does_not_exist_says_what_there_is(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await search(driven, "type:ex")
        assert "no such type" in driven.text()

    drive(image, steps, (200, 40))


def test_contents_are_shown_as_text_or_in_hexadecimal(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await search(driven, "win.ini")
        await driven.press("enter")
        assert "[fonts]" in driven.text()
        await driven.press("p", "p")
        assert "000000  3b 20 66 6f" in driven.text()

    drive(image, steps, (200, 60))


def test_a_layer_is_chosen_at_the_left(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("shift+tab", "down")
        assert "layer 1 of 2: base layer" in driven.text()
        assert "base image" in driven.text()
        assert "License.txt" in driven.text()
        assert "▸ app" not in driven.text()

    drive(image, steps)


def test_open_directories_stay_open_in_another_layer(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await search(driven, "win.ini")
        await driven.press("enter", "comma")
        assert "▾ Windows" in driven.text()
        assert "win.ini" in driven.text()

    drive(image, steps)


def test_the_mouse_chooses_and_opens(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await driven.click("#files", (20, 2))
        assert driven.files.item is not None
        assert driven.files.item.name == "app"
        await driven.click("#files", (20, 2))
        assert "app.exe" in driven.text()
        await driven.click("#tabs", (12, 0))
        assert "HKEY_LOCAL_MACHINE" in driven.text()
        await driven.click("#layers", (5, 2))
        assert "layer 1 of 2" in driven.text()

    drive(image, steps)


def test_values_of_a_key_are_shown(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("2")
        await search(driven, "CurrentVersion")
        await driven.press("enter")
        assert "ProductName" in driven.text()
        assert "~" in driven.text()

    drive(image, steps, (160, 50))


def test_the_inventory_is_a_tab(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("3")
        assert "Operating system" in driven.text()
        await driven.press("l", "j")
        assert "Sample Server  10.0.20348.2" in driven.text()
        assert "publisher Microsoft Corporation" in driven.text()
        await search(driven, "microsoft corporation")
        assert "1 item found" in driven.text()
        await driven.press("enter", "y")
        assert driven.app.clipboard == "HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion"

    drive(image, steps)


def test_the_documents_of_an_image_are_a_tab(tmp_path: Path) -> None:
    app = samples.image(
        "docker",
        [samples.layer(samples.sample_base_tar()), samples.layer(samples.sample_child_tar())],
        [samples.step("Apply image 10.0.20348.5499"), samples.step("ENV A=1", empty=True), samples.step("COPY app")],
        {"Cmd": ["cmd", "/c"], "Env": ["A=1"]},
    )
    archive = write_docker_archive(tmp_path / "app.tar", {"app:1": app})
    with open_image(str(archive), ImageStore(tmp_path / "store")) as opened:
        image = ExploredChain("app:1", opened.layers, opened)
        assert [layer.created_by for layer in image.layers] == ["Apply image 10.0.20348.5499", "COPY app"]
        assert [layer.is_base for layer in image.layers] == [True, False]

        async def steps(driven: Driven) -> None:
            assert "COPY app" in driven.text()
            await driven.press("4")
            assert "What a container runs" in driven.text()
            await search(driven, "env a=1")
            assert "no layer" in driven.text()
            await search(driven, "/c")
            assert "2 items found" in driven.text()

        drive(image, steps)


def test_waste_is_a_tab(tmp_path: Path) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("5", "j", "l")
        assert "Replaced or removed by later layers" in driven.text()
        await search(driven, "removed.txt")
        assert "C:\\b\\removed.txt" in driven.text()
        assert "40 bytes" in driven.text()

    drive(explored(tmp_path, base, update), steps)


def test_a_layer_that_is_no_image_has_no_documents(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("4")
        assert "this is no image" in driven.text()

    drive(image, steps)


def test_a_directory_is_exported_as_cp_does(tmp_path: Path) -> None:
    image = explored(tmp_path, sample.write_base, sample.write_child)
    target = tmp_path / "out"

    async def steps(driven: Driven) -> None:
        await driven.press("j", "x")
        answer = driven.app.screen.query_one("#answer")
        answer.value = str(target)  # type: ignore[attr-defined]
        await driven.press("enter")
        assert "exported 3 files" in driven.text()
        assert "Not copied: 2" in driven.text()
        assert "Zone.Identifier" in driven.text()

    drive(image, steps, (200, 50))
    assert (target / "settings.json").read_bytes() == b'{"answer": 42}\n'


def test_what_was_removed_is_exported_as_it_was(tmp_path: Path) -> None:
    image = explored(tmp_path, base, update)

    async def steps(driven: Driven) -> None:
        await search(driven, "removed.txt")
        await driven.press("x")
        driven.app.screen.query_one("#answer").value = str(tmp_path / "back.txt")  # type: ignore[attr-defined]
        await driven.press("enter")

    drive(image, steps)
    assert (tmp_path / "back.txt").read_bytes() == b"3" * 40


def test_an_export_that_fails_says_why(tmp_path: Path) -> None:
    image = explored(tmp_path, base)

    async def steps(driven: Driven) -> None:
        await driven.press("j", "x")
        driven.app.screen.query_one("#answer").value = str(tmp_path / "no" / "such" / "folder")  # type: ignore[attr-defined]
        await driven.press("enter")
        assert "folder" in driven.text()
        assert "No such file" in driven.text()

    drive(image, steps, (200, 40))


@pytest.mark.parametrize(("typed", "written"), [(None, "~DF1.tmp"), ("~x", "~x"), ("~/home.txt", "home/home.txt")])
def test_a_name_that_begins_with_a_tilde_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str | None, written: str
) -> None:
    image = explored(tmp_path, lambda writer: _put_one(writer, "~DF1.tmp"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))

    async def steps(driven: Driven) -> None:
        await driven.press("j", "x")
        if typed is not None:
            driven.app.screen.query_one("#answer").value = typed  # type: ignore[attr-defined]
        await driven.press("enter")
        assert "exported 1 file" in driven.text()

    drive(image, steps)
    assert (tmp_path / written).read_bytes() == b"x"


def _put_one(writer: LayerWriter, name: str) -> None:
    put_directories(writer, "Files")
    put_file(writer, f"Files/{name}", b"x")


def test_a_home_folder_that_is_not_known_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As for a user without an entry in the list of users.
    monkeypatch.setattr("os.path.expanduser", lambda path: path)

    async def steps(driven: Driven) -> None:
        await driven.press("j", "x")
        driven.app.screen.query_one("#answer").value = "~/x"  # type: ignore[attr-defined]
        await driven.press("enter")
        assert "home directory" in driven.text()

    drive(explored(tmp_path, base), steps)


HOSTILE = (
    "[bold red]x[/bold red]", "[/]", "[@click=app.quit]q[/]", "a\u202egpj.exe", "e\x1b[31m", "日本語" * 30,
    "\ud800", "[link=file:///etc/passwd]y", "👩‍👩‍👧", "\u200b", "`rm -rf`", "{braces}", "%s",
)  # fmt: skip


def hostile(writer: LayerWriter) -> None:
    put_directories(writer, "Files")
    for name in HOSTILE:
        if all(character >= " " and character not in '"*/:<>?\\|' for character in name):
            put_file(writer, f"Files/{name}", name.encode("utf-8", "surrogatepass"), Markup=b"[b]x[/b]")


def test_no_name_is_markup_or_obeyed(tmp_path: Path) -> None:
    image = explored(tmp_path, hostile)

    async def steps(driven: Driven) -> None:
        for _ in range(len(HOSTILE)):
            await driven.press("j")
            await driven.press("y")
            assert "\x1b" not in driven.text()
            assert "\u202e" not in driven.text()
        await driven.press("z", "z", "x")
        text = driven.text()
        text.encode()
        assert not driven.app._exit

    drive(image, steps)


def test_a_missing_file_is_an_error_in_the_pane(tmp_path: Path) -> None:
    image = explored(tmp_path, base)
    (tmp_path / "layer1" / "Files" / "a" / "changed.txt").unlink()

    async def steps(driven: Driven) -> None:
        await search(driven, "changed.txt")
        assert "cannot be opened" in driven.text()

    drive(image, steps, (200, 40))


def test_a_damaged_hive_is_an_error_that_names_it(tmp_path: Path) -> None:
    def damaged(writer: LayerWriter) -> None:
        sample.write_base(writer)

    image = explored(tmp_path, damaged)
    hive = tmp_path / "layer1" / "Hives" / "Software_Base"
    data = bytearray(hive.read_bytes())
    data[4096 + 32 : 4096 + 64] = b"\xff" * 32
    hive.write_bytes(data)

    async def steps(driven: Driven) -> None:
        await driven.press("2")
        await driven.press("j", "j", "j")
        assert "▸ SYSTEM" in driven.text()
        assert "SOFTWARE cannot be read" in driven.text()
        assert "cell 0x20" in driven.text()

    drive(image, steps, (200, 40))


def test_a_defect_is_told_and_does_not_end_the_explorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **options: object) -> object:
        raise IndexError("list index out of range")

    monkeypatch.setattr("wclayer.explore.widgets.files_pane.contents", broken)

    async def steps(driven: Driven) -> None:
        await driven.press("j")
        assert "a defect of wclayer (test_flows.py, line" in driven.text()
        assert "IndexError" in driven.text()
        await driven.press("3", "1", "k")
        assert "a defect of wclayer (test_flows.py, line" in driven.text()

    drive(explored(tmp_path, base), steps, (200, 40))


def test_a_defect_in_an_outline_is_told_and_does_not_end_the_explorer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Sequence[Fact]:
        raise IndexError("list index out of range")

    items = [OutlineItem("sound", tell=lambda: [Fact("known")]), OutlineItem("damaged", tell=broken)]
    image = explored(tmp_path, base)
    monkeypatch.setattr(image, "inventory", lambda progress: items)

    async def steps(driven: Driven) -> None:
        await driven.press("3", "j")
        assert "a defect of wclayer (test_flows.py, line" in driven.text()
        assert "IndexError" in driven.text()
        await driven.press("slash", *"known")
        assert "1 item found" in driven.text()

    drive(image, steps, (200, 40))


def test_what_is_typed_while_an_inventory_loads_is_searched_when_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = explored(tmp_path, base)
    is_typed = threading.Event()

    def slow(progress: object) -> list[OutlineItem]:
        assert is_typed.wait(60)
        return [OutlineItem("Programs", children=[OutlineItem("iis web server"), OutlineItem("another")])]

    monkeypatch.setattr(image, "inventory", slow)

    async def steps(driven: Driven) -> None:
        for key in ("3", "slash", "i", "i", "s"):
            await driven._pilot.press(key)
        is_typed.set()
        await driven.settled()
        assert "1 item found" in driven.text()
        assert "iis web server" in driven.text()
        await driven.press("backspace", "backspace", "backspace")
        assert "Programs" in driven.text()

    drive(image, steps)


def test_an_inventory_that_fails_says_so_also_during_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = explored(tmp_path, base)
    is_typed = threading.Event()

    def failing(progress: object) -> list[OutlineItem]:
        assert is_typed.wait(60)
        raise CorruptLayerError("layer1", "is damaged in some way")

    monkeypatch.setattr(image, "inventory", failing)

    async def steps(driven: Driven) -> None:
        for key in ("3", "slash", "i"):
            await driven._pilot.press(key)
        is_typed.set()
        await driven.settled()
        assert "is damaged in some way" in driven.text()

    drive(image, steps)


def test_many_keys_at_once_end_in_the_right_place(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        for key in ("comma", "full_stop") * 10:
            await driven._pilot.press(key)
        for key in ("j", "l", "v", "t", "k", "h") * 5:
            await driven._pilot.press(key)
            await asyncio.sleep(0)
        await driven.settled()
        assert driven.app.desk.view.layer == 2

    drive(image, steps)
