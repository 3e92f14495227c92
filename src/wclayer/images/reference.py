"""`Reference`: the name of an image, as Docker and the registries write it.

Reference: distribution/reference (grammar in reference.go, the defaults of docker.io in normalize.go).
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace

from wclayer.errors import FormatError, InvalidParameterError
from wclayer.images.descriptor import check_digest

DOCKER_IO = "docker.io"
_OFFICIAL = "library/"
_DEFAULT_TAG = "latest"
_MAX_NAME = 255
_SHOWN = 100

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """The name of an image: `parse_reference` makes one from text, `str` makes its shortest usual text.

    Attributes:
        registry: the host of the registry, with its port if one is stated ("docker.io", "localhost:5000").
        repository: the repository in the registry ("library/nanoserver").
        tag: the tag; "" if only a digest is stated.
        digest: the digest of the manifest ("sha256:…"); "" if only a tag is stated.
    """

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def wanted(self) -> str:
        """What a registry is asked for: the digest, or the tag if no digest is stated."""
        return self.digest or self.tag

    @property
    def familiar_name(self) -> str:
        """Registry and repository without the parts that are the default ("nanoserver")."""
        if self.registry != DOCKER_IO:
            return f"{self.registry}/{self.repository}"
        name = self.repository.removeprefix(_OFFICIAL)
        if "/" in name:
            name = self.repository
        # The first part would be read as a registry, or as "library".
        return f"{DOCKER_IO}/{self.repository}" if _split_registry(name) != (DOCKER_IO, self.repository) else name

    def with_tag(self, tag: str) -> Reference:
        """Returns the name of another image of the same repository.

        Raises:
            InvalidParameterError: it is not a tag.
        """
        if not _TAG.fullmatch(tag):
            raise InvalidParameterError(f"{self.familiar_name}:{tag[:_SHOWN]}", _NO_TAG)
        return replace(self, tag=tag, digest="")

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return self.familiar_name + tag + (f"@{self.digest}" if self.digest else "")


_NO_TAG = "a tag has up to 128 letters, digits, '_', '.' and '-', and begins with none of the last two"


def parse_reference(text: str) -> Reference:
    """Returns the image that a name means.

    A name without a registry is one of docker.io, and there one of `library` if it has no "/". The tag of a name with
    neither tag nor digest is `latest`.

    Raises:
        InvalidParameterError: it is not the name of an image.
    """

    def refused(detail: str) -> InvalidParameterError:
        return InvalidParameterError(text[:_SHOWN] or "''", f"is not the name of an image: {detail}")

    name, at, digest = text.partition("@")
    tag = ""
    if name.rfind(":") > name.rfind("/"):
        name, _, tag = name.rpartition(":")
        if not _TAG.fullmatch(tag):
            raise refused(_NO_TAG)
    if at:
        try:
            check_digest(digest, "the part after '@'")
        except FormatError as error:
            raise refused(str(error)) from None
    elif not tag:
        if _HEX.fullmatch(name):
            raise refused("64 hexadecimal digits alone could be a digest; write NAME@sha256:DIGITS")
        tag = _DEFAULT_TAG
    registry, repository = _split_registry(name)
    if not _REGISTRY.fullmatch(registry):
        raise refused(f"{registry!r} is not the host of a registry")
    if not _REPOSITORY.fullmatch(repository):
        if _REPOSITORY.fullmatch(repository.lower()):
            raise refused(f"a repository is in lower case ({repository.lower()})")
        raise refused("the parts of a repository are lower-case letters and digits, with '.', '_' and '-' between them")
    if len(repository) > _MAX_NAME:
        raise refused(f"the repository has {len(repository)} characters, more than {_MAX_NAME}")
    return Reference(registry, repository, tag, digest)


def parse_registry(text: str) -> str:
    """Returns the host of a registry as references have it.

    Args:
        text: the host, with its port if one is needed; an address such as `https://HOST/` means the same.

    Raises:
        InvalidParameterError: it is not a host, or none that a reference can name.
    """
    host = text.removeprefix("https://").removeprefix("http://").rstrip("/")
    if host in ("registry-1.docker.io", "index.docker.io/v1"):
        host = DOCKER_IO
    with contextlib.suppress(InvalidParameterError):
        reference = parse_reference(f"{host}/name")
        if "/" not in host and (reference.registry == host or host == "index.docker.io"):
            return reference.registry
    raise InvalidParameterError(text, "is not the host of a registry, such as localhost:5000 or docker.io")


def _split_registry(name: str) -> tuple[str, str]:
    """Returns registry and repository of a name without tag and digest.

    The first part is a registry if there is another part, and it has a ".", a ":" or a capital, or is "localhost".
    """
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first or first != first.lower()):
        registry, repository = first, rest
    else:
        registry, repository = DOCKER_IO, name
    if registry == "index.docker.io":
        registry = DOCKER_IO
    if registry == DOCKER_IO and "/" not in repository:
        repository = _OFFICIAL + repository
    return registry, repository
