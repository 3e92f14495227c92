"""`rebase_documents`: the layers of an image that are its own are put onto another base image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wclayer.builder.rebasing.base_layers import FoundBase
from wclayer.builder.rebasing.documents import ImageDocuments, history_records
from wclayer.errors import InvalidParameterError, NotSupportedError, during
from wclayer.images.config import ImageConfig
from wclayer.images.history import BASE_DIGEST, BASE_NAME, history_steps
from wclayer.images.json_edit import JsonText
from wclayer.images.platform import WINDOWS
from wclayer.win32.names import name_key

_OF_BASE = ("os.version", "os.features", "variant")
"""The fields of a configuration that say on which Windows the layers run."""


@dataclass(frozen=True, slots=True)
class RebasedImage:
    """What `rebase_documents` made.

    Attributes:
        documents: the manifest and the configuration.
        own: how many layers are the image's own.
        warnings: what the user should know.
    """

    documents: ImageDocuments
    own: int
    warnings: tuple[str, ...]


def rebase_documents(
    name: str, image: ImageDocuments, old: FoundBase, new: ImageDocuments, *, new_name: str = ""
) -> RebasedImage:
    """Returns the documents of an image on another base image. No layer changes.

    The configuration gets the version and the features of Windows of the new base, its diffIDs and its history; the
    image's own steps follow. Settings that the image has unchanged from its old base (variables of the environment,
    user, command, labels, …) become those of the new base, if the old base is at hand. All others, and the time, stay.

    Args:
        name: what the user calls the image, for messages.
        image: the image.
        old: its base image.
        new: the new base image.
        new_name: the whole reference of the new base (`name_of`), for the annotations; "" states only its digest.

    Raises:
        InvalidParameterError: the new base is for another processor or operating system.
        NotSupportedError: the history does not tell which of its steps are those of the base.
    """
    with during("rebase image", name):
        own = image.manifest.layers[old.count :]
        _check_platforms(name, image.config, new.config)
        if _is_same(image, old, new):
            return RebasedImage(image, len(own), ())
        text = JsonText(image.config.data)
        text.set(("rootfs", "diff_ids"), [*new.config.diff_ids, *image.config.diff_ids[old.count :]])
        history = [*history_records(new.config), *_own_history(name, image.config, old)]
        if history or image.config.history:
            text.set(("history",), history)
        for key in _OF_BASE:
            _put(text, (key,), new.config.view.record.get(key))
        warnings = []
        if not new.config.platform.os_version:
            warnings.append("the new base states no version of Windows (os.version), so the image states none either")
        if old.documents is None:
            warnings.append(
                "the settings of the old base are not known, so all settings of the image stay; name the old base"
                " (--old-base) to take over those of the new one"
            )
        else:
            _merge_settings(text, image.config, old.documents.config, new.config)
        layers = [*map(image.fitting, new.manifest.layers), *own]
        rebased = image.with_layers(layers).with_config(text.data)
        states_base = any(key in image.annotations for key in (BASE_NAME, BASE_DIGEST))
        if image.is_oci and (states_base or old.documents is not None):
            stated = {BASE_NAME: new_name} if new_name else {}
            stated[BASE_DIGEST] = new.manifest.descriptor.digest
            without = [BASE_NAME] if BASE_NAME in image.annotations and not new_name else []
            rebased = rebased.with_annotations(stated, without)
        return RebasedImage(rebased, len(own), tuple(warnings))


def _is_same(image: ImageDocuments, old: FoundBase, new: ImageDocuments) -> bool:
    """Returns whether the new base is the one that the image has."""
    if old.documents is not None:
        return old.documents.manifest.descriptor.digest == new.manifest.descriptor.digest
    is_on = image.config.diff_ids[: old.count] == new.config.diff_ids
    return is_on and image.config.platform == new.config.platform


def _check_platforms(name: str, image: ImageConfig, base: ImageConfig) -> None:
    own, other = image.platform.normalized(), base.platform.normalized()
    if other.os != WINDOWS or own.os != WINDOWS:
        raise InvalidParameterError(name, f"is for {own.os}, and the new base for {other.os}; both must be for Windows")
    if own.architecture != other.architecture:
        raise InvalidParameterError(
            name, f"is for {own.architecture}, and the new base for {other.architecture}; name a base for the same one"
        )


def _own_history(name: str, config: ImageConfig, old: FoundBase) -> list[dict[str, Any]]:
    """Returns the entries of the history that are the image's own."""
    records = history_records(config)
    if old.documents is not None:
        count = len(old.documents.config.history)
        if records[:count] == history_records(old.documents.config):
            return records[count:]
    made = [number for number, step in enumerate(history_steps(config)) if step.layer is not None]
    if len(made) < old.count or (records and not made):
        raise NotSupportedError(
            name, "its history does not tell which step made which layer, so nobody can say which steps are the base's"
        )
    return records[made[old.count - 1] + 1 :] if made else []


def _put(text: JsonText, path: tuple[str, ...], value: object) -> None:
    if value is None:
        text.remove(path)
    else:
        text.set(path, value)


def _merge_settings(text: JsonText, image: ImageConfig, old: ImageConfig, new: ImageConfig) -> None:
    """Changes the settings that the image has from its old base to those of the new one."""
    own, before, after = (config.view.view("config").record for config in (image, old, new))
    for key in dict.fromkeys((*before, *after)):
        mine, was, now = own.get(key), before.get(key), after.get(key)
        if (was or None) == (now or None):
            continue
        if key == "Env":
            parts = [_variables(value) for value in (mine, was, now)]
            merged: object = [entry for _, entry in _merged(*parts).values()]
        elif all(isinstance(value, dict) for value in (mine or {}, was or {}, now or {})) and key != "Healthcheck":
            parts = [{name: (name, value) for name, value in (each or {}).items()} for each in (mine, was, now)]
            merged = dict(_merged(*parts).values())
        else:
            merged = now if (mine or None) == (was or None) else mine
        if (merged or None) != (mine or None) or isinstance(merged, (dict, list)):
            _put(text, ("config", key), merged or (now if not now else None))


_Settings = Mapping[str, tuple[str, Any]]


def _variables(entries: object) -> dict[str, tuple[str, str]]:
    """Returns the variables of an environment by their names, which Windows compares without case."""
    found: dict[str, tuple[str, str]] = {}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, str):
            found[name_key(entry[:1] + entry[1:].partition("=")[0])] = (entry[:1] + entry[1:].partition("=")[0], entry)
    return found


def _merged(own: _Settings, old: _Settings, new: _Settings) -> dict[str, tuple[str, Any]]:
    """Returns settings in the order of the new base's: its own, but for those that the image has changed or removed,
    and then those that only the image has."""
    merged: dict[str, tuple[str, Any]] = {}
    for key, value in new.items():
        if key in own:
            merged[key] = value if own[key] == old.get(key) else own[key]
        elif key not in old:
            merged[key] = value
    for key, value in own.items():
        if key not in merged and value != old.get(key):
            merged[key] = value
    return merged
