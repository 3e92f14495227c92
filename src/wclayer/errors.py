"""The error family: every failure of a layer operation is a `LayerError`.

Each class carries the Windows code that a caller of the real API would see, so a tool that switches on codes works
the same over both engines. `docs/errors.md` lists the classes with their codes and exit statuses.
"""

from __future__ import annotations

import errno
import functools
import inspect
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

from wclayer._types import StrPath

# Win32 error codes ([MS-ERREF] section 2.2).
ERROR_FILE_NOT_FOUND = 2
ERROR_PATH_NOT_FOUND = 3
ERROR_TOO_MANY_OPEN_FILES = 4
ERROR_ACCESS_DENIED = 5
ERROR_INVALID_DATA = 13
ERROR_OUTOFMEMORY = 14
ERROR_NOT_READY = 21
ERROR_WRITE_FAULT = 29
ERROR_SHARING_VIOLATION = 32
ERROR_NOT_SUPPORTED = 50
ERROR_UNEXP_NET_ERR = 59
ERROR_INVALID_PARAMETER = 87
ERROR_DISK_FULL = 112
ERROR_INVALID_NAME = 123
ERROR_DIR_NOT_EMPTY = 145
ERROR_ALREADY_EXISTS = 183
ERROR_FILE_TOO_LARGE = 223
ERROR_DIRECTORY = 267
ERROR_DIRECTORY_NOT_SUPPORTED = 336
ERROR_INVALID_STATE = 5023
ERROR_CANCELLED = 1223
ERROR_FILE_CORRUPT = 1392
ERROR_CANT_RESOLVE_FILENAME = 1921


_FACILITY_WIN32 = 0x8007_0000
_MAX_PLACE = 300
"""The most characters of a place inside of a file in a message."""


class FormatError(ValueError):
    """The bytes that a codec reads do not have its format, or a value cannot be written in this format.

    This is the base of the errors of `formats/` and `win32/`, which know neither an operation nor a path: `during` adds
    both.
    """


class FormatLimitError(FormatError):
    """The input is larger than a limit. If the limit is a field of `Limits`, the message ends with `limit_hint`."""


def limit_hint(limit: str) -> str:
    """Returns the end of a message that refuses an input because of a limit: the field of `Limits`, and the option that
    raises it."""
    return f"(limit {limit}; --max-{limit.replace('_', '-')} raises it)"


class NoSpaceError(FormatError):
    """The target of a codec has no space left."""


class NotRepresentableError(FormatError):
    """A value that a codec should write is valid, but its format cannot represent it."""


class LayerError(OSError):
    """An operation on a layer failed.

    Attributes:
        operation: the verb that failed ("import layer"). The public function fills it in (`during`): the code below it
            does not know the verb.
        path: the layer, file or stream on which it failed.
        detail: what is wrong, and where.
        code: the Win32 error code.
        exit_status: the exit status of the command.
    """

    code: int = ERROR_WRITE_FAULT
    exit_status: ClassVar[int] = 1
    _errno: ClassVar[int] = errno.EIO
    _named_by: int | None = None
    """The id of the object whose class named the operation (`boundary`)."""

    def __init__(self, path: StrPath, detail: str, *, code: int | None = None, operation: str = "") -> None:
        self.operation = operation
        self.path = os.fspath(path)
        self.detail = detail
        if code is not None:
            self.code = code
        super().__init__(self._errno, detail, self.path)

    def __str__(self) -> str:
        return ": ".join(part for part in (self.operation, self.path, self.detail) if part)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.path, self.detail, self.code, self.operation)

    @property
    def hresult(self) -> int:
        """The code as an HRESULT, the form in which the Host Compute Service reports it.

        A Win32 code becomes one of FACILITY_WIN32. A code that is already an HRESULT, such as the service's own codes,
        is unchanged.
        """
        return self.code if self.code > 0xFFFF else _FACILITY_WIN32 | self.code


def detail_of(error: LayerError | FormatError) -> str:
    """Returns what is wrong, without the operation and the path: for an error that names another place."""
    return error.detail if isinstance(error, LayerError) else str(error)


