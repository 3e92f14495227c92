"""The cmdlets for files and directories do on a scratch what PowerShell's source and its documents say.

There is no PowerShell on the machine that runs the tests. The expectations were read from FileSystemProvider.cs,
SessionStateContainer.cs and Navigation.cs of PowerShell and from Microsoft Learn; the modules name them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builder.powershell_console import ARCHIVE, CORE, HIDDEN, READ_ONLY, SYSTEM, WINDOWS, PowerShell
from tests.builder.scratches import scratch_view
from wclayer.builder.commands.powershell.name_patterns import NamePattern, has_wildcards
from wclayer.errors import LayerError, NotSupportedError
from wclayer.view.layer_view import LayerView

BOTH = pytest.mark.parametrize("edition", [WINDOWS, CORE])


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory, bases: Path) -> Iterator[LayerView]:
    with scratch_view(tmp_path_factory.mktemp("items"), bases) as made:
        yield made


@pytest.fixture
def shell(view: LayerView) -> PowerShell:
    return PowerShell.in_empty_directory(view)


# New-Item.


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("New-Item a", {"a": b""}),
        ("New-Item -ItemType Directory -Path C:\\t\\a\\b, c | Out-Null", {"a": None, "a\\b": None, "c": None}),
        ("ni -Type dir a\\b", {"a": None, "a\\b": None}),
        ("ni -Path . -Name a -ItemType File -Value 'x`n'", {"a": b"x`n"}),
        (
            'New-Item -ItemType File -Force -Path a\\b\\c.txt -Value "\u00e4`r`n"',
            {"a": None, "a\\b": None, "a\\b\\c.txt": b"\xc3\xa4\r\n"},
        ),
        ("mkdir a, 'b c' -Force; md d", {"a": None, "b c": None, "d": None}),
        ("md a | Out-Null; md a -Force", {"a": None}),
        ("ni x -Value 12; ni x -Force -Value 3", {"x": b"3"}),
        ("ni 'a[1].txt'", {"a[1].txt": b""}),
    ],
)
@BOTH
def test_new_items_are_made(shell: PowerShell, script: str, expected: dict[str, bytes | None], edition: str) -> None:
    assert shell.script(script, edition) == 0
    assert shell.tree() == expected


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("ni old.txt", "The file 'C:\\t\\old.txt' already exists."),
        ("ni d", "The file 'C:\\t\\d' already exists."),
        ("ni missing\\a", "Could not find a part of the path 'C:\\t\\missing\\a'."),
        ("ni d -ItemType Directory", "An item with the specified name C:\\t\\d already exists."),
        ("md old.txt", "An item with the specified name C:\\t\\old.txt already exists."),
        ("md old.txt\\a", "Could not find a part of the path 'C:\\t\\old.txt\\a'."),
        ("ni 'a*b'", "The filename, directory name, or volume label syntax is incorrect."),
        ("ni protected -Force", "Access to the path 'C:\\t\\protected' is denied."),
        ("ni d -Force", "Access to the path 'C:\\t\\d' is denied."),
        ("ni l -ItemType SymbolicLink -Target C:\\t\\none", "Cannot find path 'C:\\t\\none' because it does not"),
        ("ni l -ItemType Junction -Target C:\\t\\old.txt", "A directory is required for the operation."),
        ("ni l -ItemType HardLink -Target C:\\t\\d", "A file is required for the operation."),
        ("ni l -ItemType HardLink -Target C:\\t\\none", "Cannot find path 'C:\\t\\none' because it does not exist."),
        ("ni d -ItemType SymbolicLink -Target C:\\t\\old.txt", "Cannot create link because the path already exists"),
        ("ni full -ItemType Junction -Target C:\\t\\d", "Directory C:\\t\\full cannot be removed because"),
        ("ni full -Force -ItemType SymbolicLink -Target C:\\t\\d", "The directory is not empty."),
    ],
)  # fmt: skip
def test_what_is_there_or_missing_is_an_error_of_new_item(shell: PowerShell, script: str, message: str) -> None:
    shell.make({"old.txt": b"old", "d": None, "full\\x": b"x"})
    shell.make({"protected": b""}, READ_ONLY)
    before = shell.tree()
    assert message in shell.fails(script)
    assert shell.tree() == before


def test_force_empties_a_file_and_leaves_a_directory(shell: PowerShell) -> None:
    shell.make({"f": b"old", "d\\x": b"x"})
    shell.view.write_bytes("C:\\t\\f:s", b"stream")
    before = shell.view.stat("C:\\t\\f").info.creation_time
    assert shell.script("ni f -Force; ni d -ItemType Directory -Force; ni f -ItemType Directory -Force") == 0
    assert shell.tree() == {"f": b"", "d": None, "d\\x": b"x"}
    assert shell.view.streams("C:\\t\\f") == []
    assert shell.view.stat("C:\\t\\f").info.creation_time == before


@BOTH
def test_links_are_those_of_powershell(shell: PowerShell, edition: str) -> None:
    shell.make({"d\\x": b"x", "f": b"f"})
    script = (
        "ni -ItemType SymbolicLink -Path s -Target C:/t/d; ni -ItemType SymbolicLink -Path l -Value C:\\t\\f;"
        "ni -ItemType Junction j -Target C:\\t\\d\\; ni -ItemType HardLink h -Target c:\\T\\F"
    )
    assert shell.script(script, edition) == 0
    assert shell.view.read_link("C:\\t\\s").substitute_name == "\\??\\C:\\t\\d"
    assert shell.view.read_link("C:\\t\\l").print_name == "C:\\t\\f"
    junction = shell.view.read_link("C:\\t\\j")
    assert (junction.substitute_name, junction.print_name) == ("\\??\\C:\\t\\d", "")
    assert shell.view.stat("C:\\t\\s", follow=False).is_directory
    assert not shell.view.stat("C:\\t\\l", follow=False).is_directory
    assert shell.view.read_bytes("C:\\t\\s\\x") == shell.view.read_bytes("C:\\t\\j\\x") == b"x"
    assert shell.view.stat("C:\\t\\h").links == 2
    # A link is replaced, an empty directory by a junction, too.
    shell.make({"empty": None})
    script = "ni s -ItemType SymbolicLink -Target C:\\t\\f -Force; ni empty -ItemType Junction -Target C:\\t\\d"
    assert shell.script(script, edition) == 0
    assert shell.view.read_bytes("C:\\t\\s") == b"f"
    assert shell.view.read_bytes("C:\\t\\empty\\x") == b"x"


def test_a_symbolic_link_to_nothing_is_made_by_powershell_but_not_by_windows_powershell(shell: PowerShell) -> None:
    assert "Cannot find path" in shell.fails("ni l -ItemType SymbolicLink -Target C:\\none")
    assert shell.script("ni l -ItemType SymbolicLink -Target C:\\none", CORE) == 0
    assert shell.view.read_link("C:\\t\\l").print_name == "C:\\none"


# Remove-Item.


def protected(shell: PowerShell) -> None:
    shell.make({"d\\a": b"", "d\\sub\\b": b"", "d\\sub\\c": b"", "d\\other\\x": b""})
    shell.view.set_attributes("C:\\t\\d\\sub\\b", HIDDEN)


@BOTH
def test_what_is_protected_stays_with_the_directories_above_it(shell: PowerShell, edition: str) -> None:
    protected(shell)
    said = shell.fails("Remove-Item d -Recurse", edition)
    assert "Cannot remove item C:\\t\\d\\sub\\b: You do not have sufficient access rights" in said
    assert "Directory C:\\t\\d\\sub cannot be removed because it is not empty." in said
    assert "Directory C:\\t\\d cannot be removed because it is not empty." in said
    assert shell.tree() == {"d": None, "d\\sub": None, "d\\sub\\b": b""}
    assert shell.script("rm -r -fo d", edition) == 0
    assert shell.tree() == {}


@pytest.mark.parametrize("attribute", [READ_ONLY, HIDDEN, SYSTEM])
def test_a_protected_item_is_removed_with_force_alone(shell: PowerShell, attribute: int) -> None:
    shell.make({"f": b"", "d": None}, attribute)
    assert "Cannot remove item C:\\t\\f:" in shell.fails("del f")
    assert "Cannot remove item C:\\t\\d:" in shell.fails("rd d")
    assert shell.script("del f -Force; rd d -Force") == 0
    assert shell.tree() == {}


@BOTH
def test_a_removed_link_leaves_its_target(shell: PowerShell, edition: str) -> None:
    shell.make({"keep\\x": b"x", "d\\y": b"y", "f": b"f"})
    shell.view.symlink("C:\\t\\d\\s", "C:\\t\\keep")
    shell.view.mount_point("C:\\t\\d\\j", "C:\\t\\keep")
    shell.view.symlink("C:\\t\\l", "C:\\t\\f")
    shell.view.mount_point("C:\\t\\j", "C:\\t\\keep")
    assert shell.script("ri l", edition) == 0
    if edition == WINDOWS:
        for script in ("ri d -Recurse -Force", "ri j", "ri j -Recurse", "ri d -Recurse"):
            with pytest.raises(NotSupportedError, match="use cmd /c rmdir"):
                shell.script(script, edition)
    else:
        assert shell.script("ri j; ri d -Recurse", edition) == 0
        assert shell.tree() == {"keep": None, "keep\\x": b"x", "f": b"f"}


def test_what_would_ask_ends_the_build(shell: PowerShell) -> None:
    shell.make({"d\\x": b"x", "e": None})
    for script in ("ri d", "ri d -Force", "ri C:\\t\\* -Force"):
        with pytest.raises(NotSupportedError, match=r"C:\\t\\d: is a directory with something in it.*add -Recurse"):
            shell.script(script)
    assert shell.script("ri e") == 0


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("ri none", "Cannot find path 'C:\\t\\none' because it does not exist."),
        ("ri none\\*", "Cannot find path 'C:\\t\\none' because it does not exist."),
        ("ri . -Recurse -Force", "Cannot remove the item at 'C:\\t' because it is in use."),
        ("ri C:\\ -Recurse -Force", "Cannot remove the item at 'C:\\' because it is in use."),
        ("ri none, f", "Cannot find path 'C:\\t\\none' because it does not exist."),
        ("ri -LiteralPath f*", "Cannot find path 'C:\\t\\f*' because it does not exist."),
    ],
)  # fmt: skip
def test_errors_of_remove_item(shell: PowerShell, script: str, message: str) -> None:
    shell.make({"f": b"f", "g": b"g"})
    assert message in shell.fails(script)
    # The others are removed all the same.
    assert ("f" in shell.tree()) == ("none, f" not in script)


# Wildcards.


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("a.txt", "*.txt", True), ("A.TXT", "a.t?t", True), ("a", "*.*", False), ("a.b", "*.*", True),
        ("ab", "a?b", False), ("b.txt", "[ab]*.txt", True), ("c.txt", "[ab]*.txt", False), ("b1", "[a-c][0-9]", True),
        ("B1", "[a-c]?", True), ("a]", "a]", True), ("a-", "a[-x]", True), ("a]", "a[]]", True), ("a[b", "a`[b", True),
        ("a*", "a`*", True), ("ab", "a`*", False), ("a^", "[^a]^", True), ("b^", "[^a]^", False), ("", "*", True),
        ("a.txt", "a", False),
        ("aab", "*ab", True), ("ab", "a*b*", True), ("a.b.c", "*.c", True),
    ],
)  # fmt: skip
def test_wildcards_are_those_of_powershell(name: str, pattern: str, expected: bool) -> None:
    assert NamePattern(pattern).matches(name) is expected


def test_wildcards_take_linear_time() -> None:
    assert not NamePattern("*a" * 2000 + "b").matches("a" * 255)
    assert has_wildcards("a`[b]")
    assert not has_wildcards("a`[b`]")


@pytest.mark.parametrize(
    ("script", "left"),
    [
        ("ri [ab]*.txt", {"c.txt", "d", "d\\a.txt", "e", "e\\a.txt", "a", "b.txt.x", "h.txt"}),
        ("ri *\\a.txt", {"a.txt", "b.txt", "c.txt", "d", "e", "a", "b.txt.x", "h.txt"}),
        ("ri *.*", {"d", "d\\a.txt", "e", "e\\a.txt", "a", "h.txt"}),
        ("ri *.txt -Force", {"d", "d\\a.txt", "e", "e\\a.txt", "a", "b.txt.x"}),
        ("ri C:\\t\\[d-e] -Recurse", {"a.txt", "b.txt", "c.txt", "a", "b.txt.x", "h.txt"}),
        ("ri h*; ri nothing*", {"a.txt", "b.txt", "c.txt", "d", "d\\a.txt", "e", "e\\a.txt", "a", "b.txt.x", "h.txt"}),
    ],
)  # fmt: skip
def test_wildcards_find_in_every_name_of_a_path_what_is_not_hidden(
    shell: PowerShell, script: str, left: set[str]
) -> None:  # fmt: skip
    shell.make(dict.fromkeys(("a.txt", "b.txt", "c.txt", "d\\a.txt", "e\\a.txt", "a", "b.txt.x"), b""))
    shell.make({"h.txt": b""}, HIDDEN)
    assert shell.script(script) == 0
    assert set(shell.tree()) == left


EXISTS = {
    "f": True, "F": True, "none": False, "none\\x": False, "f\\x": False, ".": True, "C:\\": True, "h": True,
    "h*": False,
    "[d-f]": True, "[x-z]": False, "*\\x": True, "f -PathType Leaf": True, "f -PathType Container": False,
    "d -PathType Container": True, "d -Type leaf": False, "? -PathType Container": False,
    "[de] -PathType Container": True,
    "[df] -PathType Leaf": True, "none* -PathType Leaf": False, "-LiteralPath [d-f]": False, "link": True,
}  # fmt: skip


@pytest.mark.parametrize(("path", "expected"), EXISTS.items())
def test_test_path_answers_as_in_powershell(shell: PowerShell, path: str, expected: bool) -> None:
    shell.make({"f": b"", "d\\x": b"", "e": None})
    shell.make({"h": b""}, HIDDEN)
    shell.view.symlink("C:\\t\\link", "C:\\none")
    assert shell.script(f"if (Test-Path {path}) {{ exit 7 }}") == (7 if expected else 0)


def test_names_with_brackets_are_named_literally(shell: PowerShell) -> None:
    shell.make({"a[1].txt": b"", "a1.txt": b"", "a[": b""})
    assert shell.script("ri -LiteralPath 'a[1].txt'; ri -LiteralPath 'a['") == 0
    assert shell.tree() == {"a1.txt": b""}
    shell.make({"a[1].txt": b""})
    assert shell.script("ri 'a`[1`].txt'") == 0
    assert shell.tree() == {"a1.txt": b""}
    with pytest.raises(NotSupportedError, match=r"\[ without a \].*-LiteralPath"):
        shell.script("ri 'a['")
    with pytest.raises(NotSupportedError, match="from z to a"):
        shell.script("ri '[z-a]'")


# Copy-Item.


def whole(top: str) -> dict[str, bytes | None]:
    """The copies of all that is in the directory of the source."""
    files = {"a.txt": b"1", "b.txt": b"2", "sub": None, "sub\\c": b"3", "h": b"4"}
    return {f"{top}\\{name}": data for name, data in files.items()}


COPIED: dict[str, dict[str, bytes | None]] = {
    "copy s\\a.txt n.txt": {"n.txt": b"1"},
    "cp s\\a.txt d": {"d\\a.txt": b"1"},
    "cp s\\a.txt d\\": {"d\\a.txt": b"1"},
    "cp s\\*.txt d": {"d\\a.txt": b"1", "d\\b.txt": b"2"},
    "cp s\\* d": {"d\\a.txt": b"1", "d\\b.txt": b"2", "d\\sub": None},
    "cp s\\* d -Recurse": {"d\\a.txt": b"1", "d\\b.txt": b"2", "d\\sub": None, "d\\sub\\c": b"3"},
    "cp s d": {"d\\s": None},
    "cp s d -Recurse": {"d\\s": None, **whole("d\\s")},
    "cp s n": {"n": None},
    "cp s n\\m -Recurse -Container": {"n": None, "n\\m": None, **whole("n\\m")},
    "cp s\\h d": {"d\\h": b"4"},
    "cp s\\* d -Force": {"d\\a.txt": b"1", "d\\b.txt": b"2", "d\\sub": None, "d\\h": b"4"},
    "cp s\\a.txt, s\\b.txt -Destination d": {"d\\a.txt": b"1", "d\\b.txt": b"2"},
    "cp s\\* n -Recurse": {"n": None, "n\\a.txt": b"1", "n\\b.txt": b"2", "n\\c": b"3"},
    "cp s\\*.txt n": {"n": b"2"},
    "cp s\\a.txt": {"a.txt": b"1"},
}  # fmt: skip


@pytest.mark.parametrize(("script", "expected"), COPIED.items())
@BOTH
def test_copies_go_where_powershell_puts_them(
    shell: PowerShell, script: str, expected: dict[str, bytes | None], edition: str
) -> None:  # fmt: skip
    shell.make({"s\\a.txt": b"1", "s\\b.txt": b"2", "s\\sub\\c": b"3", "d": None})
    shell.make({"s\\h": b"4"}, HIDDEN)
    before = shell.tree()
    assert shell.script(script, edition) == 0
    assert shell.tree() == {**before, **expected}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("cp none x", "Cannot find path 'C:\\t\\none' because it does not exist."),
        ("cp f none\\x", "Could not find a part of the path"),
        ("cp f none\\", "Could not find a part of the path 'C:\\t\\none\\'."),
        ("cp f f", "Cannot overwrite the item C:\\t\\f with itself."),
        ("cp f .", "Cannot overwrite the item C:\\t\\f with itself."),
        ("cp f F", "Cannot overwrite the item C:\\t\\f with itself."),
        ("cp f hard", "Cannot overwrite the item C:\\t\\f with itself."),
        ("cp d d -Recurse", "Cannot overwrite the item C:\\t\\d with itself."),
        ("cp d f -Recurse", "Container cannot be copied onto existing leaf item."),
        ("cp d e -Recurse", "An item with the specified name C:\\t\\e\\d already exists."),
        ("cp f ro", "Access to the path 'C:\\t\\ro' is denied."),
        ("cp f hidden", "Access to the path 'C:\\t\\hidden' is denied."),
        ("cp f e\\sub", "Access to the path 'C:\\t\\e\\sub\\f' is denied."),
    ],
)  # fmt: skip
@BOTH
def test_errors_of_copy_item(shell: PowerShell, script: str, message: str, edition: str) -> None:
    shell.make({"f": b"f", "d\\x": b"x", "e\\d\\x": b"x", "e\\sub\\f": None})
    shell.make({"ro": b"ro"}, READ_ONLY)
    shell.make({"hidden": b"hidden"}, HIDDEN)
    shell.view.link("C:\\t\\hard", "C:\\t\\f")
    before = shell.tree()
    assert message in shell.fails(script, edition)
    assert shell.tree() == before


def test_an_existing_directory_is_an_error_but_its_files_are_copied(shell: PowerShell) -> None:
    shell.make({"s\\sub\\x": b"new", "d\\sub\\x": b"old", "d\\sub\\y": b"y"})
    assert "An item with the specified name C:\\t\\d\\sub already exists." in shell.fails("cp s\\* d -Recurse")
    assert shell.tree("d") == {"sub": None, "sub\\x": b"new", "sub\\y": b"y"}
    assert shell.script("cp s\\* d -Recurse -Force") == 0
    # With errors that stop, nothing of it is copied.
    shell.make({"d\\sub\\x": b"old"})
    assert shell.script("$ErrorActionPreference = 'Stop'; cp s\\* d -Recurse") == 1
    assert shell.tree("d")["sub\\x"] == b"old"


def test_of_several_directories_the_first_becomes_a_target_that_does_not_exist(shell: PowerShell) -> None:
    shell.make({"s\\one\\1": b"1", "s\\two\\2": b"2", "s\\f": b"f"})
    assert "Container cannot be copied onto existing leaf item." in shell.fails("cp s\\* n -Recurse")
    assert shell.tree("n") == {"1": b"1", "f": b"f"}


def test_a_copy_has_the_metadata_of_the_file_and_a_directory_new_ones(shell: PowerShell) -> None:
    shell.make({"s\\f": b"f"})
    shell.view.write_bytes("C:\\t\\s\\f:stream", b"stream")
    shell.view.set_attributes("C:\\t\\s\\f", READ_ONLY)
    shell.view.set_attributes("C:\\t\\s", HIDDEN)
    for name in ("s\\f", "s"):
        shell.view.set_times(f"C:\\t\\{name}", creation=1, write=130_000_000_000_000_000)
    assert shell.script("cp s n -Recurse") == 0
    file, directory = (shell.view.stat(f"C:\\t\\{name}").info for name in ("n\\f", "n"))
    assert (file.attributes, file.last_write_time) == (READ_ONLY | ARCHIVE, 130_000_000_000_000_000)
    assert file.creation_time > 1
    assert not directory.attributes & HIDDEN
    assert directory.last_write_time > 130_000_000_000_000_000
    assert shell.view.read_bytes("C:\\t\\n\\f:stream") == b"stream"
    # The copy is read-only: it is replaced with -Force alone.
    assert "is denied" in shell.fails("cp s\\f n\\f")
    assert shell.script("cp s\\f n\\f -Force") == 0


def test_a_copy_into_itself_or_through_links_ends_the_build(shell: PowerShell) -> None:
    shell.make({"s\\f": b"f", "e": None})
    shell.view.mount_point("C:\\t\\link", "C:\\t\\s")
    for script in (
        "cp s s\\n -Recurse",
        "cp s link\\n -Recurse",
        "cp s s\\n\\m -Recurse -Force",
        "cp link s\\n -Recurse",
    ):
        with pytest.raises(NotSupportedError, match="choose another destination"):
            shell.script(script)
    shell.view.symlink("C:\\t\\e\\l", "C:\\t\\s")
    with pytest.raises(NotSupportedError, match="is a link in a directory"):
        shell.script("cp e n -Recurse")
    # The link itself leads to what is copied.
    assert shell.script("cp link copy -Recurse") == 0
    assert b"f" in shell.tree("copy").values()


# Move-Item and Rename-Item.


MOVED: dict[str, dict[str, bytes | None]] = {
    "mv f n": {"n": b"f", "g": b"g", "d": None, "d\\x": b"x", "e": None},
    "mv f e": {"e\\f": b"f", "g": b"g", "d": None, "d\\x": b"x", "e": None},
    "mv f, g -Destination e": {"e\\f": b"f", "e\\g": b"g", "d": None, "d\\x": b"x", "e": None},
    "mv [fg] e": {"e\\f": b"f", "e\\g": b"g", "d": None, "d\\x": b"x", "e": None},
    "mv d n": {"f": b"f", "g": b"g", "n": None, "n\\x": b"x", "e": None},
    "mv d e": {"f": b"f", "g": b"g", "e\\d": None, "e\\d\\x": b"x", "e": None},
    "mv f g -Force": {"g": b"f", "d": None, "d\\x": b"x", "e": None},
    "mv f F": {"F": b"f", "g": b"g", "d": None, "d\\x": b"x", "e": None},
    "mv f f": {"f": b"f", "g": b"g", "d": None, "d\\x": b"x", "e": None},
    "mv f n -PassThru": {"n": b"f", "g": b"g", "d": None, "d\\x": b"x", "e": None},
    "Rename-Item f n": {"n": b"f", "g": b"g", "d": None, "d\\x": b"x", "e": None},
    "ren C:\\t\\f .\\n": {"n": b"f", "g": b"g", "d": None, "d\\x": b"x", "e": None},
    "ren d\\x C:\\t\\d\\n": {"f": b"f", "g": b"g", "d": None, "d\\n": b"x", "e": None},
    "rni -Path d -NewName n": {"f": b"f", "g": b"g", "n": None, "n\\x": b"x", "e": None},
    "ren f F": {"F": b"f", "g": b"g", "d": None, "d\\x": b"x", "e": None},
    "ren f f": {"f": b"f", "g": b"g", "d": None, "d\\x": b"x", "e": None},
}


@pytest.mark.parametrize(("script", "expected"), MOVED.items())
@BOTH
def test_moved_items_are_where_powershell_puts_them(
    shell: PowerShell, script: str, expected: dict[str, bytes | None], edition: str
) -> None:  # fmt: skip
    shell.make({"f": b"f", "g": b"g", "d\\x": b"x", "e": None})
    assert shell.script(script, edition) == 0
    assert shell.tree() == expected


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("mv none x", "Cannot find path 'C:\\t\\none' because it does not exist."),
        ("mv f g", "Cannot create a file when that file already exists."),
        ("mv f none\\x", "Could not find a part of the path"),
        ("mv f none\\", "Could not find a part of the path"),
        ("mv d d\\n", "Destination path cannot be a subdirectory of the source or the source itself"),
        ("mv d d", "Destination path cannot be a subdirectory of the source or the source itself"),
        ("mv d g", "Cannot create a file when that file already exists."),
        ("mv d g -Force", "Cannot create a file when that file already exists."),
        ("mv f e -Force", "Cannot create a file when that file already exists."),
        ("mv d e -Force", "Cannot create a file when that file already exists."),
        ("mv . ..\\x", "because the item at 'C:\\t' is in use."),
        ("ren none x", "Cannot find path 'C:\\t\\none' because it does not exist."),
        ("ren f g", "Cannot create a file when that file already exists."),
        ("ren f e", "Cannot create a file when that file already exists."),
        ("ren f d\\x", "because it represents a path or device name."),
        ("ren f nul", "because it represents a path or device name."),
        ("ren f 'a?'", "The filename, directory name, or volume label syntax is incorrect."),
        ("ren d d", "Source and destination path must be different."),
        ("ren C:\\t x", "because it is in use."),
    ],
)  # fmt: skip
@BOTH
def test_errors_of_move_item_and_rename_item(shell: PowerShell, script: str, message: str, edition: str) -> None:
    shell.make({"f": b"f", "g": b"g", "d\\x": b"x", "e\\f": None, "e\\d": None})
    before = shell.tree()
    assert message in shell.fails(script, edition)
    assert shell.tree() == before


def test_only_powershell_changes_the_case_of_a_directory(shell: PowerShell) -> None:
    shell.make({"d\\x": b"x"})
    assert "must be different" in shell.fails("ren d D")
    assert shell.script("ren d D", CORE) == 0
    assert set(shell.tree()) == {"D", "D\\x"}


def test_a_moved_item_keeps_what_it_has(shell: PowerShell) -> None:
    shell.make({"d\\f": b"f", "e": None})
    shell.view.set_attributes("C:\\t\\d\\f", READ_ONLY | HIDDEN)
    before = shell.view.stat("C:\\t\\d\\f"), shell.view.security("C:\\t\\d\\f")
    assert shell.script("mv d\\f e\\g; mv d\\* e") == 0
    after = shell.view.stat("C:\\t\\e\\g"), shell.view.security("C:\\t\\e\\g")
    assert after[1] == before[1]
    assert after[0].info.attributes == before[0].info.attributes
    assert after[0].info.last_write_time == before[0].info.last_write_time
    # A link is moved as such.
    shell.view.symlink("C:\\t\\l", "C:\\t\\e\\g")
    assert shell.script("mv l m") == 0
    assert shell.view.read_link("C:\\t\\m").print_name == "C:\\t\\e\\g"


def test_an_item_is_not_lost_when_it_is_moved_onto_itself(shell: PowerShell) -> None:
    shell.make({"long name.txt": b"x", "d\\f": b"f"})
    shell.view.mount_point("C:\\t\\link", "C:\\t\\d")
    shell.view.link("C:\\t\\d\\hard", "C:\\t\\d\\f")
    assert shell.script("mv d\\f link -Force; mv d\\f link\\F -Force") == 0
    assert shell.view.listdir("C:\\t\\d") == ["F", "hard"]
    with pytest.raises(NotSupportedError, match="short name"):
        shell.script("mv 'long name.txt' longna~1.txt -Force")
    assert shell.view.exists("C:\\t\\long name.txt")
    # Another name of the file is replaced.
    assert shell.script("mv d\\F d\\hard -Force") == 0
    assert shell.view.listdir("C:\\t\\d") == ["hard"]
    with pytest.raises(LayerError, match="into itself"):
        shell.script("mv d link\\n")


def test_several_items_need_a_directory(shell: PowerShell) -> None:
    shell.make({"a": b"a", "b": b"b"})
    with pytest.raises(NotSupportedError, match="make the directory before"):
        shell.script("mv * n")


# Set-Content, Add-Content, Clear-Content.


WRITTEN = [
    (WINDOWS, "Set-Content f 'a\u20ac'", b"a\x80\r\n"),
    (CORE, "Set-Content f 'a\u20ac'", b"a\xe2\x82\xac\r\n"),
    (WINDOWS, "Set-Content -Path f -Value a, b", b"a\r\nb\r\n"),
    (WINDOWS, "Set-Content f a -NoNewline", b"a"),
    (WINDOWS, "Set-Content f a, b -NoNewline", b"ab"),
    (WINDOWS, "Set-Content f ''", b"\r\n"),
    (WINDOWS, "Set-Content f $null", b""),
    (WINDOWS, "Set-Content f 42, 0x10, $true", b"42\r\n16\r\nTrue\r\n"),
    (WINDOWS, "'x' | sc f", b"x\r\n"),
    (WINDOWS, "Set-Content f \u00e4 -Encoding UTF8", b"\xef\xbb\xbf\xc3\xa4\r\n"),
    (CORE, "Set-Content f \u00e4 -Encoding UTF8", b"\xc3\xa4\r\n"),
    (CORE, "Set-Content f \u00e4 -Encoding utf8BOM", b"\xef\xbb\xbf\xc3\xa4\r\n"),
    (WINDOWS, "Set-Content f a -Encoding Unicode", b"\xff\xfea\0\r\0\n\0"),
    (WINDOWS, "Set-Content f a -Encoding BigEndianUnicode", b"\xfe\xff\0a\0\r\0\n"),
    (WINDOWS, "Set-Content f a -Encoding UTF32", b"\xff\xfe\0\0a\0\0\0\r\0\0\0\n\0\0\0"),
    (WINDOWS, "Set-Content f \u00e4 -Encoding OEM", b"\x84\r\n"),
    (WINDOWS, "Set-Content f a -Encoding ASCII; Add-Content f b", b"a\r\nb\r\n"),
    (WINDOWS, "Add-Content f \u00e4", b"\xe4\r\n"),
    (CORE, "ac f \u00e4", b"\xc3\xa4\r\n"),
    (WINDOWS, "Set-Content f a -Encoding Unicode; Add-Content f \u00e4", b"\xff\xfea\0\r\0\n\0\xe4\0\r\0\n\0"),
    (WINDOWS, "Set-Content f a -Encoding UTF8; Add-Content f \u20ac", b"\xef\xbb\xbfa\r\n\xe2\x82\xac\r\n"),
    (CORE, "Set-Content f a -Encoding Unicode; Add-Content f b -Encoding utf8", b"\xff\xfea\0\r\0\n\0b\0\r\0\n\0"),
    (WINDOWS, "ni f; Add-Content f a -Encoding UTF8", b"\xef\xbb\xbfa\r\n"),
    (WINDOWS, "Set-Content f long; Clear-Content f", b""),
    (WINDOWS, "Set-Content f long; Set-Content f x -NoNewline", b"x"),
    (WINDOWS, "ni f -Value 'a'; Set-Content [f] x", b"x\r\n"),
]


@pytest.mark.parametrize(("edition", "script", "expected"), WRITTEN)
def test_texts_are_written_in_the_encoding_of_each_powershell(
    shell: PowerShell, edition: str, script: str, expected: bytes
) -> None:  # fmt: skip
    assert shell.script(script, edition) == 0
    assert shell.tree() == {"f": expected}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("Set-Content d x", "Unable to write content because it is a directory: 'C:\\t\\d'."),
        ("Add-Content d x", "Unable to write content because it is a directory: 'C:\\t\\d'."),
        ("Clear-Content d", "Unable to clear content of 'C:\\t\\d' because it is a directory."),
        ("Set-Content none\\f x", "Could not find a part of the path 'C:\\t\\none\\f'."),
        ("Add-Content none\\f x", "Could not find a part of the path 'C:\\t\\none\\f'."),
        ("Clear-Content none", "Cannot find path 'C:\\t\\none' because it does not exist."),
        ("Set-Content ro x", "Access to the path 'C:\\t\\ro' is denied."),
        ("Add-Content ro x", "Access to the path 'C:\\t\\ro' is denied."),
        ("Clear-Content ro", "Access to the path 'C:\\t\\ro' is denied."),
        ("Set-Content hidden x", "Access to the path 'C:\\t\\hidden' is denied."),
        ("Set-Content system x -Force", "Access to the path 'C:\\t\\system' is denied."),
        ("Set-Content n*.txt x", "An object at the specified path n*.txt does not exist"),
    ],
)  # fmt: skip
def test_errors_of_the_cmdlets_for_contents(shell: PowerShell, script: str, message: str) -> None:
    shell.make({"d": None})
    for name, attribute in (("ro", READ_ONLY), ("hidden", HIDDEN), ("system", SYSTEM)):
        shell.make({name: b"old"}, attribute)
    before = shell.tree()
    assert message in shell.fails(script)
    assert shell.tree() == before


def test_force_writes_protected_files_and_keeps_their_attributes(shell: PowerShell) -> None:
    shell.make({"ro": b"old", "clear": b"old"}, READ_ONLY)
    shell.make({"hidden": b"old"}, HIDDEN)
    script = "Set-Content ro x -Force; Set-Content hidden x -Force; Add-Content ro y -Force; Clear-Content clear -Force"
    assert shell.script(script) == 0
    assert shell.tree() == {"ro": b"x\r\ny\r\n", "hidden": b"x\r\n", "clear": b""}
    assert [shell.attributes(name) & (READ_ONLY | HIDDEN) for name in ("ro", "hidden", "clear")] == [
        READ_ONLY, HIDDEN, READ_ONLY
    ]  # fmt: skip


def test_a_link_is_written_through(shell: PowerShell) -> None:
    shell.make({"f": b"old"})
    shell.view.symlink("C:\\t\\l", "C:\\t\\f")
    assert shell.script("Set-Content l x; Add-Content l y") == 0
    assert shell.view.read_bytes("C:\\t\\f") == b"x\r\ny\r\n"
    assert shell.view.stat("C:\\t\\l", follow=False).is_link


# What is refused before anything runs.


REFUSED = {
    "ni a -ItemType Socket": "possible are File, Directory",
    "ni a -ItemType SymbolicLink -Target b": "relative target",
    "ni a -ItemType Junction -Target ..\\b": "relative target",
    "ni a -ItemType Junction": "needs a target",
    "ren HKLM:\\Software\\a b": "keys of the registry are not renamed",
    "cp HKLM:\\Software\\a b": "the drive HKLM:",
    "cd HKLM:\\Software": "the drive HKLM:",
    "cd ~": "USERPROFILE",
    "cd C:\\t\\*": "write the name",
    "cd C:\\t:s": "alternate stream",
    "ni Cert:\\a": "Cert",
    "ni D:\\a": "only C:",
    "ni \\\\server\\share\\a": "on another machine",
    "ni ~\\a": "USERPROFILE",
    "ni nul": "device",
    "ni a:b": "stream|drive",
    "ni a.txt:b": "stream",
    "ni C:\\a:b": "stream",
    "ni C:\\t\\* -Name x": "wildcards",
    "ri * -Include *.txt": "write wildcards in the path",
    "ri C:\\x -Stream y": "not supported",
    "cp a b -Container:$false": "not supported",
    "cp a b -Filter *.txt": "write wildcards in the path",
    "cp a D:\\b": "only C:",
    "mv a b*": "wildcard",
    "ren *.txt a": "one item can be renamed",
    "ren a": "new name",
    "Set-Content a": "write -Value",
    "Set-Content a b -Encoding utf7": "possible are",
    "Set-Content a b -Encoding Byte": "possible are",
    "Set-Content a '\u2192'": "lacks this character; add -Encoding UTF8",
    "Set-Content a '\u00e4' -Encoding ascii": "lacks this character",
    "Set-Content a:b x": "stream|drive",
    "Expand-Archive a.zip b*": "wildcard",
    "Expand-Archive a.zip, b.zip": "one archive",
    "cp -Path a -LiteralPath b c": "not both|-Path or -LiteralPath",
}


@pytest.mark.parametrize(("script", "message"), REFUSED.items())
def test_what_is_not_supported_is_refused_before_anything_runs(
    shell: PowerShell, script: str, message: str
) -> None:  # fmt: skip
    with pytest.raises(NotSupportedError, match=message) as told:
        shell.script(f"ni before; {script}")
    assert "Dockerfile:3" in str(told.value)
    assert shell.tree() == {}


def test_pwsh_has_no_alias_sc(shell: PowerShell) -> None:
    with pytest.raises(NotSupportedError, match="sc"):
        shell.script("sc a b", CORE)
