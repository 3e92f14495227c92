"""The layer of a workspace, as other programs read it: Python's tarfile, and dissect for the hives."""

from __future__ import annotations

import base64
import gzip
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from dissect.regf import regf

import wclayer
from tests.builder.images import store_with_base
from tests.support import contents
from wclayer.builder.workspace import NewLayer, Workspace
from wclayer.engines.portable.importing import import_layer_from_tar
from wclayer.formats.compression import Compression
from wclayer.formats.regf.values import ValueType, encode_string
from wclayer.images.store import ImageStore
from wclayer.win32.filetime import from_unix_ns, to_decimal_seconds
from wclayer.win32.sddl import from_sddl, to_sddl
from wclayer.win32.security import SecurityDescriptor

_MIB = 1 << 20
_TIME = from_unix_ns(1_500_000_000 * 10**9) + 1234567
_ADMINISTRATORS = "O:BAG:SYD:P(A;;FA;;;BA)"


def _fill(workspace: Workspace) -> None:
    view = workspace.view
    view.mkdir("C:/tool")
    view.write_bytes("C:/tool/a.txt", b"hello")
    view.link("C:/tool/b.txt", "C:/tool/a.txt")
    view.write_bytes("C:/tool/a.txt:zone", b"stream")
    view.symlink("C:/tool/to windows", r"..\Windows")
    view.mount_point("C:/tool/junction", r"C:\Windows")
    view.write_bytes("C:/tool/secret", b"x" * 3000)
    view.set_security("C:/tool/secret", from_sddl(_ADMINISTRATORS).encode())
    view.set_times("C:/tool/secret", creation=_TIME, write=_TIME + 1)
    view.write_bytes("C:/Windows/deep.txt", b"deep")
    view.unlink("C:/App/a.txt")
    view.rmtree("C:/Program Files/_core")
    view.mkdir("C:/Program Files/_core")
    with workspace.registry() as registry:
        registry.set_value(r"HKLM\SOFTWARE\Tool\Deep", "Name", int(ValueType.REG_SZ), encode_string("välue"))
        registry.create_key(r"HKLM\SYSTEM\Select")


def _made(path: Path, compression: Compression = Compression.GZIP) -> tuple[ImageStore, NewLayer, list[Path]]:
    store, image, _ = store_with_base(path)
    with Workspace(store, image.chain_ids) as workspace:
        _fill(workspace)
        layer = workspace.commit(compression)
        assert layer is not None
    return store, layer, [store.layer_path(chain_id) for chain_id in image.chain_ids][::-1]


