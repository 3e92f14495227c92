"""Platforms: three spellings, and which image of an index is meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import InvalidParameterError, PathNotFoundError
from wclayer.images.choice import choose
from wclayer.images.descriptor import OCI_MANIFEST, Descriptor, digest_of
from wclayer.images.platform import Platform, parse_platform
from wclayer.images.windows_version import WindowsVersion

word = st.from_regex(r"[a-z0-9_][a-z0-9_-]{0,6}", fullmatch=True)
version = st.builds(WindowsVersion, st.just(10), st.just(0), st.integers(0, 70000), st.integers(-1, 99999))
platforms = st.builds(
    Platform,
    st.just("windows"),
    st.sampled_from(["amd64", "arm64", "386", ""]),
    st.just("") | version.map(str),
    st.just(""),
    st.lists(st.sampled_from(["win32k", "a+b", "(x)", "100%", "ü/~"]), max_size=2).map(tuple),
) | st.builds(
    Platform,
    word.filter(
        lambda text: text not in ("386", "arm", "amd64", "arm64", "i386", "x86_64", "x86-64", "aarch64", "windows")
    ),
    st.sampled_from(["amd64", "arm", "s390x"]),
    st.just("") | word | st.text(min_size=1, max_size=5),
    st.just("") | st.just("v7"),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("windows/amd64", Platform("windows", "amd64")),
        ("windows/amd64:10.0.20348", Platform("windows", "amd64", "10.0.20348")),
        ("windows(10.0.20348)/amd64", Platform("windows", "amd64", "10.0.20348")),
        ("windows/amd64,osver=10.0.20348", Platform("windows", "amd64", "10.0.20348")),
        ("windows/amd64,osversion=10.0.20348.5499", Platform("windows", "amd64", "10.0.20348.5499")),
        ("windows(10.0.20348+win32k)/amd64", Platform("windows", "amd64", "10.0.20348", "", ("win32k",))),
        ("windows(+win32k)/amd64", Platform("windows", "amd64", "", "", ("win32k",))),
        ("windows()/amd64", Platform("windows", "amd64")),
        ("Windows/X86_64", Platform("windows", "amd64")),
        ("windows/arm64/v8:10.0.26100.1", Platform("windows", "arm64", "10.0.26100.1")),
        ("windows/aarch64", Platform("windows", "arm64")),
        ("linux/arm/v7", Platform("linux", "arm", "", "v7")),
        ("windows", Platform("windows", "")),
        ("windows:10.0.20348", Platform("windows", "", "10.0.20348")),
        ("amd64", Platform("windows", "amd64")),
        ("freebsd(14.1%2Bp2)/amd64", Platform("freebsd", "amd64", "14.1+p2")),
    ],
)
def test_three_spellings_mean_the_same(text: str, expected: Platform) -> None:
    assert parse_platform(text) == expected
    assert parse_platform(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "neither os/architecture"),
        ("windows/", "neither os/architecture"),
        ("windows/amd64/v1/x", "neither os/architecture"),
        ("windows/*", "neither os/architecture"),
        ("windows/amd64:", "the version is missing"),
        ("windows/amd64,osver=", "the version is missing"),
        ("windows/amd64:10.0", "not a version of Windows"),
        ("windows/amd64:ltsc2022", "not a version of Windows"),
        ("windows(10.0.1)/amd64:10.0.2", "the version twice"),
        ("windows/amd64:10.0.1,osver=10.0.1", "the version twice"),
        ("windows/amd64,features=x", "the option 'features' is unknown"),
        ("windows(10.0.20348/amd64", "neither os/architecture"),
        ("windows/amd64:10.0.20348\n", "not a version of Windows"),
    ],
)
def test_what_is_no_platform_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_platform(text)
    assert reason in caught.value.detail


@given(platforms)
def test_the_text_of_a_platform_is_that_platform(platform: Platform) -> None:
    assert parse_platform(str(platform)) == platform


@given(st.text(max_size=40) | st.text("windows/(+).0%:,=", max_size=20))
def test_any_text_is_a_platform_or_refused(text: str) -> None:
    try:
        platform = parse_platform(text)
    except InvalidParameterError:
        return
    assert parse_platform(str(platform)) == platform


@given(version)
def test_a_version_is_read_as_it_is_written(number: WindowsVersion) -> None:
    assert WindowsVersion.parse(str(number)) == number


def image(text: str, *features: str, seed: str = "", annotations: dict[str, str] | None = None) -> Descriptor:
    """A descriptor for "os/architecture:version"; the text need not be a valid platform."""
    processor, _, os_version = text.partition(":")
    os, architecture = processor.split("/")
    platform = Platform(os, architecture, os_version, "", features)
    name = f"{text}{features}{seed}"
    return Descriptor(OCI_MANIFEST, digest_of(name.encode()), 7, (), platform, "", annotations or {})


OLD = image("windows/amd64:10.0.17763.6659")
MID = image("windows/amd64:10.0.20348.999")
MID_NEW = image("windows/amd64:10.0.20348.1000")
NEW = image("windows/amd64:10.0.26100.33296")
ARM = image("windows/arm64:10.0.26100.33297")
LINUX = image("linux/amd64")
ANY = image("windows/amd64")


@pytest.mark.parametrize(
    ("images", "wanted", "expected"),
    [
        ([MID, MID_NEW], "windows/amd64:10.0.20348", MID_NEW),  # by number, not by text
        ([MID_NEW, MID], "windows/amd64:10.0.20348", MID_NEW),
        ([MID, MID_NEW], "windows/amd64:10.0.20348.999", MID),  # exactly
        ([MID, MID_NEW], "windows/amd64:10.0.20348.7", MID_NEW),  # revisions do not decide what runs
        ([NEW, MID], "windows/amd64:10.0.20348", MID),  # never a newer release
        ([MID, NEW], "windows/amd64:10.0.26100", NEW),
        ([MID], "windows/amd64:10.0.26100", MID),  # the long-term release before
        ([MID, OLD], "windows/amd64:10.0.26200", MID),  # moby#53397
        ([NEW, MID], "windows/amd64:10.0.26200", NEW),
        ([ANY, OLD], "windows/amd64:10.0.20348", ANY),  # containerd#8101: HostProcess
        ([ANY, MID], "windows/amd64:10.0.20348", MID),
        ([LINUX, MID], "windows/amd64", MID),
        ([LINUX, MID], None, MID),
        ([MID, MID_NEW], None, MID_NEW),
        ([LINUX], None, LINUX),
        ([NEW, ARM], "windows/arm64", ARM),
        ([NEW, ARM], "amd64", NEW),
        ([LINUX, NEW], "linux/amd64", LINUX),
        ([MID, MID], None, MID),
    ],
)
def test_the_best_image_is_chosen(images: list[Descriptor], wanted: str | None, expected: Descriptor) -> None:
    assert choose(images, parse_platform(wanted) if wanted else None) == expected


@pytest.mark.parametrize(
    ("images", "wanted"),
    [
        ([MID, NEW], None),
        ([MID, NEW], "windows/amd64"),
        ([NEW, ARM], None),
        ([NEW, ARM], "windows:10.0.26100"),
        ([MID, image("windows/amd64:10.0.20348.999", seed="2")], None),
        ([LINUX, image("linux/arm64")], None),
        ([ANY, MID], None),
    ],
)
def test_an_ambiguous_choice_lists_what_there_is(images: list[Descriptor], wanted: str | None) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        choose(images, parse_platform(wanted) if wanted else None, "r.io/x:1")
    assert caught.value.path == "r.io/x:1"
    assert "--platform" in caught.value.detail
    for item in images:
        assert str(item.platform) in caught.value.detail
        assert item.digest[:19] in caught.value.detail


@pytest.mark.parametrize(
    ("images", "wanted"),
    [
        ([NEW], "windows/amd64:10.0.20348"),
        ([OLD], "windows/amd64:10.0.20348"),
        ([MID], "windows/amd64:10.0.17763"),
        ([MID], "windows/arm64"),
        ([MID], "linux"),
        ([], None),
        ([image("unknown/unknown")], None),
        ([image("windows/amd64:abc")], "windows/amd64:10.0.20348"),
        ([image("windows/amd64:10.0.20348.1", "other")], "windows(10.0.20348+win32k)/amd64"),
    ],
)
def test_no_fitting_image_is_an_error_that_lists_what_there_is(images: list[Descriptor], wanted: str | None) -> None:
    with pytest.raises(PathNotFoundError) as caught:
        choose(images, parse_platform(wanted) if wanted else None, "x")
    for item in images:
        assert item.platform is not None
        assert (str(item.platform) in caught.value.detail) is (item.platform.os != "unknown")


def test_an_endless_platform_does_not_fill_the_message() -> None:
    images = [image(f"windows/amd64:{'9' * 100_000}{number}") for number in range(50)]
    for wanted in (None, "linux"):
        with pytest.raises((InvalidParameterError, PathNotFoundError), match="and 10 more") as caught:
            choose(images, parse_platform(wanted) if wanted else None)
        assert len(str(caught.value)) < 7000


def test_features_decide_between_images_of_one_version() -> None:
    core, nano = image("windows/amd64:10.0.20348.5", "win32k"), image("windows/amd64:10.0.20348.5")
    assert choose([nano, core], parse_platform("windows(10.0.20348+win32k)/amd64")) == core
    with pytest.raises(InvalidParameterError):
        choose([nano, core], parse_platform("windows/amd64:10.0.20348"))


def test_attestations_and_images_without_a_platform() -> None:
    attestation = image("windows/amd64:10.0.20348.6", annotations={"vnd.docker.reference.type": "attestation-manifest"})
    assert choose([attestation, image("unknown/unknown"), MID], None) == MID
    bare = Descriptor(OCI_MANIFEST, digest_of(b"bare"), 4)
    assert choose([bare], parse_platform("windows/amd64")) == bare
    assert choose([bare, MID], parse_platform("windows/amd64")) == MID
    with pytest.raises(InvalidParameterError, match="no platform"):
        choose([bare, Descriptor(OCI_MANIFEST, digest_of(b"two"), 4)], None)


@pytest.mark.parametrize(
    ("host", "image", "runs"),
    [  # containerd/platforms, platform_windows_compat_test.go, and pull request 34
        (17763, 17763, True), (17763, 20348, False), (20348, 20348, True), (20348, 17763, False), (22621, 22621, True),
        (22621, 20348, True), (22621, 19042, False), (25398, 25398, True), (25398, 20348, True), (26100, 26100, True),
        (26100, 20348, True), (26100, 25398, True), (20348, 22621, False), (20348, 26100, False), (26100, 17763, False),
        (26200, 20348, True), (26200, 26100, True), (26200, 26201, False),
    ],
)  # fmt: skip
def test_a_kernel_runs_what_containerd_says(host: int, image: int, runs: bool) -> None:
    assert WindowsVersion(10, 0, host, 1).shares_kernel_with(WindowsVersion(10, 0, image, 99)) is runs
    assert not WindowsVersion(10, 0, host).shares_kernel_with(WindowsVersion(6, 3, image))


@given(st.permutations([OLD, MID, MID_NEW, NEW, ARM, LINUX, ANY]), st.sampled_from([17763, 20348, 22000, 26100, 26200]))
def test_the_order_of_an_index_does_not_matter(images: list[Descriptor], build: int) -> None:
    wanted = Platform("windows", "amd64", f"10.0.{build}")
    expected = {17763: OLD, 20348: MID_NEW, 22000: MID_NEW, 26100: NEW, 26200: NEW}
    assert choose(images, wanted) == expected[build]