def _rebuild(kind: type[LayerError], path: str, detail: str, code: int, operation: str) -> LayerError:
    return kind(path, detail, code=code, operation=operation)


class PathNotFoundError(LayerError, FileNotFoundError):
    """A layer, an entry or a parent directory that was named does not exist.

    Attributes:
        missing: for an entry, where it was looked up: the paths of the layers, nearest first, the path of the directory
            in them, and the name that it does not have. None for all else.
    """

    missing: tuple[tuple[StrPath, ...], str, str] | None = None
    code = ERROR_PATH_NOT_FOUND
    exit_status = 2
    _errno = errno.ENOENT


class AlreadyExistsError(LayerError, FileExistsError):
    """The path at which a layer or an entry should be created is taken."""

    code = ERROR_ALREADY_EXISTS
    exit_status = 3
    _errno = errno.EEXIST


class NotALayerError(LayerError, NotADirectoryError):
    """The folder exists, but is not a layer directory."""

    code = ERROR_DIRECTORY
    exit_status = 4
    _errno = errno.ENOTDIR


class InvalidParameterError(LayerError, ValueError):
    """An argument is not valid for the operation (a malformed name, a wrong parent chain, …)."""

    code = ERROR_INVALID_PARAMETER
    exit_status = 5
    _errno = errno.EINVAL


class InvalidDataError(LayerError, ValueError):
    """The input is not a well-formed layer; the detail names the member and the offset."""

    code = ERROR_INVALID_DATA
    exit_status = 6
    _errno = errno.EINVAL


class LimitExceededError(InvalidDataError):
    """The input is larger than a limit that the caller can raise (`Limits`)."""

    code = ERROR_FILE_TOO_LARGE
    exit_status = 7
    _errno = errno.EFBIG


class CorruptLayerError(LayerError):
    """A layer directory no longer agrees with its own records."""

    code = ERROR_FILE_CORRUPT
    exit_status = 8


class AccessDeniedError(LayerError, PermissionError):
    """The host's file system, or Windows, does not permit the operation to the user."""

    code = ERROR_ACCESS_DENIED
    exit_status = 18
    _errno = errno.EACCES


class LayerBusyError(LayerError, PermissionError):
    """Another process holds the layer."""

    code = ERROR_SHARING_VIOLATION
    exit_status = 9
    _errno = errno.EBUSY


class NotSupportedError(LayerError):
    """This engine, or this host, does not support the operation."""

    code = ERROR_NOT_SUPPORTED
    exit_status = 10
    _errno = errno.ENOTSUP


class InvalidStateError(LayerError):
    """The call came at the wrong time (data after the last entry was closed, a read before `next`)."""

    code = ERROR_INVALID_STATE
    exit_status = 11
    _errno = errno.EINVAL


class EntryIsDirectoryError(LayerError, IsADirectoryError):
    """A file is needed, and the entry is a directory."""

    code = ERROR_DIRECTORY_NOT_SUPPORTED
    exit_status = 12
    _errno = errno.EISDIR


class EntryNotDirectoryError(LayerError, NotADirectoryError):
    """A directory is needed, and the entry is a file."""

    code = ERROR_DIRECTORY
    exit_status = 13
    _errno = errno.ENOTDIR


class DirectoryNotEmptyError(LayerError):
    """A directory with something in it cannot be removed or replaced."""

    code = ERROR_DIR_NOT_EMPTY
    exit_status = 14
    _errno = errno.ENOTEMPTY


class DiskFullError(LayerError):
    """The scratch, or the host's disk, has no space left."""

    code = ERROR_DISK_FULL
    exit_status = 15
    _errno = errno.ENOSPC


class OutOfMemoryError(LayerError, MemoryError):
    """The process, or the machine, has no memory left."""

    code = ERROR_OUTOFMEMORY
    exit_status = 19
    _errno = errno.ENOMEM


class UnresolvedLinkError(LayerError):
    """A link is part of a circle of links, or leads out of the layers."""

    code = ERROR_CANT_RESOLVE_FILENAME
    exit_status = 16
    _errno = errno.ELOOP


class NotReadyError(InvalidStateError):
    """The layer must be activated, or prepared, first."""

    code = ERROR_NOT_READY
    exit_status = 17


