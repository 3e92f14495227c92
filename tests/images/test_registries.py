"""The registries that other tests trust: our own answers as Debian's does, and its faults happen."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import tarfile
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.images.conftest import Certificates
from tests.images.registry import Access, Containerd, DebianRegistry, FakeRegistry, faults, skopeo, umoci

_TYPE = "application/vnd.oci.image.manifest.v1+json"


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class _Client:
    """Speaks to a registry; knows nothing."""

    def __init__(self, host: str, **headers: str) -> None:
        self.host = host
        self.headers = headers

    def __call__(
        self, method: str, target: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        parts = urllib.parse.urlsplit(target)
        connection = http.client.HTTPConnection(self.host, timeout=10)
        try:
            named = {name.replace("_", "-"): value for name, value in (self.headers | headers).items()}
            connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body, named)
            response = connection.getresponse()
            answered = {name.lower(): value for name, value in response.getheaders()}
            try:
                return response.status, answered, response.read()
            except http.client.IncompleteRead as error:
                if response.status != 416:
                    raise
                return response.status, answered, error.partial
        finally:
            connection.close()


def _image() -> dict[str, bytes]:
    """A manifest, a configuration and a layer."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("hello")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"hello"))
    # skopeo would compress what is not.
    layer = gzip.compress(stream.getvalue(), mtime=0)
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {}, "history": [{"created_by": "x", "created": _THEN}],
         "rootfs": {"type": "layers", "diff_ids": [_digest(stream.getvalue())]}}
    ).encode()  # fmt: skip
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": _TYPE,
         "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": _digest(config),
                    "size": len(config)},
         "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": _digest(layer),
                     "size": len(layer)}]}
    ).encode()  # fmt: skip
    return {"manifest": manifest, "config": config, "layer": layer}


