r"""`wclayer append`: what the new layer has, what is taken from the base, and what a registry is asked for."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from time import time_ns
from typing import Any
from urllib.parse import unquote

import pytest

import wclayer
from tests.images import samples
from tests.images.forms import get_blob, put_into_registry, write_layout
from tests.images.registry import DebianRegistry, FakeRegistry
from tests.images.registry.clients import skopeo
from tests.support import run
from wclayer.builder.appending.additions import Additions
from wclayer.builder.appending.append import append_to
from wclayer.errors import EntryIsDirectoryError, InvalidParameterError, NotSupportedError, PathNotFoundError
from wclayer.images.location import open_source
from wclayer.images.opening import open_image
from wclayer.images.store import ImageStore
from wclayer.view.layer_view import LayerView
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.inherit import inherited, volume_root
from wclayer.win32.sddl import from_sddl, to_sddl
from wclayer.win32.security import SecurityDescriptor

ROOT = volume_root().encode()
DIRECTORY, FILE = inherited(ROOT, True), inherited(inherited(ROOT, True), False)
ACL = "O:SYG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;0x1200a9;;;BU)"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an application in `dist`, and an empty store."""
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dist" / "bin").mkdir(parents=True)
    (tmp_path / "dist" / "bin" / "tool.exe").write_bytes(b"tool")
    (tmp_path / "dist" / "app.exe").write_bytes(b"program" * 1000)
    return tmp_path


@pytest.fixture
def base(fake: FakeRegistry) -> str:
    """A base image in a registry."""
    put_into_registry(fake.base, "windows/nanoserver", "ltsc2025", samples.nanoserver())
    fake.forget()
    return f"docker://{fake.host}/windows/nanoserver:ltsc2025"