class RegistryError(LayerError):
    """A registry cannot be reached, or answers with an error that has no class of its own here."""

    code = ERROR_UNEXP_NET_ERR
    exit_status = 20


class OperationCancelledError(LayerError):
    """The caller's callback cancelled the operation. Nothing was left behind."""

    code = ERROR_CANCELLED
    exit_status = 130
    _errno = errno.ECANCELED


_KINDS_BY_ERRNO: dict[int, type[LayerError]] = {
    errno.ENOENT: PathNotFoundError,
    errno.EEXIST: AlreadyExistsError,
    errno.ENOTDIR: NotALayerError,
    errno.ENOSPC: DiskFullError,
    errno.EDQUOT: DiskFullError,
    errno.ENOMEM: OutOfMemoryError,
    errno.EISDIR: EntryIsDirectoryError,
    errno.EACCES: AccessDeniedError,
    errno.EPERM: AccessDeniedError,
    errno.EROFS: AccessDeniedError,
    errno.ENOTEMPTY: DirectoryNotEmptyError,
    errno.ELOOP: UnresolvedLinkError,
    errno.EBUSY: LayerBusyError,
    errno.ETXTBSY: LayerBusyError,
    errno.EOPNOTSUPP: NotSupportedError,
    errno.ENOSYS: NotSupportedError,
    errno.ENAMETOOLONG: InvalidParameterError,
}

IN_THE_WAY = (errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR)
"""The errors of the host if a link, a file or a special file lies at the path of a directory or file."""

_CODES_BY_ERRNO: dict[int, int] = {
    errno.ENOENT: ERROR_FILE_NOT_FOUND,
    errno.EMFILE: ERROR_TOO_MANY_OPEN_FILES,
    errno.ENFILE: ERROR_TOO_MANY_OPEN_FILES,
}
"""The errors whose Windows code is not that of their class."""

TEMPORARY_NAME = re.compile(
    r"\.(?:wclayer-)?(?P<name>[^/\\]+)-[0-9a-f]{16}\.(?:partial|gone)(?=[/\\]|-wal|-shm|-journal|\Z)"
)
"""The name of a file or directory that is being made or removed, beside the final one (see `layers/atomic.py`)."""
UPDATE_NAME = re.compile(r"wclayer~update-[0-9-]+(?:-link)?(?=[/\\]|\Z)")
"""The name of new contents of a file of a layer, beside it (see `layers/directory/update.py`)."""
TEMPORARY_NAME_LENGTH = 60
"""The maximum number of characters of a name that are part of its temporary name."""

_LOG_INDEX = 32 << 10
"""Bytes of the index that SQLite makes of a write-ahead log."""

# Primary result codes of SQLite (sqlite.org/rescode.html).
_KINDS_BY_SQLITE_CODE: dict[int, type[LayerError]] = {
    sqlite3.SQLITE_FULL: DiskFullError,
    sqlite3.SQLITE_BUSY: LayerBusyError,
    sqlite3.SQLITE_LOCKED: LayerBusyError,
    sqlite3.SQLITE_READONLY: AccessDeniedError,
    sqlite3.SQLITE_PERM: AccessDeniedError,
    sqlite3.SQLITE_AUTH: AccessDeniedError,
    sqlite3.SQLITE_CANTOPEN: AccessDeniedError,
    sqlite3.SQLITE_IOERR: LayerError,
    sqlite3.SQLITE_NOMEM: OutOfMemoryError,
    sqlite3.SQLITE_INTERRUPT: OperationCancelledError,
}

