"""Who can write what they should not: by the place, by the descriptor, by the layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wclayer
from tests.inventory.subjects import Keys
from tests.packages import system_hive
from tests.rights.layers import (
    CLOSED,
    CLOSED_KEY,
    INHERITED,
    OPEN,
    OPEN_KEY,
    Security,
    audit,
    descriptor,
    finding,
    hive,
    make_layer,
    places,
    told,
)
from tests.source import ROOT
from wclayer.rights.access import check_access
from wclayer.rights.audit import findings, keys
from wclayer.rights.audit.api import audit_rights
from wclayer.rights.audit.expected import expected_places
from wclayer.rights.audit.judge import WRITING, Judge
from wclayer.rights.audit.model import AuditedPlace, GrantReason
from wclayer.rights.audited import AUDITED
from wclayer.rights.kinds import ObjectKind
from wclayer.win32.inherit import inherited
from wclayer.win32.sddl import from_sddl
from wclayer.win32.security import SecurityDescriptor

_SELECT: Keys = {"Select": {"Current": 1}}
_SERVICES = r"ControlSet001\Services"
_ENVIRONMENT = r"ControlSet001\Control\Session Manager\Environment"


def _service(name: str, program: str, **more: str | int) -> Keys:
    return {rf"{_SERVICES}\{name}": {"Type": 16, "Start": 2, "ImagePath": program, **more}}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("Program Files/App/app.exe", "program-files"),
        ("Program Files/App/data.txt", "program-files"),
        ("Program Files (x86)/App/", "program-files"),
        ("Windows/System32/drivers/etc/", "windows"),
        ("Windows/System32/kernel32.dll", "windows"),
        ("ProgramData/App/settings.json", "program-data"),
        ("ProgramData/App/", "program-data"),
        ("program.exe", "root"),
        ("app/app.exe", "application"),
        ("app/", None),
        ("app/readme.txt", None),
        ("Users/me/app.exe", None),
        ("Users/Public/x.dll", None),
        ("ProgramData/Microsoft/Windows/Start Menu/Programs/StartUp/", "startup"),
        ("Users/me/AppData/Roaming/Microsoft/Windows/Start Menu/Programs/Startup/", "startup"),
        ("Windows/System32/Tasks/Vendor/Task", "task"),
    ],
)
def test_what_lies_where(tmp_path: Path, path: str, place: str | None) -> None:
    found = places(audit(tmp_path, {path: OPEN}))
    assert found == ({} if place is None else {"C:\\" + path.rstrip("/").replace("/", "\\"): place})


def test_what_something_names_counts_wherever_it_is(tmp_path: Path) -> None:
    system = hive({
        **_SELECT,
        **_service("one", r'"C:\Users\me\service\one.exe" -k'),
        **_service("two", r"%SystemRoot%\system32\svchost.exe", ObjectName="LocalSystem"),
        _ENVIRONMENT: {"Path": r"%SystemRoot%\system32;C:\tools;C:\gone;D:\tools"},
    })  # fmt: skip
    files: dict[str, Security] = {
        "Users/me/service/one.exe": OPEN, "Users/me/service/": OPEN, "Windows/System32/svchost.exe": CLOSED,
        "tools/": OPEN,
    }  # fmt: skip
    found = audit(tmp_path, files, SYSTEM=system)
    assert [(each.place, each.about, each.path) for each in found.findings] == [
        (AuditedPlace.SERVICE, "one", r"C:\Users\me\service"),
        (AuditedPlace.SERVICE, "one", r"C:\Users\me\service\one.exe"),
        (AuditedPlace.PATH, "", r"C:\tools"),
    ]
    assert found.problems == ()


def test_the_rights_and_the_entry_that_gives_them_are_told(tmp_path: Path) -> None:
    sddl = "O:BAG:SYD:(D;;DC;;;WD)(A;;0x1301bf;;;BU)(A;;SDWD;;;AU)(A;OICIIO;FA;;;WD)"
    found = audit(tmp_path, {"Windows/x.dll": sddl})
    assert told(found) == [
        ("windows", "C:\\Windows\\x.dll", "BUILTIN\\Users", "append data, delete it"),
        ("windows", "C:\\Windows\\x.dll", "NT AUTHORITY\\Authenticated Users", "delete it, change permissions"),
    ]
    assert [grant.entries for grant in found.findings[0].grants] == [
        ("(A;;0x1301bf;;;BU)",), ("(A;;SDWD;;;AU)",),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sddl", "who", "reason"),
    [
        ("O:BAG:SYD:NO_ACCESS_CONTROL", "Everyone", GrantReason.NO_DACL),
        ("O:BAG:SY", "Everyone", GrantReason.NO_DACL),
        ("O:BUG:SYD:(A;;FR;;;BU)", "BUILTIN\\Users", GrantReason.OWNER),
        ("O:BAG:SYD:(A;;GA;;;IU)", "NT AUTHORITY\\INTERACTIVE", GrantReason.ENTRY),
        ("O:BAG:SYD:(A;;FW;;;BG)", "BUILTIN\\Guests", GrantReason.ENTRY),
        ("O:BAG:SYD:(A;;FA;;;S-1-5-93-2-2)", "User Manager\\ContainerUser", GrantReason.ENTRY),
        ("O:BAG:SYD:(A;;FA;;;S-1-5-21-1-2-3-513)", "Domain Users (or None) of a machine or a domain",
         GrantReason.ENTRY),
    ],
)  # fmt: skip
def test_why_somebody_may_write(tmp_path: Path, sddl: str, who: str, reason: GrantReason) -> None:
    found = audit(tmp_path, {"Windows/x.dll": sddl})
    assert [(grant.who.name, grant.reason) for each in found.findings for grant in each.grants] == [(who, reason)]


@pytest.mark.parametrize(
    "sddl",
    [
        "O:BAG:SYD:(D;;FA;;;WD)(A;;FA;;;BU)",
        "O:BAG:SYD:(A;OICIIO;FA;;;BU)",
        "O:BAG:SYD:(A;;FA;;;BA)(A;;FA;;;SY)(A;;FA;;;S-1-5-93-2-1)(A;;0x1200a9;;;WD)",
        "O:BAG:SYD:(A;;FA;;;BU)S:(ML;;NW;;;HI)",
        "O:BAG:SYD:NO_ACCESS_CONTROLS:(ML;;NW;;;SI)",
        "O:BUG:SYD:(A;;FR;;;OW)",
        "O:BAG:SYD:(A;;FA;;;AN)",  # an anonymous user has the level Untrusted
        "O:BAG:SYD:(A;;FA;;;AC)",  # apps in AppContainers are not asked for
        "O:BAG:SYD:(A;;0x1201bf;;;S-1-5-21-1-2-3-1001)",
        "O:BAG:SYD:(A;;WPCRRPLO;;;BU)",  # attributes alone do no harm
    ],
)
def test_what_does_not_let_anybody_write(tmp_path: Path, sddl: str) -> None:
    assert told(audit(tmp_path, {"Windows/x.dll": sddl})) == []


def test_everybody_may_make_directories_and_that_is_no_finding(tmp_path: Path) -> None:
    root = "O:BAG:SYD:P(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)(A;CI;LC;;;BU)(A;CIIO;DC;;;BU)"
    data = "O:BAG:SYD:P(A;OICI;FA;;;BA)(A;CI;DCLC;;;BU)"
    assert told(audit(tmp_path, {"ProgramData/": data, "ProgramData/App/": data}, root=root)) == []


def test_a_directory_with_programs_in_it_is_another_matter(tmp_path: Path) -> None:
    data = "O:BAG:SYD:P(A;OICI;FA;;;BA)(A;CI;DCLC;;;BU)"
    found = audit(tmp_path, {
        "ProgramData/App/": data, "ProgramData/App/a.dll": CLOSED, "ProgramData/App/b.dll": CLOSED,
        "ProgramData/Data/": data, "ProgramData/Data/a.txt": CLOSED, "app/": data, "app/run.CMD": CLOSED,
    })  # fmt: skip
    assert told(found) == [
        ("program-data", r"C:\ProgramData\App", "BUILTIN\\Users", "create files"),
        ("application", r"C:\app", "BUILTIN\\Users", "create files"),
    ]


def test_what_inherits_is_counted_with_what_it_inherits_from(tmp_path: Path) -> None:
    system = hive({**_SELECT, **_service("one", r"C:\Program Files\App\bin\one.exe")})
    found = audit(tmp_path, {
        "Program Files/App/": OPEN, "Program Files/App/a.dll": INHERITED, "Program Files/App/none.txt": None,
        "Program Files/App/sub/": INHERITED, "Program Files/App/sub/b.dll": INHERITED,
        "Program Files/App/own.dll": OPEN, "Program Files/App/closed/": CLOSED,
        "Program Files/App/closed/c.dll": INHERITED, "Program Files/App/bin/": INHERITED,
        "Program Files/App/bin/one.exe": INHERITED,
    }, SYSTEM=system)  # fmt: skip
    assert {
        each.path.removeprefix(r"C:\Program Files\App"): (str(each.place), each.below) for each in found.findings
    } == {
        "": ("program-files", 4),
        r"\own.dll": ("program-files", 0),
        r"\closed\c.dll": ("program-files", 0),
        r"\bin": ("service", 0),
        r"\bin\one.exe": ("service", 0),
    }


def test_without_a_descriptor_it_is_the_one_that_windows_would_give(tmp_path: Path) -> None:
    found = audit(tmp_path, {"Windows/": OPEN, "Windows/x.dll": None, "app/": None, "app/x.exe": None}, root=None)
    assert [(each.path, each.below, each.has_descriptor) for each in found.findings] == [
        (r"C:\Windows", 1, True), (r"C:\app", 0, False),
    ]  # fmt: skip


def test_a_damaged_descriptor_is_a_problem_and_the_others_are_judged(tmp_path: Path) -> None:
    found = audit(tmp_path, {"Windows/bad/": b"\1\2", "Windows/bad/x.dll": OPEN, "Windows/y.dll": OPEN})
    assert places(found) == {r"C:\Windows\bad\x.dll": "windows", r"C:\Windows\y.dll": "windows"}
    ((problem),) = found.problems
    assert (problem.kind, problem.place) == ("damaged", r"C:\Windows\bad")
    assert problem.text.startswith("security descriptor: ")


def test_what_is_so_in_every_windows_is_no_news(tmp_path: Path) -> None:
    creating, more = "O:BAG:SYD:P(A;OICI;FA;;;BA)(A;CI;DCLC;;;BU)", OPEN
    found = audit(tmp_path, {
        "Windows/Temp/": creating, "Windows/TRACING/": more, "Windows/tasks/x.job": more, "Windows/Temp/x.exe": OPEN,
    })  # fmt: skip
    assert [(each.path, each.expected) for each in found.expected] == [
        (r"C:\Windows\Temp", "programs of all users keep temporary files there")
    ]
    assert places(found) == {
        r"C:\Windows\TRACING": "windows", r"C:\Windows\tasks\x.job": "windows", r"C:\Windows\Temp\x.exe": "windows",
    }  # fmt: skip


def test_the_keys_of_a_real_machine_are_as_every_windows_has_them(tmp_path: Path) -> None:
    found = audit(tmp_path, {}, SYSTEM=system_hive())
    assert found.findings == ()
    known = {path: (rights, why) for path, rights, why in expected_places()}
    assert len(found.expected) == 7
    for each in found.expected:
        rights, why = known[each.path]
        assert each.expected == why
        for grant in each.grants:
            assert grant.mask & ~WRITING[ObjectKind.KEY] == 0
            assert set(grant.rights) <= set(rights)


def test_the_document_lists_what_is_expected() -> None:
    text = (ROOT / "docs" / "acl.md").read_text()
    rows = [f"| `{path}` | {', '.join(rights)} | {why} |" for path, rights, why in expected_places()]
    assert len(rows) > 30
    assert [line for line in text.split("### What is expected", 1)[1].splitlines() if line.startswith("| `")] == rows
    for place in AuditedPlace:
        assert f"`{place}`" in text


def test_keys_of_services_and_those_that_start_programs(tmp_path: Path) -> None:
    run = r"Microsoft\Windows\CurrentVersion\Run"
    system = hive(
        {**_SELECT, **_service("one", "x"), rf"{_SERVICES}\one\Parameters\More": {"a": "b"}, **_service("two", "x")},
        {rf"{_SERVICES}\one": OPEN_KEY, rf"{_SERVICES}\one\Parameters": OPEN_KEY.replace("D:P", "D:AI").replace(
            ";CI;", ";CIID;"), rf"{_SERVICES}\one\Parameters\More": OPEN_KEY},
    )  # fmt: skip
    software = hive({run: {"x": "y"}}, {run: "O:BAG:SYD:(A;;DC;;;IU)", rf"Wow6432Node\{run}": "O:BAG:SYD:(A;;KR;;;WD)"})
    found = audit(tmp_path, {}, SYSTEM=system, SOFTWARE=software)
    services = r"HKLM\SYSTEM\CurrentControlSet\Services"
    assert [(str(each.place), each.about, each.path, each.below) for each in found.findings] == [
        ("service-key", "one", rf"{services}\one", 1),
        ("service-key", "one", rf"{services}\one\Parameters\More", 0),
        ("autostart-key", "", rf"HKLM\SOFTWARE\{run}", 0),
    ]
    assert found.findings[2].grants[0].rights == ("set values",)


def test_too_many_keys_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_KEYS", 3)
    names = {rf"{_SERVICES}\s{number}": {"Type": 16, "Start": 2} for number in range(9)}
    found = audit(tmp_path, {}, SYSTEM=hive({**_SELECT, **names}))
    assert [(problem.kind, problem.place) for problem in found.problems] == [
        ("limited", r"HKLM\SYSTEM\CurrentControlSet\Services")
    ]


def test_findings_that_do_not_fit_into_memory_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "MAX_FINDINGS", 10_000)
    found = audit(tmp_path, {f"Windows/{number}.dll": OPEN for number in range(50)})
    assert 0 < len(found.findings) < 50
    assert len(found.findings) + found.left_out == 50


def test_the_layer_that_brought_it(tmp_path: Path) -> None:
    base = make_layer(tmp_path / "base", {"Windows/a.dll": OPEN, "Windows/b.dll": OPEN})
    top = make_layer(tmp_path / "top", {"Windows/b.dll": OPEN}, parents=[base])
    found = audit_rights(top)
    assert [(each.path, each.layer and each.layer.number, each.is_base) for each in found.findings] == [
        (r"C:\Windows\a.dll", 1, True), (r"C:\Windows\b.dll", 2, False),
    ]  # fmt: skip
    assert [layer.path for layer in found.layers] == [str(base), str(top)]


def test_other_accounts_can_be_asked_for(tmp_path: Path) -> None:
    layer = make_layer(tmp_path / "1", {"Windows/a.dll": "O:BAG:SYD:(A;;FA;;;NS)", "Windows/b.dll": CLOSED})
    assert audit_rights(layer).findings == ()
    for name in ("NETWORK SERVICE", r"nt authority\network service", "S-1-5-20"):
        assert places(audit_rights(layer, accounts=[name])) == {r"C:\Windows\a.dll": "windows"}
    with pytest.raises(wclayer.InvalidParameterError, match="no account"):
        audit_rights(layer, accounts=["me"])


def test_the_names_of_the_image_are_used(tmp_path: Path) -> None:
    service = "S-1-5-80-3880718306-3832830129-1677859214-2598158968-1052248003"
    layer = make_layer(
        tmp_path / "1", {"Windows/a.dll": f"O:BAG:SYD:(A;;FA;;;{service})"},
        {"SYSTEM": hive({**_SELECT, **_service("mssqlserver", "x")})},
    )  # fmt: skip
    found = audit_rights(layer, accounts=[service])
    assert [grant.who.name for each in found.findings for grant in each.grants] == [r"NT SERVICE\mssqlserver"]


def test_each_descriptor_is_judged_once(tmp_path: Path) -> None:
    found = audit(tmp_path, {f"Windows/{number}.dll": CLOSED for number in range(100)})
    assert found.checked == 102
    assert found.descriptors == 2  # that of the directories, and that of the files, which have other rights


_SDDL = st.sampled_from([
    CLOSED, OPEN, INHERITED, "O:BUG:SYD:", "O:BAG:SYD:NO_ACCESS_CONTROL", "O:BAG:SYD:(D;;FA;;;WD)(A;;FA;;;BU)",
    "O:BAG:SYD:(A;CIID;DCLC;;;AU)(A;ID;FA;;;BA)", "O:BAG:SYD:(A;OICIIOID;FA;;;BU)", None,
])  # fmt: skip
_NAMES = st.lists(st.sampled_from(["a", "b.dll", "c"]), min_size=1, max_size=3).map("/".join)


@dataclass
class _Tree:
    """Files and directories below `Windows`; a path that others lie below is a directory."""

    stated: dict[str, str | None]

    def entries(self) -> Iterator[tuple[str, bool, Security]]:
        names = {above for path in self.stated for above in _prefixes(path)}
        for path in sorted(names):
            is_directory = any(other.startswith(f"{path}/") for other in names)
            yield path, is_directory, self.stated.get(path, CLOSED)


def _prefixes(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


@given(st.dictionaries(_NAMES, _SDDL, max_size=8))
def test_every_entry_that_somebody_may_write_is_counted_once(
    tmp_path_factory: pytest.TempPathFactory, stated: dict[str, str | None]
) -> None:
    tree = _Tree(stated)
    files = {f"Windows/{path}{'/' if is_directory else ''}": sddl for path, is_directory, sddl in tree.entries()}
    found = audit(tmp_path_factory.mktemp("audit"), files)
    effective = {"": descriptor(CLOSED) or b""}
    writable: set[str] = set()
    for path, is_directory, sddl in tree.entries():
        above = effective[path.rpartition("/")[0]]
        effective[path] = descriptor(sddl) or inherited(above, is_directory)
        kind = ObjectKind.DIRECTORY if is_directory else ObjectKind.FILE
        parsed = SecurityDescriptor.decode(effective[path])
        if any(check_access(parsed, token, kind).mask & WRITING[kind] for token in AUDITED.values()):
            writable.add("C:\\Windows\\" + path.replace("/", "\\"))
    assert {each.path for each in found.findings} <= writable
    assert sum(1 + each.below for each in found.findings) == len(writable)
    for each in found.findings:
        inside = [path for path in writable if path.startswith(each.path + "\\")]
        assert each.below <= len(inside)


@given(st.sampled_from([OPEN, CLOSED, OPEN_KEY, CLOSED_KEY]), st.sampled_from(list(ObjectKind)))
def test_a_judgement_is_remembered(sddl: str, kind: ObjectKind) -> None:
    judge = Judge({})
    data = from_sddl(sddl).encode()
    assert judge.grants(data, kind) == judge.grants(bytes(bytearray(data)), kind)
    assert judge.descriptors == 1


def test_json_says_what_was_found(tmp_path: Path) -> None:
    found = audit(tmp_path, {"Windows/x.dll": OPEN, "Windows/Temp/": "O:BAG:SYD:(A;;DC;;;BU)"})
    record = found.to_json()
    assert record["findings"][0] == {
        "place": "windows", "about": None, "path": r"C:\Windows\x.dll", "kind": "file", "layer": 1, "is_base": True,
        "grants": [{
            "sid": "S-1-5-32-545", "name": "BUILTIN\\Users", "mask": 0x10006,
            "rights": ["write data", "append data", "delete it"], "reason": "entry",
            "entries": ["(A;OICI;0x1301bf;;;BU)"], "is_inherited": False,
        }],
        "below": 0, "has_descriptor": True, "expected": None,
    }  # fmt: skip
    assert finding(found, r"C:\Windows\Temp").expected
    assert record["expected"][0]["expected"]
