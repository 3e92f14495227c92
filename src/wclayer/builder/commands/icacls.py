"""`icacls` and `takeown`: security descriptors without Windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from wclayer.builder.commands.command import Action, Command, Invocation
from wclayer.builder.commands.icacls_words import SYNCHRONIZE, IcaclsWords, Operation, Right, WordError, parse_icacls
from wclayer.builder.commands.messages import is_of_host
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.wildcards import children, find, is_directory, split_path, walk
from wclayer.builder.security.dacl_changes import Change, change_security, explicit_aces, in_order, is_inherited
from wclayer.errors import LayerError, NotSupportedError, PathNotFoundError
from wclayer.view.layer_view import FileStatus
from wclayer.win32.accounts import CONTAINER_ADMINISTRATOR, account_sid
from wclayer.win32.security import Ace, AceFlags, AceType, Control, SecurityDescriptor
from wclayer.win32.sid import ADMINISTRATORS, Sid
from wclayer.win32.wildcards import has_wildcards

_FILE_NOT_FOUND, _PATH_NOT_FOUND = 2, 3
_INHERITANCE = (
    AceFlags.OBJECT_INHERIT | AceFlags.CONTAINER_INHERIT | AceFlags.NO_PROPAGATE_INHERIT | AceFlags.INHERIT_ONLY
)


@dataclass(frozen=True)
class ChangeDacls:
    """`icacls`: changes the DACL or the owner of what a path names."""

    words: IcaclsWords

    def check(self, state: PlannedState) -> None:
        state.path(self.words.path)

    def run(self, shell: Shell) -> int:
        flags = self.words.flags
        done = failed = code = 0
        keeps_dacl = self.words.operations[0].kind == "setowner"
        for path in entries(shell, self.words.path, below="t" in flags):
            if "q" not in flags:
                shell.say(f"processed file: {path}")
            try:
                change_security(shell.view, path, self._changed, follow="l" not in flags, keeps_dacl=keeps_dacl)
                done += 1
            except PathNotFoundError:
                # A link that leads nowhere.
                shell.complain(f"{path}: The system cannot find the file specified.")
                failed, code = failed + 1, _FILE_NOT_FOUND
                if "c" not in flags:
                    break
        if not done and not failed:
            above = split_path(shell.path(self.words.path))[0]
            code = _FILE_NOT_FOUND if is_directory(shell, above) else _PATH_NOT_FOUND
            what = "file" if code == _FILE_NOT_FOUND else "path"
            shell.complain(f"{self.words.path}: The system cannot find the {what} specified.")
            failed = 1
        if "q" not in flags or failed:
            shell.say(f"Successfully processed {done} files; Failed processing {failed} files")
        return code

    def _changed(self, own: SecurityDescriptor, status: FileStatus) -> SecurityDescriptor:
        if own.dacl is None and own.control & Control.DACL_PRESENT:
            raise NotSupportedError(status.path, "has a null DACL, which allows everything; give it a DACL with --acl")
        replaced: set[Sid] = set()
        for operation in self.words.operations:
            own = _carry_out(own, operation, status.is_directory, replaced)
        return own


def entries(shell: Shell, text: str, *, below: bool) -> Iterator[str]:
    """Yields the paths of what a path names, before anything is changed.

    Args:
        below: with everything below a directory; with wildcards, with what they match in the directories below.
    """
    path = shell.path(text)
    if not below:
        yield from [found.path for found in find(shell, text)]
        return
    directory, pattern = split_path(path)
    if not has_wildcards(path):
        for found in find(shell, text):
            yield found.path
            if found.is_directory and not found.status.is_link:
                for folder in list(walk(shell, found.path)):
                    yield from [one.path for one in children(shell, folder)]
    elif is_directory(shell, directory):
        for folder in list(walk(shell, directory)):
            yield from [one.path for one in children(shell, folder, pattern)]


def _carry_out(own: SecurityDescriptor, step: Operation, is_directory: bool, replaced: set[Sid]) -> SecurityDescriptor:
    kind = step.kind
    aces = explicit_aces(own)
    inherited = [] if own.dacl is None else [ace for ace in own.dacl.aces if is_inherited(ace)]
    control = own.control
    if kind == "setowner":
        return replace(own, owner=step.sids[0])
    if kind in ("grant", "grant:r"):
        for right in step.rights:
            if kind == "grant:r" and right.sid not in replaced:
                replaced.add(right.sid)
                aces = [ace for ace in aces if not _is(ace, AceType.ACCESS_ALLOWED, right.sid)]
            aces = _added(aces, AceType.ACCESS_ALLOWED, right, is_directory)
    elif kind == "deny":
        for right in step.rights:
            aces = [left for ace in aces if (left := _without(ace, right)) is not None]
            aces = _added(aces, AceType.ACCESS_DENIED, right, is_directory)
    elif kind.startswith("remove"):
        types = {"remove:g": (AceType.ACCESS_ALLOWED,), "remove:d": (AceType.ACCESS_DENIED,)}
        for sid in step.sids:
            for ace_type in types.get(kind, (AceType.ACCESS_ALLOWED, AceType.ACCESS_DENIED)):
                aces = [ace for ace in aces if not _is(ace, ace_type, sid)]
    elif kind == "reset":
        aces, control = [], control & ~Control.DACL_PROTECTED
    elif kind == "inheritance:e":
        control &= ~Control.DACL_PROTECTED
    else:
        if kind == "inheritance:d" and not control & Control.DACL_PROTECTED:
            aces += [replace(ace, flags=ace.flags & ~AceFlags.INHERITED) for ace in inherited]
        control |= Control.DACL_PROTECTED
        inherited = []
    return replace(own, dacl=in_order(aces, inherited), control=control | Control.DACL_PRESENT)


def _is(ace: Ace, ace_type: AceType, sid: Sid) -> bool:
    return ace.type == ace_type and ace.sid == sid


def _added(aces: list[Ace], ace_type: AceType, right: Right, is_directory: bool) -> list[Ace]:
    """Returns the ACEs with a right: in the ACE of the same account and inheritance, or in a new one at the end."""
    if not is_directory and right.flags & AceFlags.INHERIT_ONLY:
        return aces
    flags = right.flags if is_directory else 0
    for index, ace in enumerate(aces):
        if _is(ace, ace_type, right.sid) and ace.flags & _INHERITANCE == flags:
            return [*aces[:index], replace(ace, mask=ace.mask | right.mask), *aces[index + 1 :]]
    return [*aces, Ace(int(ace_type), flags, right.mask, right.sid)]


def _without(ace: Ace, denied: Right) -> Ace | None:
    """Returns an explicit grant without what is denied to its account; None if nothing is left of it."""
    if not _is(ace, AceType.ACCESS_ALLOWED, denied.sid):
        return ace
    mask = ace.mask & ~denied.mask
    return None if not mask & ~SYNCHRONIZE else replace(ace, mask=mask)


def _parse_icacls(invocation: Invocation) -> Action:
    try:
        return ChangeDacls(parse_icacls(invocation.arguments))
    except WordError as error:
        raise invocation.refuse(error.word, error.detail) from None


@dataclass(frozen=True)
class TakeOwnership:
    """`takeown`: makes the user, or the administrators, the owner."""

    path: str
    is_recursive: bool
    for_administrators: bool

    def check(self, state: PlannedState) -> None:
        state.path(self.path)
        self._owner(state.user)

    def _owner(self, user: str) -> Sid:
        if self.for_administrators:
            return ADMINISTRATORS
        try:
            return account_sid(user) if user else CONTAINER_ADMINISTRATOR
        except ValueError as error:
            raise NotSupportedError(user, f"takeown: {error}") from None

    def run(self, shell: Shell) -> int:
        owner = self._owner(shell.user)
        change: Change = lambda own, _: replace(own, owner=owner)  # noqa: E731
        done = 0
        for path in entries(shell, self.path, below=self.is_recursive):
            try:
                change_security(shell.view, path, change, follow=False, keeps_dacl=True)
            except LayerError as error:
                if is_of_host(error):
                    raise
                shell.complain(f"ERROR: {error.detail}")
                return 1
            done += 1
            shell.say(f'SUCCESS: The file (or folder): "{path}" now owned by user "{shell.user}".')
        if not done:
            shell.complain("ERROR: The system cannot find the file specified.")
        return 0 if done else 1


def _parse_takeown(invocation: Invocation) -> Action:
    words = list(invocation.arguments)
    path: str | None = None
    flags: set[str] = set()
    while words:
        word = words.pop(0)
        name = word.lower()
        if name == "/f" and words and path is None:
            path = words.pop(0)
        elif name in ("/a", "/r", "/skipsl"):
            flags.add(name)
        elif name == "/d" and words and words[0].lower() in ("y", "n"):
            words.pop(0)
        else:
            raise invocation.refuse(word, "is not supported; possible is takeown /f PATH [/a] [/r [/d y|n]] [/skipsl]")
    if path is None:
        raise invocation.refuse(invocation.tail.strip(), "expected /f and a file or directory")
    return TakeOwnership(path, "/r" in flags, "/a" in flags)


_SUMMARY = (
    "Changes the DACL of files and directories, and what everything below them inherits, as SetNamedSecurityInfo does: "
    "inherited entries are made anew, explicit ones stay, protected DACLs stay. Rights: F, M, RX, R, W, D, and in "
    "parentheses the specific ones; `(OI)(CI)(IO)(NP)`. `N` can only be denied. What is granted has SYNCHRONIZE in it, "
    "what is denied has it only with F. Accounts: those that every Windows has, containers' (`ContainerUser`), "
    r"`NT SERVICE\NAME`, `IIS AppPool\NAME`, and SIDs (`*S-1-…`); those of one machine or domain are refused. "
    "`/setowner`, `/reset` stand alone. `/save`, `/restore`, `/findsid`, `/verify`, `/setintegritylevel` are refused."
)
ICACLS = Command(
    names=("icacls",),
    usage=(
        "icacls PATH [/grant[:r] ACCOUNT:RIGHTS …] [/deny ACCOUNT:RIGHTS …] [/remove[:g | :d] ACCOUNT …]\n"
        "    [/inheritance:e | d | r] [/t] [/c] [/l] [/q]\n"
        "icacls PATH /setowner ACCOUNT [/t] [/c] [/l] [/q]\n"
        "icacls PATH /reset [/t] [/c] [/l] [/q]"
    ),
    summary=_SUMMARY,
    parse=_parse_icacls,
    group="Security",
)
TAKEOWN = Command(
    names=("takeown",),
    usage="takeown /f PATH [/a] [/r [/d y|n]] [/skipsl]",
    summary="Makes the user of the build the owner, with `/a` the administrators; with `/r` of everything below, too.",
    parse=_parse_takeown,
    group="Security",
)
