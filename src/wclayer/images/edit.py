"""Changes of configurations, manifests and indexes that lose nothing (`JsonText`): each returns new bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wclayer.errors import FormatError, InvalidParameterError
from wclayer.images.config import parse_config
from wclayer.images.descriptor import INDEX_TYPES, Descriptor
from wclayer.images.edit_history import check_time
from wclayer.images.json_edit import JsonText
from wclayer.images.manifest import Index, Manifest, parse_manifest
from wclayer.images.platform import Platform
from wclayer.win32.names import name_key

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.ASCII)

_ENV = ("config", "Env")

PATH_WARNING = (
    "PATH in the environment replaces the PATH in the image's registry wholly; it must name the folders of Windows, too"
    r" (C:\Windows\System32;C:\Windows;…). `wclayer append --path-append DIR` adds a folder to the PATH in the registry"
    " instead, and --setx sets any variable there"
)
CMD_WARNING = "the old command (Cmd) was removed, because it would be an argument of the new entry point"
NO_COMMAND_WARNING = "the image has neither an entry point nor a command: containerd starts it only with one"
DOCKER_ANNOTATIONS_WARNING = "the manifest is Docker's, which has no annotations: programs may ignore them"


@dataclass(frozen=True, slots=True)
class ConfigChanges:
    """What to change in the configuration of an image. None, or an empty collection, changes nothing.

    Attributes:
        env: variables of the environment to set. Names of Windows are equal in any case, so a variable that is there
            under another case is replaced.
        without_env: variables to remove.
        labels: labels to set.
        without_labels: labels to remove.
        entrypoint: the program with its first arguments; an empty one removes it. A command that was there is removed,
            unless it is set, too: it was made for another program (as Docker and crane do).
        cmd: the default arguments, or the program; an empty one removes it.
        user: the user ("ContainerUser").
        working_dir: the working directory.
        shell: the shell of builders (an extension of Docker); an empty one removes it.
        ports: ports to expose ("80/tcp").
        without_ports: ports not to expose.
        volumes: folders to be volumes.
        without_volumes: folders not to be volumes.
        platform: the platform; what it does not state is not changed.
        author: who made the image.
        created: when it was made, as RFC 3339 writes it.
        healthcheck: how Docker tests whether a container is healthy, in the form of its configuration (`Test`,
            `Interval`, …); an empty one removes it.
        stop_signal: the signal that ends a container; "" removes it.
        on_build: the instructions that a build on this image begins with; empty removes them.
        args_escaped: whether the first word of the entry point, or of the command, is a whole command line, as the
            shell form of a Dockerfile makes it. None: a list that is set is a list of words.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    without_env: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    without_labels: Sequence[str] = ()
    entrypoint: Sequence[str] | None = None
    cmd: Sequence[str] | None = None
    user: str | None = None
    working_dir: str | None = None
    shell: Sequence[str] | None = None
    ports: Sequence[str] = ()
    without_ports: Sequence[str] = ()
    volumes: Sequence[str] = ()
    without_volumes: Sequence[str] = ()
    platform: Platform | None = None
    author: str | None = None
    created: str | None = None
    healthcheck: Mapping[str, object] | None = None
    stop_signal: str | None = None
    on_build: Sequence[str] | None = None
    args_escaped: bool | None = None


def edit_config(data: bytes, changes: ConfigChanges) -> tuple[bytes, list[str]]:
    """Returns the configuration with changes, and warnings for the user.

    Everything that is not named keeps its bytes: unknown keys, the order of keys, the formatting.

    Raises:
        InvalidParameterError: a change is not possible, or two of them name one variable.
        FormatError: the bytes are not a configuration.
    """
    edited, [warnings] = edit_config_in_steps(data, [changes])
    return edited, warnings


def edit_config_in_steps(data: bytes, steps: Iterable[ConfigChanges]) -> tuple[bytes, list[list[str]]]:
    """Returns the configuration after several changes, as `edit_config` makes them one after the other, and the
    warnings of each of them.

    The bytes are read and checked once, and variables, labels, ports and volumes are set together. So the time is
    linear in the number of steps. A value that is equal after the last step keeps its text.

    Raises:
        InvalidParameterError, FormatError: see `edit_config`.
    """
    parse_config(data)
    text, later = JsonText(data), _Additions()
    warnings = []
    for changes in steps:
        if later.take(text, changes):
            warnings.append(_env_warnings(changes))
            continue
        if _sets_members(changes):
            later.apply(text)
        warnings.append(_edit(text, changes))
    later.apply(text)
    parse_config(text.data)
    return text.data, warnings


