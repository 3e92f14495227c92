r"""What `append_to` adds on top of an image, and what is known of it before anything is made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wclayer._types import StrPath
from wclayer.builder.appending.tar_files import TarContents, read_contents
from wclayer.builder.files.copying import image_path
from wclayer.builder.security.stated_security import parse_stated
from wclayer.errors import InvalidParameterError, errors_at
from wclayer.view.machine_environment import check_variable
from wclayer.view.transfer import name_of_host
from wclayer.win32.names import name_key, path_key
from wclayer.win32.security import SecurityDescriptor

VERB = "wclayer append"


@dataclass(frozen=True, slots=True)
class Additions:
    r"""What is added on top of an image.

    Attributes:
        copies: files and folders of the host, each with its place ("C:\\app"). The contents of a folder come into the
            place. A file comes into it if the place exists as a directory, or ends in a separator.
        tars: tars. The files of a plain one come below `C:\`; a layer tar becomes a layer of its own.
        reg_files: `.reg` files, which are applied in their order.
        variables: variables of the machine's environment, to be set in the registry.
        path_append: directories for the end of the machine's PATH.
        path_prepend: directories for the beginning of the machine's PATH.
        acls: security descriptors as SDDL by the paths of entries.
    """

    copies: Sequence[tuple[StrPath, str]] = ()
    tars: Sequence[StrPath] = ()
    reg_files: Sequence[StrPath] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    path_append: Sequence[str] = ()
    path_prepend: Sequence[str] = ()
    acls: Mapping[str, str] = field(default_factory=dict)

    @property
    def changes_registry(self) -> bool:
        """True if the registry is changed."""
        return bool(self.reg_files or self.variables or self.path_append or self.path_prepend)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Additions that were checked, with what is known of the files that they name.

    Attributes:
        additions: the additions.
        layer_tars: the layer tars.
        plain_tars: the other tars.
        stated: the descriptors, by the paths of their entries in the layer; those of directories come first.
        made: the names directly below `C:\\` that the new layer makes or changes, by their keys.
    """

    additions: Additions
    layer_tars: list[tuple[StrPath, TarContents]]
    plain_tars: list[StrPath]
    stated: dict[str, SecurityDescriptor]
    made: dict[str, str]

    @classmethod
    def of(cls, additions: Additions) -> Prepared:
        """Checks additions.

        Raises:
            InvalidParameterError: nothing is to be added, or a path, a descriptor or a variable is not possible.
            PathNotFoundError, InvalidDataError, …: a file cannot be read.
        """
        tars = [(path, read_contents(path)) for path in additions.tars]
        layer_tars = [(path, tar) for path, tar in tars if tar.is_layer]
        plain_tars = [(path, tar) for path, tar in tars if not tar.is_layer]
        made: dict[str, str] = {}
        for path, place in additions.copies:
            with errors_at(path):
                os.stat(path)
            for name in _top_names(path, place):
                made.setdefault(name_key(name), name)
        for _, tar in plain_tars:
            made.update(tar.top_names)
        for name, value in additions.variables.items():
            check_variable(name, value)
        stated = {_path_of(path): parse_stated(sddl) for path, sddl in additions.acls.items()}
        if len({*map(path_key, stated)}) != len(additions.acls):
            raise InvalidParameterError(next(iter(additions.acls)), "two descriptors are stated for one entry")
        prepared = cls(
            additions, layer_tars, [path for path, _ in plain_tars], dict(sorted(stated.items(), key=_depth)), made
        )
        if not layer_tars and not prepared.makes_layer:
            raise InvalidParameterError(
                "append", "nothing is to be added; `wclayer config` changes the configuration alone"
            )
        return prepared

    @property
    def makes_layer(self) -> bool:
        """True if there is more to add than layer tars."""
        return bool(self.additions.copies or self.plain_tars or self.stated or self.additions.changes_registry)

    @property
    def stated_names(self) -> dict[str, str]:
        """The names directly below `C:\\` on which, or below which, a descriptor is stated; "" is `C:\\` itself."""
        names = [path.split("/")[1] if "/" in path else "" for path in self.stated]
        return {name_key(name): name for name in names}

    @property
    def command(self) -> str:
        """What the history of the image says about the new layer. It names no path of the host."""
        more = self.additions
        words = [VERB]
        words += [f"--copy {os.path.basename(os.path.abspath(path))}={place}" for path, place in more.copies]
        words += [f"--tar {os.path.basename(path)}" for path in self.plain_tars]
        words += [f"--reg {os.path.basename(path)}" for path in more.reg_files]
        words += [f"--setx {name}={value}" for name, value in more.variables.items()]
        words += [f"--path-prepend {folder}" for folder in more.path_prepend]
        words += [f"--path-append {folder}" for folder in more.path_append]
        words += [f"--acl {path}={sddl}" for path, sddl in more.acls.items()]
        return " ".join(words)


def _depth(stated: tuple[str, SecurityDescriptor]) -> int:
    return stated[0].count("/")


def _path_of(text: str) -> str:
    """Returns the path in a layer for an absolute path of Windows ("C:\\app")."""
    return "/".join(["Files", *image_path(text, "C:\\").split("/")[1:]])


def _top_names(path: StrPath, place: str) -> list[str]:
    """Returns the names directly below `C:\\` that a copy makes or changes."""
    parts = image_path(place, "C:\\").split("/")[1:]
    if parts:
        return parts[:1]
    with errors_at(path):
        if os.path.isdir(path):
            return [name_of_host(name) for name in sorted(os.listdir(path))]
    return [name_of_host(os.path.basename(os.path.abspath(path)))]
