"""Which vulnerabilities a system has, by advisories in each of MSRC's forms."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.inventory.cve.forms import (
    CORE_2022,
    FORMS,
    NAMES,
    SERVER_2022,
    VECTOR,
    Case,
    Fix,
    csaf,
    cve,
    cvrf_json,
    cvrf_xml,
    with_fixes,
)
from wclayer import Severity, Vulnerability, VulnerabilityState
from wclayer.images.windows_version import WindowsVersion
from wclayer.inventory.cve.matching import match
from wclayer.inventory.cve.parsing import parse_document
from wclayer.inventory.cve.system import InstalledSystem, Runtime

VULNERABLE, FIXED = VulnerabilityState.VULNERABLE, VulnerabilityState.FIXED
UNKNOWN, NOT_AFFECTED = VulnerabilityState.UNKNOWN, VulnerabilityState.NOT_AFFECTED
SYSTEM = InstalledSystem(
    WindowsVersion(10, 0, 20348, 1999), "Windows Server 2022 Datacenter", "Server Core", updates=frozenset(["5030216"])
)
every_form = pytest.mark.parametrize("form", FORMS)
with_articles = pytest.mark.parametrize("form", [form for form in FORMS if form != "CVE"])


def _found(system: InstalledSystem, *documents: bytes) -> list[Vulnerability]:
    parsed = [parse_document(data, f"document {number}") for number, data in enumerate(documents)]
    return list(match(system, parsed).found)


def _only(system: InstalledSystem, *documents: bytes) -> Vulnerability:
    (found,) = _found(system, *documents)
    return found


def _with_revision(revision: int) -> InstalledSystem:
    return replace(SYSTEM, version=WindowsVersion(10, 0, 20348, revision))


@every_form
@pytest.mark.parametrize(
    ("revision", "state"), [(1, VULNERABLE), (1999, VULNERABLE), (2000, FIXED), (2001, FIXED), (-1, UNKNOWN)]
)
def test_windows_is_vulnerable_below_the_revision_of_the_fixed_build(
    form: str, revision: int, state: VulnerabilityState
) -> None:
    found = _only(_with_revision(revision), FORMS[form](Case()))
    assert (found.state, found.fixed_in) == (state, "10.0.20348.2000")
    assert found.product is not None
    assert found.product.name == "Windows Server 2022 (Server Core installation)"


@every_form
def test_what_is_known_of_a_vulnerability_is_in_the_result(form: str) -> None:
    found = _only(SYSTEM, FORMS[form](Case()))
    assert (found.cve, found.title) == ("CVE-2099-0001", "Windows Example Remote Code Execution Vulnerability")
    assert (found.severity, found.score, found.vector) == (Severity.CRITICAL, 9.8, VECTOR)
    assert found.reason == "10.0.20348.1999 is before 10.0.20348.2000"
    assert (found.source, found.revised) == ("document 0", "2099-01-10T08:00:00")
    # Records of the CVE program have neither.
    assert (found.kb, found.impact) == (("", "") if form == "CVE" else ("KB5099001", "Remote Code Execution"))


@every_form
def test_a_vulnerability_of_other_products_does_not_affect(form: str) -> None:
    case = with_fixes(Fix(("11571", "11572"), "5099002", "10.0.17763.9999"))
    found = _only(SYSTEM, FORMS[form](case))
    assert (found.state, found.product, found.reason) == (
        NOT_AFFECTED, None, "it affects no product that is installed",
    )  # fmt: skip


@every_form
def test_a_vulnerability_of_the_desktop_only_does_not_affect_server_core(form: str) -> None:
    found = _only(SYSTEM, FORMS[form](with_fixes(Fix((SERVER_2022,), "5099001", "10.0.20348.2000"))))
    assert found.state == NOT_AFFECTED


def test_nano_server_has_the_vulnerabilities_of_server_core() -> None:
    nano = replace(SYSTEM, installation_type="Nano Server")
    assert _only(nano, cvrf_json(Case())).state == VULNERABLE
    assert _only(nano, cvrf_json(with_fixes(Fix((SERVER_2022,), "5099001", "10.0.20348.2000")))).state == NOT_AFFECTED


def test_a_record_that_names_a_release_once_means_both_installations_if_it_names_server_core_elsewhere() -> None:
    names = NAMES | {"x": "Windows Server 2019 (Server Core installation)"}
    fixes = (Fix((SERVER_2022,), "", "10.0.20348.2000"), Fix(("x",), "", "10.0.17763.6000"))
    assert _only(SYSTEM, cve(with_fixes(*fixes), names)).state == VULNERABLE


@with_articles
def test_an_article_that_is_installed_is_a_fix(form: str) -> None:
    found = _only(replace(SYSTEM, updates=frozenset(["5099001"])), FORMS[form](Case()))
    assert (found.state, found.reason) == (FIXED, "KB5099001 is installed")


@with_articles
@pytest.mark.parametrize("kind", ["Security Hotpatch Update", "SecurityHotpatchUpdate", "AzureHotpatch"])
def test_a_hotpatch_counts_only_if_its_article_is_installed(form: str, kind: str) -> None:
    """Its build has a lower number than the update of the same day, and a higher one than the update before that."""
    both = (CORE_2022,)
    case = with_fixes(Fix(both, "5099009", "10.0.20348.1900", kind), Fix(both, "5099001", "10.0.20348.2000"))
    found = _only(SYSTEM, FORMS[form](case))
    assert (found.state, found.kb, found.fixed_in) == (VULNERABLE, "KB5099001", "10.0.20348.2000")
    found = _only(replace(SYSTEM, updates=frozenset(["5099009"])), FORMS[form](case))
    assert (found.state, found.kb) == (FIXED, "KB5099009")
    assert _only(_with_revision(2000), FORMS[form](case)).state == FIXED


@with_articles
def test_a_hotpatch_that_is_named_otherwise_is_known_by_its_lower_revision(form: str) -> None:
    """In December 2025, a document names hotpatches "Security Only" and "Security Update"."""
    fixes = (Fix((CORE_2022,), "5099009", "10.0.20348.1900"), Fix((CORE_2022,), "5099001", "10.0.20348.2000"))
    for case in (with_fixes(*fixes), with_fixes(*reversed(fixes))):
        found = _only(SYSTEM, FORMS[form](case))
        assert (found.state, found.fixed_in) == (VULNERABLE, "10.0.20348.2000")
        assert _only(replace(SYSTEM, updates=frozenset(["5099009"])), FORMS[form](case)).state == FIXED
        assert _only(_with_revision(2000), FORMS[form](case)).state == FIXED


@with_articles
@pytest.mark.parametrize(
    ("updates", "state", "reason"),
    [
        (["5099001"], FIXED, "KB5099001 is installed"),
        (["5030216"], VULNERABLE, "KB5099001 is not installed"),
        ([], UNKNOWN, "the image lists no updates, so KB5099001 cannot be looked for"),
    ],
)
def test_without_a_fixed_build_the_article_decides(
    form: str, updates: list[str], state: VulnerabilityState, reason: str
) -> None:
    system = replace(SYSTEM, updates=frozenset(updates))
    found = _only(system, FORMS[form](with_fixes(Fix((CORE_2022,), "5099001"))))
    assert (found.state, found.reason) == (state, reason)


@with_articles
def test_without_a_fixed_build_a_later_cumulative_update_is_enough(form: str) -> None:
    """Updates are cumulative: who has that of March has that of January."""
    january = with_fixes(Fix((CORE_2022,), "5099001"), cve="CVE-2099-0001")
    march = replace(Case(), cve="CVE-2099-0003", released="2099-03-10T08:00:00", revised="2099-03-10T08:00:00")
    write = FORMS[form]
    states = {found.cve: found.state for found in _found(_with_revision(2000), write(january), write(march))}
    assert states == {"CVE-2099-0001": FIXED, "CVE-2099-0003": FIXED}
    states = {found.cve: found.state for found in _found(_with_revision(1999), write(january), write(march))}
    assert states == {"CVE-2099-0001": VULNERABLE, "CVE-2099-0003": VULNERABLE}
    other_build = replace(january, fixes=(Fix((CORE_2022,), "5099001", "10.0.17784.2183"),))
    states = {found.cve: found.state for found in _found(_with_revision(2000), write(other_build), write(march))}
    assert states["CVE-2099-0001"] == FIXED
    # What was corrected after March may need a later update.
    states = {
        found.cve: found.state
        for found in _found(_with_revision(2000), write(replace(january, revised="2099-04-01T00:00:00")), write(march))
    }
    assert states["CVE-2099-0001"] == VULNERABLE


@with_articles
def test_a_vulnerability_that_was_published_after_its_fix_does_not_make_a_system_newer(form: str) -> None:
    """The system has the update of January. In May, a vulnerability was published that it fixes."""
    march = with_fixes(
        Fix((CORE_2022,), "5099003"), cve="CVE-2099-0003", released="2099-03-10T00:00:00", revised="2099-03-10T00:00:00"
    )
    april = with_fixes(
        Fix((CORE_2022,), "5099004", "10.0.20348.2400"), cve="CVE-2099-0004",
        released="2099-04-10T00:00:00", revised="2099-04-10T00:00:00",
    )  # fmt: skip
    may = with_fixes(
        Fix((CORE_2022,), "5099001", "10.0.20348.2000"), cve="CVE-2099-0005",
        released="2099-05-10T00:00:00", revised="2099-05-10T00:00:00",
    )  # fmt: skip
    found = _found(_with_revision(2000), *map(FORMS[form], (march, april, may)))
    assert {each.cve[-1]: each.state for each in found} == {"3": VULNERABLE, "4": VULNERABLE, "5": FIXED}


@with_articles
def test_what_was_exploited_is_told(form: str) -> None:
    assert _only(SYSTEM, FORMS[form](replace(Case(), is_exploited=True))).is_exploited
    assert not _only(SYSTEM, FORMS[form](Case())).is_exploited


@pytest.mark.parametrize(
    ("fixes", "reason"),
    [
        ((), "the document names no fix for this product"),
        ((Fix((CORE_2022,), "", "10.0.17784.2183"),), "the fixed version '10.0.17784.2183' is none of build 20348"),
        ((Fix((CORE_2022,), "", "2000"),), "the fixed version '2000' is none of build 20348"),
        ((Fix((CORE_2022,), "", "latest"),), "the fixed version 'latest' is none of build 20348"),
        ((Fix((CORE_2022,)),), "the document states neither a version that is fixed nor an update"),
    ],
)
def test_what_cannot_be_compared_is_unknown_with_the_reason(fixes: tuple[Fix, ...], reason: str) -> None:
    for write in (cvrf_json, cvrf_xml):
        found = _only(SYSTEM, write(replace(Case(), fixes=fixes)))
        assert (found.state, found.reason) == (UNKNOWN, reason)


def test_builds_that_get_the_same_updates_are_compared_by_their_revisions() -> None:
    names = {"1": "Windows 10 Version 22H2 for x64-based Systems"}
    client = InstalledSystem(WindowsVersion(10, 0, 19045, 6000), "Windows 10 Pro", "Client")
    case = with_fixes(Fix(("1",), "5099001", "10.0.19044.6332"))
    assert _only(client, cvrf_json(case, names=names)).state == VULNERABLE
    updated = replace(client, version=WindowsVersion(10, 0, 19045, 6332))
    assert _only(updated, cvrf_json(case, names=names)).state == FIXED


@every_form
def test_the_newest_revision_of_a_vulnerability_counts_in_any_order(form: str) -> None:
    first = Case()
    second = replace(
        first, revised="2099-02-01T00:00:00", fixes=(Fix((SERVER_2022, CORE_2022), "5099005", "10.0.20348.2100"),)
    )
    for order in ((first, second), (second, first)):
        found = _only(_with_revision(2050), *map(FORMS[form], order))
        assert (found.state, found.fixed_in) == (VULNERABLE, "10.0.20348.2100")


@every_form
def test_a_correction_can_take_a_product_away(form: str) -> None:
    other = with_fixes(Fix(("11571",), "5099002", "10.0.17763.9999"), revised="2099-02-01T00:00:00")
    assert _only(SYSTEM, FORMS[form](Case()), FORMS[form](other)).state == NOT_AFFECTED


def test_documents_of_all_forms_give_the_same() -> None:
    documents = [write(replace(Case(), cve=f"CVE-2099-{number}000")) for number, write in enumerate(FORMS.values(), 1)]
    found = _found(SYSTEM, *documents)
    assert len(found) == 4
    assert {(each.state, each.fixed_in, each.severity, each.score) for each in found} == {
        (VULNERABLE, "10.0.20348.2000", Severity.CRITICAL, 9.8)
    }


def test_the_worst_and_most_severe_come_first() -> None:
    cases = [
        replace(Case(), cve="CVE-2099-0001", severity="Low", score=3.0),
        replace(Case(), cve="CVE-2099-0002", severity="Critical", score=7.0),
        replace(Case(), cve="CVE-2099-0003", severity="Critical", score=9.9),
        replace(Case(), cve="CVE-2099-0004", severity="Important", score=10),
        replace(Case(), cve="CVE-2099-0005", fixes=()),
        replace(Case(), cve="CVE-2099-0006", fixes=(Fix((CORE_2022,), "1234567", "10.0.20348.1"),)),
    ]
    found = _found(SYSTEM, cvrf_json(*cases))
    assert [each.cve[-1] for each in found] == ["3", "2", "4", "1", "5", "6"]


def test_a_product_that_no_document_mentions_is_told() -> None:
    document = parse_document(cvrf_json(Case(), names={"11571": "Windows Server 2019"}), "2019")
    unmentioned = match(replace(SYSTEM, runtimes=(Runtime(".NET", "8.0.1"),)), [document]).unmentioned
    assert [product.name for product in unmentioned] == [".NET 8.0"]  # the id 11924 is known without its name
    document = parse_document(cvrf_json(names={"11571": "Windows Server 2019"}), "2019")
    (product,) = match(SYSTEM, [document]).unmentioned
    assert product.name == "Windows Server 2022 (Server Core installation)"
    assert match(SYSTEM, [parse_document(csaf(Case()), "csaf")]).unmentioned == ()


DOTNET = (Fix(("12260",), "5099100", "8.0.17"),)


@every_form
@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("8.0.16", VULNERABLE),
        ("8.0.17", FIXED),
        ("8.0.100", FIXED),
        ("8.0.17-rc.1", VULNERABLE),
        ("8.0.x", NOT_AFFECTED),
    ],
)
def test_a_runtime_is_compared_by_its_version(form: str, version: str, state: VulnerabilityState) -> None:
    system = replace(SYSTEM, runtimes=(Runtime(".NET", version),))
    assert _only(system, FORMS[form](with_fixes(*DOTNET))).state == state


def test_each_runtime_beside_others_is_compared() -> None:
    runtimes = (Runtime(".NET", "8.0.16", "C:\\a"), Runtime(".NET", "8.0.18", "C:\\b"), Runtime(".NET", "9.0.1"))
    found = _found(replace(SYSTEM, runtimes=runtimes), cvrf_json(with_fixes(*DOTNET)))
    assert [(each.state, each.product.path if each.product else "") for each in found] == [
        (VULNERABLE, "C:\\a"), (FIXED, "C:\\b"),
    ]  # fmt: skip


@pytest.mark.parametrize("stated", ["", "15.9.38", "8.0.XX", "9.0.3"])
def test_a_fixed_version_of_something_else_says_nothing_of_a_runtime(stated: str) -> None:
    system = replace(SYSTEM, runtimes=(Runtime(".NET", "8.0.16"),))
    found = _only(system, cvrf_json(with_fixes(Fix(("12260",), "", stated))))
    assert found.state == UNKNOWN
    assert stated in found.reason


@pytest.mark.parametrize(
    ("name", "is_known"),
    [
        (".NET 8.0", True), (".NET 8.0 installed on Windows", True), (".NET 8.0 installed on Linux", False),
        (".NET Core 8.0", True), (".NET 8", False), ("ASP.NET Core 8.0", False), (".NET 18.0", False),
        (".NET 8.0 on Windows Server 2022", False),
    ],
)  # fmt: skip
def test_the_names_of_a_runtime_in_documents(name: str, is_known: bool) -> None:
    system = replace(SYSTEM, runtimes=(Runtime(".NET", "8.0.16"),))
    found = _only(system, cvrf_json(with_fixes(*DOTNET), names={"12260": name}))
    assert (found.state == VULNERABLE) is is_known


FRAMEWORK = "11676-11924"
CORE = "(Server Core installation)"


@every_form
@pytest.mark.parametrize(
    ("stated", "installed", "state"),
    [
        ("4.8.4739.04", ("10.0.4739.4",), FIXED),
        ("4.8.4739.04", ("10.0.4739.3",), VULNERABLE),
        ("4.8.04690.02", ("10.0.4739.1", "10.0.4644.3"), FIXED),
        ("4.8.4718.0", ("10.0.4690.2",), VULNERABLE),
        ("10.0.04614.06", ("10.0.4614.5",), VULNERABLE),
        ("10.0.20348.1999", (), FIXED),
        ("10.0.20348.2000", ("10.0.4739.4",), VULNERABLE),
        ("10.0.14393.5989", ("10.0.4739.4",), UNKNOWN),
        ("4.8.4739.04", (), UNKNOWN),
        ("4.8.4739.04", ("10.0.9256.3",), UNKNOWN),
    ],
)
def test_net_framework_is_compared_by_its_cumulative_update(
    form: str, stated: str, installed: tuple[str, ...], state: VulnerabilityState
) -> None:
    system = replace(SYSTEM, framework="4.8", framework_updates=installed)
    case = with_fixes(Fix((FRAMEWORK,), "5099200", stated, "Monthly Rollup"))
    found = _only(system, FORMS[form](case))
    assert found.state == state
    assert found.product is not None
    assert found.product.name == "Microsoft .NET Framework 4.8"


@pytest.mark.parametrize(
    ("name", "is_known"),
    [
        ("Microsoft .NET Framework 4.8 on Windows Server 2022 (Server Core installation)", True),
        (".NET Framework 3.5 AND 4.8 on Windows Server 2022  (Server Core Installation)", True),
        ("Microsoft .NET Framework 4.6.2/4.7/4.8 on Windows Server 2022 (Server Core installation)", True),
        ("Microsoft .NET Framework 3.5 on Windows Server 2022 (Server Core installation)", True),
        ("Microsoft .NET Framework 3.5 AND 4.8.1 on Windows Server 2022 (Server Core installation)", False),
        ("Microsoft .NET Framework 4.8 on Windows Server 2022", False),
        ("Microsoft .NET Framework 4.8 on Windows Server 2019 (Server Core installation)", False),
        ("Microsoft .NET Framework 4.8", False),
    ],
)
def test_net_framework_is_found_by_its_version_on_the_system(name: str, is_known: bool) -> None:
    system = replace(SYSTEM, framework="4.8", framework_updates=("10.0.4000.1",), has_framework_3_5=True)
    case = with_fixes(Fix((FRAMEWORK,), "5099200", "4.8.4739.04"))
    found = _only(system, cvrf_json(case, names={FRAMEWORK: name}))
    assert (found.state == VULNERABLE) is is_known


@pytest.mark.parametrize(
    ("build", "product", "kind", "architecture", "name"),
    [
        (14393, "Windows Server 2016 Datacenter", "Server Core", "amd64", f"Windows Server 2016 {CORE}"),
        (14393, "Windows Server 2016 Datacenter", "Server", "amd64", "Windows Server 2016"),
        (17763, "Windows Server 2019 Datacenter", "Nano Server", "amd64", f"Windows Server 2019 {CORE}"),
        (18362, "Windows Server Datacenter", "Server", "amd64", f"Windows Server, version 1903 {CORE}"),
        (25398, "", "Server Core", "amd64", f"Windows Server 2022, 23H2 Edition {CORE}"),
        (26100, "Windows Server 2025 Datacenter", "Server", "amd64", "Windows Server 2025"),
        (17763, "Windows 10 Enterprise", "Client", "amd64", "Windows 10 Version 1809 for x64-based Systems"),
        (17763, "Windows 10 Pro", "Client", "386", "Windows 10 Version 1809 for 32-bit Systems"),
        (26100, "Windows 11 Pro", "Client", "arm64", "Windows 11 Version 24H2 for ARM64-based Systems"),
        (10240, "Windows 10 Pro", "Client", "amd64", "Windows 10 for x64-based Systems"),
        (99999, "Windows Server 2099", "Server Core", "amd64", "Windows Server 2099"),
    ],
)
def test_a_system_has_the_name_of_its_release(
    build: int, product: str, kind: str, architecture: str, name: str
) -> None:
    system = InstalledSystem(WindowsVersion(10, 0, build, 1), product, kind, architecture)
    found = _only(system, cvrf_json(with_fixes(Fix(("1",), "", f"10.0.{build}.2")), names={"1": name}))
    assert found.state == VULNERABLE
    assert found.product is not None
    assert found.product.name == name


def test_a_product_is_found_by_its_name_before_its_id() -> None:
    assert _only(SYSTEM, cvrf_json(Case(), names={"1": "x"})).state == VULNERABLE
    assert _only(SYSTEM, cvrf_json(Case(), names={CORE_2022: "Azure Stack HCI"})).state == NOT_AFFECTED
