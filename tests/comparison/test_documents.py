"""What differs between the documents of images, beside expectations written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.images import samples
from wclayer.comparison.documents import DocumentChange, document_changes
from wclayer.comparison.history import compared_layers, history_difference
from wclayer.images.config import ImageConfig, parse_config
from wclayer.images.manifest import Manifest, parse_manifest

_BASE = samples.layer(samples.small_base_tar(), "oci")
_LAYERS = [samples.layer(samples.small_tar({"Files/a": data}), "oci") for data in (b"1", b"2", b"3")]


def _image(
    container: dict[str, Any] | None = None,
    layers: list[samples.Layer] | None = None,
    history: list[dict[str, Any]] | None = None,
    **more: Any,
) -> tuple[Manifest, ImageConfig]:
    image = samples.image("oci", layers or [_BASE], history or [], container or {}, **more)
    manifest = parse_manifest(image.manifest)
    assert isinstance(manifest, Manifest)
    return manifest, parse_config(image.config)


def _changes(a: dict[str, Any], b: dict[str, Any], **more: Any) -> list[tuple[str, str, str, object, object]]:
    return [_row(each) for each in document_changes(_image(a), _image(b, **more), times=True)]


def _row(change: DocumentChange) -> tuple[str, str, str, object, object]:
    return change.part.value, change.field, change.key, change.old, change.new


@pytest.mark.parametrize("old", [{}, {"User": "", "Env": None, "Cmd": [], "Labels": {}, "ArgsEscaped": False}])
def test_an_empty_field_is_a_missing_one(old: dict[str, Any]) -> None:
    assert _changes(old, {}) == []
    assert _changes(old, {"User": "ContainerUser"}) == [("config", "User", "", None, "ContainerUser")]
    assert _changes({"Cmd": ["cmd"]}, old) == [("config", "Cmd", "", ["cmd"], None)]


def test_each_field_of_the_configuration() -> None:
    old = {
        "User": "ContainerUser", "Env": ["Path=C:\\a", "OLD=1", "KEPT=x"], "Entrypoint": ["a.exe"],
        "WorkingDir": "C:\\", "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"C:\\data": {}},
        "Labels": {"v": "1", "empty": ""}, "Healthcheck": {"Test": ["CMD", "a"], "Interval": 0},
        "StopSignal": "1", "Shell": ["cmd", "/S", "/C"],
    }  # fmt: skip
    new = {
        "User": "ContainerAdministrator", "Env": ["PATH=C:\\b", "KEPT=x", "NEW="], "Entrypoint": ["b.exe"],
        "WorkingDir": "C:\\app", "ExposedPorts": {"80/tcp": {}, "443/tcp": {}}, "Labels": {"v": "2"},
        "Healthcheck": {"Test": ["CMD", "a"], "Retries": 3}, "Shell": ["powershell", "-Command"], "OnBuild": ["RUN x"],
    }  # fmt: skip
    assert _changes(old, new) == [
        ("config", "User", "", "ContainerUser", "ContainerAdministrator"),
        ("config", "Env", "PATH", "C:\\a", "C:\\b"),
        ("config", "Env", "OLD", "1", None),
        ("config", "Env", "NEW", None, ""),
        ("config", "Entrypoint", "", ["a.exe"], ["b.exe"]),
        ("config", "WorkingDir", "", "C:\\", "C:\\app"),
        ("config", "ExposedPorts", "53/udp", {}, None),
        ("config", "ExposedPorts", "443/tcp", None, {}),
        ("config", "Volumes", "C:\\data", {}, None),
        ("config", "Labels", "v", "1", "2"),
        ("config", "Labels", "empty", "", None),
        ("config", "Healthcheck", "Retries", None, 3),
        ("config", "StopSignal", "", "1", None),
        ("config", "Shell", "", ["cmd", "/S", "/C"], ["powershell", "-Command"]),
        ("config", "OnBuild", "", None, ["RUN x"]),
    ]


def test_variables_in_another_order_differ_as_a_list() -> None:
    old, new = ["A=1", "B=2"], ["B=2", "A=1"]
    assert _changes({"Env": old}, {"Env": new}) == [("config", "Env", "", old, new)]


@pytest.mark.parametrize("hostile", [{"Env": "A=1"}, {"Env": [1, None]}, {"Labels": 5}, {"ExposedPorts": ["80"]}])
def test_a_field_of_another_type_is_compared_whole(hostile: dict[str, Any]) -> None:
    ((field, value),) = hostile.items()
    assert _changes(hostile, hostile) == []
    assert _changes(hostile, {}) == [("config", field, "", value, None)]


def test_platforms_and_the_image_itself() -> None:
    a = _image(os_version="10.0.20348.1", extra={"author": "A", "os.features": ["win32k"]})
    b = _image(os_version="10.0.26100.1", architecture="arm64", extra={"variant": "v8"})
    assert [_row(each) for each in document_changes(a, b, times=True)] == [
        ("platform", "architecture", "", "amd64", "arm64"),
        ("platform", "os.version", "", "10.0.20348.1", "10.0.26100.1"),
        ("platform", "os.features", "", ["win32k"], None),
        ("platform", "variant", "", None, "v8"),
        ("image", "author", "", "A", None),
    ]


def test_histories_are_compared_after_their_common_beginning() -> None:
    first, second, third = _LAYERS
    steps = [samples.step(name) for name in ("base", "one", "two")]
    _, a = _image({}, [_BASE, first, second], steps)
    _, b = _image({}, [_BASE, first, third], [*steps[:2], samples.step("two"), samples.step("LABEL", empty=True)])
    found = history_difference(a, b, times=True)
    assert found.common == 2  # the third step made another layer
    assert [(each.change.value, each.number) for each in found.changes] == [("removed", 3), ("added", 3), ("added", 4)]


def test_a_step_at_another_time_differs_in_it_alone() -> None:
    (_, a), (_, b) = (_image({}, [_BASE], [samples.step("base", created)]) for created in ("2025", "2026"))
    (change,) = history_difference(a, b, times=True).changes
    assert change.old is not None
    assert change.new is not None
    assert (change.change.value, change.old.created, change.new.created) == ("changed", "2025", "2026")
    assert history_difference(a, b, times=False).changes == ()


def test_layers_are_shared_by_their_diff_ids() -> None:
    first, second, third = _LAYERS
    other = samples.plain_layer(first.tar)
    found = list(compared_layers(_image({}, [_BASE, first, second]), _image({}, [_BASE, other, third])))
    assert [
        (each.diff_id, each.change and each.change.value, each.a and each.a.number, each.b and each.b.number)
        for each in found
    ] == [
        (_BASE.diff_id, None, 1, 1),
        (first.diff_id, "changed", 2, 2),  # the same layer in another blob
        (second.diff_id, "removed", 3, None),
        (third.diff_id, "added", None, 3),
    ]
    assert found[1].a is not None
    assert found[1].b is not None
    assert (found[1].a.size, found[1].b.size) == (len(first.data), len(other.data))


def test_layers_in_another_order_differ_and_repeated_ones_are_counted() -> None:
    first, second, _ = _LAYERS

    def changes(a: list[samples.Layer], b: list[samples.Layer]) -> list[str | None]:
        found = compared_layers(_image({}, [_BASE, *a]), _image({}, [_BASE, *b]))
        return [each.change and each.change.value for each in found]

    assert changes([first, second], [second, first]) == [None, None, "changed"]
    assert changes([first, first], [first]) == [None, None, "removed"]
    assert changes([first], [second, first]) == [None, None, "added"]
