"""The functions of the hcs engine: every export gets the right arguments, and every failure becomes an error."""

from __future__ import annotations

import gc
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

import wclayer
from tests.windows.guest.conftest import service
from tests.windows.guest.fake import Fake
from wclayer.engines.hcs import vmcompute, volume
from wclayer.errors import (
    AccessDeniedError,
    InvalidDataError,
    InvalidParameterError,
    LayerBusyError,
    LayerError,
    NotSupportedError,
    PathNotFoundError,
)

LAYER, BASE, CHILD = "C:\\layers\\run", "C:\\layers\\base", "C:\\layers\\app"
VM = "1e3a4c5b-0000-4000-8000-000000000001"


def _layers(*paths: str) -> str:
    """The array of descriptors as the stand-in writes it down."""
    described = [f"|{{{str(wclayer.layer_id(path)).upper()}}}|path={path}" for path in paths]
    return f"|layers={len(paths)}" + "".join(described)


CALLS: list[tuple[str, Callable[[], object], str]] = [
    ("ActivateLayer", lambda: wclayer.activate_layer(LAYER), f"|id={LAYER}"),
    ("CreateLayer", lambda: wclayer.create_layer(LAYER, BASE), f"|id={LAYER}|parent={BASE}"),
    ("CreateSandboxLayer", lambda: wclayer.create_scratch_layer(LAYER, [CHILD, BASE]), f"|id={LAYER}LAYERS"),
    ("DeactivateLayer", lambda: wclayer.deactivate_layer(LAYER), f"|id={LAYER}"),
    ("DestroyLayer", lambda: wclayer.destroy_layer(LAYER), f"|id={LAYER}"),
    ("ExportLayer", lambda: wclayer.export_layer(LAYER, "C:\\out", [CHILD, BASE]), f"|id={LAYER}|folder=C:\\outLAYERS"),
    ("GetBaseImages", lambda: wclayer.get_shared_base_images(), ""),
    ("GrantVmAccess", lambda: wclayer.grant_vm_access(VM, "C:\\x.vhdx"), f"|vm={VM}|file=C:\\x.vhdx"),
    ("ImportLayer", lambda: wclayer.import_layer(LAYER, "C:\\in", [CHILD, BASE]), f"|id={LAYER}|folder=C:\\inLAYERS"),
    ("LayerExists", lambda: wclayer.layer_exists(LAYER), f"|id={LAYER}"),
    ("NameToGuid", lambda: wclayer.name_to_guid("name ü 𝄞"), "|name=name ü 𝄞"),
    ("PrepareLayer", lambda: wclayer.prepare_layer(LAYER, [CHILD, BASE]), f"|id={LAYER}LAYERS"),
    ("ProcessBaseImage", lambda: wclayer.process_base_layer(BASE), f"|path={BASE}"),
    ("ProcessUtilityImage", lambda: wclayer.process_utility_vm_image(BASE + "\\UtilityVM"), f"|path={BASE}\\UtilityVM"),
    ("UnprepareLayer", lambda: wclayer.unprepare_layer(LAYER), f"|id={LAYER}"),
]
NAMES = [name for name, _, _ in CALLS]


def test_the_calls_here_are_all_there_are() -> None:
    assert sorted([*NAMES, "ExpandSandboxSize", "GetLayerMountPath"]) == sorted(vmcompute.EXPORTS)


@pytest.mark.parametrize(("name", "call", "arguments"), CALLS, ids=NAMES)
def test_an_export_gets_its_arguments(fake: Fake, name: str, call: Callable[[], object], arguments: str) -> None:
    call()
    (line,) = [line for line in fake.log if line.startswith(name)]
    assert line == name + arguments.replace("LAYERS", _layers(CHILD, BASE))


@pytest.mark.parametrize(("name", "call", "arguments"), CALLS, ids=NAMES)
@pytest.mark.parametrize(
    ("result", "code", "kind"),
    [
        (0x80070002, 2, PathNotFoundError),
        (0x80070003, 3, PathNotFoundError),
        (0x80070005, 5, AccessDeniedError),
        (0x80070020, 32, LayerBusyError),
        (0x80070057, 87, InvalidParameterError),
        (0xC0370106, 0xC0370106, LayerError),
        (0x80004005, 0x80004005, LayerError),
    ],
)
def test_a_failure_becomes_the_error_with_its_code(
    fake: Fake, name: str, call: Callable[[], object], arguments: str, result: int, code: int, kind: type[LayerError]
) -> None:
    fake.answer(name, result)
    with pytest.raises(kind) as failed:
        call()
    assert failed.value.code == code
    assert failed.value.hresult == result
    # It names the export, and has Windows' text for the code.
    assert f"{name}: " in failed.value.detail
    assert f"({result:#010x})" in failed.value.detail
    if code == 5:
        assert "denied" in failed.value.detail.lower()