_THEN = "2026-01-01T00:00:00Z"


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An OCI layout with one image, "one"."""
    folder = tmp_path / "layout"
    (folder / "blobs" / "sha256").mkdir(parents=True)
    image = _image()
    for data in image.values():
        (folder / "blobs" / "sha256" / hashlib.sha256(data).hexdigest()).write_bytes(data)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entry = {"mediaType": _TYPE, "digest": _digest(image["manifest"]), "size": len(image["manifest"]),
             "annotations": {"org.opencontainers.image.ref.name": "one"}}  # fmt: skip
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return folder


def _there_and_back(host: str, layout: Path, folder: Path, *options: str) -> None:
    """Copies the image to a registry and back with skopeo; the bytes stay the same."""
    to = [option.replace("--", "--dest-") for option in options]
    back = [option.replace("--", "--src-") for option in options]
    skopeo("copy", *to, f"oci:{layout}:one", f"docker://{host}/there:one")
    skopeo("copy", *back, f"docker://{host}/there:one", f"oci:{folder}:one")
    for blob in (layout / "blobs" / "sha256").iterdir():
        assert (folder / "blobs" / "sha256" / blob.name).read_bytes() == blob.read_bytes()


@pytest.mark.parametrize(
    "access",
    [Access(), Access("basic"), Access("token"), Access("token", expires_in=None, token_name="access_token")],
    ids=["all", "basic", "token", "access_token"],
)
def test_skopeo_copies_to_our_own_registry_and_back(access: Access, layout: Path, tmp_path: Path) -> None:
    with FakeRegistry(access=access) as registry:
        credentials = () if access.kind == "none" else ("--creds=user:password",)
        _there_and_back(registry.host, layout, tmp_path / "back", "--tls-verify=false", *credentials)
        assert registry.asked("manifest", "PUT")[0].status == 201
        assert bool(registry.authorizations) == (access.kind != "none")
        if access.kind != "none":
            refused = skopeo(
                "inspect",
                "--tls-verify=false",
                "--creds=user:wrong",
                f"docker://{registry.host}/there:one",
                check=False,
            )
            assert refused.returncode


def test_debian_s_registry_runs_in_each_way(
    debian_registry: DebianRegistry,
    debian_registry_with_users: DebianRegistry,
    debian_registry_with_tls: DebianRegistry,
    certificates: Certificates,
    layout: Path,
    tmp_path: Path,
) -> None:
    _there_and_back(debian_registry.host, layout, tmp_path / "plain", "--tls-verify=false")
    host = debian_registry_with_users.host
    ((user, password),) = debian_registry_with_users.users.items()
    _there_and_back(host, layout, tmp_path / "users", "--tls-verify=false", f"--creds={user}:{password}")
    assert _Client(host)("GET", "/v2/")[0] == 401
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    (trusted / "ca.crt").write_bytes(certificates.ca.read_bytes())
    _there_and_back(debian_registry_with_tls.host, layout, tmp_path / "tls", f"--cert-dir={trusted}")
    refused = skopeo("inspect", f"docker://{debian_registry_with_tls.host}/there:one", check=False)
    assert "unknown authority" in refused.stderr


def test_debian_s_registry_starts_again_with_what_it_holds(layout: Path, tmp_path: Path) -> None:
    with DebianRegistry(tmp_path / "registry") as registry:
        host = registry.host
        skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:one", f"docker://{host}/there:one")
        registry.restart()
        assert registry.host == host
        skopeo("inspect", "--tls-verify=false", f"docker://{host}/there:one")


def test_foreign_clients_run(containerd: Containerd, layout: Path, tmp_path: Path) -> None:
    umoci("unpack", "--rootless", "--image", f"{layout}:one", tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / "rootfs" / "hello").read_bytes() == b"hello"
    archive = tmp_path / "one.tar"
    skopeo("copy", f"oci:{layout}:one", f"oci-archive:{archive}:one")
    containerd.ctr("images", "import", "--no-unpack", "--all-platforms", "--base-name", "tests/one", archive)
    assert _digest(_image()["manifest"]) in containerd.ctr("images", "list").stdout


Answers = list[tuple[int, dict[str, str], bytes]]


def _upload_in_chunks(client: _Client, name: str, data: bytes) -> Answers:
    """Uploads in two chunks and asks for the state."""
    answers = [client("POST", f"/v2/{name}/blobs/uploads/", b"")]
    half = len(data) // 2

    def go_on(method: str, query: str = "", body: bytes | None = None, **headers: str) -> None:
        location = next(headers["location"] for _, headers, _ in reversed(answers) if "location" in headers)
        parts = urllib.parse.urlsplit(location)
        target = f"{parts.path}?{parts.query}" + (f"&{query}" if query else "")
        answers.append(client(method, target, body, Content_Type="application/octet-stream", **headers))

    go_on("PATCH", body=data[:half], Content_Range=f"0-{half - 1}")
    go_on("GET")
    go_on("PATCH", body=data[half:], Content_Range=f"{half}-{len(data) - 1}")
    go_on("PUT", f"digest={_digest(data)}", b"")
    return answers


def _ask(client: _Client, name: str) -> Answers:
    """Asks for everything that a client of images asks for."""
    image = _image()
    answers = [client("GET", "/v2/"), *_upload_in_chunks(client, name, image["layer"])]
    layer, digest = f"/v2/{name}/blobs/{_digest(image['layer'])}", _digest(image["layer"])
    early = client("PUT", f"/v2/{name}/manifests/one", image["manifest"], Content_Type=_TYPE)
    assert early[0] in (400, 404)  # the configuration is not there yet: Debian's says 404, the spec 400
    _, headers, _ = client("POST", f"/v2/{name}/blobs/uploads/", b"")
    location = urllib.parse.urlsplit(headers["location"])
    wrong = f"{location.path}?{location.query}&digest={digest}"
    answers.append(client("PUT", wrong, b"something else", Content_Type="application/octet-stream"))
    _, headers, _ = client("POST", f"/v2/{name}/blobs/uploads/", b"")
    location = urllib.parse.urlsplit(headers["location"])
    target = f"{location.path}?{location.query}&digest={_digest(image['config'])}"
    answers.append(client("PUT", target, image["config"], Content_Type="application/octet-stream"))
    answers += [
        client("PUT", f"/v2/{name}/manifests/one", image["manifest"], Content_Type=_TYPE),
        client("GET", f"/v2/{name}/manifests/one", Accept=_TYPE),
        client("HEAD", f"/v2/{name}/manifests/{_digest(image['manifest'])}", Accept=_TYPE),
        client("GET", f"/v2/{name}/manifests/two"),
        client("GET", f"/v2/{name}/tags/list"),
        client("GET", layer),
        client("HEAD", layer),
        client("GET", layer, Range="bytes=50-"),
        client("GET", layer, Range="bytes=50-69"),
        client("GET", layer, Range=f"bytes={len(image['layer'])}-"),
        client("GET", f"/v2/{name}/blobs/sha256:{'0' * 64}"),
        client("POST", f"/v2/{name}-2/blobs/uploads/?mount={digest}&from={name}", b""),
        client("HEAD", f"/v2/{name}-2/blobs/{digest}"),
        client("GET", f"/v2/{name}/referrers/{_digest(image['manifest'])}"),
    ]
    foreign = json.loads(image["manifest"])
    foreign["layers"][0]["urls"] = ["https://example.com/layer"]
    answers.append(client("PUT", f"/v2/{name}/manifests/far", json.dumps(foreign).encode(), Content_Type=_TYPE))
    return answers


def _compared(answers: Answers, name: str) -> list[object]:
    """What must be equal: not dates, numbers of uploads, and the words of errors."""
    kept = ("content-range", "docker-content-digest", "content-length")
    return [
        (status, {key: value for key, value in headers.items() if key in kept and status < 400},
         body.replace(name.encode(), b"NAME") if status < 400 else b"",
         # Debian's registry states a Range of each upload.
         headers.get("range") if status in (202, 204) else None,
         _codes(body) if status >= 400 and headers.get("content-type", "").startswith("application/json") else None)
        for status, headers, body in answers
    ]  # fmt: skip


def _codes(body: bytes) -> list[str] | None:
    """The first code: Debian's registry has several for one manifest."""
    return [error["code"] for error in json.loads(body)["errors"]][:1] if body.strip() else None


