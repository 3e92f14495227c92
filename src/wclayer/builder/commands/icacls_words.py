"""The arguments of `icacls`: accounts, rights, inheritance, and the operations in order.

Source: the reference of `icacls` in "Windows commands".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from wclayer.win32.accounts import account_sid
from wclayer.win32.security import AceFlags
from wclayer.win32.sid import CREATOR_GROUP, CREATOR_OWNER, Sid

SYNCHRONIZE = 0x100000
FULL = 0x1F01FF
_SIMPLE = {"F": FULL, "M": 0x1301BF, "RX": 0x1200A9, "R": 0x120089, "W": 0x100116, "D": 0x110000}
_SPECIFIC = {
    "DE": 0x10000, "RC": 0x20000, "WDAC": 0x40000, "WO": 0x80000, "S": SYNCHRONIZE, "GR": 0x120089, "GW": 0x120116,
    "GE": 0x1200A0, "GA": FULL, "RD": 0x1, "WD": 0x2, "AD": 0x4, "REA": 0x8, "WEA": 0x10, "X": 0x20, "DC": 0x40,
    "RA": 0x80, "WA": 0x100,
}  # fmt: skip
_INHERITANCE = {
    "OI": AceFlags.OBJECT_INHERIT, "CI": AceFlags.CONTAINER_INHERIT, "IO": AceFlags.INHERIT_ONLY,
    "NP": AceFlags.NO_PROPAGATE_INHERIT,
}  # fmt: skip
_GROUP = re.compile(r"\(([^()]*)\)")
_LETTERS = re.compile("RX|[FMRWD]")
_UNSUPPORTED = ("/save", "/restore", "/substitute", "/findsid", "/verify", "/setintegritylevel")


class WordError(ValueError):
    """An argument that is not supported.

    Attributes:
        word: the argument.
        detail: what is wrong with it, and what can be done.
    """

    def __init__(self, word: str, detail: str) -> None:
        super().__init__(f"{word!r}: {detail}")
        self.word = word
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Right:
    """What is granted or denied to an account."""

    sid: Sid
    mask: int
    flags: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of an invocation.

    Attributes:
        kind: `grant`, `grant:r`, `deny`, `remove`, `remove:g`, `remove:d`, `inheritance:e`, `inheritance:d`,
            `inheritance:r`, `setowner` or `reset`.
        rights: of `grant` and `deny`.
        sids: of `remove` and `setowner`.
    """

    kind: str
    rights: tuple[Right, ...] = ()
    sids: tuple[Sid, ...] = ()


@dataclass
class IcaclsWords:
    """The arguments of an invocation."""

    path: str
    operations: list[Operation] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    """`t`, `c`, `l`, `q`."""


def parse_icacls(words: Sequence[str]) -> IcaclsWords:
    """Reads the arguments of `icacls`.

    Raises:
        WordError: an argument is not supported.
    """
    rest = list(words)
    if not rest or rest[0].startswith("/"):
        raise WordError(
            rest[0] if rest else "icacls", "expected a file or directory first; possible is icacls PATH /grant …"
        )
    made = IcaclsWords(rest.pop(0))
    while rest:
        word = rest.pop(0)
        name = word.lower()
        if name in ("/t", "/c", "/l", "/q"):
            made.flags.add(name[1:])
        elif name in ("/grant", "/grant:r", "/deny"):
            operands = _operands(word, rest)
            is_denial = name == "/deny"
            rights = tuple(parse_right(operand, is_denial=is_denial) for operand in operands)
            made.operations.append(Operation(name[1:], rights=rights))
        elif name in ("/remove", "/remove:g", "/remove:d"):
            made.operations.append(Operation(name[1:], sids=tuple(map(_sid, _operands(word, rest)))))
        elif name in ("/inheritance:e", "/inheritance:d", "/inheritance:r", "/reset"):
            made.operations.append(Operation(name[1:]))
        elif name == "/setowner":
            if not rest:
                raise WordError(word, "needs an account after it")
            made.operations.append(Operation("setowner", sids=(_sid(rest.pop(0)),)))
        else:
            known = "is not done in a build" if name.split(":")[0] in _UNSUPPORTED else "is no option"
            raise WordError(
                word, f"{known}; possible are /grant[:r], /deny, /remove[:g|:d], /inheritance:e|d|r, /setowner, "
                "/reset, /t, /c, /l, /q",
            )  # fmt: skip
    if not made.operations:
        raise WordError(made.path, "nothing to do: icacls would only print the DACL")
    alone = [operation.kind for operation in made.operations if operation.kind in ("setowner", "reset")]
    if alone and len(made.operations) > 1:
        raise WordError(f"/{alone[0]}", "stands alone; write a second icacls for the other operations")
    return made