# Win32 codes that belong to a class, besides the class's own code.
_KINDS_BY_CODE: dict[int, type[LayerError]] = {
    1: NotSupportedError,  # ERROR_INVALID_FUNCTION
    ERROR_FILE_NOT_FOUND: PathNotFoundError,
    8: OutOfMemoryError,  # ERROR_NOT_ENOUGH_MEMORY
    15: PathNotFoundError,  # ERROR_INVALID_DRIVE
    33: LayerBusyError,  # ERROR_LOCK_VIOLATION
    39: DiskFullError,  # ERROR_HANDLE_DISK_FULL
    80: AlreadyExistsError,  # ERROR_FILE_EXISTS
    120: NotSupportedError,  # ERROR_CALL_NOT_IMPLEMENTED
    ERROR_INVALID_NAME: InvalidParameterError,
    127: NotSupportedError,  # ERROR_PROC_NOT_FOUND
    161: InvalidParameterError,  # ERROR_BAD_PATHNAME
    170: LayerBusyError,  # ERROR_BUSY
    1314: AccessDeniedError,  # ERROR_PRIVILEGE_NOT_HELD
    1393: CorruptLayerError,  # ERROR_DISK_CORRUPT
    4395: UnresolvedLinkError,  # ERROR_REPARSE_POINT_ENCOUNTERED
} | {
    kind.code: kind
    for kind in (
        PathNotFoundError, AlreadyExistsError, NotALayerError, InvalidParameterError, InvalidDataError,
        LimitExceededError, CorruptLayerError, AccessDeniedError, LayerBusyError, NotSupportedError, InvalidStateError,
        EntryIsDirectoryError, DirectoryNotEmptyError, DiskFullError, UnresolvedLinkError, NotReadyError,
        OperationCancelledError, OutOfMemoryError, RegistryError,
    )
}  # fmt: skip


def from_windows_code(path: StrPath, code: int, detail: str) -> LayerError:
    """Returns the `LayerError` for a Win32 code or an HRESULT. An HRESULT of FACILITY_WIN32 means its Win32 code.

    Reference: hcsshim, which reads a failed HRESULT in the same way.
    """
    code &= 0xFFFF_FFFF
    if code & 0x8000_0000 and code & 0x1FFF_0000 == _FACILITY_WIN32 & 0x1FFF_0000:
        code &= 0xFFFF
    return _KINDS_BY_CODE.get(code, LayerError)(path, detail, code=code)


def from_os_error(path: StrPath, error: OSError) -> LayerError:
    """Returns the `LayerError` for a failure of the host's file system. A `LayerError` is returned unchanged.

    The path of the error is the path that the host's error names, or `path` if it names none. It is never a temporary
    name: the final name of the file is reported instead.
    """
    if isinstance(error, LayerError):
        return error
    detail = error.strerror or str(error)
    if isinstance(error.filename, bytes) and not os.path.isabs(error.filename):
        # The name was looked up in an open directory, below `path`.
        detail = f"{visible_path(os.fsdecode(error.filename))}: {detail}"
    elif isinstance(error.filename, (str, bytes)):
        path = os.fsdecode(error.filename)
    path = visible_path(path)
    if (code := getattr(error, "winerror", None)) is not None:
        return from_windows_code(path, code, detail)
    number = error.errno or 0
    kind = _KINDS_BY_ERRNO.get(number, LayerError)
    return kind(path, detail, code=_CODES_BY_ERRNO.get(number, kind.code))


def visible_path(path: StrPath) -> str:
    """Returns a path as its user knows it: a temporary name is replaced by the final one."""

    def final(found: re.Match[str]) -> str:
        name = found["name"]
        return f"{name}…" if len(name) == TEMPORARY_NAME_LENGTH else name

    return UPDATE_NAME.sub("new contents of a file", TEMPORARY_NAME.sub(final, os.fspath(path)))


def _is_full(path: StrPath) -> bool:
    """Returns whether the file system of a path lacks the space that SQLite needs to read."""
    try:
        return shutil.disk_usage(path).free < _LOG_INDEX
    except OSError:
        return True


def from_sqlite_error(path: StrPath, error: sqlite3.Error) -> LayerError:
    """Returns the `LayerError` for a failure of SQLite: by SQLite's code for a failure of the host, damage otherwise.

    SQLite does not report the host's own error. If a file cannot be opened, the host is asked again for the reason.
    """
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return InvalidStateError(visible_path(path), "is closed")
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE and _is_full(path):
        # The index of the write-ahead log could not get its 32 KiB.
        return DiskFullError(visible_path(path), f"no room for the index of its log ({error})")
    if code is not None and code & 0xFF == sqlite3.SQLITE_CANTOPEN:
        try:
            os.close(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)))
        except FileNotFoundError:
            # The file could not be made, and the reason is unknown.
            return LayerError(visible_path(path), str(error))
        except OSError as reason:
            return from_os_error(path, reason)
    kind = CorruptLayerError if code is None else _KINDS_BY_SQLITE_CODE.get(code & 0xFF, CorruptLayerError)
    return kind(visible_path(path), str(error))