def test_our_own_registry_answers_as_debian_s(debian_registry: DebianRegistry, repository: str) -> None:
    with FakeRegistry(referrers=False) as ours:
        ours_said = _compared(_ask(_Client(ours.host), repository), repository)
        debian_said = _compared(_ask(_Client(debian_registry.host), repository), repository)
    for number, (our, debian) in enumerate(zip(ours_said, debian_said, strict=True)):
        assert our == debian, number


def test_urls_are_allowed_where_that_was_wanted(
    debian_registry: DebianRegistry, debian_registry_with_urls: DebianRegistry, repository: str
) -> None:
    foreign = json.loads(_image()["manifest"])
    foreign["layers"][0]["urls"] = ["https://example.com/layer"]
    foreign["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar"
    data = json.dumps(foreign).encode()
    with FakeRegistry(urls=True) as ours, FakeRegistry() as strict:
        for host, status in (
            (debian_registry.host, 500), (strict.host, 500), (debian_registry_with_urls.host, 201), (ours.host, 201)
        ):  # fmt: skip
            client, config = _Client(host), _image()["config"]
            _, headers, _ = client("POST", f"/v2/{repository}/blobs/uploads/", b"")
            at = urllib.parse.urlsplit(headers["location"])
            client("PUT", f"{at.path}?{at.query}&digest={_digest(config)}", config)
            assert client("PUT", f"/v2/{repository}/manifests/a", data, Content_Type=_TYPE)[0] == status


def test_a_chunk_that_does_not_follow_is_refused(fake: FakeRegistry) -> None:
    """As the specification wants it; Debian's registry does not look at `Content-Range`."""
    client = _Client(fake.host)
    _, headers, _ = client("POST", "/v2/a/blobs/uploads/", b"")
    _, headers, _ = client("PATCH", headers["location"], bytes(10), Content_Range="0-9")
    status, headers, _ = client("PATCH", headers["location"], bytes(10), Content_Range="11-20")
    assert (status, headers["range"]) == (416, "0-9")


# Faults.


@pytest.fixture
def held(fake: FakeRegistry) -> tuple[FakeRegistry, str, bytes]:
    """A registry with one blob of 300 000 bytes."""
    data = bytes(range(256)) * 1200
    return fake, f"/v2/a/blobs/{fake.contents.put_blob('a', data)}", data


def test_a_connection_is_cut(held: tuple[FakeRegistry, str, bytes]) -> None:
    registry, path, data = held
    registry.faults.append(faults.cut("blob", 1000, times=1))
    with pytest.raises(http.client.IncompleteRead):
        _Client(registry.host)("GET", path)
    assert _Client(registry.host)("GET", path)[2] == data
    assert [request.sent for request in registry.requests] == [1000, len(data)]
    assert registry.sent(_digest(data)) == 1000 + len(data)


@dataclass
class _Seen:
    """An answer, and what the blob is."""

    status: int
    headers: dict[str, str]
    body: bytes
    data: bytes


_FAULTS: list[tuple[faults.Fault, Callable[[_Seen], bool]]] = [
    (faults.short("blob", 5), lambda seen: seen.body == seen.data[:-5]),
    (faults.longer("blob", 5), lambda seen: seen.body == seen.data + bytes(5)),
    (faults.corrupt("blob"), lambda seen: len(seen.body) == len(seen.data) and seen.body != seen.data),
    (faults.error(429, "blob", Retry_After="3"), lambda seen: seen.headers["retry-after"] == "3"),
    (faults.html("blob"), lambda seen: seen.body.startswith(b"<!DOCTYPE")),
    (faults.redirect("blob", "http://127.0.0.2:1"), lambda seen: seen.status == 307),
    (faults.redirect_loop("blob"), lambda seen: "again=" in seen.headers["location"]),
    (faults.partial_always(), lambda seen: seen.status == 206 and seen.body == seen.data),
    (faults.trickle("blob", 100_000, 0.01), lambda seen: seen.body == seen.data),
    (faults.wrong_digest_header("blob"), lambda seen: seen.headers["docker-content-digest"].endswith("0" * 64)),
]


@pytest.mark.parametrize("number", range(len(_FAULTS)))
def test_a_fault_happens(held: tuple[FakeRegistry, str, bytes], number: int) -> None:
    registry, path, data = held
    fault, looks = _FAULTS[number]
    registry.faults.append(fault.only())
    assert looks(_Seen(*_Client(registry.host)("GET", path), data))
    registry.forget()
    assert _Client(registry.host)("GET", path)[2] == data


def test_parts_are_answered_wrongly(held: tuple[FakeRegistry, str, bytes]) -> None:
    registry, path, data = held
    registry.faults.append(faults.no_range())
    status, _, body = _Client(registry.host)("GET", path, Range="bytes=1000-")
    assert (status, body) == (200, data)
    registry.faults[:] = [faults.wrong_content_range()]
    status, headers, body = _Client(registry.host)("GET", path, Range="bytes=1000-")
    assert (status, headers["content-range"]) == (206, f"bytes 1007-{len(data) - 1}/{len(data)}")


def test_an_upload_loses_bytes(fake: FakeRegistry) -> None:
    client = _Client(fake.host)
    fake.faults += [faults.upload_loses(10, times=1), faults.upload_elsewhere("http://127.0.0.2:9", times=1)]
    _, headers, _ = client("POST", "/v2/a/blobs/uploads/", b"")
    assert headers["location"].startswith("http://127.0.0.2:9/v2/a/blobs/uploads/")
    _, headers, _ = client("PATCH", headers["location"], bytes(100))
    assert headers["range"] == "0-89"
    fake.faults.append(faults.upload_cut(50, times=1))
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        client("PATCH", headers["location"], bytes(100))
    assert client("GET", headers["location"])[1]["range"] == "0-139"
    assert fake.received() == 200


def test_what_hangs_ends_with_the_registry() -> None:
    with FakeRegistry(faults.hang("ping")) as registry:
        connection = http.client.HTTPConnection(registry.host, timeout=10)
        connection.request("GET", "/v2/")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        connection.getresponse()
    connection.close()


def test_a_token_ends_after_some_uses() -> None:
    with FakeRegistry(access=Access("token", uses=1, anonymous_pull=True)) as registry:
        client = _Client(registry.host)
        challenge = client("GET", "/v2/a/tags/list")[1]["www-authenticate"]
        assert f'Bearer realm="{registry.base}/token"' in challenge
        assert 'scope="repository:a:pull"' in challenge
        token = json.loads(client("GET", "/token?scope=repository:a:pull")[2])["token"]
        assert token in registry.secrets
        given = _Client(registry.host, Authorization=f"Bearer {token}")
        assert [given("GET", "/v2/a/tags/list")[0] for _ in range(2)] == [200, 401]
        other = json.loads(client("GET", "/token?scope=repository:a:pull")[2])["token"]
        given = _Client(registry.host, Authorization=f"Bearer {other}")
        assert 'error="insufficient_scope"' in given("POST", "/v2/a/blobs/uploads/", b"")[1]["www-authenticate"]
