"""The base of an image from scratch: what Windows needs of it, read by programs that are not ours."""

from __future__ import annotations

import base64
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from dissect.regf import regf

from tests.formats.regf.support import regipy_hive
from tests.support import layer_tar, witness
from wclayer import LayerView, check_layer, create_scratch_layer, import_layer_from_tar, process_base_layer
from wclayer.build.scratch_base import write_scratch_base
from wclayer.win32.sddl import to_sddl
from wclayer.win32.security import SecurityDescriptor

CONFIG = "Files/Windows/System32/config"
HIVES = ("DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM")
TRUSTED_INSTALLER = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"


@pytest.fixture(scope="module")
def members() -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """The members of the layer's tar by their names, as Python's `tarfile` reads them."""
    with tarfile.open(fileobj=io.BytesIO(layer_tar(write_scratch_base))) as archive:
        return {
            member.name: (member, stream.read() if (stream := archive.extractfile(member)) else b"")
            for member in archive
        }


def test_the_layer_has_the_five_hives_and_the_directories_above_them(
    members: dict[str, tuple[tarfile.TarInfo, bytes]],
) -> None:
    assert list(members) == [
        "Files",
        "Files/Windows",
        "Files/Windows/System32",
        CONFIG,
        *(f"{CONFIG}/{name}" for name in HIVES),
    ]
    for name, (member, _) in members.items():
        assert member.isdir() == (not name.endswith(HIVES)), name
        assert member.pax_headers["MSWINDOWS.fileattr"] == ("16" if member.isdir() else "32"), name
        times = {member.pax_headers.get(key, "0") for key in ("mtime", "atime", "ctime", "LIBARCHIVE.creationtime")}
        assert (member.mtime, times) == (0, {"0"}), name


def test_users_change_neither_the_system_directories_nor_read_the_hives(
    members: dict[str, tuple[tarfile.TarInfo, bytes]],
) -> None:
    def sddl(name: str) -> str:
        raw = base64.b64decode(members[name][0].pax_headers["MSWINDOWS.rawsd"])
        return to_sddl(SecurityDescriptor.decode(raw))

    assert sddl("Files") == (
        "O:BAG:SYD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)(A;CI;LC;;;BU)(A;CIIO;DC;;;BU)"
        "(A;OICIIO;GA;;;CO)"
    )
    for name in ("Files/Windows", "Files/Windows/System32"):
        assert sddl(name).startswith(f"O:{TRUSTED_INSTALLER}G:{TRUSTED_INSTALLER}D:PAI(A;;FA;;;{TRUSTED_INSTALLER})")
        assert "(A;;0x1200a9;;;BU)" in sddl(name)
    assert sddl(CONFIG) == "O:SYG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
    for hive in HIVES:
        assert sddl(f"{CONFIG}/{hive}") == "O:BAG:SYD:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)"


@pytest.mark.parametrize("name", HIVES)
def test_others_read_each_hive(name: str, members: dict[str, tuple[tarfile.TarInfo, bytes]], tmp_path: Path) -> None:
    data = members[f"{CONFIG}/{name}"][1]
    hive = regf.RegistryHive(io.BytesIO(data))
    root = hive.root()
    assert (root.name, list(root.subkeys()), list(root.values())) == ("ROOT", [], [])
    assert hive.in_transaction is False
    path = tmp_path / name
    path.write_bytes(data)
    assert [key.path for key in regipy_hive(path).recurse_subkeys()] == ["\\"]
    assert regipy_hive(path).header.file_name.rstrip("\0") == name
    shell = subprocess.run(
        [witness("hivexsh"), str(path)], input="ls\nlsval\n", capture_output=True, text=True, check=True
    )
    assert (shell.stdout.strip(), shell.stderr) == ("", "")
    changes = f"load {path}\nadd New\ncd New\nsetval 1\nname\nstring:value\ncommit\n"
    subprocess.run([witness("hivexsh"), "-w"], input=changes, text=True, check=True, capture_output=True)
    assert regf.RegistryHive(io.BytesIO(path.read_bytes())).open("New").value("name").value == "value"


def test_it_is_a_base_layer_that_can_be_processed_and_changed(tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    import_layer_from_tar(io.BytesIO(layer_tar(write_scratch_base)), layer)
    process_base_layer(layer)
    assert {"layout", "blank-base.vhdx", "blank.vhdx"} <= {path.name for path in layer.iterdir()}
    assert not list(check_layer(layer))
    create_scratch_layer(tmp_path / "scratch", [layer])
    with LayerView.for_layer(tmp_path / "scratch") as view:
        view.write_bytes("C:\\app.exe", b"MZ")
        # What is new inherits from the root what it inherits on a machine: users run it and do not change it.
        security = view.security("C:\\app.exe")
        assert security is not None
        assert "(A;ID;0x1200a9;;;BU)" in to_sddl(SecurityDescriptor.decode(security))