def test_tarfile_reads_the_layer(tmp_path: Path) -> None:
    store, layer, parents = _made(tmp_path / "store")
    tar = gzip.decompress(store.blob_path(layer.descriptor.digest).read_bytes())
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        members = {member.name: member for member in opened}
        texts = {name: opened.extractfile(name) for name in ("Files/tool/a.txt", "Files/tool/a.txt:zone")}
        read = {name: file.read() for name, file in texts.items() if file is not None}
    names = list(members)
    assert read == {"Files/tool/a.txt": b"hello", "Files/tool/a.txt:zone": b"stream"}
    assert sorted(names) == sorted([
        "Files", "Files/App", "Files/App/.wh.a.txt", "Files/Program Files", "Files/Program Files/.wh._core",
        "Files/Program Files/_core", "Files/Windows", "Files/Windows/deep.txt", "Files/tool", "Files/tool/a.txt",
        "Files/tool/a.txt:zone", "Files/tool/b.txt", "Files/tool/junction", "Files/tool/secret",
        "Files/tool/to windows", "Hives", "Hives/Software_Delta", "Hives/System_Delta",
    ])  # fmt: skip
    for name in names:
        if "/.wh." not in name and "/" in name:
            assert names.index(name.rpartition("/")[0]) < names.index(name), name
    for name, member in members.items():
        if "/.wh." not in name and ":" not in name:
            assert member.pax_headers["MSWINDOWS.fileattr"].isdigit(), name
    link = members["Files/tool/b.txt"]
    assert (link.islnk(), link.linkname) == (True, "Files/tool/a.txt")
    assert members["Files/tool/to windows"].issym()
    assert members["Files/tool/to windows"].linkname.replace("\\", "/") == "../Windows"
    assert "MSWINDOWS.mountpoint" in members["Files/tool/junction"].pax_headers
    secret = members["Files/tool/secret"].pax_headers
    assert to_sddl(SecurityDescriptor.decode(base64.b64decode(secret["MSWINDOWS.rawsd"]))) == _ADMINISTRATORS
    assert secret["LIBARCHIVE.creationtime"] == to_decimal_seconds(_TIME)
    assert secret["mtime"] == to_decimal_seconds(_TIME + 1)
    # What was made inherits, as on Windows; what was there keeps its descriptor.
    above = SecurityDescriptor.decode(base64.b64decode(members["Files/tool"].pax_headers["MSWINDOWS.rawsd"]))
    made = SecurityDescriptor.decode(base64.b64decode(members["Files/tool/a.txt"].pax_headers["MSWINDOWS.rawsd"]))
    assert above.dacl is not None
    assert made.dacl is not None
    assert {ace.sid for ace in made.dacl.aces} <= {ace.sid for ace in above.dacl.aces}
    with wclayer.LayerView(parents) as view:
        assert view.security("C:/Windows") == base64.b64decode(members["Files/Windows"].pax_headers["MSWINDOWS.rawsd"])


def test_dissect_reads_the_delta_hives(tmp_path: Path) -> None:
    store, layer, _ = _made(tmp_path / "store", Compression.NONE)
    with tarfile.open(store.blob_path(layer.descriptor.digest)) as tar:
        files = {name: tar.extractfile(f"Hives/{name}_Delta") for name in ("Software", "System")}
        hives = {name: regf.RegistryHive(io.BytesIO(file.read())) for name, file in files.items() if file is not None}
    key = hives["Software"].open("Tool\\Deep")
    assert key.value("Name").value == "välue"
    assert [below.name for below in hives["System"].root().subkeys()] == ["Select"]


@pytest.mark.parametrize("compression", Compression)
def test_the_layer_directory_is_what_an_import_makes(tmp_path: Path, compression: Compression) -> None:
    store, layer, parents = _made(tmp_path / "store", compression)
    with store.open_blob(layer.descriptor) as stream:
        result = import_layer_from_tar(stream, tmp_path / "imported", parents)
    assert (result.diff_id, result.digest) == (layer.diff_id, layer.descriptor.digest)
    place = store.layer_path(layer.chain_id)
    both = [contents(wclayer.DirectoryLayerReader(path)) for path in (place, tmp_path / "imported")]
    assert both[0] == both[1]
    assert [str(problem) for problem in wclayer.check_layer(place)] == []
    assert (place / "Hives/Software_Base").read_bytes() == (tmp_path / "imported/Hives/Software_Base").read_bytes()


_LARGE = """
import sys
from tests.memory import peak_memory
from wclayer.builder.workspace import Workspace
from wclayer.images.store import ImageStore
store = ImageStore(sys.argv[1])
with Workspace(store, store.images()[0].chain_ids) as workspace:
    with workspace.view.open("C:/large.bin", "wb") as file:
        for number in range(400):
            file.write(number.to_bytes(8, "little") * (1 << 17))
    assert workspace.commit() is not None
print(peak_memory())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is asked of Linux")
def test_memory_does_not_grow_with_a_file(tmp_path: Path) -> None:
    store, _, _ = store_with_base(tmp_path / "store")
    command = [sys.executable, "-c", _LARGE, str(store.path)]
    done = subprocess.run(command, check=True, capture_output=True)
    assert int(done.stdout) < 150 * _MIB
