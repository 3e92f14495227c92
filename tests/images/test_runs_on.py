"""Which host runs which image: the rules of containerd and moby, and the reasons."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import InvalidParameterError
from wclayer.images.config import parse_config
from wclayer.images.platform import Platform
from wclayer.images.runs_on import ISOLATIONS, Isolation, runs_on
from wclayer.images.windows_version import WindowsVersion

builds = st.sampled_from([14393, 17763, 19044, 20348, 22621, 25398, 26100, 26200])


@pytest.mark.parametrize(
    ("image", "host", "isolation", "runs", "reason"),
    [
        ("10.0.20348.5499", "10.0.20348.1", "process", True, "same release, 10.0.20348"),
        ("10.0.17763.1", "10.0.17763.9", "process", True, "same release"),
        ("10.0.20348.1", "10.0.26100.1", "process", True, "stable interface"),
        ("10.0.20348.1", "10.0.26200", "process", True, "stable interface"),
        ("10.0.26100.1", "10.0.20348.1", "process", False, "newer than the host's"),
        ("10.0.17763.1", "10.0.20348.1", "process", False, "no longer runs processes"),
        ("10.0.14393.1", "10.0.17763.1", "process", False, "only images of its own release"),
        ("10.0.17763.1", "10.0.26100.1", "hyperv", True, "kernel of the image, 10.0.17763"),
        ("10.0.26100.1", "10.0.20348.1", "hyperv", False, "newer than the host's"),
        ("10.0.10240.1", "10.0.10586.1", "hyperv", False, "has no containers"),
        ("", "10.0.17763", "process", True, "states no version"),
        ("linux/amd64", "10.0.20348", "process", False, "made for linux"),
        ("windows/arm64:10.0.26100.1", "windows/amd64:10.0.26100", "process", False, "made for arm64"),
        ("windows/amd64:10.0.26100.1", "windows/amd64:10.0.26100", "hyperv", True, "kernel of the image"),
    ],
)
def test_the_answer_has_its_reason(image: str, host: str, isolation: Isolation, runs: bool, reason: str) -> None:
    answer = runs_on(image or Platform("windows", "amd64"), host, isolation)
    assert answer.runs is bool(answer) is runs
    assert reason in answer.reason
    assert answer.reason.endswith(".")


def test_known_failures_are_warned_of() -> None:
    assert "hcsshim issue 2566" in runs_on("10.0.26100.7171", "10.0.26200.7171").warning
    assert "not looked for" in runs_on("10.0.20348", "10.0.20348", "hyperv").warning
    assert runs_on("10.0.20348", "10.0.20348", "hyperv", has_utility_vm=True).warning == ""
    assert "containerd does not choose it" in runs_on("10.0.17763", "10.0.26100", "hyperv").warning
    answer = runs_on("10.0.20348", "10.0.20348", "hyperv", has_utility_vm=False)
    assert not answer
    assert "no utility VM" in answer.reason


def test_a_configuration_states_its_version() -> None:
    record = {"os": "windows", "architecture": "amd64", "os.version": "10.0.20348.5", "rootfs": {"type": "layers"}}
    assert runs_on(parse_config(json.dumps(record).encode()), "10.0.20348")
    record["os.version"] = "next"
    assert "none of Windows" in runs_on(parse_config(json.dumps(record).encode()), "10.0.20348").reason


@pytest.mark.parametrize("host", ["", "linux/amd64", "windows/amd64", "server 2022", "10.0"])
def test_a_host_without_a_version_of_windows_is_refused(host: str) -> None:
    with pytest.raises(InvalidParameterError):
        runs_on("10.0.20348", host)


def test_an_unknown_isolation_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="process, hyperv"):
        runs_on("10.0.20348", "10.0.20348", "none")  # type: ignore[arg-type]


@given(builds, builds, st.integers(0, 9999), st.integers(0, 9999), st.sampled_from(ISOLATIONS))
def test_revisions_never_matter_and_process_implies_hyperv(
    image: int, host: int, one: int, two: int, isolation: Isolation
) -> None:
    answer = runs_on(f"10.0.{image}.{one}", f"10.0.{host}.{two}", isolation)
    assert answer == runs_on(f"10.0.{image}.{two}", f"10.0.{host}.{one}", isolation)
    kernel = WindowsVersion(10, 0, host)
    assert runs_on(f"10.0.{image}", str(kernel)).runs is kernel.shares_kernel_with(WindowsVersion(10, 0, image))
    if runs_on(f"10.0.{image}", f"10.0.{host}"):
        assert runs_on(f"10.0.{image}", f"10.0.{host}", "hyperv")
