"""Changing the registry of layers: what is written is what Windows would write, and what is read back."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

import wclayer
from tests.formats.regf.boot_store import boot_store
from tests.layers.hive_layers import CONFIG, base_layer, child_layer
from tests.support import layer_tar
from wclayer import sample
from wclayer.errors import InvalidDataError, InvalidParameterError, LayerBusyError, PathNotFoundError
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.model import Key, KeyMetadata, TreeKey, Value
from wclayer.formats.regf.structs import KeyFlags, LayerSemantics
from wclayer.formats.regf.text import parse_reg
from wclayer.formats.regf.values import encode_string
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.scratch import MOUNT, ScratchDirectory
from wclayer.view.diff import Change
from wclayer.view.registry import registry_path
from wclayer.win32.sddl import to_sddl
from wclayer.win32.security import SecurityDescriptor


def _tree(*paths: str) -> TreeKey:
    root = empty_root(10)
    for path in paths:
        key = root
        for name in path.split("\\"):
            child = key.subkey(name)
            if not isinstance(child, TreeKey):
                child = TreeKey(name, KeyMetadata(10, root.metadata.security, "cls".encode("utf-16-le")))
                child.set(Value("v", 1, encode_string(name)))
                key.add(child)
            key = child
    return root


def _system() -> TreeKey:
    root = _tree(r"ControlSet001\Services\A\Sub", r"ControlSet001\Services\B", r"ControlSet002\Services", "Select")
    select = root.subkey("Select")
    assert isinstance(select, TreeKey)
    select.set(Value("Current", 4, b"\x01\0\0\0"))
    link = TreeKey("Link", KeyMetadata(10, root.metadata.security, flags=int(KeyFlags.SYM_LINK)))
    target = r"\Registry\Machine\SOFTWARE\Target"
    link.set(Value("SymbolicLinkValue", 6, target.encode("utf-16-le")))
    root.add(link)
    loop = TreeKey("Loop", KeyMetadata(10, root.metadata.security, flags=int(KeyFlags.SYM_LINK)))
    loop.set(Value("SymbolicLinkValue", 6, r"\REGISTRY\MACHINE\SYSTEM\Loop".encode("utf-16-le")))
    root.add(loop)
    return root


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return base_layer(tmp_path, SYSTEM=write_hive(_system()), SOFTWARE=write_hive(_tree(r"Target\Below")))


@pytest.fixture
def child(tmp_path: Path, base: Path) -> Path:
    return child_layer(tmp_path, "child", base)


def _values(layer: Path, key: str) -> dict[str, bytes] | None:
    with wclayer.Registry(layer) as registry:
        found = registry.find(key)
        return None if found is None else {value.name: value.data for value in found.values()}


def _delta(layer: Path, path: str, stem: str = "System") -> Key:
    hive = Hive((layer / "Hives" / f"{stem}_Delta").read_bytes())
    assert hive.has_layered_keys
    found = hive.find(path)
    assert found is not None
    return found


SERVICES = r"HKLM\SYSTEM\CurrentControlSet\Services"


def test_paths() -> None:
    for text in ("HKLM\\Software\\A", "hkey_local_machine\\Software\\A", "\\HKLM\\Software\\\\A\\"):
        assert registry_path(text).parts == ("HKEY_LOCAL_MACHINE", "Software", "A")
    hive = registry_path("HKLM\\software").hive
    assert hive is not None
    assert hive.stem == "Software"
    assert registry_path("HKCR\\.txt").parts == ("HKEY_LOCAL_MACHINE", "SOFTWARE", "Classes", ".txt")
    for user in (".DEFAULT", ".default", "S-1-5-18"):
        hive = registry_path(f"HKU\\{user}\\Console").hive
        assert hive is not None
        assert hive.stem == "DefaultUser"
    for text in ("HKCU\\Console", "", "SOFTWARE\\A", "HKXX"):
        with pytest.raises(InvalidParameterError):
            registry_path(text)


def test_the_current_control_set_and_links_are_followed(base: Path) -> None:
    assert _values(base, rf"{SERVICES}\a") == {"v": encode_string("A")}
    assert _values(base, r"HKLM\SYSTEM\ControlSet001\Services\A") == _values(base, rf"{SERVICES}\A")
    assert _values(base, r"HKLM\SYSTEM\Link\Below") == {"v": encode_string("Below")}
    assert _values(base, r"HKLM\SYSTEM\Nowhere") is None
    with pytest.raises(InvalidDataError, match="links"):
        _values(base, r"HKLM\SYSTEM\Loop\x")


def test_the_roots_list_the_hives(base: Path) -> None:
    with wclayer.Registry(base) as registry:
        assert [key.name for key in registry.key("HKLM").subkeys()] == ["SOFTWARE", "SYSTEM"]
        assert registry.key("HKU").subkeys() == []
        with pytest.raises(PathNotFoundError, match="no such key"):
            registry.key(r"HKU\.DEFAULT")


def test_a_value_is_set_in_the_delta(child: Path, base: Path) -> None:
    with wclayer.RegistryEditor(child) as editor:
        editor.set_value(rf"{SERVICES}\A", "Start", 4, b"\x02\0\0\0")
    assert _values(child, rf"{SERVICES}\A") == {"v": encode_string("A"), "Start": b"\x02\0\0\0"}
    assert _values(base, rf"{SERVICES}\A") == {"v": encode_string("A")}
    key = _delta(child, r"ControlSet001\Services\A")
    assert key.values() == [Value("Start", 4, b"\x02\0\0\0")]
    for path in ("", "ControlSet001", r"ControlSet001\Services", r"ControlSet001\Services\A"):
        metadata = _delta(child, path).metadata
        # As Windows promotes keys: merged, the class from above.
        assert metadata.semantics is LayerSemantics.NORMAL
        assert metadata.inherits_class
        assert metadata.class_name == b""
    with wclayer.Registry(child) as registry:
        merged = registry.key(rf"{SERVICES}\A").metadata
        assert merged.class_name == "cls".encode("utf-16-le")
        assert merged.last_written > 10
        assert registry.key(SERVICES).metadata.last_written == 10
    assert list(wclayer.check_layer(child)) == []


def test_new_keys_take_their_security_from_above(child: Path) -> None:
    with wclayer.RegistryEditor(child) as editor:
        editor.create_key(rf"{SERVICES}\New\Deeper")
    metadata = _delta(child, r"ControlSet001\Services\New\Deeper").metadata
    assert (metadata.semantics, metadata.inherits_class) == (LayerSemantics.NORMAL, False)
    assert metadata.security is not None
    sddl = to_sddl(SecurityDescriptor.decode(metadata.security))
    assert "(A;CIID;KR;;;BU)" in sddl
    assert "(A;CIID;KA;;;SY)" in sddl
    with wclayer.Registry(child) as registry:
        assert registry.key(SERVICES).metadata.last_written > 10


def test_deleted_values_and_keys_become_tombstones(child: Path) -> None:
    with wclayer.RegistryEditor(child) as editor:
        editor.delete_value(rf"{SERVICES}\A", "V")
        editor.delete_key(rf"{SERVICES}\B")
    assert _values(child, rf"{SERVICES}\A") == {}
    assert _values(child, rf"{SERVICES}\B") is None
    assert _delta(child, r"ControlSet001\Services\A").values() == [Value("v", 0, b"", is_tombstone=True)]
    assert _delta(child, r"ControlSet001\Services\B").metadata.semantics is LayerSemantics.TOMBSTONE
    with wclayer.RegistryEditor(child) as editor:
        with pytest.raises(PathNotFoundError, match="no value"):
            editor.delete_value(rf"{SERVICES}\A", "v")
        with pytest.raises(PathNotFoundError, match="no such key"):
            editor.delete_key(rf"{SERVICES}\B")


def test_what_only_the_delta_had_leaves_nothing(child: Path) -> None:
    with wclayer.RegistryEditor(child) as editor:
        editor.set_value(rf"{SERVICES}\New", "x", 4, bytes(4))
    with wclayer.RegistryEditor(child) as editor:
        editor.delete_key(rf"{SERVICES}\New")
    assert _delta(child, r"ControlSet001\Services").subkeys() == []


def test_a_key_made_again_supersedes_what_was_deleted(child: Path) -> None:
    with wclayer.RegistryEditor(child) as editor:
        editor.delete_key(rf"{SERVICES}\A")
    with wclayer.RegistryEditor(child) as editor:
        editor.set_value(rf"{SERVICES}\a\Other", "x", 4, bytes(4))
    assert _values(child, rf"{SERVICES}\A") == {}
    assert _values(child, rf"{SERVICES}\A\Sub") is None
    assert _values(child, rf"{SERVICES}\A\Other") == {"x": bytes(4)}
    for path in (r"ControlSet001\Services\a", r"ControlSet001\Services\a\Other"):
        assert _delta(child, path).metadata.semantics is LayerSemantics.SUPERSEDE_TREE


def test_the_delta_travels(child: Path, base: Path, tmp_path: Path) -> None:
    with wclayer.RegistryEditor(child) as editor:
        editor.set_value(r"HKLM\SOFTWARE\Mine", "x", 4, bytes(4))
        editor.delete_key(rf"{SERVICES}\B")
    out = io.BytesIO()
    assert not wclayer.export_layer_to_tar(out, child).unchanged
    again = tmp_path / "again"
    wclayer.import_layer_from_tar(io.BytesIO(out.getvalue()), again, [base])
    with wclayer.Registry(child) as a, wclayer.Registry(again) as b:
        assert list(wclayer.diff_registries(a, b)) == []
    second = io.BytesIO()
    assert wclayer.export_layer_to_tar(second, again).unchanged
    assert second.getvalue() == out.getvalue()


def test_a_base_layer_is_changed_in_its_config(base: Path) -> None:
    with wclayer.RegistryEditor(base) as editor:
        editor.set_value(r"HKLM\SOFTWARE\Mine", "x", 4, bytes(4))
        editor.delete_key(rf"{SERVICES}\B")
    config = (base / CONFIG / "SOFTWARE").read_bytes()
    assert config == (base / "Hives/Software_Base").read_bytes()
    hive = Hive(config)
    assert not hive.has_layered_keys
    found = hive.find("Mine")
    assert found is not None
    assert found.values() == [Value("x", 4, bytes(4))]
    assert _values(base, rf"{SERVICES}\B") is None
    assert list(wclayer.check_layer(base)) == []
    assert not list((base / "Hives").glob("*_Delta"))
    with wclayer.RegistryEditor(base) as editor, pytest.raises(PathNotFoundError, match="no hive"):
        editor.create_key(r"HKLM\SAM\x")


def test_all_or_nothing(child: Path) -> None:
    before = sorted((child / "Hives").iterdir())
    with pytest.raises(InvalidParameterError), wclayer.RegistryEditor(child) as editor:
        editor.set_value(r"HKLM\SOFTWARE\Mine", "x", 4, bytes(4))
        editor.set_value(r"HKLM\SOFTWARE\\" + "n" * 256, "x", 4, bytes(4))
    assert sorted((child / "Hives").iterdir()) == before


def test_what_cannot_be_done(child: Path) -> None:
    with wclayer.RegistryEditor(child) as editor:
        for key, message in ((r"HKLM", "no hive"), (r"HKU\S-1-5-19", "no hive"), (r"HKCU\x", "current user")):
            with pytest.raises(InvalidParameterError, match=message):
                editor.create_key(key)
        with pytest.raises(InvalidParameterError, match="cannot be deleted"):
            editor.delete_key(r"HKLM\SYSTEM")
        with pytest.raises(InvalidParameterError, match="levels"):
            editor.create_key("HKLM\\SYSTEM" + "\\x" * 512)
        with pytest.raises(InvalidParameterError, match="name"):
            editor.set_value(r"HKLM\SYSTEM", "n" * 16_384, 1, b"")


def test_reg_files_are_carried_out(child: Path) -> None:
    text = (
        "Windows Registry Editor Version 5.00\n\n"
        f'[{SERVICES}\\A]\n"v"=-\n"new"="x"\n"not there"=-\n[-{SERVICES}\\B]\n[-{SERVICES}\\NotThere]\n'
        f"[{SERVICES}\\C]\n@=dword:5\n"
    )
    with wclayer.RegistryEditor(child) as editor:
        assert editor.apply(parse_reg(text.encode())) == 8
    assert _values(child, rf"{SERVICES}\A") == {"new": encode_string("x")}
    assert _values(child, rf"{SERVICES}\B") is None
    assert _values(child, rf"{SERVICES}\C") == {"": b"\x05\0\0\0"}


def test_differences(child: Path, base: Path) -> None:
    with wclayer.RegistryEditor(child) as editor:
        editor.set_value(r"HKLM\SOFTWARE\Mine\Deep", "x", 4, bytes(4))
        editor.set_value(r"HKLM\SOFTWARE\Target", "v", 4, bytes(4))
        editor.delete_key(r"HKLM\SOFTWARE\Target\Below")
    with wclayer.Registry(base) as a, wclayer.Registry(child) as b:
        found = {(d.change, d.key.removeprefix("HKEY_LOCAL_MACHINE\\SOFTWARE"), d.value)
                 for d in wclayer.diff_registries(a, b, times=False)}  # fmt: skip
        timed = [d for d in wclayer.diff_registries(a, b) if "last_written" in d.fields]
    assert found == {
        (Change.ADDED, r"\Mine", None),
        (Change.ADDED, r"\Mine\Deep", None),
        (Change.ADDED, r"\Mine\Deep", "x"),
        (Change.CHANGED, r"\Target", "v"),
        (Change.REMOVED, r"\Target\Below", None),
        (Change.REMOVED, r"\Target\Below", "v"),
    }
    assert {d.key for d in timed} == {"HKEY_LOCAL_MACHINE\\SOFTWARE", "HKEY_LOCAL_MACHINE\\SOFTWARE\\Target"}


def test_a_layer_s_own_registry(child: Path, base: Path) -> None:
    with wclayer.RegistryEditor(child) as editor:
        editor.create_key(r"HKLM\SOFTWARE\Mine")
    with wclayer.Registry(base, alone=True) as registry:
        assert registry.find(r"HKLM\SOFTWARE\Target") is not None


def test_a_boot_store(tmp_path: Path) -> None:
    boot = tmp_path / "layer/UtilityVM/Files/EFI/Microsoft/Boot"
    boot.mkdir(parents=True)
    (tmp_path / "layer/Files").mkdir()
    (boot / "BCD").write_bytes(boot_store())
    wclayer.make_base_layer(tmp_path / "layer")
    aliases = [found.alias for found in wclayer.read_boot_store(tmp_path / "layer")]
    assert "bootmgr" in aliases
    (tmp_path / "other/Files").mkdir(parents=True)
    wclayer.make_base_layer(tmp_path / "other")
    with pytest.raises(PathNotFoundError, match="BCD"):
        list(wclayer.read_boot_store(tmp_path / "other"))
    with pytest.raises(InvalidDataError, match="Objects"):
        (tmp_path / "bad/Files").mkdir(parents=True)
        boot = tmp_path / "bad/UtilityVM/Files/EFI/Microsoft/Boot"
        boot.mkdir(parents=True)
        (boot / "BCD").write_bytes(write_hive(empty_root()))
        wclayer.make_base_layer(tmp_path / "bad")
        list(wclayer.read_boot_store(tmp_path / "bad"))


@pytest.fixture
def scratch(tmp_path: Path, child: Path, base: Path) -> Path:
    wclayer.create_scratch_layer(tmp_path / "run", [child, base])
    return tmp_path / "run"


def test_updates_of_one_scratch_wait_for_each_other(scratch: Path) -> None:
    command = [sys.executable, "-m", "wclayer", "reg", "set", str(scratch), r"HKLM\SYSTEM\New"]
    running = [
        subprocess.Popen([*command, f"value{number}", str(number)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for number in range(4)
    ]
    for process in running:
        _, error = process.communicate()
        assert process.returncode == 0, error.decode()
    assert _values(scratch, r"HKLM\SYSTEM\New") is not None
    assert sorted(_values(scratch, r"HKLM\SYSTEM\New") or ()) == [f"value{number}" for number in range(4)]


def test_updates_of_one_finished_layer_wait_for_each_other(child: Path) -> None:
    with wclayer.RegistryEditor(child) as editor:
        editor.create_key(r"HKLM\SYSTEM\First")
        command = [sys.executable, "-m", "wclayer", "reg", "set", str(child), r"HKLM\SYSTEM\Second"]
        second = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(1.5)
    _, error = second.communicate()
    assert second.returncode == 0, error.decode()
    assert _values(child, r"HKLM\SYSTEM\First") == _values(child, r"HKLM\SYSTEM\Second") == {}


def test_the_message_says_why_a_scratch_is_not_free(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.layers.atomic.PATIENCE", 0.1)
    command = [sys.executable, "-c", _HOLD, str(scratch)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(LayerBusyError, match=r"another process has it open;"):
            wclayer.RegistryEditor(scratch)
        holder.communicate("\n")
    with ScratchDirectory(scratch) as opened, opened.transaction():
        opened.set_record(MOUNT, "/somewhere")
    with ScratchDirectory(scratch), pytest.raises(LayerBusyError, match="it is mounted"):
        wclayer.RegistryEditor(scratch)


_HOLD = """
import sys
from wclayer.layers.directory.scratch import ScratchDirectory
with ScratchDirectory(sys.argv[1]):
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_a_new_delta_has_the_security_of_the_one_below(base: Path, tmp_path: Path) -> None:
    tar = layer_tar(sample.write_base)
    wclayer.import_layer_from_tar(io.BytesIO(tar), tmp_path / "sample")
    wclayer.import_layer_from_tar(
        io.BytesIO(layer_tar(sample.write_child)), tmp_path / "sample-child", [tmp_path / "sample"]
    )
    chain = [tmp_path / "sample-child", tmp_path / "sample"]
    wclayer.create_scratch_layer(tmp_path / "run", chain)
    wclayer.create_layer(tmp_path / "finished", parents=chain)
    for layer in (tmp_path / "run", tmp_path / "finished"):
        with wclayer.RegistryEditor(layer) as editor:
            editor.create_key(r"HKLM\SOFTWARE\New")
            editor.create_key(r"HKLM\SYSTEM\New")
        with open_layer(layer) as opened, open_layer(chain[0]) as below:
            for name in ("Hives", "Hives/Software_Delta", "Hives/System_Delta"):
                row, parents = opened.lookup(name), below.lookup(name)
                assert row is not None
                expected = None if parents is None else below.security(parents)
                assert opened.security(row) == expected or (name == "Hives" and expected is None)
            hives = opened.lookup("Hives")
            assert hives is not None
            assert opened.security(hives) is not None
        # As Windows' own hives have none, a transport folder holds them.
        wclayer.export_layer(layer, tmp_path / f"{layer.name}-transport")


def test_below_a_key_with_a_damaged_descriptor_no_key_is_made(tmp_path: Path) -> None:
    root = _system()
    root.add(TreeKey("Damaged", root.metadata._replace(security=b"\1" * 9)))
    child = child_layer(tmp_path, "child", base_layer(tmp_path, SYSTEM=write_hive(root)))
    before = (child / "layer.db").read_bytes()
    with (
        pytest.raises(InvalidDataError, match="security descriptor"),
        wclayer.RegistryEditor(child) as editor,
    ):
        editor.create_key(r"HKLM\SYSTEM\Damaged\New")
    assert (child / "layer.db").read_bytes() == before
