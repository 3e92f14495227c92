r"""The registry of each user of a subject: the hives in the folders of profiles, and `HKU\.DEFAULT`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from wclayer.inventory.collectors.guarding import Found, guarded
from wclayer.inventory.item import Finding, Item
from wclayer.inventory.subject.files import SubjectFile
from wclayer.inventory.subject.registry import KeySource
from wclayer.inventory.subject.subject import Subject

DEFAULT_USER = ".DEFAULT"
"""The name of the hive of the system account, whose settings also hold before somebody logs on."""


@dataclass(frozen=True, slots=True)
class UserKeys:
    r"""The keys of a user.

    Attributes:
        user: the name of the folder of the profile, or ".DEFAULT".
        root: the beginning of the paths of the keys: the file of the hive, or `HKU\.DEFAULT`.
        keys: the keys by their paths.
    """

    user: str
    root: str
    keys: KeySource


def each_user(
    subject: Subject, make: Callable[[UserKeys], Iterable[Item | Finding]], *, classes: bool = False
) -> Found:
    r"""Yields what a function finds in the keys of each user; a damaged hive is a finding.

    Args:
        subject: the subject.
        make: takes the keys of one user.
        classes: whether the hives with the users' `Software\Classes` are meant, not those with everything else.
    """
    registry = subject.registry

    def of_hive(profile: SubjectFile, file: SubjectFile) -> Iterable[Item | Finding]:
        return make(UserKeys(profile.name, file.windows_path, registry.open_user_hive(profile, file)))

    def hives() -> Found:
        for profile, file in registry.user_hive_files(classes=classes):
            yield from guarded(file.windows_path, of_hive, profile, file)

    if not classes:
        root = f"HKU\\{DEFAULT_USER}"
        yield from guarded(root, make, UserKeys(DEFAULT_USER, root, registry))
    yield from guarded("C:\\Users", hives)
