"""`icacls` and `takeown`: the descriptors that they leave, against what Microsoft documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builder.machines import Machine, machine
from wclayer.builder.commands.icacls import ICACLS, TAKEOWN
from wclayer.builder.commands.icacls_words import WordError, parse_icacls, parse_right
from wclayer.errors import LayerError, NotSupportedError
from wclayer.win32.accounts import account_sid

ROOT = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)"
HANDED = "(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIID;0x1200a9;;;BU)"
TO_FILE = "(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1200a9;;;BU)"


@pytest.fixture
def windows(tmp_path: Path, bases: Path) -> Iterator[Machine]:
    with machine(tmp_path, bases) as made:
        made.view.makedirs("C:\\t\\d\\e")
        made.view.create_file("C:\\t\\d\\f.txt")
        made.view.create_file("C:\\t\\d\\e\\g.txt")
        made.set_sddl("C:\\t", "O:BAG:SY" + ROOT)
        for path, dacl in (("d", HANDED), ("d\\e", HANDED), ("d\\f.txt", TO_FILE), ("d\\e\\g.txt", TO_FILE)):
            made.set_sddl(f"C:\\t\\{path}", f"O:BAG:SYD:AI{dacl}")
        yield made


def _dacl(windows: Machine, path: str) -> str:
    return windows.sddl(path).partition("D:")[2]


def test_a_grant_goes_before_what_is_inherited_and_down_the_tree(windows: Machine) -> None:
    assert windows.run(ICACLS, r'd /grant "IIS_IUSRS:(OI)(CI)M"', "C:\\t") == 0
    assert windows.output.splitlines() == [
        b"processed file: C:\\t\\d", b"Successfully processed 1 files; Failed processing 0 files",
    ]  # fmt: skip
    assert _dacl(windows, "C:\\t\\d") == f"AI(A;OICI;0x1301bf;;;IS){HANDED}"
    assert _dacl(windows, "C:\\t\\d\\e") == f"AI(A;OICIID;0x1301bf;;;IS){HANDED}"
    assert _dacl(windows, "C:\\t\\d\\e\\g.txt") == f"AI(A;ID;0x1301bf;;;IS){TO_FILE}"
    assert _dacl(windows, "C:\\t") == ROOT[2:]


@pytest.mark.parametrize(
    ("words", "aces"),
    [
        ("/grant Users:F", "(A;;FA;;;BU)"),
        ("/grant *S-1-1-0:RX", "(A;;0x1200a9;;;WD)"),
        ('/grant "Authenticated Users:R"', "(A;;FR;;;AU)"),
        (r'/grant "NT AUTHORITY\SYSTEM:(W)"', "(A;;0x100116;;;SY)"),
        ("/grant Users:RXW", "(A;;0x1201bf;;;BU)"),
        ("/grant Users:(CI)(NP)(RD,WDAC)", "(A;CINP;0x140001;;;BU)"),
        ("/grant Users:(OI)(CI)(IO)GA", "(A;OICIIO;FA;;;BU)"),
        ("/grant ContainerUser:D", "(A;;0x110000;;;S-1-5-93-2-2)"),
        ("/grant Users:R /grant Users:W", "(A;;0x12019f;;;BU)"),
        ("/grant Users:R /grant:r Users:W", "(A;;0x100116;;;BU)"),
        ("/grant:r Users:R Users:(OI)R", "(A;;FR;;;BU)(A;OI;FR;;;BU)"),
        ("/grant Users:F /deny Users:W", "(D;;DCLCRPCR;;;BU)(A;;0x1f00e9;;;BU)"),
        ("/grant Users:W /deny Users:F", "(D;;FA;;;BU)"),
        ("/deny Everyone:N", "(D;;FA;;;WD)"),
        ("/grant Users:R /deny Guests:R /remove:g Users", "(D;;CCSWLORC;;;BG)"),
        ("/grant Users:R /deny Guests:R /remove:d Users Guests", "(A;;FR;;;BU)"),
        ("/grant Users:R /deny Users:R /remove Users", ""),
        ('/grant "CREATOR OWNER:(OI)(CI)(IO)F"', "(A;OICIIO;FA;;;CO)"),
    ],
)
def test_explicit_entries(windows: Machine, words: str, aces: str) -> None:
    assert windows.run(ICACLS, rf"C:\t\d {words} /q") == 0
    assert windows.output == b""
    assert _dacl(windows, "C:\\t\\d") == f"AI{aces}{HANDED}"


def test_inheritance_is_switched(windows: Machine) -> None:
    explicit = HANDED.replace("ID;", ";")
    assert windows.run(ICACLS, r"C:\t\d /inheritance:d") == 0
    assert _dacl(windows, "C:\\t\\d") == f"PAI{explicit}"
    assert _dacl(windows, "C:\\t\\d\\e") == f"AI{HANDED}"
    assert windows.run(ICACLS, r"C:\t\d /inheritance:e") == 0
    assert _dacl(windows, "C:\\t\\d") == f"AI{explicit}{HANDED}"
    assert windows.run(ICACLS, r"C:\t\d /reset") == 0
    assert _dacl(windows, "C:\\t\\d") == f"AI{HANDED}"
    assert windows.run(ICACLS, r"C:\t\d /inheritance:r /grant:r Administrators:(OI)(CI)F") == 0
    assert _dacl(windows, "C:\\t\\d") == "PAI(A;OICI;FA;;;BA)"
    assert _dacl(windows, "C:\\t\\d\\e\\g.txt") == "AI(A;ID;FA;;;BA)"


def test_protected_and_explicit_entries_below_stay(windows: Machine) -> None:
    windows.set_sddl("C:\\t\\d\\e", "O:BAG:SYD:P(A;OICI;FA;;;SY)")
    windows.set_sddl("C:\\t\\d\\f.txt", f"O:BAG:SYD:AI(A;;FR;;;WD){TO_FILE}")
    assert windows.run(ICACLS, r"C:\t\d /grant Guests:(OI)(CI)R") == 0
    assert _dacl(windows, "C:\\t\\d\\e") == "P(A;OICI;FA;;;SY)"
    assert _dacl(windows, "C:\\t\\d\\e\\g.txt") == f"AI{TO_FILE}"
    assert _dacl(windows, "C:\\t\\d\\f.txt") == f"AI(A;;FR;;;WD)(A;ID;FR;;;BG){TO_FILE}"


def test_a_tree_and_wildcards(windows: Machine) -> None:
    assert windows.run(ICACLS, r"C:\t\d /grant Guests:(OI)(CI)R /t /c") == 0
    assert b"Successfully processed 4 files" in windows.output
    assert _dacl(windows, "C:\\t\\d\\e\\g.txt") == f"AI(A;;FR;;;BG)(A;ID;FR;;;BG)(A;ID;FR;;;BG){TO_FILE}"
    assert windows.run(ICACLS, r"C:\t\*.txt /setowner ContainerAdministrator /t") == 0
    assert windows.sddl("C:\\t\\d\\e\\g.txt").startswith("O:S-1-5-93-2-1G:SYD:")
    assert windows.sddl("C:\\t\\d").startswith("O:BA")
    assert windows.run(ICACLS, r"C:\t\d\*.none /reset") == 2


def test_only_what_changes_comes_into_the_layer(windows: Machine) -> None:
    assert windows.run(ICACLS, r"C:\t\d\f.txt /grant Users:F") == 0
    assert windows.view.stat("C:\\t\\base.txt").layer.name == "base"
    assert windows.run(ICACLS, r"C:\t\base.txt /setowner SYSTEM") == 0
    assert windows.view.stat("C:\\t\\base.txt").layer.name == "run"


def test_what_does_not_exist_is_an_error_of_the_command(windows: Machine) -> None:
    assert windows.run(ICACLS, r"C:\none /grant Users:F") == 2
    assert windows.errors == b"C:\\none: The system cannot find the file specified.\r\n"
    assert windows.run(ICACLS, r"C:\none\x /grant Users:F") == 3


def test_links(windows: Machine) -> None:
    windows.view.symlink("C:\\t\\link", "C:\\t\\d\\f.txt")
    windows.view.symlink("C:\\t\\lost", "C:\\none", is_directory=False)
    before = windows.sddl("C:\\t\\link")
    assert windows.run(ICACLS, r"C:\t\link /grant Guests:R") == 0
    assert windows.sddl("C:\\t\\link") == before
    assert _dacl(windows, "C:\\t\\d\\f.txt") == f"AI(A;;FR;;;BG){TO_FILE}"
    assert windows.run(ICACLS, r"C:\t\link /grant Guests:R /l") == 0
    assert "(A;;FR;;;BG)" in windows.sddl("C:\\t\\link")
    assert windows.run(ICACLS, r"C:\t\lost /grant Guests:R") == 2


def test_ownership_is_taken(windows: Machine) -> None:
    assert windows.run(TAKEOWN, r"/F C:\t\d /R /D Y") == 0
    assert windows.sddl("C:\\t\\d\\e\\g.txt").startswith("O:S-1-5-93-2-1G:SY")
    assert _dacl(windows, "C:\\t\\d") == f"AI{HANDED}"
    assert windows.run(TAKEOWN, r"/f C:\t\d\f.txt /a") == 0
    assert windows.sddl("C:\\t\\d\\f.txt").startswith("O:BAG:SY")
    assert windows.run(TAKEOWN, r"/f C:\none") == 1


@pytest.mark.parametrize(
    ("words", "detail"),
    [
        ("", "first"), ("/grant Users:F", "first"), ("C:\\t", "nothing to do"), ("C:\\t /grant", "needs an account"),
        ("C:\\t /grant joe:F", "no account that every Windows has"), ("C:\\t /grant Users", "rights"),
        ("C:\\t /grant Users:Q", "no sequence"), ("C:\\t /grant Users:(Q)", "no right"),
        ("C:\\t /grant Users:N", "deny F instead"), ("C:\\t /grant Users:(I)F", "inherited"),
        ("C:\\t /grant Users:(IO)F", "need (OI)"), ("C:\\t /grant Users:F(OI)", "parentheses"),
        ("C:\\t /grant Users:((OI)F", "parentheses"), ("C:\\t /grant Users:(OI)", "once"),
        ('C:\\t /grant "CREATOR OWNER:(OI)(CI)F"', "(IO)"), ("C:\\t /reset /grant Users:F", "stands alone"),
        ("C:\\t /setowner", "needs an account"), ("C:\\t /save x", "not done in a build"), ("C:\\t /x", "no option"),
        ("D:\\t /reset", "D:"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_before_it_runs(windows: Machine, words: str, detail: str) -> None:
    with pytest.raises(NotSupportedError, match="Dockerfile:7") as caught:
        windows.run(ICACLS, words)
    assert detail in str(caught.value)


@pytest.mark.parametrize("words", ["", "/f", "/f C:\\t /s server", "C:\\t"])
def test_takeown_refuses(windows: Machine, words: str) -> None:
    with pytest.raises(LayerError, match="Dockerfile:7"):
        windows.run(TAKEOWN, words)


def test_a_null_dacl_is_refused(windows: Machine) -> None:
    windows.set_sddl("C:\\t\\d\\f.txt", "O:BAG:SYD:NO_ACCESS_CONTROL")
    with pytest.raises(NotSupportedError, match="null DACL"):
        windows.run(ICACLS, r"C:\t\d\f.txt /grant Users:F")


@pytest.mark.parametrize(
    ("name", "sid"),
    [
        (r"IIS AppPool\DefaultAppPool", "S-1-5-82-3006700770-424185619-1745488364-794895919-4004696415"),
        (r"nt service\TrustedInstaller", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"),
        (r"BUILTIN\Users", "S-1-5-32-545"), ("users", "S-1-5-32-545"), ("Everyone", "S-1-1-0"),
        (r"User Manager\ContainerAdministrator", "S-1-5-93-2-1"), ("*S-1-5-21-1-2-3-500", "S-1-5-21-1-2-3-500"),
        ("NETWORK SERVICE", "S-1-5-20"), ("ALL APPLICATION PACKAGES", "S-1-15-2-1"),
    ],
)  # fmt: skip
def test_sids_of_accounts(name: str, sid: str) -> None:
    """The SIDs are those that Microsoft's documents and real machines show."""
    assert str(account_sid(name)) == sid


@pytest.mark.parametrize("name", ["", "joe", r"DOMAIN\joe", "Administrator", r"IIS AppPool\ ".strip(), "S-1-x"])
def test_accounts_of_one_machine_have_no_sid(name: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        account_sid(name)


@given(st.lists(st.text(alphabet="/grantdenyUsers:()OICNPFMRXW, *S-1", max_size=20), max_size=5))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    for parse in (lambda: parse_icacls(words), lambda: parse_right(" ".join(words), is_denial=False)):
        try:
            parse()
        except WordError as error:
            assert error.detail
