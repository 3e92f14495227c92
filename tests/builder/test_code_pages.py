"""RUN prints and reads text in the code pages that the registry of the image states."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from tests.builder.images import BASE, store_with_base
from tests.images import samples
from tests.support import run
from wclayer.builder.machine.code_pages import CodePage, CodePageError
from wclayer.images.opening import open_image
from wclayer.images.store import ImageStore
from wclayer.view.layer_view import LayerView
from wclayer.view.registry import Registry

_CODE_PAGE = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Nls\CodePage"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    made, _, _ = store_with_base(tmp_path / "store", samples.nanoserver())
    monkeypatch.setenv("WCLAYER_STORE", str(made.path))
    (tmp_path / "context").mkdir()
    return made


def state(tmp_path: Path, **pages: str) -> None:
    """Makes an image `local:1` whose registry states code pages."""
    lines = [f'"{name}"="{number}"' for name, number in pages.items()]
    (tmp_path / "nls.reg").write_text(
        "\r\n".join(["Windows Registry Editor Version 5.00", f"[{_CODE_PAGE}]", *lines, ""]), newline=""
    )
    run("append", BASE, "--reg", tmp_path / "nls.reg", "-t", "local:1")


def build(tmp_path: Path, *lines: str, status: int = 0) -> str:
    """Builds a Dockerfile as `app:1`, and returns what the command says on its error stream."""
    text = "\n".join(["# escape=`", *lines, ""])
    (tmp_path / "context" / "Dockerfile").write_text(text, encoding="utf-8")
    return run("build", "-t", "app:1", tmp_path / "context", status=status).stderr.decode()


def read(store: ImageStore, path: str) -> bytes:
    with open_image("store:app:1", store) as image, LayerView(image.layers) as view:
        return view.read_bytes(path)


@pytest.mark.parametrize(
    ("number", "text", "data"),
    [
        ("850", "Übergröße ©", b"\x9abergr\x94\xe1e \xb8"),
        ("852", "Příliš", b"P\xfd\xa1li\xe7"),
        ("866", "Привет", b"\x8f\xe0\xa8\xa2\xa5\xe2"),
        ("932", "日本", b"\x93\xfa\x96\x7b"),
        ("65001", "日本 é", "日本 é".encode()),
    ],
)
def test_echo_writes_in_the_code_page_of_the_image(
    store: ImageStore, tmp_path: Path, number: str, text: str, data: bytes
) -> None:
    state(tmp_path, OEMCP=number)
    build(tmp_path, "FROM local:1", f"RUN echo {text}>C:\\out.txt")
    assert read(store, "C:\\out.txt") == data + b"\r\n"


def test_without_a_statement_the_code_page_is_437(store: ImageStore, tmp_path: Path) -> None:
    build(tmp_path, f"FROM {BASE}", "RUN echo é»>C:\\out.txt")
    assert read(store, "C:\\out.txt") == b"\x82\xaf\r\n"
    told = build(tmp_path, f"FROM {BASE}", "RUN echo č>C:\\out.txt", status=10)
    assert "Dockerfile:3: 'č': echo: the image has the code page 437, which lacks this character" in told


def test_a_character_that_the_code_page_lacks_is_refused_before_anything_is_built(
    store: ImageStore, tmp_path: Path
) -> None:
    state(tmp_path, OEMCP="852")
    told = build(tmp_path, "FROM local:1", "RUN mkdir C:\\made", "RUN echo ж", status=10)
    assert "Dockerfile:4: 'ж': echo: the image has the code page 852, which lacks this character" in told
    assert " => " not in told


@pytest.mark.parametrize("number", ["708", "37", "no number", "1" * 300])
def test_of_an_unknown_code_page_only_ascii_is_written(store: ImageStore, tmp_path: Path, number: str) -> None:
    state(tmp_path, OEMCP=number)
    told = build(tmp_path, "FROM local:1", "RUN echo é", status=10)
    assert f"the image has the code page '{number[:20]}', which is not known here" in told
    build(tmp_path, "FROM local:1", "RUN echo plain>C:\\out.txt")
    assert read(store, "C:\\out.txt") == b"plain\r\n"


def test_type_prints_utf_16_in_the_code_page_of_the_image(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "context" / "text.txt").write_bytes(codecs.BOM_UTF16_LE + "Příliš".encode("utf-16-le"))
    state(tmp_path, OEMCP="852")
    build(tmp_path, "FROM local:1", "COPY text.txt C:\\", "RUN type C:\\text.txt>C:\\out.txt")
    assert read(store, "C:\\out.txt") == b"P\xfd\xa1li\xe7"
    told = build(tmp_path, f"FROM {BASE}", "COPY text.txt C:\\", "RUN type C:\\text.txt>C:\\out.txt", status=10)
    assert "Dockerfile:4" in told
    assert "the image has the code page 437, which lacks this character" in told


def test_a_reg_file_without_a_mark_is_in_the_ansi_code_page(store: ImageStore, tmp_path: Path) -> None:
    lines = ["Windows Registry Editor Version 5.00", "[HKEY_LOCAL_MACHINE\\SOFTWARE\\App]", '"Name"="Příliš"', ""]
    (tmp_path / "context" / "app.reg").write_bytes("\r\n".join(lines).encode("cp1250"))
    state(tmp_path, ACP="1250")
    build(tmp_path, "FROM local:1", "COPY app.reg C:\\", "RUN reg import C:\\app.reg")
    with open_image("store:app:1", store) as image, Registry(image.path) as registry:
        key = registry.find("HKLM\\SOFTWARE\\App")
        assert key is not None
        assert [value.data.decode("utf-16-le") for value in key.values()] == ["Příliš\0"]
    (tmp_path / "context" / "app.reg").write_bytes("\r\n".join(lines).replace("ř", "\x81").encode("latin-1", "replace"))
    told = build(tmp_path, "FROM local:1", "COPY app.reg C:\\", "RUN reg import C:\\app.reg", status=10)
    assert "the image has the code page 1250, which lacks this byte; save the file as UTF-16" in told


def test_what_a_run_prints_is_shown_as_text(store: ImageStore, tmp_path: Path) -> None:
    state(tmp_path, OEMCP="866")
    assert "Привет" in build(tmp_path, "FROM local:1", "RUN echo Привет")


@pytest.mark.parametrize("number", [437, 737, 775, 850, 852, 855, 857, 858, 860, 861, 862, 863, 865, 866, 874, 1251])
def test_every_byte_of_a_code_page_comes_back(number: int) -> None:
    page = CodePage(f"{number:05}")
    for byte in range(256):
        try:
            text = page.decode(bytes([byte]))
        except CodePageError:
            continue
        assert page.encode(text) == bytes([byte])
