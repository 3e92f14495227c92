"""What programs of Go and Rust say they are made of."""

from __future__ import annotations

import json
import zlib

import pytest

from tests.formats.pe import craft_go
from tests.formats.pe.craft import FIRST_RVA, Pe, Section
from tests.packages import SHFMT, wheel_files
from wclayer.formats.pe.errors import PeError
from wclayer.formats.pe.go_build import GoBuild, GoModule, read_go_build
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.rust_audit import read_rust_audit
from wclayer.formats.pe.source import BufferSource

EXPECTED = (
    "example.org/app/cmd/app",
    GoModule("example.org/app", "v1.2.3", "h1:main="),
    (
        GoModule("example.org/one", "v0.1.0", "h1:one="),
        GoModule("example.org/two", "v0.2.0", "", GoModule("example.org/fork", "v0.2.1", "h1:fork=")),
        GoModule("example.org/local", "v0.3.0", "", GoModule("../local", "(devel)", "")),
    ),
)


def build_of(pe: Pe) -> GoBuild | None:
    return read_go_build(PeImage(BufferSource(pe.encode())))


@pytest.mark.parametrize(
    ("pe", "version"),
    [
        (craft_go.program(craft_go.inline()), "go1.22.1"),
        (craft_go.program(bytes(4096) + craft_go.inline()), "go1.22.1"),
        (craft_go.program(b"?" * 8 + craft_go.MAGIC + bytes(10) + craft_go.inline()), "go1.22.1"),
        (craft_go.program(craft_go.pointers()), "go1.13"),
        (craft_go.program(craft_go.pointers(size=4), plus=False), "go1.13"),
    ],
)
def test_the_modules_are_read_in_both_forms(pe: Pe, version: str) -> None:
    assert build_of(pe) == GoBuild(version, *EXPECTED)


@pytest.mark.parametrize("data", [craft_go.inline(listed=""), craft_go.pointers("go1.22.1", "")])
def test_a_program_without_modules_states_its_version_alone(data: bytes) -> None:
    assert build_of(craft_go.program(data)) == GoBuild("go1.22.1", "", None, ())


def test_other_programs_have_no_modules() -> None:
    far = craft_go.program(bytes(64 << 10) + craft_go.inline())
    read_only = Pe(sections=[Section(FIRST_RVA, craft_go.inline())])
    for pe in (Pe(), craft_go.program(b"data"), far, read_only, craft_go.program(b"?" * 8 + craft_go.inline())):
        assert build_of(pe) is None


@pytest.mark.parametrize(
    "data",
    [
        craft_go.MAGIC, craft_go.MAGIC + b"\0\2" + bytes(16) + b"\x80" * 20,
        craft_go.MAGIC + b"\0\2" + bytes(16) + craft_go.varint(1 << 60),
        craft_go.inline("g" * 256), craft_go.pointers(place=0x900000),
        craft_go.MAGIC + b"\x08\0" + b"\xff" * 16, craft_go.MAGIC + b"\x05\0" + b"\xff" * 16,
        craft_go.MAGIC + b"\x08\1" + b"\xff" * 16, craft_go.inline(listed="x" * (1 << 20) + "\n"),
    ],
)  # fmt: skip
def test_damaged_build_information_is_refused(data: bytes) -> None:
    with pytest.raises(PeError):
        build_of(craft_go.program(data))


def test_a_real_program_states_what_go_version_prints_of_it() -> None:
    (data,) = (data for name, data in wheel_files(SHFMT) if name.endswith(".exe"))
    build = read_go_build(PeImage(BufferSource(data)))
    assert build is not None
    assert (build.go_version, build.package) == ("go1.27.1", "mvdan.cc/sh/v3/cmd/shfmt")
    assert build.main == GoModule("mvdan.cc/sh/v3", "v3.14.1", "")
    assert [f"{module.path} {module.version}" for module in build.modules] == [
        "github.com/google/renameio/v2 v2.0.2", "github.com/rogpeppe/go-internal v1.15.0",
        "golang.org/x/sys v0.47.0", "golang.org/x/term v0.45.0", "mvdan.cc/editorconfig v0.3.0",
    ]  # fmt: skip


def rust(data: bytes) -> PeImage:
    return PeImage(BufferSource(Pe(sections=[Section(FIRST_RVA, data, b".dep-v0")]).encode()))


def test_the_list_of_crates_is_unpacked() -> None:
    listed = json.dumps({"packages": []}).encode()
    assert read_rust_audit(rust(zlib.compress(listed))) == listed
    assert read_rust_audit(PeImage(BufferSource(Pe().encode()))) is None


@pytest.mark.parametrize("data", [b"", b"no zlib", zlib.compress(b"x" * 1000)[:-8], zlib.compress(bytes(5 << 20))])
def test_a_damaged_list_of_crates_is_refused(data: bytes) -> None:
    with pytest.raises(PeError):
        read_rust_audit(rust(data))
