"""The catalogue of a registry: every repository once, and registries that give none, or one that does not end."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator

import pytest

from tests.images import samples
from tests.images.forms import put_into_registry
from tests.images.registry import Access, DebianRegistry, FakeRegistry, Fault, Reply, faults
from tests.images.registry.exchange import Request
from wclayer.errors import (
    AccessDeniedError,
    InvalidDataError,
    LayerError,
    LimitExceededError,
    NotSupportedError,
    PathNotFoundError,
    RegistryError,
)
from wclayer.images.registry import Credentials, RegistryOptions
from wclayer.images.registry.catalogue import get_repositories
from wclayer.images.registry.client import RegistryClient
from wclayer.images.registry.documents import _LINK, get_tags
from wclayer.model import Limits, limits_in_use, use_limits

_NOBODY = Credentials()
_USER = Credentials("user", "password")


def _listed(host: str, credentials: Credentials = _NOBODY) -> list[str]:
    options = RegistryOptions(credentials=credentials, retries=0, timeout=5.0)
    with RegistryClient(host, host, "", "", options) as client:
        return list(get_repositories(client))


@pytest.fixture(scope="module")
def full_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianRegistry]:
    """A registry of 2300 repositories. It lists them by their folders."""
    with DebianRegistry(tmp_path_factory.mktemp("full") / "registry", logs_requests=True) as registry:
        put_into_registry(registry.base, "team-0/app-0", "1", samples.small())
        root = registry.folder / "data/docker/registry/v2/repositories"
        for number in range(1, 2300):
            folder = root / f"team-{number % 7}" / f"app-{number}"
            folder.parent.mkdir(exist_ok=True)
            folder.mkdir()
            for part in ("_layers", "_manifests", "_uploads"):
                (folder / part).symlink_to(root / "team-0" / "app-0" / part)
        yield registry


def test_a_real_registry_of_thousands_lists_each_repository_once(full_registry: DebianRegistry) -> None:
    found = _listed(full_registry.host)
    assert len(found) == len(set(found)) == 2300
    assert set(found) == {f"team-{number % 7}/app-{number}" for number in range(2300)}
    asked = [line for line in full_registry.log.splitlines() if "GET /v2/_catalog" in line]
    assert len(asked) == 3


def test_a_real_registry_with_users_lists_for_them_alone(
    debian_registry_with_users: DebianRegistry, repository: str
) -> None:
    ((user, password),) = debian_registry_with_users.users.items()
    with pytest.raises(AccessDeniedError, match=r"asks for a log-in.*wclayer login.*a file with one reference"):
        _listed(debian_registry_with_users.host)
    assert isinstance(_listed(debian_registry_with_users.host, Credentials(user, password)), list)


def test_a_registry_that_takes_smaller_pages_is_asked_for_its_own() -> None:
    with FakeRegistry(page=3) as registry:
        names = [f"app-{number:02}" for number in range(10)]
        for name in names:
            registry.contents.repository(name)
        assert _listed(registry.host) == names
        assert [request.query.get("n") for request in registry.asked("catalogue")] == ["1000", None, "3", "3", "3"]


def test_a_registry_that_knows_no_link_is_asked_on(fake: FakeRegistry) -> None:
    names = [f"app-{number:04}" for number in range(2500)]
    for name in names:
        fake.contents.repository(name)
    fake.faults.append(faults.header("catalogue", "Link", None))
    assert _listed(fake.host) == names
    assert len(fake.asked("catalogue")) == 3
    # One that does not know `last` either has given all.
    fake.forget()
    fake.faults += [faults.body("catalogue", json.dumps({"repositories": names[:1000]}).encode(), "application/json")]
    assert _listed(fake.host) == names[:1000]
    assert len(fake.asked("catalogue")) == 2


@pytest.mark.parametrize(
    "link",
    ['<{}>; rel="next"', "<{}>;rel=next", '<{}> ; title="more; of it" ; REL="next"',
     '</first>; rel="first", <{}>; rel="next"', "<http://127.0.0.2:1{}>; rel=next",
     "< >; rel=prev, <{}>; a=b;c ; rel=next"],
)  # fmt: skip
def test_the_next_page_is_found_however_its_link_is_written(fake: FakeRegistry, link: str) -> None:
    fake.faults.append(
        Fault(
            "catalogue",
            instead=lambda request: Reply.of(
                json.dumps({"repositories": ["a" + request.query.get("last", "")]}).encode(),
                "application/json",
                Link="" if "last" in request.query else link.replace("{}", "/v2/_catalog?last=b"),
            ),
        )
    )
    assert _listed(fake.host) == ["a", "ab"]


def test_a_long_link_takes_no_time() -> None:
    for text in ("<" * 8000, "<>" + "; " * 4000, "<>" + ";a=b " * 1600, "<>" + " " * 8000, '<>;rel="' * 1000):
        assert _LINK.search(text) is None


def test_a_catalogue_needs_a_scope_of_its_own() -> None:
    with FakeRegistry(access=Access("token", anonymous_pull=True)) as registry:
        registry.contents.repository("app")
        assert _listed(registry.host, _USER) == ["app"]
        assert [request.scopes for request in registry.asked("token")] == [["registry:catalog:*"]]
        with pytest.raises(AccessDeniedError, match="a file with one reference in each line"):
            _listed(registry.host)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, AccessDeniedError), (403, AccessDeniedError), (404, PathNotFoundError), (405, NotSupportedError),
     (501, NotSupportedError)],
)  # fmt: skip
def test_a_registry_without_a_catalogue_is_told_with_what_to_do(
    fake: FakeRegistry, status: int, error: type[LayerError]
) -> None:
    fake.faults.append(faults.error(status, "catalogue"))
    with pytest.raises(error, match=r"the list of its repositories.*name one repository, or a file with one reference"):
        _listed(fake.host)


def _pages(page: Callable[[int], tuple[list[object], str]]) -> Fault:
    """A catalogue whose pages, and the addresses of the next ones, a function makes of the number of the request."""
    numbers = itertools.count()

    def answer(request: Request) -> Reply:
        names, link = page(next(numbers))
        data = json.dumps({"repositories": names}).encode()
        return Reply.of(data, "application/json", Link=f'<{link}>; rel="next"')

    return Fault("catalogue", instead=answer)


HOSTILE: dict[str, tuple[Fault, type[LayerError], str, int]] = {
    "pages that never end": (
        _pages(lambda number: ([f"a{number}-{item}" for item in range(50)], f"/v2/_catalog?last=a{number}")),
        LimitExceededError, "more than 2000 repositories .*archive-members", 41,
    ),
    "empty pages that never end": (
        _pages(lambda number: ([], f"/v2/_catalog?last={number}")), LimitExceededError, "more than 1000 pages", 1000,
    ),
    "pages that go round": (
        _pages(lambda number: ([f"a{number % 3}"], f"/v2/_catalog?last={number % 3}")),
        RegistryError, "gives the same repositories again", 4,
    ),
    "a page that follows itself": (
        _pages(lambda number: (["a"], "/v2/_catalog?n=1000")), RegistryError, "does not name the next page", 1,
    ),
    "a page elsewhere": (
        _pages(lambda number: (["a"], "http://127.0.0.2:1/")), RegistryError, "does not name the next page", 1,
    ),
    "names that are numbers": (_pages(lambda number: ([1, 2], "")), InvalidDataError, "not a list of strings", 1),
    "no list": (faults.body("catalogue", b'{"repositories":"a"}', "application/json"), InvalidDataError, "a list", 1),
    "no JSON": (faults.html("catalogue"), InvalidDataError, "is not JSON.*a file with one reference", 1),
    "a huge page": (faults.endless("catalogue"), LimitExceededError, "at most 65536 are accepted .*manifest-size", 1),
    "deep": (faults.body("catalogue", b'{"a":' * 900, "application/json"), InvalidDataError, "is not JSON", 1),
    "status 418": (faults.error(418, "catalogue"), RegistryError, "status 418", 1),
    "refuses every number": (faults.error(400, "catalogue"), RegistryError, "status 400", 2),
}  # fmt: skip


@pytest.fixture
def small_limits() -> Iterator[None]:
    before = limits_in_use()
    use_limits(Limits(archive_members=2000, manifest_size=1 << 16))
    yield
    use_limits(before)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_catalogue_ends(name: str, small_limits: None) -> None:
    fault, error, expected, requests = HOSTILE[name]
    with FakeRegistry(fault.only()) as registry:
        with pytest.raises(error, match=expected):
            _listed(registry.host)
        assert len(registry.asked("catalogue")) == requests


def test_a_long_name_is_not_kept(fake: FakeRegistry) -> None:
    data = json.dumps({"repositories": ["a" * 60_000, "b"], "tags": ["t" * 60_000]}).encode()
    fake.faults += [faults.body(kind, data, "application/json") for kind in ("catalogue", "tags")]
    assert [len(name) for name in _listed(fake.host)] == [256, 1]
    with RegistryClient(fake.host, fake.host, "app", "pull", RegistryOptions(credentials=_NOBODY)) as client:
        assert [len(tag) for tag in get_tags(client)] == [256]
