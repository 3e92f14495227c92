"""`.dockerignore`: which files of a context count."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from wclayer.builder.dockerfile.errors import DockerfileError
from wclayer.builder.dockerfile.ignore import MAX_RULES, MAX_SIZE, exclude_rules, parse_ignore
from wclayer.builder.dockerfile.ignore_patterns import parse_ignore_pattern
from wclayer.errors import FormatError


def _ignored(text: str, *paths: str) -> list[str]:
    rules = parse_ignore(text, ".dockerignore")
    return [path for path in paths if rules.is_ignored(path)]


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("a", ["a"], ["A", "ab", "x/a"]),
        ("a/b", ["a/b"], ["a", "b", "x/a/b"]),
        ("*", ["a", ".a", "ä"], ["a/b"]),
        ("*.log", ["x.log", ".log"], ["x.logs", "a/x.log", "xlog"]),
        ("a?c", ["abc", "a☺c"], ["ac", "a/c"]),
        ("[a-c]x[^0-9]", ["axx", "cx-"], ["dxx", "ax1"]),
        (r"[\]\-]", ["]", "-"], ["\\"]),
        (r"\*a", ["*a"], ["xa"]),
        ("a+(b)|{c}.$^", ["a+(b)|{c}.$^"], ["aab"]),
        ("**", ["a", "a/b"], []),
        ("**/", ["a", "a/b"], []),
        ("**/obj", ["obj", "a/obj", "a/b/obj"], ["xobj", "obj/a"]),
        ("**.dll", ["a.dll", "a/b.dll"], ["a.dlls"]),
        ("**/*.pdb", ["a.pdb", "a/b.pdb"], ["a.pdb/x"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "ab"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["a/bz", "az"]),
        ("a**z", ["az", "a/z", "ab/z"], ["abz"]),
        ("**/bin/**", ["bin/a", "x/bin/a/b"], ["bin", "xbin/a"]),
        ("a*b*c*d", ["abcd", "axbxcxd"], ["abc", "a/bcd"]),
        ("**/**/x*y*z", ["xyz", "a/b/x1y2z"], ["a/b"]),
        ("*/*/*", ["a/b/c"], ["a/b", "a/b/c/d"]),
    ],
)
def test_a_pattern_matches(pattern: str, matching: list[str], others: list[str]) -> None:
    parsed = parse_ignore_pattern(pattern)
    assert [path for path in [*matching, *others] if parsed.matches(path)] == matching


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("[", "is no set"),
        ("[]", "is no set"),
        ("[a", "is no set"),
        ("[-a]", "is no set"),
        ("[^]", "is no set"),
        ("[a-]", "range without an end"),
        ("[a-b-c]", "is no set"),
        ("[b-a]", "which is empty"),
        ("a\\", "nothing after"),
        ("[\\", "nothing after"),
        ("x" * 5000, "5000"),
    ],
)
def test_a_wrong_pattern_is_refused(pattern: str, told: str) -> None:
    with pytest.raises(DockerfileError, match=told) as caught:
        parse_ignore(f"ok\n{pattern}", "x/.dockerignore")
    assert str(caught.value).startswith("x/.dockerignore:2: ")


def test_lines_are_trimmed_and_comments_left_out() -> None:
    text = "\ufeff# comment\r\n\r\n  a/  \r\n/b\r\nc//d/./e\n #x\n! a/k \n"
    assert _ignored(text, "a", "a/b", "a/k", "b", "x/b", "c/d/e", "c", "#x", "# comment") == [
        "a",
        "a/b",
        "b",
        "c/d/e",
        "#x",
    ]


def test_the_last_rule_decides() -> None:
    text = "*\n!src\nsrc/**/obj\n!src/lib/obj/keep.txt\n"
    assert _ignored(
        text, "README", "src", "src/a.cs", "src/obj", "src/x/obj/a", "src/lib/obj", "src/lib/obj/keep.txt"
    ) == ["README", "src/obj", "src/x/obj/a", "src/lib/obj"]  # fmt: skip


def test_only_directories_that_may_hold_something_are_looked_into() -> None:
    rules = parse_ignore("node_modules\nout\n!out/*.zip\nbuild\ntmp\n!/tmp/a/b\n", "x")
    directories = ("node_modules", "out", "out/x", "build", "tmp", "tmp/a", "tmp/c")
    assert [name for name in directories if rules.keeps_below(name)] == ["out", "tmp", "tmp/a"]
    assert parse_ignore("node_modules\n!**/LICENSE", "x").keeps_below("node_modules/a")
    assert not parse_ignore("!a/b\na", "x").keeps_below("a")


def test_rules_of_copy_s_flag() -> None:
    assert exclude_rules(["*.pdb", " "]).is_ignored("a.pdb")
    for pattern in ("[", "!a"):
        with pytest.raises(FormatError):
            exclude_rules([pattern])


@pytest.mark.parametrize("text", ["#\n!", "#\n! \n", "#\n[", ("#\n" + "a\n" * (MAX_RULES + 1))])
def test_a_wrong_line_is_refused(text: str) -> None:
    with pytest.raises(DockerfileError, match=r"^x:\d+: "):
        parse_ignore(text, "x")


def test_a_file_that_is_too_large_is_refused() -> None:
    with pytest.raises(DockerfileError, match="more than"):
        parse_ignore("#" * (MAX_SIZE + 1), "x")


def test_a_path_of_windows_is_told() -> None:
    assert [each.line for each in parse_ignore("a\nbin\\Debug\n\\!a\nx\\*\n", "x").advice] == [2]


def _model(pattern: str, path: str) -> bool:
    """Whether a path has a pattern, by trying all ways."""
    if pattern.startswith("**") and not re.search(r"[*?]", pattern[2:]) and pattern[2:]:
        return path.endswith(pattern[2:]) or path == pattern[2:].removeprefix("/")
    return _tried(pattern, path)


def _tried(pattern: str, path: str) -> bool:
    if not pattern:
        return not path
    if pattern.startswith("**"):
        rest = pattern[2:].removeprefix("/")
        return not rest or _tried(rest, path) or any(
            char == "/" and _tried(rest, path[at + 1 :]) for at, char in enumerate(path)
        )  # fmt: skip
    if pattern[0] == "*":
        return _tried(pattern[1:], path) or (path[:1] not in ("", "/") and _tried(pattern, path[1:]))
    return (
        path[:1] != ""
        and (path[0] == pattern[0] or (pattern[0] == "?" and path[0] != "/"))
        and _tried(pattern[1:], path[1:])
    )


def _model_ignored(rules: list[str], path: str) -> bool:
    ignored = False
    parts = path.split("/")
    for rule in rules:
        keeps = rule.startswith("!")
        if any(_model(rule.removeprefix("!"), "/".join(parts[:count])) for count in range(1, len(parts) + 1)):
            ignored = not keeps
    return ignored


_NAMES = ["a", "b", "ab", "ba"]
_PATHS = ["/".join(parts) for depth in (1, 2, 3) for parts in product(_NAMES, repeat=depth)]
_PARTS = st.text(st.sampled_from("ab*?"), min_size=1, max_size=4)
_RULES = st.lists(
    st.builds(
        lambda keeps, parts: "!" * keeps + "/".join(parts), st.booleans(), st.lists(_PARTS, min_size=1, max_size=3)
    ),
    max_size=5,
)


@given(_RULES)
def test_all_paths_of_a_tree_are_decided_as_by_trying_all_ways(rules: list[str]) -> None:
    parsed = parse_ignore("\n".join(rules), "x")
    decided = {path: parsed.is_ignored(path) for path in _PATHS}
    assert decided == {path: _model_ignored(rules, path) for path in _PATHS}
    for path, ignored in decided.items():
        if not ignored and "/" in path:
            # A walk that looks only where it must finds it.
            above = ["/".join(path.split("/")[:count]) for count in range(1, path.count("/") + 1)]
            assert all(not decided[each] or parsed.keeps_below(each) for each in above)


@given(st.text(st.sampled_from("ab*?/"), min_size=1, max_size=9), st.text(st.sampled_from("ab/"), max_size=9))
def test_both_ways_of_matching_agree(pattern: str, path: str) -> None:
    parsed = parse_ignore_pattern(pattern)
    assume(parsed._suffix is None)
    assert (len(parsed._tokens) in parsed._after(path)) == (parsed._regex.fullmatch(path) is not None)


@given(st.text(), st.text())
@example("/a", "/a")
@example("a", "//a")
def test_any_text_gives_rules_or_an_error(text: str, path: str) -> None:
    try:
        rules = parse_ignore(text, "x")
    except DockerfileError:
        return
    rules.is_ignored(path)
    rules.keeps_below(path)


def test_a_hard_pattern_takes_no_long_time() -> None:
    assert _ignored("**/" + "*a" * 30 + "b", "/".join(["a" * 200] * 8)) == []