def translated(
    path: StrPath,
    error: BaseException,
    *,
    damage: type[LayerError] = InvalidDataError,
) -> LayerError | None:
    """Returns the `LayerError` for an exception; None if it does not concern a layer (a defect, an interrupt).

    Args:
        path: the file or folder of the operation. Errors of the host name their own.
        error: the exception; a `LayerError` is returned unchanged.
        damage: the class for a `FormatError`: `InvalidDataError` for an input of the caller, `CorruptLayerError` for a
            part of a layer directory.
    """
    if isinstance(error, OSError):
        told = from_os_error(path, error)
        is_below = isinstance(error.filename, bytes) and not os.path.isabs(error.filename)
        if damage is CorruptLayerError and is_below and error.errno in IN_THE_WAY:
            # The name was looked up in a directory of the layer: something else lies at the path of one of its files.
            return CorruptLayerError(told.path, told.detail)
        return told
    path = visible_path(path)
    if isinstance(error, NoSpaceError):
        return DiskFullError(path, str(error))
    if isinstance(error, FormatLimitError):
        return LimitExceededError(path, str(error))
    if isinstance(error, NotRepresentableError):
        return NotSupportedError(path, str(error))
    if isinstance(error, FormatError):
        return damage(path, str(error))
    if isinstance(error, sqlite3.Error):
        return from_sqlite_error(path, error)
    if isinstance(error, MemoryError):
        return OutOfMemoryError(path, str(error) or "there is not enough memory")
    return None


FOREIGN_ERRORS = (OSError, FormatError, sqlite3.Error, MemoryError)
"""The errors that the host, a codec, SQLite and Python raise."""


class errors_at:  # noqa: N801 (used like a function, as those of contextlib are)
    """Turns an error of the host, SQLite or a codec in its body into a `LayerError` (see `translated`).

    Args:
        path: the file or folder that the body works on.
        damage: see `translated`.
    """

    __slots__ = ("_damage", "_path")

    def __init__(self, path: StrPath, *, damage: type[LayerError] = InvalidDataError) -> None:
        self._path = path
        self._damage = damage

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if not isinstance(error, FOREIGN_ERRORS):
            return
        told = translated(self._path, error, damage=self._damage)
        if told is error or told is None:
            return
        try:
            raise told from error
        finally:
            # This frame is part of the error's traceback: together they would keep open what frames hold.
            del told, error, tb


_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Class = TypeVar("_Class", bound=type[Any])


class errors_inside:  # noqa: N801 (used like a function, as those of contextlib are)
    """Does what `errors_at` does, and names a place inside of the file in the message.

    Args:
        path: the file that the body works on.
        place: the place in it: the path of an entry.
    """

    __slots__ = ("_path", "_place")

    def __init__(self, path: StrPath, place: str) -> None:
        self._path = path
        self._place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            return
        told = translated(self._path, error)
        if told is not None and told is not error:
            detail = f"{self._place[:_MAX_PLACE]}: {told.detail}"
            raise type(told)(told.path, detail, code=told.code) from error


