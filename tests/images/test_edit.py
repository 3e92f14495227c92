"""Changes of configurations, manifests and indexes: what is named changes, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.images import samples
from wclayer.builder.image import BuiltImage
from wclayer.errors import FormatError, InvalidParameterError
from wclayer.images.descriptor import DOCKER_INDEX, OCI_INDEX, OCI_MANIFEST, Descriptor
from wclayer.images.edit import (
    CMD_WARNING,
    NO_COMMAND_WARNING,
    PATH_WARNING,
    ConfigChanges,
    append_manifests,
    edit_annotations,
    edit_config,
    new_index,
    remove_manifests,
    replace_config,
    replace_layers,
    replace_manifests,
)
from wclayer.images.edit_history import UNKNOWN_STEP, Step, append_history
from wclayer.images.json_edit import JsonText, Path
from wclayer.images.manifest import Index, Manifest, parse_manifest
from wclayer.images.platform import Platform, parse_platform

CONFIG = samples.classic().config
UNKNOWN = b"""{
   "rootfs": { "type":"layers", "diff_ids":[] },
   "moby.buildkit.cache.v0" : [1.50, "\\u003c"],
   "config": {"Shell":["powershell","-Command"], "Env":["Path=C:\\\\a","B=1","PATH=C:\\\\b"], "x.vendor":{"Z":1,"A":2},
              "Labels": null},
   "os":"windows", "architecture":"amd64", "os.features": ["win32k"], "container_config": {"Hostname":"h"}
}
"""


def changed(data: bytes, **changes: Any) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(edit_config(data, ConfigChanges(**changes))[0])
    return record


def manifest_of(image: samples.Image) -> Manifest:
    manifest = parse_manifest(image.manifest)
    assert isinstance(manifest, Manifest)
    return manifest


def index_of(index: samples.Index) -> Index:
    result = parse_manifest(index.manifest)
    assert isinstance(result, Index)
    return result


def test_without_changes_the_bytes_are_the_same() -> None:
    for data in (CONFIG, UNKNOWN):
        assert edit_config(data, ConfigChanges()) == (data, [])


@pytest.mark.parametrize("name", ["path", "PATH", "pAtH"])
def test_names_of_variables_are_equal_in_any_case(name: str) -> None:
    edited, warnings = edit_config(UNKNOWN, ConfigChanges(env={name: "C:\\c"}))
    assert json.loads(edited)["config"]["Env"] == [f"{name}=C:\\c", "B=1"]
    assert warnings == [PATH_WARNING]
    assert changed(UNKNOWN, without_env=[name])["config"]["Env"] == ["B=1"]
    assert (
        edited.replace(f"{name}=C:\\\\c".encode(), b"Path=C:\\\\a").replace(b'"B=1"', b'"B=1","PATH=C:\\\\b"')
        == UNKNOWN
    )


def test_a_variable_that_begins_with_an_equals_sign() -> None:
    assert changed(UNKNOWN, env={"=C:": "C:\\x"})["config"]["Env"][-1] == "=C:=C:\\x"
    with_it, _ = edit_config(UNKNOWN, ConfigChanges(env={"=C:": "C:\\x"}))
    assert edit_config(with_it, ConfigChanges(without_env=["=c:"]))[0] == UNKNOWN


@pytest.mark.parametrize(
    "changes",
    [
        {"env": {"A": "1", "a": "2"}},
        {"env": {"A": "1"}, "without_env": ["A"]},
        {"env": {"A": "1"}, "without_env": ["a"]},
        {"env": {"": "1"}},
        {"env": {"A=B": "1"}},
        {"env": {"A\0": "1"}},
        {"env": {"A": "\0"}},
        {"labels": {"a": "1"}, "without_labels": ["a"]},
        {"ports": ["http"]},
        {"ports": ["0"]},
        {"ports": ["70000/tcp"]},
        {"ports": ["90-80"]},
        {"created": "yesterday"},
        {"created": "2026-01-01"},
        {"created": "2026-13-01T00:00:00Z"},
        {"created": "2026-02-30T00:00:00.123456789+01:00"},
    ],
)
def test_changes_that_are_not_possible_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError):
        edit_config(CONFIG, ConfigChanges(**changes))


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(FormatError, match="Unicode"):
        edit_config(CONFIG, ConfigChanges(env={"A": "\udcff"}))


def test_every_field_is_set() -> None:
    record = changed(
        UNKNOWN, labels={"a": "1", "A": "2"}, entrypoint=["app.exe"], cmd=["/x"], user="ContainerUser",
        working_dir="C:\\app", shell=["cmd", "/S", "/C"], ports=["80", "90-91/udp"], volumes=["C:\\data"],
        platform=parse_platform("windows/arm64:10.0.26100.1"), author="me", created="2026-01-02T03:04:05Z",
    )  # fmt: skip
    config = record["config"]
    assert config["Labels"] == {"a": "1", "A": "2"}
    assert (config["Entrypoint"], config["Cmd"], config["Shell"]) == (["app.exe"], ["/x"], ["cmd", "/S", "/C"])
    assert (config["User"], config["WorkingDir"]) == ("ContainerUser", "C:\\app")
    assert config["ExposedPorts"] == {"80/tcp": {}, "90-91/udp": {}}
    assert config["Volumes"] == {"C:\\data": {}}
    assert (record["os"], record["architecture"], record["os.version"]) == ("windows", "arm64", "10.0.26100.1")
    assert record["os.features"] == ["win32k"]
    assert (record["author"], record["created"]) == ("me", "2026-01-02T03:04:05Z")
    old = json.loads(UNKNOWN)
    assert [key for key in record if key in old] == list(old)
    assert (record["container_config"], config["x.vendor"]) == (old["container_config"], old["config"]["x.vendor"])


def test_what_was_set_is_removed() -> None:
    edited, _ = edit_config(UNKNOWN, ConfigChanges(labels={"a": "1"}, ports=["80"], volumes=["C:\\d"]))
    changes = ConfigChanges(without_labels=["a"], without_ports=["80/tcp"], without_volumes=["C:\\d"])
    config = json.loads(edit_config(edited, changes)[0])["config"]
    assert not {"Labels", "ExposedPorts", "Volumes"} & config.keys()


@pytest.mark.parametrize("image", [samples.servercore(), samples.small("oci"), samples.nanoserver()])
def test_what_was_added_is_removed_without_a_trace(image: samples.Image) -> None:
    added = ConfigChanges(
        env={"A": "1", "B": "2"}, labels={"a": "1"}, shell=["cmd"], working_dir="C:\\x", ports=["80"],
        volumes=["C:\\d"], author="me",
    )  # fmt: skip
    removed = ConfigChanges(
        without_env=["b", "a"], without_labels=["a"], shell=[], working_dir="", without_ports=["80"],
        without_volumes=["C:\\d"], author="",
    )  # fmt: skip
    there, _ = edit_config(image.config, added)
    back, _ = edit_config(there, removed)
    expected = image.record
    for key in ("Shell", "ExposedPorts"):  # Docker leaves only these out
        if "Hostname" in expected["config"]:
            expected["config"][key] = None
    assert json.loads(back) == expected
    if "Hostname" not in expected["config"]:
        assert back == image.config


def test_a_variable_in_the_place_of_another_keeps_the_place_of_the_list() -> None:
    data = b'{"config":{"Env":["A=1"],"User":"x"},"rootfs":{"type":"layers"}}'
    edited, _ = edit_config(data, ConfigChanges(env={"B": "2"}, without_env=["a"]))
    assert edited == data.replace(b"A=1", b"B=2")


def test_many_entries_of_one_name_are_replaced_at_once() -> None:
    record = {"config": {"Env": [f"path={number}" for number in range(100_000)]}, "rootfs": {"type": "layers"}}
    edited, _ = edit_config(samples.dump(record), ConfigChanges(env={"PATH": "C:\\"}))
    assert json.loads(edited)["config"]["Env"] == ["PATH=C:\\"]
    assert json.loads(edit_config(samples.dump(record), ConfigChanges(without_env=["PATH"]))[0])["config"] == {}


def test_a_new_entry_point_removes_the_old_command() -> None:
    edited, warnings = edit_config(CONFIG, ConfigChanges(entrypoint=["a.exe"]))
    config = json.loads(edited)["config"]
    assert (config["Entrypoint"], config["Cmd"]) == (["a.exe"], None)
    assert warnings == [CMD_WARNING]
    assert edit_config(CONFIG, ConfigChanges(entrypoint=["a.exe"], cmd=["b"]))[1] == []
    assert edit_config(CONFIG, ConfigChanges(cmd=[]))[1] == [NO_COMMAND_WARNING]


@pytest.mark.parametrize(
    ("entrypoint", "changes", "escaped"),
    [
        (None, {"cmd": ["a b.exe"]}, False),
        (["shell line"], {"cmd": ["x"]}, True),
        (["shell line"], {"entrypoint": ["a b.exe"]}, False),
        (None, {"user": "x"}, True),
    ],
)
def test_words_are_not_read_as_a_command_line(entrypoint: Any, changes: dict[str, Any], escaped: bool) -> None:
    record = {"rootfs": {"type": "layers"}, "config": {"ArgsEscaped": True, "Entrypoint": entrypoint, "Cmd": ["old"]}}
    assert changed(samples.dump(record), **changes)["config"]["ArgsEscaped"] is escaped


@pytest.mark.parametrize(
    "time", ["2026-08-09T02:33:18Z", "0001-01-01T00:00:00Z", "2026-08-09T02:33:18.123456789+02:00"]
)
def test_times_are_written_as_they_are_given(time: str) -> None:
    assert changed(UNKNOWN, created=time)["created"] == time


def test_only_the_command_is_checked_that_was_changed() -> None:
    data = b'{"rootfs":{"type":"layers"}}'
    assert edit_config(data, ConfigChanges(user="x")) == (b'{"rootfs":{"type":"layers"},"config":{"User":"x"}}', [])


names = st.text("abAB_", min_size=1, max_size=3)
texts = st.text(max_size=5)
variables = st.dictionaries(names, texts, max_size=4).filter(lambda env: len({*map(str.upper, env)}) == len(env))
records = st.fixed_dictionaries(
    {
        "rootfs": st.just({"type": "layers", "diff_ids": []}),
        "config": st.fixed_dictionaries(
            {
                "Env": variables.map(lambda env: [f"{name}={value}" for name, value in env.items()]),
                "Labels": st.none() | st.dictionaries(texts, texts, max_size=3),
            },
            optional={"unknown": texts, "User": texts},
        ),
    },
    optional={"x-unknown": st.lists(texts, max_size=2), "author": texts, "created": st.just("2026-01-02T03:04:05Z")},
)


@given(records, variables, st.dictionaries(texts, texts, max_size=3), texts, st.sampled_from([None, 3]))
def test_an_edit_changes_what_it_names(
    record: dict[str, Any], env: dict[str, str], labels: dict[str, str], user: str, indent: int | None
) -> None:
    env = {name: value.replace("\0", "") for name, value in env.items()}
    data = samples.dump(record, indent=indent)
    edited, _ = edit_config(data, ConfigChanges(env=env, labels=labels, user=user))
    result = json.loads(edited)
    assert [key for key in result if key in record] == list(record)
    kept = [key for key in record["config"] if key != "User" or user or record["config"]["Labels"] is None]
    assert [key for key in result["config"] if key in kept] == kept
    for key in ("x-unknown", "author", "created", "rootfs"):
        assert result.get(key) == record.get(key)
    config, old = result["config"], record["config"]
    assert config.get("unknown") == old.get("unknown")
    assert (config["Labels"] or {}) == (old["Labels"] or {}) | labels
    assert config.get("User", "") == user

    def folded(entries: list[str]) -> dict[str, str]:
        return {name.upper(): value for name, _, value in (entry.partition("=") for entry in entries)}

    assert folded(config["Env"]) == folded(old["Env"]) | {name.upper(): value for name, value in env.items()}
    assert len(folded(config["Env"])) == len(config["Env"])
    # A second time, nothing is left to change.
    assert edit_config(edited, ConfigChanges(env=env, labels=labels, user=user))[0] == edited


@given(variables.filter(bool), texts.map(lambda text: text.replace("\0", "")), st.data())
def test_an_edit_is_undone(env: dict[str, str], value: str, data: st.DataObject) -> None:
    record = {"config": {"Env": [f"{name}={old}" for name, old in env.items()]}, "rootfs": {"type": "layers"}}
    original = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        original = original.replace(char, f"\\u{ord(char):04x}")
    name = data.draw(st.sampled_from([*env]))
    there, _ = edit_config(original.encode(), ConfigChanges(env={name: value}))
    back, _ = edit_config(there, ConfigChanges(env={name: env[name].replace("\0", "")}))
    if "\0" not in env[name]:
        assert back == original.encode()
    added, _ = edit_config(original.encode(), ConfigChanges(env={"NEW_ONE": value}))
    assert edit_config(added, ConfigChanges(without_env=["new_one"]))[0] == original.encode()


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_a_manifest_points_to_the_new_configuration(kind: samples.Kind) -> None:
    image = samples.servercore(kind)
    edited, _ = edit_config(image.config, ConfigChanges(labels={"a": "1"}))
    manifest = replace_config(manifest_of(image), edited)
    assert manifest.config == Descriptor.of(edited, samples.CONFIG[kind])
    assert manifest.layers == manifest_of(image).layers
    assert manifest.media_type == image.media_type
    assert replace_config(manifest, image.config).data == image.manifest


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_layers_are_replaced_in_place(kind: samples.Kind) -> None:
    manifest = manifest_of(samples.with_foreign_layer(kind))
    base, top = manifest.layers
    ordinary = Descriptor(samples.LAYER[kind], base.digest, base.size)
    converted = replace_layers(manifest, [ordinary, top])
    assert converted.layers == (ordinary, top)
    assert b"urls" not in converted.data
    assert replace_layers(manifest, manifest.layers).data == manifest.data
    assert replace_layers(manifest, [base]).layers == (base,)
    more = replace_layers(manifest, [base, top, ordinary])
    assert more.layers == (base, top, ordinary)
    assert replace_layers(more, [base, top]).data == manifest.data


@pytest.mark.parametrize("indent", [None, 3])
def test_manifests_of_an_index_are_replaced_and_appended(indent: int | None) -> None:
    images = [samples.small("oci", os_version=f"10.0.20348.{number}") for number in range(3)]
    index = index_of(samples.index("oci", images[:2], indent=indent))
    third = index_of(samples.index("oci", images[2:])).manifests
    longer = append_manifests(index, third)
    assert longer.data == samples.index("oci", images, indent=indent).manifest
    assert remove_manifests(longer, [2]).data == index.data
    assert remove_manifests(longer, [0, 1]).manifests == third
    new = Descriptor.of(b"new", samples.MANIFEST["oci"])
    replaced = replace_manifests(index, {images[1].digest: new})
    assert replaced.manifests[1].digest == new.digest
    assert replaced.manifests[1].platform == index.manifests[1].platform
    assert replaced.manifests[0] == index.manifests[0]
    assert replace_manifests(replaced, {new.digest: index.manifests[1]}).data == index.data


@pytest.mark.parametrize(("media_type", "kind"), [(DOCKER_INDEX, "docker"), (OCI_INDEX, "oci")])
def test_a_new_index_is_as_go_writes_it(media_type: str, kind: samples.Kind) -> None:
    sample = samples.several(kind)
    expected = samples.index(kind, sample.images, indent=None)
    assert new_index(index_of(expected).manifests, media_type).data == expected.manifest
    item = Descriptor(samples.MANIFEST[kind], "sha256:" + "0" * 64, 3, (), Platform("windows", "amd64", "10.0.1"))
    assert new_index([item], media_type).manifests == (item,)


def test_annotations_are_set_and_removed() -> None:
    manifest = manifest_of(samples.small("oci"))
    edited = edit_annotations(manifest, {"a": "1", "b": "<"})
    assert edited.data == manifest.data[:-1] + b',"annotations":{"a":"1","b":"\\u003c"}}'
    assert edit_annotations(edited, {}, ["a"]).view.mapping("annotations") == {"b": "<"}
    with pytest.raises(InvalidParameterError):
        edit_annotations(manifest, {"a": "1"}, ["a"])


@pytest.mark.parametrize("data", [CONFIG, UNKNOWN])
def test_what_a_dockerfile_says_besides_is_set_and_removed(data: bytes) -> None:
    health = {"Test": ["CMD", "probe.exe"], "Interval": 30_000_000_000, "Retries": 3}
    record = changed(data, healthcheck=health, stop_signal="CTRL_C", on_build=["RUN mkdir C:\\x"], args_escaped=True)
    config = record["config"]
    assert config["Healthcheck"] == health
    assert config["StopSignal"] == "CTRL_C"
    assert config["OnBuild"] == ["RUN mkdir C:\\x"]
    assert config["ArgsEscaped"] is True
    gone = changed(json.dumps(record).encode(), healthcheck={}, stop_signal="", on_build=[], args_escaped=False)
    assert not any(gone["config"].get(key) for key in ("Healthcheck", "StopSignal", "OnBuild", "ArgsEscaped"))
    assert changed(data, args_escaped=False)["config"].get("ArgsEscaped") in (None, False)


def test_a_command_line_is_one_word() -> None:
    """The shell form of a Dockerfile gives one word, with ArgsEscaped, which a list of words takes back."""
    line, _ = edit_config(UNKNOWN, ConfigChanges(cmd=["cmd /S /C dir"], args_escaped=True))
    assert json.loads(line)["config"]["ArgsEscaped"] is True
    assert changed(line, cmd=["dir"])["config"]["ArgsEscaped"] is False
    assert changed(line, cmd=["cmd /S /C cd"], args_escaped=True)["config"]["ArgsEscaped"] is True


@pytest.mark.parametrize("data", [CONFIG, UNKNOWN])
def test_history_is_appended_and_every_other_byte_stays(data: bytes) -> None:
    """What is added is at the ends of lists; without it, the bytes are those of before."""
    diff_id = "sha256:" + "1" * 64
    step = Step("COPY a <b> \u2028", "2026-11-29T06:00:00.5Z", author="A", comment="c")
    edited = append_history(data, step, diff_id=diff_id)
    before, after = json.loads(data), json.loads(edited)
    entry = {"created": step.created, "created_by": step.created_by, "author": "A", "comment": "c"}
    assert after == before | {
        "created": step.created,
        "history": [*before.get("history", []), entry],
        "rootfs": before["rootfs"] | {"diff_ids": [*before["rootfs"]["diff_ids"], diff_id]},
    }
    assert b"\\u003cb\\u003e \\u2028" in edited
    empty = append_history(data, Step("CMD", step.created), diff_id=None)
    assert json.loads(empty)["history"][-1] == {"created": step.created, "created_by": "CMD", "empty_layer": True}
    assert json.loads(empty)["rootfs"] == before["rootfs"]
    for part in (b'"moby.buildkit.cache.v0" : [1.50, "\\u003c"]', b'"os.features": ["win32k"]'):
        assert (part in edited) == (part in data)
    with pytest.raises(InvalidParameterError, match="not a time"):
        append_history(data, Step("CMD", "today"), diff_id=None)


def test_history_begins_where_there_is_none() -> None:
    edited = json.loads(append_history(b"{}", Step("CMD", "2026-11-29T06:00:00Z"), diff_id="sha256:" + "2" * 64))
    assert edited["rootfs"] == {"type": "layers", "diff_ids": ["sha256:" + "2" * 64]}
    assert len(edited["history"]) == 1


def test_layers_without_history_keep_their_places() -> None:
    """Otherwise the first entry would belong to the first layer."""
    diff_ids = [f"sha256:{digit * 64}" for digit in "123"]
    record = {"history": [{"created_by": "one"}, {"created_by": "ENV", "empty_layer": True}],
              "rootfs": {"type": "layers", "diff_ids": diff_ids[:2]}}  # fmt: skip
    data = json.dumps(record).encode()
    step = Step("two", "2026-11-29T06:00:00Z")
    entry = {"created": step.created, "created_by": "two"}
    edited = json.loads(append_history(data, step, diff_id=diff_ids[2]))
    assert edited["history"] == [*record["history"], {"comment": UNKNOWN_STEP}, entry]
    assert edited["rootfs"]["diff_ids"] == diff_ids
    # A step without a layer belongs to none.
    edited = json.loads(append_history(data, step, diff_id=None))
    assert edited["history"] == [*record["history"], entry | {"empty_layer": True}]


CHANGES = st.one_of(
    st.builds(
        lambda env: ConfigChanges(env=env),
        st.dictionaries(st.sampled_from(["A", "B", "Path", "New", "Other"]), st.sampled_from(["1", "2", "<é>"])),
    ),
    st.builds(
        lambda labels: ConfigChanges(labels=labels),
        st.dictionaries(st.sampled_from("abc"), st.sampled_from("12")),
    ),
    st.sampled_from(
        [
            ConfigChanges(), ConfigChanges(env={"a": "1"}), ConfigChanges(ports=["80", "90"]),
            ConfigChanges(ports=["1"]),
            ConfigChanges(volumes=["C:\\v"]), ConfigChanges(volumes=["C:\\w", "C:\\v"]), ConfigChanges(user="u"),
            ConfigChanges(user="v"), ConfigChanges(working_dir="C:\\w"), ConfigChanges(entrypoint=["a"]),
            ConfigChanges(cmd=["c"]), ConfigChanges(cmd=[]), ConfigChanges(shell=["s"]), ConfigChanges(shell=[]),
            ConfigChanges(author="me"), ConfigChanges(on_build=["RUN x"]), ConfigChanges(on_build=[]),
            ConfigChanges(stop_signal="9"), ConfigChanges(stop_signal=""),
            ConfigChanges(healthcheck={"Test": ["NONE"]}),
            ConfigChanges(args_escaped=True), ConfigChanges(without_env=["A", "New"]),
            ConfigChanges(without_labels=["a", "b"]), ConfigChanges(env={"A": "3"}, labels={"a": "3"}, user="w"),
        ]
    ),
)  # fmt: skip
BARE = b'{"os":"windows","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}'


@given(st.sampled_from([CONFIG, UNKNOWN, BARE]), st.lists(CHANGES, max_size=12))
def test_steps_that_are_made_together_give_the_bytes_of_single_steps(data: bytes, changes: list[ConfigChanges]) -> None:
    steps = [(each, Step(f"step {number}", "2020-09-13T12:26:40Z")) for number, each in enumerate(changes)]
    single, told = BuiltImage(OCI_MANIFEST, data), []
    for each, step in steps:
        single, warnings = single.with_config(each, step)
        told.append(warnings)
    together, warnings_of_each = BuiltImage(OCI_MANIFEST, data).with_steps(steps)
    assert together.config == single.config
    assert warnings_of_each == told


@pytest.mark.parametrize("kinds", [("env",), ("env", "labels"), ("env", "labels", "ports", "volumes", "user")])
def test_the_work_of_steps_that_are_made_together_grows_with_their_number_alone(
    kinds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def members_read(number: int) -> int:
        """Returns how many members of objects and lists are read for a number of steps."""
        count = 0
        members = JsonText._members

        def counted(text: JsonText, start: int, path: Path) -> Iterator[Any]:
            nonlocal count
            for member in members(text, start, path):
                count += 1
                yield member

        changes = {
            "env": lambda n: ConfigChanges(env={f"V{n}": "x"}),
            "labels": lambda n: ConfigChanges(labels={f"l{n}": "x"}),
            "ports": lambda n: ConfigChanges(ports=[f"{n + 1}"]), "user": lambda n: ConfigChanges(user=f"u{n}"),
            "volumes": lambda n: ConfigChanges(volumes=[f"C:\\{n}"]),
        }  # fmt: skip
        steps = [(changes[kinds[n % len(kinds)]](n), Step(f"step {n}", "2020-09-13T12:26:40Z")) for n in range(number)]
        with monkeypatch.context() as patch:
            patch.setattr(JsonText, "_members", counted)
            BuiltImage(OCI_MANIFEST, CONFIG).with_steps(steps)
        return count

    assert members_read(800) < 2.5 * members_read(400)
