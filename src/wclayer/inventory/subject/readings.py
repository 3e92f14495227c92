"""Readings: what the contents of a file say, whatever its name is and wherever it lies.

A reading is a JSON object that is made of nothing but the bytes of a file. Whoever has kept it by the SHA-256 of these
bytes needs the file no more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from types import UnionType
from typing import Any, BinaryIO, Generic, TypedDict, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

from wclayer.errors import FormatError, FormatLimitError

Reading = TypeVar("Reading")
JsonObject = dict[str, Any]

MAX_RECORD = 8 << 20
"""The largest record of a reading that is kept, in bytes, as JSON."""

_FOUND, _PROBLEM = "found", "problem"


@dataclass(frozen=True, slots=True)
class Reader(Generic[Reading]):
    """Makes the readings of one kind.

    Attributes:
        name: the name by which its readings are kept.
        form: the type of its readings: a TypedDict of texts, numbers, truth values, lists and such types.
        read: takes an open file, which it reads at any offset, and the size in bytes, and returns the reading. It
            raises a FormatError if the file is damaged, and has no reading.
    """

    name: str
    form: type[Reading]
    read: Callable[[BinaryIO, int], Reading]


class Problem(TypedDict):
    """What stopped a reader after it had found something."""

    text: str
    is_limit: bool


def problem_of(error: FormatError) -> Problem:
    """Returns an error for a reading."""
    return {"text": str(error), "is_limit": isinstance(error, FormatLimitError)}


def raise_problem(problem: Problem | None) -> None:
    """Raises the error that was made a problem; does nothing for None.

    Raises:
        FormatError: there was a problem.
    """
    if problem is not None:
        raise (FormatLimitError if problem["is_limit"] else FormatError)(problem["text"])


def record_of(reader: Reader[Any], opened: BinaryIO, size: int) -> JsonObject:
    """Returns what is kept of a reading: the reading itself, or why there is none."""
    try:
        return {_FOUND: reader.read(opened, size)}
    except FormatError as error:
        return problem_record(error)


def problem_record(error: FormatError) -> JsonObject:
    """Returns what is kept of a file that has no reading."""
    return {_PROBLEM: problem_of(error)}


def reading_of(reader: Reader[Reading], record: object) -> Reading | None:
    """Returns the reading of which `record_of` made a record; None if it is no such record.

    Raises:
        FormatError: there is no reading, because the file is damaged.
    """
    if not isinstance(record, dict):
        return None
    found, problem = record.get(_FOUND), record.get(_PROBLEM)
    if _has_form(problem, Problem):
        raise_problem(problem)
    return found if _has_form(found, reader.form) else None


def _has_form(value: Any, form: Any) -> bool:
    """Returns whether a JSON value has a type."""
    return _check_of(form)(value)


_Check = Callable[[Any], bool]


@cache
def _check_of(form: Any) -> _Check:
    """Returns what tells whether a JSON value has a type. Types are looked into once: values are very many."""
    if is_typeddict(form):
        return partial(_has_fields, form)
    arguments = get_args(form)
    match get_origin(form):
        case None:
            return lambda value: type(value) is form
        case kind if kind is UnionType and all(
            get_origin(each) is None and not is_typeddict(each) for each in arguments
        ):
            return lambda value: type(value) in arguments
        case kind if kind is UnionType:
            checks = [_check_of(each) for each in arguments]
            return lambda value: any(check(value) for check in checks)
        case kind if kind is list:
            of_item = _check_of(arguments[0])
            return lambda value: isinstance(value, list) and all(map(of_item, value))
        case _:
            of_value = _check_of(arguments[1])
            return lambda value: isinstance(value, dict) and all(map(of_value, value.values()))


def _has_fields(form: Any, value: Any) -> bool:
    checks = _fields(form)
    return (
        isinstance(value, dict)
        and value.keys() == checks.keys()
        and all(check(value[name]) for name, check in checks.items())
    )


@cache
def _fields(form: Any) -> dict[str, _Check]:
    return {name: _check_of(field) for name, field in get_type_hints(form).items()}


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """Files at known places that are read.

    Attributes:
        pattern: the form of their paths below C:, as for `SubjectFiles.matching`. After the last component, `/**` means
            all files below that directory.
        most: the size in bytes up to which their contents are read; None for the limit of a hive.
        reader: what reads them, whatever their size is; None if their contents are read.
    """

    pattern: str
    most: int | None = None
    reader: Reader[Any] | None = None


def read_whole(opened: BinaryIO, size: int, limit: int) -> bytes:
    """Returns the contents of an open file.

    Raises:
        FormatLimitError: it is larger than `limit` bytes.
    """
    check_size(size, limit)
    return opened.read(limit)


def check_size(size: int, limit: int) -> None:
    """Refuses to read a file that is too large.

    Raises:
        FormatLimitError: it is larger than `limit` bytes.
    """
    if size > limit:
        raise FormatLimitError(f"is {size} bytes long; at most {limit} are read")