def _sets_members(changes: ConfigChanges) -> bool:
    """Returns whether changes name variables, labels, ports or volumes."""
    kept = (changes.env, changes.labels, changes.ports, changes.volumes)
    return any((*kept, changes.without_env, changes.without_labels, changes.without_ports, changes.without_volumes))


class _Additions:
    """Variables, labels, ports and volumes of several steps, which are set together.

    Only fields that have members already are taken: a new field must come to its place among those of other steps.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._env: dict[str, tuple[str, str]] = {}
        self._labels: dict[str, str] = {}
        self._ports: list[str] = []
        self._volumes: list[str] = []

    def take(self, text: JsonText, changes: ConfigChanges) -> bool:
        """Takes the changes of a step, if it does nothing else. Returns False, and takes nothing, otherwise."""
        fields = {
            "Env": changes.env,
            "Labels": changes.labels,
            "ExposedPorts": changes.ports,
            "Volumes": changes.volumes,
        }
        only = ConfigChanges(env=changes.env, labels=changes.labels, ports=changes.ports, volumes=changes.volumes)
        if changes != only or not all(text.get(("config", key)) for key, members in fields.items() if members):
            return False
        _check_variables(changes)
        for name, value in changes.env.items():
            self._env[name_key(name)] = (name, value)
        self._labels |= changes.labels
        self._ports += changes.ports
        self._volumes += changes.volumes
        return True

    def apply(self, text: JsonText) -> None:
        """Sets what was taken."""
        env = dict(self._env.values())
        changes = ConfigChanges(env=env, labels=self._labels, ports=self._ports, volumes=self._volumes)
        if _sets_members(changes):
            _edit(text, changes)
            self._forget()


def _edit(text: JsonText, changes: ConfigChanges) -> list[str]:
    """Makes changes, and returns warnings for the user."""
    stays = _empty_fields_stay(text)
    _edit_env(text, changes, stays)
    warnings = _env_warnings(changes)
    _edit_commands(text, changes, stays, warnings)
    for key, wanted, unwanted in (
        ("Labels", changes.labels, changes.without_labels),
        ("ExposedPorts", {port: {} for port in map(_port, changes.ports)}, [*map(_port, changes.without_ports)]),
        ("Volumes", {folder: {} for folder in changes.volumes}, changes.without_volumes),
    ):
        _edit_map(text, ("config", key), wanted, unwanted, stays)
    for path, value in (
        (("config", "User"), changes.user),
        (("config", "WorkingDir"), changes.working_dir),
        (("config", "StopSignal"), changes.stop_signal),
        (("author",), changes.author),
        (("created",), None if changes.created is None else check_time(changes.created)),
    ):
        if value:
            text.set(path, value)
        elif value is not None and text.get(path):
            _clear(text, path, stays and len(path) > 1, "")
    for key, record in (
        ("Healthcheck", None if changes.healthcheck is None else dict(changes.healthcheck)),
        ("OnBuild", None if changes.on_build is None else list(changes.on_build)),
    ):
        if record:
            text.set(("config", key), record)
        elif record is not None:
            _clear(text, ("config", key), stays)
    if changes.platform is not None:
        for name, stated in changes.platform.to_json().items():
            if stated:
                text.set((name,), stated)
    return warnings


def edit_annotations(manifest: Manifest, annotations: Mapping[str, str], without: Sequence[str] = ()) -> Manifest:
    """Returns a manifest with annotations set and removed.

    Raises:
        InvalidParameterError: one is to be set and to be removed.
    """
    text = JsonText(manifest.data)
    _edit_map(text, ("annotations",), annotations, without, False)
    return _manifest(text, manifest.media_type)


def replace_config(manifest: Manifest, config: bytes) -> Manifest:
    """Returns a manifest whose configuration has other bytes."""
    text = JsonText(manifest.data)
    _point_to(text, ("config",), Descriptor.of(config, manifest.config.media_type))
    return _manifest(text, manifest.media_type)


def replace_layers(manifest: Manifest, layers: Sequence[Descriptor]) -> Manifest:
    """Returns a manifest with other layers. A layer that is equal keeps its bytes; of one that differs at its place,
    media type, digest, size and `urls` change."""
    text = JsonText(manifest.data)
    for number, (old, new) in enumerate(zip(manifest.layers, layers, strict=False)):
        if new != old:
            _point_to(text, ("layers", number), new)
    text.extend(("layers",), (layer.to_json() for layer in layers[len(manifest.layers) :]))
    text.remove_all(("layers",), range(len(layers), len(manifest.layers)))
    return _manifest(text, manifest.media_type)


def replace_manifests(index: Index, manifests: Mapping[str, Descriptor]) -> Index:
    """Returns an index in which manifests have other bytes.

    Args:
        index: the index.
        manifests: the new descriptors by the old digests. Their platforms and annotations are not used: those of the
            old descriptors stay.
    """
    text = JsonText(index.data)
    for number, item in enumerate(index.manifests):
        new = manifests.get(item.digest)
        if new is not None and (new.digest, new.media_type) != (item.digest, item.media_type):
            _point_to(text, ("manifests", number), new)
    return _index(text, index.media_type)


def remove_manifests(index: Index, positions: Iterable[int]) -> Index:
    """Returns an index without the manifests at some positions."""
    text = JsonText(index.data)
    text.remove_all(("manifests",), positions)
    return _index(text, index.media_type)


def append_manifests(index: Index, manifests: Iterable[Descriptor]) -> Index:
    """Returns an index with more manifests at its end."""
    text = JsonText(index.data)
    text.extend(("manifests",), (item.to_json() for item in manifests))
    return _index(text, index.media_type)


def new_index(manifests: Iterable[Descriptor], media_type: str) -> Index:
    """Returns an index of manifests.

    Args:
        manifests: their descriptors, with platforms.
        media_type: OCI's or Docker's type of an index.
    """
    assert media_type in INDEX_TYPES
    text = JsonText(b"{}")
    text.set(("schemaVersion",), 2)
    text.set(("mediaType",), media_type)
    text.set(("manifests",), [])
    return append_manifests(_index(text, media_type), manifests)


def _manifest(text: JsonText, media_type: str) -> Manifest:
    result = parse_manifest(text.data, media_type)
    assert isinstance(result, Manifest)
    return result


def _index(text: JsonText, media_type: str) -> Index:
    result = parse_manifest(text.data, media_type)
    assert isinstance(result, Index)
    return result


def _point_to(text: JsonText, path: tuple[str | int, ...], new: Descriptor) -> None:
    """Changes the fields of a descriptor that name its contents. A field with the same value keeps its bytes."""
    text.set((*path, "mediaType"), new.media_type)
    text.set((*path, "digest"), new.digest)
    text.set((*path, "size"), new.size)
    if new.urls:
        text.set((*path, "urls"), list(new.urls))
    elif text.get((*path, "urls")):
        text.remove((*path, "urls"))


def _check_variables(changes: ConfigChanges) -> None:
    """Checks the names of variables.

    Raises:
        InvalidParameterError: one is no name, or two are those of one variable.
    """
    named: dict[str, str] = {}
    for name in (*changes.env, *changes.without_env):
        if not name or "=" in name[1:] or "\0" in name:
            raise InvalidParameterError(name[:100] or "''", "is not the name of a variable")
        if (other := named.setdefault(name_key(name), name)) != name or name in {*changes.env} & {*changes.without_env}:
            raise InvalidParameterError(
                name[:100], f"the variable is named twice ({other!r}, {name!r}); Windows does not tell cases apart"
            )


def _edit_env(text: JsonText, changes: ConfigChanges, stays: bool) -> None:
    _check_variables(changes)
    removed = _remove_variables(text, changes.without_env)
    _set_variables(text, changes.env)
    if removed and not _environment(text):
        _clear(text, _ENV, stays)


def _env_warnings(changes: ConfigChanges) -> list[str]:
    return [PATH_WARNING] if "PATH" in map(name_key, changes.env) else []


def _set_variables(text: JsonText, variables: Mapping[str, str]) -> None:
    """Sets variables: one that is there keeps its place, new ones come to the end."""
    places: dict[str | None, list[int]] = {}
    for number, entry in enumerate(_environment(text)):
        places.setdefault(_name_of(entry), []).append(number)
    new: list[str] = []
    repeated: list[int] = []
    for name, value in variables.items():
        if "\0" in value:
            raise InvalidParameterError(name[:100], "the value of a variable has no NUL")
        first, *others = places.get(name_key(name)) or (None,)
        if first is None:
            new.append(f"{name}={value}")
        else:
            text.set((*_ENV, first), f"{name}={value}")
        repeated += others
    text.extend(_ENV, new)
    text.remove_all(_ENV, repeated)


def _environment(text: JsonText) -> list[object]:
    """Returns the variables of a configuration, each of which should be a text.

    Raises:
        FormatError: they are no list.
    """
    entries = text.get(_ENV)
    if not isinstance(entries, list | None):
        raise FormatError(f"the configuration: Env is {str(entries)[:60]!r}, not a list")
    return entries or []


def _remove_variables(text: JsonText, names: Sequence[str]) -> int:
    """Removes variables, and returns how many entries they had."""
    keys = {name_key(name) for name in names}
    entries = _environment(text)
    places = [number for number, entry in enumerate(entries) if _name_of(entry) in keys]
    return text.remove_all(_ENV, places)


def _name_of(entry: object) -> str | None:
    """Returns the key of the name of a variable; None for what is no text. Names like "=C:" begin with a "="."""
    return name_key(entry[:1] + entry[1:].partition("=")[0]) if isinstance(entry, str) else None


def _edit_commands(text: JsonText, changes: ConfigChanges, stays: bool, warnings: list[str]) -> None:
    config = ("config",)
    cmd = changes.cmd
    if changes.entrypoint and cmd is None and text.get((*config, "Cmd")):
        cmd = ()
        warnings.append(CMD_WARNING)
    # With ArgsEscaped, the first word is a whole command line (containerd, `WithImageConfigArgs`). A list that is set
    # here is a list of words.
    sets_first_word = changes.entrypoint or (cmd and not text.get((*config, "Entrypoint")))
    if changes.args_escaped:
        text.set((*config, "ArgsEscaped"), True)
    elif (changes.args_escaped is False or sets_first_word) and text.get((*config, "ArgsEscaped")) is True:
        text.set((*config, "ArgsEscaped"), False)
    for key, words in (("Entrypoint", changes.entrypoint), ("Cmd", cmd), ("Shell", changes.shell)):
        if words is None:
            continue
        if words:
            text.set((*config, key), list(words))
        else:
            _clear(text, (*config, key), stays)
    if (changes.entrypoint is not None or cmd is not None) and not (
        text.get((*config, "Entrypoint")) or text.get((*config, "Cmd"))
    ):
        warnings.append(NO_COMMAND_WARNING)


def _edit_map(
    text: JsonText, path: tuple[str, ...], wanted: Mapping[str, object], unwanted: Sequence[str], stays: bool
) -> None:
    for key in unwanted:
        if key in wanted:
            raise InvalidParameterError(key[:100], f"is to be set in {path[-1]} and to be removed from it")
    removed = text.remove_all(path, unwanted)
    text.set_all(path, wanted)
    if removed and not text.get(path):
        _clear(text, path, stays)


def _empty_fields_stay(text: JsonText) -> bool:
    """Returns whether the program that wrote a configuration writes empty fields of its "config", too.

    Docker writes every field, with null for an empty list. BuildKit and others leave empty fields out.
    """
    record = text.get(("config",)) or {}
    return "Hostname" in record or any(value is None for value in record.values())


def _clear(text: JsonText, path: tuple[str, ...], stays: bool, empty: object = None) -> None:
    """Makes a field empty that is there: it gets an empty value, or is left out."""
    if not stays:
        text.remove(path)
    elif path[-1] in (text.get(path[:-1]) or {}):
        text.set(path, empty)


def _port(text: str) -> str:
    found = _PORT.fullmatch(text)
    if not found or not 0 < int(found[1]) <= int(found[2] or found[1]) <= 0xFFFF:
        raise InvalidParameterError(text[:100] or "''", "is not a port such as 80, 80/tcp or 8000-8010/udp")
    return text if found[3] else f"{text}/tcp"