class during:  # noqa: N801 (used like a function, as those of contextlib are)
    """The boundary of a public function, as a context manager around its body or as a decorator of the function.

    Failures of the host, SQLite, a codec or memory are raised as errors of the family, which name the operation. An
    error that already has an operation or a path keeps it.

    Args:
        operation: the verb ("import layer").
        path: the file or folder that the body works on; for a decorator, by default the first path among the arguments.
        damage: see `translated`.
        takes_over: name this operation also in errors in which an object that the body uses has named that of its class
            (`boundary`).
    """

    __slots__ = ("_damage", "_operation", "_path", "_takes_over")

    def __init__(
        self,
        operation: str,
        path: StrPath = "",
        *,
        damage: type[LayerError] = InvalidDataError,
        takes_over: bool = False,
    ) -> None:
        self._operation = operation
        self._takes_over = takes_over
        self._path = path
        self._damage = damage

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            return
        told = translated(self._path, error, damage=self._damage)
        if told is None:
            return
        if self._takes_over and told._named_by is not None:
            told.operation, told._named_by = "", None
        told.operation = told.operation or self._operation
        if not told.path:
            told.path = told.filename = os.fspath(self._path)
        if told is not error:
            try:
                raise told from error
            finally:
                del told, error, tb

    def __call__(self, function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        @functools.wraps(function)
        def call(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
            try:
                result = function(*arguments, **options)
            except FOREIGN_ERRORS as error:
                if is_method:
                    _forget_operation(error, arguments[0])
                with self._at(arguments, options):
                    raise
            # Errors that a generator raises while it runs are errors of the function, too.
            return cast(_Result, self._each(result, arguments, options)) if is_generator else result

        is_generator = inspect.isgeneratorfunction(function)
        is_method = inspect.unwrap(function).__code__.co_varnames[:1] == ("self",)
        return call

    def _at(self, arguments: Iterable[object], options: Mapping[str, object]) -> during:
        """Returns this boundary with the first path among the arguments."""
        paths = (value for value in (*arguments, *options.values()) if isinstance(value, (str, os.PathLike)))
        path = self._path or next(paths, "")
        return during(self._operation, path, damage=self._damage, takes_over=self._takes_over)

    def _each(self, items: object, arguments: Iterable[object], options: Mapping[str, object]) -> Iterator[object]:
        with self._at(arguments, options):
            yield from cast(Iterator[object], items)


def _forget_operation(error: BaseException, self: object) -> None:
    """Removes the operation from an error that a method of the same object has named: the method that was called from
    outside names the operation, not the methods that it calls on its own object."""
    if isinstance(error, LayerError) and error._named_by == id(self):
        error.operation = ""


_BOUNDED = ("__init__", "__iter__", "__next__", "__exit__")


def boundary(kind: _Class) -> _Class:
    """Decorates a public class: its public methods, `__init__`, `__iter__`, `__next__` and `__exit__` raise only
    errors of the family, as with `during`. Errors without an operation get the class's attribute `operation`.

    Inherited methods are not decorated again: the base class has the decorator itself. Neither are methods with
    `names_operation`.
    """
    for name, method in list(vars(kind).items()):
        is_public = inspect.isfunction(method) and (not name.startswith("_") or name in _BOUNDED)
        if is_public and not hasattr(method, "_names_operation"):
            setattr(kind, name, _bounded_generator(method) if inspect.isgeneratorfunction(method) else _bounded(method))
    return kind


def names_operation(method: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Marks a method of a public class that is called for each entry: it names the operation in its errors itself."""
    method._names_operation = True  # type: ignore[attr-defined]
    return method


def _path_of(bounded: object) -> str:
    """Returns the path that an object of a public class is about; "" if it has none, or not yet."""
    for name in ("source", "target", "path", "name"):
        try:
            value = getattr(bounded, name, None)
        except LayerError:
            # One that was closed by the error may refuse to tell.
            continue
        if isinstance(value, (str, os.PathLike)):
            return os.fspath(value)
    return ""


def _bounded(method: Callable[..., _Result]) -> Callable[..., _Result]:
    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **options: Any) -> _Result:
        try:
            return method(self, *arguments, **options)
        except FOREIGN_ERRORS as error:
            told = translated("", error) or error
            if isinstance(told, LayerError) and not told.operation:
                told.operation, told._named_by = self.operation, id(self)
            if isinstance(told, LayerError) and not told.path:
                told.path = told.filename = _path_of(self)
            if told is error:
                del told
                raise
            try:
                raise told from error
            finally:
                del told

    return call


def _bounded_generator(method: Callable[..., Iterator[_Result]]) -> Callable[..., Iterator[_Result]]:
    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **options: Any) -> Iterator[_Result]:
        with during(self.operation):
            yield from method(self, *arguments, **options)

    return call