def append(image: str, *options: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(run("append", image, *options, "--insecure", "--json").stdout)
    return record


def base_digests(image: samples.Image) -> set[str]:
    return {layer.digest for layer in image.layers}


def fetched(fake: FakeRegistry) -> set[str]:
    """The blobs of which the registry has sent something."""
    return {request.reference for request in fake.asked("blob", "GET")}


def pulled(reference: str, check: Callable[[LayerView], None]) -> None:
    run("pull", "-q", "--insecure", "--store", "fresh", reference)
    with open_image(reference, ImageStore("fresh")) as image, LayerView.for_layer(image.path) as view:
        check(view)


def test_a_new_directory_is_appended_without_a_byte_of_the_base(fake: FakeRegistry, base: str) -> None:
    image = samples.nanoserver()
    begun = from_unix_ns(time_ns())
    new = f"{fake.host}/team/app:1"
    record = append(base, "--copy", r"dist=C:\app", "--cmd", r"C:\app\app.exe", "--push", "-t", new)
    (made,) = record["images"]
    assert (made["needs_base"], made["platform"]["os.version"]) == (False, "10.0.26100.33438")
    assert not fetched(fake) & base_digests(image)
    mounted = [request for request in fake.asked("upload", "POST") if "mount" in request.query]
    assert {request.query["mount"] for request in mounted} == base_digests(image)
    assert {request.query["from"] for request in mounted} == {"windows/nanoserver"}
    assert {request.status for request in mounted} == {201}
    assert fake.received() < 20_000

    def check(view: LayerView) -> None:
        assert view.read_bytes(r"C:\app\app.exe") == b"program" * 1000
        assert view.read_bytes(r"C:\app\bin\tool.exe") == b"tool"
        assert view.security(r"C:\app") == DIRECTORY
        assert view.security(r"C:\app\app.exe") == FILE
        assert view.security("C:\\") == ROOT
        assert view.stat("C:\\").info.creation_time >= begun
        assert view.stat(r"C:\app\app.exe").info.attributes == 0x20
        time = from_unix_ns(Path("dist/app.exe").stat().st_mtime_ns)
        assert view.stat(r"C:\app\app.exe").info.last_write_time == time
        # What the base has is untouched.
        assert view.read_bytes(r"C:\License.txt:Zone.Identifier").startswith(b"[ZoneTransfer]")
        assert {*view.listdir("C:\\")} >= {"app", "Windows", "Users", "Program Files", "License.txt"}

    pulled(new, check)


def test_debians_registry_mounts_the_layers_and_skopeo_reads_the_result(folder: Path) -> None:
    image = samples.nanoserver()
    with DebianRegistry(folder / "registry", logs_requests=True) as registry:
        put_into_registry(registry.base, "base", "1", image)
        before = len(registry.log)
        new = f"{registry.host}/app:1"
        append(f"docker://{registry.host}/base:1", "--copy", r"dist=C:\app", "--push", "-t", new)
        log = unquote(registry.log[before:])
        assert '"GET /v2/base/manifests/1 ' in log
        for layer in image.layers:
            assert f"GET /v2/base/blobs/{layer.digest}" not in log
            assert f"mount={layer.digest}" in log
            assert get_blob(registry.base, "app", layer.digest) == layer.data
        told = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{new}").stdout)
        assert told["Layers"][:-1] == [layer.digest for layer in image.layers]
        assert told["Os"] == "windows"
        pulled(new, lambda view: None)


def test_into_its_own_repository_only_the_new_layer_goes(fake: FakeRegistry, base: str) -> None:
    append(base, "--copy", r"dist=C:\app", "--push", "-t", f"{fake.host}/windows/nanoserver:app")
    assert not fetched(fake) & base_digests(samples.nanoserver())
    assert not [request for request in fake.asked("upload") if "mount" in request.query]


def test_below_a_directory_of_windows_the_base_is_fetched_and_keeps_its_metadata(fake: FakeRegistry, base: str) -> None:
    image = samples.nanoserver()
    new = f"{fake.host}/team/app:1"
    record = append(base, "--copy", r"dist=C:\Program Files\App", "--push", "-t", new)
    (made,) = record["images"]
    assert made["needs_base"]
    assert r"C:\Program Files is in the base" in made["reason"]
    assert fetched(fake) >= base_digests(image)

    def check(view: LayerView) -> None:
        assert view.read_bytes(r"C:\Program Files\App\app.exe") == b"program" * 1000
        with open_image(base.removeprefix("docker://"), ImageStore()) as below, LayerView(below.path) as old:
            for path in ("C:\\", r"C:\Program Files"):
                assert view.security(path) == old.security(path)
                assert view.stat(path).info.creation_time == old.stat(path).info.creation_time

    pulled(new, check)


def test_the_registry_and_the_environment_of_the_machine_are_changed(fake: FakeRegistry, base: str) -> None:
    Path("x.reg").write_text(
        'Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\App]\r\n"Level"=dword:00000007\r\n'
    )
    append(
        base, "--reg", "x.reg", "--setx", "APP_HOME=%ProgramData%\\App", "--path-append", r"C:\app\bin",
        "--path-prepend", r"C:\first", "-t", "app:1",
    )  # fmt: skip
    with open_image("app:1") as image, wclayer.Registry(image.path) as registry, registry.reading():
        level = registry.key(r"HKLM\SOFTWARE\App").values()
        assert [(value.name, value.type, value.data) for value in level] == [("Level", 4, b"\7\0\0\0")]
        environment = {}
        for control_set in ("CurrentControlSet", "ControlSet001"):
            if found := registry.find(rf"HKLM\SYSTEM\{control_set}\Control\Session Manager\Environment"):
                environment = {v.name: (v.type, v.data.decode("utf-16-le").rstrip("\0")) for v in found.values()}
        assert environment["APP_HOME"] == (2, "%ProgramData%\\App")
        kind, path = environment["Path"]
        assert kind == 2
        assert path.split(";")[0] == r"C:\first"
        assert path.split(";")[-1] == r"C:\app\bin"


def test_a_layer_tar_becomes_a_layer_as_it_is(fake: FakeRegistry, base: str, folder: Path) -> None:
    child = samples.sample_child_tar()
    for name, data in (("child.tar", child), ("child.tar.gz", samples.gzipped(child))):
        (folder / name).write_bytes(data)
        new = f"{fake.host}/team/{name.replace('.', '-')}:1"
        record = append(base, "--tar", name, "--push", "-t", new)
        assert not record["images"][0]["needs_base"]
        with open_source(f"docker://{new}", registry=wclayer.RegistryOptions(insecure=True)) as source:
            config = json.loads(run("inspect", "--json", "--insecure", f"docker://{new}").stdout)
            assert source.resolve().digest == record["digest"]
        assert config["image"]["layers"][-1]["diff_id"] == samples.sha256(child)
    assert config["image"]["layers"][-1]["digest"] == samples.sha256(samples.gzipped(child))
    assert not fetched(fake) & base_digests(samples.nanoserver())


def test_a_plain_tar_and_a_layer_tar_and_files_go_together(fake: FakeRegistry, base: str, folder: Path) -> None:
    (folder / "child.tar").write_bytes(samples.sample_child_tar())
    with tarfile.open("x.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("tools/run.exe")
        member.size, member.mtime = 4, 1_600_000_000
        archive.addfile(member, io.BytesIO(b"tool"))
    new = f"{fake.host}/team/app:1"
    record = append(base, "--tar", "child.tar", "--tar", "x.tar.gz", "--copy", r"dist=C:\more", "--push", "-t", new)
    assert not record["images"][0]["needs_base"]

    def check(view: LayerView) -> None:
        assert view.read_bytes(r"C:\tools\run.exe") == b"tool"
        assert view.stat(r"C:\tools\run.exe").info.last_write_time == from_unix_ns(1_600_000_000 * 10**9)
        assert view.read_bytes(r"C:\more\app.exe") == b"program" * 1000
        assert view.exists(r"C:\app\settings.json")

    pulled(new, check)
    # Over what the layer tar has, the layers are needed.
    record = append(base, "--tar", "child.tar", "--copy", r"dist=C:\app", "-t", "app:2")
    assert record["images"][0]["needs_base"]
    with open_image("app:2") as image, LayerView(image.path) as view:
        assert {*view.listdir(r"C:\app")} >= {"settings.json", "app.exe", "bin"}
        assert view.read_bytes(r"C:\app\app.exe") == b"program" * 1000


def test_descriptors_are_stated_and_inherited(fake: FakeRegistry, base: str) -> None:
    new = f"{fake.host}/team/app:1"
    append(
        base, "--copy", r"dist=C:\app", "--acl", rf"C:\app={ACL}", "--acl", r"C:\app\bin\tool.exe=D:P(A;;FR;;;WD)",
        "--push", "-t", new,
    )  # fmt: skip

    def check(view: LayerView) -> None:
        stated = from_sddl(ACL).encode()
        assert view.security(r"C:\app") == stated
        assert view.security(r"C:\app\app.exe") == inherited(stated, False)
        assert view.security(r"C:\app\bin") == inherited(stated, True)
        own = view.security(r"C:\app\bin\tool.exe")
        assert own is not None
        # The owner that the entry had stays: the text states none.
        assert to_sddl(SecurityDescriptor.decode(own)) == "O:BAG:SYD:P(A;;FR;;;WD)"

    pulled(new, check)


def test_what_is_missing_for_a_descriptor_is_told(base: str) -> None:
    found = run(
        "append",
        base,
        "--insecure",
        "--copy",
        r"dist=C:\app",
        "--acl",
        r"C:\app\no=D:(A;;FR;;;WD)",
        "-t",
        "x:1",
        status=None,
    )
    assert found.returncode == PathNotFoundError.exit_status
    assert b"no" in found.stderr


def test_an_image_of_an_application_needs_its_layers_unless_the_user_knows(fake: FakeRegistry) -> None:
    child = samples.small_child()
    put_into_registry(fake.base, "app", "1", child)
    place, new = f"docker://{fake.host}/app:1", f"{fake.host}/app:2"
    fake.forget()
    with (
        pytest.raises(NotSupportedError, match=r"C:\\other.*--assume-new"),
        open_source(place, registry=wclayer.RegistryOptions(insecure=True)) as source,
    ):
        append_to(source, Additions(copies=[("dist", r"C:\other")]), can_fetch=False)
    assert not fetched(fake) & base_digests(child)
    record = append(place, "--copy", r"dist=C:\other", "--assume-new", "--push", "-t", new)
    assert not record["images"][0]["needs_base"]
    assert not fetched(fake) & base_digests(child)
    # In its own directory, the metadata of the directory stays.
    append(place, "--copy", r"dist=C:\app", "--push", "-t", new)

    def check(view: LayerView) -> None:
        descriptor = view.security(r"C:\app")
        assert descriptor is not None
        assert to_sddl(SecurityDescriptor.decode(descriptor)) == "O:SYG:SYD:(A;;FA;;;SY)"
        assert {*view.listdir(r"C:\app")} == {"a.txt", "app.exe", "bin"}

    pulled(new, check)


def test_nothing_is_fetched_if_the_user_says_so(fake: FakeRegistry, base: str) -> None:
    for options, message in (
        (["--copy", r"dist=C:\Windows\x", "--push", "-t", f"{fake.host}/x:1"], b"leave --no-fetch out"),
        (["--copy", r"dist=C:\app", "-t", "x:1"], b"would have to be fetched"),
        (["--copy", r"dist=C:\app", "--push", "-t", "localhost:1/x:1"], b"would have to be fetched"),
    ):
        found = run("append", base, "--insecure", "--no-fetch", *options, status=None)
        assert found.returncode == NotSupportedError.exit_status
        assert message in found.stderr
    assert not fetched(fake) & base_digests(samples.nanoserver())
    append(base, "--no-fetch", "--copy", r"dist=C:\app", "--push", "-t", f"{fake.host}/x:1")


def test_one_image_for_each_release_and_the_index_over_them(fake: FakeRegistry) -> None:
    for name, build in (("ltsc2019", 17763), ("ltsc2022", 20348), ("ltsc2025", 26100)):
        put_into_registry(fake.base, "windows/core", name, samples.nanoserver(os_version=f"10.0.{build}.77"))
    fake.forget()
    new = f"{fake.host}/app:1"
    record = append(
        f"docker://{fake.host}/windows/core:ltsc2022", "--for", "ltsc2019,ltsc2022,26100", "--copy", r"dist=C:\app",
        "--reproducible", "--push", "-t", new, "-t", f"{fake.host}/app:latest",
    )  # fmt: skip
    assert [image["release"] for image in record["images"]] == ["ltsc2019", "ltsc2022", "ltsc2025"]
    listed = json.loads(run("index", "list", f"docker://{new}", "--insecure", "--json").stdout)
    assert [item["platform"]["os.version"] for item in listed] == ["10.0.17763.77", "10.0.20348.77", "10.0.26100.77"]
    assert [item["digest"] for item in listed] == [image["digest"] for image in record["images"]]
    assert not fetched(fake) & base_digests(samples.nanoserver())
    assert json.loads(run("index", "list", f"docker://{fake.host}/app:latest", "--insecure", "--json").stdout) == listed


def test_the_releases_of_an_index_are_taken_from_it(fake: FakeRegistry) -> None:
    images = [samples.nanoserver(os_version=f"10.0.{build}.77") for build in (17763, 20348)]
    put_into_registry(fake.base, "core", "1", samples.index("docker", images))
    place = f"docker://{fake.host}/core:1"
    record = append(place, "--for", "ltsc2022,ltsc2019", "--copy", r"dist=C:\app", "--push", "-t", f"{fake.host}/app:1")
    versions = [image["platform"]["os.version"] for image in record["images"]]
    assert versions == ["10.0.20348.77", "10.0.17763.77"]
    # A host of 2025 runs images of 2022, and an image for 2025 is another thing.
    found = run("append", place, "--insecure", "--for", "ltsc2025", "--copy", r"dist=C:\app", "-t", "x:1", status=None)
    assert found.returncode == PathNotFoundError.exit_status
    assert b"no image for ltsc2025" in found.stderr


def test_the_same_inputs_give_the_same_digest_in_another_folder(fake: FakeRegistry, base: str, folder: Path) -> None:
    digests = set()
    for number in range(2):
        place = folder / f"copy{number}" / "dist"
        (place / "bin").mkdir(parents=True)
        (place / "bin" / "tool.exe").write_bytes(b"tool")
        (place / "app.exe").write_bytes(b"program")
        new = f"{fake.host}/app:{number}"
        run_ = append(base, "--copy", rf"{place}=C:\app", "--reproducible", "--env", "A=1", "--push", "-t", new)
        digests.add(run_["digest"])
    assert len(digests) == 1


def test_a_layout_is_appended_to_without_unpacking_it(folder: Path) -> None:
    write_layout(folder / "images", {"nano": samples.nanoserver("oci")})
    record = append("oci:images:nano", "--copy", r"dist=C:\app", "-t", "oci:out:1")
    assert not record["images"][0]["needs_base"]
    run("load", "-i", "out", "-t", "app:1")
    with open_image("app:1") as image, LayerView(image.path) as view:
        assert view.read_bytes(r"C:\app\bin\tool.exe") == b"tool"


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ([], InvalidParameterError.exit_status, b"nothing is to be added"),
        (["--copy", "dist"], 64, rb"--copy 'dist' is not of the form SRC=C:\DST"),
        (["--copy", "dist=app"], 64, b"is not of the form"),
        (["--copy", r"dist=D:\app"], NotSupportedError.exit_status, b"only C:"),
        (["--copy", r"gone=C:\app"], PathNotFoundError.exit_status, b"gone"),
        (["--copy", r"dist=C:\nul\x"], InvalidParameterError.exit_status, b"device"),
        (["--acl", r"C:\app=O:XX"], InvalidParameterError.exit_status, b"not a security descriptor"),
        (["--acl", r"C:\app"], 64, b"is not of the form"),
        (["--setx", "A"], 64, b"has no '='"),
        (["--path-append", "  "], InvalidParameterError.exit_status, b"directory for Path"),
        (["--tar", "dist"], EntryIsDirectoryError.exit_status, b"dist"),
    ],
)
def test_what_is_not_possible_is_refused(base: str, options: list[str], status: int, message: bytes) -> None:
    found = run("append", base, "--insecure", *options, "-t", "x:1", status=None)
    assert found.returncode == status
    assert message in found.stderr
    assert b"Traceback" not in found.stderr
