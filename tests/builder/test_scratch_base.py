"""The base of an image from scratch: what Windows needs of it, read by programs that are not ours."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from dissect.regf import regf

from tests.formats.regf.support import regipy_hive
from tests.images.registry import skopeo
from tests.support import layer_tar, run, witness
from wclayer import LayerView, check_layer, create_scratch_layer, import_layer_from_tar, process_base_layer
from wclayer.builder.scratch_base import scratch_base, write_scratch_base
from wclayer.errors import InvalidParameterError
from wclayer.images.platform import parse_platform
from wclayer.images.store import ImageStore
from wclayer.win32.sddl import to_sddl
from wclayer.win32.security import SecurityDescriptor

CONFIG = "Files/Windows/System32/config"
HIVES = ("DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM")
DIFF_ID = "036248003725435a31f6f90a8ed7e7e526c772cd5a8371c88078106f7f19f32f"
"""Of every layer of this kind: one that differs would be another layer in every registry."""
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


@pytest.mark.parametrize("processor", ["amd64", "arm64"])
def test_the_image_is_what_microsoft_s_is(processor: str, tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    with store.in_use():
        image = scratch_base(store, parse_platform(f"windows/{processor}"))
        store.tag("base:1", image.put(store))
    config = json.loads(image.config)
    assert (config["os"], config["architecture"]) == ("windows", processor)
    assert "os.version" not in config
    assert config["config"] == {"Cmd": [r"c:\windows\system32\cmd.exe"]}
    (step,) = config["history"]
    assert (config["created"], step["created"]) == ("1970-01-01T00:00:00Z",) * 2
    assert store.has_layer(image.chain_ids[0])
    assert list(store.check()) == []
    place = f"oci:{tmp_path}/layout:base"
    run("copy", "--store", store.path, "store:base:1", place)
    options = ("--override-os", "windows", "--override-arch", processor)
    seen = json.loads(skopeo(*options, "inspect", "--config", place).stdout)
    assert (seen["os"], seen["rootfs"]["diff_ids"]) == ("windows", config["rootfs"]["diff_ids"])
    skopeo(*options, "copy", place, f"oci:{tmp_path}/again:base")
    (layer,) = image.layers
    data = (tmp_path / "again/blobs/sha256" / layer.digest.removeprefix("sha256:")).read_bytes()
    assert gzip.decompress(data) == layer_tar(write_scratch_base)


def test_the_bytes_are_the_same_at_any_time_and_place(tmp_path: Path) -> None:
    digests = set()
    for name in ("one", "two"):
        store = ImageStore(tmp_path / name)
        with store.in_use():
            digests.add(scratch_base(store, parse_platform("amd64")).put(store).digest)
            # Made again, it is the layer that is there.
            digests.add(scratch_base(store, parse_platform("windows/x86_64")).put(store).digest)
    assert len(digests) == 1
    assert hashlib.sha256(layer_tar(write_scratch_base)).hexdigest() == DIFF_ID


@pytest.mark.parametrize("text", ["linux/amd64", "windows/386", "windows/arm"])
def test_there_is_no_base_for_other_platforms(text: str, tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    with pytest.raises(InvalidParameterError, match="windows/amd64 and windows/arm64"):
        scratch_base(store, parse_platform(text))


def test_a_dockerfile_and_append_begin_with_it(tmp_path: Path) -> None:
    store, context = tmp_path / "store", tmp_path / "context"
    context.mkdir()
    (context / "app.exe").write_bytes(b"MZ")
    (context / "Dockerfile").write_text('FROM scratch\nCOPY app.exe C:\\\\app.exe\nENTRYPOINT ["C:\\\\app.exe"]\n')
    run("build", "--store", store, "-t", "built:1", "--platform", "windows/arm64", context)
    run("append", "--store", store, "scratch", "--copy", rf"{context / 'app.exe'}=C:\app.exe", "-t", "appended:1")
    for name in ("built:1", "appended:1"):
        seen = json.loads(run("inspect", "--store", store, "--config", name).stdout)
        assert seen["rootfs"]["diff_ids"][0] == f"sha256:{DIFF_ID}"
        assert len(seen["rootfs"]["diff_ids"]) == 2
        assert "os.version" not in seen
        assert "SYSTEM" in run("ls", "--store", store, name, r"C:\Windows\System32\config").stdout.decode()
        assert run("cat", "--store", store, name, r"C:\app.exe").stdout == b"MZ"
    assert list(ImageStore(store).check()) == []
