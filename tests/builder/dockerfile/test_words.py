"""Words: quotes, escapes and variables by Docker's rules."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wclayer.builder.dockerfile import patterns, words
from wclayer.builder.dockerfile.words import Expander
from wclayer.errors import FormatError

_VALUES = {"NAME": "value", "Path": r"C:\Windows", "EMPTY": "", "FILE": "/srv/lib/tool.tar.gz", "TWO": "a b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$NAME", "value"),
        ("${NAME}s", "values"),
        ("$NAMES", ""),
        ("a$", "a$"),
        ("$ {", "$ {"),
        ("$name$PATH", r"valueC:\Windows"),
        (r"\$NAME", "$NAME"),
        ("'$NAME'", "$NAME"),
        ('"$NAME"', "value"),
        (r"C:\app\bin", "C:appbin"),
        (r"C:\\app\\bin", r"C:\app\bin"),
        (r'"C:\app"', r"C:\app"),
        (r'"a\"b"', 'a"b'),
        (r"'a\b'", r"a\b"),
        ("a\\", "a"),
        ("two  words", "two  words"),
        ("$1x", "x"),
        ("$$", ""),
        ("€$NAME", "€value"),
        ("${NAME:-x}", "value"),
        ("${NONE:-x}", "x"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${NONE-$NAME}", "value"),
        ("${NAME:+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${NONE+x}", ""),
        ("${NAME:?m}", "value"),
        ("${EMPTY?m}", ""),
        ("${NONE:-${NONE:-a ${NAME}}}", "a value"),
        ("${NONE:-'}'}", "}"),
        (r"${NONE:-\}}", "}"),
        ("${FILE#*/}", "srv/lib/tool.tar.gz"),
        ("${FILE##*/}", "tool.tar.gz"),
        ("${FILE%.*}", "/srv/lib/tool.tar"),
        ("${FILE%%.*}", "/srv/lib/tool"),
        ("${FILE%nothing}", "/srv/lib/tool.tar.gz"),
        ("${FILE#?srv}", "/lib/tool.tar.gz"),
        (r"${FILE/\/srv/D:}", "D:/lib/tool.tar.gz"),
        ("${FILE//l/L}", "/srv/Lib/tooL.tar.gz"),
        ("${FILE/l*r/X}", "/srv/X.gz"),
        ("${NONE/a/b}", ""),
        ("${NONE#a}", ""),
        ("${NAME//}/x}", "value"),
    ],
)
def test_a_word_is_expanded(text: str, expected: str) -> None:
    assert Expander(_VALUES).word(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"C:\app\bin", r"C:\app\bin"),
        ("C:\\app\\", "C:\\app\\"),
        (r'"C:\app dir"', r"C:\app dir"),
        ("`$NAME", "$NAME"),
        ('"a`"b"', 'a"b'),
        ("a``b", "a`b"),
        (r"C:\$NAME", r"C:\value"),
        ("${PATH};C:\\x", "C:\\Windows;C:\\x"),
        (r"${PATH#C:\\}", "Windows"),
    ],
)
def test_with_a_backtick_a_backslash_is_a_character(text: str, expected: str) -> None:
    assert Expander(_VALUES, "`").word(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("'a", "'"),
        ('"a', '"'),
        ('"a\\', '"'),
        ("${", "names no variable"),
        ("${}", "names no variable"),
        ("${{a}}", "names no variable"),
        ("${NAME", "followed by no operator"),
        ("${NAME=x}", "followed by no operator"),
        ("${NAME:x}", "followed by no operator"),
        ("${NAME:#x}", "followed by no operator"),
        ("${NAME:-x", "no '}'"),
        ("${NAME/a}", "no '/'"),
        ("${NAME/a/b", "no '}'"),
        ("${NONE?}", "NONE: is not set"),
        ("${EMPTY:?}", "EMPTY: is empty"),
        ("${NONE:?set $NAME}", "NONE: set value"),
        (r"${NAME#\a}", "is not a pattern"),
        ("${NAME#" + "a" * 2000 + "}", "2000"),
        ("${A:-" * 40 + "}" * 40, "inside one another"),
    ],
)
def test_a_wrong_word_is_refused(text: str, told: str) -> None:
    with pytest.raises(FormatError, match=re.escape(told)):
        Expander(_VALUES).word(text)


def test_words_are_separated_after_the_variables_are_replaced() -> None:
    expander = Expander(_VALUES)
    assert expander.words("x$TWO y") == ["xa", "b", "y"]
    assert expander.words('"$TWO" \\ c') == ["a b", " c"]
    assert expander.words("$EMPTY ''") == []


def test_a_heredoc_keeps_its_quotes() -> None:
    assert Expander(_VALUES, "`").heredoc('it\'s "$NAME" \\$NAME C:\\\\x `') == 'it\'s "value" $NAME C:\\x `'


def test_names_without_a_value_are_noted() -> None:
    expander = Expander(_VALUES)
    expander.word("$NONE ${other:-x} $name ${EMPTY}")
    assert expander.unset == {"NONE", "other"}


@pytest.mark.parametrize(
    "text", ["$A" * 2000, '"' + "$A" * 2000 + '"', "${A//a/" + "b" * 60 + "}", "${N:-" + "$A" * 2000 + "}"]
)
def test_words_that_grow_too_large_are_refused(text: str) -> None:
    with pytest.raises(FormatError, match=f"more than {words.MAX_EXPANDED} characters"):
        Expander({"A": "a" * 32_000}).word(text)


def test_the_words_of_one_instruction_are_bounded_together() -> None:
    expander = Expander({"A": "a" * 32_000})
    with pytest.raises(FormatError, match="more than"):
        for _ in range(100):
            expander.word("$A")


_TEXTS = st.text(st.sampled_from("ab$'\"\\`{}/ €"))


@given(_TEXTS, st.sampled_from("\\`"))
def test_a_text_whose_special_characters_are_escaped_is_itself(text: str, escape: str) -> None:
    escaped = "".join(f"{escape}{char}" if char in f"$'\"{escape}" else char for char in text)
    assert Expander({}, escape).word(escaped) == text
    quoted = "".join(f"{escape}{char}" if char in f'$"{escape}' else char for char in text)
    assert Expander({}, escape).word(f'"{quoted}"') == text


@given(_TEXTS, _TEXTS)
def test_a_value_is_no_further_expanded(value: str, around: str) -> None:
    plain = re.sub(r"""['"\\$]""", "", around)
    assert Expander({"V": value}).word(f"{plain}${{V}}{plain}") == plain + value + plain


@given(st.text(), st.text())
def test_any_text_gives_words_or_an_error(text: str, value: str) -> None:
    for escape in "\\`":
        for expand in (Expander({"a": value}, escape).word, Expander({"a": value}, escape).words):
            try:
                expand(text)
            except FormatError:
                pass


_PATTERNS = st.text(st.sampled_from("ab*?"), max_size=6)
_SUBJECTS = st.text(st.sampled_from("abc\n"), max_size=8)


@given(_PATTERNS, _SUBJECTS)
@example("*a*b", "aabab")
def test_patterns_match_what_fnmatch_matches(pattern: str, text: str) -> None:
    """All ends are tried, each with the standard library's patterns."""
    matches = [end for end in range(len(text) + 1) if fnmatch.fnmatchcase(text[:end], pattern)]
    assert patterns.parse_pattern(pattern).prefix_end(text, longest=False) == min(matches, default=None)
    assert patterns.parse_pattern(pattern).prefix_end(text, longest=True) == max(matches, default=None)
    begins = [begin for begin in range(len(text) + 1) if fnmatch.fnmatchcase(text[begin:], pattern)]
    assert patterns.without_suffix(text, pattern, longest=False) == text[: max(begins, default=len(text))]
    assert patterns.without_suffix(text, pattern, longest=True) == text[: min(begins, default=len(text))]


@given(_PATTERNS, _SUBJECTS, st.booleans())
def test_replacing_is_that_of_a_regular_expression(pattern: str, text: str, every: bool) -> None:
    regex = re.compile("".join({"*": ".*", "?": "."}.get(char, char) for char in pattern), re.DOTALL)
    found = patterns.replaced(text, pattern, "<>", every=every, most=1000)
    if not every or not regex.match(""):
        assert found == regex.sub("<>", text, count=0 if every else 1)


def test_a_hard_pattern_takes_no_long_time() -> None:
    assert patterns.without_prefix("a" * 60_000, "*a" * 400 + "b", longest=True) == "a" * 60_000
