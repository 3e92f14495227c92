"""Who asks a registry: token services, credentials that it does not take, and other hosts that are given none."""

from __future__ import annotations

import pytest

from tests.images.registry import Access, FakeRegistry, Fault, Reply, faults
from tests.images.registry_bench import LOWER, UPPER, Bench, fill
from wclayer.errors import (
    AccessDeniedError,
    LayerError,
    PathNotFoundError,
    RegistryError,
)

TOKEN_FAULTS: dict[str, tuple[Fault, type[LayerError], str]] = {
    "status 500": (faults.error(500, "token"), RegistryError, "status 500.*an access token"),
    "refused": (faults.error(401, "token"), AccessDeniedError, "does not accept the credentials of the user 'user'"),
    "a page for people": (faults.html("token"), RegistryError, "token service .* not its JSON"),
    "endless": (faults.endless("token"), RegistryError, "token service .* more than 1048576 bytes"),
    "hangs": (faults.hang("token"), RegistryError, "sent nothing for too long"),
    "cut": (faults.cut("token", 3), RegistryError, "was cut"),
    "no token": (faults.body("token", b"{}", "application/json"), RegistryError, "gives no token"),
    "two lines": (
        faults.body("token", b'{"token":"a\\r\\nX: y"}', "application/json"),
        RegistryError,
        "gives no token",
    ),
    "repeats the secret": (
        Fault("token", instead=lambda request: Reply.error(500, "X", f"not {request.authorization} nor password")),
        RegistryError,
        "status 500",
    ),
    "a long life": (
        faults.body("token", b'{"token":"x","expires_in":1' + b"0" * 400 + b"}", "application/json"),
        AccessDeniedError,
        "does not accept the credentials",
    ),
}


@pytest.mark.parametrize("name", TOKEN_FAULTS)
def test_a_token_service_that_gives_no_token(bench: Bench, name: str) -> None:
    fault, error, expected = TOKEN_FAULTS[name]
    with FakeRegistry(fault, access=Access("token")) as registry:
        fill(registry)
        bench.check_sentence(bench.pull(registry), error, f"{registry.host}/app:1: ", expected)


@pytest.mark.parametrize(
    ("access", "error", "expected"),
    [
        (Access("token", users={"user": "another"}), AccessDeniedError, "token service .* does not accept"),
        (Access("basic", users={"user": "another"}), AccessDeniedError, "does not accept the credentials of the user"),
        (Access("token", uses=0), AccessDeniedError, "does not accept the credentials of the user"),
        (Access("token", challenges=("Digest realm=x",)), AccessDeniedError, "asks for a log-in"),
        (Access("token", challenges=('Bearer realm="ftp://x"',)), RegistryError, "cannot be asked"),
        (Access("token", challenges=('Bearer realm="',)), AccessDeniedError, "asks for a log-in"),
    ],
)
def test_a_registry_that_lets_nobody_in(bench: Bench, access: Access, error: type[LayerError], expected: str) -> None:
    with FakeRegistry(access=access) as registry:
        fill(registry)
        bench.check_sentence(bench.pull(registry), error, f"{registry.host}/app:1: ", expected)


def test_a_token_that_ends_in_the_middle_is_renewed(bench: Bench) -> None:
    with FakeRegistry(access=Access("token", uses=1)) as registry:
        fill(registry)
        assert bench.pull(registry, "--jobs", "1").status == 0
        assert len(registry.asked("token")) >= 4


def test_a_token_service_of_another_host_without_tls_is_given_nothing(bench: Bench) -> None:
    with FakeRegistry(address="127.0.0.2", access=Access("token")) as other:
        with FakeRegistry(access=Access("token", realm=f"{other.base}/token")) as registry:
            fill(registry)
            bench.check_sentence(bench.pull(registry), RegistryError, "without TLS on another host.*no credentials")
        assert not other.authorizations


@pytest.mark.parametrize("kind", ["manifest", "blob"])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"], ids=["another port", "another host"])
def test_credentials_stay_at_home_when_a_registry_redirects(bench: Bench, kind: str, address: str) -> None:
    with FakeRegistry(address=address) as other, FakeRegistry(access=Access("basic")) as registry:
        fill(other)
        fill(registry)
        registry.faults.append(faults.redirect(kind, other.base))
        assert bench.pull(registry).status == 0
        assert other.asked(kind)
        assert registry.authorizations
        assert not other.authorizations


def test_credentials_stay_at_home_when_a_detour_leads_back(bench: Bench) -> None:
    """What another host wants to be asked is not asked in the user's name."""
    with FakeRegistry(address="127.0.0.2") as other, FakeRegistry(access=Access("basic")) as registry:
        fill(registry)
        back = Reply(307, [("Location", f"{registry.base}/v2/app/blobs/{UPPER.digest}")])
        other.faults.append(Fault("blob", instead=lambda _: back))
        registry.faults.append(faults.redirect("blob", other.base).only(reference=LOWER.digest))
        bench.check_sentence(
            bench.pull(registry), AccessDeniedError, "layer 1 of 2", "does not accept|asks for a log-in"
        )
        assert other.asked("blob")
        returned = [
            request for request in registry.asked("blob", "GET", reference=UPPER.digest) if request.status == 401
        ]
        assert returned
        assert not [request for request in returned if request.authorization]


def test_an_upload_at_another_host_is_given_no_credentials(bench: Bench) -> None:
    with FakeRegistry(address="127.0.0.2") as other, FakeRegistry(access=Access("basic")) as registry:
        registry.faults.append(faults.upload_elsewhere(other.base))
        bench.check_sentence(bench.push(registry), PathNotFoundError, "does not have the upload of the blob")
        assert registry.authorizations
        assert other.asked("upload")
        assert not other.authorizations
