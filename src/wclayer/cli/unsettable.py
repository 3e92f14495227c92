"""The options that get no default from a file, each with the reason."""

from __future__ import annotations

from collections.abc import Sequence

_CALL = "it says what one call is about"
_IMAGE = "it changes the image that one call makes"
_SECRET = "`wclayer login` keeps who you are, and nothing else does"

_REASONS = {
    "help": _CALL, "version": _CALL, "input": _CALL, "output": _CALL, "tag": _CALL, "from": _CALL, "layer": _CALL,
    "file": _CALL, "iidfile": _CALL, "target": _CALL, "onto": _CALL, "old-base": _CALL, "base": _CALL,
    "message": _CALL, "list": _CALL, "question": _CALL, "name": _CALL, "html": _CALL, "vex": _CALL, "sarif": _CALL,
    "report": _CALL, "cyclonedx": _CALL, "spdx": _CALL, "transport": _CALL, "parent": _CALL, "folder": _CALL,
    "type": _CALL, "value": _CALL, "oci": _CALL, "docker": _CALL, "replace": _CALL, "check": _CALL, "config": _CALL,
    "attach": _CALL, "place": _CALL, "account": _CALL,
    "copy": _IMAGE, "tar": _IMAGE, "reg": _IMAGE, "setx": _IMAGE, "path-append": _IMAGE, "path-prepend": _IMAGE,
    "acl": _IMAGE, "env": _IMAGE, "unset-env": _IMAGE, "unset-label": _IMAGE, "entrypoint": _IMAGE, "cmd": _IMAGE,
    "shell": _IMAGE, "user": _IMAGE, "workdir": _IMAGE, "exposed-ports": _IMAGE, "expose": _IMAGE,
    "unset-port": _IMAGE, "volume": _IMAGE, "unset-volume": _IMAGE, "set-platform": _IMAGE, "created": _IMAGE,
    "username": _SECRET, "password-stdin": _SECRET,
    "insecure": "every registry would be believed without a check, and nobody would see it",
    "no-sync": "a power cut could take results, and nobody would see why; WCLAYER_NO_SYNC=1 says so for a session",
    "force": "what it overrides would never be told again",
    "over-scratch": "it replaces a scratch",
    "repair": "it removes what is damaged",
    "allow-other": "it gives all users of the machine access",
    "push": "it changes a registry",
}  # fmt: skip
"""The reasons by the long names of the options."""
_REASONS_OF_VERBS = {
    ("rm", "recursive"): "it removes directories with all that is in them",
    ("prune", "all"): "it removes what the store keeps for a while",
}
"""The reasons that hold for one verb only, by its words and the long name of the option."""


def reason_against(verb: Sequence[str], option: str) -> str | None:
    """Returns why an option cannot have a default in a file; None if it can.

    Args:
        verb: the words of the verb.
        option: the long name, without hyphens before it.
    """
    return _REASONS_OF_VERBS.get((" ".join(verb), option)) or _REASONS.get(option)