@pytest.mark.parametrize(("name", "call", "arguments"), CALLS, ids=NAMES)
def test_arguments_outlive_the_call(fake: Fake, name: str, call: Callable[[], object], arguments: str) -> None:
    """Other threads make and collect garbage while Windows looks at the arguments, twice."""
    fake.delay(30)
    stop = threading.Event()

    def litter() -> None:
        while not stop.is_set():
            garbage = [os.urandom(64).hex() for _ in range(500)]
            garbage.append("C:\\layers\\" + garbage[0])
            del garbage
            gc.collect()

    threads = [threading.Thread(target=litter) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        call()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert "changed during the call" not in "".join(fake.log)


def test_the_interpreter_runs_on_during_a_call(fake: Fake) -> None:
    fake.delay(100)
    thread = threading.Thread(target=lambda: wclayer.activate_layer(LAYER))
    thread.start()
    steps = 0
    while thread.is_alive():
        steps += 1
        time.sleep(0.005)
    assert steps > 3


def test_layers_are_prepared_one_at_a_time(fake: Fake) -> None:
    fake.delay(20)
    threads = [
        threading.Thread(target=lambda n=n: wclayer.prepare_layer(f"{LAYER}{n}", [BASE]))  # type: ignore[misc]
        for n in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fake.calls == ["PrepareLayer"] * 5
    assert fake.dll.FakeMostInsidePrepare() == 1


def test_guids_are_read_as_they_lie_in_memory(fake: Fake) -> None:
    name, hashes = "base", [0xCBF29CE484222325, 0x100000001B3]
    for unit in name.encode("utf-16-le")[::2]:
        hashes = [((value ^ unit) * 0x100000001B3) & (1 << 64) - 1 for value in hashes]
    wanted = UUID(bytes_le=b"".join(value.to_bytes(8, "little") for value in hashes))
    assert wclayer.name_to_guid(name) == wanted
    assert wclayer.layer_id("D:\\anywhere\\base\\") == wclayer.layer_id("base") == wanted


def test_the_base_layer_has_no_parent(fake: Fake) -> None:
    wclayer.create_layer(LAYER)
    assert fake.log == [f"CreateLayer|id={LAYER}|parent="]


def test_an_empty_chain_is_an_empty_array(fake: Fake) -> None:
    wclayer.export_layer(LAYER, "C:\\out")
    assert fake.log == [f"ExportLayer|id={LAYER}|folder=C:\\out|layers=0"]


def test_the_mount_path_is_asked_for_twice(fake: Fake) -> None:
    assert wclayer.get_layer_mount_path(LAYER) == "\\\\?\\Volume{12345678-0000-0000-0000-000000000000}\\"
    assert fake.log == [
        f"GetLayerMountPath|id={LAYER}|room=0|no buffer",
        f"GetLayerMountPath|id={LAYER}|room=50|buffer",
    ]
    fake.texts(mount="")
    assert wclayer.get_layer_mount_path(LAYER) == ""
    fake.texts(mount="C:\\" + "ü" * 5000)
    assert wclayer.get_layer_mount_path(LAYER) == "C:\\" + "ü" * 5000
    for skip in (0, 1):
        fake.reset()
        fake.answer("GetLayerMountPath", 0x80070015, skip=skip)
        with pytest.raises(wclayer.NotReadyError):
            wclayer.get_layer_mount_path(LAYER)


def test_the_text_of_the_images_is_freed(fake: Fake) -> None:
    for number in range(50):
        record = {
            "Name": f"ü{number}", "Version": "1", "Path": "C:\\b", "Size": 5, "CreatedTime": "2024-01-01T00:00:00Z",
        }  # fmt: skip
        fake.texts(images=json.dumps({"Images": [record]}, ensure_ascii=False))
        assert [image.to_record() for image in wclayer.get_shared_base_images()] == [record]
    assert fake.dll.FakeStringsGiven() == 50
    assert fake.dll.FakeStringsFreed() >= 50
    for wrong in ("", "{}", "[]", "5", '{"Images":[{"Name":1}]}'):
        fake.texts(images=wrong)
        with pytest.raises(InvalidDataError):
            wclayer.get_shared_base_images()
    assert wclayer.get_shared_base_images("C:\\store") == []
    assert fake.dll.FakeStringsGiven() == fake.dll.FakeStringsFreed()


def test_existence_is_what_windows_says(fake: Fake, tmp_path: Path) -> None:
    assert wclayer.layer_exists(tmp_path) is True
    assert wclayer.layer_exists(tmp_path / "none") is False


def test_paths_are_made_absolute_and_long_ones_long(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wclayer.activate_layer("relative\\..\\layer/x")
    assert fake.log == [f"ActivateLayer|id={tmp_path}\\layer\\x"]
    fake.reset()
    long = "C:\\" + "\\".join("n" * 100 for _ in range(5))
    wclayer.activate_layer(long)
    assert fake.log == ["ActivateLayer|id=\\\\?\\" + long]


@pytest.mark.parametrize("path", ["C:\\a\0b", ""])
def test_a_path_that_windows_would_cut_off_is_refused(fake: Fake, path: str) -> None:
    for call in (wclayer.activate_layer, wclayer.destroy_layer, wclayer.get_layer_mount_path, wclayer.layer_exists):
        with pytest.raises(InvalidParameterError):
            call(path)
    with pytest.raises(InvalidParameterError):
        wclayer.create_scratch_layer(LAYER, [path or "C:\\x\0"])
    assert fake.calls == []


def test_an_unpaired_surrogate_arrives_as_it_is(fake: Fake) -> None:
    wclayer.activate_layer("C:\\x\ud800y")
    assert fake.log == ["ActivateLayer|id=C:\\x\ud800y"]


def test_what_windows_cannot_do_is_said(fake: Fake) -> None:
    with pytest.raises(InvalidParameterError, match="own volume"):
        wclayer.prepare_layer(LAYER, [BASE], target="C:\\mnt")
    with pytest.raises(InvalidParameterError, match="nothing to prefer"):
        wclayer.activate_layer(LAYER, prefer="disk")
    with pytest.raises(InvalidParameterError, match="in its disk alone"):
        wclayer.deactivate_layer(LAYER, write_sandbox=False)
    with pytest.raises(InvalidParameterError, match="not a size"):
        wclayer.expand_scratch_size(LAYER, 1 << 63)
    assert fake.log == []


def test_an_old_build_says_what_it_lacks(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vmcompute, "_library", None)
    monkeypatch.setattr(vmcompute, "LIBRARY", "vmcompute_old.dll")
    with pytest.raises(NotSupportedError, match=r"not supported on this build of Windows: .* no export GetBaseImages"):
        wclayer.get_shared_base_images()
    with pytest.raises(NotSupportedError, match="no export ExportLayerEnd"):
        wclayer.FilterLayerReader(LAYER, [BASE])
    with pytest.raises(NotSupportedError, match="no export ImportLayerEnd"):
        wclayer.FilterLayerWriter(LAYER, [BASE])
    wclayer.activate_layer(LAYER)


def test_without_the_library_everything_says_so(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vmcompute, "_library", None)
    monkeypatch.setattr(vmcompute, "LIBRARY", "vmcompute_none.dll")
    for _, call, _ in CALLS:
        with pytest.raises(NotSupportedError, match=r"vmcompute_none\.dll cannot be loaded"):
            call()
    wclayer.use_engine(None)
    assert wclayer.engine_name() == "portable"


def test_the_engine_that_fits_is_taken(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    wclayer.use_engine(None)
    assert wclayer.engine_name() == "hcs"
    wclayer.use_engine("portable")
    assert wclayer.engine_name() == "portable"


# The volume of a scratch.


@pytest.fixture
def scratch(fake: Fake, tmp_path: Path) -> Path:
    fake.hook(service)
    place = tmp_path / "run"
    wclayer.create_scratch_layer(place, [BASE])
    fake.reset()
    fake.texts(mount=f"{tmp_path}\\volume\\")
    (tmp_path / "volume").write_bytes(b"")
    return place


def test_disk_and_volume_are_expanded(fake: Fake, scratch: Path) -> None:
    fake.files.FakeVolume(40 << 30, 20 << 30, 0)
    wclayer.expand_scratch_size(scratch, 40 << 30)
    assert fake.log[0] == f"ExpandSandboxSize|id={scratch}|size={40 << 30}"
    assert fake.disk.FakeOpened() == f"{scratch}\\sandbox.vhdx"
    assert fake.disk.FakeAttached() == 1
    assert fake.files.FakeExtended() == (40 << 30) // 512


def test_a_volume_that_is_large_enough_is_left_alone(fake: Fake, scratch: Path) -> None:
    # NTFS keeps one cluster.
    fake.files.FakeVolume(40 << 30, (40 << 30) - 4096, 0)
    wclayer.expand_scratch_size(scratch, 40 << 30)
    assert fake.files.FakeExtended() == 0
    # The disk is not attached any more: its handle is closed.
    os.rename(scratch / "sandbox.vhdx", scratch / "other.vhdx")


@pytest.mark.parametrize("step", ["ExpandSandboxSize", "open", "attach", "control"])
def test_a_failure_of_the_volume_is_an_error(fake: Fake, scratch: Path, step: str) -> None:
    fake.files.FakeVolume(40 << 30, 20 << 30, 5 if step == "control" else 0)
    fake.disk.FakeDisk(5 if step == "open" else 0, 5 if step == "attach" else 0)
    if step == "ExpandSandboxSize":
        fake.answer(step, 0x80070005)
    with pytest.raises(AccessDeniedError):
        wclayer.expand_scratch_size(scratch, 40 << 30)
    os.rename(scratch / "sandbox.vhdx", scratch / "other.vhdx")


def test_without_virtdisk_the_volume_cannot_be_expanded(
    fake: Fake, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume, "_LIBRARY", "virtdisk_none.dll")
    with pytest.raises(NotSupportedError, match=r"virtdisk_none\.dll has no export OpenVirtualDisk"):
        wclayer.expand_scratch_size(scratch, 40 << 30)


def test_a_scratch_without_a_disk_cannot_be_expanded(fake: Fake, scratch: Path) -> None:
    (scratch / "sandbox.vhdx").unlink()
    with pytest.raises(PathNotFoundError, match=r"sandbox\.vhdx"):
        wclayer.expand_scratch_size(scratch, 40 << 30)
