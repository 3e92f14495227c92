"""The self-test for real Windows hosts: over the stand-ins it runs to its end, tells what fails, and cleans up."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from tests.support import layer_tar
from tests.windows.guest import conftest
from tests.windows.guest.fake import Fake
from tests.windows.guest.service import Service
from wclayer import sample
from wclayer.engines.hcs import selftest
from wclayer.engines.portable import engine as portable


class Host(Service):
    """A host that does nearly everything that the self-test looks for."""

    def __init__(self, fake: Fake, volume: Path) -> None:
        super().__init__()
        self._fake = fake
        self.volume = volume

    def show(self, volume: Path) -> None:
        self._fake.texts(images='{"Images":[]}', mount=f"{volume}\\")

    def __call__(self, name: str, layer: str, other: str, data: bytes) -> int:
        if name == "ExpandSandboxSize":
            self.show(self.volume)
        if name == "PrepareLayer":
            self.show(self.volume.with_name("mounted"))
        if name == "ProcessBaseImage":
            (Path(layer) / "Hives").mkdir()
            for made in ("blank-base.vhdx", "blank.vhdx", "layout", "Hives/System_Base"):
                (Path(layer) / made).write_bytes(b"")
        return super().__call__(name, layer, other, data) or conftest.service(name, layer, other, data)


def test_it_runs_to_its_end(fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A volume is opened as a file, and later shows folders: here, these are two places.
    host = Host(fake, tmp_path / "volume")
    host.volume.write_bytes(b"")
    (tmp_path / "mounted" / "Windows").mkdir(parents=True)
    above = tmp_path / "above"
    portable.import_layer_from_tar(io.BytesIO(layer_tar(sample.write_base)), above)
    host.exported = tmp_path / "child"
    portable.import_layer_from_tar(io.BytesIO(layer_tar(sample.write_child)), host.exported, [above])
    fake.hook(host)
    (tmp_path / "work").mkdir()
    fake.files.FakeVolume(30 << 30, 20 << 30, 0)
    status = selftest.main(["--folder", str(tmp_path / "work")])
    shown = capsys.readouterr().out
    lines = {line.split()[1]: line for line in shown.splitlines() if line.startswith(("ok  ", "FAIL"))}
    assert len(lines) == len(selftest.SelfTest(tmp_path).steps())
    for step in ("exports", "guids", "images", "import_base", "export_base", "import_child", "make_scratch"):
        assert lines[step].startswith("ok  "), lines[step]
    for step in ("expand_scratch", "grant", "write_scratch", "unmount_scratch", "destroy"):
        assert lines[step].startswith("ok  "), lines[step]
    # The stand-ins keep neither creation times of exported files nor what a scratch was given.
    for step in ("export_child", "export_scratch"):
        assert lines[step].startswith("FAIL"), lines[step]
    assert status == 1
    assert os.listdir(tmp_path / "work") == []


def test_it_tells_every_failure_and_leaves_nothing(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("NameToGuid", "ProcessBaseImage", "CreateSandboxLayer", "ExportLayerBegin", "GrantVmAccess"):
        fake.answer(name, 0x80070005)
    assert selftest.main(["--folder", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "ok    exports" in shown
    assert "FAIL  import_base" in shown
    assert "Traceback" not in shown
    assert os.listdir(tmp_path) == []
