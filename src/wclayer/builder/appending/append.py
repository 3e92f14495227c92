"""`append_to`: a layer on top of an image without a Dockerfile, and if possible without the layers below it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from wclayer.builder.appending.additions import VERB, Additions, Prepared
from wclayer.builder.appending.append_way import Way, choose_way
from wclayer.builder.appending.layer_tar import layer_of_tar
from wclayer.builder.base_names import name_of
from wclayer.builder.clock import Clock
from wclayer.builder.files.context import BuildContext
from wclayer.builder.files.copying import Target, copy_from_context
from wclayer.builder.files.placing import Ownership, Placer
from wclayer.builder.files.unpacking import Unpacker, open_archive
from wclayer.builder.image import BuiltImage, BuiltSource, Step
from wclayer.builder.machine.reg_file import apply_reg, read_reg
from wclayer.builder.security.stated_security import set_stated
from wclayer.builder.workspace import NewLayer, Workspace
from wclayer.engines.portable.registry import RegistryEditor
from wclayer.errors import InvalidDataError, NotSupportedError, during
from wclayer.images.choice import check_platform
from wclayer.images.edit import ConfigChanges
from wclayer.images.platform import Platform
from wclayer.images.pull import store_image
from wclayer.images.registry import RegistrySource
from wclayer.images.store import ImageStore
from wclayer.images.transfer_progress import TransferCallback
from wclayer.images.transport import ImageSource
from wclayer.images.unpack import LayerStream, check_windows, unpack_layers
from wclayer.layers.inputs import open_any_place, open_stream
from wclayer.view.machine_environment import add_to_path, set_variable
from wclayer.win32.names import path_key


@dataclass(frozen=True, slots=True)
class Appended:
    """What `append_to` made: an image with layers on top.

    Attributes:
        image: the image. Its new layers are in the store.
        base: where the layers of the base are that the store does not have; it stays open.
        way: whether the layers of the base were needed, and why.
        warnings: what the user should know about the configuration.
    """

    image: BuiltImage
    base: ImageSource
    way: Way
    warnings: tuple[str, ...]

    def as_source(self, store: ImageStore) -> BuiltSource:
        """Returns the image as a source, to be copied to any place.

        Args:
            store: the store that has the new layers.
        """
        return self.image.as_source(store, self.base)


def append_to(
    source: ImageSource,
    additions: Additions,
    store: ImageStore | None = None,
    *,
    platform: Platform | None = None,
    config: ConfigChanges | None = None,
    annotations: Mapping[str, str] | None = None,
    assume_new: bool = False,
    can_fetch: bool = True,
    keeps_index: bool = False,
    reproducible: bool = False,
    progress: TransferCallback | None = None,
) -> Appended:
    r"""Makes an image with a layer on top of another one, and a layer for each layer tar below that.

    The layers of the image are read only where the new layer needs something of them (`choose_way`). New entries
    inherit their descriptors, as on Windows. What exists keeps its metadata.

    Args:
        source: the image, which stays open.
        additions: what is added.
        store: the store for the new layers, and for the layers of the image if they are needed; by default the user's.
            The caller holds `store.in_use()` until a name keeps the result, or it was copied.
        platform: which image of an index is meant.
        config: changes of the configuration.
        annotations: annotations of the manifest to set.
        assume_new: the caller states that what is made directly below `C:\\` is in no layer above Windows' own.
        can_fetch: False refuses what needs layers that the store does not have.
        keeps_index: a base that is fetched is kept in the store under the name of its index (see `store_image`).
        reproducible: the same additions give the same bytes: no new time is later than that of the image, or than
            SOURCE_DATE_EPOCH (`Clock`).
        progress: called for each layer that is fetched or unpacked.

    Raises:
        InvalidParameterError: nothing is to be added; a path, a descriptor or a variable is not possible.
        PathNotFoundError: there is no such image, file, or entry for a descriptor.
        InvalidDataError: a tar or a `.reg` file is damaged.
        NotSupportedError: layers of the image are needed, and `can_fetch` is false; the image is not for Windows.
        RegistryError, AccessDeniedError, …: see `store_image`.
    """
    with during("append to image", source.name):
        place = store or ImageStore()
        prepared = Prepared.of(additions)
        image = BuiltImage.on(source, platform, name=name_of(source, place))
        before = image.parsed
        check_platform(image.manifest.descriptor, before.platform, platform, source.name)
        check_windows(before, source.name)
        if not image.layers:
            raise NotSupportedError(
                source.name, "the image has no layers, and a layer on top needs a base layer below it"
            )
        way = choose_way(
            before, changes_registry=additions.changes_registry, made=prepared.made, stated=prepared.stated_names,
            brought=[tar.top_names for _, tar in prepared.layer_tars], assume_new=assume_new,
        )  # fmt: skip
        if way.needs_base:
            _get_layers(image, source, place, way, can_fetch, keeps_index, platform, progress)
        clock = Clock.of(reproducible=reproducible, base_created=before.created)
        warnings: list[str] = []
        for path, _ in prepared.layer_tars:
            layer = layer_of_tar(place, path, image.parsed.diff_ids)
            image = image.with_layer(layer, Step(f"{VERB} --tar {os.path.basename(path)}", clock.now()))
        if prepared.makes_layer:
            made = _make_layer(image, source, place, prepared, way, clock.latest, progress)
            if made is None:
                warnings.append("nothing was changed: the registry of the image is so already")
            else:
                image = image.with_layer(made, Step(prepared.command, clock.now()))
        if config is not None and config != ConfigChanges():
            image, told = image.with_config(config, Step(f"{VERB} (configuration)", clock.now()))
            warnings += told
        if annotations:
            image = image.with_annotations(annotations)
        return Appended(image, source, way, tuple(warnings))


def _get_layers(
    image: BuiltImage,
    source: ImageSource,
    store: ImageStore,
    way: Way,
    can_fetch: bool,
    keeps_index: bool,
    platform: Platform | None,
    progress: TransferCallback | None,
) -> None:
    """Unpacks the layers of the base in the store, and fetches those of a registry."""
    if all(map(store.has_layer, image.chain_ids)):
        return
    if not isinstance(source, RegistrySource):
        _unpack(image, source, store, progress)
        return
    if not can_fetch:
        raise NotSupportedError(
            source.name, f"the layers of the image are needed: {way.reason}; leave --no-fetch out, and they are fetched"
        )
    store_image(source, store, source.name, platform=platform, keeps_index=keeps_index, progress=progress)


def _unpack(image: BuiltImage, source: ImageSource, store: ImageStore, progress: TransferCallback | None) -> None:
    with image.as_source(store, source) as whole:
        unpack_layers(
            store, image.manifest, image.parsed, lambda blob: LayerStream(whole.open_blob(blob.descriptor)),
            name=source.name, progress=progress,
        )  # fmt: skip


def _make_layer(
    image: BuiltImage,
    source: ImageSource,
    store: ImageStore,
    prepared: Prepared,
    way: Way,
    time: int | None,
    progress: TransferCallback | None,
) -> NewLayer | None:
    """Makes the layer of all that is no layer tar. Returns None if that changes nothing."""
    if way.needs_base:
        _unpack(image, source, store, progress)
    with Workspace(store, image.chain_ids if way.needs_base else (), time=time) as workspace:
        _add_files(workspace, prepared)
        if prepared.additions.changes_registry:
            with workspace.registry() as editor:
                _change_registry(editor, prepared.additions)
        return workspace.commit(unpack=way.needs_base)


def _add_files(workspace: Workspace, prepared: Prepared) -> None:
    view = workspace.view
    for path, place in prepared.additions.copies:
        place_in_view = Target.of(place, "C:\\")
        # A folder is a context of its own. Names with wildcards are taken for what they are then.
        is_folder = os.path.isdir(path)
        folder = os.path.realpath(path if is_folder else os.path.dirname(os.path.abspath(path)))
        with BuildContext(folder) as context:
            found = context.find("" if is_folder else os.path.basename(os.path.abspath(path)))
            copy_from_context(view, context, found, place_in_view)
    for path in prepared.plain_tars:
        archive = open_archive(open_any_place(path), os.fspath(path))
        if archive is None:
            raise InvalidDataError(path, "has changed while it was read; try again")
        with Placer(view, Ownership()) as placer:
            Unpacker(placer, "C:").unpack(archive, lambda: None)
    others = frozenset(map(path_key, prepared.stated))
    for path, stated in prepared.stated.items():
        set_stated(view, path, stated, others)


def _change_registry(editor: RegistryEditor, additions: Additions) -> None:
    for path in additions.reg_files:
        with open_stream(path) as stream:
            apply_reg(editor, read_reg(stream, path), path)
    for name, value in additions.variables.items():
        set_variable(editor, name, value)
    for folders, first in ((additions.path_prepend, True), (additions.path_append, False)):
        if folders:
            add_to_path(editor, folders, first=first)
