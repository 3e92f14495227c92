"""References of images: the grammar and the defaults of distribution/reference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import InvalidParameterError
from wclayer.images.reference import Reference, parse_reference

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"

component = st.from_regex(r"[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}", fullmatch=True)
host = st.from_regex(
    r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,4}[a-zA-Z0-9])?(\.[a-zA-Z0-9]{1,4}){0,2}(:[0-9]{1,5})?", fullmatch=True
)
hosts = st.one_of(host, st.sampled_from(["localhost", "docker.io", "index.docker.io", "[::1]:5000", "library"]))
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
names = st.lists(component | st.sampled_from(["library", "localhost", HEX]), min_size=1, max_size=3).map("/".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nanoserver", Reference("docker.io", "library/nanoserver", "latest")),
        ("nanoserver:ltsc2022", Reference("docker.io", "library/nanoserver", "ltsc2022")),
        ("docker.io/golang", Reference("docker.io", "library/golang", "latest")),
        ("index.docker.io/me/app:1", Reference("docker.io", "me/app", "1")),
        ("localhost/app", Reference("localhost", "app", "latest")),
        ("localhost:5000/x", Reference("localhost:5000", "x", "latest")),
        ("[::1]:5000/a/b:c", Reference("[::1]:5000", "a/b", "c")),
        ("Registry/app", Reference("Registry", "app", "latest")),
        (
            "mcr.microsoft.com/windows/servercore:ltsc2022",
            Reference("mcr.microsoft.com", "windows/servercore", "ltsc2022"),
        ),
        (f"x@{DIGEST}", Reference("docker.io", "library/x", "", DIGEST)),
        (f"r.io/x:1@{DIGEST}", Reference("r.io", "x", "1", DIGEST)),
        (f"me/{HEX}", Reference("docker.io", f"me/{HEX}", "latest")),
        ("a__b/c-.d", None),
        ("a---b", Reference("docker.io", "library/a---b", "latest")),
    ],
)
def test_names_mean_what_they_mean_to_docker(text: str, expected: Reference | None) -> None:
    if expected is None:
        with pytest.raises(InvalidParameterError):
            parse_reference(text)
    else:
        assert parse_reference(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "lower-case letters"),
        ("App", "in lower case (library/app)"),
        ("me/App:1", "in lower case"),
        ("x:", "a tag has"),
        ("x:.a", "a tag has"),
        (f"x:{'a' * 129}", "a tag has"),
        ("x@", "is not a digest"),
        (f"x@sha512:{HEX * 2}", "only sha256"),
        (f"x@{DIGEST.upper()}", "is not a digest"),
        (HEX, "could be a digest"),
        ("-a.com/x", "host of a registry"),
        ("http://localhost/x", "host of a registry"),
        ("a//b", "lower-case letters"),
        ("a/b/", "lower-case letters"),
        ("a.b/" + "x" * 256, "256 characters"),
        ("x y", "lower-case letters"),
        ("x\n", "lower-case letters"),
        ("x:1\n", "a tag has"),
        ("ä", "lower-case letters"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_reference(text)
    assert reason in caught.value.detail
    assert len(caught.value.path) <= 100


@given(hosts, names, st.none() | tags, st.booleans())
def test_the_text_of_a_reference_is_that_reference(registry: str, name: str, tag: str | None, has_digest: bool) -> None:
    text = f"{registry}/{name}" + (f":{tag}" if tag else "") + (f"@{DIGEST}" if has_digest else "")
    reference = parse_reference(text)
    assert parse_reference(str(reference)) == reference
    assert reference.wanted == (DIGEST if has_digest else tag or "latest")


@given(names, tags)
def test_what_is_default_is_not_written(name: str, tag: str) -> None:
    reference = parse_reference(f"docker.io/{name}:{tag}")
    assert parse_reference(str(reference)) == reference
    if "/" not in name:
        assert str(reference) == f"{name}:{tag}"


@given(st.text(max_size=300) | st.text("a/:@.-_A5[]", max_size=30))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidParameterError:
        return
    assert parse_reference(str(reference)) == reference


def test_another_tag() -> None:
    reference = parse_reference(f"localhost:5000/x:1@{DIGEST}")
    assert str(reference.with_tag("2")) == "localhost:5000/x:2"
    with pytest.raises(InvalidParameterError):
        reference.with_tag("a b")
