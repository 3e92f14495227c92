"""`parse_location`: the words of skopeo, and everything else is a reference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import InvalidParameterError
from wclayer.images.location import Location, Transport, parse_location

_WORDS = {kind.value: kind for kind in Transport}


@pytest.mark.parametrize(("text", "transport", "path", "name"), [
    ("localhost:5000/app:1", "docker", "", "localhost:5000/app:1"),
    ("nanoserver:ltsc2022", "docker", "", "nanoserver:ltsc2022"),
    ("docker://localhost:5000/app", "docker", "", "localhost:5000/app"),
    ("oci:folder", "oci", "folder", ""),
    ("oci:folder:1.0", "oci", "folder", "1.0"),
    ("oci:folder:localhost:5000/app:1", "oci", "folder", "localhost:5000/app:1"),
    (r"oci:C:\images\app", "oci", r"C:\images\app", ""),
    (r"oci:C:\images\app:1", "oci", r"C:\images\app", "1"),
    ("oci:c:/images/app:1", "oci", "c:/images/app", "1"),
    ("oci-archive:app.tar", "oci-archive", "app.tar", ""),
    ("oci-archive:/x/app.tar:1", "oci-archive", "/x/app.tar", "1"),
    ("docker-archive:app.tar", "docker-archive", "app.tar", ""),
    ("docker-archive:app.tar:localhost:5000/app:1", "docker-archive", "app.tar", "localhost:5000/app:1"),
    ("docker-archive:app.tar:@0", "docker-archive", "app.tar", "@0"),
    ("store:nanoserver:ltsc2022", "store", "", "nanoserver:ltsc2022"),
    ("oci", "docker", "", "oci"),
    ("store/app:1", "docker", "", "store/app:1"),
    ("dir:1", "docker", "", "dir:1"),
])  # fmt: skip
def test_locations(text: str, transport: str, path: str, name: str) -> None:
    assert parse_location(text) == Location(_WORDS[transport], path, name)


@pytest.mark.parametrize("text", [
    "", "oci:", "oci::1", "oci:folder:", "store:", "docker://", "dir:/tmp/x", "http://localhost/app",
    "docker-daemon:app:1", "./app.tar", "/app.tar", "C:\\app.tar", "..", "containers-storage:[overlay]app:1",
])  # fmt: skip
def test_no_location(text: str) -> None:
    with pytest.raises(InvalidParameterError, match=r"write|nothing after|no name|no reference|no path"):
        parse_location(text)


@given(
    st.sampled_from(["oci", "oci-archive", "docker-archive"]),
    st.from_regex(r"(?:[A-Za-z]:[\\/])?[A-Za-z0-9_./\\-]{2,20}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9_@][A-Za-z0-9_./:-]{0,20}", fullmatch=True) | st.just(""),
)
def test_a_location_is_its_text(word: str, path: str, name: str) -> None:
    location = parse_location(f"{word}:{path}{f':{name}' if name else ''}")
    assert location == Location(_WORDS[word], path, name)
    assert parse_location(str(location)) == location
    assert location.is_on_disk


@given(st.text(max_size=30))
def test_any_text_is_a_location_or_refused(text: str) -> None:
    try:
        location = parse_location(text)
    except InvalidParameterError:
        return
    assert location.path or location.name
    assert parse_location(str(location)) == location
