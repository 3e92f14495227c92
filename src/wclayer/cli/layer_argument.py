"""The argument LAYER of the verbs: the path of a layer directory, or an image, which is unpacked when it is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wclayer.cli.word_kind import WordKind, completed_as
from wclayer.errors import InvalidParameterError, PathNotFoundError
from wclayer.images.layout_names import MARKER_FILE

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from wclayer.images.opening import ImageLayers
    from wclayer.images.platform import Platform
    from wclayer.images.store import ImageStore

    _LayerParameter = click.ParamType["LayerArgument"]
else:
    _LayerParameter = click.ParamType  # no generic class before click 8.4

_Function = TypeVar("_Function", bound=Callable[..., Any])
_STORE, _PLATFORM = "wclayer.layer.store", "wclayer.layer.platform"
_MAKE_SCRATCH = "`wclayer create --from {} PATH` makes a scratch of it, which can be changed"


def store_of(context: click.Context) -> ImageStore:
    """Returns the store that the options of a verb name; by default the user's."""
    from wclayer.images.store import ImageStore

    named = context.params.get("store")
    return named if isinstance(named, ImageStore) else ImageStore(context.meta.get(_STORE))


class LayerArgument:
    """What a user named as a layer. It is looked up when a property is first read, in the verb.

    Args:
        text: what the user wrote.
        context: the context of the verb. An image stays open until the context ends.
    """

    def __init__(self, text: str, context: click.Context) -> None:
        self.text = text
        self._context = context
        self._image: ImageLayers | None = None

    def __str__(self) -> str:
        return self.text

    @cached_property
    def is_image(self) -> bool:
        """True for an image, False for the path of a layer directory.

        Raises:
            PathNotFoundError: nothing has that name. The message says what was looked for.
            InvalidParameterError: the text may mean several images.
        """
        if os.path.isdir(self.text) and not os.path.lexists(os.path.join(self.text, MARKER_FILE)):
            return False
        # Verbs that get the path of a layer do not load what images need.
        from wclayer.images.location import Location
        from wclayer.images.opening import find_place

        return isinstance(find_place(self.text, self.store), Location)

    @property
    def store(self) -> ImageStore:
        """The store in which names of images are looked up."""
        from wclayer.images.store import ImageStore

        return ImageStore(self._context.meta.get(_STORE))

    @property
    def platform(self) -> Platform | None:
        """Which image of an index is meant; None if the user does not say."""
        from wclayer.images.platform import parse_platform

        text = self._context.meta.get(_PLATFORM)
        return None if text is None else parse_platform(text)

    @property
    def image(self) -> ImageLayers | None:
        """The image, unpacked; None for the path of a layer directory."""
        return self._opened(keep=False)

    @property
    def path(self) -> str:
        """The path of the layer directory; of an image, that of its top layer, which records the others as parents."""
        image = self.image
        return self.text if image is None else str(image.path)

    def chain(self, *, keep: bool = False) -> list[str]:
        """Returns the path of the layer directory; of an image, the paths of all its layers, nearest first.

        Args:
            keep: a layer that the verb makes refers to them: the store keeps the image by its digest.
        """
        image = self._opened(keep=keep)
        if image is None and keep:
            _refuse_to_refer(self.text)
        return [self.text] if image is None else [str(path) for path in image.layers]

    def parents_in_store(self) -> list[str]:
        """Returns the parents that the layer records in a store of images, where that is now (see `find_parents`)."""
        from wclayer.images.moved_store import find_parents
        from wclayer.images.store import ImageStore

        store = ImageStore(self._context.meta.get(_STORE))
        return [str(path) for path in find_parents(self.text, store)]

    def path_to_change(self) -> str:
        """Returns the path of the layer directory for a verb that changes it.

        Raises:
            InvalidParameterError: it is an image, or a layer in a store.
        """
        try:
            is_image = self.is_image
        except PathNotFoundError:
            # The verb says what it needs.
            return self.text
        if is_image:
            raise InvalidParameterError(
                self.text, f"is an image, and images are not changed; {_MAKE_SCRATCH.format(self.text)}"
            )
        refuse_in_store(self.text)
        return self.text

    def _opened(self, *, keep: bool) -> ImageLayers | None:
        if not self.is_image:
            return None
        if self._image is None:
            from wclayer.cli.transfer_bars import transfer_bars
            from wclayer.images.opening import open_image

            with transfer_bars(quiet=False) as progress:
                self._image = open_image(self.text, self.store, platform=self.platform, keep=keep, progress=progress)
            self._context.call_on_close(self._image.close)
        return self._image


def refuse_in_store(path: str) -> None:
    """Refuses a path that leads into a layer in a store.

    Raises:
        InvalidParameterError: it does.
    """
    from wclayer.images.on_disk import layer_in_store

    if (layer := layer_in_store(path)) is not None:
        raise InvalidParameterError(
            path, f"belongs to images in a store, and images are not changed; {_MAKE_SCRATCH.format(layer)}"
        )


def _refuse_to_refer(path: str) -> None:
    from wclayer.images.on_disk import layer_in_store

    if layer_in_store(path) is not None:
        raise InvalidParameterError(
            path, "belongs to images in a store, which may remove it with them; name the image, which is then kept"
        )


class _Layer(_LayerParameter):
    """The click type of a layer or an image."""

    name = "layer"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> LayerArgument:
        if isinstance(value, LayerArgument):
            return value
        assert ctx is not None
        return LayerArgument(str(value), ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
        return completed_as(WordKind.LAYER)(ctx, param, incomplete)


LAYER = _Layer()


def _note(key: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def callback(context: click.Context, option: click.Parameter, value: str | None) -> None:
        if value is not None:
            context.meta[key] = value

    return callback


_OPTIONS = (
    click.option(
        "--store",
        metavar="FOLDER",
        expose_value=False,
        callback=_note(_STORE),
        help="The store of the images (default: $WCLAYER_STORE, or the folder of the user's data).",
    ),
    click.option(
        "--platform",
        metavar="PLATFORM",
        expose_value=False,
        callback=_note(_PLATFORM),
        help="Which image of an index is meant: windows/amd64:10.0.20348.",
    ),
)


def layer_argument(name: str, **attributes: Any) -> Callable[[_Function], _Function]:
    """Adds an argument of the type `LAYER` to a verb, and the options `--store` and `--platform` for images."""

    def decorate(function: _Function) -> _Function:
        return click.argument(name, type=LAYER, **attributes)(image_options(function))

    return decorate


def image_options(function: _Function) -> _Function:
    """Adds the options `--store` and `--platform` to a verb, once."""
    known = {option for parameter in getattr(function, "__click_params__", []) for option in parameter.opts}
    if "--store" not in known:
        for option in reversed(_OPTIONS):
            function = option(function)
    return function


def chain_of(layers: Iterable[LayerArgument], *, keep: bool = False) -> list[str]:
    """Returns the paths of layers that a user named one after the other, with all layers of each image."""
    return [path for layer in layers for path in layer.chain(keep=keep)]