def _operands(option: str, rest: list[str]) -> list[str]:
    found: list[str] = []
    while rest and not rest[0].startswith("/"):
        found.append(rest.pop(0))
    if not found:
        raise WordError(option, "needs an account after it, such as Users:(OI)(CI)RX")
    return found


def _sid(name: str) -> Sid:
    try:
        return account_sid(name)
    except ValueError as error:
        raise WordError(name, str(error)) from None


def parse_right(word: str, *, is_denial: bool) -> Right:
    """Reads `ACCOUNT:(OI)(CI)RX`.

    SYNCHRONIZE is part of what is granted, because nothing can be opened without it, and is denied only with full
    access, because nothing could be opened.

    Raises:
        WordError: the account or the rights are not known.
    """
    name, colon, text = word.rpartition(":")
    if not colon or not name or not text:
        raise WordError(word, "expected an account and rights, such as Users:(OI)(CI)RX")
    sid = _sid(name)
    flags = 0
    groups = _GROUP.findall(text)
    plain = _GROUP.sub("", text)
    if "(" in plain or ")" in plain or (plain and not text.endswith(plain)):
        raise WordError(word, "parentheses that do not match, or rights before them")
    lists: list[str] = []
    for group in groups:
        flag = _INHERITANCE.get(group.strip().upper())
        if flag is not None:
            flags |= flag
        elif group.strip().upper() == "I":
            raise WordError(word, "(I) says that a right was inherited; it cannot be given")
        else:
            lists.append(group)
    if len(lists) + bool(plain) != 1:
        raise WordError(word, "expected the rights once, such as RX or (RD,WD)")
    mask = _letters(word, plain, is_denial) if plain else _named(word, lists[0], is_denial)
    both = AceFlags.OBJECT_INHERIT | AceFlags.CONTAINER_INHERIT
    if flags and not flags & both:
        raise WordError(word, "(IO) and (NP) need (OI) or (CI)")
    if sid in (CREATOR_OWNER, CREATOR_GROUP) and not flags & AceFlags.INHERIT_ONLY:
        raise WordError(word, "stands for the owner of what inherits it; add (OI)(CI)(IO), and grant the owner by name")
    if is_denial:
        return Right(sid, mask if mask == FULL else mask & ~SYNCHRONIZE, int(flags))
    return Right(sid, mask | SYNCHRONIZE, int(flags))


def _letters(word: str, text: str, is_denial: bool) -> int:
    """Returns the mask of a sequence of simple rights (`RXW`), or of names with commas between them."""
    if "," in text or text.upper() in _SPECIFIC or text.upper() == "N":
        return _named(word, text, is_denial)
    found = _LETTERS.findall(text.upper())
    if "".join(found) != text.upper():
        raise WordError(word, f"{text!r} is no sequence of the rights F, M, RX, R, W, D")
    mask = 0
    for name in found:
        mask |= _SIMPLE[name]
    return mask


def _named(word: str, text: str, is_denial: bool) -> int:
    mask = 0
    for part in text.split(","):
        name = part.strip().upper()
        if name == "N" and is_denial:
            mask |= FULL
            continue
        bits = _SIMPLE.get(name, _SPECIFIC.get(name))
        if bits is None:
            hint = "deny F instead" if name == "N" else f"possible are {', '.join([*_SIMPLE, *_SPECIFIC])}"
            raise WordError(word, f"{part.strip()!r} is no right that can be given here; {hint}")
        mask |= bits
    return mask
